// Tests of deferred functions that run in a crash.

package asynciotest_test

import (
	"context"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// A deferred function of a task that slept may call Sleep again: it returns at once.
func TestCrashDeferredSleep(t *testing.T) {
	n := asynciotest.NewNetwork(1)
	a := n.Host("a")
	after := 0
	a.Go(func(ctx context.Context) error {
		defer func() {
			if err := asyncio.Sleep(ctx, time.Second); err != nil {
				after++
			}
		}()
		return asyncio.Sleep(ctx, time.Hour)
	})
	n.Run(t, func(ctx context.Context) error {
		if err := asyncio.Sleep(ctx, time.Minute); err != nil {
			return err
		}
		a.Crash()
		return nil
	})
	if after != 1 {
		t.Errorf("the deferred function came %d times behind its Sleep", after)
	}
}
