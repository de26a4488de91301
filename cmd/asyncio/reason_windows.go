// What Windows calls the errors of connections.

package main

import "syscall"

const (
	errRefused = syscall.Errno(10061) // WSAECONNREFUSED, which package syscall lacks
	errReset   = syscall.WSAECONNRESET
)
