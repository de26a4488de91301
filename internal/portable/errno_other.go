//go:build !windows

// This file has nothing to translate: package syscall has the numbers of the system.

package portable

import "syscall"

func portableErrno(e syscall.Errno) syscall.Errno { return e }
