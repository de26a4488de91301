// Sleep, and scopes with a deadline.

package asyncio

import (
	"context"
	"fmt"
	"math"
	"time"
)

// Forever is the duration, and the deadline, that never comes.
const Forever time.Duration = math.MaxInt64

// Sleep suspends the calling task for d (asyncio.sleep). It never wakes early;
// tasks whose time comes in the same pass wake in the order in which they went to
// sleep. With d <= 0 it is Yield. If the task is cancelled, or ctx is, it returns
// that, and its timer is gone. It allocates nothing.
func Sleep(ctx context.Context, d time.Duration) error {
	t, err := current(ctx, "Sleep")
	if err != nil {
		return err
	}
	if d <= 0 {
		return t.yield(ctx)
	}
	return t.sleepUntil(ctx, after(t.loop.clock.Now(), d))
}

// Yield gives up exactly one pass of the loop: everything that is ready runs
// before the calling task goes on (asyncio.sleep(0)).
func Yield(ctx context.Context) error {
	t, err := current(ctx, "Yield")
	if err != nil {
		return err
	}
	return t.yield(ctx)
}

// Timeout runs fn with a context that is cancelled when d has passed
// (asyncio.timeout). If fn then returns that cancellation, Timeout returns
// ErrTimeout. Any other result of fn is returned as it is, also when it comes too
// late: a function that never awaits is never interrupted. A cancellation from
// outside stays a cancellation, and so does that of an enclosing timeout.
//
// Inside, the context has a Deadline; once that has passed Err is
// context.DeadlineExceeded, and the error of an await Is ErrCancelled and
// context.DeadlineExceeded. With Forever there is no deadline. With d <= 0 fn is
// interrupted at its first await that suspends.
func Timeout(ctx context.Context, d time.Duration, fn func(ctx context.Context) error) error {
	t, err := current(ctx, "Timeout")
	if err != nil {
		return err
	}
	if fn == nil {
		return misuse("Timeout", ErrBadArgument, "the function is nil")
	}
	when := Forever
	if d != Forever {
		when = after(t.loop.clock.Now(), d)
	}
	return t.withDeadline(ctx, when, func(ctx context.Context, _ *TimeoutScope) error { return fn(ctx) })
}

// TimeoutAt is Timeout with a deadline on the loop's Time (asyncio.timeout_at),
// and with the scope, by which the deadline can be moved.
func TimeoutAt(ctx context.Context, when time.Duration, fn func(ctx context.Context, scope *TimeoutScope) error) error {
	t, err := current(ctx, "TimeoutAt")
	if err != nil {
		return err
	}
	if fn == nil {
		return misuse("TimeoutAt", ErrBadArgument, "the function is nil")
	}
	return t.withDeadline(ctx, when, fn)
}

// TimeoutScope is a deadline in force (asyncio.Timeout). It is active until it
// expires or its function returns.
type TimeoutScope struct {
	scope   *scope
	when    time.Duration
	timer   *TimerHandle // while it is armed for later
	soon    *Handle      // while it is armed for the next pass
	expired bool
	left    bool
}

// When returns the deadline on the loop's Time, Forever if there is none.
func (s *TimeoutScope) When() time.Duration { return s.when }

// Expired reports whether the deadline has passed while the function ran, even
// if that then returned something else.
func (s *TimeoutScope) Expired() bool { return s.expired }

// Reschedule moves the deadline to a time of the loop's clock, or removes it
// with Forever. One that has passed fires in the next pass. It returns a
// *UsageError if the scope has expired or its function has returned.
func (s *TimeoutScope) Reschedule(when time.Duration) error {
	switch {
	case !s.scope.loop.mine():
		return s.scope.loop.elsewhere("Reschedule")
	case s.left:
		return misuse("Reschedule", ErrScopeState, "its function has returned")
	case s.expired:
		return misuse("Reschedule", ErrScopeState, "it has expired")
	}
	s.disarm()
	s.arm(when)
	return nil
}

// String shows the state of the scope.
func (s *TimeoutScope) String() string {
	switch {
	case s.left && s.expired:
		return "<TimeoutScope expired>"
	case s.left:
		return "<TimeoutScope finished>"
	case s.expired:
		return "<TimeoutScope expiring>"
	case s.when == Forever:
		return "<TimeoutScope active>"
	}
	return fmt.Sprintf("<TimeoutScope active when=%v>", s.when)
}

func (s *TimeoutScope) arm(when time.Duration) {
	l := s.scope.loop
	s.when = when
	if when == Forever {
		s.scope.deadline.Store(0)
		return
	}
	s.scope.deadline.Store(int64(max(1, when))) // 0 means none
	if when <= l.clock.Now() {
		s.soon = l.CallSoon(s.expire)
	} else {
		s.timer = l.callAt(when, s.expire)
	}
}

func (s *TimeoutScope) disarm() {
	if s.timer != nil {
		s.timer.Cancel()
		s.timer = nil
	}
	if s.soon != nil {
		s.soon.Cancel()
		s.soon = nil
	}
}

func (s *TimeoutScope) expire() {
	s.expired = true
	s.scope.request(nil, true)
}

func (t *task) withDeadline(ctx context.Context, when time.Duration, fn func(context.Context, *TimeoutScope) error) error {
	s := &TimeoutScope{scope: t.enter(ctx)}
	defer s.leave() // also when fn panics
	s.arm(when)
	err := fn(s.scope, s)
	if s.expired && isCancelled(err, s.scope.Err()) && s.scope.parent.heard() == nil {
		return ErrTimeout
	}
	return err
}

func (s *TimeoutScope) leave() {
	s.disarm()
	s.left = true
	s.scope.task.leave(s.scope)
}
