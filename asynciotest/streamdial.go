// How streams of the simulated network connect: who asks, who answers, who refuses.

package asynciotest

import (
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/goasyncio/asyncio/internal/seam"
)

// Dial starts to connect, as in seam.Network.
func (w *wire) Dial(network string, to, local seam.Addr, h seam.Handler) (seam.Conn, error) {
	q := (*process)(w)
	if q.halted {
		return nil, failure("connect", syscall.ENETDOWN)
	}
	switch network {
	case "tcp":
		return q.dialTCP(to.AddrPort, local.AddrPort, h)
	case "unix":
		return q.dialUnix(to.Path, local.Path, h)
	}
	return nil, net.UnknownNetworkError(network)
}

func (q *process) dialTCP(to, local netip.AddrPort, h seam.Handler) (seam.Conn, error) {
	to, err := canonical(to)
	if err != nil {
		return nil, err
	}
	host := q.program.host
	if to.Addr().IsUnspecified() { // stands for this host
		a := loopback4
		if to.Addr().Is6() {
			a = netip.IPv6Loopback()
		}
		to = addrPort(a, to.Port())
	}
	from := addrPort(host.sourceFor(to.Addr()), 0)
	if to.Addr().Is6() && !to.Addr().IsLoopback() {
		return nil, failure("connect", syscall.ENETUNREACH)
	}
	if local.IsValid() {
		if local, err = canonical(local); err != nil {
			return nil, err
		}
		if err := host.mayBind(local.Addr()); err != nil {
			return nil, err
		}
		if local.Addr().Is4() != to.Addr().Is4() {
			return nil, failure("connect", syscall.EAFNOSUPPORT)
		}
		if !local.Addr().IsUnspecified() {
			from = local
		} else {
			from = addrPort(from.Addr(), local.Port())
		}
	}
	taken := func(port uint16) bool {
		return slices.ContainsFunc(q.stack.streams, func(c *stream) bool {
			return c.local.AddrPort == addrPort(from.Addr(), port) && c.remote.AddrPort == to
		}) || len(q.stack.listeners[port]) > 0
	}
	if from.Port() == 0 {
		port, err := q.stack.freePort(taken)
		if err != nil {
			return nil, failure("connect", syscall.EADDRNOTAVAIL)
		}
		from = addrPort(from.Addr(), port)
	} else if taken(from.Port()) {
		return nil, failure("bind", syscall.EADDRINUSE)
	}
	if err := q.take("socket"); err != nil {
		return nil, err
	}
	c := newStream(q.stack, q, false)
	c.handler = h
	c.local, c.remote = seam.Addr{AddrPort: from}, seam.Addr{AddrPort: to}
	c.attempt = seam.ErrWouldBlock
	c.tryToConnect()
	return c, nil
}

func (q *process) dialUnix(path, local string, h seam.Handler) (seam.Conn, error) {
	if path == "" {
		return nil, failure("connect", syscall.EINVAL)
	}
	if err := checkPath("connect", path); err != nil {
		return nil, err
	}
	l, ok := q.stack.unix[path].(*listener)
	switch {
	case !ok && q.stack.unix[path] != nil:
		return nil, failure("connect", syscall.EPROTOTYPE)
	case !ok:
		return nil, failure("connect", q.stack.missing(path))
	case !l.started:
		return nil, failure("connect", syscall.ECONNREFUSED)
	case l.full():
		return nil, failure("connect", syscall.EAGAIN)
	}
	if err := q.take("socket"); err != nil {
		return nil, err
	}
	c := newStream(q.stack, q, true)
	if local != "" {
		if err := q.stack.bindUnix(local, c); err != nil {
			c.remove()
			q.give()
			return nil, err
		}
	}
	s := newStream(q.stack, nil, true)
	c.handler = h
	c.local, c.remote = seam.Addr{Path: local}, l.at
	s.local, s.remote = c.remote, c.local
	c.peer, s.peer = s, c
	c.limit, s.limit = s.offered, c.offered
	s.listener = l
	l.arrived(s)
	c.report(seam.Writable)
	return c, nil
}

// tryToConnect sends the first packet of the connection.
func (c *stream) tryToConnect() {
	p := c.packet(ConnectPacket)
	p.stream = c
	p.window = c.offered
	c.send(p)
	c.progress = c.stack.host.net.Now()
	c.stack.host.net.after(firstPause<<c.tries, &c.alarm, c)
}

// answer tells the client that it is connected, until the client has confirmed that.
func (c *stream) answer() {
	if n := c.stack.host.net; c.half && !c.alarm.Armed() {
		n.after(firstPause<<c.tries, &c.alarm, c)
	}
	p := c.packet(AcceptPacket)
	p.server = c
	p.window = c.offered
	c.send(p)
	c.progress = c.stack.host.net.Now()
}

// refused is the answer that nobody listens.
func (c *stream) refused() {
	if c.attempt == seam.ErrWouldBlock && !c.closed {
		c.fail(syscall.ECONNREFUSED)
	}
}

// fail ends a connection attempt.
func (c *stream) fail(errno syscall.Errno) {
	c.attempt = failure("connect", errno)
	c.dead = true
	c.remove()
	c.report(seam.Readable | seam.Writable | seam.HungUp | seam.Failed)
}

// connected is the answer of a server.
func (c *stream) connected(server *stream, window uint64) {
	if c.removed || c.stack.gone {
		c.refuse(server)
		return
	}
	if c.attempt == seam.ErrWouldBlock {
		n := c.stack.host.net
		n.events.Remove(&c.alarm)
		if c.tries == 0 {
			c.measure(c.progress)
		}
		c.attempt = nil
		c.peer = server
		c.limit = window
		c.report(seam.Writable)
	}
	c.acknowledge()
}

// refuse answers a packet of the other end with a reset.
func (c *stream) refuse(other *stream) {
	k := c.stack
	if k.gone {
		k = k.host.stack
	}
	if k == nil || other == nil || other.removed {
		return
	}
	p := c.packet(ResetPacket)
	p.stream = other
	c.send(p)
}
