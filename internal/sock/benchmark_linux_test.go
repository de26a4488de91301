// This file measures what moving bytes costs.

package sock_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/sock"
)

// ends returns both ends of a connection through the loopback interface.
func ends(b *testing.B) (*sock.Network, seam.Conn, seam.Conn) {
	n := newNetwork(b)
	l, p, _ := listen(b, n, loopback, seam.ListenOptions{})
	c, _ := dial(b, n, p)
	a, _ := accept(b, n, l)
	return n, c, a
}

func BenchmarkWriteRead(b *testing.B) {
	for _, size := range []int{1, 1 << 10, 16 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			_, c, a := ends(b)
			p := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if k, err := c.Write(p); k != size {
					b.Fatal(k, err)
				}
				for got := 0; got < size; {
					k, err := a.Read(p)
					if err != nil && err != seam.ErrWouldBlock {
						b.Fatal(err)
					}
					got += k
				}
			}
		})
	}
}

// A Read that finds nothing.
func BenchmarkReadWouldBlock(b *testing.B) {
	_, c, _ := ends(b)
	p := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		c.Read(p)
	}
}

func BenchmarkWritevRead(b *testing.B) {
	for _, count := range []int{2, 16, 128} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			_, c, a := ends(b)
			v := make([][]byte, count)
			for i := range v {
				v[i] = make([]byte, 64)
			}
			p := make([]byte, 64*count)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if k, err := c.Writev(v); k != len(p) {
					b.Fatal(k, err)
				}
				for got := 0; got < len(p); {
					k, _ := a.Read(p)
					got += k
				}
			}
		})
	}
}

// A byte there and a byte back, each waited for.
func BenchmarkPingPong(b *testing.B) {
	n, c, a := ends(b)
	p := make([]byte, 1)
	read := func(c seam.Conn) {
		for {
			if _, err := c.Read(p); err != seam.ErrWouldBlock {
				return
			}
			n.Wait(-1)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Write(p)
		n.Wait(-1)
		read(a)
		a.Write(p)
		n.Wait(-1)
		read(c)
	}
}

// A connection is dialed, accepted and reset.
func BenchmarkDialAccept(b *testing.B) {
	n := newNetwork(b)
	l, p, _ := listen(b, n, loopback, seam.ListenOptions{})
	var crec, arec recorder
	b.ReportAllocs()
	for b.Loop() {
		c, err := dialAt(n, p.network, p.at, netip.AddrPort{}, "", &crec)
		if err != nil {
			b.Fatal(err)
		}
		for c.Connected() == seam.ErrWouldBlock {
			n.Wait(-1)
		}
		var a seam.AcceptedConn
		for a == nil {
			if a, err = l.Accept(); err != nil {
				a = nil
				n.Wait(-1)
			}
		}
		a.Attach(&arec)
		a.Reset()
		c.Close()
	}
}

// The same with package net, for comparison.
func BenchmarkNetDialAccept(b *testing.B) {
	l, p := peerListen(b, loopback)
	b.ReportAllocs()
	for b.Loop() {
		c, err := net.Dial(p.peer())
		if err != nil {
			b.Fatal(err)
		}
		a, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		a.(*net.TCPConn).SetLinger(0)
		a.Close()
		c.Close()
	}
}

// A datagram that is sent and read.
func BenchmarkPacket(b *testing.B) {
	for _, place := range []struct {
		network string
		new     func() seam.Addr
	}{
		{"udp4", func() seam.Addr { return at("127.0.0.1:0") }},
		{"unixgram", func() seam.Addr { return seam.Addr{Path: abstractName(b)} }},
	} {
		for _, connected := range []bool{true, false} {
			name := place.network
			if !connected {
				name += "/unconnected"
			} else {
				name += "/connected"
			}
			b.Run(name, func(b *testing.B) {
				n := newNetwork(b)
				s, _ := openPacket(b, n, place.network, place.new(), seam.Addr{}, seam.PacketOptions{})
				remote, to := s.LocalAddr(), seam.Addr{}
				if !connected {
					remote, to = to, remote
				}
				c, _ := openPacket(b, n, place.network, place.new(), remote, seam.PacketOptions{})
				buf := make([]byte, 64)
				b.ReportAllocs()
				for b.Loop() {
					if err := c.WriteTo(buf, to); err != nil {
						b.Fatal(err)
					}
					if _, _, err := s.ReadFrom(buf); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// More slices than the system takes at once.
func BenchmarkWritevMany(b *testing.B) {
	_, c, a := ends(b)
	p := make([]byte, 2000)
	v := make([][]byte, len(p))
	for i := range v {
		v[i] = p[i : i+1]
	}
	b.ReportAllocs()
	for b.Loop() {
		k, err := c.Writev(v)
		if err != nil {
			b.Fatal(err)
		}
		for k > 0 {
			got, _ := a.Read(p)
			k -= got
		}
	}
}
