// Locks: one task at a time.

package asyncio

import "context"

// Lock lets one task at a time do what takes more than one await
// (asyncio.Lock). Code without an await in it needs no lock: tasks switch only
// where they await.
//
// A Lock is held by nobody in particular: any task, and any callback of the loop,
// may release it. It cannot be taken twice by the same task. Those who wait get it
// in the order in which they came, and nobody overtakes them.
//
// The zero value is unlocked. A Lock must not be copied after its first use. It
// belongs to the loop on which a task first had to wait for it; after that its
// methods panic, or fail, with a *UsageError on other goroutines and loops.
//
// Taking and releasing a lock that nobody waits for costs a few nanoseconds and
// allocates nothing.
type Lock struct {
	binding
	waiters waitq
	locked  bool
}

// Acquire waits until the lock is free and takes it (Lock.acquire). If it is
// free, and nobody waits for it, Acquire does not suspend, even if ctx is done.
//
// If the task, or ctx, is cancelled while it waits, Acquire returns that and the
// lock is not taken; a release that had chosen this task goes to the next one.
// Outside a task, or with a context of another loop, it returns a *UsageError.
func (l *Lock) Acquire(ctx context.Context) error { return l.acquireFor(ctx, "Lock.Acquire") }

func (l *Lock) acquireFor(ctx context.Context, op string) error {
	t, err := l.enter(ctx, op)
	if err != nil {
		return err
	}
	return l.acquire(ctx, t)
}

func (l *Lock) acquire(ctx context.Context, t *task) error {
	if l.take(t.number()) {
		return nil
	}
	if _, err := l.wait(ctx, t, &l.waiters); err != nil {
		if !l.locked {
			l.waiters.grantFirst()
		}
		return err
	}
	l.locked, l.waiters.holder = true, t.number()
	return nil
}

// take takes the lock for a task if it is free and nobody is entitled to it before.
// Which task that is, 0 if it is unknown, is for reports only.
func (l *Lock) take(holder taskNumber) bool {
	if l.locked || l.waiters.live > 0 {
		return false
	}
	l.locked, l.waiters.holder = true, holder
	return true
}

// TryAcquire takes the lock if Acquire would not suspend, and reports whether
// it did. Python has no such method.
func (l *Lock) TryAcquire() bool {
	l.check("Lock.TryAcquire")
	return l.take(l.runner())
}

// runner returns the running task, or 0.
func (b *binding) runner() taskNumber {
	if b.loop == nil {
		return 0
	}
	if t, ok := b.loop.running.(*task); ok {
		return t.number()
	}
	return 0
}

// Release frees the lock and wakes the first of those who wait for it, which
// takes it at its turn, in the next pass (Lock.release). It panics with a
// *UsageError, ErrNotHeld, if the lock is not locked.
func (l *Lock) Release() { l.releaseFor("Lock.Release") }

func (l *Lock) releaseFor(op string) {
	l.check(op)
	if !l.locked {
		if l.inRuins() {
			return
		}
		panic(misuse(op, ErrNotHeld, "release only after Acquire has returned nil, and once"))
	}
	l.locked, l.waiters.holder = false, 0
	l.waiters.grantFirst()
}

// inRuins reports whether the running task is being ended by force. Its awaits
// fail, so that a Condition.Wait has not taken the lock again; its deferred calls
// release it all the same.
func (l *Lock) inRuins() bool {
	if l.loop == nil {
		return false
	}
	t, ok := l.loop.running.(*task)
	return ok && t.forced > 0
}

// Locked reports whether somebody holds the lock (Lock.locked). A lock that was
// released for somebody who waits is free until that task's turn, but nobody else
// can take it.
func (l *Lock) Locked() bool {
	l.check("Lock.Locked")
	return l.locked
}

// With runs fn while it holds the lock, and returns its error (async with lock).
// The lock is released when fn returns, panics or calls runtime.Goexit. If
// Acquire fails, With returns its error and fn does not run.
func (l *Lock) With(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := l.acquireFor(ctx, "Lock.With"); err != nil {
		return err
	}
	defer l.releaseFor("Lock.With")
	return fn(ctx)
}

// String shows the state and how many wait.
func (l *Lock) String() string {
	if l.locked {
		return l.waiters.describe("<Lock locked") + ">"
	}
	return l.waiters.describe("<Lock unlocked") + ">"
}
