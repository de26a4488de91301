//go:build !race

// This file reads and writes, without telling the scheduler if it is short.

package sock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func read(fd int, p []byte) (int, unix.Errno) {
	return call(unix.SYS_READ, fd, unsafe.Pointer(&p[0]), len(p), len(p))
}

func write(fd int, p []byte) (int, unix.Errno) {
	return call(unix.SYS_WRITE, fd, unsafe.Pointer(&p[0]), len(p), len(p))
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
	n, errno := call(unix.SYS_WRITEV, fd, unsafe.Pointer(&iov[0]), len(iov), size(v))
	clear(iov) // lets go of the buffers
	*scratch = iov
	return n, errno
}

// longCopy is how many bytes are too many to copy behind the scheduler's back:
// meanwhile, no garbage collection can begin.
const longCopy = 64 << 10

// call makes the system call trap(fd, p, n), which moves so many bytes at most.
//
// It cannot block. So as a rule the scheduler need not be ready to let another
// thread take over, which saves 45 ns: a sixth of a Read that finds nothing.
func call(trap uintptr, fd int, p unsafe.Pointer, n, bytes int) (int, unix.Errno) {
	var r uintptr
	var errno unix.Errno
	if bytes <= longCopy {
		r, _, errno = unix.RawSyscall(trap, uintptr(fd), uintptr(p), uintptr(n))
	} else {
		r, _, errno = unix.Syscall(trap, uintptr(fd), uintptr(p), uintptr(n))
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
