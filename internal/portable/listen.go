// This file listens and accepts.

package portable

import (
	"context"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

var _ seam.Listener = (*Listener)(nil)

// A Listener is a listening socket. A goroutine accepts one connection ahead of
// the loop; it ends when that fails, and Accept starts it again.
type Listener struct {
	source
	ln   net.Listener
	addr net.Addr
	file socketFile

	// Owned by the loop.
	started bool
	failed  bool // Accept has returned an error, and tries by itself

	mu        sync.Mutex
	taken     sync.Cond // next was taken, or the Listener is ending
	next      net.Conn
	err       error // came after next
	accepting bool  // the goroutine runs
	ending    bool
}

// Listen makes a socket that listens, as in seam.Network. Package net binds and
// listens at once: before Start, connections wait.
//
// An IPv6 socket takes IPv6 only, so that it and an IPv4 socket can share a port. A
// socket file that lies at path is replaced; any other file there is an EADDRINUSE.
func (n *Network) Listen(network string, at seam.Addr, opts seam.ListenOptions, h seam.Handler) (seam.Listener, error) {
	lc := net.ListenConfig{
		KeepAlive:       -1,
		KeepAliveConfig: keepAlive(opts.KeepAlive),
		Control: func(_, _ string, c syscall.RawConn) error {
			return control(c, func(fd uintptr) error { return setListenOptions(fd, network, opts) })
		},
	}
	lc.SetMultipathTCP(false)
	kind, address := "unix", at.Path
	switch network {
	case "tcp":
		k, ap, err := inet("tcp", at.AddrPort)
		if err != nil {
			return nil, err
		}
		kind, address = k, ap.String()
	case "unix":
		if checkPath(at.Path) != nil {
			return nil, os.NewSyscallError("bind", syscall.EINVAL)
		}
		if !abstract(at.Path) {
			if err := statSocket(at.Path).remove(); err != nil {
				return nil, plain(err)
			}
		}
	default:
		return nil, net.UnknownNetworkError(network)
	}
	ln, err := lc.Listen(context.Background(), kind, address)
	if err == nil && opts.Backlog != 0 {
		if err = setBacklog(ln.(syscall.Conn), opts.Backlog); err != nil {
			ln.Close()
		}
	}
	if err != nil {
		return nil, plain(err)
	}
	return n.newListener(ln, opts, h), nil
}

// newListener returns a Listener for ln.
func (n *Network) newListener(ln net.Listener, opts seam.ListenOptions, h seam.Handler) *Listener {
	l := &Listener{source: source{net: n, handler: h}, ln: ln, addr: plainAddr(ln.Addr())}
	l.taken.L = &l.mu
	if ul, ok := ln.(*net.UnixListener); ok {
		ul.SetUnlinkOnClose(false) // it would remove what others have put there
		if path := l.addr.String(); !abstract(path) && !opts.KeepSocketFile {
			l.file = statSocket(path)
		}
	}
	return l
}

// control runs f with the descriptor of c.
func control(c syscall.RawConn, f func(fd uintptr) error) error {
	var err error
	if cerr := c.Control(func(fd uintptr) { err = f(fd) }); cerr != nil {
		return cerr
	}
	return err
}

// Start begins to take connections, and to report them, as in seam.Listener.
func (l *Listener) Start() error {
	if l.closed {
		return net.ErrClosed
	}
	if !l.started {
		l.started = true
		l.startAccepting()
	}
	return nil
}

func (l *Listener) startAccepting() {
	l.accepting = true
	go l.accept()
}

// accept accepts connections, one ahead, until there is an error.
func (l *Listener) accept() {
	for {
		conn, err := l.ln.Accept()
		l.mu.Lock()
		if err != nil || l.ending {
			l.accepting = false
			l.err = err
			ending := l.ending
			l.mu.Unlock()
			if conn != nil {
				refuse(conn)
			}
			if ending {
				l.net.end(l)
			} else {
				l.report(seam.Readable)
			}
			return
		}
		l.next = conn
		l.report(seam.Readable)
		for l.next != nil && !l.ending {
			l.taken.Wait()
		}
		l.mu.Unlock()
	}
}

// refuse closes a connection that nobody has taken, as the system does with those
// that wait when their listener is closed.
func refuse(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

// Accept returns the next connection, as in seam.Listener.
func (l *Listener) Accept() (seam.AcceptedConn, error) {
	if l.closed {
		return nil, net.ErrClosed
	}
	if l.failed {
		return l.retry()
	}
	l.mu.Lock()
	conn, err := l.next, l.err
	l.next = nil
	if conn == nil {
		l.err = nil
	}
	l.taken.Signal()
	l.mu.Unlock()
	switch {
	case conn != nil:
		return l.net.newConn(conn), nil
	case err != nil:
		l.failed = true
		return nil, plain(err)
	}
	return nil, seam.ErrWouldBlock
}

// retry accepts after an error. It waits a moment for a connection: the one that
// could not be accepted is there, unless its peer has given it up.
func (l *Listener) retry() (seam.AcceptedConn, error) {
	const moment = time.Millisecond
	var conn net.Conn
	err := os.ErrDeadlineExceeded
	if d, ok := l.ln.(interface{ SetDeadline(time.Time) error }); ok && d.SetDeadline(time.Now().Add(moment)) == nil {
		conn, err = l.ln.Accept()
		d.SetDeadline(time.Time{})
		err = plain(err)
	}
	if err != nil && err != os.ErrDeadlineExceeded {
		return nil, err
	}
	l.failed = false
	l.startAccepting()
	if err != nil {
		return nil, seam.ErrWouldBlock
	}
	return l.net.newConn(conn), nil
}

// Close stops listening, as in seam.Listener, and removes the socket file if it is
// still this Listener's. A connection that was accepted ahead is refused.
func (l *Listener) Close() error {
	if l.closed {
		return net.ErrClosed
	}
	l.closed = true
	l.file.remove()
	l.mu.Lock()
	l.ending = true
	if l.next != nil {
		refuse(l.next)
		l.next = nil
	}
	if l.accepting {
		l.net.begin(l)
	}
	l.taken.Broadcast()
	l.mu.Unlock()
	return plain(l.ln.Close())
}

// cut has nothing to add to Close.
func (l *Listener) cut() {}

// Addr returns the address. It still answers after Close.
func (l *Listener) Addr() net.Addr { return l.addr }

// A socketFile is the file of a Unix socket. The zero value is none.
type socketFile struct {
	path string
	info os.FileInfo
}

// statSocket returns the socket file at path, or none if something else is there.
func statSocket(path string) socketFile {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSocket == 0 {
		return socketFile{}
	}
	return socketFile{path, info}
}

// remove removes the file, unless another one has taken its place.
func (f socketFile) remove() error {
	if f.path == "" {
		return nil
	}
	now := statSocket(f.path)
	if now.info == nil || !os.SameFile(now.info, f.info) {
		return nil
	}
	if err := os.Remove(f.path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil // or somebody was faster
}
