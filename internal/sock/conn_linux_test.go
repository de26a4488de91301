// This file tests moving bytes, and the end of connections.

package sock_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/seam"
)

// TestEcho sends more than the buffers hold to a peer that sends it back.
func TestEcho(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		n := newNetwork(t)
		c, _, peer := dialed(t, n, p)
		var echo sync.WaitGroup
		defer echo.Wait()
		echo.Go(func() {
			data, err := io.ReadAll(peer)
			if err != nil {
				t.Error(err)
			}
			peer.Write(data)
			peer.Close()
		})
		sent := noise(10 << 20)
		writeAll(t, n, c, sent)
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := readAll(t, n, c)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes, %v; want the %d that were sent", len(got), err, len(sent))
		}
		// The end stays the end.
		if k, err := c.Read(make([]byte, 1)); k != 0 || err != io.EOF {
			t.Errorf("Read after the end = %d, %v; want EOF", k, err)
		}
	})
}

// TestEchoAccepted is the same the other way around.
func TestEchoAccepted(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		n := newNetwork(t)
		l, p, _ := listen(t, n, p, seam.ListenOptions{})
		sent := noise(10 << 20)
		var client sync.WaitGroup
		defer client.Wait()
		client.Go(func() {
			peer, err := net.Dial(p.peer())
			if err != nil {
				t.Error(err)
				return
			}
			defer peer.Close()
			peer.Write(sent)
			peer.(interface{ CloseWrite() error }).CloseWrite()
			got, err := io.ReadAll(peer)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes, %v; want the %d that were sent", len(got), err, len(sent))
			}
		})
		c, _ := accept(t, n, l)
		got, err := readAll(t, n, c)
		if err != nil {
			t.Fatal(err)
		}
		writeAll(t, n, c, got)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAddresses(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		n := newNetwork(t)
		check := func(c seam.Conn, peer net.Conn) {
			t.Helper()
			// Package net calls a unix socket without a name "@".
			name := func(a net.Addr) string {
				if a.String() == "@" {
					return ""
				}
				return a.String()
			}
			for range 2 {
				if got, want := c.LocalAddr().String(), name(peer.RemoteAddr()); got != want {
					t.Errorf("LocalAddr = %q, want %q", got, want)
				}
				if got, want := c.RemoteAddr().String(), name(peer.LocalAddr()); got != want {
					t.Errorf("RemoteAddr = %q, want %q", got, want)
				}
				if got, want := c.LocalAddr().Network(), p.network; got != want {
					t.Errorf("network = %q, want %q", got, want)
				}
				c.Close() // they still answer
			}
		}
		c, _, peer := dialed(t, n, p)
		check(c, peer)
		if p.network == "unix" {
			p.path += "2"
		}
		l, p, _ := listen(t, n, p, seam.ListenOptions{})
		peer, err := net.Dial(p.peer())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		c, _ = accept(t, n, l)
		check(c, peer)
	})
}

// TestAddressOfWildcard accepts where the listener's address is not the
// connection's.
func TestAddressOfWildcard(t *testing.T) {
	n := newNetwork(t)
	p := loopback
	p.at = anyPort("0.0.0.0")
	l, p, _ := listen(t, n, p, seam.ListenOptions{})
	p.at = anyPortAt("127.0.0.1", p.at.Port())
	peer, err := net.Dial(p.peer())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c, _ := accept(t, n, l)
	if got, want := c.LocalAddr().String(), p.at.String(); got != want {
		t.Errorf("LocalAddr = %v, want %v", got, want)
	}
}

func TestHalfClose(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		n := newNetwork(t)
		c, rec, peer := dialed(t, n, p)
		// We first: the peer reads the end, and can still write.
		writeAll(t, n, c, []byte("bye"))
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(peer); string(got) != "bye" || err != nil {
			t.Errorf("peer read %q, %v", got, err)
		}
		_, err := c.Write([]byte("x"))
		wantSyscall(t, err, "write", unix.EPIPE)
		_, err = c.Writev([][]byte{{1}})
		wantSyscall(t, err, "writev", unix.EPIPE)
		if _, err := peer.Write([]byte("you too")); err != nil {
			t.Fatal(err)
		}
		peer.(interface{ CloseWrite() error }).CloseWrite()
		reported(t, n, rec, seam.Readable|seam.HungUp)
		if got, err := readAll(t, n, c); string(got) != "you too" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

// TestEndAfterShortRead: the end of a stream that was reported together with
// the last bytes is not reported again after a Read that came back short.
func TestEndAfterShortRead(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		n := newNetwork(t)
		c, rec, peer := dialed(t, n, p)
		if _, err := peer.Write([]byte("last")); err != nil {
			t.Fatal(err)
		}
		peer.Close()
		reported(t, n, rec, seam.Readable|seam.HungUp)
		if k, err := c.Read(make([]byte, 100)); k != 4 || err != nil {
			t.Fatalf("Read = %d, %v", k, err)
		}
		if woken, err := n.Wait(0); woken || err != nil {
			t.Errorf("Wait = %v, %v; the end was reported again", woken, err)
		}
		if _, err := c.Read(make([]byte, 100)); err != io.EOF {
			t.Errorf("Read: %v, want EOF", err)
		}
	})
}

func TestCloseWriteNotConnected(t *testing.T) {
	n := newNetwork(t)
	c, _, peer := dialed(t, n, loopback)
	peer.(*net.TCPConn).SetLinger(0)
	peer.Close()
	if _, err := readAll(t, n, c); err == nil {
		t.Fatal("no reset")
	}
	wantSyscall(t, c.CloseWrite(), "shutdown", unix.ENOTCONN)
}

// TestReset tells the peer, and is told by it.
func TestReset(t *testing.T) {
	n := newNetwork(t)
	c, _, peer := dialed(t, n, loopback)
	writeAll(t, n, c, []byte("dropped or not"))
	if err := c.Reset(); err != nil {
		t.Fatal(err)
	}
	_, err := io.ReadAll(peer)
	wantSyscall(t, err, "read", unix.ECONNRESET)
	if err := c.Reset(); err != net.ErrClosed {
		t.Errorf("Reset after Reset: %v", err)
	}

	c, rec, peer := dialed(t, n, loopback)
	peer.(*net.TCPConn).SetLinger(0)
	peer.Close()
	reported(t, n, rec, seam.Failed)
	_, err = c.Read(make([]byte, 1))
	wantSyscall(t, err, "read", unix.ECONNRESET)
}

func TestResetUnix(t *testing.T) {
	n := newNetwork(t)
	c, _, peer := dialed(t, n, place{network: "unix", path: abstractName(t)})
	if err := c.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(peer); err != nil {
		t.Error(err)
	}
}

func TestUseAfterClose(t *testing.T) {
	n := newNetwork(t)
	l, p, _ := listen(t, n, loopback, seam.ListenOptions{})
	c, rec := dial(t, n, p)
	a, _ := accept(t, n, l)
	if err := a.Attach(rec); err == nil {
		t.Error("a second Attach had no error")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"Connected":       c.Connected,
		"Read":            func() error { _, err := c.Read(nil); return err },
		"Write":           func() error { _, err := c.Write(nil); return err },
		"Writev":          func() error { _, err := c.Writev(nil); return err },
		"CloseWrite":      c.CloseWrite,
		"Close":           c.Close,
		"Reset":           c.Reset,
		"Attach":          func() error { return a.Attach(rec) },
		"Listener.Accept": func() error { _, err := l.Accept(); return err },
		"Listener.Close":  l.Close,
	} {
		if err := f(); err != net.ErrClosed {
			t.Errorf("%s after Close: %v, want net.ErrClosed", name, err)
		}
	}
	rec.take()
	if woken, err := n.Wait(0); woken || err != nil || rec.got != 0 {
		t.Errorf("Wait = %v, %v, and reports %v; want nothing", woken, err, rec.got)
	}
}

func TestNothingToMove(t *testing.T) {
	n := newNetwork(t)
	c, _, _ := dialed(t, n, loopback)
	if k, err := c.Read(nil); k != 0 || err != nil {
		t.Errorf("Read of no bytes = %d, %v", k, err)
	}
	if k, err := c.Write(nil); k != 0 || err != nil {
		t.Errorf("Write of no bytes = %d, %v", k, err)
	}
	if k, err := c.Writev([][]byte{nil, {}}); k != 0 || err != nil {
		t.Errorf("Writev of no bytes = %d, %v", k, err)
	}
	if k, err := c.Read(make([]byte, 1)); k != 0 || err != seam.ErrWouldBlock {
		t.Errorf("Read before the peer wrote = %d, %v", k, err)
	}
}

// TestFull writes until there is no room, and is told when there is again.
func TestFull(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		for _, how := range []string{"Write", "Writev"} {
			t.Run(how, func(t *testing.T) {
				if p.path != "" {
					p.path += how
				}
				n := newNetwork(t)
				c, rec, peer := dialed(t, n, p)
				chunk := noise(1 << 20)
				var sent []byte
				for {
					var k int
					var err error
					if how == "Write" {
						k, err = c.Write(chunk)
					} else {
						k, err = c.Writev([][]byte{chunk[:1000], chunk[1000:]})
					}
					sent = append(sent, chunk[:k]...)
					if err == seam.ErrWouldBlock {
						if k != 0 {
							t.Errorf("%d bytes with ErrWouldBlock", k)
						}
						break
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				rec.take()
				got := make([]byte, len(sent))
				var reader sync.WaitGroup
				reader.Go(func() {
					if _, err := io.ReadFull(peer, got); err != nil {
						t.Error(err)
					}
				})
				reported(t, n, rec, seam.Writable)
				reader.Wait()
				if !bytes.Equal(got, sent) {
					t.Error("the peer has read something else")
				}
				if k, err := c.Write([]byte("x")); k != 1 || err != nil {
					t.Errorf("Write = %d, %v", k, err)
				}
			})
		}
	})
}

// TestShortWriteIsReported: after a Write that came back short, there is a
// report without another try.
func TestShortWriteIsReported(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		n := newNetwork(t)
		c, rec, peer := dialed(t, n, p)
		big := make([]byte, 64<<20)
		k, err := c.Write(big)
		if err != nil || k == len(big) {
			t.Fatalf("Write = %d, %v; want it short", k, err)
		}
		rec.take()
		var reader sync.WaitGroup
		defer reader.Wait()
		reader.Go(func() { io.CopyN(io.Discard, peer, int64(k)) })
		reported(t, n, rec, seam.Writable)
	})
}

func TestWritev(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		n := newNetwork(t)
		c, _, peer := dialed(t, n, p)
		// More buffers than one call of the kernel takes, some of them empty.
		var v [][]byte
		all := noise(5000)
		for rest := all; len(rest) > 0; {
			k := min(len(v)%4, len(rest))
			v = append(v, rest[:k])
			rest = rest[k:]
		}
		if len(v) < 3000 {
			t.Fatalf("only %d buffers", len(v))
		}
		k, err := c.Writev(v)
		if k != len(all) || err != nil {
			t.Errorf("Writev = %d, %v; want %d", k, err, len(all))
		}
		c.Close()
		if got, err := io.ReadAll(peer); !bytes.Equal(got, all) || err != nil {
			t.Errorf("the peer has read something else (%v)", err)
		}
	})
}

// TestWritevWhileRead has the peer make room at any time, also between the two
// calls of the kernel that one Writev makes.
func TestWritevWhileRead(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		n := newNetwork(t)
		c, _, peer := dialed(t, n, p)
		all := noise(16 << 20)
		var reader sync.WaitGroup
		defer reader.Wait()
		reader.Go(func() {
			if got, err := io.ReadAll(peer); !bytes.Equal(got, all) || err != nil {
				t.Errorf("the peer has read something else (%v)", err)
			}
		})
		const size = 1000
		rest := all
		until(t, n, func() bool {
			for len(rest) > 0 {
				var v [][]byte
				for some := rest; len(some) > 0 && len(v) < 2500; some = some[min(size, len(some)):] {
					v = append(v, some[:min(size, len(some))])
				}
				k, err := c.Writev(v)
				rest = rest[k:]
				if err == seam.ErrWouldBlock {
					return false
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			return true
		})
		c.Close()
	})
}

// TestErrorsAreBare: callers may compare with ==.
func TestErrorsAreBare(t *testing.T) {
	n := newNetwork(t)
	c, _, peer := dialed(t, n, loopback)
	if _, err := c.Read(make([]byte, 1)); err != seam.ErrWouldBlock {
		t.Errorf("Read: %v", err)
	}
	peer.Close()
	if _, err := readAll(t, n, c); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read: %v", err)
	}
}
