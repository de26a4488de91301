// Tests of closing a loop: what is left is ended, by force if need be, and what
// cannot be ended is named.

package asyncio_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// noGoroutines checks that all goroutines end that test starts.
func noGoroutines(t *testing.T, test func()) {
	t.Helper()
	before := runtime.NumGoroutine()
	test()
	for range 20_000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond) // a goroutine that has said its last word needs a moment to end
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
}

// runLoop runs main on a virtual clock and returns the error.
func runLoop(main func(ctx context.Context) error, opts ...asyncio.RunOption) error {
	return asyncio.Run(background, main, append([]asyncio.RunOption{asynciotest.WithVirtualClock()}, opts...)...)
}

func TestCloseForces(t *testing.T) {
	cases := map[string]func(ctx context.Context) error{
		"sleeps on": func(ctx context.Context) error {
			for {
				hour(context.WithoutCancel(ctx))
			}
		},
		"ignores all errors": func(ctx context.Context) error {
			for {
				hour(ctx)
			}
		},
		"takes clean-up contexts without end": func(ctx context.Context) error {
			for {
				hour(ctx)
				ctx = asyncio.CleanupContext(ctx)
			}
		},
		"yields on": func(ctx context.Context) error {
			for {
				asyncio.Yield(context.WithoutCancel(ctx))
			}
		},
		"waits for a future": func(ctx context.Context) error {
			for {
				asyncio.NewFuture[int](ctx).Wait(context.WithoutCancel(ctx))
			}
		},
		"is a group": func(ctx context.Context) error {
			return asyncio.WithTaskGroup(context.WithoutCancel(ctx), func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Go(func(ctx context.Context) error {
					for {
						hour(context.WithoutCancel(ctx))
					}
				})
				return nil
			})
		},
		"is in a timeout": func(ctx context.Context) error {
			for {
				asyncio.Timeout(context.WithoutCancel(ctx), time.Minute, hour)
			}
		},
		"waits for several": func(ctx context.Context) error {
			for {
				f := asyncio.NewFuture[int](ctx)
				asyncio.Wait(context.WithoutCancel(ctx), []asyncio.AnyFuture{f}, asyncio.WaitOptions{Timeout: time.Minute})
				asyncio.Gather[int](context.WithoutCancel(ctx), f)
				asyncio.Shield[int](context.WithoutCancel(ctx), f)
				for range asyncio.AsCompletedWithin[int](context.WithoutCancel(ctx), time.Minute, f) {
				}
			}
		},
	}
	for name, stubborn := range cases {
		t.Run("a task that "+name, func(t *testing.T) {
			noGoroutines(t, func() {
				var r reports
				var slept error
				deferred, called := false, false
				var task *asyncio.Task[struct{}]
				err := runLoop(func(ctx context.Context) error {
					task = asyncio.Go(ctx, func(ctx context.Context) error {
						defer func() {
							defer func() { deferred = true }()
							slept = hour(context.WithoutCancel(ctx)) // a deferred function may still try
						}()
						return stubborn(ctx)
					}, asyncio.WithName("stubborn"))
					task.AddDoneCallback(func(asyncio.AnyFuture) { called = true })
					asyncio.Yield(ctx)
					return asyncio.Yield(ctx)
				}, r.handler(), asyncio.WithShutdownGrace(5*time.Second))
				expectError(t, err, nil)
				expectError(t, slept, asyncio.ErrCancelled)
				if !task.Done() || !deferred || !called {
					t.Errorf("%v, its deferred functions ran: %v, its callback: %v", task, deferred, called)
				}
				found := false
				for _, ec := range r.list {
					if strings.Contains(ec.Source.String(), "stubborn") && strings.Contains(ec.Message, "by force") && strings.Contains(ec.CreatedAt, "close_test.go") {
						found = true
					}
				}
				if !found {
					t.Errorf("%d reports, none of the task", len(r.list))
				}
			})
		})
	}
	t.Run("in its own time, if it needs no more than the grace", func(t *testing.T) {
		done := false
		expectError(t, runLoop(func(ctx context.Context) error {
			asyncio.Go(ctx, func(ctx context.Context) error {
				err := hour(ctx)
				done = asyncio.Sleep(asyncio.CleanupContext(ctx), sec(4)) == nil
				return err
			})
			return asyncio.Yield(ctx)
		}, noReports(t), asyncio.WithShutdownGrace(sec(5))), nil)
		if !done {
			t.Error("it was not let finish")
		}
	})
	t.Run("without a grace", func(t *testing.T) {
		noGoroutines(t, func() {
			var r reports
			var task *asyncio.Task[struct{}]
			expectError(t, runLoop(func(ctx context.Context) error {
				task = asyncio.Go(ctx, hour)
				return asyncio.Yield(ctx)
			}, r.handler(), asyncio.WithShutdownGrace(-1)), nil)
			if !task.Cancelled() || len(r.list) != 1 {
				t.Errorf("%v, %d reports", task, len(r.list))
			}
		})
	})
	t.Run("one that can never go on does not use up the grace", func(t *testing.T) {
		var r reports
		var loop *asyncio.EventLoop
		expectError(t, runLoop(func(ctx context.Context) error {
			loop = asyncio.CurrentTask(ctx).Loop()
			asyncio.Go(ctx, func(ctx context.Context) error {
				return asyncio.NewFuture[int](ctx).Wait(context.WithoutCancel(ctx))
			})
			return asyncio.Yield(ctx)
		}, r.handler(), asyncio.WithShutdownGrace(sec(5))), nil)
		if len(r.list) != 1 || loop.Time() > sec(5) {
			t.Errorf("%d reports at %v", len(r.list), loop.Time())
		}
	})
}

func TestCloseTasksOfTasks(t *testing.T) {
	for _, grace := range []time.Duration{0, sec(5)} {
		t.Run(fmt.Sprintf("tasks that deferred functions create, grace %v", grace), func(t *testing.T) {
			noGoroutines(t, func() {
				var r reports
				var tasks []*asyncio.Task[struct{}]
				var create func(depth int) func(ctx context.Context) error
				create = func(depth int) func(ctx context.Context) error {
					return func(ctx context.Context) error {
						if depth > 0 {
							defer func() { tasks = append(tasks, asyncio.Go(ctx, create(depth-1))) }()
						}
						return hour(ctx)
					}
				}
				expectError(t, runLoop(func(ctx context.Context) error {
					tasks = append(tasks, asyncio.Go(ctx, create(3)))
					return asyncio.Yield(ctx)
				}, r.handler(), asyncio.WithShutdownGrace(grace)), nil)
				for _, task := range tasks {
					if !task.Cancelled() {
						t.Errorf("%v", task)
					}
				}
			})
		})
	}
	t.Run("a task that always creates another", func(t *testing.T) {
		noGoroutines(t, func() {
			var successor func(ctx context.Context) error
			successor = func(ctx context.Context) error {
				defer asyncio.Go(ctx, successor)
				return asyncio.Yield(ctx)
			}
			expectError(t, runLoop(func(ctx context.Context) error {
				asyncio.Go(ctx, successor)
				return asyncio.Yield(ctx)
			}, asyncio.WithExceptionHandler(func(*asyncio.EventLoop, *asyncio.ErrorContext) {}), asyncio.WithShutdownGrace(0)), nil)
		})
	})
	t.Run("the callbacks of the last tasks run", func(t *testing.T) {
		var j journal
		expectError(t, runLoop(func(ctx context.Context) error {
			asyncio.Go(ctx, hour).AddDoneCallback(func(f asyncio.AnyFuture) {
				j.say("done")
				f.Loop().CallSoon(func() { j.say("after") })
			})
			return asyncio.Yield(ctx)
		}), nil)
		j.expect(t, "done after")
	})
	t.Run("callbacks without end do not keep it open", func(t *testing.T) {
		expectError(t, runLoop(func(ctx context.Context) error {
			countPasses(ctx)
			asyncio.Go(ctx, hour)
			return asyncio.Yield(ctx)
		}), nil)
	})
	t.Run("a loop that has never run", func(t *testing.T) {
		loop := asyncio.NewEventLoop()
		ctx := loop.Context(background)
		task := asyncio.Go(ctx, func(context.Context) error {
			t.Error("it runs")
			return nil
		})
		expectError(t, loop.Close(), nil)
		if !task.Cancelled() {
			t.Errorf("%v", task)
		}
	})
}

func TestCloseWithThreads(t *testing.T) {
	t.Run("a function that returns in time is waited for", func(t *testing.T) {
		noGoroutines(t, func() {
			returned := false
			expectError(t, asyncio.Run(background, func(ctx context.Context) error {
				began := make(chan struct{})
				asyncio.Go(ctx, func(ctx context.Context) error {
					_, err := asyncio.ToThread(ctx, func(ctx context.Context) (int, error) {
						close(began)
						<-ctx.Done()
						returned = true
						return 0, nil
					})
					return err
				}, asyncio.EagerStart())
				<-began
				return nil
			}), nil)
			if !returned {
				t.Error("it was not")
			}
		})
	})
	t.Run("one that never returns is named", func(t *testing.T) {
		noGoroutines(t, func() {
			release := make(chan struct{})
			began := make(chan struct{})
			err := asyncio.Run(background, func(ctx context.Context) error {
				asyncio.Go(ctx, func(ctx context.Context) error {
					_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
						close(began)
						<-release
						return 0, nil
					})
					return err
				}, asyncio.EagerStart())
				<-began
				return io2
			}, asyncio.WithShutdownGrace(time.Millisecond))
			close(release)
			expectError(t, err, io2)
			if !strings.Contains(err.Error(), "still running") || !strings.Contains(err.Error(), "ToThread") || !strings.Contains(err.Error(), "close_test.go") {
				t.Errorf("error %v", err)
			}
		})
	})
}

func TestNoGoroutineIsLeft(t *testing.T) {
	noGoroutines(t, func() {
		for range 3 {
			asynciotest.Run(t, func(ctx context.Context) error {
				var children []asyncio.Awaitable[int]
				for i := range 100 {
					children = append(children, asyncio.CreateTask(ctx, later(time.Duration(i), i)))
				}
				asyncio.Go(ctx, func(context.Context) error { runtime.Goexit(); return nil })
				asyncio.Go(ctx, func(context.Context) error { panic("oops") }).AddDoneCallback(func(f asyncio.AnyFuture) { f.Err() })
				asyncio.Go(ctx, hour)
				c, cancel := context.WithTimeout(ctx, time.Hour)
				defer cancel()
				asyncio.Sleep(c, 1)
				_, err := asyncio.Gather(ctx, children...)
				return err
			}, asyncio.WithExceptionHandler(func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) {
				if !errors.Is(ec.Err, asyncio.ErrGoexit) {
					t.Errorf("report %+v", ec)
				}
			}))
		}
	})
}

func TestCloseTellsWhatBlocksIt(t *testing.T) {
	release := make(chan struct{})
	logged := make(chan string, 1)
	logger := slog.New(logHandler(func(r slog.Record) {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "task" {
				logged <- r.Message + ": " + a.Value.String()
				close(release)
			}
			return true
		})
	}))
	noGoroutines(t, func() {
		err := runLoop(func(ctx context.Context) error {
			asyncio.Go(ctx, func(ctx context.Context) error {
				hour(ctx)
				<-release // it does not await: the loop's thread waits here
				return nil
			}, asyncio.WithName("blocker"))
			return asyncio.Yield(ctx)
		}, asyncio.WithLogger(logger), asyncio.WithShutdownGrace(0))
		if err != nil {
			t.Error(err)
		}
	})
	if got, want := <-logged, "asyncio: Close is blocked by a task that does not await: blocker"; got != want {
		t.Errorf("logged %q, want %q", got, want)
	}
}

// TestCloseMayWaitForEver: however long the grace, nobody is told of a task that gets on.
func TestCloseMayWaitForEver(t *testing.T) {
	logger := slog.New(logHandler(func(r slog.Record) { t.Errorf("logged %q", r.Message) }))
	err := asyncio.Run(background, func(ctx context.Context) error {
		asyncio.Go(ctx, func(ctx context.Context) error {
			hour(ctx)
			ctx = asyncio.CleanupContext(ctx)
			for range 100 { // a watchdog would have its turn
				asyncio.Sleep(ctx, 100*time.Microsecond)
			}
			return nil
		})
		return asyncio.Yield(ctx)
	}, asyncio.WithLogger(logger), asyncio.WithShutdownGrace(asyncio.Forever))
	expectError(t, err, nil)
}

// A logHandler is a function that gets every record.
type logHandler func(slog.Record)

func (logHandler) Enabled(context.Context, slog.Level) bool        { return true }
func (h logHandler) Handle(_ context.Context, r slog.Record) error { h(r); return nil }
func (h logHandler) WithAttrs([]slog.Attr) slog.Handler            { return h }
func (h logHandler) WithGroup(string) slog.Handler                 { return h }

// TestForcedWaitsAreCounted: whatever a task waits for when it is ended by force, the loop
// does not take it for awaited from then on.
func TestForcedWaitsAreCounted(t *testing.T) {
	serve := func(context.Context, *asyncio.StreamReader, *asyncio.StreamWriter) error { return nil }
	for name, prepare := range map[string]func(t *testing.T, ctx context.Context) (wait func(ctx context.Context)){
		"a future": func(t *testing.T, ctx context.Context) func(context.Context) {
			f := asyncio.NewFuture[int](ctx)
			return func(ctx context.Context) { asyncio.Shield(ctx, f) }
		},
		"a server that is to close": func(t *testing.T, ctx context.Context) func(context.Context) {
			srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", serve, nil)
			if err != nil {
				t.Fatal(err)
			}
			return func(ctx context.Context) { srv.WaitClosed(ctx) }
		},
		"a stream that is to be read": func(t *testing.T, ctx context.Context) func(context.Context) {
			client, _, _ := streamPair(t, ctx, "tcp", "127.0.0.1:0")
			return func(ctx context.Context) { client.r.ReadSome(ctx) }
		},
		"a stream that is to close": func(t *testing.T, ctx context.Context) func(context.Context) {
			client, _, _ := streamPair(t, ctx, "tcp", "127.0.0.1:0")
			return func(ctx context.Context) { client.w.WaitClosed(ctx) }
		},
		"a connection that is to be made": func(t *testing.T, ctx context.Context) func(context.Context) {
			ln, err := net.Listen("tcp", "127.0.0.1:0") // it says nothing
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
			return func(ctx context.Context) {
				asyncio.OpenConnection(ctx, "tcp", ln.Addr().String(), &asyncio.ConnOptions{TLS: &tls.Config{InsecureSkipVerify: true}})
			}
		},
		"a datagram": func(t *testing.T, ctx context.Context) func(context.Context) {
			e, err := asyncio.OpenDatagramEndpoint(ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
			if err != nil {
				t.Fatal(err)
			}
			return func(ctx context.Context) { e.ReadFrom(ctx, make([]byte, 1)) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			var loop *asyncio.EventLoop
			asynciotest.Run(t, func(ctx context.Context) error {
				loop = asyncio.CurrentTask(ctx).Loop()
				wait := prepare(t, ctx)
				stubborn := asyncio.Go(ctx, func(ctx context.Context) error {
					for {
						wait(context.WithoutCancel(ctx))
					}
				})
				settle(ctx)
				if stubborn.Done() {
					t.Error("it does not wait")
				}
				return nil
			}, asyncio.WithShutdownGrace(0), new(reports).handler())
			if n := loop.Awaited(); n != 0 {
				t.Errorf("%d waits are counted", n)
			}
		})
	}
}
