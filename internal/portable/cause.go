// This file finds the plain causes of errors.

package portable

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// plain returns the cause of an error of package net or package os: an
// *os.SyscallError if the system gave it, io.EOF, net.ErrClosed.
func plain(err error) error {
	switch {
	case err == nil || err == io.EOF:
		return err
	case errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed):
		return net.ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	}
	call := ""
	cause := err
	for {
		switch e := cause.(type) {
		case *net.OpError:
			call, cause = e.Op, e.Err
			continue
		case *fs.PathError:
			call, cause = e.Op, e.Err
			continue
		case *os.SyscallError:
			if errno, ok := e.Err.(syscall.Errno); ok {
				if known := portableErrno(errno); known != errno {
					return os.NewSyscallError(e.Syscall, known)
				}
			}
			return e
		case syscall.Errno:
			return os.NewSyscallError(call, portableErrno(e))
		}
		return cause
	}
}
