// Whether the benchmarks allocate more often than they did. The race detector
// allocates, too.

//go:build !race

package coro_test

import (
	"testing"

	"github.com/goasyncio/asyncio/internal/allocations"
)

// TestAllocationBaseline leaves out what is there to compare with.
func TestAllocationBaseline(t *testing.T) { allocations.Check(t, "linux", "^BenchmarkChannel$") }
