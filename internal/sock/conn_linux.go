// This file moves bytes.

package sock

import (
	"errors"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/poll"
	"github.com/goasyncio/asyncio/internal/seam"
)

var _ seam.AcceptedConn = (*Conn)(nil)

// A Conn is a connected, or connecting, stream socket.
//
// Go ignores SIGPIPE for all descriptors but 1 and 2, so a write to a broken
// connection needs no flag to be just an EPIPE.
type Conn struct {
	fd      int32 // -1 when closed
	kind    kind
	net     *Network
	desc    poll.Desc    // registered by Attach
	attempt *attempt     // of a connection that was dialed, until it stands
	file    *adoptedFile // if it is no socket

	local  *endpoint // may be the listener's
	remote endpoint
	addrs  *addresses // made from them when asked for; from the first, if it is not IP
}

// A kind of descriptor is read, and written, in its own way.
type kind uint8

const (
	otherFile   kind = iota
	otherSocket      // of a Unix domain, say
	tcpSocket        // whose short reads may tell that nothing is left
)

// Attach sets the Handler, as in seam.AcceptedConn.
func (c *Conn) Attach(h seam.Handler) error {
	if c.fd < 0 {
		return net.ErrClosed
	}
	if c.desc.Registered() {
		return errors.New("connection has a handler already")
	}
	return c.net.Register(&c.desc, int(c.fd), h)
}

// Read reads what is there, as in seam.Conn. With an empty p it does nothing.
func (c *Conn) Read(p []byte) (int, error) {
	if c.fd < 0 {
		return 0, net.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, errno := c.kind.read(int(c.fd), p)
		switch errno {
		case 0:
			switch {
			case n == 0:
				return 0, io.EOF
			case n < len(p) && c.kind == tcpSocket && c.ordinary():
				return n, seam.ErrWouldBlock
			}
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			if c.stuck() {
				continue
			}
			return 0, seam.ErrWouldBlock
		case unix.EIO:
			if c.file != nil && c.file.terminal {
				return 0, io.EOF // all other ends of a pseudo-terminal are closed
			}
			fallthrough
		default:
			return 0, os.NewSyscallError("read", errno)
		}
	}
}

// ordinary reports whether a short read has taken all that there was. The kernel
// stops reading TCP early in three cases: before urgent data, at the end, and at an
// error. All of them are reported, and if not before the read, then after it. So
// until one was, nothing else is left, and whatever comes later is reported anyway.
//
// This saves one of three system calls a message.
func (c *Conn) ordinary() bool {
	return c.desc.Seen()&^(seam.Readable|seam.Writable) == 0 && c.desc.Registered()
}

// stuck reports whether a read must be tried again although it has found nothing. At
// urgent data the kernel does not go on while a signal is pending, whatever lies
// behind. Signals are frequent, since the Go runtime preempts goroutines by them.
func (c *Conn) stuck() bool {
	return c.kind == tcpSocket && c.desc.Seen()&poll.Urgent != 0 && readable(int(c.fd))
}

// readable reports whether a socket has something to read, maybe behind urgent data.
func readable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		switch n, err := unix.Poll(p, 0); err {
		case unix.EINTR:
		default:
			return n > 0 && p[0].Revents&unix.POLLIN != 0
		}
	}
}

// Write writes what there is room for, as in seam.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	if c.fd < 0 {
		return 0, net.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, errno := c.kind.write(int(c.fd), p)
		switch errno {
		case 0:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, seam.ErrWouldBlock
		default:
			return 0, os.NewSyscallError("write", errno)
		}
	}
}

// Writev is Write for several buffers, as in seam.Conn.
func (c *Conn) Writev(v [][]byte) (int, error) {
	if c.fd < 0 {
		return 0, net.ErrClosed
	}
	total := 0
	for len(v) > 0 {
		batch := v[:min(len(v), maxBuffers)]
		v = v[len(batch):]
		n, err := c.writev(batch)
		total += n
		if err == seam.ErrWouldBlock && total > 0 {
			return total, nil
		}
		if err != nil || n < size(batch) {
			return total, err
		}
	}
	return total, nil
}

// maxBuffers is how many buffers the kernel takes in one call (IOV_MAX).
const maxBuffers = 1024

// A vector is a list of buffers, for the kernel.
type vector []unix.Iovec

func size(v [][]byte) int {
	n := 0
	for _, p := range v {
		n += len(p)
	}
	return n
}

// writev is Writev for at most maxBuffers.
func (c *Conn) writev(v [][]byte) (int, error) {
	for {
		n, errno := writev(int(c.fd), v, &c.net.vector)
		switch errno {
		case 0:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, seam.ErrWouldBlock
		default:
			return 0, os.NewSyscallError("writev", errno)
		}
	}
}

// CloseWrite ends the sending half, as in seam.Conn.
func (c *Conn) CloseWrite() error {
	if c.fd < 0 {
		return net.ErrClosed
	}
	if c.file != nil {
		return c.Close()
	}
	return os.NewSyscallError("shutdown", unix.Shutdown(int(c.fd), unix.SHUT_WR))
}

// Close closes the connection, as in seam.Conn.
func (c *Conn) Close() error {
	if c.fd < 0 {
		return net.ErrClosed
	}
	if c.file != nil {
		c.file.restore(int(c.fd))
	}
	err := closeSocket(int(c.fd), &c.desc)
	c.fd = -1
	return err
}

// Reset closes the connection and tells the peer that it broke, as in
// seam.Conn. A unix socket has no reset: there it is Close.
func (c *Conn) Reset() error {
	if c.fd < 0 {
		return net.ErrClosed
	}
	if c.file != nil {
		return c.Close()
	}
	// To linger for no time at all is how sockets spell it. If that fails, for
	// instance because the peer was first, there is nothing left to reset.
	unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	return c.Close()
}

// closeSocket ends the reports of a socket and closes it.
func closeSocket(fd int, desc *poll.Desc) error {
	err := desc.Unregister()
	// Whatever close returns, the descriptor is free.
	errClose := os.NewSyscallError("close", unix.Close(fd))
	if err == nil {
		err = errClose
	}
	return err
}

// LocalAddr returns the address of this end: a *net.TCPAddr or *net.UnixAddr.
// It still answers after Close.
func (c *Conn) LocalAddr() net.Addr { return c.addresses().local }

// RemoteAddr returns the address of the other end, like LocalAddr.
func (c *Conn) RemoteAddr() net.Addr { return c.addresses().remote }

// addresses are those of a connection. Most are never asked for them.
type addresses struct{ local, remote net.Addr }

func (c *Conn) addresses() *addresses {
	if c.addrs == nil {
		c.addrs = &addresses{c.local.netAddr(), c.remote.netAddr()}
	}
	return c.addrs
}

// setAddrs keeps the addresses of both ends. There is room for the local one.
func (c *Conn) setAddrs(local, remote unix.Sockaddr) {
	*c.local, c.remote = endpointOf(local), endpointOf(remote)
	if !c.local.is() || !c.remote.is() {
		c.addrs = &addresses{netAddr(local), netAddr(remote)}
	}
}
