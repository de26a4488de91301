// The order of the ready queue, when it is not first come, first served: what an
// Order gets to know of what it chooses from.

package asyncio

import (
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// awaits tells the loop's Order that t begins a call that may suspend it.
func (t *task) awaits() {
	if w, ok := t.loop.order.(seam.Witness); ok {
		w.Awaits(t.self)
	}
}

// suspends tells the loop's Order that t is about to be suspended.
func (t *task) suspends() {
	if w, ok := t.loop.order.(seam.Witness); ok {
		w.Suspends(t.self)
	}
}

// choice is a loop as what its Order chooses from.
type choice EventLoop

func (c *choice) Len() int { return c.ready.count }

func (c *choice) Pass() int { return c.batch }

func (c *choice) Now() time.Duration { return c.clock.Now() }

func (c *choice) At(i int) seam.Callback {
	switch r := c.ready.at(i).(type) {
	case *task:
		return seam.Callback{Kind: seam.Step, Subject: r.self, Lane: r}
	case *alarmClock:
		t := (*task)(r)
		return seam.Callback{Kind: seam.Alarm, Subject: t.self, Lane: t, When: t.alarm.When}
	case *Handle:
		return seam.Callback{Kind: seam.Handle, Subject: r, Lane: seam.Handle}
	case *TimerHandle:
		return seam.Callback{Kind: seam.Timer, Subject: r, Lane: seam.Timer, When: r.When()}
	case *doneCallback:
		return seam.Callback{Kind: seam.Done, Subject: r.future.self, Lane: r.future}
	case selfDescribed:
		return r.callback()
	case laned:
		return seam.Callback{Kind: seam.Event, Subject: r, Lane: r.lane()}
	default:
		return seam.Callback{Kind: seam.Event, Subject: r, Lane: r}
	}
}

// A selfDescribed callback says what an Order gets to know of it.
type selfDescribed interface{ callback() seam.Callback }

// A laned callback must not overtake others of its lane.
type laned interface{ lane() any }
