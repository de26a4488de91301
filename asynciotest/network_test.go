// Tests of the simulated network: programs on it, their ends, and what is repeatable.

package asynciotest_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// leavesNothing checks that a test has ended all of its goroutines.
func leavesNothing(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for deadline := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<16)
				t.Fatalf("%d goroutines, at first %d\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
			}
		}
	})
}

// steady is a link that always takes a millisecond.
var steady = asynciotest.WithLink(asynciotest.Link{Latency: asynciotest.Fixed(time.Millisecond)})

// serve is a program that handles connections at an address until it is cancelled.
func serve(network, address string, handle func(context.Context, *asyncio.StreamReader, *asyncio.StreamWriter) error, opts *asyncio.ServerOptions) func(context.Context) error {
	return func(ctx context.Context) error {
		s, err := asyncio.StartServer(ctx, network, address, handle, opts)
		if err != nil {
			return err
		}
		return s.ServeForever(ctx)
	}
}

// sendBack handles a connection by sending back what comes.
func sendBack(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
	defer w.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(ctx, buf)
		if err != nil {
			return nil
		}
		w.Write(buf[:n])
		if err := w.Drain(ctx); err != nil {
			return nil
		}
	}
}

// echo is a program that sends back what it receives at port 7.
var echo = serve("tcp", ":7", sendBack, nil)

// ask sends a line to the echo at address and returns the answer.
func ask(ctx context.Context, address, line string) (string, error) {
	r, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
	if err != nil {
		return "", err
	}
	defer w.Close()
	return askOn(ctx, r, w, line)
}

func askOn(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter, line string) (string, error) {
	if _, err := w.Write([]byte(line + "\n")); err != nil {
		return "", err
	}
	answer, err := r.ReadLine(ctx)
	return strings.TrimSuffix(string(answer), "\n"), err
}

func TestNetworkConnects(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1, steady)
	n.Host("server").Go(echo)
	n.Run(t, func(ctx context.Context) error {
		start := n.Now()
		got, err := ask(ctx, "server:7", "hello")
		if got != "hello" || err != nil {
			t.Errorf("the answer is %q, %v", got, err)
		}
		// Name, connection, bytes: a way and back each.
		if took := n.Now() - start; took != 6*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		return nil
	})
}

func TestNetworkNames(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	a, b := n.Host("a"), n.Host("b")
	if n.Host("a") != a || a.Addr() != netip.MustParseAddr("10.0.0.1") || b.Addr() != netip.MustParseAddr("10.0.0.2") {
		t.Errorf("addresses %v and %v", a.Addr(), b.Addr())
	}
	n.Run(t, func(ctx context.Context) error {
		for address, want := range map[string]string{"b:80": "10.0.0.2:80", "localhost:1": "127.0.0.1:1", "10.9.9.9:2": "10.9.9.9:2"} {
			addrs, err := asyncio.GetAddrInfo(ctx, "tcp", address)
			if err != nil || len(addrs) != 1 || addrs[0].String() != want {
				t.Errorf("%s is %v, %v", address, addrs, err)
			}
		}
		_, err := asyncio.GetAddrInfo(ctx, "tcp", "nobody:80")
		if dns, ok := errors.AsType[*net.DNSError](err); !ok || !dns.IsNotFound {
			t.Errorf("nobody: %v", err)
		}
		if _, err := asyncio.GetAddrInfo(ctx, "tcp6", "b:80"); err == nil {
			t.Error("b has an IPv6 address")
		}
		host, _, err := asyncio.GetNameInfo(ctx, netip.AddrPortFrom(b.Addr(), 80), nil)
		if host != "b" || err != nil {
			t.Errorf("GetNameInfo = %q, %v", host, err)
		}
		if _, _, err := asyncio.GetNameInfo(ctx, netip.MustParseAddrPort("10.9.9.9:80"), &asyncio.NameInfoOptions{NameRequired: true}); err == nil {
			t.Error("10.9.9.9 has a name")
		}
		broken := errors.New("the name server is broken")
		n.Outside().FailLookups(broken)
		if _, err := asyncio.GetAddrInfo(ctx, "tcp", "b:80"); !errors.Is(err, broken) {
			t.Errorf("a broken look-up: %v", err)
		}
		n.Outside().FailLookups(nil)
		if _, err := asyncio.GetAddrInfo(ctx, "tcp", "b:80"); err != nil {
			t.Error(err)
		}
		// A look-up takes time, and can be called off.
		err = asyncio.Timeout(ctx, time.Microsecond, func(ctx context.Context) error {
			_, err := asyncio.GetAddrInfo(ctx, "tcp", "b:80")
			return err
		})
		if !errors.Is(err, asyncio.ErrTimeout) {
			t.Errorf("a look-up within a microsecond: %v", err)
		}
		return asyncio.Sleep(ctx, time.Second)
	})
}

func TestNetworkDeadlock(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	n.Host("server").Go(echo)
	after := false
	err := n.Simulate(func(ctx context.Context) error {
		r, _, err := asyncio.OpenConnection(ctx, "tcp", "server:7", nil)
		if err != nil {
			return err
		}
		_, err = r.ReadLine(ctx) // which the server waits for as well
		after = true
		return err
	})
	if !errors.Is(err, asyncio.ErrDeadlock) {
		t.Fatalf("Simulate = %v", err)
	}
	for _, want := range []string{"outside (main):", "server (program 1):"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if after {
		t.Error("main went on")
	}
}

func TestNetworkPrograms(t *testing.T) {
	broken := errors.New("broken")
	t.Run("an error that somebody waits for", func(t *testing.T) {
		leavesNothing(t)
		n := asynciotest.NewNetwork(1)
		p := n.Host("a").Go(func(ctx context.Context) error {
			asyncio.Sleep(ctx, time.Hour)
			return broken
		})
		n.Run(t, func(ctx context.Context) error {
			if !p.Running() || p.Err() != nil || p.Host().Name() != "a" {
				t.Error("it does not run")
			}
			if err := p.Wait(ctx); err != broken {
				t.Errorf("Wait = %v", err)
			}
			if n.Now() != time.Hour || p.Running() || p.Err() != broken {
				t.Errorf("it is %v", n.Now())
			}
			return p.Host().Go(func(context.Context) error { return nil }).Wait(ctx)
		})
	})
	t.Run("an error that nobody waits for", func(t *testing.T) {
		leavesNothing(t)
		n := asynciotest.NewNetwork(1)
		n.Host("a").Go(func(ctx context.Context) error { return broken })
		err := n.Simulate(func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Second) })
		if !errors.Is(err, broken) {
			t.Errorf("Simulate = %v", err)
		}
	})
	t.Run("the power is cut at the end", func(t *testing.T) {
		leavesNothing(t)
		n := asynciotest.NewNetwork(1)
		after, deferred := false, false
		n.Host("a").Go(func(ctx context.Context) error {
			defer func() { deferred = true }()
			err := asyncio.Sleep(ctx, time.Hour)
			after = true
			return err
		})
		n.Run(t, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Minute) })
		if after || !deferred {
			t.Errorf("the program went on: %v; its deferred function ran: %v", after, deferred)
		}
		if err := n.Simulate(func(context.Context) error { return nil }); err == nil {
			t.Error("it can be run twice")
		}
	})
	t.Run("a panic of main", func(t *testing.T) {
		leavesNothing(t)
		n := asynciotest.NewNetwork(1)
		n.Host("a").Go(echo)
		err := n.Simulate(func(ctx context.Context) error {
			asyncio.Sleep(ctx, time.Second)
			panic("oops")
		})
		if p, ok := errors.AsType[*asyncio.PanicError](err); !ok || p.Value != "oops" || !strings.HasPrefix(err.Error(), "outside (main): panic: oops\n") {
			t.Errorf("Simulate = %v", err)
		}
	})
	t.Run("a panic of a program", func(t *testing.T) {
		leavesNothing(t)
		n := asynciotest.NewNetwork(1)
		n.Host("a").Go(func(ctx context.Context) error { panic("oops") })
		err := n.Simulate(func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Second) })
		if p, ok := errors.AsType[*asyncio.PanicError](err); !ok || p.Value != "oops" {
			t.Errorf("Simulate = %v", err)
		}
	})
	exit := func(context.Context) error { runtime.Goexit(); return nil }
	rest := func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Second) }
	for _, test := range []struct {
		where           string
		outside, inside func(ctx context.Context) error
	}{
		{"outside", exit, rest},
		{"inside", rest, exit},
	} {
		t.Run("Goexit "+test.where, func(t *testing.T) {
			leavesNothing(t)
			n := asynciotest.NewNetwork(1)
			n.Host("a").Go(test.inside)
			returned := false
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				n.Simulate(test.outside)
				returned = true
			}()
			<-ended
			if returned || n.Now() != 0 {
				t.Errorf("Simulate returned: %v; it is %v", returned, n.Now())
			}
		})
	}
}

// What runs on other goroutines takes no virtual time, and leaves the run repeatable.
func TestNetworkWorkers(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	n.Host("a").Go(func(ctx context.Context) error {
		for range 10 {
			if err := asyncio.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	})
	n.Run(t, func(ctx context.Context) error {
		before := n.Now()
		v, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
			time.Sleep(10 * time.Millisecond)
			return 7, nil
		})
		if v != 7 || err != nil || n.Now() != before {
			t.Errorf("ToThread = %d, %v, after %v", v, err, n.Now()-before)
		}
		// Other goroutines can wake a program that nothing else would.
		p := asyncio.NewPromise[int](ctx)
		time.AfterFunc(10*time.Millisecond, func() { p.Resolve(8) })
		if v, err := p.Future().Await(ctx); v != 8 || err != nil {
			t.Errorf("the promise is %d, %v", v, err)
		}
		return nil
	})
}

// A function that never ends does not stop the simulation for good.
func TestNetworkLosesPatience(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	n.Run(t, func(ctx context.Context) error {
		err := asyncio.Timeout(ctx, time.Minute, func(ctx context.Context) error {
			_, err := asyncio.ToThread(ctx, func(ctx context.Context) (int, error) {
				<-ctx.Done()
				return 0, ctx.Err()
			})
			return err
		})
		if !errors.Is(err, asyncio.ErrTimeout) {
			t.Errorf("Timeout = %v", err)
		}
		return nil
	})
}

// A function that waits for the network itself costs a second once, not each time: the run
// is not repeatable after that anyhow.
func TestNetworkOfGoroutines(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	n.Host("server").Go(func(ctx context.Context) error {
		s, err := asyncio.StartServer(ctx, "tcp", ":7", returnAll, nil)
		if err != nil {
			return err
		}
		return s.ServeForever(ctx)
	})
	start := time.Now()
	n.Run(t, func(ctx context.Context) error {
		r, w, err := asyncio.OpenConnection(ctx, "tcp", "server:7", nil)
		if err != nil {
			return err
		}
		conn := asyncio.NetConn(ctx, r, w)
		_, err = asyncio.ToThread(ctx, func(context.Context) (struct{}, error) {
			defer conn.Close()
			buffer := make([]byte, 1)
			for i := range byte(8) {
				if _, err := conn.Write([]byte{i}); err != nil {
					return struct{}{}, err
				}
				if _, err := io.ReadFull(conn, buffer); err != nil || buffer[0] != i {
					return struct{}{}, fmt.Errorf("the answer to %d is %d, %w", i, buffer[0], err)
				}
			}
			return struct{}{}, nil
		})
		return err
	})
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestNetworkClocks(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	a := n.Host("a")
	a.SetClock(-time.Minute, 0.5)
	p := a.Go(func(ctx context.Context) error {
		for _, want := range []time.Duration{-time.Minute, 0} {
			now, at := asyncio.Now(ctx).Sub(epoch), loopTime(ctx)
			if now != want+at || a.Wall() != asyncio.Now(ctx) {
				t.Errorf("at %v it is %v", at, now)
			}
			if err := asyncio.Sleep(ctx, 2*time.Minute); err != nil {
				return err
			}
		}
		return nil
	})
	n.Run(t, func(ctx context.Context) error {
		if err := p.Wait(ctx); err != nil || n.Now() != 4*time.Minute {
			t.Errorf("%v at %v", err, n.Now())
		}
		return nil
	})
}

func TestNetworkDescriptorLimit(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	server := n.Host("server")
	var mistakes []string
	server.Go(echo, asyncio.WithExceptionHandler(func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) {
		mistakes = append(mistakes, fmt.Sprint(ec.Message, ": ", ec.Err))
	}))
	n.Run(t, func(ctx context.Context) error {
		server.SetDescriptorLimit(3) // it has two that listen, one for each family
		r1, w1, err := asyncio.OpenConnection(ctx, "tcp", "server:7", nil)
		if err != nil {
			return err
		}
		r2, w2, err := asyncio.OpenConnection(ctx, "tcp", "server:7", nil)
		if err != nil {
			return err // the connection waits to be accepted
		}
		defer w2.Close()
		if got, err := askOn(ctx, r1, w1, "one"); got != "one" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		err = asyncio.Timeout(ctx, time.Minute, func(ctx context.Context) error {
			_, err := askOn(ctx, r2, w2, "two")
			return err
		})
		if !errors.Is(err, asyncio.ErrTimeout) {
			t.Errorf("the second connection: %v", err)
		}
		w1.Close()
		if got, err := r2.ReadLine(ctx); string(got) != "two\n" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if len(mistakes) != 1 || !strings.Contains(mistakes[0], syscall.EMFILE.Error()) {
			t.Errorf("the server has said %q", mistakes)
		}
		n.Outside().SetDescriptorLimit(1)
		if _, err := ask(ctx, "server:7", "x"); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("a third connection: %v", err)
		}
		return nil
	})
}

func TestNetworkUnixSockets(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	n.Outside().Go(serve("unix", "/run/echo", sendBack, nil))
	n.Host("elsewhere")
	n.Run(t, func(ctx context.Context) error {
		if err := asyncio.Sleep(ctx, time.Second); err != nil {
			return err
		}
		before := n.Now()
		r, w, err := asyncio.OpenConnection(ctx, "unix", "/run/echo", nil)
		if err != nil {
			return err
		}
		defer w.Close()
		if got, err := askOn(ctx, r, w, "hello"); got != "hello" || err != nil || n.Now() != before {
			t.Errorf("%q, %v, after %v", got, err, n.Now()-before)
		}
		return n.Host("elsewhere").Go(func(ctx context.Context) error {
			_, _, err := asyncio.OpenConnection(ctx, "unix", "/run/echo", nil)
			if !errors.Is(err, syscall.ENOENT) {
				t.Errorf("from another host: %v", err)
			}
			return nil
		}).Wait(ctx)
	})
}

func TestNetworkDatagrams(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	n.Host("server").Go(func(ctx context.Context) error {
		e, err := asyncio.OpenDatagramEndpoint(ctx, &asyncio.DatagramOptions{LocalAddr: ":53"})
		if err != nil {
			return err
		}
		buf := make([]byte, 64<<10)
		for {
			k, from, err := e.ReadFrom(ctx, buf)
			if err != nil {
				return err
			}
			if err := e.WriteTo(buf[:k], from); err != nil {
				return err
			}
		}
	})
	n.Run(t, func(ctx context.Context) error {
		e, err := asyncio.OpenDatagramEndpoint(ctx, &asyncio.DatagramOptions{RemoteAddr: "server:53"})
		if err != nil {
			return err
		}
		defer e.Close()
		buf := make([]byte, 100)
		for i := range 10 {
			if err := e.WriteTo([]byte{byte(i)}, asyncio.SockAddr{}); err != nil {
				return err
			}
			k, from, err := e.ReadFrom(ctx, buf)
			if k != 1 || buf[0] != byte(i) || from.String() != "10.0.0.1:53" || err != nil {
				t.Errorf("received %v from %v, %v", buf[:k], from, err)
			}
		}
		nobody, err := asyncio.OpenDatagramEndpoint(ctx, &asyncio.DatagramOptions{RemoteAddr: "server:54"})
		if err != nil {
			return err
		}
		defer nobody.Close()
		nobody.WriteTo([]byte("x"), asyncio.SockAddr{})
		if _, _, err := nobody.ReadFrom(ctx, buf); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody answers %v", err)
		}
		return nil
	})
}

func TestNetworkTLS(t *testing.T) {
	leavesNothing(t)
	cert, pool := asynciotest.Certificate("server")
	run := func(skew time.Duration, name string) (string, error, uint64) {
		n := asynciotest.NewNetwork(1)
		n.Host("server").Go(serve("tcp", ":443", sendBack, &asyncio.ServerOptions{
			TLS:             &tls.Config{Certificates: []tls.Certificate{cert}},
			HandshakeFailed: func(net.Addr, error) {},
		}))
		n.Outside().SetClock(skew, 0)
		var answer string
		var err error
		n.Run(t, func(ctx context.Context) error {
			var r *asyncio.StreamReader
			var w *asyncio.StreamWriter
			r, w, err = asyncio.OpenConnection(ctx, "tcp", "server:443", &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: pool, ServerName: name}})
			if err == nil {
				defer w.Close()
				answer, err = askOn(ctx, r, w, "secret")
			}
			return nil
		})
		return answer, err, n.Hash()
	}
	answer, err, hash := run(0, "server")
	if answer != "secret" || err != nil {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	if _, _, again := run(0, "server"); again != hash {
		t.Error("another run with TLS has another hash")
	}
	if _, err, _ := run(0, "another"); err == nil {
		t.Error("another name is accepted")
	}
	_, err, _ = run(-48*time.Hour, "server")
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); !ok || invalid.Reason != x509.Expired {
		t.Errorf("with a clock that is two days late: %v", err)
	}
}

func TestNetworkHTTP(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	n.Host("server").Go(serve("tcp", ":80", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		c := asyncio.NetConn(ctx, r, w)
		defer c.Close()
		in := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return err
			}
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return err
			}
			answer := fmt.Sprintf("%s %s %s", req.Method, req.URL.Path, body)
			resp := &http.Response{ProtoMajor: 1, ProtoMinor: 1, StatusCode: 200, Request: req, ContentLength: int64(len(answer)), Body: io.NopCloser(strings.NewReader(answer))}
			if err := resp.Write(c); err != nil {
				return err
			}
		}
	}, nil))
	n.Run(t, func(ctx context.Context) error {
		r, w, err := asyncio.OpenConnection(ctx, "tcp", "server:80", nil)
		if err != nil {
			return err
		}
		c := asyncio.NetConn(ctx, r, w)
		defer c.Close()
		in := bufio.NewReader(c)
		for _, body := range []string{"one", strings.Repeat("two", 100_000)} {
			req, err := http.NewRequest("POST", "http://server/path", strings.NewReader(body))
			if err != nil {
				return err
			}
			if err := req.Write(c); err != nil {
				return err
			}
			resp, err := http.ReadResponse(in, req)
			if err != nil {
				return err
			}
			got, err := io.ReadAll(resp.Body)
			if want := "POST /path " + body; string(got) != want || err != nil {
				t.Errorf("the answer has %d bytes, %v; want %d", len(got), err, len(want))
			}
		}
		return nil
	})
}

// A peer that does not read stops the sender, and everything arrives when it does.
func TestNetworkBackPressure(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1, asynciotest.WithSocketBuffers(10_000))
	received := 0
	n.Host("server").Go(serve("tcp", ":1", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		defer w.Close()
		if err := asyncio.Sleep(ctx, time.Hour); err != nil {
			return err
		}
		buf := make([]byte, 1000)
		for {
			k, err := r.Read(ctx, buf)
			received += k
			if err != nil {
				return err
			}
		}
	}, nil))
	n.Run(t, func(ctx context.Context) error {
		_, w, err := asyncio.OpenConnection(ctx, "tcp", "server:1", nil)
		if err != nil {
			return err
		}
		const size = 1_000_000
		w.Write(make([]byte, size))
		if err := w.Drain(ctx); err != nil {
			return err
		}
		if n.Now() < time.Hour {
			t.Errorf("the sender went on at %v, when the peer had read %d bytes", n.Now(), received)
		}
		w.Close()
		if err := w.WaitClosed(ctx); err != nil {
			return err
		}
		if err := asyncio.Sleep(ctx, time.Second); err != nil {
			return err
		}
		if received != size {
			t.Errorf("%d bytes have arrived", received)
		}
		return nil
	})
}

func TestNetworkConnectionErrors(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	server := n.Host("server")
	server.Go(echo)
	p := server.Go(func(ctx context.Context) error {
		if err := asyncio.Sleep(ctx, time.Second); err != nil {
			return err
		}
		_, err := asyncio.StartServer(ctx, "tcp", ":7", sendBack, nil)
		return err
	})
	n.Run(t, func(ctx context.Context) error {
		if err := p.Wait(ctx); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a second server: %v", err)
		}
		start := n.Now()
		if _, err := ask(ctx, "server:8", "x"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody listens: %v", err)
		}
		if took := n.Now() - start; took > time.Second {
			t.Errorf("that took %v", took)
		}
		start = n.Now()
		if _, err := ask(ctx, "10.7.7.7:8", "x"); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("there is no such host: %v", err)
		}
		if took := n.Now() - start; took != 127*time.Second {
			t.Errorf("that took %v", took)
		}
		if _, err := ask(ctx, "[2001:db8::1]:8", "x"); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("there is no IPv6: %v", err)
		}
		return nil
	})
}

// chatter is a main in which a lot is left to chance.
func chatter(n *asynciotest.Network) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for i := range 5 {
				g.Go(func(ctx context.Context) error {
					for range 3 {
						if err := asyncio.Sleep(ctx, time.Duration(asyncio.Rand(ctx).IntN(1e6))); err != nil {
							return err
						}
						if _, err := ask(ctx, "server:7", fmt.Sprint(i)); err != nil {
							return err
						}
					}
					return nil
				})
			}
			return nil
		})
	}
}

func TestNetworkIsRepeatable(t *testing.T) {
	leavesNothing(t)
	run := func(seed uint64) (uint64, string, uint64) {
		n := asynciotest.NewNetwork(seed, asynciotest.WithLink(asynciotest.Link{
			Latency: asynciotest.LongTail(time.Millisecond, 50*time.Millisecond), Loss: 0.1, Bandwidth: 1e6,
		}))
		n.Host("server").Go(echo)
		n.Run(t, chatter(n))
		return n.Hash(), n.Log().String(), n.Events()
	}
	hash, log, events := run(1)
	for range 3 {
		if h, l, e := run(1); h != hash || l != log || e != events {
			t.Fatalf("the same seed: %x, %x, %d events and %d", hash, h, events, e)
		}
	}
	seen := map[uint64]bool{hash: true}
	for seed := range uint64(20) {
		if h, _, _ := run(seed + 2); seen[h] {
			t.Errorf("seed %d goes the way of another one", seed+2)
		} else {
			seen[h] = true
		}
	}
}

func BenchmarkNetworkEcho(b *testing.B) {
	n := asynciotest.NewNetwork(1, asynciotest.WithLogLimit(0))
	n.Host("server").Go(echo)
	err := n.Simulate(func(ctx context.Context) error {
		r, w, err := asyncio.OpenConnection(ctx, "tcp", "server:7", nil)
		if err != nil {
			return err
		}
		b.ReportAllocs()
		b.ResetTimer()
		before := n.Events()
		for range b.N {
			w.Write([]byte("hello, world\n"))
			if _, err := r.ReadLine(ctx); err != nil {
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

// mute is a protocol that does nothing.
type mute struct{ asyncio.Protocol }

// What needs real descriptors says that there are none.
func TestNetworkUnsupported(t *testing.T) {
	leavesNothing(t)
	real, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer real.Close()
	n := asynciotest.NewNetwork(1)
	n.Run(t, func(ctx context.Context) error {
		check := func(what string, err error) {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s: %v", what, err)
			}
		}
		check("AddReader", asyncio.CurrentTask(ctx).Loop().AddReader(real.(*net.TCPListener), func() {}))
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		adopts := func(op string, err error) {
			usage, ok := errors.AsType[*asyncio.UsageError](err)
			if !ok || usage.Op != op || usage.Cause != errors.ErrUnsupported || !strings.Contains(usage.Text, "the network is simulated") {
				t.Errorf("%s: %v", op, err)
			}
		}
		_, err = asyncio.OpenReadPipe(ctx, r)
		adopts("OpenReadPipe", err)
		_, err = asyncio.OpenWritePipe(ctx, w)
		adopts("OpenWritePipe", err)
		if err := errors.Join(r.Close(), w.Close()); err != nil {
			t.Errorf("they were not left to the caller: %v", err)
		}
		closed := func(c io.Closer) {
			if err := c.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("it was left open: Close = %v", err)
			}
		}
		for op, adopt := range map[string]func(c net.Conn) error{
			"OpenConnection": func(c net.Conn) error {
				_, _, err := asyncio.OpenConnection(ctx, "", "", &asyncio.ConnOptions{Conn: c})
				return err
			},
			"ConnectAcceptedSocket": func(c net.Conn) error {
				_, _, err := asyncio.ConnectAcceptedSocket(ctx, c, func() *mute { return new(mute) }, nil)
				return err
			},
		} {
			c, err := net.Dial("tcp", real.Addr().String())
			if err != nil {
				return err
			}
			adopts(op, adopt(c))
			closed(c)
		}
		_, err = asyncio.StartServer(ctx, "", "", sendBack, &asyncio.ServerOptions{Listener: real})
		adopts("StartServer", err)
		closed(real)
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		_, err = asyncio.OpenDatagramEndpoint(ctx, &asyncio.DatagramOptions{Conn: packets})
		adopts("OpenDatagramEndpoint", err)
		closed(packets)
		return nil
	})
}

func TestNetworkRunEndsTheTest(t *testing.T) {
	leavesNothing(t)
	broken := errors.New("broken")
	r := new(recorder)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n := asynciotest.NewNetwork(77)
		if n.Seed() != 77 {
			t.Errorf("the seed is %d", n.Seed())
		}
		n.Run(r, func(context.Context) error { return broken })
		t.Error("Run returned")
	}()
	<-ended
	if len(r.fatal) != 1 {
		t.Fatalf("Fatal%v", r.fatal)
	}
	if err, _ := r.fatal[0].(error); !errors.Is(err, broken) || !strings.Contains(err.Error(), "seed 77") {
		t.Errorf("Fatal%v", r.fatal)
	}
}

func TestNetworkBroadcast(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	var heard []string
	for _, name := range []string{"a", "b", "c"} {
		n.Host(name).Go(func(ctx context.Context) error {
			e, err := asyncio.OpenDatagramEndpoint(ctx, &asyncio.DatagramOptions{Network: "udp4", LocalAddr: ":9"})
			if err != nil {
				return err
			}
			for {
				if _, _, err := e.ReadFrom(ctx, make([]byte, 10)); err != nil {
					return err
				}
				heard = append(heard, name)
			}
		})
	}
	n.Run(t, func(ctx context.Context) error {
		e, err := asyncio.OpenDatagramEndpoint(ctx, &asyncio.DatagramOptions{Network: "udp4", Broadcast: true})
		if err != nil {
			return err
		}
		defer e.Close()
		everybody := asyncio.SockAddr{AddrPort: netip.MustParseAddrPort("255.255.255.255:9")}
		if err := e.WriteTo([]byte("x"), everybody); err != nil {
			return err
		}
		if err := asyncio.Sleep(ctx, time.Second); err != nil {
			return err
		}
		slices.Sort(heard)
		if !slices.Equal(heard, []string{"a", "b", "c"}) {
			t.Errorf("heard by %q", heard)
		}
		if err := e.WriteTo([]byte("x"), asyncio.SockAddr{AddrPort: netip.MustParseAddrPort("224.0.0.1:9")}); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("a group: %v", err)
		}
		return nil
	})
}

// What a host says to itself takes no time, whether by its own address or by localhost.
func TestNetworkToItself(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	n.Outside().Go(echo)
	n.Run(t, func(ctx context.Context) error {
		for _, address := range []string{"localhost:7", "127.0.0.1:7", "[::1]:7", "0.0.0.0:7", "10.0.255.254:7"} {
			before := n.Now()
			if _, err := asyncio.GetAddrInfo(ctx, "tcp", address); err != nil {
				return err
			}
			lookup := n.Now() - before
			before = n.Now()
			got, err := ask(ctx, address, "me")
			if took := n.Now() - before; got != "me" || err != nil || lookup == 0 && took != 0 {
				t.Errorf("%s: %q, %v after %v", address, got, err, took)
			}
		}
		n.SetLink(n.Outside(), n.Outside(), asynciotest.Link{Latency: asynciotest.Fixed(time.Second)})
		before := n.Now()
		if _, err := ask(ctx, "127.0.0.1:7", "me"); err != nil || n.Now()-before != 4*time.Second {
			t.Errorf("a slow link to itself: %v after %v", err, n.Now()-before)
		}
		return nil
	})
}

func TestNetworkServersThatShareAPort(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	served := make([]int, 2)
	for i := range served {
		n.Host("server").Go(serve("tcp4", ":7", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			served[i]++
			return sendBack(ctx, r, w)
		}, &asyncio.ServerOptions{ReusePort: true}))
	}
	n.Run(t, func(ctx context.Context) error {
		for range 40 {
			if _, err := ask(ctx, "server:7", "x"); err != nil {
				return err
			}
		}
		return nil
	})
	if served[0] < 5 || served[1] < 5 || served[0]+served[1] != 40 {
		t.Errorf("they have served %v", served)
	}
}
