// Bubbles: a loop inside testing/synctest.

package asynciotest

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/goasyncio/asyncio"
)

// RunInBubble runs main as Run does, but in a bubble of testing/synctest: package
// time itself runs on a false clock there, and so does the loop. time.Now, time.Sleep,
// context.WithTimeout, the functions of ToThread and the goroutines that main starts
// all see the same time, which goes on when every goroutine of the bubble waits. Code
// that mixes tasks and goroutines can so be tested without a real wait.
//
// The loop uses asyncio.PortableBackend, whose wait is one that synctest understands:
// for a channel. Connections in memory work, a net.Pipe that a loop adopts for
// instance. What waits in the kernel does not let the clock go on: real sockets,
// processes, signals, the reading of files. Use Run for programs that stay on the
// loop: only there are deadlocks told as asyncio.ErrDeadlock with a list of tasks
// (here synctest ends the test), and can Explore choose the schedule. Goroutines run in
// whatever order the runtime chooses. A turn costs what it costs anywhere, but a wait
// for time some 11 µs, against 0.4 µs on a virtual clock, since it is a wait of the
// whole bubble.
//
// The time begins at midnight on 1 January 2000, UTC. main is given the values and
// the cancellation of t.Context. All goroutines that are started in the bubble must end
// before the test does; t.Run and t.Parallel cannot be used in it. It panics if main or
// an option is nil.
func RunInBubble(t *testing.T, main func(t *testing.T, ctx context.Context) error, opts ...asyncio.RunOption) {
	t.Helper()
	if main == nil {
		panic("asynciotest: RunInBubble: main is nil")
	}
	if slices.Contains(opts, nil) {
		panic("asynciotest: RunInBubble: an option is nil")
	}
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		opts = append([]asyncio.RunOption{asyncio.WithBackend(asyncio.PortableBackend)}, opts...)
		err := asyncio.Run(t.Context(), func(ctx context.Context) error { return main(t, ctx) }, opts...)
		if err != nil {
			t.Fatal(err)
		}
	})
}
