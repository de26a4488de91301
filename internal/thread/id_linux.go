// The thread's number on Linux.

package thread

import "golang.org/x/sys/unix"

func id() int { return unix.Gettid() }
