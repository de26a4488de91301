// Addresses of sockets.

package asyncio

import (
	"net/netip"

	"github.com/goasyncio/asyncio/internal/seam"
)

// A SockAddr is the address of a socket: of an IP socket AddrPort, of a Unix
// socket Path, which is abstract if it begins with '@'. The zero SockAddr is no
// address. It is a value, so that a datagram costs no allocation for its sender; it
// can be compared, and is a net.Addr.
type SockAddr struct {
	AddrPort netip.AddrPort
	Path     string
}

// IsZero reports whether a is no address.
func (a SockAddr) IsZero() bool { return a == SockAddr{} }

// Network returns "ip", or "unix" for the address of a Unix socket.
func (a SockAddr) Network() string {
	if a.AddrPort.IsValid() {
		return "ip"
	}
	return "unix"
}

// String returns the address as package net writes it: "host:port", or the path.
func (a SockAddr) String() string {
	if a.AddrPort.IsValid() {
		return a.AddrPort.String()
	}
	return a.Path
}

var _ = seam.Addr(SockAddr{}) // the one converts to the other
