// What events, locks, semaphores, conditions and barriers cost.

package asyncio_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/goasyncio/asyncio"
)

func BenchmarkEvent(b *testing.B) {
	measure(b, "SetWaitClear", func(ctx context.Context) func() error { // without a wait
		var e asyncio.Event
		return func() error {
			e.Set()
			err := e.Wait(ctx)
			e.Clear()
			return err
		}
	})
	measure(b, "PingPong", func(ctx context.Context) func() error { // two tasks that wait for each other
		var ping, pong asyncio.Event
		endless(ctx, func(ctx context.Context) error {
			err := ping.Wait(ctx)
			ping.Clear()
			pong.Set()
			return err
		})
		return func() error {
			ping.Set()
			err := pong.Wait(ctx)
			pong.Clear()
			return err
		}
	})
	measure(b, "Wakes100", func(ctx context.Context) func() error {
		var e asyncio.Event
		for range 100 {
			endless(ctx, e.Wait)
		}
		return func() error {
			e.Set()
			e.Clear()
			return asyncio.Yield(ctx)
		}
	})
}

// A locker is a Lock, a Semaphore or the lock of a Condition.
type locker interface {
	Acquire(ctx context.Context) error
	TryAcquire() bool
	Release()
	With(ctx context.Context, fn func(ctx context.Context) error) error
}

// benchLocker measures what has one permit.
func benchLocker(b *testing.B, make func() locker) {
	acquire := func(ctx context.Context, l locker) func() error {
		return func() error {
			err := l.Acquire(ctx)
			l.Release()
			return err
		}
	}
	measure(b, "Uncontended", func(ctx context.Context) func() error { return acquire(ctx, make()) })
	measure(b, "TryAcquire", func(ctx context.Context) func() error {
		l := make()
		return func() error {
			if l.TryAcquire() {
				l.Release()
			}
			return nil
		}
	})
	measure(b, "With", func(ctx context.Context) func() error {
		l := make()
		return func() error { return l.With(ctx, nothing) }
	})
	contended := func(name string, tasks int) {
		measure(b, name, func(ctx context.Context) func() error {
			l := make()
			if err := l.Acquire(ctx); err != nil {
				return func() error { return err }
			}
			for range tasks - 1 {
				endless(ctx, func(ctx context.Context) error {
					if err := l.Acquire(ctx); err != nil {
						return err
					}
					l.Release()
					return nil
				})
			}
			return func() error {
				l.Release()
				return l.Acquire(ctx)
			}
		})
	}
	contended("Contended2", 2) // a turn of each
	contended("Contended100", 100)
}

func BenchmarkLock(b *testing.B) { benchLocker(b, func() locker { return new(asyncio.Lock) }) }

func BenchmarkSemaphore(b *testing.B) {
	benchLocker(b, func() locker { return asyncio.NewSemaphore(1) })
}

func BenchmarkBoundedSemaphore(b *testing.B) {
	benchLocker(b, func() locker { return asyncio.NewBoundedSemaphore(1) })
}

func BenchmarkCondition(b *testing.B) {
	for _, tasks := range []int{1, 100} {
		measure(b, fmt.Sprint("NotifyAll", tasks), func(ctx context.Context) func() error {
			var c asyncio.Condition
			for range tasks {
				endless(ctx, func(ctx context.Context) error { return c.With(ctx, c.Wait) })
			}
			return func() error { // a turn of each
				if err := c.Acquire(ctx); err != nil {
					return err
				}
				c.NotifyAll()
				c.Release()
				return asyncio.Yield(ctx)
			}
		})
	}
	measure(b, "WaitForTrue", func(ctx context.Context) func() error { // without a wait
		var c asyncio.Condition
		is := func() bool { return true }
		return func() error {
			if err := c.Acquire(ctx); err != nil {
				return err
			}
			defer c.Release()
			return c.WaitFor(ctx, is)
		}
	})
}

func BenchmarkBarrier(b *testing.B) {
	for _, parties := range []int{2, 100} {
		measure(b, fmt.Sprint("Of", parties), func(ctx context.Context) func() error {
			barrier := asyncio.NewBarrier(parties)
			wait := func(ctx context.Context) error {
				_, err := barrier.Wait(ctx)
				return err
			}
			for range parties - 1 {
				endless(ctx, wait)
			}
			return func() error { return wait(ctx) }
		})
	}
}
