// Which loops are running, and on which goroutine.

package asyncio

import (
	"runtime"
	"sync"

	"github.com/goasyncio/asyncio/internal/coro"
	"github.com/goasyncio/asyncio/internal/thread"
)

// runningLoops holds every *EventLoop that is inside a run. It is read when a
// run begins and when a mistake is explained, never on the way of an await.
var runningLoops sync.Map

// A threadLock is a goroutine on a thread that it is locked to, for the sake of
// the loops that it has run and not closed. They share one lock: the runtime throws
// when a coroutine is resumed under more or fewer locks than it was made under, and
// so it would when two loops take turns on one goroutine.
//
// A goroutine that has ended takes its thread with it. So the thread tells it from
// a later one that the platform takes for the same.
type threadLock struct {
	g      uintptr
	thread int
}

// lockedFor counts the open loops for each threadLock, as a *int that only the
// goroutine of the lock uses.
var lockedFor sync.Map

// lockedThread describes the thread that the calling goroutine, which is g, is locked to.
func lockedThread(g uintptr) threadLock { return threadLock{g, thread.ID()} }

// lockThread locks the calling goroutine, which is g, to its thread for one more loop.
func lockThread(g uintptr) threadLock {
	runtime.LockOSThread()
	k := lockedThread(g)
	if k == (threadLock{}) {
		return k
	}
	n, _ := lockedFor.LoadOrStore(k, new(int))
	if *n.(*int)++; *n.(*int) > 1 {
		runtime.UnlockOSThread()
	}
	return k
}

// unlock takes the lock back for one loop.
func (k threadLock) unlock() {
	if k != (threadLock{}) {
		n, _ := lockedFor.Load(k)
		if *n.(*int)--; *n.(*int) > 0 {
			return
		}
		lockedFor.Delete(k)
	}
	runtime.UnlockOSThread()
}

// loopOn returns the loop that runs on the calling goroutine, which is g, or nil. Where
// the platform does not tell goroutines apart, its thread tells: it is the loop's alone,
// unless that runs on a simulated machine.
func loopOn(g uintptr) *EventLoop {
	id := 0
	if g == 0 {
		if id = thread.ID(); id == 0 {
			return nil
		}
	}
	var found *EventLoop
	runningLoops.Range(func(key, _ any) bool {
		if l := key.(*EventLoop); l.g.Load() == g && (g != 0 || l.machine == nil && l.thread.thread == id) {
			found = l
			return false
		}
		return true
	})
	return found
}

// waitsForMe reports whether nobody but the calling goroutine can run l. It
// cannot know where the platform does not tell goroutines apart.
func (l *EventLoop) waitsForMe() bool {
	me := coro.Current()
	return me != 0 && (me == l.g.Load() || me == l.home.Load())
}

// mayResume reports whether the calling goroutine may resume coroutines of l: it runs
// for l now, or it has run l. The runtime ends the process if the goroutine is not
// locked to the same thread. So the thread is asked, too: where the platform does not
// tell goroutines apart, or takes this one for one that has ended, it makes the
// difference. After Close the thread is not locked any more.
func (l *EventLoop) mayResume() bool {
	g, me := l.g.Load(), coro.Current()
	if l.closed.Load() || g != me && (g != 0 || l.home.Load() != me) {
		return false
	}
	id := thread.ID()
	return l.locked && l.thread.thread == id && (me != 0 || id != 0)
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
