// Name look-up, which must not block the loop.

package asyncio

import (
	"context"
	"net/netip"
)

// A Resolver looks up names (loop.getaddrinfo). Its method is called on a
// goroutine of its own, so it may block; it should end early when ctx is done,
// and must not use the loop.
type Resolver interface {
	// GetAddrInfo returns the addresses for host and port, the preferred one
	// first. network is "tcp", "tcp4" or "tcp6". host is a name, or an IP address
	// if only the port has to be looked up; it is never empty. port is a number or
	// the name of a service.
	GetAddrInfo(ctx context.Context, network, host, port string) ([]netip.AddrPort, error)
}
