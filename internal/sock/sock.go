// Package sock makes raw non-blocking socket calls. It is the real network of
// an event loop: it knows neither tasks nor buffers, tries each call once, and
// leaves waiting to package poll. This file is its entrance.
package sock

import (
	"github.com/goasyncio/asyncio/internal/poll"
	"github.com/goasyncio/asyncio/internal/seam"
)

var _ seam.Network = (*Network)(nil)

// A Network dials and listens, and reports the readiness of what it has made
// as a Poller does. It, its Conns and its Listeners must be used on one
// goroutine at a time, except for Wake.
type Network struct {
	*poll.Poller
	vector vector // of the latest Writev; kept to be used again
}

// New returns a Network. On a system that has none, the error is an
// errors.ErrUnsupported.
func New() (*Network, error) {
	p, err := poll.New()
	if err != nil {
		return nil, err
	}
	return &Network{Poller: p}, nil
}
