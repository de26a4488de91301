// This file holds the sockets to the contract that all networks have.

package sock_test

import (
	"testing"

	"github.com/goasyncio/asyncio/internal/netcontract"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/sock"
)

func openSockets() (seam.Network, error) { return sock.New() }

func TestContractOfStreams(t *testing.T)   { netcontract.Streams(t, openSockets) }
func TestContractOfListeners(t *testing.T) { netcontract.Listeners(t, openSockets) }
func TestContractOfAdoption(t *testing.T)  { netcontract.Adoption(t, openSockets) }

func TestContractOfPackets(t *testing.T) { netcontract.Packets(t, openSockets) }
