// Tests of how failures on a simulated network reach the test that runs it.

package asynciotest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// networkTB is a test that keeps its log.
type networkTB struct {
	testing.TB
	text   strings.Builder
	failed bool
}

func (n *networkTB) Helper()           {}
func (n *networkTB) Output() io.Writer { return &n.text }
func (n *networkTB) Fail()             { n.failed = true }
func (n *networkTB) Failed() bool      { return n.failed }

func (n *networkTB) Log(args ...any) {
	fmt.Fprintf(&n.text, "some_test.go:1: %s", fmt.Sprintln(args...))
}

func (n *networkTB) Logf(format string, args ...any) { n.Log(fmt.Sprintf(format, args...)) }

func (n *networkTB) Fatal(args ...any) {
	n.Log(args...)
	n.failed = true
	runtime.Goexit()
}

// runNetwork runs main on n with a test of its own, and returns whether that has
// failed, and its log.
func runNetwork(n *asynciotest.Network, main func(ctx context.Context) error, opts ...asyncio.RunOption) (failed bool, log string) {
	tb := new(networkTB)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.Run(tb, main, opts...)
	}()
	<-ended
	return tb.failed, tb.text.String()
}

func explode(context.Context) error { panic("oops") }

func TestPanicsFailTheTest(t *testing.T) {
	for _, test := range []struct {
		name    string
		program func(ctx context.Context) error
		main    func(ctx context.Context, p *asynciotest.Program) error
		want    []string
	}{
		{
			"that main returns", explode,
			func(ctx context.Context, p *asynciotest.Program) error { return p.Wait(ctx) },
			[]string{"seed 9: ", "a (program 1): panic: oops\n", "explode("},
		},
		{
			"that main returns wrapped", explode,
			func(ctx context.Context, p *asynciotest.Program) error { return fmt.Errorf("client: %w", p.Wait(ctx)) },
			[]string{"seed 9: ", "client: a (program 1): panic: oops\n", "explode("},
		},
		{
			"that nobody waits for", explode,
			func(ctx context.Context, p *asynciotest.Program) error { return asyncio.Sleep(ctx, time.Second) },
			[]string{"seed 9: a (program 1): panic: oops\n", "explode("},
		},
		{
			"of a task that the program returns",
			func(ctx context.Context) error { return asyncio.Go(ctx, explode).Wait(ctx) },
			func(ctx context.Context, p *asynciotest.Program) error { return p.Wait(ctx) },
			[]string{"seed 9: ", "a (program 1): panic: oops\n", "explode("},
		},
		{
			"of main", func(context.Context) error { return nil },
			func(ctx context.Context, p *asynciotest.Program) error { return explode(ctx) },
			[]string{"seed 9: outside (main): panic: oops\n", "explode("},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			leavesNothing(t)
			n := asynciotest.NewNetwork(9)
			p := n.Host("a").Go(test.program)
			failed, log := runNetwork(n, func(ctx context.Context) error { return test.main(ctx, p) })
			if !failed {
				t.Error("the test has not failed")
			}
			for _, want := range test.want {
				if strings.Count(log, want) != 1 {
					t.Errorf("the log has %q %d times:\n%s", want, strings.Count(log, want), log)
				}
			}
		})
	}
}

// Wait is about the run that is under way when it is called.
func TestWaitAndRestart(t *testing.T) {
	broken := errors.New("broken")
	for _, pause := range []time.Duration{0, time.Second} {
		t.Run(pause.String(), func(t *testing.T) {
			leavesNothing(t)
			n := asynciotest.NewNetwork(1)
			h := n.Host("a")
			p := h.Go(func(ctx context.Context) error {
				if err := asyncio.Sleep(ctx, 10*time.Second); err != nil {
					return err
				}
				return broken
			})
			err := n.Simulate(func(ctx context.Context) error {
				restart := asyncio.Go(ctx, func(ctx context.Context) error {
					if err := asyncio.Sleep(ctx, time.Second); err != nil {
						return err
					}
					h.Crash()
					if err := asyncio.Sleep(ctx, pause); err != nil {
						return err
					}
					h.Restart()
					return nil
				})
				if err := p.Wait(ctx); err != asynciotest.ErrCrashed {
					t.Errorf("Wait = %v at the crash", err)
				}
				if err := restart.Wait(ctx); err != nil {
					return err
				}
				if err := p.Err(); err != nil || !p.Running() {
					t.Errorf("Err = %v after the restart", err)
				}
				if pause == 0 {
					if err := p.Wait(ctx); err != broken {
						t.Errorf("Wait = %v in the end", err)
					}
					return nil
				}
				return asyncio.Sleep(ctx, time.Minute)
			})
			// The first Wait was not for the second run.
			if want := pause > 0; errors.Is(err, broken) != want {
				t.Errorf("Simulate = %v", err)
			}
		})
	}
}

// What nobody has retrieved when the power is cut appears in the log.
func TestFailuresBeforeACrash(t *testing.T) {
	background := func(ctx context.Context) error {
		asyncio.Go(ctx, explode)
		asyncio.Go(ctx, func(context.Context) error { return errors.New("gone wrong") })
		retrieved := asyncio.Go(ctx, func(context.Context) error { return errors.New("known") })
		if err := retrieved.Wait(ctx); err == nil {
			return errors.New("the task has not failed")
		}
		return asyncio.Sleep(ctx, time.Hour)
	}
	minute := func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Minute) }
	for _, test := range []struct {
		name string
		main func(ctx context.Context, h *asynciotest.Host) error
	}{
		{"the end of Run", func(ctx context.Context, h *asynciotest.Host) error { return minute(ctx) }},
		{"Crash", func(ctx context.Context, h *asynciotest.Host) error {
			if err := minute(ctx); err != nil {
				return err
			}
			h.Crash()
			return minute(ctx)
		}},
		{"a handler of the program", func(ctx context.Context, h *asynciotest.Host) error {
			if err := minute(ctx); err != nil {
				return err
			}
			h.Go(background, asyncio.WithExceptionHandler(func(*asyncio.EventLoop, *asyncio.ErrorContext) {
				t.Error("a handler runs after the end")
			}))
			return minute(ctx)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			leavesNothing(t)
			n := asynciotest.NewNetwork(1)
			h := n.Host("a")
			h.Go(background)
			failed, log := runNetwork(n, func(ctx context.Context) error { return test.main(ctx, h) })
			if !failed {
				t.Error("the test has not failed, in spite of the panic")
			}
			for _, want := range []string{"a: (program 1) level=ERROR msg=\"asyncio: error was never retrieved\"", "panic: oops", "gone wrong"} {
				if !strings.Contains(log, want) {
					t.Errorf("%q is not in the log:\n%s", want, log)
				}
			}
			for _, wrong := range []string{"known", "crashed", "halted"} {
				if strings.Contains(log, wrong) {
					t.Errorf("%q is in the log:\n%s", wrong, log)
				}
			}
		})
	}
}

// The loops of programs log to the test, unless they have loggers.
func TestProgramsLogToTheTest(t *testing.T) {
	leavesNothing(t)
	callback := func(ctx context.Context) error {
		asyncio.RunningLoop(ctx).CallLater(time.Second, func() { panic("oops") })
		return asyncio.Sleep(ctx, time.Minute)
	}
	var own strings.Builder
	n := asynciotest.NewNetwork(1)
	n.Host("a").Go(callback)
	n.Host("b").Go(callback, asyncio.WithLogger(slog.New(slog.NewTextHandler(&own, nil))))
	failed, log := runNetwork(n, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) })
	if !failed || strings.Count(log, "panic: oops") != 1 || !strings.HasPrefix(log, "          1s  a: (program 1) level=ERROR") {
		t.Errorf("failed: %v, the log is\n%s", failed, log)
	}
	if strings.Count(own.String(), "panic: oops") != 1 {
		t.Errorf("the own log is\n%s", own.String())
	}
}

// Whatever fails the test, its log has the seed, once.
func TestNetworkTellsTheSeed(t *testing.T) {
	second := func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Second) }
	for name, main := range map[string]func(tb testing.TB, n *asynciotest.Network) func(ctx context.Context) error{
		"Fail": func(tb testing.TB, n *asynciotest.Network) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				tb.Fail()
				return second(ctx)
			}
		},
		"Fatal": func(tb testing.TB, n *asynciotest.Network) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				tb.Fatal("wrong")
				return nil
			}
		},
		"an error": func(tb testing.TB, n *asynciotest.Network) func(ctx context.Context) error {
			return func(ctx context.Context) error { return errors.New("wrong") }
		},
		"a panic": func(tb testing.TB, n *asynciotest.Network) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				asyncio.Go(ctx, explode)
				return second(ctx)
			}
		},
		"nothing": func(tb testing.TB, n *asynciotest.Network) func(ctx context.Context) error { return second },
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			tb := new(networkTB)
			n := asynciotest.NewNetwork(1234)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				n.Run(tb, main(tb, n))
			}()
			<-ended
			want := 1
			if name == "nothing" {
				want = 0
			}
			if log := tb.text.String(); tb.failed != (want == 1) || strings.Count(log, "seed 1234") != want {
				t.Errorf("failed: %v, the log is\n%s", tb.failed, log)
			}
		})
	}
}
