// Tests of what is said about a loop on which nothing can happen any more.

package asyncio_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// deadlocked runs main until nothing can happen any more, and returns what is said
// about it, without the numbers of lines.
func deadlocked(t *testing.T, main func(ctx context.Context) error, opts ...asyncio.RunOption) string {
	t.Helper()
	opts = append([]asyncio.RunOption{asynciotest.WithVirtualClock()}, opts...)
	err := asyncio.Run(context.Background(), main, opts...)
	if !errors.Is(err, asyncio.ErrDeadlock) {
		t.Fatalf("error %v", err)
	}
	text, ok := strings.CutPrefix(err.Error(), "asyncio: deadlock: every task waits, and nothing is left that could wake one\n")
	if !ok {
		t.Errorf("%v", err)
	}
	text = strings.ReplaceAll(text, " inside Queue.Items", "") // it is not known where that was inlined
	return regexp.MustCompile(`standstill_test\.go:\d+`).ReplaceAllString(text, "HERE")
}

// expectStandstill compares lines.
func expectStandstill(t *testing.T, got string, want ...string) {
	t.Helper()
	for i := range want {
		want[i] = "\t" + want[i]
	}
	if got != strings.Join(want, "\n") {
		t.Errorf("it says\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestStandstillNamesWhatIsAwaited(t *testing.T) {
	forever := func(ctx context.Context) error { return new(asyncio.Event).Wait(ctx) }
	for _, test := range []struct {
		name string
		wait func(ctx context.Context) error
		want string // of main
	}{
		{"Lock.Acquire", func(ctx context.Context) error {
			var l asyncio.Lock
			l.Acquire(ctx)
			return l.Acquire(ctx)
		}, "waits in Lock.Acquire at HERE for a lock that it holds itself"},
		{"Sleep", func(ctx context.Context) error { return asyncio.Sleep(ctx, asyncio.Forever) }, "sleeps for ever at HERE"},
		{"Wait", func(ctx context.Context) error {
			_, _, err := asyncio.Wait(ctx, []asyncio.AnyFuture{asyncio.NewFuture[int](ctx)}, asyncio.WaitOptions{Timeout: asyncio.Forever})
			return err
		}, "waits in Wait at HERE"},
		{"Lock.With", func(ctx context.Context) error {
			var l asyncio.Lock
			return l.With(ctx, func(ctx context.Context) error { return l.With(ctx, forever) })
		}, "waits in Lock.With at HERE for a lock that it holds itself"},
		{"of a task that has ended", func(ctx context.Context) error {
			var l asyncio.Lock
			asyncio.Go(ctx, l.Acquire).Wait(ctx)
			return l.Acquire(ctx)
		}, "waits in Lock.Acquire at HERE for a lock that was taken by a task that has ended"},
		{"taken by TryAcquire", func(ctx context.Context) error {
			var l asyncio.Lock
			l.TryAcquire() // nobody has waited for it yet: it knows no loop
			return l.Acquire(ctx)
		}, "waits in Lock.Acquire at HERE"},
		{"taken by TryAcquire once more", func(ctx context.Context) error {
			var l asyncio.Lock
			l.Acquire(ctx)
			second := asyncio.Go(ctx, l.Acquire)
			asyncio.Yield(ctx)
			l.Release()
			second.Wait(ctx)
			l.Release()
			l.TryAcquire()
			return l.Acquire(ctx)
		}, "waits in Lock.Acquire at HERE for a lock that it holds itself"},
		{"taken by a callback", func(ctx context.Context) error {
			var l asyncio.Lock
			asyncio.RunningLoop(ctx).CallSoon(func() { l.TryAcquire() })
			asyncio.Yield(ctx)
			return l.Acquire(ctx)
		}, "waits in Lock.Acquire at HERE"},
		{"Event.Wait", func(ctx context.Context) error {
			var e asyncio.Event
			return e.Wait(ctx)
		}, "waits in Event.Wait at HERE"},
		{"Semaphore.Acquire", func(ctx context.Context) error {
			return asyncio.NewSemaphore(0).Acquire(ctx)
		}, "waits in Semaphore.Acquire at HERE"},
		{"BoundedSemaphore.With", func(ctx context.Context) error {
			return asyncio.NewBoundedSemaphore(0).With(ctx, forever)
		}, "waits in BoundedSemaphore.With at HERE"},
		{"Condition.Wait", func(ctx context.Context) error {
			var c asyncio.Condition
			return c.With(ctx, c.Wait)
		}, "waits in Condition.Wait inside Condition.With at HERE"},
		{"Barrier.Wait", func(ctx context.Context) error {
			_, err := asyncio.NewBarrier(2).Wait(ctx)
			return err
		}, "waits in Barrier.Wait at HERE"},
		{"Queue.Get", func(ctx context.Context) error {
			_, err := asyncio.NewQueue[string](0).Get(ctx)
			return err
		}, "waits in Queue.Get at HERE"},
		{"Queue.Put", func(ctx context.Context) error {
			q := asyncio.NewLifoQueue[int](1)
			q.Put(ctx, 1)
			return q.Put(ctx, 2)
		}, "waits in Queue.Put at HERE"},
		{"Queue.Items", func(ctx context.Context) error {
			for range asyncio.NewPriorityQueue[int](0, func(a, b int) bool { return a < b }).Items(ctx) {
			}
			return nil
		}, "waits in Queue.Get at HERE"},
		{"Queue.Join", func(ctx context.Context) error {
			q := asyncio.NewQueue[int](0)
			q.Put(ctx, 1)
			return q.Join(ctx)
		}, "waits in Queue.Join at HERE"},
		{"Future.Await", func(ctx context.Context) error {
			_, err := asyncio.NewFuture[int](ctx).Await(ctx)
			return err
		}, "waits for a future at HERE"},
		{"StreamReader.ReadLine", func(ctx context.Context) error {
			_, err := asyncio.NewStreamReader(ctx, 100).ReadLine(ctx)
			return err
		}, "waits in StreamReader.ReadLine at HERE"},
		{"WaitIdle, with nobody else", func(ctx context.Context) error {
			asynciotest.WaitIdle(ctx)
			return forever(ctx)
		}, "waits in Event.Wait at HERE"},
		{"a function of the library alone", new(asyncio.Event).Wait, "waits in Event.Wait"},
		{"after a cancellation", func(ctx context.Context) error {
			asyncio.CurrentTask(ctx).Cancel(nil)
			asyncio.Yield(ctx)
			return forever(asyncio.CleanupContext(ctx))
		}, "was cancelled, and waits in Event.Wait at HERE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			expectStandstill(t, deadlocked(t, test.wait, asyncio.WithLogger(slog.New(slog.DiscardHandler))), "task main: "+test.want)
		})
	}
}

func TestStandstillTellsWhoWaitsForWhom(t *testing.T) {
	// pair runs two tasks, A and B, in a group.
	pair := func(a, b func(ctx context.Context) error) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Go(a, asyncio.WithName("A"))
				g.Go(b, asyncio.WithName("B"))
				return nil
			})
		}
	}
	t.Run("two locks", func(t *testing.T) {
		var first, second asyncio.Lock
		inOrder := func(x, y *asyncio.Lock) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				return x.With(ctx, func(ctx context.Context) error {
					asyncio.Yield(ctx)
					return y.With(ctx, nothingMore)
				})
			}
		}
		expectStandstill(t, deadlocked(t, pair(inOrder(&first, &second), inOrder(&second, &first))),
			"task main: waits in WithTaskGroup at HERE for A and B",
			"task A: waits in Lock.With at HERE for the lock that B holds",
			"task B: waits in Lock.With at HERE for the lock that A holds",
			"A and B wait for each other")
	})
	t.Run("two tasks", func(t *testing.T) {
		expectStandstill(t, deadlocked(t, func(ctx context.Context) error {
			var b *asyncio.Task[struct{}]
			a := asyncio.Go(ctx, func(ctx context.Context) error { return b.Wait(ctx) }, asyncio.WithName("A"))
			b = asyncio.Go(ctx, func(ctx context.Context) error { return a.Wait(ctx) }, asyncio.WithName("B"))
			_, err := b.Await(ctx)
			return err
		}), "task main: waits for B at HERE", "task A: waits for B at HERE", "task B: waits for A at HERE", "A and B wait for each other")
	})
	t.Run("a circle by different ways", func(t *testing.T) {
		var l asyncio.Lock
		expectStandstill(t, deadlocked(t, func(ctx context.Context) error {
			var a *asyncio.Task[struct{}]
			a = asyncio.Go(ctx, l.Acquire, asyncio.WithName("A"))
			b := asyncio.Go(ctx, func(ctx context.Context) error {
				_, err := asyncio.Gather[struct{}](ctx, a, asyncio.NewFuture[struct{}](ctx))
				return err
			}, asyncio.WithName("B"))
			l.TryAcquire()
			l.Release()
			l.Acquire(ctx)
			_, err := asyncio.Shield(ctx, b)
			return err
		}), "task main: waits in Shield at HERE for B", "task A: waits in Lock.Acquire for the lock that main holds", "task B: waits in Gather at HERE for A",
			"in a circle: main waits for B, B waits for A, A waits for main")
	})
	t.Run("the body of a group does not wait for its tasks", func(t *testing.T) {
		var e asyncio.Event
		expectStandstill(t, deadlocked(t, func(ctx context.Context) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Go(func(ctx context.Context) error { return e.Wait(ctx) }, asyncio.WithName("A"))
				return e.Wait(ctx)
			})
		}), "task main: waits in Event.Wait at HERE", "task A: waits in Event.Wait at HERE")
	})
	t.Run("many that wait in one place", func(t *testing.T) {
		q := asyncio.NewQueue[int](0)
		expectStandstill(t, deadlocked(t, func(ctx context.Context) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				for i := range 20 {
					g.Go(func(ctx context.Context) error {
						_, err := q.Get(ctx)
						return err
					}, asyncio.WithName(fmt.Sprintf("worker %d", i)))
				}
				return nil
			}, asyncio.WithLimit(15))
		}), "task main: waits in WithTaskGroup at HERE for worker 0, worker 1, worker 2, worker 3 and 16 more",
			"task worker 0: waits in Queue.Get at HERE, like worker 1, worker 2, worker 3, worker 4 and 10 more",
			"task worker 15: has not begun, since its group has a limit, like worker 16, worker 17, worker 18 and worker 19")
	})
	t.Run("a reader of package bufio", func(t *testing.T) {
		n := asynciotest.NewNetwork(1)
		n.Host("server").Go(func(ctx context.Context) error {
			s, err := asyncio.StartServer(ctx, "tcp", ":80", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				_, err := bufio.NewReader(asyncio.NetConn(ctx, r, w)).ReadString('\n')
				return err
			}, nil)
			if err != nil {
				return err
			}
			return s.ServeForever(ctx)
		})
		err := n.Simulate(func(ctx context.Context) error {
			r, w, err := asyncio.OpenConnection(ctx, "tcp", "server:80", nil)
			if err != nil {
				return err
			}
			var conn net.Conn = asyncio.NetConn(ctx, r, w)
			_, err = bufio.NewReader(conn).ReadString('\n')
			return err
		})
		for _, want := range []string{
			"outside (main):\n\ttask main: waits in NetConn.Read at standstill_test.go:",
			"server (program 1):\n\ttask main: waits in Server.ServeForever at standstill_test.go:",
		} {
			if !errors.Is(err, asyncio.ErrDeadlock) || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q in it", err, want)
			}
		}
	})
}

func TestStandstillWithoutTasks(t *testing.T) {
	loop := asyncio.NewEventLoop(asynciotest.WithVirtualClock())
	defer loop.Close()
	if err := loop.RunForever(); !errors.Is(err, asyncio.ErrDeadlock) || err.Error() != "asyncio: deadlock: there is no task, and nothing that could wake the loop" {
		t.Errorf("error %v", err)
	}
	var clock asynciotest.ManualClock
	loop = asyncio.NewEventLoop(asynciotest.WithManualClock(&clock))
	defer loop.Close()
	task := asyncio.Go(loop.Context(context.Background()), hour, asyncio.WithName("sleeper"))
	err := loop.RunUntilComplete(task)
	want := "asyncio: deadlock: every task waits, and nothing is left that could wake one\n\ttask sleeper: sleeps until 1h0m0s\n\t" +
		"the clock stands still at 0s, and the next timer is due at 1h0m0s: somebody has to move the clock"
	if !errors.Is(err, asyncio.ErrDeadlock) || withoutPlaces(err.Error()) != want {
		t.Errorf("error %v", err)
	}
}

func nothingMore(context.Context) error { return nil }
