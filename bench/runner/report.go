// The report: tables as text and in Markdown.

package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
)

// A table has the results of one workload.
type table struct {
	workload *workload
	rows     []*row
}

// A row has the results of one contender.
type row struct {
	name   string
	values []float64
	err    error // why there are no more
}

// row returns the row of a contender that runs a workload by this word.
func (t *table) row(c *contender, word string) *row {
	name := c.name
	if word == "echo-proto" {
		name += ", protocol"
	}
	i := slices.IndexFunc(t.rows, func(r *row) bool { return r.name == name })
	if i < 0 {
		i = len(t.rows)
		t.rows = append(t.rows, &row{name: name})
	}
	return t.rows[i]
}

// shown are the rows of contenders that have the workload.
func (t *table) shown() (rows []*row) {
	for _, r := range t.rows {
		if !errors.Is(r.err, errLacks) {
			rows = append(rows, r)
		}
	}
	return rows
}

func (r *row) failed() bool { return r.err != nil && !errors.Is(r.err, errLacks) }

func (t *table) failed() bool { return slices.ContainsFunc(t.rows, (*row).failed) }

// median of the results; NaN if there are none.
func (r *row) median() float64 {
	if len(r.values) == 0 || r.err != nil {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(r.values))
	middle := len(v) / 2
	if len(v)%2 == 0 {
		return (v[middle-1] + v[middle]) / 2
	}
	return v[middle]
}

// cells are the median, the spread and the ratio to the first row.
func (t *table) cells(r *row) (median, spread, ratio string) {
	m := r.median()
	if math.IsNaN(m) {
		return "failed", "–", "–"
	}
	ratio = "–"
	if first := t.rows[0].median(); first > 0 && m > 0 {
		ratio = fmt.Sprintf("×%.2f", m/first)
	}
	return number(m), number(slices.Min(r.values)) + " – " + number(slices.Max(r.values)), ratio
}

// number is v with three digits that count.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case a >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// print writes a table as text.
func (t *table) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s: %s, in %s\n", t.workload.group, t.workload.name, t.workload.unit)
	for _, r := range t.shown() {
		median, spread, ratio := t.cells(r)
		fmt.Fprintf(w, "  %-26s %8s   %-20s %s\n", r.name, median, spread, ratio)
	}
}

// thisMachine is what is known of the machine.
func thisMachine() string {
	return fmt.Sprintf("%d processors, %s, %s", runtime.NumCPU(), runtime.GOARCH, runtime.GOOS)
}

// markdown is what the document of the numbers has between its markers.
func markdown(o *options, contenders []*contender, tables []*table) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s. Rounds: %d.\n\nContenders: ", o.machine, o.rounds)
	for i, c := range contenders {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(c.String())
	}
	b.WriteString(".\n")
	for len(tables) > 0 {
		group := tables[0].workload.group
		end := slices.IndexFunc(tables, func(t *table) bool { return t.workload.group != group })
		if end < 0 {
			end = len(tables)
		}
		fmt.Fprintf(&b, "\n### %s\n\n", group)
		medians(&b, tables[:end])
		details(&b, tables[:end])
		tables = tables[end:]
	}
	return b.String()
}

// medians writes a table of workloads and contenders.
func medians(b *strings.Builder, tables []*table) {
	var columns []string
	most := slices.MaxFunc(tables, func(t, u *table) int { return len(t.rows) - len(u.rows) })
	for _, r := range most.rows { // those of the others are among them
		if slices.ContainsFunc(tables, func(t *table) bool { return t.find(r.name) != nil }) {
			columns = append(columns, r.name)
		}
	}
	fmt.Fprintf(b, "| median | %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("--:|", len(columns)))
	for _, t := range tables {
		fmt.Fprintf(b, "| %s, %s |", t.workload.name, t.workload.unit)
		for _, name := range columns {
			cell := ""
			if r := t.find(name); r != nil {
				cell, _, _ = t.cells(r)
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		b.WriteString("\n")
	}
}

// find returns the row of this name, or nil if it has nothing to show.
func (t *table) find(name string) *row {
	for _, r := range t.shown() {
		if r.name == name {
			return r
		}
	}
	return nil
}

// details writes the spread and the ratio of each result.
func details(b *strings.Builder, tables []*table) {
	b.WriteString("\n<details><summary>Spread, and ratio to the first</summary>\n\n")
	b.WriteString("| workload | contender | median | min – max | ratio |\n|---|---|--:|--:|--:|\n")
	for _, t := range tables {
		name := t.workload.name
		for _, r := range t.shown() {
			median, spread, ratio := t.cells(r)
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", name, r.name, median, spread, ratio)
			name = ""
		}
	}
	b.WriteString("\n</details>\n")
}

// The comments that stand before and after the tables.
const begin, end = "<!-- the tables of bench/run begin here -->\n", "<!-- the tables of bench/run end here -->\n"

// update replaces the text between the comments in a file. If text is empty, it only
// checks that they are there.
func update(file, text string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 || strings.Contains(after, begin) || strings.Contains(after, end) {
		return fmt.Errorf("%s does not have the lines %q and %q, once each", file, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	if text == "" {
		return nil
	}
	return os.WriteFile(file, []byte(before+begin+"\n"+text+"\n"+end+after), 0o666)
}
