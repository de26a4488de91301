// Servers: who handles this connection?

package asyncio

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// ServerOptions are the options of StartServer and CreateServer. The zero value,
// or nil, has the defaults.
type ServerOptions struct {
	// AlsoAt are further addresses to listen at, of the same network.
	AlsoAt []string

	// Listener is a listener that exists already, and is used instead of new ones.
	// It is owned by the library from the call on. Network and address must be
	// empty then.
	Listener net.Listener

	// Backlog is how many connections may wait to be accepted; the most that
	// the system allows if zero.
	Backlog int

	// NoReuseAddr leaves out SO_REUSEADDR, which lets a server take over an
	// address that old connections still use. Only for TCP.
	NoReuseAddr bool

	// ReusePort sets SO_REUSEPORT: several servers share one address. Only for TCP.
	ReusePort bool

	// KeepAlive is the interval of TCP keep-alive probes: 15 s if zero, none if
	// negative. Only for TCP.
	KeepAlive time.Duration

	// KeepSocketFile leaves the file of a Unix socket in place when the server is
	// closed. Otherwise it is removed, unless somebody else's has taken its place.
	KeepSocketFile bool

	// StartLater leaves the server without accepting until StartServing or
	// ServeForever is called. Its addresses are taken at once.
	StartLater bool

	// MaxConnections is how many connections the server has at once; further ones
	// wait in the backlog. There is no limit if zero.
	MaxConnections int

	// CloseTimeout limits how long closing a plain connection may take to send what is
	// buffered; then it is aborted. Without it a peer that does not read keeps its
	// connection, and its place among MaxConnections, until it is aborted. With TLS
	// there is TLSShutdownTimeout.
	CloseTimeout time.Duration

	// Limit is how long a line may be that ReadLine and ReadUntil return, in
	// bytes: 64 KiB if zero. Only for StartServer.
	Limit int

	// TLS makes the connections a TLS server's, by crypto/tls. A handshake is
	// computed on the loop's thread, and the functions of the config are called by
	// the task of the connection; those that get a *tls.ClientHelloInfo may await
	// with its Context. If the Time of the config is nil, certificates are judged by
	// the loop's clock. Nil means plain.
	TLS *tls.Config

	// TLSHandshakeTimeout limits the handshake: 60 s if zero. Only with TLS.
	TLSHandshakeTimeout time.Duration

	// TLSShutdownTimeout limits how long closing a connection may take to send
	// what is buffered and to see the client close; then it is ended. 30 s if zero.
	// Only with TLS.
	TLSShutdownTimeout time.Duration

	// HandshakeFailed is told, on the loop, of handshakes that failed. Without it
	// they go to the exception handler. A panic of a function of the TLS config
	// goes there in any case. Only with TLS.
	HandshakeFailed func(remote net.Addr, err error)

	// Resolver looks the host up: the loop's if nil.
	Resolver Resolver
}

// check says what is wrong with the options.
func (o *ServerOptions) check(op, network, address string) error {
	setup := o.tls()
	switch {
	case o.Limit != 0 && op == "CreateServer":
		return misuse(op, ErrBadArgument, "a limit of lines, which only streams have")
	case o.Listener != nil && (network != "" || address != "" || len(o.AlsoAt) > 0):
		return misuse(op, ErrBadArgument, "both a listener and an address")
	case o.Listener == nil && network == "":
		return misuse(op, ErrBadArgument, "neither a network and an address nor a listener")
	case o.Listener != nil && (o.Backlog != 0 || o.NoReuseAddr || o.ReusePort || o.KeepAlive != 0):
		return misuse(op, ErrBadArgument, "options of a new listener for one that exists already")
	case network == "unix" && (o.NoReuseAddr || o.ReusePort || o.KeepAlive != 0):
		return misuse(op, ErrBadArgument, "options of TCP for a Unix socket")
	case o.Limit < 0:
		return misuse(op, ErrBadArgument, "the limit is %d", o.Limit)
	case o.Backlog < 0:
		return misuse(op, ErrBadArgument, "the backlog is %d", o.Backlog)
	case o.MaxConnections < 0:
		return misuse(op, ErrBadArgument, "%d connections", o.MaxConnections)
	case o.TLS == nil && o.HandshakeFailed != nil:
		return misuse(op, ErrBadArgument, "HandshakeFailed without TLS")
	}
	if err := checkCloseTimeout(op, o.CloseTimeout, o.TLS != nil); err != nil {
		return err
	}
	return setup.check(op)
}

func (o *ServerOptions) tls() tlsSetup {
	return tlsSetup{config: o.TLS, server: true, handshake: o.TLSHandshakeTimeout, shutdown: o.TLSShutdownTimeout}
}

// Server listens for connections and serves each with a task or a Protocol
// (asyncio.Server). It belongs to its loop's goroutine.
type Server struct {
	loop      *EventLoop
	values    context.Context
	ctx       context.Context // of the tasks, with the values
	options   ServerOptions
	network   string
	origin    *origin // of the connections
	reception reception
	listeners []*listener
	clients   int // connections that are open
	services  int // tasks of connections that have not ended
	started   bool
	closed    bool
	serving   bool // a task is in ServeForever
	closers   []*waiter
}

// A reception is what a server does with the connections that it has accepted.
type reception interface {
	// receive returns the transport of a new consumer.
	receive(l *EventLoop, from *origin) *transport
	// needsTask says whether serve suspends.
	needsTask() bool
	// serve serves a connection that is open. An error is reported.
	serve(ctx context.Context, tr *transport) error
	// code is what serves.
	code() codePlace
}

// newServer makes a server that listens, and accepts unless that is to come later.
func newServer(ctx context.Context, op, network, address string, r reception, opts *ServerOptions) (*Server, error) {
	if opts == nil {
		opts = new(ServerOptions)
	}
	t, err := current(ctx, op)
	if err == nil && r == nil {
		err = misuse(op, ErrBadArgument, "the function that is to serve the connections is nil")
	}
	if err == nil {
		err = opts.check(op, network, address)
	}
	if err != nil {
		if opts.Listener != nil {
			opts.Listener.Close()
		}
		return nil, err
	}
	s := &Server{loop: t.loop, values: valuesOf(ctx), ctx: t.loop.Context(valuesOf(ctx)), options: *opts, network: network, reception: r}
	if opts.Listener != nil {
		err = s.adopt(op, opts.Listener)
	} else {
		err = s.listen(ctx, t, append([]string{address}, opts.AlsoAt...))
	}
	if err != nil {
		s.closeListeners()
		var addressed *net.OpError
		var usage *UsageError
		if isCancelled(err, nil) || errors.As(err, &addressed) || errors.As(err, &usage) {
			return nil, err
		}
		return nil, &net.OpError{Op: "listen", Net: network, Addr: target{network, address}, Err: err}
	}
	return s, nil
}

// adopt takes over a listener that exists already.
func (s *Server) adopt(op string, from net.Listener) error {
	a, err := s.loop.adopter(op)
	if err != nil {
		from.Close()
		return err
	}
	s.network = networkOf(from.Addr())
	ln := &listener{server: s}
	sl, err := a.AdoptListener(from, seam.ListenOptions{KeepSocketFile: s.options.KeepSocketFile}, ln)
	if err != nil {
		return err
	}
	ln.use(sl)
	return s.startUnlessLater()
}

// listen opens the listeners.
func (s *Server) listen(ctx context.Context, t *task, addresses []string) error {
	var at []seam.Addr
	for _, address := range addresses {
		if s.network == "unix" {
			at = append(at, seam.Addr{Path: address})
			continue
		}
		addrs, err := t.localAddresses(ctx, s.network, address, s.options.Resolver)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			at = append(at, seam.Addr{AddrPort: a})
		}
	}
	at = unique(at)
	const attempts = 10 // to find a port that is free at every address
	for i := 1; ; i++ {
		err := s.listenAtAll(at)
		chosen := at[0].AddrPort.IsValid() && at[0].AddrPort.Port() == 0
		if err == nil || i == attempts || !chosen || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		s.closeListeners()
	}
}

// listenAtAll listens at all addresses. Those with port 0 get the same one.
func (s *Server) listenAtAll(at []seam.Addr) error {
	var port uint16
	var unavailable error
	for _, a := range at {
		if a.AddrPort.IsValid() && a.AddrPort.Port() == 0 {
			a.AddrPort = netip.AddrPortFrom(a.AddrPort.Addr(), port)
		}
		ln, err := s.listenAt(a)
		switch {
		case errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT):
			unavailable = err // a family that this machine does not have
		case err != nil:
			return err
		case a.AddrPort.IsValid() && a.AddrPort.Port() == 0:
			port = ln.listener.Addr().(*net.TCPAddr).AddrPort().Port()
		}
	}
	if len(s.listeners) == 0 {
		return unavailable
	}
	return s.startUnlessLater()
}

func (s *Server) listenAt(at seam.Addr) (*listener, error) {
	kind := "tcp"
	if s.network == "unix" {
		kind = "unix"
	}
	o := &s.options
	ln := &listener{server: s}
	sl, err := s.loop.net.Listen(kind, at, seam.ListenOptions{
		Backlog: o.Backlog, NoReuseAddr: o.NoReuseAddr, ReusePort: o.ReusePort, KeepAlive: o.KeepAlive, KeepSocketFile: o.KeepSocketFile,
	}, ln)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: s.network, Addr: target{s.network, SockAddr(at).String()}, Err: err}
	}
	ln.use(sl)
	return ln, nil
}

func unique(addrs []seam.Addr) []seam.Addr {
	seen := make(map[seam.Addr]bool, len(addrs))
	kept := addrs[:0]
	for _, a := range addrs {
		if !seen[a] {
			seen[a] = true
			kept = append(kept, a)
		}
	}
	return kept
}

func (s *Server) startUnlessLater() error {
	if s.options.StartLater {
		return nil
	}
	return s.start()
}

// start makes the listeners accept.
func (s *Server) start() error {
	if s.started {
		return nil
	}
	s.origin = &origin{network: s.network, linger: s.options.CloseTimeout, clients: s}
	if setup := s.options.tls(); setup.config != nil {
		s.origin.linger = setup.linger()
	}
	for _, ln := range s.listeners {
		if err := ln.listener.Start(); err != nil {
			return &net.OpError{Op: "listen", Net: s.network, Addr: ln.listener.Addr(), Err: err}
		}
	}
	s.started = true
	return nil
}

// StartServing begins to accept connections, if ServerOptions.StartLater has put
// that off (Server.start_serving). The second time it does nothing. After Close it
// returns a *UsageError.
func (s *Server) StartServing() error {
	if !s.loop.mine() {
		return s.loop.elsewhere("StartServing")
	}
	if s.closed {
		return misuse("StartServing", ErrInvalidState, "the server is closed")
	}
	return s.start()
}

// Loop returns the loop of the server (Server.get_loop).
func (s *Server) Loop() *EventLoop { return s.loop }

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

// IsServing reports whether the server accepts connections (Server.is_serving). After
// Close, of the loop too, it does not.
func (s *Server) IsServing() bool {
	return s.started && len(s.listeners) > 0 && !s.loop.closed.Load()
}

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

// CloseClients closes the connections of the server, each when what was written to it
// is sent. It panics like CallSoon.
func (s *Server) CloseClients() {
	s.loop.check("CloseClients")
	for _, tr := range s.connections() {
		tr.dismissed = true
		tr.close()
	}
}

// AbortClients aborts the connections of the server: what was not sent is dropped. It
// panics like CallSoon.
func (s *Server) AbortClients() {
	s.loop.check("AbortClients")
	for _, tr := range s.connections() {
		tr.dismissed = true
		tr.abort()
	}
}

// connections returns the open connections, the oldest first.
func (s *Server) connections() []*transport {
	all := make([]*transport, 0, s.clients)
	for e := s.loop.open.first; e != nil; e = e.next {
		if tr, ok := e.owner.(*transport); ok && tr.origin.clients == clientList(s) {
			all = append(all, tr)
		}
	}
	return all
}

// Shutdown closes the server and waits until its connections are closed and their
// handlers have returned. If ctx is cancelled or its time is over before, it aborts
// the connections that are left, cancels their handlers, and returns the
// cancellation, without waiting for them again. It must not be called by a handler of
// the server.
func (s *Server) Shutdown(ctx context.Context) error {
	t, err := s.task(ctx, "Shutdown")
	if err != nil {
		return err
	}
	if sv, ok := t.self.(*service); ok && sv.server == s {
		return misuse("Shutdown", ErrBadArgument, "called by a handler of the server, which it would wait for")
	}
	cerr := s.Close()
	for s.clients+s.services > 0 {
		if err := t.parkIn(ctx, &s.closers); err != nil {
			s.AbortClients()
			for _, t := range s.loop.tasks.all() {
				if sv, ok := t.self.(*service); ok && sv.server == s {
					t.cancel(net.ErrClosed)
				}
			}
			return err
		}
	}
	return cerr
}

// WaitClosed waits until the server is closed, which Close must have asked for, and has
// no connection left. Handlers may still run then; Shutdown waits for them, too. Any
// number of tasks may wait, and a cancelled WaitClosed changes nothing.
func (s *Server) WaitClosed(ctx context.Context) error {
	t, err := s.task(ctx, "WaitClosed")
	if err != nil {
		return err
	}
	for !s.closed || s.clients > 0 {
		if err := t.parkIn(ctx, &s.closers); err != nil {
			return err
		}
	}
	return nil
}

// ServeForever accepts connections until the calling task is cancelled, or Close is called
// (Server.serve_forever). It then closes the server and its connections, waits for
// them, and returns the cancellation, or nil. Connections that are not closed within
// the loop's grace (WithShutdownGrace) are aborted. A second task in it gets a *UsageError.
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
	if err := s.start(); err != nil {
		return err
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
	werr := Timeout(ctx, max(0, s.loop.grace), s.WaitClosed)
	if werr != nil {
		s.AbortClients()
	}
	if err == nil && !errors.Is(werr, ErrTimeout) {
		err = werr
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
	return fmt.Sprintf("<Server %v clients=%d>", s.Addrs(), s.clients)
}

// forget is told that a client's connection is closed.
func (s *Server) forget(tr *transport) {
	full := s.full()
	s.clients--
	s.checkClosed()
	if full {
		for _, ln := range s.listeners {
			ln.Ready(seam.Readable)
		}
	}
}

func (s *Server) report(message string, err error) {
	s.loop.CallExceptionHandler(&ErrorContext{Message: message, Err: err, Source: s})
}
