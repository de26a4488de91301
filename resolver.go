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
	// first. network is "tcp" or "udp", maybe with "4" or "6" behind it. host is a
	// name, or an IP address if only its zone or the port has to be looked up; it is
	// never empty. port is a number or the name of a service, and never empty.
	GetAddrInfo(ctx context.Context, network, host, port string) ([]netip.AddrPort, error)
}

// A NameResolver is a Resolver that finds names for addresses, too
// (loop.getnameinfo).
type NameResolver interface {
	Resolver

	// GetNameInfo returns the name of the host at addr. If it has none, the error
	// is a *net.DNSError with IsNotFound. It is called like GetAddrInfo.
	GetNameInfo(ctx context.Context, addr netip.Addr) (host string, err error)
}
