// Awaiting futures, one or many.

package asyncio

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"
)

// Wait suspends the calling task until the future is done and returns its error,
// nil if it has a result. It is Await without the value, for AnyFuture.
func (f *future) Wait(ctx context.Context) error { return f.await(ctx, "Wait") }

// Await suspends the calling task until the future is done and returns its
// result or error. If it is done already, Await does not suspend. Any number of
// tasks may await one future.
//
// If ctx is cancelled, or the calling task, the future is cancelled, as in
// asyncio, and Await returns that when the future has ended; Shield prevents it.
// If the future ends with a value or an error nevertheless, Await returns that.
//
// Outside a task, on another goroutine or with a future of another loop it
// returns a *UsageError.
func (f *Future[T]) Await(ctx context.Context) (T, error) {
	if err := f.await(ctx, "Await"); err != nil {
		var zero T
		return zero, err
	}
	return f.value, nil
}

// Await suspends the calling task until t is done and returns its value or
// error (await task). If t is done already, Await does not suspend. Any number of
// tasks may await one task.
//
// If ctx is cancelled, or the calling task, t is cancelled, as in asyncio, and
// Await returns when t has ended; Shield prevents it. If t ends with a value or an
// error nevertheless, Await returns that. Apart from this the lives of the two
// tasks are not tied: t goes on when its creator has ended.
//
// Outside a task, on another goroutine or with a task of another loop it returns
// a *UsageError; so it does when a task awaits itself.
func (t *Task[T]) Await(ctx context.Context) (T, error) {
	if err := t.await(ctx, "Await"); err != nil {
		var zero T
		return zero, err
	}
	return t.value, nil
}

func (f *future) await(ctx context.Context, op string) error {
	t, err := current(ctx, op)
	if err != nil {
		return err
	}
	if f.state == pending {
		if err := f.awaitable(t, op); err != nil {
			if f == &t.future { // told in the next pass, as by asyncio
				return cmp.Or(t.yield(ctx), err)
			}
			return err
		}
		f.addCallback(t)
		if err := t.suspend(ctx, f); err != nil {
			f.removeCallback(t)
			if f.state != pending {
				f.see()
			}
			return err
		}
	}
	f.see()
	return f.err
}

// awaitable says whether t may wait for f.
func (f *future) awaitable(t *task, op string) error {
	switch {
	case f.loop == nil:
		return misuse(op, ErrOutsideTask, "this Future belongs to no loop; make it with NewFuture")
	case f.loop != t.loop:
		return misuse(op, ErrWrongLoop, "%s belongs to %s, the running task %s to %s", f.brief(), f.loop.name, t.Name(), t.loop.name)
	case f == &t.future:
		return misuse(op, ErrAwaitSelf, "%s would wait for ever", t.Name())
	}
	return nil
}

// coreOf returns the future behind a, starting a coroutine as a task.
func coreOf[T any](ctx context.Context, a Awaitable[T], op string) *future {
	if f, ok := a.(AnyFuture); ok {
		return f.core()
	}
	fn, ok := a.(Coroutine[T])
	if !ok {
		fn = a.Await
	}
	t := newTask(ctx, fn, nil, op)
	t.start()
	return &t.future
}

// valueOf returns the value of a done future that coreOf gave.
func valueOf[T any](f *future) (T, error) {
	f.see()
	if r, ok := f.self.(interface{ Result() (T, error) }); ok {
		return r.Result()
	}
	var zero T
	return zero, f.err
}

// checkLoop says whether all futures belong to the loop of t.
func checkLoop(fs []*future, t *task, op string) error {
	for _, f := range fs {
		if f.loop == nil || f.loop != t.loop {
			return f.awaitable(t, op)
		}
	}
	return nil
}

// A Result is a value or an error.
type Result[T any] struct {
	Value T
	Err   error
}

// Gather awaits all of as concurrently and returns their values in the order of
// the arguments (asyncio.gather). Coroutines among them are started as tasks;
// what stands there twice is awaited once.
//
// The first error ends Gather at once; the others go on, and their errors count
// as seen. Cancelling Gather cancels all of them, and it ends when they have ended.
// A task group is the better choice where a failure shall end the others.
func Gather[T any](ctx context.Context, as ...Awaitable[T]) ([]T, error) {
	fs, err := gather(ctx, as, false, "Gather")
	if err != nil {
		return nil, err
	}
	values := make([]T, len(fs))
	for i, f := range fs {
		values[i], _ = valueOf[T](f)
	}
	return values, nil
}

// GatherSettled is Gather that waits for all of as whatever becomes of them
// (gather with return_exceptions). Its own error is not nil only if Gather itself
// was cancelled, or misused.
func GatherSettled[T any](ctx context.Context, as ...Awaitable[T]) ([]Result[T], error) {
	fs, err := gather(ctx, as, true, "GatherSettled")
	if err != nil {
		return nil, err
	}
	results := make([]Result[T], len(fs))
	for i, f := range fs {
		results[i].Value, results[i].Err = valueOf[T](f)
	}
	return results, nil
}

// gathering is the future of a Gather: done when its children are, or when one fails.
type gathering struct {
	Future[struct{}]
	children []*future
	left     int
	settled  bool // errors of children are results
	asked    bool // a cancellation was passed on to a child
}

// cancel passes a cancellation on to the children, and refuses it if none takes it.
func (g *gathering) cancel(cause error) bool {
	taken := false
	for _, c := range g.children {
		if c.cancelAwait(cause) {
			taken = true
		}
	}
	if taken {
		g.asked = true
	}
	return taken
}

func (g *gathering) childDone(c *future) {
	c.see()
	g.left--
	switch {
	case g.state != pending:
	case !g.settled && c.err != nil:
		g.finish(finished, c.err)
	case g.left > 0:
	case g.asked:
		g.finish(finished, g.cancellationOf(c))
	default:
		g.finish(finished, nil)
	}
}

// cancellationOf returns a cancellation with the cause of the last child's.
func (g *gathering) cancellationOf(c *future) error {
	if err := c.cancellation(); err != nil {
		return err
	}
	return errPlainCancel
}

func gather[T any](ctx context.Context, as []Awaitable[T], settled bool, op string) ([]*future, error) {
	t, err := current(ctx, op)
	if err != nil || len(as) == 0 {
		return nil, err
	}
	g := &gathering{settled: settled}
	g.init(t.loop, g)
	g.canceller = g
	g.seen = true
	var unique, done []*future
	known := make(map[*future]bool, len(as))
	for _, a := range as {
		f := coreOf(ctx, a, op)
		g.children = append(g.children, f)
		if !known[f] {
			known[f] = true
			unique = append(unique, f)
		}
	}
	if err := checkLoop(unique, t, op); err != nil {
		return nil, err
	}
	g.left = len(unique)
	for _, f := range unique {
		if f.state != pending {
			done = append(done, f)
		} else {
			f.onDone(g.childDone).awaiter = &g.future
		}
	}
	for _, f := range done {
		g.childDone(f)
	}
	return g.children, g.await(ctx, op)
}

// ReturnWhen says when Wait returns.
type ReturnWhen int

const (
	// AllCompleted waits until all futures are done (asyncio.ALL_COMPLETED).
	AllCompleted ReturnWhen = iota
	// FirstCompleted waits until one of them is done (asyncio.FIRST_COMPLETED).
	FirstCompleted
	// FirstException waits until one of them has failed, a cancellation not
	// counted, or all are done (asyncio.FIRST_EXCEPTION).
	FirstException
)

// WaitOptions are the options of Wait. The zero value waits for all, for ever.
type WaitOptions struct {
	// Timeout is how long to wait; zero means for ever, a negative one only to
	// look, which takes two passes.
	Timeout time.Duration
	// ReturnWhen says for what to wait: AllCompleted if zero.
	ReturnWhen ReturnWhen
}

// Wait waits until futures of any types are done, and returns those that are and
// those that are not, each in the order of fs (asyncio.wait). It cancels none of
// them and passes on none of their errors; a timeout is no error. It suspends
// even if all are done. What stands there twice counts once.
//
// It returns a *UsageError for an empty fs or an unknown mode. If it is cancelled,
// the futures go on.
func Wait(ctx context.Context, fs []AnyFuture, opts WaitOptions) (done, pending []AnyFuture, err error) {
	t, err := current(ctx, "Wait")
	if err != nil {
		return nil, nil, err
	}
	if len(fs) == 0 {
		return nil, nil, misuse("Wait", ErrBadArgument, "there is no future to wait for")
	}
	if opts.ReturnWhen < AllCompleted || opts.ReturnWhen > FirstException {
		return nil, nil, misuse("Wait", ErrBadArgument, "ReturnWhen is %d", opts.ReturnWhen)
	}
	var unique []*future
	known := make(map[*future]bool, len(fs))
	for _, f := range fs {
		if c := f.core(); !known[c] {
			known[c] = true
			unique = append(unique, c)
		}
	}
	if err := checkLoop(unique, t, "Wait"); err != nil {
		return nil, nil, err
	}
	err = t.waitFor(ctx, unique, opts)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range unique {
		if f.Done() {
			done = append(done, f.self)
		} else {
			pending = append(pending, f.self)
		}
	}
	return done, pending, nil
}

func (t *task) waitFor(ctx context.Context, fs []*future, opts WaitOptions) error {
	w := &waiter{task: t}
	var timer *TimerHandle
	if opts.Timeout != 0 {
		timer = t.loop.callAt(after(t.loop.clock.Now(), max(0, opts.Timeout)), func() { w.wake(nil) })
		defer timer.Cancel()
	}
	left := len(fs)
	onDone := func(f *future) {
		left--
		failed := f.state == finished && f.err != nil
		if left == 0 || opts.ReturnWhen == FirstCompleted || opts.ReturnWhen == FirstException && failed {
			if timer != nil {
				timer.Cancel()
			}
			w.wake(nil)
		}
	}
	callbacks := make([]*doneCallback, len(fs))
	for i, f := range fs {
		callbacks[i] = &doneCallback{future: f, fn: onDone, awaiter: &t.future}
		f.addCallback(callbacks[i])
	}
	err := t.park(ctx, w)
	for i, f := range fs {
		f.removeCallback(callbacks[i])
	}
	return err
}

// AsCompleted yields the results of as in the order in which they are done
// (asyncio.as_completed). Coroutines among them are started as tasks; what stands
// there twice is yielded once. The loop body may await, and may stop early. If the
// calling task is cancelled, its error is yielded and the sequence ends; the
// futures go on. The sequence can be used once.
func AsCompleted[T any](ctx context.Context, as ...Awaitable[T]) iter.Seq2[T, error] {
	return asCompleted(ctx, Forever, as)
}

// AsCompletedWithin is AsCompleted that ends with ErrTimeout when d has passed
// before all are done. It cancels none of them.
func AsCompletedWithin[T any](ctx context.Context, d time.Duration, as ...Awaitable[T]) iter.Seq2[T, error] {
	return asCompleted(ctx, d, as)
}

func asCompleted[T any](ctx context.Context, d time.Duration, as []Awaitable[T]) iter.Seq2[T, error] {
	t, err := current(ctx, "AsCompleted")
	if err != nil {
		return failing[T](err)
	}
	c := &completions{}
	var todo []*future
	for _, a := range as {
		if f := coreOf(ctx, a, "AsCompleted"); !slices.Contains(todo, f) {
			todo = append(todo, f)
		}
	}
	if err := checkLoop(todo, t, "AsCompleted"); err != nil {
		return failing[T](err)
	}
	for _, f := range todo {
		cb := &doneCallback{future: f, fn: c.add, awaiter: &t.future} // whether anybody looks at the error will be seen
		f.addCallback(cb)
		c.callbacks = append(c.callbacks, cb)
	}
	c.left = len(todo)
	if c.left > 0 && d != Forever {
		c.timer = t.loop.callAt(after(t.loop.clock.Now(), d), c.expire)
	}
	return func(yield func(T, error) bool) {
		defer c.stop()
		for range todo {
			f, err := c.next(ctx)
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			if !yield(valueOf[T](f)) {
				return
			}
		}
	}
}

func failing[T any](err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		yield(zero, err)
	}
}

// completions collects futures as they are done, for one task at a time.
type completions struct {
	callbacks []*doneCallback
	left      int
	done      []*future
	expired   bool
	timer     *TimerHandle
	waiter    *waiter
}

func (c *completions) add(f *future) {
	if c.expired {
		return
	}
	c.done = append(c.done, f)
	if c.left--; c.left == 0 && c.timer != nil {
		c.timer.Cancel()
	}
	c.notify()
}

func (c *completions) expire() {
	c.expired = true
	c.stop()
	c.notify()
}

func (c *completions) notify() {
	if c.waiter != nil {
		c.waiter.wake(nil)
	}
}

// next returns the next future that is done, and ErrTimeout when the time is over.
func (c *completions) next(ctx context.Context) (*future, error) {
	for len(c.done) == 0 {
		if c.expired {
			return nil, ErrTimeout
		}
		t, err := current(ctx, "AsCompleted")
		if err != nil {
			return nil, err
		}
		c.waiter = &waiter{task: t}
		err = t.park(ctx, c.waiter)
		c.waiter = nil
		if err != nil {
			return nil, err
		}
	}
	f := c.done[0]
	c.done = c.done[1:]
	return f, nil
}

func (c *completions) stop() {
	if c.timer != nil {
		c.timer.Cancel()
	}
	for _, cb := range c.callbacks {
		cb.future.removeCallback(cb)
	}
}

// Shield awaits a, but cancelling that wait does not cancel a (asyncio.shield):
// Shield returns the cancellation at once and a goes on. A coroutine is started as
// a task. If a is cancelled itself, Shield returns that. An error of a that nobody
// is left to see is reported like that of any task.
func Shield[T any](ctx context.Context, a Awaitable[T]) (T, error) {
	var zero T
	t, err := current(ctx, "Shield")
	if err != nil {
		return zero, err
	}
	inner := coreOf(ctx, a, "Shield")
	if inner.state == pending {
		if err := inner.awaitable(t, "Shield"); err != nil {
			return zero, err
		}
		outer := new(Future[struct{}])
		outer.init(t.loop, outer)
		outer.seen = true
		cb := &doneCallback{future: inner, awaiter: &outer.future, fn: func(inner *future) {
			if outer.state == pending {
				outer.finish(inner.state, inner.err)
			}
		}}
		inner.addCallback(cb)
		err := outer.await(ctx, "Shield")
		if outer.state == cancelled && inner.state == pending {
			inner.removeCallback(cb)
		}
		if err != nil {
			if inner.state != pending && outer.state != cancelled {
				inner.see()
			}
			return zero, err
		}
	}
	return valueOf[T](inner)
}

// WaitFor awaits a for at most d (asyncio.wait_for). On expiry a is cancelled,
// and when it has ended WaitFor returns ErrTimeout; if it has ended with a value or
// an error of its own nevertheless, that is returned. So WaitFor may take longer
// than d. Forever means no limit.
//
// With d <= 0 it returns the result of what is done already; anything else is
// cancelled, a coroutine without ever being started.
func WaitFor[T any](ctx context.Context, d time.Duration, a Awaitable[T]) (T, error) {
	if d <= 0 {
		return cancelNow(ctx, a)
	}
	var value T
	err := Timeout(ctx, d, func(ctx context.Context) error {
		var err error
		value, err = a.Await(ctx)
		return err
	})
	if err != nil {
		var zero T
		return zero, err
	}
	return value, nil
}

// cancelNow is WaitFor without any time.
func cancelNow[T any](ctx context.Context, a Awaitable[T]) (T, error) {
	var zero T
	t, err := current(ctx, "WaitFor")
	if err != nil {
		return zero, err
	}
	f := coreOf(ctx, a, "WaitFor")
	if f.state == pending {
		if err := f.awaitable(t, "WaitFor"); err != nil {
			return zero, err
		}
		w := &waiter{task: t}
		cb := &doneCallback{future: f, fn: func(*future) { w.wake(nil) }, awaiter: &t.future}
		f.addCallback(cb)
		f.cancelAwait(nil)
		err := t.park(ctx, w)
		f.removeCallback(cb)
		if err != nil {
			return zero, err
		}
		if f.cancellation() != nil {
			f.see()
			return zero, ErrTimeout
		}
	}
	return valueOf[T](f)
}
