// This file holds the portable network to the contract.

package portable_test

import (
	"testing"

	"github.com/goasyncio/asyncio/internal/netcontract"
	"github.com/goasyncio/asyncio/internal/portable"
	"github.com/goasyncio/asyncio/internal/seam"
)

func open() (seam.Network, error) { return portable.New() }

func TestStreams(t *testing.T)   { netcontract.Streams(t, open) }
func TestListeners(t *testing.T) { netcontract.Listeners(t, open) }
func TestPackets(t *testing.T)   { netcontract.Packets(t, open) }
func TestAdoption(t *testing.T)  { netcontract.Adoption(t, open) }
