// Tests of Condition.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func ExampleCondition() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		var changed asyncio.Condition
		level := 0
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(func(ctx context.Context) error {
				return changed.With(ctx, func(ctx context.Context) error {
					if err := changed.WaitFor(ctx, func() bool { return level >= 2 }); err != nil {
						return err
					}
					fmt.Println("level", level, "is enough")
					return nil
				})
			})
			g.Go(func(ctx context.Context) error {
				for range 3 {
					err := changed.With(ctx, func(ctx context.Context) error {
						level++
						fmt.Println("level", level)
						changed.NotifyAll()
						return nil
					})
					if err != nil {
						return err
					}
					if err := asyncio.Sleep(ctx, time.Second); err != nil {
						return err
					}
				}
				return nil
			})
			return nil
		})
	}, asynciotest.WithVirtualClock())
	// Output:
	// level 1
	// level 2
	// level 2 is enough
	// level 3
}

// waiting is a coroutine that waits for c with the lock in its hand.
func waiting(t *testing.T, c *asyncio.Condition) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		return c.With(ctx, func(ctx context.Context) error {
			err := c.Wait(ctx)
			if !c.Locked() {
				t.Error("Wait has returned without the lock")
			}
			return err
		})
	}
}

func TestCondition(t *testing.T) {
	t.Run("LOCK-011 one waiter wakes for each notify, in order", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var c asyncio.Condition
			var j journal
			for _, name := range []string{"a", "b", "c"} {
				j.spawn(ctx, name, waiting(t, &c))
			}
			settle(ctx)
			expectText(t, &c, "<Condition unlocked waiters=3>")
			for _, want := range []string{"a", "b", "c", ""} {
				c.Acquire(ctx)
				c.Notify(1)
				c.Release()
				settle(ctx)
				j.expect(t, want)
			}
			return nil
		})
	})
	t.Run("LOCK-012 it runs only after the lock is released", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var c asyncio.Condition
			var j journal
			j.spawn(ctx, "a", waiting(t, &c))
			settle(ctx)
			c.Acquire(ctx)
			c.Notify(1)
			settle(ctx)
			j.expect(t, "")
			expectText(t, &c, "<Condition locked>")
			c.Release()
			settle(ctx)
			j.expect(t, "a")
			return nil
		})
	})
	t.Run("LOCK-013 LOCK-014 notify wakes as many as there are, notify-all all", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			for _, notify := range []struct {
				do   func(c *asyncio.Condition)
				want string
			}{
				{func(c *asyncio.Condition) { c.Notify(-1) }, ""},
				{func(c *asyncio.Condition) { c.Notify(0) }, ""},
				{func(c *asyncio.Condition) { c.Notify(2) }, "a b"},
				{func(c *asyncio.Condition) { c.Notify(100) }, "a b c"},
				{func(c *asyncio.Condition) { c.NotifyAll() }, "a b c"},
			} {
				var c asyncio.Condition
				var j journal
				for _, name := range []string{"a", "b", "c"} {
					j.spawn(ctx, name, waiting(t, &c))
				}
				settle(ctx)
				c.Acquire(ctx)
				notify.do(&c)
				c.Release()
				settle(ctx)
				j.expect(t, notify.want)
			}
			return nil
		})
	})
	t.Run("LOCK-015 LOCK-018 waiting and notifying without the lock are errors", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var c asyncio.Condition
			expectError(t, c.Wait(ctx), asyncio.ErrNotHeld)
			expectError(t, c.WaitFor(ctx, func() bool { return false }), asyncio.ErrNotHeld)
			expectUsage(t, asyncio.ErrNotHeld, func() { c.Notify(1) })
			expectUsage(t, asyncio.ErrNotHeld, c.NotifyAll)
			expectUsage(t, asyncio.ErrNotHeld, c.Release)
			return nil
		})
	})
	t.Run("LOCK-016 WaitFor returns when the predicate holds", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var c asyncio.Condition
			var j journal
			n := 0
			j.spawn(ctx, "a", func(ctx context.Context) error {
				return c.With(ctx, func(ctx context.Context) error {
					return c.WaitFor(ctx, func() bool {
						if !c.Locked() {
							t.Error("the predicate is asked without the lock")
						}
						return n == 3
					})
				})
			})
			for range 3 {
				settle(ctx)
				j.expect(t, "")
				c.With(ctx, func(ctx context.Context) error {
					n++
					c.Notify(1)
					return nil
				})
			}
			settle(ctx)
			j.expect(t, "a")
			return nil
		})
	})
	t.Run("LOCK-017 a true predicate needs no lock", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var c asyncio.Condition
			withoutSuspending(t, ctx, func() {
				expectError(t, c.WaitFor(ctx, func() bool { return true }), nil)
			})
			return nil
		})
	})
	t.Run("LOCK-019 a cancelled waiter holds the lock again", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var c asyncio.Condition
			var j journal
			a := j.spawn(ctx, "a", waiting(t, &c))
			settle(ctx)
			c.Acquire(ctx)
			a.Cancel(nil)
			settle(ctx)
			j.expect(t, "") // it is deaf until it has the lock
			c.Release()
			settle(ctx)
			j.expect(t, "a!cancelled")
			if c.Locked() {
				t.Error("the lock is not free")
			}
			return nil
		})
	})
	t.Run("LOCK-020 LOCK-022 cancelled while it takes the lock again", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var c asyncio.Condition
			first, second, third := errors.New("first"), errors.New("second"), errors.New("third")
			a := asyncio.Go(ctx, waiting(t, &c))
			settle(ctx)
			c.Acquire(ctx)
			c.Notify(1)
			for _, cause := range []error{first, second, third} {
				settle(ctx)
				a.Cancel(cause)
			}
			settle(ctx)
			if a.Done() {
				t.Error("Wait has returned without the lock")
			}
			c.Release()
			err := a.Wait(ctx)
			if !errors.Is(err, asyncio.ErrCancelled) || !errors.Is(err, third) {
				t.Errorf("error %v, want the latest cancellation", err)
			}
			return nil
		})
	})
	t.Run("LOCK-021 a cancelled waiter passes the notification on", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var c asyncio.Condition
			var j journal
			for _, late := range []bool{false, true} {
				a := j.spawn(ctx, "a", waiting(t, &c))
				j.spawn(ctx, "b", waiting(t, &c))
				settle(ctx)
				c.Acquire(ctx)
				c.Notify(1)
				if late {
					settle(ctx) // a tries to take the lock
				}
				a.Cancel(nil)
				settle(ctx)
				c.Release()
				settle(ctx)
				j.expect(t, "a!cancelled b")
			}
			return nil
		})
	})
	t.Run("LOCK-023 a timeout around the wait", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var c asyncio.Condition
			loop := asyncio.CurrentTask(ctx).Loop()
			err := asyncio.Timeout(ctx, time.Second, waiting(t, &c))
			expectError(t, err, asyncio.ErrTimeout)
			if loop.Time() != time.Second || c.Locked() {
				t.Errorf("at %v, locked %t", loop.Time(), c.Locked())
			}
			return nil
		})
	})
	t.Run("LOCK-024 a shared lock: both views agree", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var lock asyncio.Lock
			c := asyncio.NewCondition(&lock)
			d := asyncio.NewCondition(&lock)
			lock.Acquire(ctx)
			if !c.Locked() || !d.Locked() || c.TryAcquire() {
				t.Error("the condition does not know of its lock")
			}
			c.Release()
			if lock.Locked() || !d.TryAcquire() || !lock.Locked() {
				t.Error("the lock does not know of its condition")
			}
			own := asyncio.NewCondition(nil)
			expectError(t, own.Acquire(ctx), nil)
			return nil
		})
	})
	t.Run("LOCK-025 use on another loop or goroutine is an error", func(t *testing.T) {
		var c asyncio.Condition
		onTwoLoops(t, waiting(t, &c), func(ctx context.Context) {
			expectError(t, c.Wait(ctx), asyncio.ErrWrongLoop)
			expectError(t, c.WaitFor(ctx, func() bool { return true }), asyncio.ErrWrongLoop)
			expectUsage(t, asyncio.ErrWrongLoop, c.NotifyAll)
			onAnotherGoroutine(func() {
				expectUsage(t, asyncio.ErrWrongGoroutine, c.NotifyAll)
			})
		})
		var lock asyncio.Lock
		lock.TryAcquire()
		onTwoLoops(t, lock.Acquire, func(ctx context.Context) {
			c := asyncio.NewCondition(&lock)
			expectError(t, c.Acquire(ctx), asyncio.ErrWrongLoop)
			expectError(t, c.Wait(ctx), asyncio.ErrWrongLoop)
			expectUsage(t, asyncio.ErrWrongLoop, c.Release)
			expectUsage(t, asyncio.ErrWrongLoop, c.NotifyAll)
		})
	})
	t.Run("a scope that is cancelled already does not keep it from the lock", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var c asyncio.Condition
			a := asyncio.Go(ctx, func(ctx context.Context) error {
				asyncio.CurrentTask(ctx).Cancel(nil)
				expectError(t, asyncio.Yield(ctx), asyncio.ErrCancelled)
				for range 3 {
					expectError(t, waiting(t, &c)(ctx), asyncio.ErrCancelled)
				}
				clean := asyncio.CleanupContext(ctx)
				expectError(t, waiting(t, &c)(clean), nil)
				return ctx.Err()
			})
			var hold func(ctx context.Context) error
			hold = func(ctx context.Context) error {
				err := c.Acquire(ctx)
				asyncio.Yield(ctx)
				asyncio.Yield(ctx)
				c.NotifyAll()
				c.Release()
				return err
			}
			for !a.Done() {
				hold(ctx)
				asyncio.Yield(ctx)
			}
			return nil
		})
	})
	t.Run("a context of package context ends the wait, but does not keep it from the lock", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var c asyncio.Condition
			std, cancel := context.WithCancelCause(ctx)
			cause := errors.New("cause")
			a := asyncio.Go(ctx, func(context.Context) error { return waiting(t, &c)(std) })
			settle(ctx)
			c.Acquire(ctx)
			cancel(cause)
			asyncio.Sleep(ctx, time.Second)
			if a.Done() {
				t.Error("Wait has returned without the lock")
			}
			c.Release()
			err := a.Wait(ctx)
			if !errors.Is(err, asyncio.ErrCancelled) || !errors.Is(err, cause) {
				t.Errorf("error %v, want a cancellation for the cause", err)
			}
			return nil
		})
	})
	t.Run("what is shielded takes the lock again undisturbed", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var c asyncio.Condition
			a := asyncio.Go(ctx, func(ctx context.Context) error {
				expectError(t, waiting(t, &c)(context.WithoutCancel(ctx)), nil)
				return nil
			})
			settle(ctx)
			c.Acquire(ctx)
			c.Notify(1)
			settle(ctx)
			a.Cancel(nil)
			settle(ctx)
			c.Release()
			expectError(t, a.Wait(ctx), asyncio.ErrCancelled) // the request was not delivered
			return nil
		})
	})
	t.Run("a scope that has been left does not keep it from the lock", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var c asyncio.Condition
			var left context.Context
			asyncio.Timeout(ctx, asyncio.Forever, func(ctx context.Context) error {
				left = ctx
				return nil
			})
			a := asyncio.Go(ctx, func(ctx context.Context) error {
				c.Acquire(ctx)
				asyncio.Yield(ctx)
				asyncio.Yield(ctx)
				asyncio.Yield(ctx)
				c.Release()
				return nil
			})
			c.Acquire(ctx)
			asyncio.Yield(ctx)
			expectError(t, c.Wait(left), asyncio.ErrCancelled)
			if !a.Done() || !c.Locked() {
				t.Error("Wait has returned without the lock")
			}
			return nil
		})
	})
	t.Run("a task that is ended by force does not fail for want of the lock", func(t *testing.T) {
		waits := 0
		err := endedByForce(t, func(ctx context.Context) error {
			var c asyncio.Condition
			return c.With(ctx, func(ctx context.Context) error {
				for {
					c.Wait(ctx)
					waits++
				}
			})
		})
		expectError(t, err, asyncio.ErrCancelled)
		// The same while the lock cannot be had at all.
		err = endedByForce(t, func(ctx context.Context) error {
			var c asyncio.Condition
			asyncio.Go(ctx, func(ctx context.Context) error {
				return c.With(ctx, func(ctx context.Context) error {
					for {
						asyncio.Sleep(ctx, time.Hour)
					}
				})
			})
			return c.With(ctx, func(ctx context.Context) error {
				for waits = 0; ; waits++ {
					c.Wait(ctx)
				}
			})
		})
		expectError(t, err, asyncio.ErrCancelled)
		if waits < 5 {
			t.Errorf("%d waits have returned, want some, for its clean-up", waits)
		}
	})
}

// Random tasks wait for tokens, of which each is announced once, and are
// cancelled at random: whenever all is quiet, nobody waits while there is a token.
func TestConditionRandom(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		asynciotest.Run(t, func(ctx context.Context) error {
			r := rand.New(rand.NewPCG(seed, 2))
			var c asyncio.Condition
			tokens, made, taken, waiting := 0, 0, 0, 0
			consumer := func(ctx context.Context) error {
				return c.With(ctx, func(ctx context.Context) error {
					waiting++
					err := c.WaitFor(ctx, func() bool { return tokens > 0 })
					waiting--
					if err == nil {
						tokens--
						taken++
						if r.IntN(2) == 0 {
							err = asyncio.Yield(ctx)
						}
					}
					return err
				})
			}
			var consumers []asyncio.AnyTask
			for range 100 {
				if r.IntN(2) == 0 {
					consumers = append(consumers, asyncio.Go(ctx, consumer))
				}
				if r.IntN(3) == 0 {
					asyncio.Yield(ctx)
				}
				c.With(ctx, func(ctx context.Context) error {
					n := r.IntN(3)
					tokens += n
					made += n
					c.Notify(n)
					if r.IntN(2) == 0 {
						asyncio.Yield(ctx)
					}
					return nil
				})
				for range r.IntN(2) * len(consumers) / 2 {
					consumers[r.IntN(len(consumers))].Cancel(nil)
				}
				if r.IntN(4) == 0 {
					settle(ctx)
					if tokens > 0 && waiting > 0 {
						t.Fatalf("%d tasks wait, there are %d tokens", waiting, tokens)
					}
				}
			}
			settle(ctx)
			if made != taken+tokens || c.Locked() {
				t.Errorf("%d tokens made, %d taken, %d left; locked %t", made, taken, tokens, c.Locked())
			}
			return nil
		})
	})
}
