// Tests of timeouts: when they fire, what they turn into ErrTimeout and what not.

package asyncio_test

import (
	"context"
	"errors"
	"math"
	"os"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// timeOn returns the time of the loop of ctx.
func timeOn(ctx context.Context) time.Duration { return asyncio.CurrentTask(ctx).Loop().Time() }

// expectTook checks how long fn takes on the loop's clock.
func expectTook(t *testing.T, ctx context.Context, want time.Duration, fn func()) {
	t.Helper()
	start := timeOn(ctx)
	fn()
	if took := timeOn(ctx) - start; took != want {
		t.Errorf("it took %v, want %v", took, want)
	}
}

func TestTimeout(t *testing.T) {
	inLoop(t, "TO-001 TO-002 TO-007 an overdue function", func(t *testing.T, ctx context.Context) {
		main := asyncio.CurrentTask(ctx)
		expectTook(t, ctx, 2*time.Second, func() {
			err := asyncio.Timeout(ctx, time.Second, hour)
			expectError(t, err, asyncio.ErrTimeout)
			expectError(t, err, context.DeadlineExceeded)
			expectError(t, err, os.ErrDeadlineExceeded)
			if errors.Is(err, asyncio.ErrCancelled) {
				t.Errorf("%v is a cancellation", err)
			}
			when := timeOn(ctx) + time.Second
			err = asyncio.TimeoutAt(ctx, when, func(ctx context.Context, s *asyncio.TimeoutScope) error {
				err := hour(ctx)
				if !s.Expired() || s.When() != when {
					t.Errorf("expired %v, when %v", s.Expired(), s.When())
				}
				return err
			})
			expectError(t, err, asyncio.ErrTimeout)
		})
		if main.Cancelling() != 0 || ctx.Err() != nil {
			t.Errorf("%d requests, %v", main.Cancelling(), ctx.Err())
		}
		expectError(t, hour(ctx), nil)
	})
	inLoop(t, "TO-003 in time", func(t *testing.T, ctx context.Context) {
		when := timeOn(ctx) + time.Hour
		err := asyncio.TimeoutAt(ctx, when, func(ctx context.Context, s *asyncio.TimeoutScope) error {
			err := asyncio.Sleep(ctx, time.Second)
			if s.Expired() || s.When() != when {
				t.Errorf("expired %v, when %v", s.Expired(), s.When())
			}
			return err
		})
		expectError(t, err, nil)
		if n := asyncio.CurrentTask(ctx).Loop().Timers(); n != 0 {
			t.Errorf("%d timers are left", n)
		}
	})
	inLoop(t, "TO-004 without a deadline", func(t *testing.T, ctx context.Context) {
		check := func(ctx context.Context) error {
			if _, ok := ctx.Deadline(); ok {
				t.Error("it has a deadline")
			}
			return hour(ctx)
		}
		expectError(t, asyncio.Timeout(ctx, asyncio.Forever, check), nil)
		expectError(t, asyncio.TimeoutAt(ctx, asyncio.Forever, func(ctx context.Context, s *asyncio.TimeoutScope) error {
			if s.When() != asyncio.Forever {
				t.Errorf("When() = %v", s.When())
			}
			return check(ctx)
		}), nil)
		expectError(t, asyncio.Timeout(ctx, asyncio.Forever-1, hour), nil)
	})
	inLoop(t, "TO-005 zero and less fire at the first await that suspends", func(t *testing.T, ctx context.Context) {
		for _, d := range []time.Duration{0, -1, math.MinInt64} {
			p := countPasses(ctx)
			expectError(t, asyncio.Timeout(ctx, d, hour), asyncio.ErrTimeout)
			if p.stop = true; p.n > 2 {
				t.Errorf("it took %d passes", p.n)
			}
			expectError(t, asyncio.Timeout(ctx, d, asyncio.Yield), asyncio.ErrTimeout)
			expectError(t, asyncio.TimeoutAt(ctx, d, func(ctx context.Context, _ *asyncio.TimeoutScope) error { return hour(ctx) }), asyncio.ErrTimeout)
		}
	})
	inLoop(t, "OBS-008 a function that does not suspend is never late", func(t *testing.T, ctx context.Context) {
		for _, d := range []time.Duration{-1, 0} {
			expectError(t, asyncio.Timeout(ctx, d, func(ctx context.Context) error { return nil }), nil)
		}
		expectError(t, asyncio.Yield(ctx), nil)
	})
	inLoop(t, "TO-006 an error of its own passes", func(t *testing.T, ctx context.Context) {
		var s *asyncio.TimeoutScope
		err := asyncio.TimeoutAt(ctx, asyncio.Forever, func(_ context.Context, scope *asyncio.TimeoutScope) error {
			s = scope
			return io2
		})
		if err != io2 || s.Expired() {
			t.Errorf("error %v, expired %v", err, s.Expired())
		}
	})
	inLoop(t, "TO-017 also after the deadline, and a value", func(t *testing.T, ctx context.Context) {
		for _, result := range []error{io2, nil, errors.Join(asyncio.ErrCancelled, io2)} {
			err := asyncio.Timeout(ctx, time.Second, func(ctx context.Context) error {
				hour(ctx)
				return result
			})
			if result == nil && err != nil || !errors.Is(err, result) || errors.Is(err, asyncio.ErrTimeout) {
				t.Errorf("error %v, want %v", err, result)
			}
		}
		expectError(t, hour(ctx), nil)
	})
	inLoop(t, "the bare error of the context will do", func(t *testing.T, ctx context.Context) {
		err := asyncio.Timeout(ctx, time.Second, func(ctx context.Context) error {
			hour(ctx)
			return ctx.Err()
		})
		expectError(t, err, asyncio.ErrTimeout)
	})
	inLoop(t, "a panic passes through", func(t *testing.T, ctx context.Context) {
		defer func() {
			if p := recover(); p != "oops" {
				t.Errorf("panic %v", p)
			}
			if n := asyncio.CurrentTask(ctx).Loop().Timers(); n != 0 {
				t.Errorf("%d timers are left", n)
			}
			expectError(t, hour(ctx), nil)
		}()
		asyncio.Timeout(ctx, time.Second, func(ctx context.Context) error { panic("oops") })
	})
	inLoop(t, "a nil function", func(t *testing.T, ctx context.Context) {
		expectError(t, asyncio.Timeout(ctx, 1, nil), asyncio.ErrBadArgument)
		expectError(t, asyncio.TimeoutAt(ctx, 1, nil), asyncio.ErrBadArgument)
	})
}

func TestNestedTimeouts(t *testing.T) {
	type scopes struct{ outer, inner *asyncio.TimeoutScope }
	// nested runs fn in two scopes, and returns the errors of both.
	nested := func(ctx context.Context, outer, inner time.Duration, fn func(ctx context.Context) error) (s scopes, oerr, ierr error) {
		now := timeOn(ctx)
		oerr = asyncio.TimeoutAt(ctx, now+outer, func(ctx context.Context, o *asyncio.TimeoutScope) error {
			s.outer = o
			ierr = asyncio.TimeoutAt(ctx, now+inner, func(ctx context.Context, i *asyncio.TimeoutScope) error {
				s.inner = i
				return fn(ctx)
			})
			return ierr
		})
		return s, oerr, ierr
	}
	inLoop(t, "TO-008 equal deadlines", func(t *testing.T, ctx context.Context) {
		s, outer, inner := nested(ctx, time.Second, time.Second, hour)
		expectError(t, outer, asyncio.ErrTimeout)
		expectError(t, inner, asyncio.ErrCancelled)
		if !s.outer.Expired() || !s.inner.Expired() {
			t.Errorf("expired %v, %v", s.outer.Expired(), s.inner.Expired())
		}
	})
	inLoop(t, "TO-009 the outer one expires while the inner one ends", func(t *testing.T, ctx context.Context) {
		s, outer, inner := nested(ctx, sec(1)+1, sec(1), func(ctx context.Context) error {
			err := hour(ctx)
			asyncio.Sleep(context.WithoutCancel(ctx), sec(1)) // the outer one expires meanwhile
			return err
		})
		expectError(t, outer, asyncio.ErrTimeout)
		expectError(t, inner, asyncio.ErrCancelled)
		if !s.outer.Expired() || !s.inner.Expired() {
			t.Errorf("expired %v, %v", s.outer.Expired(), s.inner.Expired())
		}
	})
	inLoop(t, "the outer one first", func(t *testing.T, ctx context.Context) {
		s, outer, inner := nested(ctx, time.Second, time.Minute, hour)
		expectError(t, outer, asyncio.ErrTimeout)
		expectError(t, inner, asyncio.ErrCancelled)
		expectError(t, inner, context.DeadlineExceeded)
		if !s.outer.Expired() || s.inner.Expired() {
			t.Errorf("expired %v, %v", s.outer.Expired(), s.inner.Expired())
		}
	})
	inLoop(t, "the inner one first", func(t *testing.T, ctx context.Context) {
		s, outer, inner := nested(ctx, time.Minute, time.Second, hour)
		expectError(t, outer, asyncio.ErrTimeout) // the inner one's, which has passed through
		expectError(t, inner, asyncio.ErrTimeout)
		if s.outer.Expired() || !s.inner.Expired() {
			t.Errorf("expired %v, %v", s.outer.Expired(), s.inner.Expired())
		}
	})
	inLoop(t, "TO-010 work after the inner timeout", func(t *testing.T, ctx context.Context) {
		expectTook(t, ctx, time.Minute, func() {
			err := asyncio.Timeout(ctx, time.Minute, func(ctx context.Context) error {
				expectError(t, asyncio.Timeout(ctx, time.Second, hour), asyncio.ErrTimeout)
				return hour(ctx)
			})
			expectError(t, err, asyncio.ErrTimeout)
		})
	})
	inLoop(t, "TO-011 a timeout in the clean-up of another", func(t *testing.T, ctx context.Context) {
		err := asyncio.Timeout(ctx, time.Second, func(ctx context.Context) error {
			err := hour(ctx)
			expectError(t, asyncio.Timeout(asyncio.CleanupContext(ctx), time.Second, hour), asyncio.ErrTimeout)
			return err
		})
		expectError(t, err, asyncio.ErrTimeout)
	})
	inLoop(t, "Deadline is the earliest one around", func(t *testing.T, ctx context.Context) {
		now := asyncio.Now(ctx)
		nested(ctx, time.Second, time.Minute, func(ctx context.Context) error {
			if d, ok := ctx.Deadline(); !ok || !d.Equal(now.Add(time.Second)) {
				t.Errorf("Deadline() = %v, %v", d, ok)
			}
			return nil
		})
	})
}

func TestTimeoutAndCancel(t *testing.T) {
	inLoop(t, "TO-012 the function may see the cancellation", func(t *testing.T, ctx context.Context) {
		err := asyncio.Timeout(ctx, time.Second, func(ctx context.Context) error {
			err := hour(ctx)
			expectError(t, err, asyncio.ErrCancelled)
			return err
		})
		expectError(t, err, asyncio.ErrTimeout)
	})
	inLoop(t, "TO-013 a request from outside stays a cancellation", func(t *testing.T, ctx context.Context) {
		var s *asyncio.TimeoutScope
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			return asyncio.TimeoutAt(ctx, asyncio.Forever-1, func(ctx context.Context, scope *asyncio.TimeoutScope) error {
				s = scope
				return hour(ctx)
			})
		}, asyncio.EagerStart())
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
		if !task.Cancelled() || s.Expired() {
			t.Errorf("%v, expired %v", task, s.Expired())
		}
	})
	inLoop(t, "one that comes together with the deadline, too", func(t *testing.T, ctx context.Context) {
		for _, order := range []string{"request first", "deadline first"} {
			task := asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.Timeout(ctx, time.Second, hour) })
			loop := task.Loop()
			if order == "deadline first" {
				asyncio.Yield(ctx)
			}
			loop.CallLater(time.Second, func() { task.Cancel(io2) })
			err := task.Wait(ctx)
			expectError(t, err, asyncio.ErrCancelled)
			if !task.Cancelled() {
				t.Errorf("%s: %v", order, task)
			}
		}
	})
	inLoop(t, "TO-014 TO-015 entered after a request was handled", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			hour(ctx)
			ctx = asyncio.CleanupContext(ctx)
			expectError(t, asyncio.Timeout(ctx, time.Second, hour), asyncio.ErrTimeout)
			return asyncio.Timeout(ctx, time.Second, hour)
		}, asyncio.EagerStart())
		task.Cancel(nil)
		asyncio.Sleep(ctx, 1500*time.Millisecond)
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
		if !task.Cancelled() {
			t.Errorf("%v", task)
		}
	})
	inLoop(t, "TO-019 a group in an expired scope", func(t *testing.T, ctx context.Context) {
		err := asyncio.Timeout(ctx, time.Second, func(ctx context.Context) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Go(func(ctx context.Context) error {
					expectError(t, hour(ctx), asyncio.ErrCancelled)
					return io2
				})
				return hour(ctx)
			})
		})
		var g *asyncio.GroupError
		if !errors.As(err, &g) || len(g.Errs) != 1 || g.Errs[0] != io2 {
			t.Errorf("error %v", err)
		}
		err = asyncio.Timeout(ctx, time.Second, func(ctx context.Context) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Go(hour)
				return nil
			})
		})
		expectError(t, err, asyncio.ErrTimeout)
	})
	inLoop(t, "a cancellation of something else is none of its business", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		f.Cancel(nil)
		expectError(t, asyncio.Timeout(ctx, time.Second, f.Wait), asyncio.ErrCancelled)
	})
}

func TestReschedule(t *testing.T) {
	inLoop(t, "TO-020 later, sooner, never, now", func(t *testing.T, ctx context.Context) {
		for _, c := range []struct {
			to, took time.Duration
			err      error
		}{
			{time.Minute, time.Minute, asyncio.ErrTimeout},
			{time.Millisecond, time.Millisecond, asyncio.ErrTimeout},
			{0, 0, asyncio.ErrTimeout},
			{-time.Hour, 0, asyncio.ErrTimeout},
			{asyncio.Forever, time.Hour, nil},
		} {
			expectTook(t, ctx, c.took, func() {
				now := timeOn(ctx)
				err := asyncio.TimeoutAt(ctx, now+time.Second, func(ctx context.Context, s *asyncio.TimeoutScope) error {
					when := c.to
					if when != asyncio.Forever {
						when += now
					}
					expectError(t, s.Reschedule(when), nil)
					if s.When() != when {
						t.Errorf("When() = %v, want %v", s.When(), when)
					}
					if _, ok := ctx.Deadline(); ok != (when != asyncio.Forever) {
						t.Errorf("has a deadline: %v", ok)
					}
					return hour(ctx)
				})
				if !errors.Is(err, c.err) {
					t.Errorf("%v: error %v", c.to, err)
				}
			})
			if n := asyncio.CurrentTask(ctx).Loop().Timers(); n != 0 {
				t.Errorf("%d timers are left", n)
			}
		}
	})
	inLoop(t, "TO-022 TO-023 TO-026 afterwards, and what it prints", func(t *testing.T, ctx context.Context) {
		var kept *asyncio.TimeoutScope
		asyncio.TimeoutAt(ctx, asyncio.Forever, func(ctx context.Context, s *asyncio.TimeoutScope) error {
			kept = s
			expectText(t, s, "<TimeoutScope active>")
			s.Reschedule(timeOn(ctx) + time.Second)
			expectText(t, s, "<TimeoutScope active when="+s.When().String()+">")
			return nil
		})
		expectError(t, kept.Reschedule(1), asyncio.ErrScopeState)
		expectText(t, kept, "<TimeoutScope finished>")
		asyncio.TimeoutAt(ctx, -1, func(ctx context.Context, s *asyncio.TimeoutScope) error {
			kept = s
			err := hour(ctx)
			expectError(t, s.Reschedule(asyncio.Forever), asyncio.ErrScopeState)
			expectText(t, s, "<TimeoutScope expiring>")
			return err
		})
		expectError(t, kept.Reschedule(1), asyncio.ErrScopeState)
		expectText(t, kept, "<TimeoutScope expired>")
	})
	inLoop(t, "on another goroutine", func(t *testing.T, ctx context.Context) {
		asyncio.TimeoutAt(ctx, asyncio.Forever, func(ctx context.Context, s *asyncio.TimeoutScope) error {
			onAnotherGoroutine(func() { expectError(t, s.Reschedule(1), asyncio.ErrWrongGoroutine) })
			return nil
		})
	})
}
