//go:build !linux

// This file stands in for sockets where there is no poller. New fails there,
// so nothing of it is ever called.

package sock

import (
	"errors"

	"github.com/goasyncio/asyncio/internal/seam"
)

type vector struct{}

// Dial returns errors.ErrUnsupported.
func (*Network) Dial(network string, to, local seam.Addr, h seam.Handler) (seam.Conn, error) {
	return nil, errors.ErrUnsupported
}

// Listen returns errors.ErrUnsupported.
func (*Network) Listen(network string, at seam.Addr, opts seam.ListenOptions, h seam.Handler) (seam.Listener, error) {
	return nil, errors.ErrUnsupported
}

// OpenPacket returns errors.ErrUnsupported.
func (*Network) OpenPacket(network string, local, remote seam.Addr, opts seam.PacketOptions, h seam.Handler) (seam.PacketConn, error) {
	return nil, errors.ErrUnsupported
}
