// Connections and pipes for protocols.

package asyncio

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"
)

// CreateConnection connects to address, as OpenConnection does, and gives the
// connection to the protocol that factory makes (loop.create_connection,
// loop.create_unix_connection). It returns when ConnectionMade has been called, before
// the protocol is told of anything else. The protocol has to be a Protocol or a
// BufferedProtocol.
//
// If it fails or is cancelled, no connection is left behind.
func CreateConnection[P BaseProtocol](ctx context.Context, network, address string, factory func() P, opts *ConnOptions) (*Transport, P, error) {
	var none P
	if opts == nil {
		opts = new(ConnOptions)
	}
	t, err := current(ctx, "CreateConnection")
	switch {
	case err != nil:
	case opts.Limit != 0:
		err = misuse("CreateConnection", ErrBadArgument, "a limit of lines, which only streams have")
	case factory == nil:
		err = misuse("CreateConnection", ErrBadArgument, "the factory is nil")
	}
	if err != nil {
		opts.discard()
		return nil, none, err
	}
	tr, err := t.open(ctx, "CreateConnection", network, address, opts, func(network string) *transport { return &newTransport(t.loop, originOf(network)).tr })
	if err != nil {
		return nil, none, err
	}
	return introduce(ctx, t, "CreateConnection", tr.consumer.(*Transport), factory)
}

// introduce gives a transport that is open the protocol that factory makes, and
// waits until that has been told.
func introduce[P BaseProtocol](ctx context.Context, t *task, op string, c *Transport, factory func() P) (*Transport, P, error) {
	var none P
	fine := false
	defer func() {
		if !fine { // or factory has panicked
			c.tr.abort()
		}
	}()
	p := factory()
	if err := c.adoptProtocol(op, p); err != nil {
		return nil, none, err
	}
	c.tr.opener = t.arm()
	c.begin()
	if err := t.park(ctx, c.tr.opener); err != nil {
		return nil, none, err
	}
	switch {
	case c.lossCause != nil: // ConnectionMade has panicked
		return nil, none, c.lossCause
	case !c.made: // closed already
		return nil, none, c.tr.error("connect", net.ErrClosed)
	}
	fine = true
	return c, p, nil
}

// AcceptOptions are the options of ConnectAcceptedSocket. The zero value, or nil,
// is a plain connection.
type AcceptOptions struct {
	// TLS makes the connection a TLS server's, by crypto/tls. Nil means plain.
	TLS *tls.Config

	// TLSHandshakeTimeout limits the handshake: 60 s if zero. Only with TLS.
	TLSHandshakeTimeout time.Duration

	// TLSShutdownTimeout limits how long Close may take to send what is
	// buffered and to see the peer close; then the connection is ended. 30 s if
	// zero. Only with TLS.
	TLSShutdownTimeout time.Duration
}

// ConnectAcceptedSocket gives a connection that was accepted elsewhere to the
// protocol that factory makes (loop.connect_accepted_socket). The connection is owned
// by the library from the call on; it is no longer to be used. On Linux it has to be
// one of package net's.
func ConnectAcceptedSocket[P BaseProtocol](ctx context.Context, conn net.Conn, factory func() P, opts *AcceptOptions) (*Transport, P, error) {
	const op = "ConnectAcceptedSocket"
	var none P
	if opts == nil {
		opts = new(AcceptOptions)
	}
	setup := tlsSetup{config: opts.TLS, server: true, handshake: opts.TLSHandshakeTimeout, shutdown: opts.TLSShutdownTimeout}
	t, err := current(ctx, op)
	if err == nil && (conn == nil || factory == nil) {
		err = misuse(op, ErrBadArgument, "the connection or the factory is nil")
	}
	if err == nil {
		err = setup.check(op)
	}
	if err != nil {
		if conn != nil {
			conn.Close()
		}
		return nil, none, err
	}
	network := networkOf(conn.LocalAddr())
	tr, err := t.adopt(op, conn, network, func(network string) *transport { return &newTransport(t.loop, originOf(network)).tr })
	if err != nil {
		if _, ok := errors.AsType[*UsageError](err); ok {
			return nil, none, err
		}
		return nil, none, &net.OpError{Op: "accept", Net: network, Err: err}
	}
	if opts.TLS != nil {
		if err := t.secure(ctx, tr, setup, nil); err != nil {
			return nil, none, tr.error("accept", err)
		}
	}
	return introduce(ctx, t, op, tr.consumer.(*Transport), factory)
}

// ConnectReadPipe gives what arrives through a pipe, a FIFO, a socket or a character
// device to the protocol that factory makes (loop.connect_read_pipe). It takes f over,
// as OpenReadPipe does. At the end of the stream EOFReceived is called, and the
// transport is closed whatever that returns.
func ConnectReadPipe[P BaseProtocol](ctx context.Context, f *os.File, factory func() P) (*Transport, P, error) {
	return connectPipe(ctx, "ConnectReadPipe", f, factory, false)
}

// ConnectWritePipe lets the protocol that factory makes write to a pipe, a FIFO, a
// socket or a character device (loop.connect_write_pipe). It takes f over, as
// OpenReadPipe does. When the reader has gone, the transport is closed: by an error
// that is syscall.EPIPE if something was waiting to be sent, quietly if not.
func ConnectWritePipe[P BaseProtocol](ctx context.Context, f *os.File, factory func() P) (*Transport, P, error) {
	return connectPipe(ctx, "ConnectWritePipe", f, factory, true)
}

func connectPipe[P BaseProtocol](ctx context.Context, op string, f *os.File, factory func() P, toWrite bool) (*Transport, P, error) {
	var none P
	t, err := current(ctx, op)
	if err != nil {
		return nil, none, err
	}
	if factory == nil {
		return nil, none, misuse(op, ErrBadArgument, "the factory is nil")
	}
	c := newTransport(t.loop, originOf("pipe"))
	c.readOnly = !toWrite
	if err := c.tr.adoptPipe(op, f, toWrite); err != nil {
		return nil, none, err
	}
	return introduce(ctx, t, op, c, factory)
}
