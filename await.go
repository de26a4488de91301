// Awaiting a future: plainly, shielded, or for a time.

package asyncio

import (
	"cmp"
	"context"
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
func (f *Future[T]) Await(ctx context.Context) (value T, err error) {
	if err = f.await(ctx, "Await"); err == nil {
		value = f.value
	}
	return value, err
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
func (t *Task[T]) Await(ctx context.Context) (value T, err error) {
	if err = t.await(ctx, "Await"); err == nil {
		value = t.value
	}
	return value, err
}

func (f *future) await(ctx context.Context, op string) error {
	t, err := current(ctx, op)
	if err != nil {
		return err
	}
	if f.state == pending {
		if f.loop != t.loop || f == &t.future {
			err := f.awaitable(t, op)
			if f == &t.future { // told in the next pass, as by asyncio
				err = cmp.Or(t.yield(ctx), err)
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

// checkThere returns the mistake of being given nil to await.
func checkThere[T any](op string, as ...Awaitable[T]) error {
	for i, a := range as {
		if fn, ok := a.(Coroutine[T]); a == nil || ok && fn == nil {
			return misuse(op, ErrBadArgument, "awaitable %d is nil", i)
		}
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

// Shield awaits a, but cancelling that wait does not cancel a (asyncio.shield):
// Shield returns the cancellation at once and a goes on. A coroutine is started as
// a task. If a is cancelled itself, Shield returns that. An error of a that nobody
// is left to see is reported like that of any task.
func Shield[T any](ctx context.Context, a Awaitable[T]) (T, error) {
	var zero T
	t, err := current(ctx, "Shield")
	if err == nil {
		err = checkThere("Shield", a)
	}
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
	var value T
	if err := checkThere("WaitFor", a); err != nil {
		return value, err
	}
	if d <= 0 {
		return cancelNow(ctx, a)
	}
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
