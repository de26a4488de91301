// This file moves bytes.

package portable

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

var _ seam.AcceptedConn = (*Conn)(nil)

// A Conn is a stream of package net, or a file. One goroutine is blocked in Read
// as long as it is open, another one in Write while there is something to write:
//
//	receive   reads into in, and waits while in is full, so that the peer has to
//	          wait too. It ends with the stream, or when the Conn is closed.
//	send      writes what is in out. It ends when out is empty, after it has done
//	          what had to wait for that.
//
// Errors of writing are known only when send meets them: the Write that caused one
// was accepted, and the next one gets it.
type Conn struct {
	source
	attempted chan struct{}      // closed when the attempt to connect has ended; nil if there was none
	cancel    context.CancelFunc // ends the attempt
	system    bool               // a socket of package net: closing it never blocks
	file      *file              // what the stream is, if it is no socket
	started   bool               // receive was started, by the loop
	stuck     bool               // Close does not end a read that is under way: receive does not count
	toWrite   bool               // nothing is read: there is no receive
	blocking  *os.File           // has the same open as stream, and was in blocking mode; nil if there is none

	mu     sync.Mutex
	room   sync.Cond // in has room, or the Conn is ending
	stream net.Conn  // nil while connecting, and if that has failed
	result error     // of the attempt: seam.ErrWouldBlock while it is under way

	in      buffer
	readErr error // what Read returns when in is empty
	heldEOF bool  // the stream has ended, but a write that is under way may know better
	stalled bool  // receive waits for room

	out       buffer
	sending   bool // send runs
	full      bool // there was no room in out
	writeErr  error
	heldErr   *time.Timer // not nil: writeErr is not told yet, for what has arrived comes first; at the latest then
	endWanted bool        // CloseWrite was called
	endDone   bool
	deadline  time.Time // of the writes; zero before Close

	ending     bool // Close or Reset was called
	goroutines int

	local, remote net.Addr

	sender func() // send; made once, since that allocates
}

// probeSize is how much is read at first: an idle connection holds no more than
// that. What fills it is followed by reads of as much as there is room for.
const probeSize = 512

// holdTime is how long an error of writing waits for reads to go on.
const holdTime = 100 * time.Millisecond

// lingerTime is how long a closed connection has to send what was written to it.
const lingerTime = 30 * time.Second

// newConn returns a Conn over stream, without a Handler.
func (n *Network) newConn(stream net.Conn) *Conn {
	c := &Conn{source: source{net: n}}
	c.room.L = &c.mu
	c.sender = c.send
	if stream != nil {
		c.use(stream)
	}
	return c
}

// use sets the stream of c.
func (c *Conn) use(stream net.Conn) {
	c.stream = stream
	c.local, c.remote = plainAddr(stream.LocalAddr()), plainAddr(stream.RemoteAddr())
	switch stream.(type) {
	case *net.TCPConn, *net.UnixConn:
		c.system = true
	}
}

// plainAddr gives a Unix socket without a name an empty one.
func plainAddr(a net.Addr) net.Addr {
	switch u := a.(type) {
	case *net.UnixAddr:
		if u == nil || u.Name == "@" || u.Name == "" {
			return &net.UnixAddr{Net: "unix"}
		}
	}
	return a
}

// Attach sets the Handler, as in seam.AcceptedConn, and begins to read: before it
// Read finds nothing.
func (c *Conn) Attach(h seam.Handler) error {
	if c.closed {
		return net.ErrClosed
	}
	if c.started {
		return errors.New("connection has a handler already")
	}
	c.handler = h
	c.started = true
	if c.toWrite {
		c.report(seam.Writable)
		c.watch()
		return nil
	}
	if !c.stuck {
		c.mu.Lock()
		c.goroutines++
		c.mu.Unlock()
	}
	c.report(seam.Writable)
	go c.receive()
	return nil
}

// exit is the last thing that a goroutine of c does. It is called with mu held.
func (c *Conn) exit() {
	c.goroutines--
	last := c.ending && c.goroutines == 0
	c.mu.Unlock()
	if last {
		c.net.end(c)
	}
}

// receive reads until the end of the stream.
func (c *Conn) receive() {
	probe := make([]byte, probeSize)
	more, limited := false, false
	if c.file != nil && !c.stuck {
		c.file.awaitReadable()
	}
	for {
		p := probe
		if more != limited {
			limited = more
			c.limitReading(limited)
		}
		if more {
			if p = c.reserve(); p == nil {
				break
			}
		}
		n, err := c.stream.Read(p)
		if !c.received(p[:n], more, err) {
			break
		}
		more = n == len(p)
	}
	c.mu.Lock()
	c.in.busy = false
	if c.ending {
		c.in.discard()
	}
	if c.stuck {
		c.mu.Unlock()
		return
	}
	c.exit()
}

// limitReading limits how long reads of more than a probe may take: who waits for
// longer must not hold a large buffer.
func (c *Conn) limitReading(limited bool) {
	const while = 10 * time.Millisecond
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ending: // it is to return at once
	case limited:
		c.stream.SetReadDeadline(time.Now().Add(while))
	default:
		c.stream.SetReadDeadline(time.Time{})
	}
}

// reserve waits for room, and returns the part of in to read into; nil if the Conn
// is ending.
func (c *Conn) reserve() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	const worthwhile = 4 << 10
	c.in.settle()
	c.waitForRoom(worthwhile)
	if c.ending {
		return nil
	}
	c.in.busy = true
	return c.in.free()
}

// waitForRoom waits until n bytes fit into in, or the Conn is ending.
func (c *Conn) waitForRoom(n int) {
	for c.in.room() < n && !c.ending {
		c.stalled = true
		c.room.Wait()
	}
	c.stalled = false
}

// received takes note of what a read has returned, and says whether to go on. p
// lies in the buffer already if it was reserved.
func (c *Conn) received(p []byte, reserved bool, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !reserved {
		c.waitForRoom(len(p))
	}
	c.in.busy = false
	if c.ending {
		return false
	}
	if len(p) > 0 {
		if c.in.empty() {
			c.report(seam.Readable)
		}
		if reserved {
			c.in.commit(len(p))
		} else {
			c.in.append(p)
		}
	} else {
		c.in.settle()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) { // which limitReading has set
		err = nil
	}
	switch {
	case err == nil:
		if c.heldErr != nil && len(p) > 0 {
			c.heldErr.Reset(holdTime)
		}
		return true
	case err == io.EOF && c.sending && toldOnce && c.system:
		// A write may be hearing that the connection has broken: then this is
		// not the end of the stream.
		c.heldEOF = true
		c.stream.SetWriteDeadline(longAgo)
	default:
		c.endReading(c.file.readError(plain(err)))
	}
	return false
}

// toldOnce says whether the failure of a connection is an error for one system
// call only, while the next ones say that the stream has ended, or EPIPE.
const toldOnce = runtime.GOOS != "windows"

var longAgo = time.Unix(1, 0)

// endReading sets the error that comes after what has arrived.
func (c *Conn) endReading(err error) {
	c.releaseErr(err)
	if err == io.EOF && c.writeErr != nil && !errors.Is(c.writeErr, syscall.EPIPE) {
		err = c.writeErr
	}
	c.readErr = err
	switch {
	case err == io.EOF:
		c.report(seam.Readable | seam.HungUp)
	default:
		if c.system && c.writeErr == nil && !c.sending {
			c.writeErr = err // the connection has broken
		}
		c.report(seam.Readable | seam.Writable | seam.HungUp | seam.Failed)
	}
}

// Connected returns how the connection attempt ended, as in seam.Conn.
func (c *Conn) Connected() error {
	if c.closed {
		return net.ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.result
}

// Read reads what has arrived, as in seam.Conn. With an empty p it does nothing.
func (c *Conn) Read(p []byte) (int, error) {
	if c.closed {
		return 0, net.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.in.empty() {
		n := copy(p, c.in.filled())
		c.in.drop(n)
		c.room.Signal()
		return n, nil
	}
	if c.readErr != nil {
		return 0, c.readErr
	}
	return 0, seam.ErrWouldBlock
}

// Write takes what there is room for, as in seam.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	return c.Writev([][]byte{p})
}

// Writev is Write for several buffers, as in seam.Conn.
func (c *Conn) Writev(v [][]byte) (int, error) {
	if c.closed {
		return 0, net.ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.endWanted && c.writeErr == nil {
		return 0, os.NewSyscallError("write", syscall.EPIPE)
	}
	total := 0
	for _, p := range v {
		if len(p) == 0 {
			continue
		}
		if c.stream == nil && c.writeErr == nil { // it is connecting, and will be reported
			return 0, seam.ErrWouldBlock
		}
		if c.heldErr != nil {
			c.full = true
			return 0, seam.ErrWouldBlock
		}
		if c.writeErr != nil {
			return 0, c.writeErr
		}
		n := c.out.append(p)
		total += n
		if n < len(p) {
			c.full = true
			break
		}
	}
	if total > 0 {
		c.startSending()
	} else if c.full {
		return 0, seam.ErrWouldBlock
	}
	return total, nil
}

// startSending makes sure that send runs. It is called with mu held.
func (c *Conn) startSending() {
	if !c.sending {
		c.sending = true
		c.goroutines++
		go c.sender()
	}
}

// send writes what is in out, and does what had to wait for that.
func (c *Conn) send() {
	c.mu.Lock()
	c.out.busy = true
	for c.writeErr == nil && !c.out.empty() {
		p := c.out.filled()
		c.mu.Unlock()
		n, err := c.stream.Write(p)
		c.mu.Lock()
		c.sent(n, err)
	}
	c.out.busy = false
	c.out.settle()
	if c.endWanted && !c.endDone && c.writeErr == nil {
		c.endDone = true
		c.mu.Unlock()
		err := c.stream.(halfCloser).CloseWrite()
		c.mu.Lock()
		if err != nil {
			c.failWriting(plain(err))
		}
	}
	c.sending = false
	c.releaseEOF()
	if c.ending {
		if errors.Is(c.writeErr, os.ErrDeadlineExceeded) {
			c.breakOff()
		}
		c.mu.Unlock()
		c.closeStream()
		c.mu.Lock()
	}
	c.exit()
}

// sent takes note of what a write has returned.
func (c *Conn) sent(n int, err error) {
	if c.writeErr == nil { // else out was dropped meanwhile
		c.out.r += n
	}
	if c.out.empty() {
		c.out.r, c.out.w = 0, 0 // the memory stays, while send runs
	}
	if c.heldEOF && errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	if err != nil && c.writeErr == nil {
		c.failWriting(plain(err))
	}
	c.releaseEOF()
	if c.full && c.heldErr == nil && c.out.room() > 0 {
		c.full = false
		c.report(seam.Writable)
	}
}

// releaseEOF makes known the end of the stream that received has held back.
func (c *Conn) releaseEOF() {
	if c.heldEOF {
		c.heldEOF = false
		c.stream.SetWriteDeadline(c.deadline)
		c.endReading(io.EOF)
	}
}

// failWriting ends the sending half.
func (c *Conn) failWriting(err error) {
	if c.system && c.readErr != nil && c.readErr != io.EOF && errors.Is(err, syscall.EPIPE) {
		err = c.readErr
	}
	c.writeErr = err
	c.out.discard()
	if c.system && toldOnce && !c.toWrite && c.readErr == nil && !c.heldEOF && !c.ending {
		// What has arrived is to be read before this is known, and a read may be
		// hearing a better reason. After most errors reads end, too.
		c.heldErr = time.AfterFunc(holdTime, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.releaseErr(nil)
		})
		return
	}
	c.full = false
	c.report(seam.Writable | seam.Failed)
}

// releaseErr makes known the error that failWriting has held back, or the one that
// a read has met.
func (c *Conn) releaseErr(readErr error) {
	if c.heldErr == nil {
		return
	}
	c.heldErr.Stop()
	c.heldErr = nil
	if c.ending {
		return
	}
	if readErr != nil && readErr != io.EOF && errors.Is(c.writeErr, syscall.EPIPE) {
		c.writeErr = readErr
	}
	c.full = false
	c.report(seam.Writable | seam.Failed)
}

// CloseWrite ends the sending half, as in seam.Conn.
func (c *Conn) CloseWrite() error {
	if c.closed {
		return net.ErrClosed
	}
	if c.file != nil {
		return c.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.endWanted:
		return nil
	case c.stream == nil || c.readErr != nil && c.readErr != io.EOF:
		return os.NewSyscallError("shutdown", syscall.ENOTCONN)
	case c.writeErr != nil:
		return c.writeErr
	}
	if _, ok := c.stream.(halfCloser); !ok {
		return errors.ErrUnsupported
	}
	c.endWanted = true
	if c.system && !c.sending {
		c.endDone = true
		return plain(c.stream.(halfCloser).CloseWrite())
	}
	c.startSending()
	return nil
}

// A halfCloser is a stream whose halves end one by one.
type halfCloser interface{ CloseWrite() error }

// Close closes the connection, as in seam.Conn. What was written goes on being
// sent for up to 30 seconds, and while the Network is open.
func (c *Conn) Close() error {
	return c.close(false)
}

// Reset closes the connection and drops what was not sent, as in seam.Conn. The
// peer of a TCP connection is told.
func (c *Conn) Reset() error {
	return c.close(true)
}

func (c *Conn) close(reset bool) error {
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	c.mu.Lock()
	c.ending = true
	c.releaseErr(nil)
	if c.result == seam.ErrWouldBlock {
		c.mu.Unlock()
		c.cancel()
		<-c.attempted // it has nothing to wait for any more, and frees its descriptor
		c.mu.Lock()
	}
	c.in.discard()
	c.room.Broadcast()
	if c.stream == nil {
		c.mu.Unlock()
		return nil
	}
	wait := !reset && c.sending
	if wait {
		c.deadline = time.Now().Add(lingerTime)
		c.stream.SetWriteDeadline(c.deadline)
		c.stream.SetReadDeadline(longAgo)
	}
	if reset {
		c.breakOff()
	}
	background := !wait && !c.system && c.file == nil
	if background {
		c.goroutines++
	}
	if c.goroutines > 0 {
		c.net.begin(c)
	}
	c.mu.Unlock()
	switch {
	case wait: // send does it
		return nil
	case background: // it may have to say good-bye first
		go func() {
			c.closeStream()
			c.mu.Lock()
			c.exit()
		}()
		return nil
	default:
		return plain(c.closeStream())
	}
}

// breakOff makes the coming Close drop what was not sent, and tell the peer. A
// Unix socket has nothing like that.
func (c *Conn) breakOff() {
	c.out.discard()
	if c.writeErr == nil {
		c.writeErr = net.ErrClosed
	}
	if tcp, ok := c.stream.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
}

// cut ends what goes on after Close.
func (c *Conn) cut() {
	c.mu.Lock()
	c.breakOff()
	c.mu.Unlock()
	c.closeStream()
}

// closeStream closes the stream, and makes the file blocking again if it was: the
// programs that share it, the shell above all, rely on that.
func (c *Conn) closeStream() error {
	err := c.stream.Close()
	c.mu.Lock()
	blocking := c.blocking
	c.blocking = nil
	c.mu.Unlock()
	if blocking != nil {
		makeBlocking(blocking)
		if !standard(blocking) {
			blocking.Close()
		}
	}
	return err
}

// LocalAddr returns the address of this end; nil before it is connected.
func (c *Conn) LocalAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.local
}

// RemoteAddr returns the address of the other end.
func (c *Conn) RemoteAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remote
}
