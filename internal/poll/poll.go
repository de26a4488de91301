// Package poll says which descriptors are ready. It knows neither bytes nor
// tasks. This file is the part that does not depend on the system: the table of
// registered descriptors, the hand-out of events, and waking.
package poll

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

var _ seam.Poller = (*Poller)(nil)

// A Poller waits for the readiness of descriptors, edge-triggered: what becomes
// possible is reported once. Except for Wake, its methods and those of its
// Descs must be called on one goroutine at a time.
//
// The state tells Wake what a goroutine that waits would notice:
//
//	running  no Wait is blocked in the kernel. Wake sets woken, which the next
//	         (or the present) Wait looks at before it blocks: no system call.
//	asleep   a Wait blocks, or is about to. Wake sets woken and writes to the
//	         kernel's wake-up descriptor.
//	woken    somebody has called Wake, and no Wait has returned since. Further
//	         calls have nothing to do.
//
// Wait alone goes from running to asleep, and from any state back to running.
// If it returns for another reason between the two steps of a Wake, the late
// write ends the next Wait early: that is harmless.
type Poller struct {
	// Owned by the goroutine that waits.
	kernel kernel
	descs  []*Desc // by slot; nil if the slot is free
	free   []int32 // free slots
	gen    uint32  // generation of the latest Desc

	watches map[int]*Watch // by descriptor

	state atomic.Uint32

	mu     sync.Mutex // held while the wake-up descriptor is used or closed
	closed bool       // written with mu held, by the goroutine that waits
}

const (
	running = iota
	asleep
	woken
)

// A Desc is the registration of one descriptor. The zero value is none. It must not
// be copied while it is registered.
type Desc struct {
	p    *Poller // nil while it is not registered
	h    seam.Handler
	fd   int32
	slot int32
	gen  uint32 // tells it from earlier users of the same slot
	seen seam.Readiness
}

// Urgent is one Readiness more, which Desc.Seen knows and Handlers do not: there is
// urgent data, before which a read stops.
const Urgent seam.Readiness = 1 << 7

// Registered reports whether d is registered, even if the Poller is closed.
func (d *Desc) Registered() bool { return d.p != nil }

// Seen returns all that was ever reported.
func (d *Desc) Seen() seam.Readiness { return d.seen }

// New returns a Poller. On a system that has none, the error is an
// errors.ErrUnsupported.
func New() (*Poller, error) {
	p := new(Poller)
	if err := p.kernel.open(); err != nil {
		return nil, err
	}
	return p, nil
}

// Register starts to report what fd is ready for to h, beginning with what it
// is ready for now. A descriptor can be registered once. The registration is d, which
// must not be one already: it is a part of whatever has the descriptor.
//
// Whoever closes fd must call Unregister before.
func (p *Poller) Register(d *Desc, fd int, h seam.Handler) error {
	err := p.register(d, fd, h, edges)
	if err == nil {
		p.outdate(fd)
	}
	return err
}

func (p *Poller) register(d *Desc, fd int, h seam.Handler, m mode) error {
	if p.closed {
		return net.ErrClosed
	}
	var slot int32
	if n := len(p.free); n > 0 {
		slot = p.free[n-1]
		p.free = p.free[:n-1]
	} else {
		slot = int32(len(p.descs))
		p.descs = append(p.descs, nil)
	}
	p.gen++
	if err := p.kernel.add(fd, slot, p.gen, m); err != nil {
		p.free = append(p.free, slot)
		return err
	}
	*d = Desc{p: p, h: h, fd: int32(fd), slot: slot, gen: p.gen}
	p.descs[slot] = d
	return nil
}

// Unregister ends the reports: from now on the Handler gets none, not even of
// an event that the kernel has handed out already. A second call does nothing,
// nor does one after the Poller's Close, when reports have ended anyway.
func (d *Desc) Unregister() error {
	p := d.p
	if p == nil {
		return nil
	}
	d.forget()
	if p.closed {
		return nil
	}
	return p.kernel.remove(int(d.fd))
}

// forget gives the slot free. The kernel is told nothing.
func (d *Desc) forget() {
	p := d.p
	d.p, d.h = nil, nil
	p.descs[d.slot] = nil
	p.free = append(p.free, d.slot)
}

// Wait polls for at most d, for ever if d is negative, and calls the Handlers
// of what is ready. It reports whether there was any or Wake was called. It may
// return early with neither, for instance because of a signal; it never reports
// the end of d early. Handlers may register and unregister; they must not Wait.
// The order in which they are called is the kernel's, and not promised.
func (p *Poller) Wait(d time.Duration) (bool, error) {
	if p.closed {
		return false, net.ErrClosed
	}
	n, err := p.kernel.poll()
	if n == 0 && err == nil && d != 0 {
		d = letOthersRun(d)
		if p.state.CompareAndSwap(running, asleep) {
			n, err = p.kernel.block(d)
		}
	}
	found := p.state.Swap(running) == woken
	for i := range n {
		slot, gen, r := p.kernel.event(i)
		if slot == wakeSlot {
			continue // the state has told it
		}
		// An event whose Desc is gone, or was replaced by another one since the
		// kernel handed it out, is nobody's.
		if desc := p.descs[slot]; desc != nil && desc.gen == gen {
			found = true
			desc.seen |= r
			desc.h.Ready(r &^ Urgent)
		}
	}
	p.kernel.done(n)
	return found, err
}

// letOthersRun gives way to other goroutines, if they cannot run on another
// processor, and returns what is left of d.
//
// A thread that blocks in a system call keeps its processor until the runtime's
// monitor takes it away. When it is the only one, a goroutine that the caller
// has just woken waits for that: its answer came after 160 µs instead of 25. When
// no goroutine is ready it costs a thread that is locked to its goroutine
// 13 µs, at a time when it has nothing to do. Should one of them call Wake, that
// costs no system call, nor does the Wait.
func letOthersRun(d time.Duration) time.Duration {
	if runtime.GOMAXPROCS(0) > 1 {
		return d
	}
	start := time.Now()
	runtime.Gosched()
	if d > 0 {
		d = max(0, d-time.Since(start))
	}
	return d
}

// wakeSlot is the slot in events of the wake-up descriptor.
const wakeSlot = -1

// Wake makes the Wait that is under way, or else the next one, return at once.
// Any goroutine may call it at any time, also after Close, when it does nothing.
// Of many calls before the return of one Wait, at most one costs a system call.
func (p *Poller) Wake() {
	if p.state.Swap(woken) != asleep {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed { // else the number may belong to somebody else by now
		p.kernel.wake()
	}
}

// Close frees the Poller. What is registered stays open, but is no longer
// reported. A second Close returns net.ErrClosed.
func (p *Poller) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	p.closed = true
	return p.kernel.close()
}
