// Tests of the virtual clock, seen from a program that runs on it.

package asynciotest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

var epoch = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)

// loopTime returns the time of the running loop.
func loopTime(ctx context.Context) time.Duration {
	return asyncio.RunningLoop(ctx).Time()
}

func TestSleepIsExact(t *testing.T) {
	start := time.Now()
	asynciotest.Run(t, func(ctx context.Context) error {
		for _, d := range []time.Duration{time.Hour, time.Nanosecond, 0, 100 * 24 * time.Hour} {
			before := loopTime(ctx)
			if err := asyncio.Sleep(ctx, d); err != nil {
				return err
			}
			if passed := loopTime(ctx) - before; passed != d {
				t.Errorf("Sleep(%v) took %v", d, passed)
			}
		}
		return nil
	})
	if passed := time.Since(start); passed > time.Minute {
		t.Errorf("the test took %v of real time", passed)
	}
}

func TestTimersFireInOrder(t *testing.T) {
	var got []int
	asynciotest.Run(t, func(ctx context.Context) error {
		loop := asyncio.CurrentTask(ctx).Loop()
		for _, n := range []int{3, 1, 2} {
			loop.CallLater(time.Duration(n)*time.Minute, func() {
				if now := loop.Time(); now != time.Duration(n)*time.Minute {
					t.Errorf("timer %d fired at %v", n, now)
				}
				got = append(got, n)
			})
		}
		return asyncio.Sleep(ctx, time.Hour)
	})
	if len(got) != 3 || got[0] != 1 || got[1] != 2 || got[2] != 3 {
		t.Errorf("fired %v, want [1 2 3]", got)
	}
}

func TestDeadlock(t *testing.T) {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		if err := asyncio.Sleep(ctx, time.Hour); err != nil {
			return err
		}
		_, err := asyncio.NewFuture[int](ctx).Await(ctx)
		return err
	}, asynciotest.WithVirtualClock())
	if !errors.Is(err, asyncio.ErrDeadlock) {
		t.Errorf("Run = %v, want ErrDeadlock", err)
	}
}

func TestDeadlineIsOnTheVirtualDay(t *testing.T) {
	asynciotest.Run(t, func(ctx context.Context) error {
		if err := asyncio.Sleep(ctx, time.Hour); err != nil {
			return err
		}
		err := asyncio.Timeout(ctx, time.Minute, func(ctx context.Context) error {
			want := epoch.Add(time.Hour + time.Minute)
			if got, ok := ctx.Deadline(); !ok || !got.Equal(want) {
				t.Errorf("Deadline() = %v, %v, want %v", got, ok, want)
			}
			return asyncio.Sleep(ctx, time.Hour)
		})
		if err != asyncio.ErrTimeout {
			t.Errorf("Timeout = %v, want ErrTimeout", err)
		}
		if now := loopTime(ctx); now != time.Hour+time.Minute {
			t.Errorf("the timeout fired at %v", now)
		}
		return nil
	})
}

// A worker that takes real time is neither overtaken by the clock nor a reason
// for a deadlock.
func TestWorkerHoldsTheClock(t *testing.T) {
	asynciotest.Run(t, func(ctx context.Context) error {
		release := make(chan struct{})
		asyncio.Go(ctx, func(ctx context.Context) error {
			if err := asyncio.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
			close(release) // the worker is under way: only real time brings us here
			return nil
		})
		far := asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.Sleep(ctx, 24*time.Hour) })
		start := time.Now()
		n, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
			<-release
			return 7, nil
		})
		if n != 7 || err != nil {
			t.Errorf("ToThread = %v, %v", n, err)
		}
		if passed, real := loopTime(ctx), time.Since(start); passed < time.Millisecond || passed > real {
			t.Errorf("the loop's time is %v after %v", passed, real)
		}
		if far.Done() {
			t.Error("the clock has run ahead of the worker")
		}
		if err := far.Wait(ctx); err != nil {
			return err
		}
		if now := loopTime(ctx); now != 24*time.Hour {
			t.Errorf("the sleeper woke at %v", now)
		}
		return nil
	})
}

func TestWorkerAlone(t *testing.T) {
	asynciotest.Run(t, func(ctx context.Context) error {
		_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) { return 0, nil })
		return err
	})
}

// A timer that is due while a worker runs fires at its time, not later.
func TestTimerBesideWorkerIsExact(t *testing.T) {
	asynciotest.Run(t, func(ctx context.Context) error {
		release := make(chan struct{})
		worker := asyncio.Go(ctx, func(ctx context.Context) error {
			_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
				<-release
				return 0, nil
			})
			return err
		})
		for want := 2 * time.Millisecond; want <= 10*time.Millisecond; want += 2 * time.Millisecond {
			if err := asyncio.Sleep(ctx, want-loopTime(ctx)); err != nil {
				return err
			}
			if now := loopTime(ctx); now != want {
				t.Errorf("woke at %v, want %v", now, want)
			}
		}
		close(release)
		return worker.Wait(ctx)
	})
}

func TestTimeFromAnotherGoroutine(t *testing.T) {
	asynciotest.Run(t, func(ctx context.Context) error {
		loop := asyncio.CurrentTask(ctx).Loop()
		if err := asyncio.Sleep(ctx, time.Minute); err != nil {
			return err
		}
		now, err := asyncio.ToThread(ctx, func(context.Context) (time.Duration, error) { return loop.Time(), nil })
		if now < time.Minute || now > loop.Time() {
			t.Errorf("Time() = %v on another goroutine, %v on the loop's", now, loop.Time())
		}
		return err
	})
}

// What other goroutines have posted is run before the clock moves.
func TestPostsComeBeforeTimers(t *testing.T) {
	asynciotest.Run(t, func(ctx context.Context) error {
		loop := asyncio.CurrentTask(ctx).Loop()
		posted := make(chan struct{})
		at := asyncio.NewFuture[time.Duration](ctx)
		go func() {
			defer close(posted)
			loop.CallSoonThreadsafe(func() { at.SetResult(loop.Time()) })
		}()
		<-posted
		if err := asyncio.Sleep(ctx, time.Hour); err != nil {
			return err
		}
		if when, err := at.Result(); when != 0 || err != nil {
			t.Errorf("the callback ran at %v, %v", when, err)
		}
		return nil
	})
}

func TestRunOnceIdles(t *testing.T) {
	loop := asyncio.NewEventLoop(asynciotest.WithVirtualClock())
	defer loop.Close()
	if err := loop.RunOnce(time.Hour); err != nil || loop.Time() != time.Hour {
		t.Errorf("RunOnce(1h) = %v at %v", err, loop.Time())
	}
	if err := loop.RunOnce(-1); !errors.Is(err, asyncio.ErrDeadlock) {
		t.Errorf("RunOnce(-1) = %v, want ErrDeadlock", err)
	}
}
