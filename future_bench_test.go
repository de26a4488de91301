// What futures cost.

package asyncio_test

import (
	"context"
	"testing"

	"github.com/goasyncio/asyncio"
)

func BenchmarkFuture(b *testing.B) {
	measure(b, "SetAwait", func(ctx context.Context) func() error { // without a wait
		return func() error {
			f := asyncio.NewFuture[int](ctx)
			if err := f.SetResult(1); err != nil {
				return err
			}
			_, err := f.Await(ctx)
			return err
		}
	})
	measure(b, "AwaitSet", func(ctx context.Context) func() error { // by another task, while it is awaited
		f := asyncio.NewFuture[int](ctx)
		endless(ctx, func(ctx context.Context) error {
			f.SetResult(1)
			return asyncio.Yield(ctx)
		})
		return func() error {
			f = asyncio.NewFuture[int](ctx)
			_, err := f.Await(ctx)
			return err
		}
	})
	measure(b, "AwaitDone", func(ctx context.Context) func() error {
		f := asyncio.NewFuture[int](ctx)
		f.SetResult(1)
		return func() error {
			_, err := f.Await(ctx)
			return err
		}
	})
	measure(b, "DoneCallback", func(ctx context.Context) func() error {
		fn := func(asyncio.AnyFuture) {}
		return func() error {
			f := asyncio.NewFuture[int](ctx)
			f.AddDoneCallback(fn)
			if err := f.SetResult(1); err != nil {
				return err
			}
			return asyncio.Yield(ctx)
		}
	})
	measure(b, "DoneCallbackRemoved", func(ctx context.Context) func() error {
		fn := func(asyncio.AnyFuture) {}
		f := asyncio.NewFuture[int](ctx)
		return func() error {
			f.AddDoneCallback(fn)()
			return nil
		}
	})
	measure(b, "Cancel", func(ctx context.Context) func() error {
		return func() error {
			f := asyncio.NewFuture[int](ctx)
			f.Cancel(nil)
			f.Wait(ctx)
			return nil
		}
	})
}
