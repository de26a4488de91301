// Package allocations is for tests. It holds the benchmarks of a package to what they
// have allocated before.
package allocations

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var update = flag.Bool("update-allocations", false, "record what the benchmarks allocate, instead of comparing it")

const (
	// file is where the record is. Its first line names the columns: the benchmark, and
	// the circumstances under which it was measured. A "-" says that there is no such
	// benchmark under them.
	file = "testdata/allocations.tsv"
	// rounds is how many rounds of a benchmark are averaged. What happens less often
	// than once a round, such as a buffer that grows, does not count.
	rounds = 1000
	// tries is how often a benchmark is measured, if need be. The least counts: other
	// goroutines of the process, those of the runtime too, only ever add to it.
	tries = 6
	// samples is how often a benchmark is measured to be recorded, on one processor and
	// on all, idle and busy. The most counts: it may depend on who comes first, when
	// there is more than one goroutine.
	samples = 3
)

// Check runs the benchmarks of the test's package in a process of its own. The test
// fails if one of them allocates more often than the record says in the given column,
// or is not in the record, or is only there. Benchmarks that match a pattern of except,
// in the form of go test's -skip, are not run.
func Check(t *testing.T, column string, except ...string) {
	t.Helper()
	skip, procs := strings.Join(except, "|"), runtime.GOMAXPROCS(0)
	all := record{header: []string{"benchmark", column}}
	if recorded, err := os.ReadFile(file); err == nil {
		if all, err = parseRecord(string(recorded)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	} else if !*update {
		t.Fatal(err)
	}
	if *update {
		measured := measure(t, ".", skip, samples, 1, procs)
		stop := keepBusy()
		for name, n := range measure(t, ".", skip, samples, 1, procs) {
			measured[name] = append(measured[name], n...)
		}
		stop()
		all.set(column, measured.fold(most))
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(all.String()), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	recorded := all.column(column)
	measured := measure(t, ".", skip, 1, procs).fold(least)
	for range tries - 1 {
		more := exceeding(measured, recorded)
		if len(more) == 0 {
			break
		}
		for name, n := range measure(t, only(more), skip, 1, procs).fold(least) {
			measured[name] = least(measured[name], n)
		}
	}
	failed := false
	for _, complaint := range compare(measured, recorded) {
		failed = true
		t.Error(complaint)
	}
	if failed {
		t.Logf("If that is meant to be so, record it: go test . -run '^%s$' -update-allocations", t.Name())
	}
	for _, name := range slices.Sorted(maps.Keys(measured)) {
		if n := measured[name]; n < recorded[name] {
			t.Logf("%s: %d allocations, %d are recorded", name, n, recorded[name])
		}
	}
}

// counts has the allocations of one round, by benchmark.
type counts map[string]int

// results has those of each time that a benchmark was measured.
type results map[string][]int

// fold makes one of all times.
func (r results) fold(choose func(x ...int) int) counts {
	all := make(counts)
	for name, n := range r {
		all[name] = choose(n...)
	}
	return all
}

func least(x ...int) int { return slices.Min(x) }
func most(x ...int) int  { return slices.Max(x) }

// keepBusy gives all processors something to do.
func keepBusy() (stop func()) {
	var over atomic.Bool
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !over.Load() {
			}
		})
	}
	return func() {
		over.Store(true)
		wg.Wait()
	}
}

// exceeding lists the benchmarks that allocate more often than recorded.
func exceeding(measured, recorded counts) (names []string) {
	for name, n := range measured {
		if was, ok := recorded[name]; ok && n > was {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// compare says what differs for the worse.
func compare(measured, recorded counts) (complaints []string) {
	for _, name := range exceeding(measured, recorded) {
		complaints = append(complaints, fmt.Sprintf("%s: %d allocations, %d are recorded", name, measured[name], recorded[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(measured)) {
		if _, ok := recorded[name]; !ok {
			complaints = append(complaints, fmt.Sprintf("%s: %d allocations, nothing is recorded", name, measured[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(recorded)) {
		if _, ok := measured[name]; !ok {
			complaints = append(complaints, fmt.Sprintf("%s: there is no such benchmark, %d allocations are recorded", name, recorded[name]))
		}
	}
	return complaints
}

// only returns the pattern that selects the benchmarks of these names.
func only(names []string) string {
	var patterns []string
	for _, name := range names {
		var elements []string
		for element := range strings.SplitSeq("Benchmark"+name, "/") {
			elements = append(elements, "^"+regexp.QuoteMeta(element)+"$")
		}
		patterns = append(patterns, strings.Join(elements, "/"))
	}
	return strings.Join(patterns, "|")
}

// measure runs benchmarks, each several times, on so many processors.
func measure(t *testing.T, pattern, skip string, times int, procs ...int) results {
	t.Helper()
	slices.Sort(procs)
	var cpus []string
	for _, n := range slices.Compact(procs) {
		cpus = append(cpus, strconv.Itoa(n))
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$", "-test.bench="+pattern, "-test.skip="+skip,
		fmt.Sprintf("-test.benchtime=%dx", rounds), "-test.benchmem", fmt.Sprint("-test.count=", times),
		"-test.cpu="+strings.Join(cpus, ","), "-test.timeout=3m")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("the benchmarks: %v\n%s%s", err, result.ReplaceAllString(out.String(), ""), &errs)
	}
	return parseResults(out.String(), slices.Max(procs))
}

var result = regexp.MustCompile(`(?m)^Benchmark(\S+)\s.*\s(\d+) allocs/op\n`)

// parseResults reads what benchmarks print.
func parseResults(out string, procs int) results {
	all := make(results)
	for _, match := range result.FindAllStringSubmatch(out, -1) {
		name := match[1]
		if procs > 1 {
			name = strings.TrimSuffix(name, fmt.Sprint("-", procs))
		}
		n, _ := strconv.Atoi(match[2])
		all[name] = append(all[name], n)
	}
	return all
}

// A record is a file of results.
type record struct {
	header []string
	rows   [][]string // each has as many cells as the header
}

func parseRecord(text string) (record, error) {
	var r record
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if r.header == nil {
			r.header = cells
			continue
		}
		if len(cells) != len(r.header) {
			return r, fmt.Errorf("%q does not have the columns of %q", line, r.header)
		}
		for _, cell := range cells[1:] {
			if _, err := strconv.Atoi(cell); err != nil && cell != "-" {
				return r, fmt.Errorf("%q has neither a number nor - in each column", line)
			}
		}
		r.rows = append(r.rows, cells)
	}
	return r, nil
}

func (r *record) String() string {
	lines := [][]string{r.header}
	var b strings.Builder
	for _, cells := range append(lines, r.rows...) {
		b.WriteString(strings.Join(cells, "\t") + "\n")
	}
	return b.String()
}

// column returns what is recorded in a column: nothing if there is none.
func (r *record) column(name string) counts {
	all := make(counts)
	i := slices.Index(r.header, name)
	for _, cells := range r.rows {
		if i > 0 && cells[i] != "-" {
			all[cells[0]], _ = strconv.Atoi(cells[i])
		}
	}
	return all
}

// set replaces a column, and drops the rows that have nothing any more.
func (r *record) set(name string, all counts) {
	i := slices.Index(r.header, name)
	if i < 0 {
		i = len(r.header)
		r.header = append(r.header, name)
		for j := range r.rows {
			r.rows[j] = append(r.rows[j], "-")
		}
	}
	known := make(map[string]bool)
	for _, cells := range r.rows {
		known[cells[0]] = true
		cells[i] = "-"
		if n, ok := all[cells[0]]; ok {
			cells[i] = strconv.Itoa(n)
		}
	}
	for benchmark, n := range all {
		if !known[benchmark] {
			cells := slices.Repeat([]string{"-"}, len(r.header))
			cells[0], cells[i] = benchmark, strconv.Itoa(n)
			r.rows = append(r.rows, cells)
		}
	}
	r.rows = slices.DeleteFunc(r.rows, func(cells []string) bool {
		return !slices.ContainsFunc(cells[1:], func(cell string) bool { return cell != "-" })
	})
	slices.SortFunc(r.rows, func(a, b []string) int { return cmp.Compare(a[0], b[0]) })
}
