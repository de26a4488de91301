// Tests of Run and Runner: how a program begins and ends.

package asyncio_test

import (
	"context"
	"errors"
	"go/scanner"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

var background = context.Background()

func TestRun(t *testing.T) {
	t.Run("RUN-001 the value of main", func(t *testing.T) {
		v, err := asyncio.RunValue(background, later(time.Microsecond, 7))
		if v != 7 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
	})
	t.Run("RUN-002 its error, of whatever type", func(t *testing.T) {
		for _, want := range []error{io2, scanner.ErrorList{{Msg: "x"}}, asyncio.ErrTimeout, asyncio.ErrCancelled} {
			v, err := asyncio.RunValue(background, func(context.Context) (int, error) { return 7, want })
			if v != 0 || err == nil || err.Error() != want.Error() && !errors.Is(err, want) {
				t.Errorf("got %v, %v, want %v", v, err, want)
			}
		}
	})
	t.Run("RUN-003 a nil main", func(t *testing.T) {
		mistake(t, asyncio.Run(background, nil), asyncio.ErrBadArgument)
		_, err := asyncio.RunValue[int](background, nil)
		mistake(t, err, asyncio.ErrBadArgument)
	})
	t.Run("RUN-005 RUN-017 inside a running loop", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			never := func(context.Context) error {
				t.Error("it runs")
				return nil
			}
			loop := asyncio.CurrentTask(ctx).Loop()
			check := func() {
				if err := asyncio.Run(ctx, never); !errors.Is(err, asyncio.ErrLoopRunning) || !strings.Contains(err.Error(), "await there") {
					t.Errorf("error %v", err)
				}
			}
			check()
			loop.CallSoon(check)
			return asyncio.Yield(ctx)
		})
	})
	t.Run("RUN-006 what main leaves behind is cancelled and awaited", func(t *testing.T) {
		var task *asyncio.Task[struct{}]
		ended := false
		asynciotest.Run(t, func(ctx context.Context) error {
			task = asyncio.Go(ctx, func(ctx context.Context) error {
				err := hour(ctx)
				if asyncio.Sleep(asyncio.CleanupContext(ctx), sec(1)) == nil {
					ended = true
				}
				return err
			})
			return asyncio.Yield(ctx)
		})
		if !ended || !task.Cancelled() {
			t.Errorf("%v, ended %v", task, ended)
		}
	})
	t.Run("RUN-007 BASE-031 errors of those are reported, those of main are not", func(t *testing.T) {
		var r reports
		err := asyncio.Run(background, func(ctx context.Context) error {
			asyncio.Go(ctx, func(ctx context.Context) error {
				hour(ctx)
				return errA
			})
			asyncio.Yield(ctx)
			return errB
		}, r.handler())
		expectError(t, err, errB)
		r.expect(t, errA)
	})
	t.Run("RUN-009 RUN-018 the loop is closed in every case", func(t *testing.T) {
		for name, main := range map[string]func(ctx context.Context) error{
			"value": func(context.Context) error { return nil },
			"error": func(context.Context) error { return io2 },
			"panic": func(context.Context) error { panic("oops") },
			"exit":  func(context.Context) error { runtime.Goexit(); return nil },
			"stop": func(ctx context.Context) error {
				asyncio.CurrentTask(ctx).Loop().Stop()
				return hour(ctx)
			},
		} {
			var loop *asyncio.EventLoop
			var child *asyncio.Task[struct{}]
			onAnotherGoroutine(func() {
				defer func() { recover() }()
				asyncio.Run(background, func(ctx context.Context) error {
					loop = asyncio.CurrentTask(ctx).Loop()
					child = asyncio.Go(ctx, hour, asyncio.EagerStart())
					return main(ctx)
				})
			})
			if !loop.IsClosed() || !child.Cancelled() {
				t.Errorf("%s: %v, %v", name, loop, child)
			}
		}
	})
	t.Run("a panic of main goes on in Run", func(t *testing.T) {
		for name, main := range map[string]func(ctx context.Context) error{
			"of main":       panicking,
			"of its task":   func(ctx context.Context) error { return asyncio.Go(ctx, panicking).Wait(ctx) },
			"of an awaited": func(ctx context.Context) error { return panicking(ctx) },
			"in a goroutine": func(ctx context.Context) error {
				_, err := asyncio.ToThread(ctx, func(ctx context.Context) (int, error) { return 0, panicking2() })
				return err
			},
		} {
			func() {
				defer func() {
					p, ok := recover().(*asyncio.PanicError)
					if !ok || p.Value != "oops" || !strings.Contains(string(p.Stack), "asyncio_test.panicking") {
						t.Errorf("%s: panic %v", name, p)
					}
				}()
				asyncio.Run(background, main)
			}()
		}
	})
	t.Run("Goexit of main ends the goroutine of Run when all is cleaned up", func(t *testing.T) {
		var j journal
		onAnotherGoroutine(func() {
			defer j.say("ended")
			asyncio.Run(background, func(ctx context.Context) error {
				asyncio.Go(ctx, func(ctx context.Context) error {
					defer j.say("child")
					return hour(ctx)
				}, asyncio.EagerStart())
				defer j.say("main")
				runtime.Goexit()
				return nil
			})
			j.say("never")
		})
		j.expect(t, "main child ended")
	})
	t.Run("Goexit of a task that main returns is an error", func(t *testing.T) {
		err := asyncio.Run(background, func(ctx context.Context) error {
			return asyncio.Go(ctx, func(context.Context) error { runtime.Goexit(); return nil }).Wait(ctx)
		})
		expectError(t, err, asyncio.ErrGoexit)
	})
	t.Run("Goexit in a callback ends the goroutine of Run, too", func(t *testing.T) {
		var loop *asyncio.EventLoop
		onAnotherGoroutine(func() {
			asyncio.Run(background, func(ctx context.Context) error {
				loop = asyncio.CurrentTask(ctx).Loop()
				loop.CallSoon(runtime.Goexit)
				return hour(ctx)
			})
			t.Error("Run returns")
		})
		if !loop.IsClosed() {
			t.Errorf("%v", loop)
		}
	})
	t.Run("a context that is cancelled cancels main, with its cause", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(background)
		err := asyncio.Run(ctx, func(ctx context.Context) error {
			cancel(io2)
			err := hour(ctx)
			if ctx.Err() != context.Canceled || context.Cause(ctx) != io2 {
				t.Errorf("%v, %v", ctx.Err(), context.Cause(ctx))
			}
			return err
		})
		expectError(t, err, asyncio.ErrCancelled)
		expectError(t, err, io2)
		err = asyncio.Run(ctx, func(context.Context) error {
			t.Error("main starts with a cancelled context")
			return nil
		})
		expectError(t, err, io2)
	})
	t.Run("a context with a deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(background, time.Millisecond)
		defer cancel()
		err := asyncio.Run(ctx, func(ctx context.Context) error {
			err := hour(ctx)
			if ctx.Err() != context.DeadlineExceeded {
				t.Errorf("Err() = %v", ctx.Err())
			}
			return err
		})
		expectError(t, err, context.DeadlineExceeded)
		expectError(t, err, asyncio.ErrCancelled)
	})
}

func panicking2() error { panic("oops") }

func TestRunner(t *testing.T) {
	t.Run("RUN-011 RUN-014 several runs on one loop; what they leave goes on", func(t *testing.T) {
		r := asyncio.NewRunner(asynciotest.WithVirtualClock())
		loop, err := r.Loop()
		expectError(t, err, nil)
		var task *asyncio.Task[int]
		expectError(t, r.Run(background, func(ctx context.Context) error {
			task = asyncio.CreateTask(ctx, later(sec(2), 7))
			return asyncio.Sleep(ctx, sec(1))
		}), nil)
		if task.Done() {
			t.Errorf("%v", task)
		}
		v, err := asyncio.RunIn(background, r, func(ctx context.Context) (int, error) {
			if asyncio.CurrentTask(ctx).Loop() != loop {
				t.Error("another loop")
			}
			return task.Await(ctx)
		})
		if v != 7 || err != nil || loop.Time() != sec(2) {
			t.Errorf("got %v, %v at %v", v, err, loop.Time())
		}
		expectError(t, r.Run(background, func(context.Context) error { return io2 }), io2)
		expectError(t, r.Close(), nil)
		if !loop.IsClosed() {
			t.Error("the loop is open")
		}
	})
	t.Run("RUN-012 RUN-013 closing twice, and use after that", func(t *testing.T) {
		r := asyncio.NewRunner()
		expectError(t, r.Close(), nil)
		expectError(t, r.Close(), nil)
		expectError(t, r.Run(background, hour), asyncio.ErrLoopClosed)
		_, err := r.Loop()
		expectError(t, err, asyncio.ErrLoopClosed)
	})
	t.Run("RUN-017 a run in a run", func(t *testing.T) {
		r := asyncio.NewRunner()
		expectError(t, r.Run(background, func(ctx context.Context) error {
			expectError(t, r.Run(ctx, hour), asyncio.ErrLoopRunning)
			expectError(t, r.Close(), asyncio.ErrLoopRunning)
			return nil
		}), nil)
	})
	t.Run("on another goroutine", func(t *testing.T) {
		r := asyncio.NewRunner()
		expectError(t, r.Run(background, asyncio.Yield), nil)
		onAnotherGoroutine(func() {
			expectError(t, r.Run(background, hour), asyncio.ErrWrongGoroutine)
		})
		expectError(t, r.Close(), nil)
	})
}
