// This file tests datagrams.

package sock_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/netcontract"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/sock"
)

// at is the address of IP and port that s says.
func at(s string) seam.Addr { return seam.Addr{AddrPort: netip.MustParseAddrPort(s)} }

// A packetPlace is where to open sockets for datagrams.
type packetPlace struct {
	network string
	new     func() seam.Addr // an address that is free
}

// allPackets runs f as a subtest in all kinds of places.
func allPackets(t *testing.T, f func(t *testing.T, p packetPlace)) {
	t.Run("IPv4", func(t *testing.T) {
		f(t, packetPlace{"udp4", func() seam.Addr { return at("127.0.0.1:0") }})
	})
	t.Run("IPv6", func(t *testing.T) {
		needIPv6(t)
		f(t, packetPlace{"udp6", func() seam.Addr { return at("[::1]:0") }})
	})
	t.Run("unixgram", func(t *testing.T) {
		f(t, packetPlace{"unixgram", func() seam.Addr { return seam.Addr{Path: filepath.Join(t.TempDir(), "s")} }})
	})
	t.Run("abstract", func(t *testing.T) {
		f(t, packetPlace{"unixgram", func() seam.Addr { return seam.Addr{Path: abstractName(t)} }})
	})
}

// openPacket opens a socket that the end of the test closes.
func openPacket(t testing.TB, n *sock.Network, network string, local, remote seam.Addr, opts seam.PacketOptions) (seam.PacketConn, *recorder) {
	t.Helper()
	rec := new(recorder)
	c, err := n.OpenPacket(network, local, remote, opts, rec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, rec
}

// receives waits for the next datagram of c.
func receives(t testing.TB, n *sock.Network, c seam.PacketConn, p []byte) (int, seam.Addr, error) {
	t.Helper()
	var k int
	var from seam.Addr
	var err error
	until(t, n, func() bool {
		k, from, err = c.ReadFrom(p)
		return err != seam.ErrWouldBlock
	})
	return k, from, err
}

// expects checks that the next datagram of c is text, from a sender.
func expects(t testing.TB, n *sock.Network, c seam.PacketConn, text string, sender seam.Addr) {
	t.Helper()
	p := make([]byte, 1<<10)
	k, from, err := receives(t, n, c, p)
	if err != nil || string(p[:k]) != text || from != sender {
		t.Errorf("got %q from %v, %v; want %q from %v", p[:k], from, err, text, sender)
	}
}

func TestPacketEcho(t *testing.T) {
	allPackets(t, func(t *testing.T, p packetPlace) {
		n := newNetwork(t)
		a, arec := openPacket(t, n, p.network, p.new(), seam.Addr{}, seam.PacketOptions{})
		b, brec := openPacket(t, n, p.network, p.new(), a.LocalAddr(), seam.PacketOptions{})
		if b.RemoteAddr() != a.LocalAddr() || a.RemoteAddr() != (seam.Addr{}) || a.LocalAddr() == b.LocalAddr() {
			t.Errorf("addresses: %v %v, %v %v", a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr())
		}
		reported(t, n, arec, seam.Writable)
		reported(t, n, brec, seam.Writable)
		if _, _, err := a.ReadFrom(nil); err != seam.ErrWouldBlock {
			t.Errorf("ReadFrom: %v, want ErrWouldBlock", err)
		}
		for _, text := range []string{"one", "", "three"} {
			arec.take()
			if err := b.WriteTo([]byte(text), seam.Addr{}); err != nil {
				t.Fatal(err)
			}
			reported(t, n, arec, seam.Readable)
			expects(t, n, a, text, b.LocalAddr())
			brec.take()
			if err := a.WriteTo([]byte(text+text), b.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			reported(t, n, brec, seam.Readable)
			expects(t, n, b, text+text, a.LocalAddr())
		}
		// Each datagram is one, whatever has come with it, and what has no room is dropped.
		for range 2 {
			if err := b.WriteTo([]byte("too long"), seam.Addr{}); err != nil {
				t.Fatal(err)
			}
		}
		for _, room := range []int{3, 0} {
			if k, from, err := receives(t, n, a, make([]byte, room)); k != room || from != b.LocalAddr() || err != nil {
				t.Errorf("read %d bytes from %v, %v; want %d", k, from, err, room)
			}
		}
		local := a.LocalAddr()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := a.Close(); err != net.ErrClosed {
			t.Errorf("second Close: %v", err)
		}
		if _, _, err := a.ReadFrom(nil); err != net.ErrClosed {
			t.Errorf("ReadFrom after Close: %v", err)
		}
		if err := a.WriteTo(nil, b.LocalAddr()); err != net.ErrClosed {
			t.Errorf("WriteTo after Close: %v", err)
		}
		if a.LocalAddr() != local {
			t.Errorf("LocalAddr after Close is %v, was %v", a.LocalAddr(), local)
		}
	})
}

// Peers of package net understand the addresses, and are understood.
func TestPacketPeer(t *testing.T) {
	for _, test := range []struct{ network, at string }{{"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"}} {
		t.Run(test.network, func(t *testing.T) {
			n := newNetwork(t)
			peer, err := net.ListenPacket(test.network, test.at)
			if err != nil {
				t.Skip(err)
			}
			defer peer.Close()
			c, _ := openPacket(t, n, test.network, seam.Addr{}, seam.Addr{}, seam.PacketOptions{})
			if port := c.LocalAddr().AddrPort.Port(); port != 0 {
				t.Errorf("the port is %d already", port)
			}
			if err := c.WriteTo([]byte("hello"), at(peer.LocalAddr().String())); err != nil {
				t.Fatal(err)
			}
			p := make([]byte, 100)
			k, from, err := peer.ReadFrom(p)
			if err != nil || string(p[:k]) != "hello" {
				t.Fatalf("the peer got %q, %v", p[:k], err)
			}
			if got := from.(*net.UDPAddr).Port; got != int(c.LocalAddr().AddrPort.Port()) {
				t.Errorf("the peer sees port %d, LocalAddr has %v", got, c.LocalAddr())
			}
			if _, err := peer.WriteTo(p[:k], from); err != nil {
				t.Fatal(err)
			}
			expects(t, n, c, "hello", at(peer.LocalAddr().String()))
		})
	}
}

func TestPacketMappedAddress(t *testing.T) {
	n := newNetwork(t)
	a, _ := openPacket(t, n, "udp4", at("127.0.0.1:0"), seam.Addr{}, seam.PacketOptions{})
	mapped := seam.Addr{AddrPort: netip.AddrPortFrom(netip.AddrFrom16(a.LocalAddr().AddrPort.Addr().As16()), a.LocalAddr().AddrPort.Port())}
	if err := a.WriteTo([]byte("me"), mapped); err != nil {
		t.Fatal(err)
	}
	expects(t, n, a, "me", a.LocalAddr())
	t.Run("dual stack", func(t *testing.T) {
		needIPv6(t)
		n := newNetwork(t)
		dual, err := net.ListenPacket("udp", "[::]:0")
		if err != nil {
			t.Skip(err)
		}
		var rec recorder
		c, err := n.AdoptPacket(dual, &rec)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		b, _ := openPacket(t, n, "udp4", at("127.0.0.1:0"), seam.Addr{}, seam.PacketOptions{})
		to := seam.Addr{AddrPort: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), c.LocalAddr().AddrPort.Port())}
		if err := b.WriteTo([]byte("ping"), to); err != nil {
			t.Fatal(err)
		}
		expects(t, n, c, "ping", b.LocalAddr()) // not as an IPv6 address
		if err := c.WriteTo([]byte("pong"), b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		expects(t, n, b, "pong", to)
	})
}

// linkLocal returns an IPv6 address of this machine that needs a zone.
func linkLocal(t testing.TB) netip.Addr {
	t.Helper()
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Skip(err)
	}
	for _, i := range interfaces {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is6() && prefix.Addr().IsLinkLocalUnicast() && i.Flags&net.FlagUp != 0 {
				return prefix.Addr().WithZone(i.Name)
			}
		}
	}
	t.Skip("there is no address with a zone")
	return netip.Addr{}
}

func TestPacketZone(t *testing.T) {
	n := newNetwork(t)
	a, _ := openPacket(t, n, "udp6", seam.Addr{AddrPort: netip.AddrPortFrom(linkLocal(t), 0)}, seam.Addr{}, seam.PacketOptions{})
	b, _ := openPacket(t, n, "udp6", seam.Addr{AddrPort: netip.AddrPortFrom(a.LocalAddr().AddrPort.Addr(), 0)}, seam.Addr{}, seam.PacketOptions{})
	for range 2 { // the second time the zone is known
		if err := a.WriteTo([]byte("you"), b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		expects(t, n, b, "you", a.LocalAddr())
	}
}

func TestPacketUnknownZone(t *testing.T) {
	needIPv6(t)
	n := newNetwork(t)
	a, _ := openPacket(t, n, "udp6", seam.Addr{}, seam.Addr{}, seam.PacketOptions{})
	var ae *net.AddrError
	if err := a.WriteTo(nil, at("[fe80::1%nowhere]:9")); !errors.As(err, &ae) {
		t.Errorf("WriteTo: %v, want an AddrError", err)
	}
}

func TestPacketUnixNames(t *testing.T) {
	n := newNetwork(t)
	path := filepath.Join(t.TempDir(), "s")
	a, _ := openPacket(t, n, "unixgram", seam.Addr{Path: path}, seam.Addr{}, seam.PacketOptions{})
	nameless, _ := openPacket(t, n, "unixgram", seam.Addr{}, a.LocalAddr(), seam.PacketOptions{})
	named, _ := openPacket(t, n, "unixgram", seam.Addr{Path: abstractName(t)}, seam.Addr{}, seam.PacketOptions{})
	if nameless.LocalAddr() != (seam.Addr{}) || a.LocalAddr().Path != path {
		t.Errorf("the names are %q and %q", nameless.LocalAddr().Path, a.LocalAddr().Path)
	}
	for range 2 {
		if err := nameless.WriteTo([]byte("guess who"), seam.Addr{}); err != nil {
			t.Fatal(err)
		}
		if err := named.WriteTo([]byte("it is me"), a.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		expects(t, n, a, "guess who", seam.Addr{})
		expects(t, n, a, "it is me", named.LocalAddr())
	}
	for _, bad := range []string{"a\x00b", strings.Repeat("x", 108)} {
		wantSyscall(t, named.WriteTo(nil, seam.Addr{Path: bad}), "sendto", unix.EINVAL)
	}
	wantSyscall(t, named.WriteTo(nil, seam.Addr{Path: path + "x"}), "sendto", unix.ENOENT)
	long := seam.Addr{Path: filepath.Join(os.TempDir(), strings.Repeat("n", 107-1-len(os.TempDir())))}
	l, _ := openPacket(t, n, "unixgram", long, seam.Addr{}, seam.PacketOptions{})
	if err := l.WriteTo([]byte("long"), long); err != nil {
		t.Fatal(err)
	}
	expects(t, n, l, "long", long)
}

func TestPacketSocketFile(t *testing.T) {
	open := func(t *testing.T, n *sock.Network, path string) (seam.PacketConn, error) {
		return n.OpenPacket("unixgram", seam.Addr{Path: path}, seam.Addr{}, seam.PacketOptions{}, new(recorder))
	}
	t.Run("a stale one is replaced, and removed on Close", func(t *testing.T) {
		n := newNetwork(t)
		path := filepath.Join(t.TempDir(), "s")
		stale, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		stale.Close()
		if _, err := os.Stat(path); err != nil {
			t.Fatal(err)
		}
		c, err := open(t, n, path)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file is left: %v", err)
		}
	})
	t.Run("another's stays", func(t *testing.T) {
		n := newNetwork(t)
		path := filepath.Join(t.TempDir(), "s")
		first, err := open(t, n, path)
		if err != nil {
			t.Fatal(err)
		}
		second, err := open(t, n, path) // takes the place of the first
		if err != nil {
			t.Fatal(err)
		}
		first.Close()
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the file of the second is gone: %v", err)
		}
		second.Close()
	})
	t.Run("what is no socket stays", func(t *testing.T) {
		n := newNetwork(t)
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, n, path)
		wantSyscall(t, err, "bind", unix.EADDRINUSE)
		if got, _ := os.ReadFile(path); string(got) != "text" {
			t.Errorf("the file is %q now", got)
		}
	})
}

func TestPacketOptions(t *testing.T) {
	n := newNetwork(t)
	option := func(c seam.PacketConn, name int) (value int) {
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if cerr := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, name) }); cerr != nil || err != nil {
			t.Fatal(cerr, err)
		}
		return value
	}
	for _, on := range []int{0, 1} {
		c, _ := openPacket(t, n, "udp4", at("127.0.0.1:0"), seam.Addr{}, seam.PacketOptions{ReusePort: on == 1, Broadcast: on == 1})
		if got := [3]int{option(c, unix.SO_REUSEPORT), option(c, unix.SO_BROADCAST), option(c, unix.SO_REUSEADDR)}; got != [3]int{on, on, 0} {
			t.Errorf("options are %v", got)
		}
		if on == 1 {
			openPacket(t, n, "udp4", c.LocalAddr(), seam.Addr{}, seam.PacketOptions{ReusePort: true})
		}
		_, err := n.OpenPacket("udp4", c.LocalAddr(), seam.Addr{}, seam.PacketOptions{}, new(recorder))
		wantSyscall(t, err, "bind", unix.EADDRINUSE)
	}
}

func TestPacketRawConn(t *testing.T) {
	n := newNetwork(t)
	c, _ := openPacket(t, n, "udp4", seam.Addr{}, seam.Addr{}, seam.PacketOptions{})
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	never := func(uintptr) bool { t.Error("it was called"); return true }
	if r, w := raw.Read(never), raw.Write(never); !errors.Is(r, errors.ErrUnsupported) || !errors.Is(w, errors.ErrUnsupported) {
		t.Errorf("Read: %v, Write: %v", r, w)
	}
	c.Close()
	if err := raw.Control(func(uintptr) { t.Error("it was called") }); err != net.ErrClosed {
		t.Errorf("Control after Close: %v", err)
	}
	if _, err := c.(syscall.Conn).SyscallConn(); err != net.ErrClosed {
		t.Errorf("SyscallConn after Close: %v", err)
	}
}

// A port that refuses datagrams is told once; the socket then goes on.
func TestPacketRefused(t *testing.T) {
	n := newNetwork(t)
	gone, _ := openPacket(t, n, "udp4", seam.Addr{AddrPort: netcontract.PortOfNobody(t)}, seam.Addr{}, seam.PacketOptions{})
	c, rec := openPacket(t, n, "udp4", at("127.0.0.1:0"), gone.LocalAddr(), seam.PacketOptions{})
	there := gone.LocalAddr()
	gone.Close()
	for range 2 {
		rec.take()
		if err := c.WriteTo([]byte("anybody?"), seam.Addr{}); err != nil {
			t.Fatal(err)
		}
		reported(t, n, rec, seam.Failed)
		_, _, err := receives(t, n, c, make([]byte, 10))
		wantSyscall(t, err, "recvfrom", unix.ECONNREFUSED)
		if _, _, err := c.ReadFrom(make([]byte, 10)); err != seam.ErrWouldBlock {
			t.Errorf("the second read: %v", err)
		}
	}
	back, _ := openPacket(t, n, "udp4", there, seam.Addr{}, seam.PacketOptions{})
	if err := c.WriteTo([]byte("there"), seam.Addr{}); err != nil {
		t.Fatal(err)
	}
	expects(t, n, back, "there", c.LocalAddr())
}

// A full queue of a Unix socket is no error, and room in it is reported.
func TestPacketFull(t *testing.T) {
	n := newNetwork(t)
	a, _ := openPacket(t, n, "unixgram", seam.Addr{Path: abstractName(t)}, seam.Addr{}, seam.PacketOptions{})
	b, rec := openPacket(t, n, "unixgram", seam.Addr{}, a.LocalAddr(), seam.PacketOptions{})
	var err error
	sent := 0
	for ; err == nil && sent < 1_000_000; sent++ {
		err = b.WriteTo([]byte{byte(sent)}, seam.Addr{})
	}
	if sent--; err != seam.ErrWouldBlock {
		t.Fatalf("after %d datagrams: %v", sent, err)
	}
	n.Wait(0) // reports from before
	rec.take()
	p := make([]byte, 10)
	for i := range sent {
		if k, _, err := receives(t, n, a, p); k != 1 || p[0] != byte(i) || err != nil {
			t.Fatalf("datagram %d is %q, %v", i, p[:k], err)
		}
	}
	reported(t, n, rec, seam.Writable)
	if err := b.WriteTo([]byte("again"), seam.Addr{}); err != nil {
		t.Error(err)
	}
}

func TestPacketErrors(t *testing.T) {
	n := newNetwork(t)
	a, _ := openPacket(t, n, "udp4", at("127.0.0.1:0"), seam.Addr{}, seam.PacketOptions{})
	wantSyscall(t, a.WriteTo(make([]byte, 1<<16), a.LocalAddr()), "sendto", unix.EMSGSIZE)
	wantSyscall(t, a.WriteTo(nil, seam.Addr{}), "sendto", unix.EDESTADDRREQ)
	wantSyscall(t, a.WriteTo(nil, at("[::1]:9")), "sendto", unix.EAFNOSUPPORT)
	for _, test := range []struct {
		name, network string
		local, remote seam.Addr
		want          error
	}{
		{"unknown network", "udp", seam.Addr{}, seam.Addr{}, net.UnknownNetworkError("udp")},
		{"taken", "udp4", a.LocalAddr(), seam.Addr{}, unix.EADDRINUSE},
		{"not this machine's", "udp4", at("192.0.2.1:0"), seam.Addr{}, unix.EADDRNOTAVAIL},
		{"broadcast that is not allowed", "udp4", seam.Addr{}, at("255.255.255.255:9"), unix.EACCES},
		{"nobody there", "unixgram", seam.Addr{}, seam.Addr{Path: "/nonexistent/s"}, unix.ENOENT},
		{"no directory", "unixgram", seam.Addr{Path: "/nonexistent/s"}, seam.Addr{}, unix.ENOENT},
		{"NUL", "unixgram", seam.Addr{}, seam.Addr{Path: "a\x00b"}, unix.EINVAL},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := n.OpenPacket(test.network, test.local, test.remote, seam.PacketOptions{}, new(recorder)); !errors.Is(err, test.want) {
				t.Errorf("error is %v, want %v", err, test.want)
			}
		})
	}
	t.Run("another family", func(t *testing.T) {
		var ae *net.AddrError
		if _, err := n.OpenPacket("udp4", at("[::1]:0"), seam.Addr{}, seam.PacketOptions{}, new(recorder)); !errors.As(err, &ae) {
			t.Errorf("error is %v, want an AddrError", err)
		}
	})
}

func TestAdoptPacket(t *testing.T) {
	t.Run("bound", func(t *testing.T) {
		n := newNetwork(t)
		p, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var rec recorder
		c, err := n.AdoptPacket(p, &rec)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.LocalAddr() != at(p.LocalAddr().String()) || c.RemoteAddr() != (seam.Addr{}) {
			t.Errorf("addresses: %v %v", c.LocalAddr(), c.RemoteAddr())
		}
		if _, err := p.WriteTo(nil, p.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the old one: %v", err)
		}
		if err := c.WriteTo([]byte("me"), c.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		reported(t, n, &rec, seam.Readable)
		expects(t, n, c, "me", c.LocalAddr())
	})
	t.Run("connected", func(t *testing.T) {
		n := newNetwork(t)
		p, err := net.Dial("udp4", "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		c, err := n.AdoptPacket(p.(net.PacketConn), new(recorder))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.RemoteAddr() != at("127.0.0.1:9") {
			t.Errorf("the peer is %v", c.RemoteAddr())
		}
	})
	t.Run("stream", func(t *testing.T) {
		n := newNetwork(t)
		l, p := peerListen(t, place{network: "unix", path: abstractName(t)})
		defer l.Close()
		s, err := net.Dial(p.peer())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.AdoptPacket(s.(net.PacketConn), new(recorder)); !errors.Is(err, unix.EPROTOTYPE) {
			t.Errorf("error is %v", err)
		}
		if _, err := s.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the stream is not closed: %v", err)
		}
	})
	t.Run("no socket", func(t *testing.T) {
		n := newNetwork(t)
		p, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.AdoptPacket(struct{ net.PacketConn }{p}, new(recorder)); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("error is %v", err)
		}
		if _, err := p.WriteTo(nil, p.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("it is not closed: %v", err)
		}
	})
}

// More than the scheduler may be kept waiting for goes another way.
func TestPacketLarge(t *testing.T) {
	n := newNetwork(t)
	a, _ := openPacket(t, n, "unixgram", seam.Addr{Path: abstractName(t)}, seam.Addr{}, seam.PacketOptions{})
	sent := noise(100 << 10)
	if err := a.WriteTo(sent, a.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 200<<10)
	k, from, err := receives(t, n, a, p)
	if !bytes.Equal(p[:k], sent) || from != a.LocalAddr() || err != nil {
		t.Errorf("got %d bytes from %v, %v", k, from, err)
	}
}
