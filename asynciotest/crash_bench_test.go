// What crashes cost.

package asynciotest_test

import (
	"context"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// BenchmarkCrash restarts a host with 100 tasks that wait.
func BenchmarkCrash(b *testing.B) {
	n := asynciotest.NewNetwork(1, asynciotest.WithLogLimit(0))
	h := n.Host("h")
	year := func(ctx context.Context) error { return asyncio.Sleep(ctx, 365*24*time.Hour) }
	p := h.Go(func(ctx context.Context) error {
		for range 99 {
			asyncio.Go(ctx, year)
		}
		return year(ctx)
	})
	err := n.Simulate(func(ctx context.Context) error {
		b.ReportAllocs()
		for b.Loop() {
			h.Restart()
			if err := asyncio.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		h.Crash()
		if err := p.Err(); err != asynciotest.ErrCrashed {
			b.Error(err)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
