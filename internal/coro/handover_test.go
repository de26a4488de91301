// Tests of handing over: any order of switches, and any order of ends after it.

package coro_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/goasyncio/asyncio/internal/coro"
)

func TestHandOver(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		var log []string
		var a, b, c *stack
		a = get(p, func(*stack) {
			log = append(log, "a")
			p.HandOver(b.Coroutine)
			log = append(log, "a again")
			p.HandOver(c.Coroutine)
			log = append(log, "a ends")
		})
		b = get(p, func(*stack) {
			log = append(log, "b")
			p.HandOver(c.Coroutine)
			log = append(log, "b ends")
		})
		c = get(p, func(*stack) {
			log = append(log, "c")
			if p.Running() != c.Coroutine {
				t.Error("another one is said to run")
			}
			p.HandOver(a.Coroutine)
			log = append(log, "c again")
			p.Suspend()
			log = append(log, "c ends")
		})
		resume(t, a, coro.Suspended) // it is c that has suspended
		log = append(log, "out")
		resume(t, c, coro.Finished)
		resume(t, a, coro.Finished)
		resume(t, b, coro.Finished)
		want := []string{"a", "b", "c", "a again", "c again", "out", "c ends", "a ends", "b ends"}
		if !slices.Equal(log, want) {
			t.Errorf("%q, want %q", log, want)
		}
		for _, s := range []*stack{b, a, c} {
			s.put()
		}
	})
}

// A walker goes on at random with itself, another one, or whoever has resumed it, and
// ends at random, in each of the ways.
type walker struct {
	*stack
	walk *walk
	name int
	left int // steps
}

type walk struct {
	t     *testing.T
	pool  *coro.Pool
	rng   *rand.Rand
	alive []*walker // suspended, or running
	now   *walker
	born  int
	died  int
}

func (w *walker) RunCoroutine() *coro.Coroutine {
	k := w.walk
	for w.left--; w.left > 0; w.left-- {
		if k.now != w || k.pool.Running() != w.Coroutine {
			k.t.Fatalf("walker %d runs, and %d should", w.name, k.now.name)
		}
		if next := k.alive[k.rng.IntN(len(k.alive))]; next == w {
			k.pool.Suspend()
		} else {
			k.now = next
			k.pool.HandOver(next.Coroutine)
		}
	}
	k.alive = slices.DeleteFunc(k.alive, func(other *walker) bool { return other == w })
	k.died++
	switch n := k.rng.IntN(8); {
	case n == 0:
		panic(fmt.Sprint(w.name))
	case n == 1:
		runtime.Goexit()
	case n == 2 || !k.pool.Keeps():
		return nil
	case n == 3 || len(k.alive) == 0:
		k.now = nil
		return k.pool.Resumer()
	}
	k.now = k.alive[k.rng.IntN(len(k.alive))]
	return k.now.Coroutine
}

func TestRandomWalks(t *testing.T) {
	for seed := range uint64(50) {
		run(t, func(t *testing.T, p *coro.Pool) {
			k := &walk{t: t, pool: p, rng: rand.New(rand.NewPCG(seed, 0))}
			p.Max = 1 + k.rng.IntN(10)
			for all := 300; k.born < all || len(k.alive) > 0; {
				if k.born < all && (len(k.alive) == 0 || k.rng.IntN(4) == 0) {
					w := &walker{walk: k, name: k.born, left: 1 + k.rng.IntN(20)}
					k.born++
					w.stack = &stack{p.Get(w), p}
					k.alive = append(k.alive, w)
					k.now = w
				} else {
					k.now = k.alive[k.rng.IntN(len(k.alive))]
				}
				p.Resume(k.now.Coroutine)
				if k.now == nil {
					continue // it has gone back to the pool by itself
				}
				switch k.now.Status() {
				case coro.Suspended:
				case coro.Panicked:
					if v, _ := k.now.Panic(); v != fmt.Sprint(k.now.name) {
						t.Errorf("walker %d has panicked with %v", k.now.name, v)
					}
					k.now.put()
				default:
					k.now.put()
				}
			}
			if k.died != k.born {
				t.Errorf("%d have ended, want %d", k.died, k.born)
			}
		})
	}
}
