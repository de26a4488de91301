// Tests of interrupts: the first signal cancels main, the second one tells who is
// in the way.

//go:build unix

package asyncio_test

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

func TestInterrupt(t *testing.T) {
	signal := func() { kill(syscall.SIGUSR1) }
	interrupted := asyncio.WithInterrupt(syscall.SIGUSR1)
	t.Run("RUN-019 RUN-020 the first signal cancels main and what it awaits", func(t *testing.T) {
		var f *asyncio.Future[int]
		err := asyncio.Run(background, func(ctx context.Context) error {
			f = asyncio.NewFuture[int](ctx)
			f.Loop().CallSoon(signal)
			return f.Wait(ctx)
		}, interrupted)
		expectError(t, err, asyncio.ErrInterrupted)
		expectError(t, err, asyncio.ErrCancelled)
		if !f.Cancelled() {
			t.Errorf("%v", f)
		}
	})
	t.Run("RUN-019 also a main that only yields", func(t *testing.T) {
		err := asyncio.Run(background, func(ctx context.Context) error {
			signal()
			for {
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
		}, interrupted)
		expectError(t, err, asyncio.ErrInterrupted)
	})
	t.Run("RUN-021 a main that was cancelled before ends with that", func(t *testing.T) {
		err := asyncio.Run(background, func(ctx context.Context) error {
			asyncio.CurrentTask(ctx).Cancel(io2)
			err := hour(ctx)
			signal()
			asyncio.Sleep(context.WithoutCancel(ctx), 10*time.Millisecond)
			return err
		}, interrupted)
		expectError(t, err, io2)
	})
	t.Run("a main may catch it, and go on to another run", func(t *testing.T) {
		r := asyncio.NewRunner(interrupted)
		defer r.Close()
		for range 2 {
			expectError(t, r.Run(background, func(ctx context.Context) error {
				signal()
				err := hour(ctx)
				expectError(t, err, asyncio.ErrInterrupted)
				return asyncio.Yield(asyncio.CleanupContext(ctx))
			}), nil)
		}
	})
	t.Run("the second signal prints the tasks", func(t *testing.T) {
		stderr := os.Stderr
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		os.Stderr = write
		defer func() { os.Stderr = stderr }()
		expectError(t, asyncio.Run(background, func(ctx context.Context) error {
			child := asyncio.Go(ctx, hour, asyncio.WithName("child"))
			signal()
			expectError(t, child.Wait(ctx), asyncio.ErrInterrupted)
			asyncio.Go(ctx, hour, asyncio.WithName("second child"))
			signal()
			text := make([]byte, 4096)
			n, err := asyncio.ToThread(context.WithoutCancel(ctx), func(context.Context) (int, error) { return 0, nil })
			for err == nil && n == 0 {
				asyncio.Sleep(context.WithoutCancel(ctx), time.Millisecond)
				read.SetReadDeadline(time.Now().Add(time.Millisecond))
				n, _ = read.Read(text)
			}
			if s := string(text[:n]); !strings.Contains(s, "main") || !strings.Contains(s, "second child") {
				t.Errorf("printed %q", s)
			}
			return nil
		}, interrupted), nil)
		read.Close()
		write.Close()
	})
}
