// The real networks behind the network seam, and which of them a loop uses.

package asyncio

import (
	"errors"
	"fmt"
	"os"

	"github.com/goasyncio/asyncio/internal/portable"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/sock"
)

// A Backend is a way to wait for the network; see WithBackend. Programs see no
// difference but in speed, and in what docs/platforms.md lists.
type Backend uint8

const (
	// DefaultBackend is the fastest one that the system has.
	DefaultBackend Backend = iota
	// EpollBackend asks the kernel, on the loop's thread (Linux). A connection
	// costs no goroutine.
	EpollBackend
	// PortableBackend uses package net, everywhere. A connection costs a goroutine.
	PortableBackend
)

// backendVariable is the variable of the environment that chooses a Backend where
// no option does.
const backendVariable = "ASYNCIO_BACKEND"

// String returns the name that ASYNCIO_BACKEND has for b.
func (b Backend) String() string {
	switch b {
	case DefaultBackend:
		return "default"
	case EpollBackend:
		return "epoll"
	case PortableBackend:
		return "portable"
	}
	return fmt.Sprintf("Backend(%d)", uint8(b))
}

// open makes a network of b.
func (b Backend) open() (seam.Network, error) {
	if b == DefaultBackend {
		switch name := os.Getenv(backendVariable); name {
		case "":
		case EpollBackend.String():
			b = EpollBackend
		case PortableBackend.String():
			b = PortableBackend
		default:
			return nil, fmt.Errorf("%s is %q; it may be %q, %q or empty", backendVariable, name, EpollBackend, PortableBackend)
		}
	}
	if b != PortableBackend {
		n, err := sock.New()
		switch {
		case err == nil:
			return n, nil
		case !errors.Is(err, errors.ErrUnsupported):
			return nil, err
		case b == EpollBackend:
			return nil, fmt.Errorf("the %v backend: %w", b, err)
		}
	}
	return portable.New()
}
