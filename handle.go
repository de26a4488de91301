// Handles: callbacks that wait to run, at once or at their time.

package asyncio

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/timer"
)

// Handle is a callback that waits to run (asyncio.Handle). It is a small value,
// to be copied; the zero Handle is that of no callback.
type Handle struct {
	of   cancellable // nil for none
	turn uint64      // of a soon; else 0
}

// cancellable is what a Handle is of: a call or a soon.
type cancellable interface {
	cancel(turn uint64)
	cancelled(turn uint64) bool
	describe(turn uint64) string
}

// Cancel keeps the callback from running, if it has not begun. Any goroutine may
// call it; on the loop's goroutine it is certain.
func (h Handle) Cancel() {
	if h.of != nil {
		h.of.cancel(h.turn)
	}
}

// Cancelled reports whether Cancel was called. Any goroutine may call it.
func (h Handle) Cancelled() bool { return h.of != nil && h.of.cancelled(h.turn) }

// String shows the function, and whether it was cancelled. The function of a CallSoon
// is forgotten when it has run, unless in debug mode; and only the loop's goroutine may
// ask for it.
func (h Handle) String() string {
	if h.of == nil {
		return "<Handle>"
	}
	return h.of.describe(h.turn)
}

func describeHandle(cancelled bool, what string) string {
	if cancelled {
		what = "cancelled " + what
	}
	return "<Handle " + what + ">"
}

// A call is a callback whose memory is its own. It may be queued any number of times.
type call struct {
	fn        func()
	createdAt *site // in debug mode
	stopped   atomic.Bool
}

func (c *call) cancel(uint64)         { c.stopped.Store(true) }
func (c *call) cancelled(uint64) bool { return c.stopped.Load() }

func (c *call) describe(uint64) string { return describeHandle(c.cancelled(0), placeOf(c.fn).String()) }

func (c *call) handle() Handle                 { return Handle{of: c} }
func (c *call) String() string                 { return c.describe(0) }
func (c *call) culprit() (fmt.Stringer, *site) { return c.handle(), c.createdAt }

func (c *call) run() {
	if !c.stopped.Load() {
		c.fn()
	}
}

func (c *call) callback() seam.Callback {
	return seam.Callback{Kind: seam.Handle, Subject: c.handle(), Lane: seam.Handle}
}

// A soon is a callback of CallSoon. When it has had its turn it waits in the loop for
// the next one: programs that are made of callbacks would spend half of their time on
// allocating them. By the number of the turn a Handle knows that it is not meant.
//
// If it was ever cancelled, in whatever turn, there is no next one. So Cancelled stays
// true, and other goroutines can cancel without a lock.
type soon struct {
	loop    *EventLoop
	fn      func()
	turn    uint64
	cancels atomic.Pointer[cancelledTurn] // nil for most
	next    *soon                         // in loop.soons
}

// A cancelledTurn is a turn that was cancelled, and those that were cancelled before.
type cancelledTurn struct {
	turn   uint64
	before *cancelledTurn
}

func (s *soon) cancel(turn uint64) {
	for !s.cancelled(turn) {
		before := s.cancels.Load()
		if s.cancels.CompareAndSwap(before, &cancelledTurn{turn, before}) {
			return
		}
	}
}

func (s *soon) cancelled(turn uint64) bool {
	for c := s.cancels.Load(); c != nil; c = c.before {
		if c.turn == turn {
			return true
		}
	}
	return false
}

func (s *soon) describe(turn uint64) string {
	what := "done"
	if turn == s.turn {
		what = placeOf(s.fn).String()
	}
	return describeHandle(s.cancelled(turn), what)
}

func (s *soon) handle() Handle                 { return Handle{s, s.turn} }
func (s *soon) String() string                 { return s.describe(s.turn) }
func (s *soon) culprit() (fmt.Stringer, *site) { return s.handle(), nil }

func (s *soon) callback() seam.Callback {
	return seam.Callback{Kind: seam.Handle, Subject: s.handle(), Lane: seam.Handle}
}

func (s *soon) run() {
	if s.cancelled(s.turn) {
		return
	}
	s.fn()
	if l := s.loop; s.cancels.Load() == nil && l.soonCount < mostSoons {
		s.fn = nil
		s.turn++
		s.next, l.soons = l.soons, s
		l.soonCount++
	}
}

// mostSoons is how many wait in a loop: 48 KB.
const mostSoons = 1024

// newSoon returns a soon for its first turn, or its next.
func (l *EventLoop) newSoon(fn func()) *soon {
	s := l.soons
	if s == nil {
		return &soon{loop: l, fn: fn}
	}
	l.soons = s.next
	l.soonCount--
	s.fn, s.next = fn, nil
	return s
}

// TimerHandle is a callback that waits for its time (asyncio.TimerHandle).
type TimerHandle struct {
	call  call
	loop  *EventLoop
	timer timer.Timer[runnable]
}

// When returns the loop's time at which the callback is due, Forever if it never is
// (TimerHandle.when).
func (h *TimerHandle) When() time.Duration { return h.timer.When }

// Cancel keeps the callback from running, if it has not begun, and frees the timer at
// once. On a goroutine that must not use the loop it panics with a *UsageError.
func (h *TimerHandle) Cancel() {
	h.loop.checkMine("TimerHandle.Cancel")
	h.call.stopped.Store(true)
	h.loop.timers.Remove(&h.timer)
}

// Cancelled reports whether Cancel was called. Any goroutine may call it.
func (h *TimerHandle) Cancelled() bool { return h.call.stopped.Load() }

// String shows the function, and whether it was cancelled.
func (h *TimerHandle) String() string { return h.call.String() }

func (h *TimerHandle) run() { h.call.run() }

func (h *TimerHandle) culprit() (fmt.Stringer, *site) { return h, h.call.createdAt }

func (h *TimerHandle) callback() seam.Callback {
	return seam.Callback{Kind: seam.Timer, Subject: h, Lane: seam.Timer, When: h.When()}
}
