// Tests of promises, and of futures that cross from loop to loop.

package asyncio_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

func TestPromise(t *testing.T) {
	inLoop(t, "a value and an error from another goroutine; the first decision counts", func(t *testing.T, ctx context.Context) {
		p := asyncio.NewPromise[int](ctx)
		go func() {
			if !p.Resolve(7) || p.Resolve(8) || p.Reject(io2) {
				t.Error("the first one wins")
			}
		}()
		v, err := p.Future().Await(ctx)
		if v != 7 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
		<-p.Done()
		q := asyncio.NewPromise[int](ctx)
		go q.Reject(io2)
		_, err = q.Future().Await(ctx)
		expectError(t, err, io2)
		panicsWith(t, asyncio.ErrBadArgument, func() { p.Reject(nil) })
	})
	inLoop(t, "a cancellation as error is an error like any other", func(t *testing.T, ctx context.Context) {
		p := asyncio.NewPromise[int](ctx)
		p.Reject(asyncio.ErrCancelled)
		expectError(t, p.Future().Wait(ctx), asyncio.ErrCancelled)
		if p.Future().Cancelled() {
			t.Error("the future is cancelled")
		}
	})
	inLoop(t, "a cancelled future tells who works for it", func(t *testing.T, ctx context.Context) {
		p := asyncio.NewPromise[int](ctx)
		stopped := make(chan bool)
		go func() {
			<-p.Done()
			stopped <- p.Resolve(1)
		}()
		task := asyncio.CreateTask(ctx, p.Future().Await, asyncio.EagerStart())
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
		if <-stopped || !p.Future().Cancelled() {
			t.Errorf("%v", p.Future())
		}
	})
	inLoop(t, "a decision that comes before a cancellation stays", func(t *testing.T, ctx context.Context) {
		p := asyncio.NewPromise[int](ctx)
		if !p.Resolve(7) || p.Future().Done() || !p.Future().Cancel(nil) || p.Resolve(8) {
			t.Error("it was resolved, and its future was not done yet")
		}
		v, err := p.Future().Await(ctx)
		if v != 7 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}

		q := asyncio.NewPromise[int](ctx)
		task := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
			v, err := q.Future().Await(ctx)
			if v != 7 || err != nil {
				t.Errorf("got %v, %v", v, err)
			}
			return v, asyncio.Yield(asyncio.CleanupContext(ctx))
		}, asyncio.EagerStart())
		q.Resolve(7)
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
	})
	inLoop(t, "a future that the loop completes itself", func(t *testing.T, ctx context.Context) {
		p := asyncio.NewPromise[int](ctx)
		expectError(t, p.Future().SetResult(1), nil)
		p.Resolve(2)
		settle(ctx)
		if v, _ := p.Future().Result(); v != 1 {
			t.Errorf("got %d", v)
		}
	})
	t.Run("Close ends it: Done is closed, and nothing can be decided", func(t *testing.T) {
		noGoroutines(t, func() {
			var p *asyncio.Promise[int]
			expectError(t, runLoop(func(ctx context.Context) error {
				p = asyncio.NewPromise[int](ctx)
				go func() { <-p.Done() }()
				return nil
			}), nil)
			<-p.Done()
			if p.Resolve(1) || p.Reject(io2) {
				t.Error("decided")
			}
		})
	})
	t.Run("many goroutines race with the loop and its end", func(t *testing.T) {
		noGoroutines(t, func() {
			for round := range 100 {
				var wg sync.WaitGroup
				expectError(t, asyncio.Run(background, func(ctx context.Context) error {
					for n := range 20 {
						p := asyncio.NewPromise[int](ctx)
						var mu sync.Mutex
						wins := 0
						for range 3 {
							wg.Go(func() {
								if p.Resolve(n) {
									mu.Lock()
									wins++
									mu.Unlock()
								}
							})
						}
						if n%3 == 0 {
							p.Future().Cancel(nil)
						}
						if n%2 == 0 && round%2 == 0 {
							v, err := p.Future().Await(ctx)
							wg.Wait()
							if cancelled := p.Future().Cancelled(); cancelled != (wins == 0) || wins > 1 || !cancelled && (v != n || err != nil) {
								t.Errorf("%d wins, %v, %v, %v", wins, p.Future(), v, err)
							}
						}
					}
					return nil
				}), nil)
				wg.Wait()
			}
		})
	})
	panicsWith(t, asyncio.ErrOutsideTask, func() { asyncio.NewPromise[int](background) })
}

// onOtherLoop runs a loop on a goroutine of its own until the test has ended.
func onOtherLoop(t *testing.T, test func(other *asyncio.EventLoop)) {
	t.Helper()
	noGoroutines(t, func() {
		other := asyncio.NewEventLoop()
		ended := make(chan error)
		go func() {
			other.RunForever()
			ended <- other.Close()
		}()
		test(other)
		other.CallSoonThreadsafe(other.Stop)
		expectError(t, <-ended, nil)
	})
}

func TestWrapFuture(t *testing.T) {
	run := func(name string, test func(t *testing.T, ctx context.Context, other *asyncio.EventLoop)) {
		t.Run(name, func(t *testing.T) {
			onOtherLoop(t, func(other *asyncio.EventLoop) {
				expectError(t, runLoop(func(ctx context.Context) error {
					test(t, ctx, other)
					return nil
				}), nil)
			})
		})
	}
	sleep := func(ctx context.Context) (int, error) { return 7, asyncio.Sleep(ctx, time.Hour) }
	run("FUT-031 FUT-033 the value and the error of a coroutine of another loop, on the loop of the context", func(t *testing.T, ctx context.Context, other *asyncio.EventLoop) {
		f := asyncio.RunCoroutineThreadsafe(ctx, other, later(time.Millisecond, 7))
		w := asyncio.WrapFuture(ctx, f)
		v, err := w.Await(ctx)
		if v != 7 || err != nil || w.Loop() != ownLoop(ctx) {
			t.Errorf("got %v, %v", v, err)
		}
		v, err = asyncio.WrapFuture(ctx, f).Await(ctx)
		if v != 7 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
		failing := asyncio.RunCoroutineThreadsafe(ctx, other, func(context.Context) (int, error) { return 0, io2 })
		_, err = asyncio.WrapFuture(ctx, failing).Await(ctx)
		expectError(t, err, io2)
		panicsWith(t, asyncio.ErrOutsideTask, func() { asyncio.WrapFuture(background, f) })
		panicsWith(t, asyncio.ErrBadArgument, func() { asyncio.WrapFuture[int](ctx, nil) })
	})
	run("FUT-034 cancelling goes through, and the future ends when the coroutine has", func(t *testing.T, ctx context.Context, other *asyncio.EventLoop) {
		cleaned := false
		began := make(chan struct{})
		f := asyncio.RunCoroutineThreadsafe(ctx, other, func(ctx context.Context) (int, error) {
			close(began)
			_, err := sleep(ctx)
			asyncio.Sleep(asyncio.CleanupContext(ctx), time.Millisecond)
			cleaned = true
			return 0, err
		})
		w := asyncio.WrapFuture(ctx, f)
		task := asyncio.CreateTask(ctx, w.Await, asyncio.EagerStart())
		<-began
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
		if !w.Cancelled() || !cleaned || !task.Cancelled() {
			t.Errorf("%v, cleaned up: %v, %v", w, cleaned, task)
		}
	})
	run("FUT-034 a coroutine that was cancelled over there cancels the future here", func(t *testing.T, ctx context.Context, other *asyncio.EventLoop) {
		f := asyncio.RunCoroutineThreadsafe(ctx, other, sleep)
		w := asyncio.WrapFuture(ctx, f)
		f.Cancel(io2)
		expectError(t, w.Wait(ctx), io2)
		if !w.Cancelled() {
			t.Errorf("%v", w)
		}
	})
	run("FUT-035 a cancellation after the coroutine has ended leaves its result alone", func(t *testing.T, ctx context.Context, other *asyncio.EventLoop) {
		f := asyncio.RunCoroutineThreadsafe(ctx, other, later(0, 7))
		w := asyncio.WrapFuture(ctx, f)
		<-f.Done()
		w.Cancel(nil)
		v, err := w.Await(ctx)
		if v != 7 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
	})
	t.Run("a loop that is closed fails it", func(t *testing.T) {
		closed := asyncio.NewEventLoop()
		expectError(t, closed.Close(), nil)
		expectError(t, runLoop(func(ctx context.Context) error {
			f := asyncio.WrapFuture(ctx, asyncio.RunCoroutineThreadsafe(ctx, closed, sleep))
			mistake(t, f.Wait(ctx), asyncio.ErrLoopClosed)

			idle := asyncio.NewEventLoop()
			f = asyncio.WrapFuture(ctx, asyncio.RunCoroutineThreadsafe(ctx, idle, sleep))
			elsewhere(func() { expectError(t, idle.Close(), nil) })
			mistake(t, f.Wait(ctx), asyncio.ErrLoopClosed)
			return nil
		}), nil)
	})
	run("a loop that closes first leaves the coroutine alone", func(t *testing.T, ctx context.Context, other *asyncio.EventLoop) {
		f := asyncio.RunCoroutineThreadsafe(ctx, other, sleep)
		elsewhere(func() {
			expectError(t, runLoop(func(ctx context.Context) error {
				asyncio.WrapFuture(ctx, f)
				return nil
			}), nil)
		})
		f.Cancel(nil)
		<-f.Done()
	})
}
