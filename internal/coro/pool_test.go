// Tests of the pool: what it keeps, what it ends, and what that costs.

package coro_test

import (
	"runtime"
	"testing"

	"github.com/goasyncio/asyncio/internal/coro"
)

func TestPoolReuse(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		a := get(p, func(*stack) {})
		b := get(p, func(*stack) {})
		if a.Coroutine == b.Coroutine {
			t.Fatal("Get used one coroutine twice")
		}
		resume(t, a, coro.Finished)
		resume(t, b, coro.Finished)
		a.put()
		b.put()
		if n := p.Idle(); n != 2 {
			t.Errorf("Idle = %d, want 2", n)
		}
		ran := false
		c := get(p, func(*stack) { ran = true })
		if c.Coroutine != b.Coroutine {
			t.Error("Get did not use the coroutine that was put last")
		}
		if n := p.Idle(); n != 1 {
			t.Errorf("Idle = %d, want 1", n)
		}
		resume(t, c, coro.Finished)
		if !ran {
			t.Error("the second body did not run")
		}
		c.put()
	})
}

func TestPoolBound(t *testing.T) {
	for _, test := range []struct{ max, use, want int }{
		{-1, 3, 0},
		{0, 1100, 1024},
		{1, 3, 1},
		{2, 3, 2},
		{5, 3, 3},
	} {
		run(t, func(t *testing.T, p *coro.Pool) {
			p.Max = test.max
			baseline := runtime.NumGoroutine()
			var all []*stack
			for range test.use {
				c := get(p, func(*stack) {})
				resume(t, c, coro.Finished)
				all = append(all, c)
			}
			for _, c := range all {
				c.put()
			}
			if n := p.Idle(); n != test.want {
				t.Errorf("Max %d: Idle = %d, want %d", test.max, n, test.want)
			}
			waitGoroutines(t, baseline+test.want)
		})
	}
}

func TestPoolClose(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		baseline := runtime.NumGoroutine()
		kept := get(p, func(*stack) {})
		late := get(p, func(c *stack) { c.Suspend() })
		resume(t, kept, coro.Finished)
		resume(t, late, coro.Suspended)
		kept.put()
		p.Close()
		p.Close()
		waitGoroutines(t, baseline+1)

		resume(t, late, coro.Finished)
		late.put()
		if n := p.Idle(); n != 0 {
			t.Errorf("Idle = %d, want 0", n)
		}
		waitGoroutines(t, baseline)

		after := get(p, func(*stack) {})
		resume(t, after, coro.Finished)
		after.put()
		waitGoroutines(t, baseline)
	})
}

// TestPoolManySuspended holds many coroutines at once and ends them in an order
// that is not the order of their start.
func TestPoolManySuspended(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		const n = 1000
		sum := 0
		all := make([]*stack, n)
		for i := range all {
			all[i] = get(p, func(c *stack) {
				c.Suspend()
				sum += i
			})
			resume(t, all[i], coro.Suspended)
		}
		for i := range all {
			c := all[i*7%n]
			resume(t, c, coro.Finished)
			c.put()
		}
		if want := n * (n - 1) / 2; sum != want {
			t.Errorf("sum = %d, want %d", sum, want)
		}
	})
}

// empty is a body that ends at once.
type empty struct{}

func (*empty) RunCoroutine() *coro.Coroutine { return nil }
