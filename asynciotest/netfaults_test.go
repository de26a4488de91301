// Tests of what can go wrong on the simulated network.

package asynciotest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// talk runs main with a connection to an echo on another host.
func talk(t *testing.T, n *asynciotest.Network, main func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error) {
	t.Helper()
	leavesNothing(t)
	n.Host("server").Go(echo)
	n.Run(t, func(ctx context.Context) error {
		r, w, err := asyncio.OpenConnection(ctx, "tcp", "server:7", nil)
		if err != nil {
			return err
		}
		defer w.Close()
		return main(ctx, r, w)
	})
}

// within returns what f returns, or ErrTimeout after d.
func within(ctx context.Context, d time.Duration, f func(ctx context.Context) error) error {
	return asyncio.Timeout(ctx, d, f)
}

func TestLinkLatency(t *testing.T) {
	n := asynciotest.NewNetwork(1, steady)
	talk(t, n, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		took := func() time.Duration {
			start := n.Now()
			if _, err := askOn(ctx, r, w, "x"); err != nil {
				t.Error(err)
			}
			return n.Now() - start
		}
		if d := took(); d != 2*time.Millisecond {
			t.Errorf("there and back took %v", d)
		}
		out, server := n.Outside(), n.Host("server")
		n.SetLink(out, server, asynciotest.Link{Latency: asynciotest.Fixed(time.Second)})
		if d := took(); d != time.Second+time.Millisecond {
			t.Errorf("with a slow way there it took %v", d)
		}
		n.SetLink(server, out, asynciotest.Link{Latency: asynciotest.Fixed(time.Minute)})
		if d := took(); d != time.Minute+time.Second {
			t.Errorf("with two slow ways it took %v", d)
		}
		n.SetLinks(asynciotest.Link{})
		// What is on its way is not overtaken: an acknowledgement takes another minute.
		if err := asyncio.Sleep(ctx, 2*time.Minute); err != nil {
			return err
		}
		if d := took(); d != 0 {
			t.Errorf("without latency it took %v", d)
		}
		return nil
	})
}

func TestLinkBandwidth(t *testing.T) {
	n := asynciotest.NewNetwork(1, asynciotest.WithLink(asynciotest.Link{Bandwidth: 100_000}))
	talk(t, n, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		start := n.Now()
		w.Write(make([]byte, 1_000_000))
		if _, err := r.ReadExactly(ctx, 1_000_000); err != nil {
			return err
		}
		if took := n.Now() - start; took < 10*time.Second || took > 12*time.Second {
			t.Errorf("1 MB at 100 kB/s took %v", took)
		}
		return nil
	})
}

// What a connection carries arrives, whole and in order, however bad the link is.
func TestLinkLoss(t *testing.T) {
	for seed := range uint64(10) {
		n := asynciotest.NewNetwork(seed, asynciotest.WithLink(asynciotest.Link{
			Latency: asynciotest.Normal(10*time.Millisecond, 20*time.Millisecond), Loss: 0.2,
		}))
		talk(t, n, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			sent := make([]byte, 300_000)
			for i := range sent {
				sent[i] = byte(rand.Uint32())
			}
			w.Write(sent)
			got, err := r.ReadExactly(ctx, len(sent))
			if err != nil {
				return err
			}
			if !slices.Equal(got, sent) {
				t.Errorf("seed %d: something else has arrived", seed)
			}
			return nil
		})
	}
}

// datagrams sends n numbered datagrams to another host, and returns what arrives.
func datagrams(t *testing.T, n *asynciotest.Network, count int) (got []int) {
	leavesNothing(t)
	n.Host("sink").Go(func(ctx context.Context) error {
		e, err := asyncio.OpenDatagramEndpoint(ctx, &asyncio.DatagramOptions{LocalAddr: ":9"})
		if err != nil {
			return err
		}
		buf := make([]byte, 100)
		for {
			k, _, err := e.ReadFrom(ctx, buf)
			if err != nil {
				return err
			}
			var i int
			fmt.Sscan(string(buf[:k]), &i)
			got = append(got, i)
		}
	})
	n.Run(t, func(ctx context.Context) error {
		e, err := asyncio.OpenDatagramEndpoint(ctx, &asyncio.DatagramOptions{RemoteAddr: "sink:9"})
		if err != nil {
			return err
		}
		defer e.Close()
		for i := range count {
			if err := e.WriteTo(fmt.Append(nil, i), asyncio.SockAddr{}); err != nil {
				return err
			}
			if err := asyncio.Sleep(ctx, 100*time.Microsecond); err != nil {
				return err
			}
		}
		return asyncio.Sleep(ctx, time.Minute)
	})
	return got
}

func TestLinkDatagrams(t *testing.T) {
	const count = 1000
	distinct := func(got []int) int { return len(slices.Compact(slices.Sorted(slices.Values(got)))) }
	link := func(l asynciotest.Link) *asynciotest.Network {
		l.Latency = asynciotest.Uniform(time.Millisecond, 2*time.Millisecond)
		return asynciotest.NewNetwork(1, asynciotest.WithLink(l))
	}
	t.Run("none is lost without a fault", func(t *testing.T) {
		if got := datagrams(t, link(asynciotest.Link{}), count); len(got) != count || !slices.IsSorted(got) {
			t.Errorf("%d have arrived, in order: %v", len(got), slices.IsSorted(got))
		}
	})
	t.Run("loss", func(t *testing.T) {
		got := datagrams(t, link(asynciotest.Link{Loss: 0.3}), count)
		if len(got) < 600 || len(got) > 800 || !slices.IsSorted(got) {
			t.Errorf("%d have arrived, in order: %v", len(got), slices.IsSorted(got))
		}
	})
	t.Run("duplication", func(t *testing.T) {
		got := datagrams(t, link(asynciotest.Link{Duplication: 0.3}), count)
		if len(got) < 1200 || len(got) > 1400 || distinct(got) != count {
			t.Errorf("%d have arrived, %d different ones", len(got), distinct(got))
		}
	})
	t.Run("reordering", func(t *testing.T) {
		got := datagrams(t, link(asynciotest.Link{Reordering: 0.1}), count)
		if len(got) != count || distinct(got) != count || slices.IsSorted(got) {
			t.Errorf("%d have arrived, %d different ones, in order: %v", len(got), distinct(got), slices.IsSorted(got))
		}
	})
}

// A connection survives a partition, and what was sent meanwhile arrives late.
func TestPartition(t *testing.T) {
	n := asynciotest.NewNetwork(1)
	talk(t, n, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		out, server := n.Outside(), n.Host("server")
		if _, err := askOn(ctx, r, w, "x"); err != nil { // now both ends know of the connection
			return err
		}
		n.Partition([]*asynciotest.Host{out}, []*asynciotest.Host{server})
		start := n.Now()
		w.Write([]byte("hello\n"))
		err := within(ctx, time.Minute, func(ctx context.Context) error {
			_, err := r.ReadLine(ctx)
			return err
		})
		if !errors.Is(err, asyncio.ErrTimeout) {
			t.Errorf("through the partition came %v", err)
		}
		if err := within(ctx, time.Minute, func(ctx context.Context) error {
			_, err := ask(ctx, "server:7", "x")
			return err
		}); !errors.Is(err, asyncio.ErrTimeout) {
			t.Errorf("a new connection: %v", err)
		}
		n.HealAll()
		got, err := r.ReadLine(ctx)
		if string(got) != "hello\n" || err != nil {
			t.Errorf("after it came %q, %v", got, err)
		}
		if late := n.Now() - start; late < 2*time.Minute || late > 5*time.Minute {
			t.Errorf("that was after %v", late)
		}
		return nil
	})
}

// In one direction only: requests arrive, answers do not.
func TestPartitionOneWay(t *testing.T) {
	n := asynciotest.NewNetwork(1)
	asked := 0
	n.Host("server").Go(serve("tcp", ":7", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		for {
			if _, err := r.ReadLine(ctx); err != nil {
				return err
			}
			asked++
			w.Write([]byte("yes\n"))
		}
	}, nil))
	leavesNothing(t)
	n.Run(t, func(ctx context.Context) error {
		r, w, err := asyncio.OpenConnection(ctx, "tcp", "server:7", nil)
		if err != nil {
			return err
		}
		defer w.Close()
		n.Cut(n.Host("server"), n.Outside())
		err = within(ctx, time.Minute, func(ctx context.Context) error {
			_, err := askOn(ctx, r, w, "well?")
			return err
		})
		if !errors.Is(err, asyncio.ErrTimeout) || asked != 1 {
			t.Errorf("%v, asked %d times", err, asked)
		}
		n.Heal(n.Host("server"), n.Outside())
		got, err := r.ReadLine(ctx)
		if string(got) != "yes\n" || err != nil || asked != 1 {
			t.Errorf("%q, %v, asked %d times", got, err, asked)
		}
		return nil
	})
}

// After 15 attempts to send it, a connection gives up.
func TestPartitionForGood(t *testing.T) {
	n := asynciotest.NewNetwork(1)
	talk(t, n, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		n.Partition([]*asynciotest.Host{n.Outside()}, []*asynciotest.Host{n.Host("server")})
		start := n.Now()
		_, err := askOn(ctx, r, w, "x")
		if took := n.Now() - start; !errors.Is(err, syscall.ETIMEDOUT) || took < 15*time.Minute || took > 20*time.Minute {
			t.Errorf("%v after %v", err, took)
		}
		return nil
	})
}

// An idle connection notices that the peer cannot be reached, by keep-alive.
func TestKeepAlive(t *testing.T) {
	n := asynciotest.NewNetwork(1)
	talk(t, n, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		n.Partition([]*asynciotest.Host{n.Outside()}, []*asynciotest.Host{n.Host("server")})
		start := n.Now()
		_, err := r.ReadLine(ctx)
		if took := n.Now() - start; !errors.Is(err, syscall.ETIMEDOUT) || took < 150*time.Second || took > 151*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		return nil
	})
}

func TestHold(t *testing.T) {
	n := asynciotest.NewNetwork(1)
	talk(t, n, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		out, server := n.Outside(), n.Host("server")
		n.Hold(out, server)
		w.Write([]byte("one\n"))
		w.Write([]byte("two\n"))
		if err := asyncio.Sleep(ctx, time.Second); err != nil {
			return err
		}
		before := n.Now()
		n.Release(out, server)
		for _, want := range []string{"one\n", "two\n"} {
			if got, err := r.ReadLine(ctx); string(got) != want || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		}
		if took := n.Now() - before; took > 4*time.Millisecond {
			t.Errorf("it took %v after Release", took)
		}
		return nil
	})
}

func TestReset(t *testing.T) {
	n := asynciotest.NewNetwork(1)
	talk(t, n, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		if _, err := askOn(ctx, r, w, "x"); err != nil {
			return err
		}
		asyncio.Go(ctx, func(ctx context.Context) error {
			n.Reset(n.Host("server"), n.Outside())
			return nil
		})
		if _, err := r.ReadLine(ctx); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v", err)
		}
		if got, err := ask(ctx, "server:7", "again"); got != "again" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		return nil
	})
}

// A peer that has forgotten the connection answers with a reset, but only when it is
// sent something.
func TestHalfOpen(t *testing.T) {
	n := asynciotest.NewNetwork(1)
	talk(t, n, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		n.Forget(n.Host("server"), n.Outside())
		err := within(ctx, 10*time.Second, func(ctx context.Context) error {
			_, err := r.ReadLine(ctx)
			return err
		})
		if !errors.Is(err, asyncio.ErrTimeout) {
			t.Errorf("the peer says %v", err)
		}
		if _, err := askOn(ctx, r, w, "x"); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("an answer: %v", err)
		}
		return nil
	})
}

// What a real peer sees of a connection that is closed with something unread.
func TestCloseWithUnread(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	n.Host("server").Go(serve("tcp", ":1", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		if err := asyncio.Sleep(ctx, time.Second); err != nil {
			return err
		}
		return w.Close()
	}, nil))
	n.Run(t, func(ctx context.Context) error {
		r, w, err := asyncio.OpenConnection(ctx, "tcp", "server:1", nil)
		if err != nil {
			return err
		}
		defer w.Close()
		w.Write([]byte("nobody reads this"))
		if _, err := r.ReadLine(ctx); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v", err)
		}
		return nil
	})
}

func TestHalfClose(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	n.Host("server").Go(serve("tcp", ":1", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		defer w.Close()
		all, err := r.ReadAll(ctx)
		if err != nil {
			return err
		}
		w.Write(fmt.Append(nil, len(all)))
		return nil
	}, nil))
	n.Run(t, func(ctx context.Context) error {
		r, w, err := asyncio.OpenConnection(ctx, "tcp", "server:1", nil)
		if err != nil {
			return err
		}
		defer w.Close()
		w.Write(make([]byte, 200_000))
		if err := w.WriteEOF(); err != nil {
			return err
		}
		if got, err := r.ReadAll(ctx); string(got) != "200000" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := r.Read(ctx, make([]byte, 1)); err != io.EOF {
			t.Errorf("after the end: %v", err)
		}
		return nil
	})
}

func TestBacklog(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1, steady)
	n.Host("server").Go(func(ctx context.Context) error {
		s, err := asyncio.StartServer(ctx, "tcp4", ":7", sendBack, &asyncio.ServerOptions{Backlog: 1, MaxConnections: 1})
		if err != nil {
			return err
		}
		return s.ServeForever(ctx)
	})
	n.Run(t, func(ctx context.Context) error {
		var open []*asyncio.StreamWriter
		for range 3 { // one is served, two wait
			_, w, err := asyncio.OpenConnection(ctx, "tcp", "server:7", nil)
			if err != nil {
				return err
			}
			open = append(open, w)
		}
		err := within(ctx, time.Minute, func(ctx context.Context) error {
			_, _, err := asyncio.OpenConnection(ctx, "tcp", "server:7", nil)
			return err
		})
		if !errors.Is(err, asyncio.ErrTimeout) {
			t.Errorf("one more: %v", err)
		}
		for _, w := range open {
			w.Close()
		}
		got, err := ask(ctx, "server:7", "x")
		if got != "x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		return nil
	})
}

// A client that is gone before it has confirmed the connection does not keep its place
// in the backlog for good.
func TestBacklogForgets(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1, steady)
	server := n.Host("server")
	server.Go(serve("tcp4", ":7", sendBack, &asyncio.ServerOptions{Backlog: 1}))
	n.Run(t, func(ctx context.Context) error {
		for i := range 2 {
			h := n.Host(fmt.Sprint("client", i))
			n.Cut(server, h)
			h.Go(func(ctx context.Context) error {
				_, err := ask(ctx, "10.0.0.1:7", "x")
				return err
			})
		}
		if err := asyncio.Sleep(ctx, 500*time.Millisecond); err != nil {
			return err
		}
		n.Host("client0").Crash()
		n.Host("client1").Crash()
		if err := within(ctx, 500*time.Millisecond, func(ctx context.Context) error {
			_, err := ask(ctx, "server:7", "x")
			return err
		}); !errors.Is(err, asyncio.ErrTimeout) {
			t.Errorf("there is room for a third: %v", err)
		}
		if err := asyncio.Sleep(ctx, 63*time.Second); err != nil {
			return err
		}
		if got, err := ask(ctx, "server:7", "x"); got != "x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		return nil
	})
}

func TestLinkMistakes(t *testing.T) {
	for _, l := range []asynciotest.Link{{Loss: -1}, {Loss: 1}, {Duplication: 2}, {Reordering: -0.1}, {Bandwidth: -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v is accepted", l)
				}
			}()
			asynciotest.WithLink(l)
			asynciotest.NewNetwork(1, asynciotest.WithLink(l))
		}()
	}
}

// Whatever happens to the links, what a connection delivers is what was sent: a
// beginning of it if it breaks, all of it if it ends in order.
func TestStreamsUnderFaults(t *testing.T) {
	leavesNothing(t)
	broken, whole := 0, 0
	for seed := range uint64(60) {
		n := asynciotest.NewNetwork(seed, asynciotest.WithSocketBuffers(20_000), asynciotest.WithLogLimit(0),
			asynciotest.WithLink(asynciotest.Link{Latency: asynciotest.LongTail(5*time.Millisecond, time.Second), Loss: 0.05, Bandwidth: 1e6}))
		sent := make([]byte, 300_000)
		for i := range sent {
			sent[i] = byte(i*i>>8 ^ i)
		}
		sink := n.Host("sink")
		sink.Go(serve("tcp", ":1", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			defer w.Close()
			got, err := r.ReadAll(ctx)
			switch {
			case err != nil:
				broken++
			case len(got) == len(sent):
				whole++
			default:
				t.Errorf("seed %d: the end after %d bytes", seed, len(got))
			}
			if !slices.Equal(got, sent[:len(got)]) {
				t.Errorf("seed %d: something else has arrived", seed)
			}
			return nil
		}, nil))
		n.Run(t, func(ctx context.Context) error {
			clients := make([]*asynciotest.Program, 3)
			for i := range clients {
				clients[i] = n.Host(fmt.Sprint("client", i)).Go(func(ctx context.Context) error {
					_, w, err := asyncio.OpenConnection(ctx, "tcp", "sink:1", nil)
					if err != nil {
						return nil
					}
					defer w.Close()
					for rest := sent; len(rest) > 0; {
						k := min(len(rest), 1+asyncio.Rand(ctx).IntN(30_000))
						w.Write(rest[:k])
						rest = rest[k:]
						if err := w.Drain(ctx); err != nil {
							return nil
						}
					}
					w.Close()
					w.WaitClosed(ctx) // or else the end of the program breaks it off
					return nil
				})
			}
			r := asyncio.Rand(ctx)
			for range 20 {
				if err := asyncio.Sleep(ctx, time.Duration(r.IntN(3e8))); err != nil {
					return err
				}
				c := clients[r.IntN(len(clients))].Host()
				switch r.IntN(8) {
				case 0, 1:
					n.Cut(c, sink)
				case 2:
					n.Cut(sink, c)
				case 3:
					n.Hold(c, sink)
				case 4:
					n.Hold(sink, c)
				case 5, 6:
					n.HealAll()
					n.Release(c, sink)
					n.Release(sink, c)
				case 7:
					if r.IntN(3) == 0 {
						n.Reset(c, sink)
					}
				}
			}
			n.HealAll()
			for _, p := range clients {
				n.Release(p.Host(), sink)
				n.Release(sink, p.Host())
			}
			return asyncio.Sleep(ctx, time.Hour) // longer than any attempt to send
		})
	}
	if broken == 0 || whole < 60 {
		t.Errorf("%d connections have broken, %d have not", broken, whole)
	}
}

// A sender that waits for room at the other end goes on after a partition in which the
// message that there is room was lost.
func TestPartitionLosesRoom(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1, asynciotest.WithSocketBuffers(10_000))
	received := 0
	n.Host("server").Go(serve("tcp", ":1", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		defer w.Close()
		if err := asyncio.Sleep(ctx, time.Minute); err != nil {
			return err
		}
		for {
			k, err := r.Read(ctx, make([]byte, 10_000))
			received += k
			if err != nil {
				return nil
			}
		}
	}, nil))
	n.Run(t, func(ctx context.Context) error {
		_, w, err := asyncio.OpenConnection(ctx, "tcp", "server:1", nil)
		if err != nil {
			return err
		}
		defer w.Close()
		w.Write(make([]byte, 100_000))
		if err := asyncio.Sleep(ctx, 30*time.Second); err != nil {
			return err
		}
		n.Cut(n.Host("server"), n.Outside())
		if err := asyncio.Sleep(ctx, time.Minute); err != nil {
			return err
		}
		n.HealAll()
		if err := asyncio.Sleep(ctx, 10*time.Second); err != nil {
			return err
		}
		if received != 100_000 {
			t.Errorf("%d bytes have arrived", received)
		}
		return nil
	})
}

// Latencies are what their distributions say.
func TestDistributions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const ms = time.Millisecond
	for _, test := range []struct {
		name                     string
		draw                     asynciotest.Distribution
		low, median, high, least time.Duration
	}{
		{"Fixed", asynciotest.Fixed(5 * ms), 5 * ms, 5 * ms, 5 * ms, 5 * ms},
		{"Uniform", asynciotest.Uniform(10*ms, 30*ms), 10 * ms, 20 * ms, 30 * ms, 29 * ms},
		{"Uniform of one", asynciotest.Uniform(7*ms, 7*ms), 7 * ms, 7 * ms, 7 * ms, 7 * ms},
		{"Normal", asynciotest.Normal(10*ms, 10*ms), 0, 10 * ms, 80 * ms, 30 * ms},
		{"LongTail", asynciotest.LongTail(10*ms, 100*ms), 0, 10 * ms, 10_000 * ms, 100 * ms},
	} {
		var got []time.Duration
		for range 10_000 {
			got = append(got, test.draw(r))
		}
		slices.Sort(got)
		if got[0] < test.low || got[9999] > test.high || got[9950] < test.least {
			t.Errorf("%s: from %v to %v", test.name, got[0], got[9999])
		}
		if m := got[5000]; m < test.median*9/10 || m > test.median*11/10 {
			t.Errorf("%s: half are below %v", test.name, m)
		}
	}
}
