// What a thread's number must fulfil: it stays, and no other thread has it.

package thread_test

import (
	"runtime"
	"testing"

	"github.com/goasyncio/asyncio/internal/thread"
)

func TestID(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here := thread.ID()
	if here == 0 {
		t.Skip("the system does not number its threads")
	}
	if again := thread.ID(); again != here {
		t.Errorf("a locked goroutine is on thread %d, then on %d", here, again)
	}
	other := make(chan int)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		other <- thread.ID()
	}()
	if there := <-other; there == here {
		t.Errorf("two threads, both locked, have the number %d", here)
	}
}
