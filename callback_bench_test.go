// What callbacks cost: at once, later, and from other goroutines.

package asyncio_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

func BenchmarkCallSoon(b *testing.B) {
	measure(b, "Chain", func(ctx context.Context) func() error { // each calls the next one: 100 passes
		loop, over := ownLoop(ctx), new(asyncio.Event)
		left := 0
		var next func()
		next = func() {
			if left--; left == 0 {
				over.Set()
				return
			}
			loop.CallSoon(next)
		}
		return func() error {
			left = 100
			over.Clear()
			loop.CallSoon(next)
			return over.Wait(ctx)
		}
	})
	measure(b, "Of100", func(ctx context.Context) func() error { // all in one pass
		loop := ownLoop(ctx)
		fn := func() {}
		return func() error {
			for range 100 {
				loop.CallSoon(fn)
			}
			return asyncio.Yield(ctx)
		}
	})
	measure(b, "Cancel", func(ctx context.Context) func() error {
		loop := ownLoop(ctx)
		fn := func() {}
		return func() error {
			loop.CallSoon(fn).Cancel()
			return asyncio.Yield(ctx)
		}
	})
}

func BenchmarkCallLater(b *testing.B) {
	for _, beside := range []int{0, 10_000} {
		measure(b, fmt.Sprint("CancelBeside", beside), func(ctx context.Context) func() error {
			loop := ownLoop(ctx)
			fn := func() {}
			sleepers(ctx, beside)
			return func() error {
				loop.CallLater(time.Hour, fn).Cancel()
				return nil
			}
		})
	}
	measure(b, "Fire", func(ctx context.Context) func() error {
		loop, over := ownLoop(ctx), new(asyncio.Event)
		return func() error {
			over.Clear()
			loop.CallLater(1, over.Set)
			return over.Wait(ctx)
		}
	})
}

func BenchmarkCallSoonThreadsafe(b *testing.B) {
	measure(b, "Busy", func(ctx context.Context) func() error { // to a loop that is awake
		loop := ownLoop(ctx)
		fn := func() {}
		n := 0
		return func() error {
			if _, err := loop.CallSoonThreadsafe(fn); err != nil {
				return err
			}
			if n++; n%100 == 0 {
				return asyncio.Yield(ctx)
			}
			return nil
		}
	})
	b.Run("RoundTrip", func(b *testing.B) { // from the loop to a goroutine, and back
		benchOnLoop(b, func(ctx context.Context) error {
			loop, answer := ownLoop(ctx), new(asyncio.Event)
			ask := make(chan struct{}, 1)
			ended := newGate()
			go func() {
				defer ended.open()
				for range ask {
					loop.CallSoonThreadsafe(answer.Set)
				}
			}()
			err := rounds(b, func() error {
				answer.Clear()
				ask <- struct{}{}
				return answer.Wait(ctx)
			})
			close(ask)
			ended.pass()
			return err
		})
	})
}
