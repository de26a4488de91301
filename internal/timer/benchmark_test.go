// This file measures what arming and disarming costs.

package timer_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/goasyncio/asyncio/internal/timer"
)

type handle struct {
	timer.Timer[*handle]
	_ [64]byte // the rest of a handle
}

// filled returns a heap with n Timers that are due within an hour.
func filled(n int) (*timer.Heap[*handle], []*handle) {
	var h timer.Heap[*handle]
	r := rand.New(rand.NewPCG(1, 2))
	handles := make([]*handle, n)
	for i := range handles {
		handles[i] = new(handle)
		handles[i].Owner = handles[i]
		handles[i].When = time.Duration(r.Int64N(int64(time.Hour)))
		h.Add(&handles[i].Timer)
	}
	return &h, handles
}

var sizes = []int{10, 1_000, 100_000}

// A timeout that is set and called off: the latest in the heap.
func BenchmarkAddRemoveLast(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h, _ := filled(n)
			t := &timer.Timer[*handle]{When: 2 * time.Hour}
			b.ReportAllocs()
			for b.Loop() {
				h.Add(t)
				h.Remove(t)
			}
		})
	}
}

// Any Timer is moved to another deadline.
func BenchmarkReschedule(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h, handles := filled(n)
			r := rand.New(rand.NewPCG(3, 4))
			b.ReportAllocs()
			for b.Loop() {
				t := &handles[r.IntN(n)].Timer
				h.Remove(t)
				t.When = time.Duration(r.Int64N(int64(time.Hour)))
				h.Add(t)
			}
		})
	}
}

// The first Timer fires and is armed anew, as by many sleepers.
func BenchmarkFire(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h, _ := filled(n)
			r := rand.New(rand.NewPCG(3, 4))
			b.ReportAllocs()
			for b.Loop() {
				t := &h.First().Owner.Timer
				h.Remove(t)
				t.When += time.Duration(r.Int64N(int64(time.Hour)))
				h.Add(t)
			}
		})
	}
}
