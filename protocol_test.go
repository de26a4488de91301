// Protocols over real sockets, against peers of package net: which callback comes
// when, and what may be done in it.

package asyncio_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// A witness is a Protocol that writes down what it is told.
type witness struct {
	tr   *asyncio.Transport
	log  []string // the callbacks; data in several pieces is noted once
	data []byte
	err  error             // of ConnectionLost
	on   map[string]func() // what to do in a callback
	keep bool              // what EOFReceived returns
}

func (w *witness) note(what string) {
	if n := len(w.log); what != "data" || n == 0 || w.log[n-1] != what {
		w.log = append(w.log, what)
	}
	if do := w.on[what]; do != nil {
		do()
	}
}

func (w *witness) ConnectionMade(t *asyncio.Transport) { w.tr = t; w.note("made") }
func (w *witness) DataReceived(p []byte)               { w.data = append(w.data, p...); w.note("data") }
func (w *witness) EOFReceived() bool                   { w.note("eof"); return w.keep }
func (w *witness) PauseWriting()                       { w.note("pause") }
func (w *witness) ResumeWriting()                      { w.note("resume") }
func (w *witness) ConnectionLost(err error)            { w.err = err; w.note("lost") }

func (w *witness) lost() bool { return slices.Contains(w.log, "lost") }

// told checks what the protocol was told.
func (w *witness) told(t testing.TB, want string) {
	t.Helper()
	if got := strings.Join(w.log, " "); got != want {
		t.Errorf("the protocol was told %q, want %q", got, want)
	}
}

// A bufferedWitness is a witness that provides the memory.
type bufferedWitness struct {
	witness
	buf   []byte
	asked int // calls of GetBuffer
	hints []int
	sizes []int
}

func (w *bufferedWitness) GetBuffer(hint int) []byte {
	w.asked++
	w.hints = append(w.hints, hint)
	if do := w.on["buffer"]; do != nil {
		do()
	}
	return w.buf
}

func (w *bufferedWitness) BufferUpdated(n int) {
	w.sizes = append(w.sizes, n)
	w.DataReceived(w.buf[:n])
}

// comesTrue waits until a fact is there that the network or a callback brings about.
func comesTrue(t testing.TB, ctx context.Context, what string, fact func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !fact(); {
		if err := asyncio.Sleep(ctx, 50*time.Microsecond); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("it has not come true: %s", what)
		}
	}
}

// withProtocol connects p to a peer that runs serve, and runs test.
func withProtocol[P asyncio.BaseProtocol](t *testing.T, serve func(c *net.TCPConn) error, p P, test func(ctx context.Context, tr *asyncio.Transport) error, opts ...asyncio.RunOption) {
	t.Helper()
	address := peer(t, serve)
	runStreams(t, func(ctx context.Context) error {
		tr, _, err := asyncio.CreateConnection(ctx, "tcp", address, func() P { return p }, nil)
		if err != nil {
			return err
		}
		return test(ctx, tr)
	}, opts...)
}

// silent is a peer that waits for the end of the connection.
func silent(c *net.TCPConn) error {
	io.Copy(io.Discard, c)
	return nil
}

// resets is a peer that breaks the connection as soon as it has got something.
func resets(c *net.TCPConn) error {
	if _, err := c.Read(make([]byte, 1)); err != nil {
		return err
	}
	return reset(c)
}

// says is a peer that sends text, and the end, unless the connection ends before.
func says(text string) func(c *net.TCPConn) error {
	return func(c *net.TCPConn) error {
		io.WriteString(c, text)
		return nil
	}
}

func TestProtocolOrder(t *testing.T) {
	leavesNothing(t)
	for _, network := range []string{"tcp", "unix"} {
		t.Run("EV-030 SEL-024 SEL-025 SEL-029 SEL-033 made, then the caller, then data, the end and the loss, over "+network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = socketPath(t)
			}
			ln, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			p := new(witness)
			runStreams(t, func(ctx context.Context) error {
				p.on = map[string]func(){"made": func() {
					c, err := ln.Accept()
					if err != nil {
						t.Fatal(err)
					}
					io.WriteString(c, "hello") // it is there before the caller has its turn
					c.Close()
				}}
				tr, got, err := asyncio.CreateConnection(ctx, network, ln.Addr().String(), func() *witness { return p }, nil)
				if err != nil {
					return err
				}
				p.log = append(p.log, "caller")
				if got != p || tr != p.tr || tr.Protocol() != asyncio.BaseProtocol(p) || tr.Loop() != asyncio.CurrentTask(ctx).Loop() {
					t.Errorf("CreateConnection = %v, %v", tr, got)
				}
				if tr.RemoteAddr().String() != ln.Addr().String() || tr.RemoteAddr().Network() != network {
					t.Errorf("it is connected to %v, want %v", tr.RemoteAddr(), ln.Addr())
				}
				comesTrue(t, ctx, "the loss", p.lost)
				if tr.RemoteAddr().String() != ln.Addr().String() {
					t.Error("a closed transport has forgotten its address")
				}
				return nil
			})
			p.told(t, "made caller data eof lost")
			if string(p.data) != "hello" || p.err != nil {
				t.Errorf("got %q, lost by %v", p.data, p.err)
			}
		})
	}
	t.Run("SEL-034 an end that keeps the connection open leaves it to be written to", func(t *testing.T) {
		p := &witness{keep: true}
		var answer []byte
		done := newGate()
		withProtocol(t, func(c *net.TCPConn) (err error) {
			defer done.open()
			io.WriteString(c, "bye")
			c.CloseWrite()
			answer, err = io.ReadAll(c)
			return err
		}, p, func(ctx context.Context, tr *asyncio.Transport) error {
			comesTrue(t, ctx, "the end", func() bool { return slices.Contains(p.log, "eof") })
			tr.Write([]byte("wait"))
			if tr.IsClosing() {
				t.Error("it is closing")
			}
			tr.Close()
			comesTrue(t, ctx, "the loss", p.lost)
			return nil
		})
		done.pass()
		p.told(t, "made data eof lost")
		if string(answer) != "wait" || p.err != nil {
			t.Errorf("the peer got %q; lost by %v", answer, p.err)
		}
	})
	t.Run("SEL-020 SEL-031 a reset is what ConnectionLost gets", func(t *testing.T) {
		p := new(witness)
		withProtocol(t, resets, p, func(ctx context.Context, tr *asyncio.Transport) error {
			tr.Write([]byte("x"))
			comesTrue(t, ctx, "the loss", p.lost)
			return nil
		})
		p.told(t, "made lost")
		var op *net.OpError
		if !errors.Is(p.err, syscall.ECONNRESET) || !errors.As(p.err, &op) || op.Op != "read" {
			t.Errorf("lost by %v", p.err)
		}
	})
	t.Run("SEL-021 SEL-032 any other read error is what ConnectionLost gets, too", func(t *testing.T) {
		ca := newAuthority(t)
		p := new(witness)
		address := peer(t, func(c *net.TCPConn) error {
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "127.0.0.1")}})
			if err := s.Handshake(); err != nil {
				return err
			}
			s.Write([]byte("x"))
			io.WriteString(c, "this is no record of TLS")
			return silent(c)
		})
		runStreams(t, func(ctx context.Context) error {
			_, _, err := asyncio.CreateConnection(ctx, "tcp", address, func() *witness { return p }, &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool}})
			if err != nil {
				return err
			}
			comesTrue(t, ctx, "the loss", p.lost)
			return nil
		})
		p.told(t, "made data lost")
		if e := new(tls.RecordHeaderError); p.err == nil || !errors.As(p.err, e) {
			t.Errorf("lost by %v", p.err)
		}
	})
	t.Run("data, then a reset", func(t *testing.T) {
		p := new(witness)
		made, sent := newGate(), newGate()
		withProtocol(t, func(c *net.TCPConn) error {
			made.pass()
			io.WriteString(c, "last words")
			err := reset(c)
			sent.open()
			return err
		}, p, func(ctx context.Context, tr *asyncio.Transport) error {
			tr.PauseReading()
			made.open()
			if err := sent.waitIn(ctx); err != nil {
				return err
			}
			for range 10 { // the reset has been noticed by now
				asyncio.Yield(ctx)
			}
			p.told(t, "made")
			tr.ResumeReading()
			comesTrue(t, ctx, "the loss", p.lost)
			return nil
		})
		p.told(t, "made data lost")
		if string(p.data) != "last words" || !errors.Is(p.err, syscall.ECONNRESET) {
			t.Errorf("got %q, lost by %v", p.data, p.err)
		}
	})
	t.Run("data, then a reset that a write notices", func(t *testing.T) {
		p := new(witness)
		made, sent := newGate(), newGate()
		withProtocol(t, func(c *net.TCPConn) error {
			made.pass()
			io.WriteString(c, "last words")
			err := reset(c)
			sent.open()
			return err
		}, p, func(ctx context.Context, tr *asyncio.Transport) error {
			made.open()
			<-sent // the loop does not poll meanwhile
			comesTrue(t, ctx, "the loss", func() bool {
				tr.Write([]byte("x"))
				return p.lost()
			})
			return nil
		})
		p.told(t, "made data lost")
		if string(p.data) != "last words" || p.err == nil {
			t.Errorf("got %q, lost by %v", p.data, p.err)
		}
	})
	t.Run("SEL-016 SEL-017 SEL-022 Abort drops what is buffered, once", func(t *testing.T) {
		p := new(witness)
		over := newGate()
		withProtocol(t, func(c *net.TCPConn) error { over.pass(); return nil }, p, func(ctx context.Context, tr *asyncio.Transport) error {
			defer over.open()
			fill(t, ctx, tr)
			tr.Abort()
			tr.Abort()
			if tr.WriteBufferSize() != 0 || !tr.IsClosing() || p.lost() {
				t.Errorf("after Abort: %v", tr)
			}
			asyncio.Yield(ctx)
			p.told(t, "made pause lost")
			if _, err := tr.SyscallConn(); err == nil {
				t.Error("the descriptor is still there")
			}
			return nil
		})
		if p.err != nil {
			t.Errorf("lost by %v", p.err)
		}
	})
	t.Run("SEL-018 SEL-019 SEL-052 Close waits until all is sent, and reads no more", func(t *testing.T) {
		p := new(witness)
		over := newGate()
		size := 0
		withProtocol(t, func(c *net.TCPConn) error {
			io.WriteString(c, "unheard")
			over.pass()
			got, err := io.ReadAll(c)
			if len(got) != size && !errors.Is(err, syscall.ECONNRESET) { // the system resets when something was not read
				t.Errorf("%d bytes came, %v; %d were sent", len(got), err, size)
			}
			return nil
		}, p, func(ctx context.Context, tr *asyncio.Transport) error {
			tr.PauseReading()
			size = fill(t, ctx, tr)
			tr.ResumeReading()
			tr.Close()
			tr.Close()
			for range 20 {
				asyncio.Yield(ctx)
			}
			if p.lost() || !tr.IsClosing() || tr.IsReading() || tr.WriteBufferSize() == 0 {
				t.Errorf("after Close: %v", tr)
			}
			over.open()
			comesTrue(t, ctx, "the loss", p.lost)
			return nil
		})
		if p.err != nil || len(p.data) != 0 || slices.Contains(p.log, "data") {
			t.Errorf("lost by %v after %q", p.err, p.log)
		}
	})
	t.Run("a Close just before the end of the loop", func(t *testing.T) {
		p := new(witness)
		withProtocol(t, silent, p, func(ctx context.Context, tr *asyncio.Transport) error { return tr.Close() })
		p.told(t, "made lost")
		if p.err != nil {
			t.Errorf("lost by %v", p.err)
		}
	})
	t.Run("EV-071 the end of the loop closes what is open", func(t *testing.T) {
		p := new(witness)
		withProtocol(t, silent, p, func(ctx context.Context, tr *asyncio.Transport) error { return nil })
		p.told(t, "made lost")
		if !errors.Is(p.err, asyncio.ErrLoopClosed) {
			t.Errorf("lost by %v", p.err)
		}
		if s := p.tr.String(); !strings.HasPrefix(s, "<Transport closed 127.0.0.1:") {
			t.Error(s)
		}
		p.tr.Abort() // harmless
		if err := p.tr.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("SEL-030 SEL-066 reads that fill the buffer to the brim", func(t *testing.T) {
		const size = 64 << 10 // as much as one read takes
		p := new(witness)
		withProtocol(t, func(c *net.TCPConn) error {
			for range 3 {
				if _, err := c.Write(make([]byte, size)); err != nil {
					return err
				}
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					return err
				}
			}
			return nil
		}, p, func(ctx context.Context, tr *asyncio.Transport) error {
			for i := range 3 {
				comesTrue(t, ctx, "a chunk", func() bool { return len(p.data) == (i+1)*size })
				tr.Write([]byte("x"))
			}
			comesTrue(t, ctx, "the loss", p.lost)
			return nil
		})
		p.told(t, "made data eof lost")
	})
	t.Run("on a virtual clock the network is waited for", func(t *testing.T) {
		p := new(witness)
		withProtocol(t, func(c *net.TCPConn) error {
			time.Sleep(20 * time.Millisecond) // long enough for the loop to think that nothing will come
			_, err := io.WriteString(c, "hello")
			return err
		}, p, func(ctx context.Context, tr *asyncio.Transport) error {
			lost := asyncio.NewFuture[error](ctx)
			p.on = map[string]func(){"lost": func() { lost.SetResult(nil) }}
			return lost.Wait(ctx)
		}, asynciotest.WithVirtualClock())
		p.told(t, "made data eof lost")
	})
}

// fill writes until more waits in the buffer of tr than the kernel will take, and
// returns how much was written.
func fill(t testing.TB, ctx context.Context, tr *asyncio.Transport) int {
	t.Helper()
	chunk := make([]byte, 1<<20)
	size := 0
	for tr.WriteBufferSize() < plenty {
		if _, err := tr.Write(chunk); err != nil {
			t.Fatal(err)
		}
		size += len(chunk)
	}
	for range 10 {
		asyncio.Yield(ctx)
	}
	if tr.WriteBufferSize() == 0 {
		t.Fatal("the kernel has taken it all")
	}
	return size
}

// flood writes until p is told to pause, while the peer reads.
func flood(t testing.TB, tr *asyncio.Transport, p *witness) {
	t.Helper()
	for chunk := make([]byte, 16<<20); !slices.Contains(p.log, "pause"); {
		if _, err := tr.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProtocolPause(t *testing.T) {
	leavesNothing(t)
	t.Run("SEL-023 SEL-026 SEL-028 pausing and resuming twice is harmless, also after Close", func(t *testing.T) {
		p := new(witness)
		asked := newGate()
		withProtocol(t, func(c *net.TCPConn) error {
			asked.pass()
			io.WriteString(c, "data")
			return silent(c)
		}, p, func(ctx context.Context, tr *asyncio.Transport) error {
			reads := func(want bool) {
				t.Helper()
				if tr.IsReading() != want {
					t.Errorf("IsReading = %t", !want)
				}
			}
			reads(true)
			tr.ResumeReading()
			reads(true)
			tr.PauseReading()
			tr.PauseReading()
			reads(false)
			asked.open()
			time.Sleep(time.Millisecond)
			for range 20 {
				asyncio.Yield(ctx)
			}
			p.told(t, "made")
			tr.ResumeReading()
			tr.ResumeReading()
			reads(true)
			comesTrue(t, ctx, "data", func() bool { return string(p.data) == "data" })
			tr.Close()
			for range 2 {
				reads(false)
				tr.PauseReading()
				tr.ResumeReading()
			}
			comesTrue(t, ctx, "the loss", p.lost)
			tr.PauseReading()
			tr.ResumeReading()
			reads(false)
			return nil
		})
		p.told(t, "made data lost")
	})
	t.Run("SEL-027 pausing in ConnectionMade prevents the first read", func(t *testing.T) {
		p := new(witness)
		p.on = map[string]func(){"made": func() { p.tr.PauseReading() }}
		withProtocol(t, says("hello"), p, func(ctx context.Context, tr *asyncio.Transport) error {
			time.Sleep(5 * time.Millisecond)
			for range 20 {
				asyncio.Yield(ctx)
			}
			p.told(t, "made")
			tr.ResumeReading()
			comesTrue(t, ctx, "the loss", p.lost)
			return nil
		})
		p.told(t, "made data eof lost")
	})
	t.Run("a pause in the middle of what has arrived, with the end behind it", func(t *testing.T) {
		const size = 1 << 20
		p := new(witness)
		pauses := 0
		p.on = map[string]func(){"data": func() { p.tr.PauseReading(); pauses++ }}
		withProtocol(t, says(strings.Repeat("x", size)), p, func(ctx context.Context, tr *asyncio.Transport) error {
			for !p.lost() {
				before, paused := len(p.data), !tr.IsReading()
				for range 5 {
					asyncio.Yield(ctx)
				}
				if len(p.data) != before && paused {
					t.Fatal("data came while reading was paused")
				}
				if tr.ResumeReading(); !p.lost() {
					if err := asyncio.Sleep(ctx, 10*time.Microsecond); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if len(p.data) != size || pauses < size/(256<<10) {
			t.Errorf("%d bytes in %d pieces", len(p.data), pauses)
		}
		if got := p.log[len(p.log)-2:]; !slices.Equal(got, []string{"eof", "lost"}) {
			t.Errorf("at last %q", got)
		}
	})
}

// TestProtocolPanics: a panic in a callback is reported. It ends the connection if
// the protocol cannot go on.
func TestProtocolPanics(t *testing.T) {
	leavesNothing(t)
	for _, test := range []struct {
		name, where string
		method      string
		buffered    bool
		fatal       bool
		told        string
	}{
		{"ConnectionMade", "made", "ConnectionMade", false, true, "made lost"},
		{"SEL-035 DataReceived", "data", "DataReceived", false, true, "made data lost"},
		{"SEL-036 EOFReceived", "eof", "EOFReceived", false, true, "made data eof lost"},
		{"PauseWriting", "pause", "PauseWriting", false, false, "made data eof pause resume lost"},
		{"ResumeWriting", "resume", "ResumeWriting", false, false, "made data eof pause resume lost"},
		{"ConnectionLost", "lost", "ConnectionLost", false, false, "made data eof pause resume lost"},
		{"SEL-061 GetBuffer", "buffer", "GetBuffer", true, true, "made lost"},
		{"SEL-063 BufferUpdated", "data", "BufferUpdated", true, true, "made data lost"},
		{"SEL-065 EOFReceived of a BufferedProtocol", "eof", "EOFReceived", true, true, "made data eof lost"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var reported reporting
			p := &bufferedWitness{witness: witness{keep: true}, buf: make([]byte, 100)}
			p.on = map[string]func(){test.where: func() { panic("oh") }}
			address := peer(t, func(c *net.TCPConn) error {
				io.WriteString(c, "hello")
				c.CloseWrite()
				io.Copy(io.Discard, c)
				return nil
			})
			runStreams(t, func(ctx context.Context) error {
				factory := func() asyncio.BaseProtocol { return &p.witness }
				if test.buffered {
					factory = func() asyncio.BaseProtocol { return p }
				}
				tr, _, err := asyncio.CreateConnection(ctx, "tcp", address, factory, nil)
				if test.where == "made" {
					if e := new(asyncio.PanicError); tr != nil || !errors.As(err, &e) || e.Value != "oh" {
						t.Errorf("CreateConnection = %v, %v", tr, err)
					}
				} else if err != nil {
					return err
				}
				comesTrue(t, ctx, "the end", func() bool { return p.lost() || slices.Contains(p.log, "eof") })
				if !test.fatal {
					flood(t, tr, &p.witness)
					comesTrue(t, ctx, "all is sent", func() bool { return tr.WriteBufferSize() == 0 })
					tr.Close()
				}
				comesTrue(t, ctx, "the loss", p.lost)
				return nil
			}, reported.option())
			p.told(t, test.told)
			reported.expect(t, "panic in "+test.method+" of a protocol: panic: oh")
			if e := new(asyncio.PanicError); test.fatal && (!errors.As(p.err, &e) || e.Value != "oh") || !test.fatal && p.err != nil {
				t.Errorf("lost by %v", p.err)
			}
		})
	}
	t.Run("SEL-062 an empty buffer is like a panic of GetBuffer", func(t *testing.T) {
		var reported reporting
		p := new(bufferedWitness)
		withProtocol(t, says("hello"), p, func(ctx context.Context, tr *asyncio.Transport) error {
			comesTrue(t, ctx, "the loss", p.lost)
			return nil
		}, reported.option())
		p.told(t, "made lost")
		mistake(t, p.err, asyncio.ErrBadArgument)
		if len(reported.reports) != 1 {
			t.Errorf("reported %q", reported.reports)
		}
	})
}

// TestProtocolActs does everything that can be done in every callback, and checks
// what is promised whatever happens: ConnectionMade comes first, ConnectionLost last
// and once, and nothing is reported.
func TestProtocolActs(t *testing.T) {
	leavesNothing(t)
	acts := map[string]func(p *witness, tr *asyncio.Transport){
		"nothing": func(p *witness, tr *asyncio.Transport) {},
		"Close":   func(p *witness, tr *asyncio.Transport) { tr.Close() },
		"Abort":   func(p *witness, tr *asyncio.Transport) { tr.Abort() },
		"pause, and resume later": func(p *witness, tr *asyncio.Transport) {
			tr.PauseReading()
			tr.Loop().CallSoon(tr.ResumeReading)
		},
		"pause and resume": func(p *witness, tr *asyncio.Transport) { tr.PauseReading(); tr.ResumeReading() },
		"Write":            func(p *witness, tr *asyncio.Transport) { tr.Write([]byte("x")) },
		"Write much":       func(p *witness, tr *asyncio.Transport) { tr.Write(make([]byte, 300<<10)) },
		"WriteEOF":         func(p *witness, tr *asyncio.Transport) { tr.WriteEOF() },
		"Write and Close":  func(p *witness, tr *asyncio.Transport) { tr.Write([]byte("x")); tr.Close() },
		"SetProtocol":      func(p *witness, tr *asyncio.Transport) { tr.SetProtocol(&bufferedWitness{witness: *p}) },
		"change of the marks": func(p *witness, tr *asyncio.Transport) {
			tr.SetWriteBufferLimits(1, 0)
			tr.SetWriteBufferLimits(64<<10, 0)
		},
	}
	for _, callback := range []string{"made", "data", "eof", "pause", "resume", "lost", "buffer"} {
		for name, act := range acts {
			t.Run(callback+" "+name, func(t *testing.T) {
				writing := callback == "pause" || callback == "resume"
				p := &bufferedWitness{buf: make([]byte, 1000), witness: witness{keep: writing}}
				now := p // the present protocol, which has the log of the one before
				done := false
				p.on = map[string]func(){}
				p.on[callback] = func() {
					if done {
						return
					}
					done = true
					if name == "SetProtocol" {
						now = &bufferedWitness{buf: make([]byte, 500), witness: p.witness}
						if err := p.tr.SetProtocol(now); err != nil {
							t.Error(err)
						}
						return
					}
					act(&p.witness, p.tr)
				}
				withProtocol(t, func(c *net.TCPConn) error {
					c.Write(make([]byte, 100<<10))
					c.CloseWrite()
					io.Copy(io.Discard, c)
					return nil
				}, p, func(ctx context.Context, tr *asyncio.Transport) error {
					if writing {
						flood(t, tr, &p.witness)
						comesTrue(t, ctx, "the callback", func() bool { return done })
						tr.Close()
					}
					comesTrue(t, ctx, "the loss", func() bool { return now.lost() || p.lost() })
					for range 5 {
						asyncio.Yield(ctx)
					}
					return nil
				})
				log := now.log
				if p.lost() {
					log = p.log
				}
				if !done || log[0] != "made" || slices.Index(log, "lost") != len(log)-1 || now.err != nil {
					t.Errorf("done: %t; told %q, lost by %v", done, log, now.err)
				}
			})
		}
	}
}

func TestProtocolBuffered(t *testing.T) {
	leavesNothing(t)
	t.Run("SEL-060 BUF-001 a large message comes in pieces of the buffer", func(t *testing.T) {
		want := pattern(1 << 20)
		p := &bufferedWitness{buf: make([]byte, 1000)}
		withProtocol(t, says(string(want)), p, func(ctx context.Context, tr *asyncio.Transport) error {
			comesTrue(t, ctx, "the loss", p.lost)
			return nil
		})
		p.told(t, "made data eof lost")
		if !bytes.Equal(p.data, want) || len(p.sizes) < len(want)/1000 || slices.Max(p.sizes) > 1000 || slices.Min(p.sizes) < 1 {
			t.Errorf("%d bytes came in %d pieces", len(p.data), len(p.sizes))
		}
		if slices.Max(p.hints) != -1 || p.asked < len(p.sizes) {
			t.Errorf("GetBuffer was called %d times with the hints %v", p.asked, slices.Compact(p.hints))
		}
	})
	t.Run("SEL-065 the end may keep it open, and asks for no more buffers", func(t *testing.T) {
		p := &bufferedWitness{buf: make([]byte, 10), witness: witness{keep: true}}
		withProtocol(t, func(c *net.TCPConn) error {
			c.CloseWrite()
			io.Copy(io.Discard, c)
			return nil
		}, p, func(ctx context.Context, tr *asyncio.Transport) error {
			comesTrue(t, ctx, "the end", func() bool { return slices.Contains(p.log, "eof") })
			asked := p.asked
			tr.Write(make([]byte, 16<<20)) // whose events say that it is readable, too
			comesTrue(t, ctx, "all is sent", func() bool { return tr.WriteBufferSize() == 0 })
			tr.Close()
			comesTrue(t, ctx, "the loss", p.lost)
			if p.asked != asked {
				t.Errorf("GetBuffer was called after the end of the stream")
			}
			return nil
		})
	})
	t.Run("SEL-066 a reset", func(t *testing.T) {
		p := &bufferedWitness{buf: make([]byte, 10)}
		withProtocol(t, resets, p, func(ctx context.Context, tr *asyncio.Transport) error {
			tr.Write([]byte("x"))
			comesTrue(t, ctx, "the loss", p.lost)
			return nil
		})
		p.told(t, "made lost")
		if !errors.Is(p.err, syscall.ECONNRESET) {
			t.Errorf("lost by %v", p.err)
		}
	})
	t.Run("pausing in GetBuffer", func(t *testing.T) {
		p := &bufferedWitness{buf: make([]byte, 3)}
		p.on = map[string]func(){"buffer": func() {
			if p.asked%2 == 1 {
				p.tr.PauseReading()
				p.tr.Loop().CallSoon(p.tr.ResumeReading)
			}
		}}
		withProtocol(t, says("hello, world"), p, func(ctx context.Context, tr *asyncio.Transport) error {
			comesTrue(t, ctx, "the loss", p.lost)
			return nil
		})
		if string(p.data) != "hello, world" {
			t.Errorf("got %q", p.data)
		}
	})
	t.Run("SEL-064 the kind can be switched in flight", func(t *testing.T) {
		want := pattern(4 << 20) // more than ten reads
		plain := new(witness)
		buffered := &bufferedWitness{buf: make([]byte, 1000)}
		var got []byte
		switches := 0
		swap := func(to asyncio.BaseProtocol) func() {
			return func() {
				got = append(got, plain.data...)
				got = append(got, buffered.data...)
				plain.data, buffered.data = nil, nil
				if err := plain.tr.SetProtocol(to); err != nil {
					t.Error(err)
				}
				if plain.tr.Protocol() != to {
					t.Error("it has the old protocol still")
				}
				switches++
			}
		}
		plain.on = map[string]func(){"data": swap(buffered)}
		buffered.on = map[string]func(){"data": swap(plain)}
		withProtocol(t, says(string(want)), plain, func(ctx context.Context, tr *asyncio.Transport) error {
			comesTrue(t, ctx, "the loss", func() bool { return plain.lost() || buffered.lost() })
			return nil
		})
		if !bytes.Equal(got, want) || switches < 10 {
			t.Errorf("%d bytes of %d, %d switches", len(got), len(want), switches)
		}
		if n := strings.Count(strings.Join(append(plain.log, buffered.log...), " "), "made"); n != 1 {
			t.Errorf("ConnectionMade was called %d times", n)
		}
	})
	t.Run("a switch in GetBuffer loses nothing", func(t *testing.T) {
		first := &bufferedWitness{buf: make([]byte, 1000)}
		second := &bufferedWitness{buf: make([]byte, 1000)}
		first.on = map[string]func(){"buffer": func() { first.tr.SetProtocol(second) }}
		withProtocol(t, says("hello"), first, func(ctx context.Context, tr *asyncio.Transport) error {
			comesTrue(t, ctx, "the loss", second.lost)
			return nil
		})
		first.told(t, "made")
		second.told(t, "data eof lost")
		if string(second.data) != "hello" {
			t.Errorf("got %q", second.data)
		}
	})
}

func TestTransportWrite(t *testing.T) {
	leavesNothing(t)
	// run lets a peer read all that test writes, when the gate has been opened, and
	// returns it.
	run := func(t *testing.T, p *witness, test func(ctx context.Context, tr *asyncio.Transport, read gate) error) (got []byte) {
		read, done := newGate(), newGate()
		withProtocol(t, func(c *net.TCPConn) (err error) {
			defer done.open()
			read.pass()
			got, err = io.ReadAll(c)
			return err
		}, p, func(ctx context.Context, tr *asyncio.Transport) error {
			if err := test(ctx, tr, read); err != nil {
				return err
			}
			comesTrue(t, ctx, "the loss", p.lost)
			return nil
		})
		done.pass()
		if p.err != nil {
			t.Errorf("lost by %v", p.err)
		}
		return got
	}
	t.Run("SEL-037 SEL-042 SEL-044 what fits goes out at once, and nothing is nothing", func(t *testing.T) {
		p := new(witness)
		got := run(t, p, func(ctx context.Context, tr *asyncio.Transport, read gate) error {
			read.open()
			n, err := tr.Write([]byte("one "))
			m, err2 := tr.Write(nil)
			err3 := tr.WriteLines([][]byte{[]byte("two "), nil, []byte("three")})
			if err := errors.Join(err, err2, err3); n != 4 || m != 0 || err != nil || tr.WriteBufferSize() != 0 {
				t.Errorf("wrote %d and %d, %v; %d bytes wait", n, m, err, tr.WriteBufferSize())
			}
			return tr.Close()
		})
		p.told(t, "made lost")
		if string(got) != "one two three" {
			t.Errorf("the peer got %q", got)
		}
	})
	t.Run("SEL-038 SEL-039 SEL-040 SEL-041 SEL-043 SEL-045 SEL-046 SEL-048 SEL-051 SEL-054 what does not fit is kept, in order, as a copy", func(t *testing.T) {
		p := new(witness)
		var want []byte
		got := run(t, p, func(ctx context.Context, tr *asyncio.Transport, read gate) error {
			chunk := pattern(3 << 20)
			for i := range 6 {
				want = append(want, chunk...)
				if i%2 == 0 {
					tr.Write(chunk)
				} else { // several buffers, the border is somewhere inside them
					var lines [][]byte
					for line := range slices.Chunk(chunk, 100_000) {
						lines = append(lines, line)
					}
					tr.WriteLines(lines)
				}
				chunk[i]++ // which changes nothing in what was written
				chunk = append(chunk[:0:0], chunk...)
				clear(chunk[:100])
			}
			size := tr.WriteBufferSize()
			tr.Write([]byte("the end"))
			want = append(want, "the end"...)
			if size == 0 || tr.WriteBufferSize() != size+7 {
				t.Errorf("%d bytes waited, then %d", size, tr.WriteBufferSize())
			}
			p.told(t, "made pause")
			read.open()
			comesTrue(t, ctx, "all is sent", func() bool { return tr.WriteBufferSize() == 0 })
			return tr.Close()
		})
		p.told(t, "made pause resume lost")
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes came, %d were sent", len(got), len(want))
		}
	})
	t.Run("SEL-047 an error while flushing drops the buffer and ends the connection", func(t *testing.T) {
		p := new(witness)
		full := newGate()
		withProtocol(t, func(c *net.TCPConn) error { full.pass(); return reset(c) }, p, func(ctx context.Context, tr *asyncio.Transport) error {
			fill(t, ctx, tr)
			full.open()
			comesTrue(t, ctx, "the loss", p.lost)
			if tr.WriteBufferSize() != 0 {
				t.Errorf("%d bytes wait", tr.WriteBufferSize())
			}
			return nil
		})
		p.told(t, "made pause lost")
		if !errors.Is(p.err, syscall.ECONNRESET) && !errors.Is(p.err, syscall.EPIPE) {
			t.Errorf("lost by %v", p.err)
		}
	})
	t.Run("SEL-049 writes after the end are errors", func(t *testing.T) {
		p := new(witness)
		withProtocol(t, silent, p, func(ctx context.Context, tr *asyncio.Transport) error {
			tr.Close()
			for range 10 {
				n, err := tr.Write([]byte("x"))
				err2 := tr.WriteLines([][]byte{[]byte("x")})
				if n != 0 || !errors.Is(err, net.ErrClosed) || !errors.Is(err2, net.ErrClosed) {
					t.Errorf("Write = %d, %v; WriteLines = %v", n, err, err2)
				}
				asyncio.Yield(ctx)
			}
			return nil
		})
		p.told(t, "made lost")
	})
	t.Run("SEL-055 SEL-056 SEL-057 the end with nothing buffered, twice, and after Close", func(t *testing.T) {
		p := new(witness)
		withProtocol(t, func(c *net.TCPConn) error {
			got, err := io.ReadAll(c)
			if string(got) != "bye" || err != nil {
				t.Errorf("the peer got %q, %v", got, err)
			}
			_, err = c.Write([]byte("you too"))
			return err
		}, p, func(ctx context.Context, tr *asyncio.Transport) error {
			if !tr.CanWriteEOF() {
				t.Error("it cannot write the end")
			}
			tr.Write([]byte("bye"))
			for range 2 {
				if err := tr.WriteEOF(); err != nil {
					t.Errorf("WriteEOF = %v", err)
				}
			}
			if _, err := tr.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Write = %v", err)
			}
			comesTrue(t, ctx, "the loss", p.lost)
			return nil
		})
		p.told(t, "made data eof lost")
		q := new(witness)
		withProtocol(t, silent, q, func(ctx context.Context, tr *asyncio.Transport) error {
			tr.Close()
			if err := tr.WriteEOF(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("WriteEOF = %v", err)
			}
			return nil
		})
		q.told(t, "made lost")
	})
	t.Run("SEL-053 the end waits for what is buffered", func(t *testing.T) {
		p := &witness{keep: true}
		size := 0
		got := run(t, p, func(ctx context.Context, tr *asyncio.Transport, read gate) error {
			size = fill(t, ctx, tr)
			if err := tr.WriteEOF(); err != nil {
				return err
			}
			if tr.WriteBufferSize() == 0 {
				t.Error("nothing waits any more")
			}
			read.open()
			comesTrue(t, ctx, "the peer's end", func() bool { return slices.Contains(p.log, "eof") })
			return tr.Close()
		})
		if len(got) != size {
			t.Errorf("%d bytes came, %d were sent", len(got), size)
		}
	})
	t.Run("SEL-058 what ResumeWriting adds before Close is sent", func(t *testing.T) {
		p := new(witness)
		size := 0
		p.on = map[string]func(){"resume": func() {
			n, _ := p.tr.Write(make([]byte, 5<<20))
			size += n
			p.tr.Close()
		}}
		got := run(t, p, func(ctx context.Context, tr *asyncio.Transport, read gate) error {
			size += fill(t, ctx, tr)
			read.open()
			return nil
		})
		if p.log[len(p.log)-1] != "lost" {
			t.Errorf("told %q", p.log)
		}
		if len(got) != size {
			t.Errorf("%d bytes came, %d were sent", len(got), size)
		}
	})
	for _, vectored := range []bool{false, true} {
		t.Run(fmt.Sprintf("SEL-059 Close in ResumeWriting ends it once, vectored %t", vectored), func(t *testing.T) {
			p := new(witness)
			p.on = map[string]func(){"resume": func() { p.tr.Close() }}
			size := 0
			got := run(t, p, func(ctx context.Context, tr *asyncio.Transport, read gate) error {
				chunk := make([]byte, 1<<20)
				for ; !slices.Contains(p.log, "pause"); size += len(chunk) {
					if vectored {
						tr.WriteLines([][]byte{chunk[:10], chunk[10:]})
					} else {
						tr.Write(chunk)
					}
				}
				read.open()
				return nil
			})
			p.told(t, "made pause resume lost")
			if len(got) != size {
				t.Errorf("%d bytes came, %d were sent", len(got), size)
			}
		})
	}
	t.Run("EV-042 a queued empty chunk never blocks closing", func(t *testing.T) {
		p := new(witness)
		size := 0
		got := run(t, p, func(ctx context.Context, tr *asyncio.Transport, read gate) error {
			size = fill(t, ctx, tr)
			tr.Write(nil)
			tr.WriteLines([][]byte{nil, {}})
			tr.WriteLines(nil)
			read.open()
			return tr.Close()
		})
		if len(got) != size {
			t.Errorf("%d bytes came, %d were sent", len(got), size)
		}
	})
	t.Run("TR-002 lines go out joined", func(t *testing.T) {
		p := new(witness)
		got := run(t, p, func(ctx context.Context, tr *asyncio.Transport, read gate) error {
			read.open()
			tr.WriteLines([][]byte{[]byte("a"), []byte("bc"), nil, []byte("d")})
			return tr.Close()
		})
		if string(got) != "abcd" {
			t.Errorf("the peer got %q", got)
		}
	})
}

func TestTransportLimits(t *testing.T) {
	leavesNothing(t)
	t.Run("TR-004 the marks must be in order", func(t *testing.T) {
		withProtocol(t, silent, new(witness), func(ctx context.Context, tr *asyncio.Transport) error {
			for _, marks := range [][2]int{{1, 2}, {0, -1}, {-1, -2}, {-1, 0}} {
				mistake(t, tr.SetWriteBufferLimits(marks[0], marks[1]), asyncio.ErrBadArgument)
			}
			if high, low := tr.WriteBufferLimits(); high != 64<<10 || low != 16<<10 {
				t.Errorf("the marks are %d and %d", high, low)
			}
			return nil
		})
	})
	t.Run("TR-005 marks below what waits take effect at once", func(t *testing.T) {
		p := new(witness)
		over := newGate()
		withProtocol(t, func(c *net.TCPConn) error { over.pass(); return silent(c) }, p, func(ctx context.Context, tr *asyncio.Transport) error {
			defer over.open()
			if err := tr.SetWriteBufferLimits(1<<40, 0); err != nil {
				return err
			}
			fill(t, ctx, tr)
			p.told(t, "made")
			tr.SetWriteBufferLimits(tr.WriteBufferSize(), 0) // not above the mark
			p.told(t, "made")
			tr.SetWriteBufferLimits(tr.WriteBufferSize()-1, 0)
			p.told(t, "made pause")
			tr.SetWriteBufferLimits(1<<30, 1<<30) // now below the low one
			p.told(t, "made pause resume")
			tr.Abort()
			return nil
		})
	})
}

func TestTransportElsewhere(t *testing.T) {
	leavesNothing(t)
	p := new(witness)
	withProtocol(t, silent, p, func(ctx context.Context, tr *asyncio.Transport) error {
		elsewhere(func() {
			_, err := tr.Write([]byte("x"))
			mistake(t, err, asyncio.ErrWrongGoroutine)
			mistake(t, tr.WriteLines(nil), asyncio.ErrWrongGoroutine)
			mistake(t, tr.WriteEOF(), asyncio.ErrWrongGoroutine)
			mistake(t, tr.Close(), asyncio.ErrWrongGoroutine)
			mistake(t, tr.SetProtocol(p), asyncio.ErrWrongGoroutine)
			mistake(t, tr.SetWriteBufferLimits(0, 0), asyncio.ErrWrongGoroutine)
			mistake(t, tr.StartTLS(ctx, nil, nil), asyncio.ErrWrongGoroutine)
			panicsWith(t, asyncio.ErrWrongGoroutine, tr.Abort)
			panicsWith(t, asyncio.ErrWrongGoroutine, tr.PauseReading)
			panicsWith(t, asyncio.ErrWrongGoroutine, tr.ResumeReading)
			_, _, err = asyncio.CreateConnection(ctx, "tcp", tr.RemoteAddr().String(), func() *witness { return p }, nil)
			mistake(t, err, asyncio.ErrWrongGoroutine)
		})
		mistake(t, tr.SetProtocol(nil), asyncio.ErrBadArgument)
		mistake(t, tr.SetProtocol(halfProtocol{}), asyncio.ErrBadArgument)
		if tr.IsClosing() || !tr.IsReading() || tr.Protocol() != asyncio.BaseProtocol(p) {
			t.Error("one of them had an effect")
		}
		return nil
	})
}

// A halfProtocol cannot receive.
type halfProtocol struct{}

func (halfProtocol) ConnectionMade(*asyncio.Transport) {}
func (halfProtocol) ConnectionLost(error)              {}
func (halfProtocol) PauseWriting()                     {}
func (halfProtocol) ResumeWriting()                    {}

// PROTO-001 is about protocols that carry out nothing themselves.
func TestNopProtocol(t *testing.T) {
	t.Run("PROTO-001 the default callbacks do nothing", func(t *testing.T) {
		var p asyncio.Protocol = asyncio.NopProtocol{}
		p.ConnectionMade(nil)
		p.DataReceived([]byte("x"))
		p.PauseWriting()
		p.ResumeWriting()
		p.ConnectionLost(io.EOF)
		if p.EOFReceived() {
			t.Error("EOFReceived keeps the connection open")
		}
	})
}

func TestCreateConnectionFails(t *testing.T) {
	leavesNothing(t)
	factory := func() *witness { return new(witness) }
	pair := func(t *testing.T) (net.Conn, func() bool) { // a connection, and whether its peer sees the end
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return c, func() bool {
			defer s.Close()
			s.SetReadDeadline(time.Now().Add(10 * time.Second))
			_, err := s.Read(make([]byte, 1))
			return !errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
	t.Run("BASE-059 EV-056 a connection that is refused", func(t *testing.T) {
		addr := refused(t, "127.0.0.1").String()
		runStreams(t, func(ctx context.Context) error {
			tr, p, err := asyncio.CreateConnection(ctx, "tcp", addr, factory, nil)
			if tr != nil || p != nil || !errors.Is(err, syscall.ECONNREFUSED) || dialedTo(t, err)[0] != addr {
				t.Errorf("CreateConnection = %v, %v, %v", tr, p, err)
			}
			return nil
		})
	})
	for name, test := range map[string]struct {
		opts    asyncio.ConnOptions
		address string
		factory func() *witness
	}{
		"BASE-054 an address beside a connection": {asyncio.ConnOptions{}, "127.0.0.1:1", factory},
		"a local address beside a connection":     {asyncio.ConnOptions{LocalAddr: "127.0.0.1:0"}, "", factory},
		"no factory":                              {asyncio.ConnOptions{}, "", nil},
		"a limit of lines":                        {asyncio.ConnOptions{Limit: 1}, "", factory},
		"BASE-075 a TLS timeout without TLS":      {asyncio.ConnOptions{TLSHandshakeTimeout: 1}, "", factory},
	} {
		t.Run(name, func(t *testing.T) {
			c, closed := pair(t)
			runStreams(t, func(ctx context.Context) error {
				network := ""
				if test.address != "" {
					network = "tcp"
				}
				test.opts.Conn = c
				_, _, err := asyncio.CreateConnection(ctx, network, test.address, test.factory, &test.opts)
				mistake(t, err, asyncio.ErrBadArgument)
				return nil
			})
			if !closed() {
				t.Error("the connection is open still")
			}
		})
	}
	t.Run("BASE-055 UNIX-015 neither an address nor a connection", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			_, _, err := asyncio.CreateConnection(ctx, "", "", factory, nil)
			mistake(t, err, asyncio.ErrBadArgument)
			return nil
		})
	})
	for name, fail := range map[string]func() asyncio.BaseProtocol{
		"panics":              func() asyncio.BaseProtocol { panic("oh") },
		"returns no protocol": func() asyncio.BaseProtocol { return halfProtocol{} },
		"returns nothing":     func() asyncio.BaseProtocol { return nil },
	} {
		for _, existing := range []bool{false, true} {
			t.Run(fmt.Sprintf("BASE-064 BASE-065 a factory that %s, with an existing connection %t", name, existing), func(t *testing.T) {
				c, closed := pair(t)
				ended := newGate()
				address := peer(t, func(c *net.TCPConn) error {
					c.Read(make([]byte, 1))
					ended.open()
					return nil
				})
				if !existing {
					defer ended.pass()
				}
				err := asyncio.Run(t.Context(), func(ctx context.Context) (err error) {
					opts := new(asyncio.ConnOptions)
					network := "tcp"
					if existing {
						network, address, opts.Conn = "", "", c
					}
					before := len(descriptors())
					defer func() {
						if p := recover(); p != nil {
							err = fmt.Errorf("panic: %v", p)
						}
						want := before
						if existing {
							want--
						}
						if n := descriptorsLeft(want + 1); n > want+1 { // the peer's end
							t.Errorf("%d descriptors are open, before %d", n, before)
						}
					}()
					_, _, err = asyncio.CreateConnection(ctx, network, address, fail, opts)
					return err
				})
				if name == "panics" && (err == nil || err.Error() != "panic: oh") || name != "panics" && !errors.Is(err, asyncio.ErrBadArgument) {
					t.Errorf("CreateConnection: %v", err)
				}
				if !existing {
					c.Close()
				}
				if !closed() {
					t.Error("the connection is open still")
				}
			})
		}
	}
	t.Run("BASE-056 UNIX-018 a socket for datagrams", func(t *testing.T) {
		c, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		runStreams(t, func(ctx context.Context) error {
			_, _, err := asyncio.CreateConnection(ctx, "", "", factory, &asyncio.ConnOptions{Conn: c})
			if !errors.Is(err, syscall.EPROTOTYPE) {
				t.Errorf("CreateConnection = %v", err)
			}
			return nil
		})
		if _, err := c.Write(nil); !errors.Is(err, net.ErrClosed) {
			t.Error("the socket is open still")
		}
	})
	t.Run("a connection that is no socket", func(t *testing.T) {
		if onPortable {
			t.Skip("the portable backend takes over any connection")
		}
		c, other := net.Pipe()
		runStreams(t, func(ctx context.Context) error {
			_, _, err := asyncio.CreateConnection(ctx, "", "", factory, &asyncio.ConnOptions{Conn: c})
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("CreateConnection = %v", err)
			}
			return nil
		})
		if _, err := other.Write([]byte("x")); err != io.ErrClosedPipe {
			t.Errorf("the other end of the pipe: %v", err)
		}
	})
	t.Run("a connection without addresses", func(t *testing.T) {
		made := func() *witness { return new(witness) }
		runStreams(t, func(ctx context.Context) error {
			for name, open := range map[string]func(c net.Conn) (*asyncio.Transport, *witness, error){
				"CreateConnection": func(c net.Conn) (*asyncio.Transport, *witness, error) {
					return asyncio.CreateConnection(ctx, "", "", made, &asyncio.ConnOptions{Conn: c})
				},
				"ConnectAcceptedSocket": func(c net.Conn) (*asyncio.Transport, *witness, error) {
					return asyncio.ConnectAcceptedSocket(ctx, c, made, nil)
				},
			} {
				c, other := net.Pipe()
				tr, p, err := open(nowhere{c})
				switch {
				case !onPortable && errors.Is(err, errors.ErrUnsupported):
				case onPortable && err == nil && tr.LocalAddr() == nil:
					tr.Close()
					comesTrue(t, ctx, "it is closed", func() bool { return slices.Contains(p.log, "lost") })
				default:
					t.Errorf("%s = %v, %v", name, tr, err)
				}
				if p, err := io.ReadAll(other); len(p) > 0 || err != nil { // to the end: it is closed
					t.Errorf("the other end of the pipe has read %q, %v", p, err)
				}
			}
			return nil
		})
	})
}

// nowhere is a connection that has no addresses.
type nowhere struct{ net.Conn }

func (nowhere) LocalAddr() net.Addr  { return nil }
func (nowhere) RemoteAddr() net.Addr { return nil }

func TestExistingConnection(t *testing.T) {
	leavesNothing(t)
	accepted := func(t *testing.T, network string) (here, there net.Conn) {
		address := "127.0.0.1:0"
		if network == "unix" {
			address = socketPath(t)
		}
		ln, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if there, err = net.Dial(network, ln.Addr().String()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { there.Close() })
		if here, err = ln.Accept(); err != nil {
			t.Fatal(err)
		}
		return here, there
	}
	for _, network := range []string{"tcp", "unix"} {
		check := func(t *testing.T, connect func(ctx context.Context, c net.Conn, p *witness) (*asyncio.Transport, *witness, error)) {
			here, there := accepted(t, network)
			local, remote := here.LocalAddr().String(), here.RemoteAddr().String()
			if remote == "@" {
				remote = "" // what package net calls no name
			}
			runStreams(t, func(ctx context.Context) error {
				p := new(witness)
				io.WriteString(there, "early")
				tr, _, err := connect(ctx, here, p)
				if err != nil {
					return err
				}
				if tr.LocalAddr().String() != local || tr.RemoteAddr().String() != remote {
					t.Errorf("it is %v", tr)
				}
				if !onPortable { // which goes on using it
					if _, err := here.Write(nil); !errors.Is(err, net.ErrClosed) {
						t.Errorf("the old connection can be used still: %v", err)
					}
				}
				tr.Write([]byte("answer"))
				comesTrue(t, ctx, "data", func() bool { return string(p.data) == "early" })
				io.WriteString(there, ", late")
				there.(interface{ CloseWrite() error }).CloseWrite()
				comesTrue(t, ctx, "the loss", p.lost)
				p.told(t, "made data eof lost")
				if got, err := io.ReadAll(there); string(got) != "answer" || string(p.data) != "early, late" {
					t.Errorf("the peer got %q, %v; the protocol %q", got, err, p.data)
				}
				return nil
			})
		}
		t.Run("EV-039 an accepted connection can be wrapped, "+network, func(t *testing.T) {
			check(t, func(ctx context.Context, c net.Conn, p *witness) (*asyncio.Transport, *witness, error) {
				return asyncio.ConnectAcceptedSocket(ctx, c, func() *witness { return p }, nil)
			})
		})
		t.Run("SOCK-009 UNIX-016 UNIX-017 a connection made by hand can be wrapped, "+network, func(t *testing.T) {
			check(t, func(ctx context.Context, c net.Conn, p *witness) (*asyncio.Transport, *witness, error) {
				return asyncio.CreateConnection(ctx, "", "", func() *witness { return p }, &asyncio.ConnOptions{Conn: c})
			})
		})
	}
	t.Run("EV-041 mistakes close it", func(t *testing.T) {
		for _, opts := range []*asyncio.AcceptOptions{{TLSHandshakeTimeout: 1}, {TLSShutdownTimeout: -1}} {
			here, there := accepted(t, "tcp")
			runStreams(t, func(ctx context.Context) error {
				_, _, err := asyncio.ConnectAcceptedSocket(ctx, here, func() *witness { return nil }, opts)
				mistake(t, err, asyncio.ErrBadArgument)
				return nil
			})
			if _, err := there.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the peer reads %v", err)
			}
		}
		here, there := accepted(t, "tcp")
		_, _, err := asyncio.ConnectAcceptedSocket(t.Context(), here, func() *witness { return nil }, nil)
		mistake(t, err, asyncio.ErrOutsideTask)
		if _, err := there.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the peer reads %v", err)
		}
		runStreams(t, func(ctx context.Context) error {
			_, _, err := asyncio.ConnectAcceptedSocket(ctx, nil, func() *witness { return nil }, nil)
			mistake(t, err, asyncio.ErrBadArgument)
			here, there := accepted(t, "tcp")
			_, _, err = asyncio.ConnectAcceptedSocket[*witness](ctx, here, nil, nil)
			mistake(t, err, asyncio.ErrBadArgument)
			if _, err := there.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the peer reads %v", err)
			}
			return nil
		})
	})
}

// TestCreateConnectionInterrupted: wherever it is cancelled, no connection is left.
func TestCreateConnectionInterrupted(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run("BASE-062 BASE-063 "+network, func(t *testing.T) {
			interruptEverywhere(t, func(t *testing.T) interruption {
				address := "localhost:0"
				if network == "unix" {
					address = socketPath(t)
				}
				var srv *asyncio.Server
				made, lost := 0, 0
				connect := func(ctx context.Context) error {
					p := &witness{on: map[string]func(){"made": func() { made++ }, "lost": func() { lost++ }}}
					tr, _, err := asyncio.CreateConnection(ctx, network, address, func() *witness { return p }, nil)
					if err != nil {
						return err
					}
					tr.Abort()
					return nil
				}
				return interruption{
					prepare: func(ctx context.Context) (err error) {
						srv, err = asyncio.CreateServer(ctx, network, address, func() *witness { return new(witness) }, nil)
						if err == nil && network == "tcp" {
							_, port, _ := net.SplitHostPort(srv.Addr().String())
							address = "localhost:" + port
						}
						return err
					},
					operation: connect,
					check: func(ctx context.Context) error {
						err := connect(ctx)
						for lost < made {
							if err := asyncio.Yield(ctx); err != nil {
								return err
							}
						}
						return errors.Join(err, srv.Shutdown(ctx))
					},
				}
			})
		})
	}
}
