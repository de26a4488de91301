// The order of the ready queue, when it is not first come, first served: what an
// Order gets to know of what it chooses from.

package asyncio

import (
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// choice is a loop as what its Order chooses from.
type choice EventLoop

func (c *choice) Len() int { return c.ready.count }

func (c *choice) Pass() int { return c.batch }

func (c *choice) Now() time.Duration { return c.clock.Now() }

func (c *choice) At(i int) seam.Callback {
	switch r := c.ready.at(i).(type) {
	case interface{ callback() seam.Callback }:
		return r.callback()
	case interface{ lane() any }: // it must not overtake others of its lane
		return seam.Callback{Kind: seam.Event, Subject: r, Lane: r.lane()}
	default:
		return seam.Callback{Kind: seam.Event, Subject: r, Lane: r}
	}
}
