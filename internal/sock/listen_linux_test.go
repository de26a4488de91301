// This file tests listening and accepting.

package sock_test

import (
	"errors"
	"math"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/seam"
)

func TestAcceptIsReported(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		n := newNetwork(t)
		l, p, rec := listen(t, n, p, seam.ListenOptions{})
		if _, err := l.Accept(); err != seam.ErrWouldBlock {
			t.Fatalf("Accept: %v, want ErrWouldBlock", err)
		}
		for range 2 {
			peer, err := net.Dial(p.peer())
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			reported(t, n, rec, seam.Readable)
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Connected(); err != nil {
				t.Errorf("Connected: %v", err)
			}
			if _, err := l.Accept(); err != seam.ErrWouldBlock {
				t.Errorf("Accept: %v, want ErrWouldBlock", err)
			}
			rec.take()
			// What came before Attach is reported after it.
			if _, err := peer.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			var crec recorder
			if err := c.Attach(&crec); err != nil {
				t.Fatal(err)
			}
			reported(t, n, &crec, seam.Readable|seam.Writable)
		}
	})
}

func TestAcceptedOptions(t *testing.T) {
	for _, keepAlive := range []time.Duration{0, -1, 90 * time.Second, 1500 * time.Millisecond, 1000 * time.Hour, math.MaxInt64} {
		n := newNetwork(t)
		l, p, _ := listen(t, n, loopback, seam.ListenOptions{KeepAlive: keepAlive})
		peer, err := net.Dial(p.peer())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		c, _ := accept(t, n, l)
		switch keepAlive {
		case 0:
			keepAlive = 15 * time.Second
		case 1500 * time.Millisecond:
			keepAlive = 2 * time.Second
		case 1000 * time.Hour, math.MaxInt64:
			keepAlive = 32767 * time.Second
		}
		checkOptions(t, c, keepAlive)
		peer.Close()
	}
}

func TestListenerClose(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		n := newNetwork(t)
		l, p, rec := listen(t, n, p, seam.ListenOptions{})
		waiting, err := net.Dial(p.peer()) // is never accepted
		if err != nil {
			t.Fatal(err)
		}
		defer waiting.Close()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if woken, err := n.Wait(0); woken || err != nil || rec.got != 0 {
			t.Errorf("Wait after Close = %v, %v, reports %v", woken, err, rec.got)
		}
		if peer, err := net.Dial(p.peer()); err == nil {
			peer.Close()
			t.Error("there is somebody listening after Close")
		}
		if l.Addr() == nil {
			t.Error("no address after Close")
		}
		// The place is free at once, although a connection was there.
		listen(t, n, p, seam.ListenOptions{})
	})
}

// TestAcceptNoDescriptor: the connection waits until there are descriptors again.
func TestAcceptNoDescriptor(t *testing.T) {
	n := newNetwork(t)
	l, p, rec := listen(t, n, loopback, seam.ListenOptions{})
	peer, err := net.Dial(p.peer())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	reported(t, n, rec, seam.Readable)
	withoutDescriptors(t, func() {
		for range 2 {
			_, err := l.Accept()
			wantSyscall(t, err, "accept4", unix.EMFILE)
		}
	})
	accept(t, n, l)
}

func TestListenInUse(t *testing.T) {
	n := newNetwork(t)
	_, p, _ := listen(t, n, loopback, seam.ListenOptions{})
	_, err := listenAt(n, p.network, p.at, "", seam.ListenOptions{}, new(recorder))
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("second Listen: %v, want EADDRINUSE", err)
	}
	abs := place{network: "unix", path: abstractName(t)}
	listen(t, n, abs, seam.ListenOptions{})
	_, err = listenAt(n, abs.network, abs.at, abs.path, seam.ListenOptions{}, new(recorder))
	wantSyscall(t, err, "bind", unix.EADDRINUSE)
}

func TestReusePort(t *testing.T) {
	n := newNetwork(t)
	_, p, _ := listen(t, n, loopback, seam.ListenOptions{ReusePort: true})
	listen(t, n, p, seam.ListenOptions{ReusePort: true})
}

// TestReuseAddr listens where a connection of an earlier listener lingers.
func TestReuseAddr(t *testing.T) {
	n := newNetwork(t)
	l, p, _ := listen(t, n, loopback, seam.ListenOptions{})
	peer, err := net.Dial(p.peer())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	accept(t, n, l)
	l.Close()
	_, err = listenAt(n, p.network, p.at, "", seam.ListenOptions{NoReuseAddr: true}, new(recorder))
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("Listen with NoReuseAddr: %v, want EADDRINUSE", err)
	}
	listen(t, n, p, seam.ListenOptions{})
}

// TestBothFamilies has two listeners share a port.
func TestBothFamilies(t *testing.T) {
	needIPv6(t)
	n := newNetwork(t)
	var err error
	for range 10 { // the port may be in use in the other family
		_, p, _ := listen(t, n, place{network: "tcp", at: anyPort("0.0.0.0")}, seam.ListenOptions{})
		var l seam.Listener
		if l, err = listenAt(n, "tcp", anyPortAt("::", p.at.Port()), "", seam.ListenOptions{}, new(recorder)); err == nil {
			l.Close()
			return
		}
	}
	t.Error(err)
}

func TestListenErrors(t *testing.T) {
	n := newNetwork(t)
	if _, err := listenAt(n, "udp", loopback.at, "", seam.ListenOptions{}, new(recorder)); err != net.UnknownNetworkError("udp") {
		t.Errorf("udp: %v", err)
	}
	_, err := listenAt(n, "tcp", anyPort("192.0.2.1"), "", seam.ListenOptions{}, new(recorder))
	wantSyscall(t, err, "bind", unix.EADDRNOTAVAIL)
	_, err = listenAt(n, "unix", loopback.at, filepath.Join(t.TempDir(), "no", "dir"), seam.ListenOptions{}, new(recorder))
	wantSyscall(t, err, "bind", unix.ENOENT)
}

func TestSocketFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	p := place{network: "unix", path: path}
	exists := func() bool {
		_, err := os.Lstat(path)
		return err == nil
	}
	t.Run("removed by Close", func(t *testing.T) {
		n := newNetwork(t)
		l, _, _ := listen(t, n, p, seam.ListenOptions{})
		if !exists() {
			t.Error("there is no file")
		}
		l.Close()
		if exists() {
			t.Error("the file is still there")
		}
	})
	t.Run("stale", func(t *testing.T) {
		n := newNetwork(t)
		old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		old.SetUnlinkOnClose(false)
		old.Close()
		listen(t, n, p, seam.ListenOptions{})
		dial(t, n, p)
	})
	t.Run("replaced", func(t *testing.T) {
		n := newNetwork(t)
		old, _, _ := listen(t, n, p, seam.ListenOptions{})
		listen(t, n, p, seam.ListenOptions{})
		old.Close()
		if !exists() {
			t.Error("the first listener removed the file of the second")
		}
		dial(t, n, p)
	})
	t.Run("another file", func(t *testing.T) {
		n := newNetwork(t)
		for name, make := range map[string]func() error{
			"regular file":     func() error { return os.WriteFile(path, []byte("x"), 0o600) },
			"directory":        func() error { return os.Mkdir(path, 0o700) },
			"dangling symlink": func() error { return os.Symlink("nowhere", path) },
		} {
			if err := make(); err != nil {
				t.Fatal(err)
			}
			_, err := listenAt(n, "unix", loopback.at, path, seam.ListenOptions{}, new(recorder))
			wantSyscall(t, err, "bind", unix.EADDRINUSE)
			if !exists() {
				t.Errorf("the %s is gone", name)
			}
			os.Remove(path)
		}
	})
}
