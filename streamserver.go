// Servers of streams: a task for each connection.

package asyncio

import "context"

// Handler serves one connection of a Server.
type Handler = func(ctx context.Context, r *StreamReader, w *StreamWriter) error

// StartServer listens at address and serves each connection by a task that runs
// handler (asyncio.start_server). network is "tcp", "tcp4" or "tcp6" with "host:port"
// as in package net, or "unix" with a path, abstract if it begins with '@'. A host
// with several addresses is served at all of them; without a host, at all of the
// machine's. Port 0 takes a free port, the same at each address.
//
// The task has the values of ctx. When handler returns, its connection is closed.
// Its error, or its panic, ends that connection only, and goes to the exception
// handler. A cancellation is not reported, nor io.EOF, by which the peer has ended, nor
// net.ErrClosed after CloseClients or AbortClients.
//
// Errors of accepting do not end the server: when the process has run out of
// descriptors it reports that once, and tries again every second.
func StartServer(ctx context.Context, network, address string, handler Handler, opts *ServerOptions) (*Server, error) {
	var r reception
	if handler != nil {
		limit := 0
		if opts != nil {
			limit = opts.Limit
		}
		r = &streamReception{limit, handler}
	}
	return newServer(ctx, "StartServer", network, address, r, opts)
}

// A streamReception serves connections by a Handler.
type streamReception struct {
	limit   int
	handler Handler
}

func (s *streamReception) receive(l *EventLoop, from *origin) *transport {
	return &newStream(l, from, s.limit).tr
}

func (s *streamReception) needsTask() bool { return true }

func (s *streamReception) code() codePlace { return placeOf(s.handler) }

func (s *streamReception) serve(ctx context.Context, tr *transport) error {
	w := tr.consumer.(*StreamWriter)
	defer w.left()
	err := s.handler(ctx, &w.reader, w)
	w.tr.served = true
	w.Close()
	return err
}

// left aborts a connection whose handler panics, or was left by Goexit: there is no
// telling what was sent.
func (w *StreamWriter) left() {
	if w.tr.served {
		return
	}
	w.tr.abort()
	if p := recover(); p != nil {
		w.tr.loop.CallExceptionHandler(&ErrorContext{Message: "panic in the handler of a connection", Err: &PanicError{Value: p, Stack: stack()}, Source: w})
	}
}
