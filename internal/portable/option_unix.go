//go:build unix

// This file sets the options of sockets on Unix.

package portable

import (
	"os"
	"syscall"

	"github.com/goasyncio/asyncio/internal/seam"
)

// setListenOptions changes what package net has set: SO_REUSEADDR.
func setListenOptions(fd uintptr, network string, opts seam.ListenOptions) error {
	if network != "tcp" {
		return nil
	}
	if opts.NoReuseAddr {
		if err := setOption(fd, syscall.SO_REUSEADDR, 0); err != nil {
			return err
		}
	}
	if opts.ReusePort {
		return setOption(fd, soReusePort, 1)
	}
	return nil
}

// setPacketOptions changes what package net has set: SO_BROADCAST.
func setPacketOptions(fd uintptr, network string, opts seam.PacketOptions) error {
	if network == "unixgram" {
		return nil
	}
	broadcast := 0
	if opts.Broadcast {
		broadcast = 1
	}
	if err := setOption(fd, syscall.SO_BROADCAST, broadcast); err != nil {
		return err
	}
	if opts.ReusePort {
		return setOption(fd, soReusePort, 1)
	}
	return nil
}

func setOption(fd uintptr, name, value int) error {
	return os.NewSyscallError("setsockopt", syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, name, value))
}

// setBacklog listens again, with a queue of another length.
func setBacklog(c syscall.Conn, backlog int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return control(raw, func(fd uintptr) error {
		return os.NewSyscallError("listen", syscall.Listen(int(fd), backlog))
	})
}
