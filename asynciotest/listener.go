// Listening sockets of a simulated host.

package asynciotest

import (
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// largestBacklog is how many connections wait where nothing smaller is asked for.
const largestBacklog = 4096

// A listener is a listening socket.
type listener struct {
	socket
	stack   *stack
	at      seam.Addr
	unix    bool
	opts    seam.ListenOptions
	started bool
	waiting []*stream // to be accepted
	opening int       // that have not answered yet
	armed   bool      // Accept has returned ErrWouldBlock
}

// Listen makes a socket that is bound, as in seam.Network.
func (w *wire) Listen(network string, at seam.Addr, opts seam.ListenOptions, h seam.Handler) (seam.Listener, error) {
	q := (*process)(w)
	if q.halted {
		return nil, failure("listen", syscall.ENETDOWN)
	}
	if network != "tcp" && network != "unix" {
		return nil, net.UnknownNetworkError(network)
	}
	l := &listener{socket: socket{process: q, handler: h}, stack: q.stack, at: at, unix: network == "unix", opts: opts, armed: true}
	if err := q.take("socket"); err != nil {
		return nil, err
	}
	err := l.bind()
	if err != nil {
		q.give()
		return nil, err
	}
	return l, nil
}

func (l *listener) bind() error {
	if l.unix {
		return l.stack.bindUnix(l.at.Path, l)
	}
	at, err := canonical(l.at.AddrPort)
	if err != nil {
		return err
	}
	if err := l.stack.host.mayBind(at.Addr()); err != nil {
		return err
	}
	taken := func(port uint16) bool {
		for _, other := range l.stack.listeners[port] {
			if clash(at.Addr(), other.at.AddrPort.Addr()) && !(l.opts.ReusePort && other.opts.ReusePort) {
				return true
			}
		}
		return l.opts.NoReuseAddr && slices.ContainsFunc(l.stack.streams, func(c *stream) bool {
			return !c.unix && c.local.AddrPort.Port() == port
		})
	}
	port := at.Port()
	switch {
	case port == 0:
		if port, err = l.stack.freePort(taken); err != nil {
			return err
		}
	case taken(port):
		return failure("bind", syscall.EADDRINUSE)
	}
	l.at = seam.Addr{AddrPort: addrPort(at.Addr(), port)}
	l.stack.listeners[port] = append(l.stack.listeners[port], l)
	return nil
}

// Start begins to take connections, as in seam.Listener.
func (l *listener) Start() error {
	if l.closed {
		return net.ErrClosed
	}
	l.started = true
	return nil
}

// full reports whether there is no room for one more connection. Linux takes one more
// than it was asked for.
func (l *listener) full() bool {
	backlog := l.opts.Backlog
	if backlog <= 0 || backlog > largestBacklog {
		backlog = largestBacklog
	}
	return len(l.waiting)+l.opening > backlog
}

// arrived queues a connection.
func (l *listener) arrived(c *stream) {
	l.waiting = append(l.waiting, c)
	if l.armed {
		l.armed = false
		l.report(seam.Readable)
	}
}

// Accept returns the next connection, as in seam.Listener.
func (l *listener) Accept() (seam.AcceptedConn, error) {
	if l.closed {
		return nil, net.ErrClosed
	}
	if len(l.waiting) == 0 || l.dead() {
		l.armed = true
		return nil, seam.ErrWouldBlock
	}
	if err := l.process.take("accept4"); err != nil {
		return nil, err
	}
	c := l.waiting[0]
	l.waiting = l.waiting[1:]
	c.listener = nil
	c.process = l.process
	c.keepAlive = l.opts.KeepAlive
	if c.keepAlive == 0 {
		c.keepAlive = defaultKeepAlive
	}
	return c, nil
}

const defaultKeepAlive = 15 * time.Second

// Close stops listening, as in seam.Listener. Connections that nobody has accepted
// are reset.
func (l *listener) Close() error {
	if l.closed {
		return net.ErrClosed
	}
	l.closed = true
	if l.dead() {
		return nil
	}
	l.process.give()
	if l.unix {
		l.stack.freeUnix(l.at.Path, l, l.opts.KeepSocketFile)
	} else {
		port := l.at.AddrPort.Port()
		others := slices.DeleteFunc(l.stack.listeners[port], func(o *listener) bool { return o == l })
		if len(others) == 0 {
			delete(l.stack.listeners, port)
		} else {
			l.stack.listeners[port] = others
		}
	}
	for _, c := range slices.Clone(l.stack.streams) {
		if c.listener == l {
			c.reset()
		}
	}
	l.waiting = nil
	return nil
}

// Addr returns the address, as in seam.Listener.
func (l *listener) Addr() net.Addr { return netAddr(l.at, l.unix) }

// netAddr returns a as package net has it.
func netAddr(a seam.Addr, unix bool) net.Addr {
	if unix {
		return &net.UnixAddr{Name: a.Path, Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(a.AddrPort)
}

// listenerFor returns who takes connections to an address; nil if nobody does.
func (k *stack) listenerFor(p *packet) *listener {
	var found []*listener
	for _, l := range k.listeners[p.dst.AddrPort.Port()] {
		if l.started && clash(l.at.AddrPort.Addr(), p.dst.AddrPort.Addr()) {
			found = append(found, l)
		}
	}
	switch len(found) {
	case 0:
		return nil
	case 1:
		return found[0]
	}
	return found[k.host.net.rand.IntN(len(found))] // they share the port
}

// receiveConnect takes the first packet of a connection.
func (k *stack) receiveConnect(p *packet) {
	client := p.stream
	if s := client.peer; s != nil && s.stack == k { // it has not heard the answer
		s.answer()
		return
	}
	l := k.listenerFor(p)
	if l == nil {
		q := k.host.net.packet()
		q.kind, q.from, q.to, q.stream = RefusePacket, p.to, p.from, client
		q.src, q.dst = p.dst, p.src
		k.host.net.send(q)
		return
	}
	if l.full() {
		return // the client tries again
	}
	s := newStream(k, nil, false)
	s.local, s.remote = p.dst, p.src
	s.peer, s.listener, s.half = client, l, true
	s.limit = p.window
	client.peer = s
	l.opening++
	s.answer()
}
