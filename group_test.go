// Tests of task groups: who ends when, and with which errors.

package asyncio_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// members checks that err is a GroupError of exactly these errors.
func members(t *testing.T, err error, want ...error) {
	t.Helper()
	g, ok := err.(*asyncio.GroupError)
	if !ok || !slices.Equal(g.Errs, want) {
		t.Errorf("error %v, want a group of %v", err, want)
	}
}

// fails is a function that fails after d.
func fails(d time.Duration, err error) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		if e := asyncio.Sleep(ctx, d); e != nil {
			return e
		}
		return err
	}
}

var errA, errB, errC = errors.New("a"), errors.New("b"), errors.New("c")

func TestGroupWaits(t *testing.T) {
	inLoop(t, "TG-001 TG-005 it waits for all tasks", func(t *testing.T, ctx context.Context) {
		var a, b *asyncio.Task[int]
		expectTook(t, ctx, sec(3), func() {
			err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				a = asyncio.GroupTask(g, later(sec(3), 3))
				b = asyncio.GroupTask(g, later(sec(1), 1), asyncio.WithName("b"))
				return nil
			})
			expectError(t, err, nil)
		})
		va, _ := a.Result()
		vb, _ := b.Result()
		if va != 3 || vb != 1 || b.Name() != "b" {
			t.Errorf("%v, %v", a, b)
		}
	})
	inLoop(t, "TG-002 TG-003 tasks are added by the function later, and by tasks when it has returned", func(t *testing.T, ctx context.Context) {
		var j journal
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			add := func(name string, fn func(ctx context.Context) error) {
				g.Go(func(ctx context.Context) error {
					defer j.say("%s", name)
					return fn(ctx)
				})
			}
			add("first", asyncio.Yield)
			asyncio.Sleep(ctx, sec(1))
			add("second", func(ctx context.Context) error {
				asyncio.Sleep(ctx, sec(1))
				add("third", fails(sec(1), nil))
				return nil
			})
			return nil
		})
		expectError(t, err, nil)
		j.expect(t, "first second third")
	})
	inLoop(t, "an empty group does not suspend", func(t *testing.T, ctx context.Context) {
		withoutSuspending(t, ctx, func() {
			expectError(t, asyncio.WithTaskGroup(ctx, func(context.Context, *asyncio.TaskGroup) error { return nil }), nil)
		})
	})
	inLoop(t, "TG-004 TG-034 a finished group keeps nothing alive", func(t *testing.T, ctx context.Context) {
		gone := make(chan struct{})
		var kept *asyncio.TaskGroup
		asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			kept = g
			runtime.AddCleanup(g.Go(asyncio.Yield), func(gone chan struct{}) { close(gone) }, gone)
			return nil
		})
		asyncio.Yield(ctx)
		collectUntil(t, gone)
		runtime.KeepAlive(kept)
	})
}

func TestGroupFails(t *testing.T) {
	inLoop(t, "TG-006 one failure cancels the others and the function", func(t *testing.T, ctx context.Context) {
		var others []*asyncio.Task[struct{}]
		expectTook(t, ctx, sec(1), func() {
			err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				others = append(others, g.Go(hour), g.Go(fails(sec(1), errA)), g.Go(hour))
				err := hour(ctx)
				expectError(t, err, asyncio.ErrCancelled)
				if ctx.Err() != context.Canceled || context.Cause(ctx) == nil {
					t.Errorf("%v, %v", ctx.Err(), context.Cause(ctx))
				}
				return err
			})
			members(t, err, errA)
			expectError(t, err, errA)
		})
		if !others[0].Cancelled() || !others[2].Cancelled() || ctx.Err() != nil {
			t.Errorf("%v, %v", others, ctx.Err())
		}
		alone(t, ctx)
	}, noReports(t))
	inLoop(t, "TG-007 TG-009 all failures in the order in which they come, the function's last", func(t *testing.T, ctx context.Context) {
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			cleanup := func(err error) func(ctx context.Context) error {
				return func(ctx context.Context) error {
					hour(ctx)
					return err
				}
			}
			g.Go(cleanup(errC))
			g.Go(fails(sec(1), errA))
			g.Go(fails(sec(1), errB))
			hour(ctx)
			return io2
		})
		members(t, err, errA, errB, errC, io2)
		if text := err.Error(); !strings.Contains(text, "4 errors") || !strings.Contains(text, "1. a\n2. b\n") {
			t.Errorf("text %q", text)
		}
	})
	inLoop(t, "TG-008 a task that is cancelled on its own is no failure", func(t *testing.T, ctx context.Context) {
		expectTook(t, ctx, sec(2), func() {
			expectError(t, asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				gone := g.Go(hour)
				g.Go(fails(sec(2), nil))
				asyncio.Sleep(ctx, sec(1))
				gone.Cancel(nil)
				return nil
			}), nil)
		})
	})
	inLoop(t, "TG-010 TG-011 an error of the function", func(t *testing.T, ctx context.Context) {
		for _, pause := range []time.Duration{-1, sec(1)} {
			var task *asyncio.Task[struct{}]
			err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				task = g.Go(hour)
				if pause >= 0 {
					asyncio.Sleep(ctx, pause)
				}
				return errA
			})
			members(t, err, errA)
			if !task.Cancelled() {
				t.Errorf("%v", task)
			}
		}
	})
	inLoop(t, "TG-012 TG-014 tasks that start tasks without end", func(t *testing.T, ctx context.Context) {
		for _, opts := range [][]asyncio.TaskOption{nil, {asyncio.EagerStart()}} {
			err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				var endless func(ctx context.Context) error
				endless = func(ctx context.Context) error {
					if err := asyncio.Sleep(ctx, time.Millisecond); err != nil {
						return err
					}
					g.Go(endless, opts...)
					return asyncio.Yield(ctx)
				}
				g.Go(endless, opts...)
				g.Go(fails(sec(1), errA))
				return nil
			})
			members(t, err, errA)
		}
	})
	inLoop(t, "TG-013 TG-032 when it shuts down or has ended, tasks end at once", func(t *testing.T, ctx context.Context) {
		never := func(context.Context) error {
			t.Error("it runs")
			return nil
		}
		expectClosed := func(task *asyncio.Task[struct{}]) {
			t.Helper()
			if !task.Cancelled() {
				t.Errorf("%v", task)
			}
			expectError(t, task.Err(), asyncio.ErrTaskGroupClosed)
		}
		var kept *asyncio.TaskGroup
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			kept = g
			g.Go(func(ctx context.Context) error {
				hour(ctx)
				expectClosed(g.Go(never))
				return nil
			})
			g.Go(fails(sec(1), errA))
			hour(ctx)
			expectClosed(g.Go(never, asyncio.EagerStart()))
			return nil
		})
		members(t, err, errA)
		expectClosed(kept.Go(never))
		alone(t, ctx)
	}, noReports(t))
	inLoop(t, "a panic of a task is a failure", func(t *testing.T, ctx context.Context) {
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(panicking)
			return hour(ctx)
		})
		var p *asyncio.PanicError
		if !errors.As(err, &p) || p.Value != "oops" || !strings.Contains(string(p.Stack), "panicking") {
			t.Errorf("error %v", err)
		}
	})
	inLoop(t, "a panic of the function goes on when the tasks have ended", func(t *testing.T, ctx context.Context) {
		var task *asyncio.Task[struct{}]
		defer func() {
			if p := recover(); p != "oops" || !task.Done() {
				t.Errorf("panic %v, %v", p, task)
			}
			alone(t, ctx)
			expectError(t, hour(ctx), nil)
		}()
		asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			task = g.Go(func(ctx context.Context) error {
				hour(ctx)
				return asyncio.Sleep(asyncio.CleanupContext(ctx), sec(1))
			})
			asyncio.Yield(ctx)
			panic("oops")
		})
	})
	inLoop(t, "Goexit of the function, too", func(t *testing.T, ctx context.Context) {
		var task *asyncio.Task[struct{}]
		outer := asyncio.Go(ctx, func(ctx context.Context) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				task = g.Go(hour)
				runtime.Goexit()
				return nil
			})
		})
		expectError(t, outer.Wait(ctx), asyncio.ErrGoexit)
		if !task.Cancelled() {
			t.Errorf("%v", task)
		}
	})
}

func TestGroupCancelled(t *testing.T) {
	// cancelGroup cancels a task in fn's group after a second.
	cancelGroup := func(ctx context.Context, fn func(ctx context.Context, g *asyncio.TaskGroup) error) *asyncio.Task[struct{}] {
		task := asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.WithTaskGroup(ctx, fn) })
		asyncio.Sleep(ctx, sec(1))
		task.Cancel(io2)
		task.Wait(ctx)
		return task
	}
	expectCancelled := func(t *testing.T, task *asyncio.Task[struct{}]) {
		t.Helper()
		if !task.Cancelled() {
			t.Errorf("%v", task)
		}
		expectError(t, task.Err(), io2)
	}
	inLoop(t, "TG-015 TG-016 TG-017 while it waits, in the function, without tasks", func(t *testing.T, ctx context.Context) {
		var child *asyncio.Task[struct{}]
		expectCancelled(t, cancelGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			child = g.Go(hour)
			return nil
		}))
		if !child.Cancelled() {
			t.Errorf("%v", child)
		}
		expectCancelled(t, cancelGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			child = g.Go(hour)
			err := hour(ctx)
			expectError(t, err, io2)
			return err
		}))
		if !child.Cancelled() {
			t.Errorf("%v", child)
		}
		expectCancelled(t, cancelGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error { return hour(ctx) }))
	})
	inLoop(t, "TG-018 TG-019 failures win", func(t *testing.T, ctx context.Context) {
		members(t, cancelGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(func(ctx context.Context) error {
				hour(ctx)
				return errA
			})
			return hour(ctx)
		}).Err(), errA)
		members(t, cancelGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			hour(ctx)
			return errB
		}).Err(), errB)
	})
	inLoop(t, "TG-020 a slow function and a failing task after the request", func(t *testing.T, ctx context.Context) {
		members(t, cancelGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(fails(sec(2), errA))
			err := hour(ctx)
			expectError(t, hour(asyncio.CleanupContext(ctx)), asyncio.ErrCancelled)
			return err
		}).Err(), errA)
	})
	inLoop(t, "TG-021 through a task in between", func(t *testing.T, ctx context.Context) {
		var child *asyncio.Task[struct{}]
		inner := asyncio.Go(ctx, func(ctx context.Context) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				child = g.Go(hour)
				return nil
			})
		})
		outer := asyncio.Go(ctx, inner.Wait)
		settle(ctx)
		outer.Cancel(io2)
		expectError(t, outer.Wait(ctx), io2)
		if !inner.Cancelled() || !child.Cancelled() {
			t.Errorf("%v, %v", inner, child)
		}
	})
	inLoop(t, "TG-025 TG-027 after a handled failure the parent goes on", func(t *testing.T, ctx context.Context) {
		for range 3 {
			asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Go(fails(sec(1), errA))
				return hour(ctx)
			})
			expectError(t, hour(ctx), nil)
		}
		if n := asyncio.CurrentTask(ctx).Cancelling(); n != 0 || ctx.Err() != nil {
			t.Errorf("%d requests, %v", n, ctx.Err())
		}
	})
	inLoop(t, "OBS-009 a function that swallows the request", func(t *testing.T, ctx context.Context) {
		task := cancelGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			hour(ctx)
			return nil
		})
		if task.Err() != nil || task.Cancelling() != 1 {
			t.Errorf("%v after %d requests", task, task.Cancelling())
		}
	})
	inLoop(t, "requests during the shut-down do not make it leave its tasks", func(t *testing.T, ctx context.Context) {
		var child *asyncio.Task[struct{}]
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				child = g.Go(func(ctx context.Context) error {
					err := hour(ctx)
					asyncio.Sleep(context.WithoutCancel(ctx), sec(5))
					return err
				})
				return nil
			})
		})
		settle(ctx)
		for range 3 {
			task.Cancel(io2)
			asyncio.Sleep(ctx, sec(1))
			if task.Done() || child.Done() {
				t.Errorf("%v, %v", task, child)
			}
		}
		expectError(t, task.Wait(ctx), io2)
	})
}

func TestGroupCancel(t *testing.T) {
	inLoop(t, "it ends the tasks and the function without an error", func(t *testing.T, ctx context.Context) {
		var tasks []*asyncio.Task[struct{}]
		expectTook(t, ctx, sec(1), func() {
			err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				tasks = append(tasks, g.Go(hour), g.Go(func(ctx context.Context) error {
					asyncio.Sleep(ctx, sec(1))
					g.Cancel()
					g.Cancel()
					return hour(ctx)
				}))
				return hour(ctx)
			})
			expectError(t, err, nil)
		})
		for _, task := range tasks {
			if !task.Cancelled() {
				t.Errorf("%v", task)
			}
		}
		expectError(t, hour(ctx), nil)
	})
	inLoop(t, "while it waits, and afterwards", func(t *testing.T, ctx context.Context) {
		var kept *asyncio.TaskGroup
		expectTook(t, ctx, sec(1), func() {
			expectError(t, asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				kept = g
				g.Go(hour)
				asyncio.CurrentTask(ctx).Loop().CallLater(sec(1), g.Cancel)
				return nil
			}), nil)
		})
		kept.Cancel()
		expectError(t, hour(ctx), nil)
	})
	inLoop(t, "failures are returned all the same", func(t *testing.T, ctx context.Context) {
		members(t, asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(func(ctx context.Context) error {
				hour(ctx)
				return errA
			})
			asyncio.Yield(ctx)
			g.Cancel()
			return hour(ctx)
		}), errA)
	})
	inLoop(t, "a request from outside stays one", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Cancel()
				asyncio.CurrentTask(ctx).Cancel(io2)
				return hour(ctx)
			})
		})
		expectError(t, task.Wait(ctx), asyncio.ErrCancelled)
	})
}

func TestNestedGroups(t *testing.T) {
	inLoop(t, "TG-022 an inner failure is a group in a group", func(t *testing.T, ctx context.Context) {
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, _ *asyncio.TaskGroup) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Go(fails(sec(1), errA))
				return nil
			})
		})
		outer, ok := err.(*asyncio.GroupError)
		if !ok || len(outer.Errs) != 1 {
			t.Fatalf("error %v", err)
		}
		members(t, outer.Errs[0], errA)
		expectError(t, err, errA)
	})
	inLoop(t, "TG-023 an outer failure cancels the inner group silently", func(t *testing.T, ctx context.Context) {
		members(t, asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(fails(sec(1), errA))
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Go(hour)
				return nil
			})
		}), errA)
	})
	inLoop(t, "TG-024 both fail", func(t *testing.T, ctx context.Context) {
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(fails(sec(1), errA))
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Go(fails(sec(1), errB))
				return hour(ctx)
			})
		})
		expectError(t, err, errA)
		expectError(t, err, errB)
		if n := asyncio.CurrentTask(ctx).Cancelling(); n != 0 || ctx.Err() != nil {
			t.Errorf("%d requests, %v", n, ctx.Err())
		}
		expectError(t, hour(ctx), nil)
	})
}

func TestGroupLimit(t *testing.T) {
	inLoop(t, "no more than the limit at once, in the order of creation", func(t *testing.T, ctx context.Context) {
		for _, opts := range [][]asyncio.TaskOption{nil, {asyncio.EagerStart()}} {
			var j journal
			running, most := 0, 0
			expectTook(t, ctx, sec(4), func() {
				err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
					for i := range 10 {
						withoutSuspending(t, ctx, func() {
							g.Go(func(ctx context.Context) error {
								j.say("%d", i)
								running++
								most = max(most, running)
								defer func() { running-- }()
								return asyncio.Sleep(ctx, sec(1))
							}, opts...)
						})
					}
					return nil
				}, asyncio.WithLimit(3))
				expectError(t, err, nil)
			})
			if most != 3 {
				t.Errorf("%d at once", most)
			}
			j.expect(t, "0 1 2 3 4 5 6 7 8 9")
		}
	})
	inLoop(t, "one that is cancelled while it waits gives up its turn", func(t *testing.T, ctx context.Context) {
		var j journal
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			var tasks []*asyncio.Task[struct{}]
			for i := range 5 {
				tasks = append(tasks, g.Go(func(ctx context.Context) error {
					j.say("%d", i)
					return asyncio.Sleep(ctx, sec(1))
				}))
			}
			tasks[1].Cancel(nil)
			expectError(t, tasks[1].Wait(ctx), asyncio.ErrCancelled)
			tasks[3].Cancel(nil)
			return nil
		}, asyncio.WithLimit(1))
		expectError(t, err, nil)
		j.expect(t, "0 2 4")
	})
	inLoop(t, "after a failure those that wait never run", func(t *testing.T, ctx context.Context) {
		var j journal
		members(t, asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for i := range 5 {
				g.Go(func(ctx context.Context) error {
					j.say("%d", i)
					return fails(sec(1+i), errA)(ctx)
				})
			}
			return nil
		}, asyncio.WithLimit(2)), errA)
		j.expect(t, "0 1")
		alone(t, ctx)
	})
	t.Run("a limit that makes no sense", func(t *testing.T) {
		expectUsage(t, asyncio.ErrBadArgument, func() { asyncio.WithLimit(0) })
	})
}

func TestGroupMisuse(t *testing.T) {
	inLoop(t, "a nil function", func(t *testing.T, ctx context.Context) {
		expectError(t, asyncio.WithTaskGroup(ctx, nil), asyncio.ErrBadArgument)
		asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			expectUsage(t, asyncio.ErrBadArgument, func() { g.Go(nil) })
			return nil
		})
	})
	t.Run("on another goroutine, and after Close", func(t *testing.T) {
		var kept *asyncio.TaskGroup
		asynciotest.Run(t, func(ctx context.Context) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				kept = g
				onAnotherGoroutine(func() {
					expectUsage(t, asyncio.ErrWrongGoroutine, func() { g.Go(hour) })
					expectUsage(t, asyncio.ErrWrongGoroutine, g.Cancel)
				})
				return nil
			})
		})
		expectUsage(t, asyncio.ErrLoopClosed, func() { kept.Go(hour) })
		expectUsage(t, asyncio.ErrLoopClosed, kept.Cancel)
	})
}
