// This file tests streams: connecting, moving bytes, and how connections end.

package netcontract

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// Streams tests connections and waiting.
func Streams(t *testing.T, open Open) {
	t.Run("waiting", func(t *testing.T) { testWaiting(t, open) })
	t.Run("waking", func(t *testing.T) { testWaking(t, open) })
	t.Run("a report to what was closed meanwhile", func(t *testing.T) { testClosedMeanwhile(t, open) })
	t.Run("echo", func(t *testing.T) { everywhere(t, open, testEcho) })
	t.Run("addresses", func(t *testing.T) { everywhere(t, open, testAddresses) })
	t.Run("half-close", func(t *testing.T) { everywhere(t, open, testHalfClose) })
	t.Run("end after a short read", func(t *testing.T) { everywhere(t, open, testEndAfterShortRead) })
	t.Run("no room", func(t *testing.T) { everywhere(t, open, testFull) })
	t.Run("many buffers", func(t *testing.T) { everywhere(t, open, testWritev) })
	t.Run("a reader that rests", func(t *testing.T) { everywhere(t, open, testBackPressure) })
	t.Run("written before Close", func(t *testing.T) { everywhere(t, open, testWrittenBeforeClose) })
	t.Run("end while writing", func(t *testing.T) { everywhere(t, open, testEndWhileWriting) })
	t.Run("reset", func(t *testing.T) { testReset(start(t, open)) })
	t.Run("reset after data", func(t *testing.T) { testResetAfterData(start(t, open)) })
	t.Run("reset while writing", func(t *testing.T) { testResetWhileWriting(t, open) })
	t.Run("reset with much unsent", func(t *testing.T) { testResetUnsent(start(t, open)) })
	t.Run("use after Close", func(t *testing.T) { testUseAfterClose(start(t, open)) })
	t.Run("nothing to move", func(t *testing.T) { testNothingToMove(start(t, open)) })
	t.Run("refused", func(t *testing.T) { testRefused(start(t, open)) })
	t.Run("dialing nonsense", func(t *testing.T) { testDialNonsense(start(t, open)) })
	t.Run("local address", func(t *testing.T) { testDialLocal(start(t, open)) })
}

func testWaiting(t *testing.T, open Open) {
	s := start(t, open)
	for _, d := range []time.Duration{0, time.Microsecond, 3 * time.Millisecond} {
		begin := time.Now()
		if woken, err := s.net.Wait(d); woken || err != nil {
			t.Errorf("Wait = %v, %v", woken, err)
		}
		if took := time.Since(begin); took < d {
			t.Errorf("Wait(%v) took %v", d, took)
		}
	}
}

func testWaking(t *testing.T, open Open) {
	s := start(t, open)
	s.net.Wake() // counts for the next
	s.net.Wake()
	if woken, err := s.net.Wait(-1); !woken || err != nil {
		t.Errorf("Wait = %v, %v", woken, err)
	}
	if woken, err := s.net.Wait(0); woken || err != nil {
		t.Errorf("the next Wait = %v, %v", woken, err)
	}
	var wakers sync.WaitGroup
	for range 100 {
		for range 4 {
			wakers.Go(s.net.Wake)
		}
		for woken := false; !woken; {
			var err error
			if woken, err = s.net.Wait(-1); err != nil {
				t.Fatal(err)
			}
		}
		wakers.Wait()
		s.net.Wait(0)
	}
}

// testClosedMeanwhile has a report for each of two connections; the first one that
// is told closes the other.
func testClosedMeanwhile(t *testing.T, open Open) {
	s := start(t, open)
	a, arec, apeer := s.dialed(loopback)
	b, brec, bpeer := s.dialed(loopback)
	arec.act = func() { b.Close() }
	brec.act = func() { a.Close() }
	apeer.Write([]byte("x"))
	bpeer.Write([]byte("x"))
	time.Sleep(5 * time.Millisecond) // so that both are likely to wait; the outcome is the same
	s.until(func() bool { return arec.got|brec.got != 0 })
	for range 3 {
		s.net.Wait(time.Millisecond)
	}
	if arec.got != 0 && brec.got != 0 {
		t.Error("a report came after Close")
	}
}

// testEcho sends more than the buffers hold, in both directions at once.
func testEcho(s suite, p place) {
	l, p, _ := s.listen(p, seam.ListenOptions{})
	sent := noise(5 << 20)
	var client sync.WaitGroup
	defer client.Wait()
	peer := s.peerDial(p)
	client.Go(func() {
		peer.Write(sent)
		peer.(interface{ CloseWrite() error }).CloseWrite()
	})
	client.Go(func() {
		if got, err := io.ReadAll(peer); err != nil || !bytes.Equal(got, sent) {
			s.Errorf("%d bytes, %v; want the %d that were sent", len(got), err, len(sent))
		}
	})
	c, _ := s.accept(l)
	var pending []byte
	ended := false
	buf := make([]byte, 10_000)
	s.until(func() bool {
		for {
			moved := false
			if !ended {
				k, err := c.Read(buf)
				pending = append(pending, buf[:k]...)
				ended = err == io.EOF
				if err != nil && !ended && err != seam.ErrWouldBlock {
					s.Fatal(err)
				}
				moved = k > 0 || ended
			}
			if len(pending) > 0 {
				k, err := c.Write(pending)
				pending = pending[k:]
				if err != nil && err != seam.ErrWouldBlock {
					s.Fatal(err)
				}
				moved = moved || k > 0
			}
			if ended && len(pending) == 0 {
				return true
			}
			if !moved {
				return false
			}
		}
	})
	if k, err := c.Read(buf); k != 0 || err != io.EOF {
		s.Errorf("Read after the end = %d, %v", k, err)
	}
	s.must(c.Close())
}

func testAddresses(s suite, p place) {
	name := func(a net.Addr) string {
		if a.String() == "@" { // package net's name for none
			return ""
		}
		return a.String()
	}
	check := func(c seam.Conn, peer net.Conn) {
		s.Helper()
		for range 2 {
			if got, want := c.LocalAddr().String(), name(peer.RemoteAddr()); got != want {
				s.Errorf("LocalAddr = %q, want %q", got, want)
			}
			if got, want := c.RemoteAddr().String(), name(peer.LocalAddr()); got != want {
				s.Errorf("RemoteAddr = %q, want %q", got, want)
			}
			if got := c.LocalAddr().Network(); got != p.network {
				s.Errorf("network = %q, want %q", got, p.network)
			}
			c.Close() // they still answer
		}
	}
	c, _, peer := s.dialed(p)
	check(c, peer)
	if p.network == "unix" {
		p.path += "2"
	}
	l, p, _ := s.listen(p, seam.ListenOptions{})
	peer = s.peerDial(p)
	c, _ = s.accept(l)
	check(c, peer)
}

func testHalfClose(s suite, p place) {
	c, rec, peer := s.dialed(p)
	sent := noise(1000)
	s.writeAll(c, sent)
	s.must(c.CloseWrite())
	s.must(c.CloseWrite()) // once more does nothing
	if got, err := io.ReadAll(peer); !bytes.Equal(got, sent) || err != nil {
		s.Errorf("peer read %d bytes, %v", len(got), err)
	}
	_, err := c.Write([]byte("x"))
	s.is(err, syscall.EPIPE)
	_, err = c.Writev([][]byte{{1}})
	s.is(err, syscall.EPIPE)
	_, err = peer.Write([]byte("you too"))
	s.must(err)
	peer.(interface{ CloseWrite() error }).CloseWrite()
	s.reported(rec, seam.Readable|seam.HungUp)
	if got, err := s.readAll(c); string(got) != "you too" || err != nil {
		s.Errorf("read %q, %v", got, err)
	}
}

func testEndAfterShortRead(s suite, p place) {
	c, rec, peer := s.dialed(p)
	_, err := peer.Write([]byte("last"))
	s.must(err)
	peer.Close()
	s.reported(rec, seam.Readable|seam.HungUp)
	if k, err := c.Read(make([]byte, 100)); k != 4 || err != nil {
		s.Fatalf("Read = %d, %v", k, err)
	}
	if woken, err := s.net.Wait(0); woken || err != nil {
		s.Errorf("Wait = %v, %v; the end was reported again", woken, err)
	}
	for range 2 {
		if _, err := c.Read(make([]byte, 100)); err != io.EOF {
			s.Errorf("Read: %v, want EOF", err)
		}
	}
}

// testFull writes until there is no room, and is told when there is again.
func testFull(s suite, p place) {
	c, rec, peer := s.dialed(p)
	for range 2 {
		sent := s.fill(c)
		rec.take()
		got := make([]byte, len(sent))
		var reader sync.WaitGroup
		reader.Go(func() {
			if _, err := io.ReadFull(peer, got); err != nil {
				s.Error(err)
			}
		})
		s.reported(rec, seam.Writable)
		reader.Wait()
		if !bytes.Equal(got, sent) {
			s.Error("the peer has read something else")
		}
	}
}

func testWritev(s suite, p place) {
	c, _, peer := s.dialed(p)
	var v [][]byte // more than the kernel takes in one call, some of them empty
	all := noise(5000)
	for rest := all; len(rest) > 0; {
		k := min(len(v)%4, len(rest))
		v = append(v, rest[:k])
		rest = rest[k:]
	}
	if k, err := c.Writev(v); k != len(all) || err != nil {
		s.Errorf("Writev = %d, %v; want %d", k, err, len(all))
	}
	c.Close()
	if got, err := io.ReadAll(peer); !bytes.Equal(got, all) || err != nil {
		s.Errorf("the peer has read something else (%v)", err)
	}
}

// testBackPressure has a peer write to somebody who does not read. It has to stop,
// and everything arrives when there is reading again.
func testBackPressure(s suite, p place) {
	c, _, peer := s.dialed(p)
	const most = 256 << 20
	chunk := noise(1 << 20)
	total := 0
	for {
		peer.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := peer.Write(chunk[total%len(chunk):])
		total += n
		if err != nil {
			if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
				s.Fatal(err)
			}
			if n == 0 && total > 0 {
				break
			}
		}
		if total > most {
			s.Fatal("somebody takes it all")
		}
	}
	peer.Close()
	got, err := s.readAll(c)
	if err != nil || len(got) != total {
		s.Errorf("%d bytes of %d have arrived, %v", len(got), total, err)
	}
	for i := 0; i < len(got); i += len(chunk) {
		if part := got[i:min(i+len(chunk), len(got))]; !bytes.Equal(part, chunk[:len(part)]) {
			s.Fatal("something else has arrived")
		}
	}
}

// testWrittenBeforeClose: all that Write took arrives, even if the peer reads late.
func testWrittenBeforeClose(s suite, p place) {
	for _, end := range []func(c seam.Conn) error{seam.Conn.Close, seam.Conn.CloseWrite} {
		c, _, peer := s.dialed(p)
		sent := s.fill(c)
		begin := time.Now()
		s.must(end(c))
		if took := time.Since(begin); took > 10*time.Second { // the peer reads later only
			s.Errorf("it took %v, and blocked the loop", took)
		}
		if got, err := io.ReadAll(peer); !bytes.Equal(got, sent) || err != nil {
			s.Errorf("%d bytes of %d have arrived, %v", len(got), len(sent), err)
		}
		c.Close()
		if p.network == "unix" {
			p.path += "2"
		}
	}
}

// testEndWhileWriting: the peer ends its half while there is no room for ours. That
// is not the end of ours.
func testEndWhileWriting(s suite, p place) {
	c, rec, peer := s.dialed(p)
	sent := s.fill(c)
	rec.take()
	s.must(peer.(interface{ CloseWrite() error }).CloseWrite())
	s.reported(rec, seam.Readable|seam.HungUp)
	if k, err := c.Read(make([]byte, 1)); k != 0 || err != io.EOF {
		s.Errorf("Read = %d, %v", k, err)
	}
	var reader sync.WaitGroup
	defer reader.Wait()
	reader.Go(func() {
		got, err := io.ReadAll(peer)
		if want := append(sent, "more"...); err != nil || !bytes.Equal(got, want) {
			s.Errorf("the peer has read %d bytes, %v; want %d", len(got), err, len(want))
		}
	})
	s.writeAll(c, []byte("more"))
	s.must(c.Close())
}

func testReset(s suite) {
	c, _, peer := s.dialed(loopback)
	s.must(c.Reset())
	if _, err := io.ReadAll(peer); !errors.Is(err, syscall.ECONNRESET) {
		s.Errorf("the peer read %v", err)
	}
	if err := c.Reset(); err != net.ErrClosed {
		s.Errorf("Reset after Reset: %v", err)
	}
	c, rec, peer := s.dialed(loopback)
	peer.(lingers).SetLinger(0)
	peer.Close()
	s.reported(rec, seam.Failed)
	_, err := c.Read(make([]byte, 1))
	s.is(err, syscall.ECONNRESET)
	if err := c.CloseWrite(); !errors.Is(err, syscall.ENOTCONN) {
		s.Errorf("CloseWrite = %v", err)
	}
}

// testResetAfterData: what came before the reset is read before it.
func testResetAfterData(s suite) {
	c, rec, peer := s.dialed(loopback)
	_, err := peer.Write([]byte("data"))
	s.must(err)
	s.reported(rec, seam.Readable)
	peer.(lingers).SetLinger(0)
	peer.Close()
	s.reported(rec, seam.Failed)
	got, err := s.readAll(c)
	if string(got) != "data" {
		s.Errorf("read %q", got)
	}
	s.is(err, syscall.ECONNRESET)
}

// testResetWhileWriting: whoever hears of it first, it is a reset to all.
func testResetWhileWriting(t *testing.T, open Open) {
	s := start(t, open)
	for range 100 {
		c, rec, peer := s.dialed(loopback)
		s.fill(c)
		rec.take()
		peer.(lingers).SetLinger(0)
		peer.Close()
		s.reported(rec, seam.Failed|seam.Writable)
		_, werr := c.Write([]byte("x"))
		for werr == nil || werr == seam.ErrWouldBlock {
			s.net.Wait(time.Millisecond)
			_, werr = c.Write([]byte("x"))
		}
		_, rerr := s.readAll(c)
		if !errors.Is(werr, syscall.ECONNRESET) && !errors.Is(rerr, syscall.ECONNRESET) {
			t.Fatalf("Write = %v, Read = %v", werr, rerr)
		}
		c.Close()
		peer.Close()
	}
}

func testResetUnsent(s suite) {
	c, _, peer := s.dialed(loopback)
	sent := s.fill(c)
	s.must(c.Reset())
	got, err := io.ReadAll(peer)
	if !errors.Is(err, syscall.ECONNRESET) || len(got) > len(sent) {
		s.Errorf("the peer read %d bytes of %d, %v", len(got), len(sent), err)
	}
}

func testUseAfterClose(s suite) {
	l, p, _ := s.listen(loopback, seam.ListenOptions{})
	c, rec := s.dial(p)
	a, _ := s.accept(l)
	if err := a.Attach(rec); err == nil {
		s.Error("a second Attach had no error")
	}
	s.must(c.Close())
	s.must(a.Close())
	s.must(l.Close())
	for name, f := range map[string]func() error{
		"Connected":       c.Connected,
		"Read":            func() error { _, err := c.Read(nil); return err },
		"Write":           func() error { _, err := c.Write(nil); return err },
		"Writev":          func() error { _, err := c.Writev(nil); return err },
		"CloseWrite":      c.CloseWrite,
		"Close":           c.Close,
		"Reset":           c.Reset,
		"Attach":          func() error { return a.Attach(rec) },
		"Listener.Start":  l.Start,
		"Listener.Accept": func() error { _, err := l.Accept(); return err },
		"Listener.Close":  l.Close,
	} {
		if err := f(); err != net.ErrClosed {
			s.Errorf("%s after Close: %v, want net.ErrClosed", name, err)
		}
	}
	rec.take()
	s.net.Wait(time.Millisecond)
	if rec.got != 0 {
		s.Errorf("reports %v after Close", rec.got)
	}
}

func testNothingToMove(s suite) {
	c, _, _ := s.dialed(loopback)
	if k, err := c.Read(nil); k != 0 || err != nil {
		s.Errorf("Read of no bytes = %d, %v", k, err)
	}
	if k, err := c.Write(nil); k != 0 || err != nil {
		s.Errorf("Write of no bytes = %d, %v", k, err)
	}
	if k, err := c.Writev([][]byte{nil, {}}); k != 0 || err != nil {
		s.Errorf("Writev of no bytes = %d, %v", k, err)
	}
	if k, err := c.Read(make([]byte, 1)); k != 0 || err != seam.ErrWouldBlock {
		s.Errorf("Read before the peer wrote = %d, %v", k, err)
	}
}

func testRefused(s suite) {
	p := place{network: "tcp", at: PortOfNobody(s.T)}
	var rec recorder
	c, err := s.net.Dial(p.network, p.addr(), seam.Addr{}, &rec)
	if err == nil {
		s.Cleanup(func() { c.Close() })
		s.reported(&rec, seam.Failed)
		err = c.Connected()
		if again := c.Connected(); again != err {
			s.Errorf("a second Connected = %v, after %v", again, err)
		}
		if err := c.CloseWrite(); err == nil {
			s.Error("CloseWrite has no error")
		}
	}
	s.is(err, syscall.ECONNREFUSED)
}

func testDialNonsense(s suite) {
	if _, err := s.net.Dial("udp", loopback.addr(), seam.Addr{}, new(recorder)); err != net.UnknownNetworkError("udp") {
		s.Errorf("udp: %v", err)
	}
	if _, err := s.net.Listen("udp", loopback.addr(), seam.ListenOptions{}, new(recorder)); err != net.UnknownNetworkError("udp") {
		s.Errorf("udp: %v", err)
	}
	for _, to := range []netip.AddrPort{{}, netip.MustParseAddrPort("[fe80::1%nosuch]:9")} {
		_, err := s.net.Dial("tcp", seam.Addr{AddrPort: to}, seam.Addr{}, new(recorder))
		if _, ok := errors.AsType[*net.AddrError](err); !ok {
			s.Errorf("to %v: %v", to, err)
		}
	}
	for _, path := range []string{"", "a\x00b"} {
		_, err := s.net.Dial("unix", seam.Addr{Path: path}, seam.Addr{}, new(recorder))
		s.is(err, syscall.EINVAL)
	}
	_, err := s.net.Dial("tcp", loopback.addr(), seam.Addr{AddrPort: netip.MustParseAddrPort("[::1]:0")}, new(recorder))
	s.is(err, syscall.EAFNOSUPPORT)
}

func testDialLocal(s suite) {
	l, p := s.peerListen(loopback)
	for _, local := range []string{"127.0.0.1:0", "[::ffff:127.0.0.1]:0"} {
		var rec recorder
		c, err := s.net.Dial("tcp", p.addr(), seam.Addr{AddrPort: netip.MustParseAddrPort(local)}, &rec)
		s.must(err)
		peer, err := l.Accept()
		s.must(err)
		s.reported(&rec, seam.Writable)
		s.must(c.Connected())
		if got, want := c.LocalAddr().String(), peer.RemoteAddr().String(); got != want {
			s.Errorf("LocalAddr = %v, the peer sees %v", got, want)
		}
		peer.Close()
		c.Close()
	}
}
