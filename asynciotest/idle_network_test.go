// Tests of WaitIdle on a simulated host.

package asynciotest_test

import (
	"context"
	"testing"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func TestWaitIdleOnAHost(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	n.Run(t, func(ctx context.Context) error {
		steps := 0
		asyncio.Go(ctx, func(ctx context.Context) error {
			for ; steps < 10; steps++ {
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
			return nil
		})
		if err := asynciotest.WaitIdle(ctx); err != nil || steps != 10 || n.Now() != 0 {
			t.Errorf("WaitIdle = %v after %d steps, at %v", err, steps, n.Now())
		}
		return nil
	})
}
