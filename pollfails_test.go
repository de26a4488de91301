// Tests of a poll that fails: the run ends with its error, and what a Close that has
// failed leaves suspended can still be described.

package asyncio_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/sock"
)

var errPoll = errors.New("the poll has failed")

// A failingNetwork fails to poll when it is told to.
type failingNetwork struct {
	*sock.Network
	fails func() bool
}

func (n failingNetwork) Wait(d time.Duration) (bool, error) {
	if n.fails() {
		return false, errPoll
	}
	return n.Network.Wait(d)
}

func withFailingPoll(fails func() bool) asyncio.LoopOption {
	return seam.LoopOption(seam.Seams{NewNetwork: func() (seam.Network, error) {
		n, err := sock.New()
		return failingNetwork{n, fails}, err
	}}).(asyncio.LoopOption)
}

// TestCloseFails leaves a task suspended, whose stack nobody can ask for any more.
func TestCloseFails(t *testing.T) {
	needDescriptors(t)
	fails := false
	loop := asyncio.NewEventLoop(withFailingPoll(func() bool { return fails }))
	ctx := loop.Context(context.Background())
	stubborn := asyncio.Go(ctx, func(ctx context.Context) error {
		asyncio.Sleep(ctx, time.Hour)
		return asyncio.Sleep(asyncio.CleanupContext(ctx), time.Hour)
	})
	expectError(t, loop.RunUntilComplete(asyncio.Go(ctx, func(ctx context.Context) error {
		return asyncio.Sleep(ctx, time.Millisecond)
	})), nil)
	fails = true
	expectError(t, loop.Close(), errPoll)
	if s := stubborn.String(); !strings.Contains(s, "sleeps") {
		t.Error(s)
	}
}
