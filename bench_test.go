// What the benchmarks have in common: they run inside a loop, all rounds of one in one
// task, so that no start is measured.

package asyncio_test

import (
	"context"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// benchOnLoop runs fn in the main task of a loop.
func benchOnLoop(b *testing.B, fn func(ctx context.Context) error, opts ...asyncio.RunOption) {
	b.Helper()
	b.ReportAllocs()
	runStreams(b, fn, opts...)
}

// rounds calls round for as long as the benchmark goes on.
func rounds(b *testing.B, round func() error) error {
	for b.Loop() {
		if err := round(); err != nil {
			return err
		}
	}
	return nil
}

// measure is a benchmark of what prepare returns, in the main task of a loop. The tasks
// that prepare has started are cancelled at the end.
func measure(b *testing.B, name string, prepare func(ctx context.Context) (round func() error), opts ...asyncio.RunOption) {
	b.Run(name, func(b *testing.B) {
		benchOnLoop(b, func(ctx context.Context) error {
			err := rounds(b, prepare(ctx))
			for _, t := range asyncio.AllTasks(ctx) {
				if t != asyncio.CurrentTask(ctx) {
					t.Cancel(nil)
					t.Wait(ctx)
				}
			}
			return err
		}, opts...)
	})
}

// endless runs turn in a task of its own, again and again until that is cancelled, and
// lets it begin.
func endless(ctx context.Context, turn func(ctx context.Context) error) {
	asyncio.Go(ctx, func(ctx context.Context) error {
		for {
			if err := turn(ctx); err != nil {
				return err
			}
		}
	})
	asyncio.Yield(ctx)
}

// sleepers starts n tasks that sleep for an hour.
func sleepers(ctx context.Context, n int) {
	for range n {
		asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) })
	}
	asyncio.Yield(ctx)
}

func nothing(context.Context) error { return nil }

func five(context.Context) (int, error) { return 5, nil }
