// Running a test's main on a virtual clock.

package asynciotest

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/goasyncio/asyncio"
)

// Run runs main as asyncio.Run does, on a loop with a virtual clock, and ends the
// test with Fatal if there is an error: one that main returns, a deadlock, or
// something left behind that cannot be ended. It must be called from the goroutine
// of the test. main and its tasks may use t.FailNow in the ordinary way: in main it
// ends the test, in another task it fails that task.
//
// What the loop logs, errors that nobody has looked at for instance, goes to the log of
// the test. A panic that would only be logged fails the test: of a task that nobody awaits,
// of a callback, of the handler of a connection.
//
// Options come after WithVirtualClock and that logger, so that they may replace them.
// The clock's limit is that of StepLimit, 20 million: main, or what it waits for, is then
// taken for a loop without an end. WithVirtualClock(StepLimit(n)) sets another one. Run
// panics if main or an option is nil.
func Run(t testing.TB, main func(ctx context.Context) error, opts ...asyncio.RunOption) {
	t.Helper()
	checkProgram("Run", main, opts)
	log := &testLog{t: t}
	defer log.end()
	opts = append([]asyncio.RunOption{WithVirtualClock(StepLimit(ofOne.steps)), asyncio.WithLogger(newLogger(log, log.fail))}, opts...)
	if err := asyncio.Run(context.Background(), main, opts...); err != nil {
		t.Fatal(err)
	}
}

// A testLog writes to the log of a test. Any goroutine may do so.
type testLog struct {
	mu sync.Mutex
	t  testing.TB // nil when the run is over
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t == nil { // what is late still has to appear somewhere
		return os.Stderr.Write(p)
	}
	return l.t.Output().Write(p)
}

func (l *testLog) fail() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t != nil {
		l.t.Fail()
	}
}

func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t = nil
}
