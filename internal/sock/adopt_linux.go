// This file takes over what package net or package os has opened.

package sock

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/seam"
)

var _ seam.Adopter = (*Network)(nil)

// AdoptConn takes over a connected stream, as in seam.Adopter. It has to be a
// socket.
func (n *Network) AdoptConn(c net.Conn, h seam.Handler) (seam.Conn, error) {
	fd, err := takeSocket(c, unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	conn := &Conn{fd: int32(fd), net: n, kind: kindOf(fd), local: new(endpoint)}
	local, _ := unix.Getsockname(fd)
	remote, err := unix.Getpeername(fd)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("getpeername", err)
	}
	conn.setAddrs(local, remote)
	if err := conn.Attach(h); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// AdoptListener takes over a listening socket, as in seam.Adopter.
func (n *Network) AdoptListener(ln net.Listener, opts seam.ListenOptions, h seam.Handler) (seam.Listener, error) {
	l := &Listener{net: n, handler: h, backlog: -1}
	if ul, ok := ln.(*net.UnixListener); ok {
		ul.SetUnlinkOnClose(false) // the file goes when l is closed
		if path := ul.Addr().String(); !abstract(path) && !opts.KeepSocketFile {
			l.file = statSocket(path)
		}
	}
	var err error
	if l.fd, err = takeSocket(ln, unix.SOCK_STREAM); err != nil {
		return nil, err
	}
	if err := l.learnAddr(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// AdoptFile takes over a pipe or a device, as in seam.Adopter. Standard input,
// output and error stay open, since others rely on their numbers.
func (n *Network) AdoptFile(f *os.File, _ bool, h seam.Handler) (seam.Conn, error) {
	a := &adoptedFile{name: f.Name()}
	a.terminal = isTerminal(f)
	fd, err := duplicate(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	if number := int(f.Fd()); number > 2 {
		f.Close()
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil && flags&unix.O_NONBLOCK == 0 {
		a.wasBlocking = true
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	c := &Conn{fd: int32(fd), net: n, file: a, addrs: &addresses{a, a}}
	if err := c.Attach(h); errors.Is(err, unix.EPERM) {
		h.Ready(seam.Readable | seam.Writable) // a device that is always ready, like /dev/null
	} else if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// takeSocket returns a descriptor for the socket of c, and closes c. Package net
// no longer watches it then.
func takeSocket(c io.Closer, kind int) (int, error) {
	defer c.Close()
	sc, ok := c.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("%T is no socket: %w", c, errors.ErrUnsupported)
	}
	fd, err := duplicate(sc)
	if err != nil {
		return -1, err
	}
	got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err == nil && got != kind {
		err = unix.EPROTOTYPE
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("adopt", err)
	}
	return fd, nil
}

// duplicate returns a second descriptor for what c has open.
func duplicate(c syscall.Conn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var errno error
	err = raw.Control(func(old uintptr) {
		fd, errno = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err != nil {
		return -1, err
	}
	return fd, os.NewSyscallError("fcntl", errno)
}

// An adoptedFile is what a Conn remembers of a file. It is its address, too.
type adoptedFile struct {
	name        string
	terminal    bool // or another character device
	wasBlocking bool
}

// restore makes the file blocking again, if it was: the programs that share it,
// the shell above all, rely on that.
func (a *adoptedFile) restore(fd int) {
	if a.wasBlocking {
		unix.SetNonblock(fd, false)
	}
}

// Network returns "file".
func (a *adoptedFile) Network() string { return "file" }

// String returns the name of the file.
func (a *adoptedFile) String() string { return a.name }
