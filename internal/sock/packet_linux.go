// This file sends and receives datagrams.

package sock

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/poll"
	"github.com/goasyncio/asyncio/internal/seam"
)

var (
	_ seam.PacketConn = (*PacketConn)(nil)
	_ syscall.Conn    = (*PacketConn)(nil)
)

// A PacketConn is a socket for datagrams.
type PacketConn struct {
	fd     int // -1 when closed
	net    *Network
	desc   poll.Desc
	file   socketFile
	peer   sockaddr // of the latest call
	known  lastName // of the latest Unix socket that has sent something
	zones  zoneCache
	local  seam.Addr
	remote seam.Addr
}

// OpenPacket makes a socket for datagrams, as in seam.Network. An IPv6 socket takes
// IPv6 only, so that it and an IPv4 socket can share a port. A socket file that
// lies at the local path is replaced; any other file there is an EADDRINUSE.
func (n *Network) OpenPacket(network string, local, remote seam.Addr, opts seam.PacketOptions, h seam.Handler) (seam.PacketConn, error) {
	family := 0
	switch network {
	case "udp4":
		family = unix.AF_INET
	case "udp6":
		family = unix.AF_INET6
	case "unixgram":
		family = unix.AF_UNIX
	default:
		return nil, net.UnknownNetworkError(network)
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	c := &PacketConn{fd: fd, net: n}
	err = c.setOptions(family, opts)
	if err == nil && local != (seam.Addr{}) {
		err = c.bind(family, local)
	}
	if err == nil && remote != (seam.Addr{}) {
		err = c.connect(family, remote)
	}
	return c.opened(err, h)
}

// AdoptPacket takes over a socket for datagrams, as in seam.Adopter. The file of a
// Unix socket is left where it is when the PacketConn is closed, as package net
// leaves it.
func (n *Network) AdoptPacket(p net.PacketConn, h seam.Handler) (seam.PacketConn, error) {
	fd, err := takeSocket(p, unix.SOCK_DGRAM)
	if err != nil {
		return nil, err
	}
	c := &PacketConn{fd: fd, net: n}
	return c.opened(nil, h)
}

// opened registers c, or closes it if it could not be opened.
func (c *PacketConn) opened(err error, h seam.Handler) (seam.PacketConn, error) {
	if err == nil {
		err = c.learnAddrs()
	}
	if err == nil {
		err = c.net.Register(&c.desc, c.fd, h)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *PacketConn) setOptions(family int, opts seam.PacketOptions) error {
	for _, o := range [...]struct {
		wanted             bool
		level, name, value int
	}{
		{family == unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
		{opts.ReusePort, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1},
		{opts.Broadcast, unix.SOL_SOCKET, unix.SO_BROADCAST, 1},
	} {
		if !o.wanted {
			continue
		}
		if err := setOption(c.fd, o.level, o.name, o.value); err != nil {
			return err
		}
	}
	return nil
}

func (c *PacketConn) bind(family int, local seam.Addr) error {
	if family != unix.AF_UNIX {
		sa, err := packetSockaddr(family, local)
		if err != nil {
			return err
		}
		return os.NewSyscallError("bind", unix.Bind(c.fd, sa))
	}
	if !abstract(local.Path) {
		if err := removeSocket(local.Path); err != nil {
			return err
		}
	}
	if err := bindUnix(c.fd, local.Path); err != nil {
		return err
	}
	if !abstract(local.Path) {
		c.file = statSocket(local.Path)
	}
	return nil
}

func (c *PacketConn) connect(family int, remote seam.Addr) error {
	sa, err := packetSockaddr(family, remote)
	if err != nil {
		return err
	}
	for {
		if err = unix.Connect(c.fd, sa); err != unix.EINTR {
			return os.NewSyscallError("connect", err)
		}
	}
}

// packetSockaddr returns the kernel's form of a, which must be of the family.
func packetSockaddr(family int, a seam.Addr) (unix.Sockaddr, error) {
	if family == unix.AF_UNIX {
		sa, err := unixSockaddr(a.Path)
		return sa, os.NewSyscallError("sockaddr", err)
	}
	sa, got, err := inetSockaddr(a.AddrPort)
	if err == nil && got != family {
		err = &net.AddrError{Err: "address of another family", Addr: a.AddrPort.String()}
	}
	return sa, err
}

// learnAddrs asks the kernel for both addresses.
func (c *PacketConn) learnAddrs() error {
	sa, err := unix.Getsockname(c.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	c.local = seamAddr(sa)
	switch sa, err := unix.Getpeername(c.fd); err {
	case nil:
		c.remote = seamAddr(sa)
	case unix.ENOTCONN:
	default:
		return os.NewSyscallError("getpeername", err)
	}
	return nil
}

// ReadFrom reads the next datagram, as in seam.PacketConn. A longer one than p is
// cut off without a word, so n is never more than len(p). A datagram may be empty.
func (c *PacketConn) ReadFrom(p []byte) (int, seam.Addr, error) {
	if c.fd < 0 {
		return 0, seam.Addr{}, net.ErrClosed
	}
	for {
		n, errno := c.peer.receive(c.fd, p)
		switch errno {
		case 0:
			return n, c.sender(), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, seam.Addr{}, seam.ErrWouldBlock
		default:
			return 0, seam.Addr{}, os.NewSyscallError("recvfrom", errno)
		}
	}
}

// sender returns the address that receive has filled in.
func (c *PacketConn) sender() seam.Addr {
	if c.peer.family() == unix.AF_UNIX {
		return seam.Addr{Path: c.known.string(c.peer.unixName())}
	}
	return seam.Addr{AddrPort: c.peer.addrPort(&c.zones)}
}

// WriteTo sends one datagram, as in seam.PacketConn.
//
// A Unix socket that is not connected hears of room in a peer's full queue only if
// a datagram of its own leaves that queue.
func (c *PacketConn) WriteTo(p []byte, to seam.Addr) error {
	if c.fd < 0 {
		return net.ErrClosed
	}
	if err := c.peer.set(to, &c.zones); err != nil {
		return err
	}
	for {
		switch errno := c.peer.send(c.fd, p); errno {
		case 0:
			return nil
		case unix.EINTR:
		case unix.EAGAIN:
			return seam.ErrWouldBlock
		default:
			return os.NewSyscallError("sendto", errno)
		}
	}
}

// Close closes the socket, as in seam.PacketConn, and removes the socket file if it
// is still this socket's.
func (c *PacketConn) Close() error {
	if c.fd < 0 {
		return net.ErrClosed
	}
	c.LocalAddr()
	c.file.remove()
	err := closeSocket(c.fd, &c.desc)
	c.fd = -1
	return err
}

// LocalAddr returns the address of this end; it still answers after Close. A port
// that was not asked for is there after the first datagram has been sent.
func (c *PacketConn) LocalAddr() seam.Addr {
	if c.fd >= 0 && c.local.AddrPort.IsValid() && c.local.AddrPort.Port() == 0 {
		if sa, err := unix.Getsockname(c.fd); err == nil {
			c.local = seamAddr(sa)
		}
	}
	return c.local
}

// RemoteAddr returns the address of the peer, zero if the socket is not connected.
func (c *PacketConn) RemoteAddr() seam.Addr { return c.remote }

// SyscallConn gives access to the descriptor, for setting options above all. Its
// Read and Write, which would have to wait, return errors.ErrUnsupported.
func (c *PacketConn) SyscallConn() (syscall.RawConn, error) {
	if c.fd < 0 {
		return nil, net.ErrClosed
	}
	return packetControl{c}, nil
}

// A packetControl is a PacketConn as a syscall.RawConn.
type packetControl struct{ c *PacketConn }

// Control calls f with the descriptor.
func (p packetControl) Control(f func(fd uintptr)) error {
	if p.c.fd < 0 {
		return net.ErrClosed
	}
	f(uintptr(p.c.fd))
	return nil
}

// Read returns errors.ErrUnsupported.
func (packetControl) Read(func(fd uintptr) bool) error { return errors.ErrUnsupported }

// Write returns errors.ErrUnsupported.
func (packetControl) Write(func(fd uintptr) bool) error { return errors.ErrUnsupported }
