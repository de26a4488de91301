// Tests of Current.

package coro_test

import (
	"testing"

	"github.com/goasyncio/asyncio/internal/coro"
)

func needCurrent(t *testing.T) {
	if coro.Current() == 0 {
		t.Skip("this platform cannot tell goroutines apart")
	}
}

func TestCurrentOfGoroutines(t *testing.T) {
	needCurrent(t)
	const n = 100
	ids, done := make(chan uintptr), make(chan struct{})
	for range n {
		go func() {
			ids <- coro.Current()
			<-done // so that no other one gets its record
		}()
	}
	seen := map[uintptr]bool{coro.Current(): true}
	for range n {
		id := <-ids
		if id == 0 || seen[id] {
			t.Errorf("Current = %#x, want a value of its own", id)
		}
		seen[id] = true
	}
	close(done)
}

func TestCurrentIsStable(t *testing.T) {
	id := coro.Current()
	if grow(1000) != id || coro.Current() != id {
		t.Error("Current changed as the stack grew")
	}
}

// grow makes the stack move.
func grow(n int) uintptr {
	var frame [256]byte
	frame[n%len(frame)] = 1
	if n == 0 {
		return coro.Current() + uintptr(frame[1])
	}
	return grow(n - 1)
}

func TestCurrentOfCoroutines(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		needCurrent(t)
		owner := coro.Current()
		ids := make(map[*stack]uintptr)
		inside := func(c *stack) {
			for range 3 {
				if got, known := coro.Current(), ids[c]; known != 0 && got != known {
					t.Errorf("Current changed from %#x to %#x", known, got)
				}
				ids[c] = coro.Current()
				c.Suspend()
			}
		}
		a, b := get(p, inside), get(p, inside)
		for range 3 {
			resume(t, a, coro.Suspended)
			resume(t, b, coro.Suspended)
		}
		if ids[a] == ids[b] || ids[a] == owner || ids[b] == owner {
			t.Errorf("Current = %#x and %#x, owner %#x: not all different", ids[a], ids[b], owner)
		}
		if got := coro.Current(); got != owner {
			t.Errorf("Current of the owner = %#x, was %#x", got, owner)
		}
		resume(t, a, coro.Finished)
		resume(t, b, coro.Finished)
		a.put()
		b.put()

		again := get(p, inside) // one that was kept has its goroutine still
		for range 3 {
			resume(t, again, coro.Suspended)
		}
		resume(t, again, coro.Finished)
		again.put()
	})
}
