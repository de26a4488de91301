// This file makes sockets and sets their options.

package sock

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The defaults of package net for keep-alive probes.
const (
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 9
)

// stream makes a stream socket.
func stream(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return fd, os.NewSyscallError("socket", err)
}

// kindOf returns the kind of a stream socket. One for several paths (MPTCP), which
// package net listens with, accepts both kinds.
func kindOf(fd int) kind {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err == nil && protocol == unix.IPPROTO_TCP {
		return tcpSocket
	}
	return otherSocket
}

// setOption sets an option whose value is a number.
func setOption(fd, level, name, value int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, name, value))
}

// setTCP prepares a TCP socket: small writes leave at once, and probes find out
// when the peer is gone, unless keepAlive is negative; 0 is the default.
func setTCP(fd int, keepAlive time.Duration) error {
	if err := setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if keepAlive < 0 {
		return nil
	}
	if keepAlive == 0 {
		keepAlive = keepAliveIdle
	}
	for _, o := range [...]struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(keepAlive)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(keepAliveInterval)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
	} {
		if err := setOption(fd, o.level, o.name, o.value); err != nil {
			return err
		}
	}
	return nil
}

// seconds returns d in whole seconds, rounded up, within what the kernel takes
// for keep-alive.
func seconds(d time.Duration) int {
	const most = 32767 // MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL
	return int(min((d-1)/time.Second+1, most))
}
