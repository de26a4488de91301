// The pool: coroutines that have ended a body and wait for the next one.

package coro

// defaultMax bounds the memory that a pool holds after a burst of work: an idle
// coroutine keeps the stack it has grown, about 3 kB in all if it has grown none.
const defaultMax = 1024

// A Pool makes coroutines, and keeps those whose body has ended for the next
// body. The zero value is ready for use.
//
// Running a body in a coroutine that the pool has kept allocates nothing; see the
// package documentation for what it saves.
type Pool struct {
	// Max is how many idle coroutines are kept: 1024 if zero, none if negative.
	Max int

	idle   []*Coroutine // the last one is the next to be used: its stack is warm
	closed bool
}

// Get returns a coroutine that will run b: an idle one, or a new one if there
// is none. The first Resume starts b.
//
// Every coroutine is a goroutine, even before its first Resume, so each Get
// needs a Put.
func (p *Pool) Get(b Body) *Coroutine {
	var c *Coroutine
	if n := len(p.idle); n > 0 {
		c = p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
	} else {
		c = newCoroutine()
	}
	c.status = Suspended
	c.body = b
	return c
}

// Put gives back a coroutine whose body has ended in whatever way, or was never
// started; its caller must not use c any more. The pool keeps c, or ends its
// goroutine if it is full or closed, or if c cannot be used again because its
// body has exited. Neither way keeps c's last body or panic value alive.
//
// Put panics if c's body has begun and not ended, or if c was put before.
func (p *Pool) Put(c *Coroutine) {
	switch {
	case c.status == idle:
		panic("coro: Put of a coroutine that was put before")
	case c.status == Suspended && c.body == nil:
		panic("coro: Put of a coroutine whose body has not ended; resume it until it has")
	}
	c.status = idle
	c.body, c.value, c.stack = nil, nil, nil
	if c.unwound || p.closed || len(p.idle) >= p.max() {
		c.end()
		return
	}
	p.idle = append(p.idle, c)
}

// Close ends all idle coroutines, and makes Put end each one that it is given
// from now on. Get still works. Closing twice does nothing.
func (p *Pool) Close() {
	p.closed = true
	for _, c := range p.idle {
		c.end()
	}
	p.idle = nil
}

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
