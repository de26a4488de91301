// TLS servers: each end against the other end of crypto/tls and of its own, what a
// handshake that fails says on both sides, and that it harms nobody else.

package asyncio_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
	"github.com/goasyncio/asyncio/internal/seam"
)

var tlsVersions = []struct {
	name    string
	version uint16
}{{"TLS 1.2", tls.VersionTLS12}, {"TLS 1.3", tls.VersionTLS13}}

// echoLines is a handler that sends back what comes, to its end.
func echoLines(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
	for line, err := range r.Lines(ctx) {
		if err != nil {
			return err
		}
		w.Write(line)
		if err := w.Drain(ctx); err != nil {
			return err
		}
	}
	return nil
}

// withTLSServer runs fn with a server of the library.
func withTLSServer(t testing.TB, network string, config *tls.Config, handler asyncio.Handler, opts *asyncio.ServerOptions, fn func(ctx context.Context, addr net.Addr) error, run ...asyncio.RunOption) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = socketPath(t)
	}
	runStreams(t, func(ctx context.Context) error {
		o := asyncio.ServerOptions{}
		if opts != nil {
			o = *opts
		}
		o.TLS = config
		srv, err := asyncio.StartServer(ctx, network, address, handler, &o)
		if err != nil {
			return err
		}
		return errors.Join(fn(ctx, srv.Addr()), srv.Close(), srv.WaitClosed(ctx))
	}, run...)
}

// greets is a client of crypto/tls: it sends a line, wants it back, ends its half and
// wants the end.
func greets(c net.Conn, config *tls.Config) (tls.ConnectionState, error) {
	tc := tls.Client(c, config)
	defer tc.Close()
	if err := tc.Handshake(); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := io.WriteString(tc, "hello\n"); err != nil {
		return tls.ConnectionState{}, err
	}
	line, err := bufio.NewReader(tc).ReadString('\n')
	if err == nil && line != "hello\n" {
		err = fmt.Errorf("got %q", line)
	}
	if err == nil {
		err = tc.CloseWrite()
	}
	if err == nil {
		if _, err = tc.Read(make([]byte, 1)); err == io.EOF {
			err = nil
		}
	}
	return tc.ConnectionState(), err
}

// dialsAndGreets is greets for tasks.
func dialsAndGreets(ctx context.Context, addr net.Addr, config *tls.Config) (tls.ConnectionState, error) {
	return asyncio.ToThread(ctx, func(context.Context) (tls.ConnectionState, error) {
		c, err := net.Dial(addr.Network(), addr.String())
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(30 * time.Second))
		return greets(c, config)
	})
}

// greetsHere is greets by a client of the library.
func greetsHere(ctx context.Context, addr net.Addr, config *tls.Config) (tls.ConnectionState, error) {
	r, w, err := asyncio.OpenConnection(ctx, addr.Network(), addr.String(), &asyncio.ConnOptions{TLS: config})
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer w.Close()
	w.WriteString("hello\n")
	line, err := r.ReadLine(ctx)
	if err == nil && string(line) != "hello\n" {
		err = fmt.Errorf("got %q", line)
	}
	if err == nil {
		err = w.WriteEOF()
	}
	if err == nil {
		_, err = r.ReadAll(ctx)
	}
	state, _ := w.ConnectionState()
	w.Close()
	return state, errors.Join(err, w.WaitClosed(ctx))
}

// TestTLSEnds lets each end meet the other end of crypto/tls and of its own.
func TestTLSEnds(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	localhost, client := ca.issue(t, soon(), "localhost", "127.0.0.1"), ca.issue(t, soon(), "somebody")
	for _, network := range []string{"tcp", "unix"} {
		for _, v := range tlsVersions {
			// Two connections: the second one resumes the first.
			meet := func(t *testing.T, greet func(ctx context.Context, addr net.Addr, config *tls.Config) (tls.ConnectionState, error),
				serve func(config *tls.Config, saw chan<- tls.ConnectionState, meet func(ctx context.Context, addr net.Addr) error)) {
				clients := &tls.Config{
					RootCAs: ca.pool, ServerName: "localhost", NextProtos: []string{"other", "echo"}, Certificates: []tls.Certificate{client},
					ClientSessionCache: tls.NewLRUClientSessionCache(1), MaxVersion: v.version,
				}
				servers := &tls.Config{
					GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
						if hello.ServerName != "localhost" {
							return nil, fmt.Errorf("asked for %q", hello.ServerName)
						}
						return &localhost, nil
					},
					NextProtos: []string{"echo", "more"}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool, MinVersion: tls.VersionTLS12,
				}
				saw := make(chan tls.ConnectionState, 2)
				serve(servers, saw, func(ctx context.Context, addr net.Addr) error {
					for i := range 2 {
						here, err := greet(ctx, addr, clients)
						if err != nil {
							return fmt.Errorf("connection %d: %w", i, err)
						}
						there := <-saw
						for end, state := range map[string]tls.ConnectionState{"client": here, "server": there} {
							if state.Version != v.version || state.NegotiatedProtocol != "echo" || !state.HandshakeComplete || state.CipherSuite == 0 {
								t.Errorf("%s: %x %q %v", end, state.Version, state.NegotiatedProtocol, state.HandshakeComplete)
							}
							if state.DidResume != (i == 1) {
								t.Errorf("%s, connection %d: resumed = %v", end, i, state.DidResume)
							}
						}
						if here.PeerCertificates[0].Subject.CommonName != "localhost" || there.PeerCertificates[0].Subject.CommonName != "somebody" {
							t.Errorf("the certificates are of %v and %v", here.PeerCertificates[0].Subject, there.PeerCertificates[0].Subject)
						}
						if there.ServerName != "localhost" {
							t.Errorf("the server was asked for %q", there.ServerName)
						}
					}
					return nil
				})
			}
			ours := func(t *testing.T) func(*tls.Config, chan<- tls.ConnectionState, func(context.Context, net.Addr) error) {
				return func(config *tls.Config, saw chan<- tls.ConnectionState, meet func(ctx context.Context, addr net.Addr) error) {
					withTLSServer(t, network, config, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
						state, _ := w.ConnectionState()
						saw <- state
						return echoLines(ctx, r, w)
					}, nil, meet)
				}
			}
			theirs := func(t *testing.T) func(*tls.Config, chan<- tls.ConnectionState, func(context.Context, net.Addr) error) {
				return func(config *tls.Config, saw chan<- tls.ConnectionState, meet func(ctx context.Context, addr net.Addr) error) {
					address := "127.0.0.1:0"
					if network == "unix" {
						address = socketPath(t)
					}
					ln, err := tls.Listen(network, address, config)
					if err != nil {
						t.Fatal(err)
					}
					over := newGate()
					go func() {
						defer over.open()
						for {
							c, err := ln.Accept()
							if err != nil {
								return
							}
							tc := c.(*tls.Conn)
							if tc.Handshake() == nil {
								saw <- tc.ConnectionState()
								io.Copy(tc, tc)
							}
							tc.Close()
						}
					}()
					defer over.pass()
					defer ln.Close()
					runStreams(t, func(ctx context.Context) error { return meet(ctx, ln.Addr()) })
				}
			}
			server, client := "EV-050", "EV-031"
			if network == "unix" {
				server, client = "EV-051", "EV-032"
			}
			what := v.name + " over " + network
			t.Run(server+" a client of crypto/tls, "+what, func(t *testing.T) { meet(t, dialsAndGreets, ours(t)) })
			t.Run(client+" a server of crypto/tls, "+what, func(t *testing.T) { meet(t, greetsHere, theirs(t)) })
			t.Run("EV-054 both ends here, "+what, func(t *testing.T) { meet(t, greetsHere, ours(t)) })
		}
	}
}

func TestTLSServerChooses(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	t.Run("a config for each name, that may be awaited", func(t *testing.T) {
		configs := map[string]*tls.Config{}
		for _, name := range []string{"a.example", "b.example"} {
			configs[name] = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), name)}}
		}
		type key struct{}
		config := &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			ctx := hello.Context()
			if ctx.Value(key{}) != "value" || asyncio.CurrentTask(ctx) == nil {
				t.Error("the context is not that of the task")
			}
			if err := asyncio.Sleep(ctx, time.Millisecond); err != nil {
				return nil, err
			}
			return configs[hello.ServerName], nil
		}}
		runStreams(t, func(ctx context.Context) error {
			srv, err := asyncio.StartServer(context.WithValue(ctx, key{}, "value"), "tcp", "127.0.0.1:0", echoLines, &asyncio.ServerOptions{TLS: config})
			if err != nil {
				return err
			}
			cache := tls.NewLRUClientSessionCache(4)
			for i := range 2 {
				for name := range configs {
					state, err := greetsHere(ctx, srv.Addr(), &tls.Config{RootCAs: ca.pool, ServerName: name, ClientSessionCache: cache})
					if err != nil {
						return err
					}
					if got := state.PeerCertificates[0].Subject.CommonName; got != name || state.DidResume != (i == 1) {
						t.Errorf("asked for %s, got %s, resumed = %v", name, got, state.DidResume)
					}
				}
			}
			return closes(ctx, srv)
		})
	})
	t.Run("the time limit ends a function that awaits", func(t *testing.T) {
		var cause error
		config := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			cause = asyncio.Sleep(hello.Context(), time.Hour)
			return nil, cause
		}}
		var failed []error
		opts := &asyncio.ServerOptions{TLSHandshakeTimeout: 300 * time.Millisecond, HandshakeFailed: func(_ net.Addr, err error) { failed = append(failed, err) }}
		withTLSServer(t, "tcp", config, echoLines, opts, func(ctx context.Context, addr net.Addr) error {
			if _, err := dialsAndGreets(ctx, addr, &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}); err == nil {
				t.Error("the handshake succeeds")
			}
			if !errors.Is(cause, asyncio.ErrCancelled) || len(failed) != 1 || !errors.Is(failed[0], asyncio.ErrTimeout) {
				t.Errorf("Sleep = %v, the failures are %v", cause, failed)
			}
			return nil
		})
	})
}

// TestTLSServerHandshakeFails: what each side is told.
func TestTLSServerHandshakeFails(t *testing.T) {
	leavesNothing(t)
	ca, other := newAuthority(t), newAuthority(t)
	localhost := ca.issue(t, soon(), "localhost")
	dials := func(config *tls.Config) func(c net.Conn) error {
		return func(c net.Conn) error {
			tc := tls.Client(c, config)
			err := tc.Handshake()
			if err == nil { // TLS 1.3: the server may say no later
				_, err = tc.Read(make([]byte, 1))
			}
			return err
		}
	}
	sends := func(p string) func(c net.Conn) error {
		return func(c net.Conn) error {
			if _, err := io.WriteString(c, p); err != nil {
				return err
			}
			answer, err := io.ReadAll(c)
			return errors.Join(err, fmt.Errorf("answer %q", answer))
		}
	}
	hello := clientHello(t)
	for _, test := range []struct {
		name   string
		server *tls.Config
		client func(c net.Conn) error
		there  string // what the client finds
		here   string
		is     func(err error) bool
	}{
		{"EV-034 EV-052 a client that does not trust the certificate", nil, dials(&tls.Config{ServerName: "localhost"}),
			"certificate signed by unknown authority", "remote error: tls: bad certificate", nil},
		{"EV-053 a client that wants another name", nil, dials(&tls.Config{RootCAs: ca.pool, ServerName: "other.example"}),
			"not other.example", "remote error: tls: bad certificate", nil},
		{"no common version", &tls.Config{MinVersion: tls.VersionTLS13}, dials(&tls.Config{RootCAs: ca.pool, ServerName: "localhost", MaxVersion: tls.VersionTLS12}),
			"remote error: tls: protocol version not supported", "client offered only unsupported versions", nil},
		{"no common cipher", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}},
			dials(&tls.Config{RootCAs: ca.pool, ServerName: "localhost", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}}),
			"remote error: tls: handshake failure", "no cipher suite supported by both client and server", nil},
		{"no common protocol", &tls.Config{NextProtos: []string{"a"}}, dials(&tls.Config{RootCAs: ca.pool, ServerName: "localhost", NextProtos: []string{"b"}}),
			"remote error: tls: no application protocol", "client requested unsupported application protocols", nil},
		{"a client without a certificate", &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool}, dials(&tls.Config{RootCAs: ca.pool, ServerName: "localhost"}),
			"remote error: tls: certificate required", "client didn't provide a certificate", nil},
		{"a client's certificate of an unknown authority", &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool},
			dials(&tls.Config{RootCAs: ca.pool, ServerName: "localhost", Certificates: []tls.Certificate{other.issue(t, soon(), "somebody")}, MaxVersion: tls.VersionTLS12}),
			"remote error: tls: ", "certificate signed by unknown authority", func(err error) bool { return errors.As(err, new(*tls.CertificateVerificationError)) }},
		{"a client that speaks HTTP", nil, sends("GET / HTTP/1.1\r\nHost: example.com\r\nCookie: " + strings.Repeat("x", 20000) + "\r\n\r\n"),
			`answer ""`, "first record does not look like a TLS handshake", func(err error) bool { return errors.As(err, new(tls.RecordHeaderError)) }},
		{"a client that sends noise", nil, sends(string(pattern(4000))),
			`answer ""`, "first record does not look like a TLS handshake", func(err error) bool { return errors.As(err, new(tls.RecordHeaderError)) }},
		{"a record that is too long, and more behind it", nil, sends("\x16\x03\x01\xff\xff" + string(pattern(4000))),
			`answer "\x15\x03\x01\x00\x02\x02\x16"`, "oversized record", func(err error) bool { return errors.As(err, new(tls.RecordHeaderError)) }},
		{"a client that says nothing and closes", nil, func(c net.Conn) error { return errors.New("closes") },
			"closes", "TLS handshake: unexpected EOF", func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"TLS-005 a client that closes in the middle", nil, func(c net.Conn) error {
			c.Write(hello[:len(hello)/2])
			return errors.New("closes")
		}, "closes", "TLS handshake: unexpected EOF", func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"TLSP-006 a client that resets in the middle", nil, func(c net.Conn) error {
			c.Write(hello)
			c.Read(make([]byte, 1)) // the server has begun
			c.(*net.TCPConn).SetLinger(0)
			return errors.New("resets")
		}, "resets", "connection reset by peer", func(err error) bool { return errors.Is(err, syscall.ECONNRESET) }},
		{"TLS-003 TLSP-008 a client that is silent", nil, func(c net.Conn) error {
			_, err := c.Read(make([]byte, 1))
			return err
		}, "connection reset by peer", "TLS handshake: not done within 50ms", isTimeout},
		{"a client that sends a byte at a time", nil, func(c net.Conn) error {
			for _, b := range hello {
				if _, err := c.Write([]byte{b}); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
			}
			return errors.New("sent it all")
		}, "", "TLS handshake: not done within 50ms", isTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			var reported reporting
			runOptions := []asyncio.RunOption{reported.option()}
			config := &tls.Config{}
			if test.server != nil {
				config = test.server.Clone()
			}
			config.Certificates = []tls.Certificate{localhost}
			opts := &asyncio.ServerOptions{TLSHandshakeTimeout: 10 * time.Second}
			if strings.Contains(test.here, "50ms") {
				opts.TLSHandshakeTimeout = 50 * time.Millisecond
			}
			var remote net.Addr
			var failure error
			served := 0
			handler := func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				served++
				return echoLines(ctx, r, w)
			}
			for _, told := range []bool{true, false} {
				served = 0
				if told {
					opts.HandshakeFailed = func(addr net.Addr, err error) { remote, failure = addr, err }
				} else {
					opts.HandshakeFailed = nil
				}
				withTLSServer(t, "tcp", config, handler, opts, func(ctx context.Context, addr net.Addr) error {
					var local net.Addr
					_, err := asyncio.ToThread(ctx, func(context.Context) (struct{}, error) {
						c, err := net.Dial("tcp", addr.String())
						if err != nil {
							return struct{}{}, err
						}
						defer c.Close()
						c.SetDeadline(time.Now().Add(20 * time.Second))
						local = c.LocalAddr()
						return struct{}{}, test.client(c)
					})
					if err == nil || !strings.Contains(err.Error(), test.there) {
						t.Errorf("the client found %v, want %s", err, test.there)
					}
					for deadline := time.Now().Add(10 * time.Second); failure == nil && len(reported.reports) == 0 && time.Now().Before(deadline); {
						asyncio.Sleep(ctx, time.Millisecond)
					}
					if served != 0 {
						t.Error("the handler was called")
					}
					if told && remote.String() != local.String() {
						t.Errorf("the remote address is %v, want %v", remote, local)
					}
					if test.server == nil && !strings.Contains(test.here, "50ms") { // others are served
						_, err = dialsAndGreets(ctx, addr, &tls.Config{RootCAs: ca.pool, ServerName: "localhost"})
						return err
					}
					return nil
				}, runOptions...)
				if !told {
					break
				}
				var op *net.OpError
				if failure == nil || !strings.Contains(failure.Error(), test.here) || !errors.As(failure, &op) || op.Op != "accept" || op.Addr.String() != remote.String() ||
					test.is != nil && !test.is(failure) {
					t.Errorf("the failure is %v, want %s", failure, test.here)
				}
				reported.expect(t)
				failure = nil
			}
			if len(reported.reports) != 1 || !strings.HasPrefix(reported.reports[0], "TLS handshake failed: accept tcp 127.0.0.1:") || !strings.Contains(reported.reports[0], test.here) {
				t.Errorf("reported %q", reported.reports)
			}
		})
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.Is(err, asyncio.ErrTimeout) && errors.Is(err, os.ErrDeadlineExceeded) && errors.As(err, &e) && e.Timeout()
}

// clientHello is the first message of a client.
func clientHello(t testing.TB) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer there.Close()
	go func() {
		tls.Client(here, &tls.Config{ServerName: "localhost"}).Handshake()
		here.Close()
	}()
	p := make([]byte, 10<<10)
	n, err := there.Read(p)
	if err != nil {
		t.Fatal(err)
	}
	return p[:n]
}

// TestTLSServerSilentClients: those who say nothing hold up nobody.
func TestTLSServerSilentClients(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "localhost")}, Time: time.Now}
	const most = 200
	clock := newJumpClock()
	failures := map[string]int{}
	opts := &asyncio.ServerOptions{TLSHandshakeTimeout: time.Minute, HandshakeFailed: func(_ net.Addr, err error) {
		switch {
		case errors.Is(err, asyncio.ErrTimeout):
			failures["timeout"]++
		case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
			failures["gone"]++
		default:
			t.Error(err)
		}
	}}
	withTLSServer(t, "tcp", config, echoLines, opts, func(ctx context.Context, addr net.Addr) error {
		conns, err := asyncio.ToThread(ctx, func(context.Context) (conns []net.Conn, err error) {
			for i := range most {
				c, err := net.Dial("tcp", addr.String())
				if err != nil {
					return conns, err
				}
				switch i % 4 {
				case 0: // vanishes
					c.Close()
				case 1:
					c.(*net.TCPConn).SetLinger(0)
					c.Close()
				default: // says nothing
					conns = append(conns, c)
				}
			}
			return conns, nil
		})
		defer func() {
			for _, c := range conns {
				c.Close()
			}
		}()
		if err != nil {
			return err
		}
		for range 3 {
			if _, err := dialsAndGreets(ctx, addr, &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}); err != nil {
				return err
			}
		}
		if failures["gone"] != most/2 || failures["timeout"] != 0 {
			t.Errorf("failures before the limit: %v", failures)
		}
		clock.jump(2 * time.Minute)
		asyncio.Sleep(ctx, time.Millisecond)
		if failures["timeout"] != most/2 {
			t.Errorf("failures after the limit: %v", failures)
		}
		if n := asyncio.CurrentTask(ctx).Loop().Timers(); n != 0 {
			t.Errorf("%d timers are left", n)
		}
		return nil
	}, onClock(clock))
}

// A jumpClock is a wall clock that can be put forward.
type jumpClock struct {
	start  time.Time
	jumped time.Duration
}

func newJumpClock() *jumpClock { return &jumpClock{start: time.Now()} }

func (c *jumpClock) jump(d time.Duration) { c.jumped += d }
func (c *jumpClock) Now() time.Duration   { return time.Since(c.start) + c.jumped }
func (c *jumpClock) Wall() time.Time      { return c.start.Add(c.Now()) }

func (c *jumpClock) Wait(d time.Duration, _ bool, poll func(time.Duration) (bool, error)) error {
	_, err := poll(d)
	return err
}

func onClock(c seam.Clock) asyncio.LoopOption {
	return seam.LoopOption(seam.Seams{NewClock: func() seam.Clock { return c }}).(asyncio.LoopOption)
}

// TestTLSPanics: a function of the config that panics ends its connection only.
func TestTLSPanics(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	localhost := ca.issue(t, soon(), "localhost")
	clients := &tls.Config{RootCAs: ca.pool, ServerName: "localhost", Certificates: []tls.Certificate{ca.issue(t, soon(), "somebody")}}
	for name, set := range map[string]func(config *tls.Config, boom func()){
		"GetConfigForClient": func(c *tls.Config, boom func()) {
			c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { boom(); return nil, nil }
		},
		"GetCertificate": func(c *tls.Config, boom func()) {
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { boom(); return &localhost, nil }
		},
		"VerifyPeerCertificate": func(c *tls.Config, boom func()) {
			c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { boom(); return nil }
		},
		"VerifyConnection": func(c *tls.Config, boom func()) {
			c.VerifyConnection = func(tls.ConnectionState) error { boom(); return nil }
		},
	} {
		for _, v := range tlsVersions {
			t.Run(name+" of a server, "+v.name, func(t *testing.T) {
				var reported reporting
				calls := 0
				config := &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: v.version}
				if name != "GetCertificate" {
					config.Certificates = []tls.Certificate{localhost}
				}
				set(config, func() {
					if calls++; calls == 1 {
						panic("oh")
					}
				})
				told := func(net.Addr, error) { t.Error("HandshakeFailed was told of a panic") }
				withTLSServer(t, "tcp", config, echoLines, &asyncio.ServerOptions{HandshakeFailed: told}, func(ctx context.Context, addr net.Addr) error {
					if _, err := dialsAndGreets(ctx, addr, clients); err == nil {
						t.Error("the connection stands")
					}
					_, err := dialsAndGreets(ctx, addr, clients)
					return err
				}, reported.option())
				if len(reported.reports) != 1 || !strings.HasPrefix(reported.reports[0], "TLS handshake failed: accept tcp ") || !strings.Contains(reported.reports[0], "panic: oh") {
					t.Errorf("reported %q", reported.reports)
				}
			})
		}
	}
	t.Run("HandshakeFailed", func(t *testing.T) {
		var reported reporting
		config := &tls.Config{Certificates: []tls.Certificate{localhost}}
		opts := &asyncio.ServerOptions{HandshakeFailed: func(net.Addr, error) { panic("oh") }}
		withTLSServer(t, "tcp", config, echoLines, opts, func(ctx context.Context, addr net.Addr) error {
			if _, err := dialsAndGreets(ctx, addr, &tls.Config{ServerName: "localhost"}); err == nil {
				t.Error("the connection stands")
			}
			_, err := dialsAndGreets(ctx, addr, clients)
			return err
		}, reported.option())
		if len(reported.reports) != 1 || !strings.HasPrefix(reported.reports[0], "panic in HandshakeFailed: ") {
			t.Errorf("reported %q", reported.reports)
		}
	})
	t.Run("the cache of tickets of a client, in a read", func(t *testing.T) {
		config := clients.Clone()
		config.ClientSessionCache = panickingCache{}
		servers := &tls.Config{Certificates: []tls.Certificate{localhost}}
		withTLSServer(t, "tcp", servers, echoLines, nil, func(ctx context.Context, addr net.Addr) error {
			r, w, err := asyncio.OpenConnection(ctx, "tcp", addr.String(), &asyncio.ConnOptions{TLS: config})
			if err != nil {
				return err
			}
			w.WriteString("hello\n")
			for range 2 {
				var p *asyncio.PanicError
				if _, err := r.ReadLine(ctx); !errors.As(err, &p) || p.Value != "oh" {
					t.Errorf("ReadLine = %v", err)
				}
			}
			w.Close()
			return w.WaitClosed(ctx)
		})
	})
}

type panickingCache struct{}

func (panickingCache) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (panickingCache) Put(string, *tls.ClientSessionState)        { panic("oh") }

// TestTLSClock: a loop on another clock judges certificates by that.
func TestTLSClock(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	opts := []asyncio.RunOption{asynciotest.WithVirtualClock()}
	today := ca.issue(t, soon(), "localhost")
	t.Run("a certificate of today is not valid yet", func(t *testing.T) {
		withTLSServer(t, "tcp", &tls.Config{Certificates: []tls.Certificate{today}}, echoLines, &asyncio.ServerOptions{HandshakeFailed: func(net.Addr, error) {}},
			func(ctx context.Context, addr net.Addr) error {
				_, err := greetsHere(ctx, addr, &tls.Config{RootCAs: ca.pool, ServerName: "localhost"})
				var invalid x509.CertificateInvalidError
				if !errors.As(err, &invalid) || invalid.Reason != x509.Expired || !strings.Contains(err.Error(), "current time 2000-01-01T") {
					t.Errorf("OpenConnection = %v", err)
				}
				return nil
			}, opts...)
	})
	t.Run("connections are resumed, and a Time of the config's own is used", func(t *testing.T) {
		for _, byName := range []bool{false, true} {
			asked := 0
			servers := &tls.Config{Certificates: []tls.Certificate{today}}
			if byName {
				chosen := servers
				servers = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return chosen, nil }}
			}
			clients := &tls.Config{RootCAs: ca.pool, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1), Time: func() time.Time {
				asked++
				return time.Now()
			}}
			withTLSServer(t, "tcp", servers, echoLines, nil, func(ctx context.Context, addr net.Addr) error {
				for i := range 2 {
					// The server's clock is decades behind that of the client, and so is the age
					// of its tickets: it has nothing to go by but its own.
					state, err := greetsHere(ctx, addr, clients)
					if err != nil || state.DidResume != (i == 1) {
						t.Errorf("connection %d: resumed = %v, %v", i, state.DidResume, err)
					}
				}
				return nil
			}, opts...)
			if asked == 0 {
				t.Error("the config's clock was not asked")
			}
			if servers.Time != nil {
				t.Error("the config was changed")
			}
		}
	})
	t.Run("a ticket grows old", func(t *testing.T) {
		clock := newJumpClock()
		old := &tls.Config{Certificates: []tls.Certificate{today}}
		withTLSServer(t, "tcp", old, echoLines, nil, func(ctx context.Context, addr net.Addr) error {
			clients := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			if _, err := greetsHere(ctx, addr, clients); err != nil {
				return err
			}
			clock.jump(10 * 24 * time.Hour)
			state, err := greetsHere(ctx, addr, clients) // a ticket lives for a week
			if state.DidResume {
				t.Error("a connection of ten days ago is resumed")
			}
			return err
		}, onClock(clock))
	})
}

// TestTLSInterruptedServers: a server ends in the middle of handshakes.
func TestTLSInterruptedServers(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	servers := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "localhost")}}
	for name, end := range map[string]func(ctx context.Context, srv *asyncio.Server) error{
		"AbortClients": func(ctx context.Context, srv *asyncio.Server) error {
			srv.AbortClients()
			return closes(ctx, srv)
		},
		"CloseClients": func(ctx context.Context, srv *asyncio.Server) error {
			srv.CloseClients()
			return closes(ctx, srv)
		},
		"Shutdown with a limit": func(ctx context.Context, srv *asyncio.Server) error {
			err := asyncio.Timeout(ctx, 10*time.Millisecond, srv.Shutdown)
			if err != asyncio.ErrTimeout {
				return fmt.Errorf("Shutdown = %w", err)
			}
			return closes(ctx, srv)
		},
		"the end of the loop": func(ctx context.Context, srv *asyncio.Server) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			var conns []net.Conn
			runStreams(t, func(ctx context.Context) error {
				srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", echoLines, &asyncio.ServerOptions{
					TLS: servers, HandshakeFailed: func(_ net.Addr, err error) { t.Errorf("told of %v", err) },
				})
				if err != nil {
					return err
				}
				hello := clientHello(t)
				for i := range 3 { // nothing, half a hello, a whole one
					c, err := net.Dial("tcp", srv.Addr().String())
					if err != nil {
						return err
					}
					conns = append(conns, c)
					c.Write(hello[:len(hello)*i/2])
				}
				for deadline := time.Now().Add(10 * time.Second); !strings.HasSuffix(srv.String(), "clients=3>") && time.Now().Before(deadline); {
					asyncio.Sleep(ctx, time.Millisecond)
				}
				asyncio.Yield(ctx)
				return end(ctx, srv)
			})
			for i, c := range conns {
				c.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err := io.ReadAll(c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("client %d is left: %v", i, err)
				}
				c.Close()
			}
		})
	}
	t.Run("a deadline of package context", func(t *testing.T) {
		address := peer(t, func(c *net.TCPConn) error {
			io.Copy(io.Discard, c)
			return nil
		})
		runStreams(t, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			err := open(ctx, "tcp", address, &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool}})
			if !errors.Is(err, asyncio.ErrCancelled) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("OpenConnection = %v", err)
			}
			if n := ownConnections(t, address); n != 0 {
				t.Errorf("%d connections are left", n)
			}
			return nil
		})
	})
	t.Run("a function of the config that ends its goroutine", func(t *testing.T) {
		calls := 0
		config := servers.Clone()
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if calls++; calls == 1 {
				runtime.Goexit()
			}
			return nil, nil
		}
		withTLSServer(t, "tcp", config, echoLines, nil, func(ctx context.Context, addr net.Addr) error {
			clients := &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}
			if _, err := dialsAndGreets(ctx, addr, clients); err == nil {
				t.Error("the connection stands")
			}
			_, err := dialsAndGreets(ctx, addr, clients)
			return err
		})
	})
}

func TestTLSArguments(t *testing.T) {
	leavesNothing(t)
	runStreams(t, func(ctx context.Context) error {
		bad := func(name string, err error) {
			t.Run(name, func(t *testing.T) { mistake(t, err, asyncio.ErrBadArgument) })
		}
		open := func(network, address string, opts asyncio.ConnOptions) error {
			_, _, err := asyncio.OpenConnection(ctx, network, address, &opts)
			return err
		}
		secure := &tls.Config{ServerName: "localhost"}
		conn := func() net.Conn {
			c, other := net.Pipe()
			other.Close()
			return c
		}
		const tcp = "127.0.0.1:1"
		bad("TLSP-001 a negative limit of the handshake", open("tcp", tcp, asyncio.ConnOptions{TLS: secure, TLSHandshakeTimeout: -1}))
		bad("TLSP-001 a negative limit of the end", open("tcp", tcp, asyncio.ConnOptions{TLS: secure, TLSShutdownTimeout: -1}))
		bad("BASE-075 a limit of the handshake without TLS", open("tcp", tcp, asyncio.ConnOptions{TLSHandshakeTimeout: 1}))
		bad("BASE-075 a limit of the end without TLS", open("tcp", tcp, asyncio.ConnOptions{TLSShutdownTimeout: 1}))
		bad("UNIX-022 a limit without TLS for a Unix socket", open("unix", "/s", asyncio.ConnOptions{TLSHandshakeTimeout: 1}))
		bad("UNIX-020 BASE-073 a Unix socket without a name", open("unix", "/s", asyncio.ConnOptions{TLS: &tls.Config{}}))
		bad("BASE-074 TLSP-003 a connection without a name", open("", "", asyncio.ConnOptions{TLS: &tls.Config{}, Conn: conn()}))
		bad("renegotiation", open("tcp", tcp, asyncio.ConnOptions{TLS: &tls.Config{Renegotiation: tls.RenegotiateFreelyAsClient}}))
		serve := func(opts asyncio.ServerOptions) error {
			_, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", echoLines, &opts)
			return err
		}
		bad("BASE-086 a limit of a server without TLS", serve(asyncio.ServerOptions{TLSHandshakeTimeout: 1}))
		bad("a limit of a server's end without TLS", serve(asyncio.ServerOptions{TLSShutdownTimeout: 1}))
		bad("a negative limit of a server", serve(asyncio.ServerOptions{TLS: secure, TLSHandshakeTimeout: -1}))
		bad("HandshakeFailed without TLS", serve(asyncio.ServerOptions{HandshakeFailed: func(net.Addr, error) {}}))
		_, _, err := asyncio.ConnectAcceptedSocket(ctx, conn(), func() asyncio.Protocol { return nil }, &asyncio.AcceptOptions{TLSHandshakeTimeout: 1})
		bad("EV-041 a limit without TLS for an accepted connection", err)
		return nil
	})
}

// TestTLSName: which name is asked for and verified.
func TestTLSName(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	cert := ca.issue(t, soon(), "name.example", "other.example")
	for _, test := range []struct {
		name, address string
		config        *tls.Config
		asked         string
	}{
		{"BASE-069 the host", "name.example:443", &tls.Config{RootCAs: ca.pool}, "name.example"},
		{"BASE-070 another one", "name.example:443", &tls.Config{RootCAs: ca.pool, ServerName: "other.example"}, "other.example"},
		{"the host, though nobody verifies it", "unknown.example:443", &tls.Config{InsecureSkipVerify: true}, "unknown.example"},
		{"TLSP-004 no name is sent for an address", "", &tls.Config{InsecureSkipVerify: true}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var asked []string
			servers := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				asked = append(asked, hello.ServerName)
				return &cert, nil
			}}
			withTLSServer(t, "tcp", servers, echoLines, nil, func(ctx context.Context, addr net.Addr) error {
				address := test.address
				if address == "" {
					address = addr.String()
				}
				return open(ctx, "tcp", address, &asyncio.ConnOptions{TLS: test.config, Resolver: resolvesTo(addrPort(t, addr.String()))})
			})
			if !slices.Equal(asked, []string{test.asked}) {
				t.Errorf("the server was asked for %q", asked)
			}
		})
	}
	t.Run("TLS-002 TLSP-002 an existing connection, with a name and without verification", func(t *testing.T) {
		withTLSServer(t, "tcp", &tls.Config{Certificates: []tls.Certificate{cert}}, echoLines, nil, func(ctx context.Context, addr net.Addr) error {
			for _, config := range []*tls.Config{{RootCAs: ca.pool, ServerName: "name.example"}, {InsecureSkipVerify: true}} {
				c, err := net.Dial("tcp", addr.String())
				if err != nil {
					return err
				}
				if err := open(ctx, "", "", &asyncio.ConnOptions{TLS: config, Conn: c}); err != nil {
					return err
				}
			}
			return nil
		})
	})
	t.Run("EV-033 the zero config verifies by the roots of the system", func(t *testing.T) {
		withTLSServer(t, "tcp", &tls.Config{Certificates: []tls.Certificate{cert}}, echoLines, &asyncio.ServerOptions{HandshakeFailed: func(net.Addr, error) {}},
			func(ctx context.Context, addr net.Addr) error {
				err := open(ctx, "tcp", "name.example:443", &asyncio.ConnOptions{TLS: &tls.Config{}, Resolver: resolvesTo(addrPort(t, addr.String()))})
				var unknown x509.UnknownAuthorityError
				if !errors.As(err, &unknown) {
					t.Errorf("OpenConnection = %v", err)
				}
				return nil
			})
	})
}
