// Whether the benchmarks allocate more often than they did. The race detector
// allocates, too.

//go:build !race

package sock_test

import (
	"testing"

	"github.com/goasyncio/asyncio/internal/allocations"
)

// TestAllocationBaseline leaves out what is not ours.
func TestAllocationBaseline(t *testing.T) { allocations.Check(t, "linux", "^BenchmarkNetDialAccept$") }
