// The virtual clock: how a loop waits without time going by.

package asynciotest

import (
	"sync/atomic"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
)

// WithVirtualClock gives a loop a clock of its own. It stands still while the
// program runs, and jumps straight to the next timer when nothing is ready to run:
// an hour's Sleep takes no time, and is over after exactly an hour.
//
// The loop's Time starts at zero and its time of day at midnight on 1 January
// 2000, UTC; the deadlines of contexts are on that day too. When nothing is ready
// and no timer is left, nothing can ever happen any more, and the run ends with
// asyncio.ErrDeadlock.
//
// While something outside the loop is under way that may wake it (a function run
// by ToThread, a wait for a real network or for a context of package context), the
// clock keeps pace with the wall clock, so that the other side gets the time that
// it needs. A goroutine that is going to call CallSoonThreadsafe or
// RunCoroutineThreadsafe is unknown to the loop, and the clock does not wait for it.
//
// A run that goes beyond one of the limits ends with ErrEndless; there are none by default.
// It panics if one is nil.
func WithVirtualClock(limit ...LimitOption) asyncio.LoopOption {
	var all limits
	for _, o := range limit {
		if o == nil {
			panic("asynciotest: WithVirtualClock: a limit is nil")
		}
		o.applyLimits(&all)
	}
	return seam.LoopOption(seam.Seams{
		NewClock: func() seam.Clock { return &virtualClock{limits: all} },
	}).(asyncio.LoopOption)
}

// epoch is the time of day at which a virtual clock starts.
var epoch = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)

// virtualClock moves in Wait only, on the loop's thread; any goroutine may read it.
type virtualClock struct {
	now    atomic.Int64 // a time.Duration
	idle   idleQueue
	limits limits
	passes int
}

func (c *virtualClock) whenIdle(fire func()) { c.idle.add(fire) }

func (c *virtualClock) Now() time.Duration { return time.Duration(c.now.Load()) }

func (c *virtualClock) Wall() time.Time { return epoch.Add(c.Now()) }

func (c *virtualClock) advance(d time.Duration) { c.now.Add(int64(d)) }

// Pass says whether the run may go on.
func (c *virtualClock) Pass(n int, d time.Duration) error {
	c.passes += n
	return c.limits.exceeded(c.passes, later(c.Now(), d))
}

func (c *virtualClock) Wait(d time.Duration, external bool, poll func(time.Duration) (bool, error)) error {
	if external && c.idle.empty() {
		return c.waitOutside(d, poll)
	}
	woken, err := poll(0) // what has arrived already comes before what is due later
	switch {
	case woken || err != nil:
		return err
	case d != 0 && c.idle.serve():
		return nil
	case d < 0:
		return seam.ErrIdle
	}
	c.advance(d)
	return nil
}

// waitOutside waits in earnest: as much time passes as on the wall clock.
func (c *virtualClock) waitOutside(d time.Duration, poll func(time.Duration) (bool, error)) error {
	start := time.Now()
	_, err := poll(d)
	passed := time.Since(start)
	if d >= 0 {
		passed = min(passed, d) // the next timer is not late only because the poll was
	}
	c.advance(passed)
	return err
}
