// The real network behind the network seam.

package asyncio

import (
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/sock"
)

func realNetwork() (seam.Network, error) { return sock.New() }
