// Tests of what a report tells: the failure that was found, in the order of time, and not
// too much.

package asynciotest_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func init() {
	programs["spin, random"] = program{f: twoInside}
	programs["spin, PCT"] = program{f: twoInside, opts: []asynciotest.ExploreOption{asynciotest.PCTSchedules(3)}}
	programs["spin, all"] = program{f: twoInside, opts: []asynciotest.ExploreOption{asynciotest.AllSchedules(3)}}
	programs["two failures"] = program{f: twoFailures}
	programs["some of all"] = program{faulty: func(t *testing.T) {
		asynciotest.Explore(t, 20, func(t testing.TB, sim *asynciotest.Sim) { exclude(t, sim, true) }, asynciotest.AllSchedules(2))
	}}
	programs["just all"] = program{faulty: func(t *testing.T) {
		asynciotest.Explore(t, 1, func(t testing.TB, sim *asynciotest.Sim) { sim.Run(pause) }, asynciotest.AllSchedules(math.MaxInt))
	}}
	programs["no choice"] = program{f: func(t testing.TB, sim *asynciotest.Sim) {
		sim.Run(func(ctx context.Context) error { return asyncio.Go(ctx, pause).Wait(ctx) })
	}}
	programs["a choice"] = program{f: func(t testing.TB, sim *asynciotest.Sim) {
		sim.Run(func(ctx context.Context) error { asyncio.Go(ctx, pause); return asyncio.Go(ctx, pause).Wait(ctx) })
	}}
	programs["quote"] = program{faulty: func(t *testing.T) {
		t.Run("it's 'so'", func(t *testing.T) { asynciotest.Explore(t, 1000, lostWakeUp) })
	}}
	programs["outer t"] = program{faulty: func(outer *testing.T) {
		asynciotest.Explore(outer, 10, func(t testing.TB, sim *asynciotest.Sim) {
			if sim.Seed == 7 {
				outer.Error("told to the wrong one")
			}
		})
	}}
	programs["long log"] = program{f: func(t testing.TB, sim *asynciotest.Sim) {
		for i := range 1000 {
			t.Log("line", i)
		}
		t.Error(sim.Run(pause))
	}}
	programs["story"] = program{f: story}
}

// exclude is Peterson's lock, which two tasks poll for; or, if its steps are in the wrong
// order, no lock.
func exclude(t testing.TB, sim *asynciotest.Sim, right bool) {
	var wants [2]bool
	turn, inside := 0, 0
	err := sim.Run(func(ctx context.Context) error {
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for i := range 2 {
				g.Go(func(ctx context.Context) error {
					say := []func(){func() { wants[i] = true }, func() { turn = 1 - i }}
					if !right {
						say[0], say[1] = say[1], say[0]
					}
					for _, f := range say {
						f()
						if err := asyncio.Yield(ctx); err != nil {
							return err
						}
					}
					for wants[1-i] && turn == 1-i {
						if err := asyncio.Yield(ctx); err != nil {
							return err
						}
					}
					if inside++; inside > 1 {
						t.Error("both are inside")
					}
					err := asyncio.Yield(ctx)
					inside--
					wants[i] = false
					return err
				})
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func twoInside(t testing.TB, sim *asynciotest.Sim) { exclude(t, sim, false) }

// Who is put off is not put off for ever, so that a task that polls for it is no endless
// run, and is not taken for the failure that was found.
func TestExploreTasksThatPoll(t *testing.T) {
	asynciotest.Explore(t, 1_000_000, func(t testing.TB, sim *asynciotest.Sim) { exclude(t, sim, true) }, asynciotest.AllSchedules(2))
	asynciotest.Explore(t, 500, func(t testing.TB, sim *asynciotest.Sim) { exclude(t, sim, true) }, asynciotest.PCTSchedules(3))
	for _, how := range []string{"spin, random", "spin, PCT", "spin, all"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			out := explored(t, how)
			if !strings.Contains(out, "both are inside") || !strings.Contains(out, "It takes 3 deviations") {
				t.Errorf("the report is\n%s", out)
			}
		})
	}
}

// twoFailures fails in a single order; the seed that has found it fails in every other
// order, too, but in another way.
func twoFailures(t testing.TB, sim *asynciotest.Sim) {
	order := ""
	err := sim.Run(func(ctx context.Context) error {
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for _, name := range []string{"a", "b", "c"} {
				g.Go(func(ctx context.Context) error {
					err := asyncio.Yield(ctx)
					order += name
					return err
				})
			}
			return nil
		})
	})
	switch {
	case err != nil:
		t.Fatal(err)
	case order == "cba":
		reversed.Store(sim.Seed, true)
		t.Error("all the other way round")
	case order != "abc":
		if _, found := reversed.Load(sim.Seed); found {
			t.Error("not in order")
		}
	}
}

var reversed sync.Map // the seeds that came to cba

// A failure is made simpler as long as it stays that failure.
func TestShrinkKeepsTheFailure(t *testing.T) {
	t.Parallel()
	out := explored(t, "two failures")
	if !strings.Contains(out, "all the other way round") || strings.Contains(out, "not in order") {
		t.Errorf("the report is\n%s", out)
	}
}

// The log tells whether there was something to explore, and whether that was all.
func TestExploreSaysHowFar(t *testing.T) {
	t.Parallel()
	for program, want := range map[string]string{
		"some of all": "these were not all: with at most 2 deviations there are more schedules than could be tried in 20 runs",
		"just all":    fmt.Sprint("these were all: 1 schedule with at most ", math.MaxInt, " deviations"),
		"no choice":   "no schedule is explored: never were two callbacks ready at one time",
		"a choice":    "--- PASS",
	} {
		out, failed := runs(t, program, os.Args[0], "-test.run=^TestProgram$", "-test.v")
		if failed || !strings.Contains(out, want) || program == "a choice" && strings.Contains(out, "no schedule is explored") {
			t.Errorf("%s: failed: %v, it does not say %q\n%s", program, failed, want, out)
		}
	}
}

// The command is one for a shell, whatever the test is called.
func TestCommandQuotes(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("it needs a shell")
	}
	out := explored(t, "quote")
	command := regexp.MustCompile(`(?m)go test (?:-race )?-run (.*) github\.com\S+ -args (\S+)$`).FindStringSubmatch(out)
	if command == nil {
		t.Fatalf("there is no command in\n%s", out)
	}
	again, failed := runs(t, "quote", "sh", "-c", os.Args[0]+" -test.run="+command[1]+" "+command[2])
	if !failed || !strings.Contains(again, "deadlock") {
		t.Errorf("%s gave\n%s", command[0], again)
	}
}

// Who tells failures to the t of the test is told so, since no seed can be found then.
func TestExploreOuterT(t *testing.T) {
	t.Parallel()
	if out := explored(t, "outer t"); !strings.Contains(out, "a run has failed the test itself, through its t") {
		t.Errorf("the report is\n%s", out)
	}
}

// Of a long log the report has the beginning and the end, and the repeated run all.
func TestExploreLongLog(t *testing.T) {
	t.Parallel()
	out := explored(t, "long log")
	if n := strings.Count(out, ": line "); n != 199 || !strings.Contains(out, "... 801 lines (the run that is repeated tells all)\n") || !strings.Contains(out, "line 99\n") || !strings.Contains(out, "line 999\n") {
		t.Errorf("the report has %d of the lines\n%s", n, out)
	}
	again, _ := runs(t, "long log", os.Args[0], "-test.run=^TestProgram$", "-asynciotest.seed=1")
	if n := strings.Count(again, ": line "); n != 1000 {
		t.Errorf("the repeated run has %d of the lines", n)
	}
}

// story is what goes wrong in the middle of a long run.
func story(t testing.TB, sim *asynciotest.Sim) {
	n := sim.Network()
	a, b, c, d := n.Host("a"), n.Host("b"), n.Host("c"), n.Host("d")
	a.Go(func(ctx context.Context) error {
		for i := range 1000 {
			if err := asyncio.Sleep(ctx, time.Second); err != nil {
				return err
			}
			if i < 70 {
				n.Note("it is %d", i)
			}
			switch i {
			case 500:
				t.Log("just before")
				t.Errorf("wrong at %v\nand more", n.Now())
			case 600:
				t.Log("not to be seen between the steps")
			}
		}
		return nil
	})
	n.Run(t, func(ctx context.Context) error {
		if err := asyncio.Sleep(ctx, 400*time.Second+time.Millisecond); err != nil {
			return err
		}
		n.Partition([]*asynciotest.Host{a}, []*asynciotest.Host{b, c}, []*asynciotest.Host{d})
		c.Crash()
		return asyncio.Sleep(ctx, time.Hour)
	})
}

// A report tells when the test has failed, and of what was not shown the notes and the
// faults.
func TestExploreTellsTheStory(t *testing.T) {
	t.Parallel()
	out := explored(t, "story")
	var at []int
	for _, want := range []string{
		"log:",
		" steps, in which there were 12 other events, and then\n",
		" 13s           a: it is 12\n",
		"1m10s         a: it is 69\n",
		" 6m40.001s     cut: a -> b, a -> c, a -> d, b -> a, c -> a, b -> d, and 4 more\n",
		" 6m40.001s     c  crash\n",
		" 8m20s         task a/main, report_test.go:",
		" 8m21s         task a/main, report_test.go:",
		": just before\n",
		": wrong at 8m21s ...\n",
		" 1h6m40.001s   outside  end of program\n",
	} {
		i := strings.LastIndex(out, want)
		if want == "log:" {
			i = 0
		}
		if i < 0 {
			t.Errorf("it does not say %q", want)
		}
		at = append(at, i)
	}
	for i := range at[1:] {
		if at[i] > at[i+1] {
			t.Errorf("line %d is not in order", i+1)
		}
	}
	if strings.Count(out, "not to be seen between the steps") != 1 { // in the log above them
		t.Error("it says what stands between steps that are not shown")
	}
	if t.Failed() {
		t.Log(out)
	}
}

// A panic that is only logged fails the test, unless the program has a logger, or a handler
// of such errors, of its own.
func TestPanicsThatNobodyAwaits(t *testing.T) {
	task := func(ctx context.Context) error {
		asyncio.Go(ctx, explode)
		return pause(ctx)
	}
	callback := func(ctx context.Context) error {
		asyncio.RunningLoop(ctx).CallSoon(func() { panic("oops") })
		return asyncio.Sleep(ctx, time.Second)
	}
	awaited := func(ctx context.Context) error {
		_ = asyncio.Go(ctx, explode).Wait(ctx)
		return nil
	}
	plain := func(ctx context.Context) error {
		asyncio.Go(ctx, func(context.Context) error { return fmt.Errorf("no panic: oops") })
		return pause(ctx)
	}
	injected := func(ctx context.Context) error {
		asyncio.Go(ctx, func(context.Context) error { panic(asynciotest.ErrInjected) })
		return pause(ctx)
	}
	logger := asyncio.WithLogger(slog.New(slog.DiscardHandler))
	handler := asyncio.WithExceptionHandler(func(*asyncio.EventLoop, *asyncio.ErrorContext) {})
	for _, test := range []struct {
		name string
		main func(ctx context.Context) error
		opts []asyncio.RunOption
		want bool
	}{
		{"a task", task, nil, true},
		{"a callback", callback, nil, true},
		{"awaited", awaited, nil, false},
		{"an error", plain, nil, false},
		{"injected", injected, nil, false},
		{"with a logger", task, []asyncio.RunOption{logger}, false},
		{"with a handler", task, []asyncio.RunOption{handler}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			leavesNothing(t)
			tb := new(networkTB)
			asynciotest.Run(tb, test.main, test.opts...)
			failed, log := runNetwork(asynciotest.NewNetwork(1), test.main, test.opts...)
			if tb.failed != test.want || failed != test.want {
				t.Errorf("failed: Run %v, Network.Run %v, want %v; the logs are\n%s\n%s", tb.failed, failed, test.want, tb.text.String(), log)
			}
			for _, log := range []string{tb.text.String(), log} {
				if test.want && (strings.Count(log, " error=\"panic: oops\"") != 1 || !strings.Contains(log, "\n\t")) {
					t.Errorf("the log has not the line and the stack:\n%s", log)
				}
			}
		})
	}
	if out := explored(t, "panic that nobody awaits"); !strings.Contains(out, "panic: oops") || !strings.Contains(out, "To repeat this run:") {
		t.Errorf("the report is\n%s", out)
	}
}

func init() {
	programs["panic that nobody awaits"] = program{f: func(t testing.TB, sim *asynciotest.Sim) {
		if err := sim.Run(func(ctx context.Context) error { asyncio.Go(ctx, explode); return pause(ctx) }); err != nil {
			t.Fatal(err)
		}
	}}
}

// What is said on other goroutines is in the log, and nowhere else: nobody knows between
// which steps it was.
func TestExploreHearsThreads(t *testing.T) {
	t.Parallel()
	out := explored(t, "thread")
	if strings.Count(out, "said in a thread") != 1 || strings.Count(out, "said in the program") != 2 {
		t.Errorf("the report is\n%s", out)
	}
}

func init() {
	programs["thread"] = program{f: func(t testing.TB, sim *asynciotest.Sim) {
		n := sim.Network()
		n.Host("a").Go(func(ctx context.Context) error {
			_, err := asyncio.ToThread(ctx, func(context.Context) (struct{}, error) {
				t.Log("said in a thread")
				t.Error("an error")
				return struct{}{}, nil
			})
			t.Log("said in the program")
			return err
		})
		n.Run(t, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Second) })
	}}
}

func init() {
	hang := func(sim *asynciotest.Sim) {
		sim.Run(func(ctx context.Context) error {
			if err := asyncio.Yield(ctx); err != nil {
				select {}
			}
			return asyncio.Yield(ctx)
		})
	}
	programs["hangs"] = program{f: func(t testing.TB, sim *asynciotest.Sim) {
		sim.Run(pause)
		if sim.Seed == 3 {
			select {}
		}
	}}
	programs["hangs, fault"] = program{faulty: func(t *testing.T) {
		asynciotest.CancelEverywhere(t, func(t testing.TB, sim *asynciotest.Sim) { hang(sim) })
	}}
	programs["slow"] = program{f: func(t testing.TB, sim *asynciotest.Sim) {
		time.Sleep(20 * time.Millisecond) // in real time
		twoInside(t, sim)
	}}
}

// Before go test ends a test that takes too long, it is told which run hangs.
func TestExploreNamesRunsThatHang(t *testing.T) {
	t.Parallel()
	for program, seed := range map[string]string{"hangs": "3", "hangs, fault": "cancel1@1"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			out, _ := runs(t, program, os.Args[0], "-test.run=^TestProgram$", "-test.timeout=3s")
			if !strings.Contains(out, "asynciotest: this run goes on and on") || !strings.Contains(out, " -asynciotest.seed="+seed+"\n") {
				t.Errorf("it does not say that seed %s hangs:\n%s", seed, out)
			}
		})
	}
}

// A schedule is made simpler only as long as there is time to tell of it.
func TestShrinkWithinTheTimeLimit(t *testing.T) {
	t.Parallel()
	out, _ := runs(t, "slow", os.Args[0], "-test.run=^TestProgram$", "-test.timeout=5s")
	if !strings.Contains(out, "To repeat this run:") || strings.Contains(out, "test timed out") {
		t.Errorf("the report is\n%s", out)
	}
}

// The command builds the test that has failed, and not another one.
func TestCommandBuilds(t *testing.T) {
	t.Parallel()
	out := explored(t, "always")
	info, _ := debug.ReadBuildInfo()
	race := slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
	if strings.Contains(out, "go test -race -run") != race {
		t.Errorf("the race detector: %v\n%s", race, out)
	}
}

// quorum has two clients that ask three servers for a lock, and may have it with two of them.
// The servers await between looking and taking.
func quorum(t testing.TB, sim *asynciotest.Sim) {
	n := sim.Network(asynciotest.WithLink(asynciotest.Link{Latency: asynciotest.Fixed(time.Millisecond)}))
	servers := []string{"one", "two", "three"}
	for _, name := range servers {
		n.Host(name).Go(func(ctx context.Context) error {
			holder := ""
			s, err := asyncio.StartServer(ctx, "tcp", ":1", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				line, err := r.ReadLine(ctx)
				if err != nil {
					return err
				}
				answer := "no\n"
				if holder == "" {
					if err := asyncio.Yield(ctx); err != nil {
						return err
					}
					holder, answer = string(line), "yes\n"
				}
				_, err = w.WriteString(answer)
				return err
			}, nil)
			if err != nil {
				return err
			}
			return s.ServeForever(ctx)
		})
	}
	holders := 0
	client := func(ctx context.Context) error {
		granted := 0
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for _, name := range servers {
				g.Go(func(ctx context.Context) error {
					r, w, err := asyncio.OpenConnection(ctx, "tcp", name+":1", nil)
					if err != nil {
						return err
					}
					defer w.Close()
					if _, err := w.WriteString("me\n"); err != nil {
						return err
					}
					answer, err := r.ReadLine(ctx)
					if string(answer) == "yes\n" {
						granted++
					}
					return err
				})
			}
			return nil
		})
		if granted >= 2 {
			holders++
		}
		return err
	}
	a, b := n.Host("alice").Go(client), n.Host("bob").Go(client)
	n.Run(t, func(ctx context.Context) error {
		for _, p := range []*asynciotest.Program{a, b} {
			if err := p.Wait(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if holders > 1 {
		t.Error("both have the lock")
	}
}

func init() {
	programs["quorum"] = program{faulty: func(t *testing.T) {
		asynciotest.SetShrinkTime(10 * time.Minute) // it is about what is found, not how fast
		asynciotest.Explore(t, 1000, quorum)
	}}
}

// Where it takes much to come to a failure by chance, and little by intent, the report has
// the little.
func TestShrinkFindsAnotherWay(t *testing.T) {
	t.Parallel()
	out := explored(t, "quorum")
	found := regexp.MustCompile(`It takes (\d+) deviations? from first come, first served \(the seed had (\d+);`).FindStringSubmatch(out)
	if found == nil || len(found[1]) > 1 || found[1] > "3" || len(found[2]) < 2 {
		t.Errorf("the report is\n%s", out)
	}
}
