// Handles: callbacks that wait to run, at once or at their time.

package asyncio

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/timer"
)

// Handle is a callback that waits to run (asyncio.Handle).
type Handle struct {
	loop      *EventLoop
	fn        func()
	createdAt *site
	cancelled atomic.Bool
}

// Cancel keeps the callback from running, if it has not begun. Any goroutine may
// call it; on the loop's goroutine it is certain.
func (h *Handle) Cancel() { h.cancelled.Store(true) }

// Cancelled reports whether Cancel was called.
func (h *Handle) Cancelled() bool { return h.cancelled.Load() }

func (h *Handle) String() string {
	state := ""
	if h.Cancelled() {
		state = " cancelled"
	}
	return fmt.Sprintf("<Handle%s %s>", state, placeOf(h.fn))
}

func (h *Handle) handle() *Handle { return h }

func (h *Handle) run() {
	if !h.cancelled.Load() {
		h.fn()
	}
}

func (h *Handle) callback() seam.Callback {
	return seam.Callback{Kind: seam.Handle, Subject: h, Lane: seam.Handle}
}

// TimerHandle is a callback that waits for its time (asyncio.TimerHandle).
type TimerHandle struct {
	Handle
	timer timer.Timer[runnable]
}

// When is the loop time at which the callback is due.
func (h *TimerHandle) When() time.Duration { return h.timer.When }

// Cancel keeps the callback from running, if it has not begun, and frees the
// timer at once. Only the loop's goroutine may call it.
func (h *TimerHandle) Cancel() {
	h.Handle.Cancel()
	h.loop.timers.Remove(&h.timer)
}

func (h *TimerHandle) run() { h.Handle.run() }

func (h *TimerHandle) callback() seam.Callback {
	return seam.Callback{Kind: seam.Timer, Subject: h, Lane: seam.Timer, When: h.When()}
}
