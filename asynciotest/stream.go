// Streams of the simulated network: what TCP does, as far as programs can see it.

package asynciotest

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/timer"
)

// A segment is a part of a stream that is sent in one packet.
type segment struct {
	seq  uint64
	data []byte
	end  bool          // the end of the stream, which counts as one byte
	sent time.Duration // when it was
	once bool          // it was not sent again
}

func (s *segment) after() uint64 {
	if s.end {
		return s.seq + uint64(len(s.data)) + 1
	}
	return s.seq + uint64(len(s.data))
}

const largestSegment = 16 << 10

// A stream is one end of a connection. It belongs to the stack of its host, and goes
// on after the program has closed it, until everything is sent.
//
// The sending half keeps what the other end has not acknowledged. A packet that a cut
// link has swallowed leaves a gap; everything from there on is sent again when nothing
// has been acknowledged for a while.
type stream struct {
	socket
	stack    *stack
	slot     int // in stack.streams
	unix     bool
	local    seam.Addr
	remote   seam.Addr
	peer     *stream   // nil until the other host has answered
	listener *listener // until it is accepted
	half     bool      // the other end has not confirmed the answer

	attempt   error // of the connection attempt: ErrWouldBlock while it is under way
	tries     int
	keepAlive time.Duration // negative: none

	// The sending half.
	out      []segment
	inFlight int                // how many of out are on their way
	buffered int                // bytes in out
	next     uint64             // the number of the next byte to be written
	limit    uint64             // up to where the other end takes bytes
	ended    bool               // no more can be written
	blocked  bool               // a write found no room
	latest   time.Duration      // when the last packet arrives
	due      time.Duration      // when the last one does that carries something
	alarm    timer.Timer[event] // to connect again, or to send again
	progress time.Duration      // when something was acknowledged last
	retries  int
	delay    time.Duration // there and back, the longest lately
	measured bool          // it is no guess

	// The receiving half.
	in       fifo[[]byte]
	unread   int
	expected uint64
	offered  uint64 // up to where the other end may send, as it has been told
	over     bool   // the peer has ended its half
	hungry   bool   // a read found nothing

	breakage syscall.Errno // how the connection has broken, until a call has returned it
	dead     bool          // it has broken
	removed  bool          // from the stack

	prober probe
}

// newStream makes one end of a connection.
func newStream(k *stack, q *process, unix bool) *stream {
	c := &stream{socket: socket{process: q}, stack: k, unix: unix, slot: len(k.streams), hungry: true}
	c.keepAlive = defaultKeepAlive
	c.offered = uint64(k.host.net.buffer)
	c.delay = firstDelay
	k.streams = append(k.streams, c)
	return c
}

// remove takes c from its stack: the host knows nothing of it any more.
func (c *stream) remove() {
	if c.removed {
		return
	}
	c.removed = true
	k := c.stack
	last := len(k.streams) - 1
	k.streams[c.slot] = k.streams[last]
	k.streams[c.slot].slot = c.slot
	k.streams[last] = nil
	k.streams = k.streams[:last]
	n := k.host.net
	n.events.Remove(&c.alarm)
	n.events.Remove(&c.prober.timer)
	c.out, c.inFlight, c.buffered = nil, 0, 0
	if l := c.listener; l != nil {
		c.listener = nil
		if c.half {
			l.opening--
		}
		l.waiting = slices.DeleteFunc(l.waiting, func(o *stream) bool { return o == c })
	}
}

func (k *stack) copyOfStreams() []*stream { return slices.Clone(k.streams) }

// across reports whether c sends from one host to another.
func (c *stream) across(from, to *Host) bool {
	return c.stack.host == from && c.remoteHost() == to
}

func (c *stream) remoteHost() *Host {
	if c.unix {
		return c.stack.host
	}
	return c.stack.host.owner(c.remote.AddrPort.Addr())
}

func addrPort(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

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

// packet returns a packet for the other end.
func (c *stream) packet(kind LogKind) *packet {
	p := c.stack.host.net.packet()
	p.kind, p.sender, p.stream = kind, c, c.peer
	p.from, p.src, p.dst = c.stack.host, c.local, c.remote
	p.to = c.remoteHost()
	return p
}

// send puts a packet of c on its way. Unix sockets have no network below them.
func (c *stream) send(p *packet) {
	n := c.stack.host.net
	if c.unix {
		p.sent = n.Now()
		n.note(p.kind, p.from, p.to, p.size())
		n.after(0, &p.timer, (*passage)(p))
		return
	}
	if p.to == nil { // nobody has that address
		n.note(PacketLost, p.from, nil, p.size())
		n.recycle(p)
		return
	}
	n.send(p)
}

// A passage is a packet that does not leave its host.
type passage packet

func (p *passage) happen() {
	if k := p.from.stack; k != nil {
		k.receive((*packet)(p))
	}
	p.net.recycle((*packet)(p))
}

// firstPause is how long a first packet waits for its answer; each one after it twice
// as long.
const (
	firstPause = time.Second
	firstDelay = 400 * time.Millisecond // a guess, until there is an acknowledgement
	lastTry    = 6
	lastAnswer = 5
	lastResend = 15
)

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

// happen is the time to connect again, or to send again.
func (c *stream) happen() {
	n := c.stack.host.net
	switch {
	case c.removed || c.stack.gone:
	case c.attempt == seam.ErrWouldBlock:
		if c.tries++; c.tries > lastTry {
			c.fail(syscall.ETIMEDOUT)
			return
		}
		c.tryToConnect()
	case c.half:
		if c.tries++; c.tries > lastAnswer {
			c.remove()
			return
		}
		c.answer()
	case c.inFlight == 0:
	case n.Now() < c.expiry():
		n.after(c.expiry()-n.Now(), &c.alarm, c)
	default:
		if c.retries++; c.retries > lastResend {
			c.broken(syscall.ETIMEDOUT)
			return
		}
		c.inFlight = 0
		for i := range c.out {
			c.out[i].once = false
		}
		c.progress = n.Now()
		c.pump()
	}
}

// expiry is when c sends again what was not acknowledged. What waits in a narrow link
// has not been there too long.
func (c *stream) expiry() time.Duration { return later(max(c.progress, c.due), c.pause()) }

// pause is how long c waits for an acknowledgement before it sends again.
func (c *stream) pause() time.Duration {
	return min((shortestRetransmission+2*c.delay)<<min(c.retries, 16), longestRetransmission)
}

// pump sends what the other end takes.
func (c *stream) pump() {
	if c.peer == nil || c.removed {
		return
	}
	n := c.stack.host.net
	for c.inFlight < len(c.out) {
		s := &c.out[c.inFlight]
		if len(s.data) > 0 {
			if s.seq >= c.limit {
				break
			}
			if room := c.limit - s.seq; uint64(len(s.data)) > room {
				rest := *s
				rest.seq, rest.data = s.seq+room, s.data[room:]
				s.data, s.end = s.data[:room:room], false
				c.out = slices.Insert(c.out, c.inFlight+1, rest)
				s = &c.out[c.inFlight]
			}
		}
		if c.inFlight == 0 && c.retries == 0 {
			c.progress = n.Now()
		}
		s.sent, s.once = n.Now(), c.retries == 0
		kind := DataPacket
		if len(s.data) == 0 {
			kind = EndPacket
		}
		p := c.packet(kind)
		p.seq, p.data, p.end = s.seq, s.data, s.end
		c.inFlight++
		c.send(p)
		c.due = c.latest
	}
	if c.inFlight > 0 && !c.alarm.Armed() {
		n.after(c.pause(), &c.alarm, c)
	}
}

// receive takes a packet of the other end: bytes, an end, an acknowledgement.
func (c *stream) receive(p *packet) {
	if c.stack.gone || c.removed {
		if p.kind != ack || p.probing {
			c.refuse(p.sender)
		}
		return
	}
	if c.half {
		c.half = false
		c.stack.host.net.events.Remove(&c.alarm)
		if c.tries == 0 {
			c.measure(c.progress)
		}
		if l := c.listener; l != nil {
			l.opening--
			l.arrived(c)
		}
	}
	c.answered()
	if p.kind == ack {
		if p.probing {
			c.acknowledge()
		}
		c.acknowledged(p.seq, p.window)
		return
	}
	if p.seq != c.expected {
		c.acknowledge() // it came twice, or something is missing
		return
	}
	if c.closed && len(p.data) > 0 {
		c.refuse(p.sender)
		c.remove()
		return
	}
	var r seam.Readiness
	if len(p.data) > 0 {
		c.in.push(p.data)
		c.unread += len(p.data)
		c.expected += uint64(len(p.data))
		if c.hungry {
			c.hungry = false
			r |= seam.Readable
		}
	}
	if p.end {
		c.over = true
		c.expected++
		r |= seam.Readable | seam.HungUp
	}
	if r != 0 {
		c.report(r)
	}
	c.acknowledge()
	c.removeIfDone()
}

// acknowledge tells the other end what has arrived, and how much there is room for.
func (c *stream) acknowledge() {
	c.offered = max(c.offered, c.expected+uint64(max(0, c.stack.host.net.buffer-c.unread)))
	p := c.packet(ack)
	p.seq, p.window = c.expected, c.offered
	c.send(p)
}

// measure learns how long it takes there and back.
func (c *stream) measure(since time.Duration) {
	if !c.measured {
		c.delay, c.measured = 0, true
	}
	c.delay = max(c.delay*7/8, c.stack.host.net.Now()-since)
}

// acknowledged is told what has arrived at the other end.
func (c *stream) acknowledged(seq, limit uint64) {
	n := c.stack.host.net
	c.limit = max(c.limit, limit)
	done := 0
	for done < c.inFlight && c.out[done].after() <= seq {
		s := &c.out[done]
		c.buffered -= len(s.data)
		if s.once {
			c.measure(s.sent)
		}
		done++
	}
	if done > 0 {
		clear(c.out[:done])
		c.out = c.out[done:]
		if len(c.out) == 0 {
			c.out = nil
		}
		c.inFlight -= done
		c.progress, c.retries = n.Now(), 0
	}
	c.pump()
	if c.blocked && c.buffered <= n.buffer/2 {
		c.blocked = false
		c.report(seam.Writable)
	}
	c.removeIfDone()
}

// removeIfDone forgets a connection that both ends have closed.
func (c *stream) removeIfDone() {
	if c.closed && c.over && len(c.out) == 0 {
		c.remove()
	}
}

// receiveReset is the end of the connection by the other end.
func (c *stream) receiveReset() {
	if c.removed || c.stack.gone {
		return
	}
	switch {
	case c.attempt == seam.ErrWouldBlock:
		c.fail(syscall.ECONNREFUSED)
	case c.over && !c.unix:
		c.broken(syscall.EPIPE)
	default:
		c.broken(syscall.ECONNRESET)
	}
}

// broken ends the connection. What has arrived before can still be read.
func (c *stream) broken(errno syscall.Errno) {
	if c.removed {
		return
	}
	if c.attempt == seam.ErrWouldBlock {
		c.fail(errno)
		return
	}
	c.dead = true
	c.breakage = errno
	if c.listener != nil { // it can still be accepted
		l := c.listener
		queued := !c.half
		c.remove()
		if queued && !l.closed {
			c.listener = l
			l.waiting = append(l.waiting, c)
		}
		return
	}
	c.remove()
	c.report(seam.Readable | seam.Writable | seam.HungUp | seam.Failed)
}

// failure returns how the connection has broken, once.
func (c *stream) failure(call string) error {
	errno := c.breakage
	c.breakage = 0
	if errno == 0 {
		return nil
	}
	return failure(call, errno)
}

// Attach sets the Handler, as in seam.AcceptedConn.
func (c *stream) Attach(h seam.Handler) error {
	if c.closed {
		return net.ErrClosed
	}
	if c.handler != nil {
		return errTwice
	}
	c.handler = h
	r := seam.Writable
	if c.unread > 0 {
		r |= seam.Readable
	}
	if c.over {
		r |= seam.Readable | seam.HungUp
	}
	if c.dead {
		r |= seam.Readable | seam.HungUp | seam.Failed
	}
	c.report(r)
	return nil
}

// Connected returns how the attempt has ended, as in seam.Conn.
func (c *stream) Connected() error {
	if c.closed {
		return net.ErrClosed
	}
	return c.attempt
}

// Read reads what has arrived, as in seam.Conn.
func (c *stream) Read(p []byte) (int, error) {
	if c.closed {
		return 0, net.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	if c.socket.dead() || c.attempt == seam.ErrWouldBlock {
		c.hungry = true
		return 0, seam.ErrWouldBlock
	}
	total := 0
	for c.in.len() > 0 && total < len(p) {
		first := c.in.first()
		k := copy(p[total:], *first)
		total += k
		if *first = (*first)[k:]; len(*first) == 0 {
			c.in.pop()
		}
	}
	if total > 0 {
		c.unread -= total
		buffer := uint64(c.stack.host.net.buffer)
		if !c.dead && !c.over && c.expected+buffer-uint64(c.unread) >= c.offered+buffer/4 {
			c.acknowledge()
		}
		return total, nil
	}
	if err := c.failure("read"); err != nil && !(c.over && !c.unix) {
		return 0, err
	}
	if c.over || c.dead {
		return 0, io.EOF
	}
	c.hungry = true
	return 0, seam.ErrWouldBlock
}

// Write writes what there is room for, as in seam.Conn.
func (c *stream) Write(p []byte) (int, error) {
	if len(p) == 0 && !c.closed {
		return 0, nil
	}
	room, err := c.room("write")
	if err != nil {
		return 0, err
	}
	k := min(room, len(p))
	c.put(p[:k])
	c.blocked = k < len(p)
	c.pump()
	return k, nil
}

// Writev is Write for several buffers, as in seam.Conn.
func (c *stream) Writev(v [][]byte) (int, error) {
	size := 0
	for _, p := range v {
		size += len(p)
	}
	if size == 0 && !c.closed {
		return 0, nil
	}
	room, err := c.room("writev")
	if err != nil {
		return 0, err
	}
	var all []byte
	for _, p := range v {
		all = append(all, p[:min(len(p), room-len(all))]...)
	}
	c.put(all)
	c.blocked = len(all) < size
	c.pump()
	return len(all), nil
}

// room says how many bytes can be written.
func (c *stream) room(call string) (int, error) {
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.socket.dead():
		return 0, seam.ErrWouldBlock
	case c.attempt == seam.ErrWouldBlock:
		c.blocked = true
		return 0, seam.ErrWouldBlock
	}
	if err := c.failure(call); err != nil {
		return 0, err
	}
	if c.dead || c.ended || c.unix && (c.peer.closed || c.peer.removed) {
		return 0, failure(call, syscall.EPIPE)
	}
	room := c.stack.host.net.buffer - c.buffered
	if room <= 0 {
		c.blocked = true
		return 0, seam.ErrWouldBlock
	}
	return room, nil
}

// put appends p to what is to be sent. It keeps a copy.
func (c *stream) put(p []byte) {
	p = slices.Clone(p)
	c.buffered += len(p)
	for len(p) > 0 {
		k := min(len(p), largestSegment)
		c.out = append(c.out, segment{seq: c.next, data: p[:k:k]})
		c.next += uint64(k)
		p = p[k:]
	}
}

// CloseWrite ends the sending half, as in seam.Conn.
func (c *stream) CloseWrite() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.attempt != nil, c.dead:
		return failure("shutdown", syscall.ENOTCONN)
	case c.socket.dead():
		return nil
	}
	c.end()
	return nil
}

func (c *stream) end() {
	if !c.ended {
		c.ended = true
		c.out = append(c.out, segment{seq: c.next, end: true})
		c.next++
		c.pump()
	}
}

// Close closes the connection, as in seam.Conn. If there is something that was not
// read, the peer sees a reset, as on Linux.
func (c *stream) Close() error {
	if c.closed {
		return net.ErrClosed
	}
	c.release()
	switch {
	case c.removed || c.socket.dead():
	case c.attempt == seam.ErrWouldBlock, c.unread > 0:
		c.reset()
	default:
		c.end()
		c.removeIfDone()
	}
	return nil
}

// Reset breaks the connection, as in seam.Conn.
func (c *stream) Reset() error {
	if c.closed {
		return net.ErrClosed
	}
	if c.unix {
		return c.Close()
	}
	c.release()
	if !c.removed && !c.socket.dead() {
		c.reset()
	}
	return nil
}

// release gives the descriptor back.
func (c *stream) release() {
	c.closed = true
	if !c.socket.dead() {
		c.process.give()
	}
	if c.unix && c.local.Path != "" && c.listener == nil {
		if k := c.stack; k.unix[c.local.Path] == any(c) {
			delete(k.unix, c.local.Path) // the file stays, as the kernel leaves it
		}
	}
}

// reset forgets the connection, and tells the other end.
func (c *stream) reset() {
	if peer := c.peer; peer != nil && !c.dead {
		p := c.packet(ResetPacket)
		c.send(p)
	}
	c.dead = true
	c.remove()
}

// LocalAddr returns the address of this end, as in seam.Conn.
func (c *stream) LocalAddr() net.Addr { return netAddr(c.local, c.unix) }

// RemoteAddr returns the address of the other end, as in seam.Conn.
func (c *stream) RemoteAddr() net.Addr { return netAddr(c.remote, c.unix) }

// A probe asks the other end of a stream, which may be gone, whether it is there. Real
// kernels do so all the time; here it happens only when there is a reason, so that a
// network on which nothing can happen any more is silent.
type probe struct {
	timer  timer.Timer[event]
	stream *stream
	missed int
}

// lastProbe is how many probes may stay without an answer.
const lastProbe = 9

// happen sends the next probe.
func (p *probe) happen() {
	c := p.stream
	if c.removed || c.stack.gone || c.peer == nil {
		return
	}
	if c.inFlight > 0 && c.keepAlive > 0 { // that is probe enough
		c.stack.host.net.after(c.keepAlive, &p.timer, p)
		return
	}
	if p.missed >= lastProbe {
		c.refuse(c.peer) // it may hear us
		c.broken(syscall.ETIMEDOUT)
		return
	}
	p.missed++
	c.probe()
	if c.keepAlive > 0 {
		c.stack.host.net.after(c.keepAlive, &p.timer, p)
	}
}

// probe asks the other end for an acknowledgement.
func (c *stream) probe() {
	p := c.packet(ack)
	p.seq, p.window = c.expected, c.offered
	p.probing = true
	c.send(p)
}

// answered notes that the other end is there.
func (c *stream) answered() {
	c.prober.missed = 0
	if !c.prober.timer.Armed() {
		return
	}
	n, there, back := c.stack.host.net, c.stack.host, c.remoteHost()
	if n.link(there, back).clear() && n.link(back, there).clear() {
		n.events.Remove(&c.prober.timer)
	}
}

// suspectAll lets keep-alive begin on the connections that match: their other ends may
// have become unreachable.
func (n *Network) suspectAll(match func(c *stream) bool) {
	n.eachStream(match, func(c *stream) {
		if c.keepAlive > 0 && !c.prober.timer.Armed() {
			c.prober = probe{stream: c}
			n.after(c.keepAlive, &c.prober.timer, &c.prober)
		}
	})
}

// probeAll lets the connections that match find out soon whether their other ends are
// there again, as kernels do that wait for room at the other end.
func (n *Network) probeAll(match func(c *stream) bool) {
	n.eachStream(match, func(c *stream) {
		if len(c.out) > c.inFlight && c.inFlight == 0 {
			n.events.Remove(&c.prober.timer)
			c.prober = probe{stream: c}
			n.after(firstPause, &c.prober.timer, &c.prober)
		}
	})
}

func (n *Network) eachStream(match func(c *stream) bool, do func(c *stream)) {
	for _, h := range n.hosts {
		if h.stack == nil {
			continue
		}
		for _, c := range h.stack.copyOfStreams() {
			if !c.unix && match(c) {
				do(c)
			}
		}
	}
}
