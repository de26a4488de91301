// Looking names up, without blocking the loop.

package asyncio

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// lookUp returns the addresses for "host:port".
func (t *task) lookUp(ctx context.Context, network, address string, r Resolver) ([]netip.AddrPort, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, net.UnknownNetworkError(network)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host == "" {
		host = "localhost"
	}
	if addr, ok := literal(host, port); ok {
		if !family(network, addr) {
			return nil, &net.AddrError{Err: "no suitable address", Addr: host}
		}
		return []netip.AddrPort{addr}, nil
	}
	if r == nil {
		r = t.loop.options.resolver
	}
	if r == nil {
		r = netResolver{}
	}
	if t.loop.lookups == nil {
		t.loop.lookups = NewThreadLimiter(lookupLimit)
	}
	found, err := ToThread(ctx, func(ctx context.Context) ([]netip.AddrPort, error) {
		return r.GetAddrInfo(ctx, network, host, port)
	}, WithLimiter(t.loop.lookups.(*ThreadLimiter)))
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(slices.Clone(found), func(a netip.AddrPort) bool { return !family(network, a) })
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "no suitable address", Name: host, IsNotFound: true}
	}
	return found, nil
}

// lookupLimit is how many names are looked up at once. Look-ups have their own
// limit, so that a slow name server does not hold up ToThread.
const lookupLimit = 64

// literal returns the address if host is an IP address and port a number: then
// nothing has to be looked up.
func literal(host, port string) (netip.AddrPort, bool) {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, false
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil || !isNumber(port) {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip, uint16(n)), true
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func family(network string, a netip.AddrPort) bool {
	switch network {
	case "tcp4":
		return a.Addr().Unmap().Is4()
	case "tcp6":
		return a.Addr().Is6() && !a.Addr().Is4In6()
	}
	return a.IsValid()
}

// netResolver asks package net.
type netResolver struct{}

func (netResolver) GetAddrInfo(ctx context.Context, network, host, port string) ([]netip.AddrPort, error) {
	n, err := net.DefaultResolver.LookupPort(ctx, network, port)
	if err != nil {
		return nil, err
	}
	kind := "ip" + network[len("tcp"):]
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip, uint16(n))}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, kind, host)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip.Unmap(), uint16(n))
	}
	return addrs, nil
}

// ResolverFunc is a function as a Resolver.
type ResolverFunc func(ctx context.Context, network, host, port string) ([]netip.AddrPort, error)

// GetAddrInfo calls f.
func (f ResolverFunc) GetAddrInfo(ctx context.Context, network, host, port string) ([]netip.AddrPort, error) {
	return f(ctx, network, host, port)
}

// GetAddrInfo looks up the addresses of "host:port" with the loop's resolver,
// without blocking the loop (loop.getaddrinfo). network is "tcp", "tcp4" or "tcp6".
func GetAddrInfo(ctx context.Context, network, address string) ([]netip.AddrPort, error) {
	t, err := current(ctx, "GetAddrInfo")
	if err != nil {
		return nil, err
	}
	addrs, err := t.lookUp(ctx, network, address, nil)
	if err != nil && !isCancelled(err, nil) {
		err = fmt.Errorf("look up %s: %w", address, err)
	}
	return addrs, err
}
