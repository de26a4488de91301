// Which loops are running, and on which goroutine.

package asyncio

import (
	"sync"

	"github.com/goasyncio/asyncio/internal/coro"
)

// runningLoops holds every *EventLoop that is inside a run. It is read when a
// run begins and when a mistake is explained, never on the way of an await.
var runningLoops sync.Map

// loopOn returns the loop that runs on goroutine g, or nil. It cannot know
// where the platform does not tell goroutines apart.
func loopOn(g uintptr) *EventLoop {
	if g == 0 {
		return nil
	}
	var found *EventLoop
	runningLoops.Range(func(key, _ any) bool {
		if l := key.(*EventLoop); l.g.Load() == g {
			found = l
			return false
		}
		return true
	})
	return found
}

// elsewhere explains why the calling goroutine may not use l.
func (l *EventLoop) elsewhere(op string) *UsageError {
	if other := loopOn(coro.Current()); other != nil && other != l {
		return misuse(op, ErrWrongLoop, "the context belongs to %s, but this code runs on %s; pass on the context of the running task", l.name, other.name)
	}
	if !l.active.Load() {
		return misuse(op, ErrOutsideTask, "%s is not running; call this from a task, with the context that the task was given", l.name)
	}
	return misuse(op, ErrWrongGoroutine, "%s runs on another goroutine; use RunCoroutineThreadsafe from here", l.name)
}
