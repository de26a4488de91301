//go:build race

// This file reads and writes such that the race detector sees it.

package sock

import (
	"bytes"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Package syscall, as opposed to package unix, shares its annotations with
// package net: what comes before a write on one side comes before the read on
// the other, whichever of the two packages that side uses.

func (kind) read(fd int, p []byte) (int, syscall.Errno) {
	n, err := syscall.Read(fd, p)
	errno, _ := err.(syscall.Errno)
	return n, errno
}

func (kind) write(fd int, p []byte) (int, syscall.Errno) {
	n, err := syscall.Write(fd, p)
	errno, _ := err.(syscall.Errno)
	return n, errno
}

func writev(fd int, v [][]byte, _ *vector) (int, syscall.Errno) {
	syscall.Write(-1, nil) // only for its annotation: package syscall has no Writev
	n, err := unix.Writev(fd, v)
	errno, _ := err.(syscall.Errno)
	return n, errno
}

// Package net does not annotate datagrams. A copy shows the detector that p is
// written, or read.

func receive(fd int, p []byte, from unsafe.Pointer, size *uint32) (int, syscall.Errno) {
	q := make([]byte, len(p))
	n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(q))), uintptr(len(q)), 0, uintptr(from), uintptr(unsafe.Pointer(size)))
	if errno == 0 {
		copy(p, q[:n])
	}
	return int(n), errno
}

func send(fd int, p []byte, to unsafe.Pointer, size uint32) syscall.Errno {
	q := bytes.Clone(p)
	_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(q))), uintptr(len(q)), 0, uintptr(to), uintptr(size))
	return errno
}
