// Tests of the runner itself: contenders that misbehave, the reports, the flags.

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The test binary is also a contender that misbehaves, if MISBEHAVE says so.
func TestMain(m *testing.M) {
	if os.Getenv("MISBEHAVE") == "" {
		var err error
		if programs, err = os.MkdirTemp("", "bench"); err != nil {
			panic(err)
		}
		status := m.Run()
		os.RemoveAll(programs)
		os.Exit(status)
	}
	switch os.Args[1] {
	case "good":
		fmt.Println("hello\nRESULT over=1.5 ns=42.5 late99=-3")
	case "babble":
		fmt.Println("RESULT speed=high")
	case "crash":
		fmt.Fprintln(os.Stderr, "I have had enough")
		os.Exit(1)
	case "serve-crash", "serve-hang":
		l, err := net.Listen("tcp", "127.0.0.1:"+os.Args[2])
		if err != nil {
			os.Exit(2)
		}
		for { // the first connection only asks whether somebody is there
			c, err := l.Accept()
			if err != nil {
				os.Exit(2)
			}
			if n, _ := c.Read(make([]byte, 1)); n > 0 && os.Args[1] == "serve-crash" {
				fmt.Fprintln(os.Stderr, "no more")
				os.Exit(1)
			}
		}
	case "hang":
		select {}
	default:
		os.Exit(lacking)
	}
	os.Exit(0)
}

func misbehaving() *contender {
	return &contender{name: "misbehaving", cmd: []string{os.Args[0]}, env: []string{"MISBEHAVE=1"}}
}

func TestContendersThatMisbehave(t *testing.T) {
	_, m := built(t)
	tests := []struct {
		word  string
		kind  kind
		limit time.Duration
		want  string // in the error
	}{
		{"good", task, 0, ""},
		{"babble", task, 0, `it gives no "ns"`},
		{"crash", task, 0, "exit status 1: I have had enough"},
		{"hang", task, time.Second, "it takes longer than 1s"},
		{"lacks", task, 0, errLacks.Error()},
		{"crash", server, 0, "exit status 1: I have had enough"},
		{"hang", server, time.Second, "it takes longer than 1s"},
		{"lacks", server, 0, errLacks.Error()},
		{"serve-crash", server, 0, "the server has ended: exit status 1: no more"},
		{"serve-hang", server, 10 * time.Second, "the server answers nothing"},
		{"good", asleep, 0, "it has ended before its time"},
		{"lacks", asleep, 0, errLacks.Error()},
	}
	for _, test := range tests {
		w := &workload{kind: test.kind, args: []string{test.word, "100"}, load: []string{"1", "64"}, key: "ns"}
		t.Run(fmt.Sprintf("%s, kind %d", test.word, test.kind), func(t *testing.T) {
			t.Parallel()
			if err := m.can(w); err != nil {
				t.Skip(err)
			}
			m := *m
			if test.limit != 0 {
				m.limit = test.limit
			}
			v, err := m.measure(t.Context(), w, misbehaving(), test.word)
			if test.want == "" && (err != nil || v != 42.5) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, %v; want error %q", v, err, test.want)
			}
		})
	}
	t.Run("is missing", func(t *testing.T) {
		w := &workload{args: []string{"good"}, key: "ns"}
		if _, err := m.measure(t.Context(), w, &contender{cmd: []string{"/does/not/exist"}}, "good"); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
}

// TestCompare has a contender fail, and the others go on.
func TestCompare(t *testing.T) {
	m := &meter{limit: time.Minute}
	good, bad, poor := misbehaving(), misbehaving(), misbehaving()
	good.name, bad.name, poor.name = "good", "bad", "poor"
	bad.cmd = append(bad.cmd, "crash")
	poor.cmd = append(poor.cmd, "lacks")
	tab := &table{workload: &workload{name: "work", args: []string{"good"}, key: "ns"}}
	var said []string
	say := func(format string, a ...any) { said = append(said, fmt.Sprintf(format, a...)) }
	if err := compare(t.Context(), m, tab, []*contender{good, bad, poor}, 3, say); err != nil {
		t.Fatal(err)
	}
	if n := len(tab.rows[0].values); n != 3 {
		t.Errorf("the good one has %d results, want 3", n)
	}
	if want := "work, bad: exit status 1: I have had enough"; !slices.Equal(said, []string{want, want}) {
		t.Errorf("said %q, want %q for each of two attempts", said, want)
	}
	if !tab.failed() || len(tab.shown()) != 2 {
		t.Errorf("failed is %v, shown are %d; want true and 2", tab.failed(), len(tab.shown()))
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := compare(stopped, m, tab, []*contender{good}, 1, say); !errors.Is(err, context.Canceled) {
		t.Errorf("after an interrupt: %v", err)
	}
}

// reported are results to report.
func reported() []*table {
	return []*table{
		{&workload{group: "Tasks", name: "spawn", unit: "ns"}, []*row{{"ours", []float64{300, 100, 205}, nil}, {"theirs", []float64{60, 40}, nil}, {"lacking", nil, errLacks}, {"broken", nil, errLacks}}},
		{&workload{group: "Tasks", name: "yield", unit: "ns"}, []*row{{"ours", []float64{12.34}, nil}, {"theirs", nil, errLacks}, {"lacking", nil, errLacks}, {"broken", []float64{1}, errors.New("bang")}}},
		{&workload{group: "Servers", name: "echo", unit: "µs"}, []*row{{"ours", []float64{1}, nil}}},
	}
}

func TestText(t *testing.T) {
	var b strings.Builder
	for _, tab := range reported()[:2] {
		tab.print(&b)
	}
	want := `
Tasks: spawn, in ns
  ours                            205   100 – 300            ×1.00
  theirs                         50.0   40.0 – 60.0          ×0.24

Tasks: yield, in ns
  ours                           12.3   12.3 – 12.3          ×1.00
  broken                       failed   –                    –
`
	if b.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", b.String(), want)
	}
}

func TestMarkdown(t *testing.T) {
	got := markdown(&options{machine: "a box", rounds: 3}, []*contender{{name: "ours", version: "1.0"}, {name: "theirs"}}, reported())
	want := `Machine: a box. Rounds: 3.

Contenders: ours (1.0); theirs.

### Tasks

| median | ours | theirs | broken |
|---|--:|--:|--:|
| spawn, ns | 205 | 50.0 |  |
| yield, ns | 12.3 |  | failed |

<details><summary>Spread, and ratio to the first</summary>

| workload | contender | median | min – max | ratio |
|---|---|--:|--:|--:|
| spawn | ours | 205 | 100 – 300 | ×1.00 |
|  | theirs | 50.0 | 40.0 – 60.0 | ×0.24 |
| yield | ours | 12.3 | 12.3 – 12.3 | ×1.00 |
|  | broken | failed | – | – |

</details>

### Servers

| median | ours |
|---|--:|
| echo, µs | 1.00 |

<details><summary>Spread, and ratio to the first</summary>

| workload | contender | median | min – max | ratio |
|---|---|--:|--:|--:|
| echo | ours | 1.00 | 1.00 – 1.00 | ×1.00 |

</details>
`
	if got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

func TestUpdate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n" + begin + "old\n" + end + "after\n")
	for range 2 { // the second time changes nothing
		if err := update(file, "new\n"); err != nil {
			t.Fatal(err)
		}
		b, _ := os.ReadFile(file)
		if want := "before\n" + begin + "\nnew\n\n" + end + "after\n"; string(b) != want {
			t.Errorf("the file is %q, want %q", b, want)
		}
	}
	for _, text := range []string{"", begin, end, end + begin, begin + end + begin + end} {
		write(text)
		if err := update(file, "new\n"); err == nil {
			t.Errorf("no error with %q", text)
		}
		if b, _ := os.ReadFile(file); string(b) != text {
			t.Errorf("%q has become %q", text, b)
		}
	}
}

// TestDocument checks that the tables of the document can be replaced.
func TestDocument(t *testing.T) {
	if err := update("../../docs/performance.md", ""); err != nil {
		t.Error(err)
	}
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"":                        "",
		"-rounds 1 -workloads ^a": "",
		"-update f":               "",
		"-update f -workloads x":  "-update replaces all tables",
		"-update f -contenders x": "-update replaces all tables",
		"-rounds 0":               "have to be positive",
		"-limit -1s":              "have to be positive",
		"-workloads (":            "missing closing )",
		"-contenders (":           "missing closing )",
		"spawn":                   "an argument too many",
	} {
		_, err := parse(strings.Fields(args))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 1.234: "1.23", 9.99: "9.99", 9.996: "10.0", 12.34: "12.3", 99.96: "100", 1234.5: "1234", -123.4: "-123"} {
		if got := number(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}
