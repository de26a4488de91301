// This file asks files and sockets what a read or a write of them would meet.

package portable

import (
	"syscall"
	"unsafe"
)

// Events of poll(2). pollErr and pollHup are reported unasked.
const (
	pollIn    = 1
	pollErr   = 8
	pollHup   = 16
	pollRdHup = 0x2000
)

// readable reports whether a read of fd finds something: bytes, the end, an error.
func readable(fd uintptr) bool {
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0)
	if errno == 0 && flags&syscall.O_ACCMODE == syscall.O_WRONLY {
		return true // it fails
	}
	return polled(fd, pollIn) != 0
}

// otherEndClosed reports whether nobody can read any more what is written to fd.
func otherEndClosed(fd uintptr, _ bool) bool {
	return polled(fd, pollRdHup)&(pollErr|pollHup|pollRdHup) != 0
}

// polled returns which of the events there are, and those that are reported unasked.
func polled(fd uintptr, events int16) int16 {
	p := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: events}
	var now syscall.Timespec
	n, _, _ := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	if int(n) != 1 {
		return 0
	}
	return p.revents
}
