// This file tests how connection attempts end.

package sock_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/netcontract"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/sock"
)

// anyPort is a free port of an address, anyPortAt a certain one.
func anyPort(addr string) netip.AddrPort { return anyPortAt(addr, 0) }

func anyPortAt(addr string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), port)
}

// nobody returns a place of 127.0.0.1 where nobody listens.
func nobody(t *testing.T) place {
	t.Helper()
	return place{network: "tcp", at: netcontract.PortOfNobody(t)}
}

func TestDialRefused(t *testing.T) {
	n := newNetwork(t)
	p := nobody(t)
	var rec recorder
	c, err := dialAt(n, p.network, p.at, netip.AddrPort{}, "", &rec)
	if err == nil {
		defer c.Close()
		reported(t, n, &rec, seam.Failed)
		err = c.Connected()
		if again := c.Connected(); again != err {
			t.Errorf("a second Connected = %v, after %v", again, err)
		}
	}
	wantSyscall(t, err, "connect", unix.ECONNREFUSED)
}

func TestDialFailsAtOnce(t *testing.T) {
	dir := t.TempDir()
	busy, _ := peerListen(t, place{network: "tcp", at: anyPort("127.0.0.2")})
	_, there := peerListen(t, loopback)
	taken := busy.Addr().(*net.TCPAddr).AddrPort()

	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()

	for _, test := range []struct {
		name  string
		p     place
		local netip.AddrPort
		call  string
		cause error
	}{
		{"local address not ours", there, anyPort("192.0.2.1"), "bind", unix.EADDRNOTAVAIL},
		{"local address in use", there, taken, "bind", unix.EADDRINUSE},
		{"families differ", there, anyPort("::1"), "bind", unix.EAFNOSUPPORT},
		{"broadcast", place{network: "tcp", at: anyPortAt("255.255.255.255", 9)}, netip.AddrPort{}, "connect", unix.ENETUNREACH},
		{"no file", place{network: "unix", path: filepath.Join(dir, "none")}, netip.AddrPort{}, "connect", unix.ENOENT},
		{"stale file", place{network: "unix", path: stale}, netip.AddrPort{}, "connect", unix.ECONNREFUSED},
		{"no abstract name", place{network: "unix", path: abstractName(t)}, netip.AddrPort{}, "connect", unix.ECONNREFUSED},
		{"empty path", place{network: "unix"}, netip.AddrPort{}, "connect", unix.EINVAL},
		{"NUL in path", place{network: "unix", path: stale + "\x00x"}, netip.AddrPort{}, "connect", unix.EINVAL},
		{"long path", place{network: "unix", path: string(make([]byte, 200))}, netip.AddrPort{}, "connect", unix.EINVAL},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNetwork(t)
			c, err := dialAt(n, test.p.network, test.p.at, test.local, test.p.path, new(recorder))
			if c != nil {
				t.Error("there is a Conn")
				c.Close()
			}
			wantSyscall(t, err, test.call, test.cause)
		})
	}
}

func TestDialNonsense(t *testing.T) {
	n := newNetwork(t)
	if _, err := dialAt(n, "udp", loopback.at, netip.AddrPort{}, "", new(recorder)); err != net.UnknownNetworkError("udp") {
		t.Errorf("udp: %v", err)
	}
	var ae *net.AddrError
	if _, err := dialAt(n, "tcp", netip.AddrPort{}, netip.AddrPort{}, "", new(recorder)); !errors.As(err, &ae) {
		t.Errorf("no address: %v", err)
	}
	if _, err := dialAt(n, "tcp", anyPortAt("fe80::1%nosuch", 9), netip.AddrPort{}, "", new(recorder)); !errors.As(err, &ae) {
		t.Errorf("unknown zone: %v", err)
	}
}

func TestDialLocal(t *testing.T) {
	n := newNetwork(t)
	l, p := peerListen(t, loopback)
	for _, local := range []netip.AddrPort{anyPort("127.0.0.3"), anyPort("::ffff:127.0.0.3")} {
		var rec recorder
		c, err := dialAt(n, "tcp", p.at, local, "", &rec)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		peer, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		reported(t, n, &rec, seam.Writable)
		if err := c.Connected(); err != nil {
			t.Error(err)
		}
		if got := peer.RemoteAddr().(*net.TCPAddr); !got.IP.Equal(net.IPv4(127, 0, 0, 3)) || got.String() != c.LocalAddr().String() {
			t.Errorf("peer sees %v, LocalAddr = %v", got, c.LocalAddr())
		}
	}
}

func TestDialMapped(t *testing.T) {
	n := newNetwork(t)
	_, p := peerListen(t, loopback)
	p.at = anyPortAt("::ffff:127.0.0.1", p.at.Port())
	c, _ := dial(t, n, p)
	if got := c.RemoteAddr().(*net.TCPAddr); got.IP.To4() == nil {
		t.Errorf("RemoteAddr = %v, want IPv4", got)
	}
}

func TestDialZone(t *testing.T) {
	needIPv6(t)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skip(err)
	}
	n := newNetwork(t)
	_, p := peerListen(t, place{network: "tcp", at: anyPort("::1")})
	for _, zone := range []string{"lo", "1"} {
		if zone == "1" && lo.Index != 1 {
			continue
		}
		p.at = netip.AddrPortFrom(p.at.Addr().WithZone(zone), p.at.Port())
		c, _ := dial(t, n, p)
		if got := c.RemoteAddr().(*net.TCPAddr).Zone; got != "lo" {
			t.Errorf("zone = %q, want lo", got)
		}
	}
}

// TestDialSelf connects a socket with itself. That is the caller's business if
// it has asked for the local port, and an accident otherwise.
func TestDialSelf(t *testing.T) {
	n := newNetwork(t)
	p := nobody(t)
	for _, chosen := range []bool{false, true} {
		var rec recorder
		c, err := dialAt(n, "tcp", p.at, p.at, "", &rec)
		if err != nil {
			t.Fatal(err)
		}
		if chosen {
			sock.PortChosen(c)
		}
		reported(t, n, &rec, seam.Writable)
		err = c.Connected()
		if chosen {
			wantSyscall(t, err, "connect", unix.ECONNREFUSED)
		} else if err != nil {
			t.Error(err)
		}
		c.Reset() // leaves the port free
	}
}

// TestDialUnixBacklogFull is an error at once: nothing would be reported.
func TestDialUnixBacklogFull(t *testing.T) {
	n := newNetwork(t)
	p := place{network: "unix", path: abstractName(t)}
	listen(t, n, p, seam.ListenOptions{Backlog: 1})
	for range 10 {
		c, err := dialAt(n, p.network, p.at, netip.AddrPort{}, p.path, new(recorder))
		if err != nil {
			wantSyscall(t, err, "connect", unix.EAGAIN)
			return
		}
		defer c.Close()
	}
	t.Error("ten connections found room in a backlog of one")
}

// checkOptions checks the options that every TCP connection has.
func checkOptions(t *testing.T, c seam.Conn, keepAlive time.Duration) {
	t.Helper()
	on := 1
	if keepAlive < 0 {
		on = 0
	}
	want := map[string][3]int{
		"TCP_NODELAY":  {unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		"SO_KEEPALIVE": {unix.SOL_SOCKET, unix.SO_KEEPALIVE, on},
	}
	if on == 1 {
		want["TCP_KEEPIDLE"] = [3]int{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAlive / time.Second)}
		want["TCP_KEEPINTVL"] = [3]int{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15}
		want["TCP_KEEPCNT"] = [3]int{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9}
	}
	for name, o := range want {
		if got, err := sock.Option(c, o[0], o[1]); got != o[2] || err != nil {
			t.Errorf("%s = %d, %v; want %d", name, got, err, o[2])
		}
	}
}

func TestDialOptions(t *testing.T) {
	n := newNetwork(t)
	c, _, _ := dialed(t, n, loopback)
	checkOptions(t, c, 15*time.Second)
}

// TestDialNoDescriptor has none left.
func TestDialNoDescriptor(t *testing.T) {
	n := newNetwork(t)
	_, p := peerListen(t, loopback)
	withoutDescriptors(t, func() {
		for _, p := range []place{p, {network: "unix", path: "@x"}} {
			_, err := dialAt(n, p.network, p.at, netip.AddrPort{}, p.path, new(recorder))
			wantSyscall(t, err, "socket", unix.EMFILE)
			_, err = listenAt(n, p.network, p.at, p.path, seam.ListenOptions{}, new(recorder))
			wantSyscall(t, err, "socket", unix.EMFILE)
		}
	})
}

// withoutDescriptors runs f when no descriptor can be opened.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	limit := old
	limit.Cur = uint64(firstFree(t))
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	f()
}

// firstFree returns the lowest number that no descriptor has.
func firstFree(t *testing.T) int {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return int(f.Fd())
}
