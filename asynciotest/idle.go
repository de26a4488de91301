// Idleness: the moment when all tasks wait.

package asynciotest

import (
	"context"
	"errors"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
)

// ErrNoVirtualClock is the error of WaitIdle on a loop whose clock is none of this
// package's.
var ErrNoVirtualClock = errors.New("asynciotest: the loop has no virtual clock")

// WaitIdle suspends the calling task until all other tasks wait: no callback is
// ready, no timer is due, and nothing that has arrived from outside is to be handled.
// No time passes on the loop's clock, which must be virtual (WithVirtualClock, Sim.Run) or
// manual (ManualClock), or that of a program on a Network, of which only the program's
// own tasks count; with another one it returns ErrNoVirtualClock. Of several tasks
// that call it, one goes on at a time, in the order of their calls.
//
// A test uses it to see what a program does before anything else happens: after
// WaitIdle a task has got as far as it gets. If something outside the loop is under
// way, a function of ToThread say, WaitIdle does not wait for it.
//
// It returns the cancellation if the task is cancelled, and panics with an
// *asyncio.UsageError if ctx carries no loop.
func WaitIdle(ctx context.Context) error {
	clock, ok := seam.ClockOf(ctx, "WaitIdle").(interface{ whenIdle(fire func()) })
	if !ok {
		return ErrNoVirtualClock
	}
	idle := asyncio.NewFuture[struct{}](ctx)
	clock.whenIdle(func() { _ = idle.SetResult(struct{}{}) }) // it fails if the wait was cancelled
	return idle.Wait(ctx)
}

// An idleQueue is who wants to know that nothing is left to do. It is used on the
// loop's goroutine.
type idleQueue struct{ waiting []func() }

func (q *idleQueue) add(fire func()) { q.waiting = append(q.waiting, fire) }

func (q *idleQueue) empty() bool { return len(q.waiting) == 0 }

// serve tells the first one, and reports whether there was one.
func (q *idleQueue) serve() bool {
	if q.empty() {
		return false
	}
	fire := q.waiting[0]
	q.waiting = q.waiting[1:]
	fire()
	return true
}
