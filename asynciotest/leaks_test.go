// Tests of NoLeaks: what it finds, and what it leaves alone.

package asynciotest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// leakTB is a test that notes its errors.
type leakTB struct {
	testing.TB
	errors   []string
	cleanups []func()
	failed   bool
}

func (l *leakTB) Helper() {}

func (l *leakTB) Fatal(args ...any) {
	l.Error(args...)
	l.failed = true
}

func (l *leakTB) Failed() bool                      { return l.failed }
func (l *leakTB) Cleanup(f func())                  { l.cleanups = append(l.cleanups, f) }
func (l *leakTB) Error(args ...any)                 { l.errors = append(l.errors, fmt.Sprint(args...)) }
func (l *leakTB) Errorf(format string, args ...any) { l.Error(fmt.Sprintf(format, args...)) }

// leaks runs main with NoLeaks and returns what that says.
func leaks(t *testing.T, main func(ctx context.Context) error) string {
	t.Helper()
	tb := new(leakTB)
	err := asyncio.Run(context.Background(), main, asynciotest.WithVirtualClock(), asynciotest.NoLeaks(tb), asyncio.WithShutdownGrace(time.Millisecond))
	if err != nil && !strings.Contains(err.Error(), "still running") {
		t.Error(err)
	}
	for _, f := range tb.cleanups {
		f()
	}
	return strings.Join(tb.errors, "\n")
}

func TestNoLeaksFinds(t *testing.T) {
	release := make(chan struct{})
	tests := map[string]struct {
		main func(ctx context.Context) error
		says []string
	}{
		"task": {
			func(ctx context.Context) error {
				forgotten(ctx)
				return asyncio.Yield(ctx)
			},
			[]string{"task: <Task straggler pending", "asynciotest_test.forgotten ", "leaks_test.go:"},
		},
		"timer": {
			func(ctx context.Context) error {
				asyncio.RunningLoop(ctx).CallLater(time.Hour, func() {})
				return nil
			},
			[]string{"timer: <Handle", "TestNoLeaksFinds", "leaks_test.go:"},
		},
		"callback": {
			func(ctx context.Context) error {
				loop := asyncio.RunningLoop(ctx)
				var again func()
				again = func() { loop.CallSoon(again) }
				again()
				return nil
			},
			[]string{"callback: <Handle", "TestNoLeaksFinds", "leaks_test.go:"},
		},
		"server": {
			func(ctx context.Context) error {
				_, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(context.Context, *asyncio.StreamReader, *asyncio.StreamWriter) error { return nil }, nil)
				return err
			},
			[]string{"open: <listener 127.0.0.1:", "TestNoLeaksFinds", "leaks_test.go:"},
		},
		"connection": {
			func(ctx context.Context) error {
				s, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(context.Context, *asyncio.StreamReader, *asyncio.StreamWriter) error { return nil }, nil)
				if err != nil {
					return err
				}
				_, _, err = asyncio.OpenConnection(ctx, "tcp", s.Addrs()[0].String(), nil)
				return errors.Join(err, s.Close(), s.WaitClosed(ctx))
			},
			[]string{"open: <StreamWriter ", "TestNoLeaksFinds", "leaks_test.go:"},
		},
		"signal": {
			func(ctx context.Context) error {
				return asyncio.RunningLoop(ctx).AddSignalHandler(os.Interrupt, func() {})
			},
			[]string{"open: <signals interrupt>", "leaks_test.go:"},
		},
		"promise": {
			func(ctx context.Context) error {
				asyncio.NewPromise[int](ctx)
				return nil
			},
			[]string{"open: Promise of <Future pending", "leaks_test.go:"},
		},
		"worker": {
			func(ctx context.Context) error {
				began := make(chan struct{})
				asyncio.Go(ctx, func(ctx context.Context) error {
					_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
						close(began)
						<-release
						return 0, nil
					})
					return err
				})
				err := asyncio.Yield(ctx)
				<-began
				return err
			},
			[]string{"task: ", "worker: a function run by ToThread", "goroutine: "},
		},
		"goroutine": {
			func(ctx context.Context) error {
				go stuck(release)
				go stuck(release)
				return nil
			},
			[]string{"goroutine: github.com/goasyncio/asyncio/asynciotest_test.stuck (2 of them)", "leaks_test.go:", "created by github.com/goasyncio/asyncio/asynciotest_test.TestNoLeaksFinds"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := leaks(t, test.main)
			for _, want := range test.says {
				if !strings.Contains(got, want) {
					t.Errorf("it does not say %q:\n%s", want, got)
				}
			}
		})
	}
	close(release)
}

func forgotten(ctx context.Context) {
	asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) }, asyncio.WithName("straggler"))
}

func stuck(release <-chan struct{}) { <-release }

func TestNoLeaksPasses(t *testing.T) {
	other := make(chan struct{})
	defer close(other)
	go stuck(other) // is none of the program's
	tests := map[string]func(ctx context.Context) error{
		"nothing": func(ctx context.Context) error { return nil },
		"what was ended": func(ctx context.Context) error {
			loop := asyncio.RunningLoop(ctx)
			loop.CallLater(time.Hour, func() {}).Cancel()
			loop.CallSoon(func() {}).Cancel()
			task := asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) })
			if err := asyncio.Yield(ctx); err != nil {
				return err
			}
			task.Cancel(nil)
			if err := task.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
				return err
			}
			return asyncio.Timeout(ctx, time.Hour, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Minute) })
		},
		"what is about to end": func(ctx context.Context) error {
			asyncio.Go(ctx, func(ctx context.Context) error { return errors.Join(asyncio.Yield(ctx), asyncio.Yield(ctx)) })
			asyncio.RunningLoop(ctx).CallSoon(func() {})
			return nil
		},
		"a worker": func(ctx context.Context) error {
			_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) { return 0, nil })
			return err
		},
		"a goroutine that ends": func(ctx context.Context) error {
			go func() { time.Sleep(10 * time.Millisecond) }()
			return nil
		},
		"a signal handler": func(ctx context.Context) error {
			loop := asyncio.RunningLoop(ctx)
			if err := loop.AddSignalHandler(os.Interrupt, func() {}); err != nil {
				return err
			}
			if !loop.RemoveSignalHandler(os.Interrupt) {
				t.Error("the handler was not there")
			}
			return nil
		},
	}
	for name, main := range tests {
		t.Run(name, func(t *testing.T) {
			if got := leaks(t, main); got != "" {
				t.Error(got)
			}
		})
	}
	signal.Reset(os.Interrupt)
}

func TestNoLeaksOfAFailedTest(t *testing.T) {
	tb := &leakTB{failed: true}
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		forgotten(ctx)
		return nil
	}, asynciotest.NoLeaks(tb), asynciotest.WithVirtualClock())
	if err != nil || tb.errors != nil {
		t.Errorf("Run = %v, errors %q", err, tb.errors)
	}
}

// What has failed the test stands alone, without what it has left behind.
func TestNoLeaksAfterAFailure(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		end  func(ctx context.Context) error
		says error
	}{
		"a deadlock": {func(ctx context.Context) error { return new(asyncio.Event).Wait(ctx) }, asyncio.ErrDeadlock},
		"an error":   {func(context.Context) error { return broken }, broken},
	} {
		t.Run(name, func(t *testing.T) {
			tb := new(leakTB)
			asynciotest.Run(tb, func(ctx context.Context) error {
				asyncio.Go(ctx, func(ctx context.Context) error { return new(asyncio.Event).Wait(ctx) })
				return test.end(ctx)
			}, asynciotest.NoLeaks(tb))
			for _, f := range tb.cleanups {
				f()
			}
			if len(tb.errors) != 1 || !strings.Contains(tb.errors[0], test.says.Error()) {
				t.Errorf("it says %q", tb.errors)
			}
		})
	}
}

// On a host a program is named as such, and its leaks with the lines of the test alone.
func TestNoLeaksOnAHost(t *testing.T) {
	tb := new(leakTB)
	n := asynciotest.NewNetwork(1)
	p := n.Host("a").Go(func(ctx context.Context) error {
		asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) })
		return nil
	}, asynciotest.NoLeaks(tb))
	n.Run(t, p.Wait)
	for _, f := range tb.cleanups {
		f()
	}
	if len(tb.errors) != 1 || !strings.Contains(tb.errors[0], "the program of a simulated host has left behind:") ||
		!strings.Contains(tb.errors[0], "TestNoLeaksOnAHost") || strings.Contains(tb.errors[0], "RunCoroutine") {
		t.Errorf("it says %q", tb.errors)
	}
}

// What a crash ends, or the end of the network, was not left behind by the program.
func TestNoLeaksAfterACrash(t *testing.T) {
	n := asynciotest.NewNetwork(1)
	h := n.Host("a")
	h.Go(func(ctx context.Context) error {
		forgotten(ctx)
		return new(asyncio.Event).Wait(ctx)
	}, asynciotest.NoLeaks(t))
	n.Run(t, func(ctx context.Context) error {
		for range 2 {
			if err := asyncio.Sleep(ctx, time.Second); err != nil {
				return err
			}
			h.Restart()
		}
		return asyncio.Sleep(ctx, time.Second)
	})
}

func TestNoLeaksWithoutClose(t *testing.T) {
	tb := new(leakTB)
	loop := asyncio.NewEventLoop(asynciotest.NoLeaks(tb))
	for _, f := range tb.cleanups {
		f()
	}
	if len(tb.errors) != 1 || !strings.Contains(tb.errors[0], "was never closed") {
		t.Errorf("errors %q", tb.errors)
	}
	if err := loop.Close(); err != nil {
		t.Error(err)
	}
}

// NoLeaks goes together with Explore.
func TestNoLeaksExplored(t *testing.T) {
	asynciotest.Explore(t, 50, func(t testing.TB, sim *asynciotest.Sim) {
		err := sim.Run(func(ctx context.Context) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				for range 3 {
					g.Go(pause)
				}
				return nil
			})
		}, asynciotest.NoLeaks(t))
		if err != nil {
			t.Fatal(err)
		}
	})
	if out := explored(t, "leak"); !strings.Contains(out, "  asynciotest: the program run at ") || !strings.Contains(out, "task: <Task straggler pending") || !strings.Contains(out, "-asynciotest.seed=1\n") {
		t.Errorf("it does not tell of the task, or in a place that is none:\n%s", out)
	}
}

// What is closing is not closed yet, and the report says how to wait for that.
func TestNoLeaksWhileClosing(t *testing.T) {
	leavesNothing(t)
	tb := new(leakTB)
	n := asynciotest.NewNetwork(1)
	n.Host("server").Go(func(ctx context.Context) error {
		s, err := asyncio.StartServer(ctx, "tcp", ":7", func(ctx context.Context, _ *asyncio.StreamReader, _ *asyncio.StreamWriter) error {
			return asyncio.Sleep(ctx, time.Hour) // it does not read
		}, nil)
		if err != nil {
			return err
		}
		return s.ServeForever(ctx)
	})
	n.Run(t, func(ctx context.Context) error {
		_, w, err := asyncio.OpenConnection(ctx, "tcp", "server:7", nil)
		if err != nil {
			return err
		}
		w.Write(make([]byte, 1<<20))
		return w.Close()
	}, asynciotest.NoLeaks(tb))
	for _, f := range tb.cleanups {
		f()
	}
	if said := strings.Join(tb.errors, "\n"); !strings.Contains(said, "open: <StreamWriter closing") || !strings.Contains(said, "wait for that with WaitClosed\n") {
		t.Errorf("it says %q", said)
	}
}
