// Links: how long a packet takes, and whether it arrives.

package asynciotest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/timer"
)

// A Distribution draws a random time.
type Distribution func(r *rand.Rand) time.Duration

// Fixed is always d. It panics if d is negative.
func Fixed(d time.Duration) Distribution {
	if d < 0 {
		panic(fmt.Sprintf("asynciotest: Fixed(%v): the time must not be negative", d))
	}
	return func(*rand.Rand) time.Duration { return d }
}

// Uniform is anything from low to high, each as likely as the other. It panics if low is
// negative, or above high.
func Uniform(low, high time.Duration) Distribution {
	if low < 0 || high < low {
		panic(fmt.Sprintf("asynciotest: Uniform(%v, %v): the times must not be negative, and the lower one comes first", low, high))
	}
	return func(r *rand.Rand) time.Duration {
		if high == low {
			return low
		}
		return low + time.Duration(r.Int64N(int64(high-low)+1))
	}
}

// Normal is the normal distribution, without what is below zero. It panics if mean or
// deviation is negative.
func Normal(mean, deviation time.Duration) Distribution {
	if mean < 0 || deviation < 0 {
		panic(fmt.Sprintf("asynciotest: Normal(%v, %v): the times must not be negative", mean, deviation))
	}
	return func(r *rand.Rand) time.Duration {
		return max(0, mean+time.Duration(r.NormFloat64()*float64(deviation)))
	}
}

// LongTail is a log-normal distribution: half of all times are below median, and one in
// a hundred is above tail. It is how long servers and networks take that are mostly fast.
// It panics if median is negative, or above tail.
func LongTail(median, tail time.Duration) Distribution {
	if median < 0 || tail < median {
		panic(fmt.Sprintf("asynciotest: LongTail(%v, %v): the times must not be negative, and the tail is above the median", median, tail))
	}
	sigma := math.Log(float64(max(tail, median, 1))/float64(max(median, 1))) / 2.326
	return func(r *rand.Rand) time.Duration {
		return time.Duration(float64(median) * math.Exp(sigma*r.NormFloat64()))
	}
}

// A Link is what the way from one host to another is like, in that direction. The zero
// value takes no time and loses nothing.
type Link struct {
	// Latency is how long a packet is on its way. Packets of one connection, and
	// datagrams of one link, do not overtake each other whatever it draws. Nil: no time.
	Latency Distribution

	// Bandwidth is how many bytes a second go through; any number if 0.
	Bandwidth int64

	// Loss is how likely it is that a packet of 1,460 bytes is lost, from 0 to 1. A
	// datagram, or a first packet of a connection, is gone; what a connection carries is
	// sent again, and so arrives 200 ms later, or more.
	Loss float64

	// Duplication is how likely it is that a datagram arrives twice.
	Duplication float64

	// Reordering is how likely it is that a datagram is overtaken by others: it takes
	// up to four more latencies, and 1 ms at least.
	Reordering float64
}

// checked returns l; it panics if there is something wrong with it.
func (l Link) checked() Link {
	for _, p := range [...]float64{l.Loss, l.Duplication, l.Reordering} {
		if !(p >= 0 && p <= 1) {
			panic(fmt.Sprintf("asynciotest: a probability of %v", p))
		}
	}
	if l.Loss == 1 {
		panic("asynciotest: a loss of 1; Cut the link instead")
	}
	if l.Bandwidth < 0 {
		panic(fmt.Sprintf("asynciotest: a bandwidth of %d", l.Bandwidth))
	}
	return l
}

// A link is the state of a direction.
type link struct {
	Link
	cut    bool
	held   bool
	kept   []*packet     // those that are held
	free   time.Duration // when the last packet will have been sent
	latest time.Duration // when the last datagram arrives that keeps its place
}

// clear reports whether packets get through.
func (l *link) clear() bool { return !l.cut && !l.held }

// check panics if one of the hosts that were given to the method op is none of n's, or if
// that is called on another goroutine.
func (n *Network) check(op string, hosts ...*Host) {
	n.here("Network." + op)
	for _, h := range hosts {
		switch {
		case h == nil:
			panic(fmt.Sprintf("asynciotest: %s: the host is nil", op))
		case h.net != n:
			panic(fmt.Sprintf("asynciotest: %s: host %v belongs to another network", op, h))
		}
	}
}

// between matches the connections of two hosts.
func between(a, b *Host) func(c *stream) bool {
	return func(c *stream) bool { return c.across(a, b) || c.across(b, a) }
}

// link returns the state of the direction between two hosts.
func (n *Network) link(from, to *Host) *link {
	for len(n.links) < len(n.hosts) {
		n.links = append(n.links, nil)
	}
	if to.id >= len(n.links[from.id]) {
		n.links[from.id] = append(n.links[from.id], make([]*link, len(n.hosts)-len(n.links[from.id]))...)
	}
	l := n.links[from.id][to.id]
	if l == nil {
		l = new(link)
		if from != to {
			l.Link = n.standard
		}
		n.links[from.id][to.id] = l
	}
	return l
}

// SetLink changes the link from one host to another, in this direction, for the
// packets that are sent from now on. from and to may be the same host, whose packets
// to itself otherwise take no time.
func (n *Network) SetLink(from, to *Host, l Link) {
	n.check("SetLink", from, to)
	n.link(from, to).Link = l.checked()
	if n.running {
		n.record(LogEntry{Kind: LinkChanged, From: from, To: to})
	}
}

// SetLinks changes the links between all different hosts, those that are made later
// among them.
func (n *Network) SetLinks(l Link) {
	n.here("Network.SetLinks")
	n.standard = l.checked()
	for _, from := range n.hosts {
		for _, to := range n.hosts {
			if from != to {
				n.link(from, to).Link = n.standard
			}
		}
	}
	if n.running {
		n.record(LogEntry{Kind: LinkChanged, From: n.outside, Text: "all links are changed"})
	}
}

// Cut lets no packet through from one host to the other, in this direction, from now
// on: what is on its way is lost, too. The programs are told nothing. What connections
// carry is sent again, at intervals that double from 200 ms, or more if the link is
// slow, to 2 minutes, until the link is healed, or until the connection fails after 15
// attempts with syscall.ETIMEDOUT. One on which nothing is to be sent fails by its
// keep-alive, after 150 s by default.
func (n *Network) Cut(from, to *Host) {
	n.check("Cut", from, to)
	l := n.link(from, to)
	if l.cut {
		return
	}
	l.cut = true
	n.record(LogEntry{Kind: LinkCut, From: from, To: to})
	n.suspectAll(between(from, to))
}

// Heal ends a Cut.
func (n *Network) Heal(from, to *Host) {
	n.check("Heal", from, to)
	l := n.link(from, to)
	if !l.cut {
		return
	}
	l.cut = false
	n.record(LogEntry{Kind: LinkHealed, From: from, To: to})
	n.probeAll(between(from, to))
	n.suspectAll(between(from, to))
}

// Partition cuts all links between hosts of different groups, both ways. Hosts that
// are in no group keep their links.
func (n *Network) Partition(groups ...[]*Host) {
	n.check("Partition")
	for _, g := range groups {
		n.check("Partition", g...)
	}
	for i, a := range groups {
		for j, b := range groups {
			if i == j {
				continue
			}
			for _, from := range a {
				for _, to := range b {
					n.Cut(from, to)
				}
			}
		}
	}
}

// HealAll ends every Cut and Partition.
func (n *Network) HealAll() {
	n.check("HealAll")
	for _, from := range n.hosts {
		for _, to := range n.hosts {
			n.Heal(from, to)
		}
	}
}

// Hold keeps back the packets that arrive from one host at the other, in this
// direction, until Release. Nothing is lost; but kernels lose their patience with what
// does not answer for minutes, as with Cut.
func (n *Network) Hold(from, to *Host) {
	n.check("Hold", from, to)
	l := n.link(from, to)
	if !l.held {
		l.held = true
		n.record(LogEntry{Kind: LinkHeld, From: from, To: to})
		n.suspectAll(between(from, to))
	}
}

// Release lets the packets that Hold has kept back arrive now, in order.
func (n *Network) Release(from, to *Host) {
	n.check("Release", from, to)
	l := n.link(from, to)
	if !l.held {
		return
	}
	l.held = false
	n.record(LogEntry{Kind: LinkReleased, From: from, To: to})
	kept := l.kept
	l.kept = nil
	for _, p := range kept {
		n.after(0, &p.timer, p)
	}
}

// Reset breaks all connections between two hosts: both ends see a reset.
func (n *Network) Reset(a, b *Host) {
	n.check("Reset", a, b)
	n.record(LogEntry{Kind: ConnectionsReset, From: a, To: b})
	for _, h := range [...]*Host{a, b} {
		if h.stack == nil {
			continue
		}
		for _, c := range h.stack.copyOfStreams() {
			if !c.unix && (c.across(a, b) || c.across(b, a)) {
				c.broken(syscallReset)
			}
		}
	}
}

// Forget makes a lose its ends of all connections with b, as if something between them
// had forgotten them. The program on a sees a reset; b is told nothing, until it sends
// something, which a answers with a reset.
func (n *Network) Forget(a, b *Host) {
	n.check("Forget", a, b)
	n.record(LogEntry{Kind: ConnectionsForgotten, From: a, To: b})
	if a.stack == nil {
		return
	}
	for _, c := range a.stack.copyOfStreams() {
		if !c.unix && c.across(a, b) {
			c.broken(syscallReset)
		}
	}
	n.suspectAll(func(c *stream) bool { return c.across(b, a) })
}

// A packet is something on its way from one host to another.
type packet struct {
	timer    timer.Timer[event]
	net      *Network
	from, to *Host
	kind     LogKind
	sender   *stream // whose packets must not overtake each other; nil for a datagram
	stream   *stream // the end that it is for; of a first packet, the end that dials
	server   *stream // of the answer to a first packet
	seq      uint64
	window   uint64 // of an acknowledgement: up to where the other end may send
	data     []byte
	end      bool // no more data comes after it
	probing  bool // it asks for an acknowledgement
	socket   *packetConn
	src, dst seam.Addr
	sent     time.Duration
}

// packet returns an empty packet.
func (n *Network) packet() *packet {
	if k := len(n.packets); k > 0 {
		p := n.packets[k-1]
		n.packets = n.packets[:k-1]
		return p
	}
	return &packet{net: n}
}

func (n *Network) recycle(p *packet) {
	*p = packet{net: n}
	n.packets = append(n.packets, p)
}

const (
	fullPacket             = 1460 // bytes, to which Loss refers
	headers                = 40   // bytes of each packet, on a link with a bandwidth
	shortestRetransmission = 200 * time.Millisecond
	longestRetransmission  = 120 * time.Second
)

// size returns how many bytes of the user's are in the packet.
func (p *packet) size() int { return len(p.data) }

// send puts a packet on its way. It belongs to the network from then on.
func (n *Network) send(p *packet) {
	l := n.link(p.from, p.to)
	p.sent = n.Now()
	n.note(p.kind, p.from, p.to, p.size())
	if l.cut {
		n.lose(p)
		return
	}
	at := n.Now()
	if l.Bandwidth > 0 {
		l.free = later(max(l.free, at), time.Duration(float64(p.size()+headers)/float64(l.Bandwidth)*float64(time.Second)))
		at = l.free
	}
	if l.Latency != nil {
		at = later(at, l.Latency(n.rand))
	}
	lost := l.Loss > 0 && n.rand.Float64() < 1-math.Pow(1-l.Loss, float64(1+p.size()/fullPacket))
	switch {
	case p.kind == DatagramPacket:
		if lost {
			n.lose(p)
			return
		}
		n.sendDatagram(l, p, at)
		return
	case lost && (p.kind == ConnectPacket || p.kind == RefusePacket):
		n.lose(p)
		return
	case lost && p.kind != ack:
		for pause := shortestRetransmission; lost; pause *= 2 {
			at = later(at, min(pause, longestRetransmission))
			lost = n.rand.Float64() < l.Loss
		}
		p.note(PacketResent)
	}
	if p.sender != nil {
		p.sender.latest = max(p.sender.latest, at)
		at = p.sender.latest
	}
	n.after(at-n.Now(), &p.timer, p)
}

func (n *Network) sendDatagram(l *link, p *packet, at time.Duration) {
	copies := 1
	if l.Duplication > 0 && n.rand.Float64() < l.Duplication {
		copies = 2
	}
	for i := range copies {
		q, due := p, at
		if i > 0 {
			q = n.packet()
			*q = *p
			q.timer = timer.Timer[event]{}
			q.note(PacketDuplicated)
		}
		if l.Reordering > 0 && n.rand.Float64() < l.Reordering {
			due = later(due, time.Millisecond)
			for range 1 + n.rand.IntN(4) {
				if l.Latency != nil {
					due = later(due, l.Latency(n.rand))
				}
			}
		} else {
			l.latest = max(l.latest, due)
			due = l.latest
		}
		n.after(due-n.Now(), &q.timer, q)
	}
}

// lose is the end of a packet that does not arrive.
func (n *Network) lose(p *packet) {
	p.note(PacketLost)
	n.recycle(p)
}

// note records what becomes of a packet, unless it has no place in the log.
func (p *packet) note(what LogKind) {
	if p.kind == ack || p.net.logLimit == 0 {
		p.net.note(what, p.from, p.to, p.size())
		return
	}
	p.net.record(LogEntry{Kind: what, Of: p.kind, From: p.from, To: p.to, Size: p.size(), SourcePort: p.src.AddrPort.Port(), Port: p.dst.AddrPort.Port(), Sent: p.sent})
}

// happen is the arrival of the packet.
func (p *packet) happen() {
	n := p.net
	l := n.link(p.from, p.to)
	switch {
	case l.cut:
		n.lose(p)
		return
	case l.held:
		l.kept = append(l.kept, p)
		return
	case p.to.stack == nil:
		n.lose(p)
		return
	}
	p.note(PacketArrived)
	p.to.stack.receive(p)
	n.recycle(p)
}
