// Whether the benchmarks allocate more often than they did. The race detector
// allocates, too.

//go:build !race

package asyncio_test

import (
	"testing"

	"github.com/goasyncio/asyncio/internal/allocations"
)

// TestAllocationBaseline holds the benchmarks to testdata/allocations.tsv. What is left
// out is not ours, or takes too long, or is up to chance, as a handshake is.
func TestAllocationBaseline(t *testing.T) {
	backend := "epoll"
	if onPortable {
		backend = "portable"
	}
	allocations.Check(t, backend, "/Echo/Goroutines$", "^BenchmarkIdleConnection$", "^BenchmarkTLS$/^(Idle|Handshake|Write1M)$")
}
