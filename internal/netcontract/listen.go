// This file tests listeners.

package netcontract

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/goasyncio/asyncio/internal/seam"
)

// Listeners tests listening and accepting.
func Listeners(t *testing.T, open Open) {
	t.Run("accepting is reported", func(t *testing.T) { everywhere(t, open, testAccept) })
	t.Run("Close", func(t *testing.T) { everywhere(t, open, testListenerClose) })
	t.Run("in use", func(t *testing.T) { testInUse(start(t, open)) })
	t.Run("shared port", func(t *testing.T) { testReusePort(start(t, open)) })
	t.Run("both families", func(t *testing.T) { testBothFamilies(start(t, open)) })
	t.Run("wildcard", func(t *testing.T) { testWildcard(start(t, open)) })
	t.Run("backlog", func(t *testing.T) { testBacklog(start(t, open)) })
	t.Run("errors", func(t *testing.T) { testListenErrors(start(t, open)) })
	t.Run("socket file", func(t *testing.T) { testSocketFile(t, open) })
}

func testAccept(s suite, p place) {
	l, p, rec := s.listen(p, seam.ListenOptions{})
	s.must(l.Start()) // once more does nothing
	if _, err := l.Accept(); err != seam.ErrWouldBlock {
		s.Fatalf("Accept: %v, want ErrWouldBlock", err)
	}
	for range 3 {
		peer := s.peerDial(p)
		s.reported(rec, seam.Readable)
		c, err := l.Accept()
		s.must(err)
		defer c.Close()
		if err := c.Connected(); err != nil {
			s.Errorf("Connected: %v", err)
		}
		if _, err := l.Accept(); err != seam.ErrWouldBlock {
			s.Errorf("Accept: %v, want ErrWouldBlock", err)
		}
		rec.take()
		// What came before Attach is reported after it.
		_, err = peer.Write([]byte("x"))
		s.must(err)
		var crec recorder
		s.must(c.Attach(&crec))
		s.reported(&crec, seam.Readable|seam.Writable)
	}
	// Two at once are one report, perhaps.
	a, b := s.peerDial(p), s.peerDial(p)
	defer a.Close()
	defer b.Close()
	for range 2 {
		s.accept(l)
	}
}

func testListenerClose(s suite, p place) {
	l, p, rec := s.listen(p, seam.ListenOptions{})
	waiting := s.peerDial(p) // is never accepted
	s.must(l.Close())
	if woken, err := s.net.Wait(0); woken || err != nil || rec.got != 0 {
		s.Errorf("Wait after Close = %v, %v, reports %v", woken, err, rec.got)
	}
	if _, err := waiting.Read(make([]byte, 1)); err == nil {
		s.Error("the connection that was not accepted stands")
	}
	if peer, err := s.peers.PeerDial(p.peer()); err == nil {
		peer.Close()
		s.Error("there is somebody listening after Close")
	}
	if l.Addr() == nil {
		s.Error("no address after Close")
	}
	s.listen(p, seam.ListenOptions{}) // the place is free at once
}

func testInUse(s suite) {
	_, p, _ := s.listen(loopback, seam.ListenOptions{})
	_, err := s.net.Listen(p.network, p.addr(), seam.ListenOptions{}, new(recorder))
	if err == nil {
		s.Error("two listeners have one port")
	} else {
		s.is(err, syscall.EADDRINUSE)
	}
}

func testReusePort(s suite) {
	l, err := s.net.Listen("tcp", loopback.addr(), seam.ListenOptions{ReusePort: true}, new(recorder))
	if errors.Is(err, errors.ErrUnsupported) && runtime.GOOS == "windows" {
		return
	}
	s.must(err)
	defer l.Close()
	p := place{network: "tcp", at: l.Addr().(*net.TCPAddr).AddrPort()}
	s.listen(p, seam.ListenOptions{ReusePort: true})
}

func testBothFamilies(s suite) {
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		s.Skip("there is no IPv6: ", err)
	} else {
		l.Close()
	}
	var err error
	for range 10 { // the port may be in use in the other family
		_, p, _ := s.listen(place{network: "tcp", at: netip.MustParseAddrPort("0.0.0.0:0")}, seam.ListenOptions{})
		var l seam.Listener
		at := netip.AddrPortFrom(netip.IPv6Unspecified(), p.at.Port())
		if l, err = s.net.Listen("tcp", seam.Addr{AddrPort: at}, seam.ListenOptions{}, new(recorder)); err == nil {
			l.Close()
			return
		}
	}
	s.Error(err)
}

// testWildcard accepts where the listener's address is not the connection's.
func testWildcard(s suite) {
	l, p, _ := s.listen(place{network: "tcp", at: netip.MustParseAddrPort("0.0.0.0:0")}, seam.ListenOptions{})
	p.at = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p.at.Port())
	peer := s.peerDial(p)
	defer peer.Close()
	c, _ := s.accept(l)
	if got, want := c.LocalAddr().String(), p.at.String(); got != want {
		s.Errorf("LocalAddr = %v, want %v", got, want)
	}
}

// testBacklog: an attempt that finds the queue full is under way, and nothing else.
func testBacklog(s suite) {
	l, err := s.net.Listen("tcp", loopback.addr(), seam.ListenOptions{Backlog: 1}, new(recorder))
	if errors.Is(err, errors.ErrUnsupported) && runtime.GOOS == "windows" {
		return
	}
	s.must(err)
	defer l.Close()
	if runtime.GOOS != "linux" {
		return // others refuse, or take more
	}
	p := place{network: "tcp", at: l.Addr().(*net.TCPAddr).AddrPort()}
	s.must(l.Start())
	for range 10 {
		var rec recorder
		c, err := s.net.Dial("tcp", p.addr(), seam.Addr{}, &rec)
		s.must(err)
		defer c.Close()
		s.net.Wait(10e6)
		if rec.got != 0 {
			continue
		}
		connected := c.Connected()
		_, rerr := c.Read(make([]byte, 1))
		_, werr := c.Write(make([]byte, 1))
		if c.Connected() == nil {
			continue // it has found room, on a busy machine
		}
		if connected != seam.ErrWouldBlock || rerr != seam.ErrWouldBlock || werr != seam.ErrWouldBlock {
			s.Errorf("Connected: %v; Read: %v; Write: %v", connected, rerr, werr)
		}
		s.must(c.Close())
		return
	}
	s.Error("ten connections found room in a backlog of one")
}

func testListenErrors(s suite) {
	_, err := s.net.Listen("tcp", seam.Addr{AddrPort: netip.MustParseAddrPort("192.0.2.1:0")}, seam.ListenOptions{}, new(recorder))
	s.is(err, syscall.EADDRNOTAVAIL)
	_, err = s.net.Listen("tcp", seam.Addr{}, seam.ListenOptions{}, new(recorder))
	if _, ok := errors.AsType[*net.AddrError](err); !ok {
		s.Errorf("no address: %v", err)
	}
	if !s.simulated {
		_, err = s.net.Listen("unix", seam.Addr{Path: filepath.Join(shortDir(s.T), "no", "dir")}, seam.ListenOptions{}, new(recorder))
		if err == nil {
			s.Error("it listens in no directory")
		}
	}
	_, err = s.net.Listen("unix", seam.Addr{Path: "a\x00b"}, seam.ListenOptions{}, new(recorder))
	s.is(err, syscall.EINVAL)
}

func testSocketFile(t *testing.T, open Open) {
	path := filepath.Join(shortDir(t), "s")
	p := place{network: "unix", path: path}
	t.Run("removed by Close", func(t *testing.T) {
		s := start(t, open)
		l, _, _ := s.listen(p, seam.ListenOptions{})
		if !s.peers.HasFile(path) {
			t.Error("there is no file")
		}
		l.Close()
		if s.peers.HasFile(path) {
			t.Error("the file is still there")
		}
	})
	t.Run("kept", func(t *testing.T) {
		s := start(t, open)
		l, _, _ := s.listen(p, seam.ListenOptions{KeepSocketFile: true})
		l.Close()
		if !s.peers.HasFile(path) {
			t.Error("the file is gone")
		}
		s.listen(p, seam.ListenOptions{}) // replaces it
		s.dial(p)
	})
	t.Run("replaced", func(t *testing.T) {
		s := start(t, open)
		old, _, _ := s.listen(p, seam.ListenOptions{})
		s.listen(p, seam.ListenOptions{})
		old.Close()
		if !s.peers.HasFile(path) {
			t.Error("the first listener removed the file of the second")
		}
		s.dial(p)
	})
	t.Run("another file", func(t *testing.T) {
		s := start(t, open)
		if s.simulated {
			t.Skip("it has no other files")
		}
		for name, make := range map[string]func() error{
			"regular file": func() error { return os.WriteFile(path, []byte("x"), 0o600) },
			"directory":    func() error { return os.Mkdir(path, 0o700) },
		} {
			s.must(make())
			_, err := s.net.Listen("unix", seam.Addr{Path: path}, seam.ListenOptions{}, new(recorder))
			s.is(err, syscall.EADDRINUSE)
			if !s.peers.HasFile(path) {
				t.Errorf("the %s is gone", name)
			}
			os.Remove(path)
		}
	})
}
