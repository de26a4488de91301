// Tests of Event.

package asyncio_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
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
}

// Random tasks wait for an event that is set and cleared at random, and are
// cancelled at random. The model is a flag and a list: who is in the list when the
// flag goes up gets a number, and returns in that order; nobody else does.
func TestEventRandom(t *testing.T) {
	type ticket struct{ number int }
	seeds(t, func(t *testing.T, seed uint64) {
		asynciotest.Run(t, func(ctx context.Context) error {
			r := rand.New(rand.NewPCG(seed, 5))
			var event asyncio.Event
			up := false
			var waiting []*ticket
			numbers, last := 0, 0
			set := func() {
				if event.Set(); !up {
					for _, w := range waiting {
						numbers++
						w.number = numbers
					}
					up, waiting = true, nil
				}
			}
			worker := func(ctx context.Context) error {
				for range 4 {
					for range r.IntN(3) {
						asyncio.Yield(ctx)
					}
					if event.IsSet() != up {
						t.Errorf("IsSet() = %t, want %t", !up, up)
					}
					free := up
					me := new(ticket)
					if !free {
						waiting = append(waiting, me)
					}
					err := event.Wait(ctx)
					waiting = slices.DeleteFunc(waiting, func(w *ticket) bool { return w == me })
					switch {
					case err != nil:
						return err
					case free:
					case me.number == 0:
						t.Error("a task has returned although the flag did not go up")
					case me.number < last:
						t.Errorf("number %d has returned after number %d", me.number, last)
					default:
						last = me.number
					}
				}
				return nil
			}
			var workers []asyncio.AnyFuture
			for range 20 {
				workers = append(workers, asyncio.Go(ctx, worker))
				for range r.IntN(3) {
					asyncio.Yield(ctx)
				}
				switch r.IntN(4) {
				case 0:
					set()
				case 1:
					event.Clear()
					up = false
				case 2:
					workers[r.IntN(len(workers))].Cancel(nil)
				case 3: // both before anybody has his turn
					set()
					event.Clear()
					up = false
					workers[r.IntN(len(workers))].Cancel(nil)
				}
			}
			set()
			asyncio.Wait(ctx, workers, asyncio.WaitOptions{}) // a deadlock if anybody was forgotten
			expectText(t, &event, "<Event set>")
			return nil
		})
	})
}
