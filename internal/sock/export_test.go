//go:build linux

// This file lets tests reach what they cannot bring about from outside.

package sock

import (
	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/seam"
)

// PortChosen makes c believe that the kernel has chosen its local port.
func PortChosen(c seam.Conn) { c.(*Conn).attempt.portChosen = true }

// Option returns the value of an option of c's socket.
func Option(c seam.Conn, level, name int) (int, error) {
	return unix.GetsockoptInt(int(c.(*Conn).fd), level, name)
}
