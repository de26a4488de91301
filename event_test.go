// Tests of Event.

package asyncio_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func ExampleEvent() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		var ready asyncio.Event
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for i := range 2 {
				g.Go(func(ctx context.Context) error {
					if err := ready.Wait(ctx); err != nil {
						return err
					}
					fmt.Println("task", i, "goes")
					return nil
				})
			}
			g.Go(func(ctx context.Context) error {
				fmt.Println("ready")
				ready.Set()
				return nil
			})
			return nil
		})
	})
	// Output:
	// ready
	// task 0 goes
	// task 1 goes
}

func TestEvent(t *testing.T) {
	t.Run("LOCK-008 set wakes all waiters", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var e asyncio.Event
			var j journal
			expectText(t, &e, "<Event unset>")
			j.spawn(ctx, "a", e.Wait)
			j.spawn(ctx, "b", e.Wait)
			settle(ctx)
			expectText(t, &e, "<Event unset waiters=2>")
			j.expect(t, "")
			e.Set()
			withoutSuspending(t, ctx, func() { expectError(t, e.Wait(ctx), nil) })
			asyncio.Yield(ctx)
			j.expect(t, "a b")
			expectText(t, &e, "<Event set>")
			return nil
		})
	})
	t.Run("LOCK-009 set, then clear before waiters run: they still return", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var e asyncio.Event
			var j journal
			j.spawn(ctx, "a", e.Wait)
			asyncio.Yield(ctx)
			e.Set()
			e.Set()
			e.Clear()
			if e.IsSet() {
				t.Error("the event is set")
			}
			b := j.spawn(ctx, "b", e.Wait)
			settle(ctx)
			j.expect(t, "a")
			b.Cancel(nil)
			return nil
		})
	})
	t.Run("LOCK-010 cancelling a waiter removes it", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var e asyncio.Event
			var j journal
			a := j.spawn(ctx, "a", e.Wait)
			b := j.spawn(ctx, "b", e.Wait)
			asyncio.Yield(ctx)
			a.Cancel(nil)
			asyncio.Yield(ctx)
			expectText(t, &e, "<Event unset waiters=1>")
			// Being set comes too late for a task that is cancelled before its turn.
			e.Set()
			b.Cancel(nil)
			settle(ctx)
			j.expect(t, "a!cancelled b!cancelled")
			expectText(t, &e, "<Event set>")
			return nil
		})
	})
	t.Run("a timeout ends the wait, a set event does not wait", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var e asyncio.Event
			expectError(t, asyncio.Timeout(ctx, time.Second, e.Wait), asyncio.ErrTimeout)
			e.Set()
			expectError(t, asyncio.Timeout(ctx, 0, e.Wait), nil)
			return nil
		})
	})
	t.Run("use on another loop or goroutine is an error", func(t *testing.T) {
		var e asyncio.Event
		onTwoLoops(t, e.Wait, func(ctx context.Context) {
			expectError(t, e.Wait(ctx), asyncio.ErrWrongLoop)
			expectUsage(t, asyncio.ErrWrongLoop, e.Set)
			onAnotherGoroutine(func() {
				expectUsage(t, asyncio.ErrWrongGoroutine, e.Set)
				expectUsage(t, asyncio.ErrWrongGoroutine, e.Clear)
				expectUsage(t, asyncio.ErrWrongGoroutine, func() { e.IsSet() })
			})
		})
	})
	t.Run("a task that is ended by force leaves the line", func(t *testing.T) {
		var e asyncio.Event
		err := endedByForce(t, func(ctx context.Context) error {
			for {
				e.Wait(ctx)
			}
		})
		expectError(t, err, asyncio.ErrCancelled)
		expectText(t, &e, "<Event unset>")
	})
	t.Run("it costs no allocation", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var e asyncio.Event
			expectNoAllocs(t, "without waiters", func() {
				e.Set()
				e.Wait(ctx)
				e.Clear()
			})
			return nil
		})
	})
}
