// This file holds the simulated network to the contract that all networks have.

package asynciotest_test

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/goasyncio/asyncio/asynciotest"
	"github.com/goasyncio/asyncio/internal/netcontract"
	"github.com/goasyncio/asyncio/internal/seam"
)

func openSimulated() (seam.Network, error) {
	n := asynciotest.NewNetwork(1)
	h := n.Host("host")
	return &contractNetwork{net: n, host: h, wire: h.Wire(), peers: h.Wire(), start: time.Now()}, nil
}

func TestNetworkContractOfStreams(t *testing.T)   { netcontract.Streams(t, openSimulated) }
func TestNetworkContractOfListeners(t *testing.T) { netcontract.Listeners(t, openSimulated) }
func TestNetworkContractOfPackets(t *testing.T)   { netcontract.Packets(t, openSimulated) }

// A contractNetwork is a simulated network in real time, without loops, which several
// goroutines may use. The peers are on the same host.
type contractNetwork struct {
	mu    sync.Mutex
	net   *asynciotest.Network
	host  *asynciotest.Host
	wire  seam.Network
	peers seam.Network
	start time.Time
}

// do lets things happen, and then f.
func (n *contractNetwork) do(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.net.HappenUntil(time.Since(n.start))
	f()
	n.net.HappenUntil(time.Since(n.start))
}

// A contractHandler is told without the lock.
type contractHandler struct {
	n *contractNetwork
	h seam.Handler
}

func (h contractHandler) Ready(r seam.Readiness) {
	h.n.mu.Unlock()
	defer h.n.mu.Lock()
	h.h.Ready(r)
}

const pollInterval = 20 * time.Microsecond

func (n *contractNetwork) Wait(d time.Duration) (woken bool, err error) {
	for begin := time.Now(); ; time.Sleep(pollInterval) {
		n.do(func() { woken, err = n.wire.Wait(0) })
		if woken || err != nil || d >= 0 && time.Since(begin) >= d {
			return woken, err
		}
	}
}

func (n *contractNetwork) Wake()        { n.wire.Wake() }
func (n *contractNetwork) Close() error { return n.wire.Close() }

func (n *contractNetwork) Dial(network string, to, local seam.Addr, h seam.Handler) (c seam.Conn, err error) {
	n.do(func() { c, err = n.wire.Dial(network, to, local, contractHandler{n, h}) })
	if err != nil {
		return nil, err
	}
	return &contractConn{n: n, c: c}, nil
}

func (n *contractNetwork) Listen(network string, at seam.Addr, opts seam.ListenOptions, h seam.Handler) (l seam.Listener, err error) {
	n.do(func() { l, err = n.wire.Listen(network, at, opts, contractHandler{n, h}) })
	if err != nil {
		return nil, err
	}
	return &contractListener{n: n, Listener: l}, nil
}

func (n *contractNetwork) OpenPacket(network string, local, remote seam.Addr, opts seam.PacketOptions, h seam.Handler) (c seam.PacketConn, err error) {
	n.do(func() { c, err = n.wire.OpenPacket(network, local, remote, opts, contractHandler{n, h}) })
	if err != nil {
		return nil, err
	}
	return &contractPacket{n, c}, nil
}

// A contractConn is a connection that several goroutines share a network with.
type contractConn struct {
	n *contractNetwork
	c seam.Conn
}

func (c *contractConn) Attach(h seam.Handler) (err error) {
	c.n.do(func() { err = c.c.(seam.AcceptedConn).Attach(contractHandler{c.n, h}) })
	return err
}

func (c *contractConn) Connected() (err error) {
	c.n.do(func() { err = c.c.Connected() })
	return err
}

func (c *contractConn) Read(p []byte) (k int, err error) {
	c.n.do(func() { k, err = c.c.Read(p) })
	return k, err
}

func (c *contractConn) Write(p []byte) (k int, err error) {
	c.n.do(func() { k, err = c.c.Write(p) })
	return k, err
}

func (c *contractConn) Writev(v [][]byte) (k int, err error) {
	c.n.do(func() { k, err = c.c.Writev(v) })
	return k, err
}

func (c *contractConn) CloseWrite() (err error) {
	c.n.do(func() { err = c.c.CloseWrite() })
	return err
}

func (c *contractConn) Close() (err error) {
	c.n.do(func() { err = c.c.Close() })
	return err
}

func (c *contractConn) Reset() (err error) {
	c.n.do(func() { err = c.c.Reset() })
	return err
}

func (c *contractConn) LocalAddr() net.Addr  { return c.c.LocalAddr() }
func (c *contractConn) RemoteAddr() net.Addr { return c.c.RemoteAddr() }

type contractListener struct {
	n *contractNetwork
	seam.Listener
}

func (l *contractListener) Accept() (c seam.AcceptedConn, err error) {
	l.n.do(func() { c, err = l.Listener.Accept() })
	if err != nil {
		return nil, err
	}
	return &contractConn{n: l.n, c: c}, nil
}

func (l *contractListener) Close() (err error) {
	l.n.do(func() { err = l.Listener.Close() })
	return err
}

type contractPacket struct {
	n *contractNetwork
	c seam.PacketConn
}

func (c *contractPacket) ReadFrom(p []byte) (k int, from seam.Addr, err error) {
	c.n.do(func() { k, from, err = c.c.ReadFrom(p) })
	return k, from, err
}

func (c *contractPacket) WriteTo(p []byte, to seam.Addr) (err error) {
	c.n.do(func() { err = c.c.WriteTo(p, to) })
	return err
}

func (c *contractPacket) Close() (err error) {
	c.n.do(func() { err = c.c.Close() })
	return err
}

func (c *contractPacket) LocalAddr() seam.Addr  { return c.c.LocalAddr() }
func (c *contractPacket) RemoteAddr() seam.Addr { return c.c.RemoteAddr() }

// The peers.

func place(network, address string) seam.Addr {
	if network == "unix" {
		return seam.Addr{Path: address}
	}
	return seam.Addr{AddrPort: netip.MustParseAddrPort(address)}
}

func (n *contractNetwork) HasFile(path string) (has bool) {
	n.do(func() { has = n.host.HasFile(path) })
	return has
}

func (n *contractNetwork) PeerListen(network, address string) (net.Listener, error) {
	var l seam.Listener
	var err error
	n.do(func() {
		if l, err = n.peers.Listen(network, place(network, address), seam.ListenOptions{}, nil); err == nil {
			err = l.Start()
		}
	})
	return &peerListener{n, l}, err
}

func (n *contractNetwork) PeerDial(network, address string) (net.Conn, error) {
	var c seam.Conn
	var err error
	n.do(func() { c, err = n.peers.Dial(network, place(network, address), seam.Addr{}, nil) })
	if err != nil {
		return nil, err
	}
	peer := &peerConn{contractConn: contractConn{n: n, c: c}}
	for err = peer.Connected(); err == seam.ErrWouldBlock; err = peer.Connected() {
		time.Sleep(pollInterval)
	}
	return peer, err
}

type peerListener struct {
	n *contractNetwork
	seam.Listener
}

func (l *peerListener) Close() (err error) {
	l.n.do(func() { err = l.Listener.Close() })
	return err
}

func (l *peerListener) Accept() (net.Conn, error) {
	for {
		var c seam.AcceptedConn
		var err error
		l.n.do(func() { c, err = l.Listener.Accept() })
		if err != seam.ErrWouldBlock {
			return &peerConn{contractConn: contractConn{n: l.n, c: c}}, err
		}
		time.Sleep(pollInterval)
	}
}

// A peerConn is a connection that blocks.
type peerConn struct {
	contractConn
	deadline time.Time // of writes
	abrupt   bool
}

func (c *peerConn) Read(p []byte) (int, error) {
	for {
		k, err := c.contractConn.Read(p)
		if err != seam.ErrWouldBlock {
			return k, err
		}
		time.Sleep(pollInterval)
	}
}

func (c *peerConn) Write(p []byte) (int, error) {
	total := 0
	for total < len(p) {
		k, err := c.contractConn.Write(p[total:])
		total += k
		switch {
		case err != nil && err != seam.ErrWouldBlock:
			return total, err
		case !c.deadline.IsZero() && time.Now().After(c.deadline):
			return total, os.ErrDeadlineExceeded
		case err != nil:
			time.Sleep(pollInterval)
		}
	}
	return total, nil
}

func (c *peerConn) Close() error {
	if c.abrupt {
		return c.Reset()
	}
	return c.contractConn.Close()
}

func (c *peerConn) SetLinger(int) error                { c.abrupt = true; return nil }
func (c *peerConn) SetDeadline(t time.Time) error      { return c.SetWriteDeadline(t) }
func (c *peerConn) SetReadDeadline(time.Time) error    { return nil }
func (c *peerConn) SetWriteDeadline(t time.Time) error { c.deadline = t; return nil }

func (n *contractNetwork) PeerUnixgram(path string) (net.Conn, error) {
	c, err := n.peers.OpenPacket("unixgram", seam.Addr{Path: path}, seam.Addr{}, seam.PacketOptions{}, nil)
	return &peerPacket{c: contractPacket{n, c}}, err
}

// A peerPacket is a socket for datagrams that blocks.
type peerPacket struct {
	net.Conn // what no test needs
	c        contractPacket
}

func (c *peerPacket) Close() error { return c.c.Close() }

func (c *peerPacket) SetReadDeadline(time.Time) error { return nil }

func (c *peerPacket) Read(p []byte) (int, error) {
	for {
		k, _, err := c.c.ReadFrom(p)
		if err != seam.ErrWouldBlock {
			return k, err
		}
		time.Sleep(pollInterval)
	}
}
