// This file translates the errors of Winsock. Package syscall has made up numbers
// of its own for the errors that other systems call ECONNREFUSED and the like, which
// programs ask for.

package portable

import "syscall"

// portableErrno returns the error that e is called elsewhere, or e.
func portableErrno(e syscall.Errno) syscall.Errno {
	switch e {
	case 10004: // WSAEINTR
		return syscall.EINTR
	case 10013: // WSAEACCES
		return syscall.EACCES
	case 10022: // WSAEINVAL
		return syscall.EINVAL
	case 10024: // WSAEMFILE
		return syscall.EMFILE
	case 10040: // WSAEMSGSIZE
		return syscall.EMSGSIZE
	case 10047: // WSAEAFNOSUPPORT
		return syscall.EAFNOSUPPORT
	case 10048: // WSAEADDRINUSE
		return syscall.EADDRINUSE
	case 10049: // WSAEADDRNOTAVAIL
		return syscall.EADDRNOTAVAIL
	case 10050: // WSAENETDOWN
		return syscall.ENETDOWN
	case 10051: // WSAENETUNREACH
		return syscall.ENETUNREACH
	case 10052: // WSAENETRESET
		return syscall.ENETRESET
	case syscall.WSAECONNABORTED, 1236: // ERROR_CONNECTION_ABORTED
		return syscall.ECONNABORTED
	case syscall.WSAECONNRESET, 64: // ERROR_NETNAME_DELETED: what accepting calls it
		return syscall.ECONNRESET
	case 10055: // WSAENOBUFS
		return syscall.ENOBUFS
	case 10056: // WSAEISCONN
		return syscall.EISCONN
	case 10057: // WSAENOTCONN
		return syscall.ENOTCONN
	case 10058, syscall.ERROR_BROKEN_PIPE, 232: // WSAESHUTDOWN, ERROR_NO_DATA
		return syscall.EPIPE
	case 10060, 121: // WSAETIMEDOUT, ERROR_SEM_TIMEOUT
		return syscall.ETIMEDOUT
	case 10061, 1225: // WSAECONNREFUSED, ERROR_CONNECTION_REFUSED
		return syscall.ECONNREFUSED
	case 10065: // WSAEHOSTUNREACH
		return syscall.EHOSTUNREACH
	}
	return e
}
