//go:build unix

// This file makes a file that blocks.

package netcontract

import (
	"os"
	"syscall"
)

// blockingFile returns f as package os sees a file that was opened elsewhere.
func blockingFile(s suite, f *os.File) *os.File {
	s.Helper()
	fd, err := syscall.Dup(int(f.Fd()))
	s.must(err)
	syscall.CloseOnExec(fd)
	s.must(f.Close())
	s.must(syscall.SetNonblock(fd, false))
	return os.NewFile(uintptr(fd), "blocking")
}
