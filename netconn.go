// Connections of package net: a stream for code that knows no loop.

package asyncio

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/goasyncio/asyncio/internal/coro"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/thread"
)

// NetConn returns the stream of r and w as a net.Conn, for code that reads and
// writes as if it blocked: bufio, http.ReadRequest, crypto/tls, a codec of any
// protocol. Called from a task, Read and Write suspend that task, whichever it is,
// and the other tasks of the loop go on. Called from a goroutine that is not the
// loop's, they do their work on the loop and block that goroutine meanwhile, so that
// it can be given to http.Transport, or to a function that ToThread runs. Both may
// happen at once. All methods may be called from any goroutine.
//
// Read returns as soon as there is something. Write returns when all of p is sent
// or buffered; while the writer's buffer is above its high mark it waits, so that a
// slow peer slows its writer down. In each direction there is one call at a time, and
// the others wait for their turn, first come, first served. What r has buffered is read
// first. Using r and w as well is allowed, but not a Read of r while one of the net.Conn waits.
//
// ctx is what the calls wait with: they end when it is cancelled, also those of other
// goroutines, and those of a task when that is cancelled, with an error that Is
// ErrCancelled. They lose nothing: what was not read can be read, and Write tells how much
// it has taken. The context of a task is done when the task has ended: a net.Conn that is
// to outlive it takes context.WithoutCancel(ctx), or EventLoop.Context. A task that has been
// cancelled and has to say good-bye makes another one, with CleanupContext(ctx).
//
// A deadline takes effect at once, also for calls that wait, and ends them with an error
// that Is os.ErrDeadlineExceeded and is a net.Error with Timeout; nothing is lost, and
// with a later deadline, or none, the connection can be used again. It is a time of day on
// the loop, that is, on the clock of Now.
//
// Close closes the writer, and the reader where that is not the same connection (of
// two pipes), and ends all calls that wait. What was written is still sent, as after
// the Close of the writer. Closed, or when the loop is, all calls return an error that Is
// net.ErrClosed. The net.Conn also has the method CloseWrite() error, which is
// WriteEOF of the writer. Other errors are those of the streams.
//
// In a callback of the loop nothing can wait: there Read and Write return a *UsageError. So
// they do on another loop's goroutine, which they would hold up: use ToThread there. While the
// loop is not running, other goroutines wait until it runs again or is closed. Code that
// holds a sync.Mutex while it reads or writes, as a tls.Conn does, must not be
// used by two tasks for the same direction: the second one would block the loop.
//
// From a task, Read and Write cost some 20 ns more than those of the stream, and allocate
// nothing in the task that ctx is of. From another goroutine a call wakes the loop and the
// loop wakes that goroutine, which takes 15 to 20 µs (measured on two virtual cores); it
// allocates nothing unless it has to wait, for which a task is made.
//
// NetConn panics with a *UsageError if r or w is nil or does not belong to the loop of
// ctx, and if it is not called on the goroutine of the loop.
func NetConn(ctx context.Context, r *StreamReader, w *StreamWriter) net.Conn {
	const op = "NetConn"
	l := loopOf(ctx, op)
	l.check(op)
	switch {
	case r == nil || w == nil:
		panic(misuse(op, ErrBadArgument, "the reader or the writer is nil"))
	case r.loop != l || w.tr.loop != l:
		panic(misuse(op, ErrWrongLoop, "the reader belongs to %s, the writer to %s, the context to %s", r.loop.name, w.tr.loop.name, l.name))
	}
	c := &netConn{ctx: ctx, loop: l, r: r, w: w, local: w.LocalAddr(), remote: w.RemoteAddr()}
	c.reading = netHalf{conn: c, op: "read", method: "NetConn.Read"}
	c.writing = netHalf{conn: c, op: "write", method: "NetConn.Write", writes: true}
	return c
}

// netConn is a net.Conn of a stream.
type netConn struct {
	// Set once.
	ctx           context.Context
	loop          *EventLoop
	r             *StreamReader
	w             *StreamWriter
	local, remote net.Addr // here for other goroutines

	// Owned by the loop.
	reading, writing netHalf
	closed           bool
}

func (c *netConn) Read(p []byte) (int, error)  { return c.reading.call(p) }
func (c *netConn) Write(p []byte) (int, error) { return c.writing.call(p) }
func (c *netConn) LocalAddr() net.Addr         { return c.local }
func (c *netConn) RemoteAddr() net.Addr        { return c.remote }

func (c *netConn) Close() error {
	return c.onLoop("close", func() error {
		c.closed = true
		c.reading.setDeadline(time.Time{})
		c.writing.setDeadline(time.Time{})
		err := c.w.Close()
		if c.r.peer != c.w {
			err = errors.Join(err, c.r.Close())
		}
		c.writing.wake()
		return err
	})
}

func (c *netConn) CloseWrite() error { return c.onLoop("close", c.w.WriteEOF) }

func (c *netConn) SetDeadline(t time.Time) error {
	return c.onLoop("set", func() error {
		c.reading.setDeadline(t)
		c.writing.setDeadline(t)
		return nil
	})
}

func (c *netConn) SetReadDeadline(t time.Time) error  { return c.reading.deadline(t) }
func (c *netConn) SetWriteDeadline(t time.Time) error { return c.writing.deadline(t) }

// awaiting returns the context with which task t waits. A context that is shielded says
// nothing about the tasks of others, which still end when they are cancelled.
func (c *netConn) awaiting(t *task) context.Context {
	if scopeOf(c.ctx).task != t && shielded(c.ctx) {
		return t.top
	}
	return c.ctx
}

// inside reports whether the calling goroutine is the loop's.
func (c *netConn) inside() bool {
	l, me := c.loop, coro.Current()
	if me == 0 { // the platform does not tell goroutines apart, but a loop has its thread
		return thread.ID() == l.thread.thread
	}
	return me == l.g.Load() || me == l.home.Load()
}

// onLoop runs fn, which does not wait, on the loop's goroutine.
func (c *netConn) onLoop(op string, fn func() error) error {
	check := func() error {
		if c.closed {
			return c.error(op, net.ErrClosed)
		}
		return fn()
	}
	if c.inside() {
		if c.loop.closed.Load() {
			return c.error(op, net.ErrClosed)
		}
		return check()
	}
	x := &netCall{conn: c, op: op, fn: check, done: make(chan struct{}, 1)}
	if !c.loop.entry.post(x) {
		return c.error(op, net.ErrClosed)
	}
	if loopOn(coro.Current()) != nil {
		return nil // another loop must not be held up
	}
	<-x.done
	return x.err
}

func (c *netConn) error(op string, err error) error {
	return &net.OpError{Op: op, Net: c.w.tr.origin.network, Source: c.local, Addr: c.remote, Err: err}
}

// tryRead reads what is there.
func (c *netConn) tryRead(p []byte) (int, error) {
	if c.r.peer != nil && c.r.peer.tr.closing {
		return 0, c.error("read", net.ErrClosed)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if c.r.peer == nil && c.r.err != nil {
		return 0, c.r.err // as in StreamReader.Read it comes before what is buffered
	}
	return c.r.readNow(p)
}

// tryWrite writes what there is room for, in pieces: so that what is buffered does
// not grow with len(p).
func (c *netConn) tryWrite(p []byte) (int, error) {
	tr := &c.w.tr
	for n := 0; ; {
		if err := tr.writing(); err != nil {
			return n, tr.error("write", err)
		}
		if n == len(p) {
			return n, nil
		}
		if tr.full {
			return n, seam.ErrWouldBlock
		}
		piece := p[n:min(len(p), n+defaultHigh)]
		if err := tr.write(piece); err != nil {
			return n, tr.error("write", err)
		}
		n += len(piece)
	}
}

// netHalf is one direction of a netConn. It belongs to the loop.
type netHalf struct {
	conn    *netConn
	op      string // for errors of the network
	method  string // for mistakes
	writes  bool
	lock    Lock  // held by the call whose turn it is
	holder  *task // the task of that call
	timer   *TimerHandle
	expired bool
}

// call is Read or Write.
func (h *netHalf) call(p []byte) (int, error) {
	c := h.conn
	if !c.inside() {
		return h.callThrough(p)
	}
	if c.loop.closed.Load() {
		return 0, c.error(h.op, net.ErrClosed)
	}
	t, err := current(c.ctx, h.method)
	if err != nil {
		return 0, err
	}
	if !h.lock.take(t.number()) {
		if h.expired {
			return 0, h.timeout()
		}
		if err := h.lock.acquire(c.awaiting(t), t); err != nil {
			return 0, h.reason(err)
		}
	}
	return h.finish(t, p)
}

// finish does what p asks for, waiting for it. It is this call's turn, and after it
// the next one's.
func (h *netHalf) finish(t *task, p []byte) (n int, err error) {
	h.holder = t
	defer h.release()
	ctx := h.conn.awaiting(t)
	for {
		m, err := h.try(p[n:])
		if n += m; err != seam.ErrWouldBlock {
			return n, err
		}
		if h.writes {
			err = t.parkIn(ctx, &h.conn.w.lines().drainers)
		} else {
			err = h.conn.r.wait(ctx, t, "Read")
		}
		if err != nil {
			return n, h.reason(err)
		}
	}
}

func (h *netHalf) release() {
	h.holder = nil
	h.lock.Release()
}

// try does what can be done without waiting. With seam.ErrWouldBlock there is more to do.
func (h *netHalf) try(p []byte) (int, error) {
	switch {
	case h.conn.closed:
		return 0, h.conn.error(h.op, net.ErrClosed)
	case h.expired:
		return 0, h.timeout()
	case h.writes:
		return h.conn.tryWrite(p)
	}
	return h.conn.tryRead(p)
}

// errDeadline is the cause by which a deadline ends an await.
var errDeadline = errors.New("the deadline has passed")

// reason is the error of a call whose await has returned err.
func (h *netHalf) reason(err error) error {
	if e, ok := err.(*CancelledError); ok && e.Cause == errDeadline {
		return h.timeout()
	}
	return err
}

func (h *netHalf) timeout() error { return h.conn.error(h.op, os.ErrDeadlineExceeded) }

func (h *netHalf) deadline(t time.Time) error {
	return h.conn.onLoop("set", func() error {
		h.setDeadline(t)
		return nil
	})
}

// setDeadline sets a time of day; the zero time is none.
func (h *netHalf) setDeadline(t time.Time) {
	if h.timer != nil {
		h.timer.Cancel()
		h.timer = nil
	}
	h.expired = false
	if t.IsZero() {
		return
	}
	l := h.conn.loop
	if d := t.Sub(l.clock.Wall()); d > 0 {
		h.timer = l.callAt(after(l.clock.Now(), d), h.expire)
	} else {
		h.expire()
	}
}

// expire ends the awaits of all calls.
func (h *netHalf) expire() {
	h.timer = nil
	h.expired = true
	for p := h.lock.waiters.next; p != nil; p = h.lock.waiters.next {
		p.cancelAwait(errDeadline)
	}
	if t := h.holder; t != nil && t.suspended {
		t.waiter.cancelAwait(errDeadline)
	}
}

// wake lets the call whose turn it is look again.
func (h *netHalf) wake() {
	if t := h.holder; t != nil && t.suspended {
		if w, ok := t.waiter.(*waiter); ok {
			w.wake(nil)
		}
	}
}

// A netCall is a call of another goroutine on its way to the loop and back. The
// goroutine waits, so that what it gave in p is the loop's until done.
type netCall struct {
	conn *netConn
	op   string
	fn   func() error // for what does not wait
	half *netHalf     // for Read and Write
	p    []byte
	done chan struct{} // has room for one

	// Owned by the loop until done.
	n    int
	err  error
	task *Task[struct{}] // if it has to wait
	held bool            // it is the turn of this call, and the task has not begun
}

// netCalls keeps calls of Read and Write that are over.
var netCalls = sync.Pool{New: func() any { return &netCall{done: make(chan struct{}, 1)} }}

// callThrough is call for other goroutines.
func (h *netHalf) callThrough(p []byte) (int, error) {
	c := h.conn
	if other := loopOn(coro.Current()); other != nil {
		return 0, misuse(h.method, ErrWrongLoop, "the connection belongs to %s and would hold up %s; use ToThread", c.loop.name, other.name)
	}
	x := netCalls.Get().(*netCall)
	x.conn, x.op, x.half, x.p = c, h.op, h, p
	if !c.loop.entry.post(x) {
		x.drop()
	}
	<-x.done
	n, err := x.n, x.err
	*x = netCall{done: x.done}
	netCalls.Put(x)
	return n, err
}

// run is the call's turn on the loop.
func (x *netCall) run() {
	switch {
	case x.half == nil:
		x.err = x.fn()
	case x.conn.loop.closing:
		x.err = x.conn.error(x.op, net.ErrClosed)
	default:
		x.err = seam.ErrWouldBlock
		if x.held = x.half.lock.take(0); x.held {
			x.n, x.err = x.half.try(x.p)
		}
		if x.err == seam.ErrWouldBlock {
			x.wait()
			return
		}
		x.held = false
		x.half.release()
	}
	x.done <- struct{}{}
}

// String names the call, for the report of slow callbacks.
func (x *netCall) String() string { return "a " + x.op + " of a NetConn on another goroutine" }

// drop is the end of a call that the loop does not run any more.
func (x *netCall) drop() {
	x.err = x.conn.error(x.op, net.ErrClosed)
	x.done <- struct{}{}
}

// wait does what is left in a task, from now on: so it keeps its place in the line.
func (x *netCall) wait() {
	l := x.conn.loop
	defer func() {
		if p := recover(); p != nil { // of a task factory
			x.err = &PanicError{Value: p, Stack: stack()}
			l.CallExceptionHandler(&ErrorContext{Message: "panic while a task was created", Err: x.err})
			x.ended()
		}
	}()
	task := newTask(l.Context(valuesOf(x.conn.ctx)), valueless(x.finish), []TaskOption{EagerStart(), WithName(x.half.method)}, x.half.method)
	x.task = task
	task.seen = true
	task.extra().settled = x.ended
	task.start()
}

// finish is the task of a call that has to wait.
func (x *netCall) finish(ctx context.Context) error {
	t, err := current(ctx, x.half.method)
	if err == nil && !x.held {
		err = x.half.lock.acquire(x.conn.awaiting(t), t)
	}
	if err != nil {
		x.err = x.half.reason(err)
		return nil
	}
	x.held = false
	n, err := x.half.finish(t, x.p[x.n:])
	x.n += n
	x.err = err
	return nil
}

// ended is the end of the task, or of the attempt to make it.
func (x *netCall) ended() {
	if x.held {
		x.half.release()
	}
	switch {
	case x.conn.loop.closing && (x.err == seam.ErrWouldBlock || isCancelled(x.err, nil)):
		x.err = x.conn.error(x.op, net.ErrClosed)
	case x.err == seam.ErrWouldBlock:
		x.err = x.task.err // it was cancelled before it began, or has panicked
	}
	x.done <- struct{}{}
}
