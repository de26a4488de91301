// Futures: has it happened, and who wants to know?

package asyncio

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goasyncio/asyncio/internal/seam"
)

// AnyFuture is a future or task of any type, for collections of different ones.
// *Future[T] and *Task[T] implement it.
type AnyFuture interface {
	// Wait suspends the calling task until the future is done and returns its
	// error; Await, which also gives the value, describes the rest.
	Wait(ctx context.Context) error

	// Done reports whether it has a result, an error, or was cancelled.
	Done() bool

	// Cancelled reports whether it was cancelled.
	Cancelled() bool

	// Err returns the error, nil if there is a result, a *CancelledError if it
	// was cancelled, and ErrInvalidState while it is not done.
	Err() error

	// Cancel asks it to end with the given cause, which may be nil, and
	// reports whether it was not done yet.
	Cancel(cause error) bool

	// AddDoneCallback queues fn for the next pass once the future is done, at
	// once if it is done already. Callbacks run in the order of registration.
	// remove takes it back and reports whether it was in time.
	AddDoneCallback(fn func(AnyFuture)) (remove func() bool)

	// Loop returns the loop that it belongs to.
	Loop() *EventLoop

	fmt.Stringer

	core() *future

	// cancel is Cancel while it is pending, on the loop's goroutine: what that
	// means, the future decides itself.
	cancel(cause error) bool
}

// Awaitable is what gives a T when it is awaited: *Task[T], *Future[T] and
// Coroutine[T].
type Awaitable[T any] interface {
	Await(ctx context.Context) (T, error)
}

// Future is a value that is not there yet (asyncio.Future). It is pending until
// SetResult, SetError or Cancel finishes it, once and for all. It belongs to one
// loop and may be used on that loop's goroutine only.
type Future[T any] struct {
	future
	value     T
	canceller canceller // how to cancel it, if not by ending it at once
}

// A canceller decides what the cancellation of a future means.
type canceller interface{ cancel(cause error) bool }

func (f *Future[T]) cancel(cause error) bool {
	if f.canceller != nil {
		return f.canceller.cancel(cause)
	}
	f.finish(cancelled, newCancelled(cause))
	return true
}

// NewFuture makes a pending future on the loop of ctx (loop.create_future). It
// panics with a *UsageError if ctx carries no loop.
func NewFuture[T any](ctx context.Context) *Future[T] {
	f := new(Future[T])
	f.init(loopOf(ctx, "NewFuture"), f)
	return f
}

// SetResult finishes the future with a value. It returns ErrInvalidState if it
// is done already: losing a race with a cancellation is normal. On another
// goroutine, and after the loop was closed, it returns a *UsageError.
func (f *Future[T]) SetResult(value T) error {
	if err := f.settle("SetResult"); err != nil {
		return err
	}
	f.value = value
	f.finish(finished, nil)
	return nil
}

// SetError finishes the future with an error, which must not be nil. A
// cancellation as err is stored like any other error: the future is not
// cancelled by it. It returns errors like SetResult.
func (f *Future[T]) SetError(err error) error {
	if err == nil {
		return misuse("SetError", ErrBadArgument, "the error is nil; use SetResult")
	}
	if e := f.settle("SetError"); e != nil {
		return e
	}
	f.finish(finished, err)
	return nil
}

// Result returns the value or the error, and ErrInvalidState while there is none.
func (f *Future[T]) Result() (T, error) {
	if err := f.Err(); err != nil {
		var zero T
		return zero, err
	}
	return f.value, nil
}

func (f *Future[T]) String() string { return f.describe("Future", any(f.value)) }

type state uint8

const (
	pending state = iota
	finished
	cancelled
)

// future is the untyped middle of Future and Task: state, error and callbacks.
// What schedules and combines futures knows only this.
type future struct {
	loop   *EventLoop
	self   AnyFuture // the *Future or *Task that this is the middle of
	state  state
	seen   bool     // somebody has looked at the error, or has promised to
	err    error    // of a task also what its coroutine has returned, just before it is done
	first  runnable // run when the future is done, and then extras.more
	extras *futureExtra
}

// A futureExtra is what few futures and tasks need.
type futureExtra struct {
	more      []runnable
	failure   *failure // set while an unseen error waits for its report
	createdAt *site    // in debug mode

	// Of a task.
	name    string
	settled func() // called at the end
}

// extra returns the futureExtra of f, which it makes if there is none.
func (f *future) extra() *futureExtra {
	if f.extras == nil {
		f.extras = new(futureExtra)
	}
	return f.extras
}

// init makes f, which must be zero, a pending future of l.
func (f *future) init(l *EventLoop, self AnyFuture) {
	f.loop = l
	f.self = self
	if at := l.here(4); at != nil {
		f.extra().createdAt = at
	}
}

func (f *future) core() *future { return f }

// Loop returns the loop that the future belongs to.
func (f *future) Loop() *EventLoop { return f.loop }

// Done reports whether the future has a result, an error, or was cancelled.
func (f *future) Done() bool { return f.state != pending }

// Cancelled reports whether the future was cancelled.
func (f *future) Cancelled() bool { return f.state == cancelled }

// Err returns the error, nil if there is a result, a *CancelledError if it was
// cancelled, and ErrInvalidState while it is not done.
func (f *future) Err() error {
	if f.state == pending {
		return fmt.Errorf("%w: not done yet", ErrInvalidState)
	}
	f.see()
	return f.err
}

// Cancel ends a pending future as cancelled, for the given cause, and reports
// true. A future that is done it leaves alone and reports false. The cause may be
// nil. See Task for what it does to a task.
func (f *future) Cancel(cause error) bool {
	if f.loop == nil {
		return false // the zero Future
	}
	if f.loop.mine() && f.state != pending {
		return false // also when the loop is closed
	}
	f.loop.check("Cancel")
	return f.cancelAwait(cause)
}

// cancelAwait is Cancel for whoever is on the loop's goroutine already.
func (f *future) cancelAwait(cause error) bool {
	return f.state == pending && f.self.cancel(cause)
}

// cancellation returns how the future ended if that was a cancellation.
func (f *future) cancellation() error {
	if f.state == cancelled || f.err != nil && isCancelled(f.err, nil) {
		return f.err
	}
	return nil
}

// settle says whether SetResult and SetError may go on.
func (f *future) settle(op string) error {
	switch {
	case f.loop == nil:
		return misuse(op, ErrOutsideTask, "this Future belongs to no loop; make it with NewFuture")
	case !f.loop.mine():
		return misuse(op, ErrWrongGoroutine, "the future belongs to %s; finish it through CallSoonThreadsafe", f.loop.name)
	case f.state != pending:
		return fmt.Errorf("%w: %s of a future that is done", ErrInvalidState, op)
	case f.loop.closed.Load():
		return misuse(op, ErrLoopClosed, "%s will tell nobody", f.loop.name)
	}
	return nil
}

// finish ends a pending future and queues its callbacks.
func (f *future) finish(s state, err error) {
	f.state, f.err = s, err
	if f.first != nil {
		f.queue(f.first)
		f.first = nil
		for _, r := range f.more() {
			f.queue(r)
		}
		if f.extras != nil {
			f.extras.more = nil
		}
	} else if s == finished && err != nil && !f.seen {
		f.watch()
	}
}

func (f *future) queue(r runnable) {
	if c, ok := r.(*doneCallback); ok {
		if c.queued = true; !c.retrieves && f.err != nil && !f.seen && f.state == finished {
			f.watch()
		}
	}
	f.loop.ready.push(r)
}

// addCallback runs r one pass after f is done, or in the next pass if it is.
func (f *future) addCallback(r runnable) {
	if f.first == nil && f.state == pending {
		f.first = r
	} else {
		f.addToOthers(r)
	}
}

func (f *future) addToOthers(r runnable) {
	switch {
	case f.state != pending:
		f.queue(r)
	default:
		x := f.extra()
		x.more = append(x.more, r)
	}
}

// more returns what will run after f.first.
func (f *future) more() []runnable {
	if f.extras == nil {
		return nil
	}
	return f.extras.more
}

// callbacks returns what will run when the future is done, in order.
func (f *future) callbacks() []runnable {
	if f.first == nil {
		return nil
	}
	return append([]runnable{f.first}, f.more()...)
}

// lastCallback returns what was added last, nil if there is nothing.
func (f *future) lastCallback() runnable {
	if more := f.more(); len(more) > 0 {
		return more[len(more)-1]
	}
	return f.first
}

// removeCallback takes r back and reports whether it was still there.
func (f *future) removeCallback(r runnable) bool {
	more := f.more()
	if len(more) == 0 {
		if f.first != r || r == nil {
			return false
		}
		f.first = nil
		return true
	}
	if f.first == r {
		f.first, more = more[0], slices.Clone(more[1:])
	} else {
		i := slices.Index(more, r)
		if i < 0 {
			return false
		}
		more = slices.Concat(more[:i], more[i+1:])
	}
	f.extras.more = more
	return true
}

// A doneCallback is a callback registered on a future.
type doneCallback struct {
	future    *future
	fn        func(*future)
	awaiter   *future // the task, or what a task awaits, that waits by this callback; nil if none does
	retrieves bool    // fn looks at the error
	queued    bool
}

func (c *doneCallback) run() { c.fn(c.future) }

func (c *doneCallback) callback() seam.Callback {
	return seam.Callback{Kind: seam.Done, Subject: c.future.self, Lane: c.future}
}

// onDone registers a callback of the package's own, which sees the error.
func (f *future) onDone(fn func(*future)) *doneCallback {
	c := &doneCallback{future: f, fn: fn, retrieves: true}
	f.addCallback(c)
	return c
}

// AddDoneCallback queues fn for the next pass once the future is done, at once
// if it is done already; it never runs fn itself (Future.add_done_callback).
// Callbacks run in the order of registration. remove takes fn back and reports
// whether it was in time, which it is no more once the future is done.
func (f *future) AddDoneCallback(fn func(AnyFuture)) (remove func() bool) {
	if f.loop == nil {
		panic(misuse("AddDoneCallback", ErrOutsideTask, "this Future belongs to no loop; make it with NewFuture"))
	}
	f.loop.check("AddDoneCallback")
	checkFunc("AddDoneCallback", fn != nil)
	c := &doneCallback{future: f, fn: func(f *future) { fn(f.self) }}
	f.addCallback(c)
	return func() bool { return f.removeCallback(c) }
}

// A failure is an error that nobody has looked at. It is reported when its
// future is collected, or else when the loop is closed. It must not lead to
// the future, or that would never be collected.
type failure struct {
	registered
	loop      *EventLoop
	err       error
	source    string
	createdAt string
	cleanup   runtime.Cleanup
	number    uint64 // for a tape
}

// watch makes sure that an unseen error is reported.
func (f *future) watch() {
	if f.failure() != nil {
		return
	}
	fl := &failure{loop: f.loop, err: f.err, source: f.self.String(), createdAt: f.self.core().origin(), number: f.loop.number()}
	f.loop.expect(fl.post(), fl)
	fl.cleanup = runtime.AddCleanup(f, func(fl *failure) { fl.loop.entry.post(fl) }, fl)
	f.loop.failures.add(&fl.registered, fl)
	f.extra().failure = fl
}

// failure returns the error of f that waits for its report, or nil.
func (f *future) failure() *failure {
	if f.extras == nil {
		return nil
	}
	return f.extras.failure
}

func (f *future) origin() string {
	if f.extras != nil && f.extras.createdAt != nil {
		return f.extras.createdAt.String()
	}
	if o, ok := f.self.(interface{ function() string }); ok {
		return o.function()
	}
	return ""
}

// see notes that somebody has looked at the error.
func (f *future) see() {
	f.seen = true
	if f.failure() != nil {
		f.failure().withdraw()
		f.extras.failure = nil
	}
}

// withdraw keeps the failure from being reported.
func (fl *failure) withdraw() {
	fl.cleanup.Stop()
	fl.loop.failures.remove(&fl.registered)
}

func (fl *failure) post() seam.Post { return seam.Post{Kind: seam.Failure, Number: fl.number} }

// run reports a failure, unless somebody has looked at it in the meantime.
func (fl *failure) run() {
	if fl.owner == nil {
		return
	}
	fl.loop.failures.remove(&fl.registered)
	fl.loop.CallExceptionHandler(&ErrorContext{
		Message: "error was never retrieved", Err: fl.err, Source: text(fl.source), CreatedAt: fl.createdAt,
	})
}

// text is a Stringer of what something was when it was described.
type text string

func (t text) String() string { return string(t) }

// describe is the String of a future or task.
func (f *future) describe(kind string, value any) string {
	var b strings.Builder
	b.WriteString("<" + kind)
	switch {
	case f.state == pending:
		b.WriteString(" pending")
	case f.state == cancelled:
		b.WriteString(" cancelled")
	case f.err != nil:
		fmt.Fprintf(&b, " finished error=%s", shorten(fmt.Sprint(f.err))) // which survives the Error of a nil pointer
	default:
		fmt.Fprintf(&b, " finished result=%s", shorten(fmt.Sprintf("%v", value)))
	}
	if f.state == pending && f.first != nil {
		fmt.Fprintf(&b, " callbacks=%d", len(f.callbacks()))
	}
	b.WriteString(">")
	return b.String()
}

func shorten(s string) string {
	const limit = 80
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		s = s[:i]
	}
	if len(s) > limit {
		n := limit
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n] + "..."
	}
	return s
}
