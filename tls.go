// TLS under a stream: crypto/tls, unmodified, over a transport.

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
// which one task runs before anybody else sees the stream, a read that finds
// nothing suspends that task. Later it returns an error that crypto/tls takes for
// temporary, and keeps its state: so no lock of crypto/tls is ever held across a
// suspension. Writes go to the transport's buffer and never wait.
type tlsLayer struct {
	conn *tls.Conn
	tr   *transport

	// While the handshake runs.
	task   *task
	ctx    context.Context
	waiter *waiter
}

// startTLS runs the client's handshake and puts the layer into the stream.
func (t *task) startTLS(ctx context.Context, w *StreamWriter, config *tls.Config, timeout time.Duration) error {
	layer := &tlsLayer{tr: w.tr}
	layer.conn = tls.Client(layer, config)
	w.tls = layer
	if timeout == 0 {
		timeout = defaultHandshakeTimeout
	}
	err := Timeout(ctx, timeout, func(ctx context.Context) error {
		layer.task, layer.ctx = t, ctx
		err := layer.conn.Handshake()
		layer.task, layer.ctx = nil, nil
		return err
	})
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if isCancelled(err, nil) {
			return err
		}
		return &handshakeError{err}
	}
	w.reader.source = layer
	return nil
}

// A handshakeError says that it was the handshake that failed. It times out if
// its cause does, as an error of package net.
type handshakeError struct{ cause error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.cause.Error() }
func (e *handshakeError) Unwrap() error { return e.cause }
func (e *handshakeError) Timeout() bool { return errors.Is(e.cause, os.ErrDeadlineExceeded) }

// read is the source of the stream's reader.
func (l *tlsLayer) read(p []byte) (int, error) {
	n, err := l.conn.Read(p)
	if errors.Is(err, errNoBytes) {
		err = seam.ErrWouldBlock
	}
	return n, err
}

// Read is what crypto/tls reads from.
func (l *tlsLayer) Read(p []byte) (int, error) {
	for {
		n, err := l.tr.read(p)
		if err != seam.ErrWouldBlock {
			return n, err
		}
		if l.task == nil {
			return 0, errNoBytes
		}
		if err := l.wait(); err != nil {
			return 0, err
		}
	}
}

// wait suspends the task of the handshake until there is something to read.
func (l *tlsLayer) wait() error {
	t := l.task
	l.waiter = t.arm()
	t.loop.outside++
	err := t.park(l.ctx, l.waiter)
	t.loop.outside--
	l.waiter = nil
	return err
}

// Write is what crypto/tls writes to.
func (l *tlsLayer) Write(p []byte) (int, error) {
	if err := l.tr.write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close does nothing: the transport is closed by the stream.
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
