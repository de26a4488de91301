// Tests of scopes: what a cancelled context does, to whom, and how it looks to
// package context.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// cancelled runs test in a task that was cancelled with cause and has heard of it.
func cancelled(t *testing.T, ctx context.Context, cause error, test func(ctx context.Context) error) *asyncio.Task[struct{}] {
	t.Helper()
	task := asyncio.Go(ctx, func(ctx context.Context) error {
		expectError(t, hour(ctx), asyncio.ErrCancelled)
		return test(ctx)
	}, asyncio.EagerStart())
	task.Cancel(cause)
	task.Wait(ctx)
	return task
}

func TestScopeStaysCancelled(t *testing.T) {
	waits := map[string]func(ctx context.Context) error{
		"Sleep": hour,
		"Yield": asyncio.Yield,
		"Future": func(ctx context.Context) error {
			f := asyncio.NewFuture[int](ctx)
			err := f.Wait(ctx)
			if !f.Cancelled() {
				return errors.New("the future was not cancelled")
			}
			return err
		},
		"Task": func(ctx context.Context) error {
			task := asyncio.Go(ctx, hour)
			err := task.Wait(ctx)
			if !task.Cancelled() {
				return errors.New("the task was not cancelled")
			}
			return err
		},
		"Gather": func(ctx context.Context) error {
			_, err := asyncio.Gather(ctx, asyncio.Awaitable[int](later(time.Hour, 1)))
			return err
		},
		"GatherSettled": func(ctx context.Context) error {
			_, err := asyncio.GatherSettled(ctx, asyncio.Awaitable[int](later(time.Hour, 1)))
			return err
		},
		"Shield": func(ctx context.Context) error {
			f := asyncio.NewFuture[int](ctx)
			_, err := asyncio.Shield[int](ctx, f)
			if f.Done() {
				return errors.New("what was shielded was cancelled")
			}
			return err
		},
		"Wait": func(ctx context.Context) error {
			f := asyncio.NewFuture[int](ctx)
			_, _, err := asyncio.Wait(ctx, []asyncio.AnyFuture{f}, asyncio.WaitOptions{})
			return err
		},
		"AsCompleted": func(ctx context.Context) (err error) {
			for _, err = range asyncio.AsCompleted[int](ctx, asyncio.NewFuture[int](ctx)) {
			}
			return err
		},
		"WaitFor": func(ctx context.Context) error {
			_, err := asyncio.WaitFor(ctx, time.Minute, asyncio.Awaitable[int](later(time.Hour, 1)))
			return err
		},
		"Timeout": func(ctx context.Context) error { return asyncio.Timeout(ctx, time.Minute, hour) },
		"WithTaskGroup": func(ctx context.Context) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				return hour(ctx)
			})
		},
		"ToThread": func(ctx context.Context) error {
			_, err := asyncio.ToThread(ctx, func(ctx context.Context) (int, error) {
				t.Error("the function of ToThread is called")
				return 0, nil
			})
			return err
		},
	}
	for name, wait := range waits {
		inLoop(t, name, func(t *testing.T, ctx context.Context) {
			start := asyncio.CurrentTask(ctx).Loop().Time()
			task := cancelled(t, ctx, io2, func(ctx context.Context) error {
				for range 5 {
					p := countPasses(ctx)
					err := wait(ctx)
					p.stop = true
					if !errors.Is(err, asyncio.ErrCancelled) || !errors.Is(err, context.Canceled) {
						t.Errorf("error %v", err)
					}
					if p.n == 0 {
						t.Error("it took no pass")
					}
				}
				return nil
			})
			expectError(t, task.Err(), nil)
			if d := task.Loop().Time() - start; d != 0 {
				t.Errorf("it took %v", d)
			}
			settle(ctx)
			if n := task.Loop().Timers(); n != 0 {
				t.Errorf("%d timers are left", n)
			}
		})
	}
	inLoop(t, "what does not suspend still works", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		f.SetResult(7)
		cancelled(t, ctx, nil, func(ctx context.Context) error {
			withoutSuspending(t, ctx, func() {
				v, err := f.Await(ctx)
				vs, gerr := asyncio.Gather[int](ctx, f, f)
				s, serr := asyncio.Shield[int](ctx, f)
				if v != 7 || s != 7 || len(vs) != 2 || err != nil || gerr != nil || serr != nil {
					t.Errorf("%v %v %v, %v %v %v", v, vs, s, err, gerr, serr)
				}
			})
			return nil
		})
	})
	inLoop(t, "a coroutine that ignores its errors leaves the others their turns", func(t *testing.T, ctx context.Context) {
		n := 0
		stop := false
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			for !stop {
				hour(ctx)
				n++
			}
			return nil
		})
		asyncio.Yield(ctx)
		task.Cancel(nil)
		for range 100 {
			asyncio.Yield(ctx)
		}
		if stop = true; n < 90 || n > 101 {
			t.Errorf("%d rounds in 100 passes", n)
		}
	})
}

func TestCleanupContext(t *testing.T) {
	inLoop(t, "it is deaf to what was delivered", func(t *testing.T, ctx context.Context) {
		cancelled(t, ctx, nil, func(ctx context.Context) error {
			ctx = asyncio.CleanupContext(ctx)
			if ctx.Err() != nil || context.Cause(ctx) != nil {
				t.Errorf("Err() = %v", ctx.Err())
			}
			for range 3 {
				expectError(t, hour(ctx), nil)
			}
			return nil
		})
	})
	inLoop(t, "it hears what was not delivered", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			asyncio.CurrentTask(ctx).Cancel(io2)
			ctx = asyncio.CleanupContext(ctx)
			expectError(t, ctx.Err(), context.Canceled)
			expectError(t, hour(ctx), io2)
			expectError(t, hour(ctx), io2)
			ctx = asyncio.CleanupContext(ctx)
			expectError(t, hour(ctx), nil)
			return nil
		})
		expectError(t, task.Wait(ctx), nil)
	})
	inLoop(t, "it hears what comes later, each time", func(t *testing.T, ctx context.Context) {
		causes := []error{errors.New("first"), errors.New("second"), errors.New("third")}
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			for _, cause := range causes {
				err := hour(ctx)
				expectError(t, err, cause)
				if got := context.Cause(ctx); got != cause {
					t.Errorf("Cause = %v, want %v", got, cause)
				}
				ctx = asyncio.CleanupContext(ctx)
			}
			return hour(ctx)
		}, asyncio.EagerStart())
		for _, cause := range causes {
			task.Cancel(cause)
			asyncio.Yield(ctx)
		}
		expectError(t, task.Wait(ctx), nil)
	})
	inLoop(t, "it hears enclosing scopes that fire later", func(t *testing.T, ctx context.Context) {
		loop := asyncio.CurrentTask(ctx).Loop()
		start := loop.Time()
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			return asyncio.Timeout(ctx, time.Minute, func(ctx context.Context) error {
				expectError(t, hour(ctx), context.Canceled)
				ctx = asyncio.CleanupContext(ctx)
				if _, ok := ctx.Deadline(); !ok {
					t.Error("the deadline is gone")
				}
				err := hour(ctx)
				expectError(t, err, context.DeadlineExceeded)
				return err
			})
		}, asyncio.EagerStart())
		task.Cancel(nil)
		expectError(t, task.Wait(ctx), asyncio.ErrCancelled)
		if d := loop.Time() - start; d != time.Minute {
			t.Errorf("it took %v", d)
		}
	})
	inLoop(t, "a timeout in it works on its own", func(t *testing.T, ctx context.Context) {
		cancelled(t, ctx, nil, func(ctx context.Context) error {
			expectError(t, asyncio.Timeout(asyncio.CleanupContext(ctx), time.Second, hour), asyncio.ErrTimeout)
			return nil
		})
	})
	inLoop(t, "of a shielded context it is shielded", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			ctx = asyncio.CleanupContext(context.WithoutCancel(ctx))
			expectError(t, hour(ctx), nil)
			return nil
		}, asyncio.EagerStart())
		task.Cancel(nil)
		expectError(t, task.Wait(ctx), asyncio.ErrCancelled)
	})
	inLoop(t, "its Done channel is closed by later requests, and at the end", func(t *testing.T, ctx context.Context) {
		var first, second, third context.Context
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			hour(ctx)
			first = asyncio.CleanupContext(ctx)
			select {
			case <-first.Done():
				t.Error("Done is closed")
			default:
			}
			hour(first)
			<-first.Done()
			second = asyncio.CleanupContext(first)
			third = asyncio.CleanupContext(ctx)
			second.Done()
			return nil
		}, asyncio.EagerStart())
		task.Cancel(nil)
		asyncio.Yield(ctx)
		task.Cancel(io2)
		task.Wait(ctx)
		<-second.Done()
		<-third.Done()
		expectError(t, second.Err(), context.Canceled)
	})
	inLoop(t, "outside a task", func(t *testing.T, ctx context.Context) {
		expectUsage(t, asyncio.ErrOutsideTask, func() { asyncio.CleanupContext(context.Background()) })
		asyncio.CurrentTask(ctx).Loop().CallSoon(func() {
			expectUsage(t, asyncio.ErrOutsideTask, func() { asyncio.CleanupContext(ctx) })
		})
		asyncio.Yield(ctx)
	})
}

// Where asyncio loses a cancellation, and a scope does not.
func TestNothingIsLost(t *testing.T) {
	inLoop(t, "a timeout entered with an older request", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			asyncio.CurrentTask(ctx).Cancel(io2)
			err := asyncio.Timeout(ctx, -1, hour)
			if errors.Is(err, asyncio.ErrTimeout) {
				t.Errorf("error %v", err)
			}
			return err
		})
		expectError(t, task.Wait(ctx), io2)
		if !task.Cancelled() {
			t.Errorf("%v", task)
		}
	})
	inLoop(t, "a timeout around a task that swallows the request", func(t *testing.T, ctx context.Context) {
		stubborn := asyncio.Go(ctx, func(ctx context.Context) error {
			hour(ctx)
			hour(asyncio.CleanupContext(ctx)) // until the deadline
			return nil
		})
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			return asyncio.Timeout(ctx, time.Second, func(ctx context.Context) error {
				expectError(t, stubborn.Wait(ctx), nil)
				return asyncio.Yield(ctx)
			})
		})
		settle(ctx)
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
		if !task.Cancelled() {
			t.Errorf("%v", task)
		}
	})
	inLoop(t, "a group that fails in the clean-up of a request and is asked once more", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			hour(ctx) // the first request
			clean := asyncio.CleanupContext(ctx)
			err := asyncio.WithTaskGroup(clean, func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Go(func(ctx context.Context) error {
					hour(ctx) // the second one
					return io2
				})
				return nil
			})
			expectError(t, err, io2)
			err = hour(clean)
			expectError(t, err, asyncio.ErrCancelled)
			return err
		}, asyncio.EagerStart())
		task.Cancel(nil)
		asyncio.Yield(ctx)
		asyncio.Yield(ctx)
		task.Cancel(nil)
		task.Wait(ctx)
		if !task.Cancelled() {
			t.Errorf("%v", task)
		}
	})
	inLoop(t, "TG-026 a failed group hands the request back", func(t *testing.T, ctx context.Context) {
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Go(func(ctx context.Context) error {
					hour(ctx)
					return io2
				})
				return hour(ctx)
			})
			expectError(t, err, io2)
			ctx = asyncio.CleanupContext(ctx)
			expectError(t, hour(ctx), asyncio.ErrCancelled)
			expectError(t, hour(asyncio.CleanupContext(ctx)), nil)
			return nil
		})
		settle(ctx)
		task.Cancel(nil)
		expectError(t, task.Wait(ctx), nil)
		if task.Cancelling() != 1 {
			t.Errorf("%d requests", task.Cancelling())
		}
	})
	inLoop(t, "a shielded wait that is cancelled by its future delivers nothing", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			expectError(t, f.Wait(context.WithoutCancel(ctx)), asyncio.ErrCancelled)
			return nil // and the request was not delivered
		}, asyncio.EagerStart())
		task.Cancel(io2)
		f.Cancel(nil)
		expectError(t, task.Wait(ctx), io2)
	})
}

// wrapper is a context that a program may put around another.
type wrapper struct{ context.Context }

// merged is a context with a Done of its own, which Value does not tell of.
type merged struct {
	context.Context
	other context.Context
}

func (m merged) Done() <-chan struct{} { return m.other.Done() }
func (m merged) Err() error            { return m.other.Err() }

// detached is how a context was shielded before there was WithoutCancel.
type detached struct{ context.Context }

func (detached) Done() <-chan struct{} { return nil }
func (detached) Err() error            { return nil }

func TestStandardContexts(t *testing.T) {
	inLoop(t, "Err, Cause, Done and Deadline of a task's context", func(t *testing.T, ctx context.Context) {
		if _, ok := ctx.Deadline(); ok || ctx.Err() != nil || context.Cause(ctx) != nil || ctx.Value(valueKey{}) != nil {
			t.Errorf("a fresh context: %v, %v", ctx.Err(), context.Cause(ctx))
		}
		for _, cause := range []error{nil, io2} {
			var early <-chan struct{}
			task := asyncio.Go(ctx, func(ctx context.Context) error {
				early = ctx.Done()
				return hour(ctx)
			}, asyncio.EagerStart())
			c := wrapper{context.WithValue(wrapper{task.Context()}, valueKey{}, 1)}
			if context.Cause(c) != nil || c.Err() != nil {
				t.Errorf("before: %v, %v", c.Err(), context.Cause(c))
			}
			task.Cancel(cause)
			if cause == nil {
				cause = context.Canceled
			}
			<-early
			<-c.Done()
			if c.Err() != context.Canceled || context.Cause(c) != cause || task.Context().Err() != context.Canceled || context.Cause(task.Context()) != cause {
				t.Errorf("Err() = %v, Cause = %v", c.Err(), context.Cause(c))
			}
			task.Wait(ctx)
			if c.Err() != context.Canceled || context.Cause(c) != cause {
				t.Errorf("at the end: Err() = %v, Cause = %v", c.Err(), context.Cause(c))
			}
		}
	})
	inLoop(t, "a context is done when its task has ended, and its scope was left", func(t *testing.T, ctx context.Context) {
		var scopes []context.Context
		var done []<-chan struct{}
		note := func(ctx context.Context) error {
			scopes = append(scopes, ctx)
			done = append(done, ctx.Done())
			return ctx.Err()
		}
		task := asyncio.Go(ctx, note)
		task.Wait(ctx)
		asyncio.Timeout(ctx, time.Hour, note)
		asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error { return note(ctx) })
		for i, c := range scopes {
			<-done[i]
			if c.Err() != context.Canceled || context.Cause(c) != context.Canceled {
				t.Errorf("%d: %v, %v", i, c.Err(), context.Cause(c))
			}
			expectError(t, asyncio.Yield(c), asyncio.ErrCancelled)
		}
	})
	inLoop(t, "an error tells what has cancelled it", func(t *testing.T, ctx context.Context) {
		expect := func(err error, want string) {
			t.Helper()
			if err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
		}
		for cause, want := range map[error]string{nil: "asyncio: cancelled", context.Canceled: "asyncio: cancelled", io2: "asyncio: cancelled: " + io2.Error()} {
			task := asyncio.Go(ctx, hour, asyncio.EagerStart())
			task.Cancel(cause)
			expect(task.Wait(ctx), want)
		}
		const late = "asyncio: cancelled: context deadline exceeded"
		asyncio.Timeout(ctx, time.Second, func(ctx context.Context) error {
			expect(hour(ctx), late)
			return nil
		})
		c, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		expect(asyncio.Sleep(c, time.Hour), late)
	})
	inLoop(t, "Err of an expired timeout", func(t *testing.T, ctx context.Context) {
		asyncio.Timeout(ctx, time.Second, func(ctx context.Context) error {
			err := hour(ctx)
			if ctx.Err() != context.DeadlineExceeded || context.Cause(ctx) != context.DeadlineExceeded {
				t.Errorf("Err() = %v, Cause = %v", ctx.Err(), context.Cause(ctx))
			}
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || !errors.Is(err, asyncio.ErrCancelled) {
				t.Errorf("error %v", err)
			}
			<-ctx.Done()
			return err
		})
	})
	derive := map[string]func(ctx context.Context) (context.Context, context.CancelFunc){
		"WithCancel": context.WithCancel,
		"WithTimeout": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Hour)
		},
		"WithValue": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithValue(ctx, valueKey{}, 1), func() {}
		},
		"a wrapper around WithCancel": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(wrapper{ctx})
			return wrapper{ctx}, cancel
		},
	}
	for name, derive := range derive {
		inLoop(t, name+": cancelling the task interrupts an await with it in the next pass", func(t *testing.T, ctx context.Context) {
			for _, through := range []string{"task", "group", "timeout", "clean-up"} {
				task := asyncio.Go(ctx, func(ctx context.Context) error {
					wait := func(ctx context.Context) error {
						ctx, cancel := derive(ctx)
						defer cancel()
						err := hour(ctx)
						if ctx.Err() != context.Canceled || context.Cause(ctx) != io2 {
							t.Errorf("%s: Err() = %v, Cause = %v", through, ctx.Err(), context.Cause(ctx))
						}
						expectError(t, err, io2)
						expectError(t, asyncio.Yield(ctx), io2)
						return err
					}
					switch through {
					case "group":
						return asyncio.WithTaskGroup(ctx, func(ctx context.Context, _ *asyncio.TaskGroup) error { return wait(ctx) })
					case "timeout":
						return asyncio.Timeout(ctx, 2*time.Hour, wait)
					case "clean-up":
						return wait(asyncio.CleanupContext(ctx))
					}
					return wait(ctx)
				}, asyncio.EagerStart())
				p := countPasses(ctx)
				task.Cancel(io2)
				expectError(t, task.Wait(ctx), io2)
				if p.stop = true; p.n > 3 {
					t.Errorf("%s: it took %d passes", through, p.n)
				}
			}
		})
	}
	inLoop(t, "cancelling a derived context interrupts awaits with it only", func(t *testing.T, ctx context.Context) {
		c, cancel := context.WithCancelCause(ctx)
		loop := asyncio.CurrentTask(ctx).Loop()
		loop.CallSoon(func() { cancel(io2) })
		err := hour(c)
		expectError(t, err, asyncio.ErrCancelled)
		expectError(t, err, io2)
		expectError(t, err, context.Canceled)
		if context.Cause(c) != io2 {
			t.Errorf("Cause = %v", context.Cause(c))
		}
		expectError(t, asyncio.Yield(c), io2)
		expectError(t, hour(ctx), nil)
		expectError(t, asyncio.Timeout(c, time.Hour, hour), io2)
	})
	inLoop(t, "cancelling it on another goroutine", func(t *testing.T, ctx context.Context) {
		c, cancel := context.WithCancelCause(ctx)
		waiting := make(chan struct{})
		asyncio.CurrentTask(ctx).Loop().CallSoon(func() { close(waiting) })
		go func() {
			<-waiting
			cancel(io2)
		}()
		expectError(t, asyncio.NewFuture[int](ctx).Wait(c), io2)
	})
	inLoop(t, "its deadline, in real time", func(t *testing.T, ctx context.Context) {
		c, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		err := asyncio.NewFuture[int](ctx).Wait(c)
		expectError(t, err, context.DeadlineExceeded)
		expectError(t, err, asyncio.ErrCancelled)
		expectError(t, asyncio.Yield(ctx), nil)
	})
	inLoop(t, "a timeout's scope in a derived context", func(t *testing.T, ctx context.Context) {
		c, cancel := context.WithCancel(ctx)
		expectError(t, asyncio.Timeout(c, time.Second, hour), asyncio.ErrTimeout)
		err := asyncio.Timeout(c, time.Second, func(ctx context.Context) error {
			cancel()
			return hour(ctx)
		})
		expectError(t, err, context.Canceled)
	})
	inLoop(t, "AfterFunc", func(t *testing.T, ctx context.Context) {
		ran := make(chan error, 1)
		task := asyncio.Go(ctx, hour, asyncio.EagerStart())
		context.AfterFunc(task.Context(), func() { ran <- context.Cause(task.Context()) })
		stop := context.AfterFunc(task.Context(), func() { t.Error("it runs though it was stopped") })
		if !stop() {
			t.Error("stop is false")
		}
		task.Cancel(io2)
		if err := <-ran; err != io2 {
			t.Errorf("Cause = %v", err)
		}
	})
	shields := map[string]func(ctx context.Context) context.Context{
		"WithoutCancel": context.WithoutCancel,
		"a value on WithoutCancel": func(ctx context.Context) context.Context {
			return context.WithValue(context.WithoutCancel(ctx), valueKey{}, 1)
		},
		"a wrapper without Done": func(ctx context.Context) context.Context { return detached{ctx} },
		"the loop's context":     func(ctx context.Context) context.Context { return asyncio.CurrentTask(ctx).Loop().Context(ctx) },
	}
	for name, shield := range shields {
		inLoop(t, name+" shields for good", func(t *testing.T, ctx context.Context) {
			task := asyncio.Go(ctx, func(ctx context.Context) error {
				c := shield(ctx)
				asyncio.CurrentTask(ctx).Cancel(nil)
				expectError(t, asyncio.Sleep(c, time.Minute), nil)
				expectError(t, asyncio.Sleep(c, time.Minute), nil)
				expectError(t, asyncio.Timeout(c, time.Second, hour), asyncio.ErrTimeout)
				return hour(ctx)
			}, asyncio.EagerStart())
			task.Cancel(nil)
			expectError(t, task.Wait(ctx), asyncio.ErrCancelled)
		})
	}
	inLoop(t, "a wrapper with a Done of its own", func(t *testing.T, ctx context.Context) {
		other, cancel := context.WithCancel(context.Background())
		c := merged{ctx, other}
		expectError(t, asyncio.Yield(c), nil)
		asyncio.CurrentTask(ctx).Loop().CallSoon(cancel)
		expectError(t, asyncio.NewFuture[int](ctx).Wait(c), context.Canceled)
		expectError(t, asyncio.Yield(ctx), nil)
	})
	t.Run("Done, Err, Cause, Deadline and Value on other goroutines", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			for range 50 {
				var readers sync.WaitGroup
				read := func(ctx context.Context) {
					for range 4 {
						readers.Go(func() {
							ctx.Deadline()
							ctx.Err()
							context.Cause(ctx)
							c, cancel := context.WithTimeout(ctx, time.Hour)
							defer cancel()
							<-c.Done()
							if c.Err() == nil || context.Cause(c) == nil || ctx.Err() == nil {
								t.Errorf("%v, %v, %v", c.Err(), context.Cause(c), ctx.Err())
							}
						})
					}
				}
				task := asyncio.Go(ctx, func(ctx context.Context) error {
					read(ctx)
					err := asyncio.Timeout(ctx, time.Second, func(ctx context.Context) error {
						read(ctx)
						return asyncio.WithTaskGroup(ctx, func(ctx context.Context, _ *asyncio.TaskGroup) error {
							read(ctx)
							return hour(ctx)
						})
					})
					ctx = asyncio.CleanupContext(ctx)
					read(ctx)
					hour(ctx)
					return err
				}, asyncio.EagerStart())
				task.Cancel(nil)
				asyncio.Yield(ctx)
				task.Cancel(nil)
				task.Wait(ctx)
				readers.Wait()
			}
			return nil
		})
	})
}

func TestContextOfAnotherTask(t *testing.T) {
	inLoop(t, "it adds its scope", func(t *testing.T, ctx context.Context) {
		other := asyncio.Go(ctx, hour, asyncio.EagerStart())
		other.Loop().CallSoon(func() { other.Cancel(io2) })
		expectError(t, hour(other.Context()), io2)
		expectError(t, asyncio.Yield(ctx), nil)
		expectError(t, asyncio.Yield(other.Context()), io2)
		if ctx.Err() != nil {
			t.Errorf("the own context: %v", ctx.Err())
		}
	})
	inLoop(t, "what suspends is the running task", func(t *testing.T, ctx context.Context) {
		other := asyncio.Go(ctx, hour, asyncio.EagerStart())
		if asyncio.CurrentTask(other.Context()) != asyncio.CurrentTask(ctx) {
			t.Error("another task is current")
		}
		expectError(t, asyncio.Sleep(other.Context(), time.Minute), nil)
		if other.Done() {
			t.Error("the other task was resumed")
		}
	})
	derive := map[string]func(ctx context.Context) (context.Context, context.CancelFunc){
		"itself":     func(ctx context.Context) (context.Context, context.CancelFunc) { return ctx, func() {} },
		"WithCancel": context.WithCancel,
	}
	for name, derive := range derive {
		inLoop(t, name+": the own task's requests interrupt it, too", func(t *testing.T, ctx context.Context) {
			other := asyncio.Go(ctx, hour, asyncio.EagerStart())
			c, cancel := derive(other.Context())
			defer cancel()
			task := asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.NewFuture[int](ctx).Wait(c) }, asyncio.EagerStart())
			task.Cancel(io2)
			expectError(t, task.Wait(ctx), io2)
			task = asyncio.Go(ctx, func(ctx context.Context) error {
				asyncio.CurrentTask(ctx).Cancel(io2)
				return asyncio.NewFuture[int](ctx).Wait(c)
			})
			expectError(t, task.Wait(ctx), io2)
			if other.Done() {
				t.Error("the other task has ended")
			}
		})
	}
	inLoop(t, "of one that has ended it is done", func(t *testing.T, ctx context.Context) {
		other := asyncio.Go(ctx, asyncio.Yield)
		other.Loop().CallLater(0, func() {})
		expectError(t, hour(other.Context()), context.Canceled)
		expectError(t, hour(other.Context()), context.Canceled)
	})
	inLoop(t, "a scope of a timeout of another task", func(t *testing.T, ctx context.Context) {
		var scope context.Context
		asyncio.Go(ctx, func(ctx context.Context) error {
			asyncio.Timeout(ctx, time.Second, func(ctx context.Context) error {
				scope = ctx
				return hour(ctx)
			})
			return nil
		}, asyncio.EagerStart())
		err := hour(scope)
		expectError(t, err, context.DeadlineExceeded)
		expectError(t, err, asyncio.ErrCancelled)
		expectError(t, asyncio.Timeout(scope, time.Hour, hour), asyncio.ErrCancelled)
	})
}

// Random programs of scopes, against a model that keeps every request.
func TestScopesAreLikeTheModel(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		asynciotest.Run(t, func(ctx context.Context) error {
			m := &scopeModel{t: t, rng: rand.New(rand.NewPCG(seed, 3))}
			task := asyncio.Go(ctx, func(ctx context.Context) error {
				root := m.push(nil, ctx, func() { m.self.Cancel(nil) })
				m.self = asyncio.CurrentTask(ctx)
				m.steps(6)
				if m.undelivered() {
					m.wantCancelled = true
				}
				m.pop(root)
				return nil
			})
			task.Wait(ctx)
			if task.Cancelled() != m.wantCancelled {
				t.Errorf("seed %d: %v, want cancelled: %v\n%v", seed, task, m.wantCancelled, m.log)
			}
			return nil
		})
	})
}

// modelScope is what the model knows of a scope, on the stack or made by CleanupContext.
type modelScope struct {
	parent  *modelScope
	ctx     context.Context
	deafTo  int
	cancel  func() // nil for one that cannot be cancelled itself
	stacked bool
	left    bool
}

type modelRequest struct {
	scope *modelScope
	seq   int
}

// scopeModel runs random steps in the running task, and checks each against all
// requests ever made.
type scopeModel struct {
	t             *testing.T
	rng           *rand.Rand
	self          asyncio.AnyTask
	scopes        []*modelScope // that were not left, and those in them
	requests      []modelRequest
	made          int
	delivered     int
	wantCancelled bool
	log           []string
}

func (m *scopeModel) push(parent *modelScope, ctx context.Context, cancel func()) *modelScope {
	s := &modelScope{parent: parent, ctx: ctx, cancel: cancel, stacked: cancel != nil}
	m.scopes = append(m.scopes, s)
	return s
}

// pop leaves s and all scopes that came after it.
func (m *scopeModel) pop(s *modelScope) {
	for i, x := range m.scopes {
		if x == s {
			for _, x := range m.scopes[i:] {
				x.left = true
			}
			m.scopes = m.scopes[:i]
			return
		}
	}
}

func (m *scopeModel) heard(s *modelScope) bool {
	deaf := 0
	for ; s != nil; s = s.parent {
		for _, r := range m.requests {
			if r.scope == s && r.seq > deaf {
				return true
			}
		}
		deaf = max(deaf, s.deafTo)
	}
	return false
}

func (m *scopeModel) undelivered() bool {
	for _, r := range m.requests {
		if !r.scope.left && r.seq > m.delivered {
			return true
		}
	}
	return false
}

func (m *scopeModel) request(s *modelScope) {
	m.made++
	m.requests = append(m.requests, modelRequest{s, m.made})
	s.cancel()
}

// some returns one of the scopes that pass.
func (m *scopeModel) some(pass func(s *modelScope) bool) *modelScope {
	for {
		if s := m.scopes[m.rng.IntN(len(m.scopes))]; pass(s) {
			return s
		}
	}
}

func every(*modelScope) bool        { return true }
func stacked(s *modelScope) bool    { return s.stacked }
func (m *scopeModel) note(s string) { m.log = append(m.log, s) }

func (m *scopeModel) steps(depth int) {
	for range m.rng.IntN(12) {
		s := m.some(every)
		switch m.rng.IntN(8) {
		case 0, 1:
			s := m.some(stacked)
			m.note(fmt.Sprintf("request %p", s))
			m.request(s)
		case 2:
			m.note(fmt.Sprintf("clean up %p", s))
			c := m.push(s, asyncio.CleanupContext(s.ctx), nil)
			c.deafTo = m.delivered
		case 3, 4:
			if depth > 0 {
				m.note(fmt.Sprintf("enter %p", s))
				asyncio.WithTaskGroup(s.ctx, m.inGroup(s, depth-1))
				m.note("left")
			}
		case 5, 6:
			late := m.rng.IntN(3) == 0
			m.note(fmt.Sprintf("await %p, requested meanwhile: %v", s, late))
			want := m.heard(s) || m.undelivered() || late
			if late {
				m.self.Loop().CallSoon(func() { m.request(m.some(stacked)) })
			}
			got := asyncio.Yield(s.ctx) != nil
			if got != want {
				m.t.Errorf("interrupted: %v, want %v\n%v", got, want, m.log)
			}
			if want {
				m.delivered = m.made
			}
		}
		for _, s := range m.scopes {
			if got, want := s.ctx.Err() != nil, m.heard(s); got != want {
				m.t.Errorf("%p is done: %v, want %v\n%v", s, got, want, m.log)
			}
			if m.rng.IntN(4) == 0 {
				select {
				case <-s.ctx.Done():
					if !m.heard(s) {
						m.t.Errorf("Done of %p is closed\n%v", s, m.log)
					}
				default:
					if m.heard(s) {
						m.t.Errorf("Done of %p is open\n%v", s, m.log)
					}
				}
			}
		}
	}
}

// inGroup runs steps in a scope that can be cancelled, and only once: that of a group.
func (m *scopeModel) inGroup(parent *modelScope, depth int) func(ctx context.Context, g *asyncio.TaskGroup) error {
	return func(ctx context.Context, g *asyncio.TaskGroup) error {
		var s *modelScope
		s = m.push(parent, ctx, func() {
			g.Cancel()
			s.stacked = false
		})
		m.steps(depth)
		m.pop(s)
		return nil
	}
}
