// This file starts connections.

package sock

import (
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/seam"
)

// Dial starts to connect a stream, as in seam.Network. A failure that is known
// at once is returned at once.
func (n *Network) Dial(network string, to, local seam.Addr, h seam.Handler) (seam.Conn, error) {
	switch network {
	case "tcp":
		return n.dialTCP(to.AddrPort, local.AddrPort, h)
	case "unix":
		return n.dialUnix(to.Path, local.Path, h)
	default:
		return nil, net.UnknownNetworkError(network)
	}
}

func (n *Network) dialTCP(to, local netip.AddrPort, h seam.Handler) (seam.Conn, error) {
	remote, family, err := inetSockaddr(to)
	if err != nil {
		return nil, err
	}
	fd, err := stream(family)
	if err != nil {
		return nil, err
	}
	if err := prepareTCP(fd, local); err != nil {
		unix.Close(fd)
		return nil, err
	}
	d := n.dialed(fd, tcpSocket)
	d.attempt.portChosen = local.Port() == 0
	return d.conn.connect(remote, h)
}

// prepareTCP does to a new socket what comes before connect.
func prepareTCP(fd int, local netip.AddrPort) error {
	if err := setTCP(fd, 0); err != nil {
		return err
	}
	if !local.IsValid() {
		return nil
	}
	sa, _, err := inetSockaddr(local)
	if err != nil {
		return err
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sa))
}

func (n *Network) dialUnix(path, local string, h seam.Handler) (seam.Conn, error) {
	remote, err := unixSockaddr(path)
	if err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	fd, err := stream(unix.AF_UNIX)
	if err != nil {
		return nil, err
	}
	if local != "" {
		if err := bindUnix(fd, local); err != nil {
			unix.Close(fd)
			return nil, err
		}
	}
	return n.dialed(fd, otherSocket).conn.connect(remote, h)
}

func bindUnix(fd int, path string) error {
	sa, err := unixSockaddr(path)
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	return os.NewSyscallError("bind", err)
}

// An attempt to connect is under way, or has failed.
type attempt struct {
	err        error // how it has failed
	portChosen bool  // the kernel chose the local port
}

// A dialed is a Conn with what one that was accepted has not: one object.
type dialed struct {
	conn    Conn
	attempt attempt
	local   endpoint
}

func (n *Network) dialed(fd int, k kind) *dialed {
	d := &dialed{conn: Conn{fd: int32(fd), net: n, kind: k}}
	d.conn.attempt, d.conn.local = &d.attempt, &d.local
	return d
}

// connect starts to connect c, or closes it.
func (c *Conn) connect(remote unix.Sockaddr, h seam.Handler) (seam.Conn, error) {
	fd := int(c.fd)
	err := unix.Connect(fd, remote)
	switch err {
	case nil:
		// A unix socket is connected now, and a TCP socket may be: Connected
		// finds out either way.
	case unix.EINPROGRESS, unix.EALREADY, unix.EINTR:
	default:
		// That includes EAGAIN from a unix socket: too many others wait to be
		// accepted. Nothing would be reported when there is room.
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	// The local end has been chosen by now.
	local, _ := unix.Getsockname(fd)
	c.setAddrs(local, remote)
	// Registered before connect, the socket would be reported as hung up.
	if err := c.Attach(h); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return c, nil
}

// Connected returns how the connection attempt ended, as in seam.Conn. Once
// there is an answer, it stays the same.
func (c *Conn) Connected() error {
	if c.fd < 0 {
		return net.ErrClosed
	}
	a := c.attempt
	switch {
	case a == nil:
		return nil
	case a.err != nil:
		return a.err
	}
	err := connected(int(c.fd))
	if err == seam.ErrWouldBlock {
		return err
	}
	// Dialing a port of this machine where nobody listens can connect a socket
	// with itself, when the port happens to be the one that the kernel has chosen for it.
	if err == nil && a.portChosen && *c.local == c.remote {
		err = os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	if a.err = err; err == nil {
		c.attempt = nil
	}
	return err
}

// connected asks the kernel how the connection attempt of a socket stands.
func connected(fd int) error {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	switch err := unix.Errno(errno); err {
	case 0, unix.EISCONN:
	case unix.EINPROGRESS, unix.EALREADY, unix.EINTR:
		return seam.ErrWouldBlock
	default:
		return os.NewSyscallError("connect", err)
	}
	// No error does not mean that there is a connection: only if there is one,
	// there is a peer.
	switch _, err := unix.Getpeername(fd); err {
	case nil:
		return nil
	case unix.ENOTCONN:
		return seam.ErrWouldBlock
	default:
		return os.NewSyscallError("getpeername", err)
	}
}
