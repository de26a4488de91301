// Tests of the event loop: the pass, callbacks and timers, running and stopping,
// reports.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
	"github.com/goasyncio/asyncio/internal/thread"
)

// newLoop makes a loop with a virtual clock that is closed when the test has ended.
func newLoop(t *testing.T, opts ...asyncio.LoopOption) *asyncio.EventLoop {
	loop := asyncio.NewEventLoop(append([]asyncio.LoopOption{asynciotest.WithVirtualClock()}, opts...)...)
	t.Cleanup(func() { expectError(t, loop.Close(), nil) })
	return loop
}

// The tests below run their loop on the goroutine of the subtest, and close it there.
func onLoop(t *testing.T, name string, test func(t *testing.T, loop *asyncio.EventLoop), opts ...asyncio.LoopOption) {
	t.Run(name, func(t *testing.T) { test(t, newLoop(t, opts...)) })
}

func TestCallbacks(t *testing.T) {
	onLoop(t, "BASE-010 BASE-017 CallSoon runs in the next pass, in order", func(t *testing.T, loop *asyncio.EventLoop) {
		var j journal
		for i := range 3 {
			loop.CallSoon(func() {
				j.say("%d", i)
				loop.CallSoon(func() { j.say("%d'", i) })
			})
		}
		j.expect(t, "")
		loop.RunOnce(0)
		j.expect(t, "0 1 2")
		loop.RunOnce(0)
		j.expect(t, "0' 1' 2'")
	})
	onLoop(t, "BASE-011 EV-095 EV-097 a cancelled callback does not run", func(t *testing.T, loop *asyncio.EventLoop) {
		var j journal
		a := loop.CallSoon(func() { j.say("a") })
		b := loop.CallSoon(func() { j.say("b"); a.Cancel() })
		c := loop.CallSoon(func() { j.say("c") })
		c.Cancel()
		if !c.Cancelled() || b.Cancelled() || !strings.Contains(c.String(), "cancelled") || !strings.Contains(b.String(), "loop_test.go") {
			t.Errorf("%v, %v", b, c)
		}
		loop.RunOnce(0)
		j.expect(t, "a b")
		if !a.Cancelled() {
			t.Error("Cancel after the run is forgotten")
		}
	})
	onLoop(t, "BASE-012 BASE-014 nil functions are refused", func(t *testing.T, loop *asyncio.EventLoop) {
		expectUsage(t, asyncio.ErrBadArgument, func() { loop.CallSoon(nil) })
		expectUsage(t, asyncio.ErrBadArgument, func() { loop.CallLater(0, nil) })
		expectUsage(t, asyncio.ErrBadArgument, func() { loop.CallAt(0, nil) })
	})
	onLoop(t, "BASE-013 BASE-016 EV-003 EV-100 EV-101 timers are not early", func(t *testing.T, loop *asyncio.EventLoop) {
		var j journal
		for _, d := range []time.Duration{3, 1, 2} {
			h := loop.CallLater(d*time.Second, func() { j.say("%d@%v", d, loop.Time()) })
			if h.When() != d*time.Second {
				t.Errorf("When() = %v", h.When())
			}
		}
		loop.CallAt(1500*time.Millisecond, func() { j.say("at@%v", loop.Time()) })
		loop.RunOnce(0)
		j.expect(t, "")
		for range 4 {
			loop.RunOnce(-1)
		}
		j.expect(t, "1@1s at@1.5s 2@2s 3@3s")
	})
	onLoop(t, "BASE-015 those that are overdue come at once, the most overdue first", func(t *testing.T, loop *asyncio.EventLoop) {
		var j journal
		loop.RunOnce(time.Minute)
		loop.CallLater(-1, func() { j.say("-1") })
		loop.CallLater(0, func() { j.say("0") })
		loop.CallLater(-time.Hour, func() { j.say("-1h") })
		loop.CallAt(-5, func() { j.say("at -5") })
		loop.CallSoon(func() { j.say("soon") })
		loop.RunOnce(0)
		j.expect(t, "soon -1h at -5 -1 0")
		if now := loop.Time(); now != time.Minute {
			t.Errorf("the time is %v", now)
		}
	})
	onLoop(t, "OBS-006 equal deadlines in the order of creation", func(t *testing.T, loop *asyncio.EventLoop) {
		var j journal
		for i := range 20 {
			loop.CallAt(time.Second, func() { j.say("%d", i) })
		}
		loop.RunOnce(-1)
		j.expect(t, "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19")
	})
	onLoop(t, "BASE-018 BASE-019 BASE-020 the poll ends at the first timer that is alive", func(t *testing.T, loop *asyncio.EventLoop) {
		var timers []*asyncio.TimerHandle
		for i := range 1000 {
			timers = append(timers, loop.CallLater(time.Duration(i)*time.Millisecond, func() { t.Error("it runs") }))
		}
		for _, h := range timers {
			h.Cancel()
			h.Cancel()
		}
		if n := loop.Timers(); n != 0 {
			t.Errorf("%d timers are left", n)
		}
		loop.CallLater(time.Hour, func() {})
		loop.RunOnce(-1)
		if now := loop.Time(); now != time.Hour {
			t.Errorf("it polled until %v", now)
		}
	})
	onLoop(t, "a timer may be cancelled in its own pass", func(t *testing.T, loop *asyncio.EventLoop) {
		var second *asyncio.TimerHandle
		loop.CallLater(time.Second, func() { second.Cancel() })
		second = loop.CallLater(time.Second, func() { t.Error("it runs") })
		loop.RunOnce(-1)
	})
	onLoop(t, "a deadline that overflows never comes", func(t *testing.T, loop *asyncio.EventLoop) {
		loop.CallLater(time.Hour, func() {})
		loop.RunOnce(-1)
		h := loop.CallLater(asyncio.Forever, func() { t.Error("it runs") })
		loop.CallLater(asyncio.Forever-1, func() { t.Error("it runs") })
		if h.When() != asyncio.Forever {
			t.Errorf("When() = %v", h.When())
		}
		expectError(t, loop.RunForever(), asyncio.ErrDeadlock) // the virtual clock does not move there
		h.Cancel()
		if loop.Time() != time.Hour || !h.Cancelled() {
			t.Errorf("the time is %v, of %v", loop.Time(), h)
		}
	})
	onLoop(t, "a deadline before all time is due", func(t *testing.T, loop *asyncio.EventLoop) {
		loop.CallLater(time.Hour, func() {})
		loop.RunOnce(-1)
		var j journal
		loop.CallLater(0, func() { j.say("now") })
		loop.CallLater(time.Until(time.Time{}), func() { j.say("long ago") })
		loop.CallAt(math.MinInt64, func() { j.say("longer ago") })
		loop.RunOnce(-1)
		j.expect(t, "long ago longer ago now")
		if loop.Time() != time.Hour {
			t.Errorf("the time is %v", loop.Time())
		}
	})
	onLoop(t, "OBS-004 within a pass: what is ready, then due timers", func(t *testing.T, loop *asyncio.EventLoop) {
		var j journal
		loop.CallLater(0, func() { j.say("timer") })
		loop.CallSoon(func() { j.say("soon") })
		loop.RunOnce(0)
		j.expect(t, "soon timer")
	})
}

func TestRunForever(t *testing.T) {
	onLoop(t, "OBS-005 BASE-034 Stop lets the pass end, the rest waits for the next run", func(t *testing.T, loop *asyncio.EventLoop) {
		var j journal
		loop.CallSoon(func() {
			loop.Stop()
			loop.CallSoon(func() { j.say("later"); loop.Stop() })
		})
		loop.CallSoon(func() { j.say("same pass") })
		expectError(t, loop.RunForever(), nil)
		j.expect(t, "same pass")
		expectError(t, loop.RunForever(), nil)
		j.expect(t, "later")
	})
	onLoop(t, "BASE-032 Stop before a run makes it a single pass that does not wait", func(t *testing.T, loop *asyncio.EventLoop) {
		var j journal
		loop.CallSoon(func() { j.say("soon") })
		loop.CallLater(time.Hour, func() { j.say("timer") })
		loop.Stop()
		expectError(t, loop.RunForever(), nil)
		j.expect(t, "soon")
		loop.Stop()
		expectError(t, loop.RunOnce(-1), nil)
		j.expect(t, "")
		expectError(t, loop.RunOnce(-1), nil)
		j.expect(t, "timer")
	})
	onLoop(t, "a deadlock", func(t *testing.T, loop *asyncio.EventLoop) {
		asyncio.Go(loop.Context(context.Background()), func(ctx context.Context) error { return asyncio.NewFuture[int](ctx).Wait(ctx) }, asyncio.WithName("lost"))
		err := loop.RunForever()
		if !errors.Is(err, asyncio.ErrDeadlock) || !strings.Contains(err.Error(), "task lost: waits for a future at loop_test.go:") {
			t.Errorf("error %v", err)
		}
		loop.CallSoon(loop.Stop)
		expectError(t, loop.RunForever(), nil)
	})
	onLoop(t, "RunOnce waits no longer than it may", func(t *testing.T, loop *asyncio.EventLoop) {
		n := 0
		loop.CallLater(time.Hour, func() { n++ })
		for range 3 {
			expectError(t, loop.RunOnce(time.Minute), nil)
		}
		if loop.Time() != 3*time.Minute || n != 0 {
			t.Errorf("the time is %v, %d timers have fired", loop.Time(), n)
		}
		expectError(t, loop.RunOnce(time.Hour), nil)
		if loop.Time() != time.Hour || n != 1 {
			t.Errorf("the time is %v, %d timers have fired", loop.Time(), n)
		}
	})
	t.Run("BASE-036 a loop embedded in another", func(t *testing.T) {
		loop := asyncio.NewEventLoop()
		defer loop.Close()
		task := asyncio.CreateTask(loop.Context(context.Background()), later(time.Millisecond, 7))
		n := 0
		for !task.Done() {
			expectError(t, loop.RunOnce(time.Second), nil)
			if n++; loop.IsRunning() {
				t.Error("it is running between its passes")
			}
		}
		if v, err := task.Result(); v != 7 || err != nil || n > 10 {
			t.Errorf("got %v, %v after %d passes", v, err, n)
		}
	})
	t.Run("two loops take turns on one goroutine", func(t *testing.T) {
		ctx := context.Background()
		a, b := newLoop(t), asyncio.NewEventLoop(asynciotest.WithVirtualClock())
		var threads []int
		work := func(ctx context.Context) (int, error) {
			for range 4 {
				threads = append(threads, thread.ID())
				if err := asyncio.Yield(ctx); err != nil {
					return 0, err
				}
			}
			return 7, nil
		}
		ta, tb := asyncio.CreateTask(a.Context(ctx), work), asyncio.CreateTask(b.Context(ctx), work)
		for range 2 {
			expectError(t, a.RunOnce(0), nil)
			expectError(t, b.RunOnce(0), nil)
		}
		expectError(t, a.RunUntilComplete(ta), nil)
		expectError(t, b.RunUntilComplete(tb), nil)
		expectError(t, b.Close(), nil)
		expectError(t, a.RunUntilComplete(asyncio.CreateTask(a.Context(ctx), work)), nil)
		for _, id := range threads {
			if id != threads[0] {
				t.Errorf("the tasks ran on the threads %v", threads)
				break
			}
		}
	})
}

func TestRunUntilComplete(t *testing.T) {
	onLoop(t, "value, error, cancellation", func(t *testing.T, loop *asyncio.EventLoop) {
		ctx := loop.Context(context.Background())
		good := asyncio.CreateTask(ctx, later(time.Second, 7))
		expectError(t, loop.RunUntilComplete(good), nil)
		if v, err := good.Result(); v != 7 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
		expectError(t, loop.RunUntilComplete(asyncio.CreateTask(ctx, failingAfter(0, io2))), io2)
		gone := asyncio.CreateTask(ctx, later(time.Second, 7))
		gone.Cancel(io2)
		expectError(t, loop.RunUntilComplete(gone), io2)
		f := asyncio.NewFuture[int](ctx)
		f.SetResult(1)
		expectError(t, loop.RunUntilComplete(f), nil)
	}, noReports(t))
	onLoop(t, "nothing to run until", func(t *testing.T, loop *asyncio.EventLoop) {
		mistake(t, loop.RunUntilComplete(nil), asyncio.ErrBadArgument)
	})
	onLoop(t, "Stop before it is done", func(t *testing.T, loop *asyncio.EventLoop) {
		ctx := loop.Context(context.Background())
		task := asyncio.CreateTask(ctx, later(time.Hour, 7))
		loop.CallLater(time.Minute, loop.Stop)
		expectError(t, loop.RunUntilComplete(task), asyncio.ErrLoopStopped)
		expectText(t, loop, strings.Replace(loop.String(), "running", "idle", 1))
		expectError(t, loop.RunUntilComplete(task), nil)
		if loop.Time() != time.Hour {
			t.Errorf("the time is %v", loop.Time())
		}
	})
	onLoop(t, "BASE-029 BASE-030 Stop in the pass in which it is done does not stop the next run", func(t *testing.T, loop *asyncio.EventLoop) {
		ctx := loop.Context(context.Background())
		f := asyncio.NewFuture[int](ctx)
		loop.CallSoon(func() {
			f.SetResult(1)
			loop.Stop()
		})
		expectError(t, loop.RunUntilComplete(f), nil)
		expectError(t, loop.RunUntilComplete(asyncio.CreateTask(ctx, later(time.Hour, 7))), nil)
	})
	t.Run("BASE-028 a future of another loop", func(t *testing.T) {
		a, b := newLoop(t), newLoop(t)
		expectError(t, a.RunUntilComplete(asyncio.NewFuture[int](b.Context(context.Background()))), asyncio.ErrWrongLoop)
		expectError(t, a.RunUntilComplete(new(asyncio.Future[int])), asyncio.ErrWrongLoop)
	})
	onLoop(t, "a deadlock", func(t *testing.T, loop *asyncio.EventLoop) {
		f := asyncio.NewFuture[int](loop.Context(context.Background()))
		expectError(t, loop.RunUntilComplete(f), asyncio.ErrDeadlock)
		expectText(t, f, "<Future pending>")
	})
}

func TestLoopMisuse(t *testing.T) {
	runs := map[string]func(l *asyncio.EventLoop) error{
		"RunForever": (*asyncio.EventLoop).RunForever,
		"RunOnce":    func(l *asyncio.EventLoop) error { return l.RunOnce(0) },
		"RunUntilComplete": func(l *asyncio.EventLoop) error {
			return l.RunUntilComplete(asyncio.NewFuture[int](l.Context(context.Background())))
		},
		"Close": (*asyncio.EventLoop).Close,
	}
	for op, run := range runs {
		if op == "RunUntilComplete" {
			run = (*asyncio.EventLoop).RunForever // the future cannot be made there
		}
		onLoop(t, op+" BASE-035 while it runs", func(t *testing.T, loop *asyncio.EventLoop) {
			check := func() {
				if err := run(loop); !errors.Is(err, asyncio.ErrLoopRunning) || !strings.Contains(err.Error(), "loop-") {
					t.Errorf("error %v", err)
				}
			}
			loop.CallSoon(check)
			loop.CallSoon(func() { onAnotherGoroutine(check) })
			task := asyncio.Go(loop.Context(context.Background()), func(ctx context.Context) error {
				check()
				return nil
			})
			expectError(t, loop.RunUntilComplete(task), nil)
		})
		onLoop(t, op+" on another goroutine than before", func(t *testing.T, loop *asyncio.EventLoop) {
			expectError(t, loop.RunOnce(0), nil)
			onAnotherGoroutine(func() { expectError(t, run(loop), asyncio.ErrWrongGoroutine) })
		})
		if op == "Close" {
			continue
		}
		t.Run(op+" while another loop runs here", func(t *testing.T) {
			outer, inner := newLoop(t), newLoop(t)
			outer.CallSoon(func() {
				if err := run(inner); !errors.Is(err, asyncio.ErrLoopRunning) || strings.Count(err.Error(), "loop-") < 2 {
					t.Errorf("error %v", err)
				}
			})
			expectError(t, outer.RunOnce(0), nil)
		})
		t.Run(op+" BASE-026 after Close", func(t *testing.T) {
			loop := asyncio.NewEventLoop()
			loop.Close()
			expectError(t, run(loop), asyncio.ErrLoopClosed)
			onAnotherGoroutine(func() { expectError(t, run(loop), asyncio.ErrLoopClosed) })
		})
	}
	t.Run("Close of a loop with tasks while another runs here", func(t *testing.T) {
		outer, inner := newLoop(t), newLoop(t)
		task := asyncio.Go(inner.Context(context.Background()), hour)
		inner.RunOnce(0)
		outer.CallSoon(func() { expectError(t, inner.Close(), asyncio.ErrLoopRunning) })
		expectError(t, outer.RunOnce(0), nil)
		expectError(t, inner.RunUntilComplete(task), nil)
	})
	t.Run("two goroutines run it at once", func(t *testing.T) {
		loop := asyncio.NewEventLoop()
		errs := make(chan error)
		for range 2 {
			go func() {
				err := loop.RunForever()
				if err == nil {
					err = loop.Close()
				}
				errs <- err
			}()
		}
		if err := <-errs; !errors.Is(err, asyncio.ErrLoopRunning) && !errors.Is(err, asyncio.ErrWrongGoroutine) {
			t.Errorf("error %v", err)
		}
		loop.CallSoonThreadsafe(loop.Stop)
		expectError(t, <-errs, nil)
	})
	onLoop(t, "BASE-022 BASE-023 BASE-024 on another goroutine, while it runs", func(t *testing.T, loop *asyncio.EventLoop) {
		timer := loop.CallLater(time.Hour, func() {})
		defer timer.Cancel()
		loop.CallSoon(func() {
			onAnotherGoroutine(func() {
				expectUsage(t, asyncio.ErrWrongGoroutine, func() { loop.CallSoon(func() {}) })
				expectUsage(t, asyncio.ErrWrongGoroutine, func() { loop.CallLater(1, func() {}) })
				expectUsage(t, asyncio.ErrWrongGoroutine, func() { loop.CallAt(1, func() {}) })
				expectUsage(t, asyncio.ErrWrongGoroutine, loop.Stop)
				expectUsage(t, asyncio.ErrWrongGoroutine, timer.Cancel)
				expectUsage(t, asyncio.ErrWrongGoroutine, func() { loop.SetDebug(true) })
				expectUsage(t, asyncio.ErrWrongGoroutine, func() { loop.SetSlowCallbackDuration(0) })
			})
		})
		loop.RunOnce(0)
	})
	t.Run("EV-013 EV-014 after Close", func(t *testing.T) {
		loop := asyncio.NewEventLoop()
		ctx := loop.Context(context.Background())
		expectError(t, loop.Close(), nil)
		expectUsage(t, asyncio.ErrLoopClosed, func() { loop.CallSoon(func() {}) })
		expectUsage(t, asyncio.ErrLoopClosed, func() { loop.CallLater(1, func() {}) })
		expectUsage(t, asyncio.ErrLoopClosed, func() { loop.CallAt(1, func() {}) })
		expectUsage(t, asyncio.ErrLoopClosed, loop.Stop)
		expectUsage(t, asyncio.ErrLoopClosed, func() { asyncio.Go(ctx, hour) })
		expectError(t, loop.Close(), nil) // BASE-025
		if !loop.IsClosed() || !strings.Contains(loop.String(), "closed") || len(loop.AllTasks()) != 0 {
			t.Errorf("%v", loop)
		}
	})
}

func TestReports(t *testing.T) {
	t.Run("BASE-042 a panic in a callback is reported, and the loop goes on", func(t *testing.T) {
		var r reports
		loop := newLoop(t, r.handler(), asyncio.WithDebug(true))
		var j journal
		loop.CallSoon(func() { j.say("before") })
		loop.CallSoon(func() { blowUp() })
		loop.CallLater(0, func() { panic(io2) })
		loop.CallSoon(func() { j.say("after") })
		expectError(t, loop.RunOnce(0), nil)
		j.expect(t, "before after")
		if len(r.list) != 2 {
			t.Fatalf("%d reports", len(r.list))
		}
		expectError(t, r.list[1].Err, io2)
		var p *asyncio.PanicError
		if !errors.As(r.list[0].Err, &p) || p.Value != "oops" || !strings.Contains(string(p.Stack), "asyncio_test.blowUp") {
			t.Errorf("report of %v", r.list[0].Err)
		}
		for _, ec := range r.list {
			if !strings.HasPrefix(ec.Source.String(), "<Handle") || !strings.Contains(ec.CreatedAt, "loop_test.go") || ec.Message == "" {
				t.Errorf("report %+v", ec)
			}
		}
	})
	t.Run("the default handler logs, also when the other one panics", func(t *testing.T) {
		var log strings.Builder
		loop := newLoop(t, asyncio.WithLogger(textLogger(&log)))
		loop.CallSoon(func() { panic("oops") })
		loop.RunOnce(0)
		if s := log.String(); !strings.Contains(s, "level=ERROR") || !strings.Contains(s, "panic in a callback") || !strings.Contains(s, "oops") {
			t.Errorf("log %q", s)
		}
		log.Reset()
		loop.SetExceptionHandler(func(*asyncio.EventLoop, *asyncio.ErrorContext) { panic("worse") })
		loop.CallSoon(func() { panic("oops") })
		expectError(t, loop.RunOnce(0), nil)
		if s := log.String(); !strings.Contains(s, "oops") || !strings.Contains(s, "worse") || !strings.Contains(s, "exception handler") {
			t.Errorf("log %q", s)
		}
		log.Reset()
		loop.SetExceptionHandler(nil)
		loop.CallExceptionHandler(&asyncio.ErrorContext{Message: "by hand", Err: io2})
		if s := log.String(); !strings.Contains(s, "by hand") || !strings.Contains(s, io2.Error()) {
			t.Errorf("log %q", s)
		}
	})
	t.Run("a handler may use the loop", func(t *testing.T) {
		var j journal
		loop := newLoop(t, asyncio.WithExceptionHandler(func(l *asyncio.EventLoop, ec *asyncio.ErrorContext) {
			j.say("reported")
			l.CallSoon(func() { j.say("called") })
		}))
		loop.CallSoon(func() { panic("oops") })
		loop.RunOnce(0)
		loop.RunOnce(0)
		j.expect(t, "reported called")
	})
}

func TestDebug(t *testing.T) {
	t.Run("TASK-107 RUN-004 the environment and the option", func(t *testing.T) {
		for value, want := range map[string]bool{"": false, "0": false, "1": true, "yes": true} {
			t.Setenv("ASYNCIO_DEBUG", value)
			if got := asyncio.NewEventLoop().Debug(); got != want {
				t.Errorf("ASYNCIO_DEBUG=%q: %v", value, got)
			}
			for _, on := range []bool{false, true} {
				if got := asyncio.NewEventLoop(asyncio.WithDebug(on)).Debug(); got != on {
					t.Errorf("WithDebug(%v): %v", on, got)
				}
			}
		}
		loop := asyncio.NewEventLoop(asyncio.WithDebug(false))
		if loop.SetDebug(true); !loop.Debug() {
			t.Error("SetDebug has no effect")
		}
	})
	t.Run("slow callbacks and tasks", func(t *testing.T) {
		var log strings.Builder
		loop := newLoop(t, asyncio.WithLogger(textLogger(&log)), asyncio.WithDebug(true))
		loop.SetSlowCallbackDuration(time.Millisecond)
		slow := func() { time.Sleep(2 * time.Millisecond) }
		loop.CallSoon(slow)
		loop.RunOnce(0)
		if s := log.String(); !strings.Contains(s, "slow callback") || !strings.Contains(s, "loop_test.go") {
			t.Errorf("log %q", s)
		}
		log.Reset()
		asyncio.Go(loop.Context(context.Background()), func(context.Context) error { slow(); return nil }, asyncio.WithName("tardy"))
		loop.RunOnce(0)
		if s := log.String(); !strings.Contains(s, "slow callback") || !strings.Contains(s, "tardy") {
			t.Errorf("log %q", s)
		}
		log.Reset()
		loop.SetSlowCallbackDuration(time.Hour)
		loop.CallSoon(slow)
		loop.RunOnce(0)
		if log.Len() > 0 {
			t.Errorf("log %q", &log)
		}
	})
	t.Run("a task switches to debug mode while another one waits", func(t *testing.T) {
		var log strings.Builder
		loop := newLoop(t, asyncio.WithLogger(textLogger(&log)), asyncio.WithDebug(false))
		loop.SetSlowCallbackDuration(time.Millisecond)
		main := asyncio.Go(loop.Context(context.Background()), func(ctx context.Context) error {
			return asyncio.Go(ctx, func(ctx context.Context) error {
				loop.SetDebug(true)
				asyncio.Yield(ctx)
				time.Sleep(2 * time.Millisecond)
				return nil
			}, asyncio.WithName("tardy")).Wait(ctx)
		})
		expectError(t, loop.RunUntilComplete(main), nil)
		if s := log.String(); !strings.Contains(s, "slow callback") || !strings.Contains(s, "tardy") {
			t.Errorf("log %q", s)
		}
	})
	t.Run("a task switches debug mode off", func(t *testing.T) {
		var log strings.Builder
		loop := newLoop(t, asyncio.WithLogger(textLogger(&log)), asyncio.WithDebug(true))
		loop.SetSlowCallbackDuration(10 * time.Millisecond)
		tardy := func(ctx context.Context) error {
			for range 2 {
				asyncio.Yield(ctx)
			}
			time.Sleep(10 * time.Millisecond)
			return nil
		}
		main := asyncio.Go(loop.Context(context.Background()), func(ctx context.Context) error {
			task := asyncio.Go(ctx, tardy)
			asyncio.Yield(ctx)
			loop.SetDebug(false)
			return task.Wait(ctx) // it is the other one that is slow
		})
		expectError(t, loop.RunUntilComplete(main), nil)
		if log.Len() > 0 {
			t.Errorf("log %q", &log)
		}
	})
	t.Run("TASK-105 where a task was created", func(t *testing.T) {
		var r reports
		asynciotest.Run(t, func(ctx context.Context) error {
			asyncio.Go(ctx, func(context.Context) error { return io2 })
			asyncio.CreateTask(ctx, failingAfter(0, io2))
			asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error { return nil })
			return nil
		}, r.handler(), asyncio.WithDebug(true), asyncio.WithShutdownGrace(time.Hour))
		for i, ec := range r.list {
			if !strings.HasPrefix(ec.CreatedAt, "github.com/goasyncio/asyncio_test.TestDebug") {
				t.Errorf("%d was created at %v", i, ec.CreatedAt)
			}
		}
	})
}

func TestLoopString(t *testing.T) {
	onLoop(t, "states", func(t *testing.T, loop *asyncio.EventLoop) {
		idle := loop.String()
		if !strings.HasPrefix(idle, "<EventLoop loop-") || !strings.HasSuffix(idle, " idle>") {
			t.Errorf("%v", idle)
		}
		loop.CallSoon(func() { expectText(t, loop, strings.Replace(idle, "idle", "running", 1)) })
		loop.RunOnce(0)
		expectText(t, loop, idle)
		if s := fmt.Sprint(loop.Context(context.Background())); !strings.HasPrefix(s, "asyncio.Context(loop-") {
			t.Errorf("%v", s)
		}
	})
}
