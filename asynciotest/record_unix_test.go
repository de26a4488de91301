//go:build unix

// The signals that end a recorded program.

package asynciotest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func TestReplayOfInterruptedRuns(t *testing.T) {
	program := func(first func()) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			asyncio.RunningLoop(ctx).CallSoon(first)
			return asyncio.Sleep(ctx, time.Hour)
		}
	}
	var tape bytes.Buffer
	rec := asynciotest.NewRecording(&tape)
	err := asyncio.Run(context.Background(), program(func() { syscall.Kill(os.Getpid(), syscall.SIGHUP) }),
		asynciotest.WithRecording(rec), asyncio.WithInterrupt(syscall.SIGHUP))
	if !errors.Is(err, asyncio.ErrInterrupted) {
		t.Fatal(err)
	}
	again := asynciotest.Replay(&tape, program(func() {}), asyncio.WithInterrupt(syscall.SIGHUP))
	if !errors.Is(again, asyncio.ErrInterrupted) || again.Error() != err.Error() {
		t.Errorf("the replay: %v, recorded %v", again, err)
	}
}
