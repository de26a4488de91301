// Tests of futures: their states, their callbacks, and errors nobody looks at.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func TestFutureStates(t *testing.T) {
	broken := errors.New("broken")
	type op struct {
		name string
		do   func(f *asyncio.Future[int]) error
	}
	setResult := op{"SetResult", func(f *asyncio.Future[int]) error { return f.SetResult(2) }}
	setError := op{"SetError", func(f *asyncio.Future[int]) error { return f.SetError(io2) }}
	expect := func(t *testing.T, f *asyncio.Future[int], value int, err error, cancelled bool) {
		t.Helper()
		if !f.Done() || f.Cancelled() != cancelled {
			t.Errorf("Done %v, Cancelled %v", f.Done(), f.Cancelled())
		}
		expectError(t, f.Err(), err)
		got, rerr := f.Result()
		if got != value || !errors.Is(rerr, err) {
			t.Errorf("Result = %v, %v, want %v, %v", got, rerr, value, err)
		}
	}
	finished := func(t *testing.T, f *asyncio.Future[int], value int, err error, cancelled bool) {
		t.Helper()
		expect(t, f, value, err, cancelled)
		for _, again := range []op{setResult, setError} {
			if e := again.do(f); !errors.Is(e, asyncio.ErrInvalidState) || !strings.Contains(e.Error(), again.name) {
				t.Errorf("%s of a done future = %v", again.name, e)
			}
		}
		if f.Cancel(nil) {
			t.Error("Cancel of a done future is true")
		}
		expect(t, f, value, err, cancelled)
	}
	inLoop(t, "FUT-001 FUT-012 a new future is pending", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		if f.Done() || f.Cancelled() || f.Loop() != asyncio.CurrentTask(ctx).Loop() {
			t.Error("it is done, cancelled, or elsewhere")
		}
		expectError(t, f.Err(), asyncio.ErrInvalidState)
		_, err := f.Result()
		expectError(t, err, asyncio.ErrInvalidState)
	})
	inLoop(t, "FUT-002 FUT-003 FUT-004 FUT-005 FUT-015 cancelled", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		if !f.Cancel(broken) {
			t.Error("Cancel of a pending future is false")
		}
		finished(t, f, 0, asyncio.ErrCancelled, true)
		expectError(t, f.Err(), broken)
		expectError(t, f.Err(), context.Canceled)
	})
	inLoop(t, "FUT-006 FUT-007 FUT-008 result", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		expectError(t, f.SetResult(1), nil)
		finished(t, f, 1, nil, false)
	})
	inLoop(t, "FUT-009 FUT-010 FUT-011 error", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		expectError(t, f.SetError(broken), nil)
		finished(t, f, 0, broken, false)
	})
	inLoop(t, "OBS-011 a cancellation as error does not cancel", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		f.SetError(asyncio.ErrCancelled)
		finished(t, f, 0, asyncio.ErrCancelled, false)
	})
	inLoop(t, "a nil error is none", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		expectError(t, f.SetError(nil), asyncio.ErrBadArgument)
		if f.Done() {
			t.Error("it is done")
		}
	})

}

var io2 = errors.New("a second error")

func TestFutureMisuse(t *testing.T) {
	t.Run("FUT-013 without a loop", func(t *testing.T) {
		expectUsage(t, asyncio.ErrOutsideTask, func() { asyncio.NewFuture[int](context.Background()) })
	})
	t.Run("FUT-014 the zero future", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			var f asyncio.Future[int]
			if f.Done() || f.Cancel(nil) || f.Loop() != nil || f.String() == "" {
				t.Error("it is done, or can be cancelled")
			}
			one := []asyncio.AnyFuture{&f}
			_, awaited := f.Await(ctx)
			_, gathered := asyncio.Gather[int](ctx, &f)
			_, _, waited := asyncio.Wait(ctx, one, asyncio.WaitOptions{})
			_, shielded := asyncio.Shield[int](ctx, &f)
			_, late := asyncio.WaitFor[int](ctx, -1, &f)
			_, timed := asyncio.WaitFor[int](ctx, 1, &f)
			for i, err := range []error{awaited, gathered, waited, shielded, late, timed, f.SetResult(1), f.SetError(io2)} {
				if !errors.Is(err, asyncio.ErrOutsideTask) || !strings.Contains(err.Error(), "NewFuture") {
					t.Errorf("%d: %v", i, err)
				}
			}
			expectError(t, f.Err(), asyncio.ErrInvalidState)
			expectUsage(t, asyncio.ErrOutsideTask, func() { f.AddDoneCallback(func(asyncio.AnyFuture) {}) })
			return nil
		})
	})
	t.Run("on another goroutine", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			f := asyncio.NewFuture[int](ctx)
			onAnotherGoroutine(func() {
				for _, err := range []error{f.SetResult(1), f.SetError(io2), f.Wait(ctx)} {
					if !errors.Is(err, asyncio.ErrWrongGoroutine) {
						t.Errorf("error %v", err)
					}
				}
				if err := f.SetResult(1); !strings.Contains(err.Error(), "CallSoonThreadsafe") {
					t.Errorf("%v does not name the remedy", err)
				}
				expectUsage(t, asyncio.ErrWrongGoroutine, func() { f.Cancel(nil) })
				expectUsage(t, asyncio.ErrWrongGoroutine, func() { f.AddDoneCallback(func(asyncio.AnyFuture) {}) })
			})
			if f.Done() {
				t.Error("it was finished")
			}
			return nil
		})
	})
	inLoop(t, "a nil callback", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		expectUsage(t, asyncio.ErrBadArgument, func() { f.AddDoneCallback(nil) })
	})
	t.Run("after Close", func(t *testing.T) {
		var pending, done *asyncio.Future[int]
		asynciotest.Run(t, func(ctx context.Context) error {
			pending, done = asyncio.NewFuture[int](ctx), asyncio.NewFuture[int](ctx)
			return done.SetResult(1)
		})
		if v, err := done.Result(); v != 1 || err != nil || done.Cancel(nil) {
			t.Errorf("Result = %v, %v", v, err)
		}
		expectUsage(t, asyncio.ErrLoopClosed, func() { pending.Cancel(nil) })
		expectUsage(t, asyncio.ErrLoopClosed, func() { done.AddDoneCallback(func(asyncio.AnyFuture) {}) })
	})
}

func TestDoneCallbacks(t *testing.T) {
	var j journal
	adder := func(f *asyncio.Future[int]) func(name string) func() bool {
		return func(name string) func() bool {
			return f.AddDoneCallback(func(done asyncio.AnyFuture) {
				if done != asyncio.AnyFuture(f) {
					t.Errorf("the callback got %v", done)
				}
				j.say("%s", name)
			})
		}
	}
	inLoop(t, "FUT-018 in order of registration, one pass later", func(t *testing.T, ctx context.Context) {
		for _, finish := range []func(f *asyncio.Future[int]){
			func(f *asyncio.Future[int]) { f.SetResult(1) },
			func(f *asyncio.Future[int]) { f.SetError(io2) },
			func(f *asyncio.Future[int]) { f.Cancel(nil) },
		} {
			f := asyncio.NewFuture[int](ctx)
			add := adder(f)
			add("a")
			add("b")
			add("c")
			finish(f)
			j.expect(t, "")
			asyncio.Yield(ctx)
			j.expect(t, "a b c")
			add("late")
			j.expect(t, "")
			asyncio.Yield(ctx)
			j.expect(t, "late")
			f.Err()
		}
	})
	inLoop(t, "FUT-019 FUT-020 removed ones do not run", func(t *testing.T, ctx context.Context) {
		for removed, want := range []string{"b c d", "a c d", "a b d", "a b c"} {
			f := asyncio.NewFuture[int](ctx)
			add := adder(f)
			removes := []func() bool{add("a"), add("b"), add("c"), add("d")}
			if !removes[removed]() || removes[removed]() {
				t.Error("remove is not true, then false")
			}
			f.SetResult(1)
			if removes[(removed+1)%4]() {
				t.Error("remove is true when the callbacks are queued")
			}
			asyncio.Yield(ctx)
			j.expect(t, want)
		}
	})
	inLoop(t, "FUT-021 FUT-022 a callback may add and remove", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		add := adder(f)
		var remove func() bool
		f.AddDoneCallback(func(asyncio.AnyFuture) {
			j.say("first %v", remove())
			add("added")
		})
		remove = add("second")
		f.SetResult(1)
		asyncio.Yield(ctx)
		j.expect(t, "first false second")
		asyncio.Yield(ctx)
		j.expect(t, "added")
	})
	inLoop(t, "a callback that panics does not stop the others", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		loop := f.Loop()
		loop.SetExceptionHandler(func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) { j.say("%s", ec.Err.(*asyncio.PanicError).Value) })
		defer loop.SetExceptionHandler(nil)
		f.AddDoneCallback(func(asyncio.AnyFuture) { panic("oops") })
		adder(f)("next")
		f.SetResult(1)
		asyncio.Yield(ctx)
		j.expect(t, "oops next")
	})

}

func TestFutureString(t *testing.T) {
	inLoop(t, "FUT-029 states", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		expectText(t, f, "<Future pending>")
		f.SetResult(7)
		expectText(t, f, "<Future finished result=7>")
		f = asyncio.NewFuture[int](ctx)
		f.SetError(errors.New("broken\nin two lines"))
		expectText(t, f, "<Future finished error=broken>")
		f.Err()
		f = asyncio.NewFuture[int](ctx)
		f.Cancel(nil)
		expectText(t, f, "<Future cancelled>")
		long := asyncio.NewFuture[string](ctx)
		long.SetResult(strings.Repeat("x", 1000))
		if s := long.String(); len(s) > 200 || !utf8.ValidString(s) {
			t.Errorf("a long result makes %q", s)
		}
	})
	inLoop(t, "FUT-030 callbacks are counted", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		for i := range 3 {
			f.AddDoneCallback(func(asyncio.AnyFuture) {})
			expectText(t, f, fmt.Sprintf("<Future pending callbacks=%d>", i+1))
		}
	})

}

// inLoop runs a subtest as the main of a loop with a virtual clock.
func inLoop(t *testing.T, name string, test func(t *testing.T, ctx context.Context), opts ...asyncio.RunOption) {
	t.Run(name, func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			test(t, ctx)
			return nil
		}, opts...)
	})
}

// reports collects what comes to the exception handler.
type reports struct{ list []*asyncio.ErrorContext }

func (r *reports) handler() asyncio.LoopOption {
	return asyncio.WithExceptionHandler(func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) { r.list = append(r.list, ec) })
}

// expect checks that there were reports of exactly these errors.
func (r *reports) expect(t *testing.T, want ...error) {
	t.Helper()
	if len(r.list) != len(want) {
		t.Errorf("%d reports, want %d", len(r.list), len(want))
		for _, ec := range r.list {
			t.Errorf("report: %+v", *ec)
		}
		return
	}
	for i, ec := range r.list {
		if want[i] == nil && ec.Err != nil || !errors.Is(ec.Err, want[i]) {
			t.Errorf("report %d is %v, want %v", i, ec.Err, want[i])
		}
	}
}

func TestUnseenFailures(t *testing.T) {
	cases := []struct {
		name string
		want bool
		main func(ctx context.Context, f *asyncio.Future[int])
	}{
		{"FUT-024 an error that nobody looked at is reported once", true, func(_ context.Context, f *asyncio.Future[int]) {
			f.SetError(io2)
		}},
		{"FUT-024 with a callback that does not look", true, func(ctx context.Context, f *asyncio.Future[int]) {
			f.AddDoneCallback(func(asyncio.AnyFuture) {})
			f.SetError(io2)
			asyncio.Yield(ctx)
		}},
		{"FUT-025 not after Err", false, func(_ context.Context, f *asyncio.Future[int]) {
			f.SetError(io2)
			f.Err()
		}},
		{"FUT-025 not after Result", false, func(_ context.Context, f *asyncio.Future[int]) {
			f.SetError(io2)
			f.Result()
		}},
		{"not after Await", false, func(ctx context.Context, f *asyncio.Future[int]) {
			f.SetError(io2)
			f.Await(ctx)
		}},
		{"not with a callback that looks", false, func(ctx context.Context, f *asyncio.Future[int]) {
			f.AddDoneCallback(func(f asyncio.AnyFuture) { f.Err() })
			f.SetError(io2)
			asyncio.Yield(ctx)
		}},
		{"not after Gather", false, func(ctx context.Context, f *asyncio.Future[int]) {
			f.SetError(io2)
			asyncio.Gather[int](ctx, f)
		}},
		{"Wait does not look", true, func(ctx context.Context, f *asyncio.Future[int]) {
			f.SetError(io2)
			asyncio.Wait(ctx, []asyncio.AnyFuture{f}, asyncio.WaitOptions{})
		}},
		{"AsCompleted that was left early did not look", true, func(ctx context.Context, f *asyncio.Future[int]) {
			first := asyncio.NewFuture[int](ctx)
			first.SetResult(1)
			f.SetError(io2)
			for range asyncio.AsCompleted[int](ctx, first, f) {
				break
			}
		}},
		{"not after AsCompleted", false, func(ctx context.Context, f *asyncio.Future[int]) {
			f.SetError(io2)
			for range asyncio.AsCompleted[int](ctx, f) {
			}
		}},
		{"not after Shield", false, func(ctx context.Context, f *asyncio.Future[int]) {
			f.Loop().CallSoon(func() { f.SetError(io2) })
			asyncio.Shield[int](ctx, f)
		}},
		{"FUT-027 a result may be ignored", false, func(_ context.Context, f *asyncio.Future[int]) { f.SetResult(1) }},
		{"FUT-028 so may a pending future", false, func(context.Context, *asyncio.Future[int]) {}},
		{"FUT-026 a cancelled one too", false, func(_ context.Context, f *asyncio.Future[int]) { f.Cancel(io2) }},
	}
	for _, c := range cases {
		for _, collect := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, collected %v", c.name, collect), func(t *testing.T) {
				var r reports
				asynciotest.Run(t, func(ctx context.Context) error {
					gone := make(chan struct{})
					func() {
						f := asyncio.NewFuture[int](ctx)
						runtime.AddCleanup(f, func(gone chan struct{}) { close(gone) }, gone)
						c.main(ctx, f)
					}()
					if collect {
						collectUntil(t, gone)
						if c.want {
							untilTrue(t, ctx, func() bool { return len(r.list) > 0 })
						}
					}
					return nil
				}, r.handler())
				if c.want {
					r.expect(t, io2)
				} else {
					r.expect(t)
				}
			})
		}
	}
	t.Run("FUT-024 with its source, and in debug mode with its place", func(t *testing.T) {
		var r reports
		asynciotest.Run(t, func(ctx context.Context) error {
			return asyncio.NewFuture[int](ctx).SetError(io2)
		}, r.handler(), asyncio.WithDebug(true))
		r.expect(t, io2)
		ec := r.list[0]
		if ec.Source.String() != "<Future finished error=a second error>" || !strings.Contains(ec.CreatedAt, "future_test.go") || ec.Message == "" {
			t.Errorf("report %+v", *ec)
		}
	})
	t.Run("TASK-046 cancelling a failed task does not hide its error", func(t *testing.T) {
		var r reports
		asynciotest.Run(t, func(ctx context.Context) error {
			task := asyncio.Go(ctx, func(context.Context) error { return io2 })
			asyncio.Yield(ctx)
			if task.Cancel(nil) {
				t.Error("a failed task was cancelled")
			}
			return nil
		}, r.handler())
		r.expect(t, io2)
		if at := r.list[0].CreatedAt; at != "" && !strings.Contains(at, "future_test.go") {
			t.Errorf("created at %q", at)
		}
	})
	t.Run("a future that waits for its report keeps nothing alive", func(t *testing.T) {
		var r reports
		asynciotest.Run(t, func(ctx context.Context) error {
			for range 100 {
				asyncio.NewFuture[[1 << 10]int](ctx).SetError(io2)
			}
			runtime.GC()
			return nil
		}, r.handler())
		if len(r.list) != 100 {
			t.Errorf("%d reports, want 100", len(r.list))
		}
	})
}

// collectUntil collects garbage until something is gone.
func collectUntil(t *testing.T, gone <-chan struct{}) {
	t.Helper()
	for range 1000 {
		runtime.GC()
		select {
		case <-gone:
			return
		case <-time.After(time.Millisecond):
		}
	}
	t.Error("it is still reachable")
}

// untilTrue runs the loop until something is true that other goroutines bring about.
func untilTrue(t *testing.T, ctx context.Context, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if condition() {
			return
		}
		_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
			time.Sleep(100 * time.Microsecond)
			return 0, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("it has not come true")
}

// textLogger logs to w, without the time.
func textLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}
