// TLS clients against servers of crypto/tls and net/http: who is trusted, what a
// handshake that goes wrong says, and that no byte is lost on top of it either.

package asyncio_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// An authority issues certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	template := &x509.Certificate{
		Subject:      pkix.Name{CommonName: "test authority"},
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	a.key = newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue returns a certificate for names and IP addresses, of a server or a client.
func (a *authority) issue(t testing.TB, until time.Time, names ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		Subject:      pkix.Name{CommonName: names[0]},
		SerialNumber: big.NewInt(2), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-2 * time.Hour), NotAfter: until,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func soon() time.Time { return time.Now().Add(time.Hour) }

// tlsPeer is peer with TLS: serve gets the connection before its handshake.
func tlsPeer(t testing.TB, config *tls.Config, serve func(c *tls.Conn) error) (address string) {
	t.Helper()
	return peer(t, func(c *net.TCPConn) error { return serve(tls.Server(c, config)) })
}

// echoTLS sends back what comes, to its end.
func echoTLS(c *tls.Conn) error {
	_, err := io.Copy(c, c)
	c.Close() // fails if the client is gone already
	return err
}

func TestTLS(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	localhost := ca.issue(t, soon(), "localhost", "127.0.0.1")
	for version, name := range map[uint16]string{tls.VersionTLS12: "TLS 1.2", tls.VersionTLS13: "TLS 1.3"} {
		t.Run("STR-003 opening TCP with "+name, func(t *testing.T) {
			address := tlsPeer(t, &tls.Config{Certificates: []tls.Certificate{localhost}, MaxVersion: version, NextProtos: []string{"echo"}}, echoTLS)
			config := &tls.Config{RootCAs: ca.pool, NextProtos: []string{"other", "echo"}}
			runStreams(t, func(ctx context.Context) error {
				r, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{TLS: config})
				if err != nil {
					return err
				}
				state, secure := w.ConnectionState()
				if !secure || state.Version != version || state.NegotiatedProtocol != "echo" || !state.HandshakeComplete {
					t.Errorf("the connection is %t %x %q", secure, state.Version, state.NegotiatedProtocol)
				}
				for i := range 50 {
					line := fmt.Sprintf("line %d\n", i)
					if n, err := w.WriteString(line); n != len(line) || err != nil {
						t.Errorf("Write = %d, %v", n, err)
					}
					got, err := r.ReadLine(ctx)
					sees(t, got, err, line, nil)
				}
				if err := w.WriteLines([][]byte{[]byte("a"), nil, []byte("bc")}); err != nil {
					t.Errorf("WriteLines = %v", err)
				}
				if err := errors.Join(w.WriteEOF(), w.WriteEOF()); err != nil {
					t.Errorf("WriteEOF = %v", err)
				}
				if _, err := w.WriteString("more"); err == nil {
					t.Error("Write after WriteEOF succeeds")
				}
				got, err := r.ReadAll(ctx)
				sees(t, got, err, "abc", nil)
				w.Close()
				return w.WaitClosed(ctx)
			})
			if config.ServerName != "" {
				t.Error("the caller's config was changed")
			}
		})
	}
	t.Run("STR-004 opening a unix socket", func(t *testing.T) {
		path := socketPath(t)
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		served := make(chan error, 1)
		go func() {
			c, err := ln.Accept()
			if err == nil {
				defer c.Close()
				err = echoTLS(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{localhost}}))
			}
			served <- err
		}()
		runStreams(t, func(ctx context.Context) error {
			r, w, err := asyncio.OpenConnection(ctx, "unix", path, &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}})
			if err != nil {
				return err
			}
			w.WriteString("line\n")
			got, err := r.ReadLine(ctx)
			sees(t, got, err, "line\n", nil)
			w.Close()
			return w.WaitClosed(ctx)
		})
		if err := <-served; err != nil {
			t.Errorf("peer: %v", err)
		}
	})
	t.Run("the host is the server's name", func(t *testing.T) {
		named := ca.issue(t, soon(), "name.example")
		var asked string
		address := tlsPeer(t, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			asked = hello.ServerName
			return &named, nil
		}}, echoTLS)
		runStreams(t, func(ctx context.Context) error {
			return open(ctx, "tcp", "name.example:443", &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool}, Resolver: resolvesTo(addrPort(t, address))})
		})
		if asked != "name.example" {
			t.Errorf("the server was asked for %q", asked)
		}
	})
	t.Run("a client's certificate", func(t *testing.T) {
		address := tlsPeer(t, &tls.Config{Certificates: []tls.Certificate{localhost}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool}, func(c *tls.Conn) error {
			if err := c.Handshake(); err != nil {
				return err
			}
			fmt.Fprint(c, c.ConnectionState().PeerCertificates[0].Subject.CommonName)
			return c.Close()
		})
		runStreams(t, func(ctx context.Context) error {
			r, _, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{
				TLS: &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.issue(t, soon(), "somebody")}},
			})
			if err != nil {
				return err
			}
			got, err := r.ReadAll(ctx)
			sees(t, got, err, "somebody", nil)
			return nil
		})
	})
	t.Run("a server of net/http", func(t *testing.T) {
		hs := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s", r.Method, r.Host, body)
		}))
		defer hs.Close()
		pool := x509.NewCertPool()
		pool.AddCert(hs.Certificate())
		runStreams(t, func(ctx context.Context) error {
			r, w, err := asyncio.OpenConnection(ctx, "tcp", hs.Listener.Addr().String(), &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: pool, ServerName: "example.com"}})
			if err != nil {
				return err
			}
			fmt.Fprint(w, "POST / HTTP/1.0\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nbody")
			got, err := r.ReadAll(ctx)
			if !strings.HasSuffix(string(got), "\r\n\r\nPOST example.com body") || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			w.Close()
			return w.WaitClosed(ctx)
		})
	})
}

func TestTLSHandshakeFails(t *testing.T) {
	leavesNothing(t)
	ca, other := newAuthority(t), newAuthority(t)
	trusting := &tls.Config{RootCAs: ca.pool}
	serves := func(cert tls.Certificate) func(c *net.TCPConn) error {
		return func(c *net.TCPConn) error {
			if err := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake(); err == nil {
				return errors.New("the handshake succeeded")
			} else if !strings.Contains(err.Error(), "remote error: tls: ") {
				return fmt.Errorf("the client did not say why: %w", err)
			}
			return nil
		}
	}
	for _, test := range []struct {
		name  string
		serve func(c *net.TCPConn) error
		check func(err error) bool
	}{
		{"a certificate for another name", serves(ca.issue(t, soon(), "other.example")), func(err error) bool { return errors.As(err, new(x509.HostnameError)) }},
		{"an unknown authority", serves(other.issue(t, soon(), "127.0.0.1")), func(err error) bool { return errors.As(err, new(x509.UnknownAuthorityError)) }},
		{"an expired certificate", serves(ca.issue(t, time.Now().Add(-time.Hour), "127.0.0.1")), func(err error) bool {
			var invalid x509.CertificateInvalidError
			return errors.As(err, &invalid) && invalid.Reason == x509.Expired
		}},
		{"a server that closes", func(c *net.TCPConn) error {
			_, err := c.Read(make([]byte, 10<<10))
			return err
		}, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"a server that resets", func(c *net.TCPConn) error {
			c.Read(make([]byte, 10<<10))
			return reset(c)
		}, func(err error) bool { return errors.Is(err, syscall.ECONNRESET) }},
		{"a server that closes in the middle of a record", func(c *net.TCPConn) error {
			c.Read(make([]byte, 10<<10))
			_, err := io.WriteString(c, "\x16\x03\x03\x01\x00\x02")
			return err
		}, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"a server of another version", func(c *net.TCPConn) error {
			tls.Server(c, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "127.0.0.1")}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}).Handshake()
			return nil
		}, func(err error) bool { return strings.Contains(err.Error(), "protocol version not supported") }},
		{"a server that sends a byte now and then, and is silent", func(c *net.TCPConn) error {
			for _, b := range []byte("\x16\x03\x03\x01\x00\x02") {
				time.Sleep(time.Millisecond)
				c.Write([]byte{b})
			}
			io.Copy(io.Discard, c)
			return nil
		}, isTimeout},
		{"a server that sends something else", func(c *net.TCPConn) error {
			c.Read(make([]byte, 10<<10))
			_, err := io.WriteString(c, "HTTP/1.0 400 Bad Request\r\n\r\n")
			io.Copy(io.Discard, c)
			return err
		}, func(err error) bool { return errors.As(err, new(tls.RecordHeaderError)) }},
		{"TLS-015 a server that is silent", func(c *net.TCPConn) error {
			io.Copy(io.Discard, c)
			return nil
		}, func(err error) bool {
			var timeout net.Error
			return errors.Is(err, os.ErrDeadlineExceeded) && errors.As(err, &timeout) && timeout.Timeout()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			address := peer(t, test.serve)
			runStreams(t, func(ctx context.Context) error {
				before := len(descriptors())
				r, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{TLS: trusting, TLSHandshakeTimeout: handshakeTimeout(test.name)})
				var op *net.OpError
				if r != nil || w != nil || !test.check(err) || !errors.As(err, &op) || op.Op != "dial" || !strings.Contains(err.Error(), "TLS handshake") {
					t.Errorf("OpenConnection = %v", err)
				}
				for range 3 { // the peer may have to go on first
					asyncio.Yield(ctx)
				}
				if left := ownConnections(t, address); left > 0 {
					t.Errorf("%d descriptors are open, before %d", len(descriptors()), before)
				}
				return nil
			})
		})
	}
	t.Run("a verification that panics", func(t *testing.T) {
		address := peer(t, func(c *net.TCPConn) error {
			tls.Server(c, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "127.0.0.1")}}).Handshake()
			io.Copy(io.Discard, c) // until the client has closed
			return nil
		})
		runStreams(t, func(ctx context.Context) error {
			config := trusting.Clone()
			config.VerifyConnection = func(tls.ConnectionState) error { panic("oh") }
			task := asyncio.Go(ctx, func(ctx context.Context) error {
				return open(ctx, "tcp", address, &asyncio.ConnOptions{TLS: config})
			})
			var p *asyncio.PanicError
			if err := task.Wait(ctx); !errors.As(err, &p) || p.Value != "oh" {
				t.Errorf("OpenConnection = %v", err)
			}
			if left := ownConnections(t, address); left > 0 {
				t.Errorf("%d connections are left", left)
			}
			return nil
		})
	})
}

// handshakeTimeout is long, unless the test waits for it.
func handshakeTimeout(name string) time.Duration {
	if strings.HasSuffix(name, "is silent") {
		return 20 * time.Millisecond
	}
	return 0
}

// ownConnections counts the sockets of this process that are connected to address.
// The portable backend gets time to close them: it does so behind what it sends.
func ownConnections(t testing.TB, address string) (n int) {
	t.Helper()
	n = countConnections(t, address)
	for i := 0; onPortable && i < 10_000 && n > 0; i++ {
		time.Sleep(time.Millisecond)
		n = countConnections(t, address)
	}
	return n
}

func countConnections(t testing.TB, address string) (n int) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		return 0 // not on this system
	}
	port := fmt.Sprintf("0100007F:%04X", addrPort(t, address).Port())
	open := strings.Join(descriptors(), " ")
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 9 && f[2] == port && strings.Contains(open, "socket:["+f[9]+"]") {
			n++
		}
	}
	return n
}

// TestTLSBothWays sends in both directions at once: neither waits for the other.
func TestTLSBothWays(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	cert := ca.issue(t, soon(), "127.0.0.1")
	data := pattern(scaled(30<<20) + 12345)
	for version, name := range map[uint16]string{tls.VersionTLS12: "TLS 1.2", tls.VersionTLS13: "TLS 1.3"} {
		t.Run(name, func(t *testing.T) {
			address := tlsPeer(t, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: version}, func(c *tls.Conn) error {
				sent := make(chan error, 1)
				go func() {
					_, err := c.Write(data)
					sent <- errors.Join(err, c.CloseWrite())
				}()
				got, err := io.ReadAll(c)
				if err == nil && !bytes.Equal(got, data) {
					err = fmt.Errorf("the peer got %d bytes of %d", len(got), len(data))
				}
				return errors.Join(err, <-sent)
			})
			runStreams(t, func(ctx context.Context) error {
				r, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool}})
				if err != nil {
					return err
				}
				sending := asyncio.Go(ctx, func(ctx context.Context) error {
					for p := range slices.Chunk(data, 100<<10) {
						if _, err := w.Write(p); err != nil {
							return err
						}
						if err := w.Drain(ctx); err != nil {
							return err
						}
					}
					return w.WriteEOF()
				})
				got, err := r.ReadAll(ctx)
				if !bytes.Equal(got, data) || err != nil {
					t.Errorf("got %d bytes of %d, %v", len(got), len(data), err)
				}
				err = sending.Wait(ctx)
				w.Close()
				return errors.Join(err, w.WaitClosed(ctx))
			})
		})
	}
}

func TestTLSEnd(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	cert := ca.issue(t, soon(), "127.0.0.1")
	server := &tls.Config{Certificates: []tls.Certificate{cert}}
	opts := &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool, Time: time.Now}} // also on a virtual clock
	t.Run("the alert that ends the stream", func(t *testing.T) {
		address := tlsPeer(t, server, func(c *tls.Conn) error {
			io.WriteString(c, "all of it")
			return c.Close()
		})
		runStreams(t, func(ctx context.Context) error {
			r, _, err := asyncio.OpenConnection(ctx, "tcp", address, opts)
			if err != nil {
				return err
			}
			got, err := r.ReadAll(ctx)
			sees(t, got, err, "all of it", nil)
			got, err = readSome(ctx, r, 1)
			sees(t, got, err, "", io.EOF)
			return nil
		})
	})
	for where, want := range map[string]error{"between records": io.EOF, "inside a record": io.ErrUnexpectedEOF} {
		t.Run("a stream that is cut "+where, func(t *testing.T) {
			address := peer(t, func(c *net.TCPConn) error {
				tc := tls.Server(c, server)
				if _, err := io.WriteString(tc, "not all"); err != nil {
					return err
				}
				if where == "inside a record" {
					c.Write([]byte{23, 3, 3, 0, 100, 1, 2, 3}) // the header announces more
				}
				return nil // closes without the alert
			})
			runStreams(t, func(ctx context.Context) error {
				r, _, err := asyncio.OpenConnection(ctx, "tcp", address, opts)
				if err != nil {
					return err
				}
				got, err := readSome(ctx, r, 100)
				sees(t, got, err, "not all", nil)
				for range 2 {
					got, err = readSome(ctx, r, 100)
					sees(t, got, err, "", want)
				}
				if r.AtEOF() != (want == io.EOF) {
					t.Errorf("AtEOF() = %v after %v", r.AtEOF(), want)
				}
				return nil
			})
		})
	}
	t.Run("Close sends what is buffered, and the alert", func(t *testing.T) {
		data := pattern(scaled(10 << 20))
		closed := newGate()
		address := tlsPeer(t, server, func(c *tls.Conn) error {
			if err := c.Handshake(); err != nil {
				return err
			}
			closed.pass()
			all, err := io.ReadAll(c) // an end without the alert is an error
			if err == nil && !bytes.Equal(all, data) {
				err = fmt.Errorf("%d bytes of %d arrived", len(all), len(data))
			}
			return err
		})
		runStreams(t, func(ctx context.Context) error {
			_, w, err := asyncio.OpenConnection(ctx, "tcp", address, opts)
			if err != nil {
				return err
			}
			w.Write(data)
			w.Close()
			if _, err := w.WriteString("more"); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Write after Close = %v", err)
			}
			closed.open()
			return w.WaitClosed(ctx)
		})
	})
	t.Run("a peer that does not read is not waited for for ever", func(t *testing.T) {
		shaken, over := newGate(), newGate()
		address := tlsPeer(t, server, func(c *tls.Conn) error {
			err := c.Handshake()
			shaken.open()
			over.pass()
			return err
		})
		runStreams(t, func(ctx context.Context) error {
			defer over.open()
			o := *opts
			o.TLSShutdownTimeout = 20 * time.Millisecond
			_, w, err := asyncio.OpenConnection(ctx, "tcp", address, &o)
			if err != nil {
				return err
			}
			if err := shaken.waitIn(ctx); err != nil { // the peer's is done after ours
				return err
			}
			draining := stuck(t, ctx, w)
			w.Close()
			if err := draining.Wait(ctx); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Drain = %v", err)
			}
			if err := w.WaitClosed(ctx); err != nil {
				t.Errorf("WaitClosed = %v", err)
			}
			return nil
		}, asynciotest.WithVirtualClock())
	})
}

func TestTLSInterrupted(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue(t, soon(), "127.0.0.1")
	sent := []byte("alpha\nbeta\ngamma delta\n")
	opts := &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool, Time: time.Now}} // also on a virtual clock
	t.Run("the handshake", func(t *testing.T) {
		interruptEverywhere(t, func(t *testing.T) interruption {
			address := tlsPeer(t, &tls.Config{Certificates: []tls.Certificate{cert}}, func(c *tls.Conn) error {
				if c.Handshake() == nil {
					c.Write(sent)
					c.Close()
				}
				return nil
			})
			return interruption{
				prepare: func(ctx context.Context) error { return nil },
				operation: func(ctx context.Context) error {
					r, w, err := asyncio.OpenConnection(ctx, "tcp", address, opts)
					if err != nil {
						return err
					}
					defer w.Abort()
					got, err := r.ReadAll(ctx)
					if err == nil && !bytes.Equal(got, sent) {
						t.Errorf("got %q", got)
					}
					return err
				},
				check: func(ctx context.Context) error {
					if left := ownConnections(t, address); left > 0 {
						t.Errorf("%d connections are left", left)
					}
					return nil
				},
			}
		})
	})
	t.Run("StartTLS of both ends", func(t *testing.T) {
		servers := &tls.Config{Certificates: []tls.Certificate{cert}, Time: time.Now}
		interruptEverywhere(t, func(t *testing.T) interruption {
			var client, server stream
			var end func()
			return interruption{
				prepare: func(ctx context.Context) error {
					client, server, end = streamPair(t, ctx, "tcp", "127.0.0.1:0")
					return nil
				},
				operation: func(ctx context.Context) error {
					return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
						g.Go(func(ctx context.Context) error {
							return client.w.StartTLS(ctx, &tls.Config{RootCAs: ca.pool, ServerName: "127.0.0.1", Time: time.Now}, nil)
						})
						g.Go(func(ctx context.Context) error { return server.w.StartTLS(ctx, servers, nil) })
						return nil
					})
				},
				check: func(ctx context.Context) error {
					if !client.w.IsClosing() && !server.w.IsClosing() {
						client.w.WriteString("hello\n")
						line, err := server.r.ReadLine(ctx)
						sees(t, line, err, "hello\n", nil)
					}
					end()
					return nil
				},
			}
		})
	})
	t.Run("reads", func(t *testing.T) {
		interruptEverywhere(t, func(t *testing.T) interruption {
			address := tlsPeer(t, &tls.Config{Certificates: []tls.Certificate{cert}}, func(c *tls.Conn) error {
				for p := range slices.Chunk(sent, 3) {
					if _, err := c.Write(p); err != nil {
						return err
					}
				}
				return c.Close()
			})
			var s stream
			var got []byte
			read := func(ctx context.Context) error {
				for line, err := range s.r.Lines(ctx) {
					if err != nil {
						return err
					}
					got = append(got, line...)
				}
				return nil
			}
			return interruption{
				prepare: func(ctx context.Context) (err error) {
					s.r, s.w, err = asyncio.OpenConnection(ctx, "tcp", address, opts)
					return err
				},
				operation: func(ctx context.Context) error {
					asyncio.Yield(ctx)
					return read(ctx)
				},
				check: func(ctx context.Context) error {
					err := read(ctx)
					if !bytes.Equal(got, sent) {
						t.Errorf("got %q, sent was %q", got, sent)
					}
					s.w.Close()
					return errors.Join(err, s.w.WaitClosed(ctx))
				},
			}
		})
	})
}
