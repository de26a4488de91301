// This file listens and accepts.

package sock

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/poll"
	"github.com/goasyncio/asyncio/internal/seam"
)

var _ seam.Listener = (*Listener)(nil)

// A Listener is a listening socket.
type Listener struct {
	fd      int // -1 when closed
	net     *Network
	handler seam.Handler
	desc    poll.Desc // registered by Start
	backlog int       // -1 if it listens already
	kind    kind      // of what it accepts; 0 if that has to be asked
	local   *endpoint // nil for a unix socket
	addr    net.Addr
	peer    sockaddr // of the latest connection
	file    socketFile
}

// Listen makes a socket that can listen, as in seam.Network. An IPv6 socket takes
// IPv6 only, so that it and an IPv4 socket can share a port. A socket file that
// lies at path is replaced; any other file there is an EADDRINUSE.
func (n *Network) Listen(network string, at seam.Addr, opts seam.ListenOptions, h seam.Handler) (seam.Listener, error) {
	l := &Listener{fd: -1, net: n, handler: h, backlog: opts.Backlog}
	var err error
	switch network {
	case "tcp":
		l.kind = tcpSocket
		err = l.bindTCP(at.AddrPort, opts)
	case "unix":
		l.kind = otherSocket
		err = l.bindUnix(at.Path, opts)
	default:
		return nil, net.UnknownNetworkError(network)
	}
	if err == nil {
		err = l.learnAddr()
	}
	if err != nil {
		if l.fd >= 0 {
			l.Close()
		}
		return nil, err
	}
	return l, nil
}

func (l *Listener) bindTCP(at netip.AddrPort, opts seam.ListenOptions) error {
	sa, family, err := inetSockaddr(at)
	if err != nil {
		return err
	}
	if l.fd, err = stream(family); err != nil {
		return err
	}
	if family == unix.AF_INET6 {
		if err := setOption(l.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	if !opts.NoReuseAddr {
		if err := setOption(l.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
	}
	if opts.ReusePort {
		if err := setOption(l.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return err
		}
	}
	// Connections inherit these from the socket that accepts them, on Linux:
	// set once here, they cost five system calls less for each of them.
	if err := setTCP(l.fd, opts.KeepAlive); err != nil {
		return err
	}
	return os.NewSyscallError("bind", unix.Bind(l.fd, sa))
}

func (l *Listener) bindUnix(path string, opts seam.ListenOptions) error {
	var err error
	if l.fd, err = stream(unix.AF_UNIX); err != nil {
		return err
	}
	if !abstract(path) {
		if err := removeSocket(path); err != nil {
			return err
		}
	}
	if err := bindUnix(l.fd, path); err != nil {
		return err
	}
	if !abstract(path) && !opts.KeepSocketFile {
		l.file = statSocket(path)
	}
	return nil
}

// learnAddr asks the kernel for the address that the socket is bound to.
func (l *Listener) learnAddr() error {
	sa, err := unix.Getsockname(l.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	l.addr = netAddr(sa)
	if e := endpointOf(sa); e.is() {
		l.local = &e
	}
	return nil
}

// Start begins to take connections, and to report them, as in seam.Listener.
func (l *Listener) Start() error {
	if l.fd < 0 {
		return net.ErrClosed
	}
	if l.desc.Registered() {
		return nil
	}
	if l.backlog >= 0 {
		backlog := l.backlog
		if backlog == 0 {
			backlog = maxBacklog()
		}
		if err := unix.Listen(l.fd, backlog); err != nil {
			return os.NewSyscallError("listen", err)
		}
	}
	return l.net.Register(&l.desc, l.fd, l.handler)
}

// maxBacklog returns the longest queue of connections that the system allows.
func maxBacklog() int {
	data, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		return unix.SOMAXCONN
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || n <= 0 {
		return unix.SOMAXCONN
	}
	return min(n, 1<<16-1) // old kernels keep the lower 16 bits only
}

// Accept returns the next connection, as in seam.Listener. Those that were
// broken off while they waited are skipped.
func (l *Listener) Accept() (seam.AcceptedConn, error) {
	if l.fd < 0 {
		return nil, net.ErrClosed
	}
	for {
		fd, errno := l.peer.accept(l.fd)
		switch errno {
		case 0:
			return l.accepted(fd), nil
		case unix.EINTR, unix.ECONNABORTED:
		case unix.EAGAIN:
			return nil, seam.ErrWouldBlock
		default:
			return nil, os.NewSyscallError("accept4", errno)
		}
	}
}

// accepted returns the connection fd, which peer is the other end of.
func (l *Listener) accepted(fd int) *Conn {
	c := &Conn{fd: int32(fd), net: l.net, kind: l.kind}
	if c.kind == 0 {
		c.kind = kindOf(fd)
	}
	switch peer := &l.peer; peer.family() {
	case unix.AF_INET, unix.AF_INET6:
		c.local, c.remote = l.localOf(fd), peer.endpoint()
	case unix.AF_UNIX:
		c.addrs = &addresses{&net.UnixAddr{Name: l.addr.String(), Net: "unix"}, &net.UnixAddr{Name: string(peer.unixName()), Net: "unix"}}
	default:
		c.addrs = new(addresses)
	}
	return c
}

// localOf returns the local address of an accepted connection: the listener's,
// unless that stands for several.
func (l *Listener) localOf(fd int) *endpoint {
	if l.local.ip == [16]byte{} {
		if sa, err := unix.Getsockname(fd); err == nil {
			e := endpointOf(sa)
			return &e
		}
	}
	return l.local
}

// Close stops listening, as in seam.Listener, and removes the socket file if it
// is still this Listener's.
func (l *Listener) Close() error {
	if l.fd < 0 {
		return net.ErrClosed
	}
	l.file.remove()
	err := closeSocket(l.fd, &l.desc)
	l.fd = -1
	return err
}

// Addr returns the address: a *net.TCPAddr or *net.UnixAddr. It still answers
// after Close.
func (l *Listener) Addr() net.Addr { return l.addr }

// A socketFile is the file of a unix socket. The zero value is none.
type socketFile struct {
	path     string
	dev, ino uint64
}

// statSocket returns the socket file at path, or none if something else is there.
func statSocket(path string) socketFile {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return socketFile{}
	}
	return socketFile{path, uint64(st.Dev), st.Ino}
}

// remove removes the file, unless another one has taken its place.
func (f socketFile) remove() error {
	if f.path == "" || statSocket(f.path) != f {
		return nil
	}
	if err := unix.Unlink(f.path); err != unix.ENOENT {
		return err
	}
	return nil // somebody was faster
}

// removeSocket removes a socket file that was left over at path.
func removeSocket(path string) error {
	return os.NewSyscallError("unlink", statSocket(path).remove())
}
