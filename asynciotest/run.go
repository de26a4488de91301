// Running a test's main on a virtual clock.

package asynciotest

import (
	"context"
	"testing"

	"github.com/goasyncio/asyncio"
)

// Run runs main as asyncio.Run does, on a loop with a virtual clock, and ends the
// test with Fatal if there is an error: one that main returns, a deadlock, or
// something left behind that cannot be ended. It must be called from the goroutine
// of the test. main and its tasks may use t.FailNow in the ordinary way: in main it
// ends the test, in another task it fails that task.
//
// Options come after WithVirtualClock, so that they may replace it. Its limit is that of
// StepLimit, 20 million: main, or what it waits for, is then taken for a loop without an end.
// WithVirtualClock(StepLimit(n)) sets another one.
func Run(t testing.TB, main func(ctx context.Context) error, opts ...asyncio.RunOption) {
	t.Helper()
	opts = append([]asyncio.RunOption{WithVirtualClock(StepLimit(ofOne.steps))}, opts...)
	if err := asyncio.Run(context.Background(), main, opts...); err != nil {
		t.Fatal(err)
	}
}
