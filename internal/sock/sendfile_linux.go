// This file has the kernel copy a file to a socket.

package sock

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/seam"
)

var _ seam.FileSender = (*Conn)(nil)

// SendFile writes a part of f, as in seam.FileSender.
func (c *Conn) SendFile(f *os.File, offset int64, n int) (int, error) {
	if c.fd < 0 {
		return 0, net.ErrClosed
	}
	return sendFile(int(c.fd), f, offset, n)
}

// sendFile is SendFile to a descriptor, which must not be in blocking mode.
func sendFile(fd int, f *os.File, offset int64, n int) (int, error) {
	if n == 0 {
		return 0, nil
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	sent := 0
	var errno error
	// Control keeps f open meanwhile, whoever closes it.
	if err := raw.Control(func(in uintptr) { sent, errno = sendFD(fd, int(in), offset, n) }); err != nil {
		return 0, os.ErrClosed // which is all that can be wrong, but an error without a name
	}
	return sent, errno
}

func sendFD(out, in int, offset int64, n int) (int, error) {
	for {
		sent, err := unix.Sendfile(out, in, &offset, n)
		switch err {
		case nil:
			return sent, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, seam.ErrWouldBlock
		case unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.EPERM, unix.ESPIPE:
			// The file cannot be mapped, it has no offsets, or a filter of system
			// calls is in the way.
			return 0, fmt.Errorf("%w (%w)", errors.ErrUnsupported, os.NewSyscallError("sendfile", err))
		default:
			return 0, os.NewSyscallError("sendfile", err)
		}
	}
}
