// A simulated stream as its program sees it: a seam.Conn.

package asynciotest

import (
	"io"
	"net"
	"slices"
	"syscall"

	"github.com/goasyncio/asyncio/internal/seam"
)

// Attach sets the Handler, as in seam.AcceptedConn.
func (c *stream) Attach(h seam.Handler) error {
	if c.closed {
		return net.ErrClosed
	}
	if c.handler != nil {
		return errTwice
	}
	c.handler = h
	r := seam.Writable
	if c.unread > 0 {
		r |= seam.Readable
	}
	if c.over {
		r |= seam.Readable | seam.HungUp
	}
	if c.dead {
		r |= seam.Readable | seam.HungUp | seam.Failed
	}
	c.report(r)
	return nil
}

// Connected returns how the attempt has ended, as in seam.Conn.
func (c *stream) Connected() error {
	if c.closed {
		return net.ErrClosed
	}
	return c.attempt
}

// Read reads what has arrived, as in seam.Conn.
func (c *stream) Read(p []byte) (int, error) {
	if c.closed {
		return 0, net.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	if c.socket.dead() || c.attempt == seam.ErrWouldBlock {
		c.hungry = true
		return 0, seam.ErrWouldBlock
	}
	total := 0
	for c.in.len() > 0 && total < len(p) {
		first := c.in.first()
		k := copy(p[total:], *first)
		total += k
		if *first = (*first)[k:]; len(*first) == 0 {
			c.in.pop()
		}
	}
	if total > 0 {
		c.unread -= total
		buffer := uint64(c.stack.host.net.buffer)
		if !c.dead && !c.over && c.expected+buffer-uint64(c.unread) >= c.offered+buffer/4 {
			c.acknowledge()
		}
		return total, nil
	}
	if err := c.failure("read"); err != nil && !(c.over && !c.unix) {
		return 0, err
	}
	if c.over || c.dead {
		return 0, io.EOF
	}
	c.hungry = true
	return 0, seam.ErrWouldBlock
}

// Write writes what there is room for, as in seam.Conn.
func (c *stream) Write(p []byte) (int, error) {
	if len(p) == 0 && !c.closed {
		return 0, nil
	}
	room, err := c.room("write")
	if err != nil {
		return 0, err
	}
	k := min(room, len(p))
	c.put(p[:k])
	c.blocked = k < len(p)
	c.pump()
	return k, nil
}

// Writev is Write for several buffers, as in seam.Conn.
func (c *stream) Writev(v [][]byte) (int, error) {
	size := 0
	for _, p := range v {
		size += len(p)
	}
	if size == 0 && !c.closed {
		return 0, nil
	}
	room, err := c.room("writev")
	if err != nil {
		return 0, err
	}
	var all []byte
	for _, p := range v {
		all = append(all, p[:min(len(p), room-len(all))]...)
	}
	c.put(all)
	c.blocked = len(all) < size
	c.pump()
	return len(all), nil
}

// room says how many bytes can be written.
func (c *stream) room(call string) (int, error) {
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.socket.dead():
		return 0, seam.ErrWouldBlock
	case c.attempt == seam.ErrWouldBlock:
		c.blocked = true
		return 0, seam.ErrWouldBlock
	}
	if err := c.failure(call); err != nil {
		return 0, err
	}
	if c.dead || c.ended || c.unix && (c.peer.closed || c.peer.removed) {
		return 0, failure(call, syscall.EPIPE)
	}
	room := c.stack.host.net.buffer - c.buffered
	if room <= 0 {
		c.blocked = true
		return 0, seam.ErrWouldBlock
	}
	return room, nil
}

// put appends p to what is to be sent. It keeps a copy.
func (c *stream) put(p []byte) {
	p = slices.Clone(p)
	c.buffered += len(p)
	for len(p) > 0 {
		k := min(len(p), largestSegment)
		c.out = append(c.out, segment{seq: c.next, data: p[:k:k]})
		c.next += uint64(k)
		p = p[k:]
	}
}

// CloseWrite ends the sending half, as in seam.Conn.
func (c *stream) CloseWrite() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.attempt != nil, c.dead:
		return failure("shutdown", syscall.ENOTCONN)
	case c.socket.dead():
		return nil
	}
	c.end()
	return nil
}

func (c *stream) end() {
	if !c.ended {
		c.ended = true
		c.out = append(c.out, segment{seq: c.next, end: true})
		c.next++
		c.pump()
	}
}

// Close closes the connection, as in seam.Conn. If there is something that was not
// read, the peer sees a reset, as on Linux.
func (c *stream) Close() error {
	if c.closed {
		return net.ErrClosed
	}
	c.release()
	switch {
	case c.removed || c.socket.dead():
	case c.attempt == seam.ErrWouldBlock, c.unread > 0:
		c.reset()
	default:
		c.end()
		c.removeIfDone()
	}
	return nil
}

// Reset breaks the connection, as in seam.Conn.
func (c *stream) Reset() error {
	if c.closed {
		return net.ErrClosed
	}
	if c.unix {
		return c.Close()
	}
	c.release()
	if !c.removed && !c.socket.dead() {
		c.reset()
	}
	return nil
}

// release gives the descriptor back.
func (c *stream) release() {
	c.closed = true
	if !c.socket.dead() {
		c.process.give()
	}
	if c.unix && c.local.Path != "" && c.listener == nil {
		if k := c.stack; k.unix[c.local.Path] == any(c) {
			delete(k.unix, c.local.Path) // the file stays, as the kernel leaves it
		}
	}
}

// reset forgets the connection, and tells the other end.
func (c *stream) reset() {
	if peer := c.peer; peer != nil && !c.dead {
		p := c.packet(ResetPacket)
		c.send(p)
	}
	c.dead = true
	c.remove()
}

// LocalAddr returns the address of this end, as in seam.Conn.
func (c *stream) LocalAddr() net.Addr { return netAddr(c.local, c.unix) }

// RemoteAddr returns the address of the other end, as in seam.Conn.
func (c *stream) RemoteAddr() net.Addr { return netAddr(c.remote, c.unix) }
