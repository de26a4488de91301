//go:build unix

// This file makes what package os and package net cannot: files whose reads can be
// interrupted, and sockets without a name.

package portable

import (
	"net"
	"os"
	"syscall"
)

// interruptible returns f, or a second *os.File for the same that package os does
// not block a thread for, and says whether the file was in blocking mode.
func interruptible(f *os.File) (*os.File, bool, error) {
	pollable := canInterrupt(f)
	if pollable && !standard(f) {
		return f, false, nil
	}
	fd, err := duplicate(f)
	if err != nil {
		return nil, false, err
	}
	if !pollable {
		if err := syscall.SetNonblock(fd, true); err != nil {
			syscall.Close(fd)
			return nil, false, os.NewSyscallError("fcntl", err)
		}
	}
	return os.NewFile(uintptr(fd), f.Name()), !pollable, nil
}

// duplicate returns a second descriptor for what f has open.
func duplicate(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, plain(err)
	}
	fd := -1
	err = control(raw, func(old uintptr) error {
		syscall.ForkLock.RLock() // a program started in between would inherit it
		defer syscall.ForkLock.RUnlock()
		var err error
		if fd, err = syscall.Dup(int(old)); err != nil {
			return os.NewSyscallError("dup", err)
		}
		syscall.CloseOnExec(fd)
		return nil
	})
	return fd, err
}

// makeBlocking makes the file blocking again.
func makeBlocking(f *os.File) {
	if raw, err := f.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { syscall.SetNonblock(int(fd), false) })
	}
}

// unnamedUnixgram returns a socket for datagrams that has no name: nobody can answer.
func unnamedUnixgram() (net.PacketConn, error) {
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "unixgram")
	defer f.Close()
	return net.FilePacketConn(f) // which makes a non-blocking duplicate
}
