// This file holds what the tests of sockets share: their peers are package
// net's, and they wait for facts in Network.Wait.

package sock_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/sock"
)

func TestMain(m *testing.M) {
	// Package net opens descriptors for its own poller when it is first used.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	os.Exit(m.Run())
}

// newNetwork returns a Network that the end of the test closes. It checks then
// that no descriptor is left open.
func newNetwork(t testing.TB) *sock.Network {
	t.Helper()
	before := descriptors(t)
	n, err := sock.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		after := descriptors(t)
		for start := time.Now(); len(after) != len(before) && !t.Failed(); after = descriptors(t) {
			if time.Since(start) > 10*time.Second { // those of peers are closed when their goroutines have let go
				t.Errorf("descriptors open before the test: %v\nafter: %v", before, after)
			}
			time.Sleep(time.Millisecond)
		}
	})
	return n
}

// descriptors returns what the open descriptors are.
func descriptors(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			open = append(open, e.Name()+" "+target)
		}
	}
	return open
}

// A recorder keeps what was reported.
type recorder struct{ got seam.Readiness }

func (r *recorder) Ready(what seam.Readiness) { r.got |= what }

// take returns what was reported since the last call.
func (r *recorder) take() seam.Readiness {
	got := r.got
	r.got = 0
	return got
}

// until waits in n until done says so.
func until(t testing.TB, n *sock.Network, done func() bool) {
	t.Helper()
	const patience = 2 * time.Minute
	for start := time.Now(); !done(); {
		if time.Since(start) > patience {
			t.Fatal("nothing happened for too long")
		}
		if _, err := n.Wait(patience); err != nil {
			t.Fatal(err)
		}
	}
}

// reported waits in n until rec has been told what.
func reported(t testing.TB, n *sock.Network, rec *recorder, what seam.Readiness) {
	t.Helper()
	until(t, n, func() bool { return rec.got&what == what })
}

// A place is where to listen and dial in a network.
type place struct {
	network string
	at      netip.AddrPort
	path    string
}

// peer returns network and address as package net wants them.
func (p place) peer() (string, string) {
	if p.network == "unix" {
		return "unix", p.path
	}
	return "tcp", p.at.String()
}

// everywhere runs f as a subtest in all kinds of places.
func everywhere(t *testing.T, f func(t *testing.T, p place)) {
	t.Run("IPv4", func(t *testing.T) {
		f(t, place{network: "tcp", at: netip.MustParseAddrPort("127.0.0.1:0")})
	})
	t.Run("IPv6", func(t *testing.T) {
		needIPv6(t)
		f(t, place{network: "tcp", at: netip.MustParseAddrPort("[::1]:0")})
	})
	t.Run("unix", func(t *testing.T) {
		f(t, place{network: "unix", path: filepath.Join(t.TempDir(), "s")})
	})
	t.Run("abstract", func(t *testing.T) {
		f(t, place{network: "unix", path: abstractName(t)})
	})
}

func abstractName(t testing.TB) string {
	return "@asyncio-" + strings.ReplaceAll(t.Name(), "/", "-") + "-" + time.Now().Format("150405.000000000")
}

func needIPv6(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("there is no ::1: ", err)
	}
	l.Close()
}

// loopback is any port of 127.0.0.1.
var loopback = place{network: "tcp", at: netip.MustParseAddrPort("127.0.0.1:0")}

// peerListen listens with package net; the place that is returned is where.
func peerListen(t testing.TB, p place) (net.Listener, place) {
	t.Helper()
	l, err := net.Listen(p.peer())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if p.network == "tcp" {
		p.at = l.Addr().(*net.TCPAddr).AddrPort()
	}
	return l, p
}

// listen listens with n, and dials with package net what it returns.
func listen(t testing.TB, n *sock.Network, p place, opts seam.ListenOptions) (seam.Listener, place, *recorder) {
	t.Helper()
	rec := new(recorder)
	l, err := listenAt(n, p.network, p.at, p.path, opts, rec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if p.network == "tcp" {
		p.at = l.Addr().(*net.TCPAddr).AddrPort()
	}
	return l, p, rec
}

// dial connects to p and returns when the connection stands.
func dial(t testing.TB, n *sock.Network, p place) (seam.Conn, *recorder) {
	t.Helper()
	rec := new(recorder)
	c, err := dialAt(n, p.network, p.at, netip.AddrPort{}, p.path, rec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	reported(t, n, rec, seam.Writable)
	if err := c.Connected(); err != nil {
		t.Fatalf("Connected: %v", err)
	}
	rec.take()
	return c, rec
}

// dialed returns both ends of a connection: one dialed with n, and the one
// that package net has accepted.
func dialed(t testing.TB, n *sock.Network, p place) (seam.Conn, *recorder, net.Conn) {
	t.Helper()
	l, p := peerListen(t, p)
	defer l.Close()
	c, rec := dial(t, n, p)
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return c, rec, peer
}

// accept returns the next connection that l accepts.
func accept(t testing.TB, n *sock.Network, l seam.Listener) (seam.AcceptedConn, *recorder) {
	t.Helper()
	var c seam.AcceptedConn
	until(t, n, func() bool {
		var err error
		c, err = l.Accept()
		if err != nil && err != seam.ErrWouldBlock {
			t.Fatal(err)
		}
		return err == nil
	})
	t.Cleanup(func() { c.Close() })
	rec := new(recorder)
	if err := c.Attach(rec); err != nil {
		t.Fatal(err)
	}
	return c, rec
}

// readAll reads to the end of the stream, or to an error.
func readAll(t testing.TB, n *sock.Network, c seam.Conn) ([]byte, error) {
	t.Helper()
	var all []byte
	buf := make([]byte, 32<<10)
	var end error
	until(t, n, func() bool {
		for {
			k, err := c.Read(buf)
			all = append(all, buf[:k]...)
			if err == seam.ErrWouldBlock {
				return false
			}
			if err != nil {
				end = err
				return true
			}
		}
	})
	if end == io.EOF {
		end = nil
	}
	return all, end
}

// writeAll writes all of p.
func writeAll(t testing.TB, n *sock.Network, c seam.Conn, p []byte) {
	t.Helper()
	until(t, n, func() bool {
		for len(p) > 0 {
			k, err := c.Write(p)
			p = p[k:]
			if err == seam.ErrWouldBlock {
				return false
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return true
	})
}

// noise returns n bytes in which nothing is where it was by accident.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// wantSyscall checks that err is cause, from the system call named.
func wantSyscall(t testing.TB, err error, call string, cause error) {
	t.Helper()
	var se *os.SyscallError
	if !errors.As(err, &se) || se.Syscall != call || !errors.Is(err, cause) {
		t.Errorf("error %v (%T), want %s: %v", err, err, call, cause)
	}
}

// dialAt is Network.Dial for an address in parts.
func dialAt(n *sock.Network, network string, to, local netip.AddrPort, path string, h seam.Handler) (seam.Conn, error) {
	return n.Dial(network, seam.Addr{AddrPort: to, Path: path}, seam.Addr{AddrPort: local}, h)
}

// listenAt is Network.Listen for an address in parts, and Listener.Start.
func listenAt(n *sock.Network, network string, at netip.AddrPort, path string, opts seam.ListenOptions, h seam.Handler) (seam.Listener, error) {
	l, err := n.Listen(network, seam.Addr{AddrPort: at, Path: path}, opts, h)
	if err != nil {
		return nil, err
	}
	if err := l.Start(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
