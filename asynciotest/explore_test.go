// Tests of Explore: what it finds, what it says of it, and what it must not do.

package asynciotest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// A program is what TestProgram runs.
type program struct {
	f    func(t testing.TB, sim *asynciotest.Sim)
	opts []asynciotest.ExploreOption

	faulty func(t *testing.T) // instead of exploring f
}

// programs are functions under test that have a mistake. TestProgram runs one of
// them, in a process of its own, since it is to fail.
var programs = map[string]program{
	"cancel": {faulty: func(t *testing.T) { asynciotest.CancelEverywhere(t, halfTransfer) }},
	"late":   {faulty: func(t *testing.T) { asynciotest.CancelEverywhere(t, dropped) }},
	"bubble, error": {faulty: func(t *testing.T) {
		asynciotest.RunInBubble(t, func(*testing.T, context.Context) error { return errors.New("burst") })
	}},
	"bubble, deadlock": {faulty: func(t *testing.T) {
		asynciotest.RunInBubble(t, func(_ *testing.T, ctx context.Context) error { return asyncio.NewFuture[int](ctx).Wait(ctx) })
	}},
	"oversold": {f: func(t testing.TB, sim *asynciotest.Sim) {
		shop := &stock{left: 1}
		sim.Run(func(ctx context.Context) error {
			one := asyncio.Go(ctx, shop.sell)
			other := asyncio.Go(ctx, func(ctx context.Context) error {
				return errors.Join(asyncio.Yield(ctx), asyncio.Yield(ctx), asyncio.Yield(ctx), shop.sell(ctx))
			})
			return errors.Join(one.Wait(ctx), other.Wait(ctx))
		})
		if shop.left < 0 {
			t.Error("sold more than there was")
		}
	}, opts: []asynciotest.ExploreOption{asynciotest.PCTSchedules(3)}},
	"leak": {f: func(t testing.TB, sim *asynciotest.Sim) {
		err := sim.Run(func(ctx context.Context) error {
			forgotten(ctx)
			return nil
		}, asynciotest.NoLeaks(t))
		if err != nil {
			t.Fatal(err)
		}
	}},
	"rarely": {faulty: func(t *testing.T) {
		asynciotest.CancelEverywhere(t, interrupted, asynciotest.OnlyTask("writer"))
		asynciotest.CancelEverywhere(t, interrupted, asynciotest.OnlyTask("writer"), asynciotest.WithSeeds(100))
	}},
	"throw":       {faulty: func(t *testing.T) { asynciotest.PanicEverywhere(t, halfTransfer, asynciotest.OnlyTask("clerk")) }},
	"lost update": {f: lostUpdate},
	"lost update, PCT": {f: lostUpdate, opts: []asynciotest.ExploreOption{
		asynciotest.PCTSchedules(2), asynciotest.FirstSeed(100),
	}},
	"lost update, all": {f: lostUpdate, opts: []asynciotest.ExploreOption{asynciotest.AllSchedules(2)}},
	"deadlock":         {f: twoLocks},
	"deadlock, PCT":    {f: twoLocks, opts: []asynciotest.ExploreOption{asynciotest.PCTSchedules(2)}},
	"deadlock, all":    {f: twoLocks, opts: []asynciotest.ExploreOption{asynciotest.AllSchedules(3)}},
	"lost wake-up":     {f: lostWakeUp},
	"always":           {f: func(t testing.TB, sim *asynciotest.Sim) { t.Fatal("never right") }},
	"panic":            {f: func(t testing.TB, sim *asynciotest.Sim) { panic("out of order") }},
	"endless": {f: func(t testing.TB, sim *asynciotest.Sim) {
		err := sim.Run(func(ctx context.Context) error {
			for {
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
		})
		if !errors.Is(err, asynciotest.ErrEndless) {
			t.Logf("Run = %v", err)
		}
		t.Error(err)
	}, opts: []asynciotest.ExploreOption{asynciotest.StepLimit(100)}},
	"chance": {f: func(t testing.TB, sim *asynciotest.Sim) {
		err := sim.Run(func(ctx context.Context) error {
			asyncio.Go(ctx, pause, asyncio.WithName("bystander"))
			return asyncio.Sleep(ctx, time.Duration(1+rand.Int63n(1e9)))
		})
		if err != nil {
			t.Fatal(err)
		}
	}},
}

func pause(ctx context.Context) error { return asyncio.Yield(ctx) }

// lostUpdate has two writers that read a counter, await, and write it. First come,
// first served, one is done before the other begins.
func lostUpdate(t testing.TB, sim *asynciotest.Sim) {
	counter := 0
	err := sim.Run(func(ctx context.Context) error {
		add := func(wait int) func(context.Context) error {
			return func(ctx context.Context) error {
				for range wait {
					if err := asyncio.Yield(ctx); err != nil {
						return err
					}
				}
				read := counter
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
				counter = read + 1
				return nil
			}
		}
		first := asyncio.Go(ctx, add(0), asyncio.WithName("early writer"))
		second := asyncio.Go(ctx, add(6), asyncio.WithName("late writer"))
		return errors.Join(first.Wait(ctx), second.Wait(ctx))
	})
	if err != nil {
		t.Fatal(err)
	}
	if counter != 2 {
		t.Errorf("an update is lost: the counter is %d", counter)
	}
}

// twoLocks takes two locks in opposite order.
func twoLocks(t testing.TB, sim *asynciotest.Sim) {
	err := sim.Run(func(ctx context.Context) error {
		var a, b asyncio.Lock
		both := func(wait time.Duration, first, second *asyncio.Lock) func(context.Context) error {
			return func(ctx context.Context) error {
				if err := asyncio.Sleep(ctx, wait); err != nil {
					return err
				}
				if err := first.Acquire(ctx); err != nil {
					return err
				}
				defer first.Release()
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
				if err := second.Acquire(ctx); err != nil {
					return err
				}
				defer second.Release()
				return nil
			}
		}
		one := asyncio.Go(ctx, both(time.Second, &a, &b), asyncio.WithName("ascending"))
		other := asyncio.Go(ctx, func(ctx context.Context) error {
			if err := asyncio.Sleep(ctx, time.Second); err != nil {
				return err
			}
			for range 4 {
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
			return both(0, &b, &a)(ctx)
		}, asyncio.WithName("descending"))
		return errors.Join(one.Wait(ctx), other.Wait(ctx))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// lostWakeUp waits for an event that may have been cleared again.
func lostWakeUp(t testing.TB, sim *asynciotest.Sim) {
	err := sim.Run(func(ctx context.Context) error {
		var rung asyncio.Event
		waiter := asyncio.Go(ctx, func(ctx context.Context) error {
			if err := asyncio.Yield(ctx); err != nil {
				return err
			}
			return rung.Wait(ctx)
		}, asyncio.WithName("waiter"))
		asyncio.Go(ctx, func(ctx context.Context) error {
			for range 3 {
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
			rung.Set()
			rung.Clear()
			return nil
		}, asyncio.WithName("ringer"))
		return waiter.Wait(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
}

const programVariable = "ASYNCIOTEST_PROGRAM"

// TestProgram is one of the programs, in a process of its own.
func TestProgram(t *testing.T) {
	name := os.Getenv(programVariable)
	if name == "" {
		t.Skip("it runs for other tests only")
	}
	p, ok := programs[name]
	if f := testNothing[name]; f != nil {
		p, ok = program{faulty: f}, true
	}
	if !ok {
		t.Fatalf("there is no program %q", name)
	}
	t.Run("of two names", func(t *testing.T) {
		if p.faulty != nil {
			p.faulty(t)
			return
		}
		asynciotest.Explore(t, 1000, p.f, p.opts...)
	})
}

// runs returns the output of a command that runs a program, and whether it failed.
func runs(t *testing.T, program string, command ...string) (string, bool) {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), programVariable+"="+program)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), err != nil
}

func explored(t *testing.T, program string) string {
	t.Helper()
	out, failed := runs(t, program, os.Args[0], "-test.run=^TestProgram$", "-test.v")
	if !failed {
		t.Fatalf("the exploration of %q has not failed:\n%s", program, out)
	}
	return out
}

var repeats = regexp.MustCompile(`go test (?:-race )?-run '(.*)' github\.com/goasyncio/asyncio/asynciotest -args (-asynciotest\.seed=(\S+))`)

// What goes wrong is found, told, and repeated by the command in the report.
func TestExploreFinds(t *testing.T) {
	tests := []struct {
		program string
		says    []string
		most    int // deviations
	}{
		{"lost update", []string{"an update is lost: the counter is 1", "early writer", "explore_test.go:", "steps like it\n", " in Task.Wait\n"}, 1},
		{"lost update, PCT", []string{"an update is lost: the counter is 1", "late writer", "PCT schedules of depth 2"}, 1},
		{"lost update, all", []string{"an update is lost: the counter is 1", "all schedules with at most 2"}, 1},
		{"deadlock", []string{"deadlock", "task ascending", "task descending", "in Lock.Acquire", "ascending and descending wait for each other",
			" 1s         deadlock: every task waits", "... 3 steps of clean-up\n"}, 2},
		{"deadlock, PCT", []string{"deadlock", "task ascending", "task descending"}, 2},
		{"deadlock, all", []string{"deadlock", "task ascending"}, 2},
		{"oversold", []string{"sold more than there was", "in Yield"}, 1},
		{"lost wake-up", []string{"deadlock", "task ringer", "in Yield"}, 1},
	}
	for _, test := range tests {
		t.Run(test.program, func(t *testing.T) {
			t.Parallel()
			out := explored(t, test.program)
			for _, want := range test.says {
				if !strings.Contains(out, want) {
					t.Errorf("the report does not say %q", want)
				}
			}
			commands := repeats.FindAllStringSubmatch(out, -1)
			if len(commands) == 0 {
				t.Fatalf("there is no command in\n%s", out)
			}
			_, trace, _ := strings.Cut(commands[0][3], ":")
			if n := len(strings.Split(trace, ",")); trace == "" || n > test.most {
				t.Errorf("%q are not 1 to %d deviations", trace, test.most)
			}
			if marked := len(regexp.MustCompile(`(?m)^ +> +\d+ .*\((?:before |.* is put off\))`).FindAllString(out, -1)); marked != strings.Count(trace, ",")+1 {
				t.Errorf("%d steps are marked", marked)
			}
			for _, c := range commands {
				again, failed := runs(t, test.program, os.Args[0], "-test.run="+c[1], c[2])
				if !failed || !strings.Contains(again, test.says[0]) {
					t.Errorf("%s has not failed the same way:\n%s", c[0], again)
				}
			}
			if runtime.GOOS == "windows" {
				return // it has no env
			}
			again, failed := runs(t, test.program, "env", "ASYNCIOTEST_SEED="+commands[0][3], os.Args[0], "-test.run="+commands[0][1])
			if !failed || !strings.Contains(again, test.says[0]) {
				t.Errorf("the environment variable does not repeat it:\n%s", again)
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

// The command works as it is printed.
func TestExploreCommand(t *testing.T) {
	if testing.Short() || runtime.GOOS == "windows" {
		t.Skip("it builds the test once more, and needs a shell")
	}
	command := repeats.FindString(explored(t, "lost wake-up"))
	out, failed := runs(t, "lost wake-up", "sh", "-c", command)
	if !failed || !strings.Contains(out, "deadlock") {
		t.Errorf("%s gave\n%s", command, out)
	}
}

func TestExploreReports(t *testing.T) {
	tests := []struct {
		program string
		says    []string
	}{
		{"always", []string{"explore_test.go:", "never right", "asynciotest: seed 1 fails\n", "No schedule was explored", "-asynciotest.seed=1\n"}},
		{"panic", []string{"panic: out of order", "explore_test.go:"}},
		{"endless", []string{"does not come to an end: there were 100 steps", "... "}},
		{"leak", []string{"the program run at explore_test.go:", "created by ", "           0s         the loop is closed: what is left is cancelled\n"}},
		{"chance", []string{"is not deterministic", "> step", "(run 1)", "(run 2)", "math/rand"}},
	}
	for _, test := range tests {
		t.Run(test.program, func(t *testing.T) {
			t.Parallel()
			out := explored(t, test.program)
			for _, want := range test.says {
				if !strings.Contains(out, want) {
					t.Errorf("the report does not say %q:\n%s", want, out)
				}
			}
		})
	}
}

func TestExploreBadSeed(t *testing.T) {
	for _, seed := range []string{"x", "1:2", "1:0.1", "1:2.-1", "-1", ":", "1:2.0", "1:+2.1", "1:4.1,2.1", "1:2.1,2.p", "1:2.1,", "1:2.1x", "cancel", "cancel0@1", "cancel1", "late01@1", "panic1@1@1"} {
		out, failed := runs(t, "always", os.Args[0], "-test.run=^TestProgram$", "-asynciotest.seed="+seed)
		if !failed || !strings.Contains(out, fmt.Sprintf("asynciotest: -asynciotest.seed=%q: ", seed)) {
			t.Errorf("with the seed %q it says\n%s", seed, out)
		}
	}
}

// A program that is right in every order stays right.
func TestExplorePasses(t *testing.T) {
	for name, opts := range map[string][]asynciotest.ExploreOption{
		"random": {asynciotest.RandomSchedules()},
		"PCT":    {asynciotest.PCTSchedules(3)},
		"all":    {asynciotest.AllSchedules(2)},
	} {
		t.Run(name, func(t *testing.T) {
			var ran atomic.Int64
			asynciotest.Explore(t, 200, func(t testing.TB, sim *asynciotest.Sim) {
				ran.Add(1)
				var got []int
				err := sim.Run(func(ctx context.Context) error {
					var lock asyncio.Lock
					counter := 0
					err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
						for range 3 {
							g.Go(func(ctx context.Context) error {
								for range 3 {
									if err := lock.Acquire(ctx); err != nil {
										return err
									}
									read := counter
									if err := asyncio.Sleep(ctx, time.Duration(sim.Rand.IntN(3))*time.Millisecond); err != nil {
										return err
									}
									counter = read + 1
									lock.Release()
								}
								return nil
							})
						}
						return nil
					})
					got = append(got, counter)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, []int{9}) {
					t.Errorf("got %v", got)
				}
			}, opts...)
			if n := ran.Load(); name != "all" && n < 200 {
				t.Errorf("there were %d runs", n)
			}
		})
	}
}

// What the loop promises holds in every schedule.
func TestExploreKeeps(t *testing.T) {
	orders := map[string]func(ctx context.Context, ran func(int) func()) error{
		"CallSoon": func(ctx context.Context, ran func(int) func()) error {
			loop := asyncio.RunningLoop(ctx)
			a := asyncio.Go(ctx, func(context.Context) error {
				loop.CallSoon(ran(0))
				loop.CallSoon(ran(1))
				loop.CallSoonThreadsafe(ran(2))
				return nil
			})
			if err := a.Wait(ctx); err != nil {
				return err
			}
			loop.CallSoon(ran(3))
			return nil
		},
		"timers": func(ctx context.Context, ran func(int) func()) error {
			loop := asyncio.RunningLoop(ctx)
			loop.CallLater(time.Second, ran(1))
			loop.CallLater(time.Second, ran(2))
			loop.CallLater(time.Millisecond, ran(0))
			loop.CallLater(time.Second, ran(3))
			return nil
		},
		"done callbacks": func(ctx context.Context, ran func(int) func()) error {
			f := asyncio.NewFuture[int](ctx)
			for i := range 3 {
				f.AddDoneCallback(func(asyncio.AnyFuture) { ran(i)() })
			}
			f.SetResult(1)
			asyncio.Go(ctx, func(context.Context) error {
				f.AddDoneCallback(func(asyncio.AnyFuture) { ran(3)() })
				return nil
			})
			return nil
		},
		"new tasks": func(ctx context.Context, ran func(int) func()) error {
			for i := range 4 {
				asyncio.Go(ctx, func(context.Context) error { ran(i)(); return nil })
			}
			return nil
		},
		"a task and its maker": func(ctx context.Context, ran func(int) func()) error {
			for i := range 2 {
				asyncio.Go(ctx, func(context.Context) error { ran(2 * i)(); return nil })
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
				ran(2*i + 1)()
			}
			return nil
		},
		"waiters": func(ctx context.Context, ran func(int) func()) error {
			var e asyncio.Event
			for i := range 4 {
				asyncio.Go(ctx, func(ctx context.Context) error {
					err := e.Wait(ctx)
					ran(i)()
					return err
				}, asyncio.EagerStart())
			}
			e.Set()
			return nil
		},
		"sleepers": func(ctx context.Context, ran func(int) func()) error {
			for i := range 4 {
				asyncio.Go(ctx, func(ctx context.Context) error {
					err := asyncio.Sleep(ctx, time.Duration(i)*time.Second)
					ran(i)()
					return err
				})
			}
			return nil
		},
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			for _, strategy := range []asynciotest.ExploreOption{asynciotest.RandomSchedules(), asynciotest.PCTSchedules(3)} {
				asynciotest.Explore(t, 100, func(t testing.TB, sim *asynciotest.Sim) {
					var got []int
					err := sim.Run(func(ctx context.Context) error {
						for range 2 { // bystanders
							asyncio.Go(ctx, func(ctx context.Context) error {
								for range 5 {
									asyncio.Yield(ctx)
								}
								return nil
							})
						}
						err := order(ctx, func(n int) func() { return func() { got = append(got, n) } })
						return errors.Join(err, asyncio.Sleep(ctx, time.Minute))
					})
					if err != nil || !slices.Equal(got, []int{0, 1, 2, 3}) {
						t.Errorf("Run = %v, order %v", err, got)
					}
				}, strategy)
			}
		})
	}
}

// What is left to chance does happen in different orders.
func TestExploreVaries(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	asynciotest.Explore(t, 200, func(t testing.TB, sim *asynciotest.Sim) {
		got := ""
		err := sim.Run(func(ctx context.Context) error {
			for _, name := range []string{"a", "b", "c"} {
				asyncio.Go(ctx, func(ctx context.Context) error {
					err := asyncio.Sleep(ctx, time.Second)
					got += name
					return err
				})
			}
			return asyncio.Sleep(ctx, time.Minute)
		})
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		seen[got] = true
		mu.Unlock()
	})
	if len(seen) != 6 {
		t.Errorf("there were only the orders %v", seen)
	}
}

// The runs of one seed are alike in whatever the seed decides; two seeds are not.
func TestExploreSeeds(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]uint64{}
	asynciotest.Explore(t, 70, func(t testing.TB, sim *asynciotest.Sim) {
		text := fmt.Sprint(sim.Rand.Uint64())
		for range 2 {
			err := sim.Run(func(ctx context.Context) error {
				text += fmt.Sprint(" ", asyncio.Rand(ctx).Uint64(), " ", asyncio.Now(ctx).UnixNano())
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if other, ok := seen[text]; ok && other != sim.Seed {
			t.Errorf("seeds %d and %d are the same", sim.Seed, other)
		}
		seen[text] = sim.Seed
	}, asynciotest.FirstSeed(1000))
	if len(seen) != 70 {
		t.Errorf("70 seeds gave %d results", len(seen))
	}
	if seen["x"] = 0; slices.Max(slices.Collect(values(seen))) != 1069 {
		t.Errorf("the seeds are %v", seen)
	}
}

func values(m map[string]uint64) func(func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// If all schedules have been tried, the log says so, and they were all different.
func TestExploreAll(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	asynciotest.Explore(t, 10_000, func(t testing.TB, sim *asynciotest.Sim) {
		got := ""
		err := sim.Run(func(ctx context.Context) error {
			err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				for _, name := range []string{"a", "b"} {
					g.Go(func(ctx context.Context) error {
						for range 3 {
							got += name
							if err := asyncio.Yield(ctx); err != nil {
								return err
							}
						}
						return nil
					})
				}
				return nil
			})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		seen[got]++
		mu.Unlock()
	}, asynciotest.AllSchedules(20))
	// a begins before b; of the rest, every one of the interleavings occurs.
	want := 0
	for bits := range 1 << 6 {
		text := ""
		for i := range 6 {
			text += string("ab"[bits>>i&1])
		}
		if strings.Count(text, "a") == 3 && text[0] == 'a' {
			want++
			if seen[text] == 0 {
				t.Errorf("%s has not occurred", text)
			}
		}
	}
	if len(seen) != want {
		t.Errorf("there were %d orders, want %d", len(seen), want)
	}
}

// The t of a run is a testing.TB in every respect.
func TestExploreTB(t *testing.T) {
	var mu sync.Mutex
	var said, dirs []string
	say := func(text string) {
		mu.Lock()
		said = append(said, text)
		mu.Unlock()
	}
	outer := t
	asynciotest.Explore(t, 2, func(t testing.TB, sim *asynciotest.Sim) {
		t.Helper()
		t.Cleanup(func() { say("first " + fmt.Sprint(t.Context().Err())) })
		t.Cleanup(func() { say("second"); runtime.Goexit() })
		if t.Name() != outer.Name() || t.Failed() || t.Skipped() || t.Context().Err() != nil {
			t.Errorf("Name %q, Failed %v, Skipped %v, Context %v", t.Name(), t.Failed(), t.Skipped(), t.Context())
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
			t.Error(err)
		}
		t.Cleanup(func() { // of a directory that is still there
			if _, err := os.Stat(dir); err != nil {
				t.Error(err)
			}
		})
		mu.Lock()
		dirs = append(dirs, dir)
		mu.Unlock()
		t.Log("not to be seen")
		fmt.Fprintln(t.Output(), "neither")
		err := sim.Run(func(ctx context.Context) error {
			if sim.Seed == 1 {
				t.Skip("enough")
			}
			return nil
		})
		if sim.Seed == 1 {
			t.Errorf("Run = %v after Skip", err)
		}
	})
	if want := slices.Repeat([]string{"second", "first context canceled"}, 3); !slices.Equal(said, want) {
		t.Errorf("said %q, want %q", said, want)
	}
	for _, dir := range dirs {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after its run, %s is still there: %v", dir, err)
		}
	}
	if n := len(slices.Compact(slices.Sorted(slices.Values(dirs)))); n != 3 {
		t.Errorf("there were %d directories, want one for each of 3 runs", n)
	}
}

func TestCheckDeterminism(t *testing.T) {
	asynciotest.CheckDeterminism(t, func(t testing.TB, sim *asynciotest.Sim) {
		err := sim.Run(func(ctx context.Context) error {
			return asyncio.Sleep(ctx, time.Duration(asyncio.Rand(ctx).Int64N(1e9)))
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	runs := 0
	got := recordTB(func(t testing.TB) {
		asynciotest.CheckDeterminism(t, func(t testing.TB, sim *asynciotest.Sim) {
			runs++
			name := fmt.Sprint("worker ", runs)
			err := sim.Run(func(ctx context.Context) error {
				return asyncio.Go(ctx, pause, asyncio.WithName(name)).Wait(ctx)
			})
			if err != nil {
				t.Fatal(err)
			}
		}, asynciotest.PCTSchedules(2))
	})
	for _, want := range []string{"step 2 ", "worker 2   (run 1)", "worker 3   (run 2)", "ranging over a map"} {
		if !strings.Contains(got, want) {
			t.Errorf("the report does not say %q:\n%s", want, got)
		}
	}
}

// recordTB runs f as a test that is recorded, and returns the arguments of Fatal.
func recordTB(f func(t testing.TB)) string {
	r := new(recorder)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f(r)
	}()
	<-ended
	return fmt.Sprint(r.fatal...)
}
