// What TLS costs: echoes, handshakes, idle connections, and how many system calls and
// records a write becomes.

package asyncio_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/sock"
)

// tlsStreams opens connections to a server on the same loop, and returns both ends of
// each.
func tlsStreams(t testing.TB, ctx context.Context, count int) (clients, servers []stream, end func()) {
	t.Helper()
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "localhost")}}
	over := asyncio.NewFuture[struct{}](ctx)
	accepted := asyncio.NewQueue[stream](0)
	srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		accepted.PutNowait(stream{r, w})
		return over.Wait(ctx)
	}, &asyncio.ServerOptions{TLS: config})
	if err != nil {
		t.Fatal(err)
	}
	opts := &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1)}}
	for range count {
		r, w, err := asyncio.OpenConnection(ctx, "tcp", srv.Addr().String(), opts)
		if err != nil {
			t.Fatal(err)
		}
		s, err := accepted.Get(ctx)
		if err != nil {
			t.Fatal(err)
		}
		clients, servers = append(clients, stream{r, w}), append(servers, s)
	}
	return clients, servers, func() {
		over.SetResult(struct{}{})
		srv.Close()
		srv.AbortClients()
		for _, c := range clients {
			c.w.Abort()
		}
		if err := srv.WaitClosed(ctx); err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkTLS(b *testing.B) {
	b.Run("Echo/Tasks", func(b *testing.B) { // both ends on one loop
		benchOnLoop(b, func(ctx context.Context) error {
			clients, servers, end := tlsStreams(b, ctx, 1)
			defer end()
			echoing := asyncio.Go(ctx, func(ctx context.Context) error {
				for p := make([]byte, 4<<10); ; {
					n, err := servers[0].r.Read(ctx, p)
					if err == io.EOF {
						return nil
					}
					if err != nil {
						return err
					}
					if _, err := servers[0].w.Write(p[:n]); err != nil {
						return err
					}
				}
			})
			p := make([]byte, 64)
			for b.Loop() {
				if _, err := clients[0].w.Write(p); err != nil {
					return err
				}
				if _, err := clients[0].r.Read(ctx, p); err != nil {
					return err
				}
			}
			return errors.Join(clients[0].w.WriteEOF(), echoing.Wait(ctx))
		})
	})
	b.Run("Echo/Goroutines", func(b *testing.B) { // crypto/tls over package net, to compare with
		b.ReportAllocs()
		ca := newAuthority(b)
		address := tlsPeer(b, &tls.Config{Certificates: []tls.Certificate{ca.issue(b, soon(), "localhost")}}, echoTLS)
		c, err := tls.Dial("tcp", address, &tls.Config{RootCAs: ca.pool, ServerName: "localhost"})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		p := make([]byte, 64)
		for b.Loop() {
			if _, err := c.Write(p); err != nil {
				b.Fatal(err)
			}
			if _, err := c.Read(p); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		b.Run("Write"+map[int]string{1 << 10: "1K", 64 << 10: "64K", 1 << 20: "1M"}[size], func(b *testing.B) { // with Drain, to a peer that reads all
			ca := newAuthority(b)
			address := tlsPeer(b, &tls.Config{Certificates: []tls.Certificate{ca.issue(b, soon(), "localhost")}}, func(c *tls.Conn) error {
				if err := c.Handshake(); err != nil {
					return err
				}
				_, err := io.Copy(io.Discard, c.NetConn()) // without the cost of decrypting
				return err
			})
			benchOnLoop(b, func(ctx context.Context) error {
				_, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}})
				if err != nil {
					return err
				}
				p := make([]byte, size)
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := w.Write(p); err != nil {
						return err
					}
					if err := w.Drain(ctx); err != nil {
						return err
					}
				}
				w.Close()
				return w.WaitClosed(ctx)
			})
		})
	}
	b.Run("Handshake", func(b *testing.B) { // both ends, without resumption
		benchOnLoop(b, func(ctx context.Context) error {
			ca := newAuthority(b)
			config := &tls.Config{Certificates: []tls.Certificate{ca.issue(b, soon(), "localhost")}}
			srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(context.Context, *asyncio.StreamReader, *asyncio.StreamWriter) error { return nil }, &asyncio.ServerOptions{TLS: config})
			if err != nil {
				return err
			}
			opts := &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}}
			for b.Loop() {
				if err := open(ctx, "tcp", srv.Addr().String(), opts); err != nil {
					return err
				}
			}
			return closes(ctx, srv)
		})
	})
	b.Run("Idle", func(b *testing.B) { // connections whose server waits in a read, after an echo of 100 bytes
		const count = 1000
		for b.Loop() {
			runStreams(b, func(ctx context.Context) error {
				before := liveHeap()
				clients, servers, end := tlsStreams(b, ctx, count)
				defer end()
				var all []asyncio.Awaitable[struct{}]
				for i, c := range clients {
					asyncio.Go(ctx, func(ctx context.Context) error { return echoOnce(ctx, servers[i]) })
					all = append(all, asyncio.Go(ctx, func(ctx context.Context) error {
						c.w.Write(append(bytes.Repeat([]byte{'x'}, 99), '\n'))
						_, err := c.r.ReadLine(ctx)
						return err
					}))
				}
				if _, err := asyncio.Gather(ctx, all...); err != nil {
					return err
				}
				b.ReportMetric(float64(liveHeap()-before)/(2*count), "heap-B/end")
				return nil
			})
		}
	})
}

func echoOnce(ctx context.Context, s stream) error {
	line, err := s.r.ReadLine(ctx)
	if err != nil {
		return err
	}
	s.w.Write(line)
	return nil
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A countingNetwork counts the writes of connections that it has dialled.
type countingNetwork struct {
	seam.Network
	writes *int
}

type countingConn struct {
	seam.Conn
	writes *int
}

func (n countingNetwork) Dial(network string, to, local seam.Addr, h seam.Handler) (seam.Conn, error) {
	c, err := n.Network.Dial(network, to, local, h)
	return countingConn{c, n.writes}, err
}

func (c countingConn) Write(p []byte) (int, error) {
	*c.writes++
	return c.Conn.Write(p)
}

func (c countingConn) Writev(v [][]byte) (int, error) {
	*c.writes++
	return c.Conn.Writev(v)
}

// TestTLSWritesTogether: what is written at once goes out at once.
func TestTLSWritesTogether(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	writes := 0
	counting := seam.LoopOption(seam.Seams{NewNetwork: func() (seam.Network, error) {
		n, err := sock.New()
		return countingNetwork{n, &writes}, err
	}}).(asyncio.LoopOption)
	lines := make([][]byte, 0, 300)
	for i := range cap(lines) {
		lines = append(lines, bytes.Repeat([]byte{'a' + byte(i%26)}, i%70))
	}
	lines = append(lines, nil, pattern(40_000), []byte("end"), pattern(16<<10), pattern(1))
	for _, v := range tlsVersions {
		t.Run(v.name, func(t *testing.T) {
			sizes := make(chan int, 1)
			records := make(chan int, 1)
			address := peer(t, func(c *net.TCPConn) error {
				seen := &tlsWitness{Conn: c}
				tc := tls.Server(seen, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "localhost")}, DynamicRecordSizingDisabled: true})
				if err := tc.Handshake(); err != nil {
					return err
				}
				r := bufio.NewReader(tc)
				for size := range sizes {
					seen.stream = nil
					got := make([]byte, size)
					if _, err := io.ReadFull(r, got); err != nil {
						return err
					}
					n := 0
					for p := seen.stream; len(p) > 5; n++ {
						p = p[5+int(p[3])<<8+int(p[4]):]
					}
					if want := bytes.Join(lines, nil); size == len(want) && !bytes.Equal(got, want) {
						return errors.New("the lines are not what was written")
					}
					records <- n
				}
				return nil
			})
			runStreams(t, func(ctx context.Context) error {
				defer close(sizes)
				_, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{TLS: &tls.Config{
					RootCAs: ca.pool, ServerName: "localhost", MaxVersion: v.version, DynamicRecordSizingDisabled: true,
				}})
				if err != nil {
					return err
				}
				for _, test := range []struct {
					name             string
					size             int
					mostWrites, most int
					write            func() error
				}{
					{"a byte", 1, 1, 1, func() error { _, err := w.Write([]byte("x")); return err }},
					{"two records", 20_000, 1, 2, func() error { _, err := w.Write(make([]byte, 20_000)); return err }},
					{"60 KB", 60_000, 1, 4, func() error { _, err := w.Write(make([]byte, 60_000)); return err }},
					{"200 KB", 200_000, 4, 13, func() error { _, err := w.Write(make([]byte, 200_000)); return err }},
					{"many lines", len(bytes.Join(lines, nil)), 2, 5, func() error { return w.WriteLines(lines) }},
				} {
					before := writes
					sizes <- test.size
					if err := test.write(); err != nil {
						return err
					}
					n := writes - before
					if w.Buffered() > 0 {
						t.Logf("%s: %d bytes did not fit", test.name, w.Buffered())
					} else if n > test.mostWrites {
						t.Errorf("%s: %d writes", test.name, n)
					}
					got, err := asyncio.ToThread(ctx, func(context.Context) (int, error) { return <-records, nil })
					if err != nil {
						return err
					}
					if got > test.most {
						t.Errorf("%s: %d records", test.name, got)
					}
				}
				w.Close()
				return nil
			}, counting)
		})
	}
}
