// The servers: each sends back what it receives.

package main

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"

	"github.com/goasyncio/asyncio"
)

func (a args) address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(a.number(0)))
}

// serve serves until the process is killed.
func serve(ctx context.Context, s *asyncio.Server, err error) error {
	if err != nil {
		return err
	}
	return s.ServeForever(ctx)
}

// echo serves streams.
func echo(ctx context.Context, a args) error {
	s, err := asyncio.StartServer(ctx, "tcp", a.address(), echoStream, nil)
	return serve(ctx, s, err)
}

// echoTLS serves streams over TLS.
func echoTLS(ctx context.Context, a args) error {
	if len(a) < 3 {
		fail("usage: tls PORT CERT KEY")
	}
	cert, err := tls.LoadX509KeyPair(a[1], a[2])
	if err != nil {
		return err
	}
	s, err := asyncio.StartServer(ctx, "tcp", a.address(), echoStream, &asyncio.ServerOptions{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	return serve(ctx, s, err)
}

func echoStream(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
	for {
		p, err := r.ReadSome(ctx)
		if err != nil {
			return nil
		}
		if _, err := w.Write(p); err != nil {
			return nil
		}
		if err := w.Drain(ctx); err != nil {
			return nil
		}
	}
}

// echoProtocol serves a protocol.
func echoProtocol(ctx context.Context, a args) error {
	s, err := asyncio.CreateServer(ctx, "tcp", a.address(), func() *echoing { return new(echoing) }, nil)
	return serve(ctx, s, err)
}

// An echoing protocol stops reading while its peer does.
type echoing struct {
	asyncio.NopProtocol
	t *asyncio.Transport
}

func (e *echoing) ConnectionMade(t *asyncio.Transport) { e.t = t }
func (e *echoing) DataReceived(p []byte)               { e.t.Write(p) }
func (e *echoing) PauseWriting()                       { e.t.PauseReading() }
func (e *echoing) ResumeWriting()                      { e.t.ResumeReading() }
