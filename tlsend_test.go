// How TLS connections end: nothing that was written is lost, the alert comes last,
// and nobody is waited for for ever.

package asyncio_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// A tlsWitness is a connection that remembers the records that it has read.
type tlsWitness struct {
	net.Conn
	stream []byte
}

func (w *tlsWitness) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.stream = append(w.stream, p[:n]...)
	return n, err
}

// last returns the type of the last record.
func (w *tlsWitness) last() (kind byte, err error) {
	for p := w.stream; len(p) > 0; {
		if len(p) < 5 || len(p) < 5+int(p[3])<<8+int(p[4]) {
			return 0, fmt.Errorf("%d bytes are no record", len(p))
		}
		kind, p = p[0], p[5+int(p[3])<<8+int(p[4]):]
	}
	return kind, nil
}

// TestTLSCloseSendsAll: whatever the peer does, what was written before Close arrives.
func TestTLSCloseSendsAll(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	servers := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "localhost")}}
	data := pattern(6 << 20)
	// A client of TLS 1.2, which does not hide the type of a record.
	for name, test := range map[string]struct {
		before func(c *tls.Conn, raw net.Conn) error
	}{
		"TLS-010 TLS-011 TLS-014 a client that is slow": {func(c *tls.Conn, raw net.Conn) error { return nil }},
		"TLS-012 a client that has ended its half":      {func(c *tls.Conn, raw net.Conn) error { return c.CloseWrite() }},
		"TLS-013 a client that has ended the connection's half": {func(c *tls.Conn, raw net.Conn) error {
			return raw.(*net.TCPConn).CloseWrite()
		}},
		"TLSP-017 a client that goes on sending": {func(c *tls.Conn, raw net.Conn) error {
			_, err := c.Write(make([]byte, 500<<10)) // nobody reads it
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			closed := newGate()
			withTLSServer(t, "tcp", servers, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				line, err := r.ReadLine(ctx)
				sees(t, line, err, "go\n", nil)
				w.Write(data)
				if w.Buffered() == 0 {
					t.Error("all has gone already")
				}
				w.Close()
				closed.open()
				if _, err := w.WriteString("more"); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Write after Close = %v", err)
				}
				if _, err := r.ReadLine(ctx); !errors.Is(err, net.ErrClosed) {
					t.Errorf("ReadLine after Close = %v", err)
				}
				return w.WaitClosed(ctx)
			}, nil, func(ctx context.Context, addr net.Addr) error {
				_, err := asyncio.ToThread(ctx, func(context.Context) (struct{}, error) {
					raw, err := net.Dial("tcp", addr.String())
					if err != nil {
						return struct{}{}, err
					}
					defer raw.Close()
					raw.SetDeadline(time.Now().Add(2 * time.Minute))
					seen := &tlsWitness{Conn: raw}
					c := tls.Client(seen, &tls.Config{RootCAs: ca.pool, ServerName: "localhost", MaxVersion: tls.VersionTLS12})
					if _, err := io.WriteString(c, "go\n"); err != nil {
						return struct{}{}, err
					}
					closed.pass()
					if err := test.before(c, raw); err != nil {
						return struct{}{}, err
					}
					got, err := io.ReadAll(c)
					if err == nil && !bytes.Equal(got, data) {
						err = fmt.Errorf("%d bytes of %d arrived", len(got), len(data))
					}
					kind, lerr := seen.last()
					if lerr == nil && kind != recordAlert {
						lerr = fmt.Errorf("the last record is of type %d", kind)
					}
					return struct{}{}, errors.Join(err, lerr)
				})
				return err
			})
		})
	}
	t.Run("TLSP-017 what crypto/tls holds is not read after Close", func(t *testing.T) {
		written := newGate()
		address := tlsPeer(t, servers, func(c *tls.Conn) error {
			if _, err := io.WriteString(c, "first\nsecond\n"); err != nil {
				return err
			}
			written.open()
			_, err := io.Copy(io.Discard, c)
			return err
		})
		runStreams(t, func(ctx context.Context) error {
			r, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}})
			if err != nil {
				return err
			}
			if err := written.waitIn(ctx); err != nil {
				return err
			}
			got, err := readSome(ctx, r, 3)
			sees(t, got, err, "fir", nil)
			w.Close()
			if got, err := readSome(ctx, r, 3); len(got) > 0 || !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read after Close = %q, %v", got, err)
			}
			return w.WaitClosed(ctx)
		})
	})
	t.Run("a client here that has never read its tickets", func(t *testing.T) {
		closed := newGate()
		address := tlsPeer(t, servers, func(c *tls.Conn) error {
			if err := c.Handshake(); err != nil {
				return err
			}
			closed.pass()
			got, err := io.ReadAll(c)
			if err == nil && !bytes.Equal(got, data) {
				err = fmt.Errorf("%d bytes of %d arrived", len(got), len(data))
			}
			return err
		})
		runStreams(t, func(ctx context.Context) error {
			config := &tls.Config{RootCAs: ca.pool, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			_, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{TLS: config})
			if err != nil {
				return err
			}
			w.Write(data)
			w.Close()
			closed.open()
			return w.WaitClosed(ctx)
		})
	})
}

// TestTLSCloseEnds: Close takes no longer than its limit.
func TestTLSCloseEnds(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	servers := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "localhost")}}
	for name, test := range map[string]struct {
		stuck bool // there is more to be sent than fits
		eof   bool // the peer has ended its half
		first bool // and before Close
		reset bool
	}{
		"TLS-017 a peer that reads, and stays":                       {},
		"TLS-019 a peer that does not read":                          {stuck: true},
		"TLS-019 a peer that has ended, then Close":                  {stuck: true, eof: true, first: true},
		"TLS-019 Close, then the peer ends":                          {stuck: true, eof: true},
		"TLSP-014 a peer that resets the connection":                 {stuck: true, reset: true},
		"a peer that resets the connection, when everything is sent": {reset: true},
	} {
		t.Run(name, func(t *testing.T) {
			shaken, closed, over := newGate(), newGate(), newGate()
			address := tlsPeer(t, servers, func(c *tls.Conn) error {
				if err := c.Handshake(); err != nil {
					return err
				}
				raw := c.NetConn().(*net.TCPConn)
				if test.eof && test.first {
					raw.CloseWrite()
				}
				shaken.open()
				closed.pass()
				if test.eof {
					raw.CloseWrite()
				}
				if test.reset {
					return reset(raw)
				}
				if !test.stuck {
					if _, err := io.Copy(io.Discard, c); err != nil {
						return err
					}
				}
				over.pass()
				return nil
			})
			clock := newJumpClock()
			runStreams(t, func(ctx context.Context) error {
				defer over.open()
				_, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{
					TLS: &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}, TLSShutdownTimeout: time.Hour,
				})
				if err != nil {
					return err
				}
				if err := shaken.waitIn(ctx); err != nil {
					return err
				}
				if test.stuck {
					w.Write(make([]byte, 16<<20))
				}
				w.Close()
				w.Close()
				closed.open()
				if !test.reset {
					for range 20 {
						asyncio.Sleep(ctx, time.Millisecond)
					}
					if !strings.HasPrefix(w.String(), "<StreamWriter closing ") {
						t.Errorf("it is closed before its time: %v", w)
					}
					clock.jump(time.Hour)
				}
				err = w.WaitClosed(ctx)
				if test.stuck && test.reset {
					if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
						t.Errorf("WaitClosed = %v", err)
					}
				} else if err != nil {
					t.Errorf("WaitClosed = %v", err)
				}
				if n := ownConnections(t, address) + asyncio.CurrentTask(ctx).Loop().Timers(); n != 0 {
					t.Errorf("%d connections or timers are left", n)
				}
				return nil
			}, onClock(clock))
		})
	}
	t.Run("the default limit", func(t *testing.T) {
		shaken, over := newGate(), newGate()
		address := tlsPeer(t, servers, func(c *tls.Conn) error {
			err := c.Handshake()
			shaken.open()
			over.pass()
			return err
		})
		clock := newJumpClock()
		clock.still = true
		runStreams(t, func(ctx context.Context) error {
			defer over.open()
			_, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}})
			if err != nil {
				return err
			}
			if err := shaken.waitIn(ctx); err != nil {
				return err
			}
			w.Close()
			clock.jump(29 * time.Second)
			for range 10 {
				asyncio.Yield(ctx)
			}
			if !strings.HasPrefix(w.String(), "<StreamWriter closing ") {
				t.Errorf("after 29 seconds: %v", w)
			}
			clock.jump(2 * time.Second)
			return w.WaitClosed(ctx)
		}, onClock(clock))
	})
	t.Run("a peer that never stops sending does not hold up the loop", func(t *testing.T) {
		over := newGate()
		address := tlsPeer(t, servers, func(c *tls.Conn) error {
			for p := make([]byte, 1<<20); ; {
				if _, err := c.Write(p); err != nil {
					over.pass()
					return nil
				}
			}
		})
		clock := newJumpClock()
		runStreams(t, func(ctx context.Context) error {
			defer over.open()
			_, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}})
			if err != nil {
				return err
			}
			w.Close()
			for range 100 {
				asyncio.Sleep(ctx, time.Millisecond)
			}
			clock.jump(time.Minute)
			return w.WaitClosed(ctx)
		}, onClock(clock))
	})
}

// TestTLSEndsOtherwise: Abort, and the end of the loop.
func TestTLSEndsOtherwise(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	servers := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "localhost")}}
	clients := &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool, ServerName: "localhost", MaxVersion: tls.VersionTLS12}}
	t.Run("Abort resets", func(t *testing.T) {
		address := tlsPeer(t, servers, func(c *tls.Conn) error {
			if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
				return fmt.Errorf("the peer finds %w", err)
			}
			return nil
		})
		runStreams(t, func(ctx context.Context) error {
			_, w, err := asyncio.OpenConnection(ctx, "tcp", address, clients)
			if err != nil {
				return err
			}
			w.Abort()
			return w.WaitClosed(ctx)
		})
	})
	t.Run("the end of the loop sends the alert", func(t *testing.T) {
		for _, closing := range []bool{false, true} {
			address := peer(t, func(c *net.TCPConn) error {
				seen := &tlsWitness{Conn: c}
				got, err := io.ReadAll(tls.Server(seen, servers))
				kind, lerr := seen.last()
				if lerr == nil && (kind != recordAlert || string(got) != "hello") {
					lerr = fmt.Errorf("got %q, the last record is of type %d", got, kind)
				}
				return errors.Join(err, lerr)
			})
			runStreams(t, func(ctx context.Context) error {
				_, w, err := asyncio.OpenConnection(ctx, "tcp", address, clients)
				if err != nil {
					return err
				}
				w.WriteString("hello")
				if closing {
					w.Close()
				}
				return nil
			})
		}
	})
	t.Run("TLSP-025 a server and its clients leave nothing after an unclean end", func(t *testing.T) {
		withTLSServer(t, "tcp", servers, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			w.WriteString("hello\n")
			w.Abort()
			return nil
		}, nil, func(ctx context.Context, addr net.Addr) error {
			for range 10 {
				r, w, err := asyncio.OpenConnection(ctx, "tcp", addr.String(), clients)
				if onPortable && errors.Is(err, syscall.ECONNRESET) {
					continue // the end of the handshake was dropped, too
				}
				if err != nil {
					return err
				}
				if _, err := r.ReadAll(ctx); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("ReadAll = %v", err)
				}
				w.Close()
				if err := w.WaitClosed(ctx); err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
					t.Errorf("WaitClosed = %v", err)
				}
			}
			if n := asyncio.CurrentTask(ctx).Loop().Timers(); n != 0 {
				t.Errorf("%d timers are left", n)
			}
			return nil
		})
	})
}
