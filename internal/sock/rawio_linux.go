//go:build !race

// This file reads and writes, without telling the scheduler if it is short.

package sock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// read and write use the calls for sockets where they can: on those they take some
// 30 ns less than the calls for files.

func (k kind) read(fd int, p []byte) (int, unix.Errno) {
	if k == otherFile {
		return call(unix.SYS_READ, fd, unsafe.Pointer(&p[0]), len(p), 0, len(p) <= longCopy)
	}
	return call(unix.SYS_RECVFROM, fd, unsafe.Pointer(&p[0]), len(p), 0, len(p) <= longRead)
}

func (k kind) write(fd int, p []byte) (int, unix.Errno) {
	if k == otherFile {
		return call(unix.SYS_WRITE, fd, unsafe.Pointer(&p[0]), len(p), 0, len(p) <= longCopy)
	}
	return call(unix.SYS_SENDTO, fd, unsafe.Pointer(&p[0]), len(p), unix.MSG_NOSIGNAL, len(p) <= longCopy)
}

// writev makes the list of buffers in scratch, so that it need not allocate.
func writev(fd int, v [][]byte, scratch *vector) (int, unix.Errno) {
	iov := (*scratch)[:0]
	for _, p := range v {
		if len(p) > 0 {
			iov = append(iov, unix.Iovec{Base: &p[0]})
			iov[len(iov)-1].SetLen(len(p))
		}
	}
	if len(iov) == 0 {
		return 0, 0
	}
	n, errno := call(unix.SYS_WRITEV, fd, unsafe.Pointer(&iov[0]), len(iov), 0, size(v) <= longCopy)
	clear(iov) // lets go of the buffers
	*scratch = iov
	return n, errno
}

const (
	// longCopy is how many bytes are too many to copy behind the scheduler's back:
	// meanwhile, no garbage collection can begin.
	longCopy = 64 << 10
	// longRead is the same for a socket's bytes. They seldom fill the buffer, and they
	// are only copied, in 30 µs at most; sending them would go the whole way to the peer.
	longRead = 256 << 10
)

// call makes the system call trap(fd, p, n, flags), which moves bytes.
//
// It cannot block. So if it is short the scheduler need not be ready to let another
// thread take over, which saves 45 ns: a sixth of a Read that finds nothing.
func call(trap uintptr, fd int, p unsafe.Pointer, n, flags int, short bool) (int, unix.Errno) {
	var r uintptr
	var errno unix.Errno
	if short {
		r, _, errno = unix.RawSyscall6(trap, uintptr(fd), uintptr(p), uintptr(n), uintptr(flags), 0, 0)
	} else {
		r, _, errno = unix.Syscall6(trap, uintptr(fd), uintptr(p), uintptr(n), uintptr(flags), 0, 0)
	}
	return int(r), errno
}

// receive reads a datagram and the address of its sender, for which there are size
// bytes.
func receive(fd int, p []byte, from unsafe.Pointer, size *uint32) (int, unix.Errno) {
	var n uintptr
	var errno unix.Errno
	if data := unsafe.Pointer(unsafe.SliceData(p)); len(p) <= longCopy {
		n, _, errno = unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(data), uintptr(len(p)), 0, uintptr(from), uintptr(unsafe.Pointer(size)))
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(data), uintptr(len(p)), 0, uintptr(from), uintptr(unsafe.Pointer(size)))
	}
	return int(n), errno
}

// send sends a datagram to an address.
func send(fd int, p []byte, to unsafe.Pointer, size uint32) unix.Errno {
	var errno unix.Errno
	if data := unsafe.Pointer(unsafe.SliceData(p)); len(p) <= longCopy {
		_, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(data), uintptr(len(p)), 0, uintptr(to), uintptr(size))
	} else {
		_, _, errno = unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(data), uintptr(len(p)), 0, uintptr(to), uintptr(size))
	}
	return errno
}
