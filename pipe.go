// Pipes as transports.

package asyncio

import (
	"net"
	"os"
)

// adoptPipe takes over one end of a pipe or the like, to write or to read.
func (t *transport) adoptPipe(op string, f *os.File, toWrite bool) error {
	if f == nil {
		return misuse(op, ErrBadArgument, "the file is nil")
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() || info.IsDir() {
		return misuse(op, ErrBadArgument, "%s is no pipe, socket or character device", f.Name())
	}
	a, err := t.loop.adopter(op)
	if err != nil {
		f.Close()
		return err
	}
	conn, err := a.AdoptFile(f, toWrite, t)
	if err != nil {
		return &net.OpError{Op: "open", Net: t.network, Addr: target{t.network, f.Name()}, Err: err}
	}
	t.use(conn)
	// Whether it is readable will be reported. A FIFO that nobody has opened to write
	// to is not, though a read would say that it has ended.
	t.writable = true
	t.oneWay = toWrite
	return nil
}
