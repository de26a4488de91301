// Whether the benchmarks allocate more often than they did. The race detector
// allocates, too.

//go:build !race

package poll_test

import (
	"testing"

	"github.com/goasyncio/asyncio/internal/allocations"
)

func TestAllocationBaseline(t *testing.T) { allocations.Check(t, "linux") }
