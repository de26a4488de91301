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

// A clock that the test moves stands still in between.
func ExampleManualClock() {
	clock := new(asynciotest.ManualClock)
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		loop := asyncio.RunningLoop(ctx)
		asyncio.Go(ctx, func(ctx context.Context) error {
			for {
				if err := asyncio.Sleep(ctx, 40*time.Second); err != nil {
					return err
				}
				fmt.Println("heartbeat at", loop.Time())
			}
		})
		clock.Advance(ctx, time.Minute)
		fmt.Println("a minute has passed")
		clock.Step(ctx)
		fmt.Println("it is", clock.Now())
		return nil
	}, asynciotest.WithManualClock(clock))
	// Output:
	// heartbeat at 40s
	// a minute has passed
	// heartbeat at 1m20s
	// it is 1m20s
}

// A test looks at a program that has got as far as it gets.
func ExampleWaitIdle() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		var jobs asyncio.Queue[string]
		asyncio.Go(ctx, func(ctx context.Context) error {
			for {
				job, err := jobs.Get(ctx)
				if err != nil {
					return err
				}
				fmt.Println("does", job)
			}
		})
		jobs.PutNowait("this")
		jobs.PutNowait("that")
		err := asynciotest.WaitIdle(ctx)
		fmt.Println("and waits for more")
		return err
	}, asynciotest.WithVirtualClock())
	// Output:
	// does this
	// does that
	// and waits for more
}

// stock is sold by several tasks.
type stock struct{ left int }

func (s *stock) sell(ctx context.Context) error {
	if s.left == 0 {
		return errors.New("sold out")
	}
	if err := asyncio.Yield(ctx); err != nil { // asks the bank, say
		return err
	}
	s.left--
	return nil
}

// Two customers get the last one: Explore tells in which order that happens. In a
// test file, t is the *testing.T of the test.
func ExampleExplore() {
	var t *testing.T
	asynciotest.Explore(t, 1000, func(t testing.TB, sim *asynciotest.Sim) {
		shop := &stock{left: 1}
		err := sim.Run(func(ctx context.Context) error {
			one := asyncio.Go(ctx, shop.sell, asyncio.WithName("one"))
			other := asyncio.Go(ctx, func(ctx context.Context) error {
				for range 3 { // looks around
					if err := asyncio.Yield(ctx); err != nil {
						return err
					}
				}
				return shop.sell(ctx)
			}, asyncio.WithName("other"))
			return errors.Join(one.Wait(ctx), other.Wait(ctx))
		})
		if shop.left < 0 {
			t.Fatalf("sold more than there was: %v", err)
		}
	}, asynciotest.PCTSchedules(3))
}

// However a sale is interrupted, nothing is sold twice. In a test file, t is the
// *testing.T of the test.
func ExampleCancelEverywhere() {
	var t *testing.T
	asynciotest.CancelEverywhere(t, func(t testing.TB, sim *asynciotest.Sim) {
		shop := &stock{left: 1}
		err := sim.Run(shop.sell)
		if sold := err == nil; sold != (shop.left == 0) {
			t.Errorf("Run = %v, %d left", err, shop.left)
		}
	})
}
