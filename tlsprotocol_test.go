// TLS under protocols: they see plain text, and are told of a connection when it is
// secure.

package asyncio_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/goasyncio/asyncio"
)

// A tlsDiary is a Protocol that writes down its calls, and lets a task wait for them.
type tlsDiary struct {
	asyncio.NopProtocol
	transport *asyncio.Transport
	calls     []string
	data      []byte
	lossCause error
	received  func(p []byte) // if set, instead of data
	changed   *asyncio.Event
}

func newDiary(ctx context.Context) *tlsDiary { return &tlsDiary{changed: new(asyncio.Event)} }

func (d *tlsDiary) note(call string) {
	d.calls = append(d.calls, call)
	d.changed.Set()
}

func (d *tlsDiary) ConnectionMade(t *asyncio.Transport) {
	d.transport = t
	d.note("made")
}

func (d *tlsDiary) ConnectionLost(err error) {
	d.lossCause = err
	d.note("lost")
}

func (d *tlsDiary) PauseWriting()     { d.note("pause") }
func (d *tlsDiary) ResumeWriting()    { d.note("resume") }
func (d *tlsDiary) EOFReceived() bool { d.note("eof"); return false }

func (d *tlsDiary) DataReceived(p []byte) {
	if d.received != nil {
		d.received(p)
		return
	}
	d.data = append(d.data, p...)
	d.changed.Set()
}

// until waits until cond holds.
func (d *tlsDiary) until(ctx context.Context, cond func() bool) error {
	for !cond() {
		d.changed.Clear()
		if err := d.changed.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *tlsDiary) has(call string) func() bool {
	return func() bool { return slices.Contains(d.calls, call) }
}

// echoProtocol sends back what it gets.
type echoProtocol struct {
	asyncio.NopProtocol
	transport *asyncio.Transport
}

func (e *echoProtocol) ConnectionMade(t *asyncio.Transport) { e.transport = t }
func (e *echoProtocol) DataReceived(p []byte) {
	e.transport.WriteLines([][]byte{p[:len(p)/2], p[len(p)/2:]})
}

// spoon is a BufferedProtocol with a small buffer.
type spoon struct {
	tlsDiary
	buf [7]byte
}

func (s *spoon) GetBuffer(int) []byte { return s.buf[:] }
func (s *spoon) BufferUpdated(n int)  { s.DataReceived(s.buf[:n]) }

func TestTLSProtocols(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	servers := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "localhost")}}
	clients := &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}
	serve := func(t *testing.T, ctx context.Context, network string, opts asyncio.ServerOptions) *asyncio.Server {
		t.Helper()
		address := "127.0.0.1:0"
		if network == "unix" {
			address = socketPath(t)
		}
		opts.TLS = servers
		srv, err := asyncio.CreateServer(ctx, network, address, func() *echoProtocol { return new(echoProtocol) }, &opts)
		if err != nil {
			t.Fatal(err)
		}
		return srv
	}
	t.Run("TLS-001 TLS-002 EV-031 TLSP-015 TLSP-018 many clients with much to say", func(t *testing.T) {
		data := pattern(scaled(1 << 20))
		for _, network := range []string{"tcp", "unix"} {
			for _, existing := range []bool{false, true} {
				runStreams(t, func(ctx context.Context) error {
					srv := serve(t, ctx, network, asyncio.ServerOptions{})
					var all []asyncio.Awaitable[struct{}]
					for range 25 {
						all = append(all, asyncio.Go(ctx, func(ctx context.Context) error {
							opts, to := &asyncio.ConnOptions{TLS: clients}, srv.Addr()
							network, address := to.Network(), to.String()
							if existing {
								c, err := net.Dial(network, address)
								if err != nil {
									return err
								}
								opts.Conn, network, address = c, "", ""
							}
							transport, d, err := asyncio.CreateConnection(ctx, network, address, func() *tlsDiary { return newDiary(ctx) }, opts)
							if err != nil {
								return err
							}
							state, secure := transport.ConnectionState()
							if !secure || state.Version != tls.VersionTLS13 || len(state.PeerCertificates) != 1 || transport.RemoteAddr().String() != to.String() {
								t.Errorf("%v is secure: %v, %x", transport, secure, state.Version)
							}
							transport.Write(data)
							transport.WriteLines(slices.Collect(slices.Chunk(data, 1000)))
							if err := d.until(ctx, func() bool { return len(d.data) >= 2*len(data) }); err != nil {
								return err
							}
							if !bytes.Equal(d.data, append(slices.Clone(data), data...)) {
								t.Error("something else came back")
							}
							transport.Close()
							if _, err := transport.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
								t.Errorf("Write after Close = %v", err)
							}
							if err := d.until(ctx, d.has("lost")); err != nil {
								return err
							}
							if d.lossCause != nil || d.calls[0] != "made" {
								t.Errorf("calls %q, lost because of %v", d.calls, d.lossCause)
							}
							if after, secure := transport.ConnectionState(); !secure || after.Version != state.Version {
								t.Errorf("after the end: %v %x", secure, after.Version)
							}
							return nil
						}))
					}
					_, err := asyncio.Gather(ctx, all...)
					return errors.Join(err, closes(ctx, srv))
				})
			}
		}
	})
	t.Run("EV-052 TLS-006 a handshake that fails is no connection for the protocol", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			made := 0
			failed := asyncio.NewFuture[error](ctx)
			srv, err := asyncio.CreateServer(ctx, "tcp", "127.0.0.1:0", func() *tlsDiary { made++; return newDiary(ctx) }, &asyncio.ServerOptions{
				TLS: servers, HandshakeFailed: func(_ net.Addr, err error) { failed.SetResult(err) },
			})
			if err != nil {
				return err
			}
			transport, d, err := asyncio.CreateConnection(ctx, "tcp", srv.Addr().String(), func() *tlsDiary { made++; return newDiary(ctx) }, &asyncio.ConnOptions{TLS: &tls.Config{ServerName: "localhost"}})
			if transport != nil || d != nil || err == nil || made != 0 {
				t.Errorf("CreateConnection = %v, %v, %v; %d protocols were made", transport, d, err, made)
			}
			if err, ferr := failed.Await(ctx); ferr != nil || !strings.Contains(err.Error(), "bad certificate") {
				t.Errorf("the server was told %v, %v", err, ferr)
			}
			if made != 0 {
				t.Error("the server has made a protocol")
			}
			return closes(ctx, srv)
		})
	})
	t.Run("EV-040 TLS-007 a connection that was accepted elsewhere", func(t *testing.T) {
		for _, network := range []string{"tcp", "unix"} {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = socketPath(t)
			}
			ln, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			runStreams(t, func(ctx context.Context) error {
				client := asyncio.Go(ctx, func(ctx context.Context) error {
					_, err := dialsAndGreets(ctx, ln.Addr(), clients)
					return err
				})
				c, err := asyncio.ToThread(ctx, func(context.Context) (net.Conn, error) { return ln.Accept() })
				if err != nil {
					return err
				}
				transport, _, err := asyncio.ConnectAcceptedSocket(ctx, c, func() *echoProtocol { return new(echoProtocol) }, &asyncio.AcceptOptions{TLS: servers})
				if err != nil {
					return err
				}
				if _, secure := transport.ConnectionState(); !secure {
					t.Error("it is plain")
				}
				return client.Wait(ctx)
			})
			runStreams(t, func(ctx context.Context) error { // and one whose handshake fails
				client := asyncio.Go(ctx, func(ctx context.Context) error {
					_, err := dialsAndGreets(ctx, ln.Addr(), &tls.Config{ServerName: "localhost"})
					if err == nil {
						t.Error("the client trusts it")
					}
					return nil
				})
				c, err := asyncio.ToThread(ctx, func(context.Context) (net.Conn, error) { return ln.Accept() })
				if err != nil {
					return err
				}
				_, _, err = asyncio.ConnectAcceptedSocket(ctx, c, func() *echoProtocol { return new(echoProtocol) }, &asyncio.AcceptOptions{TLS: servers})
				var op *net.OpError
				if !errors.As(err, &op) || op.Op != "accept" || op.Addr == nil || !strings.Contains(err.Error(), "remote error: tls: bad certificate") {
					t.Errorf("ConnectAcceptedSocket = %v", err)
				}
				return client.Wait(ctx)
			})
		}
	})
	t.Run("TLSP-026 a buffer that is smaller than a record", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			srv := serve(t, ctx, "tcp", asyncio.ServerOptions{})
			transport, s, err := asyncio.CreateConnection(ctx, "tcp", srv.Addr().String(), func() *spoon { return &spoon{tlsDiary: *newDiary(ctx)} }, &asyncio.ConnOptions{TLS: clients})
			if err != nil {
				return err
			}
			data := pattern(20_000)
			transport.Write(data)
			if err := s.until(ctx, func() bool { return len(s.data) >= len(data) }); err != nil {
				return err
			}
			if !bytes.Equal(s.data, data) {
				t.Error("something else came back")
			}
			transport.Close()
			return errors.Join(s.until(ctx, s.has("lost")), closes(ctx, srv))
		})
	})
	t.Run("TLS-018 the end of the stream while reading is paused", func(t *testing.T) {
		ended := newGate()
		data := pattern(100_000) // more than crypto/tls has read when it pauses
		address := tlsPeer(t, servers, func(c *tls.Conn) error {
			defer ended.open()
			_, err := c.Write(data)
			return errors.Join(err, c.Close())
		})
		runStreams(t, func(ctx context.Context) error {
			transport, d, err := asyncio.CreateConnection(ctx, "tcp", address, func() *tlsDiary {
				d := newDiary(ctx)
				d.received = func(p []byte) {
					d.data = append(d.data, p...)
					d.transport.PauseReading()
					d.changed.Set()
				}
				return d
			}, &asyncio.ConnOptions{TLS: clients})
			if err != nil {
				return err
			}
			if err := ended.waitIn(ctx); err != nil {
				return err
			}
			comesTrue(t, ctx, "data", func() bool { return len(d.data) > 0 })
			for range 10 {
				asyncio.Yield(ctx)
			}
			if got := len(d.data); got == 0 || got == len(data) || slices.Contains(d.calls, "eof") {
				t.Errorf("%d bytes were received, calls %q", got, d.calls)
			}
			for !slices.Contains(d.calls, "lost") {
				n := len(d.data)
				transport.ResumeReading()
				if err := d.until(ctx, func() bool { return len(d.data) > n || slices.Contains(d.calls, "lost") }); err != nil {
					return err
				}
			}
			if !bytes.Equal(d.data, data) || !slices.Equal(d.calls, []string{"made", "eof", "lost"}) || d.lossCause != nil {
				t.Errorf("%d bytes were received, calls %q, %v", len(d.data), d.calls, d.lossCause)
			}
			return nil
		})
	})
	t.Run("TLSP-014 an error of a write", func(t *testing.T) {
		made, gone := newGate(), newGate()
		address := tlsPeer(t, servers, func(c *tls.Conn) error {
			defer gone.open()
			if err := c.Handshake(); err != nil {
				return err
			}
			made.pass()
			return reset(c.NetConn().(*net.TCPConn))
		})
		runStreams(t, func(ctx context.Context) error {
			transport, d, err := asyncio.CreateConnection(ctx, "tcp", address, func() *tlsDiary { return newDiary(ctx) }, &asyncio.ConnOptions{TLS: clients})
			if err != nil {
				return err
			}
			made.open()
			gone.pass() // blocks the loop: it has not heard of the reset
			_, err = transport.Write([]byte("hello"))
			for err == nil && !onPortable { // the reset may be on its way
				_, err = transport.Write([]byte("hello"))
			}
			accepted := err == nil && onPortable // before the kernel is asked
			if !errors.Is(err, syscall.ECONNRESET) && !accepted {
				t.Errorf("Write = %v", err)
			}
			if err := d.until(ctx, d.has("lost")); err != nil {
				return err
			}
			var op *net.OpError
			if !errors.Is(d.lossCause, syscall.ECONNRESET) || !errors.As(d.lossCause, &op) {
				t.Errorf("lost because of %v", d.lossCause)
			}
			return nil
		})
	})
	t.Run("TLSP-016 another protocol takes over", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			srv := serve(t, ctx, "tcp", asyncio.ServerOptions{})
			transport, first, err := asyncio.CreateConnection(ctx, "tcp", srv.Addr().String(), func() *tlsDiary { return newDiary(ctx) }, &asyncio.ConnOptions{TLS: clients})
			if err != nil {
				return err
			}
			second := &spoon{tlsDiary: *newDiary(ctx)}
			if err := transport.SetProtocol(second); err != nil {
				return err
			}
			transport.Write([]byte("hello"))
			if err := second.until(ctx, func() bool { return string(second.data) == "hello" }); err != nil {
				return err
			}
			transport.Close()
			err = second.until(ctx, second.has("lost"))
			if !slices.Equal(first.calls, []string{"made"}) || !slices.Equal(second.calls, []string{"lost"}) {
				t.Errorf("calls %q and %q", first.calls, second.calls)
			}
			return errors.Join(err, closes(ctx, srv))
		})
	})
	t.Run("a peer that does not read pauses the protocol, and one that reads resumes it", func(t *testing.T) {
		paused := newGate()
		data := make([]byte, 100<<10)
		const most = 200
		address := tlsPeer(t, servers, func(c *tls.Conn) error {
			if err := c.Handshake(); err != nil {
				return err
			}
			paused.pass()
			n, err := io.Copy(io.Discard, c)
			if err == nil && n%int64(len(data)) != 0 {
				err = fmt.Errorf("%d bytes arrived", n)
			}
			return err
		})
		runStreams(t, func(ctx context.Context) error {
			transport, d, err := asyncio.CreateConnection(ctx, "tcp", address, func() *tlsDiary { return newDiary(ctx) }, &asyncio.ConnOptions{TLS: clients})
			if err != nil {
				return err
			}
			for range most {
				if transport.Write(data); slices.Contains(d.calls, "pause") {
					break
				}
			}
			if transport.WriteBufferSize() == 0 {
				t.Error("nothing waits")
			}
			paused.open()
			if err := d.until(ctx, d.has("resume")); err != nil {
				return err
			}
			transport.Close()
			err = d.until(ctx, d.has("lost"))
			if !slices.Equal(d.calls, []string{"made", "pause", "resume", "lost"}) {
				t.Errorf("calls %q", d.calls)
			}
			return err
		})
	})
}

// TestStartTLSOfTransports: the protocol is told of its connection once.
func TestStartTLSOfTransports(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	servers := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "localhost")}}
	clients := &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}
	for _, buffered := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLSP-021 TLSP-022 plain, then TLS, then TLS in it; buffered = %v", buffered), func(t *testing.T) {
			runStreams(t, func(ctx context.Context) error {
				var there *tlsDiary
				upgrade := func(ctx context.Context) error { // the server's side
					if err := there.until(ctx, func() bool { return string(there.data) == "STARTTLS" }); err != nil {
						return err
					}
					there.data = nil
					there.transport.PauseReading()
					there.transport.Write([]byte("go ahead"))
					err := there.transport.StartTLS(ctx, servers, nil)
					there.transport.ResumeReading()
					return err
				}
				srv, err := asyncio.CreateServer(ctx, "tcp", "127.0.0.1:0", func() asyncio.BaseProtocol {
					if buffered {
						s := &spoon{tlsDiary: *newDiary(ctx)}
						there = &s.tlsDiary
						return s
					}
					there = newDiary(ctx)
					return there
				}, nil)
				if err != nil {
					return err
				}
				var here *tlsDiary
				transport, _, err := asyncio.CreateConnection(ctx, "tcp", srv.Addr().String(), func() asyncio.BaseProtocol {
					if buffered {
						s := &spoon{tlsDiary: *newDiary(ctx)}
						here = &s.tlsDiary
						return s
					}
					here = newDiary(ctx)
					return here
				}, nil)
				if err != nil {
					return err
				}
				for layer := range 3 {
					says := func(from *asyncio.Transport, text string, to *tlsDiary) {
						from.Write([]byte(text))
						if err := to.until(ctx, func() bool { return len(to.data) >= len(text) }); err != nil || string(to.data) != text {
							t.Errorf("layer %d: got %q, %v", layer, to.data, err)
						}
						to.data = nil
					}
					says(transport, "hello", func() *tlsDiary {
						for there == nil {
							asyncio.Yield(ctx)
						}
						return there
					}())
					says(there.transport, "hello yourself", here)
					if layer == 2 {
						break
					}
					upgrading := asyncio.Go(ctx, upgrade)
					says(transport, "STARTTLS", &tlsDiary{changed: new(asyncio.Event), data: []byte("STARTTLS")})
					if err := here.until(ctx, func() bool { return string(here.data) == "go ahead" }); err != nil {
						return err
					}
					here.data = nil
					if err := transport.StartTLS(ctx, clients, nil); err != nil {
						return err
					}
					if err := upgrading.Wait(ctx); err != nil {
						return err
					}
					if _, secure := transport.ConnectionState(); !secure {
						t.Error("it is plain")
					}
				}
				there.transport.Close()
				if err := errors.Join(here.until(ctx, here.has("lost")), there.until(ctx, there.has("lost"))); err != nil {
					return err
				}
				if !slices.Equal(here.calls, []string{"made", "eof", "lost"}) || !slices.Equal(there.calls, []string{"made", "lost"}) || here.lossCause != nil || there.lossCause != nil {
					t.Errorf("calls %q and %q, %v, %v", here.calls, there.calls, here.lossCause, there.lossCause)
				}
				return closes(ctx, srv)
			})
		})
	}
	t.Run("a handshake that fails loses the connection", func(t *testing.T) {
		address := peer(t, func(c *net.TCPConn) error {
			c.Read(make([]byte, 10<<10))
			io.WriteString(c, "500 no such command\r\n")
			io.Copy(io.Discard, c)
			return nil
		})
		runStreams(t, func(ctx context.Context) error {
			transport, d, err := asyncio.CreateConnection(ctx, "tcp", address, func() *tlsDiary { return newDiary(ctx) }, nil)
			if err != nil {
				return err
			}
			err = transport.StartTLS(ctx, clients, nil)
			if !errors.As(err, new(tls.RecordHeaderError)) {
				t.Errorf("StartTLS = %v", err)
			}
			if err := d.until(ctx, d.has("lost")); err != nil {
				return err
			}
			if !slices.Equal(d.calls, []string{"made", "lost"}) || len(d.data) > 0 {
				t.Errorf("calls %q, data %q", d.calls, d.data)
			}
			return nil
		})
	})
}
