// Clocks that a test moves, and clocks that run faster or slower.

package asynciotest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
)

// A ManualClock is a clock of one loop that stands still until a task of the loop
// moves it. Like a virtual clock it begins at midnight on 1 January 2000, UTC, which
// is the loop's Time zero. When nothing is ready and nobody moves it, and nothing
// outside can wake the loop, the run ends with asyncio.ErrDeadlock, even though there
// are timers. The zero value is ready for use.
type ManualClock struct {
	now    atomic.Int64 // a time.Duration
	used   atomic.Bool
	idle   idleQueue
	moving *movement
}

// A movement is an Advance or a Step under way.
type movement struct {
	to      time.Duration
	toTimer bool // to wherever the next timer is
	moved   bool
	done    *asyncio.Future[bool]
}

// ErrClockMoves is the error of Advance and Step while another task moves the clock.
var ErrClockMoves = errors.New("asynciotest: another task is moving the clock")

// WithManualClock gives a loop a clock that c moves. Making a loop panics if c was given
// to another one; WithManualClock itself panics if c is nil.
func WithManualClock(c *ManualClock) asyncio.LoopOption {
	if c == nil {
		panic("asynciotest: WithManualClock: the clock is nil")
	}
	return seam.LoopOption(seam.Seams{
		NewClock: func() seam.Clock {
			if c.used.Swap(true) {
				panic("asynciotest: a ManualClock is for one loop")
			}
			return (*manualClock)(c)
		},
	}).(asyncio.LoopOption)
}

// Now returns the time of the clock, which is the loop's Time. Any goroutine may call
// it.
func (c *ManualClock) Now() time.Duration { return time.Duration(c.now.Load()) }

// Advance moves the clock on by d. Timers on the way fire one after another, each at
// its time, and what they have made ready runs before the clock goes on. Advance
// returns when the clock is there and all other tasks wait; with d zero, which does
// not move it, it is WaitIdle. Only a task of the clock's loop may call it. It returns
// ErrClockMoves if another task moves the clock, and the cancellation if the task is
// cancelled, with the clock wherever it is. It panics if d is negative.
func (c *ManualClock) Advance(ctx context.Context, d time.Duration) error {
	if d < 0 {
		panic(fmt.Sprintf("asynciotest: Advance(%v): time does not go back", d))
	}
	_, err := c.move(ctx, &movement{to: later(c.Now(), d)})
	return err
}

// Step moves the clock to the next timer, runs what is due then, and returns when all
// other tasks wait. It reports whether there was a timer. In all else it is like
// Advance.
func (c *ManualClock) Step(ctx context.Context) (bool, error) {
	return c.move(ctx, &movement{to: c.Now(), toTimer: true})
}

func (c *ManualClock) move(ctx context.Context, m *movement) (bool, error) {
	if seam.ClockOf(ctx, "ManualClock") != seam.Clock((*manualClock)(c)) {
		return false, errors.New("asynciotest: the loop of this context has another clock")
	}
	if c.moving != nil {
		return false, ErrClockMoves
	}
	m.done = asyncio.NewFuture[bool](ctx)
	c.moving = m
	moved, err := m.done.Await(ctx)
	if c.moving == m {
		c.moving = nil
	}
	return moved, err
}

// Set makes the clock jump: nothing runs on the way, and timers that are due by then
// fire all at once, in the order of their deadlines, in the next pass. So it moves the clock of a
// loop that is not running, one that a test drives by EventLoop.RunOnce; and a program
// that runs goes through what a machine does that was asleep, for an hour say. A task
// or a callback that calls it goes on at the new time. While another task is in Advance
// or Step, that goes on from the new time, and ends there if it was to end before. It must
// be called on the loop's goroutine. It panics if the time is past.
func (c *ManualClock) Set(now time.Duration) {
	if now < c.Now() {
		panic(fmt.Sprintf("asynciotest: Set(%v): it is %v, and time does not go back", now, c.Now()))
	}
	c.now.Store(int64(now))
}

// manualClock is a ManualClock as its loop sees it.
type manualClock ManualClock

func (c *manualClock) Now() time.Duration { return (*ManualClock)(c).Now() }

func (c *manualClock) Wall() time.Time { return epoch.Add(c.Now()) }

func (c *manualClock) whenIdle(fire func()) { c.idle.add(fire) }

func (c *manualClock) Wait(d time.Duration, external bool, poll func(time.Duration) (bool, error)) error {
	woken, err := poll(0)
	switch {
	case woken || err != nil || d == 0 || c.idle.serve():
		return err
	case c.moving != nil:
		c.proceed(d)
		return nil
	case !external:
		return seam.ErrIdle
	}
	if d > 0 {
		d = max(d, time.Millisecond) // the clock stands still: a short wait would be one of many
	}
	_, err = poll(d)
	return err
}

// proceed moves on to the next timer, which is d away, or ends the movement.
func (c *manualClock) proceed(d time.Duration) {
	m, now := c.moving, c.Now()
	switch {
	case d > 0 && m.toTimer:
		m.to, m.toTimer, m.moved = now+d, false, true
		c.now.Store(int64(m.to))
	case d > 0 && d <= m.to-now:
		m.moved = true
		c.now.Store(int64(now + d))
	default:
		c.now.Store(int64(max(now, m.to))) // Set may have gone further
		c.moving = nil
		_ = m.done.SetResult(m.moved) // it fails if the wait was cancelled
	}
}

// WithClockRate gives a loop a clock that runs rate times as fast as the wall clock: at
// 60, a minute takes a second. It is for watching a program, and for a real network
// that shall seem slow or fast; tests are better off with a virtual clock. The loop's
// time of day starts at the real one. It panics if rate is not a positive number.
func WithClockRate(rate float64) asyncio.LoopOption {
	if !(rate > 0) || math.IsInf(rate, 1) {
		panic(fmt.Sprintf("asynciotest: WithClockRate(%v): the rate must be positive", rate))
	}
	return seam.LoopOption(seam.Seams{
		NewClock: func() seam.Clock { return &scaledClock{rate: rate, start: time.Now()} },
	}).(asyncio.LoopOption)
}

type scaledClock struct {
	rate  float64
	start time.Time
}

func (c *scaledClock) Now() time.Duration { return scale(time.Since(c.start), c.rate) }

func (c *scaledClock) Wall() time.Time { return c.start.Add(c.Now()) }

func (c *scaledClock) Wait(d time.Duration, _ bool, poll func(time.Duration) (bool, error)) error {
	if d > 0 {
		d = max(scale(d, 1/c.rate), 1) // rounded down to nothing it would spin
	}
	_, err := poll(d)
	return err
}

// scale multiplies without overflowing.
func scale(d time.Duration, by float64) time.Duration {
	if f := float64(d) * by; f < math.MaxInt64 {
		return time.Duration(f)
	}
	return math.MaxInt64
}
