// TLS on a transport: crypto/tls, unmodified.

package asyncio

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

const (
	defaultHandshakeTimeout = 60 * time.Second
	defaultShutdownTimeout  = 30 * time.Second
)

// tlsLayer is a TLS connection and the net.Conn below it. During the handshake,
// which one task runs before the consumer is told anything, a read that finds
// nothing suspends that task. Later it returns an error that crypto/tls takes for
// temporary, and keeps its state: so no lock of crypto/tls is ever held across a
// suspension. Writes go to the transport's buffer and never wait.
type tlsLayer struct {
	conn  *tls.Conn
	tr    *transport
	below *tlsLayer // TLS inside TLS; nil at the bottom
	early []byte    // what had arrived before TLS began

	// While the handshake runs.
	task *task
	ctx  context.Context
}

// tlsSetup is what a connection needs to know to begin TLS.
type tlsSetup struct {
	config    *tls.Config
	server    bool
	handshake time.Duration // limit; 0 means the default
	shutdown  time.Duration // the same
}

// check says what is wrong with the setup.
func (s *tlsSetup) check(op string) error {
	switch {
	case s.handshake < 0 || s.shutdown < 0:
		return misuse(op, ErrBadArgument, "a TLS timeout is negative")
	case s.config == nil && (s.handshake != 0 || s.shutdown != 0):
		return misuse(op, ErrBadArgument, "a TLS timeout without TLS")
	}
	return nil
}

// TLSOptions are the options of StartTLS. The zero value, or nil, has the defaults.
type TLSOptions struct {
	// Server makes this end the server. It is that anyway on a connection that a
	// Server has accepted.
	Server bool

	// HandshakeTimeout limits the handshake: 60 s if zero.
	HandshakeTimeout time.Duration

	// ShutdownTimeout limits how long Close may take to send what is buffered; then
	// the connection is aborted. 30 s if zero.
	ShutdownTimeout time.Duration
}

// startTLS is StartTLS of a stream or a Transport. early returns what its consumer
// has read ahead.
func (t *transport) startTLS(ctx context.Context, config *tls.Config, opts *TLSOptions, early func() []byte) error {
	const op = "StartTLS"
	task, err := current(ctx, op)
	if err != nil {
		return err
	}
	if opts == nil {
		opts = new(TLSOptions)
	}
	s := tlsSetup{config: config, server: opts.Server || t.clients != nil, handshake: opts.HandshakeTimeout, shutdown: opts.ShutdownTimeout}
	switch err := s.check(op); {
	case err != nil:
		return err
	case task.loop != t.loop:
		return misuse(op, ErrWrongLoop, "the connection belongs to %s, the running task to %s", t.loop.name, task.loop.name)
	case config == nil:
		return misuse(op, ErrBadArgument, "the config is nil")
	case !s.server && config.ServerName == "" && !config.InsecureSkipVerify:
		return misuse(op, ErrBadArgument, "TLS needs a ServerName to verify")
	case t.shaking:
		return misuse(op, ErrInvalidState, "a handshake is under way")
	case t.sending:
		return errSending(op)
	case t.closing || t.endWanted:
		return t.error(op, net.ErrClosed)
	}
	return t.error(op, task.secure(ctx, t, s, early()))
}

// secure puts TLS between tr and its consumer: t shakes hands. early is what has
// arrived already. If that fails, tr is closing or closed, after an alert that
// tells the peer why.
func (t *task) secure(ctx context.Context, tr *transport, s tlsSetup, early []byte) error {
	layer := &tlsLayer{tr: tr, below: tr.tls, early: early}
	if s.server {
		layer.conn = tls.Server(layer, s.config)
	} else {
		layer.conn = tls.Client(layer, s.config)
	}
	tr.tls = layer
	if tr.linger = s.shutdown; tr.linger == 0 {
		tr.linger = defaultShutdownTimeout
	}
	limit := s.handshake
	if limit == 0 {
		limit = defaultHandshakeTimeout
	}
	returned := false
	tr.shaking = true
	defer func() {
		tr.shaking = false
		layer.task, layer.ctx = nil, nil
		if !returned { // a function of the config has panicked
			tr.abort()
		}
	}()
	err := Timeout(ctx, limit, func(ctx context.Context) error {
		layer.task, layer.ctx = t, ctx
		// A context that is never done: with another one crypto/tls would start a
		// goroutine. Cancelling reaches the handshake through layer.ctx.
		return layer.conn.HandshakeContext(context.WithoutCancel(ctx))
	})
	returned = true
	switch {
	case err == nil:
		return nil
	case isCancelled(err, nil):
		tr.abort()
		return err
	case errors.Is(err, ErrTimeout):
		tr.abort()
	default:
		tr.close() // the peer shall get the alert
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &handshakeError{err}
}

// A handshakeError says that it was the handshake that failed. It times out if
// its cause does, as an error of package net.
type handshakeError struct{ cause error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.cause.Error() }
func (e *handshakeError) Unwrap() error { return e.cause }
func (e *handshakeError) Timeout() bool { return errors.Is(e.cause, os.ErrDeadlineExceeded) }

// read reads plain text.
func (l *tlsLayer) read(p []byte) (int, error) {
	n, err := l.conn.Read(p)
	if errors.Is(err, errNoBytes) {
		err = seam.ErrWouldBlock
	}
	return n, err
}

// receive reads what the layer below has.
func (l *tlsLayer) receive(p []byte) (int, error) {
	if len(l.early) > 0 {
		n := copy(p, l.early)
		if l.early = l.early[n:]; len(l.early) == 0 {
			l.early = nil
		}
		return n, nil
	}
	if l.below != nil {
		return l.below.read(p)
	}
	return l.tr.receive(p)
}

// Read is what crypto/tls reads from.
func (l *tlsLayer) Read(p []byte) (int, error) {
	for {
		n, err := l.receive(p)
		if err != seam.ErrWouldBlock {
			return n, err
		}
		if l.task == nil {
			return 0, errNoBytes
		}
		if err := l.task.awaitOpening(l.ctx, l.tr); err != nil {
			return 0, err
		}
	}
}

// Write is what crypto/tls writes to.
func (l *tlsLayer) Write(p []byte) (int, error) {
	if l.below != nil {
		return l.below.conn.Write(p)
	}
	if err := l.tr.send(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close does nothing: the transport is closed by its consumer.
func (l *tlsLayer) Close() error { return nil }

func (l *tlsLayer) LocalAddr() net.Addr              { return l.tr.conn.LocalAddr() }
func (l *tlsLayer) RemoteAddr() net.Addr             { return l.tr.conn.RemoteAddr() }
func (l *tlsLayer) SetDeadline(time.Time) error      { return nil }
func (l *tlsLayer) SetReadDeadline(time.Time) error  { return nil }
func (l *tlsLayer) SetWriteDeadline(time.Time) error { return nil }

// errNoBytes is a net.Error that crypto/tls takes for temporary.
var errNoBytes error = noBytes{}

type noBytes struct{}

func (noBytes) Error() string   { return "no bytes yet" }
func (noBytes) Timeout() bool   { return true }
func (noBytes) Temporary() bool { return true }
