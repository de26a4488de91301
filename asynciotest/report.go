// Reports: the simplest schedule that fails, told to people.

package asynciotest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// explain finds the simplest way to the failure of o and describes it.
func (e *exploration) explain(o *outcome) string {
	name := runName{seed: o.seed}
	if e.bound >= 0 {
		name = runName{o.seed, true, o.trial.made}
	}
	again := e.run(o.seed, &trial{picker: o.trial.made.replay()})
	if !again.failed {
		return fmt.Sprintf("asynciotest: seed %d fails, but not always\n%s%s", o.seed, indent(shorten(o.log)),
			indent(e.indeterminate(o.seed, e.difference(o))))
	}
	simplest, runs := e.shrink(again)
	told := e.run(o.seed, &trial{picker: simplest.trial.made.replay(), explain: true, leave: simplest.trial.left()})
	if !told.like(simplest) { // debug mode makes a difference to it
		told = e.run(o.seed, &trial{picker: simplest.trial.made.replay(), record: true})
	}
	short := runName{o.seed, true, told.trial.made}

	var b strings.Builder
	if told.loops == 0 {
		fmt.Fprintf(&b, "asynciotest: seed %d fails\n%s", o.seed, indent(shorten(told.log)))
		b.WriteString("No schedule was explored: this run calls neither Sim.Run nor the Run of a Sim.Network, and its seed alone decides.\n")
		fmt.Fprintf(&b, "To repeat this run:\n    %s", command(e.t.Name(), runName{seed: o.seed}))
		return b.String()
	}
	fmt.Fprintf(&b, "asynciotest: seed %d fails (%s)\n", o.seed, e.strategy())
	b.WriteString(indent(shorten(told.log)))
	switch n := len(told.trial.made); {
	case n == 0:
		fmt.Fprintf(&b, "It fails first come, first served: no particular schedule is needed.\n")
	default:
		fmt.Fprintf(&b, "It takes %s from first come, first served (the seed had %d; %d runs to find out), marked by >:\n",
			plural(n, "deviation"), len(o.trial.made), runs)
	}
	b.WriteString(told.trial.table())
	if len(short.decide) == 0 && len(o.trial.made) == 0 {
		short = name // its own schedule is first come, first served
	}
	fmt.Fprintf(&b, "To repeat this run:\n    %s\n", command(e.t.Name(), short))
	if short.String() != name.String() {
		fmt.Fprintf(&b, "To repeat the run of the seed:\n    %s\n", command(e.t.Name(), name))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		b.WriteByte('\n')
	}
	return b.String()
}

// What a report shows of a long schedule: the steps around each deviation, those before
// the first failure, and the last ones.
const (
	whole      = 60
	wholeOfNet = 200 // if there are hosts, which take more steps to get somewhere
	around     = 4
	ending     = 12

	mostFailures  = 10 // of the test
	mostMeanwhile = 60 // notes and faults in steps that are not shown
)

// What a report shows of the log of a run: so many lines at its beginning, and as many at
// its end.
const mostLines = 100

// shorten leaves the middle of a long log out.
func shorten(log string) string {
	lines := slices.Collect(strings.Lines(log))
	left := len(lines) - 2*mostLines
	if left <= 1 {
		return log
	}
	return strings.Join(lines[:mostLines], "") +
		fmt.Sprintf("... %s (the run that is repeated tells all)\n", plural(left, "line")) + strings.Join(lines[mostLines+left:], "")
}

// lastPart is how many of its last steps are remembered of a run that is to be explained:
// many more than are shown, for a clean-up may come after them.
const lastPart = 20_000

// left returns which steps the report of a run like t leaves out. To remember them all
// would take long, if they are a million.
func (t *trial) left() func(step int) bool {
	near := make(map[int]bool)
	for step := t.failedAt - around; t.failedAt > 0 && step <= t.failedAt+1; step++ {
		near[step] = true
	}
	for _, d := range t.made {
		for step := d.step - around; step <= d.step+around; step++ {
			near[step] = true
		}
	}
	end := t.steps - lastPart
	return func(step int) bool { return step <= end && !near[step] }
}

// leaves reports whether a step is left out.
func (t *trial) leaves(step int) bool { return t.leave != nil && t.leave(step) }

// table lists the steps of a run that matter.
func (t *trial) table() string {
	matters := func(i int) bool { return i >= 0 && i < len(t.events) && !t.events[i].vain }
	shown := make([]bool, len(t.events))
	show := func(from, to int) {
		for i := from; i < to; i++ {
			if matters(i) {
				shown[i] = true
			}
		}
	}
	last := len(shown)
	for last > 0 && !matters(last-1) {
		last--
	}
	said := t.said
	inNet := slices.ContainsFunc(said, func(r remark) bool { return r.ofNet })
	show(last-ending, last)
	if last <= whole || inNet && last <= wholeOfNet {
		show(0, last)
	}
	deviates := make(map[int]bool)
	for _, d := range t.made {
		deviates[d.step-1] = true
		show(d.step-1-around, d.step+around)
		shown[d.step-1] = true
	}
	if t.failedAt > 0 {
		show(t.failedAt-around, t.failedAt+1)
	}
	// Of many steps that are alike, the first and the last are shown.
	again := func(i int) bool { return i > 0 && t.events[i] == t.events[i-1] && !deviates[i] }
	for first := 0; first < last; {
		end := first + 1
		for end < last && again(end) {
			end++
		}
		if end-first > 3 {
			clear(shown[first+1 : end-1])
		}
		first = end
	}
	var b strings.Builder
	width := 10 // of times
	if inNet {
		width = 13
	}
	line := func(r remark) {
		if r.story == NoteTaken {
			r.text = firstLine(r.text)
		}
		fmt.Fprintf(&b, "           %-*v %s\n", width, r.at, r.text)
	}
	hidden, failures := 0, 0
	var meanwhile []remark // in the steps that are hidden
	skip := func(i int) {
		if hidden > 0 {
			fmt.Fprintf(&b, "           ... %s%s", plural(hidden, "step"), t.sort(i-hidden, i, again))
			if n := len(meanwhile) - mostMeanwhile; n > 0 {
				fmt.Fprintf(&b, ", in which there were %s, and then", plural(n, "other event"))
				meanwhile = meanwhile[n:]
			} else if n > -mostMeanwhile {
				b.WriteString(", and meanwhile")
			}
			b.WriteByte('\n')
		}
		for _, r := range meanwhile {
			line(r)
		}
		hidden, meanwhile = 0, nil
	}
	remarks := func(i int) {
		for ; len(said) > 0 && said[0].after <= i; said = said[1:] {
			r := said[0]
			away := hidden > 0 || i < len(shown) && !shown[i]
			switch {
			case r.fails:
				if failures++; failures > mostFailures {
					continue
				}
			case away && r.story != 0:
				meanwhile = append(meanwhile, r)
				continue
			case away && (r.ofNet || r.ofTest):
				continue
			}
			skip(i)
			line(r)
		}
	}
	for i, e := range t.events {
		remarks(i)
		if !shown[i] {
			hidden++
			continue
		}
		skip(i)
		mark := " "
		if deviates[i] {
			mark = ">"
		}
		fmt.Fprintf(&b, "  %s %5d  %-*v %s %s", mark, i+1, width, e.at, e.kind, e.name)
		if e.where != "" {
			fmt.Fprintf(&b, ", %s", e.where)
		}
		if e.instead != "" {
			fmt.Fprintf(&b, "   (%s)", e.instead)
		}
		b.WriteByte('\n')
	}
	remarks(len(t.events))
	skip(len(t.events))
	return b.String()
}

// sort says what steps are that are not shown.
func (t *trial) sort(from, to int, again func(i int) bool) string {
	if t.events[from].vain {
		return " of clean-up"
	}
	for i := from; i < to; i++ {
		if !again(i) {
			return ""
		}
	}
	return " like it"
}

// repeat runs one run, and says how it has gone.
func (e *exploration) repeat(r *runName) {
	e.t.Helper()
	var how picker = r.decide.replay()
	if !r.given {
		if e.depth > 0 && r.seed != e.first {
			e.steps = e.run(e.first, &trial{picker: firstCome{}}).trial.steps
		}
		how = e.picker(r.seed)
	}
	o := e.run(r.seed, &trial{picker: how, explain: true})
	text := fmt.Sprintf("asynciotest: run %v\n%s%s", r, indent(o.log), o.trial.table())
	if missing := r.missing(o.trial); missing != "" {
		if o.failed {
			e.t.Fatalf("%s    %s", text, missing)
		}
		decline(e.t, false, missing)
		return
	}
	accept(e.t)
	switch {
	case o.failed:
		e.t.Fatal(strings.TrimSuffix(text, "\n"))
	case o.skipped:
		e.t.Skip(text)
	}
	e.t.Logf("%s    it passes", text)
}

// CheckDeterminism runs f twice with the same seed, and ends the test if the second
// run takes another course than the first: a callback that has run has another kind,
// another name or another time, something else happens on a Sim.Network, or one run
// fails and the other does not. The report shows the first difference. The seed is that
// of FirstSeed, and the schedule is that of the strategy. Explore does the same with some
// of its seeds. It ends the test, too, if f calls neither Sim.Run nor the Run of a
// Sim.Network, or skips both runs, and panics if f or an option is nil.
func CheckDeterminism(t testing.TB, f func(t testing.TB, sim *Sim), opts ...ExploreOption) {
	t.Helper()
	e := newExploration("CheckDeterminism", t, 1, f, opts)
	seed := e.first
	e.first-- // this seed shall have a schedule of its own
	if e.depth > 0 {
		e.steps = e.run(seed, &trial{picker: firstCome{}}).trial.steps
	}
	o := e.runTwice(seed, false, func() picker { return e.picker(seed) })
	switch {
	case o.differs != "":
		t.Fatal(e.indeterminate(seed, o.differs))
	case o.failed:
		t.Fatalf("asynciotest: seed %d fails\n%s", seed, indent(shorten(o.log)))
	case !e.ran.Load() && e.kept.Load():
		t.Fatal("asynciotest: CheckDeterminism: nothing is checked: the function calls neither Sim.Run nor the Run of a Sim.Network")
	}
	e.mustHaveTested()
}

// difference runs the schedule of o twice more and tells the first difference.
func (e *exploration) difference(o *outcome) string {
	again := e.runTwice(o.seed, false, o.trial.made.replay)
	if again.differs == "" {
		return "The runs after it have all gone one way.\n"
	}
	return again.differs
}

// differsFrom tells the first difference of two runs that have recorded their events.
func (o *outcome) differsFrom(again *outcome) string {
	if slices.Equal(o.trial.events, again.trial.events) && slices.Equal(o.trial.said, again.trial.said) {
		if o.failed != again.failed {
			return fmt.Sprintf("Both runs take the same %s, but only one of them fails:\n%s", plural(len(o.trial.events), "step"), indent(o.log+again.log))
		}
		return ""
	}
	a, b := o.trial.way(), again.trial.way()
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	var text strings.Builder
	for j := max(0, i-around); j < i; j++ {
		fmt.Fprintf(&text, "    %s\n", a[j])
	}
	for run, lines := range [][]string{a, b} {
		what := "the run is over"
		if i < len(lines) {
			what = lines[i]
		}
		fmt.Fprintf(&text, "  > %s   (run %d)\n", what, run+1)
	}
	return text.String()
}

// way lists everything that has happened, in order.
func (t *trial) way() []string {
	lines := make([]string, 0, len(t.events)+len(t.said))
	said := t.said
	between := func(step int) {
		for ; len(said) > 0 && said[0].after <= step; said = said[1:] {
			lines = append(lines, "network   "+said[0].String())
		}
	}
	for i, e := range t.events {
		between(i)
		lines = append(lines, fmt.Sprintf("step %d   %v", i+1, e))
	}
	between(len(t.events))
	return lines
}

// indeterminate is the report about a program that goes different ways.
func (e *exploration) indeterminate(seed uint64, differs string) string {
	return fmt.Sprintf(`asynciotest: the program is not deterministic: seed %d takes different courses
%sUsual causes: ranging over a map; select with several ready cases; the functions of
math/rand (use asyncio.Rand or Sim.Rand); time.Now (use asyncio.Now); goroutines, and
ToThread with Sim.Run (on a Sim.Network its functions take no time); real sockets;
variables that a run leaves changed for the next.`, seed, differs)
}
