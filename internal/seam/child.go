// Child processes: what a loop wants of one, and a tape can stand in for.

package seam

import (
	"os"
	"time"
)

// A Child is a process that a loop has started.
type Child interface {
	// Pid returns its number.
	Pid() int

	// Signal sends a signal to it, or to the group that it leads. Once it is reaped
	// that is os.ErrProcessDone.
	Signal(sig os.Signal, group bool) error

	// Watch tells h Readable, from inside the Wait of n, when it has exited, and again
	// until stop is called, which has to be before Reap. stop is nil if n or the
	// system cannot do that.
	Watch(n Network, h Handler) (stop func())

	// Await reaps it on another goroutine, and calls tell there.
	Await(tell func())

	// Exits blocks until it has exited, for at most d, and reports whether it has. It
	// comes after stop.
	Exits(d time.Duration) bool

	// Reap returns how it has exited, which has been told by one of the three above.
	Reap() (*os.ProcessState, error)
}
