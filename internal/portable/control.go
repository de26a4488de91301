// This file gives access to the descriptors behind connections.

package portable

import (
	"errors"
	"net"
	"syscall"
)

// SyscallConn gives access to the descriptor, for setting options above all. Its Read
// and Write, which would have to wait, return errors.ErrUnsupported, as do all of a
// connection that has no descriptor.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return controlOf(c.stream, c.closed)
}

// SyscallConn is like that of Conn.
func (l *Listener) SyscallConn() (syscall.RawConn, error) { return controlOf(l.ln, l.closed) }

// SyscallConn is like that of Conn.
func (p *PacketConn) SyscallConn() (syscall.RawConn, error) { return controlOf(p.conn, p.closed) }

func controlOf(c any, closed bool) (syscall.RawConn, error) {
	if closed {
		return nil, net.ErrClosed
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, plain(err)
	}
	return controlOnly{raw}, nil
}

// A controlOnly is a RawConn that never waits.
type controlOnly struct{ raw syscall.RawConn }

// Control calls f with the descriptor.
func (c controlOnly) Control(f func(fd uintptr)) error { return plain(c.raw.Control(f)) }

// Read returns errors.ErrUnsupported.
func (controlOnly) Read(func(fd uintptr) bool) error { return errors.ErrUnsupported }

// Write returns errors.ErrUnsupported.
func (controlOnly) Write(func(fd uintptr) bool) error { return errors.ErrUnsupported }
