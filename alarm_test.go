// Tests of alarms that come when nobody sleeps any more.

package asyncio_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// A Sleep is cancelled, and its time is over before the task has its turn. What the
// task awaits next has nothing to do with that.
func TestAlarmOfACancelledSleep(t *testing.T) {
	next := map[string]func(ctx context.Context) error{
		"a future": func(ctx context.Context) error {
			answer := asyncio.NewFuture[int](ctx)
			asyncio.RunningLoop(ctx).CallLater(time.Millisecond, func() { answer.SetResult(7) })
			if n, err := answer.Await(ctx); n != 7 || err != nil {
				t.Errorf("Await = %v, %v", n, err)
			}
			return nil
		},
		"another Sleep": func(ctx context.Context) error {
			loop := asyncio.RunningLoop(ctx)
			start := loop.Time()
			err := asyncio.Sleep(ctx, 20*time.Millisecond)
			if passed := loop.Time() - start; err != nil || passed < 20*time.Millisecond {
				t.Errorf("Sleep = %v after %v", err, passed)
			}
			return nil
		},
		"a lock": func(ctx context.Context) error {
			var lock asyncio.Lock
			if err := lock.Acquire(ctx); err != nil {
				return err
			}
			held := true
			asyncio.RunningLoop(ctx).CallLater(time.Millisecond, func() {
				held = false
				lock.Release()
			})
			if err := lock.Acquire(ctx); err != nil || held {
				t.Errorf("Acquire = %v while it is held: %v", err, held)
			}
			return nil
		},
	}
	for name, await := range next {
		t.Run(name, func(t *testing.T) {
			err := asyncio.Run(context.Background(), func(ctx context.Context) error {
				loop := asyncio.RunningLoop(ctx)
				sleeper := asyncio.Go(ctx, func(ctx context.Context) error {
					if err := asyncio.Sleep(ctx, 50*time.Millisecond); !errors.Is(err, asyncio.ErrCancelled) {
						t.Skipf("the machine is slow: Sleep = %v", err)
					}
					return await(asyncio.CleanupContext(ctx))
				})
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
				sleeper.Cancel(nil)
				for due := loop.Time() + 50*time.Millisecond; loop.Time() <= due; {
				}
				return sleeper.Wait(ctx)
			})
			if err != nil && !errors.Is(err, asyncio.ErrCancelled) {
				t.Error(err)
			}
		})
	}
}
