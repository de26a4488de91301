// What tasks cost, what starts and awaits several of them, and what their contexts do.

package asyncio_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func BenchmarkRun(b *testing.B) { // a loop for one task, from its beginning to its end
	b.Run("Nothing", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := asyncio.Run(background, nothing); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Runner", func(b *testing.B) { // on a loop that stays
		b.ReportAllocs()
		r := asyncio.NewRunner()
		for b.Loop() {
			if err := r.Run(background, nothing); err != nil {
				b.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkTask(b *testing.B) {
	create := func(ctx context.Context, opts ...asyncio.TaskOption) func() error {
		return func() error {
			_, err := asyncio.CreateTask(ctx, five, opts...).Await(ctx)
			return err
		}
	}
	measure(b, "CreateAwait", func(ctx context.Context) func() error { return create(ctx) })
	measure(b, "CreateAwaitBesideReady", func(ctx context.Context) func() error { // with a task that is ready always
		endless(ctx, asyncio.Yield)
		return create(ctx)
	})
	measure(b, "CreateAwaitNamed", func(ctx context.Context) func() error { return create(ctx, asyncio.WithName("five")) })
	measure(b, "CreateAwaitEager", func(ctx context.Context) func() error { return create(ctx, asyncio.EagerStart()) })
	measure(b, "CreateAwaitEagerSuspends", func(ctx context.Context) func() error {
		return func() error { return asyncio.Go(ctx, asyncio.Yield, asyncio.EagerStart()).Wait(ctx) }
	})
	measure(b, "CreateAwait100", func(ctx context.Context) func() error { // all before the first await
		tasks := make([]*asyncio.Task[int], 100)
		return func() error {
			for i := range tasks {
				tasks[i] = asyncio.CreateTask(ctx, five)
			}
			for _, t := range tasks {
				if _, err := t.Await(ctx); err != nil {
					return err
				}
			}
			return nil
		}
	})
	measure(b, "GoWait", func(ctx context.Context) func() error {
		return func() error { return asyncio.Go(ctx, nothing).Wait(ctx) }
	})
	measure(b, "AwaitDone", func(ctx context.Context) func() error {
		t := asyncio.CreateTask(ctx, five)
		t.Wait(ctx)
		return func() error {
			_, err := t.Await(ctx)
			return err
		}
	})
	measure(b, "AwaitCoroutine", func(ctx context.Context) func() error { // without a task
		c := asyncio.Coroutine[int](five)
		return func() error {
			_, err := c.Await(ctx)
			return err
		}
	})
	measure(b, "Cancel", func(ctx context.Context) func() error { // of one that sleeps
		sleep := func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) }
		return func() error {
			t := asyncio.Go(ctx, sleep)
			if err := asyncio.Yield(ctx); err != nil {
				return err
			}
			t.Cancel(nil)
			if t.Wait(ctx); !t.Cancelled() {
				return fmt.Errorf("%v is not cancelled", t)
			}
			return nil
		}
	})
	measure(b, "Panic", func(ctx context.Context) func() error {
		panics := func(context.Context) error { panic("on purpose") }
		return func() error {
			if err := asyncio.Go(ctx, panics).Wait(ctx); err == nil {
				return fmt.Errorf("no error")
			}
			return nil
		}
	})
}

func BenchmarkYield(b *testing.B) {
	measure(b, "Alone", func(ctx context.Context) func() error {
		return func() error { return asyncio.Yield(ctx) }
	})
	measure(b, "Of100", func(ctx context.Context) func() error { // a turn of each
		for range 99 {
			endless(ctx, asyncio.Yield)
		}
		return func() error { return asyncio.Yield(ctx) }
	})
}

func BenchmarkSleep(b *testing.B) {
	for _, bench := range []struct {
		name    string
		d       time.Duration
		beside  int
		virtual bool
	}{
		{name: "Zero"},
		{name: "Nanosecond", d: 1},
		{name: "NanosecondBeside10000", d: 1, beside: 10_000},
		{name: "SecondVirtual", d: time.Second, virtual: true},
	} {
		var opts []asyncio.RunOption
		if bench.virtual {
			opts = append(opts, asynciotest.WithVirtualClock())
		}
		measure(b, bench.name, func(ctx context.Context) func() error {
			sleepers(ctx, bench.beside)
			return func() error { return asyncio.Sleep(ctx, bench.d) }
		}, opts...)
	}
	measure(b, "SecondVirtualOf100", func(ctx context.Context) func() error { // all of them, each at a moment of its own
		for i := range 99 {
			asyncio.Go(ctx, func(ctx context.Context) error {
				if err := asyncio.Sleep(ctx, time.Duration(i+1)); err != nil {
					return err
				}
				for {
					if err := asyncio.Sleep(ctx, time.Second); err != nil {
						return err
					}
				}
			})
		}
		return func() error { return asyncio.Sleep(ctx, time.Second) }
	}, asynciotest.WithVirtualClock())
}

func BenchmarkTimeout(b *testing.B) {
	measure(b, "AroundNothing", func(ctx context.Context) func() error {
		return func() error { return asyncio.Timeout(ctx, time.Hour, nothing) }
	})
	measure(b, "AroundYield", func(ctx context.Context) func() error {
		return func() error { return asyncio.Timeout(ctx, time.Hour, asyncio.Yield) }
	})
	measure(b, "Rescheduled", func(ctx context.Context) func() error {
		loop := ownLoop(ctx)
		return func() error {
			return asyncio.TimeoutAt(ctx, loop.Time()+time.Hour, func(ctx context.Context, scope *asyncio.TimeoutScope) error {
				return scope.Reschedule(scope.When() + time.Hour)
			})
		}
	})
	measure(b, "Expires", func(ctx context.Context) func() error {
		sleep := func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) }
		return func() error {
			if err := asyncio.Timeout(ctx, time.Second, sleep); err == nil {
				return fmt.Errorf("no error")
			}
			return nil
		}
	}, asynciotest.WithVirtualClock())
	measure(b, "WaitFor", func(ctx context.Context) func() error {
		return func() error {
			_, err := asyncio.WaitFor(ctx, time.Hour, asyncio.Coroutine[int](five))
			return err
		}
	})
}

// fives starts n tasks.
func fives(ctx context.Context, n int) []asyncio.Awaitable[int] {
	tasks := make([]asyncio.Awaitable[int], n)
	for i := range tasks {
		tasks[i] = asyncio.CreateTask(ctx, five)
	}
	return tasks
}

func BenchmarkGather(b *testing.B) {
	for _, n := range []int{2, 100} {
		measure(b, fmt.Sprint("Tasks", n), func(ctx context.Context) func() error {
			return func() error {
				_, err := asyncio.Gather(ctx, fives(ctx, n)...)
				return err
			}
		})
	}
	measure(b, "Coroutines2", func(ctx context.Context) func() error {
		c := asyncio.Coroutine[int](five)
		return func() error {
			_, err := asyncio.Gather[int](ctx, c, c)
			return err
		}
	})
	measure(b, "Done2", func(ctx context.Context) func() error {
		done := fives(ctx, 2)
		return func() error {
			_, err := asyncio.Gather(ctx, done...)
			return err
		}
	})
	measure(b, "Settled2", func(ctx context.Context) func() error {
		return func() error {
			_, err := asyncio.GatherSettled(ctx, fives(ctx, 2)...)
			return err
		}
	})
}

func BenchmarkTaskGroup(b *testing.B) {
	group := func(name string, tasks int, opts ...asyncio.GroupOption) {
		measure(b, name, func(ctx context.Context) func() error {
			return func() error {
				return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
					for range tasks {
						g.Go(nothing)
					}
					return nil
				}, opts...)
			}
		})
	}
	group("Empty", 0)
	group("Tasks1", 1)
	group("Tasks2", 2)
	group("Tasks100", 100)
	group("Tasks100Limited", 100, asyncio.WithLimit(10))
	measure(b, "Fails", func(ctx context.Context) func() error { // and cancels the other one
		broken := fmt.Errorf("broken")
		return func() error {
			err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Go(func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) })
				g.Go(func(context.Context) error { return broken })
				return nil
			})
			if err == nil {
				return fmt.Errorf("no error")
			}
			return nil
		}
	})
}

func BenchmarkShield(b *testing.B) {
	measure(b, "Task", func(ctx context.Context) func() error {
		return func() error {
			_, err := asyncio.Shield(ctx, asyncio.CreateTask(ctx, five))
			return err
		}
	})
}

func BenchmarkWait(b *testing.B) {
	for _, n := range []int{2, 100} {
		measure(b, fmt.Sprint("All", n), func(ctx context.Context) func() error {
			tasks := make([]asyncio.AnyFuture, n)
			return func() error {
				for i := range tasks {
					tasks[i] = asyncio.CreateTask(ctx, five)
				}
				_, _, err := asyncio.Wait(ctx, tasks, asyncio.WaitOptions{})
				return err
			}
		})
	}
	measure(b, "FirstOf2", func(ctx context.Context) func() error { // the other one stays
		stays := asyncio.NewFuture[int](ctx)
		return func() error {
			_, _, err := asyncio.Wait(ctx, []asyncio.AnyFuture{asyncio.CreateTask(ctx, five), stays}, asyncio.WaitOptions{ReturnWhen: asyncio.FirstCompleted})
			return err
		}
	})
	measure(b, "Timeout", func(ctx context.Context) func() error {
		return func() error {
			_, _, err := asyncio.Wait(ctx, []asyncio.AnyFuture{asyncio.CreateTask(ctx, five)}, asyncio.WaitOptions{Timeout: time.Hour})
			return err
		}
	})
}

func BenchmarkAsCompleted(b *testing.B) {
	for _, n := range []int{2, 100} {
		measure(b, fmt.Sprint("Tasks", n), func(ctx context.Context) func() error {
			return func() error {
				for _, err := range asyncio.AsCompleted(ctx, fives(ctx, n)...) {
					if err != nil {
						return err
					}
				}
				return nil
			}
		})
	}
}

func BenchmarkStaggeredRace(b *testing.B) {
	measure(b, "FirstWins", func(ctx context.Context) func() error {
		return func() error {
			_, _, _, err := asyncio.StaggeredRace[int](ctx, time.Hour, five, five)
			return err
		}
	})
}

func BenchmarkContext(b *testing.B) {
	type key struct{}
	valued := context.WithValue(background, key{}, 1)
	b.Run("Value", func(b *testing.B) { // that the program has given to Run, in a task of a task
		b.ReportAllocs()
		err := asyncio.Run(valued, func(ctx context.Context) error {
			return asyncio.Go(ctx, func(ctx context.Context) error {
				return rounds(b, func() error {
					if ctx.Value(key{}) != 1 {
						return fmt.Errorf("no value")
					}
					return nil
				})
			}).Wait(ctx)
		})
		if err != nil {
			b.Fatal(err)
		}
	})
	measure(b, "CurrentTask", func(ctx context.Context) func() error {
		return func() error {
			if asyncio.CurrentTask(ctx) == nil {
				return fmt.Errorf("no task")
			}
			return nil
		}
	})
	measure(b, "RunningLoop", func(ctx context.Context) func() error {
		return func() error {
			if asyncio.RunningLoop(ctx) == nil {
				return fmt.Errorf("no loop")
			}
			return nil
		}
	})
	measure(b, "Err", func(ctx context.Context) func() error { return ctx.Err })
	measure(b, "Done", func(ctx context.Context) func() error { // of one that has lent its channel before
		return func() error {
			if ctx.Done() == nil {
				return fmt.Errorf("no channel")
			}
			return nil
		}
	})
	measure(b, "Cleanup", func(ctx context.Context) func() error {
		return func() error { return asyncio.CleanupContext(ctx).Err() }
	})
	measure(b, "Now", func(ctx context.Context) func() error {
		return func() error {
			asyncio.Now(ctx)
			return nil
		}
	})
	measure(b, "YieldWithValue", func(ctx context.Context) func() error {
		ctx = context.WithValue(ctx, key{}, 1)
		return func() error { return asyncio.Yield(ctx) }
	})
	measure(b, "YieldWithCancel", func(ctx context.Context) func() error { // of package context, always the same
		std, cancel := context.WithCancel(ctx)
		context.AfterFunc(ctx, cancel)
		return func() error { return asyncio.Yield(std) }
	})
	measure(b, "WithCancel", func(ctx context.Context) func() error { // of package context, a new one each time
		return func() error {
			std, cancel := context.WithCancel(ctx)
			defer cancel()
			return asyncio.Yield(std)
		}
	})
}
