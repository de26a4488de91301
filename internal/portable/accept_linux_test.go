// This file tests accepting without descriptors, which Linux lets a test bring about.

package portable_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"github.com/goasyncio/asyncio/internal/seam"
)

// TestAcceptNoDescriptor: the connection waits until there are descriptors again.
func TestAcceptNoDescriptor(t *testing.T) {
	n := newNetwork(t)
	rec := new(recorder)
	l, err := n.Listen("tcp", seam.Addr{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}, seam.ListenOptions{}, rec)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	withoutDescriptors(t, func() {
		if err := l.Start(); err != nil {
			t.Fatal(err)
		}
		until(t, n, func() bool { return rec.got != 0 })
		rec.got = 0
		for range 3 {
			if _, err := l.Accept(); !errors.Is(err, syscall.EMFILE) {
				t.Errorf("Accept = %v", err)
			}
		}
		if woken, err := n.Wait(0); woken || err != nil {
			t.Errorf("Wait = %v, %v: it was reported again", woken, err)
		}
	})
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("Accept with descriptors = %v", err)
	}
	c.Close()
	// From now on connections are reported again.
	second, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	until(t, n, func() bool { return rec.got != 0 })
	if c, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestAcceptNobodyLeft fails, and the connection has gone when there is another try.
func TestAcceptNobodyLeft(t *testing.T) {
	n := newNetwork(t)
	rec := new(recorder)
	path := t.TempDir() + "/s"
	l, err := n.Listen("unix", seam.Addr{Path: path}, seam.ListenOptions{}, rec)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	withoutDescriptors(t, func() {
		if err := l.Start(); err != nil {
			t.Fatal(err)
		}
		until(t, n, func() bool { return rec.got != 0 })
		rec.got = 0
		if _, err := l.Accept(); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("Accept = %v", err)
		}
	})
	peer.Close()
	for { // a Unix socket keeps connections whose peers have gone
		c, err := l.Accept()
		if err != nil {
			break
		}
		c.Close()
	}
	if peer, err = net.Dial("unix", path); err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	until(t, n, func() bool {
		c, err := l.Accept()
		if err == nil {
			c.Close()
		} else if err != seam.ErrWouldBlock {
			t.Fatal(err)
		}
		return err == nil
	})
}

// withoutDescriptors runs f when no descriptor can be opened.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	free, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	limit := old
	limit.Cur = uint64(free.Fd())
	free.Close()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)
	f()
}
