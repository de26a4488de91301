// Package coro makes stacks that can be left and re-entered. It is the only
// user of [iter.Pull] in the project, and knows nothing of loops or tasks.
//
// A [Coroutine] runs a [Body] on a goroutine of its own. [Coroutine.Resume]
// hands control to it, [Coroutine.Suspend], called from inside, hands it back;
// neither goes through the scheduler. A [Pool] keeps coroutines whose body has
// ended for the next body, because making one costs several times as much.
//
// # Threads
//
// A pool and its coroutines belong to one goroutine, the owner. Only the owner
// may use them, or a coroutine of the owner's while it runs. Nothing here locks,
// and use by another goroutine is not detected: with [Current] and [Coroutine.G]
// callers can detect it themselves.
//
// The thread lock of the owner ([runtime.LockOSThread]) must be the same
// whenever a coroutine is made, resumed, or ended by its pool. The runtime
// checks it at each switch, and where it differs ends the process with a fatal
// error that no recover sees. So a body must not change its own thread lock
// across a Suspend, and must not suspend in a callback from C. With a locked
// owner, all its coroutines run on that one thread.
//
// # Endings
//
// A body can end in three ways, and none of them reaches the caller of Resume
// except as a [Status]: it returns, it panics, or it calls [runtime.Goexit],
// as testing.T.FailNow does. While it unwinds, its deferred functions may
// suspend like any other code. A coroutine whose body has not ended cannot be
// got rid of: whoever resumes it has to bring it to an end.
//
// # Cost
//
// Measured on two virtual cores of an x86-64 server: a Resume and a Suspend take
// a quarter of the time of a round trip over two unbuffered channels and
// allocate nothing; iter.Pull by itself is hardly faster. To take a coroutine
// from the pool, run an empty body and put it back takes a fifth more than that.
// To do the same without a pool, with a new coroutine each time, takes four to
// five times as long as with one, and 8 allocations.
package coro

import (
	"iter"
	"runtime"
	"runtime/debug"
)

// A Body is what a coroutine runs. It is an interface rather than a function so
// that starting one allocates nothing: whatever has the state that the body
// needs can be the body, where a function would be a closure over it.
type Body interface{ RunCoroutine() }

// A Status says how a call of Resume came to its end.
type Status uint8

const (
	Suspended Status = iota // the body called Suspend, or was never resumed
	Finished                // the body returned
	Panicked                // the body panicked; see Coroutine.Panic
	Exited                  // the body called runtime.Goexit

	// idle is the status of a coroutine that was given back to its pool.
	idle
)

// String returns the status in lower case, as in "suspended".
func (s Status) String() string {
	switch s {
	case Suspended:
		return "suspended"
	case Finished:
		return "finished"
	case Panicked:
		return "panicked"
	case Exited:
		return "exited"
	case idle:
		return "idle"
	}
	return "invalid"
}

// A Coroutine is a stack that runs one body at a time. [Pool.Get] makes one.
type Coroutine struct {
	// status is Suspended as long as there is a body that has not ended, even
	// while it runs: so neither Resume nor Suspend has to write it.
	status Status

	// unwound says that Goexit has left the bottom frame. The goroutine then
	// waits in a deferred function and can do nothing but end.
	unwound bool

	body  Body // what the next Resume starts; nil once started
	value any
	stack []byte

	// Set once, when the coroutine is made.
	next func() (struct{}, bool)
	stop func()

	// Set once, by the coroutine's goroutine at its start.
	g     uintptr
	yield func(struct{}) bool
}

// newCoroutine makes a coroutine without a body. Its goroutine exists from now
// on, and stays until end is called.
func newCoroutine() *Coroutine {
	c := new(Coroutine)
	c.next, c.stop = iter.Pull(c.main)
	return c
}

// Resume runs c until its body suspends or ends, and says which. The first
// Resume after [Pool.Get] starts the body.
//
// It may be called from within another coroutine, which then waits for c to
// suspend or end. It panics if c's body has ended or if c is running.
func (c *Coroutine) Resume() Status {
	if c.status != Suspended {
		panic("coro: Resume of a coroutine whose body has ended")
	}
	c.next()
	return c.status
}

// Suspend gives control back to whoever resumed c, and returns at the next
// Resume. Only c's body, on c's own goroutine, may call it; deferred functions
// that run because the body panics or exits may do so too.
func (c *Coroutine) Suspend() {
	c.yield(struct{}{})
}

// G returns what [Current] returns inside c. It does not change as c runs one
// body after another, but is zero before c's first Resume of all, because only
// the goroutine itself can tell. Inside the body it is always set, so a caller
// that has to know it while the body runs can let the body say it.
func (c *Coroutine) G() uintptr {
	return c.g
}

// Panic returns the value that the body panicked with and the stack at that
// moment, as formatted by [debug.Stack]. Otherwise, also after Exited, and after
// [Pool.Put], both are nil.
func (c *Coroutine) Panic() (value any, stack []byte) {
	return c.value, c.stack
}

// main is the bottom frame: it runs bodies until yield tells it to stop.
func (c *Coroutine) main(yield func(struct{}) bool) {
	c.g = Current()
	c.yield = yield

	stopped := false
	defer func() {
		if !stopped {
			c.leave()
		}
	}()
	for !stopped {
		c.run()
		if c.status != Finished {
			c.panicked()
		}
		stopped = !yield(struct{}{})
	}
}

// run runs one body. It returns if the body returned, with the status Finished,
// or panicked. If the body called Goexit, run does not return at all.
func (c *Coroutine) run() {
	defer c.catch()
	b := c.body
	c.body = nil // the body has begun, and c must not be what keeps it alive
	b.RunCoroutine()
	c.status = Finished
}

// catch stops a panic and keeps what is known of it: here the frames of the
// body are still on the stack. It cannot stop Goexit, for which recover returns
// nil, as it may for panic(nil) (GODEBUG=panicnil=1). What happens next tells
// them apart: after a panic run returns, after Goexit the deferred function of
// main runs.
//
// The stack costs as much as all else that ends a body by Goexit, and nobody asks
// for it. So it is left out if Goexit is seen to be who calls catch; if it is not
// seen, that is but a waste.
func (c *Coroutine) catch() {
	if c.status == Finished {
		return
	}
	c.value = recover()
	if c.value != nil || !calledBy("runtime.Goexit") {
		c.stack = debug.Stack()
	}
}

// calledBy reports whether the caller of its caller has that name.
func calledBy(name string) bool {
	var pc [1]uintptr
	runtime.Callers(3, pc[:])
	f, _ := runtime.CallersFrames(pc[:]).Next()
	return f.Function == name
}

// panicked sets the status after a panic that catch has stopped.
func (c *Coroutine) panicked() {
	c.status = Panicked
	if c.value == nil {
		c.value = new(runtime.PanicNilError)
	}
}

// leave keeps Goexit from reaching iter.Pull, which would pass it on to whoever
// called Resume: it switches away in the middle of the unwinding, and Resume
// returns with a status. Control comes back only for c to end. It then panics,
// because iter.Pull then takes the panic, not Goexit, for the reason of the
// unwinding and passes its value on to end, which can recover it. With the panic
// out of the way Goexit goes on, and ends the goroutine.
func (c *Coroutine) leave() {
	c.unwound = true
	c.status = Exited
	if c.value != nil {
		// A deferred function panicked during Goexit. That is the worse news:
		// in a plain goroutine it would have ended the process.
		c.status = Panicked
	}
	c.yield(struct{}{})
	panic(unwinding)
}

// unwinding is what leave panics with; it never leaves this package.
var unwinding = new(byte)

// end ends c's goroutine. c must have no body that has begun and not ended.
func (c *Coroutine) end() {
	if c.unwound {
		defer func() {
			if v := recover(); v != any(unwinding) {
				panic(v)
			}
		}()
	}
	c.stop()
}
