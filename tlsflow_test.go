// TLS under way: bytes that come one by one, key updates at a bad time, records that
// are broken, and peers that make this end answer and do not read.

package asyncio_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/sock"
)

// A dribblingNetwork lets reads find one byte in each pass.
type dribblingNetwork struct{ seam.Network }

type dribblingConn struct {
	seam.Conn
	handler seam.Handler
}

func (c *dribblingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:1])
	if err == nil {
		c.handler.Ready(seam.Readable) // there is more in the next pass
	}
	return n, err
}

func (c *dribblingConn) Attach(h seam.Handler) error {
	c.handler = h
	return c.Conn.(seam.AcceptedConn).Attach(h)
}

func (n dribblingNetwork) Dial(network string, to, local seam.Addr, h seam.Handler) (seam.Conn, error) {
	c, err := n.Network.Dial(network, to, local, h)
	return &dribblingConn{Conn: c, handler: h}, err
}

func (n dribblingNetwork) Listen(network string, at seam.Addr, opts seam.ListenOptions, h seam.Handler) (seam.Listener, error) {
	ln, err := n.Network.Listen(network, at, opts, h)
	return dribblingListener{ln}, err
}

type dribblingListener struct{ seam.Listener }

func (ln dribblingListener) Accept() (seam.AcceptedConn, error) {
	c, err := ln.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &dribblingConn{Conn: c}, nil
}

func withDribblingNetwork() asyncio.LoopOption {
	return seam.LoopOption(seam.Seams{NewNetwork: func() (seam.Network, error) {
		n, err := sock.New()
		return dribblingNetwork{n}, err
	}}).(asyncio.LoopOption)
}

// TestTLSByteByByte: crypto/tls is asked again after each byte, wherever that is.
func TestTLSByteByByte(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	servers := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "localhost")}}
	data := pattern(50_000)
	for _, v := range tlsVersions {
		t.Run(v.name, func(t *testing.T) {
			withTLSServer(t, "tcp", servers, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				w.Write(data)
				w.WriteString("and\n")
				line, err := r.ReadLine(ctx)
				sees(t, line, err, "an answer\n", nil)
				w.Write(line)
				w.WriteEOF()
				rest, err := r.ReadAll(ctx)
				sees(t, rest, err, "", nil)
				return nil
			}, nil, func(ctx context.Context, addr net.Addr) error {
				cache := tls.NewLRUClientSessionCache(1)
				r, w, err := asyncio.OpenConnection(ctx, "tcp", addr.String(), &asyncio.ConnOptions{
					TLS: &tls.Config{RootCAs: ca.pool, ServerName: "localhost", MaxVersion: v.version, ClientSessionCache: cache},
				})
				if err != nil {
					return err
				}
				got, err := r.ReadExactly(ctx, len(data))
				sees(t, got, err, string(data), nil)
				line, err := r.ReadLine(ctx)
				sees(t, line, err, "and\n", nil)
				w.WriteString("an ")
				w.WriteString("answer\n")
				got, err = r.ReadAll(ctx)
				sees(t, got, err, "an answer\n", nil)
				if _, kept := cache.Get("localhost"); !kept {
					t.Error("no ticket has arrived")
				}
				w.Close()
				return w.WaitClosed(ctx)
			}, withDribblingNetwork())
		})
	}
}

// A holdingConn keeps back what is written to it, once it is told to.
type holdingConn struct {
	net.Conn
	holds bool
	held  []byte
}

func (c *holdingConn) Write(p []byte) (int, error) {
	if !c.holds {
		return c.Conn.Write(p)
	}
	c.held = append(c.held, p...)
	return len(p), nil
}

// SetWriteDeadline does nothing: crypto/tls lets writes after the alert fail by it.
func (c *holdingConn) SetWriteDeadline(time.Time) error { return nil }

// TestTLSPartOfAnAlert: crypto/tls looks at what follows the last bytes, which may not
// be all there.
func TestTLSPartOfAnAlert(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	servers := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "127.0.0.1")}, MaxVersion: tls.VersionTLS12}
	clients := &tls.Config{RootCAs: ca.pool, ServerName: "127.0.0.1"}
	for layers := 1; layers <= 2; layers++ {
		t.Run(fmt.Sprintf("%d layers", layers), func(t *testing.T) {
			for missing := 1; missing < 8; missing++ {
				read := newGate()
				address := peer(t, func(c *net.TCPConn) error {
					holding := &holdingConn{Conn: c}
					bottom := tls.Server(holding, servers)
					top := bottom
					if layers == 2 {
						top = tls.Server(bottom, servers)
					}
					if err := top.Handshake(); err != nil {
						return err
					}
					holding.holds = true
					io.WriteString(top, "all of it\n")
					bottom.CloseWrite()
					c.Write(holding.held[:len(holding.held)-missing])
					read.pass()
					c.Write(holding.held[len(holding.held)-missing:])
					io.Copy(io.Discard, c)
					return nil
				})
				runStreams(t, func(ctx context.Context) error {
					r, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{TLS: clients})
					if err != nil {
						return err
					}
					if layers == 2 {
						if err := w.StartTLS(ctx, clients, nil); err != nil {
							return err
						}
					}
					line, err := r.ReadLine(ctx)
					sees(t, line, err, "all of it\n", nil)
					reading := inTask(t, ctx, r.ReadAll)
					read.open()
					got, err := reading.Await(ctx)
					sees(t, got, err, "", nil)
					w.Close()
					return w.WaitClosed(ctx)
				})
			}
		})
	}
}

// TestTLSHere sends much in both directions at once, both ends on one loop, each
// with a task that reads and one that writes.
func TestTLSHere(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	servers := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "localhost")}}
	const part = 1 << 20
	parts := max(1, scaled(100<<20)/part)
	chunk := pattern(part)
	exchange := func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(func(ctx context.Context) error {
				for range parts {
					for p := range slices.Chunk(chunk, 50<<10) {
						if _, err := w.Write(p); err != nil {
							return err
						}
						if n := w.Buffered(); n > 64<<10+60<<10 {
							return fmt.Errorf("%d bytes are buffered", n)
						}
						if err := w.Drain(ctx); err != nil {
							return err
						}
					}
				}
				return w.WriteEOF()
			})
			g.Go(func(ctx context.Context) error {
				p := make([]byte, part)
				for i, got := 0, 0; ; {
					n, err := r.Read(ctx, p[got:])
					if got += n; got == part {
						if !bytes.Equal(p, chunk) {
							return fmt.Errorf("part %d is not what was sent", i)
						}
						i, got = i+1, 0
					}
					if err == io.EOF && i == parts && got == 0 {
						return nil
					}
					if err != nil {
						return fmt.Errorf("part %d, byte %d: %w", i, got, err)
					}
				}
			})
			return nil
		})
	}
	for _, v := range tlsVersions {
		t.Run(v.name, func(t *testing.T) {
			withTLSServer(t, "tcp", servers, exchange, nil, func(ctx context.Context, addr net.Addr) error {
				r, w, err := asyncio.OpenConnection(ctx, "tcp", addr.String(), &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool, ServerName: "localhost", MaxVersion: v.version}})
				if err != nil {
					return err
				}
				err = exchange(ctx, r, w)
				w.Close()
				return errors.Join(err, w.WaitClosed(ctx))
			})
		})
	}
}

// A recordWriter is a client of TLS 1.3 whose records a test writes by hand, after a
// handshake of crypto/tls.
type recordWriter struct {
	net.Conn
	tls    *tls.Conn // to read
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// newRecordWriter connects to a server. It blocks.
func newRecordWriter(addr net.Addr, config *tls.Config) (*recordWriter, error) {
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		return nil, err
	}
	var keys bytes.Buffer
	config = config.Clone()
	config.KeyLogWriter = &keys
	config.MinVersion = tls.VersionTLS13
	w := &recordWriter{Conn: c, tls: tls.Client(c, config)}
	if err := w.tls.Handshake(); err != nil {
		c.Close()
		return nil, err
	}
	if w.tls.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		return nil, fmt.Errorf("the cipher is %s", tls.CipherSuiteName(w.tls.ConnectionState().CipherSuite))
	}
	for line := range strings.Lines(keys.String()) {
		if f := strings.Fields(line); f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			if w.secret, err = hex.DecodeString(f[2]); err != nil {
				return nil, err
			}
		}
	}
	w.setKeys()
	return w, nil
}

// expand is HKDF-Expand-Label (RFC 8446, section 7.1).
func (w *recordWriter) expand(label string, n int) []byte {
	label = "tls13 " + label
	info := append([]byte{0, byte(n), byte(len(label))}, label...)
	p, err := hkdf.Expand(sha256.New, w.secret, string(append(info, 0)), n)
	if err != nil {
		panic(err)
	}
	return p
}

func (w *recordWriter) setKeys() {
	block, err := aes.NewCipher(w.expand("key", 16))
	if err != nil {
		panic(err)
	}
	if w.aead, err = cipher.NewGCM(block); err != nil {
		panic(err)
	}
	w.iv, w.seq = w.expand("iv", 12), 0
}

// record encrypts one.
func (w *recordWriter) record(kind byte, data []byte) []byte {
	nonce := slices.Clone(w.iv)
	for i, b := range binary.BigEndian.AppendUint64(nil, w.seq) {
		nonce[4+i] ^= b
	}
	w.seq++
	header := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(data)+1+16))
	return w.aead.Seal(header, nonce, append(slices.Clone(data), kind), header)
}

const (
	recordAlert       = 21
	recordHandshake   = 22
	recordApplication = 23
)

// update is a record that changes the keys and wants the other end to do so too.
func (w *recordWriter) update() []byte {
	p := w.record(recordHandshake, []byte{24, 0, 0, 1, 1})
	w.secret = w.expand("traffic upd", 32)
	w.setKeys()
	return p
}

// withRecordWriter runs handler against a client that writes records.
func withRecordWriter(t *testing.T, handler asyncio.Handler, client func(w *recordWriter) error, opts ...asyncio.RunOption) {
	t.Helper()
	ca := newAuthority(t)
	servers := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "localhost")}}
	withTLSServer(t, "tcp", servers, handler, nil, func(ctx context.Context, addr net.Addr) error {
		_, err := asyncio.ToThread(ctx, func(context.Context) (struct{}, error) {
			w, err := newRecordWriter(addr, &tls.Config{RootCAs: ca.pool, ServerName: "localhost"})
			if err != nil {
				return struct{}{}, err
			}
			defer w.Conn.Close()
			return struct{}{}, client(w)
		})
		return err
	}, opts...)
}

// fills waits until the network takes no more, and returns how much is left.
func fills(ctx context.Context, w *asyncio.StreamWriter) int {
	left := w.Buffered()
	for same := 0; same < 20; same++ {
		asyncio.Sleep(ctx, time.Millisecond)
		if now := w.Buffered(); now != left {
			left, same = now, 0
		}
	}
	return left
}

func TestTLSKeyUpdates(t *testing.T) {
	leavesNothing(t)
	t.Run("while a write waits", func(t *testing.T) {
		data := pattern(8 << 20)
		waiting, updated := newGate(), newGate()
		withRecordWriter(t, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			w.Write(data)
			draining := asyncio.Go(ctx, w.Drain)
			asyncio.Yield(ctx)
			before := fills(ctx, w)
			if before == 0 || draining.Done() {
				t.Errorf("%d bytes wait, %v", before, draining)
			}
			waiting.open()
			line, err := r.ReadLine(ctx)
			sees(t, line, err, "updated\n", nil)
			if w.Buffered() <= before || draining.Done() {
				t.Errorf("%d bytes wait, before %d, %v", w.Buffered(), before, draining)
			}
			updated.open()
			w.WriteString("more\n")
			if err := w.Drain(ctx); err != nil {
				return err
			}
			line, err = r.ReadLine(ctx)
			sees(t, line, err, "got it\n", nil)
			return draining.Wait(ctx)
		}, func(w *recordWriter) error {
			waiting.pass()
			w.Write(slices.Concat(w.update(), w.update(), w.record(recordApplication, []byte("upd")), w.update(), w.record(recordApplication, []byte("ated\n"))))
			updated.pass()
			got := make([]byte, len(data)+5)
			if _, err := io.ReadFull(w.tls, got); err != nil {
				return err
			}
			if !bytes.Equal(got, append(data, "more\n"...)) {
				return errors.New("something else arrived")
			}
			w.Write(w.record(recordApplication, []byte("got it\n")))
			_, err := w.tls.Read(got)
			if err != io.EOF {
				return fmt.Errorf("at the end: %w", err)
			}
			w.Write(w.record(recordAlert, []byte{1, 0}))
			return nil
		})
	})
	const many = 5000
	flood := func(w *recordWriter) []byte {
		var p []byte
		for range many {
			p = append(p, w.update()...)
			p = append(p, w.record(recordApplication, []byte("x"))...)
		}
		return p
	}
	t.Run("a flood of them, by a peer that reads", func(t *testing.T) {
		withRecordWriter(t, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			got, err := r.ReadExactly(ctx, many)
			sees(t, got, err, strings.Repeat("x", many), nil)
			w.WriteString("got it\n")
			return nil
		}, func(w *recordWriter) error {
			sent := make(chan error, 1)
			go func() {
				_, err := w.Write(flood(w))
				sent <- err
			}()
			_, err := io.Copy(io.Discard, w.Conn) // crypto/tls would take so many for an attack
			return errors.Join(<-sent, err)
		})
	})
	t.Run("a flood of them, by a peer that reads late", func(t *testing.T) {
		waiting, reading := newGate(), newGate()
		data := make([]byte, 8<<20)
		withRecordWriter(t, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			w.Write(data)
			before := fills(ctx, w)
			waiting.open()
			got := asyncio.CreateTask(ctx, func(ctx context.Context) ([]byte, error) { return r.ReadExactly(ctx, many) })
			for w.Buffered()-before < 64<<10 {
				asyncio.Sleep(ctx, time.Millisecond)
			}
			if n := fills(ctx, w) - before; before == 0 || n > 65<<10 || got.Done() {
				t.Errorf("%d bytes waited, and %d more; %v", before, n, got)
			}
			reading.open()
			all, err := got.Await(ctx)
			sees(t, all, err, strings.Repeat("x", many), nil)
			return nil
		}, func(w *recordWriter) error {
			waiting.pass()
			sent := make(chan error, 1)
			go func() {
				_, err := w.Write(flood(w)) // the server does not take it all at once
				sent <- err
			}()
			reading.pass()
			_, err := io.Copy(io.Discard, w.Conn)
			return errors.Join(<-sent, err)
		})
	})
	t.Run("a flood of them, by a peer that never reads and leaves", func(t *testing.T) {
		waiting, enough := newGate(), newGate()
		withRecordWriter(t, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			w.Write(make([]byte, 8<<20))
			before := fills(ctx, w)
			waiting.open()
			got := asyncio.CreateTask(ctx, func(ctx context.Context) ([]byte, error) { return r.ReadExactly(ctx, 10*many) })
			for w.Buffered()-before < 64<<10 {
				asyncio.Sleep(ctx, time.Millisecond)
			}
			enough.open()
			if err := got.Wait(ctx); err == nil {
				t.Error("more was read than was sent")
			}
			w.Abort()
			return nil
		}, func(w *recordWriter) error {
			waiting.pass()
			go w.Write(flood(w)) // the server does not take it all
			enough.pass()
			return w.Conn.(*net.TCPConn).SetLinger(0)
		})
	})
	for name, test := range map[string]struct {
		records func(w *recordWriter) []byte
		err     string
	}{
		"useless key updates": {func(w *recordWriter) (p []byte) {
			for range 20 {
				p = append(p, w.update()...)
			}
			return p
		}, "tls: too many non-advancing records"},
		"empty records": {func(w *recordWriter) (p []byte) {
			for range 20 {
				p = append(p, w.record(recordApplication, nil)...)
			}
			return p
		}, "tls: too many ignored records"},
		"TLSP-020 a record that is corrupt": {func(w *recordWriter) []byte {
			p := w.record(recordApplication, []byte("hello\n"))
			p[len(p)-1] ^= 1
			return p
		}, "local error: tls: bad record MAC"},
		"TLSP-020 something that is no record": {func(w *recordWriter) []byte {
			return []byte("GET / HTTP/1.0\r\n\r\n")
		}, "tls: received record with version"},
		"an alert": {func(w *recordWriter) []byte {
			return w.record(recordAlert, []byte{2, 80})
		}, "remote error: tls: internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			withRecordWriter(t, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				line, err := r.ReadLine(ctx)
				sees(t, line, err, "before\n", nil)
				for range 2 {
					_, err := r.ReadLine(ctx)
					var op *net.OpError
					if err == nil || !strings.Contains(err.Error(), test.err) || !errors.As(err, &op) || op.Op != "read" || op.Addr == nil {
						t.Errorf("ReadLine = %v", err)
					}
				}
				if name != "an alert" {
					if _, err := w.WriteString("x"); err == nil || !strings.Contains(err.Error(), "local error: tls: ") || !strings.HasPrefix(err.Error(), "write tcp ") {
						t.Errorf("Write = %v", err)
					}
				}
				return nil
			}, func(w *recordWriter) error {
				w.Write(append(w.record(recordApplication, []byte("before\n")), test.records(w)...))
				_, err := io.ReadAll(w.tls)
				if name == "an alert" {
					return err
				}
				if err == nil || !strings.Contains(err.Error(), "remote error: tls: ") {
					return fmt.Errorf("the peer was told %v", err)
				}
				return nil
			})
		})
	}
}

// late is a protocol over TLS that acts when reads go on after they had to wait for
// the peer.
type late struct {
	asyncio.NopProtocol
	transport *asyncio.Transport
	act       func(tr *asyncio.Transport)
	waited    bool
	lost      int
}

func (p *late) ConnectionMade(tr *asyncio.Transport) {
	p.transport = tr
	tr.Write(make([]byte, 8<<20))
}

func (p *late) DataReceived([]byte) {
	if p.waited && p.act != nil {
		p.act(p.transport)
		p.act = nil
	}
}

func (p *late) ConnectionLost(error) { p.lost++ }

func TestTLSProtocolAfterAFlood(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	servers := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "localhost")}}
	const more = 16 << 20
	for name, c := range map[string]struct {
		act func(tr *asyncio.Transport)
		all bool
	}{
		"Abort":           {act: func(tr *asyncio.Transport) { tr.Abort() }},
		"Write and Close": {act: func(tr *asyncio.Transport) { tr.Write(make([]byte, more)); tr.Close() }, all: true},
	} {
		t.Run(name, func(t *testing.T) {
			runStreams(t, func(ctx context.Context) error {
				p := &late{act: c.act}
				s, err := asyncio.CreateServer(ctx, "tcp", "127.0.0.1:0", func() *late { return p }, &asyncio.ServerOptions{TLS: servers})
				if err != nil {
					return err
				}
				flooding, reading := newGate(), newGate()
				client := asyncio.CreateTask(ctx, func(ctx context.Context) (int64, error) {
					return asyncio.ToThread(ctx, func(context.Context) (int64, error) {
						w, err := newRecordWriter(s.Addr(), &tls.Config{RootCAs: ca.pool, ServerName: "localhost"})
						if err != nil {
							return 0, err
						}
						defer w.Conn.Close()
						flooding.pass()
						var flood []byte
						for range 5000 {
							flood = slices.Concat(flood, w.update(), w.record(recordApplication, []byte("x")))
						}
						go w.Write(flood)
						reading.pass()
						n, err := io.Copy(io.Discard, w.Conn)
						if !c.all {
							err = nil
						}
						return n, err
					})
				})
				for p.transport == nil || p.transport.WriteBufferSize() == 0 {
					asyncio.Sleep(ctx, time.Millisecond)
				}
				before := 0
				for still := 0; still < 50; still++ { // until the network takes no more
					if size := p.transport.WriteBufferSize(); size != before {
						before, still = size, 0
					}
					asyncio.Sleep(ctx, time.Millisecond)
				}
				flooding.open()
				comesTrue(t, ctx, "answers fill the buffer", func() bool { return p.transport.WriteBufferSize()-before >= 64<<10 })
				p.waited = true
				reading.open()
				if n, err := client.Await(ctx); err != nil || c.all && n < 8<<20+more {
					t.Errorf("the peer has read %d bytes, %v", n, err)
				}
				s.Close()
				if err := s.WaitClosed(ctx); err != nil || p.lost != 1 || p.act != nil {
					t.Errorf("WaitClosed = %v, the connection was lost %d times", err, p.lost)
				}
				return stillPolls(ctx)
			})
		})
	}
}

// stillPolls checks that the network is served beside a task that never waits.
func stillPolls(ctx context.Context) error {
	s, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(_ context.Context, _ *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		_, err := w.WriteString("hello\n")
		return err
	}, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	busy := asyncio.Go(ctx, func(ctx context.Context) error {
		for {
			if err := asyncio.Yield(ctx); err != nil {
				return err
			}
		}
	})
	defer busy.Cancel(nil)
	_, err = asyncio.ToThread(ctx, func(context.Context) (string, error) {
		c, err := net.DialTimeout("tcp", s.Addr().String(), 10*time.Second)
		if err != nil {
			return "", err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		p, err := io.ReadAll(c)
		return string(p), err
	})
	return err
}
