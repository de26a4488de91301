// This file watches descriptors of others, level-triggered.

package poll

import (
	"errors"
	"net"
	"syscall"

	"github.com/goasyncio/asyncio/internal/seam"
)

var _ seam.Watcher = (*Poller)(nil)

// A mode is how a descriptor is registered with the kernel: edges, or what to
// watch for level-triggered.
type mode uint8

// edges is edge-triggered, for everything. It is none of seam's Readiness.
const edges mode = 1 << 7

// A Watch is the level-triggered registration of one descriptor. It stands
// between the Desc and the Handler, and passes on what was asked for.
type Watch struct {
	desc   Desc
	h      seam.Handler
	wanted seam.Readiness
}

// Watch registers fd for nothing yet, as in seam.Watcher.
//
// Where somebody has closed a descriptor and left its Watch, the kernel has
// forgotten it, and the number may come again. That it can be registered then
// shows that the Watch is outdated.
func (p *Poller) Watch(fd int, h seam.Handler) (seam.Watch, error) {
	w := &Watch{h: h}
	err := p.register(&w.desc, fd, w, 0)
	if errors.Is(err, syscall.EEXIST) {
		return nil, seam.ErrWatched
	}
	if err != nil {
		return nil, err
	}
	p.outdate(fd)
	if p.watches == nil {
		p.watches = make(map[int]*Watch)
	}
	p.watches[fd] = w
	return w, nil
}

// outdate forgets the Watch of a number that has become another descriptor's.
func (p *Poller) outdate(fd int) {
	if w := p.watches[fd]; w != nil {
		delete(p.watches, fd)
		w.desc.forget()
	}
}

// Set says for what to watch, as in seam.Watch. After Close, and if fd has been
// closed and its number was registered again, it returns net.ErrClosed.
func (w *Watch) Set(r seam.Readiness) error {
	d := &w.desc
	if d.p == nil || d.p.closed {
		return net.ErrClosed
	}
	r &= seam.Readable | seam.Writable
	err := d.p.kernel.change(int(d.fd), d.slot, d.gen, mode(r))
	if errors.Is(err, syscall.ENOENT) { // another descriptor has the number
		err = d.p.kernel.add(int(d.fd), d.slot, d.gen, mode(r))
	}
	if err == nil {
		w.wanted = r
	}
	return err
}

// Close ends the reports, as in seam.Watch. A second call does nothing.
func (w *Watch) Close() error {
	d := &w.desc
	if d.p == nil {
		return nil
	}
	delete(d.p.watches, int(d.fd))
	return d.Unregister()
}

// Ready passes on what was asked for. Who waits for one thing is to hear of the
// end of all.
func (w *Watch) Ready(r seam.Readiness) {
	if r &= w.wanted; r != 0 {
		w.h.Ready(r)
	}
}
