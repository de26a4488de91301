// The thread's number on macOS.

package thread

import "golang.org/x/sys/unix"

func id() int {
	n, _, err := unix.Syscall(unix.SYS_THREAD_SELFID, 0, 0, 0)
	if err != 0 {
		return 0
	}
	return int(n)
}
