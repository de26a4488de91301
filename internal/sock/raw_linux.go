// This file makes calls on sockets of others, which it knows by descriptor.

package sock

import (
	"io"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/seam"
)

var _ seam.Sockets = (*Network)(nil)

// Recv receives, as in seam.Sockets. It does not block in any mode.
func (*Network) Recv(fd int, p []byte) (int, seam.Addr, error) {
	for {
		n, from, err := unix.Recvfrom(fd, p, unix.MSG_DONTWAIT)
		switch err {
		case nil:
			if n == 0 && len(p) > 0 && isStream(fd) {
				return 0, seam.Addr{}, io.EOF
			}
			return n, addrOfPeer(from), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, seam.Addr{}, seam.ErrWouldBlock
		default:
			return 0, seam.Addr{}, os.NewSyscallError("recvfrom", err)
		}
	}
}

// Send sends, as in seam.Sockets. It does not block in any mode.
func (*Network) Send(fd int, p []byte, to seam.Addr) (int, error) {
	sa, err := sockaddrFor(fd, to)
	if err != nil {
		return 0, os.NewSyscallError("sendto", err)
	}
	for {
		n, err := unix.SendmsgN(fd, p, nil, sa, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, seam.ErrWouldBlock
		default:
			return 0, os.NewSyscallError("sendto", err)
		}
	}
}

// Connect starts to connect, as in seam.Sockets. An attempt that is under way
// goes on.
func (*Network) Connect(fd int, to seam.Addr) error {
	if err := mustNotBlock(fd); err != nil {
		return err
	}
	sa, err := sockaddrFor(fd, to)
	if err != nil {
		return os.NewSyscallError("connect", err)
	}
	switch err := unix.Connect(fd, sa); err {
	case unix.EINPROGRESS, unix.EALREADY, unix.EINTR:
		return seam.ErrWouldBlock
	default:
		// That includes EAGAIN from a unix socket: too many others wait to be
		// accepted. Nothing would be reported when there is room.
		return os.NewSyscallError("connect", err)
	}
}

// Connected tells how the attempt has ended, as in seam.Sockets.
func (*Network) Connected(fd int) error { return connected(fd) }

// Accept returns the next connection, as in seam.Sockets. Those that were broken
// off while they waited are skipped.
func (*Network) Accept(fd int) (*os.File, seam.Addr, error) {
	if err := mustNotBlock(fd); err != nil {
		return nil, seam.Addr{}, err
	}
	for {
		conn, remote, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			return os.NewFile(uintptr(conn), "socket"), addrOfPeer(remote), nil
		case unix.EINTR, unix.ECONNABORTED:
		case unix.EAGAIN:
			return nil, seam.Addr{}, seam.ErrWouldBlock
		default:
			return nil, seam.Addr{}, os.NewSyscallError("accept4", err)
		}
	}
}

// SendFile sends a part of f, as in seam.Sockets.
func (*Network) SendFile(fd int, f *os.File, offset int64, n int) (int, error) {
	if err := mustNotBlock(fd); err != nil {
		return 0, err
	}
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return 0, os.NewSyscallError("getsockopt", err)
	} else if kind != unix.SOCK_STREAM {
		return 0, seam.ErrNoStream
	}
	return sendFile(fd, f, offset, n)
}

// mustNotBlock returns an error if a call could block: there are some that no flag
// keeps from it.
func mustNotBlock(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	if flags&unix.O_NONBLOCK == 0 {
		return seam.ErrBlocking
	}
	return nil
}

// isStream reports whether nothing received means the end.
func isStream(fd int) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind != unix.SOCK_DGRAM && kind != unix.SOCK_RAW
}

// sockaddrFor returns the kernel's form of an address for a socket: one of IPv6
// may send to IPv4, too, but wants the address in its own form. It is nil for none.
func sockaddrFor(fd int, to seam.Addr) (unix.Sockaddr, error) {
	if to == (seam.Addr{}) {
		return nil, nil
	}
	if !to.AddrPort.IsValid() {
		return unixSockaddr(to.Path)
	}
	sa, _, err := inetSockaddr(to.AddrPort)
	if err != nil {
		return nil, err
	}
	if v4, ok := sa.(*unix.SockaddrInet4); ok {
		if family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && family == unix.AF_INET6 {
			return &unix.SockaddrInet6{Port: v4.Port, Addr: to.AddrPort.Addr().As16()}, nil
		}
	}
	return sa, nil
}

// addrOfPeer is the opposite: IPv4 has its own form.
func addrOfPeer(sa unix.Sockaddr) seam.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return seam.Addr{AddrPort: netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))}
	case *unix.SockaddrInet6:
		addr := netip.AddrFrom16(sa.Addr).Unmap()
		if addr.Is6() {
			addr = addr.WithZone(zoneName(sa.ZoneId))
		}
		return seam.Addr{AddrPort: netip.AddrPortFrom(addr, uint16(sa.Port))}
	case *unix.SockaddrUnix:
		if sa.Name != "@" { // what package unix makes of a socket without a name
			return seam.Addr{Path: sa.Name}
		}
	}
	return seam.Addr{}
}
