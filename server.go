// Servers: who handles this connection?

package asyncio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// ServerOptions are the options of StartServer. The zero value, or nil, has the
// defaults.
type ServerOptions struct {
	// Limit is how long a line may be that ReadLine and ReadUntil return, in
	// bytes: 64 KiB if zero.
	Limit int

	// Backlog is how many connections may wait to be accepted; the most that
	// the system allows if zero.
	Backlog int

	// NoReuseAddr leaves out SO_REUSEADDR, which lets a server take over an
	// address that old connections still use.
	NoReuseAddr bool

	// ReusePort sets SO_REUSEPORT: several servers share one address.
	ReusePort bool

	// KeepAlive is the interval of TCP keep-alive probes: 15 s if zero, none if
	// negative.
	KeepAlive time.Duration
}

// Handler serves one connection of a Server.
type Handler = func(ctx context.Context, r *StreamReader, w *StreamWriter) error

// Server listens for connections and runs a task for each (asyncio.Server). It
// belongs to its loop's goroutine.
type Server struct {
	loop      *EventLoop
	values    context.Context
	handler   Handler
	limit     int
	network   string
	listeners []*listener
	clients   registry // of *StreamWriter
	closed    bool
	serving   bool // a task is in ServeForever
	closers   []*waiter
}

// StartServer listens at address and serves each connection by a task that runs
// handler (asyncio.start_server). network is "tcp", "tcp4" or "tcp6" with "host:port"
// as in package net, or "unix" with a path, abstract if it begins with '@'. A host
// with several addresses is served at all of them; without a host, at all of the
// machine's. Port 0 takes a free port, the same at each address.
//
// The task has the values of ctx. When handler returns, its connection is closed.
// Its error, or its panic, ends that connection only, and goes to the exception
// handler. A cancellation is not reported, nor is net.ErrClosed after CloseClients
// or AbortClients.
//
// Errors of accepting do not end the server: when the process has run out of
// descriptors it reports that once, and tries again every second.
func StartServer(ctx context.Context, network, address string, handler Handler, opts *ServerOptions) (*Server, error) {
	t, err := current(ctx, "StartServer")
	if err != nil {
		return nil, err
	}
	if handler == nil {
		return nil, misuse("StartServer", ErrBadArgument, "the handler is nil")
	}
	if opts == nil {
		opts = new(ServerOptions)
	}
	if opts.Limit < 0 {
		return nil, misuse("StartServer", ErrBadArgument, "the limit is %d", opts.Limit)
	}
	s := &Server{loop: t.loop, values: valuesOf(ctx), handler: handler, limit: opts.Limit, network: network}
	if err := s.listen(ctx, t, address, opts); err != nil {
		s.closeListeners()
		var op *net.OpError
		if isCancelled(err, nil) || errors.As(err, &op) {
			return nil, err
		}
		return nil, &net.OpError{Op: "listen", Net: network, Addr: target{network, address}, Err: err}
	}
	return s, nil
}

// listen opens the listeners.
func (s *Server) listen(ctx context.Context, t *task, address string, opts *ServerOptions) error {
	lo := seam.ListenOptions{Backlog: opts.Backlog, NoReuseAddr: opts.NoReuseAddr, ReusePort: opts.ReusePort, KeepAlive: opts.KeepAlive}
	if s.network == "unix" {
		return s.listenAt("unix", netip.AddrPort{}, address, lo)
	}
	addrs, err := s.addresses(ctx, t, address)
	if err != nil {
		return err
	}
	const attempts = 10 // to find a port that is free at every address
	for i := 1; ; i++ {
		err := s.listenAtAll(addrs, lo)
		if err == nil || i == attempts || addrs[0].Port() != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		s.closeListeners()
	}
}

func (s *Server) listenAtAll(addrs []netip.AddrPort, lo seam.ListenOptions) error {
	port := addrs[0].Port()
	var unavailable error
	for _, a := range addrs {
		err := s.listenAt("tcp", netip.AddrPortFrom(a.Addr(), port), "", lo)
		switch {
		case errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT):
			unavailable = err // a family that this machine does not have
		case err != nil:
			return err
		case port == 0:
			port = s.Addr().(*net.TCPAddr).AddrPort().Port()
		}
	}
	if len(s.listeners) == 0 {
		return unavailable
	}
	return nil
}

func (s *Server) listenAt(kind string, at netip.AddrPort, path string, lo seam.ListenOptions) error {
	ln := &listener{server: s}
	sl, err := s.loop.net.Listen(kind, seam.Addr{AddrPort: at, Path: path}, lo, ln)
	if err == nil {
		if err = sl.Start(); err != nil {
			sl.Close()
		}
	}
	if err != nil {
		if kind == "tcp" {
			return &net.OpError{Op: "listen", Net: s.network, Addr: net.TCPAddrFromAddrPort(at), Err: err}
		}
		return err
	}
	ln.listener = sl
	s.loop.open.add(&ln.registered, ln)
	s.loop.listening++
	s.loop.outside++
	s.listeners = append(s.listeners, ln)
	return nil
}

// addresses returns where to listen.
func (s *Server) addresses(ctx context.Context, t *task, address string) ([]netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host != "" {
		addrs, err := t.lookUp(ctx, s.network, address, nil)
		return unique(addrs), err
	}
	anyAddr, err := t.lookUp(ctx, "tcp", net.JoinHostPort("0.0.0.0", port), nil)
	if err != nil {
		return nil, err
	}
	v4 := anyAddr[0]
	v6 := netip.AddrPortFrom(netip.IPv6Unspecified(), v4.Port())
	switch s.network {
	case "tcp4":
		return []netip.AddrPort{v4}, nil
	case "tcp6":
		return []netip.AddrPort{v6}, nil
	}
	return []netip.AddrPort{v4, v6}, nil
}

func unique(addrs []netip.AddrPort) []netip.AddrPort {
	seen := make(map[netip.AddrPort]bool, len(addrs))
	kept := addrs[:0]
	for _, a := range addrs {
		if !seen[a] {
			seen[a] = true
			kept = append(kept, a)
		}
	}
	return kept
}

// Addr returns the first address that the server listens at; nil after Close.
func (s *Server) Addr() net.Addr {
	if len(s.listeners) == 0 {
		return nil
	}
	return s.listeners[0].listener.Addr()
}

// Addrs returns all addresses that the server listens at; none after Close.
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.listeners))
	for i, ln := range s.listeners {
		addrs[i] = ln.listener.Addr()
	}
	return addrs
}

// IsServing reports whether the server accepts connections.
func (s *Server) IsServing() bool { return len(s.listeners) > 0 }

// Close stops listening. Connections that were accepted go on; see CloseClients.
// Closing twice is harmless.
func (s *Server) Close() error {
	if !s.loop.mine() {
		return s.loop.elsewhere("Server.Close")
	}
	err := s.closeListeners()
	s.closed = true
	s.checkClosed()
	return err
}

func (s *Server) closeListeners() error {
	var errs []error
	for _, ln := range s.listeners {
		errs = append(errs, ln.close())
	}
	s.listeners = nil
	return errors.Join(errs...)
}

// CloseClients closes the connections of the server, each when what was written
// to it is sent.
func (s *Server) CloseClients() {
	s.loop.check("CloseClients")
	for _, w := range s.clients.owners() {
		w := w.(*StreamWriter)
		w.dismissed = true
		w.Close()
	}
}

// AbortClients aborts the connections of the server.
func (s *Server) AbortClients() {
	s.loop.check("AbortClients")
	for _, w := range s.clients.owners() {
		w := w.(*StreamWriter)
		w.dismissed = true
		w.Abort()
	}
}

// WaitClosed waits until the server is closed, which Close must have asked for,
// and has no connection left.
func (s *Server) WaitClosed(ctx context.Context) error {
	t, err := s.task(ctx, "WaitClosed")
	if err != nil {
		return err
	}
	for !s.closed || s.clients.count > 0 {
		if err := t.parkIn(ctx, &s.closers); err != nil {
			return err
		}
	}
	return nil
}

// ServeForever waits until the calling task is cancelled, or Close is called
// (Server.serve_forever). It then closes the server and its connections, waits for
// them, and returns the cancellation, or nil. A second task in it gets a *UsageError.
func (s *Server) ServeForever(ctx context.Context) error {
	t, err := s.task(ctx, "ServeForever")
	if err != nil {
		return err
	}
	switch {
	case s.closed:
		return misuse("ServeForever", ErrInvalidState, "the server is closed")
	case s.serving:
		return misuse("ServeForever", ErrInvalidState, "another task is in it")
	}
	s.serving = true
	defer func() { s.serving = false }()
	for err == nil && !s.closed {
		err = t.parkIn(ctx, &s.closers)
	}
	if err != nil {
		s.Close()
		ctx = CleanupContext(ctx)
	}
	s.CloseClients()
	if werr := s.WaitClosed(ctx); werr != nil {
		s.AbortClients()
		if err == nil {
			err = werr
		}
	}
	return err
}

// task returns the running task, which must be of the server's loop.
func (s *Server) task(ctx context.Context, op string) (*task, error) {
	t, err := current(ctx, op)
	if err == nil && t.loop != s.loop {
		err = misuse(op, ErrWrongLoop, "the server belongs to %s, the running task to %s", s.loop.name, t.loop.name)
	}
	return t, err
}

func (s *Server) checkClosed() {
	if s.closed {
		wakeAll(&s.closers)
	}
}

// String shows where the server listens.
func (s *Server) String() string {
	return fmt.Sprintf("<Server %v clients=%d>", s.Addrs(), s.clients.count)
}

// forget is told that a client's connection is closed.
func (s *Server) forget(w *StreamWriter) {
	s.clients.remove(&w.registered)
	s.checkClosed()
}

// serve starts the task of a connection.
func (s *Server) serve(conn seam.AcceptedConn) {
	w := newStream(s.loop, s.network, s.limit)
	tr := newTransport(s.loop, w)
	tr.use(conn)
	tr.writable = true
	w.attach(tr)
	w.server = s
	s.clients.add(&w.registered, w)
	if err := conn.Attach(tr); err != nil {
		tr.abort()
		s.report("connection could not be served", err)
		return
	}
	Go(s.loop.Context(s.values), func(ctx context.Context) error { return s.handle(ctx, w) })
}

// handle runs the handler of one connection.
func (s *Server) handle(ctx context.Context, w *StreamWriter) error {
	returned := false
	defer func() {
		if returned {
			return
		}
		w.tr.abort() // it panics, or was left by Goexit: there is no telling what was sent
		if p := recover(); p != nil {
			s.loop.CallExceptionHandler(&ErrorContext{Message: "panic in the handler of a connection", Err: &PanicError{Value: p, Stack: stack()}, Source: w})
		}
	}()
	err := s.handler(ctx, w.reader, w)
	returned = true
	w.Close()
	if err != nil && !isCancelled(err, ctx.Err()) && !(w.dismissed && errors.Is(err, net.ErrClosed)) {
		s.loop.CallExceptionHandler(&ErrorContext{Message: "error in the handler of a connection", Err: err, Source: w})
	}
	return nil
}

func (s *Server) report(message string, err error) {
	s.loop.CallExceptionHandler(&ErrorContext{Message: message, Err: err, Source: s})
}

// A listener is one listening socket of a server.
type listener struct {
	registered // in loop.open
	server     *Server
	listener   seam.Listener
	queued     bool
	closed     bool
	retry      *TimerHandle // while accepting pauses for lack of descriptors
	complained bool         // about that
}

const (
	acceptBatch = 64 // so that a flood of connections does not hold up the others
	acceptRetry = time.Second
)

// Ready notes that there are connections to accept.
func (ln *listener) Ready(seam.Readiness) {
	if !ln.queued {
		ln.queued = true
		ln.server.loop.ready.push(ln)
	}
}

// run accepts connections.
func (ln *listener) run() {
	ln.queued = false
	if ln.closed || ln.retry != nil {
		return
	}
	for range acceptBatch {
		conn, err := ln.listener.Accept()
		switch {
		case err == seam.ErrWouldBlock:
			ln.complained = false
			return
		case err != nil:
			ln.pause(err)
			return
		}
		ln.server.serve(conn)
		if ln.closed {
			return
		}
	}
	ln.Ready(seam.Readable) // there may be more
}

// pause tries again later: what is missing, descriptors most likely, has to be
// freed by somebody. The connections wait meanwhile.
func (ln *listener) pause(err error) {
	if !ln.complained {
		ln.complained = true
		ln.server.report("accepting pauses", err)
	}
	l := ln.server.loop
	ln.retry = l.callAt(after(l.clock.Now(), acceptRetry), func() {
		ln.retry = nil
		ln.run()
	})
}

func (ln *listener) close() error {
	if ln.closed {
		return nil
	}
	ln.closed = true
	if ln.retry != nil {
		ln.retry.Cancel()
	}
	l := ln.server.loop
	l.open.remove(&ln.registered)
	l.listening--
	l.outside--
	return ln.listener.Close()
}

// abandon is close when the loop is closed.
func (ln *listener) abandon() { ln.close() }
