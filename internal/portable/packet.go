// This file sends and receives datagrams.

package portable

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

var _ seam.PacketConn = (*PacketConn)(nil)

// A PacketConn is a socket for datagrams. A goroutine reads them ahead of the loop.
// What cannot be sent at once is sent by another goroutine, and until that is done
// there is no room for more.
type PacketConn struct {
	source
	conn      net.PacketConn
	udp       *net.UDPConn // conn, if it is one
	unix      bool
	file      socketFile
	connected bool
	local     seam.Addr
	remote    seam.Addr

	mu         sync.Mutex
	room       sync.Cond            // there is room in arrived, or the socket is closed
	arrived    [maxArrived]datagram // a ring
	first      int
	count      int
	readErr    error // no more datagrams will come
	sending    bool
	full       bool  // a WriteTo was refused since
	writeErr   error // of the datagram that was sent late
	ending     bool
	goroutines int
}

// A datagram has arrived, or err in its place. The memory of a small one is used again.
type datagram struct {
	data []byte
	from seam.Addr
	err  error
}

// maxArrived is how many datagrams wait for the loop. Others wait in the system,
// which drops them when it has too many.
const maxArrived = 16

// maxDatagram is the largest datagram.
const maxDatagram = 64 << 10

// OpenPacket makes a socket for datagrams, as in seam.Network.
func (n *Network) OpenPacket(network string, local, remote seam.Addr, opts seam.PacketOptions, h seam.Handler) (seam.PacketConn, error) {
	hook := func(_, _ string, c syscall.RawConn) error {
		return control(c, func(fd uintptr) error { return setPacketOptions(fd, network, opts) })
	}
	var conn net.PacketConn
	var err error
	switch network {
	case "udp4", "udp6":
		conn, err = openUDP(network, local.AddrPort, remote.AddrPort, hook)
	case "unixgram":
		return n.openUnixgram(local.Path, remote.Path, hook, h)
	default:
		return nil, net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, plain(err)
	}
	return n.newPacketConn(conn, h), nil
}

// A hook is called with a new socket, before it is bound.
type hook = func(network, address string, c syscall.RawConn) error

func openUDP(network string, local, remote netip.AddrPort, h hook) (net.PacketConn, error) {
	for _, a := range []*netip.AddrPort{&local, &remote} {
		if !a.IsValid() {
			continue
		}
		kind, ap, err := inet("udp", *a)
		if err != nil {
			return nil, err
		}
		if kind != network {
			return nil, os.NewSyscallError("bind", syscall.EAFNOSUPPORT)
		}
		*a = ap
	}
	if remote.IsValid() {
		d := net.Dialer{Control: h}
		c, err := d.DialUDP(context.Background(), network, local, remote)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	address := ":0"
	if local.IsValid() {
		address = local.String()
	}
	lc := net.ListenConfig{Control: h}
	return lc.ListenPacket(context.Background(), network, address)
}

// openUnixgram opens a Unix socket. Its file is treated like a Listener's.
func (n *Network) openUnixgram(local, remote string, setOptions hook, h seam.Handler) (seam.PacketConn, error) {
	if checkPath(local) != nil || checkPath(remote) != nil {
		return nil, os.NewSyscallError("bind", syscall.EINVAL)
	}
	if !abstract(local) {
		if err := statSocket(local).remove(); err != nil {
			return nil, plain(err)
		}
	}
	var from *net.UnixAddr
	if local != "" {
		from = &net.UnixAddr{Name: local, Net: "unixgram"}
	}
	var c net.PacketConn
	var err error
	switch {
	case remote != "":
		d := net.Dialer{Control: setOptions}
		c, err = d.DialUnix(context.Background(), "unixgram", from, &net.UnixAddr{Name: remote, Net: "unixgram"})
	case from != nil:
		c, err = net.ListenUnixgram("unixgram", from)
	default:
		c, err = unnamedUnixgram()
	}
	if err != nil {
		return nil, plain(err)
	}
	p := n.newPacketConn(c, h)
	if !abstract(local) {
		p.file = statSocket(local)
	}
	return p, nil
}

// newPacketConn takes over c, and begins to read.
func (n *Network) newPacketConn(c net.PacketConn, h seam.Handler) *PacketConn {
	p := &PacketConn{source: source{net: n, handler: h}, conn: c, local: packetAddr(c.LocalAddr()), goroutines: 1}
	p.udp, _ = c.(*net.UDPConn)
	_, p.unix = c.(*net.UnixConn)
	if peer, ok := c.(net.Conn); ok {
		if remote := peer.RemoteAddr(); remote != nil {
			p.remote = packetAddr(remote)
			p.connected = p.remote != seam.Addr{}
		}
	}
	p.room.L = &p.mu
	p.report(seam.Writable)
	go p.receive()
	return p
}

// packetAddr translates an address of package net.
func packetAddr(a net.Addr) seam.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		if a == nil {
			return seam.Addr{}
		}
		ap := a.AddrPort()
		return seam.Addr{AddrPort: netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())}
	case *net.UnixAddr:
		if a == nil || a.Name == "@" {
			return seam.Addr{}
		}
		return seam.Addr{Path: a.Name}
	}
	return seam.Addr{}
}

// receive reads datagrams until the socket is closed.
func (p *PacketConn) receive() {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := p.readFrom(buf)
		p.mu.Lock()
		for p.count == maxArrived && !p.ending {
			p.room.Wait()
		}
		switch {
		case p.ending:
			p.exit()
			return
		case err == net.ErrClosed:
			p.readErr = err
			p.report(seam.Readable | seam.Failed)
			p.exit()
			return
		}
		if p.count == 0 {
			p.report(seam.Readable)
		}
		d := &p.arrived[(p.first+p.count)%maxArrived]
		p.count++
		d.data, d.from, d.err = append(d.data[:0], buf[:n]...), from, err
		p.mu.Unlock()
	}
}

func (p *PacketConn) readFrom(buf []byte) (int, seam.Addr, error) {
	if p.udp != nil {
		n, from, err := p.udp.ReadFromUDPAddrPort(buf)
		return n, seam.Addr{AddrPort: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}, plain(err)
	}
	n, from, err := p.conn.ReadFrom(buf)
	return n, packetAddr(from), plain(err)
}

// exit is the last thing that a goroutine of p does. It is called with mu held.
func (p *PacketConn) exit() {
	p.goroutines--
	last := p.ending && p.goroutines == 0
	p.mu.Unlock()
	if last {
		p.net.end(p)
	}
}

// ReadFrom returns the next datagram, as in seam.PacketConn.
func (p *PacketConn) ReadFrom(buf []byte) (int, seam.Addr, error) {
	if p.closed {
		return 0, seam.Addr{}, net.ErrClosed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count == 0 {
		if p.readErr != nil {
			return 0, seam.Addr{}, p.readErr
		}
		return 0, seam.Addr{}, seam.ErrWouldBlock
	}
	d := &p.arrived[p.first]
	p.first = (p.first + 1) % maxArrived
	p.count--
	p.room.Signal()
	n := copy(buf, d.data)
	if cap(d.data) > smallSize {
		d.data = nil
	}
	return n, d.from, d.err
}

// patience is how long a datagram may hold up the loop. The system nearly always
// takes it at once.
const patience = 150 * time.Microsecond

// WriteTo sends one datagram, as in seam.PacketConn. If there is no room for it at
// once it is taken all the same, and there is none for the next one; its error, if
// there is one, is the next one's. A Unix socket that is not connected takes it not:
// the system does not tell when there is room at the receiver, nor does a report.
func (p *PacketConn) WriteTo(data []byte, to seam.Addr) error {
	if p.closed {
		return net.ErrClosed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sending {
		p.full = true
		return seam.ErrWouldBlock
	}
	if err := p.writeErr; err != nil {
		p.writeErr = nil
		return err
	}
	if err := p.writeAtOnce(data, to); err != os.ErrDeadlineExceeded {
		return err
	}
	if p.unix && !p.connected {
		return seam.ErrWouldBlock
	}
	p.sending = true
	p.goroutines++
	go p.send(append([]byte{}, data...), to)
	return nil
}

// writeAtOnce is writeTo with a time limit. On a busy machine that may have passed
// before the system is asked at all: therefore it is asked again.
func (p *PacketConn) writeAtOnce(data []byte, to seam.Addr) (err error) {
	for range 3 {
		p.conn.SetWriteDeadline(time.Now().Add(patience / 3))
		if err = p.writeTo(data, to); err != os.ErrDeadlineExceeded {
			break
		}
	}
	return err
}

// send sends a datagram that has to wait.
func (p *PacketConn) send(data []byte, to seam.Addr) {
	p.conn.SetWriteDeadline(time.Time{})
	err := p.writeTo(data, to)
	p.mu.Lock()
	p.sending = false
	p.writeErr = err
	if p.full {
		p.full = false
		p.report(seam.Writable)
	}
	p.exit()
}

func (p *PacketConn) writeTo(data []byte, to seam.Addr) error {
	var err error
	switch {
	case to == seam.Addr{} && p.connected:
		_, err = p.conn.(net.Conn).Write(data)
	case to == seam.Addr{}:
		err = os.NewSyscallError("sendto", syscall.EDESTADDRREQ)
	case p.udp != nil:
		_, err = p.udp.WriteToUDPAddrPort(data, to.AddrPort)
	case to.Path != "":
		_, err = p.conn.WriteTo(data, &net.UnixAddr{Name: to.Path, Net: "unixgram"})
	default:
		_, err = p.conn.WriteTo(data, net.UDPAddrFromAddrPort(to.AddrPort))
	}
	return plain(err)
}

// Close closes the socket, as in seam.PacketConn. A datagram that waits to be sent
// is dropped.
func (p *PacketConn) Close() error {
	if p.closed {
		return net.ErrClosed
	}
	p.closed = true
	p.mu.Lock()
	p.ending = true
	p.file.remove()
	p.arrived, p.count = [maxArrived]datagram{}, 0
	if p.goroutines > 0 {
		p.net.begin(p)
	}
	p.room.Broadcast()
	p.mu.Unlock()
	return plain(p.conn.Close())
}

// cut has nothing to add to Close.
func (p *PacketConn) cut() {}

// LocalAddr returns the address of this end. It still answers after Close.
func (p *PacketConn) LocalAddr() seam.Addr { return p.local }

// RemoteAddr returns the address of the peer, if p is connected to one.
func (p *PacketConn) RemoteAddr() seam.Addr { return p.remote }
