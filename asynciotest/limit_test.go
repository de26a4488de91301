// Tests of runs that would go on for ever.

package asynciotest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// beat is a heartbeat that nobody ends.
func beat(ctx context.Context) error {
	for {
		if err := asyncio.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// whirl never has to wait.
func whirl(ctx context.Context) error {
	for {
		if err := asyncio.Yield(ctx); err != nil {
			return err
		}
	}
}

// forgetful waits for something that never happens, while something else goes on.
func forgetful(goesOn func(ctx context.Context) error) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		asyncio.Go(ctx, goesOn, asyncio.WithName("perpetual"))
		return asyncio.NewFuture[int](ctx).Wait(ctx)
	}
}

func TestEndlessRun(t *testing.T) {
	for name, test := range map[string]struct {
		goesOn func(ctx context.Context) error
		limit  asynciotest.LimitOption
		says   []string
	}{
		"steps of a heartbeat": {beat, asynciotest.StepLimit(1000), []string{"there were 1000 steps (see StepLimit) until 8m", "task perpetual", "task main"}},
		"time of a heartbeat":  {beat, asynciotest.TimeLimit(time.Hour), []string{"goes on after 1h0m0s (see TimeLimit)", "task perpetual"}},
		"steps without a wait": {whirl, asynciotest.StepLimit(1000), []string{"there were 1000 steps (see StepLimit) until 0s\n", "task perpetual: waits in Yield at limit_test.go:29", "task main: waits for a future at limit_test.go:39"}},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			check := func(text string) {
				t.Helper()
				for _, want := range append(test.says, "asynciotest: the run does not come to an end: ") {
					if !strings.Contains(text, want) {
						t.Errorf("it does not say %q:\n%s", want, text)
					}
				}
			}
			for range 2 {
				check(recordTB(func(t testing.TB) {
					asynciotest.Run(t, forgetful(test.goesOn), asynciotest.WithVirtualClock(test.limit))
				}))
			}
			var err error
			asynciotest.CheckDeterminism(t, func(t testing.TB, sim *asynciotest.Sim) {
				if err = sim.Run(forgetful(test.goesOn)); !errors.Is(err, asynciotest.ErrEndless) {
					t.Errorf("Sim.Run = %v", err)
				}
				if again := sim.Run(forgetful(test.goesOn)); again != err {
					t.Errorf("Sim.Run = %v afterwards", again)
				}
			}, test.limit)
			if text := err.Error(); !strings.Contains(text, "asynciotest: the run does not come to an end: ") || !strings.Contains(text, "task perpetual") {
				t.Errorf("Sim.Run = %v", err)
			}
		})
	}
}

func TestEndlessNetwork(t *testing.T) {
	for name, test := range map[string]struct {
		goesOn func(ctx context.Context) error
		limit  asynciotest.LimitOption
		says   []string
	}{
		"steps of a heartbeat": {beat, asynciotest.StepLimit(1000), []string{"there were 1000 steps (see StepLimit) until ", "\nheart (program 1), 496 turns:"}},
		"time of a heartbeat":  {beat, asynciotest.TimeLimit(time.Hour), []string{"goes on after 1h0m0s (see TimeLimit)", "\nheart (program 1), 360"}},
		"steps without a wait": {whirl, asynciotest.StepLimit(1000), []string{"there were 1000 steps (see StepLimit) until ", "\nheart (program 1), which never waits:"}},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			log := ""
			for range 2 {
				n := asynciotest.NewNetwork(7, steady, test.limit)
				n.Host("server").Go(echo)
				p := n.Host("heart").Go(forgetful(test.goesOn))
				failed, text := runNetwork(n, func(ctx context.Context) error {
					_, _, err := asyncio.OpenConnection(ctx, "tcp", "server:7", nil)
					return errors.Join(err, p.Wait(ctx))
				})
				if !failed || log != "" && text != log {
					t.Errorf("failed: %v\n%s\nat first\n%s", failed, text, log)
				}
				log = text
				if !errors.Is(p.Err(), asynciotest.ErrEndless) {
					t.Errorf("the program has ended with %v", p.Err())
				}
			}
			for _, want := range append(test.says, "seed 7: asynciotest: the run does not come to an end: ", "\noutside (main), ", "\nserver (program 1), ", "task perpetual", "task main") {
				if !strings.Contains(log, want) {
					t.Errorf("it does not say %q:\n%s", want, log)
				}
			}
		})
	}
}

// A program that has not had its first turn when the run is over never begins.
func TestEndlessBeforeBeginning(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1, asynciotest.StepLimit(10))
	for i := range 20 {
		n.Host(fmt.Sprint("host", i)).Go(func(ctx context.Context) error {
			if i > 10 {
				t.Error("it has begun:", i)
			}
			return asyncio.Sleep(ctx, time.Hour)
		})
	}
	if err := n.Simulate(func(ctx context.Context) error { return beat(ctx) }); !errors.Is(err, asynciotest.ErrEndless) || !strings.Contains(err.Error(), "host19 (program 1), 0 turns") {
		t.Errorf("Simulate = %v", err)
	}
}

// An honest run ends with its limit still ahead.
func TestWithinLimits(t *testing.T) {
	leavesNothing(t)
	main := func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) }
	limits := []asynciotest.LimitOption{asynciotest.StepLimit(100), asynciotest.TimeLimit(time.Hour)}
	asynciotest.Run(t, main, asynciotest.WithVirtualClock(limits...))
	asynciotest.NewNetwork(1, limits[0], limits[1]).Run(t, main)
	asynciotest.CheckDeterminism(t, func(t testing.TB, sim *asynciotest.Sim) {
		if err := sim.Run(main); err != nil {
			t.Error(err)
		}
	}, limits[0], limits[1])
	asynciotest.CancelEverywhere(t, func(t testing.TB, sim *asynciotest.Sim) { tolerable(t, sim.Run(main)) }, limits[0], limits[1])
}

func TestLimitMistakes(t *testing.T) {
	for want, f := range map[string]func(){
		"asynciotest: StepLimit(0): the limit must be positive":  func() { asynciotest.StepLimit(0) },
		"asynciotest: TimeLimit(0s): the limit must be positive": func() { asynciotest.TimeLimit(0) },
		"asynciotest: WithVirtualClock: a limit is nil":          func() { asynciotest.WithVirtualClock(nil) },
		"asynciotest: NewNetwork: an option is nil":              func() { asynciotest.NewNetwork(1, nil) },
	} {
		func() {
			defer func() {
				if p := recover(); p != want {
					t.Errorf("the panic is %v, want %q", p, want)
				}
			}()
			f()
		}()
	}
}

// One that has crashed its own host, and never waits, is ended, too.
func TestEndlessAfterACrash(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1, asynciotest.StepLimit(1000))
	h := n.Host("a")
	h.Go(func(ctx context.Context) error {
		h.Crash()
		return whirl(ctx)
	})
	if err := n.Simulate(beat); !errors.Is(err, asynciotest.ErrEndless) || !strings.Contains(err.Error(), "a (program 1), which never waits") {
		t.Errorf("Simulate = %v", err)
	}
}

// The main of Run that crashes its own host is told as such.
func TestMainCrashes(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	err := n.Simulate(func(ctx context.Context) error {
		n.Outside().Crash()
		return asyncio.Sleep(ctx, time.Second)
	})
	if !errors.Is(err, asynciotest.ErrCrashed) || err.Error() != "outside (main): asynciotest: the host has crashed" {
		t.Errorf("Simulate = %v", err)
	}
}
