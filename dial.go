// Opening connections: look the name up, try its addresses, shake hands.

package asyncio

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"
)

// ConnOptions are the options of OpenConnection. The zero value, or nil, is a
// plain connection with the defaults.
type ConnOptions struct {
	// TLS makes the connection a TLS client's, by crypto/tls. If its ServerName
	// is empty, the host of the address is verified. Nil means plain.
	//
	// If the peer closes without the alert that ends a TLS stream, reads return
	// io.EOF between two records and io.ErrUnexpectedEOF inside one, as with
	// crypto/tls: popular servers do that. Trust a length, not the end.
	TLS *tls.Config

	// TLSHandshakeTimeout limits the handshake: 60 s if zero.
	TLSHandshakeTimeout time.Duration

	// TLSShutdownTimeout limits how long Close may take to send what is
	// buffered; then the connection is aborted. 30 s if zero.
	TLSShutdownTimeout time.Duration

	// Resolver looks the host up: the loop's if nil.
	Resolver Resolver

	// LocalAddr is the address to connect from, "host:port" with an IP address
	// as host; any if empty.
	LocalAddr string

	// Limit is how long a line may be that ReadLine and ReadUntil return, in
	// bytes: 64 KiB if zero.
	Limit int

	// HappyEyeballsDelay is how long an address may take until the next one
	// is tried beside it (RFC 8305): 250 ms if zero. Negative: one after another.
	HappyEyeballsDelay time.Duration
}

const defaultHappyEyeballsDelay = 250 * time.Millisecond

// OpenConnection connects to address and returns the two halves of the
// connection (asyncio.open_connection). network is "tcp", "tcp4" or "tcp6" with an
// address "host:port" as in package net, or "unix" with the path of a socket, which
// is abstract if it begins with '@'.
//
// A name is looked up without blocking the loop. If it has several addresses,
// IPv6 and IPv4 take turns, and the next one is tried when one has failed or has
// taken too long; the first connection that stands is used.
//
// Errors are a *net.OpError, joined if several addresses have failed, with a
// *net.DNSError for a name that does not exist. A cancelled OpenConnection leaves no
// connection behind. The caller has to Close the writer.
func OpenConnection(ctx context.Context, network, address string, opts *ConnOptions) (*StreamReader, *StreamWriter, error) {
	t, err := current(ctx, "OpenConnection")
	if err != nil {
		return nil, nil, err
	}
	if opts == nil {
		opts = new(ConnOptions)
	}
	if opts.Limit < 0 {
		return nil, nil, misuse("OpenConnection", ErrBadArgument, "the limit is %d", opts.Limit)
	}
	w, err := t.dial(ctx, network, address, opts)
	if err != nil {
		return nil, nil, dialError(network, address, err)
	}
	if opts.TLS == nil {
		return w.reader, w, nil
	}
	config := opts.TLS
	if config.ServerName == "" && !config.InsecureSkipVerify {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			host = address
		}
		config = config.Clone()
		config.ServerName = host
	}
	w.linger = opts.TLSShutdownTimeout
	if w.linger == 0 {
		w.linger = defaultShutdownTimeout
	}
	returned := false
	defer func() {
		if !returned { // a function of the config has panicked
			w.tr.abort()
		}
	}()
	err = t.startTLS(ctx, w, config, opts.TLSHandshakeTimeout)
	returned = true
	switch {
	case err == nil:
		return w.reader, w, nil
	case isCancelled(err, nil):
		w.tr.abort()
	default:
		w.shut() // the peer shall get the alert that says why
	}
	return nil, nil, dialError(network, address, err)
}

// dialError gives err the operation and address, unless it is a cancellation or
// a misuse or has them.
func dialError(network, address string, err error) error {
	var op *net.OpError
	var usage *UsageError
	if isCancelled(err, nil) || errors.As(err, &usage) || errors.As(err, &op) {
		return err
	}
	return &net.OpError{Op: "dial", Net: network, Addr: target{network, address}, Err: err}
}

// target is an address as it was given.
type target struct{ network, address string }

func (a target) Network() string { return a.network }
func (a target) String() string  { return a.address }

// dial returns a plain stream that is connected.
func (t *task) dial(ctx context.Context, network, address string, opts *ConnOptions) (*StreamWriter, error) {
	var local netip.AddrPort
	if opts.LocalAddr != "" {
		var err error
		if local, err = netip.ParseAddrPort(opts.LocalAddr); err != nil {
			return nil, &net.AddrError{Err: "not an IP address and port", Addr: opts.LocalAddr}
		}
	}
	if network == "unix" {
		return t.dialOne(ctx, network, netip.AddrPort{}, local, address, opts)
	}
	addrs, err := t.lookUp(ctx, network, address, opts.Resolver)
	if err != nil {
		return nil, err
	}
	if local.IsValid() {
		addrs = slices.DeleteFunc(addrs, func(a netip.AddrPort) bool { return a.Addr().Unmap().Is4() != local.Addr().Unmap().Is4() })
		if len(addrs) == 0 {
			return nil, &net.AddrError{Err: "no address of the family of the local one", Addr: address}
		}
	}
	if len(addrs) == 1 {
		return t.dialOne(ctx, network, addrs[0], local, "", opts)
	}
	delay := opts.HappyEyeballsDelay
	if delay == 0 {
		delay = defaultHappyEyeballsDelay
	}
	addrs = interleave(addrs)
	w, winner, failures, err := staggeredRace(ctx, len(addrs), delay,
		func(ctx context.Context, i int) (*StreamWriter, error) {
			t, err := current(ctx, "OpenConnection")
			if err != nil {
				return nil, err
			}
			return t.dialOne(ctx, network, addrs[i], local, "", opts)
		},
		func(w *StreamWriter) { w.tr.abort() })
	if err == nil && winner < 0 {
		err = errors.Join(failures...)
	}
	return w, err
}

// dialOne connects to one address.
func (t *task) dialOne(ctx context.Context, network string, to, local netip.AddrPort, path string, opts *ConnOptions) (*StreamWriter, error) {
	w := newStream(t.loop, network, opts.Limit)
	kind := "tcp"
	address := to.String()
	if network == "unix" {
		kind, address = "unix", path
	}
	w.attach(newTransport(t.loop, w))
	if err := t.connect(ctx, w.tr, kind, to, local, path); err != nil {
		return nil, dialError(network, address, err)
	}
	return w, nil
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
