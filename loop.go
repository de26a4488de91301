// The event loop: what runs next, and how long may we wait?

package asyncio

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/goasyncio/asyncio/internal/coro"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/timer"
)

// EventLoop runs callbacks and tasks on one thread, one at a time
// (asyncio.AbstractEventLoop). Most programs never touch it: Run makes one.
//
// A loop belongs to one goroutine. The first run locks that goroutine to its
// thread until Close; running or closing the loop from another goroutine is an
// error. Apart from CallSoonThreadsafe, RunCoroutineThreadsafe and the methods
// that say so, nothing of a loop may be used on any other goroutine. Before its
// first run a loop may be prepared by whoever made it.
//
// # One pass
//
// A loop repeats one pass. It (1) decides how long it may wait: not at all if
// a callback is ready, else until the next timer; (2) polls the network for
// that long; (3) queues the callbacks of what has become ready there; (4) queues
// the timers that are due, ordered by deadline and then by creation; and (5) runs
// exactly the callbacks that are queued by then. Callbacks which those queue wait
// for the next pass.
type EventLoop struct {
	// Set once.
	name    string
	clock   seam.Clock
	machine seam.Machine // the clock, if the loop runs on a simulated machine; else nil
	fuse    seam.Fuse    // the clock, if it limits a run; else nil
	rand    *rand.Rand
	order   seam.Order // nil for first come, first served
	audit   seam.Audit // nil for none
	tape    seam.Tape  // nil unless the loop is recorded or replayed
	newNet  func() (seam.Network, error)
	logger  *slog.Logger
	grace   time.Duration
	epoch   time.Time // the time of day at which Time was zero
	options loopConfig

	// Owned by the loop.
	net       seam.Network                      // nil before it is needed
	poll      func(time.Duration) (bool, error) // net.Wait; made once, since that allocates
	ready     readyQueue
	timers    timerHeap
	soons     *soon // those that CallSoon may use again
	soonCount int
	coros     coro.Pool
	running   any // the *task that runs; nil in a callback
	tasks     taskList
	open      registry // connections, servers: what Close must close
	workers   registry // functions that run on other goroutines
	lookups   any      // the *ThreadLimiter of name look-ups
	limiter   any      // the *ThreadLimiter of ToThread, once it is needed
	executor  any      // the *defaultExecutor, once it is needed
	signals   any      // the *signalWatch, while a signal is waited for
	buffers   [][]byte // read buffers that no reader needs now
	scratch   []byte   // what is read into first; nil while it is lent
	datagram  []byte   // what datagrams are received into
	failures  registry // errors that nobody has looked at yet
	shared    any      // the *tlsShared of TLS connections, once there is one
	handler   ExceptionHandler
	factory   TaskFactory
	outside   int                  // waits on other goroutines and descriptors: what may wake the loop from outside
	onNetwork int                  // waits on the network, which is outside, too, unless it is simulated
	listening int                  // descriptors that the poller watches
	batch     int                  // callbacks of this pass that have not run yet
	nested    int                  // turns under way that come back to who began them: eager first steps, and what is timed
	single    bool                 // the run is over after this pass
	failed    error                // of a nextBatch; the next pass returns it
	busy      uint                 // passes that did not wait
	gaveWay   time.Time            // when other goroutines had their last turn because of that
	watched   map[int]seam.Handler // the *descriptor of each one that is watched for others
	thread    threadLock
	locked    bool // a run has begun: the goroutine is locked to thread, or the machine sees to that
	stopping  bool
	debug     bool
	slow      time.Duration
	taskCount uint64
	numbers   uint64 // of what a tape has to know again
	cycle     bool   // a cancellation has met a task that it came through

	closing    bool // Close is ending the tasks
	abandoning bool // Close is closing the connections; there will be no pass any more

	looking *site // where a task that is resumed records its stack; nil but in look. It is beside g, which is needed as well

	// Any goroutine.
	stepping atomic.Pointer[string] // the task that had its turn last, while closing
	home     atomic.Uintptr         // the goroutine that the loop belongs to; 0 before its first run
	g        atomic.Uintptr         // the goroutine that runs for the loop now; 0 when it is not running
	active   atomic.Bool            // inside a run
	closed   atomic.Bool
	entry    entry
}

type timerHeap = timer.Heap[runnable]

var loopCount atomic.Uint64

// NewEventLoop makes a loop. It takes no resources of the system before its
// first run, or its first AddReader or AddWriter; if that cannot get them, it
// returns the error. NewEventLoop panics with a *UsageError if an option is nil.
func NewEventLoop(opts ...LoopOption) *EventLoop {
	mustOptions("NewEventLoop", opts)
	c := loopConfig{
		debug:   os.Getenv("ASYNCIO_DEBUG") != "" && os.Getenv("ASYNCIO_DEBUG") != "0",
		grace:   10 * time.Second,
		threads: min(32, runtime.NumCPU()+4),
	}
	for _, o := range opts {
		o.applyLoop(&c)
	}
	l := &EventLoop{
		name:    fmt.Sprintf("loop-%d", loopCount.Add(1)),
		newNet:  c.seams.NewNetwork,
		logger:  c.logger,
		handler: c.handler,
		debug:   c.debug,
		slow:    100 * time.Millisecond,
		grace:   c.grace,
		options: c,
	}
	if c.seams.Name != "" {
		l.name = c.seams.Name + " (" + l.name + ")"
	}
	if l.logger == nil {
		l.logger = slog.Default()
	}
	if c.seams.NewClock != nil {
		l.clock = c.seams.NewClock()
	} else {
		l.clock = newWallClock()
	}
	l.machine, _ = l.clock.(seam.Machine)
	l.fuse, _ = l.clock.(seam.Fuse)
	if c.seams.NewTape != nil {
		l.tape = c.seams.NewTape()
		l.entry.tape, l.entry.queue = l.tape, func(r any) { l.ready.push(r.(runnable)) }
		l.tape.Bind(l.mine)
		l.clock = l.tape.Clock(l.clock)
	}
	if c.seams.NewRandom != nil {
		l.rand = rand.New(c.seams.NewRandom())
	} else {
		a, b := rand.Uint64(), rand.Uint64()
		if l.tape != nil {
			a, b = l.tape.Seed(a, b)
		}
		l.rand = rand.New(rand.NewPCG(a, b))
	}
	if c.seams.NewOrder != nil {
		l.order = c.seams.NewOrder()
	}
	if c.seams.NewAudit != nil {
		l.audit, l.debug = c.seams.NewAudit(), true
		l.open.record()
	}
	if l.newNet == nil {
		l.newNet = c.backend.open
	}
	l.epoch = l.clock.Wall().Add(-l.clock.Now())
	return l
}

// String returns the loop's name and state.
func (l *EventLoop) String() string {
	state := "idle"
	switch {
	case l.closed.Load():
		state = "closed"
	case l.active.Load():
		state = "running"
	}
	return fmt.Sprintf("<EventLoop %s %s>", l.name, state)
}

// Time is the loop's clock: monotonic, starting near zero (loop.time). Deadlines
// of CallAt and TimeoutAt are on it.
func (l *EventLoop) Time() time.Duration { return l.clock.Now() }

// IsRunning reports whether the loop is inside a run. Any goroutine may call it.
func (l *EventLoop) IsRunning() bool { return l.active.Load() }

// IsClosed reports whether the loop has been closed. Any goroutine may call it.
func (l *EventLoop) IsClosed() bool { return l.closed.Load() }

// Debug reports whether debug mode is on (loop.get_debug): where things were created is
// recorded, and callbacks that hold up the loop are logged. Only the loop's goroutine
// may call it.
func (l *EventLoop) Debug() bool { return l.debug }

// SetDebug switches debug mode (loop.set_debug). It takes effect at once. On a
// goroutine that must not use the loop it panics with a *UsageError.
func (l *EventLoop) SetDebug(on bool) {
	l.checkMine("SetDebug")
	l.debug = on
}

// SetSlowCallbackDuration sets from which duration on debug mode logs a callback or a
// step of a task: 100 ms at first (loop.slow_callback_duration). With 0 it logs all. It
// panics like SetDebug.
func (l *EventLoop) SetSlowCallbackDuration(d time.Duration) {
	l.checkMine("SetSlowCallbackDuration")
	l.slow = d
}

// mine reports whether the calling goroutine may use the loop: it runs for the
// loop now, or the loop is not running.
func (l *EventLoop) mine() bool {
	g := l.g.Load()
	return g == 0 || g == coro.Current()
}

// checkMine panics if op is called on a goroutine that must not use the loop.
func (l *EventLoop) checkMine(op string) {
	if !l.mine() {
		panic(l.elsewhere(op))
	}
}

// check panics if op is called on a goroutine that must not use the loop, or
// after Close.
func (l *EventLoop) check(op string) {
	if err := l.usable(op); err != nil {
		panic(err)
	}
}

// usable says why op, called on this goroutine and now, must not use the loop.
func (l *EventLoop) usable(op string) *UsageError {
	if l.g.Load() == coro.Current() && !l.closed.Load() { // as in most cases
		return nil
	}
	if !l.mine() {
		return misuse(op, ErrWrongGoroutine, "%s runs on another goroutine; use CallSoonThreadsafe", l.name)
	}
	if l.closed.Load() {
		return misuse(op, ErrLoopClosed, "%s", l.name)
	}
	return nil
}

// checkFunc panics if op was given no function.
func checkFunc(op string, ok bool) {
	if !ok {
		panic(misuse(op, ErrBadArgument, "the function is nil"))
	}
}

// CallSoon queues fn for the next pass (loop.call_soon). Callbacks run in the
// order in which they were queued, those of CallSoonThreadsafe among them; a panic in
// one is reported to the exception handler and the loop goes on. Once a program is
// under way CallSoon allocates nothing: it uses the memory of callbacks that have run.
// It panics with a *UsageError if it is called from another goroutine or after Close.
func (l *EventLoop) CallSoon(fn func()) Handle {
	l.check("CallSoon")
	checkFunc("CallSoon", fn != nil)
	l.entry.drain(&l.ready)        // what was posted before comes first
	if l.debug || l.order != nil { // somebody may look at it when it has run
		c := &call{fn: fn, createdAt: l.here(3)}
		l.ready.push(c)
		return c.handle()
	}
	s := l.newSoon(fn)
	l.ready.push(s)
	return s.handle()
}

// CallSoonThreadsafe is CallSoon for any goroutine: it wakes the loop
// (loop.call_soon_threadsafe). After Close it returns a *UsageError, ErrLoopClosed. A
// loop that is not running runs fn at its next run. It costs about 100 ns when the loop
// is busy, and a system call when it has to be woken.
func (l *EventLoop) CallSoonThreadsafe(fn func()) (Handle, error) {
	if fn == nil {
		return Handle{}, misuse("CallSoonThreadsafe", ErrBadArgument, "the function is nil")
	}
	c := &call{fn: fn}
	if !l.entry.post(c) {
		return Handle{}, misuse("CallSoonThreadsafe", ErrLoopClosed, "%s", l.name)
	}
	return c.handle(), nil
}

// CallLater queues fn when d has passed, not earlier (loop.call_later). A
// negative d is already due; with Forever fn never runs. Timers with one deadline
// fire in the order of their creation. It panics like CallSoon.
func (l *EventLoop) CallLater(d time.Duration, fn func()) *TimerHandle {
	l.check("CallLater")
	checkFunc("CallLater", fn != nil)
	return l.callAt(after(l.clock.Now(), d), fn)
}

// CallAt queues fn when the loop's Time has reached when (loop.call_at); never, if
// that is Forever. All else is as with CallLater.
func (l *EventLoop) CallAt(when time.Duration, fn func()) *TimerHandle {
	l.check("CallAt")
	checkFunc("CallAt", fn != nil)
	return l.callAt(when, fn)
}

func (l *EventLoop) callAt(when time.Duration, fn func()) *TimerHandle {
	h := &TimerHandle{loop: l, call: call{fn: fn, createdAt: l.here(4)}}
	h.timer.Owner = h
	h.timer.When = max(longAgo, when)
	if when != endOfTime {
		l.timers.Add(&h.timer)
	}
	return h
}

const (
	// endOfTime is a time of the loop that never comes: there are no timers for it, or a
	// virtual clock would move on to it when nothing else is left.
	endOfTime = math.MaxInt64

	// longAgo is the earliest time for a timer. How long ago that is can be computed
	// without overflowing; it is due in any case.
	longAgo = math.MinInt64 / 2
)

// after adds d to a time of the loop without overflowing.
func after(now, d time.Duration) time.Duration {
	if t := now + d; t >= now || d < 0 {
		return t
	}
	return endOfTime
}

// Stop ends RunForever after the current pass; what that has queued waits for
// the next run (loop.stop). Before a run it makes the next one a single pass
// that does not wait. Only callbacks and tasks of the loop may call it.
func (l *EventLoop) Stop() {
	l.check("Stop")
	l.stopping = true
}

// RunForever runs the loop until Stop (loop.run_forever). It fails with a *UsageError if
// the loop is closed, runs already, or belongs to another goroutine, and if another
// loop runs on this goroutine; with another error if the network cannot be opened or
// polled; and on a virtual clock with ErrDeadlock when nothing can ever wake it.
func (l *EventLoop) RunForever() error {
	if err := l.enter("RunForever"); err != nil {
		return err
	}
	defer l.leave()
	for {
		if err := l.pass(-1); err != nil {
			return err
		}
		if l.stopping {
			return nil
		}
	}
}

// RunOnce runs a single pass, waiting at most d for something to do; for as
// long as it takes if d is negative. It embeds the loop into a foreign one. It fails
// like RunForever.
func (l *EventLoop) RunOnce(d time.Duration) error {
	if err := l.enter("RunOnce"); err != nil {
		return err
	}
	defer l.leave()
	l.single = true
	defer func() { l.single = false }()
	return l.pass(d)
}

// mayRun says whether a run may begin on the calling goroutine.
func (l *EventLoop) mayRun(op string) error {
	me := coro.Current()
	if l.active.Load() {
		if l.mine() {
			return misuse(op, ErrLoopRunning, "%s is running this very code; await instead", l.name)
		}
		return misuse(op, ErrLoopRunning, "%s runs on another goroutine", l.name)
	}
	if other := loopOn(me); other != nil {
		return misuse(op, ErrLoopRunning, "%s runs on this goroutine; await there, or run %s on a goroutine of its own", other.name, l.name)
	}
	if l.closed.Load() {
		return misuse(op, ErrLoopClosed, "%s", l.name)
	}
	if home := l.home.Load(); home != 0 && home != me {
		return misuse(op, ErrWrongGoroutine, "%s belongs to the goroutine that ran it first", l.name)
	}
	return nil
}

// enter begins a run on the calling goroutine.
func (l *EventLoop) enter(op string) error {
	if err := l.mayRun(op); err != nil {
		return err
	}
	if !l.active.CompareAndSwap(false, true) {
		return misuse(op, ErrLoopRunning, "%s runs on another goroutine", l.name)
	}
	me := coro.Current()
	if err := l.openNetwork(op); err != nil {
		l.active.Store(false)
		return err
	}
	if !l.locked {
		if l.machine == nil {
			l.thread = lockThread(me)
		} else {
			l.thread = lockedThread(me)
		}
		l.locked = true
	}
	l.home.Store(me)
	l.g.Store(me)
	runningLoops.Store(l, struct{}{})
	return nil
}

// openNetwork makes the network, if there is none yet.
func (l *EventLoop) openNetwork(op string) error {
	if l.net != nil {
		return nil
	}
	open := l.newNet
	if l.tape != nil {
		open = func() (seam.Network, error) { return l.tape.Network(l.newNet) }
	}
	network, err := open()
	if err != nil {
		return fmt.Errorf("asyncio: %s: %w", op, err)
	}
	l.net, l.poll = network, network.Wait
	l.entry.open(network.Wake)
	return nil
}

// leave ends a run.
func (l *EventLoop) leave() {
	l.stopping = false
	l.running = nil
	runningLoops.Delete(l)
	l.active.Store(false)
	l.g.Store(0)
}

// pass is one pass of the loop; see EventLoop.
func (l *EventLoop) pass(atMost time.Duration) error {
	if err := l.collect(atMost); err != nil {
		return err
	}
	l.runReady()
	return nil
}

// collect is the first half of a pass: it queues what has become ready, waiting for
// that if nothing is queued.
func (l *EventLoop) collect(atMost time.Duration) error {
	if err := l.failed; err != nil {
		l.failed = nil
		return err
	}
	if l.tape != nil && !l.closing {
		if err := l.tape.Err(); err != nil {
			return err
		}
	}
	l.entry.drain(&l.ready)
	if l.ready.count > 0 && l.listening == 0 { // there is nothing to wait for, nor to poll
		if err := l.giveWay(); err != nil {
			return err
		}
	} else {
		if err := l.wait(l.patience(atMost)); err != nil {
			return err
		}
		l.entry.drain(&l.ready)
	}
	if l.timers.Len() > 0 {
		l.queueDueTimers()
	}
	return nil
}

// halted reports whether the machine of the loop has been switched off.
func (l *EventLoop) halted() bool { return l.machine != nil && l.machine.Halted() }

// runReady runs the callbacks that are queued now.
func (l *EventLoop) runReady() {
	l.batch = l.ready.count
	for l.batch > 0 {
		l.runBatch()
	}
}

// patience is how long the poll may last; negative means for ever.
func (l *EventLoop) patience(atMost time.Duration) time.Duration {
	if l.ready.count > 0 || l.stopping {
		return 0
	}
	next := l.timers.First()
	if next == nil {
		return atMost
	}
	d := max(0, next.When-l.clock.Now())
	if atMost >= 0 {
		d = min(d, atMost)
	}
	return d
}

func (l *EventLoop) wait(d time.Duration) error {
	if d == 0 {
		if err := l.giveWay(); err != nil || l.listening == 0 { // there is nothing to poll
			return err
		}
	} else if err := l.mayGoOn(1, d); err != nil {
		return err
	}
	external := l.outside+l.onNetwork > 0
	if l.machine != nil {
		external = l.outside > 0
		l.machine.Working(l.workers.count)
	}
	err := l.waitOn(d, external)
	if err == seam.ErrIdle && l.closing {
		return ErrDeadlock // nobody reads more of it
	}
	if err == seam.ErrBlown {
		return l.blown(err)
	}
	if err == seam.ErrIdle {
		if c, ok := l.order.(seam.Chronicle); ok {
			c.Idles()
		}
		return fmt.Errorf("%w: %s", ErrDeadlock, l.standstill())
	}
	if err != nil {
		return fmt.Errorf("asyncio: poll: %w", err)
	}
	return nil
}

// waitOn waits by the clock. What panics in there is a network or a clock, and not the
// task or callback that happens to go on with the next pass: it ends the run.
func (l *EventLoop) waitOn(d time.Duration, external bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: stack(), in: "the poll of " + l.name}
		}
	}()
	return l.clock.Wait(d, external, l.poll)
}

// giveWay lets other goroutines run now and then, if there is only one processor, while
// the loop has so much to do that it never waits. The runtime would notice by itself
// that they wait, but only after 10 ms or more. It returns the error that ends the run, if
// that has gone on for too long.
func (l *EventLoop) giveWay() error {
	if l.busy++; l.busy%often == 0 {
		return l.giveWayNow()
	}
	return nil
}

// often is how many passes that do not wait count at once.
const often = 64

func (l *EventLoop) giveWayNow() error {
	if err := l.mayGoOn(often, 0); err != nil {
		l.busy-- // the next run is told at once, too
		return err
	}
	if runtime.GOMAXPROCS(0) > 1 {
		return nil
	}
	const long = time.Millisecond
	if now := time.Now(); now.Sub(l.gaveWay) >= long {
		// A short time.Sleep would not do: when it is over, the loop comes first.
		runtime.Gosched()
		l.gaveWay = time.Now()
	}
	return nil
}

// mayGoOn asks the fuse whether the run may go on; see seam.Fuse.
func (l *EventLoop) mayGoOn(n int, d time.Duration) error {
	if l.fuse == nil || l.closing {
		return nil
	}
	if err := l.fuse.Pass(n, d); err != nil {
		return l.blown(err)
	}
	return nil
}

// blown is the error of a run that has gone on for too long.
func (l *EventLoop) blown(err error) error { return fmt.Errorf("%w%s", err, tellTasks(l)) }

// queueDueTimers queues the timers that are due, judged by one reading of the clock.
func (l *EventLoop) queueDueTimers() {
	now := l.clock.Now()
	for t := l.timers.First(); t != nil && t.When <= now; t = l.timers.First() {
		l.timers.Remove(t)
		l.ready.push(t.Owner)
	}
}

// tellTasks tells what each task waits for, one a line. Who knows tasks sets it.
var tellTasks func(l *EventLoop) string

// standstill tells why nothing can happen any more.
func (l *EventLoop) standstill() string {
	text := "there is no task, and nothing that could wake the loop"
	if tasks := tellTasks(l); tasks != "" {
		text = "every task waits, and nothing is left that could wake one" + tasks
	}
	if next := l.timers.First(); next != nil {
		text += fmt.Sprintf("\n\tthe clock stands still at %v, and the next timer is due at %v: somebody has to move the clock", l.Time(), next.When)
	}
	return text
}

// runBatch runs what is left of this pass's callbacks, and those of the passes after it
// that need not wait. If one panics it reports that and returns early.
func (l *EventLoop) runBatch() {
	var r runnable
	defer func() {
		l.nested = 0
		if p := recover(); p != nil {
			ec := &ErrorContext{Message: "panic in a callback", Err: &PanicError{Value: p, Stack: stack()}}
			if c, ok := r.(culprit); ok {
				source, createdAt := c.culprit()
				ec.Source, ec.CreatedAt = source, createdAt.String()
			}
			l.CallExceptionHandler(ec)
		}
	}()
	for l.batch > 0 || l.nextBatch() {
		if l.order == nil {
			r = l.ready.pop()
		} else {
			r = l.ready.popAt(l.order.Next((*choice)(l)))
		}
		l.batch--
		if l.debug {
			l.runTimed(r)
		} else {
			r.run()
		}
	}
}

// A culprit can be named when it panics.
type culprit interface {
	culprit() (source fmt.Stringer, createdAt *site)
}

// nextBatch begins the next pass, unless that would have to wait or must not begin.
// Whoever runs the callbacks of a pass goes on with those of the next one by it, instead
// of leaving and coming back.
func (l *EventLoop) nextBatch() bool {
	if l.ready.count == 0 || l.stopping || l.single || l.closing {
		return false
	}
	if err := l.collect(0); err != nil {
		l.failed = err
		return false
	}
	l.batch = l.ready.count
	return true
}

func (l *EventLoop) runTimed(r runnable) {
	start := time.Now()
	l.nested++ // even if it switches debug mode off
	r.run()
	l.nested--
	if d := time.Since(start); d >= l.slow {
		l.logger.Warn("asyncio: slow callback", "callback", describe(r), "duration", d)
	}
}

func describe(r any) string {
	if s, ok := r.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", r)
}

// number counts what a tape has to know again.
func (l *EventLoop) number() uint64 {
	l.numbers++
	return l.numbers
}

// expect tells the tape of something that a replay cannot make happen.
func (l *EventLoop) expect(p seam.Post, r runnable) {
	if l.tape != nil {
		l.tape.Expect(p, r)
	}
}

// untaped returns the error of what neither a recording nor a replay can do.
func (l *EventLoop) untaped(op, what string) error {
	if l.tape == nil {
		return nil
	}
	return misuse(op, errors.ErrUnsupported, "%s is being recorded or replayed, and %s cannot be", l.name, what)
}
