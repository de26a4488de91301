// Conditions: wait until something holds that a lock protects.

package asyncio

import (
	"context"
	"math"
)

// Condition lets tasks wait, with a lock in hand, until others notify them that
// the state which the lock protects has changed (asyncio.Condition).
//
//	err := c.With(ctx, func(ctx context.Context) error {
//		if err := c.WaitFor(ctx, func() bool { return len(jobs) > 0 }); err != nil {
//			return err
//		}
//		job, jobs = jobs[0], jobs[1:]
//		return nil
//	})
//
// The zero value has a lock of its own; NewCondition makes one that shares a
// lock. A Condition must not be copied after its first use. It belongs to the loop
// on which a task first waited for it; after that its methods panic, or fail, with
// a *UsageError on other goroutines and loops.
type Condition struct {
	binding
	shared  *Lock // nil if own is the lock
	own     Lock
	waiters waitq
}

// NewCondition makes a condition that uses lock, or a lock of its own if that is nil.
func NewCondition(lock *Lock) *Condition { return &Condition{shared: lock} }

func (c *Condition) lock() *Lock {
	if c.shared != nil {
		return c.shared
	}
	return &c.own
}

// Acquire takes the lock, as Lock.Acquire does (Condition.acquire).
func (c *Condition) Acquire(ctx context.Context) error {
	return c.lock().acquireFor(ctx, "Condition.Acquire")
}

// TryAcquire takes the lock if that is free, as Lock.TryAcquire does.
func (c *Condition) TryAcquire() bool { return c.lock().TryAcquire() }

// Release frees the lock, as Lock.Release does (Condition.release). It panics
// with a *UsageError, ErrNotHeld, if the lock is not locked.
func (c *Condition) Release() { c.lock().releaseFor("Condition.Release") }

// Locked reports whether somebody holds the lock (Condition.locked).
func (c *Condition) Locked() bool { return c.lock().Locked() }

// With runs fn while it holds the lock, as Lock.With does (async with condition).
func (c *Condition) With(ctx context.Context, fn func(ctx context.Context) error) error {
	l := c.lock()
	if err := l.acquireFor(ctx, "Condition.With"); err != nil {
		return err
	}
	defer l.releaseFor("Condition.With")
	return fn(ctx)
}

// Wait releases the lock, waits until it is notified, and takes the lock again
// (Condition.wait). It may return without a reason, so look at the state again;
// WaitFor does. It always suspends.
//
// If the task, or ctx, is cancelled, Wait takes the lock again nevertheless, and
// then returns the cancellation: the latest, if there were several. A notification
// that it had got goes to another waiter. If the lock is not locked, outside a
// task, or with a context of another loop, it returns a *UsageError.
func (c *Condition) Wait(ctx context.Context) error {
	t, err := c.enter(ctx, "Condition.Wait")
	if err != nil {
		return err
	}
	return c.suspend(ctx, t, "Condition.Wait")
}

func (c *Condition) suspend(ctx context.Context, t *task, op string) error {
	l := c.lock()
	switch {
	case l.loop != nil && l.loop != t.loop:
		return l.foreign(t, op)
	case !l.locked:
		return misuse(op, ErrNotHeld, "call Acquire first, or wait inside With")
	}
	c.loop, l.loop = t.loop, t.loop
	l.Release()
	_, err := c.waiters.wait(ctx, t)
	if late := l.reacquire(ctx, t); late != nil {
		err = late
	}
	if err != nil {
		c.waiters.grant() // it may have been notified before
	}
	return err
}

// reacquire takes the lock whatever happens. Of the cancellations that come
// meanwhile it returns the latest.
func (l *Lock) reacquire(ctx context.Context, t *task) (latest error) {
	for !l.take(t.number()) {
		// What was delivered has had its effect; it would interrupt this for ever.
		err := l.acquire(t.deaf(ctx), t)
		if err == nil {
			break
		}
		latest = err
		if t.forced > 0 {
			break // it is told to end, and will get nothing any more
		}
	}
	return latest
}

// deaf returns a context for an await of t that has to be made whatever was
// delivered to t so far. What ctx shields from it does not hear either.
func (t *task) deaf(ctx context.Context) context.Context {
	if s := scopeOf(ctx); s == nil || shielded(ctx) || !s.rules(ctx) {
		return context.WithoutCancel(ctx)
	}
	return t.aside(t.top, valuesOf(ctx))
}

// WaitFor waits until pred returns true (Condition.wait_for). It calls pred
// at once, and again after each notification, always while it holds the lock. If
// pred is true at once, WaitFor does not suspend, and needs no lock. Otherwise it
// fails like Wait.
func (c *Condition) WaitFor(ctx context.Context, pred func() bool) error {
	t, err := c.enter(ctx, "Condition.WaitFor")
	for err == nil && !pred() {
		err = c.suspend(ctx, t, "Condition.WaitFor")
	}
	return err
}

// Notify wakes n tasks that wait, those who came first, or all if there are
// fewer (Condition.notify). They go on when they have the lock: Notify does not
// release it. It panics with a *UsageError, ErrNotHeld, if the lock is not locked.
func (c *Condition) Notify(n int) { c.notify(n, "Condition.Notify") }

// NotifyAll wakes all tasks that wait (Condition.notify_all). It panics like Notify.
func (c *Condition) NotifyAll() { c.notify(math.MaxInt, "Condition.NotifyAll") }

func (c *Condition) notify(n int, op string) {
	c.check(op)
	l := c.lock()
	l.check(op)
	if !l.locked && !l.inRuins() {
		panic(misuse(op, ErrNotHeld, "call Acquire first, or notify inside With"))
	}
	for ; n > 0 && c.waiters.grant(); n-- {
	}
}

// String shows the state of the lock and how many wait to be notified.
func (c *Condition) String() string {
	if c.lock().locked {
		return c.waiters.describe("<Condition locked") + ">"
	}
	return c.waiters.describe("<Condition unlocked") + ">"
}
