// What queues cost.

package asyncio_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/goasyncio/asyncio"
)

func newPriorities(maxsize int) *asyncio.PriorityQueue[int] {
	return asyncio.NewPriorityQueue(maxsize, func(a, b int) bool { return a < b })
}

// putGet measures a queue that has so many items already.
func putGet(b *testing.B, name string, items int, make func(maxsize int) anyQueue) {
	measure(b, name, func(ctx context.Context) func() error {
		q := make(0)
		for i := range items {
			q.PutNowait(i * 7919 % items)
		}
		n := 0
		return func() error {
			n = (n + 7919) & 0xffff
			if err := q.Put(ctx, n); err != nil {
				return err
			}
			_, err := q.Get(ctx)
			return err
		}
	})
}

func BenchmarkQueue(b *testing.B) {
	fifo := func(maxsize int) anyQueue { return asyncio.NewQueue[int](maxsize) }
	putGet(b, "PutGet", 0, fifo)
	putGet(b, "PutGetOf1000", 1000, fifo)
	measure(b, "Nowait", func(ctx context.Context) func() error {
		q := asyncio.NewQueue[int](1)
		return func() error {
			if err := q.PutNowait(1); err != nil {
				return err
			}
			_, err := q.GetNowait()
			return err
		}
	})
	measure(b, "PingPong", func(ctx context.Context) func() error { // two queues of one place
		there, back := asyncio.NewQueue[int](1), asyncio.NewQueue[int](1)
		endless(ctx, func(ctx context.Context) error {
			v, err := there.Get(ctx)
			if err != nil {
				return err
			}
			return back.Put(ctx, v)
		})
		return func() error {
			if err := there.Put(ctx, 1); err != nil {
				return err
			}
			_, err := back.Get(ctx)
			return err
		}
	})
	for _, capacity := range []int{1, 100} {
		measure(b, fmt.Sprint("ProducerConsumer", capacity), func(ctx context.Context) func() error { // an item
			q := asyncio.NewQueue[int](capacity)
			endless(ctx, func(ctx context.Context) error { return q.Put(ctx, 1) })
			return func() error {
				_, err := q.Get(ctx)
				return err
			}
		})
	}
	measure(b, "Items", func(ctx context.Context) func() error { // 100 of them, that are there
		return func() error {
			q := asyncio.NewQueue[int](0)
			for i := range 100 {
				if err := q.PutNowait(i); err != nil {
					return err
				}
			}
			q.Shutdown(false)
			for _, err := range q.Items(ctx) {
				if err != nil {
					return err
				}
			}
			return nil
		}
	})
	measure(b, "TaskDoneJoin", func(ctx context.Context) func() error { // of an item that another task does
		q := asyncio.NewQueue[int](0)
		endless(ctx, func(ctx context.Context) error {
			_, err := q.Get(ctx)
			if err == nil {
				q.TaskDone()
			}
			return err
		})
		return func() error {
			if err := q.PutNowait(1); err != nil {
				return err
			}
			return q.Join(ctx)
		}
	})
}

func BenchmarkLifoQueue(b *testing.B) {
	putGet(b, "PutGet", 0, func(maxsize int) anyQueue { return asyncio.NewLifoQueue[int](maxsize) })
}

func BenchmarkPriorityQueue(b *testing.B) {
	priorities := func(maxsize int) anyQueue { return newPriorities(maxsize) }
	putGet(b, "PutGet", 0, priorities)
	putGet(b, "PutGetOf1000", 1000, priorities)
}
