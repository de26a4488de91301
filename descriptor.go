// Descriptors of others: callbacks and tasks that wait until one is ready.

package asyncio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/goasyncio/asyncio/internal/seam"
)

// FD is the number of an open descriptor, for what is known by its number only: a
// descriptor that was inherited, or that a C library has opened. Where there is an
// *os.File or a connection of package net, use that: it cannot be closed by the
// garbage collector, nor by others, while it is in use.
type FD int

// SyscallConn makes it a syscall.Conn. The Read and Write of what it returns call
// their function once, and return an error that Is errors.ErrUnsupported if it
// wants to wait. It returns syscall.EBADF for a negative number.
func (fd FD) SyscallConn() (syscall.RawConn, error) {
	if fd < 0 {
		return nil, fmt.Errorf("descriptor %d: %w", int(fd), syscall.EBADF)
	}
	return rawFD(fd), nil
}

type rawFD int

func (fd rawFD) Control(f func(fd uintptr)) error {
	f(uintptr(fd))
	return nil
}

func (fd rawFD) Read(f func(fd uintptr) bool) error  { return fd.try(f) }
func (fd rawFD) Write(f func(fd uintptr) bool) error { return fd.try(f) }

func (fd rawFD) try(f func(fd uintptr) bool) error {
	if f(uintptr(fd)) {
		return nil
	}
	return fmt.Errorf("waiting for descriptor %d by its number: %w", int(fd), errors.ErrUnsupported)
}

// AddReader calls fn in each pass of the loop in which c can be read: there is
// something to read, or the end or an error (loop.add_reader). It is level-triggered:
// fn is called again as long as that is so. If c has a reader already, fn takes its
// place. A panic of fn is reported to the exception handler, and fn stays.
//
// c is an *os.File of a pipe, a socket or a terminal, a connection of package net,
// or an FD; what polls cannot tell about, a regular file say, is refused with the
// error of the system. c stays the caller's, who has to call RemoveReader before
// closing it. Nothing waits for the reader: a loop with nothing else to do goes on
// until it is stopped, and Close of the loop drops the reader.
//
// AddReader returns a *UsageError if fn is nil, if c belongs to a connection or
// server of this loop (ErrDescriptorInUse), if it is called from another goroutine,
// and after Close (ErrLoopClosed). Where descriptors cannot be watched, the error
// Is errors.ErrUnsupported.
func (l *EventLoop) AddReader(c syscall.Conn, fn func()) error {
	return l.addCallback("AddReader", c, seam.Readable, fn)
}

// AddWriter calls fn in each pass of the loop in which c can be written: there is
// room, or an error (loop.add_writer). All else is as with AddReader. One c may
// have both.
func (l *EventLoop) AddWriter(c syscall.Conn, fn func()) error {
	return l.addCallback("AddWriter", c, seam.Writable, fn)
}

// RemoveReader ends the calls of AddReader, and reports whether there was a reader
// (loop.remove_reader). From then on it is not called, even if c is ready. After
// Close of the loop it returns false. It panics with a *UsageError if c belongs to a
// connection or server of this loop, and if it is called from another goroutine.
func (l *EventLoop) RemoveReader(c syscall.Conn) bool {
	return l.removeCallback("RemoveReader", c, seam.Readable)
}

// RemoveWriter ends the calls of AddWriter, as RemoveReader does those of
// AddReader (loop.remove_writer).
func (l *EventLoop) RemoveWriter(c syscall.Conn) bool {
	return l.removeCallback("RemoveWriter", c, seam.Writable)
}

// A descriptor is one that is watched for others. It lives as long as somebody
// wants to know of it: a callback or a task that waits.
type descriptor struct {
	registered // in loop.open
	loop       *EventLoop
	fd         int
	conn       syscall.Conn // which the garbage collector must not close
	watch      seam.Watch   // nil when it has ended
	read       direction
	write      direction
}

func (d *descriptor) String() string { return fmt.Sprintf("<watched descriptor %d>", d.fd) }

// A direction is who wants to know that a descriptor is ready for one thing. Any
// number of tasks may: one is woken in each pass, the first that came, and if it
// leaves something the next pass tells the next one.
type direction struct {
	callback *call // nil if there is none
	line     waitq
}

func (d *direction) wanted() bool { return d.callback != nil || d.line.count > 0 }

func (d *direction) ready(l *EventLoop) {
	if d.callback != nil {
		l.ready.push(d.callback)
	}
	d.line.grant()
}

// drop ends the callback and reports whether there was one.
func (d *direction) drop() bool {
	if d.callback == nil {
		return false
	}
	d.callback.cancel(0) // it may be queued
	d.callback = nil
	return true
}

// Ready tells who wants to know. The poller calls it again in each pass.
func (d *descriptor) Ready(r seam.Readiness) {
	if r&seam.Readable != 0 {
		d.read.ready(d.loop)
	}
	if r&seam.Writable != 0 {
		d.write.ready(d.loop)
	}
}

func (d *descriptor) to(r seam.Readiness) *direction {
	if r == seam.Readable {
		return &d.read
	}
	return &d.write
}

// wanted returns what somebody wants to know.
func (d *descriptor) wanted() seam.Readiness {
	var r seam.Readiness
	if d.read.wanted() {
		r |= seam.Readable
	}
	if d.write.wanted() {
		r |= seam.Writable
	}
	return r
}

// narrow watches for no more than is wanted.
func (d *descriptor) narrow() {
	if d.watch == nil {
		return
	}
	if r := d.wanted(); r == 0 || d.watch.Set(r) != nil {
		d.end()
	}
}

// end ends the watch. Tasks that wait try again, and see what is wrong.
func (d *descriptor) end() {
	d.watch.Close() // it fails if the descriptor was closed before, and has ended then
	d.watch = nil
	delete(d.loop.watched, d.fd)
	d.loop.open.remove(&d.registered)
	d.loop.listening--
	d.loop.outside--
	d.read.drop()
	d.write.drop()
	d.read.line.grantAll()
	d.write.line.grantAll()
}

// abandon ends the watch when the loop is closed.
func (d *descriptor) abandon() { d.end() }

func (l *EventLoop) addCallback(op string, c syscall.Conn, r seam.Readiness, fn func()) error {
	if err := l.usable(op); err != nil {
		return err
	}
	if fn == nil {
		return misuse(op, ErrBadArgument, "the function is nil")
	}
	fd, err := descriptorNumber(op, c)
	if err != nil {
		return err
	}
	d, err := l.watch(op, c, fd, r)
	if err != nil {
		return err
	}
	d.to(r).drop()
	d.to(r).callback = &call{fn: fn, createdAt: l.here(4)}
	return nil
}

func (l *EventLoop) removeCallback(op string, c syscall.Conn, r seam.Readiness) bool {
	if err := l.usable(op); err != nil {
		if err.Cause == ErrLoopClosed {
			return false
		}
		panic(err)
	}
	d := l.watchedAs(op, c)
	if d == nil || !d.to(r).drop() {
		return false
	}
	d.narrow()
	return true
}

// awaitReady suspends t until c, whose descriptor is fd, is ready for r, or seems
// to be.
func (t *task) awaitReady(ctx context.Context, op string, c syscall.Conn, fd int, r seam.Readiness) error {
	d, err := t.loop.watch(op, c, fd, r)
	if err != nil {
		return err
	}
	defer d.narrow()
	_, err = d.to(r).line.wait(ctx, t)
	return err
}

// watch returns the descriptor of c, which is fd and is watched for r. The caller
// has to make somebody want that.
func (l *EventLoop) watch(op string, c syscall.Conn, fd int, r seam.Readiness) (*descriptor, error) {
	if d, ok := l.watched[fd].(*descriptor); ok {
		if d.watch.Set(d.wanted()|r) == nil {
			return d, nil
		}
		d.end() // it was closed while it was watched, and the number is another one's now
	}
	d, err := l.newWatch(op, fd)
	if err != nil {
		return nil, err
	}
	d.conn = c
	if err := d.watch.Set(r); err != nil {
		d.end()
		return nil, fmt.Errorf("asyncio: %s: %w", op, err)
	}
	return d, nil
}

// newWatch registers fd, which is not watched, with the network.
func (l *EventLoop) newWatch(op string, fd int) (*descriptor, error) {
	if err := l.openNetwork(op); err != nil {
		return nil, err
	}
	if err := l.untaped(op, "a descriptor of others"); err != nil {
		return nil, err
	}
	network, ok := l.net.(seam.Watcher)
	if !ok {
		return nil, fmt.Errorf("asyncio: %s: this network cannot watch descriptors: %w", op, errors.ErrUnsupported)
	}
	d := &descriptor{loop: l, fd: fd}
	var err error
	switch d.watch, err = network.Watch(fd, d); {
	case err == seam.ErrWatched:
		return nil, misuse(op, ErrDescriptorInUse, "a connection or server of %s has descriptor %d; use its own methods", l.name, fd)
	case err != nil:
		return nil, fmt.Errorf("asyncio: %s: %w", op, err)
	}
	if l.watched == nil {
		l.watched = make(map[int]seam.Handler)
	}
	l.watched[fd] = d
	l.open.add(&d.registered, d)
	l.listening++
	l.outside++
	return d, nil
}

// watchedAs returns the descriptor of c, or nil if it is not watched. It panics if
// it belongs to a connection.
func (l *EventLoop) watchedAs(op string, c syscall.Conn) *descriptor {
	fd, err := descriptorNumber(op, c)
	if misused, ok := err.(*UsageError); ok {
		panic(misused)
	}
	if err != nil { // it is closed already
		for _, h := range l.watched {
			if d := h.(*descriptor); d.conn == c {
				return d
			}
		}
		return nil
	}
	if d, ok := l.watched[fd].(*descriptor); ok {
		return d
	}
	if l.net == nil {
		return nil
	}
	d, err := l.newWatch(op, fd)
	if err == nil {
		d.end()
	}
	if misused, ok := err.(*UsageError); ok {
		panic(misused)
	}
	return nil
}

// descriptorNumber returns the number of the descriptor of c.
func descriptorNumber(op string, c syscall.Conn) (int, error) {
	raw, err := rawOf(op, c)
	if err != nil {
		return -1, err
	}
	number := -1
	if err := control(c, raw, func(fd uintptr) { number = int(fd) }); err != nil {
		return -1, fmt.Errorf("asyncio: %s: %w", op, err)
	}
	return number, nil
}

func rawOf(op string, c syscall.Conn) (syscall.RawConn, error) {
	if c == nil {
		return nil, misuse(op, ErrBadArgument, "the connection is nil")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("asyncio: %s: %w", op, err)
	}
	return raw, nil
}

// control is raw.Control: it calls fn with the descriptor of c, which stays open
// meanwhile.
func control(c syscall.Conn, raw syscall.RawConn, fn func(fd uintptr)) error {
	err := raw.Control(fn)
	if _, ok := c.(*os.File); ok && err != nil {
		return os.ErrClosed // what it means, but does not say
	}
	return err
}
