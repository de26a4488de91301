// Tests of call graphs and stacks: who waits for whom, by which means, and where.

package asyncio_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// links writes a call graph as "a <- (b <- c) d": a is awaited by b, which is by
// c, and by d.
func links(g *asyncio.FutureCallGraph) string {
	s := "future"
	if t, ok := g.Future.(asyncio.AnyTask); ok {
		s = t.Name()
	}
	if len(g.AwaitedBy) == 0 {
		return s
	}
	s += " <-"
	for _, by := range g.AwaitedBy {
		if text := links(by); strings.Contains(text, " ") {
			s += " (" + text + ")"
		} else {
			s += " " + text
		}
	}
	return s
}

func expectLinks(t *testing.T, ctx context.Context, f asyncio.AnyFuture, want string) {
	t.Helper()
	g, err := asyncio.CaptureCallGraph(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	if got := links(g); got != want || g.Future != f {
		t.Errorf("%v: %s, want %s", f, got, want)
	}
}

// functions returns the functions of frames, without the path of the package.
func functions(frames []runtime.Frame) []string {
	var names []string
	for _, f := range frames {
		names = append(names, f.Function[strings.LastIndexByte(f.Function, '/')+1:])
	}
	return names
}

// expectStack checks that the functions of a stack are those wanted, the
// innermost first; of each, what is wanted is a part.
func expectStack(t *testing.T, frames []runtime.Frame, want ...string) {
	t.Helper()
	if got := functions(frames); !slices.EqualFunc(got, want, strings.Contains) {
		t.Errorf("stack %q, want %q", got, want)
	}
	for _, f := range frames {
		if f.File == "" || f.Line == 0 {
			t.Errorf("%s has no place", f.Function)
		}
	}
}

// spawn makes a task with a name, and lets it begin.
func spawn(ctx context.Context, name string, fn func(ctx context.Context) error) *asyncio.Task[struct{}] {
	return asyncio.Go(ctx, fn, asyncio.WithName(name), asyncio.EagerStart())
}

func TestCallGraph(t *testing.T) {
	ending := func(ts ...*asyncio.Task[struct{}]) {
		for _, task := range ts {
			task.Cancel(nil)
		}
	}
	inLoop(t, "GRAPH-001 task groups", func(t *testing.T, ctx context.Context) {
		spawn(ctx, "owner", func(ctx context.Context) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				a := g.Go(func(ctx context.Context) error { return asyncio.Sleep(ctx, sec(5)) }, asyncio.WithName("a"))
				g.Go(func(ctx context.Context) error { return a.Wait(ctx) }, asyncio.WithName("b"))
				g.Go(func(ctx context.Context) error {
					asyncio.Sleep(ctx, sec(1))
					expectLinks(t, ctx, asyncio.CurrentTask(ctx), "c <- (owner <- main)")
					expectLinks(t, ctx, a, "a <- (owner <- main) (b <- (owner <- main))")
					return nil
				}, asyncio.WithName("c"))
				return nil
			})
		}).Wait(ctx)
	})
	inLoop(t, "GRAPH-001 the eager step of a group's task", func(t *testing.T, ctx context.Context) {
		asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(func(ctx context.Context) error {
				expectLinks(t, ctx, asyncio.CurrentTask(ctx), "eager <- main")
				return nil
			}, asyncio.WithName("eager"), asyncio.EagerStart())
			return nil
		})
	})
	inLoop(t, "GRAPH-002 Gather", func(t *testing.T, ctx context.Context) {
		a := spawn(ctx, "a", hour)
		b := spawn(ctx, "b", func(ctx context.Context) error {
			_, err := asyncio.Gather[struct{}](ctx, a, a)
			return err
		})
		expectLinks(t, ctx, a, "a <- b")
		ending(a, b)
	})
	inLoop(t, "GRAPH-003 Shield", func(t *testing.T, ctx context.Context) {
		a := spawn(ctx, "a", hour)
		b := spawn(ctx, "b", func(ctx context.Context) error {
			_, err := asyncio.Shield(ctx, a)
			return err
		})
		expectLinks(t, ctx, a, "a <- b")
		b.Cancel(nil)
		b.Wait(ctx)
		expectLinks(t, ctx, a, "a")
		ending(a)
	})
	inLoop(t, "GRAPH-004 timeouts", func(t *testing.T, ctx context.Context) {
		a := spawn(ctx, "a", hour)
		b := spawn(ctx, "b", func(ctx context.Context) error { return asyncio.Timeout(ctx, sec(9), a.Wait) })
		c := spawn(ctx, "c", func(ctx context.Context) error {
			_, err := asyncio.WaitFor(ctx, sec(9), b)
			return err
		})
		expectLinks(t, ctx, a, "a <- (b <- c)")
		ending(a, b, c)
	})
	inLoop(t, "GRAPH-005 Wait", func(t *testing.T, ctx context.Context) {
		a, b := spawn(ctx, "a", hour), spawn(ctx, "b", hour)
		c := spawn(ctx, "c", func(ctx context.Context) error {
			asyncio.Wait(ctx, []asyncio.AnyFuture{a, b}, asyncio.WaitOptions{Timeout: sec(2)})
			return hour(ctx)
		})
		expectLinks(t, ctx, a, "a <- c")
		expectLinks(t, ctx, b, "b <- c")
		asyncio.Sleep(ctx, sec(3))
		expectLinks(t, ctx, a, "a")
		ending(a, b, c)
	})
	inLoop(t, "GRAPH-006 AsCompleted", func(t *testing.T, ctx context.Context) {
		a := spawn(ctx, "a", hour)
		b := spawn(ctx, "b", func(ctx context.Context) error { return asyncio.Sleep(ctx, sec(2)) })
		c := spawn(ctx, "c", func(ctx context.Context) error {
			for range asyncio.AsCompleted[struct{}](ctx, a, b) {
				return hour(ctx)
			}
			return nil
		})
		expectLinks(t, ctx, a, "a <- c")
		expectLinks(t, ctx, b, "b <- c")
		asyncio.Sleep(ctx, sec(3))
		expectLinks(t, ctx, b, "b")
		ending(a, c)
	})
	inLoop(t, "GRAPH-007 tasks", func(t *testing.T, ctx context.Context) {
		a := spawn(ctx, "a", hour)
		b := spawn(ctx, "b", a.Wait)
		c := spawn(ctx, "c", b.Wait)
		d := spawn(ctx, "d", b.Wait)
		expectLinks(t, ctx, a, "a <- (b <- c d)")
		expectLinks(t, ctx, d, "d")
		ending(a, b, c, d)
	})
	inLoop(t, "GRAPH-007 a circle", func(t *testing.T, ctx context.Context) {
		var b *asyncio.Task[struct{}]
		a := asyncio.Go(ctx, func(ctx context.Context) error { return b.Wait(ctx) }, asyncio.WithName("a"))
		b = spawn(ctx, "b", a.Wait)
		asyncio.Yield(ctx)
		expectLinks(t, ctx, a, "a <- (b <- a)")
		ending(a)
	})
	inLoop(t, "GRAPH-008 futures", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		f.AddDoneCallback(func(asyncio.AnyFuture) {})
		a, b := spawn(ctx, "a", f.Wait), spawn(ctx, "b", f.Wait)
		expectLinks(t, ctx, f, "future <- a b")
		g, err := asyncio.CaptureCallGraph(ctx, f)
		expectError(t, err, nil)
		if len(g.CallStack) > 0 {
			t.Errorf("a future has the stack %v", g.CallStack)
		}
		f.SetResult(1)
		expectLinks(t, ctx, f, "future")
		a.Wait(ctx)
		b.Wait(ctx)
	})
	inLoop(t, "GRAPH-009 WaitFor without any time", func(t *testing.T, ctx context.Context) {
		a := asyncio.NewFuture[int](ctx)
		slow := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
			asyncio.Sleep(ctx, sec(5))
			return a.Await(asyncio.CleanupContext(ctx))
		}, asyncio.WithName("slow"), asyncio.EagerStart())
		b := spawn(ctx, "b", func(ctx context.Context) error {
			_, err := asyncio.WaitFor(ctx, 0, slow)
			return err
		})
		asyncio.Sleep(ctx, sec(1))
		expectLinks(t, ctx, slow, "slow <- b")
		a.SetResult(1)
		expectError(t, b.Wait(ctx), nil)
	})
	inLoop(t, "GRAPH-010 a child that outlives Gather", func(t *testing.T, ctx context.Context) {
		a := spawn(ctx, "a", hour)
		b := spawn(ctx, "b", func(ctx context.Context) error {
			asyncio.Gather[struct{}](ctx, a, spawn(ctx, "failing", func(ctx context.Context) error {
				asyncio.Sleep(ctx, sec(1))
				return io2
			}))
			return hour(ctx)
		})
		expectLinks(t, ctx, a, "a <- b")
		asyncio.Sleep(ctx, sec(2))
		expectLinks(t, ctx, a, "a")
		ending(a, b)
	})
	inLoop(t, "GRAPH-011 AsCompleted that has timed out", func(t *testing.T, ctx context.Context) {
		a := spawn(ctx, "a", hour)
		b := spawn(ctx, "b", func(ctx context.Context) error {
			for _, err := range asyncio.AsCompletedWithin[struct{}](ctx, sec(1), a) {
				expectError(t, err, asyncio.ErrTimeout)
			}
			return hour(ctx)
		})
		expectLinks(t, ctx, a, "a <- b")
		asyncio.Sleep(ctx, sec(2))
		expectLinks(t, ctx, a, "a")
		ending(a, b)
	})
	inLoop(t, "GRAPH-012 tasks that are done", func(t *testing.T, ctx context.Context) {
		finished := spawn(ctx, "finished", func(context.Context) error { return nil })
		failed := spawn(ctx, "failed", func(context.Context) error { return io2 })
		cancelled := spawn(ctx, "cancelled", hour)
		cancelled.Cancel(nil)
		cancelled.Wait(ctx)
		for _, task := range []*asyncio.Task[struct{}]{finished, failed, cancelled} {
			expectLinks(t, ctx, task, task.Name())
			expectStack(t, task.Stack(0))
			var b strings.Builder
			expectError(t, task.PrintStack(&b, 0), nil)
			if s := b.String(); !strings.HasPrefix(s, "No stack for <Task "+task.Name()+" ") {
				t.Errorf("%q", s)
			}
			s, err := asyncio.FormatCallGraph(ctx, task)
			if want := "* " + task.String() + "\n"; s != want || err != nil {
				t.Errorf("%q, %v; want %q", s, err, want)
			}
		}
		failed.Err()
	})
	debug := asyncio.WithDebug(true)
	inLoop(t, "GRAPH-013 stacks of suspended tasks", func(t *testing.T, ctx context.Context) {
		ordinary := func(then func()) { then() }
		task := spawn(ctx, "task", func(ctx context.Context) (err error) {
			ordinary(func() { err = hour(ctx) })
			return err
		})
		waiting := spawn(ctx, "waiting", func(ctx context.Context) error { return asyncio.Timeout(ctx, sec(9), task.Wait) })
		g, err := asyncio.CaptureCallGraph(ctx, task)
		expectError(t, err, nil)
		expectStack(t, stackOf(g), "asyncio.Sleep", "asyncio_test.hour", "TestCallGraph", "TestCallGraph", "TestCallGraph")
		expectStack(t, stackOf(g.AwaitedBy[0]), "Wait", "asyncio.Timeout", "TestCallGraph")
		for _, c := range []struct {
			limit int
			want  []string
		}{
			{0, nil}, {1, []string{"asyncio.Sleep"}}, {-1, []string{"TestCallGraph"}},
			{2, []string{"asyncio.Sleep", "asyncio_test.hour"}},
			{100, functions(task.Stack(0))}, {-100, functions(task.Stack(0))}, {math.MinInt, functions(task.Stack(0))},
		} {
			g, err := asyncio.CaptureCallGraph(ctx, task, asyncio.Limit(c.limit))
			expectError(t, err, nil)
			expectStack(t, stackOf(g), c.want...)
		}
		ending(task, waiting)
	}, debug)
	inLoop(t, "the text", func(t *testing.T, ctx context.Context) {
		task := spawn(ctx, "task", hour)
		waiting := spawn(ctx, "waiting", task.Wait)
		s, err := asyncio.FormatCallGraph(ctx, task)
		lines := strings.Split(s, "\n")
		want := []string{"* <Task task pending", "  + Call stack:", "  |   github.com/goasyncio/asyncio.Sleep /", "  |   github.com/goasyncio/asyncio_test.hour /",
			"  + Awaited by:", "    * <Task waiting pending", "      + Call stack:", "      |   github.com/goasyncio/asyncio", ""}
		if !slices.EqualFunc(lines, want, strings.HasPrefix) || err != nil {
			t.Errorf("%q, %v", lines, err)
		}
		var b bytes.Buffer
		expectError(t, asyncio.PrintCallGraph(ctx, &b, task), nil)
		if b.String() != s {
			t.Errorf("printed %q, formatted %q", &b, s)
		}
		ending(task, waiting)
	}, debug)
	inLoop(t, "the running task", func(t *testing.T, ctx context.Context) {
		outer := spawn(ctx, "outer", func(ctx context.Context) error {
			asyncio.Yield(ctx)
			inner := spawn(ctx, "inner", func(ctx context.Context) error {
				g, err := captureHere(ctx)
				expectError(t, err, nil)
				expectStack(t, stackOf(g), "captureHere", "TestCallGraph")
				g, err = captureHere(ctx, asyncio.Depth(1), asyncio.Limit(1))
				expectError(t, err, nil)
				expectStack(t, stackOf(g), "TestCallGraph")
				g, err = captureHere(ctx, asyncio.Depth(100))
				expectError(t, err, nil)
				expectStack(t, stackOf(g))
				s, err := asyncio.FormatCallGraph(ctx, nil)
				if !strings.Contains(s, "TestCallGraph") || strings.Contains(s, "FormatCallGraph") {
					t.Errorf("%q, %v", s, err)
				}
				for _, task := range asyncio.AllTasks(ctx) {
					expectStack(t, task.Stack(0), map[string][]string{"main": {"Wait", "TestCallGraph", "inLoop"}, "outer": {"TestCallGraph"}, "inner": {"TestCallGraph"}}[task.Name()]...)
				}
				return nil
			})
			return inner.Wait(ctx)
		})
		expectError(t, outer.Wait(ctx), nil)
	}, asyncio.WithDebug(false))
	inLoop(t, "misuse", func(t *testing.T, ctx context.Context) {
		_, err := asyncio.CaptureCallGraph(context.Background(), nil)
		mistake(t, err, asyncio.ErrOutsideTask)
		_, err = asyncio.FormatCallGraph(ctx, new(asyncio.Future[int]))
		mistake(t, err, asyncio.ErrOutsideTask)
		mistake(t, asyncio.PrintCallGraph(context.Background(), io.Discard, nil), asyncio.ErrOutsideTask)
		self := asyncio.CurrentTask(ctx)
		onAnotherGoroutine(func() {
			_, err := asyncio.CaptureCallGraph(ctx, self)
			mistake(t, err, asyncio.ErrWrongGoroutine)
			_, err = asyncio.CaptureCallGraph(ctx, nil)
			mistake(t, err, asyncio.ErrWrongGoroutine)
		})
		self.Loop().CallSoon(func() {
			_, err := asyncio.CaptureCallGraph(ctx, nil)
			mistake(t, err, asyncio.ErrOutsideTask)
			expectLinks(t, ctx, self, "main")
		})
		asyncio.Yield(ctx)
		expectError(t, asyncio.PrintCallGraph(ctx, deafWriter{}, nil), io2)
		defer func() {
			if err, ok := recover().(error); !ok || !errors.Is(err, asyncio.ErrBadArgument) {
				t.Errorf("Depth(-1): recovered %v", err)
			}
		}()
		asyncio.Depth(-1)
	})
}

type deafWriter struct{}

func (deafWriter) Write([]byte) (int, error) { return 0, io2 }

func captureHere(ctx context.Context, opts ...asyncio.GraphOption) (*asyncio.FutureCallGraph, error) {
	g, err := asyncio.CaptureCallGraph(ctx, nil, opts...)
	return g, err
}

func stackOf(g *asyncio.FutureCallGraph) []runtime.Frame {
	var frames []runtime.Frame
	for _, e := range g.CallStack {
		frames = append(frames, e.Frame)
	}
	return frames
}

func TestTaskStack(t *testing.T) {
	inLoop(t, "TASK-104 of the running task", func(t *testing.T, ctx context.Context) {
		var task *asyncio.Task[struct{}]
		inner := func() {
			expectStack(t, task.Stack(0), "TestTaskStack", "TestTaskStack")
			expectStack(t, task.Stack(1), "TestTaskStack")
			expectStack(t, asyncio.CurrentTask(task.Context()).Stack(-1), "TestTaskStack", "TestTaskStack")
			var b strings.Builder
			expectError(t, task.PrintStack(&b, 0), nil)
			if s := b.String(); !strings.HasPrefix(s, "Stack for <Task stacked pending") || strings.Count(s, "graph_test.go:") != 2 {
				t.Errorf("%q", s)
			}
			expectError(t, task.PrintStack(deafWriter{}, 0), io2)
		}
		task = asyncio.Go(ctx, func(ctx context.Context) error { inner(); return nil }, asyncio.WithName("stacked"))
		expectStack(t, task.Stack(0), "TestTaskStack") // of a task that has not begun
		task.Wait(ctx)
	})
	inLoop(t, "TASK-104 of a coroutine with a value", func(t *testing.T, ctx context.Context) {
		var task *asyncio.Task[int]
		task = asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
			expectStack(t, task.Stack(0), "TestTaskStack")
			return 1, asyncio.Timeout(ctx, sec(1), func(context.Context) error {
				expectStack(t, task.Stack(0), "TestTaskStack", "asyncio.Timeout", "TestTaskStack")
				return nil
			})
		})
		task.Wait(ctx)
	})
	inLoop(t, "of the running task, deep", func(t *testing.T, ctx context.Context) {
		var deep func(n int) int
		deep = func(n int) int {
			if n == 0 {
				return len(asyncio.CurrentTask(ctx).Stack(0))
			}
			return deep(n-1) + 0
		}
		if n := deep(500); n < 500 {
			t.Errorf("%d frames", n)
		}
	})
	suspended := func(t *testing.T, ctx context.Context) {
		a := spawn(ctx, "a", func(ctx context.Context) error {
			asyncio.Sleep(ctx, sec(1))
			return asyncio.Yield(ctx)
		})
		expectStack(t, a.Stack(0), "asyncio.Sleep", "TestTaskStack")
		expectStack(t, a.Stack(1), "asyncio.Sleep")
		a.Loop().CallSoon(func() { expectStack(t, a.Stack(0), "asyncio.Sleep", "TestTaskStack") })
		asyncio.Sleep(ctx, sec(2))
		expectStack(t, a.Stack(0))
	}
	inLoop(t, "of a suspended task", suspended, asyncio.WithDebug(false))
	inLoop(t, "of a suspended task, in debug mode", suspended, asyncio.WithDebug(true))
	inLoop(t, "of a suspended task, deep", func(t *testing.T, ctx context.Context) {
		var deep func(ctx context.Context, n int) error
		deep = func(ctx context.Context, n int) error {
			if n == 0 {
				return hour(ctx)
			}
			return deep(ctx, n-1)
		}
		a := spawn(ctx, "a", func(ctx context.Context) error { return deep(ctx, 500) })
		if n := len(a.Stack(0)); n < 500 {
			t.Errorf("%d frames", n)
		}
	})
	inLoop(t, "of a suspended task whose deferred function waits", func(t *testing.T, ctx context.Context) {
		a := spawn(ctx, "a", func(ctx context.Context) error {
			defer hour(ctx)
			runtime.Goexit()
			return nil
		})
		expectStack(t, a.Stack(0), "asyncio.Sleep", "asyncio_test.hour", "runtime.Goexit", "TestTaskStack")
		expectError(t, a.Wait(ctx), asyncio.ErrGoexit)
	})
	t.Run("of a suspended task, while the loop is not running", func(t *testing.T) {
		loop := asyncio.NewEventLoop(asynciotest.WithVirtualClock())
		defer loop.Close()
		a := asyncio.Go(loop.Context(context.Background()), hour)
		expectStack(t, a.Stack(0), "asyncio_test.hour")
		expectError(t, loop.RunOnce(0), nil)
		expectStack(t, a.Stack(0), "asyncio.Sleep", "asyncio_test.hour")
		onAnotherGoroutine(func() { expectStack(t, a.Stack(0), "asyncio_test.hour") })
		expectError(t, loop.RunOnce(-1), nil)
		expectError(t, loop.RunOnce(0), nil)
		expectError(t, a.Err(), nil)
	})
	inLoop(t, "a task that has handed over", func(t *testing.T, ctx context.Context) {
		main := asyncio.CurrentTask(ctx)
		asyncio.Go(ctx, func(ctx context.Context) error {
			for range 2 { // to look changes nothing
				expectStack(t, main.Stack(0), "Yield", "TestTaskStack", "inLoop")
			}
			return nil
		})
		expectError(t, asyncio.Yield(ctx), nil)
	}, asyncio.WithDebug(false))
	inLoop(t, "of a panic", func(t *testing.T, ctx context.Context) {
		task := asyncio.CreateTask(ctx, func(context.Context) (int, error) { return blowUp() })
		task.Wait(ctx)
		expectStack(t, task.Stack(0))
		var b strings.Builder
		expectError(t, task.PrintStack(&b, 0), nil)
		if s := b.String(); !strings.HasPrefix(s, "Panic of task Task-") || !strings.Contains(s, "oops") || !strings.Contains(s, "blowUp") {
			t.Errorf("%q", s)
		}
	})
}
