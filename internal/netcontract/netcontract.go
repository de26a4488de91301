// Package netcontract tests that a network keeps the contract of package seam. The
// tests of each network run it. This file holds what the tests share: their peers
// are package net's, unless the network has others, and they wait for facts in
// Network.Wait.
package netcontract

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// Open makes a network. If that is simulated, it has Peers of its own.
type Open func() (seam.Network, error)

// Peers are the other ends of a simulated network. Any goroutine may use them.
// Connections have the methods CloseWrite and SetLinger.
type Peers interface {
	PeerListen(network, address string) (net.Listener, error)
	PeerDial(network, address string) (net.Conn, error)
	PeerUnixgram(path string) (net.Conn, error)

	// HasFile says whether there is a file at path. There is none but those of
	// sockets.
	HasFile(path string) bool
}

// A suite is a test that has a network of its own.
type suite struct {
	*testing.T
	net       seam.Network
	peers     Peers
	simulated bool
}

// system is package net as Peers.
type system struct{}

func (system) PeerListen(network, address string) (net.Listener, error) {
	return net.Listen(network, address)
}
func (system) PeerDial(network, address string) (net.Conn, error) { return net.Dial(network, address) }

func (system) PeerUnixgram(path string) (net.Conn, error) {
	return net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
}

func (system) HasFile(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// lingers is a connection that a reset can end.
type lingers interface{ SetLinger(seconds int) error }

// start makes a network that the end of the test closes. No descriptor and no
// goroutine may be left then.
func start(t *testing.T, open Open) suite {
	t.Helper()
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close() // package net has the descriptors now that it keeps
	}
	goroutines, files := runtime.NumGoroutine(), descriptors()
	n, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		settled := func() bool { return runtime.NumGoroutine() <= goroutines && descriptors() <= files }
		for deadline := time.Now().Add(5 * time.Second); !settled() && !t.Failed(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<16)
				t.Errorf("%d goroutines and %d descriptors are left of a test that began with %d and %d\n%s",
					runtime.NumGoroutine(), descriptors(), goroutines, files, stacks[:runtime.Stack(stacks, true)])
			}
		}
	})
	if peers, ok := n.(Peers); ok {
		return suite{t, n, peers, true}
	}
	return suite{t, n, system{}, false}
}

// descriptors counts the open descriptors, where the system shows them.
func descriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// A recorder keeps what was reported.
type recorder struct {
	got seam.Readiness
	act func()
}

func (r *recorder) Ready(what seam.Readiness) {
	r.got |= what
	if r.act != nil {
		r.act()
	}
}

// take returns what was reported since the last call.
func (r *recorder) take() seam.Readiness {
	got := r.got
	r.got = 0
	return got
}

// patience is for tests that hang: much may be to do, on a machine that is busy.
const patience = 2 * time.Minute

// until waits in the network until done says so.
func (s suite) until(done func() bool) {
	s.Helper()
	for start := time.Now(); !done(); {
		if time.Since(start) > patience {
			s.Fatal("nothing happened for too long")
		}
		if _, err := s.net.Wait(patience); err != nil {
			s.Fatal(err)
		}
	}
}

// reported waits until rec has been told what.
func (s suite) reported(rec *recorder, what seam.Readiness) {
	s.Helper()
	s.until(func() bool { return rec.got&what == what })
}

// must fails the test if there is an error.
func (s suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// is checks that err is an *os.SyscallError because of cause.
func (s suite) is(err, cause error) {
	s.Helper()
	var se *os.SyscallError
	if !errors.As(err, &se) || !errors.Is(err, cause) {
		s.Errorf("error %v (%T), want a system call's: %v", err, err, cause)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		s.Errorf("error %v is not a plain cause", err)
	}
}

// A place is where to listen and dial.
type place struct {
	network string
	at      netip.AddrPort
	path    string
}

func (p place) addr() seam.Addr { return seam.Addr{AddrPort: p.at, Path: p.path} }

// peer returns network and address as package net wants them.
func (p place) peer() (string, string) {
	if p.network == "unix" {
		return "unix", p.path
	}
	return "tcp", p.at.String()
}

var loopback = place{network: "tcp", at: netip.MustParseAddrPort("127.0.0.1:0")}

// PortOfNobody returns an address of 127.0.0.1 where nobody is, nor will be: its port is
// none of those that the system gives to whoever wants any.
func PortOfNobody(t testing.TB) netip.AddrPort {
	t.Helper()
	for tries := 1; ; tries++ {
		at := netip.AddrPortFrom(loopback.at.Addr(), uint16(10_000+rand.IntN(20_000)))
		l, err := net.Listen("tcp", at.String())
		if err == nil {
			defer l.Close()
			p, err := net.ListenPacket("udp", at.String())
			if err == nil {
				p.Close()
				return at
			}
		}
		if tries == 1000 {
			t.Fatal(err)
		}
	}
}

// everywhere runs f as a subtest in all kinds of places.
func everywhere(t *testing.T, open Open, f func(s suite, p place)) {
	t.Run("IPv4", func(t *testing.T) { f(start(t, open), loopback) })
	t.Run("IPv6", func(t *testing.T) {
		l, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			t.Skip("there is no ::1: ", err)
		}
		l.Close()
		f(start(t, open), place{network: "tcp", at: netip.MustParseAddrPort("[::1]:0")})
	})
	t.Run("unix", func(t *testing.T) {
		f(start(t, open), place{network: "unix", path: filepath.Join(shortDir(t), "s")})
	})
	if runtime.GOOS == "linux" {
		t.Run("abstract", func(t *testing.T) {
			f(start(t, open), place{network: "unix", path: abstractName(t)})
		})
	}
}

// shortDir is a directory whose name leaves room in the name of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func abstractName(t *testing.T) string {
	return "@" + strings.ReplaceAll(t.Name(), "/", "-") + time.Now().Format("150405.000000000")
}

// listen listens at p, and returns where that is.
func (s suite) listen(p place, opts seam.ListenOptions) (seam.Listener, place, *recorder) {
	s.Helper()
	rec := new(recorder)
	l, err := s.net.Listen(p.network, p.addr(), opts, rec)
	s.must(err)
	s.must(l.Start())
	s.Cleanup(func() { l.Close() })
	if p.network == "tcp" {
		p.at = l.Addr().(*net.TCPAddr).AddrPort()
	}
	return l, p, rec
}

// peerListen listens with a peer.
func (s suite) peerListen(p place) (net.Listener, place) {
	s.Helper()
	l, err := s.peers.PeerListen(p.peer())
	s.must(err)
	s.Cleanup(func() { l.Close() })
	if p.network == "tcp" {
		p.at = l.Addr().(*net.TCPAddr).AddrPort()
	}
	return l, p
}

// peerDial dials with a peer.
func (s suite) peerDial(p place) net.Conn {
	s.Helper()
	c, err := s.peers.PeerDial(p.peer())
	s.must(err)
	s.Cleanup(func() { c.Close() })
	return c
}

// dial connects to p.
func (s suite) dial(p place) (seam.Conn, *recorder) {
	s.Helper()
	rec := new(recorder)
	c, err := s.net.Dial(p.network, p.addr(), seam.Addr{}, rec)
	s.must(err)
	s.Cleanup(func() { c.Close() })
	s.reported(rec, seam.Writable)
	s.must(c.Connected())
	rec.take()
	return c, rec
}

// dialed returns both ends of a connection.
func (s suite) dialed(p place) (seam.Conn, *recorder, net.Conn) {
	s.Helper()
	l, p := s.peerListen(p)
	defer l.Close()
	c, rec := s.dial(p)
	peer, err := l.Accept()
	s.must(err)
	s.Cleanup(func() { peer.Close() })
	return c, rec, peer
}

// accept returns the next connection.
func (s suite) accept(l seam.Listener) (seam.AcceptedConn, *recorder) {
	s.Helper()
	var c seam.AcceptedConn
	s.until(func() bool {
		var err error
		c, err = l.Accept()
		if err != nil && err != seam.ErrWouldBlock {
			s.Fatal(err)
		}
		return err == nil
	})
	s.Cleanup(func() { c.Close() })
	rec := new(recorder)
	s.must(c.Attach(rec))
	return c, rec
}

// readAll reads to the end of the stream, or to an error.
func (s suite) readAll(c seam.Conn) ([]byte, error) {
	s.Helper()
	var all []byte
	buf := make([]byte, 32<<10)
	var end error
	s.until(func() bool {
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
func (s suite) writeAll(c seam.Conn, p []byte) {
	s.Helper()
	s.until(func() bool {
		for len(p) > 0 {
			k, err := c.Write(p)
			p = p[k:]
			if err == seam.ErrWouldBlock {
				return false
			}
			s.must(err)
		}
		return true
	})
}

// fill writes until there is no room, and returns how much there was. The system
// may make room for more when it has had time; what is said of 0 bytes is not.
func (s suite) fill(c seam.Conn) []byte {
	s.Helper()
	chunk := noise(256 << 10)
	var sent []byte
	for {
		k, err := c.Write(chunk)
		sent = append(sent, chunk[:k]...)
		if err == seam.ErrWouldBlock {
			if k != 0 {
				s.Errorf("%d bytes with ErrWouldBlock", k)
			}
			return sent
		}
		s.must(err)
		if len(sent) > 1<<30 {
			s.Fatal("there is room for everything")
		}
	}
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
