// What an idle connection costs, and what is left of thousands that come and go.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// raiseLimit lets the process have as many descriptors as it may, and skips the test
// if those are fewer than n. It returns what undoes it.
func raiseLimit(t testing.TB, n int) (undo func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < uint64(n)+100 {
		t.Skipf("a process may have %d descriptors here", limit.Max)
	}
	was := limit
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return func() { syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was) }
}

// idlers plays the part of many clients that connect, and wait for the end of
// standard input. Each has something to say first.
func idlers(t testing.TB, role string) {
	var address string
	var n int
	if _, err := fmt.Sscan(role, &address, &n); err != nil {
		t.Fatal(err)
	}
	raiseLimit(t, n)
	for range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("connected")
	io.Copy(io.Discard, os.Stdin)
}

// memory returns how much heap and stack is in use.
func memory() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// idleCost returns how many bytes each of n idle connections takes at a server.
func idleCost(t testing.TB, n int, start func(ctx context.Context) (*asyncio.Server, error)) (bytes int64) {
	defer raiseLimit(t, n)()
	runStreams(t, func(ctx context.Context) error {
		srv, err := start(ctx)
		if err != nil {
			return err
		}
		if err := open(ctx, "tcp", srv.Addr().String(), nil); err != nil { // warms up
			return err
		}
		before := memory()
		c := exec.Command(os.Args[0], "-test.run=^TestIdleConnections$", "-test.timeout=5m")
		c.Env = append(os.Environ(), childRole+"="+fmt.Sprint(srv.Addr(), " ", n))
		in, err := c.StdinPipe()
		if err != nil {
			return err
		}
		out, err := c.StdoutPipe()
		if err != nil {
			return err
		}
		if err := c.Start(); err != nil {
			return err
		}
		_, err = asyncio.ToThread(ctx, func(context.Context) (int, error) { return out.Read(make([]byte, 9)) })
		bytes = (memory() - before) / int64(n)
		in.Close()
		_, werr := asyncio.ToThread(ctx, func(context.Context) (int, error) {
			io.Copy(io.Discard, out)
			return 0, c.Wait()
		})
		return errors.Join(err, werr, srv.Shutdown(ctx))
	})
	return bytes
}

// TestIdleConnections holds the library to what CreateServer says of an idle
// connection.
func TestIdleConnections(t *testing.T) {
	if role := os.Getenv(childRole); role != "" {
		idlers(t, role)
		return
	}
	leavesNothing(t)
	n := amount(10_000, 2_000)
	for name, most := range map[string]int64{"protocol": 500, "stream": 5000} {
		if onPortable {
			most += 5 << 10 // a goroutine each
		}
		cost := idleCost(t, n, idleServers[name])
		if cost > most && !underRace && !testing.Short() {
			t.Errorf("%s: %d bytes a connection, want %d at most", name, cost, most)
		}
		t.Logf("%s: %d bytes a connection, with %d of them", name, cost, n)
	}
}

// TestLatePeers: what waits for a peer that does not read takes little more memory than
// it is long.
func TestLatePeers(t *testing.T) {
	if onPortable {
		t.Skip("a connection has buffers of its own there")
	}
	leavesNothing(t)
	runStreams(t, func(ctx context.Context) error {
		const n = 100
		stuck := 0
		srv, err := asyncio.StartServer(ctx, "unix", "@"+t.Name(), func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			for p := make([]byte, 64); w.Buffered() == 0; {
				w.Write(p)
			}
			stuck++
			r.Read(ctx, make([]byte, 1)) // to the end
			w.Abort()
			return nil
		}, nil)
		if err != nil {
			return err
		}
		before := heap()
		for range n {
			c, err := net.Dial("unix", "@"+t.Name())
			if err != nil {
				return err
			}
			defer c.Close()
		}
		comesTrue(t, ctx, "nobody reads", func() bool { return stuck == n })
		if each := (heap() - before) / n; each > 8<<10 && !underRace {
			t.Errorf("%d bytes a connection with 64 bytes that wait", each)
		}
		srv.AbortClients()
		return srv.Shutdown(ctx)
	})
}

// BenchmarkIdleConnection tells what an idle connection costs at the server.
func BenchmarkIdleConnection(b *testing.B) {
	for _, name := range []string{"protocol", "stream"} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				b.ReportMetric(float64(idleCost(b, 10_000, idleServers[name])), "B/connection")
			}
		})
	}
}

// idleServers are the kinds of servers.
var idleServers = map[string]func(ctx context.Context) (*asyncio.Server, error){
	"protocol": func(ctx context.Context) (*asyncio.Server, error) {
		return asyncio.CreateServer(ctx, "tcp", "127.0.0.1:0", newEcho, nil)
	},
	"stream": func(ctx context.Context) (*asyncio.Server, error) {
		return asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", echoes, nil)
	},
}

// echoes is a handler that sends back what it gets.
func echoes(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
	for p := make([]byte, 64); ; {
		n, err := r.Read(ctx, p)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		w.Write(p[:n])
		if err := w.Drain(ctx); err != nil {
			return err
		}
	}
}

// vanishers plays the part of many clients that connect and are gone, each in
// another way.
func vanishers(t testing.TB, address string, n int) {
	for i := range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			c.Write([]byte("x"))
		}
		if i%3 == 0 {
			c.(*net.TCPConn).SetLinger(0)
		}
		c.Close()
	}
}

// TestVanishingConnections: thousands of clients that connect and vanish leave
// nothing, and the server serves the others.
func TestVanishingConnections(t *testing.T) {
	leavesNothing(t)
	servers := map[string]func(ctx context.Context) (*asyncio.Server, error){
		"protocols": func(ctx context.Context) (*asyncio.Server, error) {
			return asyncio.CreateServer(ctx, "tcp", "127.0.0.1:0", newEcho, nil)
		},
		"streams": func(ctx context.Context) (*asyncio.Server, error) {
			return asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				if err := echoes(ctx, r, w); err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
					return err
				}
				return nil
			}, nil)
		},
	}
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			runStreams(t, func(ctx context.Context) error {
				srv, err := start(ctx)
				if err != nil {
					return err
				}
				echoed(t, ctx, srv.Addr())
				before, timers := len(descriptors()), srv.Loop().Timers()
				address := srv.Addr().String()
				stays := arrive(t, srv.Addr())
				stays.served(ctx)
				memory := heap()
				_, err = asyncio.ToThread(ctx, func(context.Context) (int, error) {
					vanishers(t, address, amount(10_000, 1000))
					return 0, nil
				})
				if err != nil {
					return err
				}
				comesTrue(t, ctx, "they are gone", func() bool { return srv.String() == fmt.Sprintf("<Server [%s] clients=1>", address) })
				if grown := heap() - memory; grown > 4<<20 {
					t.Errorf("memory has grown by %d bytes", grown)
				}
				io.WriteString(stays, "x")
				stays.served(ctx)
				stays.Close()
				echoed(t, ctx, srv.Addr())
				comesTrue(t, ctx, "all are gone", func() bool { return srv.String() == fmt.Sprintf("<Server [%s] clients=0>", address) })
				comesTrue(t, ctx, "their descriptors are closed", func() bool { return len(descriptors()) == before })
				if now := srv.Loop().Timers(); now > timers {
					t.Errorf("%d timers are left", now)
				}
				return srv.Shutdown(ctx)
			})
		})
	}
}

// TestProtocolPeers: peers that never read, or send without end, cost bounded memory
// and leave the others their turn.
func TestProtocolPeers(t *testing.T) {
	leavesNothing(t)
	t.Run("a peer that sends without end and never reads", func(t *testing.T) {
		onServer(t, "tcp", "127.0.0.1:0", nil, func(ctx context.Context, srv *asyncio.Server) error {
			before := heap()
			var floods []net.Conn
			over := make(chan struct{})
			for range 3 {
				c, err := net.Dial("tcp", srv.Addr().String())
				if err != nil {
					return err
				}
				floods = append(floods, c)
				go func() {
					defer func() { over <- struct{}{} }()
					for chunk := make([]byte, 256<<10); ; {
						if _, err := c.Write(chunk); err != nil {
							return
						}
					}
				}()
			}
			for range 50 { // the others are served
				echoed(t, ctx, srv.Addr())
			}
			if grown := heap() - before; grown > 8<<20 {
				t.Errorf("memory has grown by %d bytes", grown)
			}
			for _, c := range floods {
				c.Close()
				<-over
			}
			comesTrue(t, ctx, "they are gone", func() bool { return srv.String() == fmt.Sprintf("<Server [%v] clients=0>", srv.Addr()) })
			return srv.Shutdown(ctx)
		})
	})
	t.Run("a peer that sends without end and reads", func(t *testing.T) {
		onServer(t, "tcp", "127.0.0.1:0", nil, func(ctx context.Context, srv *asyncio.Server) error {
			c, err := net.Dial("tcp", srv.Addr().String())
			if err != nil {
				return err
			}
			least := int64(max(scaled(100<<20), 32<<20))
			var enough atomic.Bool
			over := asyncio.Go(ctx, func(ctx context.Context) error {
				sent := make(chan int64, 1)
				got, err := asyncio.ToThread(ctx, func(context.Context) (int64, error) {
					go func() {
						n := int64(0)
						for chunk := make([]byte, 32<<10); n < least || !enough.Load(); {
							k, err := c.Write(chunk)
							if n += int64(k); err != nil {
								break
							}
						}
						sent <- n
						c.(*net.TCPConn).CloseWrite()
					}()
					return io.Copy(io.Discard, c)
				})
				if n := <-sent; got != n {
					t.Errorf("%d bytes came back, of %d", got, n)
				}
				return err
			})
			for served := 0; !over.Done(); served++ { // the others are served meanwhile
				echoed(t, ctx, srv.Addr())
				enough.Store(served >= 10)
			}
			c.Close()
			return errors.Join(over.Wait(ctx), srv.Shutdown(ctx))
		})
	})
}

func TestCreateConnectionBlackHole(t *testing.T) {
	leavesNothing(t)
	t.Run("BASE-062 a timeout closes the socket", func(t *testing.T) {
		hole := blackHole(t, "127.0.0.2")
		runStreams(t, func(ctx context.Context) error {
			before := len(descriptors())
			err := asyncio.Timeout(ctx, 10*time.Millisecond, func(ctx context.Context) error {
				_, _, err := asyncio.CreateConnection(ctx, "tcp", hole.String(), newEcho, nil)
				return err
			})
			if !errors.Is(err, asyncio.ErrTimeout) {
				t.Errorf("CreateConnection = %v", err)
			}
			if after := descriptorsLeft(before); after != before {
				t.Errorf("%d descriptors are open, before %d", after, before)
			}
			return nil
		})
	})
}

// TestProtocolServerOutOfDescriptors runs in a process of its own, with few
// descriptors.
func TestProtocolServerOutOfDescriptors(t *testing.T) {
	if os.Getenv(childRole) == "" {
		leavesNothing(t)
		if out, err := child(t, "server").CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	limit := syscall.Rlimit{Cur: 100, Max: 100}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	t.Run("SEL-014 SEL-015 BASE-104 it is said once, and the others are served", func(t *testing.T) {
		var reported reporting
		runStreams(t, func(ctx context.Context) error {
			srv, err := asyncio.CreateServer(ctx, "tcp", "127.0.0.1:0", newEcho, nil)
			if err != nil {
				return err
			}
			inside := arrive(t, srv.Addr())
			inside.served(ctx)
			late := []guest{arrive(t, srv.Addr()), arrive(t, srv.Addr())} // they wait in the backlog
			var files []*os.File
			for {
				f, err := os.Open(os.DevNull)
				if err != nil {
					break
				}
				files = append(files, f)
			}
			const report = "accepting pauses: accept4: too many open files"
			comesTrue(t, ctx, "a report", func() bool { return len(reported.reports) > 0 })
			if err := asyncio.Sleep(ctx, 4*time.Second); err != nil { // it tries each second
				return err
			}
			reported.expect(t, report)
			io.WriteString(inside, "y")
			inside.served(ctx)
			for _, f := range files {
				f.Close()
			}
			for _, g := range late {
				g.served(ctx)
			}
			reported.expect(t, report)
			srv.AbortClients()
			return srv.Shutdown(ctx)
		}, reported.option(), withFastClock())
	})
}

func TestNoDelay(t *testing.T) {
	leavesNothing(t)
	t.Run("BASE-113 small writes leave at once, from both ends", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			p := new(witness)
			srv, err := asyncio.CreateServer(ctx, "tcp", "127.0.0.1:0", func() *witness { return p }, nil)
			if err != nil {
				return err
			}
			tr, _, err := asyncio.CreateConnection(ctx, "tcp", srv.Addr().String(), newEcho, nil)
			if err != nil {
				return err
			}
			comesTrue(t, ctx, "the connection", func() bool { return p.tr != nil })
			for _, tr := range []*asyncio.Transport{tr, p.tr} {
				raw, err := tr.SyscallConn()
				if err != nil {
					return err
				}
				raw.Control(func(fd uintptr) {
					if on, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY); on != 1 || err != nil {
						t.Errorf("TCP_NODELAY is %d, %v", on, err)
					}
				})
			}
			raw, err := tr.SyscallConn()
			tr.Abort()
			if cerr := raw.Control(func(uintptr) { t.Error("a closed descriptor") }); err != nil || !errors.Is(cerr, net.ErrClosed) {
				t.Errorf("Control after Abort = %v, %v", err, cerr)
			}
			return srv.Shutdown(ctx)
		})
	})
}
