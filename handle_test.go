// Handles: callbacks that are cancelled, from where, and what is left of them; and
// which loop runs.

package asyncio_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func TestHandles(t *testing.T) {
	onLoop(t, "EV-010 cancelled by itself, it runs to its end", func(t *testing.T, loop *asyncio.EventLoop) {
		var j journal
		var h asyncio.Handle
		h = loop.CallSoon(func() {
			h.Cancel()
			j.say("to the end")
		})
		runPasses(t, loop, 2)
		j.expect(t, "to the end")
		if !h.Cancelled() {
			t.Error("it does not say so")
		}
	})
	onLoop(t, "EV-099 in debug mode its place is known, however it was queued", func(t *testing.T, loop *asyncio.EventLoop) {
		fail := func() { panic("oops") }
		loop.CallSoon(fail)
		loop.CallLater(0, fail)
		loop.CallAt(0, fail)
		n := 0
		loop.SetExceptionHandler(func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) {
			if n++; !strings.Contains(ec.CreatedAt, "handle_test.go") {
				t.Errorf("report %d: created at %q", n, ec.CreatedAt)
			}
		})
		runPasses(t, loop, 2)
		if n != 3 {
			t.Errorf("%d reports", n)
		}
	}, asyncio.WithDebug(true))
	onLoop(t, "EV-102 a cancelled timer lets go of its function", func(t *testing.T, loop *asyncio.EventLoop) {
		gone := make(chan struct{})
		func() {
			big := new([1 << 20]byte)
			runtime.AddCleanup(big, func(struct{}) { close(gone) }, struct{}{})
			h := loop.CallLater(time.Hour, func() { big[0]++ })
			h.Cancel()
		}()
		collectUntil(t, gone)
		runPasses(t, loop, 1)
	})
	t.Run("EV-011 tiny timers cost no more passes than they are", func(t *testing.T) {
		loop := asyncio.NewEventLoop()
		defer loop.Close()
		passes := 0
		const timers = 50
		for i := range timers {
			fired := false
			loop.CallLater(time.Duration(i)*time.Microsecond, func() { fired = true })
			for ; !fired; passes++ {
				expectError(t, loop.RunOnce(-1), nil)
			}
		}
		if passes > 3*timers {
			t.Errorf("%d passes for %d timers", passes, timers)
		}
	})
}

// The memory of a callback that has run serves the next: its old Handle must not notice.
func TestHandlesOfThePast(t *testing.T) {
	onLoop(t, "cancelled too late, a Handle says so, and nothing else", func(t *testing.T, loop *asyncio.EventLoop) {
		var j journal
		past := loop.CallSoon(func() { j.say("past") })
		runPasses(t, loop, 1)
		next := loop.CallSoon(func() { j.say("next") })
		if past.Cancelled() || next.Cancelled() {
			t.Error("cancelled by nobody")
		}
		past.Cancel()
		past.Cancel()
		if !past.Cancelled() || next.Cancelled() {
			t.Errorf("past %v, next %v", past, next)
		}
		runPasses(t, loop, 1)
		third := loop.CallSoon(func() { j.say("third") })
		third.Cancel()
		next.Cancel()
		runPasses(t, loop, 1)
		fourth := loop.CallSoon(func() { j.say("fourth") })
		runPasses(t, loop, 1)
		j.expect(t, "past next fourth")
		if !past.Cancelled() || !next.Cancelled() || !third.Cancelled() || fourth.Cancelled() {
			t.Errorf("%v %v %v %v", past, next, third, fourth)
		}
	})
	onLoop(t, "one that was cancelled in time stays cancelled", func(t *testing.T, loop *asyncio.EventLoop) {
		var cancelled []asyncio.Handle
		ran := 0
		for range 100 {
			for range 10 {
				h := loop.CallSoon(func() { t.Error("it runs") })
				h.Cancel()
				cancelled = append(cancelled, h)
				loop.CallSoon(func() { ran++ })
			}
			runPasses(t, loop, 1)
		}
		for i, h := range cancelled {
			if !h.Cancelled() {
				t.Fatalf("handle %d is not cancelled any more", i)
			}
		}
		if ran != 1000 {
			t.Errorf("%d have run", ran)
		}
	})
	onLoop(t, "what it shows", func(t *testing.T, loop *asyncio.EventLoop) {
		past := loop.CallSoon(func() {})
		if s := past.String(); !strings.HasPrefix(s, "<Handle ") || !strings.Contains(s, "TestHandlesOfThePast") {
			t.Errorf("before: %s", s)
		}
		runPasses(t, loop, 1)
		expectText(t, past, "<Handle done>")
		next := loop.CallSoon(func() {})
		past.Cancel()
		expectText(t, past, "<Handle cancelled done>")
		next.Cancel()
		if s := next.String(); !strings.HasPrefix(s, "<Handle cancelled ") || !strings.Contains(s, "TestHandlesOfThePast") {
			t.Errorf("after: %s", s)
		}
	})
	t.Run("that of nothing", func(t *testing.T) {
		var h asyncio.Handle
		h.Cancel()
		if h.Cancelled() {
			t.Error("it is cancelled")
		}
		expectText(t, h, "<Handle>")
	})
	onLoop(t, "a callback that has run lets go of its function", func(t *testing.T, loop *asyncio.EventLoop) {
		gone := make(chan struct{})
		h := func() asyncio.Handle {
			big := new([1 << 20]byte)
			runtime.AddCleanup(big, func(struct{}) { close(gone) }, struct{}{})
			return loop.CallSoon(func() { big[0]++ })
		}()
		runPasses(t, loop, 1)
		collectUntil(t, gone)
		runtime.KeepAlive(h)
	})
	onLoop(t, "cancelled on other goroutines, those of the past and the next", func(t *testing.T, loop *asyncio.EventLoop) {
		const many = 2000
		handles := make(chan asyncio.Handle, many)
		over := make(chan struct{})
		var cancelled []asyncio.Handle
		go func() {
			defer close(over)
			for h := range handles {
				h.Cancel()
				cancelled = append(cancelled, h)
			}
		}()
		ran := 0
		for i := range many {
			h := loop.CallSoon(func() { t.Error("it runs") })
			h.Cancel() // before another goroutine may
			h = loop.CallSoon(func() { ran++ })
			if runPasses(t, loop, 1); i%2 == 0 {
				handles <- h
			}
		}
		close(handles)
		<-over
		for i, h := range cancelled {
			if !h.Cancelled() {
				t.Fatalf("handle %d is not cancelled", i)
			}
		}
		if ran != many {
			t.Errorf("%d of %d have run", ran, many)
		}
	})
	onLoop(t, "in debug mode a Handle keeps its function", func(t *testing.T, loop *asyncio.EventLoop) {
		h := loop.CallSoon(func() {})
		runPasses(t, loop, 1)
		loop.CallSoon(func() {})
		if s := h.String(); !strings.Contains(s, "TestHandlesOfThePast") {
			t.Error(s)
		}
	}, asyncio.WithDebug(true))
}

func TestCallSoonThreadsafeOrder(t *testing.T) {
	onLoop(t, "EV-005 what was posted before comes first", func(t *testing.T, loop *asyncio.EventLoop) {
		var j journal
		loop.CallSoon(func() { j.say("a") })
		onAnotherGoroutine(func() { loop.CallSoonThreadsafe(func() { j.say("b") }) })
		loop.CallSoon(func() { j.say("c") })
		onAnotherGoroutine(func() { loop.CallSoonThreadsafe(func() { j.say("d") }) })
		runPasses(t, loop, 1)
		j.expect(t, "a b c d")
	})
	onLoop(t, "EV-005 EV-006 on the goroutine of the loop itself", func(t *testing.T, loop *asyncio.EventLoop) {
		var j journal
		loop.CallSoon(func() {
			for i := range 3 {
				loop.CallSoonThreadsafe(func() { j.say("t%d", i) })
				loop.CallSoon(func() { j.say("s%d", i) })
			}
		})
		runPasses(t, loop, 1)
		j.expect(t, "")
		runPasses(t, loop, 1)
		j.expect(t, "t0 s0 t1 s1 t2 s2")
	})
}

func TestLoopIsKnown(t *testing.T) {
	inLoop(t, "EV-103 a run inside a run fails, and changes nothing", func(t *testing.T, ctx context.Context) {
		loop := asyncio.CurrentTask(ctx).Loop()
		for range 2 {
			if !loop.IsRunning() || asyncio.CurrentTask(ctx).Loop() != loop {
				t.Errorf("%v is not known as the one that runs", loop)
			}
			expectError(t, asyncio.Run(ctx, hour), asyncio.ErrLoopRunning)
			expectError(t, newLoop(t).RunOnce(0), asyncio.ErrLoopRunning)
		}
		expectError(t, asyncio.Yield(ctx), nil)
	})
	t.Run("EV-103 EV-104 outside there is none, and none is made", func(t *testing.T) {
		loop := newLoop(t)
		if loop.IsRunning() {
			t.Error("it runs")
		}
		look := func() { asyncio.CurrentTask(context.Background()) }
		expectUsage(t, asyncio.ErrOutsideTask, look)
		onAnotherGoroutine(func() { expectUsage(t, asyncio.ErrOutsideTask, look) })
		expectError(t, asyncio.Sleep(context.Background(), 1), asyncio.ErrOutsideTask)
	})
	onLoop(t, "EV-002 Stop in the coroutine that the run waits for", func(t *testing.T, loop *asyncio.EventLoop) {
		task := asyncio.Go(loop.Context(context.Background()), func(ctx context.Context) error {
			loop.Stop()
			return asyncio.Sleep(ctx, time.Second)
		})
		expectError(t, loop.RunUntilComplete(task), asyncio.ErrLoopStopped)
		if task.Done() {
			t.Error("the task is done")
		}
		expectError(t, loop.RunUntilComplete(task), nil)
	})
	onLoop(t, "EV-012 Close while it runs", func(t *testing.T, loop *asyncio.EventLoop) {
		task := asyncio.Go(loop.Context(context.Background()), func(ctx context.Context) error {
			mistake(t, loop.Close(), asyncio.ErrLoopRunning)
			return asyncio.Yield(ctx)
		})
		loop.CallSoon(func() { mistake(t, loop.Close(), asyncio.ErrLoopRunning) })
		expectError(t, loop.RunUntilComplete(task), nil)
		if loop.IsClosed() {
			t.Error("it is closed")
		}
	})
	t.Run("EV-014 nothing begins on a closed loop", func(t *testing.T) {
		loop := asyncio.NewEventLoop(asynciotest.WithVirtualClock())
		ctx := loop.Context(context.Background())
		expectError(t, loop.Close(), nil)
		expectUsage(t, asyncio.ErrLoopClosed, func() { asyncio.Go(ctx, hour) })
		_, err := asyncio.RunCoroutineThreadsafe(context.Background(), loop, later(0, 1)).Wait(context.Background())
		expectError(t, err, asyncio.ErrLoopClosed)
		_, err = asyncio.ToThread(ctx, func(context.Context) (int, error) {
			t.Error("it runs")
			return 0, nil
		})
		mistake(t, err, asyncio.ErrOutsideTask)
	})
	t.Run("EV-016 nothing comes of a function on another goroutine after Close", func(t *testing.T) {
		began, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		var wait error
		err := asyncio.Run(context.Background(), func(ctx context.Context) error {
			task := begins(ctx, func(ctx context.Context) error {
				_, wait = asyncio.ToThread(ctx, func(context.Context) (int, error) {
					defer close(ended)
					close(began)
					<-release
					return 7, nil
				})
				return wait
			})
			<-began
			task.Cancel(nil)
			return nil
		}, asyncio.WithShutdownGrace(0))
		if err == nil || !strings.Contains(err.Error(), "still running") {
			t.Errorf("error %v", err)
		}
		expectError(t, wait, asyncio.ErrCancelled)
		close(release)
		<-ended
	})
}
