// Tests of the way to other goroutines and back.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func TestToThread(t *testing.T) {
	inLoop(t, "THR-001 THR-003 THR-005 EV-015 the value, once", func(t *testing.T, ctx context.Context) {
		calls := 0
		v, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
			calls++
			return 7, nil
		})
		if v != 7 || err != nil || calls != 1 {
			t.Errorf("got %v, %v after %d calls", v, err, calls)
		}
	})
	inLoop(t, "THR-002 the error", func(t *testing.T, ctx context.Context) {
		v, err := asyncio.ToThread(ctx, func(context.Context) (int, error) { return 7, io2 })
		if v != 0 || err != io2 {
			t.Errorf("got %v, %v", v, err)
		}
	})
	inLoop(t, "panic and Goexit", func(t *testing.T, ctx context.Context) {
		_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) { return blowUp() })
		var p *asyncio.PanicError
		if !errors.As(err, &p) || p.Value != "oops" || !strings.Contains(string(p.Stack), "asyncio_test.blowUp") {
			t.Errorf("error %v", err)
		}
		_, err = asyncio.ToThread(ctx, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
		expectError(t, err, asyncio.ErrGoexit)
	})
	inLoop(t, "THR-004 ten at once", func(t *testing.T, ctx context.Context) {
		var together sync.WaitGroup
		together.Add(10)
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for range 10 {
				g.Go(func(ctx context.Context) error {
					_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
						together.Done()
						together.Wait()
						return 0, nil
					})
					return err
				})
			}
			return nil
		})
		expectError(t, err, nil)
	}, asyncio.WithThreadLimit(10))
	inLoop(t, "THR-006 values of the context", func(t *testing.T, ctx context.Context) {
		v, _ := asyncio.ToThread(context.WithValue(ctx, valueKey{}, "x"), func(ctx context.Context) (any, error) {
			return ctx.Value(valueKey{}), nil
		})
		if v != "x" {
			t.Errorf("got %v", v)
		}
	})
	inLoop(t, "the other tasks go on", func(t *testing.T, ctx context.Context) {
		release := make(chan struct{})
		asyncio.Go(ctx, func(ctx context.Context) error {
			asyncio.Yield(ctx)
			close(release)
			return nil
		})
		_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
			<-release
			return 0, nil
		})
		expectError(t, err, nil)
	})
	inLoop(t, "OBS-013 cancelling returns at once, cancels the function's context and drops its value", func(t *testing.T, ctx context.Context) {
		began, ended := make(chan struct{}), make(chan error)
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			v, err := asyncio.ToThread(ctx, func(ctx context.Context) (int, error) {
				close(began)
				<-ctx.Done()
				ended <- context.Cause(ctx)
				return 7, nil
			})
			if v != 0 {
				t.Errorf("got %v", v)
			}
			return err
		}, asyncio.EagerStart())
		<-began
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
		expectError(t, <-ended, io2)
	})
	inLoop(t, "the loop may not be used there", func(t *testing.T, ctx context.Context) {
		_, err := asyncio.ToThread(ctx, func(ctx context.Context) (int, error) { return 0, asyncio.Yield(ctx) })
		expectError(t, err, asyncio.ErrWrongGoroutine)
	})
	inLoop(t, "but another one can be run", func(t *testing.T, ctx context.Context) {
		v, err := asyncio.ToThread(ctx, func(ctx context.Context) (int, error) {
			return asyncio.RunValue(ctx, later(time.Microsecond, 7))
		})
		if v != 7 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
	})
	inLoop(t, "a nil function", func(t *testing.T, ctx context.Context) {
		_, err := asyncio.ToThread[int](ctx, nil)
		expectError(t, err, asyncio.ErrBadArgument)
	})
}

func blowUp() (int, error) { panic("oops") }

func TestThreadLimit(t *testing.T) {
	// crowd runs n functions by ToThread and returns how many ran at once at most,
	// and the order in which they began.
	crowd := func(t *testing.T, ctx context.Context, n int, opts ...asyncio.ThreadOption) (most int, order string) {
		var mu sync.Mutex
		running := 0
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for i := range n {
				g.Go(func(ctx context.Context) error {
					_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
						mu.Lock()
						running++
						most = max(most, running)
						order += fmt.Sprint(i)
						mu.Unlock()
						runtime.Gosched()
						mu.Lock()
						running--
						mu.Unlock()
						return 0, nil
					}, opts...)
					return err
				})
			}
			return nil
		})
		expectError(t, err, nil)
		return most, order
	}
	inLoop(t, "of the loop", func(t *testing.T, ctx context.Context) {
		if most, order := crowd(t, ctx, 10); most != 1 || order != "0123456789" {
			t.Errorf("%d at once, in the order %s", most, order)
		}
	}, asyncio.WithThreadLimit(1))
	inLoop(t, "of a limiter", func(t *testing.T, ctx context.Context) {
		one, two := asyncio.NewThreadLimiter(1), asyncio.NewThreadLimiter(2)
		if most, order := crowd(t, ctx, 10, asyncio.WithLimiter(one)); most != 1 || order != "0123456789" {
			t.Errorf("%d at once, in the order %s", most, order)
		}
		if most, _ := crowd(t, ctx, 10, asyncio.WithLimiter(two)); most > 2 {
			t.Errorf("%d at once", most)
		}
		if most, _ := crowd(t, ctx, 3, asyncio.WithLimiter(nil)); most == 0 {
			t.Error("nothing ran")
		}
	})
	inLoop(t, "one that is cancelled before its turn is never called", func(t *testing.T, ctx context.Context) {
		release := make(chan struct{})
		first := asyncio.Go(ctx, func(ctx context.Context) error {
			_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) { <-release; return 0, nil })
			return err
		}, asyncio.EagerStart())
		second := asyncio.Go(ctx, func(ctx context.Context) error {
			_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
				t.Error("it is called")
				return 0, nil
			})
			return err
		}, asyncio.EagerStart())
		third := asyncio.Go(ctx, func(ctx context.Context) error {
			_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) { return 0, nil })
			return err
		}, asyncio.EagerStart())
		second.Cancel(nil)
		expectError(t, second.Wait(ctx), asyncio.ErrCancelled)
		close(release)
		expectError(t, first.Wait(ctx), nil)
		expectError(t, third.Wait(ctx), nil)
	}, asyncio.WithThreadLimit(1))
	t.Run("a limit that makes no sense", func(t *testing.T) {
		expectUsage(t, asyncio.ErrBadArgument, func() { asyncio.NewThreadLimiter(0) })
		expectUsage(t, asyncio.ErrBadArgument, func() { asyncio.WithThreadLimit(-1) })
	})
	inLoop(t, "a limiter without a limit", func(t *testing.T, ctx context.Context) {
		_, err := asyncio.ToThread(ctx, later(0, 7), asyncio.WithLimiter(new(asyncio.ThreadLimiter)))
		mistake(t, err, asyncio.ErrBadArgument)
	})
	t.Run("a limiter of another loop", func(t *testing.T) {
		limiter := asyncio.NewThreadLimiter(1)
		use := func(ctx context.Context) error {
			_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) { return 0, nil }, asyncio.WithLimiter(limiter))
			return err
		}
		expectError(t, asyncio.Run(context.Background(), use), nil)
		expectError(t, asyncio.Run(context.Background(), use), asyncio.ErrWrongLoop)
	})
}

// inThread runs test on a goroutine of its own while a loop runs.
func inThread(t *testing.T, name string, test func(t *testing.T, ctx context.Context, loop *asyncio.EventLoop)) {
	inLoop(t, name, func(t *testing.T, ctx context.Context) {
		loop := asyncio.CurrentTask(ctx).Loop()
		_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
			test(t, context.Background(), loop)
			return 0, nil
		})
		expectError(t, err, nil)
	})
}

func TestRunCoroutineThreadsafe(t *testing.T) {
	inThread(t, "TASK-113 the result", func(t *testing.T, ctx context.Context, loop *asyncio.EventLoop) {
		f := asyncio.RunCoroutineThreadsafe(ctx, loop, later(time.Millisecond, 7), asyncio.WithName("x"))
		for range 2 {
			if v, err := f.Wait(ctx); v != 7 || err != nil {
				t.Errorf("got %v, %v", v, err)
			}
		}
		<-f.Done()
		if f.Cancel(nil) {
			t.Error("Cancel is true")
		}
	})
	inThread(t, "TASK-114 the error, the panic", func(t *testing.T, ctx context.Context, loop *asyncio.EventLoop) {
		_, err := asyncio.RunCoroutineThreadsafe(ctx, loop, failingAfter(0, io2)).Wait(ctx)
		expectError(t, err, io2)
		_, err = asyncio.RunCoroutineThreadsafe(ctx, loop, func(context.Context) (int, error) { return blowUp() }).Wait(ctx)
		var p *asyncio.PanicError
		if !errors.As(err, &p) || p.Value != "oops" {
			t.Errorf("error %v", err)
		}
	})
	t.Run("TASK-114 the error of one that starts eagerly is reported to who waits alone", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error { // it expects no reports
			loop := asyncio.RunningLoop(ctx)
			_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
				fails := func(context.Context) (int, error) { return 0, io2 }
				return asyncio.RunCoroutineThreadsafe(context.Background(), loop, fails, asyncio.EagerStart()).Wait(context.Background())
			})
			expectError(t, err, io2)
			return nil
		})
	})
	inThread(t, "values of the context", func(t *testing.T, ctx context.Context, loop *asyncio.EventLoop) {
		ctx = context.WithValue(ctx, valueKey{}, "x")
		v, err := asyncio.RunCoroutineThreadsafe(ctx, loop, func(ctx context.Context) (any, error) {
			return ctx.Value(valueKey{}), asyncio.Yield(ctx)
		}).Wait(ctx)
		if v != "x" || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
	})
	inThread(t, "TASK-115 TASK-118 a wait that is given up, and Cancel", func(t *testing.T, ctx context.Context, loop *asyncio.EventLoop) {
		f := asyncio.RunCoroutineThreadsafe(ctx, loop, later(time.Hour, 7))
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err := f.Wait(short)
		expectError(t, err, context.DeadlineExceeded)
		if !f.Cancel(io2) {
			t.Error("Cancel is false")
		}
		_, err = f.Wait(ctx)
		expectError(t, err, io2)
		expectError(t, err, asyncio.ErrCancelled)
	})
	inThread(t, "TASK-116 a task that cancels itself", func(t *testing.T, ctx context.Context, loop *asyncio.EventLoop) {
		_, err := asyncio.RunCoroutineThreadsafe(ctx, loop, func(ctx context.Context) (int, error) {
			asyncio.CurrentTask(ctx).Cancel(nil)
			return 0, hour(ctx)
		}).Wait(ctx)
		expectError(t, err, asyncio.ErrCancelled)
	})
	inThread(t, "a nil function", func(t *testing.T, ctx context.Context, loop *asyncio.EventLoop) {
		_, err := asyncio.RunCoroutineThreadsafe[int](ctx, loop, nil).Wait(ctx)
		expectError(t, err, asyncio.ErrBadArgument)
	})
	inThread(t, "FREE-004 FREE-005 FREE-006 ten goroutines", func(t *testing.T, ctx context.Context, loop *asyncio.EventLoop) {
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				for k := range 20 {
					v, err := asyncio.RunCoroutineThreadsafe(ctx, loop, later(0, i), asyncio.EagerStart()).Wait(ctx)
					_, failed := asyncio.RunCoroutineThreadsafe(ctx, loop, failingAfter(0, io2)).Wait(ctx)
					if v != i || err != nil || failed != io2 {
						t.Errorf("%d.%d: got %v, %v, %v", i, k, v, err, failed)
					}
				}
			})
		}
		all.Wait()
	})
	inLoop(t, "waiting on the loop's own goroutine", func(t *testing.T, ctx context.Context) {
		loop := asyncio.CurrentTask(ctx).Loop()
		f := asyncio.RunCoroutineThreadsafe(ctx, loop, later(0, 7))
		_, err := f.Wait(ctx)
		expectError(t, err, asyncio.ErrWrongGoroutine)
		settle(ctx)
		if v, err := f.Wait(ctx); v != 7 || err != nil {
			t.Errorf("when it is done: %v, %v", v, err)
		}
	})
	t.Run("a loop that runs later, or never", func(t *testing.T) {
		ctx := context.Background()
		loop := asyncio.NewEventLoop(asynciotest.WithVirtualClock())
		first := asyncio.RunCoroutineThreadsafe(ctx, loop, later(time.Hour, 7))
		second := asyncio.RunCoroutineThreadsafe(ctx, loop, later(2*time.Hour, 8))
		withdrawn := asyncio.RunCoroutineThreadsafe(ctx, loop, later(0, 9))
		withdrawn.Cancel(io2)
		expectError(t, loop.RunUntilComplete(asyncio.CreateTask(loop.Context(ctx), later(time.Hour, 1))), nil)
		if v, err := first.Wait(ctx); v != 7 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
		_, err := withdrawn.Wait(ctx)
		expectError(t, err, io2)
		_, err = second.Wait(ctx)
		expectError(t, err, asyncio.ErrWrongGoroutine) // nobody else can run the loop
		third := asyncio.RunCoroutineThreadsafe(ctx, loop, later(0, 9))
		loop.Close()
		_, err = second.Wait(ctx)
		expectError(t, err, asyncio.ErrCancelled)
		third.Wait(ctx) // it was in time, or not
		fourth := asyncio.RunCoroutineThreadsafe(ctx, loop, later(0, 9))
		_, err = fourth.Wait(ctx)
		expectError(t, err, asyncio.ErrLoopClosed)
		if fourth.Cancel(nil) {
			t.Error("Cancel is true")
		}
		never := asyncio.NewEventLoop()
		fifth := asyncio.RunCoroutineThreadsafe(ctx, never, later(0, 9))
		never.Close()
		_, err = fifth.Wait(ctx)
		expectError(t, err, asyncio.ErrLoopClosed)
	})
	t.Run("posts race with Close", func(t *testing.T) {
		for range 50 {
			loop := asyncio.NewEventLoop()
			ctx := context.Background()
			var all sync.WaitGroup
			begin := make(chan struct{})
			var answers atomic.Int32
			for range 4 {
				all.Go(func() {
					<-begin
					for {
						v, err := asyncio.RunCoroutineThreadsafe(ctx, loop, later(time.Microsecond, 7)).Wait(ctx)
						if answers.Add(1); err != nil {
							if !errors.Is(err, asyncio.ErrLoopClosed) && !errors.Is(err, asyncio.ErrCancelled) {
								t.Errorf("error %v", err)
							}
							return
						}
						if v != 7 {
							t.Errorf("got %v", v)
						}
					}
				})
			}
			close(begin)
			for answers.Load() < 10 {
				loop.RunOnce(time.Millisecond)
			}
			expectError(t, loop.Close(), nil)
			all.Wait()
		}
	})
}

func TestCallSoonThreadsafe(t *testing.T) {
	inLoop(t, "from many goroutines, each in its order", func(t *testing.T, ctx context.Context) {
		loop := asyncio.CurrentTask(ctx).Loop()
		const goroutines, calls = 8, 200
		var last [goroutines]int
		n := 0
		end := asyncio.NewFuture[int](ctx)
		_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
			var all sync.WaitGroup
			for i := range goroutines {
				all.Go(func() {
					for k := range calls {
						loop.CallSoonThreadsafe(func() {
							if last[i] != k {
								t.Errorf("goroutine %d: call %d after %d", i, k, last[i])
							}
							last[i]++
							if n++; n == goroutines*calls {
								end.SetResult(n)
							}
						})
					}
				})
			}
			all.Wait()
			return 0, nil
		})
		expectError(t, err, nil)
		expectError(t, asyncio.Timeout(ctx, sec(1), end.Wait), nil)
	})
	t.Run("EV-004 it wakes a loop that waits", func(t *testing.T) {
		expectError(t, asyncio.Run(context.Background(), func(ctx context.Context) error {
			f := asyncio.NewFuture[int](ctx)
			waiting := make(chan struct{})
			f.Loop().CallSoon(func() { close(waiting) })
			go func() {
				<-waiting
				f.Loop().CallSoonThreadsafe(func() { f.SetResult(1) })
			}()
			return f.Wait(ctx)
		}), nil)
	})
	t.Run("EV-007 EV-013 before the first run, cancelled, nil, after Close", func(t *testing.T) {
		loop := asyncio.NewEventLoop()
		var j journal
		loop.CallSoonThreadsafe(func() { j.say("a") })
		h, _ := loop.CallSoonThreadsafe(func() { j.say("b") })
		onAnotherGoroutine(h.Cancel)
		expectError(t, loop.RunOnce(0), nil)
		j.expect(t, "a")
		_, err := loop.CallSoonThreadsafe(nil)
		expectError(t, err, asyncio.ErrBadArgument)
		loop.Close()
		_, err = loop.CallSoonThreadsafe(func() {})
		expectError(t, err, asyncio.ErrLoopClosed)
	})
}

func TestManyLoops(t *testing.T) {
	t.Run("FREE-001 FREE-003 each on its goroutine", func(t *testing.T) {
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				err := asyncio.Run(context.Background(), func(ctx context.Context) error {
					var children []asyncio.Awaitable[int]
					for range i {
						children = append(children, asyncio.CreateTask(ctx, later(time.Microsecond, i)))
					}
					if n := len(asyncio.AllTasks(ctx)); n != i+1 {
						t.Errorf("%d tasks, want %d", n, i+1)
					}
					_, err := asyncio.Gather(ctx, children...)
					return err
				})
				expectError(t, err, nil)
			})
		}
		all.Wait()
	})
}
