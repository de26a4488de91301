// Package portable is the network of an event loop where descriptors cannot be
// polled: package net and package os do the work, on goroutines that block in
// the loop's place. This file is the part that hands their reports to the loop.
package portable

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

var (
	_ seam.Network = (*Network)(nil)
	_ seam.Adopter = (*Network)(nil)
)

// A Network dials and listens with package net. It and what it makes must be used
// on one goroutine at a time, except for Wake.
type Network struct {
	// Owned by the goroutine that waits.
	timer  *time.Timer // stopped while no Wait is blocked
	looks  uint        // Waits that did not wait
	waited time.Time   // when one of them did, all the same
	spare  []*source   // an empty queue, to be used again
	closed bool

	pending atomic.Bool   // there are reports, or Wake was called
	bell    chan struct{} // has room for one: Wait looks at pending again

	mu      sync.Mutex
	reports []*source
	woken   bool
	ending  map[ender]struct{} // what is closed and still has goroutines
	ended   *sync.Cond         // ending has become smaller
}

// An ender is closed, but goroutines of it go on for a while.
type ender interface {
	// cut ends them now.
	cut()
}

// New returns a Network. It takes nothing of the system.
func New() (*Network, error) {
	n := &Network{
		timer:  time.NewTimer(time.Hour),
		bell:   make(chan struct{}, 1),
		ending: make(map[ender]struct{}),
	}
	n.timer.Stop()
	n.ended = sync.NewCond(&n.mu)
	return n, nil
}

// A source is what has a Handler. What embeds it can report from any goroutine.
type source struct {
	net    *Network
	events atomic.Uint32 // reported, and not delivered yet; it is queued if not zero

	// Owned by the loop.
	handler seam.Handler
	closed  bool // nothing is delivered any more
}

// report tells the Handler of r in the next Wait.
func (s *source) report(r seam.Readiness) {
	if s.events.Or(uint32(r)) != 0 {
		return // it is in the queue
	}
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reports = append(n.reports, s)
	n.ring()
}

// ring ends a Wait. It is called with mu held.
func (n *Network) ring() {
	if n.pending.Swap(true) {
		return
	}
	select {
	case n.bell <- struct{}{}:
	default:
	}
}

// Wait waits for at most d, for ever if d is negative, and calls the Handlers of
// what has been reported, as in seam.Poller. With nothing there and a d of 0 it
// costs a look at one variable.
func (n *Network) Wait(d time.Duration) (bool, error) {
	if n.closed {
		return false, net.ErrClosed
	}
	if !n.pending.Load() {
		if d == 0 && !n.lookAround() || d != 0 && !n.sleep(d) {
			return false, nil
		}
	}
	n.mu.Lock()
	reports := n.reports
	n.reports = n.spare
	found := n.woken
	n.woken = false
	n.pending.Store(false)
	n.mu.Unlock()
	for i, s := range reports {
		reports[i] = nil
		if r := seam.Readiness(s.events.Swap(0)); r != 0 && !s.closed {
			found = true
			s.handler.Ready(r)
		}
	}
	n.spare = reports[:0]
	return found, nil
}

// lookAround is a Wait that does not wait. If there is only one processor it does
// wait now and then, for an instant: a loop that never does keeps the runtime from
// looking at the network, but for once in 10 ms.
func (n *Network) lookAround() bool {
	const often, long, instant = 64, time.Millisecond, 50 * time.Microsecond
	if n.looks++; n.looks%often != 0 || runtime.GOMAXPROCS(0) > 1 {
		return false
	}
	if now := time.Now(); now.Sub(n.waited) < long {
		return false
	}
	found := n.sleep(instant)
	n.waited = time.Now()
	return found
}

// sleep waits until something is pending, for at most d, and says whether it is.
func (n *Network) sleep(d time.Duration) bool {
	var end <-chan time.Time
	if d > 0 {
		n.timer.Reset(d)
		defer n.timer.Stop()
		end = n.timer.C
	}
	for !n.pending.Load() {
		select {
		case <-n.bell: // which may be left from a report that was delivered before
		case <-end:
			return n.pending.Load()
		}
	}
	return true
}

// Wake makes the Wait that is under way, or else the next one, return at once.
func (n *Network) Wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.woken = true
	n.ring()
}

// flushTime is how long Close waits for bytes that closed connections still send.
const flushTime = time.Second

// Close frees the Network. Goroutines of what was closed before, which may still
// send what was written, get a second to end, and are cut off then. What is open
// stays so, with its goroutines.
func (n *Network) Close() error {
	if n.closed {
		return net.ErrClosed
	}
	n.closed = true
	if n.await(flushTime) {
		return nil
	}
	n.mu.Lock()
	var left []ender
	for e := range n.ending {
		left = append(left, e)
	}
	n.mu.Unlock()
	for _, e := range left {
		e.cut()
	}
	n.await(flushTime) // a connection of somebody else's making may do what it likes
	return nil
}

// await waits for at most d until nothing is ending, and says whether that is so.
func (n *Network) await(d time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.ending) == 0 {
		return true
	}
	over := false
	defer time.AfterFunc(d, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		over = true
		n.ended.Broadcast()
	}).Stop()
	for len(n.ending) > 0 && !over {
		n.ended.Wait()
	}
	return len(n.ending) == 0
}

// begin notes that e goes on after its Close.
func (n *Network) begin(e ender) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ending[e] = struct{}{}
}

// end notes that nothing of e is left.
func (n *Network) end(e ender) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.ending, e)
	n.ended.Broadcast()
}
