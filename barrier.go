// Barriers: a fixed number of tasks wait for each other.

package asyncio

import (
	"context"
	"fmt"
)

// Barrier lets a fixed number of tasks wait until all of them have arrived, over
// and over (asyncio.Barrier). NewBarrier makes one. It belongs to the loop on which
// a task first had to wait for it; after that its methods panic, or fail, with a
// *UsageError on other goroutines and loops.
//
// # States
//
// A barrier is filling while tasks arrive. When the last one has arrived it is
// draining: all return from Wait, and those who come meanwhile wait for the next
// round. When the last one has left it is filling again. Reset makes a barrier
// with tasks in it resetting: they fail, newcomers wait, and when the last one has
// left it is filling. Abort makes it broken: those in it and newcomers fail, until
// Reset.
type Barrier struct {
	parties int
	cond    Condition // notified when the state changes
	state   barrierState
	count   int // tasks in the barrier
}

type barrierState uint8

const (
	filling barrierState = iota
	draining
	resetting
	broken
)

var barrierStates = [...]string{"filling", "draining", "resetting", "broken"}

// NewBarrier makes a barrier for so many tasks. It panics with a *UsageError if
// parties is less than 1.
func NewBarrier(parties int) *Barrier {
	if parties < 1 {
		panic(misuse("NewBarrier", ErrBadArgument, "the number of parties is %d; it must be positive", parties))
	}
	return &Barrier{parties: parties}
}

// Wait waits until all parties have called it, and returns how many of this
// round had arrived before: each gets another index, from 0 to Parties-1
// (Barrier.wait). The last one to arrive does not suspend.
//
// It returns ErrBrokenBarrier if the barrier is broken, or is aborted or reset
// meanwhile. If the task, or ctx, is cancelled, it leaves the barrier, which goes
// on waiting for another one, and returns the cancellation. Outside a task, or with
// a context of another loop, it returns a *UsageError.
func (b *Barrier) Wait(ctx context.Context) (index int, err error) {
	if err := b.acquire(ctx, "Barrier.Wait"); err != nil {
		return 0, err
	}
	defer b.cond.Release()
	if err := b.admit(ctx); err != nil {
		return 0, err
	}
	index = b.count
	b.count++
	defer b.exit()
	if b.count == b.parties {
		b.enterState(draining)
		return index, nil
	}
	if err := b.filled(ctx); err != nil {
		return 0, err
	}
	return index, nil
}

func (b *Barrier) acquire(ctx context.Context, op string) error {
	if b.parties == 0 {
		return misuse(op, ErrBadArgument, "the barrier has no parties; make it with NewBarrier")
	}
	return b.cond.lock().acquireFor(ctx, op)
}

// admit waits until a task may enter.
func (b *Barrier) admit(ctx context.Context) error {
	err := b.cond.WaitFor(ctx, func() bool { return b.state != draining && b.state != resetting })
	if err == nil && b.state == broken {
		return ErrBrokenBarrier
	}
	return err
}

// filled waits until all have arrived, or nobody may stay.
func (b *Barrier) filled(ctx context.Context) error {
	err := b.cond.WaitFor(ctx, func() bool { return b.state != filling })
	if err == nil && b.state != draining {
		return ErrBrokenBarrier
	}
	return err
}

// exit is a task leaving the barrier.
func (b *Barrier) exit() {
	if b.count--; b.count > 0 {
		return
	}
	if b.state == resetting || b.state == draining {
		b.state = filling
	}
	b.cond.NotifyAll()
}

func (b *Barrier) enterState(s barrierState) {
	b.state = s
	b.cond.NotifyAll()
}

// Reset makes the barrier empty and whole again (Barrier.reset). Tasks that wait
// in it get ErrBrokenBarrier; those who come before they have left wait for that.
//
// Reset suspends only while other tasks of the barrier, which have been woken,
// are about to look at it. If it is cancelled then, the barrier stays as it is.
func (b *Barrier) Reset(ctx context.Context) error {
	if err := b.acquire(ctx, "Barrier.Reset"); err != nil {
		return err
	}
	defer b.cond.Release()
	if b.count > 0 {
		b.enterState(resetting)
	} else {
		b.enterState(filling)
	}
	return nil
}

// Abort breaks the barrier: tasks that wait in it, and all who come until Reset,
// get ErrBrokenBarrier (Barrier.abort). It suspends when Reset does.
func (b *Barrier) Abort(ctx context.Context) error {
	if err := b.acquire(ctx, "Barrier.Abort"); err != nil {
		return err
	}
	defer b.cond.Release()
	b.enterState(broken)
	return nil
}

// Parties returns how many tasks have to arrive (Barrier.parties).
func (b *Barrier) Parties() int { return b.parties }

// Waiting returns how many tasks have arrived, 0 unless the barrier is filling
// (Barrier.n_waiting).
func (b *Barrier) Waiting() int {
	b.cond.check("Barrier.Waiting")
	if b.state == filling {
		return b.count
	}
	return 0
}

// Broken reports whether the barrier was aborted (Barrier.broken).
func (b *Barrier) Broken() bool {
	b.cond.check("Barrier.Broken")
	return b.state == broken
}

// String shows the state and how many wait.
func (b *Barrier) String() string {
	if b.state == broken {
		return "<Barrier broken>"
	}
	waiting := 0
	if b.state == filling {
		waiting = b.count
	}
	return fmt.Sprintf("<Barrier %s waiters=%d/%d>", barrierStates[b.state], waiting, b.parties)
}
