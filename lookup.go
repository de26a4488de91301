// Looking names up, without blocking the loop.

package asyncio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/goasyncio/asyncio/internal/seam"
)

// lookUp is resolve for streams.
func (t *task) lookUp(ctx context.Context, network, address string, r Resolver) ([]netip.AddrPort, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
		return t.resolve(ctx, network, address, r)
	}
	return nil, net.UnknownNetworkError(network)
}

// resolve returns the addresses for "host:port". r may be nil for the loop's.
func (t *task) resolve(ctx context.Context, network, address string, r Resolver) ([]netip.AddrPort, error) {
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
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
	if port == "" {
		port = "0"
	}
	if addr, ok := literal(host, port); ok {
		if !family(network, addr) {
			return nil, &net.AddrError{Err: "no suitable address", Addr: host}
		}
		return []netip.AddrPort{addr}, nil
	}
	found, err := t.addresses(ctx, network, host, port, r)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(slices.Clone(found), func(a netip.AddrPort) bool { return !family(network, a) })
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "no suitable address", Name: host, IsNotFound: true}
	}
	return found, nil
}

// addresses asks r for addresses, or who answers for the loop if r is nil.
func (t *task) addresses(ctx context.Context, network, host, port string, r Resolver) ([]netip.AddrPort, error) {
	if ns := t.loop.nameServer(); ns != nil && r == nil {
		return ask(ctx, t, func(tell func([]netip.AddrPort, error)) (stop func()) {
			return ns.LookUp(network, host, port, tell)
		})
	}
	if r == nil {
		r = t.loop.resolver()
	}
	if t.loop.tape != nil {
		return t.addressesTaped(ctx, network, host, port, r)
	}
	return ToThread(ctx, func(ctx context.Context) ([]netip.AddrPort, error) {
		return r.GetAddrInfo(ctx, network, host, port)
	}, t.loop.asLookup())
}

// nameServer returns the network of the loop if that looks names up itself, and no
// resolver was chosen instead.
func (l *EventLoop) nameServer() seam.NameServer {
	if l.options.resolver != nil {
		return nil
	}
	ns, _ := l.net.(seam.NameServer)
	return ns
}

// ask puts a question to a name server, and suspends t until the answer is there.
func ask[T any](ctx context.Context, t *task, question func(tell func(T, error)) (stop func())) (T, error) {
	var answer, none T
	w := t.arm()
	stop := question(func(v T, err error) {
		answer = v
		w.wake(err)
	})
	if err := t.park(ctx, w); err != nil {
		stop()
		return none, err
	}
	return answer, nil
}

// lookupLimit is how many names are looked up at once. Look-ups have their own
// limit, so that a slow name server does not hold up ToThread.
const lookupLimit = 64

// asLookup makes ToThread count a function as a look-up, and run it on a goroutine of
// its own whatever the default executor is.
func (l *EventLoop) asLookup() ThreadOption {
	if l.lookups == nil {
		l.lookups = NewThreadLimiter(lookupLimit)
	}
	return threadOption(func(c *threadConfig) {
		c.limiter, c.executor = l.lookups.(*ThreadLimiter), goroutines{}
	})
}

// resolver returns what looks names up for the loop.
func (l *EventLoop) resolver() Resolver {
	if l.options.resolver != nil {
		return l.options.resolver
	}
	return netResolver{}
}

// literal returns the address if host is an IP address and port a number: then
// nothing has to be looked up. Not so with a zone, which is the name of an interface.
func literal(host, port string) (netip.AddrPort, bool) {
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Zone() != "" {
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
	case "tcp4", "udp4":
		return a.Addr().Unmap().Is4()
	case "tcp6", "udp6":
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

func (netResolver) GetNameInfo(ctx context.Context, addr netip.Addr) (string, error) {
	names, err := net.DefaultResolver.LookupAddr(ctx, addr.String())
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", noName(addr)
	}
	return strings.TrimSuffix(names[0], "."), nil
}

func noName(addr netip.Addr) error {
	return &net.DNSError{Err: "no such address", Name: addr.String(), IsNotFound: true}
}

// ResolverFunc is a function as a Resolver.
type ResolverFunc func(ctx context.Context, network, host, port string) ([]netip.AddrPort, error)

// GetAddrInfo calls f.
func (f ResolverFunc) GetAddrInfo(ctx context.Context, network, host, port string) ([]netip.AddrPort, error) {
	return f(ctx, network, host, port)
}

// GetAddrInfo looks up the addresses of "host:port" with the loop's resolver,
// without blocking the loop (loop.getaddrinfo). network is "tcp" or "udp", with "4" or
// "6" behind it for addresses of one family only. No host is localhost, and no port
// is 0; a port may be the name of a service.
//
// An IP address without a zone and with the number of a port needs no look-up: it is
// returned at once, or is a *net.AddrError if it is of the wrong family. A name or a
// service that does not exist is a *net.DNSError.
func GetAddrInfo(ctx context.Context, network, address string) ([]netip.AddrPort, error) {
	t, err := current(ctx, "GetAddrInfo")
	if err != nil {
		return nil, err
	}
	addrs, err := t.resolve(ctx, network, address, nil)
	if err != nil && !isCancelled(err, nil) {
		err = fmt.Errorf("look up %s: %w", address, err)
	}
	return addrs, err
}

// NameInfoOptions are the options of GetNameInfo. The zero value, or nil, looks up
// both names, that of the service for TCP.
type NameInfoOptions struct {
	NumericHost    bool // do not look up the host (NI_NUMERICHOST)
	NumericService bool // do not look up the service (NI_NUMERICSERV)
	NameRequired   bool // fail if the host has no name (NI_NAMEREQD)
	Datagram       bool // the service is one of UDP (NI_DGRAM)
}

// GetNameInfo looks up the name of the host and of the service that belong to an
// address, without blocking the loop (loop.getnameinfo). Without a name it returns
// the numbers as text. The host is looked up by the loop's resolver if that is a
// NameResolver, and has no name if it is another one. The names of services are
// those in /etc/services; where there is no such file they have none.
//
// What fails otherwise, or if a name is required, is a *net.DNSError. An address that
// is not valid is a *UsageError, as is a host that has to be a number and a name.
func GetNameInfo(ctx context.Context, addr netip.AddrPort, opts *NameInfoOptions) (host, service string, err error) {
	t, err := current(ctx, "GetNameInfo")
	if err != nil {
		return "", "", err
	}
	if opts == nil {
		opts = new(NameInfoOptions)
	}
	if !addr.IsValid() {
		return "", "", misuse("GetNameInfo", ErrBadArgument, "the address is not valid")
	}
	if opts.NumericHost && opts.NameRequired {
		return "", "", misuse("GetNameInfo", ErrBadArgument, "the host cannot be numeric and have to be a name")
	}
	host, service, err = t.nameInfo(ctx, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), *opts)
	if err != nil && !isCancelled(err, nil) {
		err = fmt.Errorf("look up %v: %w", addr, err)
	}
	return host, service, err
}

func (t *task) nameInfo(ctx context.Context, addr netip.AddrPort, opts NameInfoOptions) (host, service string, err error) {
	type names struct{ host, service string }
	numbers := names{addr.Addr().String(), strconv.Itoa(int(addr.Port()))}
	if opts.NumericHost && opts.NumericService {
		return numbers.host, numbers.service, nil
	}
	if ns := t.loop.nameServer(); ns != nil {
		n := numbers
		if !opts.NumericService {
			n.service = serviceName(addr.Port(), opts.Datagram)
		}
		if !opts.NumericHost {
			n.host, err = ask(ctx, t, func(tell func(string, error)) (stop func()) { return ns.LookUpAddr(addr.Addr(), tell) })
			n.host, err = nameOrNumber(n.host, addr.Addr(), opts.NameRequired, err)
		}
		if err != nil {
			return "", "", err
		}
		return n.host, n.service, nil
	}
	r := t.loop.resolver()
	find := func(ctx context.Context) (names, error) {
		n := numbers
		if !opts.NumericService {
			n.service = serviceName(addr.Port(), opts.Datagram)
		}
		var err error
		if !opts.NumericHost {
			n.host, err = nameOf(ctx, r, addr.Addr(), opts.NameRequired)
		}
		return n, err
	}
	if t.loop.tape != nil {
		a, err := t.lookUpTaped(ctx, fmt.Sprintf("the name of %v %+v", addr, opts), func(ctx context.Context) seam.Answer {
			n, err := find(ctx)
			return seam.Answer{Host: n.host, Service: n.service, Err: err}
		})
		return a.Host, a.Service, err
	}
	found, err := ToThread(ctx, find, t.loop.asLookup())
	return found.host, found.service, err
}

// nameOf returns the name that r finds for addr, or addr itself if that is allowed.
func nameOf(ctx context.Context, r Resolver, addr netip.Addr, required bool) (string, error) {
	if nr, ok := r.(NameResolver); ok {
		name, err := nr.GetNameInfo(ctx, addr)
		return nameOrNumber(name, addr, required, err)
	}
	return nameOrNumber("", addr, required, noName(addr))
}

// nameOrNumber returns addr as a name if none was found, and that is allowed.
func nameOrNumber(name string, addr netip.Addr, required bool, err error) (string, error) {
	if err == nil {
		return name, nil
	}
	var missing *net.DNSError
	if !required && errors.As(err, &missing) && missing.IsNotFound {
		return addr.String(), nil
	}
	return "", err
}

// serviceName returns the name of the service at a port, or its number.
func serviceName(port uint16, datagram bool) string {
	protocol := "tcp"
	if datagram {
		protocol = "udp"
	}
	key := strconv.Itoa(int(port)) + "/" + protocol
	if name, ok := services()[key]; ok {
		return name
	}
	return strconv.Itoa(int(port))
}

// services returns the names of services by "port/protocol".
var services = sync.OnceValue(func() map[string]string {
	names := make(map[string]string)
	text, err := os.ReadFile("/etc/services")
	if err != nil {
		return names
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if _, ok := names[fields[1]]; !ok { // the first name counts
			names[fields[1]] = fields[0]
		}
	}
	return names
})

// lookUpTaped is addresses and nameInfo with a tape.
func (t *task) lookUpTaped(ctx context.Context, question string, find func(ctx context.Context) seam.Answer) (seam.Answer, error) {
	return ask(ctx, t, func(tell func(seam.Answer, error)) (stop func()) {
		return t.loop.tape.LookUp(question, func(ctx context.Context) (a seam.Answer) {
			defer func() {
				if p := recover(); p != nil {
					a = seam.Answer{Err: &PanicError{Value: p, Stack: stack()}}
				}
			}()
			return find(ctx)
		}, func(a seam.Answer) { tell(a, a.Err) })
	})
}

func (t *task) addressesTaped(ctx context.Context, network, host, port string, r Resolver) ([]netip.AddrPort, error) {
	a, err := t.lookUpTaped(ctx, fmt.Sprintf("the addresses of %s %s:%s", network, host, port), func(ctx context.Context) seam.Answer {
		addrs, err := r.GetAddrInfo(ctx, network, host, port)
		return seam.Answer{Addrs: addrs, Err: err}
	})
	return a.Addrs, err
}
