// Tests of how failures on a simulated network reach the test that runs it.

package asynciotest_test

import (
	"context"
	"errors"
	"fmt"
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

func (n *networkTB) Helper()         {}
func (n *networkTB) Log(args ...any) { fmt.Fprintln(&n.text, args...) }

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
