// The replay: every program of the corpus has to produce its trace.

package conformance_test

import (
	"flag"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var corpus = flag.String("corpus", "", "replay the programs of these files (a `glob`) instead of testdata")

// TestCorpus replays the programs in testdata, each twice.
func TestCorpus(t *testing.T) {
	if *corpus != "" {
		t.Skip("other programs are replayed")
	}
	files := find(t, filepath.Join("testdata", "*.jsonl.gz"))
	for _, name := range files {
		flavour, _, _ := strings.Cut(filepath.Base(name), ".")
		t.Run(flavour, func(t *testing.T) {
			for range 2 {
				if r := replay(t, []string{name}); len(r.failures) > 0 {
					t.Fatal(r)
				}
			}
		})
	}
}

// TestOtherCorpus replays the files of the flag -corpus.
func TestOtherCorpus(t *testing.T) {
	if *corpus == "" {
		t.Skip("no other programs are given with -args -corpus")
	}
	r := replay(t, find(t, *corpus))
	fmt.Println(r)
	if len(r.failures) > 0 || r.programs == 0 {
		t.Fail()
	}
}

func find(t *testing.T, glob string) []string {
	t.Helper()
	files, err := filepath.Glob(glob)
	if err != nil || len(files) == 0 {
		t.Fatalf("no file matches %s: %v", glob, err)
	}
	return files
}

// A report says how a replay went.
type report struct {
	programs int
	failures []string // one a program
}

// shown is how many failures a report shows.
const shown = 5

func (r report) String() string {
	text := fmt.Sprintf("%d programs, %d matched\n", r.programs, r.programs-len(r.failures))
	return text + strings.Join(r.failures[:min(shown, len(r.failures))], "")
}

// replay runs all programs of the files.
func replay(t *testing.T, files []string) report {
	t.Helper()
	var r report
	for _, name := range files {
		programs, err := load(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range programs {
			p := &programs[i]
			trace, final, err := execute(p)
			r.programs++
			switch {
			case err != nil:
				r.failures = append(r.failures, fmt.Sprintf("\n%s: %v\n", p.Name, err))
			case !slices.Equal(trace, p.Trace) || !maps.Equal(final, p.Final):
				r.failures = append(r.failures, compare(p, trace, final))
			}
		}
	}
	return r
}

// compare shows what differs, side by side.
func compare(p *program, trace []event, final map[string]string) string {
	var b strings.Builder
	row := func(mark, want, got string) { fmt.Fprintf(&b, "%s %-50s | %s\n", mark, want, got) }
	fmt.Fprintf(&b, "\n%s\n", p.Name)
	row(" ", "want", "got")
	first := 0
	for first < min(len(trace), len(p.Trace)) && trace[first] == p.Trace[first] {
		first++
	}
	line := func(events []event, i int) string {
		if i < len(events) {
			return events[i].String()
		}
		return ""
	}
	const before, after = 8, 6
	for i := max(0, first-before); i < min(first+after, max(len(trace), len(p.Trace))); i++ {
		mark := " "
		if want, got := line(p.Trace, i), line(trace, i); want != got {
			mark = ">"
		}
		row(mark, line(p.Trace, i), line(trace, i))
	}
	names := slices.Collect(maps.Keys(p.Final))
	for name := range final {
		if _, ok := p.Final[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if want, got := p.Final[name], final[name]; want != got {
			row(">", "final "+name+" "+want, got)
		}
	}
	return b.String()
}
