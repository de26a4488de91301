// Pipes as transports.

package asyncio

import (
	"net"
	"os"

	"github.com/goasyncio/asyncio/internal/seam"
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
	a, ok := t.loop.net.(seam.FileAdopter)
	if !ok {
		return simulated(op) // and f stays the caller's
	}
	return t.usePipe(a, f, f.Name(), toWrite)
}

// usePipe takes over one end of a pipe that is called name. In a replay f may be nil.
func (t *transport) usePipe(a seam.FileAdopter, f *os.File, name string, toWrite bool) error {
	conn, err := a.AdoptFile(f, toWrite, t)
	if err != nil {
		return &net.OpError{Op: "open", Net: t.origin.network, Addr: target{t.origin.network, name}, Err: err}
	}
	t.use(conn)
	// Whether it is readable will be reported. A FIFO that nobody has opened to write
	// to is not, though a read would say that it has ended.
	t.writable = true
	t.oneWay = toWrite
	return nil
}

// useChildPipe takes over our end of a pipe to a descriptor of a child.
func (t *transport) useChildPipe(fd int, end *os.File) error {
	a, ok := t.loop.net.(seam.FileAdopter)
	if !ok {
		end.Close()
		return simulated("open")
	}
	return t.usePipe(a, end, [...]string{"stdin", "stdout", "stderr"}[fd], fd == 0)
}
