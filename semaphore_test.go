// Tests of Semaphore and BoundedSemaphore.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func ExampleSemaphore() {
	// Five downloads, two at a time.
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		loop := asyncio.CurrentTask(ctx).Loop()
		slots := asyncio.NewSemaphore(2)
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for i := range 5 {
				g.Go(func(ctx context.Context) error {
					return slots.With(ctx, func(ctx context.Context) error {
						fmt.Println("download", i, "at", loop.Time())
						return asyncio.Sleep(ctx, time.Second)
					})
				})
			}
			return nil
		})
	}, asynciotest.WithVirtualClock())
	// Output:
	// download 0 at 0s
	// download 1 at 0s
	// download 2 at 1s
	// download 3 at 1s
	// download 4 at 2s
}

func ExampleBoundedSemaphore() {
	defer func() { fmt.Println(recover()) }()
	connections := asyncio.NewBoundedSemaphore(2)
	connections.Release()
	// Output:
	// asyncio: BoundedSemaphore.Release: called too often: all of its 2 permits are there; release one for each Acquire that has returned nil
}

func TestSemaphore(t *testing.T) {
	t.Run("LOCK-026 no permit at first", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var zero asyncio.Semaphore
			for _, s := range []*asyncio.Semaphore{&zero, asyncio.NewSemaphore(0)} {
				if !s.Locked() || s.TryAcquire() {
					t.Error("the semaphore has a permit")
				}
				asyncio.CurrentTask(ctx).Loop().CallSoon(s.Release)
				expectError(t, s.Acquire(ctx), nil)
			}
			return nil
		})
	})
	t.Run("LOCK-027 a negative number is rejected", func(t *testing.T) {
		expectUsage(t, asyncio.ErrBadArgument, func() { asyncio.NewSemaphore(-1) })
		expectUsage(t, asyncio.ErrBadArgument, func() { asyncio.NewBoundedSemaphore(-1) })
	})
	t.Run("LOCK-028 counting, waiting, releasing", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			s := asyncio.NewSemaphore(2)
			var j journal
			expectText(t, s, "<Semaphore unlocked permits=2>")
			withoutSuspending(t, ctx, func() {
				s.Acquire(ctx)
				s.Acquire(ctx)
			})
			expectText(t, s, "<Semaphore locked>")
			j.spawn(ctx, "a", s.Acquire)
			settle(ctx)
			expectText(t, s, "<Semaphore locked waiters=1>")
			j.expect(t, "")
			s.Release()
			if !s.Locked() || s.TryAcquire() {
				t.Error("a newcomer could overtake the one who waits")
			}
			asyncio.Yield(ctx)
			j.expect(t, "a")
			s.Release()
			s.Release()
			s.Release()
			expectText(t, s, "<Semaphore unlocked permits=3>")
			return nil
		})
	})
	t.Run("LOCK-029 newcomers wait behind those who are woken", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			s := asyncio.NewSemaphore(0)
			var j journal
			j.spawn(ctx, "a", s.Acquire)
			asyncio.Yield(ctx)
			s.Release() // for a
			s.Release() // one is free, but a has not had its turn
			j.spawn(ctx, "b", s.Acquire)
			expectError(t, s.Acquire(ctx), nil)
			j.expect(t, "a")
			s.Release()
			settle(ctx)
			j.expect(t, "b")
			return nil
		})
	})
	t.Run("LOCK-030 acquiring again goes to the back", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			s := asyncio.NewSemaphore(1)
			var j journal
			again := func(ctx context.Context) error {
				name := asyncio.CurrentTask(ctx).Name()
				for i := range 2 {
					err := s.With(ctx, func(ctx context.Context) error {
						j.say("%s%d", name, i)
						return asyncio.Yield(ctx)
					})
					if err != nil {
						return err
					}
				}
				return nil
			}
			for _, name := range []string{"a", "b", "c"} {
				j.spawn(ctx, name, again)
			}
			settle(ctx)
			j.expect(t, "a0 b0 c0 a1 a b1 b c1 c")
			return nil
		})
	})
	t.Run("LOCK-031 cancelled waiters consume nothing", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			s := asyncio.NewSemaphore(0)
			var j journal
			a := j.spawn(ctx, "a", s.Acquire)
			b := j.spawn(ctx, "b", s.Acquire)
			j.spawn(ctx, "c", s.Acquire)
			asyncio.Yield(ctx)
			a.Cancel(nil)
			s.Release() // for b
			b.Cancel(nil)
			settle(ctx)
			j.expect(t, "a!cancelled b!cancelled c")
			expectText(t, s, "<Semaphore locked>")
			return nil
		})
	})
	t.Run("LOCK-031 a permit that nobody is left to take is free", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			s := asyncio.NewSemaphore(0)
			a := asyncio.Go(ctx, s.Acquire)
			asyncio.Yield(ctx)
			s.Release()
			a.Cancel(nil)
			asyncio.Yield(ctx)
			expectText(t, s, "<Semaphore unlocked permits=1>")
			return nil
		})
	})
	t.Run("LOCK-032 several releases wake as many in one pass", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			s := asyncio.NewSemaphore(0)
			var j journal
			for _, name := range []string{"a", "b", "c", "d"} {
				j.spawn(ctx, name, s.Acquire)
			}
			asyncio.Yield(ctx)
			s.Release()
			s.Release()
			s.Release()
			asyncio.Yield(ctx)
			j.expect(t, "a b c")
			s.Release()
			asyncio.Yield(ctx)
			j.expect(t, "d")
			return nil
		})
	})
	t.Run("LOCK-033 a cancelled waiter does not leave it stuck", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			s := asyncio.NewSemaphore(1)
			s.Acquire(ctx)
			expectError(t, asyncio.Timeout(ctx, time.Second, s.Acquire), asyncio.ErrTimeout)
			s.Release()
			withoutSuspending(t, ctx, func() { expectError(t, s.Acquire(ctx), nil) })
			// Those who are cancelled do not count as waiting.
			a := asyncio.Go(ctx, s.Acquire)
			asyncio.Yield(ctx)
			a.Cancel(nil)
			s.Release()
			withoutSuspending(t, ctx, func() { expectError(t, s.Acquire(ctx), nil) })
			return nil
		})
	})
	t.Run("LOCK-034 the bounded one rejects too many releases", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			s := asyncio.NewBoundedSemaphore(1)
			expectText(t, s, "<BoundedSemaphore unlocked permits=1 bound=1>")
			expectUsage(t, asyncio.ErrTooOften, s.Release)
			expectError(t, s.Acquire(ctx), nil)
			if !s.Locked() || s.TryAcquire() {
				t.Error("the semaphore has two permits")
			}
			s.Release()
			expectUsage(t, asyncio.ErrTooOften, s.Release)
			expectUsage(t, asyncio.ErrTooOften, func() {
				s.With(ctx, func(ctx context.Context) error {
					s.Release()
					return nil
				})
			})
			expectUsage(t, asyncio.ErrTooOften, new(asyncio.BoundedSemaphore).Release)
			return nil
		})
	})
	t.Run("the with-form gives the permit back", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			s := asyncio.NewSemaphore(1)
			b := asyncio.NewBoundedSemaphore(1)
			failure := errors.New("failure")
			for _, with := range []func(context.Context, func(context.Context) error) error{s.With, b.With} {
				expectError(t, with(ctx, func(context.Context) error { return failure }), failure)
				func() {
					defer func() { recover() }()
					with(ctx, func(context.Context) error { panic("oops") })
				}()
			}
			if s.Locked() || b.Locked() {
				t.Error("a permit was not given back")
			}
			return nil
		})
	})
	t.Run("use on another loop or goroutine is an error", func(t *testing.T) {
		s := asyncio.NewSemaphore(0)
		onTwoLoops(t, s.Acquire, func(ctx context.Context) {
			expectError(t, s.Acquire(ctx), asyncio.ErrWrongLoop)
			expectError(t, s.With(ctx, nil), asyncio.ErrWrongLoop)
			expectUsage(t, asyncio.ErrWrongLoop, s.Release)
			onAnotherGoroutine(func() {
				expectUsage(t, asyncio.ErrWrongGoroutine, s.Release)
				expectUsage(t, asyncio.ErrWrongGoroutine, func() { s.Locked() })
			})
		})
		b := asyncio.NewBoundedSemaphore(0)
		onTwoLoops(t, b.Acquire, func(ctx context.Context) {
			expectError(t, b.Acquire(ctx), asyncio.ErrWrongLoop)
			expectError(t, b.With(ctx, nil), asyncio.ErrWrongLoop)
			expectUsage(t, asyncio.ErrWrongLoop, b.Release)
		})
	})
}

// Random tasks take permits and are cancelled at random; see testPermits.
func TestSemaphoreRandom(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		n := 1 + int(seed%3)
		s := asyncio.NewSemaphore(n)
		testPermits(t, seed, n, s)
		expectText(t, s, fmt.Sprintf("<Semaphore unlocked permits=%d>", n))
		b := asyncio.NewBoundedSemaphore(n)
		testPermits(t, seed, n, b)
		expectText(t, b, fmt.Sprintf("<BoundedSemaphore unlocked permits=%d bound=%d>", n, n))
	})
}
