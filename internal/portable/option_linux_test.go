// This file asks the kernel which options sockets have.

package portable_test

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// option returns the value of an option of c.
func option(t *testing.T, c any, level, name int) int {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	value := 0
	if cerr := raw.Control(func(fd uintptr) { value, err = syscall.GetsockoptInt(int(fd), level, name) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return value
}

// checkTCP checks the options that every TCP connection has.
func checkTCP(t *testing.T, c any, keepAlive time.Duration) {
	t.Helper()
	on := 1
	if keepAlive < 0 {
		on = 0
	}
	want := map[[2]int]int{
		{syscall.IPPROTO_TCP, syscall.TCP_NODELAY}: 1,
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE}: on,
	}
	if on == 1 {
		want[[2]int{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE}] = int(keepAlive / time.Second)
		want[[2]int{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL}] = 15
		want[[2]int{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT}] = 9
	}
	for o, value := range want {
		if got := option(t, c, o[0], o[1]); got != value {
			t.Errorf("option %v is %d, want %d", o, got, value)
		}
	}
}

func TestOptionsOfDialed(t *testing.T) {
	n := newNetwork(t)
	c, _, _ := connect(t, n)
	checkTCP(t, c, 15*time.Second)
}

func TestOptionsOfAccepted(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{
		0: 15 * time.Second, -1: -1, 90 * time.Second: 90 * time.Second,
		1500 * time.Millisecond: 2 * time.Second, 1000 * time.Hour: 32767 * time.Second, math.MaxInt64: 32767 * time.Second,
	} {
		n := newNetwork(t)
		l, err := n.Listen("tcp", anyPort, seam.ListenOptions{KeepAlive: asked}, new(recorder))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		l.Start()
		peer, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		var c seam.AcceptedConn
		until(t, n, func() bool {
			c, err = l.Accept()
			return err == nil
		})
		checkTCP(t, c, want)
		c.Close()
	}
}

var anyPort = seam.Addr{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}

func TestOptionsOfListener(t *testing.T) {
	n := newNetwork(t)
	for _, on := range []int{0, 1} {
		l, err := n.Listen("tcp", anyPort, seam.ListenOptions{ReusePort: on == 1, NoReuseAddr: on == 1}, new(recorder))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		const reusePort = 0xf
		if got := option(t, l, syscall.SOL_SOCKET, reusePort); got != on {
			t.Errorf("SO_REUSEPORT is %d, want %d", got, on)
		}
		if got := option(t, l, syscall.SOL_SOCKET, syscall.SO_REUSEADDR); got != 1-on {
			t.Errorf("SO_REUSEADDR is %d, want %d", got, 1-on)
		}
		p, err := n.OpenPacket("udp4", anyPort, seam.Addr{}, seam.PacketOptions{ReusePort: on == 1, Broadcast: on == 1}, new(recorder))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if got := option(t, p, syscall.SOL_SOCKET, reusePort); got != on {
			t.Errorf("SO_REUSEPORT of datagrams is %d, want %d", got, on)
		}
		if got := option(t, p, syscall.SOL_SOCKET, syscall.SO_BROADCAST); got != on {
			t.Errorf("SO_BROADCAST is %d, want %d", got, on)
		}
	}
}

func TestSyscallConn(t *testing.T) {
	n := newNetwork(t)
	c, _, _ := connect(t, n)
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
	ours, peer := net.Pipe()
	defer peer.Close()
	p, err := n.AdoptConn(ours, new(recorder))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.(syscall.Conn).SyscallConn(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("SyscallConn of a pipe: %v", err)
	}
}
