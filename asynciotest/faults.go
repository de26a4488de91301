// Faults: a cancellation or a panic at every place where a program waits.

package asynciotest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goasyncio/asyncio"
)

// ErrInjected is the cause of a cancellation by CancelEverywhere, and the value of a
// panic by PanicEverywhere.
var ErrInjected = errors.New("asynciotest: injected fault")

// CancelEverywhere runs f again and again, first come, first served, and each time
// cancels one task at one place where it waits: the first time that any task is
// suspended, the second time, and so on until a run has no such moment any more. Each
// is tried twice: the task is cancelled at once, and when what it has waited for is
// there and it is about to go on. Whatever happens, f checks that the program keeps
// its promises:
//
//	asynciotest.CancelEverywhere(t, func(t testing.TB, sim *asynciotest.Sim) {
//		bank := NewBank()
//		if err := sim.Run(bank.Transfers); err != nil && !errors.Is(err, asynciotest.ErrInjected) {
//			t.Fatal(err)
//		}
//		if bank.Total() != 100 {
//			t.Errorf("the total is %d", bank.Total())
//		}
//	})
//
// The cause of the cancellation is ErrInjected. The first failure ends the test with
// a report: which task was cancelled, where, what f has logged, who had which turn,
// and the command that repeats the run. What Explore says of t holds here too, but the
// runs come one after another.
//
// A task that ignores its cancellation, and awaits ten thousand times more while no time
// passes on the loop's clock, fails the run and is ended as by FailNow.
//
// It is a failure if there is no place for a fault: if f calls neither Sim.Run nor the Run
// of a Sim.Network, or skips every run, if no task ever waits, or none of the name that
// OnlyTask gives. It panics if f or an option is nil.
func CancelEverywhere(t *testing.T, f func(t testing.TB, sim *Sim), opts ...FaultOption) {
	t.Helper()
	i := newInjection("CancelEverywhere", t, f, opts)
	i.everywhere(cancelAtOnce, cancelLater)
}

// PanicEverywhere is CancelEverywhere with a panic: a call that would suspend the
// task panics with ErrInjected instead, before it has done anything. The task fails
// with an *asyncio.PanicError that Is ErrInjected; if it is main, that is what
// Sim.Run returns.
func PanicEverywhere(t *testing.T, f func(t testing.TB, sim *Sim), opts ...FaultOption) {
	t.Helper()
	i := newInjection("PanicEverywhere", t, f, opts)
	i.everywhere(panicInstead)
}

// A FaultOption is an option of CancelEverywhere and PanicEverywhere.
type FaultOption interface{ applyFault(*injection) }

type faultOption func(*injection)

func (o faultOption) applyFault(i *injection) { o(i) }

// OnlyTask lets faults happen only in tasks of that name. The task of main is called
// "main". On a Sim.Network it may be given with its program, as "server/main".
func OnlyTask(name string) FaultOption {
	return faultOption(func(i *injection) { i.only, i.limited = name, true })
}

// WithSeeds does it all n times, each time with another seed: the first one first
// come, first served, the others on random schedules (see Explore). The default is 1.
// It panics if n is not positive.
func WithSeeds(n int) FaultOption {
	if n < 1 {
		panic(fmt.Sprintf("asynciotest: WithSeeds(%d): the number must be positive", n))
	}
	return faultOption(func(i *injection) { i.n = n })
}

// What a fault is.
const (
	cancelAtOnce = "cancel"
	cancelLater  = "late"
	panicInstead = "panic"
)

// A faultName names one fault: the k-th moment of its kind in the run of a seed.
type faultName struct {
	how  string
	k    int
	seed uint64
}

func (n faultName) String() string { return fmt.Sprintf("%s%d@%d", n.how, n.k, n.seed) }

// parseFault returns the fault of that name, if it is one.
func parseFault(text string) (faultName, bool) {
	for _, how := range []string{cancelAtOnce, cancelLater, panicInstead} {
		if numbers, ok := strings.CutPrefix(text, how); ok {
			number, at, _ := strings.Cut(numbers, "@")
			k, err1 := strconv.Atoi(number)
			seed, err2 := strconv.ParseUint(at, 10, 64)
			name := faultName{how, k, seed}
			return name, err1 == nil && err2 == nil && k > 0 && name.String() == text
		}
	}
	return faultName{}, false
}

// An injection is a call of CancelEverywhere or PanicEverywhere.
type injection struct {
	*exploration
	only    string
	limited bool
	op      string          // the name of the function
	waiters map[string]bool // the names of the tasks that wait in runs without a fault
	places  int             // how often one waits that a fault may concern
	points  []int           // the calls at which panics are injected
}

func newInjection(op string, t testing.TB, f func(testing.TB, *Sim), opts []FaultOption) *injection {
	i := &injection{exploration: newExploration(op, t, 1, f, nil), op: op, waiters: make(map[string]bool)}
	for _, o := range opts {
		if o == nil {
			panic("asynciotest: " + op + ": an option is nil")
		}
		o.applyFault(i)
	}
	return i
}

// everywhere injects faults of the given kinds, or only the one that the user has
// asked for.
func (i *injection) everywhere(kinds ...string) {
	i.t.Helper()
	run, again, err := asked()
	switch {
	case err != nil:
		i.t.Fatal(err)
	case run != nil:
		decline(i.t, true, "it is not for "+i.op)
		return
	case again != nil && !slices.Contains(kinds, again.how):
		decline(i.t, true, "it is not for "+i.op)
		return
	case again != nil && (again.seed < i.first || again.seed-i.first >= uint64(i.n)):
		decline(i.t, true, fmt.Sprintf("%s has no seed %d", i.op, again.seed))
		return
	}
	for seed := i.first; seed < i.first+uint64(i.n); seed++ {
		if again != nil && seed != again.seed {
			continue
		}
		none := &fault{injection: i}
		if o := i.inject(none, seed, false); o.failed {
			i.t.Fatalf("asynciotest: seed %d fails without a fault\n%s", seed, indent(shorten(o.log)))
		}
		i.points = none.points
		i.places += none.suspensions
		if again != nil {
			i.repeat(*again)
			return
		}
		for k := 1; i.at(k, seed, kinds); k++ {
		}
	}
	i.mustHavePlaces()
}

// mustHavePlaces ends the test if there was no place for a fault.
func (i *injection) mustHavePlaces() {
	i.t.Helper()
	switch {
	case i.places > 0:
	case !i.kept.Load():
		i.mustHaveTested()
	case !i.ran.Load():
		i.t.Fatalf("asynciotest: %s: there is no place for a fault: the function calls neither Sim.Run nor the Run of a Sim.Network", i.op)
	case len(i.waiters) == 0:
		i.t.Fatalf("asynciotest: %s: there is no place for a fault: no task ever waits", i.op)
	case !i.limited:
		i.t.Fatalf("asynciotest: %s: there is no place for a fault: the only tasks that wait are the test's own, %s: start programs on other hosts, or name one with OnlyTask",
			i.op, strings.Join(slices.Sorted(maps.Keys(i.waiters)), ", "))
	default:
		i.t.Fatalf("asynciotest: %s: there is no place for a fault: no task %q ever waits, but these do: %s",
			i.op, i.only, strings.Join(slices.Sorted(maps.Keys(i.waiters)), ", "))
	}
}

// at injects the k-th faults of a seed, and reports whether there was one.
func (i *injection) at(k int, seed uint64, kinds []string) bool {
	i.t.Helper()
	reached := false
	for _, kind := range kinds {
		f := &fault{injection: i, faultName: faultName{kind, k, seed}}
		if o := i.inject(f, seed, false); o.failed {
			i.t.Fatal(i.explain(f, o))
		}
		reached = reached || f.reached
	}
	return reached
}

// inject performs one run with a fault.
func (i *injection) inject(f *fault, seed uint64, explain bool) *outcome {
	return i.run(seed, &trial{picker: i.picker(seed), fault: f, explain: explain})
}

// explain repeats a run that has failed, and describes it.
func (i *injection) explain(f *fault, failed *outcome) string {
	told := &fault{injection: i, faultName: f.faultName}
	o := i.run(f.seed, &trial{picker: i.picker(f.seed), fault: told, explain: true, leave: failed.trial.left()})
	return fmt.Sprintf("asynciotest: it fails with a fault: %v\n%s%sTo repeat this run:\n    %s",
		told, indent(shorten(o.log)), o.trial.table(), command(i.t.Name(), f.faultName))
}

// repeat runs with one fault, and says how it has gone.
func (i *injection) repeat(name faultName) {
	i.t.Helper()
	f := &fault{injection: i, faultName: name}
	o := i.inject(f, name.seed, true)
	if !f.reached && !o.failed {
		decline(i.t, false, fmt.Sprintf("the run of %s has no such place", i.op))
		return
	}
	accept(i.t)
	text := fmt.Sprintf("asynciotest: run with a fault: %v\n%s%s", f, indent(o.log), o.trial.table())
	if o.failed {
		i.t.Fatal(strings.TrimSuffix(text, "\n"))
	}
	i.t.Logf("%s    it passes", text)
}

// A fault is what goes wrong in one run.
type fault struct {
	*injection
	faultName

	reached bool
	task    string // whose fault it was,
	where   string // and where, if that is known

	suspensions int
	victim      asyncio.AnyTask // to be cancelled at its next turn

	calls  int
	call   map[asyncio.AnyTask]int // the last call of each task, until that suspends
	points []int                   // the calls that have suspended
}

func (f *fault) String() string {
	what := map[string]string{
		cancelAtOnce: "task %s is cancelled when it waits",
		cancelLater:  "task %s is cancelled when it is about to go on",
		panicInstead: "task %s panics instead of waiting",
	}[f.how]
	if !f.reached {
		return "it does not come to " + f.faultName.String()
	}
	what = fmt.Sprintf(what, f.task)
	if f.where != "" {
		what += ", " + f.where
	}
	return what
}

// concerns reports whether the fault may be one of that task.
func (f *fault) concerns(s *schedule, t asyncio.AnyTask) bool {
	test := s.process != nil && s.process.program.isTest()
	if !f.limited {
		return !test
	}
	name := t.Name()
	return name == f.only && !test || s.process != nil && s.prefix()+name == f.only
}

// happens notes that the moment has come.
func (f *fault) happens(s *schedule, t asyncio.AnyTask) {
	f.reached, f.task, f.where = true, s.nameOf(t), whereOf(t)
}

// awaits is told that a task begins a call that may suspend it.
func (f *fault) awaits(s *schedule, t asyncio.AnyTask) {
	if !f.concerns(s, t) {
		return
	}
	f.calls++
	if f.how == panicInstead {
		if f.k <= len(f.injection.points) && f.calls == f.injection.points[f.k-1] {
			f.happens(s, t)
			panic(ErrInjected)
		}
		return
	}
	if f.call == nil {
		f.call = make(map[asyncio.AnyTask]int)
	}
	f.call[t] = f.calls
}

// suspends is told that a task is about to be suspended.
func (f *fault) suspends(s *schedule, t asyncio.AnyTask) {
	if f.k == 0 {
		f.waiters[s.nameOf(t)] = true
	}
	if !f.concerns(s, t) {
		return
	}
	if call := f.call[t]; call > 0 {
		f.points = append(f.points, call)
		f.call[t] = 0
	}
	if f.suspensions++; f.suspensions != f.k {
		return
	}
	switch f.how {
	case cancelAtOnce:
		f.happens(s, t)
		t.Cancel(ErrInjected)
	case cancelLater:
		f.happens(s, t)
		f.victim = t
	}
}

// goesOn is told who has the next turn.
func (f *fault) goesOn(subject any) {
	if f.victim != nil && subject == any(f.victim) {
		f.victim.Cancel(ErrInjected)
		f.victim = nil
	}
}

// caught is asyncio.Run, except that a panic that was injected into main is returned.
func caught(main func(ctx context.Context) error, opts []asyncio.RunOption) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *asyncio.PanicError:
			if !errors.Is(p, ErrInjected) {
				panic(p)
			}
			err = p
		default:
			panic(p)
		}
	}()
	return asyncio.Run(context.Background(), main, opts...)
}
