// Tests of protocols on the simulated network, and of many hosts.

package asynciotest_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// collector is a protocol that notes what it is told, and answers if it is a server's.
type collector struct {
	server bool
	tr     *asyncio.Transport
	told   []string
	lost   *asyncio.Future[error]
}

func (c *collector) ConnectionMade(tr *asyncio.Transport) {
	c.tr = tr
	c.told = append(c.told, "made")
}

func (c *collector) DataReceived(p []byte) {
	c.told = append(c.told, string(p))
	if c.server {
		c.tr.Write(append([]byte("re: "), p...))
	}
}

func (c *collector) EOFReceived() bool { c.told = append(c.told, "eof"); return false }
func (c *collector) PauseWriting()     {}
func (c *collector) ResumeWriting()    {}

func (c *collector) ConnectionLost(err error) {
	c.told = append(c.told, "lost")
	if c.lost != nil {
		c.lost.SetResult(err)
	}
}

func TestNetworkProtocols(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	server := new(collector)
	n.Host("server").Go(func(ctx context.Context) error {
		s, err := asyncio.CreateServer(ctx, "tcp", ":1", func() *collector { server.server = true; return server }, nil)
		if err != nil {
			return err
		}
		return s.ServeForever(ctx)
	})
	n.Run(t, func(ctx context.Context) error {
		lost := asyncio.NewFuture[error](ctx)
		tr, p, err := asyncio.CreateConnection(ctx, "tcp", "server:1", func() *collector { return &collector{lost: lost} }, nil)
		if err != nil {
			return err
		}
		for range 2 {
			tr.Write([]byte("ping"))
			if err := asyncio.Sleep(ctx, time.Second); err != nil {
				return err
			}
		}
		tr.Close()
		if err, werr := lost.Await(ctx); err != nil || werr != nil {
			t.Errorf("lost with %v, %v", err, werr)
		}
		if err := asyncio.Sleep(ctx, time.Second); err != nil {
			return err
		}
		if want := []string{"made", "re: ping", "re: ping", "lost"}; !slices.Equal(p.told, want) {
			t.Errorf("the client was told %q", p.told)
		}
		if want := []string{"made", "ping", "ping", "eof", "lost"}; !slices.Equal(server.told, want) {
			t.Errorf("the server was told %q", server.told)
		}
		return nil
	})
}

// gossip is a protocol that passes each number on to the next host.
type gossip struct {
	addr asyncio.SockAddr
	tr   *asyncio.DatagramTransport
	got  func()
}

func (g *gossip) ConnectionMade(tr *asyncio.DatagramTransport) { g.tr = tr }
func (g *gossip) ErrorReceived(error)                          {}
func (g *gossip) ConnectionLost(error)                         {}
func (g *gossip) PauseWriting()                                {}
func (g *gossip) ResumeWriting()                               {}

func (g *gossip) DatagramReceived(p []byte, from asyncio.SockAddr) {
	g.got()
	g.tr.SendTo(p, g.addr)
}

// ring makes hosts that pass datagrams on in a ring, and counts how many arrive.
func ring(n *asynciotest.Network, hosts int, got func()) {
	for i := range hosts {
		next := n.Host(fmt.Sprint("host", (i+1)%hosts))
		n.Host(fmt.Sprint("host", i)).Go(func(ctx context.Context) error {
			addrs, err := asyncio.GetAddrInfo(ctx, "udp", next.Name()+":9")
			if err != nil {
				return err
			}
			_, g, err := asyncio.CreateDatagramEndpoint(ctx, func() *gossip {
				return &gossip{addr: asyncio.SockAddr{AddrPort: addrs[0]}, got: got}
			}, &asyncio.DatagramOptions{LocalAddr: ":9", Network: "udp4"})
			if err != nil {
				return err
			}
			if err := asyncio.Sleep(ctx, time.Second); err != nil {
				return err
			}
			g.tr.SendTo([]byte("round and round"), g.addr)
			return asyncio.Sleep(ctx, 1000*time.Hour)
		})
	}
}

func TestNetworkManyHosts(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1, steady)
	arrived := 0
	ring(n, 100, func() { arrived++ })
	n.Run(t, func(ctx context.Context) error { return asyncio.Sleep(ctx, 1100*time.Millisecond) })
	if arrived < 9_000 || arrived > 10_000 {
		t.Errorf("%d datagrams have arrived", arrived)
	}
}

// BenchmarkNetworkRing counts datagrams from host to host, of 100.
func BenchmarkNetworkRing(b *testing.B) {
	n := asynciotest.NewNetwork(1, asynciotest.WithLogLimit(0))
	arrived := 0
	ring(n, 100, func() { arrived++ })
	err := n.Simulate(func(ctx context.Context) error {
		b.ReportAllocs()
		if err := asyncio.Sleep(ctx, 900*time.Millisecond); err != nil {
			return err
		}
		b.ResetTimer()
		before := n.Events()
		for arrived < b.N {
			if err := asyncio.Sleep(ctx, time.Second); err != nil {
				return err
			}
		}
		b.ReportMetric(float64(n.Events()-before)/b.Elapsed().Seconds(), "events/s")
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// Random numbers of a host come from the seed, and are its own.
func TestNetworkRand(t *testing.T) {
	leavesNothing(t)
	draw := func(seed uint64) (numbers []uint64) {
		n := asynciotest.NewNetwork(seed)
		for _, name := range []string{"a", "b", "a"} {
			n.Host(name).Go(func(ctx context.Context) error {
				numbers = append(numbers, asyncio.Rand(ctx).Uint64())
				return nil
			})
		}
		n.Run(t, func(ctx context.Context) error {
			if err := asyncio.Sleep(ctx, time.Second); err != nil {
				return err
			}
			numbers = append(numbers, asyncio.Rand(ctx).Uint64())
			return nil
		})
		return numbers
	}
	first, again, other := draw(1), draw(1), draw(2)
	if !slices.Equal(first, again) {
		t.Errorf("one seed gives %v and %v", first, again)
	}
	all := append(first, other...)
	slices.Sort(all)
	if len(slices.Compact(all)) != 8 {
		t.Errorf("some are the same: %v", all)
	}
}
