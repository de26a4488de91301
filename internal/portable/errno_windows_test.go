// This file tests the translation of Winsock's errors.

package portable

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestPlainOnWindows(t *testing.T) {
	for number, want := range map[syscall.Errno]syscall.Errno{
		10013: syscall.EACCES,
		10048: syscall.EADDRINUSE,
		10049: syscall.EADDRNOTAVAIL,
		10051: syscall.ENETUNREACH,
		10053: syscall.ECONNABORTED,
		10054: syscall.ECONNRESET,
		10058: syscall.EPIPE,
		10060: syscall.ETIMEDOUT,
		10061: syscall.ECONNREFUSED,
		10065: syscall.EHOSTUNREACH,
		10035: 10035, // not known elsewhere in a way that anybody asks for
	} {
		if got := portableErrno(number); got != want {
			t.Errorf("%d is %v, want %v", number, got, want)
		}
		err := plain(&net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("wsarecv", number)})
		if !errors.Is(err, want) {
			t.Errorf("%v is not %v", err, want)
		}
	}
}
