//go:build !race

// This file reads and writes, without telling the scheduler if it is short.

package sock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// read and write use the calls for sockets where they can: on those they take some
// 30 ns less than the calls for files.
//
// No call can block. So if it is short the scheduler need not be ready to let another
// thread take over, which saves 45 ns: a sixth of a Read that finds nothing. They
// are at the end of the longest chain of calls of a coroutine, and what they need
// fits below the guard of its stack, so that this one need not be larger than 2 KB.

//go:nosplit
func (k kind) read(fd int, p []byte) (int, unix.Errno) {
	trap, short := uintptr(unix.SYS_RECVFROM), longOnSocket
	if k == otherFile {
		trap, short = unix.SYS_READ, longCopy
	}
	if len(p) > short {
		return longCall(trap, fd, unsafe.Pointer(&p[0]), len(p), 0)
	}
	n, _, errno := unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), 0, 0, 0)
	return int(n), errno
}

//go:nosplit
func (k kind) write(fd int, p []byte) (int, unix.Errno) {
	trap, short := uintptr(unix.SYS_SENDTO), longOnSocket
	if k == otherFile {
		trap, short = unix.SYS_WRITE, longCopy
	}
	if len(p) > short {
		return longCall(trap, fd, unsafe.Pointer(&p[0]), len(p), unix.MSG_NOSIGNAL)
	}
	n, _, errno := unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

func longCall(trap uintptr, fd int, p unsafe.Pointer, n, flags int) (int, unix.Errno) {
	r, _, errno := unix.Syscall6(trap, uintptr(fd), uintptr(p), uintptr(n), uintptr(flags), 0, 0)
	return int(r), errno
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
	var n int
	var errno unix.Errno
	if size(v) > longCopy {
		n, errno = longCall(unix.SYS_WRITEV, fd, unsafe.Pointer(&iov[0]), len(iov), 0)
	} else {
		r, _, e := unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
		n, errno = int(r), e
	}
	clear(iov) // lets go of the buffers
	*scratch = iov
	return n, errno
}

const (
	// longCopy is how many bytes are too many to copy behind the scheduler's back:
	// meanwhile, no garbage collection can begin.
	longCopy = 64 << 10
	// longOnSocket is the same for reading and writing a connected socket: 40 µs for
	// all of it, on loopback, where a write goes the whole way to the peer. If the
	// scheduler is told, it often starts another thread meanwhile. That took 3 % of
	// the time of an echo of 128 KB.
	longOnSocket = 256 << 10
)

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
