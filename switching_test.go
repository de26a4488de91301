// Random programs, which must run alike in whatever way the loop goes from one task to the
// next: straight from stack to stack, by its own stack, pass by pass, with a poll in
// between or without, and if somebody looks at the stacks all the time.

package asyncio_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
	"github.com/goasyncio/asyncio/internal/seam"
)

// A step is what a task or a callback of a random program does next. a and b choose among
// what there is, or are a time; body and other are steps inside it.
type step struct {
	kind        string
	a, b        int
	body, other []step
	afterwards  int // what a task does after an error: see play
}

// Kinds of steps: what tasks do, and what callbacks and tasks do.
var (
	taskSteps = []string{
		"yield", "yield", "sleep", "sleep", "await", "await", "await future", "lock", "semaphore", "put", "get",
		"wait for event", "condition", "timeout", "timeout", "group", "gather", "shield", "wait for", "first of", "defer",
		"recover", "clean-up", "derived context", "borrowed context", "error", "panic", "goexit", "go", "go", "go",
	}
	plainSteps = []string{
		"go", "go eagerly", "go eagerly", "cancel", "set result", "set error", "soon", "later", "threadsafe", "done callback",
		"set event", "put now", "notify", "stop", "describe", "who runs",
	}
)

// A source makes random programs out of bytes; when there are no more it comes to an end.
type source struct {
	bytes []byte
	steps int // that may still be made
}

func (s *source) choose(n int) int {
	if len(s.bytes) == 0 {
		return 0
	}
	c := int(s.bytes[0]) % n
	s.bytes = s.bytes[1:]
	return c
}

func (s *source) program(depth int, inTask bool) []step {
	var all []step
	for n := 1 + s.choose(5); n > 0 && len(s.bytes) > 0 && s.steps > 0; n-- {
		s.steps--
		kinds := plainSteps
		if inTask && s.choose(3) > 0 {
			kinds = taskSteps
		}
		p := step{kind: kinds[s.choose(len(kinds))], a: s.choose(8), b: s.choose(8), afterwards: s.choose(4)}
		if depth > 0 {
			switch p.kind {
			case "go", "go eagerly", "lock", "semaphore", "condition", "timeout", "shield", "wait for", "recover", "clean-up", "derived context":
				p.body = s.program(depth-1, true)
			case "group", "gather", "first of", "defer":
				p.body, p.other = s.program(depth-1, true), s.program(depth-1, true)
			case "soon", "later", "threadsafe", "done callback":
				p.body = s.program(depth-1, false)
			}
		}
		all = append(all, p)
	}
	return all
}

// A world is what the steps of one run share.
type world struct {
	loop      *asyncio.EventLoop
	trace     []string
	each      func() // called at each event; may be nil
	stopped   bool   // in this pass
	failures  int    // of polls, as Run has told
	tasks     []asyncio.AnyTask
	futures   [4]*asyncio.Future[int]
	locks     [2]asyncio.Lock
	condition [2]*asyncio.Condition
	semaphore *asyncio.Semaphore
	queue     *asyncio.Queue[int]
	event     asyncio.Event
}

func (w *world) note(who, what string) {
	running := "-"
	if t := asyncio.CurrentTask(w.loop.Context(context.Background())); t != nil {
		running = t.Name()
	}
	w.trace = append(w.trace, fmt.Sprintf("%v %s %s: %s", w.loop.Time(), running, who, what))
	if w.each != nil {
		w.each()
	}
}

// endOf is what is noted of an error: not its text, which may have addresses in it.
func endOf(err error) string {
	var p *asyncio.PanicError
	var u *asyncio.UsageError
	var g *asyncio.GroupError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &p):
		return fmt.Sprint("panic ", p.Value)
	case errors.As(err, &g):
		var all []string
		for _, e := range g.Errs {
			all = append(all, endOf(e))
		}
		return "group of " + strings.Join(all, ", ")
	case errors.As(err, &u):
		return "misuse " + u.Cause.Error()
	}
	return err.Error()
}

// play does the steps of a task.
func (w *world) play(ctx context.Context, steps []step) error {
	who := asyncio.CurrentTask(ctx).Name()
	for _, p := range steps {
		err := w.do(ctx, who, p)
		w.note(who, p.kind+" "+endOf(err))
		if err == nil {
			continue
		}
		switch p.afterwards {
		case 0, 1:
			return err
		case 2:
			ctx = asyncio.CleanupContext(ctx)
		}
	}
	return nil
}

// player is play as a coroutine that notes its beginning and its end, however it ends.
func (w *world) player(steps []step) asyncio.Coroutine[int] {
	return func(ctx context.Context) (n int, err error) {
		who := asyncio.CurrentTask(ctx).Name()
		w.note(who, "begins")
		defer func() { w.note(who, "ends "+endOf(err)) }()
		return len(steps), w.play(ctx, steps)
	}
}

func (w *world) plainPlayer(steps []step) func(ctx context.Context) error {
	return untyped(w.player(steps))
}

// start starts a task that does the steps.
func (w *world) start(ctx context.Context, p step, opts ...asyncio.TaskOption) *asyncio.Task[int] {
	i := len(w.tasks)
	w.tasks = append(w.tasks, nil)
	t := asyncio.CreateTask(ctx, w.player(p.body), append(opts, asyncio.WithName(fmt.Sprint("t", i)))...)
	w.tasks[i] = t
	return t
}

// aTask returns one of the tasks; nil if there is none.
func (w *world) aTask(i int) asyncio.AnyTask {
	if len(w.tasks) == 0 {
		return nil
	}
	return w.tasks[i*i%len(w.tasks)]
}

func (w *world) aFuture(i int) *asyncio.Future[int] {
	f := &w.futures[i%len(w.futures)]
	if *f == nil || (*f).Done() {
		*f = asyncio.NewFuture[int](w.loop.Context(context.Background()))
	}
	return *f
}

// call is the callback that does the steps.
func (w *world) call(who string, steps []step) func() {
	return func() {
		w.note(who, "runs")
		for _, p := range steps {
			err := w.doPlain(w.loop.Context(context.Background()), who, p)
			w.note(who, p.kind+" "+endOf(err))
			if p.afterwards == 3 && p.b == 7 {
				panic(who)
			}
		}
	}
}

// do does a step of a task.
func (w *world) do(ctx context.Context, who string, p step) error {
	d := time.Duration(p.a)
	switch p.kind {
	case "yield":
		return asyncio.Yield(ctx)
	case "sleep":
		return asyncio.Sleep(ctx, d)
	case "await":
		if t := w.aTask(p.a); t != nil {
			return t.Wait(ctx)
		}
	case "await future":
		return w.aFuture(p.a).Wait(ctx)
	case "lock":
		return w.locks[p.a%2].With(ctx, func(ctx context.Context) error { return w.play(ctx, p.body) })
	case "semaphore":
		return w.semaphore.With(ctx, func(ctx context.Context) error { return w.play(ctx, p.body) })
	case "put":
		return w.queue.Put(ctx, p.a)
	case "get":
		n, err := w.queue.Get(ctx)
		if err == nil {
			w.note(who, fmt.Sprint("gets ", n))
		}
		return err
	case "wait for event":
		return w.event.Wait(ctx)
	case "condition":
		c := w.condition[p.a%2]
		return c.With(ctx, func(ctx context.Context) error {
			return errors.Join(w.play(ctx, p.body), c.Wait(ctx))
		})
	case "timeout":
		return asyncio.Timeout(ctx, d, func(ctx context.Context) error { return w.play(ctx, p.body) })
	case "group":
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for range p.b % 4 {
				g.Go(w.plainPlayer(p.body))
			}
			g.Go(w.plainPlayer(p.other), asyncio.EagerStart())
			return w.play(ctx, p.other)
		}, asyncio.WithLimit(1+p.a%3))
	case "gather":
		ns, err := asyncio.Gather[int](ctx, w.player(p.body), w.player(p.other), w.player(p.body))
		w.note(who, fmt.Sprint("gathers ", ns))
		return err
	case "shield":
		_, err := asyncio.Shield[int](ctx, w.player(p.body))
		return err
	case "wait for":
		_, err := asyncio.WaitFor[int](ctx, d, w.player(p.body))
		return err
	case "first of":
		fs := []asyncio.AnyFuture{w.start(ctx, p), asyncio.Go(ctx, w.plainPlayer(p.other), asyncio.EagerStart())}
		done, pending, err := asyncio.Wait(ctx, fs, asyncio.WaitOptions{ReturnWhen: asyncio.FirstCompleted, Timeout: d})
		w.note(who, fmt.Sprintf("%d are done, %d are not", len(done), len(pending)))
		return err
	case "defer":
		defer w.play(ctx, p.other)
		return w.play(ctx, p.body)
	case "recover":
		defer func() {
			if v := recover(); v != nil {
				w.note(who, fmt.Sprint("recovers ", v))
				asyncio.Yield(ctx)
			}
		}()
		return w.play(ctx, p.body)
	case "clean-up":
		return w.play(asyncio.CleanupContext(ctx), p.body)
	case "derived context":
		switch p.b % 3 {
		case 0:
			c, cancel := context.WithCancel(ctx)
			defer cancel()
			return w.play(c, p.body)
		case 1:
			return w.play(context.WithValue(ctx, world{}, p.a), p.body)
		}
		return w.play(context.WithoutCancel(ctx), p.body)
	case "borrowed context":
		if t := w.aTask(p.b); t != nil {
			return asyncio.Sleep(t.Context(), d)
		}
	case "error":
		return io2
	case "panic":
		panic(who)
	case "goexit":
		runtime.Goexit()
	}
	return w.doPlain(ctx, who, p)
}

// doPlain does a step that a callback can do as well as a task.
func (w *world) doPlain(ctx context.Context, who string, p step) error {
	name := fmt.Sprintf("%s of %s", p.kind, who)
	switch p.kind {
	case "go":
		w.start(ctx, p)
	case "go eagerly":
		w.start(ctx, p, asyncio.EagerStart())
	case "cancel":
		if t := w.aTask(p.a); t != nil {
			w.note(who, fmt.Sprint("cancels ", t.Name(), " ", t.Cancel(errA)))
		}
	case "set result":
		return w.aFuture(p.a).SetResult(p.b)
	case "set error":
		return w.aFuture(p.a).SetError(errA)
	case "soon":
		w.loop.CallSoon(w.call(name, p.body))
	case "later":
		w.loop.CallLater(time.Duration(p.a), w.call(name, p.body))
	case "threadsafe":
		_, err := w.loop.CallSoonThreadsafe(w.call(name, p.body))
		return err
	case "done callback":
		var f asyncio.AnyFuture = w.aFuture(p.a)
		if t := w.aTask(p.a); t != nil && p.b%2 == 0 {
			f = t
		}
		f.AddDoneCallback(func(asyncio.AnyFuture) { w.call(name, p.body)() })
	case "set event":
		w.event.Set()
		if p.a%2 == 0 {
			w.event.Clear()
		}
	case "put now":
		return w.queue.PutNowait(p.a)
	case "notify":
		if c := w.condition[p.a%2]; c.Locked() {
			c.Notify(p.b)
		}
	case "stop":
		w.stopped = true
		w.loop.Stop()
	case "describe":
		for _, t := range w.tasks {
			if t != nil {
				w.note(who, fmt.Sprint("sees ", t, stackText(t)))
			}
		}
	case "who runs":
		w.note(who, fmt.Sprint("sees ", asyncio.AllTasks(w.loop.Context(context.Background()))))
	}
	return nil
}

// stackText tells of the stack of a task where it is in the steps.
func stackText(t asyncio.AnyTask) string {
	var b strings.Builder
	for _, f := range t.Stack(0) {
		if strings.Contains(f.File, "_test.go") {
			fmt.Fprintf(&b, " %d", f.Line)
		}
	}
	return b.String()
}

// A way is a way to run a program.
type way struct {
	name string
	opts []asyncio.LoopOption
	prep func(t *testing.T, w *world)
	run  func(w *world, main asyncio.AnyFuture) error
}

// patiently runs a loop until main is done, however often somebody stops it or the poll fails.
func patiently(w *world, main asyncio.AnyFuture) error {
	for {
		err := w.loop.RunUntilComplete(main)
		switch {
		case errors.Is(err, errPoll):
			w.failures++
		case !errors.Is(err, asyncio.ErrLoopStopped):
			return err
		}
	}
}

// passByPass ends when patiently would.
func passByPass(w *world, main asyncio.AnyFuture) error {
	over := false
	defer main.AddDoneCallback(func(asyncio.AnyFuture) { over = true })()
	for !over && !(w.stopped && main.Done()) {
		w.stopped = false
		switch err := w.loop.RunOnce(-1); {
		case errors.Is(err, errPoll):
			w.failures++
		case err != nil:
			return err
		}
	}
	return main.Err()
}

// A jumpyClock is virtual, polls without waiting, and then moves on to the next timer.
type jumpyClock struct{ now time.Duration }

func (c *jumpyClock) Now() time.Duration { return c.now }
func (c *jumpyClock) Wall() time.Time    { return time.Unix(0, 0).Add(c.now) }
func (c *jumpyClock) Wait(d time.Duration, _ bool, poll func(time.Duration) (bool, error)) error {
	woken, err := poll(0)
	switch {
	case woken || err != nil:
		return err
	case d < 0:
		return seam.ErrIdle
	}
	c.now += d
	return nil
}

// patientOrder serves who came first.
type patientOrder struct{}

func (patientOrder) Next(seam.Queue) int { return 0 }

func seams(s seam.Seams) asyncio.LoopOption { return seam.LoopOption(s).(asyncio.LoopOption) }

// waysToRun returns the ways, of which the first one is the plain one.
func waysToRun(random *rand.Rand) []way {
	all := []way{
		{name: "plain"},
		{name: "in debug mode", opts: []asyncio.LoopOption{asyncio.WithDebug(true)}},
		{name: "by an order", opts: []asyncio.LoopOption{seams(seam.Seams{NewOrder: func() seam.Order { return patientOrder{} }})}},
		{name: "pass by pass", run: passByPass},
		{name: "looking at every stack", prep: func(t *testing.T, w *world) {
			w.each = func() {
				for _, task := range w.loop.AllTasks() {
					if len(task.Stack(0)) == 0 {
						t.Errorf("%v has no stack", task)
					}
				}
			}
		}},
		{name: "switching debug mode", prep: func(t *testing.T, w *world) {
			w.each = func() { w.loop.SetDebug(random.IntN(2) == 0) }
		}},
	}
	var recording bytes.Buffer
	all = append(all, way{name: "recorded", opts: []asyncio.LoopOption{asynciotest.WithRecording(asynciotest.NewRecording(&recording))}},
		way{name: "repeated", opts: []asyncio.LoopOption{asynciotest.WithReplay(asynciotest.NewReplay(&recording))}})
	for _, n := range []int{-1, 1, 2} {
		all = append(all, way{name: fmt.Sprint("with spare coroutines: ", n), prep: func(t *testing.T, w *world) { w.loop.SetSpareCoroutines(n) }})
	}
	if onPortable {
		return all
	}
	listens := func(t *testing.T, w *world) {
		r, _ := pipe(t)
		expectError(t, w.loop.AddReader(r, func() {}), nil)
	}
	all = append(all, way{name: "polling", prep: listens})
	for _, run := range []func(*world, asyncio.AnyFuture) error{patiently, passByPass} {
		failures, over := 0, false
		all = append(all, way{name: "with polls that fail", prep: listens, run: func(w *world, main asyncio.AnyFuture) error {
			err := run(w, main)
			if over = true; w.failures != failures { // Close shall not fail
				return fmt.Errorf("%d polls have failed, %d runs because of that", failures, w.failures)
			}
			return err
		}, opts: []asyncio.LoopOption{withFailingPoll(func() bool {
			if over || random.IntN(3) > 0 {
				return false
			}
			failures++
			return true
		})}})
	}
	return all
}

// perform runs a program in one of the ways and returns its trace.
func perform(t *testing.T, steps []step, how way) []string {
	w := &world{semaphore: asyncio.NewSemaphore(2), queue: asyncio.NewQueue[int](2)}
	for i := range w.condition {
		w.condition[i] = asyncio.NewCondition(&w.locks[i])
	}
	opts := append([]asyncio.LoopOption{
		seams(seam.Seams{NewClock: func() seam.Clock { return new(jumpyClock) }}),
		asyncio.WithDebug(false),
		asyncio.WithLogger(textLogger(t.Output())),
		asyncio.WithExceptionHandler(func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) {
			if ec.Message != "error was never retrieved" { // when that is told is up to the garbage collector
				w.note("handler", fmt.Sprint(ec.Message, ": ", endOf(ec.Err)))
			}
			if len(w.trace)%2 == 0 {
				panic("in the handler")
			}
		}),
	}, how.opts...)
	w.loop = asyncio.NewEventLoop(opts...)
	if how.prep != nil {
		how.prep(t, w)
	}
	run := how.run
	if run == nil {
		run = patiently
	}
	main := w.start(w.loop.Context(context.Background()), step{body: steps})
	err := run(w, main)
	w.note("main", endOf(err))
	w.trace = append(w.trace, "Close: "+endOf(w.loop.Close()))
	for _, task := range w.tasks {
		w.trace = append(w.trace, fmt.Sprint(task.Name(), " ", task.Done(), " ", endOf(task.Err())))
	}
	return w.trace
}

// compareWays runs the program that the bytes make in all ways.
func compareWays(t *testing.T, program []byte) {
	leavesNothing(t)
	s := source{program, 60}
	steps := s.program(4, true)
	seed := uint64(len(program))
	var want []string
	for i, how := range waysToRun(rand.New(rand.NewPCG(seed, 0))) {
		got := perform(t, steps, how)
		if i == 0 {
			want = got
		} else if !slices.Equal(got, want) {
			n := 0
			for n < min(len(got), len(want)) && got[n] == want[n] {
				n++
			}
			t.Errorf("%s it differs after %d events:\n%s\nwant\n%s", how.name, n,
				strings.Join(got[max(0, n-5):min(n+5, len(got))], "\n"), strings.Join(want[max(0, n-5):min(n+5, len(want))], "\n"))
		}
	}
}

var programs = flag.Int("programs", 0, "how many random `programs` TestWaysToSwitch runs")

func TestWaysToSwitch(t *testing.T) {
	n := scaled(400)
	if *programs > 0 {
		n = *programs
	}
	for seed := range uint64(n) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			program := make([]byte, 50+random.IntN(500))
			for i := range program {
				program[i] = byte(random.Uint32())
			}
			compareWays(t, program)
		})
	}
}

func FuzzWaysToSwitch(f *testing.F) {
	f.Add([]byte("the quick brown fox jumps over the lazy dog, and back"))
	f.Fuzz(compareWays)
}
