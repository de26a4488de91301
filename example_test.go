// Examples of the core: each exported type in use.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func ExampleRun() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		say := func(ctx context.Context, what string, after time.Duration) error {
			if err := asyncio.Sleep(ctx, after); err != nil {
				return err
			}
			fmt.Println(what)
			return nil
		}
		hello := asyncio.Go(ctx, func(ctx context.Context) error { return say(ctx, "hello", time.Millisecond) })
		world := asyncio.Go(ctx, func(ctx context.Context) error { return say(ctx, "world", time.Millisecond) })
		return errors.Join(hello.Wait(ctx), world.Wait(ctx)) // both sleep at once
	})
	fmt.Println(err)
	// Output:
	// hello
	// world
	// <nil>
}

func ExampleRunValue() {
	n, err := asyncio.RunValue(context.Background(), func(ctx context.Context) (int, error) {
		return 42, asyncio.Yield(ctx)
	})
	fmt.Println(n, err)
	// Output: 42 <nil>
}

// Several mains on one loop: what the first leaves behind goes on in the second.
func ExampleRunner() {
	runner := asyncio.NewRunner()
	defer runner.Close()

	var background *asyncio.Task[string]
	runner.Run(context.Background(), func(ctx context.Context) error {
		background = asyncio.CreateTask(ctx, func(ctx context.Context) (string, error) {
			return "done", asyncio.Sleep(ctx, time.Millisecond)
		})
		return nil
	})
	s, err := asyncio.RunIn(context.Background(), runner, background.Await)
	fmt.Println(s, err)
	// Output: done <nil>
}

// A coroutine is a function. Calling it is awaiting it; as a task it runs beside
// its creator.
func ExampleCoroutine() {
	var double asyncio.Coroutine[int] = func(ctx context.Context) (int, error) {
		return 2, asyncio.Sleep(ctx, time.Millisecond)
	}
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		a, _ := double(ctx)
		b, _ := asyncio.CreateTask(ctx, double).Await(ctx)
		fmt.Println(a + b)
		return nil
	})
	// Output: 4
}

func ExampleTask() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		task := asyncio.CreateTask(ctx, func(ctx context.Context) (string, error) {
			return "value", asyncio.Sleep(ctx, time.Millisecond)
		}, asyncio.WithName("fetch"))
		fmt.Println(task.Name(), task.Done())

		v, err := task.Await(ctx)
		fmt.Println(v, err)
		fmt.Println(task)
		return nil
	})
	// Output:
	// fetch false
	// value <nil>
	// <Task fetch finished result=value>
}

// Cancelling a task interrupts its await; the task may clean up, and says why it ended.
func ExampleTask_Cancel() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			err := asyncio.Sleep(ctx, time.Hour)
			if errors.Is(err, asyncio.ErrCancelled) {
				fmt.Println("cleaning up:", context.Cause(ctx))
				asyncio.Sleep(asyncio.CleanupContext(ctx), time.Millisecond)
			}
			return err
		})
		asyncio.Yield(ctx) // it starts

		task.Cancel(errors.New("no longer needed"))
		err := task.Wait(ctx)
		fmt.Println(err)
		fmt.Println(errors.Is(err, context.Canceled), task.Cancelled())
		return nil
	})
	// Output:
	// cleaning up: no longer needed
	// asyncio: cancelled: no longer needed
	// true true
}

// A task option: the first step of an eager task runs inside the call that makes it.
func ExampleEagerStart() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		cached := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) { return 7, nil }, asyncio.EagerStart())
		fmt.Println(cached.Done())
		return nil
	})
	// Output: true
}

// A future is a value that somebody else provides.
func ExampleFuture() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		answer := asyncio.NewFuture[int](ctx)
		answer.AddDoneCallback(func(f asyncio.AnyFuture) { fmt.Println("done:", f) })
		asyncio.Go(ctx, func(ctx context.Context) error { return answer.SetResult(42) })

		v, err := answer.Await(ctx)
		fmt.Println(v, err)
		fmt.Println(answer.SetResult(43))
		return nil
	})
	// Output:
	// done: <Future finished result=42>
	// 42 <nil>
	// asyncio: invalid state: SetResult of a future that is done
}

// The tasks of a group end together, and one failure cancels the others.
func ExampleTaskGroup() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(func(ctx context.Context) error {
				err := asyncio.Sleep(ctx, time.Hour)
				fmt.Println("the other one:", errors.Is(err, asyncio.ErrCancelled))
				return err
			})
			g.Go(func(ctx context.Context) error { return errors.New("broken") })
			return nil
		})
	})
	fmt.Println(err)
	// Output:
	// the other one: true
	// task group: broken
}

// Tasks of a group that have values, two at a time.
func ExampleGroupTask() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		var squares []*asyncio.Task[int]
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for n := range 4 {
				squares = append(squares, asyncio.GroupTask(g, func(ctx context.Context) (int, error) {
					return n * n, asyncio.Sleep(ctx, time.Millisecond)
				}))
			}
			return nil
		}, asyncio.WithLimit(2))
		for _, task := range squares {
			n, _ := task.Result()
			fmt.Print(n, " ")
		}
		fmt.Println(err)
		return nil
	})
	// Output: 0 1 4 9 <nil>
}

// The failures of a group are members of its error.
func ExampleGroupError() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(func(context.Context) error { return os.ErrNotExist })
			g.Go(func(context.Context) error { return os.ErrPermission })
			return nil
		})
	})
	fmt.Println(errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission))
	fmt.Println(err)
	// Output:
	// true true
	// task group: 2 errors:
	// 1. file does not exist
	// 2. permission denied
}

func ExampleGather() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		square := func(n int) asyncio.Coroutine[int] {
			return func(ctx context.Context) (int, error) {
				return n * n, asyncio.Sleep(ctx, time.Duration(5-n)*time.Millisecond)
			}
		}
		squares, err := asyncio.Gather[int](ctx, square(1), square(2), square(3))
		fmt.Println(squares, err)
		return nil
	})
	// Output: [1 4 9] <nil>
}

// A result is a value or an error: with GatherSettled errors keep their places.
func ExampleResult() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		parse := func(s string) asyncio.Coroutine[string] {
			return func(context.Context) (string, error) {
				if s == "" {
					return "", errors.New("empty")
				}
				return strings.ToUpper(s), nil
			}
		}
		results, err := asyncio.GatherSettled[string](ctx, parse("a"), parse(""), parse("c"))
		for _, r := range results {
			fmt.Printf("%q %v\n", r.Value, r.Err)
		}
		return err
	})
	// Output:
	// "A" <nil>
	// "" empty
	// "C" <nil>
}

func ExampleWait() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		fast := asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Millisecond) })
		slow := asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) })
		done, pending, err := asyncio.Wait(ctx, []asyncio.AnyFuture{slow, fast}, asyncio.WaitOptions{ReturnWhen: asyncio.FirstCompleted})
		fmt.Println(done[0] == asyncio.AnyFuture(fast), pending[0] == asyncio.AnyFuture(slow), err)
		return nil
	})
	// Output: true true <nil>
}

func ExampleAsCompleted() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		after := func(d time.Duration) asyncio.Coroutine[time.Duration] {
			return func(ctx context.Context) (time.Duration, error) { return d, asyncio.Sleep(ctx, d) }
		}
		for d, err := range asyncio.AsCompleted[time.Duration](ctx, after(3*time.Millisecond), after(time.Millisecond), after(2*time.Millisecond)) {
			fmt.Println(d, err)
		}
		return nil
	}, asynciotest.WithVirtualClock())
	// Output:
	// 1ms <nil>
	// 2ms <nil>
	// 3ms <nil>
}

// What is shielded goes on when the wait for it is cancelled.
func ExampleShield() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		payment := asyncio.CreateTask(ctx, func(ctx context.Context) (string, error) {
			return "paid", asyncio.Sleep(ctx, 5*time.Millisecond)
		})
		err := asyncio.Timeout(ctx, time.Millisecond, func(ctx context.Context) error {
			_, err := asyncio.Shield(ctx, payment)
			return err
		})
		fmt.Println(err)
		fmt.Println(payment.Await(ctx))
		return nil
	})
	// Output:
	// asyncio: timeout
	// paid <nil>
}

func ExampleTimeout() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		err := asyncio.Timeout(ctx, time.Millisecond, func(ctx context.Context) error {
			return asyncio.Sleep(ctx, time.Hour)
		})
		fmt.Println(err, errors.Is(err, context.DeadlineExceeded))
		return nil
	})
	// Output: asyncio: timeout true
}

// A deadline that moves: each sign of life gives the peer another second.
func ExampleTimeoutScope() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		loop := asyncio.CurrentTask(ctx).Loop()
		err := asyncio.TimeoutAt(ctx, loop.Time()+time.Second, func(ctx context.Context, s *asyncio.TimeoutScope) error {
			for _, pause := range []time.Duration{800, 900, 1100} {
				if err := asyncio.Sleep(ctx, pause*time.Millisecond); err != nil {
					return err
				}
				fmt.Println("alive after", loop.Time())
				if err := s.Reschedule(loop.Time() + time.Second); err != nil {
					return err
				}
			}
			return nil
		})
		fmt.Println(err, "after", loop.Time())
		return nil
	}, asynciotest.WithVirtualClock())
	// Output:
	// alive after 800ms
	// alive after 1.7s
	// asyncio: timeout after 2.7s
}

// A loop by hand, with callbacks and timers.
func ExampleEventLoop() {
	loop := asyncio.NewEventLoop()
	defer loop.Close()

	loop.CallLater(time.Millisecond, func() {
		fmt.Println("later")
		loop.Stop()
	})
	loop.CallSoon(func() { fmt.Println("soon") })
	fmt.Println(loop.RunForever())
	// Output:
	// soon
	// later
	// <nil>
}

// A loop inside another: one pass at a time.
func ExampleEventLoop_RunOnce() {
	loop := asyncio.NewEventLoop()
	defer loop.Close()

	task := asyncio.CreateTask(loop.Context(context.Background()), func(ctx context.Context) (string, error) {
		return "done", asyncio.Sleep(ctx, time.Millisecond)
	})
	for !task.Done() {
		if err := loop.RunOnce(10 * time.Millisecond); err != nil {
			fmt.Println(err)
			return
		}
		// The other loop has its turn here.
	}
	fmt.Println(task.Result())
	// Output: done <nil>
}

func ExampleHandle() {
	loop := asyncio.NewEventLoop()
	defer loop.Close()

	loop.CallSoon(func() { fmt.Println("first") })
	second := loop.CallSoon(func() { fmt.Println("second") })
	second.Cancel()
	loop.RunOnce(0)
	fmt.Println(second.Cancelled())
	// Output:
	// first
	// true
}

func ExampleTimerHandle() {
	loop := asyncio.NewEventLoop(asynciotest.WithVirtualClock())
	defer loop.Close()

	timer := loop.CallLater(time.Minute, func() { fmt.Println("never") })
	fmt.Println(timer.When())
	timer.Cancel()
	fmt.Println(loop.RunOnce(time.Hour), timer.Cancelled())
	// Output:
	// 1m0s
	// <nil> true
}

// Code that blocks runs on a goroutine of its own; the other tasks go on.
func ExampleToThread() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		n, err := asyncio.ToThread(ctx, func(ctx context.Context) (int, error) {
			time.Sleep(time.Millisecond) // anything that blocks
			return 42, nil
		})
		fmt.Println(n, err)
		return nil
	})
	// Output: 42 <nil>
}

// A limit of its own for a resource that bears few users.
func ExampleThreadLimiter() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		disk := asyncio.NewThreadLimiter(1)
		read := func(name string) asyncio.Coroutine[string] {
			return func(ctx context.Context) (string, error) {
				return asyncio.ToThread(ctx, func(context.Context) (string, error) {
					fmt.Println("reading", name)
					return name, nil
				}, asyncio.WithLimiter(disk))
			}
		}
		_, err := asyncio.Gather[string](ctx, read("a"), read("b"), read("c"))
		return err
	})
	// Output:
	// reading a
	// reading b
	// reading c
}

// Another goroutine runs a coroutine on the loop and waits for its value.
func ExampleThreadFuture() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		loop := asyncio.CurrentTask(ctx).Loop()
		_, err := asyncio.ToThread(ctx, func(ctx context.Context) (int, error) {
			f := asyncio.RunCoroutineThreadsafe(ctx, loop, func(ctx context.Context) (string, error) {
				return "from the loop", asyncio.Yield(ctx)
			})
			fmt.Println(f.Wait(ctx))
			return 0, nil
		})
		return err
	})
	// Output: from the loop <nil>
}

// What nobody can be given comes to the exception handler.
func ExampleErrorContext() {
	handler := func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) {
		fmt.Println(ec.Message)
		fmt.Println(ec.Source)
	}
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		asyncio.Go(ctx, func(context.Context) error { return errors.New("broken") }, asyncio.WithName("forgotten"))
		return asyncio.Yield(ctx)
	}, asyncio.WithExceptionHandler(handler))
	// Output:
	// error was never retrieved
	// <Task forgotten finished error=broken>
}

// A loop with options: they are the same for NewEventLoop, NewRunner and Run.
func ExampleLoopOption() {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	options := []asyncio.LoopOption{
		asyncio.WithDebug(true),
		asyncio.WithLogger(logger),
		asyncio.WithShutdownGrace(time.Second),
	}
	loop := asyncio.NewEventLoop(options...)
	fmt.Println(loop.Debug(), loop.Close())
	// Output: true <nil>
}

// A mistake is reported with both sides and the remedy.
func ExampleUsageError() {
	err := asyncio.Sleep(context.Background(), time.Second)
	fmt.Println(err)
	fmt.Println(errors.Is(err, asyncio.ErrOutsideTask))
	// Output:
	// asyncio: Sleep: called outside a task: the context carries no loop; pass on the one that Run, Go or CreateTask gave to the coroutine
	// true
}

func ExampleCancelledError() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		f := asyncio.NewFuture[int](ctx)
		f.Cancel(errors.New("too late"))
		var c *asyncio.CancelledError
		fmt.Println(errors.As(f.Err(), &c), c.Cause)
		return nil
	})
	// Output: true too late
}

func ExamplePanicError() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		err := asyncio.Go(ctx, func(context.Context) error { panic("oops") }).Wait(ctx)
		var p *asyncio.PanicError
		fmt.Println(errors.As(err, &p), p.Value)
		return nil
	})
	// Output: true oops
}

// The tasks of a loop, in the order of their creation.
func ExampleAnyTask() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		a := asyncio.NewFuture[int](ctx)
		b := asyncio.Go(ctx, a.Wait, asyncio.WithName("b"))
		asyncio.Go(ctx, b.Wait, asyncio.WithName("c"))
		asyncio.Sleep(ctx, time.Millisecond)
		for _, task := range asyncio.AllTasks(ctx)[1:] { // the first one is main
			fmt.Println(task)
		}
		return nil
	})
	// Output:
	// <Task b pending callbacks=1 waits for a future>
	// <Task c pending waits for b>
}

// Two mirrors: the second is asked when the first takes more than 50 ms.
func ExampleStaggeredRace() {
	ask := func(mirror string, latency time.Duration) asyncio.Coroutine[string] {
		return func(ctx context.Context) (string, error) { return mirror, asyncio.Sleep(ctx, latency) }
	}
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		mirror, index, errs, err := asyncio.StaggeredRace(ctx, 50*time.Millisecond,
			ask("far", time.Hour), ask("near", time.Millisecond))
		fmt.Println(mirror, index, err)
		fmt.Println(errors.Is(errs[0], asyncio.ErrCancelled))
		return nil
	}, asynciotest.WithVirtualClock())
	// Output:
	// near 1 <nil>
	// true
}

func ExampleTaskFactory() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		loop := asyncio.CurrentTask(ctx).Loop()
		loop.SetTaskFactory(func(_ *asyncio.EventLoop, spec *asyncio.TaskSpec) {
			spec.Name = "worker " + spec.Name
			spec.Eager = true
		})
		hello := func(ctx context.Context) error {
			fmt.Println("hello from", asyncio.CurrentTask(ctx).Name())
			return nil
		}
		asyncio.Go(ctx, hello, asyncio.WithName("1"))
		asyncio.Go(ctx, hello, asyncio.WithName("2"), asyncio.LazyStart())
		fmt.Println("in between")
		return asyncio.Yield(ctx)
	})
	// Output:
	// hello from worker 1
	// in between
	// hello from worker 2
}

func ExampleFutureCallGraph() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		answer := asyncio.NewFuture[int](ctx)
		reader := asyncio.Go(ctx, answer.Wait, asyncio.WithName("reader"))
		asyncio.Go(ctx, reader.Wait, asyncio.WithName("page"))
		asyncio.Yield(ctx)

		graph, err := asyncio.CaptureCallGraph(ctx, answer)
		for err == nil && len(graph.AwaitedBy) > 0 {
			graph = graph.AwaitedBy[0]
			fmt.Println("awaited by", graph.Future)
		}
		answer.SetResult(42)
		return err
	})
	// Output:
	// awaited by <Task reader pending callbacks=1 waits for a future>
	// awaited by <Task page pending waits for reader>
}
