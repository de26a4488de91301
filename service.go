// From a connection that has been accepted to the task that serves it.

package asyncio

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/goasyncio/asyncio/internal/seam"
)

// full reports whether the server must not accept connections now.
func (s *Server) full() bool {
	return s.options.MaxConnections > 0 && s.clients >= s.options.MaxConnections
}

// accept takes a connection.
func (s *Server) accept(conn seam.AcceptedConn) {
	tr := s.reception.receive(s.loop, s.origin)
	tr.use(conn)
	tr.writable = true
	s.clients++
	if err := s.welcome(conn, tr); err != nil {
		tr.abort()
		s.report("connection could not be served", err)
	}
}

// welcome lets something serve a connection. A panic of a task factory is its error.
func (s *Server) welcome(conn seam.AcceptedConn, tr *transport) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: stack()}
		}
	}()
	if err := conn.Attach(tr); err != nil {
		return err
	}
	if s.options.TLS == nil && !s.reception.needsTask() {
		return s.reception.serve(s.values, tr)
	}
	sv := &service{server: s, tr: tr}
	sv.initTask(s.loop, s.ctx, sv, s.reception.code(), nil)
	s.services++
	if s.options.TLS != nil {
		tr.shaking = true // until the task does it, the consumer shall be told nothing
	}
	sv.addCallback((*serviceEnd)(sv))
	sv.start()
	return nil
}

// A service is the task of one connection.
type service struct {
	task
	server *Server
	tr     *transport
}

// String shows name, state, what the task waits for, and its result.
func (sv *service) String() string { return sv.describeTask(struct{}{}) }

// exec is the function of the task. Its frame is small, like those of whatever a
// connection waits in: the stack of an idle one shall not outgrow 2 KB.
func (sv *service) exec(ctx context.Context) error {
	if sv.server.options.TLS != nil {
		if err := sv.secure(ctx); err != nil {
			sv.handshakeFailed(err)
			return nil
		}
	}
	if err := sv.server.reception.serve(ctx, sv.tr); err != nil {
		sv.failed(ctx, err)
	}
	return nil
}

// failed reports what the handler has returned, unless that is an ordinary end.
func (sv *service) failed(ctx context.Context, err error) {
	ordinary := err == io.EOF || isCancelled(err, ctx.Err()) || sv.tr.dismissed && errors.Is(err, net.ErrClosed)
	if !ordinary {
		sv.server.loop.CallExceptionHandler(&ErrorContext{Message: "error in the handler of a connection", Err: err, Source: sv.tr.consumer})
	}
}

// secure shakes hands. A panic in a function of the config is its error.
func (sv *service) secure(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: stack()}
		}
	}()
	return sv.task.secure(ctx, sv.tr, sv.server.options.tls(), nil)
}

// serviceEnd is a service that has ended. It may have been cancelled before it began.
type serviceEnd service

func (e *serviceEnd) run() {
	sv := (*service)(e)
	if sv.err != nil {
		sv.tr.abort()
	}
	sv.server.services--
	sv.server.checkClosed()
}

func (sv *service) handshakeFailed(err error) {
	s := sv.server
	var panicked *PanicError
	isPanic := errors.As(err, &panicked)
	err = sv.tr.error("accept", err)
	switch {
	case isCancelled(err, nil) || sv.tr.dismissed:
	case s.options.HandshakeFailed == nil || isPanic:
		s.report("TLS handshake failed", err)
	default:
		defer func() {
			if p := recover(); p != nil {
				s.report("panic in HandshakeFailed", &PanicError{Value: p, Stack: stack()})
			}
		}()
		s.options.HandshakeFailed(sv.tr.conn.RemoteAddr(), err)
	}
}
