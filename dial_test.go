// Opening connections: names, the order and the race of addresses, what a failure
// says, and that one that is cancelled leaves nothing.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// resolvesTo is a Resolver that knows one answer.
func resolvesTo(addrs ...netip.AddrPort) asyncio.Resolver {
	return asyncio.ResolverFunc(func(ctx context.Context, network, host, port string) ([]netip.AddrPort, error) {
		return addrs, nil
	})
}

func addrPort(t testing.TB, s string) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// refused returns an address with the given IP where nobody listens. The port is
// taken, so that nobody else gets it, until the test ends.
func refused(t testing.TB, ip string) netip.AddrPort {
	t.Helper()
	// A socket that is bound and does not listen: the client's end of a connection.
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Skipf("this machine has no address %s: %v", ip, err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return addrPort(t, c.LocalAddr().String())
}

// A host accepts connections on a goroutine until the test ends, and tells the
// names of those that came.
type host struct {
	addr netip.AddrPort
	came chan net.Conn
}

func newHost(t testing.TB, ip string) *host {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Skipf("this machine has no address %s: %v", ip, err)
	}
	h := &host{addr: addrPort(t, ln.Addr().String()), came: make(chan net.Conn, 100)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			h.came <- c
			c.Close()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-ended
	})
	return h
}

// joined returns the members of an error that errors.Join made, in order.
func joined(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

// dialedTo returns the addresses that the members of err name.
func dialedTo(t testing.TB, err error) (addrs []string) {
	t.Helper()
	for _, e := range joined(err) {
		var op *net.OpError
		if !errors.As(e, &op) || op.Op != "dial" || op.Addr == nil {
			t.Fatalf("%v does not say which address failed", e)
		}
		addrs = append(addrs, op.Addr.String())
	}
	return addrs
}

func open(ctx context.Context, network, address string, opts *asyncio.ConnOptions) error {
	_, w, err := asyncio.OpenConnection(ctx, network, address, opts)
	if err != nil {
		return err
	}
	w.Close()
	return w.WaitClosed(ctx)
}

func TestOpenConnectionFails(t *testing.T) {
	leavesNothing(t)
	nowhere := refused(t, "127.0.0.1")
	noSuchHost := asyncio.ResolverFunc(func(ctx context.Context, network, host, port string) ([]netip.AddrPort, error) {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	})
	for _, test := range []struct {
		name, network, address string
		opts                   *asyncio.ConnOptions
		check                  func(err error) bool
	}{
		{"nobody listens", "tcp", nowhere.String(), nil, func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }},
		{"no such file", "unix", socketPath(t), nil, func(err error) bool { return errors.Is(err, syscall.ENOENT) }},
		{"no such name", "tcp", "nosuch.example:80", &asyncio.ConnOptions{Resolver: noSuchHost}, func(err error) bool {
			var dns *net.DNSError
			return errors.As(err, &dns) && dns.IsNotFound && dns.Name == "nosuch.example"
		}},
		{"a name without addresses", "tcp", "none.example:80", &asyncio.ConnOptions{Resolver: resolvesTo()}, func(err error) bool {
			var dns *net.DNSError
			return errors.As(err, &dns)
		}},
		{"no address of the family", "tcp6", "four.example:80", &asyncio.ConnOptions{Resolver: resolvesTo(nowhere)}, func(err error) bool {
			var dns *net.DNSError
			return errors.As(err, &dns)
		}},
		{"an address of another family", "tcp6", nowhere.String(), nil, func(err error) bool {
			var addr *net.AddrError
			return errors.As(err, &addr)
		}},
		{"no port", "tcp", "127.0.0.1", nil, func(err error) bool {
			var addr *net.AddrError
			return errors.As(err, &addr)
		}},
		{"an unknown network", "udp", nowhere.String(), nil, func(err error) bool {
			var unknown net.UnknownNetworkError
			return errors.As(err, &unknown)
		}},
		{"a local address that is none", "tcp", nowhere.String(), &asyncio.ConnOptions{LocalAddr: "here"}, func(err error) bool {
			var addr *net.AddrError
			return errors.As(err, &addr)
		}},
		{"a local address of another machine", "tcp", nowhere.String(), &asyncio.ConnOptions{LocalAddr: "203.0.113.1:0"}, func(err error) bool {
			return errors.Is(err, syscall.EADDRNOTAVAIL)
		}},
		{"a local address of another family", "tcp", nowhere.String(), &asyncio.ConnOptions{LocalAddr: "[::1]:0"}, func(err error) bool {
			var addr *net.AddrError
			return errors.As(err, &addr) || errors.Is(err, syscall.EAFNOSUPPORT)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			runStreams(t, func(ctx context.Context) error {
				err := open(ctx, test.network, test.address, test.opts)
				var op *net.OpError
				if !test.check(err) || !errors.As(err, &op) || op.Op != "dial" || op.Addr == nil {
					t.Errorf("OpenConnection = %v", err)
				}
				return nil
			})
		})
	}
	t.Run("misuse", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			mistake(t, open(ctx, "tcp", nowhere.String(), &asyncio.ConnOptions{Limit: -1}), asyncio.ErrBadArgument)
			mistake(t, open(context.Background(), "tcp", nowhere.String(), nil), asyncio.ErrOutsideTask)
			return nil
		})
	})
}

func TestOpenConnectionResolves(t *testing.T) {
	leavesNothing(t)
	h := newHost(t, "127.0.0.1")
	port := fmt.Sprint(h.addr.Port())
	t.Run("by the resolver of the options, then of the loop", func(t *testing.T) {
		var asked []string
		resolver := func(name string) asyncio.Resolver {
			return asyncio.ResolverFunc(func(ctx context.Context, network, host, port string) ([]netip.AddrPort, error) {
				asked = append(asked, fmt.Sprintf("%s %s %s %s", name, network, host, port))
				return []netip.AddrPort{h.addr}, nil
			})
		}
		runStreams(t, func(ctx context.Context) error {
			err1 := open(ctx, "tcp", "name.example:http", nil)
			err2 := open(ctx, "tcp4", "name.example:81", &asyncio.ConnOptions{Resolver: resolver("own")})
			addrs, err3 := asyncio.GetAddrInfo(ctx, "tcp", "info.example:82")
			if !slices.Equal(addrs, []netip.AddrPort{h.addr}) {
				t.Errorf("GetAddrInfo = %v", addrs)
			}
			return errors.Join(err1, err2, err3)
		}, asyncio.WithResolver(resolver("loop")))
		want := []string{"loop tcp name.example http", "own tcp4 name.example 81", "loop tcp info.example 82"}
		if !slices.Equal(asked, want) {
			t.Errorf("asked %q, want %q", asked, want)
		}
	})
	t.Run("nothing for an IP address", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error { return open(ctx, "tcp", h.addr.String(), nil) },
			asyncio.WithResolver(asyncio.ResolverFunc(func(ctx context.Context, network, host, port string) ([]netip.AddrPort, error) {
				return nil, errors.New("asked for nothing")
			})))
	})
	t.Run("localhost, and no host", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			return errors.Join(open(ctx, "tcp4", "localhost:"+port, nil), open(ctx, "tcp4", ":"+port, nil))
		})
	})
	t.Run("GetAddrInfo says what it looked for", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			if _, err := asyncio.GetAddrInfo(ctx, "tcp", "some.example:80"); err == nil || !strings.Contains(err.Error(), "some.example:80") || !errors.Is(err, errBroken) {
				t.Errorf("GetAddrInfo = %v", err)
			}
			_, err := asyncio.GetAddrInfo(context.Background(), "tcp", "some.example:80")
			mistake(t, err, asyncio.ErrOutsideTask)
			return nil
		}, asyncio.WithResolver(asyncio.ResolverFunc(func(ctx context.Context, network, host, port string) ([]netip.AddrPort, error) {
			return nil, errBroken
		})))
	})
	t.Run("from a local address", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			_, w, err := asyncio.OpenConnection(ctx, "tcp", h.addr.String(), &asyncio.ConnOptions{LocalAddr: "127.0.0.5:0"})
			if err != nil {
				return err
			}
			if local := addrPort(t, w.LocalAddr().String()); local.Addr().String() != "127.0.0.5" {
				t.Errorf("connected from %v", local)
			}
			w.Close()
			return w.WaitClosed(ctx)
		})
	})
}

// TestOpenConnectionOrder: the families take turns, beginning with the first
// address, and the errors come in that order.
func TestOpenConnectionOrder(t *testing.T) {
	leavesNothing(t)
	a, b, c := refused(t, "127.0.0.1"), refused(t, "127.0.0.2"), refused(t, "127.0.0.3")
	x, y := refused(t, "::1"), refused(t, "::1")
	for _, test := range []struct{ given, want []netip.AddrPort }{
		{[]netip.AddrPort{a, b, c, x, y}, []netip.AddrPort{a, x, b, y, c}},
		{[]netip.AddrPort{x, a, b, c}, []netip.AddrPort{x, a, b, c}},
		{[]netip.AddrPort{x, y, a}, []netip.AddrPort{x, a, y}},
		{[]netip.AddrPort{b, a}, []netip.AddrPort{b, a}},
	} {
		for _, delay := range []time.Duration{0, -1, time.Hour} {
			runStreams(t, func(ctx context.Context) error {
				err := open(ctx, "tcp", "name.example:80", &asyncio.ConnOptions{Resolver: resolvesTo(test.given...), HappyEyeballsDelay: delay})
				var want []string
				for _, addr := range test.want {
					want = append(want, addr.String())
				}
				if got := dialedTo(t, err); !slices.Equal(got, want) || !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("tried %v, want %v: %v", got, want, err)
				}
				return nil
			})
		}
	}
}

func TestOpenConnectionTriesNext(t *testing.T) {
	leavesNothing(t)
	t.Run("when one is refused", func(t *testing.T) {
		h := newHost(t, "127.0.0.1")
		runStreams(t, func(ctx context.Context) error {
			return open(ctx, "tcp", "name.example:80", &asyncio.ConnOptions{
				Resolver:           resolvesTo(refused(t, "127.0.0.1"), refused(t, "127.0.0.2"), h.addr, refused(t, "127.0.0.3")),
				HappyEyeballsDelay: time.Hour, // a failure starts the next one at once
			})
		}, asynciotest.WithVirtualClock())
		(<-h.came).Close()
	})
	t.Run("and connects once", func(t *testing.T) {
		h := newHost(t, "127.0.0.1")
		runStreams(t, func(ctx context.Context) error {
			return open(ctx, "tcp", "name.example:80", &asyncio.ConnOptions{Resolver: resolvesTo(h.addr, h.addr, h.addr), HappyEyeballsDelay: time.Hour})
		})
		<-h.came
		select {
		case c := <-h.came:
			t.Errorf("a second connection came from %v", c.RemoteAddr())
		default:
		}
	})
}

// TestOpenConnectionInterrupted: wherever it is cancelled, no connection is left.
func TestOpenConnectionInterrupted(t *testing.T) {
	for _, name := range []string{"an address", "a unix socket", "a name with one address", "several addresses", "addresses that fail"} {
		t.Run(name, func(t *testing.T) {
			interruptEverywhere(t, func(t *testing.T) interruption {
				var srv *asyncio.Server
				network, address := "tcp", "127.0.0.1:0"
				if name == "a unix socket" {
					network, address = "unix", socketPath(t)
				}
				opts := new(asyncio.ConnOptions)
				dead := []netip.AddrPort{refused(t, "127.0.0.2"), refused(t, "127.0.0.3"), refused(t, "127.0.0.4")}
				connect := func(ctx context.Context) error {
					r, w, err := asyncio.OpenConnection(ctx, network, address, opts)
					if name == "addresses that fail" && errors.Is(err, syscall.ECONNREFUSED) {
						return nil
					}
					if err != nil {
						return err
					}
					defer w.Close() // a cancelled task closes it, too
					got, err := r.ReadAll(ctx)
					if err == nil && string(got) != "hello" {
						t.Errorf("read %q", got)
					}
					return err
				}
				return interruption{
					prepare: func(ctx context.Context) (err error) {
						srv, err = asyncio.StartServer(ctx, network, address, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
							w.WriteString("hello")
							return nil
						}, nil)
						if err != nil {
							return err
						}
						if network == "tcp" {
							address = srv.Addr().String()
						}
						good := address
						switch name {
						case "a name with one address":
							address, opts.Resolver = "name.example:80", resolvesTo(addrPort(t, good))
						case "several addresses":
							address, opts.Resolver = "name.example:80", resolvesTo(dead[0], dead[1], addrPort(t, good), dead[2])
						case "addresses that fail":
							address, opts.Resolver = "name.example:80", resolvesTo(dead...)
						}
						return nil
					},
					operation: connect,
					check: func(ctx context.Context) error {
						err := connect(ctx)
						srv.Close()
						return errors.Join(err, srv.WaitClosed(ctx))
					},
				}
			})
		})
	}
	t.Run("a resolver that takes its time", func(t *testing.T) {
		leavesNothing(t)
		asking := newGate()
		runStreams(t, func(ctx context.Context) error {
			var cause error
			task := asyncio.Go(ctx, func(ctx context.Context) error {
				return open(ctx, "tcp", "name.example:80", &asyncio.ConnOptions{
					Resolver: asyncio.ResolverFunc(func(ctx context.Context, network, host, port string) ([]netip.AddrPort, error) {
						asking.open()
						<-ctx.Done()
						cause = context.Cause(ctx)
						return nil, cause
					}),
				})
			})
			if err := asking.waitIn(ctx); err != nil {
				return err
			}
			task.Cancel(io.ErrClosedPipe)
			if err := task.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) || !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("OpenConnection = %v", err)
			}
			return nil
		})
	})
}
