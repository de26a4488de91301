// What the structures under the loop cost by themselves.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/goasyncio/asyncio"
)

func BenchmarkReadyQueue(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint("PushPopOf", n), func(b *testing.B) {
			q := asyncio.NewReadyQueue(n)
			b.ReportAllocs()
			for b.Loop() {
				q.Cycle()
			}
		})
	}
	b.Run("PopMiddleOf1000", func(b *testing.B) { // as a seeded schedule does
		q := asyncio.NewReadyQueue(1000)
		b.ReportAllocs()
		for b.Loop() {
			q.CycleAt(500)
		}
	})
}

func BenchmarkRegistry(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint("RemoveAddOf", n), func(b *testing.B) {
			var r asyncio.Registry
			members := make([]*asyncio.Member, n)
			for i := range members {
				members[i] = r.Add(i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.Readd(members[i*7919%n])
			}
		})
	}
}

func BenchmarkWaitQueue(b *testing.B) {
	measure(b, "WaitGrant", func(ctx context.Context) func() error { // two tasks that wait for each other
		var there, back asyncio.WaitQueue
		endless(ctx, func(ctx context.Context) error {
			err := there.Wait(ctx)
			back.Grant()
			return err
		})
		return func() error {
			if !there.Grant() {
				return errors.New("nobody waits")
			}
			return back.Wait(ctx)
		}
	})
	measure(b, "GrantAll100", func(ctx context.Context) func() error { // a turn of each
		var line asyncio.WaitQueue
		for range 100 {
			endless(ctx, line.Wait)
		}
		return func() error {
			line.GrantAll()
			return asyncio.Yield(ctx)
		}
	})
}

func BenchmarkWriteBuffer(b *testing.B) {
	cycle := func(name string, size, held int) { // of what is appended, while there is more
		b.Run(name, func(b *testing.B) {
			var buffer asyncio.WriteBuffer
			p := make([]byte, size)
			buffer.Append(make([]byte, held))
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				buffer.Append(p)
				buffer.Views()
				buffer.Drop(size)
			}
		})
	}
	cycle("Append64", 64, 0)
	cycle("Append64Behind64K", 64, 64<<10)
	cycle("Append64K", 64<<10, 0)
}
