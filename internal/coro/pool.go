// The pool: coroutines that have ended a body and wait for the next one.

package coro

import "iter"

// defaultMax bounds the memory that a pool holds after a burst of work: an idle
// coroutine keeps the stack it has grown, about 3 kB in all if it has grown none.
const defaultMax = 1024

// A Pool makes coroutines, and keeps those whose body has returned for the next
// body. The zero value is ready for use.
//
// Running a body in a coroutine that the pool has kept allocates nothing; see the
// package documentation for what it saves.
type Pool struct {
	// Max is how many idle coroutines are kept: 1024 if zero, none if negative.
	Max int

	idle   []*Coroutine // the last one is the next to be used: its stack is warm
	closed bool

	owner   Coroutine  // the owner's stack
	running *Coroutine // whose stack runs now
	resumer *Coroutine // who waits in Resume
	ending  *Coroutine // see makeRoom; nil but for a moment

	main func(yield func(struct{}) bool) // the bottom frame; see bottom
	body Body                            // what the first Resume after Get starts
}

// Get returns a coroutine, an idle one or a new one if there is none, whose first
// Resume starts b. That must come before the next Get. It needs a Put when the body
// has ended.
func (p *Pool) Get(b Body) *Coroutine {
	var c *Coroutine
	if n := len(p.idle); n > 0 {
		c = p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		c.status = Suspended
	} else {
		c = p.newCoroutine()
	}
	p.body = b
	return c
}

// newCoroutine makes a coroutine. Its goroutine exists from now on.
func (p *Pool) newCoroutine() *Coroutine {
	if p.main == nil {
		p.main = p.bottom()
		p.running = &p.owner
	}
	c := new(Coroutine)
	c.at, c.holds = c, c
	// Nobody needs the function that stops it: it ends when it is resumed without a body.
	c.next, _ = iter.Pull(p.main)
	return c
}

// Put gives back a coroutine whose body has ended in whatever way; its caller must
// not use c any more. The pool keeps c, or ends its goroutine if it is full or
// closed, or if the body has not returned. Neither way keeps c's panic value alive.
//
// Put panics if c's body has not ended, or if c was put before.
func (p *Pool) Put(c *Coroutine) {
	switch c.status {
	case idle:
		panic("coro: Put of a coroutine that was put before")
	case Suspended:
		panic("coro: Put of a coroutine whose body has not ended; resume it until it has")
	}
	crashed := c.status != Finished
	c.status, c.panic = idle, nil
	if crashed || !p.Keeps() {
		p.end(c)
		return
	}
	p.keep(c)
}

// keep is not inlined, so that the bottom frame of a million stacks is small.
//
//go:noinline
func (p *Pool) keep(c *Coroutine) {
	c.status = idle
	p.idle = append(p.idle, c)
}

// Close ends all idle coroutines, and makes Put end each one that it is given
// from now on. Get still works. Closing twice does nothing.
func (p *Pool) Close() {
	p.closed = true
	for _, c := range p.idle {
		p.end(c)
	}
	p.idle = nil
}

// Keeps reports whether p keeps the next coroutine whose body returns.
func (p *Pool) Keeps() bool { return !p.closed && len(p.idle) < p.max() }

// Idle returns how many coroutines the pool keeps.
func (p *Pool) Idle() int {
	return len(p.idle)
}

func (p *Pool) max() int {
	if p.Max == 0 {
		return defaultMax
	}
	return p.Max
}
