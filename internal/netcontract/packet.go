// This file tests sockets for datagrams.

package netcontract

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// Packets tests sockets for datagrams.
func Packets(t *testing.T, open Open) {
	t.Run("to and fro", func(t *testing.T) { testPacketEcho(start(t, open)) })
	t.Run("connected", func(t *testing.T) { testPacketConnected(start(t, open)) })
	t.Run("refused", func(t *testing.T) { testPacketRefused(start(t, open)) })
	t.Run("too long for the buffer", func(t *testing.T) { testPacketTruncated(start(t, open)) })
	t.Run("flood", func(t *testing.T) { testPacketFlood(start(t, open)) })
	t.Run("errors", func(t *testing.T) { testPacketErrors(start(t, open)) })
	t.Run("use after Close", func(t *testing.T) { testPacketClose(start(t, open)) })
	if runtime.GOOS != "windows" {
		t.Run("unixgram", func(t *testing.T) { testUnixgram(start(t, open)) })
		t.Run("unixgram without a name", func(t *testing.T) { testUnixgramUnnamed(start(t, open)) })
		t.Run("unixgram file", func(t *testing.T) { testUnixgramFile(start(t, open)) })
		t.Run("no room", func(t *testing.T) { testPacketFull(start(t, open), true) })
		t.Run("no room at one of many", func(t *testing.T) { testPacketFull(start(t, open), false) })
		t.Run("shared port", func(t *testing.T) { testPacketReusePort(start(t, open)) })
	}
}

var anyUDP = seam.Addr{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}

// packets opens a socket.
func (s suite) packets(network string, local, remote seam.Addr) (seam.PacketConn, *recorder) {
	s.Helper()
	rec := new(recorder)
	c, err := s.net.OpenPacket(network, local, remote, seam.PacketOptions{}, rec)
	s.must(err)
	s.Cleanup(func() { c.Close() })
	return c, rec
}

// receive returns the next datagram.
func (s suite) receive(c seam.PacketConn) ([]byte, seam.Addr, error) {
	s.Helper()
	buf := make([]byte, 64<<10)
	var n int
	var from seam.Addr
	var err error
	s.until(func() bool {
		n, from, err = c.ReadFrom(buf)
		return err != seam.ErrWouldBlock
	})
	return buf[:n], from, err
}

// send sends a datagram, when there is room: on a busy machine there may be none for a
// moment, and not every socket reports the end of that.
func (s suite) send(c seam.PacketConn, data []byte, to seam.Addr) {
	s.Helper()
	for start := time.Now(); ; {
		err := c.WriteTo(data, to)
		if err != seam.ErrWouldBlock {
			s.must(err)
			return
		}
		if time.Since(start) > patience {
			s.Fatal("there is no room for too long")
		}
		_, err = s.net.Wait(time.Millisecond)
		s.must(err)
	}
}

func testPacketEcho(s suite) {
	a, arec := s.packets("udp4", anyUDP, seam.Addr{})
	b, brec := s.packets("udp4", anyUDP, seam.Addr{})
	if a.LocalAddr().AddrPort.Port() == 0 || a.RemoteAddr() != (seam.Addr{}) {
		s.Errorf("addresses %v and %v", a.LocalAddr(), a.RemoteAddr())
	}
	s.reported(arec, seam.Writable)
	if _, _, err := a.ReadFrom(make([]byte, 10)); err != seam.ErrWouldBlock {
		s.Errorf("ReadFrom = %v", err)
	}
	for _, data := range [][]byte{[]byte("hello"), {}, noise(60_000)} {
		s.send(a, data, b.LocalAddr())
		s.reported(brec, seam.Readable)
		got, from, err := s.receive(b)
		if err != nil || !bytes.Equal(got, data) || from != a.LocalAddr() {
			s.Errorf("received %d bytes from %v, %v", len(got), from, err)
		}
		brec.take()
		s.send(b, got, from)
		got, from, err = s.receive(a)
		if err != nil || !bytes.Equal(got, data) || from != b.LocalAddr() {
			s.Errorf("received %d bytes from %v, %v", len(got), from, err)
		}
	}
}

func testPacketConnected(s suite) {
	a, _ := s.packets("udp4", anyUDP, seam.Addr{})
	b, _ := s.packets("udp4", seam.Addr{}, a.LocalAddr())
	if b.RemoteAddr() != a.LocalAddr() {
		s.Errorf("RemoteAddr = %v", b.RemoteAddr())
	}
	s.send(b, []byte("x"), seam.Addr{})
	got, from, err := s.receive(a)
	if string(got) != "x" || from != b.LocalAddr() || err != nil {
		s.Errorf("received %q from %v, %v", got, from, err)
	}
}

// testPacketRefused: the failure comes once, and the socket lives on.
func testPacketRefused(s suite) {
	gone, _ := s.packets("udp4", seam.Addr{AddrPort: PortOfNobody(s.T)}, seam.Addr{})
	at := gone.LocalAddr()
	c, rec := s.packets("udp4", anyUDP, at)
	gone.Close()
	rec.take()
	s.send(c, []byte("x"), seam.Addr{})
	s.until(func() bool { return rec.got != 0 })
	_, _, err := s.receive(c)
	s.is(err, syscall.ECONNREFUSED)
	if _, _, err := c.ReadFrom(make([]byte, 1)); err != seam.ErrWouldBlock {
		s.Errorf("the next ReadFrom = %v", err)
	}
	back, _ := s.packets("udp4", at, seam.Addr{})
	s.send(back, []byte("here"), c.LocalAddr())
	if got, _, err := s.receive(c); string(got) != "here" || err != nil {
		s.Errorf("received %q, %v", got, err)
	}
}

func testPacketTruncated(s suite) {
	a, _ := s.packets("udp4", anyUDP, seam.Addr{})
	b, rec := s.packets("udp4", anyUDP, seam.Addr{})
	s.send(a, []byte("abcdef"), b.LocalAddr())
	s.send(a, []byte("next"), b.LocalAddr())
	s.reported(rec, seam.Readable)
	buf := make([]byte, 3)
	if n, _, err := b.ReadFrom(buf); n != 3 || string(buf) != "abc" || err != nil {
		s.Errorf("ReadFrom = %d, %v", n, err)
	}
	if got, _, err := s.receive(b); string(got) != "next" || err != nil {
		s.Errorf("received %q, %v", got, err)
	}
}

// testPacketFlood sends many without reading: those that arrive are in order.
func testPacketFlood(s suite) {
	a, _ := s.packets("udp4", anyUDP, seam.Addr{})
	b, _ := s.packets("udp4", anyUDP, seam.Addr{})
	for i := range 200 {
		s.send(a, []byte{byte(i)}, b.LocalAddr())
	}
	last := -1
	for last < 20 {
		got, _, err := s.receive(b)
		s.must(err)
		if int(got[0]) <= last {
			s.Fatalf("%d after %d", got[0], last)
		}
		last = int(got[0])
	}
	s.must(b.Close()) // with others waiting
}

func testPacketErrors(s suite) {
	if _, err := s.net.OpenPacket("tcp", anyUDP, seam.Addr{}, seam.PacketOptions{}, new(recorder)); err != net.UnknownNetworkError("tcp") {
		s.Errorf("tcp: %v", err)
	}
	c, _ := s.packets("udp4", anyUDP, seam.Addr{})
	_, err := s.net.OpenPacket("udp4", c.LocalAddr(), seam.Addr{}, seam.PacketOptions{}, new(recorder))
	s.is(err, syscall.EADDRINUSE)
	s.is(c.WriteTo(make([]byte, 70_000), c.LocalAddr()), syscall.EMSGSIZE)
	if runtime.GOOS == "linux" {
		everyone := seam.Addr{AddrPort: netip.MustParseAddrPort("255.255.255.255:9")}
		s.is(c.WriteTo([]byte("x"), everyone), syscall.EACCES)
		b, err := s.net.OpenPacket("udp4", seam.Addr{}, seam.Addr{}, seam.PacketOptions{Broadcast: true}, new(recorder))
		s.must(err)
		defer b.Close()
		if err := b.WriteTo([]byte("x"), everyone); errors.Is(err, syscall.EACCES) {
			s.Errorf("with Broadcast: %v", err)
		}
	}
}

func testPacketClose(s suite) {
	c, rec := s.packets("udp4", anyUDP, seam.Addr{})
	other, _ := s.packets("udp4", anyUDP, seam.Addr{})
	s.send(other, []byte("x"), c.LocalAddr())
	s.must(c.Close())
	rec.take()
	for name, f := range map[string]func() error{
		"ReadFrom": func() error { _, _, err := c.ReadFrom(nil); return err },
		"WriteTo":  func() error { return c.WriteTo(nil, c.LocalAddr()) },
		"Close":    c.Close,
	} {
		if err := f(); err != net.ErrClosed {
			s.Errorf("%s after Close: %v", name, err)
		}
	}
	s.net.Wait(time.Millisecond)
	if rec.got != 0 || c.LocalAddr() == (seam.Addr{}) {
		s.Errorf("after Close: reports %v, address %v", rec.got, c.LocalAddr())
	}
}

func testUnixgram(s suite) {
	dir := shortDir(s.T)
	at, from := seam.Addr{Path: filepath.Join(dir, "a")}, seam.Addr{Path: filepath.Join(dir, "b")}
	a, _ := s.packets("unixgram", at, seam.Addr{})
	b, _ := s.packets("unixgram", from, at)
	if a.LocalAddr() != at || b.RemoteAddr() != at {
		s.Errorf("addresses %v, %v", a.LocalAddr(), b.RemoteAddr())
	}
	s.send(b, []byte("x"), seam.Addr{})
	got, who, err := s.receive(a)
	if string(got) != "x" || who != from || err != nil {
		s.Errorf("received %q from %v, %v", got, who, err)
	}
	s.send(a, []byte("y"), who)
	if got, _, err := s.receive(b); string(got) != "y" || err != nil {
		s.Errorf("received %q, %v", got, err)
	}
}

func testUnixgramUnnamed(s suite) {
	at := seam.Addr{Path: filepath.Join(shortDir(s.T), "a")}
	a, _ := s.packets("unixgram", at, seam.Addr{})
	free, _ := s.packets("unixgram", seam.Addr{}, seam.Addr{})
	bound, _ := s.packets("unixgram", seam.Addr{}, at)
	if free.LocalAddr() != (seam.Addr{}) || bound.LocalAddr() != (seam.Addr{}) || free.RemoteAddr() != (seam.Addr{}) {
		s.Errorf("addresses %v, %v", free.LocalAddr(), bound.LocalAddr())
	}
	s.send(free, []byte("one"), at)
	s.send(bound, []byte("two"), seam.Addr{})
	for _, want := range []string{"one", "two"} {
		if got, from, err := s.receive(a); string(got) != want || from != (seam.Addr{}) || err != nil {
			s.Errorf("received %q from %v, %v", got, from, err)
		}
	}
}

func testUnixgramFile(s suite) {
	at := seam.Addr{Path: filepath.Join(shortDir(s.T), "a")}
	stale, err := s.peers.PeerUnixgram(at.Path)
	s.must(err)
	stale.Close()
	c, _ := s.packets("unixgram", at, seam.Addr{})
	s.must(c.Close())
	if s.peers.HasFile(at.Path) {
		s.Error("the file is still there")
	}
	if s.simulated {
		return
	}
	s.must(os.WriteFile(at.Path, nil, 0o600))
	_, err = s.net.OpenPacket("unixgram", at, seam.Addr{}, seam.PacketOptions{}, new(recorder))
	s.is(err, syscall.EADDRINUSE)
}

// testPacketFull writes to a socket that nobody reads, until there is no room. What
// was taken arrives in order.
func testPacketFull(s suite, connected bool) {
	dir := shortDir(s.T)
	peer, err := s.peers.PeerUnixgram(filepath.Join(dir, "a"))
	s.must(err)
	defer peer.Close()
	at := seam.Addr{Path: filepath.Join(dir, "a")}
	c, rec := s.packets("unixgram", seam.Addr{Path: filepath.Join(dir, "b")}, at)
	to := seam.Addr{}
	if !connected {
		to = at
		c, rec = s.packets("unixgram", seam.Addr{Path: filepath.Join(dir, "c")}, seam.Addr{})
	}
	sent := 0
	for {
		err := c.WriteTo([]byte{byte(sent), byte(sent >> 8)}, to)
		if err == seam.ErrWouldBlock || errors.Is(err, syscall.ENOBUFS) {
			break // the second is what BSD says
		}
		s.must(err)
		if sent++; sent == 100_000 {
			s.Fatal("there is room for everything")
		}
	}
	rec.take()
	buf := make([]byte, 10)
	for i := range sent {
		peer.SetReadDeadline(time.Now().Add(patience))
		n, err := peer.Read(buf)
		s.must(err)
		if got := int(buf[0]) | int(buf[1])<<8; n != 2 || got != i&0xffff {
			s.Fatalf("datagram %d is %d bytes, number %d", i, n, got)
		}
	}
	if runtime.GOOS == "linux" && connected { // the kernel does not tell who has many peers
		s.reported(rec, seam.Writable)
	}
	s.send(c, []byte("more"), to)
}

func testPacketReusePort(s suite) {
	opts := seam.PacketOptions{ReusePort: true}
	a, err := s.net.OpenPacket("udp4", anyUDP, seam.Addr{}, opts, new(recorder))
	s.must(err)
	defer a.Close()
	b, err := s.net.OpenPacket("udp4", a.LocalAddr(), seam.Addr{}, opts, new(recorder))
	s.must(err)
	b.Close()
}
