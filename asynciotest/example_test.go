// Examples of package asynciotest.

package asynciotest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// A program under a virtual clock takes no time, whatever it waits for.
func ExampleWithVirtualClock() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		loop := asyncio.CurrentTask(ctx).Loop()
		err := asyncio.Timeout(ctx, 90*time.Minute, func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			fmt.Println("deadline", deadline.Format(time.DateTime))
			return asyncio.Sleep(ctx, 24*time.Hour)
		})
		fmt.Println(err, "after", loop.Time())
		return nil
	}, asynciotest.WithVirtualClock())
	fmt.Println(err)
	// Output:
	// deadline 2000-01-01 01:30:00
	// asyncio: timeout after 1h30m0s
	// <nil>
}

// A virtual clock notices that nothing can happen any more.
func ExampleWithVirtualClock_deadlock() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		return asyncio.NewFuture[string](ctx).Wait(ctx)
	}, asynciotest.WithVirtualClock())
	fmt.Println(errors.Is(err, asyncio.ErrDeadlock))
	// Output: true
}

// retry calls f until it succeeds, waiting longer each time.
func retry(ctx context.Context, f func() error) error {
	for pause := time.Second; ; pause *= 2 {
		if f() == nil {
			return nil
		}
		if err := asyncio.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// In a test file, t is the *testing.T of the test.
func ExampleRun() {
	t := new(testing.T)
	asynciotest.Run(t, func(ctx context.Context) error {
		loop := asyncio.CurrentTask(ctx).Loop()
		tries := 0
		return retry(ctx, func() error {
			fmt.Println("try at", loop.Time())
			if tries++; tries < 4 {
				return errors.New("not yet")
			}
			return nil
		})
	})
	// Output:
	// try at 0s
	// try at 1s
	// try at 3s
	// try at 7s
}
