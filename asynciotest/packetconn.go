// Sockets for datagrams of the simulated network.

package asynciotest

import (
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/goasyncio/asyncio/internal/seam"
)

const (
	largestDatagram = 65507
	datagramBuffer  = 208 << 10 // bytes that wait at a socket
	unixDatagrams   = 10        // how many wait at a Unix socket, and one more
)

// A datagram waits to be read.
type datagram struct {
	data []byte
	from seam.Addr
}

// A packetConn is a socket for datagrams.
type packetConn struct {
	socket
	stack   *stack
	unix    bool
	v6      bool
	local   seam.Addr
	remote  seam.Addr
	opts    seam.PacketOptions
	in      fifo[datagram]
	unread  int
	refused bool // a datagram was
	hungry  bool
	blocked []*packetConn // those that found no room here
}

// OpenPacket makes a socket for datagrams, as in seam.Network.
func (w *wire) OpenPacket(network string, local, remote seam.Addr, opts seam.PacketOptions, h seam.Handler) (seam.PacketConn, error) {
	q := (*process)(w)
	if q.halted {
		return nil, failure("socket", syscall.ENETDOWN)
	}
	c := &packetConn{socket: socket{process: q, handler: h}, stack: q.stack, opts: opts, hungry: true}
	switch network {
	case "udp4":
	case "udp6":
		c.v6 = true
	case "unixgram":
		c.unix = true
	default:
		return nil, net.UnknownNetworkError(network)
	}
	if err := q.take("socket"); err != nil {
		return nil, err
	}
	err := c.connect(remote)
	if err == nil {
		err = c.bind(local)
	}
	if err != nil {
		q.give()
		return nil, err
	}
	c.report(seam.Writable)
	return c, nil
}

// inet checks the address of a UDP socket.
func (c *packetConn) inet(a netip.AddrPort) (netip.AddrPort, error) {
	at, err := canonical(a)
	if err == nil && at.Addr().Is4() == c.v6 {
		err = &net.AddrError{Err: "address of another family", Addr: a.String()}
	}
	return at, err
}

func (c *packetConn) connect(remote seam.Addr) error {
	if remote == (seam.Addr{}) {
		return nil
	}
	c.remote = remote
	if c.unix {
		if err := checkPath("connect", remote.Path); err != nil {
			return err
		}
		if _, ok := c.stack.unix[remote.Path].(*packetConn); !ok {
			return failure("connect", c.stack.missing(remote.Path))
		}
		return nil
	}
	to, err := c.inet(remote.AddrPort)
	c.remote.AddrPort = to
	return err
}

func (c *packetConn) bind(local seam.Addr) error {
	if c.unix {
		if local == (seam.Addr{}) {
			return nil
		}
		c.local = local
		return c.stack.bindUnix(local.Path, c)
	}
	at := addrPort(any4, 0)
	if c.v6 {
		at = addrPort(any6, 0)
	}
	if local != (seam.Addr{}) {
		var err error
		if at, err = c.inet(local.AddrPort); err != nil {
			return err
		}
	}
	host := c.stack.host
	if err := host.mayBind(at.Addr()); err != nil {
		return err
	}
	if at.Addr().IsUnspecified() && c.remote.AddrPort.IsValid() {
		at = addrPort(host.sourceFor(c.remote.AddrPort.Addr()), at.Port())
	}
	taken := func(port uint16) bool {
		return slices.ContainsFunc(c.stack.packets[port], func(o *packetConn) bool {
			return clash(o.local.AddrPort.Addr(), at.Addr()) && !(o.opts.ReusePort && c.opts.ReusePort)
		})
	}
	port := at.Port()
	if port == 0 {
		var err error
		if port, err = c.stack.freePort(taken); err != nil {
			return err
		}
	} else if taken(port) {
		return failure("bind", syscall.EADDRINUSE)
	}
	c.local = seam.Addr{AddrPort: addrPort(at.Addr(), port)}
	c.stack.packets[port] = append(c.stack.packets[port], c)
	return nil
}

// ReadFrom reads the next datagram, as in seam.PacketConn.
func (c *packetConn) ReadFrom(p []byte) (int, seam.Addr, error) {
	switch {
	case c.closed:
		return 0, seam.Addr{}, net.ErrClosed
	case c.dead():
		return 0, seam.Addr{}, seam.ErrWouldBlock
	case c.refused:
		c.refused = false
		return 0, seam.Addr{}, failure("recvfrom", syscall.ECONNREFUSED)
	case c.in.len() == 0:
		c.hungry = true
		return 0, seam.Addr{}, seam.ErrWouldBlock
	}
	d := c.in.pop()
	c.unread -= len(d.data)
	blocked := c.blocked
	c.blocked = nil
	for _, other := range blocked {
		other.report(seam.Writable)
	}
	return copy(p, d.data), d.from, nil
}

// WriteTo sends a datagram, as in seam.PacketConn.
func (c *packetConn) WriteTo(p []byte, to seam.Addr) error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.dead():
		return nil // it goes nowhere
	case c.refused:
		c.refused = false
		return failure("sendto", syscall.ECONNREFUSED)
	}
	if to == (seam.Addr{}) {
		if to = c.remote; to == (seam.Addr{}) {
			return failure("sendto", syscall.EDESTADDRREQ)
		}
	}
	if c.unix {
		return c.writeUnix(p, to.Path)
	}
	at, err := c.inet(to.AddrPort)
	if err != nil {
		return err
	}
	if len(p) > largestDatagram {
		return failure("sendto", syscall.EMSGSIZE)
	}
	host := c.stack.host
	if at.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		if !c.opts.Broadcast {
			return failure("sendto", syscall.EACCES)
		}
		for _, h := range host.net.hosts {
			c.transmit(p, h, at)
		}
		return nil
	}
	if at.Addr().IsUnspecified() {
		at = addrPort(host.sourceFor(loopback4), at.Port())
		if c.v6 {
			at = addrPort(netip.IPv6Loopback(), at.Port())
		}
	}
	if at.Addr().IsMulticast() || at.Addr().Is6() && !at.Addr().IsLoopback() {
		return failure("sendto", syscall.ENETUNREACH)
	}
	c.transmit(p, host.owner(at.Addr()), at)
	return nil
}

// transmit sends a datagram to a host; to nobody if that is nil.
func (c *packetConn) transmit(p []byte, to *Host, at netip.AddrPort) {
	host := c.stack.host
	q := host.net.packet()
	q.kind, q.from, q.to, q.socket = DatagramPacket, host, to, c
	q.data = slices.Clone(p)
	q.src, q.dst = c.local, seam.Addr{AddrPort: at}
	if q.src.AddrPort.Addr().IsUnspecified() {
		q.src.AddrPort = addrPort(host.sourceFor(at.Addr()), q.src.AddrPort.Port())
	}
	if to == nil {
		host.net.note(PacketLost, host, nil, len(p))
		host.net.recycle(q)
		return
	}
	host.net.send(q)
}

// writeUnix puts a datagram into the queue of another socket of the host.
func (c *packetConn) writeUnix(p []byte, path string) error {
	to, ok := c.stack.unix[path].(*packetConn)
	if !ok {
		return failure("sendto", c.stack.missing(path))
	}
	if len(p) > datagramBuffer {
		return failure("sendto", syscall.EMSGSIZE)
	}
	if to.in.len() > unixDatagrams {
		if !slices.Contains(to.blocked, c) {
			to.blocked = append(to.blocked, c)
		}
		return seam.ErrWouldBlock
	}
	to.deliver(datagram{slices.Clone(p), c.local})
	return nil
}

// deliver queues a datagram, if there is room.
func (c *packetConn) deliver(d datagram) {
	if !c.unix && c.unread+len(d.data) > datagramBuffer {
		return // as a kernel does
	}
	c.in.push(d)
	c.unread += len(d.data)
	if c.hungry || c.in.len() == 1 {
		c.hungry = false
		c.report(seam.Readable)
	}
}

// receiveDatagram finds the socket for a datagram.
func (k *stack) receiveDatagram(p *packet) {
	broadcast := p.dst.AddrPort.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	var found []*packetConn
	for _, c := range k.packets[p.dst.AddrPort.Port()] {
		local := c.local.AddrPort.Addr()
		if !clash(local, p.dst.AddrPort.Addr()) && !broadcast {
			continue
		}
		if c.remote.AddrPort.IsValid() && c.remote.AddrPort != p.src.AddrPort {
			continue
		}
		found = append(found, c)
	}
	d := datagram{p.data, p.src}
	switch {
	case broadcast:
		for _, c := range found {
			c.deliver(d)
		}
	case len(found) > 0:
		i := 0
		if len(found) > 1 {
			i = k.host.net.rand.IntN(len(found))
		}
		found[i].deliver(d)
	default:
		q := k.host.net.packet()
		q.kind, q.from, q.to, q.socket = UnreachablePacket, p.to, p.from, p.socket
		q.src, q.dst = p.dst, p.src
		k.host.net.send(q)
	}
}

// unreachable is told that nobody has taken a datagram. Only who has one peer hears of it.
func (c *packetConn) unreachable() {
	if c.remote != (seam.Addr{}) && !c.closed {
		c.refused = true
		c.report(seam.Readable | seam.Writable | seam.Failed)
	}
}

// Close closes the socket, as in seam.PacketConn.
func (c *packetConn) Close() error {
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	if c.dead() {
		return nil
	}
	c.process.give()
	for _, other := range c.blocked {
		other.report(seam.Writable)
	}
	if c.unix {
		c.stack.freeUnix(c.local.Path, c, false)
		return nil
	}
	port := c.local.AddrPort.Port()
	others := slices.DeleteFunc(c.stack.packets[port], func(o *packetConn) bool { return o == c })
	if len(others) == 0 {
		delete(c.stack.packets, port)
	} else {
		c.stack.packets[port] = others
	}
	return nil
}

// LocalAddr returns the address of the socket, as in seam.PacketConn.
func (c *packetConn) LocalAddr() seam.Addr { return c.local }

// RemoteAddr returns the address of the only peer, as in seam.PacketConn.
func (c *packetConn) RemoteAddr() seam.Addr { return c.remote }
