// Servers of protocols, and what all servers have in common: where they listen, how
// many they serve, and how they end.

package asyncio_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// An echo is a Protocol that sends back what it gets, at the pace of its peer.
type echo struct {
	asyncio.NopProtocol
	tr *asyncio.Transport
}

func newEcho() *echo { return new(echo) }

func (e *echo) ConnectionMade(t *asyncio.Transport) { e.tr = t }
func (e *echo) DataReceived(p []byte)               { e.tr.Write(p) }
func (e *echo) PauseWriting()                       { e.tr.PauseReading() }
func (e *echo) ResumeWriting()                      { e.tr.ResumeReading() }

// echoed checks that a server at addr sends back what a client sends.
func echoed(t testing.TB, ctx context.Context, addr net.Addr) {
	t.Helper()
	if got, err := visits(ctx, addr, "hello"); got != "hello" || err != nil {
		t.Errorf("at %v got %q, %v", addr, got, err)
	}
}

// onServer runs test with a server of echoes.
func onServer(t *testing.T, network, address string, opts *asyncio.ServerOptions, test func(ctx context.Context, srv *asyncio.Server) error) {
	t.Helper()
	runStreams(t, func(ctx context.Context) error {
		srv, err := asyncio.CreateServer(ctx, network, address, newEcho, opts)
		if err != nil {
			return err
		}
		return test(ctx, srv)
	})
}

func TestCreateServer(t *testing.T) {
	leavesNothing(t)
	for _, network := range []string{"tcp", "unix"} {
		t.Run("EV-044 EV-045 EV-048 EV-105 a server of protocols, "+network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = socketPath(t)
			}
			var made []*witness
			runStreams(t, func(ctx context.Context) error {
				srv, err := asyncio.CreateServer(ctx, network, address, func() *witness {
					w := &witness{keep: true}
					w.on = map[string]func(){"eof": func() { w.tr.Write(w.data); w.tr.Close() }}
					made = append(made, w)
					return w
				}, nil)
				if err != nil {
					return err
				}
				if srv.Loop() != asyncio.CurrentTask(ctx).Loop() || srv.Addr().Network() != network {
					t.Errorf("the server is %v", srv)
				}
				for _, text := range []string{"one", "two"} {
					if got, err := visits(ctx, srv.Addr(), text); got != text || err != nil {
						t.Errorf("got %q, %v, want %q", got, err, text)
					}
				}
				if len(made) != 2 || made[0].tr.LocalAddr().String() != srv.Addr().String() {
					t.Errorf("it has made %d protocols", len(made))
				}
				return closes(ctx, srv)
			})
			for _, w := range made {
				w.told(t, "made data eof lost")
			}
		})
	}
	t.Run("a factory that fails ends its connection only", func(t *testing.T) {
		var reported reporting
		runStreams(t, func(ctx context.Context) error {
			made := 0
			srv, err := asyncio.CreateServer(ctx, "tcp", "127.0.0.1:0", func() asyncio.BaseProtocol {
				switch made++; made {
				case 1:
					panic("oh")
				case 2:
					return halfProtocol{}
				case 3:
					return nil
				}
				return newEcho()
			}, nil)
			if err != nil {
				return err
			}
			for range 3 {
				if got, err := visits(ctx, srv.Addr(), "x"); got != "" || err == nil {
					t.Errorf("got %q, %v", got, err)
				}
			}
			echoed(t, ctx, srv.Addr())
			return closes(ctx, srv)
		}, reported.option())
		if len(reported.reports) != 3 || reported.reports[0] != "connection could not be served: panic: oh" {
			t.Errorf("reported %q", reported.reports)
		}
	})
	t.Run("a panic in a protocol ends its connection only", func(t *testing.T) {
		var reported reporting
		runStreams(t, func(ctx context.Context) error {
			srv, err := asyncio.CreateServer(ctx, "tcp", "127.0.0.1:0", func() *witness {
				w := &witness{keep: true}
				w.on = map[string]func(){
					"data": func() {
						if string(w.data) == "panic" {
							panic("oh")
						}
						w.tr.Write(w.data)
					},
					"eof": func() { w.tr.Close() },
				}
				return w
			}, nil)
			if err != nil {
				return err
			}
			if got, err := visits(ctx, srv.Addr(), "panic"); got != "" || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %q, %v", got, err)
			}
			echoed(t, ctx, srv.Addr())
			return closes(ctx, srv)
		}, reported.option())
		reported.expect(t, "panic in DataReceived of a protocol: panic: oh")
	})
	t.Run("Close in the factory", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) (err error) {
			var srv *asyncio.Server
			srv, err = asyncio.CreateServer(ctx, "tcp", "127.0.0.1:0", func() *echo {
				srv.Close()
				return newEcho()
			}, nil)
			if err != nil {
				return err
			}
			addr := srv.Addr()
			second, err := net.Dial("tcp", addr.String())
			if err != nil {
				return err
			}
			defer second.Close()
			third, err := net.Dial("tcp", addr.String())
			if err != nil {
				return err
			}
			defer third.Close()
			io.WriteString(second, "x")
			got, err := asyncio.ToThread(ctx, func(context.Context) (string, error) {
				p := make([]byte, 1)
				_, err := io.ReadFull(second, p)
				second.Close()
				if _, err := third.Read(make([]byte, 1)); err == nil {
					t.Error("the server went on to accept")
				}
				return string(p), err
			})
			if got != "x" || err != nil {
				t.Errorf("the first client got %q, %v", got, err)
			}
			return srv.WaitClosed(ctx)
		})
	})
}

func TestServerMistakes(t *testing.T) {
	leavesNothing(t)
	type options = asyncio.ServerOptions
	for name, test := range map[string]struct {
		network, address string
		existing         bool
		opts             options
	}{
		"BASE-077 EV-049 UNIX-016 an address beside a listener": {"tcp", "127.0.0.1:0", true, options{}},
		"further addresses beside a listener":                   {"", "", true, options{AlsoAt: []string{"127.0.0.1:0"}}},
		"BASE-078 UNIX-015 neither":                             {"", "", false, options{}},
		"options of a new listener":                             {"", "", true, options{Backlog: 5}},
		"a negative backlog":                                    {"tcp", "127.0.0.1:0", false, options{Backlog: -1}},
		"a negative number of connections":                      {"tcp", "127.0.0.1:0", false, options{MaxConnections: -1}},
		"a limit of lines":                                      {"tcp", "127.0.0.1:0", true, options{Limit: 1}},
		"BASE-086 a TLS timeout without TLS":                    {"tcp", "127.0.0.1:0", false, options{TLSHandshakeTimeout: 1}},
		"HandshakeFailed without TLS":                           {"tcp", "127.0.0.1:0", false, options{HandshakeFailed: func(net.Addr, error) {}}},
		"options of TCP for a Unix socket":                      {"unix", "@x", false, options{ReusePort: true}},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			runStreams(t, func(ctx context.Context) error {
				if test.existing {
					test.opts.Listener = ln
				}
				srv, err := asyncio.CreateServer(ctx, test.network, test.address, newEcho, &test.opts)
				if srv != nil {
					t.Errorf("there is a server: %v", srv)
				}
				mistake(t, err, asyncio.ErrBadArgument)
				return nil
			})
			if err := ln.Close(); test.existing && !errors.Is(err, net.ErrClosed) {
				t.Error("the listener is open still")
			}
		})
	}
	t.Run("no factory", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			_, err := asyncio.CreateServer[*echo](ctx, "tcp", "127.0.0.1:0", nil, nil)
			mistake(t, err, asyncio.ErrBadArgument)
			return nil
		})
	})
	t.Run("no loop", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, err = asyncio.CreateServer(t.Context(), "", "", newEcho, &options{Listener: ln})
		mistake(t, err, asyncio.ErrOutsideTask)
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			t.Error("the listener is open still")
		}
	})
}

func TestServerListens(t *testing.T) {
	leavesNothing(t)
	t.Run("BASE-081 at the loopback of IPv6", func(t *testing.T) {
		if ln, err := net.Listen("tcp6", "[::1]:0"); err != nil {
			t.Skip(err)
		} else {
			ln.Close()
		}
		onServer(t, "tcp", "[::1]:0", nil, func(ctx context.Context, srv *asyncio.Server) error {
			echoed(t, ctx, srv.Addr())
			return closes(ctx, srv)
		})
	})
	t.Run("EV-043 at several addresses, each once, with one port", func(t *testing.T) {
		opts := &asyncio.ServerOptions{AlsoAt: []string{"127.0.0.2:0", "127.0.0.1:0", "127.0.0.3:0"}}
		onServer(t, "tcp", "127.0.0.1:0", opts, func(ctx context.Context, srv *asyncio.Server) error {
			port := addrPort(t, srv.Addr().String()).Port()
			want := fmt.Sprintf("[127.0.0.1:%d 127.0.0.2:%[1]d 127.0.0.3:%[1]d]", port)
			if got := fmt.Sprint(srv.Addrs()); got != want {
				t.Errorf("it listens at %s, want %s", got, want)
			}
			for _, addr := range srv.Addrs() {
				echoed(t, ctx, addr)
			}
			return closes(ctx, srv)
		})
	})
	t.Run("BASE-083 UNIX-023 an address that is taken frees the others", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		runStreams(t, func(ctx context.Context) error {
			before := len(descriptors())
			_, err := asyncio.CreateServer(ctx, "tcp", "127.0.0.1:0", newEcho, &asyncio.ServerOptions{AlsoAt: []string{"127.0.0.2:0", ln.Addr().String()}})
			var op *net.OpError
			if !errors.Is(err, syscall.EADDRINUSE) || !errors.As(err, &op) || op.Addr.String() != ln.Addr().String() {
				t.Errorf("CreateServer = %v", err)
			}
			if after := descriptorsLeft(before); after != before {
				t.Errorf("%d descriptors are open, before %d", after, before)
			}
			return nil
		})
	})
	t.Run("BASE-082 a name without addresses", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			_, err := asyncio.CreateServer(ctx, "tcp", "name.example:0", newEcho, &asyncio.ServerOptions{Resolver: resolvesTo()})
			if err == nil || errors.Is(err, asyncio.ErrCancelled) {
				t.Errorf("CreateServer = %v", err)
			}
			return nil
		})
	})
	t.Run("EV-056 EV-047 an address in use, and sharing it", func(t *testing.T) {
		onServer(t, "tcp", "127.0.0.1:0", &asyncio.ServerOptions{ReusePort: true}, func(ctx context.Context, srv *asyncio.Server) error {
			at := srv.Addr().String()
			_, err := asyncio.CreateServer(ctx, "tcp", at, newEcho, nil)
			if !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("CreateServer without ReusePort = %v", err)
			}
			other, err := asyncio.CreateServer(ctx, "tcp", at, newEcho, &asyncio.ServerOptions{ReusePort: true})
			if err != nil {
				return err
			}
			return errors.Join(closes(ctx, other), closes(ctx, srv))
		})
	})
	t.Run("SRV-001 SRV-002 not before it is started", func(t *testing.T) {
		onServer(t, "tcp", "127.0.0.1:0", &asyncio.ServerOptions{StartLater: true}, func(ctx context.Context, srv *asyncio.Server) error {
			if srv.IsServing() {
				t.Errorf("it serves: %v", srv)
			}
			if !onPortable { // where connections wait
				if _, err := visits(ctx, srv.Addr(), "x"); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("it listens: %v", err)
				}
			}
			elsewhere(func() { mistake(t, srv.StartServing(), asyncio.ErrWrongGoroutine) })
			for range 2 {
				if err := srv.StartServing(); err != nil || !srv.IsServing() {
					t.Errorf("StartServing = %v", err)
				}
				echoed(t, ctx, srv.Addr())
			}
			if err := closes(ctx, srv); err != nil {
				return err
			}
			mistake(t, srv.StartServing(), asyncio.ErrInvalidState)
			return nil
		})
	})
	t.Run("SRV-006 ServeForever starts it, on a unix socket too", func(t *testing.T) {
		path := socketPath(t)
		onServer(t, "unix", path, &asyncio.ServerOptions{StartLater: true}, func(ctx context.Context, srv *asyncio.Server) error {
			addr := srv.Addr()
			if !onPortable { // where connections wait
				if _, err := visits(ctx, addr, "x"); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("it listens: %v", err)
				}
			}
			serving := asyncio.Go(ctx, srv.ServeForever)
			asyncio.Yield(ctx)
			echoed(t, ctx, addr)
			serving.Cancel(nil)
			if err := serving.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) || srv.Addr() != nil {
				t.Errorf("ServeForever = %v; %v", err, srv)
			}
			return nil
		})
	})
	t.Run("the backlog", func(t *testing.T) {
		onServer(t, "tcp", "127.0.0.1:0", &asyncio.ServerOptions{Backlog: 1}, func(ctx context.Context, srv *asyncio.Server) error {
			// The loop does not accept meanwhile: two have room, and the next one waits.
			refused := 0
			for range 4 {
				c, err := net.DialTimeout("tcp", srv.Addr().String(), 100*time.Millisecond)
				if err != nil {
					refused++
					continue
				}
				defer c.Close()
			}
			if refused == 0 {
				t.Error("there was room for all")
			}
			return nil
		})
	})
	for _, network := range []string{"tcp", "unix"} {
		t.Run("EV-055 a listener that exists already, "+network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = socketPath(t)
			}
			ln, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			early, err := net.Dial(network, ln.Addr().String()) // waits in its backlog
			if err != nil {
				t.Fatal(err)
			}
			defer early.Close()
			onServer(t, "", "", &asyncio.ServerOptions{Listener: ln}, func(ctx context.Context, srv *asyncio.Server) error {
				if srv.Addr().String() != ln.Addr().String() || srv.Addr().Network() != network {
					t.Errorf("it listens at %v", srv.Addr())
				}
				if !onPortable { // which goes on using it
					if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
						t.Errorf("the old listener can be used still: %v", err)
					}
				}
				io.WriteString(early, "early")
				early.(interface{ CloseWrite() error }).CloseWrite()
				got, err := asyncio.ToThread(ctx, func(context.Context) ([]byte, error) { return io.ReadAll(early) })
				if string(got) != "early" || err != nil {
					t.Errorf("the early client got %q, %v", got, err)
				}
				echoed(t, ctx, srv.Addr())
				return closes(ctx, srv)
			})
		})
	}
	t.Run("BASE-079 UNIX-017 UNIX-018 a listener that is no stream socket", func(t *testing.T) {
		ln, err := net.Listen("unixpacket", socketPath(t))
		if err != nil {
			t.Skip(err)
		}
		runStreams(t, func(ctx context.Context) error {
			_, err := asyncio.CreateServer(ctx, "", "", newEcho, &asyncio.ServerOptions{Listener: ln})
			if !errors.Is(err, syscall.EPROTOTYPE) {
				t.Errorf("CreateServer = %v", err)
			}
			return nil
		})
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			t.Error("the listener is open still")
		}
	})
}

func TestServerSocketFile(t *testing.T) {
	leavesNothing(t)
	exists := func(path string) bool { _, err := os.Lstat(path); return err == nil }
	for name, test := range map[string]struct {
		existing, keep bool
		before         func(t *testing.T, path string) // Close
		left           bool
	}{
		"SRV-015 is removed":                              {},
		"SRV-016 of an existing listener is removed, too": {existing: true},
		"SRV-017 may be missing": {before: func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}},
		"SRV-018 of somebody else stays": {before: func(t *testing.T, path string) {
			if err := os.Rename(path, path+"2"); err != nil {
				t.Error(err)
			}
			ln, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
		}, left: true},
		"SRV-019 stays if it shall":                              {keep: true, left: true},
		"SRV-019 of an existing listener stays if it shall, too": {existing: true, keep: true, left: true},
	} {
		t.Run(name, func(t *testing.T) {
			path := socketPath(t)
			network, address := "unix", path
			opts := &asyncio.ServerOptions{KeepSocketFile: test.keep}
			if test.existing {
				ln, err := net.Listen("unix", path)
				if err != nil {
					t.Fatal(err)
				}
				network, address, opts.Listener = "", "", ln
			}
			onServer(t, network, address, opts, func(ctx context.Context, srv *asyncio.Server) error {
				if !exists(path) {
					t.Error("there is no file")
				}
				if test.before != nil {
					test.before(t, path)
				}
				return closes(ctx, srv)
			})
			if exists(path) != test.left {
				t.Errorf("the file is there: %t", !test.left)
			}
		})
	}
	t.Run("UNIX-013 of another kind is not replaced", func(t *testing.T) {
		path := socketPath(t)
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		runStreams(t, func(ctx context.Context) error {
			_, err := asyncio.CreateServer(ctx, "unix", path, newEcho, nil)
			if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), path) {
				t.Errorf("CreateServer = %v", err)
			}
			return nil
		})
		if data, err := os.ReadFile(path); string(data) != "precious" {
			t.Errorf("the file has %q, %v", data, err)
		}
	})
	t.Run("no name is left of an abstract one", func(t *testing.T) {
		onServer(t, "unix", "@"+t.Name(), nil, func(ctx context.Context, srv *asyncio.Server) error {
			echoed(t, ctx, srv.Addr())
			return closes(ctx, srv)
		})
	})
}

// A guest is a connection to a server, of package net.
type guest struct {
	t testing.TB
	net.Conn
}

func arrive(t testing.TB, addr net.Addr) guest {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	io.WriteString(c, "x")
	return guest{t, c}
}

// served waits until the guest has got its echo.
func (g guest) served(ctx context.Context) {
	g.t.Helper()
	_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
		g.SetReadDeadline(time.Now().Add(20 * time.Second))
		return g.Read(make([]byte, 1))
	})
	if err != nil {
		g.t.Fatalf("not served: %v", err)
	}
}

// waits checks that the guest is not served, as far as the loop goes.
func (g guest) waits(ctx context.Context) {
	g.t.Helper()
	for range 20 {
		asyncio.Yield(ctx)
	}
	g.SetReadDeadline(time.Now().Add(time.Millisecond))
	if n, err := g.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		g.t.Errorf("it was not to be served: %d, %v", n, err)
	}
}

func TestServerMaxConnections(t *testing.T) {
	leavesNothing(t)
	onServer(t, "tcp", "127.0.0.1:0", &asyncio.ServerOptions{MaxConnections: 2}, func(ctx context.Context, srv *asyncio.Server) error {
		var guests []guest
		for range 5 {
			guests = append(guests, arrive(t, srv.Addr()))
		}
		for i := range 5 {
			if i >= 2 {
				guests[i].waits(ctx)
				guests[i-2].Close()
			}
			guests[i].served(ctx)
		}
		if s := srv.String(); !strings.HasSuffix(s, " clients=2>") {
			t.Error(s)
		}
		// At the limit the server can be closed, and opened elsewhere.
		last := arrive(t, srv.Addr())
		srv.Close()
		if _, err := asyncio.ToThread(ctx, func(context.Context) (int, error) { return last.Read(make([]byte, 1)) }); err == nil {
			t.Error("it was served after Close")
		}
		srv.AbortClients()
		return srv.WaitClosed(ctx)
	})
}

// TestServerMaxConnectionsTLS: a handshake that is under way counts as a connection.
func TestServerMaxConnectionsTLS(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	failed := 0
	opts := &asyncio.ServerOptions{
		MaxConnections:  1,
		TLS:             &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "127.0.0.1")}},
		HandshakeFailed: func(net.Addr, error) { failed++ },
	}
	onServer(t, "tcp", "127.0.0.1:0", opts, func(ctx context.Context, srv *asyncio.Server) error {
		mute, err := net.Dial("tcp", srv.Addr().String()) // never shakes hands
		if err != nil {
			return err
		}
		defer mute.Close()
		comesTrue(t, ctx, "the first client", func() bool { return strings.HasSuffix(srv.String(), "clients=1>") })
		p := new(witness)
		connecting := asyncio.Go(ctx, func(ctx context.Context) error {
			_, _, err := asyncio.CreateConnection(ctx, "tcp", srv.Addr().String(), func() *witness { return p }, &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool}})
			return err
		})
		if err := asyncio.Sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
		if connecting.Done() || failed != 0 {
			t.Errorf("the second client was served: %v", connecting)
		}
		mute.Close()
		if err := connecting.Wait(ctx); err != nil || failed != 1 {
			t.Errorf("the second client: %v; %d handshakes failed", err, failed)
		}
		p.tr.Close()
		return srv.Shutdown(ctx)
	})
}

func TestServerEnds(t *testing.T) {
	leavesNothing(t)
	t.Run("SRV-009 SRV-010 SRV-011 everybody who waits is released when the last client has gone", func(t *testing.T) {
		onServer(t, "tcp", "127.0.0.1:0", nil, func(ctx context.Context, srv *asyncio.Server) error {
			g := arrive(t, srv.Addr())
			g.served(ctx)
			var waiting []asyncio.AnyTask
			for range 3 {
				waiting = append(waiting, asyncio.Go(ctx, srv.WaitClosed))
			}
			asyncio.Yield(ctx)
			srv.Close()
			srv.AbortClients() // in one pass
			if slices.ContainsFunc(waiting, asyncio.AnyTask.Done) {
				t.Error("one did not wait")
			}
			for _, task := range waiting {
				if err := task.Wait(ctx); err != nil {
					return err
				}
			}
			return srv.WaitClosed(ctx)
		})
	})
	t.Run("SRV-013 AbortClients ends a client whose buffers are full", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			var p *witness
			srv, err := asyncio.CreateServer(ctx, "tcp", "127.0.0.1:0", func() *witness { p = new(witness); return p }, nil)
			if err != nil {
				return err
			}
			arrive(t, srv.Addr())
			comesTrue(t, ctx, "the connection", func() bool { return p != nil && p.tr != nil })
			fill(t, ctx, p.tr)
			srv.Close()
			srv.CloseClients()
			closing := asyncio.Go(ctx, srv.WaitClosed)
			for range 20 {
				asyncio.Yield(ctx)
			}
			if closing.Done() || p.tr.WriteBufferSize() == 0 {
				t.Errorf("CloseClients was enough: %v", p.tr)
			}
			srv.AbortClients()
			err = closing.Wait(ctx)
			if p.err != nil || !p.lost() {
				t.Errorf("told %q, lost by %v", p.log, p.err)
			}
			return err
		})
	})
	t.Run("SRV-014 a handler that hangs does not hold up the end of ServeForever", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				w.Write([]byte("x"))
				return asyncio.Sleep(ctx, time.Hour)
			}, nil)
			if err != nil {
				return err
			}
			arrive(t, srv.Addr()).served(ctx)
			serving := asyncio.Go(ctx, srv.ServeForever)
			asyncio.Yield(ctx)
			serving.Cancel(nil)
			if err := serving.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
				t.Errorf("ServeForever = %v", err)
			}
			return srv.WaitClosed(ctx)
		})
	})
	// A visit is what becomes of a handler that greets, and then waits to be released.
	type visit struct {
		release *asyncio.Future[struct{}]
		err     error
		over    bool
	}
	withVisit := func(t *testing.T, test func(ctx context.Context, srv *asyncio.Server, v *visit, g guest) error) {
		runStreams(t, func(ctx context.Context) error {
			v := &visit{release: asyncio.NewFuture[struct{}](ctx)}
			srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				line, err := r.ReadExactly(ctx, 1)
				if err != nil {
					return err
				}
				w.Write(line)
				v.err = v.release.Wait(ctx)
				w.Write([]byte("bye"))
				v.over = true
				return v.err
			}, nil)
			if err != nil {
				return err
			}
			g := arrive(t, srv.Addr())
			g.served(ctx)
			return test(ctx, srv, v, g)
		})
	}
	t.Run("Shutdown waits for handlers that finish, however often it is called", func(t *testing.T) {
		withVisit(t, func(ctx context.Context, srv *asyncio.Server, v *visit, g guest) error {
			addr := srv.Addr()
			one, two := asyncio.Go(ctx, srv.Shutdown), asyncio.Go(ctx, srv.Shutdown)
			for range 10 {
				asyncio.Yield(ctx)
			}
			if one.Done() || two.Done() || srv.IsServing() {
				t.Error("it did not wait")
			}
			if _, err := visits(ctx, addr, "x"); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a late client: %v", err)
			}
			v.release.SetResult(struct{}{})
			if err := errors.Join(one.Wait(ctx), two.Wait(ctx), srv.Shutdown(ctx)); err != nil {
				return err
			}
			got, err := io.ReadAll(g)
			if string(got) != "bye" || err != nil || !v.over || v.err != nil {
				t.Errorf("the client got %q, %v; the handler %+v", got, err, v)
			}
			return nil
		})
	})
	t.Run("Shutdown ends at its deadline handlers that hang", func(t *testing.T) {
		withVisit(t, func(ctx context.Context, srv *asyncio.Server, v *visit, g guest) error {
			err := asyncio.Timeout(ctx, 5*time.Millisecond, srv.Shutdown)
			if !errors.Is(err, asyncio.ErrTimeout) {
				t.Errorf("Shutdown = %v", err)
			}
			if _, err := io.ReadAll(g); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client reads %v", err)
			}
			err = srv.Shutdown(ctx) // waits for the handlers again
			if !v.over || !errors.Is(v.err, asyncio.ErrCancelled) || !errors.Is(v.err, net.ErrClosed) {
				t.Errorf("the handler is %+v", v)
			}
			return err
		})
	})
	t.Run("a cancelled Shutdown does the same", func(t *testing.T) {
		withVisit(t, func(ctx context.Context, srv *asyncio.Server, v *visit, g guest) error {
			task := asyncio.Go(ctx, srv.Shutdown)
			asyncio.Yield(ctx)
			task.Cancel(errBroken)
			if err := task.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) || !errors.Is(err, errBroken) {
				t.Errorf("Shutdown = %v", err)
			}
			err := srv.Shutdown(ctx)
			if !v.over || !errors.Is(v.err, asyncio.ErrCancelled) {
				t.Errorf("the handler is %+v", v)
			}
			return err
		})
	})
	t.Run("Shutdown by a handler is a mistake", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) (err error) {
			var srv *asyncio.Server
			srv, err = asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				mistake(t, srv.Shutdown(ctx), asyncio.ErrBadArgument)
				w.Write([]byte("x"))
				return nil
			}, nil)
			if err != nil {
				return err
			}
			arrive(t, srv.Addr()).served(ctx)
			if !srv.IsServing() {
				t.Error("it was shut down")
			}
			return srv.Shutdown(ctx)
		})
	})
	t.Run("Shutdown of a server of protocols waits for its connections", func(t *testing.T) {
		onServer(t, "tcp", "127.0.0.1:0", nil, func(ctx context.Context, srv *asyncio.Server) error {
			g := arrive(t, srv.Addr())
			g.served(ctx)
			task := asyncio.Go(ctx, srv.Shutdown)
			for range 10 {
				asyncio.Yield(ctx)
			}
			if task.Done() {
				t.Error("it did not wait")
			}
			g.Close()
			return task.Wait(ctx)
		})
	})
	t.Run("Shutdown elsewhere", func(t *testing.T) {
		onServer(t, "tcp", "127.0.0.1:0", nil, func(ctx context.Context, srv *asyncio.Server) error {
			elsewhere(func() { mistake(t, srv.Shutdown(ctx), asyncio.ErrWrongGoroutine) })
			return srv.Shutdown(ctx)
		})
	})
}

func TestConnectionFromLocalAddress(t *testing.T) {
	leavesNothing(t)
	factory := func() *witness { return new(witness) }
	t.Run("EV-035 the local address that is given is used", func(t *testing.T) {
		onServer(t, "tcp", "127.0.0.1:0", nil, func(ctx context.Context, srv *asyncio.Server) error {
			tr, _, err := asyncio.CreateConnection(ctx, "tcp", srv.Addr().String(), factory, &asyncio.ConnOptions{LocalAddr: "127.0.0.9:0"})
			if err != nil {
				return err
			}
			if local := addrPort(t, tr.LocalAddr().String()); local.Addr().String() != "127.0.0.9" {
				t.Errorf("it comes from %v", local)
			}
			tr.Abort()
			return srv.Shutdown(ctx)
		})
	})
	t.Run("EV-036 addresses of another family are skipped", func(t *testing.T) {
		onServer(t, "tcp", "127.0.0.1:0", nil, func(ctx context.Context, srv *asyncio.Server) error {
			at := addrPort(t, srv.Addr().String())
			tr, _, err := asyncio.CreateConnection(ctx, "tcp", "name.example:80", factory, &asyncio.ConnOptions{
				Resolver: resolvesTo(netip.AddrPortFrom(netip.IPv6Loopback(), at.Port()), at), LocalAddr: "127.0.0.9:0",
			})
			if err != nil {
				return err
			}
			tr.Abort()
			return srv.Shutdown(ctx)
		})
	})
	t.Run("EV-037 no address of the family", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			_, _, err := asyncio.CreateConnection(ctx, "tcp", "127.0.0.1:1", factory, &asyncio.ConnOptions{LocalAddr: "[::1]:0"})
			var wrong *net.AddrError
			if !errors.As(err, &wrong) || wrong.Addr != "[::1]:0" {
				t.Errorf("CreateConnection = %v", err)
			}
			return nil
		})
	})
	t.Run("BASE-068 a local name without addresses", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			_, _, err := asyncio.CreateConnection(ctx, "tcp", "127.0.0.1:1", factory, &asyncio.ConnOptions{LocalAddr: "name.example:0", Resolver: resolvesTo()})
			if err == nil {
				t.Error("there was no error")
			}
			return nil
		})
	})
	t.Run("BASE-061 BASE-066 a remote name without addresses", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			_, _, err := asyncio.CreateConnection(ctx, "tcp", "name.example:80", factory, &asyncio.ConnOptions{Resolver: resolvesTo()})
			if err == nil {
				t.Error("there was no error")
			}
			return nil
		})
	})
	t.Run("EV-038 BASE-067 a local address in use is named", func(t *testing.T) {
		onServer(t, "tcp", "127.0.0.1:0", nil, func(ctx context.Context, srv *asyncio.Server) error {
			at := srv.Addr().String()
			_, _, err := asyncio.CreateConnection(ctx, "tcp", at, factory, &asyncio.ConnOptions{LocalAddr: at})
			var op *net.OpError
			if !errors.Is(err, syscall.EADDRINUSE) || !errors.As(err, &op) || op.Source == nil || op.Source.String() != at {
				t.Errorf("CreateConnection = %v", err)
			}
			return srv.Shutdown(ctx)
		})
	})
	t.Run("BASE-057 BASE-058 BASE-060 failures are told one by one, by their addresses", func(t *testing.T) {
		one, two := refused(t, "127.0.0.2"), refused(t, "127.0.0.3")
		runStreams(t, func(ctx context.Context) error {
			_, _, err := asyncio.CreateConnection(ctx, "tcp", "name.example:80", factory, &asyncio.ConnOptions{Resolver: resolvesTo(one, two)})
			if got := dialedTo(t, err); !errors.Is(err, syscall.ECONNREFUSED) || !slices.Equal(got, []string{one.String(), two.String()}) {
				t.Errorf("CreateConnection = %v", err)
			}
			return nil
		})
	})
}
