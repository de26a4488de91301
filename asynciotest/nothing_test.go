// Tests of what tests nothing: runs without a schedule, faults without a place, names
// of runs that do not exist.

package asynciotest_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func idle(testing.TB, *asynciotest.Sim) {}

func skipped(t testing.TB, _ *asynciotest.Sim) { t.Skip("not today") }

// sleeper waits in two tasks.
func sleeper(t testing.TB, sim *asynciotest.Sim) {
	tolerable(t, sim.Run(func(ctx context.Context) error {
		task := asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Second) }, asyncio.WithName("sleeper"))
		return task.Wait(ctx)
	}))
}

// retries goes on whatever happens.
func retries(t testing.TB, sim *asynciotest.Sim) {
	sim.Run(func(ctx context.Context) error {
		for i := 0; i < 3; {
			if asyncio.Sleep(ctx, time.Second) == nil {
				i++
			}
		}
		return nil
	})
}

// spins never ends, and cannot be ended when it is cancelled.
func spins(t testing.TB, sim *asynciotest.Sim) {
	sim.Run(func(ctx context.Context) error {
		spinner := asyncio.Go(ctx, func(ctx context.Context) error {
			for {
				_ = asyncio.Yield(ctx)
			}
		}, asyncio.WithName("spinner"))
		return spinner.Wait(ctx)
	})
}

// ignores does not look at how its run has ended.
func ignores(t testing.TB, sim *asynciotest.Sim) { _ = sim.Run(beat) }

// testNothing are programs for TestProgram.
var testNothing = map[string]func(t *testing.T){
	"retries":       func(t *testing.T) { asynciotest.CancelEverywhere(t, retries) },
	"spins":         func(t *testing.T) { asynciotest.Explore(t, 2, spins, asynciotest.StepLimit(100)) },
	"ignored limit": func(t *testing.T) { asynciotest.Explore(t, 3, ignores, asynciotest.StepLimit(100)) },
	"ignored limit, hosts": func(t *testing.T) {
		asynciotest.CheckDeterminism(t, func(t testing.TB, sim *asynciotest.Sim) {
			n := sim.Network()
			p := n.Host("heart").Go(beat)
			_ = n.Simulate(p.Wait)
		}, asynciotest.TimeLimit(time.Minute))
	},
	"ignored limit, faults": func(t *testing.T) { asynciotest.CancelEverywhere(t, ignores, asynciotest.StepLimit(100)) },
	"explore 0":             func(t *testing.T) { asynciotest.Explore(t, 0, sleeper) },
	"explore -3":            func(t *testing.T) { asynciotest.Explore(t, -3, sleeper) },
	"explore skipped":       func(t *testing.T) { asynciotest.Explore(t, 5, skipped) },
	"explore left": func(t *testing.T) {
		asynciotest.Explore(t, 5, func(testing.TB, *asynciotest.Sim) { runtime.Goexit() })
	},
	"explore idle, PCT": func(t *testing.T) { asynciotest.Explore(t, 5, idle, asynciotest.PCTSchedules(2)) },
	"explore idle, all": func(t *testing.T) { asynciotest.Explore(t, 5, idle, asynciotest.AllSchedules(2)) },
	"check idle":        func(t *testing.T) { asynciotest.CheckDeterminism(t, idle) },
	"check skipped":     func(t *testing.T) { asynciotest.CheckDeterminism(t, skipped) },
	"cancel idle":       func(t *testing.T) { asynciotest.CancelEverywhere(t, idle) },
	"cancel skipped":    func(t *testing.T) { asynciotest.CancelEverywhere(t, skipped) },
	"cancel typo":       func(t *testing.T) { asynciotest.CancelEverywhere(t, sleeper, asynciotest.OnlyTask("slepper")) },
	"panic idle":        func(t *testing.T) { asynciotest.PanicEverywhere(t, idle) },
	"panic without a wait": func(t *testing.T) {
		asynciotest.PanicEverywhere(t, func(t testing.TB, sim *asynciotest.Sim) {
			sim.Run(func(context.Context) error { return nil })
		})
	},
	"all of them": func(t *testing.T) {
		asynciotest.Explore(t, 5, sleeper)
		asynciotest.CancelEverywhere(t, sleeper, asynciotest.OnlyTask("sleeper"))
		asynciotest.CancelEverywhere(t, sleeper, asynciotest.WithSeeds(2))
		asynciotest.PanicEverywhere(t, sleeper)
	},
	"seed alone": func(t *testing.T) {
		asynciotest.Explore(t, 5, func(t testing.TB, sim *asynciotest.Sim) { sim.Rand.Uint64() })
	},
}

func TestNothingTested(t *testing.T) {
	for program, want := range map[string]string{
		"explore 0":            "Explore(t, 0, ...) runs nothing",
		"explore -3":           "Explore(t, -3, ...) runs nothing",
		"explore skipped":      "every run ends with Skip",
		"explore left":         "left by runtime.Goexit",
		"explore idle, PCT":    "no schedule is explored (PCT schedules of depth 2)",
		"explore idle, all":    "no schedule is explored (all schedules",
		"check idle":           "nothing is checked: the function calls neither Sim.Run nor the Run of a Sim.Network",
		"check skipped":        "every run ends with Skip",
		"cancel idle":          "CancelEverywhere: there is no place for a fault: the function calls neither Sim.Run nor the Run of a Sim.Network",
		"cancel skipped":       "every run ends with Skip",
		"cancel typo":          `no task "slepper" ever waits, but these do: main, sleeper`,
		"panic idle":           "PanicEverywhere: there is no place for a fault: the function calls neither Sim.Run nor the Run of a Sim.Network",
		"panic without a wait": "there is no place for a fault: no task ever waits",
	} {
		t.Run(program, func(t *testing.T) {
			if out := explored(t, program); !strings.Contains(out, want) {
				t.Errorf("it does not say %q:\n%s", want, out)
			}
		})
	}
}

// A run that was cut off is no success for a function that does not know of it.
func TestIgnoredLimit(t *testing.T) {
	const says = "the run was ended by its limit, and the function under test has not asked whether its error Is ErrEndless: asynciotest: the run does not come to an end: "
	for program, more := range map[string]string{
		"ignored limit":         "task main: ",
		"ignored limit, hosts":  "heart (program 1), 61 turns:",
		"ignored limit, faults": "fails without a fault",
	} {
		out := explored(t, program)
		for _, want := range []string{says, more} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: it does not say %q:\n%s", program, want, out)
			}
		}
	}
	asked := func(t testing.TB, sim *asynciotest.Sim) {
		if err := sim.Run(beat); !errors.Is(err, asynciotest.ErrEndless) {
			t.Errorf("Run = %v", err)
		}
	}
	asynciotest.Explore(t, 3, asked, asynciotest.StepLimit(100))
	asynciotest.CheckDeterminism(t, func(t testing.TB, sim *asynciotest.Sim) {
		n := sim.Network()
		p := n.Host("heart").Go(beat)
		_ = n.Simulate(p.Wait)
		if !errors.Is(p.Err(), asynciotest.ErrEndless) {
			t.Errorf("Err = %v", p.Err())
		}
	}, asynciotest.TimeLimit(time.Minute))
}

// A function that wants the seed and nothing else is right, and what that means is told.
func TestExploreSeedAlone(t *testing.T) {
	out, failed := runs(t, "seed alone", os.Args[0], "-test.run=^TestProgram$", "-test.v")
	if failed || !strings.Contains(out, "no schedule is explored") {
		t.Errorf("failed: %v\n%s", failed, out)
	}
}

// The name of a run is one of those that the calls of a test have.
func TestNamesOfRuns(t *testing.T) {
	tests := []struct {
		name, says string
		fails      bool
		inEnv      bool // that it fails, when the name is given by the environment
	}{
		{"3", "asynciotest: run 3\n", false, false},
		{"2:", "asynciotest: run 2:\n", false, false},
		{"cancel2@1", "task sleeper is cancelled when it waits", false, false},
		{"late2@2", "is cancelled when it is about to go on", false, false},
		{"panic1@1", "task main panics instead of waiting", false, false},
		{"1:900.1", "the run does not come to step 900", true, true},
		{"1:1.7", "nobody can have the turn at step 1 as 1.7 says", true, true},
		{"cancel900@1", "has no such place", true, true},
		{"cancel1@900", "has no seed 900", true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, failed := runs(t, "all of them", os.Args[0], "-test.run=^TestProgram$", "-test.v", "-asynciotest.seed="+test.name)
			if failed != test.fails || !strings.Contains(out, test.says) {
				t.Errorf("failed: %v\n%s", failed, out)
			}
			if runtime.GOOS == "windows" {
				return // it has no env
			}
			out, failed = runs(t, "all of them", "env", "ASYNCIOTEST_SEED="+test.name, os.Args[0], "-test.run=^TestProgram$", "-test.v")
			if failed != test.inEnv || !strings.Contains(out, test.says) {
				t.Errorf("by the environment: failed: %v\n%s", failed, out)
			}
		})
	}
	for name, says := range map[string]string{"1:900.1": "does not come to step 900", "cancel900@1": "there is no such run", "x": `"x" is no seed`, "1:3.x": `"3.x" is not a step`} {
		if out, _ := runs(t, "all of them", os.Args[0], "-test.run=^TestProgram$", "-asynciotest.seed="+name); !regexp.MustCompile(`nothing_test\.go:\d+: asynciotest: -asynciotest\.seed="` + regexp.QuoteMeta(name) + `".*` + says).MatchString(out) {
			t.Errorf("the name %s is not told in its place:\n%s", name, out)
		}
	}
	for program, name := range map[string]string{"lost update": "cancel1@1", "cancel": "1:2.1", "throw": "cancel1@1"} {
		if out, failed := runs(t, program, os.Args[0], "-test.run=^TestProgram$", "-asynciotest.seed="+name); !failed || !strings.Contains(out, "it is not for") {
			t.Errorf("%s with the name %s says\n%s", program, name, out)
		}
	}
}

// A task that ignores its cancellation is told with its place, and does not hang the
// test.
func TestIgnoredCancellation(t *testing.T) {
	for program, says := range map[string][]string{
		"retries": {"task main is cancelled when it waits, nothing_test.go:", "task main is cancelled, but has gone on awaiting 10000 times: nothing_test.go:", "in Sleep"},
		"spins":   {"task spinner is cancelled, but has gone on awaiting 10000 times: nothing_test.go:", "in Yield"},
	} {
		t.Run(program, func(t *testing.T) {
			out := explored(t, program)
			for _, want := range says {
				if !strings.Contains(out, want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
		})
	}
}

// A clean-up may await as often as it likes while time passes.
func TestLongCleanup(t *testing.T) {
	asynciotest.CancelEverywhere(t, func(t testing.TB, sim *asynciotest.Sim) {
		tolerable(t, sim.Run(func(ctx context.Context) error {
			err := asyncio.Sleep(ctx, time.Second)
			if err == nil {
				return nil
			}
			for range 20_000 {
				if failed := asyncio.Sleep(asyncio.CleanupContext(ctx), time.Second); failed != nil {
					t.Error(failed)
				}
			}
			return err
		}))
	})
}

func TestNilArguments(t *testing.T) {
	nothing := func(context.Context) error { return nil }
	for op, f := range map[string]func(){
		"Explore: the function":          func() { asynciotest.Explore(t, 1, nil) },
		"Explore: an option":             func() { asynciotest.Explore(t, 1, idle, nil) },
		"CheckDeterminism: the function": func() { asynciotest.CheckDeterminism(t, nil) },
		"CheckDeterminism: an option":    func() { asynciotest.CheckDeterminism(t, idle, nil) },
		"CancelEverywhere: the function": func() { asynciotest.CancelEverywhere(t, nil) },
		"CancelEverywhere: an option":    func() { asynciotest.CancelEverywhere(t, idle, nil) },
		"PanicEverywhere: the function":  func() { asynciotest.PanicEverywhere(t, nil) },
		"PanicEverywhere: an option":     func() { asynciotest.PanicEverywhere(t, idle, nil) },
		"RunInBubble: main":              func() { asynciotest.RunInBubble(t, nil) },
		"RunInBubble: an option": func() {
			asynciotest.RunInBubble(t, func(*testing.T, context.Context) error { return nil }, nil)
		},
		"Run: the function":          func() { asynciotest.Run(t, nil) },
		"Run: an option":             func() { asynciotest.Run(t, nothing, nil) },
		"Sim.Run: the function":      func() { new(asynciotest.Sim).Run(nil) },
		"Sim.Run: an option":         func() { new(asynciotest.Sim).Run(nothing, nil) },
		"Replay: the function":       func() { asynciotest.Replay(strings.NewReader(""), nil) },
		"Replay: an option":          func() { asynciotest.Replay(strings.NewReader(""), nothing, nil) },
		"WithManualClock: the clock": func() { asynciotest.WithManualClock(nil) },
		"NoLeaks: the test":          func() { asynciotest.NoLeaks(nil) },
	} {
		t.Run(op, func(t *testing.T) {
			defer func() {
				if p, want := recover(), "asynciotest: "+op+" is nil"; p != want {
					t.Errorf("the panic is %v, want %q", p, want)
				}
			}()
			f()
		})
	}
}
