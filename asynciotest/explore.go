// Exploring: many schedules of one program, until one of them fails.

package asynciotest

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// Explore runs f n times, each time with another seed, on several threads at once,
// until a run fails. Then it looks for the simplest schedule that fails, and ends the
// test with a report: what f has logged, who had which turn, and the command that
// repeats exactly that run.
//
//	func TestTransfer(t *testing.T) {
//		asynciotest.Explore(t, 1000, func(t testing.TB, sim *asynciotest.Sim) {
//			bank := NewBank()
//			if err := sim.Run(bank.Transfers); err != nil {
//				t.Fatal(err)
//			}
//			if bank.Total() != 100 {
//				t.Errorf("the total is %d", bank.Total())
//			}
//		})
//	}
//
// The t of f stands for one run, and failures must be told to that one, not to the t of the
// test around it: only so the run can be found and repeated. Whatever f uses it must make
// itself: it is called on several goroutines at once, and a run must not depend on others.
// Setenv and Chdir are not for it.
//
// Runs that test nothing are a failure: if n is not positive, if f skips every run, if
// it leaves a run by runtime.Goexit, and if PCTSchedules or AllSchedules are asked for
// but f calls neither Sim.Run nor the Run of a Sim.Network. Otherwise f need not call one,
// for the seed may be all that it wants. Then no schedule is explored: runs differ by
// Sim.Seed and Sim.Rand alone, and the log of the test says so, as it does if there was
// never a choice between two callbacks.
//
// A run that hangs, because a task does not await, cannot be ended. If one takes a minute of
// real time, or half of what the time limit of go test leaves, its name is written to the
// standard error, as it would be lost with the process.
//
// It panics if f or an option is nil.
//
// # Schedules
//
// The loop serves its callbacks in the order in which they became ready. When that
// was is a matter of chance as soon as a program waits for something outside: the
// network, a timer, another goroutine. A schedule of Explore is one that the loop
// runs when those things happen a little earlier or later. At each step any callback
// that is ready may have its turn, and others be put off, as long as
//
//   - what one step of a task has made ready goes on in that order: the tasks that it
//     has created, the waiters that it has woken, and itself, if it has given up its
//     turn;
//   - callbacks of CallSoon and CallSoonThreadsafe run in the order of their calls,
//     those of one future in the order of registration, and those of CallLater and
//     CallAt in the order of deadlines and of creation;
//   - who sleeps until an earlier moment wakes before who sleeps until a later one;
//   - the callbacks of one connection, one descriptor, one child process come in
//     their order.
//
// Time passes only when nothing is ready, so nothing is late because it was put
// off. In one respect such a schedule is more than the loop does by itself: a Yield
// takes any number of passes, not one, as if it had waited for something outside. So
// a program that counts passes can fail here and nowhere else. But nobody is put off for
// ever: a task that polls, with a Yield in a loop, comes to see what it polls for.
//
// The first run is always first come, first served. The others follow
// RandomSchedules, unless an option says otherwise.
//
// # What a run must not depend on
//
// A seed decides everything that comes from the loop: the schedule, asyncio.Rand,
// the clock. Other sources of chance are not under its control: the order of maps,
// select, the global functions of math/rand, time.Now, other goroutines, real
// sockets. Explore runs some of the seeds twice, and fails if the second run takes
// another course; CheckDeterminism does so for one.
//
// # Repeating a run
//
// With the flag -asynciotest.seed of the test binary, or the environment variable
// ASYNCIOTEST_SEED, every Explore runs only the given seed, once. "17" is seed 17
// with its own schedule; "17:5.1,9.p" is seed 17 first come, first served, but at
// step 5 candidate 1 has its turn, counted from 0, and at step 9 the callback whose
// turn it is is put off until nothing else is ready, or until another one has had a
// hundred turns since. "17:" has no deviation at all. The steps must be in order. If the
// run does not come to one of them, or has no such candidate there, that is a failure,
// unless another Explore of the test has it; so is a name of another kind of run, such
// as "cancel3@1" (see CancelEverywhere), but if it is given by the environment, that
// concerns other tests and is logged.
func Explore(t *testing.T, n int, f func(t testing.TB, sim *Sim), opts ...ExploreOption) {
	t.Helper()
	e := newExploration("Explore", t, n, f, opts)
	if n < 1 {
		t.Fatalf("asynciotest: Explore(t, %d, ...) runs nothing: the number must be positive", n)
	}
	again, fault, err := asked()
	switch {
	case err != nil:
		t.Fatal(err)
	case fault != nil:
		decline(t, true, "it is not for Explore")
	case again != nil:
		e.repeat(again)
	default:
		failed := t.Failed()
		e.explore()
		if t.Failed() && !failed {
			t.Fatal("asynciotest: a run has failed the test itself, through its t, and not the one that the function is given: so nobody knows which seed it was")
		}
		e.mustHaveTested()
	}
}

// mustHaveTested ends the test if none of the runs has tested anything.
func (e *exploration) mustHaveTested() {
	e.t.Helper()
	switch {
	case e.ran.Load() && !e.free.Load() && e.n > 1:
		e.t.Log("asynciotest: no schedule is explored: never were two callbacks ready at one time. What takes time in production must take time in the test: Sleep, or a Sim.Network")
	case !e.kept.Load():
		e.t.Fatal("asynciotest: nothing is tested: every run ends with Skip (to skip the test, call that of its own t)")
	case e.ran.Load():
	case e.depth > 0 || e.bound >= 0:
		e.t.Fatalf("asynciotest: no schedule is explored (%s): the function calls neither Sim.Run nor the Run of a Sim.Network", e.strategy())
	default:
		e.t.Log("asynciotest: no schedule is explored: the function calls neither Sim.Run nor the Run of a Sim.Network, and the runs differ by their seeds alone")
	}
}

// An ExploreOption is an option of Explore and CheckDeterminism.
type ExploreOption interface{ applyExplore(*exploration) }

type exploreOption func(*exploration)

func (o exploreOption) applyExplore(e *exploration) { o(e) }

// RandomSchedules gives every candidate the same chance at every step. This is the
// default.
func RandomSchedules() ExploreOption {
	return exploreOption(func(e *exploration) { e.depth, e.bound = 0, -1 })
}

// PCTSchedules gives every task a priority by chance, runs the highest one that is
// ready, and depth-1 times in a run makes the one that has its turn the lowest. So
// one task may be put off for long while others go far, which RandomSchedules hardly
// ever does. A bug that needs depth particular orderings is found by one run with a
// chance of at least 1/(n*k^(depth-1)) with n tasks and k steps: Burckhardt, Kothari,
// Musuvathi and Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees of
// Finding Bugs", ASPLOS 2010. Most bugs need 1 to 3. A task that has had a hundred
// turns in a row while others wait becomes the lowest too, which the paper has not:
// it may wait for them. It panics if depth is not positive.
func PCTSchedules(depth int) ExploreOption {
	if depth < 1 {
		panic(fmt.Sprintf("asynciotest: PCTSchedules(%d): the depth must be positive", depth))
	}
	return exploreOption(func(e *exploration) { e.depth, e.bound = depth, -1 })
}

// AllSchedules tries, with one seed, all schedules that deviate from first come,
// first served at most bound times, those with fewer deviations first, as far as the
// n of Explore goes. A deviation is that another callback has its turn, or that the
// one whose turn it is is put off until nothing else is ready, or until another one has
// had a hundred turns since. The log of the test says whether AllSchedules got to the
// end: then there is no other such schedule. A program of k steps with two tasks has
// some (2k)^bound of them, so it is for small programs. It panics if bound is negative.
func AllSchedules(bound int) ExploreOption {
	if bound < 0 {
		panic(fmt.Sprintf("asynciotest: AllSchedules(%d): the bound must not be negative", bound))
	}
	return exploreOption(func(e *exploration) { e.depth, e.bound = 0, bound })
}

// FirstSeed sets the first seed; the following ones are counted up from it. The
// default is 1. A nightly test may take another one each time.
func FirstSeed(seed uint64) ExploreOption {
	return exploreOption(func(e *exploration) { e.first = seed })
}

// An exploration is a call of Explore.
type exploration struct {
	t      testing.TB
	n      int
	f      func(testing.TB, *Sim)
	first  uint64
	depth  int // of PCT; 0 without
	bound  int // of AllSchedules; negative without
	steps  int // of the first run
	limits limits

	kept atomic.Bool // a run was not skipped
	ran  atomic.Bool // a run has called Sim.Run, or that of a Sim.Network,
	free atomic.Bool // and there was a choice in it
}

// newExploration makes that of the function op.
func newExploration(op string, t testing.TB, n int, f func(testing.TB, *Sim), opts []ExploreOption) *exploration {
	if f == nil {
		panic("asynciotest: " + op + ": the function is nil")
	}
	e := &exploration{t: t, n: n, f: f, first: 1, limits: oneOfMany, bound: -1}
	for _, o := range opts {
		if o == nil {
			panic("asynciotest: " + op + ": an option is nil")
		}
		o.applyExplore(e)
	}
	return e
}

// strategy describes how the schedules are made.
func (e *exploration) strategy() string {
	switch {
	case e.bound >= 0:
		return fmt.Sprintf("all schedules with at most %d deviations", e.bound)
	case e.depth > 0:
		return fmt.Sprintf("PCT schedules of depth %d", e.depth)
	}
	return "random schedules"
}

// picker returns what makes the decisions of a seed.
func (e *exploration) picker(seed uint64) picker {
	rng := rand.New(rand.NewPCG(seed, 1<<63))
	switch {
	case seed == e.first || e.bound >= 0:
		return firstCome{}
	case e.depth > 0:
		return newPriorities(rng, e.depth, e.steps)
	}
	return randomWalk{rng}
}

// run performs one run.
func (e *exploration) run(seed uint64, t *trial) *outcome {
	t.limits = e.limits
	t.course.SetSeed(courseSeed)
	o := perform(e.t, seed, t, e.f)
	if !o.skipped {
		e.kept.Store(true)
	}
	if o.loops > 0 {
		e.ran.Store(true)
	}
	if t.choice {
		e.free.Store(true)
	}
	return o
}

// runTwice performs one run, and the same once more to see whether it goes the same
// way.
func (e *exploration) runTwice(seed uint64, measure bool, pick func() picker) *outcome {
	o := e.run(seed, &trial{picker: pick(), record: true, measure: measure})
	again := e.run(seed, &trial{picker: pick(), record: true})
	o.differs = o.differsFrom(again)
	return o
}

// every is of how many seeds one is run twice.
const every = 64

func (e *exploration) explore() {
	e.t.Helper()
	first := e.runTwice(e.first, e.bound > 0, func() picker { return firstCome{} })
	e.steps = first.trial.steps
	if e.bad(first) {
		return
	}
	if e.bound >= 0 {
		e.exploreAll(first)
		return
	}
	e.bad(e.parallel(e.n-1, func(i int) *outcome {
		seed := e.first + 1 + uint64(i)
		if (i+1)%every == 0 {
			return e.runTwice(seed, false, func() picker { return e.picker(seed) })
		}
		return e.run(seed, &trial{picker: e.picker(seed)})
	}))
}

// bad reports an outcome, if that is not nil and no success.
func (e *exploration) bad(o *outcome) bool {
	e.t.Helper()
	switch {
	case o == nil:
		return false
	case o.failed:
		e.t.Fatal(e.explain(o))
	case o.differs != "":
		e.t.Fatal(e.indeterminate(o.seed, o.differs))
	}
	return o.failed || o.differs != ""
}

// parallel calls run for 0 to n-1 on several goroutines, in that order, until one
// fails. It returns that outcome: the one with the lowest number, so that it is the
// same whenever the runs are.
func (e *exploration) parallel(n int, run func(i int) *outcome) *outcome {
	var (
		next    atomic.Int64
		over    atomic.Bool
		mu      sync.Mutex
		lowest  = n
		failure *outcome
		workers sync.WaitGroup
	)
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for !over.Load() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				o := run(i)
				if !o.failed && o.differs == "" {
					continue
				}
				over.Store(true)
				mu.Lock()
				if i < lowest {
					lowest, failure = i, o
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return failure
}

// exploreAll tries the schedules with one deviation, with two, and so on. first is
// the run with none.
func (e *exploration) exploreAll(first *outcome) {
	e.t.Helper()
	tried := 1
	known := map[uint64]bool{first.trial.course.Sum64(): true}
	level := []*trial{first.trial}
	complete := true
	for depth := 1; depth <= e.bound && complete && len(level) > 0; depth++ {
		longer := extend(level, e.n-tried+1)
		if len(longer) > e.n-tried {
			longer, complete = longer[:e.n-tried], false
		}
		tried += len(longer)
		level = make([]*trial, len(longer))
		if e.bad(e.parallel(len(longer), func(i int) *outcome {
			t := &trial{picker: longer[i].replay(), measure: true}
			o := e.run(e.first, t)
			level[i] = &trial{made: t.made, widths: t.widths, course: t.course} // the rest takes much memory
			if depth == e.bound {
				level[i].widths = nil // it will not be extended
			}
			return o
		})) {
			return
		}
		level = slices.DeleteFunc(level, func(t *trial) bool {
			course := t.course.Sum64()
			old := known[course]
			known[course] = true
			return old
		})
	}
	if complete {
		e.t.Logf("asynciotest: these were all: %s with at most %s", plural(len(known), "schedule"), plural(e.bound, "deviation"))
		return
	}
	e.t.Logf("asynciotest: these were not all: with at most %s there are more schedules than could be tried in %s", plural(e.bound, "deviation"), plural(e.n, "run"))
}

var courseSeed = maphash.MakeSeed()

// extend returns the schedules that deviate once more, and later, than those of a
// level: at most n.
func extend(level []*trial, n int) []decisions {
	var longer []decisions
	for _, t := range level {
		d, last := t.made, 0
		if len(d) > 0 {
			last = d[len(d)-1].step
		}
		for i, width := range t.widths[last:] {
			if width == 1 {
				continue
			}
			for choice := putOff; choice < int(width); choice++ {
				if choice == 0 {
					continue
				}
				if len(longer) == n {
					return longer
				}
				longer = append(longer, append(d[:len(d):len(d)], decision{last + 1 + i, choice}))
			}
		}
	}
	return longer
}
