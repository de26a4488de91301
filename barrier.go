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
	binding
	waiters waitq // of tasks for which the state is not the right one yet
	parties int
	state   barrierState
	count   int // tasks in the barrier
}

type barrierState uint8

const (
	barrierFilling barrierState = iota
	barrierDraining
	barrierResetting
	barrierBroken
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

// Wait waits until all parties have called it, and returns how many were in the
// barrier when it came: from 0 to Parties-1, which is the last one's
// (Barrier.wait). Each task of a round gets another number, unless one that had
// come before was cancelled meanwhile. The last one to arrive does not suspend.
//
// It returns ErrBrokenBarrier if the barrier is broken, or is aborted or reset
// meanwhile. If the task, or ctx, is cancelled, it leaves the barrier, which goes
// on waiting for another one, and returns the cancellation. Outside a task, or with
// a context of another loop, it returns a *UsageError.
func (b *Barrier) Wait(ctx context.Context) (index int, err error) {
	t, err := b.enter(ctx, "Barrier.Wait")
	switch {
	case err != nil:
		return 0, err
	case b.parties == 0:
		return 0, misuse("Barrier.Wait", ErrBadArgument, "the barrier has no parties; make it with NewBarrier")
	}
	for b.state == barrierDraining || b.state == barrierResetting {
		if err := b.stateChange(ctx, t); err != nil {
			return 0, err
		}
	}
	if b.state == barrierBroken {
		return 0, ErrBrokenBarrier
	}
	index = b.count
	b.count++
	defer b.exit() // also when the task is ended by force
	if b.count == b.parties {
		b.change(barrierDraining)
	}
	for b.state == barrierFilling {
		if err := b.stateChange(ctx, t); err != nil {
			return 0, err
		}
	}
	if b.state != barrierDraining {
		return 0, ErrBrokenBarrier
	}
	return index, nil
}

// stateChange waits until somebody changes the state. It may return without a
// reason: a task that is cancelled wakes the next one, as one that waits for a
// Condition does, on which asyncio builds barriers.
func (b *Barrier) stateChange(ctx context.Context, t *task) error {
	_, err := b.wait(ctx, t, &b.waiters)
	if err != nil {
		b.waiters.grant()
	}
	return err
}

func (b *Barrier) change(s barrierState) {
	b.state = s
	b.waiters.grantAll()
}

// exit is a task leaving the barrier.
func (b *Barrier) exit() {
	if b.count--; b.count > 0 {
		return
	}
	if b.state == barrierBroken {
		b.change(barrierBroken)
	} else {
		b.change(barrierFilling)
	}
}

// Reset makes the barrier empty and whole again (Barrier.reset). Tasks that wait
// in it get ErrBrokenBarrier; those who come before they have left wait for that.
// Unlike in Python it is no coroutine, since it never suspends.
func (b *Barrier) Reset() {
	b.check("Barrier.Reset")
	if b.count > 0 {
		b.change(barrierResetting)
	} else {
		b.change(barrierFilling)
	}
}

// Abort breaks the barrier: tasks that wait in it, and all who come until Reset,
// get ErrBrokenBarrier (Barrier.abort). Unlike in Python it is no coroutine, since
// it never suspends.
func (b *Barrier) Abort() {
	b.check("Barrier.Abort")
	b.change(barrierBroken)
}

// Parties returns how many tasks have to arrive (Barrier.parties).
func (b *Barrier) Parties() int { return b.parties }

// Waiting returns how many tasks have arrived, 0 unless the barrier is filling
// (Barrier.n_waiting).
func (b *Barrier) Waiting() int {
	b.check("Barrier.Waiting")
	if b.state == barrierFilling {
		return b.count
	}
	return 0
}

// Broken reports whether the barrier was aborted (Barrier.broken).
func (b *Barrier) Broken() bool {
	b.check("Barrier.Broken")
	return b.state == barrierBroken
}

// String shows the state and how many wait.
func (b *Barrier) String() string {
	if b.state == barrierBroken {
		return "<Barrier broken>"
	}
	waiting := 0
	if b.state == barrierFilling {
		waiting = b.count
	}
	return fmt.Sprintf("<Barrier %s waiters=%d/%d>", barrierStates[b.state], waiting, b.parties)
}
