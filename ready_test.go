// Tests of the structures under the loop: each runs a random program on the
// structure and on a slice.

package asyncio_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/goasyncio/asyncio"
)

func TestReadyQueueIsASlice(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var queue asyncio.ReadyQueue
		var model []int
		grow := rng.IntN(3) // more pushes than pops, as many, or fewer
		for n := range 2000 {
			switch {
			case len(model) == 0 || rng.IntN(4) <= grow:
				queue.Push(n)
				model = append(model, n)
			case rng.IntN(2) == 0:
				if got := queue.Pop(); got != model[0] {
					t.Fatalf("Pop() = %d, want %d", got, model[0])
				}
				model = model[1:]
			default:
				i := rng.IntN(len(model))
				if got := queue.PopAt(i); got != model[i] {
					t.Fatalf("PopAt(%d) = %d, want %d", i, got, model[i])
				}
				model = slices.Delete(model, i, i+1)
			}
			if queue.Len() != len(model) {
				t.Fatalf("Len() = %d, want %d", queue.Len(), len(model))
			}
		}
		for _, want := range model {
			if got := queue.Pop(); got != want {
				t.Fatalf("Pop() = %d, want %d", got, want)
			}
		}
	})
}

func TestRegistryIsASlice(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var registry asyncio.Registry
		var gone []*asyncio.Member
		members := make(map[int]*asyncio.Member)
		var model []int
		for n := range 500 {
			switch {
			case len(model) == 0 || rng.IntN(5) < 3:
				members[n] = registry.Add(n)
				model = append(model, n)
			case len(gone) > 0 && rng.IntN(4) == 0: // a second time is harmless
				registry.Remove(gone[rng.IntN(len(gone))])
			default:
				i := rng.IntN(len(model))
				registry.Remove(members[model[i]])
				gone = append(gone, members[model[i]])
				model = slices.Delete(model, i, i+1)
			}
			if got := registry.Numbers(); !slices.Equal(got, model) || registry.Len() != len(model) {
				t.Fatalf("got %d %v, want %v", registry.Len(), got, model)
			}
		}
	})
}
