// Package coro makes stacks that can be left and re-entered. It is the only
// user of [iter.Pull] in the project, and knows nothing of loops or tasks.
//
// A [Coroutine] runs a [Body] on a goroutine of its own. [Pool.Resume]
// hands control to it, [Pool.Suspend], called from inside, hands it back, and
// [Pool.HandOver] passes it on to another one; none goes through the scheduler. A
// [Pool] keeps coroutines whose body has returned for the next body, because making
// one costs several times as much.
//
// # Threads
//
// A pool and its coroutines belong to one goroutine, the owner. Only the owner
// may use them, or a coroutine of the owner's while it runs. Nothing here locks,
// and use by another goroutine is not detected: with [Current] callers can detect
// it themselves.
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
// five times as long as with one, and 7 allocations.
package coro

import (
	"runtime"
	"runtime/debug"
)

// A Body is what a coroutine runs. It is an interface rather than a function so
// that starting one allocates nothing: whatever has the state that the body needs can
// be the body, where a function would be a closure over it.
type Body interface {
	// RunCoroutine returns nil, or what goes on in its stead: [Pool.Resumer] or a
	// coroutine that is suspended. Then nobody hears of the end of the body, and the
	// coroutine goes back to the pool by itself. That needs [Pool.Keeps].
	RunCoroutine() (next *Coroutine)
}

// A Status says how a call of Resume came to its end.
type Status uint8

const (
	Suspended Status = iota // the body called Suspend
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

// A Coroutine is a stack that runs one body at a time. [Pool.Get] makes one. The stack
// of a pool's owner is one, too.
//
// There may be a million of them, so it is small, and few frames are below the
// body: whenever the garbage collector looks at a stack, each costs it some 70 ns.
//
// # Gates
//
// Package iter knows a function that calls and one that yields, and a pair of switches
// between them. But what it has underneath is symmetric: a gate, in which one stack
// waits. Whoever goes through changes places with it, and waits there instead. A caller
// goes through by next, a yielder by yield, and those take turns; who they are, nobody
// asks. So any stack gets to any other one by a single switch, if it knows in which gate
// that waits. Each coroutine brings a gate along, and waits there at first. (Should a
// later version of package iter ask, the tests of this package tell.)
type Coroutine struct {
	next  func() (struct{}, bool) // through its gate,
	yield func(struct{}) bool     // by turns

	at    *Coroutine // in whose gate this one's stack waits, unless it runs
	holds *Coroutine // whose stack waits in the gate

	panic *bodyPanic // with which the body has ended; nil if it has not

	// status is Suspended as long as there is a body that has not ended, even
	// while it runs: so neither Resume nor Suspend has to write it.
	status Status
	called bool // the gate's next was called after its last yield
}

// A bodyPanic is a panic that has ended a body.
type bodyPanic struct {
	value any
	stack []byte
}

// Status returns how c was left.
func (c *Coroutine) Status() Status { return c.status }

// switchTo goes on with c, and waits until somebody goes on with who calls it.
func (p *Pool) switchTo(c *Coroutine) {
	me, gate := p.running, c.at
	p.running = c
	me.at, gate.holds = gate, me
	if gate.called = !gate.called; gate.called {
		gate.next()
	} else {
		gate.yield(struct{}{})
	}
	if p.ending != nil {
		p.makeRoom()
	}
}

// Resume runs c until it, or a coroutine that it has handed over to, suspends or ends;
// see [Coroutine.Status].
//
// It may be called from within another coroutine, which then waits for that. It panics
// if c's body has ended or if c is running.
func (p *Pool) Resume(c *Coroutine) {
	switch {
	case c.status != Suspended:
		panic("coro: Resume of a coroutine whose body has ended")
	case c == p.running:
		panic("coro: Resume of the coroutine that is running")
	}
	outer := p.resumer
	p.resumer = p.running
	p.switchTo(c)
	p.resumer = outer
}

// Suspend leaves the running coroutine, and goes on with whoever called Resume. It
// returns when the coroutine is resumed, or handed over to. Deferred functions that run
// because the body panics or exits may call it, too.
func (p *Pool) Suspend() {
	if p.resumer == nil {
		panic("coro: Suspend outside of a coroutine")
	}
	p.switchTo(p.resumer)
}

// HandOver suspends the running coroutine and goes on with c, as if whoever has resumed
// the one had now resumed the other. That takes one switch, where Suspend and Resume
// take two.
func (p *Pool) HandOver(c *Coroutine) { p.switchTo(c) }

// Running returns the coroutine that runs now.
func (p *Pool) Running() *Coroutine { return p.running }

// Resumer returns who waits in Resume.
func (p *Pool) Resumer() *Coroutine { return p.resumer }

// Panic returns the value that the body panicked with and the stack at that
// moment, as formatted by [debug.Stack]. Otherwise, also after Exited, and after
// [Pool.Put], both are nil.
func (c *Coroutine) Panic() (value any, stack []byte) {
	if c.panic == nil {
		return nil, nil
	}
	return c.panic.value, c.panic.stack
}

// bottom returns the bottom frame of the pool's coroutines: it runs one body after
// the other. One function serves them all, and finds in the pool which of them it is.
func (p *Pool) bottom() func(yield func(struct{}) bool) {
	return func(yield func(struct{}) bool) {
		c := p.running
		c.yield = yield
		defer p.fall(c)
		for c.status == Suspended {
			b := p.body
			p.body = nil // the body has begun, and p must not be what keeps it alive
			if next := b.RunCoroutine(); next != nil {
				p.keep(c)
				p.switchTo(next)
			} else {
				c.status = Finished
				p.switchTo(p.resumer)
			}
		}
	}
}

// fall is called when the bottom frame of c is left. If that is because of a panic or
// Goexit, neither must reach iter.Pull, which would pass it on to whoever called
// next: it switches away in the middle of the unwinding, and Resume returns.
// Control comes back only for c to end. It then panics, because
// iter.Pull then takes this panic, and not Goexit, for the reason of the unwinding
// and passes its value on to end, which can recover it. With the panic out of the
// way Goexit goes on, and ends the goroutine.
func (p *Pool) fall(c *Coroutine) {
	if c.status != Suspended {
		return // it has been ended
	}
	value := recover()
	if value == nil && panicking() {
		value = new(runtime.PanicNilError) // as without GODEBUG=panicnil=1
	}
	if c.status = Exited; value != nil {
		c.status = Panicked
		c.panic = &bodyPanic{value, debug.Stack()}
	}
	p.switchTo(p.resumer)
	panic(falling)
}

// panicking reports whether the deferred function that calls it runs because of a
// panic, even if recover said nil, and not because of Goexit.
func panicking() bool {
	pc, _, _, _ := runtime.Caller(2)
	f := runtime.FuncForPC(pc)
	return f != nil && f.Name() == "runtime.gopanic"
}

// falling is what fall panics with; it never leaves this package.
var falling = new(byte)

// end ends c's goroutine. c must have no body that has begun and not ended.
//
// A goroutine that ends goes on with what waits in its own gate, so that has to be who
// calls end. If another stack waits there, it has to make room.
func (p *Pool) end(c *Coroutine) {
	me := p.running
	defer func() {
		if v := recover(); v != nil && v != any(falling) {
			panic(v)
		}
		p.running = me
	}()
	if c.holds == c {
		p.switchTo(c)
		return
	}
	p.ending = c
	p.switchTo(c.holds)
}

// makeRoom goes on with the coroutine that is to be ended, in whose gate the running
// one has waited until now, and waits in another gate for its own turn.
func (p *Pool) makeRoom() {
	c := p.ending
	p.ending = nil
	p.switchTo(c)
}
