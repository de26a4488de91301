// This file asks a pipe whether its other end is closed.

package portable

import (
	"syscall"
	"unsafe"
)

// otherEndClosed reports whether nobody can read any more what is written to fd.
func otherEndClosed(fd uintptr) bool {
	const pollErr = 8 // POLLERR, which is reported unasked
	p := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd)}
	var now syscall.Timespec
	n, _, _ := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	return int(n) == 1 && p.revents&pollErr != 0
}
