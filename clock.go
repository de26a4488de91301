// The wall clock.

package asyncio

import "time"

// wallClock is the real clock behind the clock seam: waiting is a poll that blocks.
type wallClock struct{ start time.Time }

func newWallClock() *wallClock { return &wallClock{start: time.Now()} }

func (c *wallClock) Now() time.Duration { return time.Since(c.start) }

func (c *wallClock) Wall() time.Time { return time.Now() }

func (c *wallClock) Wait(d time.Duration, _ bool, poll func(time.Duration) (bool, error)) error {
	_, err := poll(d)
	return err
}
