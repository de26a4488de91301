// Tests of networks in a run of Explore: schedules, faults and determinism on hosts.

package asynciotest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func init() {
	programs["hosts"] = program{f: countOnHosts}
	programs["hosts, PCT"] = program{f: countOnHosts, opts: []asynciotest.ExploreOption{asynciotest.PCTSchedules(3)}}
	programs["hosts, all"] = program{f: countOnHosts, opts: []asynciotest.ExploreOption{asynciotest.AllSchedules(2)}}
	programs["hosts, beat"] = program{f: func(t testing.TB, sim *asynciotest.Sim) {
		n := sim.Network()
		n.Host("heart").Go(beat)
		n.Run(t, func(ctx context.Context) error { return asyncio.NewFuture[int](ctx).Wait(ctx) })
	}, opts: []asynciotest.ExploreOption{asynciotest.StepLimit(1000)}}
	programs["hosts, log"] = program{f: func(t testing.TB, sim *asynciotest.Sim) {
		n := sim.Network()
		n.Host("a").Go(func(ctx context.Context) error {
			asyncio.Go(ctx, explode)
			return asyncio.Sleep(ctx, time.Second)
		})
		t.Error(n.Simulate(func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Minute) }))
	}}
	programs["hosts, cancel"] = program{faulty: func(t *testing.T) {
		asynciotest.CancelEverywhere(t, transferOnHosts, asynciotest.OnlyTask("bank/clerk"))
	}}
	programs["hosts, typo"] = program{faulty: func(t *testing.T) {
		asynciotest.CancelEverywhere(t, transferOnHosts, asynciotest.OnlyTask("bonk/clerk"))
	}}
	programs["hosts, never run"] = program{f: func(t testing.TB, sim *asynciotest.Sim) { sim.Network().Host("a").Go(beat) }}
	programs["hosts, outside"] = program{faulty: func(t *testing.T) {
		asynciotest.PanicEverywhere(t, func(t testing.TB, sim *asynciotest.Sim) {
			sim.Network().Run(t, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Second) })
		})
	}}
}

// countOnHosts has a server whose answer to "add" takes a turn more than it should: two
// that come at the same time may count as one. First come, first served, the first
// one is done before the second one is heard.
func countOnHosts(t testing.TB, sim *asynciotest.Sim) {
	counter := 0
	n := sim.Network(steady)
	n.Host("server").Go(serve("tcp", ":80", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		defer w.Close()
		if _, err := r.ReadLine(ctx); err != nil {
			return err
		}
		read := counter
		if err := asyncio.Yield(ctx); err != nil {
			return err
		}
		counter = read + 1
		_, err := w.Write([]byte("done\n"))
		return err
	}, nil))
	var clients []*asynciotest.Program
	for _, name := range []string{"alice", "bob"} {
		clients = append(clients, n.Host(name).Go(func(ctx context.Context) error {
			_, err := ask(ctx, "server:80", "add")
			return err
		}))
	}
	n.Run(t, func(ctx context.Context) error {
		for _, c := range clients {
			if err := c.Wait(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if counter != 2 {
		t.Errorf("the counter is %d", counter)
	}
}

// What depends on the order on a host is found, told with the host, and repeated by the
// command in the report.
func TestExploreHosts(t *testing.T) {
	for _, program := range []string{"hosts", "hosts, PCT", "hosts, all"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			out := explored(t, program)
			for _, want := range []string{
				"the counter is 1", "task server/Task-", "hostorder_test.go:", "in StreamReader.ReadLine",
				"alice:", " -> server:80  data 4 B", "server  start\n",
			} {
				if !strings.Contains(out, want) {
					t.Errorf("the report does not say %q", want)
				}
			}
			if !regexp.MustCompile(`(?m)^ +> +\d+ .*\((before |host \S+ is put off|event .* is put off|task .* is put off)`).MatchString(out) {
				t.Error("no deviation is marked")
			}
			commands := repeats.FindAllStringSubmatch(out, -1)
			if len(commands) == 0 || !strings.Contains(commands[0][3], ":") {
				t.Fatalf("there is no command in\n%s", out)
			}
			for _, c := range commands {
				again, failed := runs(t, program, os.Args[0], "-test.run="+c[1], c[2])
				if !failed || !strings.Contains(again, "the counter is 1") {
					t.Errorf("%s has not failed the same way:\n%s", c[0], again)
				}
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

func TestExploreHostsReports(t *testing.T) {
	for program, says := range map[string][]string{
		"hosts, beat":      {"the run does not come to an end: there were 1000 steps (see StepLimit)", "heart (program 1), ", "outside (main), 1 turn:", "task main", "alarm heart/main", "-asynciotest.seed=1\n"},
		"hosts, never run": {"programs were started on a Sim.Network that was never run", "this run calls neither Sim.Run nor the Run of a Sim.Network,"},
		"hosts, log":       {"a: (program 1) level=ERROR", "oops"},
		"hosts, cancel":    {"the total is 90", "task bank/clerk is cancelled when it waits, hostorder_test.go:", "in Sleep", "task bank/clerk, "},
		"hosts, typo":      {`no task "bonk/clerk" ever waits, but these do: bank/clerk, bank/main, outside/main`},
		"hosts, outside":   {"the only tasks that wait are the test's own, outside/main"},
	} {
		t.Run(program, func(t *testing.T) {
			out := explored(t, program)
			for _, want := range says {
				if !strings.Contains(out, want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
			if command := repeats.FindStringSubmatch(out); command != nil {
				if again, failed := runs(t, program, os.Args[0], "-test.run="+command[1], command[2]); !failed || !strings.Contains(again, says[0]) {
					t.Errorf("%s has not failed the same way:\n%s", command[0], again)
				}
			}
		})
	}
}

// Programs that are ready at one time go on in every order.
func TestExploreHostsVary(t *testing.T) {
	leavesNothing(t)
	for name, opts := range map[string][]asynciotest.ExploreOption{
		"random": nil,
		"PCT":    {asynciotest.PCTSchedules(3)},
		"all":    {asynciotest.AllSchedules(4)},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			seen := map[string]bool{}
			asynciotest.Explore(t, 2000, func(t testing.TB, sim *asynciotest.Sim) {
				got := ""
				n := sim.Network(steady)
				for _, name := range []string{"a", "b", "c"} {
					n.Host(name).Go(func(ctx context.Context) error {
						err := asyncio.Sleep(ctx, time.Second)
						got += name
						return err
					})
				}
				n.Run(t, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Minute) })
				mu.Lock()
				seen[got] = true
				mu.Unlock()
			}, opts...)
			if len(seen) != 6 {
				t.Errorf("there were only the orders %v", seen)
			}
		})
	}
}

// What a loop and a connection promise holds on hosts in every schedule.
func TestExploreHostsKeep(t *testing.T) {
	leavesNothing(t)
	asynciotest.Explore(t, 200, func(t testing.TB, sim *asynciotest.Sim) {
		n := sim.Network(steady)
		n.Host("server").Go(echo)
		var clients []*asynciotest.Program
		for i := range 3 {
			clients = append(clients, n.Host(fmt.Sprint("client", i)).Go(func(ctx context.Context) error {
				r, w, err := asyncio.OpenConnection(ctx, "tcp", "server:7", nil)
				if err != nil {
					return err
				}
				defer w.Close()
				for k := range 5 {
					fmt.Fprintf(w, "line %d\n", k)
				}
				var order []int
				for k := range 3 {
					asyncio.Go(ctx, func(context.Context) error { order = append(order, k); return nil })
				}
				for k := range 5 {
					if line, err := r.ReadLine(ctx); string(line) != fmt.Sprintf("line %d\n", k) {
						t.Errorf("line %d is %q, %v", k, line, err)
					}
				}
				if !slices.Equal(order, []int{0, 1, 2}) {
					t.Errorf("new tasks begin in the order %v", order)
				}
				return nil
			}))
		}
		n.Run(t, func(ctx context.Context) error {
			for _, c := range clients {
				if err := c.Wait(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// The first run, first come, first served, is the one that the network makes by itself.
func TestExploreHostsFirstCome(t *testing.T) {
	leavesNothing(t)
	run := func(t testing.TB, n *asynciotest.Network) (uint64, uint64) {
		server := n.Host("server")
		server.Go(echo)
		n.Run(t, func(ctx context.Context) error {
			for range 5 {
				if got, err := ask(ctx, "server:7", "hello"); got != "hello" {
					return err
				}
			}
			server.Restart()
			return asyncio.Sleep(ctx, time.Second)
		})
		return n.Hash(), n.Events()
	}
	asynciotest.Explore(t, 1, func(t testing.TB, sim *asynciotest.Sim) {
		hash, events := run(t, sim.Network())
		if h, e := run(t, asynciotest.NewNetwork(sim.Seed)); h != hash || e != events {
			t.Errorf("hashes %x after %d events, by itself %x after %d", hash, events, h, e)
		}
	})
}

// What differs on the network is found, even if every task does the same.
func TestCheckDeterminismOfHosts(t *testing.T) {
	leavesNothing(t)
	steps := func(size func() int, pause func() time.Duration) func(t testing.TB, sim *asynciotest.Sim) {
		return func(t testing.TB, sim *asynciotest.Sim) {
			n := sim.Network()
			server := n.Host("server")
			server.Go(echo)
			n.Run(t, func(ctx context.Context) error {
				_, err := ask(ctx, "server:7", strings.Repeat("x", size()))
				if err != nil {
					return err
				}
				server.Crash()
				return asyncio.Sleep(ctx, time.Second+pause())
			})
		}
	}
	ten := func() int { return 10 }
	none := func() time.Duration { return 0 }
	asynciotest.CheckDeterminism(t, steps(ten, none))
	size := 10
	got := recordTB(func(t testing.TB) {
		asynciotest.CheckDeterminism(t, steps(func() int { size++; return size }, none))
	})
	for _, want := range []string{"is not deterministic", "data server 12 B   (run 1)", "data server 13 B   (run 2)", "step "} {
		if !strings.Contains(got, want) {
			t.Errorf("the report does not say %q:\n%s", want, got)
		}
	}
	got = recordTB(func(t testing.TB) {
		asynciotest.CheckDeterminism(t, steps(ten, func() time.Duration { return time.Duration(rand.Int63()) >> 30 }))
	})
	if !strings.Contains(got, "is not deterministic") || !strings.Contains(got, "outside") {
		t.Errorf("the report is\n%s", got)
	}
}

// transferOnHosts takes money from one account and puts it into another, in a program
// on a host.
func transferOnHosts(t testing.TB, sim *asynciotest.Sim) {
	from, to := 100, 0
	n := sim.Network()
	n.Host("bank").Go(func(ctx context.Context) error {
		clerk := asyncio.Go(ctx, func(ctx context.Context) error {
			if err := asyncio.Sleep(ctx, time.Second); err != nil {
				return err
			}
			from -= 10
			if err := asyncio.Sleep(ctx, time.Second); err != nil {
				return err
			}
			to += 10
			return nil
		}, asyncio.WithName("clerk"))
		return clerk.Wait(ctx)
	})
	n.Run(t, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Minute) })
	if from+to != 100 {
		t.Errorf("the total is %d", from+to)
	}
}

// Faults reach the tasks of all programs, and spare the test unless it is named.
func TestFaultsOnHosts(t *testing.T) {
	leavesNothing(t)
	sleep := func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Second) }
	for _, test := range []struct {
		opts []asynciotest.FaultOption
		hit  string // how many runs hit which programs
	}{
		{nil, "a (program 1): 2, a (program 2): 2, b (program 1): 4"},
		{[]asynciotest.FaultOption{asynciotest.OnlyTask("main")}, "a (program 1): 2, a (program 2): 2, b (program 1): 2"},
		{[]asynciotest.FaultOption{asynciotest.OnlyTask("a/main")}, "a (program 1): 2"},
		{[]asynciotest.FaultOption{asynciotest.OnlyTask("a (program 2)/main")}, "a (program 2): 2"},
		{[]asynciotest.FaultOption{asynciotest.OnlyTask("b/child")}, "b (program 1): 2"},
		{[]asynciotest.FaultOption{asynciotest.OnlyTask("outside/main")}, "outside: 2"},
	} {
		hits := map[string]int{}
		asynciotest.CancelEverywhere(t, func(t testing.TB, sim *asynciotest.Sim) {
			n := sim.Network(steady)
			programs := []*asynciotest.Program{n.Host("a").Go(sleep), n.Host("a").Go(sleep), n.Host("b").Go(func(ctx context.Context) error {
				return asyncio.Go(ctx, sleep, asyncio.WithName("child")).Wait(ctx)
			})}
			main := func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Minute) }
			if slices.Equal(test.opts, nil) {
				n.Run(t, main) // the fault is no failure
			} else if err := n.Simulate(main); errors.Is(err, asynciotest.ErrInjected) {
				hits["outside"]++
			}
			for _, p := range programs {
				if err := p.Err(); errors.Is(err, asynciotest.ErrInjected) {
					hits[p.String()]++
				}
			}
		}, test.opts...)
		var all []string
		for name, count := range hits {
			all = append(all, fmt.Sprint(name, ": ", count))
		}
		slices.Sort(all)
		if got := strings.Join(all, ", "); got != test.hit {
			t.Errorf("the runs have hit %q, want %q", got, test.hit)
		}
	}
}

// A panic on a host names its program, and is no failure of the network either.
func TestPanicsOnHosts(t *testing.T) {
	leavesNothing(t)
	panics := 0
	asynciotest.PanicEverywhere(t, func(t testing.TB, sim *asynciotest.Sim) {
		n := sim.Network(steady)
		n.Host("server").Go(echo)
		p := n.Host("client").Go(func(ctx context.Context) error {
			_, err := ask(ctx, "server:7", "hello")
			return err
		})
		n.Run(t, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Minute) })
		if err := p.Err(); err != nil {
			if _, ok := errors.AsType[*asyncio.PanicError](err); !ok || !strings.HasPrefix(err.Error(), "client (program 1): panic: ") {
				t.Errorf("the program has ended with %v", err)
			}
			panics++
		}
	}, asynciotest.OnlyTask("client/main"))
	if panics < 2 { // to connect, the answer
		t.Errorf("there were %d panics", panics)
	}
}

// Crashes and restarts, with deferred functions that wait, are the same in every run.
func TestExploreHostsThatCrash(t *testing.T) {
	leavesNothing(t)
	var deferred atomic.Int64
	asynciotest.Explore(t, 130, func(t testing.TB, sim *asynciotest.Sim) {
		n := sim.Network()
		h := n.Host("server")
		h.Go(func(ctx context.Context) error {
			defer func() {
				deferred.Add(1)
				_ = asyncio.Sleep(asyncio.CleanupContext(ctx), time.Second)
			}()
			asyncio.Go(ctx, beat)
			return echo(ctx)
		})
		n.Run(t, func(ctx context.Context) error {
			for range 5 {
				h.Restart()
				err := asyncio.Sleep(ctx, time.Duration(sim.Rand.Int64N(1e9)))
				if err == nil {
					_, err = ask(ctx, "server:7", "hello")
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	if deferred.Load() < 130*5 {
		t.Errorf("%d deferred functions have run", deferred.Load())
	}
}

// What is over its limit stays so.
func TestEndlessHosts(t *testing.T) {
	leavesNothing(t)
	asynciotest.CheckDeterminism(t, func(t testing.TB, sim *asynciotest.Sim) {
		spin := sim.Network()
		spin.Host("a").Go(whirl)
		err := spin.Simulate(beat)
		if !errors.Is(err, asynciotest.ErrEndless) || !strings.Contains(err.Error(), "a (program 1), which never waits") {
			t.Errorf("Simulate = %v", err)
		}
		if again := sim.Network().Simulate(beat); again == nil || again.Error() != err.Error() {
			t.Errorf("Simulate = %v afterwards", again)
		}
		if again := sim.Run(beat); again == nil || again.Error() != err.Error() {
			t.Errorf("Sim.Run = %v afterwards", again)
		}
	}, asynciotest.StepLimit(1000))
	asynciotest.CheckDeterminism(t, func(t testing.TB, sim *asynciotest.Sim) {
		if err := sim.Network(asynciotest.TimeLimit(time.Minute)).Simulate(beat); !errors.Is(err, asynciotest.ErrEndless) {
			t.Errorf("Simulate = %v", err)
		}
	})
}

func init() {
	programs["hosts, beats"] = program{f: func(t testing.TB, sim *asynciotest.Sim) {
		n := sim.Network()
		n.Host("heart").Go(beat)
		n.Run(t, func(ctx context.Context) error { return asyncio.NewFuture[int](ctx).Wait(ctx) })
	}, opts: []asynciotest.ExploreOption{asynciotest.StepLimit(50_000)}}
}

// Of a long run all is told that is shown, though not all is remembered.
func TestExploreHostsForLong(t *testing.T) {
	out := explored(t, "hosts, beats")
	for _, want := range []string{"there were 50000 steps (see StepLimit)", "... 49989 steps\n", " 49990  6h56m34s", "task heart/main, limit_test.go:20 in Sleep"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

func init() {
	programs["hosts, deadlock"] = program{f: func(t testing.TB, sim *asynciotest.Sim) {
		never := func(ctx context.Context) error { return asyncio.NewFuture[int](ctx).Wait(ctx) }
		n := sim.Network()
		n.Host("a").Go(never)
		n.Host("b").Go(never)
		n.Run(t, never)
	}}
}

// That nothing can happen any more is one remark for all hosts, after the last turn.
func TestExploreHostsDeadlock(t *testing.T) {
	out := explored(t, "hosts, deadlock")
	if n := strings.Count(out, "deadlock: every task waits"); n != 1 {
		t.Errorf("there are %d remarks:\n%s", n, out)
	}
	for _, want := range []string{"asyncio: deadlock: nothing can happen any more at 0s", "a (program 1):\n", "b (program 1):\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}
