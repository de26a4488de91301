// AsCompleted: results in the order in which they come.

package asyncio

import (
	"context"
	"iter"
	"time"
)

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
	if err == nil {
		err = checkThere("AsCompleted", as...)
	}
	if err != nil {
		return failing[T](err)
	}
	c := &completions{}
	var todo []*future
	known := make(map[*future]bool, len(as))
	for _, a := range as {
		if f := coreOf(ctx, a, "AsCompleted"); !known[f] {
			known[f] = true
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
