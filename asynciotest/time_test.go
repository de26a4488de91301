// Tests of clocks that a test moves, of idleness and of bubbles.

package asynciotest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// agrees fails the test unless the time of day belongs to the loop's time.
func agrees(t *testing.T, ctx context.Context) {
	t.Helper()
	if now, want := asyncio.Now(ctx), epoch.Add(loopTime(ctx)); !now.Equal(want) {
		t.Errorf("Now = %v, the loop's time is %v", now, loopTime(ctx))
	}
}

func TestManualClock(t *testing.T) {
	clock := new(asynciotest.ManualClock)
	var got []string
	note := func(ctx context.Context, what string) {
		agrees(t, ctx)
		got = append(got, fmt.Sprint(what, " ", loopTime(ctx)))
	}
	asynciotest.Run(t, func(ctx context.Context) error {
		asyncio.Go(ctx, func(ctx context.Context) error {
			for range 3 {
				if err := asyncio.Sleep(ctx, 10*time.Second); err != nil {
					return err
				}
				note(ctx, "tick")
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
				note(ctx, "tock")
			}
			return nil
		})
		asyncio.RunningLoop(ctx).CallLater(15*time.Second, func() { note(ctx, "timer") })
		note(ctx, "begin")
		if err := clock.Advance(ctx, 0); err != nil {
			return err
		}
		note(ctx, "idle")
		if err := clock.Advance(ctx, 12*time.Second); err != nil {
			return err
		}
		note(ctx, "advanced")
		for range 4 {
			moved, err := clock.Step(ctx)
			if err != nil {
				return err
			}
			note(ctx, fmt.Sprint("stepped ", moved))
		}
		if err := clock.Advance(ctx, 10*time.Second); err != nil {
			return err
		}
		note(ctx, "advanced")
		return nil
	}, asynciotest.WithManualClock(clock))
	want := []string{
		"begin 0s", "idle 0s",
		"tick 10s", "tock 10s", "advanced 12s",
		"timer 15s", "stepped true 15s",
		"tick 20s", "tock 20s", "stepped true 20s",
		"tick 30s", "tock 30s", "stepped true 30s",
		"stepped false 30s",
		"advanced 40s",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if clock.Now() != 40*time.Second {
		t.Errorf("Now() = %v", clock.Now())
	}
}

func TestManualClockStandsStill(t *testing.T) {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		return asyncio.Sleep(ctx, time.Nanosecond)
	}, asynciotest.WithManualClock(new(asynciotest.ManualClock)))
	if !errors.Is(err, asyncio.ErrDeadlock) {
		t.Errorf("Run = %v, want ErrDeadlock", err)
	}
}

func TestManualClockMisuse(t *testing.T) {
	clock := new(asynciotest.ManualClock)
	asynciotest.Run(t, func(ctx context.Context) error {
		sleeper := asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Minute) })
		mover := asyncio.Go(ctx, func(ctx context.Context) error { return clock.Advance(ctx, time.Hour) }, asyncio.EagerStart())
		if _, err := clock.Step(ctx); err != asynciotest.ErrClockMoves {
			t.Errorf("Step = %v, want ErrClockMoves", err)
		}
		mover.Cancel(nil)
		if err := mover.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
			t.Errorf("Advance = %v", err)
		}
		if err := clock.Advance(ctx, time.Minute); err != nil || !sleeper.Done() || clock.Now() != time.Minute {
			t.Errorf("Advance = %v at %v", err, clock.Now())
		}
		if err := new(asynciotest.ManualClock).Advance(ctx, 1); err == nil {
			t.Error("a clock that is not the loop's was moved")
		}
		return nil
	}, asynciotest.WithManualClock(clock))
	for what, f := range map[string]func(){
		"Advance":         func() { clock.Advance(context.Background(), -1) },
		"Set":             func() { clock.Set(0) },
		"WithManualClock": func() { asyncio.NewEventLoop(asynciotest.WithManualClock(clock)) },
		"WithClockRate":   func() { asynciotest.WithClockRate(0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s has not panicked", what)
				}
			}()
			f()
		}()
	}
}

// Set inside the running loop is a jump: timers are late.
func TestManualClockJumps(t *testing.T) {
	for _, test := range []struct {
		name string
		move func(ctx context.Context, c *asynciotest.ManualClock) error // while c jumps to 1h at 10s
		ends time.Duration
	}{
		{"Set alone", func(ctx context.Context, c *asynciotest.ManualClock) error {
			c.Set(10 * time.Second)
			return asynciotest.WaitIdle(ctx)
		}, time.Hour},
		{"Advance to a time before", func(ctx context.Context, c *asynciotest.ManualClock) error { return c.Advance(ctx, time.Minute) }, time.Hour},
		{"Advance to a time after", func(ctx context.Context, c *asynciotest.ManualClock) error { return c.Advance(ctx, 2*time.Hour) }, 2 * time.Hour},
		{"Advance for ever", func(ctx context.Context, c *asynciotest.ManualClock) error { return c.Advance(ctx, math.MaxInt64) }, math.MaxInt64},
		{"Step", func(ctx context.Context, c *asynciotest.ManualClock) error {
			_, err := c.Step(ctx)
			return err
		}, time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			clock := new(asynciotest.ManualClock)
			var got []string
			asynciotest.Run(t, func(ctx context.Context) error {
				loop := asyncio.RunningLoop(ctx)
				for _, at := range []time.Duration{30, 20} {
					loop.CallAt(at*time.Second, func() { got = append(got, fmt.Sprint(at, " at ", loopTime(ctx))) })
				}
				asyncio.Go(ctx, func(ctx context.Context) error {
					if err := asyncio.Sleep(ctx, 10*time.Second); err != nil {
						return err
					}
					clock.Set(time.Hour)
					got = append(got, fmt.Sprint("jumped to ", loopTime(ctx)))
					return nil
				})
				if err := asynciotest.WaitIdle(ctx); err != nil {
					return err
				}
				return test.move(ctx, clock)
			}, asynciotest.WithManualClock(clock))
			if want := []string{"jumped to 1h0m0s", "20ns at 1h0m0s", "30ns at 1h0m0s"}; !slices.Equal(got, want) || clock.Now() != test.ends {
				t.Errorf("%q, and it is %v", got, clock.Now())
			}
		})
	}
}

func TestManualClockOfAnEmbeddedLoop(t *testing.T) {
	clock := new(asynciotest.ManualClock)
	loop := asyncio.NewEventLoop(asynciotest.WithManualClock(clock))
	defer loop.Close()
	var fired []time.Duration
	for _, d := range []time.Duration{3, 1, 2} {
		loop.CallLater(d*time.Hour, func() { fired = append(fired, d) })
	}
	for i, want := range [][]time.Duration{nil, {1, 2}, {1, 2, 3}} {
		clock.Set([]time.Duration{0, 2 * time.Hour, 5 * time.Hour}[i])
		if err := loop.RunOnce(0); err != nil || !slices.Equal(fired, want) {
			t.Errorf("RunOnce = %v, fired %v, want %v", err, fired, want)
		}
	}
}

// A program that waits for something outside goes on without the clock.
func TestManualClockBesideAWorker(t *testing.T) {
	clock := new(asynciotest.ManualClock)
	asynciotest.Run(t, func(ctx context.Context) error {
		asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Microsecond) })
		n, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
			time.Sleep(5 * time.Millisecond)
			return 7, nil
		})
		if n != 7 || clock.Now() != 0 {
			t.Errorf("ToThread = %v at %v", n, clock.Now())
		}
		return err
	}, asynciotest.WithManualClock(clock))
}

// The deadline of a NetConn is on the loop's clock.
func TestNetConnDeadlineIsVirtual(t *testing.T) {
	clock := new(asynciotest.ManualClock)
	asynciotest.Run(t, func(ctx context.Context) error {
		release := asyncio.NewFuture[int](ctx)
		server, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, _ *asyncio.StreamReader, _ *asyncio.StreamWriter) error {
			return release.Wait(ctx)
		}, nil)
		if err != nil {
			return err
		}
		r, w, err := asyncio.OpenConnection(ctx, "tcp", server.Addrs()[0].String(), nil)
		if err != nil {
			return err
		}
		conn := asyncio.NetConn(ctx, r, w)
		if err := conn.SetReadDeadline(asyncio.Now(ctx).Add(time.Hour)); err != nil {
			return err
		}
		reading := asyncio.Go(ctx, func(ctx context.Context) error {
			_, err := conn.Read(make([]byte, 1))
			return err
		})
		if err := clock.Advance(ctx, time.Hour-1); err != nil || reading.Done() {
			t.Errorf("Advance = %v, the Read has ended: %v", err, reading.Done())
		}
		if err := clock.Advance(ctx, 1); err != nil {
			return err
		}
		if err := reading.Err(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read = %v", err)
		}
		release.SetResult(0)
		return errors.Join(conn.Close(), server.Close(), server.WaitClosed(ctx))
	}, asynciotest.WithManualClock(clock))
}

func TestWaitIdle(t *testing.T) {
	asynciotest.Run(t, func(ctx context.Context) error {
		steps := 0
		asyncio.Go(ctx, func(ctx context.Context) error {
			for range 10 {
				steps++
				asyncio.RunningLoop(ctx).CallSoon(func() { steps++ })
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
			if err := asyncio.Sleep(ctx, time.Second); err != nil {
				return err
			}
			steps++
			return nil
		})
		if err := asynciotest.WaitIdle(ctx); err != nil || steps != 20 || loopTime(ctx) != 0 {
			t.Errorf("WaitIdle = %v after %d steps at %v", err, steps, loopTime(ctx))
		}
		var order []int
		for i := range 2 {
			asyncio.Go(ctx, func(ctx context.Context) error {
				err := asynciotest.WaitIdle(ctx)
				order = append(order, i)
				return errors.Join(err, asyncio.Yield(ctx))
			})
		}
		if err := asyncio.Sleep(ctx, time.Second); err != nil {
			return err
		}
		if !slices.Equal(order, []int{0, 1}) {
			t.Errorf("the order is %v", order)
		}
		waiting := asyncio.Go(ctx, asynciotest.WaitIdle, asyncio.EagerStart())
		waiting.Cancel(nil)
		if err := waiting.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
			t.Errorf("WaitIdle = %v, want a cancellation", err)
		}
		release := make(chan struct{})
		worker := asyncio.Go(ctx, func(ctx context.Context) error {
			_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) { <-release; return 0, nil })
			return err
		})
		if err := asynciotest.WaitIdle(ctx); err != nil || worker.Done() {
			t.Errorf("WaitIdle = %v beside a worker", err)
		}
		close(release)
		return worker.Wait(ctx)
	})
	err := asyncio.Run(context.Background(), asynciotest.WaitIdle)
	if err != asynciotest.ErrNoVirtualClock {
		t.Errorf("WaitIdle = %v on the wall clock", err)
	}
}

func TestClockRate(t *testing.T) {
	start := time.Now()
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		before, day := loopTime(ctx), asyncio.Now(ctx)
		if err := asyncio.Sleep(ctx, 100*time.Second); err != nil {
			return err
		}
		if passed := loopTime(ctx) - before; passed < 100*time.Second {
			t.Errorf("Sleep(100s) took %v", passed)
		}
		if passed := asyncio.Now(ctx).Sub(day); passed < 100*time.Second {
			t.Errorf("the day went on by %v", passed)
		}
		return nil
	}, asynciotest.WithClockRate(10_000))
	if passed := time.Since(start); err != nil || passed < 10*time.Millisecond || passed > 50*time.Second {
		t.Errorf("Run = %v after %v", err, passed)
	}
}

func TestRunInBubble(t *testing.T) {
	start := time.Now()
	asynciotest.RunInBubble(t, func(t *testing.T, ctx context.Context) error {
		begin := time.Now()
		at := func(what string, want time.Duration) {
			t.Helper()
			if got := time.Since(begin); got != want || loopTime(ctx) != want || !asyncio.Now(ctx).Equal(time.Now()) {
				t.Errorf("%s at %v, loop at %v, want %v", what, got, loopTime(ctx), want)
			}
		}
		if !begin.Equal(epoch) {
			t.Errorf("the bubble begins at %v", begin)
		}
		if err := asyncio.Sleep(ctx, time.Hour); err != nil {
			return err
		}
		at("after Sleep", time.Hour)
		std, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		if err := asyncio.NewFuture[int](std).Wait(std); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, asyncio.ErrCancelled) {
			t.Errorf("Wait = %v", err)
		}
		at("after context.WithTimeout", 2*time.Hour)
		if _, err := asyncio.ToThread(ctx, func(context.Context) (int, error) { time.Sleep(time.Hour); return 0, nil }); err != nil {
			return err
		}
		at("after ToThread", 3*time.Hour)
		loop, answer := asyncio.RunningLoop(ctx), asyncio.NewFuture[int](ctx)
		go func() {
			time.Sleep(time.Hour)
			loop.CallSoonThreadsafe(func() { answer.SetResult(1) })
		}()
		if err := answer.Wait(ctx); err != nil {
			return err
		}
		at("after a goroutine", 4*time.Hour)

		here, there := net.Pipe()
		go func() {
			time.Sleep(time.Hour)
			io.WriteString(there, "late\n")
			there.Close()
		}()
		r, w, err := asyncio.OpenConnection(ctx, "", "", &asyncio.ConnOptions{Conn: here})
		if err != nil {
			return err
		}
		line, err := r.ReadLine(ctx)
		if string(line) != "late\n" || err != nil {
			t.Errorf("ReadLine = %q, %v", line, err)
		}
		at("after a pipe", 5*time.Hour)
		return errors.Join(w.Close(), w.WaitClosed(ctx))
	})
	if passed := time.Since(start); passed > time.Minute {
		t.Errorf("it took %v", passed)
	}
}

func TestRunInBubbleFails(t *testing.T) {
	for program, says := range map[string]string{"bubble, error": ": burst", "bubble, deadlock": "deadlock"} {
		if out := explored(t, program); !strings.Contains(out, says) {
			t.Errorf("%s: it does not say %q:\n%s", program, says, out)
		}
	}
}
