// NetConn under the tests that golang.org/x/net has for every net.Conn.

package nettest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"golang.org/x/net/nettest"
)

func TestNetConn(t *testing.T) {
	certificate, trusted := newCertificate(t)
	for _, transport := range []struct {
		name, network  string
		server, client *tls.Config
	}{
		{"TCP", "tcp", nil, nil},
		{"Unix", "unix", nil, nil},
		{"TLS", "tcp", &tls.Config{Certificates: []tls.Certificate{certificate}}, &tls.Config{RootCAs: trusted}},
	} {
		for _, from := range []struct {
			name string
			view func(h *host, c net.Conn) net.Conn
		}{
			{"from goroutines", func(_ *host, c net.Conn) net.Conn { return c }},
			{"from tasks", func(h *host, c net.Conn) net.Conn { return &taskConn{c, h} }},
		} {
			for _, to := range []string{"package net", "the same loop", "another loop"} {
				t.Run(transport.name+" "+from.name+" to "+to, func(t *testing.T) {
					t.Parallel()
					nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
						p := &pair{t: t, network: transport.network, server: transport.server, client: transport.client, view: from.view}
						return p.make(to)
					})
				})
			}
		}
	}
}

// A host is a loop that runs on a goroutine of its own.
type host struct {
	ctx  context.Context
	loop *asyncio.EventLoop
	stop func() // ends the loop and waits until it has ended
}

func newHost(t *testing.T) *host {
	h := new(host)
	running, ended := make(chan struct{}), make(chan struct{})
	var end *asyncio.Event
	go func() {
		defer close(ended)
		report := asyncio.WithExceptionHandler(func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) {
			t.Errorf("reported: %s: %v", ec.Message, ec.Err)
		})
		err := asyncio.Run(context.Background(), func(ctx context.Context) error {
			end = new(asyncio.Event)
			h.loop = asyncio.CurrentTask(ctx).Loop()
			h.ctx = h.loop.Context(ctx)
			close(running)
			return end.Wait(ctx)
		}, report)
		if err != nil {
			t.Errorf("the loop ended with %v", err)
		}
	}()
	<-running
	h.stop = func() {
		h.loop.CallSoonThreadsafe(end.Set)
		<-ended
	}
	return h
}

// do runs fn as a task of the host, and waits for it.
func do[T any](h *host, fn asyncio.Coroutine[T]) (T, error) {
	return asyncio.RunCoroutineThreadsafe(h.ctx, h.loop, fn).Wait(context.Background())
}

// A taskConn calls each method of a NetConn from a task of its own.
type taskConn struct {
	net.Conn
	host *host
}

func (c *taskConn) Read(p []byte) (int, error) {
	return c.count(func() (int, error) { return c.Conn.Read(p) })
}

func (c *taskConn) Write(p []byte) (int, error) {
	return c.count(func() (int, error) { return c.Conn.Write(p) })
}

func (c *taskConn) Close() error { return c.do(c.Conn.Close) }
func (c *taskConn) SetDeadline(d time.Time) error {
	return c.do(func() error { return c.Conn.SetDeadline(d) })
}
func (c *taskConn) SetReadDeadline(d time.Time) error {
	return c.do(func() error { return c.Conn.SetReadDeadline(d) })
}
func (c *taskConn) SetWriteDeadline(d time.Time) error {
	return c.do(func() error { return c.Conn.SetWriteDeadline(d) })
}

func (c *taskConn) do(fn func() error) error {
	_, err := c.count(func() (int, error) { return 0, fn() })
	return err
}

// count returns what fn does, which a task's future would drop besides an error.
func (c *taskConn) count(fn func() (int, error)) (n int, err error) {
	_, failed := do(c.host, func(context.Context) (struct{}, error) {
		n, err = fn()
		return struct{}{}, nil
	})
	if err == nil && errors.Is(failed, asyncio.ErrLoopClosed) {
		err = net.ErrClosed
	} else if err == nil {
		err = failed
	}
	return n, err
}

// A pair makes two ends of a connection, the first of which is a NetConn.
type pair struct {
	t              *testing.T
	network        string
	server, client *tls.Config
	view           func(h *host, c net.Conn) net.Conn
}

// make makes the ends, and what closes them and all that they need.
func (p *pair) make(to string) (c1, c2 net.Conn, stop func(), err error) {
	h := newHost(p.t)
	conns := make(chan net.Conn, 1)
	address := "127.0.0.1:0"
	if p.network == "unix" {
		address = filepath.Join(p.t.TempDir(), "s")
	}
	srv, err := do(h, func(ctx context.Context) (*asyncio.Server, error) {
		return asyncio.StartServer(ctx, p.network, address, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			conns <- asyncio.NetConn(ctx, r, w)
			if err := w.WaitClosed(ctx); !errors.Is(err, asyncio.ErrCancelled) {
				return nil // the tests close both ends with bytes on their way
			}
			return ctx.Err()
		}, &asyncio.ServerOptions{TLS: p.server})
	})
	if err != nil {
		return nil, nil, nil, err
	}
	if p.network == "tcp" {
		address = srv.Addr().String()
	}
	dialer := h
	switch to {
	case "package net":
		c2, err = p.dial(address)
	case "another loop":
		dialer = newHost(p.t)
		fallthrough
	default:
		c2, err = do(dialer, func(ctx context.Context) (net.Conn, error) {
			r, w, err := asyncio.OpenConnection(ctx, p.network, address, &asyncio.ConnOptions{TLS: p.client})
			if err != nil {
				return nil, err
			}
			return p.view(dialer, asyncio.NetConn(context.WithoutCancel(ctx), r, w)), nil
		})
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("dial: %w", err)
	}
	c1 = p.view(h, <-conns)
	return c1, c2, func() {
		c1.Close()
		c2.Close()
		if dialer != h {
			dialer.stop()
		}
		h.stop()
		if _, err := c1.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			p.t.Errorf("Read after the end of the loop: %v", err)
		}
	}, nil
}

// dial connects by package net.
func (p *pair) dial(address string) (net.Conn, error) {
	if p.client == nil {
		return net.Dial(p.network, address)
	}
	return tls.Dial(p.network, address, p.client)
}

// newCertificate returns the certificate of a server on this machine, and who trusts it.
func newCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
