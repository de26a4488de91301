// Tests of task factories, and of what debug mode changes and leaves alone.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// withFactory runs a test on a loop that has a task factory.
func withFactory(t *testing.T, name string, f asyncio.TaskFactory, test func(t *testing.T, ctx context.Context)) {
	inLoop(t, name, func(t *testing.T, ctx context.Context) {
		asyncio.CurrentTask(ctx).Loop().SetTaskFactory(f)
		test(t, ctx)
	})
}

func TestTaskFactory(t *testing.T) {
	inLoop(t, "TASK-012 it is called for each task, with its options", func(t *testing.T, ctx context.Context) {
		loop := asyncio.CurrentTask(ctx).Loop()
		if loop.TaskFactory() != nil {
			t.Error("there is a factory from the beginning")
		}
		var seen []asyncio.TaskSpec
		loop.SetTaskFactory(func(l *asyncio.EventLoop, spec *asyncio.TaskSpec) {
			if l != loop {
				t.Errorf("called with %v", l)
			}
			seen = append(seen, *spec)
			spec.Name = "made " + spec.Name
		})
		task := asyncio.CreateTask(ctx, later(0, 1), asyncio.WithName("a"))
		if task.Name() != "made a" {
			t.Errorf("its name is %q", task.Name())
		}
		asyncio.Go(ctx, hour, asyncio.EagerStart()).Cancel(nil)
		expectError(t, asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(func(context.Context) error { return nil }, asyncio.WithName("b"))
			return nil
		}), nil)
		asyncio.Gather(ctx, asyncio.Awaitable[int](later(0, 1)))
		asyncio.Shield(ctx, later(0, 1))
		asyncio.RunCoroutineThreadsafe(ctx, loop, later(0, 1), asyncio.WithName("c"))
		asyncio.Sleep(ctx, 1)
		want := []asyncio.TaskSpec{{Name: "a"}, {Eager: true}, {Name: "b"}, {}, {}, {Name: "c"}}
		if !slices.Equal(seen, want) {
			t.Errorf("called with %+v, want %+v", seen, want)
		}
		loop.SetTaskFactory(nil)
		if task := asyncio.CreateTask(ctx, later(0, 1), asyncio.WithName("d")); task.Name() != "d" || loop.TaskFactory() != nil {
			t.Errorf("without a factory the name is %q", task.Name())
		}
	})
	t.Run("TASK-012 it is called for the first task of a loop", func(t *testing.T) {
		loop := asyncio.NewEventLoop(asynciotest.WithVirtualClock())
		defer loop.Close()
		loop.SetTaskFactory(func(_ *asyncio.EventLoop, spec *asyncio.TaskSpec) { spec.Name = "first" })
		task := asyncio.CreateTask(loop.Context(context.Background()), later(0, 7))
		if task.Name() != "first" {
			t.Errorf("its name is %q", task.Name())
		}
		expectError(t, loop.RunUntilComplete(task), nil)
	})
	withFactory(t, "TASK-117 a panic of the factory leaves no task", func(*asyncio.EventLoop, *asyncio.TaskSpec) { panic(io2) }, func(t *testing.T, ctx context.Context) {
		func() {
			defer func() {
				if p := recover(); p != io2 {
					t.Errorf("recovered %v", p)
				}
			}()
			asyncio.CreateTask(ctx, later(0, 1))
		}()
		if n := len(asyncio.AllTasks(ctx)); n != 1 {
			t.Errorf("%d tasks", n)
		}
	})
	t.Run("TASK-117 a panic of the factory reaches the thread and the exception handler", func(t *testing.T) {
		var r reports
		asynciotest.Run(t, func(ctx context.Context) error {
			loop := asyncio.CurrentTask(ctx).Loop()
			loop.SetTaskFactory(func(*asyncio.EventLoop, *asyncio.TaskSpec) { panic(io2) })
			f := asyncio.RunCoroutineThreadsafe(ctx, loop, later(0, 1))
			asyncio.Sleep(ctx, 1)
			_, err := f.Wait(ctx)
			var p *asyncio.PanicError
			if !errors.As(err, &p) || !errors.Is(err, io2) {
				t.Errorf("error %v", err)
			}
			r.expect(t, io2)
			return nil
		}, r.handler())
	})
	t.Run("TASK-117 a panic of the factory ends the connection that wanted a task, and no other", func(t *testing.T) {
		var r reports
		main := func(ctx context.Context) error {
			served := 0
			srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(_ context.Context, _ *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				served++
				_, err := w.WriteString("hello")
				return err
			}, nil)
			if err != nil {
				return err
			}
			var conns []net.Conn
			for range 3 { // all of them wait to be accepted in one go
				c, err := net.Dial("tcp", srv.Addr().String())
				if err != nil {
					return err
				}
				defer c.Close()
				conns = append(conns, c)
			}
			first := true
			asyncio.RunningLoop(ctx).SetTaskFactory(func(*asyncio.EventLoop, *asyncio.TaskSpec) {
				if first {
					first = false
					panic(io2)
				}
			})
			comesTrue(t, ctx, "the others are served", func() bool { return served == 2 && strings.Contains(srv.String(), "clients=0") })
			asyncio.RunningLoop(ctx).SetTaskFactory(nil)
			for i, c := range conns {
				c.SetDeadline(time.Now().Add(10 * time.Second))
				if p, _ := io.ReadAll(c); (string(p) == "hello") != (i > 0) {
					t.Errorf("connection %d reads %q", i, p)
				}
			}
			return srv.Shutdown(ctx)
		}
		expectError(t, asyncio.Run(context.Background(), main, r.handler()), nil)
		r.expect(t, io2)
	})
	t.Run("on a closed loop", func(t *testing.T) {
		loop := asyncio.NewEventLoop()
		loop.Close()
		defer func() {
			if err, ok := recover().(error); !ok || !errors.Is(err, asyncio.ErrLoopClosed) {
				t.Errorf("recovered %v", err)
			}
		}()
		loop.SetTaskFactory(nil)
	})
}

func TestEagerTaskFactory(t *testing.T) {
	atOnce := func(task *asyncio.Task[int]) bool {
		v, err := task.Result()
		return v == 7 && err == nil
	}
	seven := func(context.Context) (int, error) { return 7, nil }
	withFactory(t, "EAGER-001 it is installed and used", asyncio.EagerTaskFactory, func(t *testing.T, ctx context.Context) {
		if asyncio.CurrentTask(ctx).Loop().TaskFactory() == nil {
			t.Error("it is not installed")
		}
		if task := asyncio.CreateTask(ctx, seven); !atOnce(task) {
			t.Errorf("%v", task)
		}
		count := 0
		expectError(t, asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(func(context.Context) error { count++; return nil })
			if count != 1 {
				t.Error("a task of a group has not started")
			}
			return nil
		}), nil)
	})
	withFactory(t, "EAGER-012 LazyStart wins over the factory", asyncio.EagerTaskFactory, func(t *testing.T, ctx context.Context) {
		task := asyncio.CreateTask(ctx, seven, asyncio.LazyStart())
		if task.Done() {
			t.Error("it has started")
		}
		task.Wait(ctx)
		if !atOnce(task) {
			t.Errorf("%v", task)
		}
		if task := asyncio.CreateTask(ctx, seven, asyncio.EagerStart(), asyncio.LazyStart()); task.Done() {
			t.Error("LazyStart does not win over an EagerStart before it")
		}
		if task := asyncio.CreateTask(ctx, seven, asyncio.LazyStart(), asyncio.EagerStart()); !task.Done() {
			t.Error("LazyStart wins over an EagerStart after it")
		}
	})
	inLoop(t, "EAGER-016 EagerStart and LazyStart without a factory", func(t *testing.T, ctx context.Context) {
		if task := asyncio.CreateTask(ctx, seven, asyncio.EagerStart()); !atOnce(task) {
			t.Errorf("%v", task)
		}
		if task := asyncio.CreateTask(ctx, seven, asyncio.LazyStart()); task.Done() {
			t.Errorf("%v", task)
		}
	})
	withFactory(t, "EAGER-016 a factory can make a task lazy", func(_ *asyncio.EventLoop, spec *asyncio.TaskSpec) { spec.Eager = false }, func(t *testing.T, ctx context.Context) {
		if task := asyncio.CreateTask(ctx, seven, asyncio.EagerStart()); task.Done() {
			t.Errorf("%v", task)
		}
	})
}

func TestWith(t *testing.T) {
	type guard interface {
		With(ctx context.Context, fn func(ctx context.Context) error) error
		Locked() bool
	}
	for _, g := range []guard{
		new(asyncio.Lock), new(asyncio.Condition), asyncio.NewSemaphore(1), asyncio.NewBoundedSemaphore(1),
	} {
		inLoop(t, fmt.Sprintf("P492-001 %T", g), func(t *testing.T, ctx context.Context) {
			err := g.With(ctx, func(ctx context.Context) error {
				if !g.Locked() {
					t.Error("it is not locked inside")
				}
				return io2
			})
			expectError(t, err, io2)
			if g.Locked() {
				t.Error("it is locked afterwards")
			}
		})
	}
}

func TestDebugChangesNoResults(t *testing.T) {
	// program returns what a small program does.
	program := func(opts ...asyncio.RunOption) (trace []string) {
		asynciotest.Run(t, func(ctx context.Context) error {
			note := func(format string, args ...any) {
				trace = append(trace, fmt.Sprintf(format, args...))
			}
			err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				for i := range 3 {
					g.Go(func(ctx context.Context) error {
						for n := range 3 {
							note("%d.%d", i, n)
							if err := asyncio.Sleep(ctx, time.Duration(i)); err != nil {
								note("%d: %v", i, err)
								return err
							}
						}
						if i == 1 {
							return io2
						}
						return nil
					})
				}
				return nil
			})
			note("%v", err)
			_, err = asyncio.WaitFor(ctx, sec(1), later(sec(2), 1))
			note("%v", err)
			return nil
		}, opts...)
		return trace
	}
	t.Run("P492-003 debug mode changes no results", func(t *testing.T) {
		plain, debug := program(asyncio.WithDebug(false)), program(asyncio.WithDebug(true))
		if !slices.Equal(plain, debug) || len(plain) < 10 {
			t.Errorf("without debug mode %q, with it %q", plain, debug)
		}
	})
	t.Run("P492-004 debug mode is over with its loop, or when it is switched off", func(t *testing.T) {
		program(asyncio.WithDebug(true))
		asynciotest.Run(t, func(ctx context.Context) error {
			loop := asyncio.CurrentTask(ctx).Loop()
			if loop.Debug() {
				t.Error("another loop is in debug mode")
			}
			created := ""
			loop.SetExceptionHandler(func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) { created = ec.CreatedAt })
			defer loop.SetExceptionHandler(nil)
			for _, on := range []bool{true, false} {
				loop.SetDebug(on)
				loop.CallSoon(func() { panic(io2) })
				asyncio.Yield(ctx)
				if known := created != ""; known != on {
					t.Errorf("debug mode %v: the callback was created at %q", on, created)
				}
			}
			return nil
		}, asyncio.WithDebug(false))
	})
}
