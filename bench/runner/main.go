// Runner runs the workloads of the benchmarks by all contenders in turn, A B C A B C,
// and prints for each the median, the spread and the ratio to the first one. It is
// started by bench/run; docs/performance.md says what is measured, and how.
//
// It builds what can be built here, and says what is missing. On Linux it pins a
// contender to one processor and the client that loads a server to another. A contender
// that fails or takes too long is reported, and the others go on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"time"
)

// options are what the flags say.
type options struct {
	sources    string
	rounds     int
	workloads  *regexp.Regexp
	contenders *regexp.Regexp
	limit      time.Duration
	markdown   bool
	update     string
	machine    string
}

var errUsage = errors.New("usage")

func parse(args []string) (*options, error) {
	o := new(options)
	var workloads, contenders string
	f := flag.NewFlagSet("bench/run", flag.ContinueOnError)
	f.StringVar(&o.sources, "sources", ".", "the `directory` of module bench; bench/run sets it")
	f.IntVar(&o.rounds, "rounds", 5, "how often each contender runs each workload; memory is measured twice at most")
	f.StringVar(&workloads, "workloads", "", "run the workloads whose name or word matches the `regexp`")
	f.StringVar(&contenders, "contenders", "", "run the contenders whose name matches the `regexp`")
	f.DurationVar(&o.limit, "limit", 2*time.Minute, "give up a contender that takes longer than this for one run")
	f.BoolVar(&o.markdown, "markdown", false, "print the tables in Markdown, all at the end")
	f.StringVar(&o.update, "update", "", "replace the tables in `file`, between the two marker comments")
	f.StringVar(&o.machine, "machine", thisMachine(), "what the tables say the machine is")
	if err := f.Parse(args); err != nil {
		return nil, errors.Join(errUsage, err) // which has been printed
	}
	var err1, err2 error
	o.workloads, err1 = regexp.Compile(workloads)
	o.contenders, err2 = regexp.Compile(contenders)
	switch {
	case errors.Join(err1, err2) != nil:
		return nil, errors.Join(err1, err2)
	case f.NArg() > 0:
		return nil, fmt.Errorf("there is an argument too many: %q", f.Arg(0))
	case o.rounds <= 0 || o.limit <= 0:
		return nil, errors.New("-rounds and -limit have to be positive")
	case o.update != "" && workloads+contenders != "":
		return nil, errors.New("-update replaces all tables: it needs all workloads and all contenders")
	}
	return o, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, o, os.Stdout)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench/run:", err)
		os.Exit(1)
	}
}

var errFailed = errors.New("a contender has failed; see above")

// run builds, measures and reports.
func run(ctx context.Context, o *options, out io.Writer) error {
	if o.update != "" { // better now than in half an hour
		if err := update(o.update, ""); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	say := func(format string, a ...any) { fmt.Fprintf(os.Stderr, format+"\n", a...) }
	b := &builder{ctx: ctx, sources: o.sources, dir: dir, wanted: o.contenders, say: say}
	contenders, tools := b.all()
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(contenders) == 0 {
		return errors.New("there is no such contender")
	}
	raiseOpenFiles()
	m := &meter{dir: dir, tools: tools, limit: o.limit}
	if m.place, err = places(); err != nil {
		say("Processes are not pinned to processors: %v.", err)
	}
	if m.cert, m.key, err = certificate(dir); err != nil {
		return err
	}
	var tables []*table
	failed := false
	for _, w := range all {
		if !o.workloads.MatchString(w.name) && !o.workloads.MatchString(w.args[0]) {
			continue
		}
		if err := m.can(w); err != nil {
			say("%s: not measured: %v.", w.name, err)
			continue
		}
		if o.markdown || o.update != "" {
			say("%s", w.name)
		}
		t := &table{workload: w}
		if err := compare(ctx, m, t, contenders, o.rounds, say); err != nil {
			return err
		}
		tables = append(tables, t)
		failed = failed || t.failed()
		if !o.markdown && o.update == "" {
			t.print(out)
		}
	}
	if o.markdown || o.update != "" {
		text := markdown(o, contenders, tables)
		if o.update != "" {
			if err := update(o.update, text); err != nil {
				return err
			}
		}
		if o.markdown {
			fmt.Fprint(out, text)
		}
	}
	if failed {
		return errFailed
	}
	return nil
}

// compare lets all contenders run one workload in turn. One that has failed does not
// run it again.
func compare(ctx context.Context, m *meter, t *table, contenders []*contender, rounds int, say func(string, ...any)) error {
	w := t.workload
	if w.most > 0 {
		rounds = min(rounds, w.most)
	}
	for range rounds {
		for _, c := range contenders {
			for _, word := range w.words() {
				r := t.row(c, word)
				if r.err != nil {
					continue
				}
				v, err := m.patiently(ctx, w, c, word, say)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if r.err = err; err == nil {
					r.values = append(r.values, v)
				}
			}
		}
	}
	return nil
}

// path is a file of the sources. It is absolute, since not all programs run here.
func path(sources string, elements ...string) string {
	p := filepath.Join(append([]string{sources}, elements...)...)
	if abs, err := filepath.Abs(p); err == nil {
		return abs
	}
	return p
}
