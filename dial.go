// Opening transports: look the name up, try its addresses, shake hands.

package asyncio

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// ConnOptions are the options of OpenConnection and CreateConnection. The zero
// value, or nil, is a plain connection with the defaults.
type ConnOptions struct {
	// TLS makes the connection a TLS client's, by crypto/tls. If its ServerName
	// is empty, it is the host of the address; where there is none, of a Unix socket
	// or with Conn, it must be given, unless the config skips verification. If its
	// Time is nil, certificates are judged by the loop's clock. It must not ask for
	// renegotiation. Nil means plain.
	//
	// If the peer closes without the alert that ends a TLS stream, reads return
	// io.EOF between two records and io.ErrUnexpectedEOF inside one, as with
	// crypto/tls: popular servers do that. Trust a length, not the end.
	TLS *tls.Config

	// TLSHandshakeTimeout limits the handshake: 60 s if zero. Only with TLS.
	TLSHandshakeTimeout time.Duration

	// TLSShutdownTimeout limits how long Close may take to send what is
	// buffered and to see the peer close; then the connection is ended. 30 s if
	// zero. Only with TLS.
	TLSShutdownTimeout time.Duration

	// CloseTimeout limits how long Close may take to send what is buffered on a plain
	// connection; then the connection is aborted. Without it a peer that does not read
	// keeps the connection until Abort. With TLS there is TLSShutdownTimeout.
	CloseTimeout time.Duration

	// Resolver looks the host up: the loop's if nil.
	Resolver Resolver

	// LocalAddr is the address to connect from, "host:port", or a path for a Unix
	// socket; any if empty.
	LocalAddr string

	// Conn is a connection that exists already, and is used instead of a new one.
	// It is owned by the library from the call on. Network and address must be
	// empty then.
	Conn net.Conn

	// Limit is how long a line may be that ReadLine and ReadUntil return, in
	// bytes: 64 KiB if zero. Only for OpenConnection.
	Limit int

	// HappyEyeballsDelay is how long an address may take until the next one
	// is tried beside it (RFC 8305): 250 ms if zero. Negative: one after another.
	HappyEyeballsDelay time.Duration
}

const defaultHappyEyeballsDelay = 250 * time.Millisecond

// check says what is wrong with the options.
func (o *ConnOptions) check(op, network, address string) error {
	if o.Conn != nil && (network != "" || address != "" || o.LocalAddr != "") {
		return misuse(op, ErrBadArgument, "both a connection and an address")
	}
	if o.Conn == nil && network == "" {
		return misuse(op, ErrBadArgument, "neither a network and an address nor a connection")
	}
	if o.TLS != nil && o.TLS.ServerName == "" && !o.TLS.InsecureSkipVerify && (o.Conn != nil || network == "unix") {
		return misuse(op, ErrBadArgument, "TLS needs a ServerName to verify, since there is no host")
	}
	if err := checkCloseTimeout(op, o.CloseTimeout, o.TLS != nil); err != nil {
		return err
	}
	setup := o.tls("")
	return setup.check(op)
}

// checkCloseTimeout says what is wrong with a CloseTimeout.
func checkCloseTimeout(op string, d time.Duration, secure bool) error {
	switch {
	case d < 0:
		return misuse(op, ErrBadArgument, "the CloseTimeout is %v", d)
	case d > 0 && secure:
		return misuse(op, ErrBadArgument, "a CloseTimeout with TLS, which has its TLSShutdownTimeout")
	}
	return nil
}

// discard closes the connection that exists already, if there is one.
func (o *ConnOptions) discard() {
	if o.Conn != nil {
		o.Conn.Close()
	}
}

// tls returns how to begin TLS with a host, if there is one.
func (o *ConnOptions) tls(host string) tlsSetup {
	s := tlsSetup{config: o.TLS, handshake: o.TLSHandshakeTimeout, shutdown: o.TLSShutdownTimeout}
	if host != "" && s.config != nil && s.config.ServerName == "" {
		s.config = s.config.Clone()
		s.config.ServerName = host // also if nobody verifies it: the server wants to know
	}
	return s
}

// open opens a connection, with TLS if it is asked for. make returns the transport
// of a new consumer on a network; it is called for each address that is tried. The consumer of
// the transport that is returned has been told nothing yet.
func (t *task) open(ctx context.Context, op, network, address string, opts *ConnOptions, make func(network string) *transport) (*transport, error) {
	if err := opts.check(op, network, address); err != nil {
		opts.discard()
		return nil, err
	}
	var tr *transport
	var err error
	host := ""
	if opts.Conn != nil {
		network, address = networkOf(opts.Conn.LocalAddr()), "existing connection"
		tr, err = t.adopt(op, opts.Conn, network, make)
	} else {
		tr, err = t.dial(ctx, network, address, opts, make)
		if network != "unix" {
			host, _, _ = net.SplitHostPort(address)
		}
	}
	if err == nil && opts.TLS != nil {
		err = t.secure(ctx, tr, opts.tls(host), nil)
	}
	if err != nil {
		return nil, dialError(network, address, err)
	}
	if opts.TLS == nil {
		tr.setLinger(opts.CloseTimeout)
	}
	return tr, nil
}

// dialError gives err the operation and address, unless it is a cancellation or
// a misuse or has them.
func dialError(network, address string, err error) error {
	var usage *UsageError
	if isCancelled(err, nil) || errors.As(err, &usage) || addressed(err) {
		return err
	}
	return &net.OpError{Op: "dial", Net: network, Addr: target{network, address}, Err: err}
}

// adopt takes over a connection that exists already.
func (t *task) adopt(op string, c net.Conn, network string, make func(network string) *transport) (*transport, error) {
	a, err := t.loop.adopter(op)
	if err != nil {
		c.Close()
		return nil, err
	}
	tr := make(network)
	conn, err := a.AdoptConn(c, tr)
	if err != nil {
		return nil, err
	}
	tr.use(conn)
	tr.established()
	return tr, nil
}

// dial returns a transport that is connected.
func (t *task) dial(ctx context.Context, network, address string, opts *ConnOptions, make func(network string) *transport) (*transport, error) {
	if network == "unix" {
		return t.dialOne(ctx, network, seam.Addr{Path: address}, seam.Addr{Path: opts.LocalAddr}, make)
	}
	addrs, err := t.lookUp(ctx, network, address, opts.Resolver)
	if err != nil {
		return nil, err
	}
	pairs, err := t.withLocal(ctx, network, interleave(addrs), opts)
	if err != nil {
		return nil, err
	}
	if len(pairs) == 1 {
		return t.dialOne(ctx, network, pairs[0].to, pairs[0].local, make)
	}
	delay := opts.HappyEyeballsDelay
	if delay == 0 {
		delay = defaultHappyEyeballsDelay
	}
	tr, winner, failures, err := staggeredRace(ctx, len(pairs), delay,
		func(ctx context.Context, i int) (*transport, error) {
			t, err := current(ctx, "OpenConnection")
			if err != nil {
				return nil, err
			}
			return t.dialOne(ctx, network, pairs[i].to, pairs[i].local, make)
		},
		func(tr *transport) { tr.abort() })
	if err == nil && winner < 0 {
		err = errors.Join(failures...)
	}
	return tr, err
}

// A pair is where to connect to, and where from.
type pair struct{ to, local seam.Addr }

// withLocal gives each address a local one of its family. Addresses for which there
// is none are left out.
func (t *task) withLocal(ctx context.Context, network string, addrs []netip.AddrPort, opts *ConnOptions) ([]pair, error) {
	var locals []netip.AddrPort
	if opts.LocalAddr != "" {
		var err error
		if locals, err = t.localAddresses(ctx, network, opts.LocalAddr, opts.Resolver); err != nil {
			return nil, err
		}
	}
	var pairs []pair
	for _, a := range addrs {
		if opts.LocalAddr == "" {
			pairs = append(pairs, pair{to: seam.Addr{AddrPort: a}})
			continue
		}
		for _, local := range locals {
			if sameFamily(a, local) {
				pairs = append(pairs, pair{seam.Addr{AddrPort: a}, seam.Addr{AddrPort: local}})
				break
			}
		}
	}
	if len(pairs) == 0 {
		return nil, &net.AddrError{Err: "no address of the family of the local one", Addr: opts.LocalAddr}
	}
	return pairs, nil
}

func sameFamily(a, b netip.AddrPort) bool { return a.Addr().Unmap().Is4() == b.Addr().Unmap().Is4() }

// localAddresses returns what "host:port" stands for on this machine: without a
// host, any address of either family.
func (t *task) localAddresses(ctx context.Context, network, address string, r Resolver) ([]netip.AddrPort, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, net.UnknownNetworkError(network)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host != "" {
		return t.lookUp(ctx, network, address, r)
	}
	anyAddr, err := t.lookUp(ctx, "tcp", net.JoinHostPort("0.0.0.0", port), r)
	if err != nil {
		return nil, err
	}
	v4 := anyAddr[0]
	v6 := netip.AddrPortFrom(netip.IPv6Unspecified(), v4.Port())
	switch network {
	case "tcp4":
		return []netip.AddrPort{v4}, nil
	case "tcp6":
		return []netip.AddrPort{v6}, nil
	}
	return []netip.AddrPort{v4, v6}, nil
}

// dialOne connects to one address.
func (t *task) dialOne(ctx context.Context, network string, to, local seam.Addr, make func(network string) *transport) (*transport, error) {
	kind := "tcp"
	if network == "unix" {
		kind = "unix"
	}
	tr := make(network)
	if err := t.connect(ctx, tr, kind, to, local); err != nil {
		err = dialError(network, SockAddr(to).String(), err)
		if op, ok := err.(*net.OpError); ok && op.Source == nil && local != (seam.Addr{}) {
			op.Source = target{network, SockAddr(local).String()} // it may be what is wrong
		}
		return nil, err
	}
	return tr, nil
}

// interleave lets the families of addresses take turns, beginning with the
// first address's (RFC 8305, section 4).
func interleave(addrs []netip.AddrPort) []netip.AddrPort {
	var first, second []netip.AddrPort
	for _, a := range addrs {
		if a.Addr().Unmap().Is4() == addrs[0].Addr().Unmap().Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	mixed := make([]netip.AddrPort, 0, len(addrs))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			mixed = append(mixed, first[i])
		}
		if i < len(second) {
			mixed = append(mixed, second[i])
		}
	}
	return mixed
}
