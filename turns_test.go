// Tests of turns at the edge of what tasks do: the run is left in the middle of a pass,
// more of them wait than coroutines are kept, and they leave the loop no rest.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// TestRunAfterGoexit has a callback leave the run while there are turns left in the pass.
// A deferred function takes the run up again.
func TestRunAfterGoexit(t *testing.T) {
	for _, debug := range []bool{false, true} {
		t.Run(fmt.Sprint("debug mode: ", debug), func(t *testing.T) {
			leavesNothing(t)
			var j journal
			onAnotherGoroutine(func() {
				loop := asyncio.NewEventLoop(asynciotest.WithVirtualClock(), asyncio.WithDebug(debug))
				defer func() { expectError(t, loop.Close(), nil) }()
				ctx := loop.Context(context.Background())
				two := func(name string) asyncio.AnyFuture {
					return asyncio.Go(ctx, func(ctx context.Context) error {
						defer j.say("%s", name+"'")
						for range 2 {
							j.say("%s", name)
							if err := asyncio.Yield(ctx); err != nil {
								return err
							}
						}
						return nil
					})
				}
				two("a")
				asyncio.Go(ctx, func(ctx context.Context) error {
					defer j.say("cleaned up")
					return asyncio.Go(ctx, hour, asyncio.EagerStart()).Wait(ctx)
				})
				loop.CallSoon(runtime.Goexit)
				last := two("b")
				defer func() {
					j.say("again")
					expectError(t, loop.RunUntilComplete(last), nil)
				}()
				loop.RunForever()
				t.Error("the goroutine goes on")
			})
			j.expect(t, "a again b a b a' b' cleaned up")
		})
	}
}

// A task cannot run another loop on its stack, which is not that of the goroutine that has
// run it before, or will.
func TestOtherLoopInATask(t *testing.T) {
	unused, used := asyncio.NewEventLoop(), newLoop(t)
	expectError(t, used.RunOnce(0), nil)
	asynciotest.Run(t, func(ctx context.Context) error {
		try := func(ctx context.Context) error {
			asyncio.Yield(ctx)
			for _, loop := range []*asyncio.EventLoop{unused, used} {
				for _, err := range []error{loop.RunOnce(0), loop.RunForever()} {
					if !errors.Is(err, asyncio.ErrLoopRunning) || strings.Count(err.Error(), "loop-") < 2 {
						t.Errorf("error %v", err)
					}
				}
			}
			expectError(t, asyncio.Run(ctx, hour), asyncio.ErrLoopRunning)
			if err := used.Close(); !errors.Is(err, asyncio.ErrWrongGoroutine) && !errors.Is(err, asyncio.ErrLoopRunning) {
				t.Errorf("Close: %v", err) // the second where the platform does not tell goroutines apart
			}
			n, err := asyncio.ToThread(ctx, func(ctx context.Context) (int, error) {
				return asyncio.RunValue(ctx, later(time.Millisecond, 7)) // there is room for one there
			})
			if n != 7 || err != nil {
				t.Errorf("on another goroutine: %v, %v", n, err)
			}
			return nil
		}
		other := asyncio.Go(ctx, try)
		return errors.Join(try(ctx), other.Wait(ctx), asyncio.Go(ctx, try, asyncio.EagerStart()).Wait(ctx))
	})
	expectError(t, unused.Close(), nil)
}

// TestMoreTasksThanSpareCoroutines has many tasks wait at once, and end in any order and way.
func TestMoreTasksThanSpareCoroutines(t *testing.T) {
	leavesNothing(t)
	const n, spare = 3000, 1024
	quiet := asyncio.WithExceptionHandler(func(*asyncio.EventLoop, *asyncio.ErrorContext) {})
	expectError(t, asyncio.Run(context.Background(), func(ctx context.Context) error {
		before := runtime.NumGoroutine()
		for round := range 3 {
			futures := make([]*asyncio.Future[int], n)
			tasks := make([]*asyncio.Task[int], n)
			for i := range n {
				futures[i] = asyncio.NewFuture[int](ctx)
				tasks[i] = asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
					v, err := futures[i].Await(ctx)
					switch i % 8 {
					case 0:
						panic(i)
					case 1:
						runtime.Goexit()
					case 2:
						defer asyncio.Yield(ctx)
						panic(i)
					case 3:
						return 0, io2
					}
					return v, err
				})
			}
			asyncio.Yield(ctx)
			for k, i := range rand.Perm(n) {
				if k%3 == 0 {
					tasks[i].Cancel(nil)
				} else {
					futures[i].SetResult(i)
				}
				if k%100 == 0 {
					asyncio.Yield(ctx)
				}
			}
			for i, task := range tasks {
				switch v, err := task.Await(ctx); {
				case i%8 < 4 && err == nil, i%8 >= 4 && err == nil && v != i:
					t.Errorf("task %d: %d, %v", i, v, err)
				}
			}
			untilTrue(t, ctx, func() bool { return runtime.NumGoroutine()-before <= spare })
			if got := runtime.NumGoroutine() - before; got < spare/2 {
				t.Errorf("round %d: %d coroutines are kept", round, got)
			}
		}
		return nil
	}, quiet), nil)
}

// TestBusyLoop has turns follow each other for as long as nobody hears of what comes from
// outside: of a reader, of a timer, of another goroutine.
func TestBusyLoop(t *testing.T) {
	kinds := map[string]func(ctx context.Context, busy func() bool){
		"tasks that yield": func(ctx context.Context, busy func() bool) {
			for range 2 {
				asyncio.Go(ctx, func(ctx context.Context) error {
					for busy() {
						asyncio.Yield(ctx)
					}
					return nil
				})
			}
		},
		"tasks that start their successor": func(ctx context.Context, busy func() bool) {
			var successor func(ctx context.Context) error
			successor = func(ctx context.Context) error {
				if busy() {
					asyncio.Go(ctx, successor)
				}
				return nil
			}
			asyncio.Go(ctx, successor)
			asyncio.Go(ctx, successor)
		},
		"callbacks": func(ctx context.Context, busy func() bool) {
			var again func()
			again = func() {
				if busy() {
					asyncio.RunningLoop(ctx).CallSoon(again)
				}
			}
			again()
		},
	}
	for name, begin := range kinds {
		for _, processors := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, GOMAXPROCS=%d", name, processors), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
				leavesNothing(t)
				expectError(t, asyncio.Run(context.Background(), func(ctx context.Context) error {
					loop := asyncio.RunningLoop(ctx)
					var heard []string
					hears := func(what string) { heard = append(heard, what) }
					ends := time.Now().Add(10 * time.Second)
					begin(ctx, func() bool { return len(heard) < 3 && time.Now().Before(ends) })
					loop.CallLater(time.Millisecond, func() { hears("timer") })
					go loop.CallSoonThreadsafe(func() { hears("goroutine") })
					r, w, end := connected(t, ctx, "tcp", "127.0.0.1:0")
					defer end()
					asyncio.Go(ctx, func(ctx context.Context) error {
						_, err := r.Read(ctx, make([]byte, 1))
						hears("reader")
						return err
					})
					w.Write([]byte("x"))
					untilTrue(t, ctx, func() bool { return len(heard) == 3 || time.Now().After(ends) })
					if slices.Sort(heard); !slices.Equal(heard, []string{"goroutine", "reader", "timer"}) {
						t.Errorf("heard %q", heard)
					}
					return nil
				}), nil)
			})
		}
	}
}
