// Servers: who is served and where, what becomes of a handler that fails, and how
// a server ends.

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

// greet is a handler that answers each line.
func greet(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
	for line, err := range r.Lines(ctx) {
		if err != nil {
			return err
		}
		w.WriteString("hello, ")
		w.Write(line)
	}
	return nil
}

// visit is a client of package net that sends text, ends its half, and returns the
// answer. It blocks: tasks call it through ToThread.
func visit(addr net.Addr, text string) (string, error) {
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
	all, err := io.ReadAll(c)
	return string(all), err
}

// visits is visit for tasks.
func visits(ctx context.Context, addr net.Addr, text string) (string, error) {
	return asyncio.ToThread(ctx, func(context.Context) (string, error) { return visit(addr, text) })
}

// closes closes a server and waits for its end.
func closes(ctx context.Context, s *asyncio.Server) error {
	return errors.Join(s.Close(), s.WaitClosed(ctx))
}

// A reporting collects what goes to the exception handler.
type reporting struct{ reports []string }

func (r *reporting) option() asyncio.LoopOption {
	return asyncio.WithExceptionHandler(func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) {
		text, _, _ := strings.Cut(ec.Err.Error(), "\n")
		r.reports = append(r.reports, ec.Message+": "+text)
	})
}

func (r *reporting) expect(t testing.TB, want ...string) {
	t.Helper()
	if !slices.Equal(r.reports, want) {
		t.Errorf("reported %q, want %q", r.reports, want)
	}
}

func TestServerServes(t *testing.T) {
	leavesNothing(t)
	t.Run("no longer than the loop", func(t *testing.T) {
		var srv *asyncio.Server
		runStreams(t, func(ctx context.Context) (err error) {
			srv, err = asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", greet, nil)
			return err
		})
		if srv.IsServing() {
			t.Error(srv)
		}
	})
	for _, network := range []string{"tcp", "unix"} {
		t.Run(map[string]string{
			"tcp":  "EV-044 EV-045 STR-047 a handler serves a client over TCP",
			"unix": "EV-048 SRV-015 STR-047 a handler serves a client over a Unix socket",
		}[network], func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = socketPath(t)
			}
			runStreams(t, func(ctx context.Context) error {
				srv, err := asyncio.StartServer(ctx, network, address, greet, nil)
				if err != nil {
					return err
				}
				if !srv.IsServing() || srv.String() != fmt.Sprintf("<Server [%v] clients=0>", srv.Addr()) {
					t.Errorf("the server is %v", srv)
				}
				got, err := visits(ctx, srv.Addr(), "Ann\nBob\n")
				if got != "hello, Ann\nhello, Bob\n" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
				return closes(ctx, srv)
			})
			if _, err := os.Stat(address); network == "unix" && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket file is left: %v", err)
			}
		})
	}
	t.Run("the handler has the values of the context, not its end", func(t *testing.T) {
		type key struct{}
		runStreams(t, func(ctx context.Context) error {
			var srv *asyncio.Server
			err := asyncio.Timeout(ctx, time.Hour, func(ctx context.Context) (err error) {
				srv, err = asyncio.StartServer(context.WithValue(ctx, key{}, "value"), "tcp", "127.0.0.1:0",
					func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
						_, limited := ctx.Deadline()
						fmt.Fprintf(w, "%v %t %v", ctx.Value(key{}), limited, ctx.Err())
						return nil
					}, nil)
				return err
			})
			if err != nil {
				return err
			}
			got, err := visits(ctx, srv.Addr(), "")
			if got != "value false <nil>" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			return closes(ctx, srv)
		})
	})
	t.Run("the limit of lines", func(t *testing.T) {
		var reported reporting
		runStreams(t, func(ctx context.Context) error {
			srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", greet, &asyncio.ServerOptions{Limit: 5})
			if err != nil {
				return err
			}
			got, err := visits(ctx, srv.Addr(), "short\ntoo long\n")
			if got != "hello, short\n" && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %q, %v", got, err)
			}
			return closes(ctx, srv)
		}, reported.option())
		reported.expect(t, "error in the handler of a connection: separator found after 8 bytes, beyond the limit")
	})
	t.Run("BASE-103 a crowd that waits at the door", func(t *testing.T) {
		const crowd = 300 // more than are accepted in one pass
		runStreams(t, func(ctx context.Context) error {
			served := 0
			srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				served++
				return greet(ctx, r, w)
			}, nil)
			if err != nil {
				return err
			}
			var clients []net.Conn
			for range crowd { // the loop is blocked meanwhile
				c, err := net.Dial("tcp", srv.Addr().String())
				if err != nil {
					return err
				}
				defer c.Close()
				clients = append(clients, c)
			}
			answered, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
				for i, c := range clients {
					fmt.Fprintf(c, "%d\n", i)
				}
				for i, c := range clients {
					want := fmt.Sprintf("hello, %d\n", i)
					got := make([]byte, len(want))
					if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
						return i, fmt.Errorf("got %q, %v, want %q", got, err, want)
					}
					c.Close()
				}
				return len(clients), nil
			})
			if answered != crowd || served != crowd {
				t.Errorf("%d were served, %d answered", served, answered)
			}
			return errors.Join(err, closes(ctx, srv))
		})
	})
}

func TestServerHandlerFails(t *testing.T) {
	leavesNothing(t)
	for _, test := range []struct {
		name    string
		fail    func(ctx context.Context, w *asyncio.StreamWriter) error
		report  []string
		aborted bool // the client sees a reset
	}{
		{"STR-049 an error is reported and the connection closed",
			func(ctx context.Context, w *asyncio.StreamWriter) error { return errBroken },
			[]string{"error in the handler of a connection: broken"}, false},
		{"a panic is reported and the connection aborted",
			func(ctx context.Context, w *asyncio.StreamWriter) error { panic("oh") },
			[]string{"panic in the handler of a connection: panic: oh"}, true},
		{"STR-050 a cancellation closes quietly",
			func(ctx context.Context, w *asyncio.StreamWriter) error {
				asyncio.CurrentTask(ctx).Cancel(nil)
				return asyncio.Sleep(ctx, time.Hour)
			}, nil, false},
		{"the handler has closed the connection itself",
			func(ctx context.Context, w *asyncio.StreamWriter) error { return w.Close() }, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var reported reporting
			runStreams(t, func(ctx context.Context) error {
				srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
					line, err := r.ReadLine(ctx)
					if err != nil {
						return err
					}
					if string(line) == "fail\n" {
						w.WriteString("failing")
						return test.fail(ctx, w)
					}
					w.Write(line)
					return greet(ctx, r, w)
				}, nil)
				if err != nil {
					return err
				}
				other, err := net.Dial("tcp", srv.Addr().String())
				if err != nil {
					return err
				}
				defer other.Close()
				got, err := visits(ctx, srv.Addr(), "fail\n")
				if test.aborted && !errors.Is(err, syscall.ECONNRESET) || !test.aborted && (got != "failing" || err != nil) {
					t.Errorf("the client got %q, %v", got, err)
				}
				reported.expect(t, test.report...) // at once
				// The others are served as before.
				if got, err := visits(ctx, srv.Addr(), "fine\nBob\n"); got != "fine\nhello, Bob\n" || err != nil {
					t.Errorf("the next client got %q, %v", got, err)
				}
				answer, err := asyncio.ToThread(ctx, func(context.Context) (string, error) {
					fmt.Fprint(other, "I was here before\n")
					p := make([]byte, 100)
					n, err := other.Read(p)
					return string(p[:n]), err
				})
				if answer != "I was here before\n" || err != nil {
					t.Errorf("the client that was there before got %q, %v", answer, err)
				}
				other.Close()
				return closes(ctx, srv)
			}, reported.option())
			reported.expect(t, test.report...)
		})
	}
}

func TestStartServerFails(t *testing.T) {
	leavesNothing(t)
	runStreams(t, func(ctx context.Context) error {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer ln.Close()
		file := t.TempDir() + "/file"
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return err
		}
		before := len(descriptors())
		for _, test := range []struct {
			name, network, address string
			cause                  func(err error) bool
		}{
			{"a used port", "tcp", ln.Addr().String(), func(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }},
			{"an address of another machine", "tcp", "203.0.113.1:0", func(err error) bool { return errors.Is(err, syscall.EADDRNOTAVAIL) }},
			{"a file that is no socket", "unix", file, func(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }},
			{"a directory that does not exist", "unix", file + "/no/where", func(err error) bool { return err != nil }},
			{"an unknown network", "udp", "127.0.0.1:0", func(err error) bool { return errors.As(err, new(net.UnknownNetworkError)) }},
			{"an unknown network, without a host", "udp", ":0", func(err error) bool { return errors.As(err, new(net.UnknownNetworkError)) }},
			{"no port", "tcp", "127.0.0.1", func(err error) bool { return errors.As(err, new(*net.AddrError)) }},
			{"several addresses, one is used", "tcp", "name.example:" + fmt.Sprint(addrPort(t, ln.Addr().String()).Port()),
				func(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }},
		} {
			s, err := asyncio.StartServer(ctx, test.network, test.address, greet, nil)
			var op *net.OpError
			if s != nil || !test.cause(err) || !errors.As(err, &op) || op.Op != "listen" || op.Addr == nil {
				t.Errorf("%s: StartServer = %v, %v", test.name, s, err)
			}
		}
		if after := descriptorsLeft(before); after != before {
			t.Errorf("%d descriptors are open, before %d", after, before)
		}
		_, err = asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", nil, nil)
		mistake(t, err, asyncio.ErrBadArgument)
		_, err = asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", greet, &asyncio.ServerOptions{Limit: -1})
		mistake(t, err, asyncio.ErrBadArgument)
		_, err = asyncio.StartServer(context.Background(), "tcp", "127.0.0.1:0", greet, nil)
		mistake(t, err, asyncio.ErrOutsideTask)
		return nil
	}, asyncio.WithResolver(asyncio.ResolverFunc(func(ctx context.Context, network, host, port string) ([]netip.AddrPort, error) {
		return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.2:" + port), netip.MustParseAddrPort("127.0.0.1:" + port)}, nil
	})))
}

func TestServerAddresses(t *testing.T) {
	leavesNothing(t)
	t.Run("EV-057 BASE-076 port 0 without a host is one port of every family", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			srv, err := asyncio.StartServer(ctx, "tcp", ":0", greet, nil)
			if err != nil {
				return err
			}
			var families []bool
			port := uint16(0)
			for _, a := range srv.Addrs() {
				addr := addrPort(t, a.String())
				families = append(families, addr.Addr().Is4())
				if port == 0 {
					port = addr.Port()
				}
				if addr.Port() != port || port == 0 || !addr.Addr().IsUnspecified() {
					t.Errorf("it listens at %v", srv.Addrs())
				}
			}
			if !slices.Contains(families, true) || srv.Addr().String() != srv.Addrs()[0].String() {
				t.Errorf("it listens at %v, first %v", srv.Addrs(), srv.Addr())
			}
			for ip, is4 := range map[string]bool{"127.0.0.1": true, "::1": false} {
				if !slices.Contains(families, is4) {
					continue // this machine has one family only
				}
				addr := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), port))
				if got, err := visits(ctx, addr, "Ann\n"); got != "hello, Ann\n" || err != nil {
					t.Errorf("at %v got %q, %v", addr, got, err)
				}
			}
			return closes(ctx, srv)
		})
	})
	for network, want := range map[string]string{"tcp4": "0.0.0.0", "tcp6": "::"} {
		t.Run("without a host, "+network, func(t *testing.T) {
			runStreams(t, func(ctx context.Context) error {
				srv, err := asyncio.StartServer(ctx, network, ":0", greet, nil)
				if errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL) {
					t.Skip(err)
				}
				if err != nil {
					return err
				}
				if a := srv.Addrs(); len(a) != 1 || addrPort(t, a[0].String()).Addr().String() != want {
					t.Errorf("it listens at %v", a)
				}
				return closes(ctx, srv)
			})
		})
	}
	t.Run("EV-043 all addresses of a name, each once, at one port", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			srv, err := asyncio.StartServer(ctx, "tcp", "name.example:0", greet, nil)
			if err != nil {
				return err
			}
			port := addrPort(t, srv.Addr().String()).Port()
			if got, want := fmt.Sprint(srv.Addrs()), fmt.Sprintf("[127.0.0.2:%d 127.0.0.3:%d]", port, port); got != want {
				t.Errorf("it listens at %s, want %s", got, want)
			}
			for _, addr := range srv.Addrs() {
				if got, err := visits(ctx, addr, "Ann\n"); got != "hello, Ann\n" || err != nil {
					t.Errorf("at %v got %q, %v", addr, got, err)
				}
			}
			return closes(ctx, srv)
		}, asyncio.WithResolver(resolvesTo(addrPort(t, "127.0.0.2:0"), addrPort(t, "127.0.0.3:0"), addrPort(t, "127.0.0.2:0"))))
	})
	t.Run("EV-047 a port that is shared", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			one, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", greet, &asyncio.ServerOptions{ReusePort: true})
			if err != nil {
				return err
			}
			two, err := asyncio.StartServer(ctx, "tcp", one.Addr().String(), greet, &asyncio.ServerOptions{ReusePort: true})
			if err != nil {
				return errors.Join(err, closes(ctx, one))
			}
			return errors.Join(closes(ctx, one), closes(ctx, two))
		})
	})
	t.Run("UNIX-012 a socket file that was left over", func(t *testing.T) {
		path := socketPath(t)
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		ln.(*net.UnixListener).SetUnlinkOnClose(false)
		ln.Close()
		runStreams(t, func(ctx context.Context) error {
			srv, err := asyncio.StartServer(ctx, "unix", path, greet, nil)
			if err != nil {
				return err
			}
			if got, err := visits(ctx, srv.Addr(), "Ann\n"); got != "hello, Ann\n" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			return closes(ctx, srv)
		})
	})
}

// withServer runs test with a server that has one client, of the same loop.
func withServer(t *testing.T, test func(ctx context.Context, srv *asyncio.Server, client stream) error, opts ...asyncio.RunOption) {
	t.Helper()
	runStreams(t, func(ctx context.Context) error {
		srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", greet, nil)
		if err != nil {
			return err
		}
		r, w, err := asyncio.OpenConnection(ctx, "tcp", srv.Addr().String(), nil)
		if err != nil {
			return err
		}
		w.WriteString("Ann\n")
		got, err := r.ReadLine(ctx)
		sees(t, got, err, "hello, Ann\n", nil)
		return test(ctx, srv, stream{r, w})
	}, opts...)
}

func TestServerClose(t *testing.T) {
	leavesNothing(t)
	t.Run("EV-058 SRV-005 SRV-008 stops listening, and connections go on", func(t *testing.T) {
		withServer(t, func(ctx context.Context, srv *asyncio.Server, client stream) error {
			address := srv.Addr().String()
			for range 2 {
				if err := srv.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			}
			if srv.IsServing() || srv.Addr() != nil || len(srv.Addrs()) != 0 || srv.String() != "<Server [] clients=1>" {
				t.Errorf("the server is %v", srv)
			}
			if err := open(ctx, "tcp", address, nil); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("OpenConnection = %v", err)
			}
			closing := asyncio.Go(ctx, srv.WaitClosed)
			client.w.WriteString("Bob\n")
			got, err := client.r.ReadLine(ctx)
			sees(t, got, err, "hello, Bob\n", nil)
			if closing.Done() {
				t.Error("WaitClosed did not wait for the client")
			}
			client.w.Close()
			mistake(t, srv.ServeForever(ctx), asyncio.ErrInvalidState)
			return closing.Wait(ctx)
		})
	})
	t.Run("SRV-007 WaitClosed waits for Close", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", greet, nil)
			if err != nil {
				return err
			}
			closing := asyncio.Go(ctx, srv.WaitClosed)
			asyncio.Yield(ctx)
			if closing.Done() {
				t.Error("WaitClosed did not wait")
			}
			srv.Close()
			return closing.Wait(ctx)
		})
	})
	t.Run("SRV-012 CloseClients sends what was written", func(t *testing.T) {
		withServer(t, func(ctx context.Context, srv *asyncio.Server, client stream) error {
			client.w.WriteString("Bob\n")
			for srv.String() == "" || client.r.Buffered() == 0 {
				if _, err := client.r.Peek(ctx, 1); err != nil {
					return err
				}
			}
			srv.CloseClients()
			got, err := client.r.ReadAll(ctx)
			sees(t, got, err, "hello, Bob\n", nil)
			if !srv.IsServing() {
				t.Error("the server has closed")
			}
			client.w.Close()
			return closes(ctx, srv)
		})
	})
	t.Run("AbortClients resets", func(t *testing.T) {
		withServer(t, func(ctx context.Context, srv *asyncio.Server, client stream) error {
			srv.AbortClients()
			got, err := client.r.ReadAll(ctx)
			sees(t, got, err, "", syscall.ECONNRESET)
			return closes(ctx, srv)
		})
	})
	t.Run("with the loop", func(t *testing.T) {
		withServer(t, func(ctx context.Context, srv *asyncio.Server, client stream) error { return nil })
	})
	t.Run("elsewhere", func(t *testing.T) {
		withServer(t, func(ctx context.Context, srv *asyncio.Server, client stream) error {
			elsewhere(func() {
				mistake(t, srv.Close(), asyncio.ErrWrongGoroutine)
				mistake(t, srv.WaitClosed(ctx), asyncio.ErrWrongGoroutine)
				mistake(t, srv.ServeForever(ctx), asyncio.ErrWrongGoroutine)
				panicsWith(t, asyncio.ErrWrongGoroutine, srv.CloseClients)
				panicsWith(t, asyncio.ErrWrongGoroutine, srv.AbortClients)
				mistake(t, asyncio.Run(context.Background(), srv.WaitClosed), asyncio.ErrWrongLoop)
				mistake(t, asyncio.Run(context.Background(), srv.ServeForever), asyncio.ErrWrongLoop)
			})
			return nil
		})
	})
}

func TestServeForever(t *testing.T) {
	leavesNothing(t)
	t.Run("SRV-003 SRV-004 a cancellation closes the server and its connections", func(t *testing.T) {
		withServer(t, func(ctx context.Context, srv *asyncio.Server, client stream) error {
			serving := asyncio.Go(ctx, srv.ServeForever)
			asyncio.Yield(ctx)
			mistake(t, srv.ServeForever(ctx), asyncio.ErrInvalidState)
			serving.Cancel(errBroken)
			if err := serving.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) || !errors.Is(err, errBroken) {
				t.Errorf("ServeForever = %v", err)
			}
			got, err := client.r.ReadAll(ctx)
			sees(t, got, err, "", nil)
			if srv.IsServing() || srv.String() != "<Server [] clients=0>" {
				t.Errorf("the server is %v", srv)
			}
			mistake(t, srv.ServeForever(ctx), asyncio.ErrInvalidState)
			return srv.WaitClosed(ctx)
		})
	})
	t.Run("so does Close", func(t *testing.T) {
		withServer(t, func(ctx context.Context, srv *asyncio.Server, client stream) error {
			serving := asyncio.Go(ctx, srv.ServeForever)
			asyncio.Yield(ctx)
			srv.Close()
			if err := serving.Wait(ctx); err != nil {
				t.Errorf("ServeForever = %v", err)
			}
			got, err := client.r.ReadAll(ctx)
			sees(t, got, err, "", nil)
			return nil
		})
	})
	t.Run("a second cancellation aborts", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			// A client that does not read keeps its connection open.
			accepted := asyncio.NewFuture[*asyncio.StreamWriter](ctx)
			srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				stuck(t, ctx, w).Cancel(nil)
				accepted.SetResult(w)
				_, err := r.ReadAll(ctx)
				return err // net.ErrClosed, which is not reported here
			}, nil)
			if err != nil {
				return err
			}
			r, _, err := asyncio.OpenConnection(ctx, "tcp", srv.Addr().String(), nil)
			if err != nil {
				return err
			}
			w, err := accepted.Await(ctx)
			if err != nil {
				return err
			}
			serving := asyncio.Go(ctx, srv.ServeForever)
			asyncio.Yield(ctx)
			serving.Cancel(nil)
			for range 5 {
				asyncio.Yield(ctx)
			}
			if serving.Done() || !w.IsClosing() || w.Buffered() == 0 {
				t.Errorf("ServeForever did not wait for the connection: %v", w)
			}
			serving.Cancel(nil)
			if err := serving.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
				t.Errorf("ServeForever = %v", err)
			}
			if _, err := r.ReadAll(ctx); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client's ReadAll = %v", err)
			}
			return srv.WaitClosed(ctx)
		})
	})
}

func TestServerInterrupted(t *testing.T) {
	t.Run("StartServer", func(t *testing.T) {
		interruptEverywhere(t, func(t *testing.T) interruption {
			start := func(ctx context.Context) error {
				srv, err := asyncio.StartServer(ctx, "tcp", "localhost:0", greet, nil)
				if err != nil {
					return err
				}
				return srv.Close()
			}
			return interruption{
				prepare:   func(ctx context.Context) error { return nil },
				operation: start,
				check:     start,
			}
		})
	})
	t.Run("ServeForever", func(t *testing.T) {
		interruptEverywhere(t, func(t *testing.T) interruption {
			var srv *asyncio.Server
			var client stream
			return interruption{
				prepare: func(ctx context.Context) (err error) {
					if srv, err = asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", greet, nil); err != nil {
						return err
					}
					if client.r, client.w, err = asyncio.OpenConnection(ctx, "tcp", srv.Addr().String(), nil); err != nil {
						return err
					}
					client.w.WriteString("Ann\n")
					if _, err := client.r.ReadLine(ctx); err != nil { // the connection is accepted
						return err
					}
					asyncio.Go(ctx, func(ctx context.Context) error {
						for range 5 {
							if err := asyncio.Yield(ctx); err != nil {
								return err
							}
						}
						return srv.Close()
					})
					return nil
				},
				operation: func(ctx context.Context) error { return srv.ServeForever(ctx) },
				check: func(ctx context.Context) error {
					srv.Close() // if it was cancelled before its first step
					srv.CloseClients()
					_, err := client.r.ReadAll(ctx)
					client.w.Close()
					return errors.Join(err, client.w.WaitClosed(ctx), srv.WaitClosed(ctx))
				},
			}
		})
	})
}

func TestServerCloseTimeout(t *testing.T) {
	leavesNothing(t)
	stalls := func(t *testing.T, ctx context.Context, opts *asyncio.ServerOptions) (*asyncio.Server, net.Conn) {
		served := false // a look at the server may come too late: its timeout is short
		srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			served = true
			w.Write(make([]byte, 32<<20)) // more than the kernels take
			return nil
		}, opts)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", srv.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		comesTrue(t, ctx, "it is served", func() bool { return served })
		return srv, c
	}
	t.Run("a peer that does not read is cut off", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			srv, c := stalls(t, ctx, &asyncio.ServerOptions{CloseTimeout: 20 * time.Millisecond})
			defer c.Close()
			comesTrue(t, ctx, "it is gone", func() bool { return strings.Contains(srv.String(), "clients=0") })
			return srv.Shutdown(ctx)
		})
	})
	t.Run("ServeForever ends within the grace", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			srv, c := stalls(t, ctx, nil)
			defer c.Close()
			serving := asyncio.Go(ctx, srv.ServeForever)
			asyncio.Yield(ctx)
			serving.Cancel(nil)
			if err := serving.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
				t.Errorf("it returned %v", err)
			}
			return srv.WaitClosed(ctx)
		}, asyncio.WithShutdownGrace(50*time.Millisecond))
	})
	t.Run("misuse", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			for _, opts := range []*asyncio.ServerOptions{{CloseTimeout: -1}, {CloseTimeout: 1, TLS: new(tls.Config)}} {
				_, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(context.Context, *asyncio.StreamReader, *asyncio.StreamWriter) error { return nil }, opts)
				mistake(t, err, asyncio.ErrBadArgument)
			}
			_, _, err := asyncio.OpenConnection(ctx, "tcp", "127.0.0.1:1", &asyncio.ConnOptions{CloseTimeout: -1})
			mistake(t, err, asyncio.ErrBadArgument)
			return nil
		})
	})
	t.Run("a handler that starts eagerly cannot wait for itself", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			asyncio.RunningLoop(ctx).SetTaskFactory(asyncio.EagerTaskFactory)
			var srv *asyncio.Server
			told := make(chan error, 1)
			srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				told <- srv.Shutdown(ctx)
				return io.EOF // is not reported
			}, nil)
			if err != nil {
				return err
			}
			c, err := net.Dial("tcp", srv.Addr().String())
			if err != nil {
				return err
			}
			defer c.Close()
			comesTrue(t, ctx, "the handler has run", func() bool { return len(told) > 0 })
			mistake(t, <-told, asyncio.ErrBadArgument)
			return srv.Shutdown(ctx)
		})
	})
}
