// Tests of behaviours that concern several parts of the package at once.

package asyncio_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func TestLoopLifeCycle(t *testing.T) {
	t.Run("BASE-025 closing twice", func(t *testing.T) {
		loop := asyncio.NewEventLoop()
		for range 2 {
			expectError(t, loop.Close(), nil)
			if !loop.IsClosed() {
				t.Error("it is open")
			}
		}
	})
	t.Run("BASE-026 a closed loop does not run", func(t *testing.T) {
		loop := asyncio.NewEventLoop()
		f := asyncio.NewFuture[int](loop.Context(background))
		expectError(t, loop.Close(), nil)
		expectError(t, loop.RunForever(), asyncio.ErrLoopClosed)
		expectError(t, loop.RunUntilComplete(f), asyncio.ErrLoopClosed)
		expectError(t, loop.RunOnce(0), asyncio.ErrLoopClosed)
	})
	onLoop(t, "BASE-035 EV-001 a loop in a loop", func(t *testing.T, loop *asyncio.EventLoop) {
		never := asyncio.NewFuture[int](loop.Context(background))
		loop.CallSoon(func() {
			expectError(t, loop.RunForever(), asyncio.ErrLoopRunning)
			expectError(t, loop.RunUntilComplete(never), asyncio.ErrLoopRunning)
			expectError(t, loop.RunOnce(0), asyncio.ErrLoopRunning)
		})
		expectError(t, loop.RunOnce(0), nil)
	})
	t.Run("TASK-013 a task that could not be started is not registered", func(t *testing.T) {
		loop := asyncio.NewEventLoop()
		ctx := loop.Context(background)
		expectError(t, loop.Close(), nil)
		for _, opts := range [][]asyncio.TaskOption{nil, {asyncio.EagerStart()}} {
			expectUsage(t, asyncio.ErrLoopClosed, func() { asyncio.Go(ctx, hour, opts...) })
			if all := loop.AllTasks(); len(all) != 0 {
				t.Errorf("left: %v", all)
			}
		}
	})
	t.Run("FUT-023 a future of a closed loop stays consistent", func(t *testing.T) {
		loop := asyncio.NewEventLoop()
		f := asyncio.NewFuture[int](loop.Context(background))
		f.AddDoneCallback(func(asyncio.AnyFuture) { t.Error("the callback runs") })
		expectError(t, loop.Close(), nil)
		refused := f.SetResult(1) != nil
		if v, err := f.Result(); f.Done() == refused || (v == 1) == refused || (err == nil) == refused {
			t.Errorf("%v, refused %v: %v, %v", f, refused, v, err)
		}
	})
}

func TestExceptionHandler(t *testing.T) {
	t.Run("BASE-043 a timer that panics", func(t *testing.T) {
		var r reports
		loop := newLoop(t, r.handler())
		var j journal
		loop.CallLater(time.Second, func() { panic(io.EOF) })
		loop.CallLater(time.Second, func() { j.say("after") })
		expectError(t, loop.RunOnce(-1), nil)
		j.expect(t, "after")
		r.expect(t, io.EOF)
	})
	t.Run("BASE-044 a failed task that nobody awaits", func(t *testing.T) {
		var r reports
		asynciotest.Run(t, func(ctx context.Context) error {
			asyncio.CreateTask(ctx, failingAfter(time.Second, io.EOF), asyncio.WithName("lonely"))
			return asyncio.Sleep(ctx, time.Minute)
		}, r.handler())
		r.expect(t, io.EOF)
		if !strings.Contains(r.list[0].Source.String(), "lonely") {
			t.Errorf("the source is %v", r.list[0].Source)
		}
	})
	for _, debug := range []bool{false, true} {
		t.Run("BASE-045 EV-096 what a handler is told", func(t *testing.T) {
			var r reports
			loop := newLoop(t, r.handler(), asyncio.WithDebug(debug))
			h := loop.CallSoon(func() { panic(io.EOF) })
			expectError(t, loop.RunOnce(0), nil)
			r.expect(t, io.EOF)
			if ec := r.list[0]; ec.Message == "" || ec.Source != h || strings.Contains(ec.CreatedAt, "pinned_test.go") != debug {
				t.Errorf("report %+v, debug %v", ec, debug)
			}
		})
	}
	t.Run("BASE-046 BASE-047 BASE-048 without a handler, and one that panics", func(t *testing.T) {
		var log strings.Builder
		loop := newLoop(t, asyncio.WithLogger(textLogger(&log)))
		logged := func(h asyncio.ExceptionHandler, words ...string) {
			t.Helper()
			log.Reset()
			loop.SetExceptionHandler(h)
			loop.CallSoon(func() { panic("oops") })
			expectError(t, loop.RunOnce(0), nil)
			for _, w := range words {
				if !strings.Contains(log.String(), w) {
					t.Errorf("no %q in the log %q", w, &log)
				}
			}
		}
		logged(func(*asyncio.EventLoop, *asyncio.ErrorContext) { panic("worse") }, "oops", "worse", "Handle")
		logged(nil, "oops", "panic in a callback")
		logged(func(*asyncio.EventLoop, *asyncio.ErrorContext) {})
		if log.Len() > 0 {
			t.Errorf("log %q", &log)
		}
	})
	t.Run("BASE-049 a log that panics", func(t *testing.T) {
		loop := newLoop(t, asyncio.WithLogger(textLogger(brokenWriter{})))
		var j journal
		loop.CallSoon(func() { panic("oops") })
		loop.CallSoon(func() { j.say("after") })
		expectError(t, loop.RunOnce(0), nil)
		j.expect(t, "after")
	})
}

// A brokenWriter panics.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { panic("no log") }

func TestDebugOfLoop(t *testing.T) {
	t.Run("BASE-050 set and read", func(t *testing.T) {
		loop := newLoop(t, asyncio.WithDebug(true))
		for _, on := range []bool{true, false, true} {
			if loop.SetDebug(on); loop.Debug() != on {
				t.Errorf("Debug() = %v", loop.Debug())
			}
		}
		t.Setenv("ASYNCIO_DEBUG", "1")
		if !newLoop(t).Debug() {
			t.Error("the environment has no effect")
		}
	})
	t.Run("BASE-051 slow callbacks and steps", func(t *testing.T) {
		var log strings.Builder
		loop := newLoop(t, asyncio.WithLogger(textLogger(&log)), asyncio.WithDebug(true))
		loop.SetSlowCallbackDuration(time.Nanosecond)
		loop.CallSoon(func() { blowTime() })
		asyncio.Go(loop.Context(background), func(context.Context) error { blowTime(); return nil }, asyncio.WithName("tardy"))
		expectError(t, loop.RunOnce(0), nil)
		for _, w := range []string{"slow callback", "pinned_test.go", "tardy"} {
			if !strings.Contains(log.String(), w) {
				t.Errorf("no %q in the log %q", w, &log)
			}
		}
	})
}

// blowTime takes some time of the wall clock.
func blowTime() {
	for start := time.Now(); time.Since(start) < 10*time.Microsecond; {
	}
}

func TestCloseNamesThreads(t *testing.T) {
	t.Run("BASE-053 a thread that stays is named when the grace has ended", func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		began := make(chan struct{})
		err := asyncio.Run(background, func(ctx context.Context) error {
			asyncio.Go(ctx, func(ctx context.Context) error {
				_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
					close(began)
					<-release
					return 0, nil
				})
				return err
			}, asyncio.EagerStart())
			<-began
			return nil
		}, asyncio.WithShutdownGrace(time.Millisecond))
		if err == nil || !strings.Contains(err.Error(), "still running") || !strings.Contains(err.Error(), "pinned_test.go") {
			t.Errorf("error %v", err)
		}
	})
}

func TestTogether(t *testing.T) {
	t.Run("TASK-072 coroutines are gathered in a task", func(t *testing.T) {
		loop := newLoop(t)
		never := asyncio.Coroutine[int](func(context.Context) (int, error) {
			t.Error("it runs")
			return 0, nil
		})
		for _, ctx := range []context.Context{background, loop.Context(background)} {
			_, err := asyncio.Gather[int](ctx, never)
			expectError(t, err, asyncio.ErrOutsideTask)
			for _, err := range asyncio.AsCompleted[int](ctx, never) {
				expectError(t, err, asyncio.ErrOutsideTask)
			}
			_, err = asyncio.WaitFor[int](ctx, time.Second, never)
			expectError(t, err, asyncio.ErrOutsideTask)
		}
		if all := loop.AllTasks(); len(all) != 0 {
			t.Errorf("left: %v", all)
		}
	})
	inLoop(t, "TO-018 an error of two handlers after the deadline", func(t *testing.T, ctx context.Context) {
		first, second := errors.New("first"), errors.New("second")
		var inner, outer *asyncio.TimeoutScope
		at := asyncio.CurrentTask(ctx).Loop().Time() + time.Second
		err := asyncio.TimeoutAt(ctx, at, func(ctx context.Context, s *asyncio.TimeoutScope) error {
			outer = s
			err := asyncio.TimeoutAt(ctx, at, func(ctx context.Context, s *asyncio.TimeoutScope) error {
				inner = s
				expectError(t, hour(ctx), context.DeadlineExceeded)
				return first
			})
			return errors.Join(second, err)
		})
		expectError(t, err, first)
		expectError(t, err, second)
		if errors.Is(err, asyncio.ErrTimeout) || !inner.Expired() || !outer.Expired() {
			t.Errorf("error %v, %v in %v", err, inner, outer)
		}
		expectError(t, asyncio.Yield(ctx), nil)
	})
	inLoop(t, "OBS-007 a value that comes with the deadline", func(t *testing.T, ctx context.Context) {
		loop := asyncio.CurrentTask(ctx).Loop()
		for _, valueFirst := range []bool{true, false} {
			at := loop.Time() + time.Second
			f := asyncio.NewFuture[int](ctx)
			var set error
			complete := func() { loop.CallAt(at, func() { set = f.SetResult(7) }) }
			if valueFirst {
				complete()
			}
			expectError(t, asyncio.TimeoutAt(ctx, at, func(ctx context.Context, _ *asyncio.TimeoutScope) error {
				if !valueFirst {
					complete()
				}
				return f.Wait(ctx)
			}), asyncio.ErrTimeout)
			if v, _ := f.Result(); f.Cancelled() == valueFirst || (v == 7) != valueFirst || (set == nil) != valueFirst {
				t.Errorf("%v, error %v; the value first: %v", f, set, valueFirst)
			}
		}
	})
	t.Run("OBS-014 when the peer has closed its half", func(t *testing.T) {
		leavesNothing(t)
		withPeer(t, func(c *net.TCPConn) error {
			if err := c.CloseWrite(); err != nil {
				return err
			}
			all, err := io.ReadAll(c)
			if string(all) != "still here" {
				t.Errorf("the peer got %q", all)
			}
			return err
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			if got, err := r.ReadAll(ctx); len(got) != 0 || err != nil || !r.AtEOF() || w.IsClosing() {
				t.Errorf("ReadAll = %q, %v", got, err)
			}
			_, err := w.WriteString("still here")
			expectError(t, err, nil)
			expectError(t, w.Drain(ctx), nil)
			expectError(t, w.Close(), nil)
			return w.WaitClosed(ctx)
		})
	})
}

func TestTaskFactoryOfLoop(t *testing.T) {
	inLoop(t, "BASE-037 BASE-038 BASE-039 a factory is used until it is reset, and sees the options", func(t *testing.T, ctx context.Context) {
		loop := asyncio.CurrentTask(ctx).Loop()
		var j journal
		create := func(opts ...asyncio.TaskOption) {
			t.Helper()
			expectError(t, asyncio.Go(ctx, asyncio.Yield, opts...).Wait(ctx), nil)
		}
		loop.SetTaskFactory(func(l *asyncio.EventLoop, spec *asyncio.TaskSpec) {
			if l != loop {
				t.Errorf("called for %v", l)
			}
			j.say("%s,%v", spec.Name, spec.Eager)
		})
		create()
		create(asyncio.WithName("x"), asyncio.EagerStart())
		loop.SetTaskFactory(nil)
		create(asyncio.WithName("y"))
		j.expect(t, ",false x,true")
		if loop.TaskFactory() != nil {
			t.Error("there is a factory")
		}
	})
}
