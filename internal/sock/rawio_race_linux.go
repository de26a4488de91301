//go:build race

// This file reads and writes such that the race detector sees it.

package sock

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Package syscall, as opposed to package unix, shares its annotations with
// package net: what comes before a write on one side comes before the read on
// the other, whichever of the two packages that side uses.

func read(fd int, p []byte) (int, syscall.Errno) {
	n, err := syscall.Read(fd, p)
	errno, _ := err.(syscall.Errno)
	return n, errno
}

func write(fd int, p []byte) (int, syscall.Errno) {
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
