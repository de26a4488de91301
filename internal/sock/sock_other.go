//go:build !linux

// This file stands in for sockets where there is no poller. New fails there,
// so nothing of it is ever called.

package sock

import (
	"errors"
	"net/netip"

	"github.com/goasyncio/asyncio/internal/seam"
)

type vector struct{}

// Dial returns errors.ErrUnsupported.
func (*Network) Dial(network string, to, local netip.AddrPort, path string, h seam.Handler) (seam.Conn, error) {
	return nil, errors.ErrUnsupported
}

// Listen returns errors.ErrUnsupported.
func (*Network) Listen(network string, at netip.AddrPort, path string, opts seam.ListenOptions, h seam.Handler) (seam.Listener, error) {
	return nil, errors.ErrUnsupported
}
