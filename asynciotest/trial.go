// Trials: one run of a function under test.

package asynciotest

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/thread"
)

// A Sim is one simulated run of a program: what differs from run to run is decided
// by its seed alone. Explore and CheckDeterminism make it.
type Sim struct {
	// Seed is the seed of the run.
	Seed uint64

	// Rand gives random numbers for what the test itself decides. They depend on
	// Seed alone.
	Rand *rand.Rand

	trial *trial
	t     *trialT
	runs  uint64

	networks []*Network
}

// Run runs main as asyncio.Run does, with a virtual clock (see WithVirtualClock) and
// random numbers (asyncio.Rand) that depend on the seed, on the schedule that is
// being explored. What the loop logs becomes part of the log of the test; a panic that
// would only be logged fails it, as with the function Run. It returns the error of
// asyncio.Run: the one that main returns, asyncio.ErrDeadlock, or ErrEndless. It may be
// called several times, each with a loop of its own, from the goroutine that called the
// function under test.
//
// Options come after those of the simulation, so that they may replace them. Run panics
// if main or an option is nil.
func (s *Sim) Run(main func(ctx context.Context) error, opts ...asyncio.RunOption) error {
	checkProgram("Sim.Run", main, opts)
	if err := s.begin(); err != nil {
		return err
	}
	rng := rand.NewPCG(s.Seed, s.runs)
	t := s.trial
	all := []asyncio.RunOption{
		seam.LoopOption(seam.Seams{
			NewClock:  func() seam.Clock { return new(virtualClock) },
			NewRandom: func() seam.Random { return rng },
			NewOrder:  func() seam.Order { return newSchedule(t) },
		}).(asyncio.LoopOption),
		asyncio.WithLogger(newLogger(loopLog{s.t}, s.t.Fail)),
	}
	all = append(all, opts...)
	if t.explain {
		all = append(all, asyncio.WithDebug(true))
	}
	defer t.ends()
	err := caught(main, all)
	if t.endless != nil {
		return t.endless
	}
	return err
}

// A trial is what the schedules of one run share.
type trial struct {
	tb      *trialT
	picker  picker
	fault   *fault              // nil: none
	limits  limits              // beyond them everything is cancelled
	record  bool                // events
	explain bool                // events with all that is to be known of them
	leave   func(step int) bool // steps of which nothing need be known to explain the run; nil: none
	measure bool                // widths and course

	steps   int
	choice  bool     // there were several candidates at a step
	endless error    // why the run is over; nil if it is within its limits
	overrun *overrun // of endless
	made    decisions
	widths  []uint8      // how many candidates there were at each step
	course  maphash.Hash // of who had the turns
	events  []callbackRun
	said    []remark

	thread   atomic.Int64         // of the loops that run now; 0 if none does
	clock    func() time.Duration // theirs
	failedAt int                  // the step before the first failure that one of them has said; 0 if none has

	stubborn map[asyncio.AnyTask]*defiance
}

// A defiance is how a task goes on awaiting after a cancellation by this package.
type defiance struct {
	awaits int
	at     time.Duration
}

// forbearance is how often a task may do so while no time passes. A clean-up awaits
// some times; a loop that tries again what is interrupted at once does so for ever.
const forbearance = 10_000

// watch is told that a task begins a call that may suspend it. It fails the run, and
// ends the task as FailNow does, if the task ignores its cancellation.
func (t *trial) watch(s *schedule, task asyncio.AnyTask) {
	endless := t.endless != nil
	if !endless && (t.fault == nil || !t.fault.reached) || task.Cancelling() == 0 {
		return
	}
	if t.stubborn == nil {
		t.stubborn = make(map[asyncio.AnyTask]*defiance)
	}
	d := t.stubborn[task]
	if d == nil {
		d = new(defiance)
		t.stubborn[task] = d
	}
	if d.at != s.now && !endless {
		*d = defiance{at: s.now}
	}
	if d.awaits++; d.awaits < forbearance {
		return
	}
	d.awaits = 0 // its deferred functions may await, too
	t.tb.Fail()
	t.tb.write(fmt.Sprintf("task %s is cancelled, but has gone on awaiting %d times: %s", s.nameOf(task), forbearance, whereOf(task)))
	runtime.Goexit()
}

// A source is what a decision is made for: the callbacks of a loop, or the programs of a
// Network, that are ready.
type source interface {
	// mayGoOn reports whether the run is within its limits.
	mayGoOn() bool

	// describe returns what the candidate at a place would run,
	describe(place int) callbackRun

	// and where that goes on.
	where(place int) string
}

// decide makes the decision of the next step: it returns which of the candidates has its
// turn, and takes that down.
func (t *trial) decide(ready []candidate, from source) (turn int) {
	t.steps++
	t.choice = t.choice || len(ready) > 1
	deviation := 0
	if from.mayGoOn() {
		turn, deviation = t.picker.pick(t.steps, ready)
	}
	if deviation != 0 {
		t.made = append(t.made, decision{t.steps, deviation})
	}
	if t.measure {
		t.widths = append(t.widths, uint8(len(ready)))
		t.course.WriteByte(byte(turn))
	}
	if !t.record && !t.explain {
		return turn
	}
	if t.leaves(t.steps) {
		t.events = append(t.events, callbackRun{})
		return turn
	}
	e := from.describe(ready[turn].place)
	if t.explain {
		e.where = from.where(ready[turn].place)
		first := from.describe(ready[0].place)
		switch {
		case deviation == putOff:
			e.instead = fmt.Sprintf("%s %s is put off", first.kind, first.name)
		case deviation != 0:
			e.instead = fmt.Sprintf("before %s %s", first.kind, first.name)
		}
	}
	t.events = append(t.events, e)
	return turn
}

// remark takes down what stands between two steps.
func (t *trial) remark(now time.Duration, text string) {
	if t.explain {
		t.said = append(t.said, remark{after: len(t.events), at: now, text: text})
	}
}

// begins notes that a loop runs on this thread, by that clock.
func (t *trial) begins(clock func() time.Duration) {
	t.thread.Store(int64(thread.ID()))
	t.clock = clock
}

// ends notes that no loop runs any more.
func (t *trial) ends() { t.thread.Store(0) }

// hear takes down what the test says while a loop runs, if a task or a callback of that says
// it.
func (t *trial) hear(text string, failure bool) {
	if home := t.thread.Load(); home == 0 || home != int64(thread.ID()) {
		return
	}
	if failure && t.failedAt == 0 {
		t.failedAt = t.steps
	}
	if t.explain && (failure || !t.leaves(t.steps+1)) {
		t.said = append(t.said, remark{after: len(t.events), at: t.clock(), text: firstLine(text), ofTest: true, fails: failure})
	}
}

// firstLine returns the beginning of a text that may have many lines.
func firstLine(text string) string {
	const most = 120
	line, rest, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if len(line) > most {
		line, rest = strings.ToValidUTF8(line[:most], ""), "more"
	}
	if rest != "" {
		line += " ..."
	}
	return line
}

// end ends a run that goes on for too long: it cancels all tasks. If there is none at hand,
// it does so at a later step.
func (t *trial) end(why error, queue []waiting) {
	for _, w := range queue {
		task, ok := w.Subject.(asyncio.AnyTask)
		if !ok {
			continue
		}
		tasks := task.Loop().AllTasks()
		t.endless = fmt.Errorf("%w%s", t.overran(why), listOf(tasks))
		for _, each := range tasks {
			each.Cancel(ErrEndless)
		}
		return
	}
}

// overran notes that the run is beyond its limits, and returns its error.
func (t *trial) overran(why error) error {
	t.overrun = &overrun{why: why}
	return t.overrun
}

// listOf describes tasks, one a line.
func listOf(tasks []asyncio.AnyTask) string {
	text := ""
	for _, task := range tasks {
		text += fmt.Sprintf("\n\ttask %s: %s", task.Name(), whereOf(task))
	}
	return text
}

// An outcome is what a trial has come to.
type outcome struct {
	seed    uint64
	trial   *trial
	loops   uint64 // calls of Sim.Run, and of that of a Sim.Network
	failed  bool
	skipped bool
	log     string
	place   string // of the code that has failed first; empty if that is unknown
	differs string // how a second run has differed, if it has
}

// like reports whether two runs fail in the same way, as far as that can be told.
func (o *outcome) like(other *outcome) bool {
	return o.failed == other.failed && o.place == other.place && (o.trial.endless != nil) == (other.trial.endless != nil)
}

// perform runs f once on a goroutine of its own and waits for its end.
func perform(outer testing.TB, seed uint64, t *trial, f func(testing.TB, *Sim)) *outcome {
	tt := &trialT{TB: outer, name: outer.Name(), trial: t}
	t.tb = tt
	tt.context, tt.cancel = context.WithCancel(context.Background())
	sim := &Sim{Seed: seed, Rand: rand.New(rand.NewPCG(seed, 0)), trial: t, t: tt}
	ended := make(chan struct{})
	alarm := time.AfterFunc(atMost(outer, slowRun), func() {
		fmt.Fprintf(os.Stderr, "asynciotest: this run goes on and on; if it hangs, a task does not await: %s\n", command(outer.Name(), t.nameOf(seed)))
	})
	defer alarm.Stop()
	go func() {
		defer close(ended)
		defer tt.cleanUp()
		returned := false
		defer func() {
			if !returned && !tt.Failed() && !tt.Skipped() {
				tt.Fail()
				tt.write("the run was left by runtime.Goexit, neither by FailNow nor by SkipNow of its own t")
			}
		}()
		tt.guard(func() { f(tt, sim) })
		returned = true
		if t.overrun != nil && !t.overrun.asked && !tt.Failed() {
			tt.Fail()
			tt.write(fmt.Sprintf("the run was ended by its limit, and the function under test has not asked whether its error Is ErrEndless: %v", cmp.Or[error](t.endless, t.overrun)))
		}
		if sim.idle() && !tt.Failed() {
			tt.Fail()
			tt.write("asynciotest: programs were started on a Sim.Network that was never run: call its Run or Simulate")
		}
	}()
	<-ended
	tt.mu.Lock() // goroutines that the run has left behind may still speak
	defer tt.mu.Unlock()
	return &outcome{seed: seed, trial: t, loops: sim.runs, failed: tt.failed, skipped: tt.skipped, log: tt.log.String(), place: tt.place}
}

// slowRun is how long a run may take until somebody is told: if go test ends the process, it
// does not say which run that was.
var slowRun = time.Minute

// atMost returns d, or half of what is left until the time limit of the test, but no less
// than a second.
func atMost(t testing.TB, d time.Duration) time.Duration {
	if limited, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if end, ok := limited.Deadline(); ok {
			return min(d, max(time.Until(end)/2, time.Second))
		}
	}
	return d
}

// nameOf names the run.
func (t *trial) nameOf(seed uint64) fmt.Stringer {
	if t.fault != nil && t.fault.k > 0 {
		return t.fault.faultName
	}
	if r, ok := t.picker.(*repetition); ok {
		return runName{seed, true, r.decisions}
	}
	return runName{seed: seed}
}

// ownPrefix is how the names of the functions of this package begin.
var ownPrefix = reflect.TypeFor[Sim]().PkgPath() + "."
