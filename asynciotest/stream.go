// Streams of the simulated network: what TCP does, as far as programs can see it.

package asynciotest

import (
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
