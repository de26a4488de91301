// This file sets the options of sockets on Windows.

package portable

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/goasyncio/asyncio/internal/seam"
)

// setListenOptions has nothing to set: Windows frees an address at once, and its
// SO_REUSEADDR, which would let others steal it, is off.
func setListenOptions(_ uintptr, _ string, opts seam.ListenOptions) error {
	if opts.ReusePort {
		return errReusePort
	}
	return nil
}

// setPacketOptions changes what package net has set: SO_BROADCAST.
func setPacketOptions(fd uintptr, network string, opts seam.PacketOptions) error {
	if opts.ReusePort {
		return errReusePort
	}
	broadcast := 0
	if opts.Broadcast {
		broadcast = 1
	}
	return os.NewSyscallError("setsockopt", syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, syscall.SO_BROADCAST, broadcast))
}

var errReusePort = fmt.Errorf("Windows cannot share a port between sockets (SO_REUSEPORT): %w", errors.ErrUnsupported)

func setBacklog(syscall.Conn, int) error {
	return fmt.Errorf("the backlog of a listening socket cannot be set on Windows: %w", errors.ErrUnsupported)
}
