// Tests of the record, and of the comparison with it.

package allocations

import (
	"maps"
	"slices"
	"testing"
)

const output = `goos: linux
cpu: Some Processor
BenchmarkTask/Create-4         	    1000	       585.8 ns/op	     688 B/op	       3 allocs/op
a benchmark says something
BenchmarkTask/Create-4         	    1000	       595.8 ns/op	     688 B/op	       2 allocs/op
BenchmarkQueue/Of-4-4          	    1000	      1249.29 MB/s	     1 B/op	       0 allocs/op
BenchmarkSpeed-4               	    1000	       585.8 ns/op
PASS
`

func TestResults(t *testing.T) {
	want := counts{"Task/Create": 2, "Queue/Of-4": 0}
	if got := parseResults(output, 4).fold(least); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	want = counts{"Task/Create-4": 3, "Queue/Of-4-4": 0}
	if got := parseResults(output, 1).fold(most); !maps.Equal(got, want) {
		t.Errorf("on one processor: got %v, want %v", got, want)
	}
}

func TestCompare(t *testing.T) {
	recorded := counts{"More": 2, "Same": 2, "Less": 2, "Gone": 0}
	measured := counts{"More": 3, "Same": 2, "Less": 1, "New": 0}
	want := []string{
		"More: 3 allocations, 2 are recorded",
		"New: 0 allocations, nothing is recorded",
		"Gone: there is no such benchmark, 0 allocations are recorded",
	}
	if got := compare(measured, recorded); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := compare(counts{"Same": 2}, counts{"Same": 2}); got != nil {
		t.Errorf("of equals: %q", got)
	}
}

func TestOnly(t *testing.T) {
	if got, want := only([]string{"A/b.c", "D"}), `^BenchmarkA$/^b\.c$|^BenchmarkD$`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRecord(t *testing.T) {
	r, err := parseRecord("benchmark\tone\nB\t2\nC\t-\nA\t1\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.column("one"), (counts{"A": 1, "B": 2}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := r.column("two"); len(got) != 0 {
		t.Errorf("a column that is not there has %v", got)
	}
	r.set("two", counts{"B": 0, "D": 4})
	r.set("one", counts{"B": 3})
	if got, want := r.String(), "benchmark\tone\ttwo\nB\t3\t0\nD\t-\t4\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, text := range []string{"benchmark\tone\nA\n", "benchmark\tone\nA\tx\n", "benchmark\tone\nA\t1\t2\n"} {
		if _, err := parseRecord(text); err == nil {
			t.Errorf("no error in %q", text)
		}
	}
}
