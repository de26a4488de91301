// This file sends and receives datagrams.

package sock

import (
	"errors"
	"net"

	"github.com/goasyncio/asyncio/internal/seam"
)

// OpenPacket makes a socket for datagrams, as in seam.Network.
func (n *Network) OpenPacket(network string, local, remote seam.Addr, opts seam.PacketOptions, h seam.Handler) (seam.PacketConn, error) {
	return nil, errors.ErrUnsupported
}

// AdoptPacket takes over a socket for datagrams, as in seam.Adopter.
func (n *Network) AdoptPacket(c net.PacketConn, h seam.Handler) (seam.PacketConn, error) {
	return nil, errors.ErrUnsupported
}
