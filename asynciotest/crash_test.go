// Tests of hosts that crash, and of what is left of them.

package asynciotest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// A crash ends tasks where they are, whatever they wait for.
func TestCrashEndsTasks(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	a := n.Host("a")
	n.Host("b").Go(echo)
	ch := make(chan int, 1)
	var after, deferred []string
	p := a.Go(func(ctx context.Context) error {
		lock := new(asyncio.Lock)
		if err := lock.Acquire(ctx); err != nil {
			return err
		}
		for name, wait := range map[string]func(ctx context.Context) error{
			"sleep":  func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) },
			"future": func(ctx context.Context) error { return asyncio.NewFuture[int](ctx).Wait(ctx) },
			"lock":   func(ctx context.Context) error { return lock.Acquire(ctx) },
			"connection": func(ctx context.Context) error {
				_, _, err := asyncio.OpenConnection(ctx, "tcp", "10.0.0.77:1", nil)
				return err
			},
			"reading": func(ctx context.Context) error {
				r, _, err := asyncio.OpenConnection(ctx, "tcp", "b:7", nil)
				if err == nil {
					_, err = r.ReadLine(ctx)
				}
				return err
			},
			"look-up": func(ctx context.Context) error {
				for {
					if _, err := asyncio.GetAddrInfo(ctx, "tcp", "b:1"); err != nil {
						return err
					}
				}
			},
			"server": echo,
			"timeout": func(ctx context.Context) error {
				return asyncio.Timeout(ctx, time.Hour, func(ctx context.Context) error { return asyncio.Sleep(ctx, 2*time.Hour) })
			},
			"group": func(ctx context.Context) error {
				return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
					g.Go(func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) })
					return nil
				})
			},
			"receiving": func(ctx context.Context) error {
				_, _, err := asyncio.Receive(ctx, ch)
				return err
			},
			"sending": func(ctx context.Context) error { return asyncio.Send(ctx, make(chan int), 1) },
			"passes": func(ctx context.Context) error {
				for range 10 {
					if err := asyncio.Sleep(ctx, time.Second); err != nil {
						return err
					}
				}
				return nil
			},
		} {
			asyncio.Go(ctx, func(ctx context.Context) error {
				defer func() {
					deferred = append(deferred, name)
					if err := asyncio.Sleep(ctx, time.Second); err == nil {
						t.Errorf("%s: a deferred function can sleep", name)
					}
					if _, _, err := asyncio.OpenConnection(ctx, "tcp", "b:7", nil); err == nil {
						t.Errorf("%s: a deferred function can connect", name)
					}
					asyncio.Go(ctx, func(context.Context) error {
						t.Errorf("%s: a deferred function can start tasks", name)
						return nil
					})
				}()
				wait(ctx)
				after = append(after, name)
				return nil
			})
		}
		asyncio.CurrentTask(ctx).Loop().CallLater(5500*time.Millisecond, func() { t.Error("a timer fired") })
		return asyncio.Sleep(ctx, time.Hour)
	})
	n.Run(t, func(ctx context.Context) error {
		if err := asyncio.Sleep(ctx, 5500*time.Millisecond); err != nil {
			return err
		}
		a.Crash()
		a.Crash() // once more does nothing
		if a.Up() || p.Running() {
			t.Error("it is up")
		}
		if err := p.Wait(ctx); err != asynciotest.ErrCrashed {
			t.Errorf("Wait = %v", err)
		}
		return asyncio.Sleep(ctx, time.Hour)
	})
	if len(after) > 0 || len(deferred) != 12 {
		t.Errorf("these tasks went on: %v; deferred functions ran: %v", after, deferred)
	}
	if ch <- 1; len(ch) == 0 {
		t.Error("somebody has received from the channel")
	}
}

// A program that waits to end its own host has no effect from then on.
func TestCrashFromInside(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	received := 0
	n.Host("b").Go(serve("tcp", ":1", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		_, err := r.ReadLine(ctx)
		if err == nil {
			received++
		}
		return nil
	}, nil))
	p := n.Host("a").Go(func(ctx context.Context) error {
		_, w, err := asyncio.OpenConnection(ctx, "tcp", "b:1", nil)
		if err != nil {
			return err
		}
		n.Host("a").Crash()
		w.Write([]byte("still here\n"))
		if err := n.Host("a").Disk().Append(ctx, "log", []byte("x")); !errors.Is(err, asynciotest.ErrCrashed) {
			t.Errorf("Append = %v", err)
		}
		err = asyncio.Sleep(ctx, time.Second)
		t.Error("it sleeps")
		return err
	})
	n.Run(t, func(ctx context.Context) error {
		if err := p.Wait(ctx); err != asynciotest.ErrCrashed {
			t.Errorf("Wait = %v", err)
		}
		return asyncio.Sleep(ctx, time.Hour)
	})
	if received > 0 {
		t.Error("what it wrote has arrived")
	}
}

// A crash also ends tasks that are about to end in order.
func TestCrashWhileClosing(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	a := n.Host("a")
	stage := ""
	a.Go(func(ctx context.Context) error {
		asyncio.Go(ctx, func(ctx context.Context) error {
			err := asyncio.Sleep(ctx, time.Hour)
			stage = "cancelled"
			asyncio.Sleep(asyncio.CleanupContext(ctx), 5*time.Second)
			stage = "went on"
			return err
		})
		return asyncio.Sleep(ctx, time.Second)
	})
	n.Run(t, func(ctx context.Context) error {
		if err := asyncio.Sleep(ctx, 3*time.Second); err != nil {
			return err
		}
		a.Crash()
		return asyncio.Sleep(ctx, time.Hour)
	})
	if stage != "cancelled" {
		t.Errorf("the task has come as far as %q", stage)
	}
}

// Callbacks of protocols are not made when a host crashes.
type silent struct{ t *testing.T }

func (p *silent) ConnectionMade(*asyncio.Transport) {}
func (p *silent) PauseWriting()                     {}
func (p *silent) ResumeWriting()                    {}
func (p *silent) EOFReceived() bool                 { return false }
func (p *silent) DataReceived([]byte)               {}
func (p *silent) ConnectionLost(error)              { p.t.Error("the protocol is told") }

func TestCrashOfProtocols(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	n.Host("b").Go(echo)
	n.Host("a").Go(func(ctx context.Context) error {
		if _, _, err := asyncio.CreateConnection(ctx, "tcp", "b:7", func() *silent { return &silent{t} }, nil); err != nil {
			return err
		}
		return asyncio.Sleep(ctx, time.Hour)
	})
	n.Run(t, func(ctx context.Context) error {
		if err := asyncio.Sleep(ctx, time.Second); err != nil {
			return err
		}
		n.Host("a").Crash()
		return asyncio.Sleep(ctx, time.Second)
	})
}

// What peers see of a crash: nothing at first, a reset when the host is up again.
func TestCrashAsPeersSeeIt(t *testing.T) {
	n := asynciotest.NewNetwork(1)
	talk(t, n, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		server := n.Host("server")
		server.Crash()
		err := within(ctx, time.Minute, func(ctx context.Context) error {
			_, err := askOn(ctx, r, w, "hello?")
			return err
		})
		if !errors.Is(err, asyncio.ErrTimeout) {
			t.Errorf("the crashed server answers %v", err)
		}
		err = within(ctx, time.Minute, func(ctx context.Context) error {
			_, err := ask(ctx, "server:7", "anybody?")
			return err
		})
		if !errors.Is(err, asyncio.ErrTimeout) {
			t.Errorf("a new connection: %v", err)
		}
		server.Boot()
		if _, err := r.ReadLine(ctx); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after the boot: %v", err)
		}
		if _, err := ask(ctx, "server:7", "anybody?"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("without a program: %v", err)
		}
		server.Restart()
		if err := asyncio.Sleep(ctx, time.Second); err != nil {
			return err
		}
		if got, err := ask(ctx, "server:7", "again"); got != "again" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		return nil
	})
}

// An idle connection to a host that was restarted is reset by keep-alive.
func TestCrashAndKeepAlive(t *testing.T) {
	n := asynciotest.NewNetwork(1)
	talk(t, n, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		n.Host("server").Restart()
		start := n.Now()
		_, err := r.ReadLine(ctx)
		if took := n.Now() - start; !errors.Is(err, syscall.ECONNRESET) || took > 16*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		return nil
	})
}

// Restart starts what the crash has ended, without what was in memory.
func TestRestart(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	a := n.Host("a")
	var runs []string
	ended := a.Go(func(context.Context) error { runs = append(runs, "once"); return nil })
	loops := make(map[*asyncio.EventLoop]bool)
	p := a.Go(func(ctx context.Context) error {
		runs = append(runs, "again")
		loops[asyncio.CurrentTask(ctx).Loop()] = true
		return asyncio.Sleep(ctx, time.Minute)
	})
	n.Run(t, func(ctx context.Context) error {
		for range 3 {
			if err := asyncio.Sleep(ctx, time.Second); err != nil {
				return err
			}
			a.Restart()
			if !p.Running() || ended.Running() {
				t.Error("the wrong programs run")
			}
		}
		if err := p.Wait(ctx); err != nil {
			t.Errorf("Wait = %v", err)
		}
		return nil
	})
	if want := []string{"once", "again", "again", "again", "again"}; !slices.Equal(runs, want) || len(loops) != 4 {
		t.Errorf("%v, on %d loops", runs, len(loops))
	}
}

// storage is what the programs below need of a disk.
type storage interface {
	Append(ctx context.Context, name string, p []byte) error
	Sync(ctx context.Context, name string) error
	ReadFile(ctx context.Context, name string) ([]byte, error)
}

// counter is a server of a number that grows: it answers each request with the next
// one. It writes each number to its disk, and syncs it, before it tells anybody.
func counter(disk storage, careless bool) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		log, _ := disk.ReadFile(ctx, "numbers")
		lines := strings.Split(string(log), "\n")
		last := 0
		for _, line := range lines[:len(lines)-1] { // the last one is cut off
			var k int
			if c, err := fmt.Sscanf(line, "%d.", &k); c == 1 && err == nil {
				last = max(last, k)
			}
		}
		disk.Append(ctx, "numbers", []byte("\n")) // an end for what was cut off
		lock := new(asyncio.Lock)
		return serve("tcp", ":1", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			defer w.Close()
			for {
				if _, err := r.ReadLine(ctx); err != nil {
					return nil
				}
				if err := lock.Acquire(ctx); err != nil {
					return err
				}
				last++
				mine := last
				err := disk.Append(ctx, "numbers", fmt.Appendf(nil, "%d.\n", mine))
				if err == nil && !careless {
					err = disk.Sync(ctx, "numbers")
				}
				lock.Release()
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "%d\n", mine)
			}
		}, nil)(ctx)
	}
}

// torment runs the counter, its clients and all kinds of faults, and says what is wrong
// with the numbers that the clients got.
func torment(t *testing.T, seed uint64, careless bool) (problem string, hash uint64) {
	n := asynciotest.NewNetwork(seed, asynciotest.WithLink(asynciotest.Link{
		Latency: asynciotest.LongTail(time.Millisecond, 20*time.Millisecond), Loss: 0.02,
	}))
	server := n.Host("server")
	server.Go(counter(server.Disk(), careless))
	owner := make(map[int]string)
	var clients []*asynciotest.Program
	for i := range 3 {
		name := fmt.Sprint("client", i)
		clients = append(clients, n.Host(name).Go(func(ctx context.Context) error {
			last := 0
			for got := 0; got < 10; {
				err := asyncio.Timeout(ctx, 2*time.Second, func(ctx context.Context) error {
					r, w, err := asyncio.OpenConnection(ctx, "tcp", "server:1", nil)
					if err != nil {
						return err
					}
					defer w.Close()
					for ; got < 10; got++ {
						line, err := askOn(ctx, r, w, "next")
						if err != nil {
							return err
						}
						var k int
						fmt.Sscan(line, &k)
						if other := owner[k]; other != "" {
							problem = fmt.Sprintf("both %s and %s got %d", other, name, k)
						}
						if k <= last {
							problem = fmt.Sprintf("%s got %d after %d", name, k, last)
						}
						owner[k], last = name, k
						if err := asyncio.Sleep(ctx, time.Duration(asyncio.Rand(ctx).IntN(1e8))); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					if err := asyncio.Sleep(ctx, 100*time.Millisecond); err != nil {
						return err
					}
				}
			}
			return nil
		}))
	}
	n.Run(t, func(ctx context.Context) error {
		r := asyncio.Rand(ctx)
		for running := true; running; {
			if err := asyncio.Sleep(ctx, time.Duration(r.IntN(5e8))); err != nil {
				return err
			}
			client := clients[r.IntN(len(clients))].Host()
			switch r.IntN(6) {
			case 0:
				server.Crash()
				if err := asyncio.Sleep(ctx, time.Duration(r.Int64N(3e9))); err != nil {
					return err
				}
				server.Restart()
			case 1:
				server.Restart()
			case 2:
				n.Partition([]*asynciotest.Host{client}, []*asynciotest.Host{server})
			case 3:
				n.Cut(server, client)
			case 4:
				n.HealAll()
			case 5:
				n.Reset(server, client)
			}
			running = slices.ContainsFunc(clients, (*asynciotest.Program).Running)
			if n.Now() > 10*time.Minute {
				n.HealAll()
				for _, p := range clients {
					if err := p.Wait(ctx); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
	return problem, n.Hash()
}

func TestManySeeds(t *testing.T) {
	leavesNothing(t)
	seeds := uint64(200)
	if testing.Short() {
		seeds = 20
	}
	hashes := make(map[uint64]uint64)
	for seed := range seeds {
		problem, hash := torment(t, seed, false)
		if problem != "" {
			t.Fatalf("seed %d: %s", seed, problem)
		}
		if other, ok := hashes[hash]; ok {
			t.Errorf("seed %d goes the way of seed %d", seed, other)
		}
		hashes[hash] = seed
		if seed%20 == 0 {
			if _, again := torment(t, seed, false); again != hash {
				t.Fatalf("seed %d goes another way the second time", seed)
			}
		}
	}
}

// A server that does not sync what it tells is found out.
func TestManySeedsFindMistake(t *testing.T) {
	leavesNothing(t)
	for seed := range uint64(200) {
		if problem, _ := torment(t, seed, true); problem != "" {
			t.Logf("seed %d: %s", seed, problem)
			return
		}
	}
	t.Error("no seed finds that the server does not sync")
}
