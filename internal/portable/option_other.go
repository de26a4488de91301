//go:build !unix && !windows

// This file stands in for options of sockets where there are none.

package portable

import (
	"errors"
	"syscall"

	"github.com/goasyncio/asyncio/internal/seam"
)

func setListenOptions(_ uintptr, _ string, opts seam.ListenOptions) error {
	if opts.ReusePort || opts.NoReuseAddr {
		return errors.ErrUnsupported
	}
	return nil
}

func setPacketOptions(_ uintptr, _ string, opts seam.PacketOptions) error {
	if opts.ReusePort {
		return errors.ErrUnsupported
	}
	return nil
}

func setBacklog(syscall.Conn, int) error { return errors.ErrUnsupported }
