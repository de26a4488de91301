// This file gives access to the descriptor of a connection.

package sock

import (
	"errors"
	"net"
	"syscall"
)

var _ syscall.Conn = (*Conn)(nil)

// SyscallConn gives access to the descriptor, for setting options above all. Its
// Read and Write, which would have to wait, return errors.ErrUnsupported.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if c.fd < 0 {
		return nil, net.ErrClosed
	}
	return control{c}, nil
}

// A control is a Conn as a syscall.RawConn.
type control struct{ c *Conn }

// Control calls f with the descriptor.
func (k control) Control(f func(fd uintptr)) error {
	if k.c.fd < 0 {
		return net.ErrClosed
	}
	f(uintptr(k.c.fd))
	return nil
}

// Read returns errors.ErrUnsupported.
func (control) Read(func(fd uintptr) bool) error { return errors.ErrUnsupported }

// Write returns errors.ErrUnsupported.
func (control) Write(func(fd uintptr) bool) error { return errors.ErrUnsupported }
