// Whether the other end of a simulated stream is still there.

package asynciotest

import (
	"syscall"

	"github.com/goasyncio/asyncio/internal/timer"
)

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
