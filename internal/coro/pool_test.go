// Tests of the pool: what it keeps, what it ends, and what that costs.

package coro_test

import (
	"runtime"
	"testing"

	"github.com/goasyncio/asyncio/internal/coro"
)

func TestPoolReuse(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		a := get(p, func(*coro.Coroutine) {})
		b := get(p, func(*coro.Coroutine) {})
		if a == b {
			t.Fatal("Get used one coroutine twice")
		}
		resume(t, a, coro.Finished)
		resume(t, b, coro.Finished)
		p.Put(a)
		p.Put(b)
		if n := p.Idle(); n != 2 {
			t.Errorf("Idle = %d, want 2", n)
		}
		ran := false
		c := get(p, func(*coro.Coroutine) { ran = true })
		if c != b {
			t.Error("Get did not use the coroutine that was put last")
		}
		if n := p.Idle(); n != 1 {
			t.Errorf("Idle = %d, want 1", n)
		}
		resume(t, c, coro.Finished)
		if !ran {
			t.Error("the second body did not run")
		}
		p.Put(c)
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
			var all []*coro.Coroutine
			for range test.use {
				c := get(p, func(*coro.Coroutine) {})
				resume(t, c, coro.Finished)
				all = append(all, c)
			}
			for _, c := range all {
				p.Put(c)
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
		kept := get(p, func(*coro.Coroutine) {})
		late := get(p, func(c *coro.Coroutine) { c.Suspend() })
		resume(t, kept, coro.Finished)
		resume(t, late, coro.Suspended)
		p.Put(kept)
		p.Close()
		p.Close()
		waitGoroutines(t, baseline+1)

		resume(t, late, coro.Finished)
		p.Put(late)
		if n := p.Idle(); n != 0 {
			t.Errorf("Idle = %d, want 0", n)
		}
		waitGoroutines(t, baseline)

		after := get(p, func(*coro.Coroutine) {})
		resume(t, after, coro.Finished)
		p.Put(after)
		waitGoroutines(t, baseline)
	})
}

// TestPoolManySuspended holds many coroutines at once and ends them in an order
// that is not the order of their start.
func TestPoolManySuspended(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		const n = 1000
		sum := 0
		all := make([]*coro.Coroutine, n)
		for i := range all {
			all[i] = get(p, func(c *coro.Coroutine) {
				c.Suspend()
				sum += i
			})
			resume(t, all[i], coro.Suspended)
		}
		for i := range all {
			c := all[i*7%n]
			resume(t, c, coro.Finished)
			p.Put(c)
		}
		if want := n * (n - 1) / 2; sum != want {
			t.Errorf("sum = %d, want %d", sum, want)
		}
	})
}

// empty is a body that ends at once.
type empty struct{}

func (*empty) RunCoroutine() {}
