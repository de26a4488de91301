// This file takes over what others have opened.

package portable

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// AdoptConn takes over a connected stream, as in seam.Adopter. Any net.Conn will do:
// a *tls.Conn, an end of a net.Pipe. CloseWrite returns errors.ErrUnsupported if it
// has no such method.
func (n *Network) AdoptConn(c net.Conn, h seam.Handler) (seam.Conn, error) {
	if isPacket(c.LocalAddr()) {
		c.Close()
		return nil, os.NewSyscallError("adopt", syscall.EPROTOTYPE)
	}
	c.SetDeadline(time.Time{})
	return n.attached(n.newConn(c), h)
}

func (n *Network) attached(c *Conn, h seam.Handler) (seam.Conn, error) {
	if err := c.Attach(h); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// AdoptListener takes over a listening socket, as in seam.Adopter. Any net.Listener
// will do.
func (n *Network) AdoptListener(ln net.Listener, opts seam.ListenOptions, h seam.Handler) (seam.Listener, error) {
	return n.newListener(ln, opts, h), nil
}

// AdoptPacket takes over a socket for datagrams, as in seam.Adopter.
func (n *Network) AdoptPacket(c net.PacketConn, h seam.Handler) (seam.PacketConn, error) {
	if _, ok := c.(*net.UnixConn); ok && !isPacket(c.LocalAddr()) {
		c.Close()
		return nil, os.NewSyscallError("adopt", syscall.EPROTOTYPE)
	}
	c.SetDeadline(time.Time{})
	return n.newPacketConn(c, h), nil
}

// isPacket reports whether a is the address of a socket for datagrams.
func isPacket(a net.Addr) bool {
	switch a := a.(type) {
	case *net.UDPAddr, *net.IPAddr:
		return true
	case *net.UnixAddr:
		return a != nil && a.Net == "unixgram"
	}
	return false
}

// AdoptFile takes over a pipe or a device, as in seam.Adopter. Standard input,
// output and error stay open, since others rely on their numbers.
//
// If the system cannot interrupt a read of the file (on Windows nearly always), a
// goroutine that is blocked in one stays behind when the Conn is closed, until the
// read returns.
func (n *Network) AdoptFile(f *os.File, h seam.Handler) (seam.Conn, error) {
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, plain(err)
	}
	if info.Mode()&fs.ModeSocket != 0 {
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			return nil, plain(err)
		}
		return n.AdoptConn(c, h)
	}
	a := &file{name: f.Name(), device: info.Mode()&fs.ModeCharDevice != 0}
	if a.File, a.wasBlocking, err = interruptible(f); err != nil {
		f.Close()
		return nil, err
	}
	a.keep = a.File == f && standard(f)
	c := n.newConn(a)
	c.file = a
	c.stuck = !canInterrupt(a.File)
	return n.attached(c, h)
}

// canInterrupt reports whether a deadline, and so Close, ends a read of f.
func canInterrupt(f *os.File) bool {
	return f.SetDeadline(time.Time{}) == nil
}

// standard reports whether f is standard input, output or error.
func standard(f *os.File) bool {
	for _, s := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if f == s {
			return true
		}
	}
	return false
}

// A file is a file as a net.Conn, and its own address.
type file struct {
	*os.File
	name        string
	device      bool // a terminal, say
	wasBlocking bool // and shall be so again
	keep        bool // Close leaves it open: others rely on its number
}

// Close closes the file, and makes it blocking again if it was: the programs that
// share it, the shell above all, rely on that.
func (f *file) Close() error {
	if f.keep {
		return nil
	}
	if f.wasBlocking {
		makeBlocking(f.File)
	}
	return f.File.Close()
}

func (f *file) LocalAddr() net.Addr  { return fileAddr(f.name) }
func (f *file) RemoteAddr() net.Addr { return fileAddr(f.name) }

// readError returns what an error of reading means for f, which may be nil.
func (f *file) readError(err error) error {
	if f == nil {
		return err
	}
	if f.device && errors.Is(err, syscall.EIO) {
		return io.EOF // all other ends of a pseudo-terminal are closed
	}
	return err
}

// cannotRead reports whether err is what reading a file for writing only returns.
func cannotRead(err error) bool {
	return errors.Is(err, syscall.EBADF) || errors.Is(err, fs.ErrPermission)
}

// watch reports it when the other end of a file for writing only is closed, if the
// system tells.
func (f *file) watch(c *Conn) {
	raw, err := f.SyscallConn()
	if err != nil || c.stuck {
		return
	}
	c.goroutines++
	go func() {
		asked := false
		err := raw.Read(func(fd uintptr) bool {
			again := asked
			asked = true
			return again || otherEndClosed(fd) // else wait
		})
		if err == nil {
			c.report(seam.Readable | seam.Writable | seam.Failed)
		}
		c.mu.Lock()
		c.exit()
	}()
}

// A fileAddr is the name of a file.
type fileAddr string

func (fileAddr) Network() string  { return "file" }
func (a fileAddr) String() string { return string(a) }
