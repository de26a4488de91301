// The entry: the one locked door through which other goroutines reach a loop.

package asyncio

import (
	"sync"
	"sync/atomic"

	"github.com/goasyncio/asyncio/internal/seam"
)

// entry is a queue of what other goroutines want the loop to run. It holds the
// only mutex of a loop: everything else of it belongs to its goroutine. What is made
// for other goroutines, an Inbox, a Promise, a ThreadFuture, has one of its own.
type entry struct {
	pending atomic.Bool // posted is not empty; the loop has been woken already

	// guarded by mu
	mu     sync.Mutex
	posted []runnable
	wake   func() // interrupts the loop's poll; nil before the first run
	closed bool

	// Set once.
	tape  seam.Tape   // what keeps the posts instead; nil for none
	queue func(r any) // queues one of those

	// owned by the loop
	spare []runnable // what the loop has emptied, for the next posts
}

// post hands r to the loop and reports whether the loop will still take it.
// Any goroutine may call it.
func (e *entry) post(r runnable) bool {
	if e.tape != nil {
		return e.postTaped(r)
	}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return false
	}
	var wake func()
	if len(e.posted) == 0 { // one wake-up serves all that come before the loop looks
		e.pending.Store(true)
		wake = e.wake
	}
	e.posted = append(e.posted, r)
	e.mu.Unlock()
	if wake != nil {
		wake()
	}
	return true
}

// open sets how to wake the loop.
func (e *entry) open(wake func()) {
	e.mu.Lock()
	e.wake = wake
	e.mu.Unlock()
}

// drain moves what has been posted to the ready queue, in order.
func (e *entry) drain(ready *readyQueue) {
	if e.pending.Load() || e.tape != nil {
		e.take(ready)
	}
}

// take is drain when something may have been posted.
func (e *entry) take(ready *readyQueue) {
	if e.tape != nil {
		e.tape.Take(e.queue)
		return
	}
	e.mu.Lock()
	posted := e.posted
	e.posted = e.spare[:0]
	e.pending.Store(false)
	e.mu.Unlock()
	for _, r := range posted {
		ready.push(r)
	}
	clear(posted)
	e.spare = posted
}

// postTaped is post with a tape.
func (e *entry) postTaped(r runnable) bool {
	p := postOf(r)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.tape.Post(p, r)
	if e.wake != nil {
		e.wake()
	}
	return true
}

// close refuses all posts from now on and drops those that are waiting. A
// dropper among them is told.
func (e *entry) close() {
	e.mu.Lock()
	dropped := e.posted
	e.closed = true
	e.posted, e.wake = nil, nil
	e.mu.Unlock()
	e.spare = nil
	for _, r := range dropped {
		drop(r)
	}
}

// drop tells r that it will never run.
func drop(r any) {
	if d, ok := r.(dropper); ok {
		d.drop()
	}
}

// A dropper wants to know that it was posted and will never run.
type dropper interface{ drop() }
