// A cancellation at every moment: scenarios of all operations are cancelled in
// each of their passes, once and twice, and nothing may be left of them.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// cleanUp is a coroutine that awaits for its clean-up.
func cleanUp(d time.Duration) asyncio.Coroutine[int] {
	return func(ctx context.Context) (int, error) {
		err := asyncio.Sleep(ctx, d)
		if err != nil {
			ctx = asyncio.CleanupContext(ctx)
			err = errors.Join(err, asyncio.Sleep(ctx, 3), asyncio.Yield(ctx))
		}
		return 1, err
	}
}

// untyped is a coroutine without its value.
func untyped(fn asyncio.Coroutine[int]) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		_, err := fn(ctx)
		return err
	}
}

// scenarios must end with everything that they have started when they are
// cancelled once; ends says whether they do so by themselves.
var scenarios = map[string]func(ctx context.Context) error{
	"Sleep": func(ctx context.Context) error {
		return errors.Join(asyncio.Sleep(ctx, 2), asyncio.Sleep(ctx, 2))
	},
	"Yield": func(ctx context.Context) error {
		return errors.Join(asyncio.Yield(ctx), asyncio.Yield(ctx), asyncio.Yield(ctx))
	},
	"Await": func(ctx context.Context) error {
		inner := asyncio.CreateTask(ctx, cleanUp(2))
		return asyncio.CreateTask(ctx, inner.Await).Wait(ctx)
	},
	"Gather": func(ctx context.Context) error {
		_, err := asyncio.Gather[int](ctx, cleanUp(1), cleanUp(2), later(0, 1))
		return err
	},
	"GatherSettled": func(ctx context.Context) error {
		_, err := asyncio.GatherSettled[int](ctx, cleanUp(2), failingAfter(1, io2), later(0, 1))
		return err
	},
	"Wait": func(ctx context.Context) error {
		a, b := asyncio.CreateTask(ctx, cleanUp(2)), asyncio.CreateTask(ctx, cleanUp(4))
		defer func() {
			a.Cancel(nil)
			b.Cancel(nil)
		}()
		_, _, err := asyncio.Wait(ctx, []asyncio.AnyFuture{a, b}, asyncio.WaitOptions{ReturnWhen: asyncio.FirstCompleted, Timeout: 3})
		if err == nil {
			_, _, err = asyncio.Wait(ctx, []asyncio.AnyFuture{a, b}, asyncio.WaitOptions{})
		}
		return err
	},
	"AsCompleted": func(ctx context.Context) error {
		tasks := many(asyncio.CreateTask(ctx, cleanUp(3)), asyncio.CreateTask(ctx, cleanUp(1)))
		for _, err := range asyncio.AsCompletedWithin(ctx, 2, tasks...) {
			if err != nil {
				for _, task := range tasks {
					task.(asyncio.AnyFuture).Cancel(nil)
				}
				return err
			}
		}
		return nil
	},
	"Shield": func(ctx context.Context) error {
		inner := asyncio.CreateTask(ctx, cleanUp(2))
		_, err := asyncio.Shield[int](ctx, inner)
		inner.Cancel(nil)
		return err
	},
	"WaitFor": func(ctx context.Context) error {
		_, err := asyncio.WaitFor[int](ctx, 2, cleanUp(4))
		if err == asyncio.ErrTimeout {
			_, err = asyncio.WaitFor[int](ctx, 0, asyncio.CreateTask(ctx, cleanUp(4), asyncio.EagerStart()))
		}
		return err
	},
	"Timeout": func(ctx context.Context) error {
		return asyncio.Timeout(ctx, 5, func(ctx context.Context) error {
			err := asyncio.Timeout(ctx, 2, untyped(cleanUp(4)))
			if err == asyncio.ErrTimeout {
				return asyncio.Sleep(ctx, 4)
			}
			return err
		})
	},
	"WithTaskGroup": func(ctx context.Context) error {
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(untyped(cleanUp(2)))
			g.Go(func(ctx context.Context) error {
				return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
					g.Go(untyped(cleanUp(3)))
					g.Go(untyped(cleanUp(1)), asyncio.EagerStart())
					return nil
				})
			})
			return asyncio.Yield(ctx)
		})
	},
	"WithTaskGroup, limited and failing": func(ctx context.Context) error {
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for i := range 6 {
				g.Go(untyped(cleanUp(time.Duration(i % 3))))
			}
			g.Go(untyped(failingAfter(1, io2)))
			_, err := cleanUp(2)(ctx)
			return err
		}, asyncio.WithLimit(2))
	},
	"ToThread": func(ctx context.Context) error {
		_, err := asyncio.ToThread(ctx, func(ctx context.Context) (int, error) { return 1, nil })
		return err
	},
	"a context of package context": func(ctx context.Context) error {
		c, cancel := context.WithCancel(ctx)
		defer cancel()
		return asyncio.WithTaskGroup(c, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(func(ctx context.Context) error {
				c, cancel := context.WithCancel(ctx)
				defer cancel()
				return asyncio.Timeout(c, 3, untyped(cleanUp(2)))
			})
			return asyncio.Sleep(c, 1)
		})
	},
}

func TestCancelAtEveryPass(t *testing.T) {
	for name, scenario := range scenarios {
		t.Run(name, func(t *testing.T) {
			for pass := 0; ; pass++ {
				interrupted := false
				for again := range 4 { // a second request, so many passes later
					what := fmt.Sprintf("cancelled in pass %d, again after %d", pass, again)
					if injected(t, what, scenario, pass, again) {
						interrupted = true
					}
				}
				if !interrupted {
					if pass < 2 {
						t.Errorf("it was over after %d passes", pass)
					}
					return
				}
				if name == "ToThread" && pass == 20 {
					return // how many passes go by while a thread runs is chance
				}
				if pass > 200 {
					t.Fatal("it does not end")
				}
			}
		})
	}
}

// injected runs a scenario and cancels it after some passes, and once more later.
// It reports whether that was early enough to meet it.
func injected(t *testing.T, what string, scenario func(ctx context.Context) error, pass, again int) (met bool) {
	t.Helper()
	var reported []error
	asynciotest.Run(t, func(ctx context.Context) error {
		task := asyncio.Go(ctx, scenario, asyncio.EagerStart())
		loop := task.Loop()
		// Time goes by in steps of one, which take some passes each.
		var step func(left int)
		step = func(left int) {
			switch {
			case left > 0:
				if left%3 == 0 {
					loop.CallLater(1, func() { step(left - 1) })
				} else {
					loop.CallSoon(func() { step(left - 1) })
				}
			case !task.Done():
				met = true
				task.Cancel(io2)
				if again > 0 {
					for range again {
						loop.CallSoon(func() {})
					}
					loop.CallLater(time.Duration(again-1), func() { task.Cancel(errA) })
				}
			}
		}
		step(pass)
		err := asyncio.Timeout(ctx, time.Hour, func(ctx context.Context) error {
			_, _, err := asyncio.Wait(ctx, []asyncio.AnyFuture{task}, asyncio.WaitOptions{})
			return err
		})
		if err != nil {
			t.Errorf("%s: it hangs: %v", what, task)
		}
		asyncio.Sleep(ctx, sec(1)) // for what is shielded, or was only asked to end
		if met && task.Err() != nil && !task.Cancelled() && !errors.Is(task.Err(), io2) && !errors.Is(task.Err(), asyncio.ErrTimeout) {
			t.Errorf("%s: %v", what, task)
		}
		task.Err()
		if all := asyncio.AllTasks(ctx); len(all) != 1 {
			t.Errorf("%s: tasks are left: %v", what, all)
		}
		if n := loop.Timers(); n != 0 {
			t.Errorf("%s: %d timers are left", what, n)
		}
		if ctx.Err() != nil {
			t.Errorf("%s: main is cancelled", what)
		}
		return nil
	}, asyncio.WithExceptionHandler(func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) { reported = append(reported, ec.Err) }))
	for _, err := range reported {
		t.Errorf("%s: reported %v", what, err)
	}
	return met
}
