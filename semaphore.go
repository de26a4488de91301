// Semaphores: so many tasks at a time.

package asyncio

import (
	"context"
	"fmt"
)

// Semaphore is a number of permits, which tasks acquire and release
// (asyncio.Semaphore). It lets so many tasks at a time do something. Those who
// wait get permits in the order in which they came, and nobody overtakes them.
// Permits belong to nobody: any task, and any callback of the loop, may release one.
//
// The zero value has no permit until somebody releases one. A Semaphore must not
// be copied after its first use. It belongs to the loop on which a task first had
// to wait for it; after that its methods panic, or fail, with a *UsageError on
// other goroutines and loops.
//
// Acquiring and releasing a permit that nobody waits for costs a few nanoseconds
// and allocates nothing.
type Semaphore struct {
	binding
	waiters waitq
	permits int // that are free; those of granted places are not
}

// NewSemaphore makes a semaphore with n permits. It panics with a *UsageError if
// n is negative.
func NewSemaphore(n int) *Semaphore {
	s := new(Semaphore)
	s.init(n, "NewSemaphore")
	return s
}

func (s *Semaphore) init(n int, op string) {
	if n < 0 {
		panic(misuse(op, ErrBadArgument, "the number of permits is %d; it must not be negative", n))
	}
	s.permits = n
}

// Acquire waits until there is a permit and takes it (Semaphore.acquire). If
// there is one, and nobody waits, Acquire does not suspend, even if ctx is done.
//
// If the task, or ctx, is cancelled while it waits, Acquire returns that and takes
// no permit; one that it had been given goes to the next. Outside a task, or with a
// context of another loop, it returns a *UsageError.
func (s *Semaphore) Acquire(ctx context.Context) error {
	return s.acquire(ctx, "Semaphore.Acquire")
}

func (s *Semaphore) acquire(ctx context.Context, op string) error {
	t, err := s.enter(ctx, op)
	if err != nil || s.take() {
		return err
	}
	granted, err := s.wait(ctx, t, &s.waiters)
	if err != nil && granted {
		s.permits++
	}
	// Permits may be free because newcomers had to stand in line behind tasks
	// that have not had their turn yet.
	for s.permits > 0 && s.grant() {
	}
	return err
}

// take takes a permit if there is one and nobody is entitled to it before.
func (s *Semaphore) take() bool {
	if s.permits == 0 || s.waiters.live > 0 {
		return false
	}
	s.permits--
	return true
}

// grant gives a permit to the next in line.
func (s *Semaphore) grant() bool {
	if !s.waiters.grant() {
		return false
	}
	s.permits--
	return true
}

// TryAcquire takes a permit if Acquire would not suspend, and reports whether
// it did. Python has no such method.
func (s *Semaphore) TryAcquire() bool {
	s.check("Semaphore.TryAcquire")
	return s.take()
}

// Release gives a permit back, or adds one (Semaphore.release). If tasks wait,
// the first of them gets it.
func (s *Semaphore) Release() {
	s.check("Semaphore.Release")
	s.release()
}

func (s *Semaphore) release() {
	s.permits++
	s.grant()
}

// Locked reports whether Acquire would suspend: no permit is free, or others
// wait (Semaphore.locked).
func (s *Semaphore) Locked() bool {
	s.check("Semaphore.Locked")
	return s.permits == 0 || s.waiters.live > 0
}

// With runs fn while it holds a permit, and returns its error (async with
// semaphore). The permit is released when fn returns, panics or calls
// runtime.Goexit. If Acquire fails, With returns its error and fn does not run.
func (s *Semaphore) With(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := s.acquire(ctx, "Semaphore.With"); err != nil {
		return err
	}
	defer s.Release()
	return fn(ctx)
}

// String shows how many permits are free and how many tasks wait.
func (s *Semaphore) String() string { return "<Semaphore " + s.state() + ">" }

func (s *Semaphore) state() string {
	if s.permits == 0 || s.waiters.live > 0 {
		return s.waiters.describe("locked")
	}
	return s.waiters.describe(fmt.Sprintf("unlocked permits=%d", s.permits))
}

// BoundedSemaphore is a Semaphore that cannot have more permits than it began
// with: releasing one too many panics (asyncio.BoundedSemaphore). The zero value
// has no permit and can get none.
type BoundedSemaphore struct {
	semaphore Semaphore
	bound     int
}

// NewBoundedSemaphore makes a semaphore with n permits. It panics with a
// *UsageError if n is negative.
func NewBoundedSemaphore(n int) *BoundedSemaphore {
	s := &BoundedSemaphore{bound: n}
	s.semaphore.init(n, "NewBoundedSemaphore")
	return s
}

// Acquire waits until there is a permit and takes it, as Semaphore.Acquire does.
func (s *BoundedSemaphore) Acquire(ctx context.Context) error {
	return s.semaphore.acquire(ctx, "BoundedSemaphore.Acquire")
}

// TryAcquire takes a permit if Acquire would not suspend, and reports whether it did.
func (s *BoundedSemaphore) TryAcquire() bool { return s.semaphore.TryAcquire() }

// Release gives a permit back; if tasks wait, the first of them gets it
// (BoundedSemaphore.release). It panics with a *UsageError, ErrTooOften, if all
// permits are there.
func (s *BoundedSemaphore) Release() {
	const op = "BoundedSemaphore.Release"
	s.semaphore.check(op)
	if s.semaphore.permits >= s.bound {
		panic(misuse(op, ErrTooOften, "all of its %d permits are there; release one for each Acquire that has returned nil", s.bound))
	}
	s.semaphore.release()
}

// Locked reports whether Acquire would suspend (BoundedSemaphore.locked).
func (s *BoundedSemaphore) Locked() bool { return s.semaphore.Locked() }

// With runs fn while it holds a permit, as Semaphore.With does.
func (s *BoundedSemaphore) With(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := s.semaphore.acquire(ctx, "BoundedSemaphore.With"); err != nil {
		return err
	}
	defer s.Release()
	return fn(ctx)
}

// String shows how many permits are free and how many tasks wait.
func (s *BoundedSemaphore) String() string {
	return fmt.Sprintf("<BoundedSemaphore %s bound=%d>", s.semaphore.state(), s.bound)
}
