// Sleep, and scopes with a deadline.

package asyncio

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/timer"
)

// Forever is the duration, and the deadline, that never comes.
const Forever time.Duration = math.MaxInt64

// Sleep suspends the calling task for d (asyncio.sleep). It never wakes early;
// tasks whose time comes in the same pass wake in the order in which they went to
// sleep. With d <= 0 it is Yield; with Forever nothing but a cancellation ends it. If
// the task is cancelled, or ctx is, it returns that, and its timer is gone. It
// allocates nothing.
func Sleep(ctx context.Context, d time.Duration) error {
	t, err := current(ctx, "Sleep")
	if err != nil {
		return err
	}
	if d <= 0 {
		return t.yield(ctx)
	}
	w := t.arm()
	if when := after(t.loop.clock.Now(), d); when != endOfTime {
		t.setAlarm(when)
	}
	err = t.park(ctx, w)
	t.clearAlarm()
	return err
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
	s := &TimeoutScope{}
	t.enterScope(&s.scope, ctx)
	defer s.leave() // also when fn panics
	if d == Forever {
		s.arm(0, Forever)
	} else {
		now := t.loop.clock.Now()
		s.arm(now, after(now, d))
	}
	return s.outcome(fn(&s.scope))
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
	s := &TimeoutScope{}
	t.enterScope(&s.scope, ctx)
	defer s.leave()
	s.arm(t.loop.clock.Now(), when)
	return s.outcome(fn(&s.scope, s))
}

// TimeoutScope is a deadline in force (asyncio.Timeout). It is active until it
// expires or its function returns.
type TimeoutScope struct {
	scope   scope // all in one piece of memory: a timeout is allocated once
	when    time.Duration
	alarm   timer.Timer[runnable]
	armed   bool // it will expire, by alarm or, if that is not armed, by the ready queue
	stale   int  // how often it is in the ready queue without being armed by that
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
	case !s.scope.task.loop.mine():
		return s.scope.task.loop.elsewhere("Reschedule")
	case s.left:
		return misuse("Reschedule", ErrScopeState, "its function has returned")
	case s.expired:
		return misuse("Reschedule", ErrScopeState, "it has expired")
	}
	s.disarm()
	s.arm(s.scope.task.loop.clock.Now(), when)
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

func (s *TimeoutScope) arm(now, when time.Duration) {
	l := s.scope.task.loop
	s.when = when
	if when == Forever {
		s.scope.deadline.Store(0)
		return
	}
	s.scope.deadline.Store(int64(max(1, when))) // 0 means none
	s.armed = true
	if when <= now {
		l.entry.drain(&l.ready) // what was posted before comes first
		l.ready.push(s)
		return
	}
	s.alarm.Owner, s.alarm.When = s, when
	l.timers.Add(&s.alarm)
}

func (s *TimeoutScope) disarm() {
	if s.armed && !s.scope.task.loop.timers.Remove(&s.alarm) {
		s.stale++
	}
	s.armed = false
}

func (s *TimeoutScope) callback() seam.Callback {
	return seam.Callback{Kind: seam.Timer, Subject: s, Lane: seam.Timer, When: s.when}
}

// run is called when the deadline has passed.
func (s *TimeoutScope) run() {
	if s.stale > 0 {
		s.stale--
		return
	}
	s.armed = false
	s.expired = true
	s.scope.request(nil, true)
}

// outcome returns what becomes of the error of the function.
func (s *TimeoutScope) outcome(err error) error {
	if s.expired && isCancelled(err, s.scope.Err()) && s.scope.parent.heard() == nil {
		return ErrTimeout
	}
	return err
}

func (s *TimeoutScope) leave() {
	s.disarm()
	s.left = true
	s.scope.task.leave(&s.scope)
}
