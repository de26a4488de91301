// Tests of tasks: creating, finishing, cancelling, printing, eager starts, what
// they cost.

package asyncio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// later is a coroutine that gives value after d.
func later[T any](d time.Duration, value T) asyncio.Coroutine[T] {
	return func(ctx context.Context) (T, error) { return value, asyncio.Sleep(ctx, d) }
}

// failingAfter is a coroutine that fails after d.
func failingAfter(d time.Duration, err error) asyncio.Coroutine[int] {
	return func(ctx context.Context) (int, error) {
		if e := asyncio.Sleep(ctx, d); e != nil {
			return 0, e
		}
		return 0, err
	}
}

// hour is a function that takes an hour.
func hour(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) }

// passes counts the passes of a loop until it is stopped.
type passes struct {
	n    int
	stop bool
}

func countPasses(ctx context.Context) *passes {
	p := new(passes)
	loop := asyncio.CurrentTask(ctx).Loop()
	var next func()
	next = func() {
		p.n++
		if !p.stop {
			loop.CallSoon(next)
		}
	}
	loop.CallSoon(next)
	return p
}

func TestTaskResult(t *testing.T) {
	inLoop(t, "TASK-001 the result is what the coroutine returned, every time", func(t *testing.T, ctx context.Context) {
		task := asyncio.CreateTask(ctx, later(time.Second, 7))
		for range 3 {
			if v, err := task.Await(ctx); v != 7 || err != nil {
				t.Errorf("Await = %v, %v", v, err)
			}
		}
		if v, err := task.Result(); v != 7 || err != nil || !task.Done() || task.Cancelled() || task.Err() != nil {
			t.Errorf("Result = %v, %v", v, err)
		}
	})
	inLoop(t, "a failed task has no value", func(t *testing.T, ctx context.Context) {
		task := asyncio.CreateTask(ctx, func(context.Context) (int, error) { return 7, io2 })
		if v, err := task.Await(ctx); v != 0 || err != io2 {
			t.Errorf("Await = %v, %v", v, err)
		}
		if v, err := task.Result(); v != 0 || err != io2 {
			t.Errorf("Result = %v, %v", v, err)
		}
	})
	inLoop(t, "a pending task has no result", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, hour)
		_, err := task.Result()
		expectError(t, err, asyncio.ErrInvalidState)
		expectError(t, task.Err(), asyncio.ErrInvalidState)
	})
	t.Run("TASK-002 BASE-041 a task needs a loop that is open", func(t *testing.T) {
		expectUsage(t, asyncio.ErrOutsideTask, func() { asyncio.Go(context.Background(), hour) })
		loop := asyncio.NewEventLoop()
		loop.Close()
		expectUsage(t, asyncio.ErrLoopClosed, func() { asyncio.Go(loop.Context(context.Background()), hour) })
	})
	inLoop(t, "TASK-003 it knows its loop", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, hour)
		if task.Loop() == nil || task.Loop() != asyncio.CurrentTask(ctx).Loop() {
			t.Errorf("Loop() = %v", task.Loop())
		}
	})
	inLoop(t, "TASK-004 nested calls take no passes", func(t *testing.T, ctx context.Context) {
		withoutSuspending(t, ctx, func() {
			inner := asyncio.Coroutine[int](func(context.Context) (int, error) { return 3, nil })
			outer := asyncio.Coroutine[int](func(ctx context.Context) (int, error) {
				a, _ := inner.Await(ctx)
				b, _ := inner(ctx)
				return a + b, nil
			})
			if v, err := outer(ctx); v != 6 || err != nil {
				t.Errorf("got %v, %v", v, err)
			}
		})
	})
	inLoop(t, "TASK-010 a future as a value stays a future", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		task := asyncio.CreateTask(ctx, func(context.Context) (*asyncio.Future[int], error) { return f, nil })
		if got, err := task.Await(ctx); got != f || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	})
	inLoop(t, "TASK-011 RUN-003 a nil function is refused", func(t *testing.T, ctx context.Context) {
		expectUsage(t, asyncio.ErrBadArgument, func() { asyncio.Go(ctx, nil) })
		expectUsage(t, asyncio.ErrBadArgument, func() { asyncio.CreateTask[int](ctx, nil) })
	})
	inLoop(t, "TASK-021 the panic of a task keeps its stack", func(t *testing.T, ctx context.Context) {
		err := asyncio.Go(ctx, panicking).Wait(ctx)
		var p *asyncio.PanicError
		if !errors.As(err, &p) || p.Value != "oops" || !strings.Contains(string(p.Stack), "asyncio_test.panicking") {
			t.Errorf("error %v", err)
		}
		if !strings.Contains(err.Error(), "asyncio_test.panicking") {
			t.Errorf("the text does not name the function: %v", err)
		}
	})
	for name, opt := range map[string]asyncio.TaskOption{"": asyncio.LazyStart(), ", started eagerly": asyncio.EagerStart()} {
		inLoop(t, "an error whose methods panic is as good as a panic"+name, func(t *testing.T, ctx context.Context) {
			task := asyncio.Go(ctx, func(context.Context) error { return (*os.PathError)(nil) }, opt)
			err := asyncio.Timeout(ctx, time.Second, task.Wait)
			var p *asyncio.PanicError
			if !errors.As(err, &p) || !strings.Contains(string(p.Stack), "PathError") {
				t.Errorf("error %v", err)
			}
		})
		t.Run("an error that cannot be told is reported"+name, func(t *testing.T) {
			var r reports
			silent := (*json.SyntaxError)(nil) // whose Error panics
			asynciotest.Run(t, func(ctx context.Context) error {
				task := asyncio.Go(ctx, func(context.Context) error { return silent }, opt)
				f := asyncio.NewFuture[int](ctx)
				expectError(t, f.SetError(silent), nil)
				if asyncio.Yield(ctx); !task.Done() {
					t.Errorf("%v", task)
				}
				return nil
			}, r.handler())
			r.expect(t, silent, silent)
		})
	}
}

// panicking panics after a pass.
func panicking(ctx context.Context) error {
	asyncio.Yield(ctx)
	panic("oops")
}

func TestTaskOrder(t *testing.T) {
	inLoop(t, "OBS-002 a task starts in the next pass, its awaiter resumes one pass after it", func(t *testing.T, ctx context.Context) {
		p := countPasses(ctx)
		started, ended := 0, 0
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			started = p.n
			asyncio.Yield(ctx)
			ended = p.n
			return nil
		})
		task.Wait(ctx)
		p.stop = true
		if started != 1 || ended != 2 || p.n != 3 {
			t.Errorf("started in pass %d, ended in %d, awaited in %d", started, ended, p.n)
		}
	})
	inLoop(t, "OBS-003 tasks that yield take turns in the order of their creation", func(t *testing.T, ctx context.Context) {
		var j journal
		for i := range 3 {
			asyncio.Go(ctx, func(ctx context.Context) error {
				for k := range 3 {
					j.say("%d%c", i, 'a'+k)
					asyncio.Yield(ctx)
				}
				return nil
			})
		}
		settle(ctx)
		j.expect(t, "0a 1a 2a 0b 1b 2b 0c 1c 2c")
	})
	inLoop(t, "OBS-001 awaiting what is done does not suspend", func(t *testing.T, ctx context.Context) {
		task := asyncio.CreateTask(ctx, later(0, 1))
		task.Wait(ctx)
		f := asyncio.NewFuture[int](ctx)
		f.SetResult(2)
		withoutSuspending(t, ctx, func() {
			task.Await(ctx)
			f.Await(ctx)
			asyncio.Shield[int](ctx, f)
			asyncio.Gather[int](ctx, f, task)
		})
	})
	inLoop(t, "TASK-019 many tasks may await one future", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		var j journal
		for i := range 3 {
			j.spawn(ctx, fmt.Sprint(i), f.Wait)
		}
		asyncio.Yield(ctx)
		expectText(t, f, "<Future pending callbacks=3>")
		f.SetResult(1)
		settle(ctx)
		j.expect(t, "0 1 2")
	})
}

func TestTaskNames(t *testing.T) {
	inLoop(t, "TASK-005 names are numbered", func(t *testing.T, ctx context.Context) {
		number := regexp.MustCompile(`^Task-(\d+)$`)
		last := 0
		for range 12 {
			m := number.FindStringSubmatch(asyncio.Go(ctx, hour).Name())
			if m == nil {
				t.Fatal("no number")
			}
			var n int
			fmt.Sscan(m[1], &n)
			if n <= last {
				t.Errorf("%d after %d", n, last)
			}
			last = n
		}
	})
	inLoop(t, "TASK-006 BASE-040 given names", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, hour, asyncio.WithName("x"))
		if task.Name() != "x" {
			t.Errorf("name %q", task.Name())
		}
		task.SetName("y")
		if task.Name() != "y" || !strings.Contains(task.String(), "Task y") {
			t.Errorf("name %q, %v", task.Name(), task)
		}
		if name := asyncio.CurrentTask(ctx).Name(); name != "main" {
			t.Errorf("main is called %q", name)
		}
	})
}

func TestTaskString(t *testing.T) {
	inLoop(t, "TASK-007 TASK-008 TASK-009 states", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		task := asyncio.Go(ctx, func(ctx context.Context) error { return f.Wait(ctx) }, asyncio.WithName("x"))
		if s := task.String(); !strings.HasPrefix(s, "<Task x pending ") || !strings.Contains(s, "task_test.go:") {
			t.Errorf("before its first step: %v", s)
		}
		asyncio.Yield(ctx)
		expectText(t, task, "<Task x pending waits for a future>")
		waiter := asyncio.Go(ctx, task.Wait, asyncio.WithName("y"))
		asyncio.Yield(ctx)
		expectText(t, waiter, "<Task y pending waits for x>")
		expectText(t, task, "<Task x pending callbacks=1 waits for a future>")
		task.Cancel(nil)
		expectText(t, task, "<Task x cancelling callbacks=1 waits for a future>")
		settle(ctx)
		expectText(t, task, "<Task x cancelled>")

		task = asyncio.Go(ctx, hour, asyncio.WithName("z"))
		asyncio.Yield(ctx)
		expectText(t, task, fmt.Sprintf("<Task z pending sleeps until %v>", task.Loop().Time()+time.Hour))
		failed := asyncio.Go(ctx, func(context.Context) error { return io2 }, asyncio.WithName("f"))
		failed.Wait(ctx)
		expectText(t, failed, "<Task f finished error=a second error>")
		good := asyncio.CreateTask(ctx, later(0, 5), asyncio.WithName("g"))
		good.Wait(ctx)
		expectText(t, good, "<Task g finished result=5>")
	})
	inLoop(t, "FUT2-004 tasks that wait for each other", func(t *testing.T, ctx context.Context) {
		a, b := circle(ctx)
		expectText(t, a, "<Task a pending callbacks=1 waits for b>")
		expectText(t, b, "<Task b pending callbacks=1 waits for a>")
		a.Cancel(nil)
	})
}

// circle returns two tasks that wait for each other.
func circle(ctx context.Context) (a, b *asyncio.Task[struct{}]) {
	a = asyncio.Go(ctx, func(ctx context.Context) error { return b.Wait(ctx) }, asyncio.WithName("a"))
	b = asyncio.Go(ctx, a.Wait, asyncio.WithName("b"))
	asyncio.Yield(ctx)
	return a, b
}

func TestTaskMisuse(t *testing.T) {
	inLoop(t, "TASK-018 a task awaits itself", func(t *testing.T, ctx context.Context) {
		var self *asyncio.Task[struct{}]
		self = asyncio.Go(ctx, func(ctx context.Context) error { return self.Wait(ctx) }, asyncio.WithName("me"))
		err := self.Wait(ctx)
		if !errors.Is(err, asyncio.ErrAwaitSelf) || !strings.Contains(err.Error(), "me") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("TASK-017 TASK-084 a future of another loop", func(t *testing.T) {
		other := asyncio.NewEventLoop()
		defer other.Close()
		f := asyncio.NewFuture[int](other.Context(context.Background()))
		asynciotest.Run(t, func(ctx context.Context) error {
			_, gathered := asyncio.Gather[int](ctx, asyncio.NewFuture[int](ctx), f)
			_, _, waited := asyncio.Wait(ctx, []asyncio.AnyFuture{f}, asyncio.WaitOptions{})
			_, shielded := asyncio.Shield[int](ctx, f)
			for _, err := range []error{f.Wait(ctx), gathered, waited, shielded} {
				if !errors.Is(err, asyncio.ErrWrongLoop) || !strings.Contains(err.Error(), "main") || !strings.Contains(err.Error(), "a future") {
					t.Errorf("error %v", err)
				}
			}
			return nil
		})
	})
	t.Run("TO-025 TG-033 outside a task, and on the wrong goroutine", func(t *testing.T) {
		var f *asyncio.Future[int]
		none := func(context.Context) error { return nil }
		operations := map[string]func(ctx context.Context) error{
			"Await": func(ctx context.Context) error { _, err := f.Await(ctx); return err },
			"Wait":  func(ctx context.Context) error { return f.Wait(ctx) },
			"Sleep": hour,
			"Yield": asyncio.Yield,
			"Gather": func(ctx context.Context) error {
				_, err := asyncio.Gather[int](ctx, f)
				return err
			},
			"GatherSettled": func(ctx context.Context) error {
				_, err := asyncio.GatherSettled[int](ctx, f)
				return err
			},
			"AsCompleted": func(ctx context.Context) (err error) {
				for _, err = range asyncio.AsCompleted[int](ctx, f) {
				}
				return err
			},
			"Shield": func(ctx context.Context) error {
				_, err := asyncio.Shield[int](ctx, f)
				return err
			},
			"WaitFor": func(ctx context.Context) error {
				_, err := asyncio.WaitFor[int](ctx, 0, f)
				return err
			},
			"Timeout": func(ctx context.Context) error { return asyncio.Timeout(ctx, 1, none) },
			"TimeoutAt": func(ctx context.Context) error {
				return asyncio.TimeoutAt(ctx, 1, func(context.Context, *asyncio.TimeoutScope) error { return nil })
			},
			"WithTaskGroup": func(ctx context.Context) error {
				return asyncio.WithTaskGroup(ctx, func(context.Context, *asyncio.TaskGroup) error { return nil })
			},
			"ToThread": func(ctx context.Context) error {
				_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) { return 0, nil })
				return err
			},
		}
		expect := func(err error, op string, cause error, remedy string) {
			t.Helper()
			var usage *asyncio.UsageError
			if !errors.As(err, &usage) || usage.Op != op || !errors.Is(err, cause) || !strings.Contains(err.Error(), remedy) {
				t.Errorf("%s: error %v, want %v", op, err, cause)
			}
		}
		asynciotest.Run(t, func(ctx context.Context) error {
			f = asyncio.NewFuture[int](ctx)
			loop := f.Loop()
			for op, call := range operations {
				expect(call(context.Background()), op, asyncio.ErrOutsideTask, "pass on the one that Run")
				loop.CallSoon(func() { expect(call(ctx), op, asyncio.ErrOutsideTask, "start a task with Go") })
				onAnotherGoroutine(func() { expect(call(ctx), op, asyncio.ErrWrongGoroutine, "RunCoroutineThreadsafe") })
				onAnotherGoroutine(func() {
					asyncio.Run(context.Background(), func(context.Context) error {
						expect(call(ctx), op, asyncio.ErrWrongLoop, "context of the running task")
						return nil
					})
				})
			}
			return asyncio.Yield(ctx)
		})
		idle := asyncio.NewEventLoop()
		defer idle.Close()
		f = asyncio.NewFuture[int](idle.Context(context.Background()))
		for op, call := range operations {
			expect(call(idle.Context(context.Background())), op, asyncio.ErrOutsideTask, "not running")
		}
	})
	inLoop(t, "on another goroutine", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, hour)
		onAnotherGoroutine(func() {
			expectUsage(t, asyncio.ErrWrongGoroutine, func() { task.Cancel(nil) })
			expectUsage(t, asyncio.ErrWrongGoroutine, func() { asyncio.Go(ctx, hour) })
			expectUsage(t, asyncio.ErrWrongGoroutine, func() { asyncio.CleanupContext(ctx) })
		})
	})
	t.Run("after Close", func(t *testing.T) {
		var ctx context.Context
		var task *asyncio.Task[struct{}]
		asynciotest.Run(t, func(c context.Context) error {
			ctx = c
			task = asyncio.Go(ctx, hour)
			return nil
		})
		if !task.Cancelled() || task.Cancel(nil) {
			t.Errorf("%v can be cancelled", task)
		}
		expectUsage(t, asyncio.ErrLoopClosed, func() { asyncio.Go(ctx, hour) })
		expectError(t, task.Wait(ctx), asyncio.ErrOutsideTask)
		expectError(t, asyncio.Sleep(ctx, 1), asyncio.ErrOutsideTask)
		expectError(t, ctx.Err(), context.Canceled)
		<-ctx.Done()
	})
}

func TestTaskCancel(t *testing.T) {
	inLoop(t, "TASK-026 a sleeping task", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, hour)
		asyncio.Yield(ctx)
		if !task.Cancel(nil) {
			t.Error("Cancel is false")
		}
		expectError(t, task.Wait(ctx), asyncio.ErrCancelled)
		if task.Cancel(nil) || !task.Cancelled() || ctx.Err() != nil {
			t.Errorf("%v, own context %v", task, ctx.Err())
		}
		if n := task.Loop().Timers(); n != 0 {
			t.Errorf("TASK-050 %d timers are left", n)
		}
	})
	inLoop(t, "TASK-027 what it waits for is cancelled at once", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		task := asyncio.Go(ctx, f.Wait)
		asyncio.Yield(ctx)
		task.Cancel(io2)
		if !f.Cancelled() || task.Done() {
			t.Errorf("%v, %v", f, task)
		}
		expectError(t, f.Err(), io2)
		expectError(t, task.Wait(ctx), io2)
	})
	inLoop(t, "TASK-028 cancelling the future cancels its task", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		task := asyncio.Go(ctx, f.Wait)
		asyncio.Yield(ctx)
		f.Cancel(nil)
		expectError(t, task.Wait(ctx), asyncio.ErrCancelled)
		if !task.Cancelled() || task.Cancelling() != 0 || task.Context().Err() == nil {
			t.Errorf("%v after %d requests", task, task.Cancelling())
		}
	})
	inLoop(t, "TASK-029 both", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		task := asyncio.Go(ctx, f.Wait)
		asyncio.Yield(ctx)
		f.Cancel(nil)
		task.Cancel(nil)
		task.Wait(ctx)
		if !task.Cancelled() || !f.Cancelled() {
			t.Errorf("%v, %v", task, f)
		}
	})
	inLoop(t, "TASK-030 before its first step it never runs", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, func(context.Context) error {
			t.Error("it runs")
			return nil
		})
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
		if !task.Cancelled() {
			t.Errorf("%v", task)
		}
	})
	inLoop(t, "TASK-031 between two yields", func(t *testing.T, ctx context.Context) {
		var j journal
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			j.say("%v", asyncio.Yield(ctx) == nil)
			err := asyncio.Yield(ctx)
			j.say("%v", err == nil)
			return err
		})
		asyncio.Yield(ctx)
		asyncio.Yield(ctx)
		task.Cancel(nil)
		task.Wait(ctx)
		j.expect(t, "true false")
	})
	inLoop(t, "TASK-032 TASK-037 a cancellation can be caught, and asked for again", func(t *testing.T, ctx context.Context) {
		task := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
			hour(ctx)
			return 7, nil
		})
		asyncio.Yield(ctx)
		if !task.Cancel(nil) || !task.Cancel(nil) || task.Cancelling() != 2 {
			t.Errorf("%d requests", task.Cancelling())
		}
		if v, err := task.Await(ctx); v != 7 || err != nil || task.Cancelled() {
			t.Errorf("Await = %v, %v", v, err)
		}
	})
	inLoop(t, "TASK-033 with a CleanupContext it can go on", func(t *testing.T, ctx context.Context) {
		start := asyncio.CurrentTask(ctx).Loop().Time()
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			hour(ctx)
			return asyncio.Sleep(asyncio.CleanupContext(ctx), time.Minute)
		})
		asyncio.Yield(ctx)
		task.Cancel(nil)
		expectError(t, task.Wait(ctx), nil)
		if d := task.Loop().Time() - start; d != time.Minute {
			t.Errorf("it took %v", d)
		}
	})
	inLoop(t, "TASK-034 a task that cancels itself is interrupted at its next await", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			asyncio.CurrentTask(ctx).Cancel(io2)
			err := hour(ctx)
			expectError(t, err, asyncio.ErrCancelled)
			return err
		})
		expectError(t, task.Wait(ctx), io2)
	})
	inLoop(t, "TASK-035 or ends cancelled if it awaits nothing more", func(t *testing.T, ctx context.Context) {
		task := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
			asyncio.CurrentTask(ctx).Cancel(io2)
			return 7, nil
		})
		v, err := task.Await(ctx)
		expectError(t, err, io2)
		if v != 0 || !task.Cancelled() {
			t.Errorf("%v, %v", v, task)
		}
	})
	inLoop(t, "an error that it returns wins", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			asyncio.CurrentTask(ctx).Cancel(nil)
			return io2
		})
		if err := task.Wait(ctx); err != io2 || task.Cancelled() {
			t.Errorf("error %v", err)
		}
	})
	inLoop(t, "TASK-036 after a self-cancel the task awaited next is cancelled", func(t *testing.T, ctx context.Context) {
		var inner *asyncio.Task[struct{}]
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			asyncio.CurrentTask(ctx).Cancel(nil)
			inner = asyncio.Go(ctx, hour)
			return inner.Wait(ctx)
		})
		task.Wait(ctx)
		if !inner.Cancelled() || !task.Cancelled() {
			t.Errorf("%v, %v", inner, task)
		}
	})
	inLoop(t, "TASK-043 TASK-044 the cause comes along", func(t *testing.T, ctx context.Context) {
		for _, cause := range []error{nil, io2} {
			task := asyncio.Go(ctx, func(ctx context.Context) error {
				return fmt.Errorf("wrapped: %w", asyncio.Go(ctx, hour).Wait(ctx))
			})
			asyncio.Yield(ctx)
			asyncio.Yield(ctx)
			task.Cancel(cause)
			err := task.Wait(ctx)
			var c *asyncio.CancelledError
			if !errors.As(err, &c) || c.Cause != cause || !task.Cancelled() || !strings.HasPrefix(err.Error(), "wrapped: ") {
				t.Errorf("error %v with the cause %v", err, c)
			}
			if cause != nil {
				expectError(t, task.Err(), cause)
			}
		}
	})
	inLoop(t, "OBS-010 a task may cancel itself by its error", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, func(context.Context) error { return asyncio.ErrCancelled })
		task.Wait(ctx)
		if !task.Cancelled() || task.Cancelling() != 0 {
			t.Errorf("%v after %d requests", task, task.Cancelling())
		}
		expectError(t, task.Err(), asyncio.ErrCancelled)
	})
	inLoop(t, "what counts as a cancellation", func(t *testing.T, ctx context.Context) {
		for _, c := range []struct {
			name      string
			cancel    bool
			err       error
			cancelled bool
		}{
			{"context.Canceled of somebody else", false, context.Canceled, false},
			{"the own context's", true, context.Canceled, true},
			{"wrapped", true, fmt.Errorf("x: %w", context.Canceled), true},
			{"another one's deadline", true, context.DeadlineExceeded, false},
			{"joined with a failure", true, errors.Join(asyncio.ErrCancelled, io2), false},
			{"joined with another", true, errors.Join(asyncio.ErrCancelled, context.Canceled), true},
			{"ErrCancelled", false, asyncio.ErrCancelled, true},
			{"ErrTimeout", true, asyncio.ErrTimeout, false},
		} {
			task := asyncio.Go(ctx, func(ctx context.Context) error {
				hour(ctx)
				return c.err
			}, asyncio.EagerStart())
			if c.cancel {
				task.Cancel(nil)
			} else {
				asyncio.Sleep(ctx, time.Hour)
			}
			err := task.Wait(ctx)
			if !errors.Is(err, c.err) || task.Cancelled() != c.cancelled || errors.Is(err, asyncio.ErrCancelled) != (c.cancelled || errors.Is(c.err, asyncio.ErrCancelled)) {
				t.Errorf("%s: %v, %v", c.name, task, err)
			}
		}
	})
	inLoop(t, "cancelling a wait cancels what is awaited, down to the end", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		var chain []*asyncio.Task[struct{}]
		wait := f.Wait
		for range 10 {
			task := asyncio.Go(ctx, wait)
			chain = append(chain, task)
			wait = task.Wait
		}
		settle(ctx)
		last := chain[len(chain)-1]
		last.Cancel(io2)
		expectError(t, last.Wait(ctx), io2)
		if !f.Cancelled() || slices.ContainsFunc(chain, func(t *asyncio.Task[struct{}]) bool { return !t.Cancelled() }) {
			t.Errorf("%v, %v", f, chain)
		}
	})
	inLoop(t, "an awaited task that swallows the request gives its value, and the request stays", func(t *testing.T, ctx context.Context) {
		stubborn := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
			hour(ctx)
			return 7, nil
		})
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			if v, err := stubborn.Await(ctx); v != 7 || err != nil {
				t.Errorf("Await = %v, %v", v, err)
			}
			if ctx.Err() == nil {
				t.Error("the request is forgotten")
			}
			return nil
		})
		settle(ctx)
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
		if !task.Cancelled() {
			t.Errorf("%v", task)
		}
	})
}

func TestCancelCycles(t *testing.T) {
	inLoop(t, "two tasks that await each other", func(t *testing.T, ctx context.Context) {
		a, b := circle(ctx)
		a.Cancel(nil)
		expectError(t, asyncio.Timeout(ctx, time.Second, a.Wait), asyncio.ErrCancelled)
		if !a.Cancelled() || !b.Cancelled() {
			t.Errorf("%v, %v", a, b)
		}
	})
	inLoop(t, "through Gather", func(t *testing.T, ctx context.Context) {
		var a, b, c *asyncio.Task[struct{}]
		a = asyncio.Go(ctx, func(ctx context.Context) error {
			_, err := asyncio.Gather[struct{}](ctx, c, b)
			return err
		})
		b = asyncio.Go(ctx, a.Wait)
		c = asyncio.Go(ctx, hour)
		settle(ctx)
		a.Cancel(nil)
		expectError(t, asyncio.Timeout(ctx, time.Second, a.Wait), asyncio.ErrCancelled)
		settle(ctx)
		if !a.Cancelled() || !b.Cancelled() || !c.Cancelled() {
			t.Errorf("%v, %v, %v", a, b, c)
		}
	})
	inLoop(t, "of a hundred", func(t *testing.T, ctx context.Context) {
		tasks := make([]*asyncio.Task[struct{}], 100)
		for i := range tasks {
			tasks[i] = asyncio.Go(ctx, func(ctx context.Context) error { return tasks[(i+1)%len(tasks)].Wait(ctx) })
		}
		settle(ctx)
		tasks[40].Cancel(io2)
		expectError(t, asyncio.Timeout(ctx, time.Second, tasks[40].Wait), io2)
		settle(ctx)
		for i, task := range tasks {
			if !task.Cancelled() {
				t.Errorf("%d: %v", i, task)
			}
		}
	})
	t.Run("at the end of the loop", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			circle(ctx)
			return nil
		})
	})
}

func TestCancelLongChain(t *testing.T) {
	n := 100_000
	switch {
	case raceDetector:
		n = 4_000 // it allows some 8,000 goroutines
	case testing.Short():
		n = 10_000
	}
	asynciotest.Run(t, func(ctx context.Context) error {
		f := asyncio.NewFuture[int](ctx)
		wait := f.Wait
		var last *asyncio.Task[struct{}]
		for range n {
			last = asyncio.Go(ctx, wait)
			wait = last.Wait
		}
		settle(ctx)
		last.Cancel(io2)
		expectError(t, last.Wait(ctx), io2)
		if left := len(asyncio.AllTasks(ctx)); left != 1 {
			t.Errorf("%d tasks are left", left)
		}
		return nil
	})
}

func TestSuccessorsUseConstantMemory(t *testing.T) {
	asynciotest.Run(t, func(ctx context.Context) error {
		gone := make(chan struct{})
		n := 0
		end := asyncio.NewFuture[int](ctx)
		var successor func(ctx context.Context) error
		successor = func(ctx context.Context) error {
			if n++; n == 1000 {
				return end.SetResult(n)
			}
			next := asyncio.Go(ctx, successor)
			if n == 10 {
				runtime.AddCleanup(next, func(gone chan struct{}) { close(gone) }, gone)
			}
			return nil
		}
		asyncio.Go(ctx, successor)
		end.Wait(ctx)
		asyncio.Yield(ctx)
		collectUntil(t, gone)
		return nil
	})
}

func TestCurrentAndAllTasks(t *testing.T) {
	inLoop(t, "TASK-099 CurrentTask follows the turns", func(t *testing.T, ctx context.Context) {
		main := asyncio.CurrentTask(ctx)
		var tasks []asyncio.AnyTask
		for range 3 {
			tasks = append(tasks, asyncio.Go(ctx, func(ctx context.Context) error {
				self := asyncio.CurrentTask(ctx)
				for range 3 {
					asyncio.Yield(ctx)
					if asyncio.CurrentTask(ctx) != self || !slices.Contains(tasks, self) {
						t.Errorf("%v is current, want %v", asyncio.CurrentTask(ctx), self)
					}
				}
				return nil
			}))
		}
		main.Loop().CallSoon(func() {
			if task := asyncio.CurrentTask(ctx); task != nil {
				t.Errorf("%v is current in a callback", task)
			}
		})
		settle(ctx)
		if asyncio.CurrentTask(ctx) != main {
			t.Errorf("%v is current", asyncio.CurrentTask(ctx))
		}
	})
	t.Run("TASK-100 without a loop", func(t *testing.T) {
		expectUsage(t, asyncio.ErrOutsideTask, func() { asyncio.CurrentTask(context.Background()) })
		expectUsage(t, asyncio.ErrOutsideTask, func() { asyncio.AllTasks(context.Background()) })
	})
	inLoop(t, "TASK-102 TASK-103 AllTasks in the order of creation, without those that are done", func(t *testing.T, ctx context.Context) {
		want := []asyncio.AnyTask{asyncio.CurrentTask(ctx)}
		for i := range 10 {
			task := asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Duration(10-i)*time.Second) })
			want = append(want, task)
		}
		for len(want) > 1 {
			if got := asyncio.AllTasks(ctx); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			want[len(want)-1].Wait(ctx)
			want = want[:len(want)-1]
		}
	})
}

type valueKey struct{}

func TestTaskValues(t *testing.T) {
	value := func(ctx context.Context) any { return ctx.Value(valueKey{}) }
	inLoop(t, "TASK-108 TASK-109 TASK-112 CTX-001 children inherit values, and keep them to themselves", func(t *testing.T, ctx context.Context) {
		ctx = context.WithValue(ctx, valueKey{}, "parent")
		child := asyncio.Go(ctx, func(ctx context.Context) error {
			for range 3 {
				if v := value(ctx); v != "parent" {
					t.Errorf("the child sees %v", v)
				}
				asyncio.Yield(ctx)
			}
			ctx = context.WithValue(ctx, valueKey{}, "child")
			return asyncio.Yield(ctx)
		})
		ctx2 := context.WithValue(ctx, valueKey{}, "later")
		expectError(t, child.Wait(ctx2), nil)
		if value(ctx) != "parent" || value(ctx2) != "later" {
			t.Errorf("%v, %v", value(ctx), value(ctx2))
		}
	})
	inLoop(t, "TASK-111 a hundred tasks", func(t *testing.T, ctx context.Context) {
		for i := range 100 {
			ctx := context.WithValue(ctx, valueKey{}, i)
			asyncio.Go(ctx, func(ctx context.Context) error {
				for range 3 {
					if v := value(ctx); v != i {
						t.Errorf("task %d sees %v", i, v)
					}
					asyncio.Yield(ctx)
				}
				return nil
			})
		}
		settle(ctx)
	})
	t.Run("Run and scopes pass values on", func(t *testing.T) {
		ctx := context.WithValue(context.Background(), valueKey{}, "x")
		err := asyncio.Run(ctx, func(ctx context.Context) error {
			expect := func(ctx context.Context) error {
				if v := value(ctx); v != "x" {
					t.Errorf("got %v", v)
				}
				return nil
			}
			expect(ctx)
			expect(asyncio.CleanupContext(ctx))
			asyncio.Timeout(ctx, time.Hour, expect)
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Go(expect)
				return expect(ctx)
			})
		})
		expectError(t, err, nil)
	})
	inLoop(t, "neither cancellation nor deadline is inherited", func(t *testing.T, ctx context.Context) {
		var child *asyncio.Task[int]
		asyncio.Timeout(ctx, time.Second, func(ctx context.Context) error {
			child = asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
				if _, ok := ctx.Deadline(); ok {
					t.Error("the deadline is inherited")
				}
				return 7, hour(ctx)
			})
			c, cancel := context.WithCancel(ctx)
			cancel()
			other := asyncio.Go(c, func(ctx context.Context) error { return ctx.Err() })
			expectError(t, other.Wait(ctx), nil)
			return hour(ctx)
		})
		if v, err := child.Await(ctx); v != 7 || err != nil {
			t.Errorf("Await = %v, %v", v, err)
		}
	})
}

func TestEagerStart(t *testing.T) {
	eager := asyncio.EagerStart()
	inLoop(t, "TASK-119 EAGER-003 EAGER-005 EAGER-013 a task that does not suspend is done at once", func(t *testing.T, ctx context.Context) {
		withoutSuspending(t, ctx, func() {
			main := asyncio.CurrentTask(ctx)
			task := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
				self := asyncio.CurrentTask(ctx)
				if self == main || self.Name() != "x" || !slices.Contains(asyncio.AllTasks(ctx), self) {
					t.Errorf("current is %v, all are %v", self, asyncio.AllTasks(ctx))
				}
				return 7, nil
			}, asyncio.WithName("x"), eager)
			if v, err := task.Result(); v != 7 || err != nil || task.Cancel(nil) {
				t.Errorf("Result = %v, %v", v, err)
			}
			if asyncio.CurrentTask(ctx) != main || len(asyncio.AllTasks(ctx)) != 1 {
				t.Errorf("current is %v, all are %v", asyncio.CurrentTask(ctx), asyncio.AllTasks(ctx))
			}
		})
	})
	inLoop(t, "EAGER-004 EAGER-007 EAGER-008 EAGER-009 one that suspends goes on later", func(t *testing.T, ctx context.Context) {
		var self asyncio.AnyTask
		task := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
			self = asyncio.CurrentTask(ctx)
			err := asyncio.Sleep(ctx, time.Second)
			if asyncio.CurrentTask(ctx) != self {
				t.Errorf("current is %v", asyncio.CurrentTask(ctx))
			}
			return 7, err
		}, eager)
		if self != asyncio.AnyTask(task) || task.Done() || !slices.Contains(asyncio.AllTasks(ctx), self) {
			t.Errorf("after its first step: %v", task)
		}
		if v, err := task.Await(ctx); v != 7 || err != nil || len(asyncio.AllTasks(ctx)) != 1 {
			t.Errorf("Await = %v, %v", v, err)
		}
	})
	inLoop(t, "TASK-120 EAGER-012 without the option it waits for the next pass", func(t *testing.T, ctx context.Context) {
		started := false
		asyncio.Go(ctx, func(context.Context) error { started = true; return nil })
		if started {
			t.Error("it has started")
		}
		asyncio.Yield(ctx)
		if !started {
			t.Error("it has not started")
		}
	})
	inLoop(t, "EAGER-006 Cancel after the first step", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, hour, eager)
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
	})
	inLoop(t, "EAGER-002 a future completed in an eager step", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		asyncio.Go(ctx, func(context.Context) error { return f.SetResult(7) }, eager)
		withoutSuspending(t, ctx, func() {
			if v, err := f.Await(ctx); v != 7 || err != nil {
				t.Errorf("Await = %v, %v", v, err)
			}
		})
	})
	inLoop(t, "EAGER-010 values of the eager step stay there", func(t *testing.T, ctx context.Context) {
		asyncio.Go(ctx, func(ctx context.Context) error {
			ctx = context.WithValue(ctx, valueKey{}, "child")
			return ctx.Err()
		}, eager)
		if v := ctx.Value(valueKey{}); v != nil {
			t.Errorf("got %v", v)
		}
	})
	inLoop(t, "EAGER-014 EAGER-015 a tree of eager tasks", func(t *testing.T, ctx context.Context) {
		var tree func(depth int) asyncio.Coroutine[int]
		tree = func(depth int) asyncio.Coroutine[int] {
			return func(ctx context.Context) (int, error) {
				if depth == 0 {
					return 1, nil
				}
				a := asyncio.CreateTask(ctx, tree(depth-1), eager)
				b := asyncio.CreateTask(ctx, tree(depth-1), eager)
				vs, err := asyncio.Gather[int](ctx, a, b)
				return vs[0] + vs[1], err
			}
		}
		withoutSuspending(t, ctx, func() {
			if n, err := asyncio.CreateTask(ctx, tree(6), eager).Result(); n != 64 || err != nil {
				t.Errorf("got %v, %v", n, err)
			}
		})
	})
	inLoop(t, "a deep nest of eager tasks that all suspend", func(t *testing.T, ctx context.Context) {
		n := 0
		var nest func(depth int) func(ctx context.Context) error
		nest = func(depth int) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				if n++; depth == 0 {
					return asyncio.Yield(ctx)
				}
				inner := asyncio.Go(ctx, nest(depth-1), eager)
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
				return inner.Wait(ctx)
			}
		}
		expectError(t, asyncio.Go(ctx, nest(100), eager).Wait(ctx), nil)
		if n != 101 {
			t.Errorf("%d started", n)
		}
	})
	inLoop(t, "panic and Goexit of an eager step stay in the task", func(t *testing.T, ctx context.Context) {
		err := asyncio.Go(ctx, func(context.Context) error { panic("oops") }, eager).Err()
		var p *asyncio.PanicError
		if !errors.As(err, &p) || p.Value != "oops" {
			t.Errorf("error %v", err)
		}
		expectError(t, asyncio.Go(ctx, func(context.Context) error { runtime.Goexit(); return nil }, eager).Err(), asyncio.ErrGoexit)
		expectError(t, asyncio.Yield(ctx), nil)
	})
	t.Run("TASK-121 EAGER-016 on a loop that is not running it has no effect", func(t *testing.T) {
		loop := asyncio.NewEventLoop(asynciotest.WithVirtualClock())
		defer loop.Close()
		task := asyncio.CreateTask(loop.Context(context.Background()), later(0, 7), eager)
		if task.Done() {
			t.Error("it is done")
		}
		expectError(t, loop.RunUntilComplete(task), nil)
	})
	inLoop(t, "in a callback", func(t *testing.T, ctx context.Context) {
		done := false
		asyncio.CurrentTask(ctx).Loop().CallSoon(func() {
			task := asyncio.CreateTask(ctx, func(context.Context) (int, error) { return 7, nil }, eager)
			done = task.Done() && asyncio.CurrentTask(ctx) == nil
		})
		asyncio.Yield(ctx)
		if !done {
			t.Error("it is not done")
		}
	})
}

func TestGoexitOfATask(t *testing.T) {
	inLoop(t, "it is that task's failure", func(t *testing.T, ctx context.Context) {
		deferred := false
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			defer func() { deferred = asyncio.Yield(ctx) == nil }()
			runtime.Goexit()
			return nil
		})
		expectError(t, task.Wait(ctx), asyncio.ErrGoexit)
		if !deferred || task.Cancelled() {
			t.Errorf("%v, its deferred function ran: %v", task, deferred)
		}
	})
}

func TestSleep(t *testing.T) {
	inLoop(t, "TASK-047 it takes its time", func(t *testing.T, ctx context.Context) {
		loop := asyncio.CurrentTask(ctx).Loop()
		for _, d := range []time.Duration{time.Second, time.Nanosecond, 1000 * time.Hour} {
			start := loop.Time()
			expectError(t, asyncio.Sleep(ctx, d/2), nil)
			expectError(t, asyncio.Sleep(ctx, d-d/2), nil)
			if took := loop.Time() - start; took != d {
				t.Errorf("it took %v, want %v", took, d)
			}
		}
	})
	for _, d := range []time.Duration{0, -1, -1 << 63} {
		inLoop(t, fmt.Sprintf("TASK-048 TASK-049 Sleep(%d) is one pass", d), func(t *testing.T, ctx context.Context) {
			p := countPasses(ctx)
			expectError(t, asyncio.Sleep(ctx, d), nil)
			if p.n != 1 {
				t.Errorf("%d passes", p.n)
			}
			expectError(t, asyncio.Yield(ctx), nil)
			if p.stop = true; p.n != 2 {
				t.Errorf("%d passes", p.n)
			}
		})
	}
	t.Run("TASK-049 OBS-018 for ever", func(t *testing.T) {
		err := asyncio.Run(context.Background(), func(ctx context.Context) error {
			main := asyncio.CurrentTask(ctx)
			time.AfterFunc(time.Millisecond, func() {
				main.Loop().CallSoonThreadsafe(func() { main.Cancel(nil) })
			})
			return asyncio.Sleep(ctx, asyncio.Forever)
		})
		expectError(t, err, asyncio.ErrCancelled)
	})
	inLoop(t, "those who sleep equally long wake in their order", func(t *testing.T, ctx context.Context) {
		var j journal
		for i := range 20 {
			j.spawn(ctx, fmt.Sprint(i), hour)
		}
		asyncio.Sleep(ctx, 2*time.Hour)
		j.expect(t, "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19")
	})
}

func TestDebugMode(t *testing.T) {
	var log strings.Builder
	loopWithLog := []asyncio.RunOption{asyncio.WithDebug(true), asyncio.WithLogger(textLogger(&log))}
	inLoop(t, "a task that ignores its cancellation is noted", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			for range 200 {
				hour(ctx)
			}
			return nil
		}, asyncio.WithName("deaf"))
		asyncio.Yield(ctx)
		task.Cancel(nil)
		task.Wait(ctx)
		if n := strings.Count(log.String(), "task=deaf"); n != 1 {
			t.Errorf("%d notes: %s", n, &log)
		}
	}, loopWithLog...)
}
