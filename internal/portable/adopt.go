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
	if !isStream(c.LocalAddr()) {
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
	if !isStream(ln.Addr()) {
		ln.Close()
		return nil, os.NewSyscallError("adopt", syscall.EPROTOTYPE)
	}
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

// isStream reports whether a may be the address of a stream. A Unix socket that keeps
// the boundaries of messages is none.
func isStream(a net.Addr) bool {
	u, ok := a.(*net.UnixAddr)
	return !isPacket(a) && (!ok || u == nil || u.Net != "unixpacket")
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
func (n *Network) AdoptFile(f *os.File, toWrite bool, h seam.Handler) (seam.Conn, error) {
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, plain(err)
	}
	var c *Conn
	if info.Mode()&fs.ModeSocket != 0 {
		c, err = n.adoptSocket(f)
	} else {
		c, err = n.adoptFile(f, info.Mode())
	}
	if err != nil {
		f.Close()
		return nil, plain(err)
	}
	c.toWrite = toWrite
	return n.attached(c, h)
}

// adoptSocket takes over a socket that came as a file.
func (n *Network) adoptSocket(f *os.File) (*Conn, error) {
	stream, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	if !isStream(stream.LocalAddr()) {
		stream.Close()
		return nil, os.NewSyscallError("adopt", syscall.EPROTOTYPE)
	}
	c := n.newConn(stream)
	c.local, c.remote = fileAddr(f.Name()), fileAddr(f.Name())
	if canInterrupt(f) {
		f.Close()
	} else {
		c.blocking = f
	}
	return c, nil
}

// adoptFile takes over a pipe or a device.
func (n *Network) adoptFile(f *os.File, mode fs.FileMode) (*Conn, error) {
	a := &file{name: f.Name(), device: mode&fs.ModeCharDevice != 0, pipe: mode&fs.ModeNamedPipe != 0}
	var blocking bool
	var err error
	if a.File, blocking, err = interruptible(f); err != nil {
		return nil, err
	}
	c := n.newConn(a)
	c.file = a
	c.stuck = !canInterrupt(a.File)
	switch {
	case blocking:
		c.blocking = f
	case a.File == f:
		a.keep = standard(f)
	case !standard(f):
		f.Close()
	}
	return c, nil
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
	name   string
	device bool // a terminal, say
	pipe   bool // or a FIFO
	keep   bool // Close leaves it open: others rely on its number
}

// Close closes the file, unless others rely on it.
func (f *file) Close() error {
	if f.keep {
		return nil
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

// awaitReadable waits until there is something to read, the end included. A FIFO that
// nobody has opened to write to yet is not at its end, though a read would say so.
func (f *file) awaitReadable() {
	if raw, err := f.SyscallConn(); err == nil {
		raw.Read(readable) // after an error the coming read fails, too
	}
}

// watch reports it when nobody can read any more what is written to c, if the system
// tells. It reads nothing.
func (c *Conn) watch() {
	s, ok := c.stream.(syscall.Conn)
	if !ok || c.stuck {
		return
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	c.mu.Lock()
	c.goroutines++
	c.mu.Unlock()
	pipe := c.file != nil && c.file.pipe
	go func() {
		asked := false
		err := raw.Read(func(fd uintptr) bool {
			again := asked
			asked = true
			return otherEndClosed(fd, pipe && again) // else wait
		})
		if err == nil {
			c.report(seam.Readable | seam.Writable | seam.HungUp | seam.Failed)
		}
		c.mu.Lock()
		c.exit()
	}()
}

// A fileAddr is the name of a file.
type fileAddr string

func (fileAddr) Network() string  { return "file" }
func (a fileAddr) String() string { return string(a) }
