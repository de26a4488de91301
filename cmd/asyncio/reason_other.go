// What all systems but Windows call the errors of connections.

//go:build !windows

package main

import "syscall"

const (
	errRefused = syscall.ECONNREFUSED
	errReset   = syscall.ECONNRESET
)
