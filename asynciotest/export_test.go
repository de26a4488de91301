// What the tests see of the simulated network: its sockets without a loop; and how long
// shrinking may take, where the machine is slow.

package asynciotest

import (
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// Wire returns the network of a program on h that nobody runs.
func (h *Host) Wire() seam.Network {
	return (*wire)(&process{program: &Program{host: h}, net: h.net, stack: h.stack})
}

// HappenUntil lets the events of the network happen that are due at a time.
func (n *Network) HappenUntil(at time.Duration) {
	for t := n.events.First(); t != nil && t.When <= at; t = n.events.First() {
		n.happen(t)
	}
	n.now.Store(int64(max(at, n.Now())))
}

// HasFile reports whether there is a file of a Unix socket on h.
func (h *Host) HasFile(path string) bool { return h.files[path] }

// SetShrinkTime sets how long shrinking may take.
func SetShrinkTime(d time.Duration) { shrinkTime = d }
