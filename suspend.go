// Suspending: the only place where a coroutine is left, and how a wait is called off.

package asyncio

import (
	"context"
	"errors"
	"math"
	"runtime"
	"time"

	"github.com/goasyncio/asyncio/internal/coro"
	"github.com/goasyncio/asyncio/internal/seam"
)

// awaited is what a suspended task waits for: a future or a waiter.
type awaited interface {
	// cancelAwait asks it to end and reports whether it will because of that.
	cancelAwait(cause error) bool
	// cancellation returns the error with which it ended, if that is one.
	cancellation() error
}

// forward passes a request on to what the suspended task awaits. If that
// refuses, because it is done or there is nothing, the task is interrupted at its
// next turn, even though a value is there. Around a cycle of tasks that await each
// other there is nobody to end first: the last one is interrupted at once.
func (t *task) forward(cause error) {
	if t.waiter != nil && t.waiter.cancelAwait(cause) {
		return
	}
	t.interrupt = true
	if t.loop.cycle {
		t.loop.cycle = false
		t.wakeNow()
	}
}

// wakeNow queues a suspended task although what it waits for is not done.
func (t *task) wakeNow() {
	if t.queued {
		return
	}
	if f, ok := t.waiter.(*future); ok {
		f.removeCallback(t)
	}
	t.queue()
}

// current returns the task that runs now and may suspend. ctx must carry its loop.
func current(ctx context.Context, op string) (*task, error) {
	s, ok := ctx.(*scope) // as in most cases
	if !ok {
		s = scopeOf(ctx)
	}
	if s == nil {
		return nil, misuse(op, ErrOutsideTask, "the context carries no loop; pass on the one that Run, Go or CreateTask gave to the coroutine")
	}
	if l := s.loop(); l.g.Load() == coro.Current() {
		if t, ok := l.running.(*task); ok {
			if l.order != nil {
				t.awaits()
			}
			return t, nil
		}
		if l.active.Load() {
			return nil, misuse(op, ErrOutsideTask, "a callback of %s cannot suspend; start a task with Go", l.name)
		}
	}
	return nil, s.loop().elsewhere(op)
}

// suspend is the only place where a coroutine is left. It suspends t until it is
// queued by w, or for one pass if w is nil. It returns nil, or the cancellation that
// has ended the await; in that case w may not be done, and the caller takes back what
// it has armed.
//
// If ctx is cancelled, or the task has a request that was not delivered, what is
// awaited is cancelled first. The await takes one pass at least, so that a
// coroutine that ignores its errors cannot freeze the process.
func (t *task) suspend(ctx context.Context, w awaited) error {
	if w == nil {
		t.queue()
	}
	ears := t.listen(ctx)
	if t.forced > 0 {
		t.unlisten(ears)
		return t.refuse(w)
	}
	t.waiter, t.ears, t.suspended = w, ears, true
	level := ears.heard()
	if level == nil {
		level = t.undelivered()
	}
	if level != nil {
		t.forward(level.cause)
	}
	l := t.loop
	if next := t.next(); next != t.coro {
		l.coros.HandOver(next)
		for l.looking != nil {
			l.looking.record()
			l.coros.Suspend()
		}
		l.g.Store(coro.Current())
	}
	t.waiter, t.ears, t.suspended = nil, nil, false
	var err error
	if w != nil {
		err = w.cancellation()
	}
	if t.interrupt {
		t.interrupt = false
		if t.forced == refusals { // the machine has been switched off: not one line more
			t.exit()
		}
		if err == nil {
			err = errPlainCancel
		}
	}
	if err == nil {
		t.ignored = 0
		t.unlisten(ears)
		return nil
	}
	reason := ears.heard()
	if reason == nil {
		reason = t.undelivered()
	}
	if reason != nil {
		err = reason.error()
		t.noteIgnored(reason)
		t.delivered = t.requests
	}
	t.unlisten(ears)
	return err
}

// look returns the stack of a suspended task, nil if it cannot be had: if this is not the
// goroutine that may resume it. A stack is known to its own goroutine alone. So the task
// is resumed, for nothing but to record it, which takes about a microsecond, and those
// that nobody looks at pay nothing.
func (t *task) look() site {
	l := t.loop
	if !l.mayResume() || !t.suspended {
		return nil
	}
	if l.coros.Running() == t.coro { // it is about to be left, see next
		return callers(1)
	}
	for depth := stackDepth; ; depth *= 2 {
		s := make(site, depth)
		l.looking = &s
		l.coros.Resume(t.coro)
		l.looking = nil
		if len(s) < depth {
			return s
		}
	}
}

// record takes the stack from the caller of suspend on, which calls it.
func (s *site) record() { *s = (*s)[:runtime.Callers(3, *s)] }

// doomed reports whether an await with ctx would be interrupted at once.
func (t *task) doomed(ctx context.Context) bool {
	ears := t.listen(ctx)
	defer t.unlisten(ears)
	return ears.heard() != nil || t.undelivered() != nil
}

// next returns what is to go on while t is suspended: the coroutine of the task whose
// turn it is, by one switch of stacks, where the way through the loop's own stack would
// take two; that of t itself if that waits for nothing but its own turn, and none comes
// before; or else the loop's stack. Callbacks run on that alone: their panics and calls
// of Goexit are the loop's.
func (t *task) next() *coro.Coroutine {
	l := t.loop
	if !l.handsOver() {
		t.suspends()
		return l.coros.Resumer()
	}
	if t.own.far {
		return l.neighbour()
	}
	l.running = nil
	next := l.nextTask(l.coros.Idle() > 0)
	if next == nil {
		l.running = t
		return l.coros.Resumer()
	}
	l.running = next
	if next.coro == nil {
		next.coro = l.coros.Get((*taskStack)(next))
	}
	return next.coro
}

// handsOver reports whether tasks may pass control to each other.
func (l *EventLoop) handsOver() bool {
	return l.nested == 0 && l.order == nil && !l.debug && !l.closing
}

// neighbour is next of a task that waits for the network, perhaps for long: it uses
// little stack, and so begins no pass and no task. Otherwise a connection's stack would
// take 4 KB in place of 2.
func (l *EventLoop) neighbour() *coro.Coroutine {
	if l.batch == 0 {
		return l.coros.Resumer()
	}
	next, ok := l.ready.first().(*task)
	if !ok || next.coro == nil {
		return l.coros.Resumer()
	}
	l.batch--
	l.ready.pop()
	next.queued = false
	l.running = next
	return next.coro
}

// nextTask takes the task whose turn it is from the queue. It returns nil if it is not a
// task's turn. It begins the next pass if this one is over.
//
// Without a spare coroutine it leaves a task alone that has not begun: the stack of one
// that is suspended, perhaps for long, should not grow by making a coroutine.
func (l *EventLoop) nextTask(spare bool) *task {
	for l.batch > 0 || l.nextBatch() {
		t, ok := l.ready.first().(*task)
		if !ok || t.coro == nil && !spare {
			break
		}
		l.batch--
		l.ready.pop()
		if t.begins() {
			return t
		}
	}
	return nil
}

// awaits tells the loop's Order that t begins a call that may suspend it.
func (t *task) awaits() {
	if w, ok := t.loop.order.(seam.Witness); ok {
		w.Awaits(t.self)
	}
}

// suspends tells the loop's Order that t is about to be suspended.
func (t *task) suspends() {
	if w, ok := t.loop.order.(seam.Witness); ok {
		w.Suspends(t.self)
	}
}

// unlisten leaves the bridge that listen has put up, if it has.
func (t *task) unlisten(ears *scope) {
	if ears.extras.Load() != nil {
		t.leaveBridge(ears)
	}
}

func (t *task) leaveBridge(s *scope) {
	if s == t.top && s.isBridge() {
		t.leave(s)
	}
}

// undelivered returns a request to a scope on the stack that was not delivered yet.
func (t *task) undelivered() *request {
	if t.requests == t.delivered {
		return nil
	}
	deaf := t.delivered
	for s := t.top; s != nil; s = s.outer {
		if r := s.req.Load(); r != nil && r.seq != forgotten && r.seq > deaf {
			return r
		}
		deaf = max(deaf, s.deafTo)
	}
	return nil
}

// noteIgnored tells, in debug mode, of a coroutine that goes on awaiting with a
// cancelled context.
func (t *task) noteIgnored(r *request) {
	if r.seq > t.delivered {
		t.ignored = 0
		return
	}
	if t.ignored == math.MaxUint8 {
		return // it was told long ago
	}
	if t.ignored++; t.ignored == 100 && t.loop.debug {
		t.loop.logger.Warn("asyncio: a task ignores its cancellation; it should return the error, or await with a CleanupContext", "task", t.Name())
	}
}

// refusals is how many awaits a task that is ended by force may still try.
const refusals = 16

// refuse is an await of a task that is ended by force: it fails without
// suspending, and after some of them the coroutine is left by Goexit.
func (t *task) refuse(w awaited) error {
	if f, ok := w.(*future); ok {
		f.removeCallback(t)
	}
	if t.forced++; t.forced > refusals {
		t.exit()
	}
	t.delivered = t.requests
	return &CancelledError{Cause: errForced}
}

// exit leaves the coroutine by Goexit, in the middle of an await.
func (t *task) exit() {
	t.forced = 1                   // for the awaits of deferred functions,
	t.loop.timers.Remove(&t.alarm) // which may want to sleep
	if t.own.far {
		t.own.far = false
		t.loop.onNetwork--
	}
	runtime.Goexit()
}

var errForced = errors.New("the loop is closing and has ended the task by force")

// force begins to end a task by force. It must be suspended.
func (t *task) force() {
	t.forced = 1
	t.interrupt = true
	t.wakeNow()
}

// A waiter is what an operation of the package waits for: a one-shot future with
// a single task. Waking it queues the task, as a future's callback would.
type waiter struct {
	task *task
	done bool
	far  bool // the network ends the wait, which onNetwork counts: see neighbour
	err  error
}

// arm returns t's own waiter, ready for use. A task waits for one thing at a
// time, so one is enough; who has armed it must have forgotten it when the await ends.
func (t *task) arm() *waiter {
	t.own = waiter{task: t}
	return &t.own
}

// wake ends the wait with err, and reports whether it was not over yet.
func (w *waiter) wake(err error) bool {
	if w.done {
		return false
	}
	w.done, w.err = true, err
	if !w.task.queued {
		w.task.queue()
	}
	return true
}

func (w *waiter) cancelAwait(cause error) bool { return w.wake(newCancelled(cause)) }

func (w *waiter) cancellation() error {
	if w.done && w.err != nil && isCancelled(w.err, nil) {
		return w.err
	}
	return nil
}

// park suspends t until w is woken and returns the error that it was woken with,
// or the cancellation.
func (t *task) park(ctx context.Context, w *waiter) error {
	if err := t.suspend(ctx, w); err != nil {
		w.done = true // nobody may wake it from now on
		return err
	}
	return w.err
}

// alarmClock is a task as the owner of its alarm: the timer of a Sleep.
type alarmClock task

// run ends the Sleep, unless that was over, and perhaps another one begun, between
// the moment when the alarm was queued and its turn.
func (a *alarmClock) run() {
	if a.alarm.Owner != nil && !a.alarm.Armed() {
		a.own.wake(nil)
	}
}

func (a *alarmClock) callback() seam.Callback {
	return seam.Callback{Kind: seam.Alarm, Subject: a.self, Lane: (*task)(a), When: a.alarm.When}
}

// setAlarm arms the alarm of t for the loop's time when.
func (t *task) setAlarm(when time.Duration) {
	t.alarm.Owner = (*alarmClock)(t)
	t.alarm.When = when
	t.loop.timers.Add(&t.alarm)
}

func (t *task) clearAlarm() {
	t.loop.timers.Remove(&t.alarm)
	t.alarm.Owner = nil
}

// yield lets one pass go by.
func (t *task) yield(ctx context.Context) error { return t.suspend(ctx, nil) }
