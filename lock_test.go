// Tests of Lock.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func ExampleLock() {
	// Saving takes an await, so two tasks could get in each other's way.
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		var lock asyncio.Lock
		save := func(ctx context.Context, name string) error {
			return lock.With(ctx, func(ctx context.Context) error {
				fmt.Println(name, "begins")
				defer fmt.Println(name, "ends")
				return asyncio.Yield(ctx)
			})
		}
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(func(ctx context.Context) error { return save(ctx, "first") })
			g.Go(func(ctx context.Context) error { return save(ctx, "second") })
			return nil
		})
	})
	// Output:
	// first begins
	// first ends
	// second begins
	// second ends
}

func TestLock(t *testing.T) {
	t.Run("LOCK-001 waiters get the lock in order, one for each release", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var lock asyncio.Lock
			var j journal
			expectError(t, lock.Acquire(ctx), nil)
			for _, name := range []string{"a", "b", "c"} {
				j.spawn(ctx, name, lock.Acquire)
			}
			settle(ctx)
			j.expect(t, "")
			for _, want := range []string{"a", "b", "c"} {
				lock.Release()
				asyncio.Yield(ctx)
				j.expect(t, want)
				if !lock.Locked() {
					t.Error("the lock is free")
				}
			}
			lock.Release()
			if lock.Locked() {
				t.Error("the lock is not free")
			}
			return nil
		})
	})
	t.Run("LOCK-002 cancelling a waiter removes it", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var lock asyncio.Lock
			var j journal
			lock.Acquire(ctx)
			a := j.spawn(ctx, "a", lock.Acquire)
			asyncio.Yield(ctx)
			expectText(t, &lock, "<Lock locked waiters=1>")
			a.Cancel(nil)
			asyncio.Yield(ctx)
			j.expect(t, "a!cancelled")
			expectText(t, &lock, "<Lock locked>")
			return nil
		})
	})
	t.Run("LOCK-003 cancelling the next waiter while the lock is released wakes the one after", func(t *testing.T) {
		for _, cancelFirst := range []bool{false, true} {
			asynciotest.Run(t, func(ctx context.Context) error {
				var lock asyncio.Lock
				var j journal
				lock.Acquire(ctx)
				a := j.spawn(ctx, "a", lock.Acquire)
				j.spawn(ctx, "b", lock.Acquire)
				asyncio.Yield(ctx)
				if cancelFirst {
					a.Cancel(nil)
				}
				lock.Release()
				if !cancelFirst {
					a.Cancel(nil)
				}
				settle(ctx)
				j.expect(t, "a!cancelled b")
				return nil
			})
		}
	})
	t.Run("LOCK-004 a granted waiter that is cancelled passes the lock on", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var lock asyncio.Lock
			var j journal
			held := 0
			hold := func(ctx context.Context) error {
				return lock.With(ctx, func(ctx context.Context) error {
					if held++; held != 1 {
						t.Errorf("%d tasks hold the lock", held)
					}
					err := asyncio.Yield(ctx)
					held--
					return err
				})
			}
			lock.Acquire(ctx)
			a := j.spawn(ctx, "a", hold)
			j.spawn(ctx, "b", hold)
			asyncio.Yield(ctx)
			lock.Release()
			a.Cancel(nil)
			if lock.TryAcquire() {
				t.Error("a newcomer has overtaken those who wait")
			}
			j.spawn(ctx, "c", hold)
			settle(ctx)
			j.expect(t, "a!cancelled b c")
			return nil
		})
	})
	t.Run("LOCK-004 those who are cancelled do not keep others from a free lock", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var lock asyncio.Lock
			var j journal
			lock.Acquire(ctx)
			a := j.spawn(ctx, "a", lock.Acquire)
			asyncio.Yield(ctx)
			a.Cancel(nil)
			lock.Release()
			withoutSuspending(t, ctx, func() { expectError(t, lock.Acquire(ctx), nil) })
			settle(ctx)
			j.expect(t, "a!cancelled")
			expectText(t, &lock, "<Lock locked>")
			return nil
		})
	})
	t.Run("LOCK-005 release when unlocked is an error", func(t *testing.T) {
		var lock asyncio.Lock
		expectUsage(t, asyncio.ErrNotHeld, lock.Release)
		asynciotest.Run(t, func(ctx context.Context) error {
			lock.Acquire(ctx)
			lock.Release()
			expectUsage(t, asyncio.ErrNotHeld, lock.Release)
			expectUsage(t, asyncio.ErrNotHeld, func() {
				lock.With(ctx, func(ctx context.Context) error {
					lock.Release()
					return nil
				})
			})
			return nil
		})
	})
	t.Run("LOCK-006 release without waiters leaves it unlocked", func(t *testing.T) {
		var lock asyncio.Lock
		if !lock.TryAcquire() || lock.TryAcquire() || !lock.Locked() {
			t.Error("TryAcquire does not take the lock once")
		}
		lock.Release()
		if lock.Locked() {
			t.Error("the lock is not free")
		}
	})
	t.Run("LOCK-007 the with-form locks and unlocks", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var lock asyncio.Lock
			expectText(t, &lock, "<Lock unlocked>")
			failure := errors.New("failure")
			err := lock.With(ctx, func(ctx context.Context) error {
				expectText(t, &lock, "<Lock locked>")
				return failure
			})
			expectError(t, err, failure)
			func() {
				defer func() { recover() }()
				lock.With(ctx, func(ctx context.Context) error { panic("oops") })
			}()
			expectText(t, &lock, "<Lock unlocked>")
			exits := asyncio.Go(ctx, func(ctx context.Context) error {
				return lock.With(ctx, func(ctx context.Context) error {
					runtime.Goexit()
					return nil
				})
			})
			expectError(t, exits.Wait(ctx), asyncio.ErrGoexit)
			expectText(t, &lock, "<Lock unlocked>")
			return nil
		})
	})
	t.Run("LOCK-025 use from another loop is an error", func(t *testing.T) {
		var lock asyncio.Lock
		lock.TryAcquire()
		onTwoLoops(t, lock.Acquire, func(ctx context.Context) {
			expectError(t, lock.Acquire(ctx), asyncio.ErrWrongLoop)
			expectError(t, lock.With(ctx, func(context.Context) error { return nil }), asyncio.ErrWrongLoop)
			expectUsage(t, asyncio.ErrWrongLoop, lock.Release)
			expectUsage(t, asyncio.ErrWrongLoop, func() { lock.TryAcquire() })
		})
		asynciotest.Run(t, func(ctx context.Context) error {
			expectError(t, lock.Acquire(ctx), asyncio.ErrWrongLoop)
			return nil
		})
	})
	t.Run("use on another goroutine is an error", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var lock asyncio.Lock
			lock.Acquire(ctx)
			asyncio.Go(ctx, lock.Acquire)
			asyncio.Yield(ctx)
			onAnotherGoroutine(func() {
				expectUsage(t, asyncio.ErrWrongGoroutine, lock.Release)
				expectUsage(t, asyncio.ErrWrongGoroutine, func() { lock.Locked() })
			})
			return nil
		})
	})
	t.Run("OBS-001 a free lock does not suspend, even in a cancelled scope", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var lock asyncio.Lock
			withoutSuspending(t, ctx, func() {
				expectError(t, lock.Acquire(ctx), nil)
				lock.Release()
				asyncio.CurrentTask(ctx).Cancel(nil)
				expectError(t, lock.Acquire(ctx), nil)
			})
			// A cancelled scope stays cancelled: a wait in it ends each time.
			for range 3 {
				expectError(t, lock.Acquire(ctx), asyncio.ErrCancelled)
			}
			expectText(t, &lock, "<Lock locked>")
			return nil
		})
	})
	t.Run("a timeout ends the wait", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var lock asyncio.Lock
			lock.Acquire(ctx)
			expectError(t, asyncio.Timeout(ctx, time.Second, lock.Acquire), asyncio.ErrTimeout)
			ctx, cancel := context.WithCancel(ctx)
			asyncio.CurrentTask(ctx).Loop().CallSoon(cancel)
			expectError(t, lock.Acquire(ctx), asyncio.ErrCancelled)
			expectText(t, &lock, "<Lock locked>")
			return nil
		})
	})
	t.Run("a callback may release", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var lock asyncio.Lock
			lock.Acquire(ctx)
			asyncio.CurrentTask(ctx).Loop().CallLater(time.Second, lock.Release)
			return lock.Acquire(ctx)
		})
	})
}

// Random tasks take a lock and are cancelled at random: it is held by one of
// them at a time, in the order of arrival, and nothing gets stuck.
func TestLockRandom(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		var lock asyncio.Lock
		testPermits(t, seed, 1, &lock)
		expectText(t, &lock, "<Lock unlocked>")
	})
}

type permits interface {
	Acquire(ctx context.Context) error
	TryAcquire() bool
	Release()
	Locked() bool
}

// testPermits lets random tasks take n permits, and cancels them at random.
func testPermits(t *testing.T, seed uint64, n int, p permits) {
	asynciotest.Run(t, func(ctx context.Context) error {
		r := rand.New(rand.NewPCG(seed, 1))
		var l line
		held, most := 0, 0
		pause := func(ctx context.Context) {
			for range r.IntN(3) {
				asyncio.Yield(ctx)
			}
		}
		take := func() {
			held++
			if most = max(most, held); held > n {
				t.Fatalf("%d permits are held, there are %d", held, n)
			}
		}
		worker := func(ctx context.Context) error {
			me := asyncio.CurrentTask(ctx)
			for range 3 {
				pause(ctx)
				l.join(me)
				locked := p.Locked()
				suspended := false
				h := me.Loop().CallSoon(func() { suspended = true })
				err := p.Acquire(ctx)
				h.Cancel()
				if who := l.leave(me, err == nil); who != nil {
					t.Errorf("%v has overtaken %v", me, who)
				}
				if _, lock := p.(*asyncio.Lock); suspended != locked && !(lock && suspended) {
					t.Errorf("Locked was %t, suspended is %t", locked, suspended)
				}
				if err != nil {
					return err
				}
				take()
				pause(ctx)
				held--
				p.Release()
			}
			return nil
		}
		var workers []asyncio.AnyFuture
		for range 20 {
			workers = append(workers, asyncio.Go(ctx, worker))
			if r.IntN(3) == 0 {
				asyncio.Yield(ctx)
			}
			if r.IntN(2) == 0 {
				l.cancel(workers[r.IntN(len(workers))].(asyncio.AnyTask))
			}
			if r.IntN(5) == 0 && p.TryAcquire() {
				take()
				pause(ctx)
				l.cancel(workers[r.IntN(len(workers))].(asyncio.AnyTask))
				held--
				p.Release()
				l.cancel(workers[r.IntN(len(workers))].(asyncio.AnyTask))
			}
		}
		asyncio.Wait(ctx, workers, asyncio.WaitOptions{})
		if held != 0 || most != n {
			t.Errorf("%d permits are held in the end, %d at most; want 0 and %d", held, most, n)
		}
		return nil
	})
}
