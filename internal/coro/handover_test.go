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

// A walker goes on at random with itself, another one, or whoever has resumed it. It also
// resumes others, for a step or to look at them. It ends at random, in each of the ways.
type walker struct {
	*stack
	walk  *walk
	name  int
	left  int  // steps
	waits bool // until somebody goes on with it; not for one that it has resumed
}

type walk struct {
	t     *testing.T
	pool  *coro.Pool
	rng   *rand.Rand
	alive []*walker // suspended, or running
	now   *walker
	owner *coro.Coroutine
	deep  int // how many walkers wait in Resume
	looks bool
	born  int
	died  int
}

func (w *walker) RunCoroutine() *coro.Coroutine {
	k := w.walk
	for w.left--; w.left > 0; w.left-- {
		if k.now != w || k.pool.Running() != w.Coroutine {
			k.t.Fatalf("walker %d runs, and %d should", w.name, k.now.name)
		}
		switch n := k.rng.IntN(20); {
		case n == 0:
			k.step(k.newWalker())
			k.now = w
		case n == 1:
			if next := k.anyone(); next != w && next.waits {
				k.looks = true
				k.pool.Resume(next.Coroutine)
				k.looks = false
			}
		case n == 2 && k.rng.IntN(20) == 0:
			k.pool.Close()
		case n < 10 || k.deep > 0:
			w.leave(nil)
		default:
			if next := k.anyone(); next != w && next.waits {
				k.now = next
				w.leave(next)
			}
		}
	}
	k.alive = slices.DeleteFunc(k.alive, func(other *walker) bool { return other == w })
	k.died++
	switch n := k.rng.IntN(8); {
	case n == 0:
		panic(fmt.Sprint(w.name))
	case n == 1:
		runtime.Goexit()
	case n == 2 || k.deep > 0 || !k.pool.Keeps():
		return nil
	case n == 3:
		k.now = nil
		return k.pool.Resumer()
	}
	var free []*walker
	for _, next := range k.alive {
		if next.waits {
			free = append(free, next)
		}
	}
	if len(free) == 0 {
		return nil
	}
	k.now = free[k.rng.IntN(len(free))]
	k.now.waits = false
	return k.now.Coroutine
}

// leave goes on with next, or who has resumed w if next is nil.
func (w *walker) leave(next *walker) {
	k := w.walk
	w.waits = true
	if next != nil {
		next.waits = false
		k.pool.HandOver(next.Coroutine)
	} else {
		k.pool.Suspend()
	}
	for k.looks {
		k.pool.Suspend()
	}
}

func (k *walk) anyone() *walker { return k.alive[k.rng.IntN(len(k.alive))] }

func (k *walk) newWalker() *walker {
	w := &walker{walk: k, name: k.born, left: 1 + k.rng.IntN(20)}
	k.born++
	w.stack = &stack{k.pool.Get(w), k.pool}
	k.alive = append(k.alive, w)
	return w
}

// step resumes w, and puts whoever has ended because of that.
func (k *walk) step(w *walker) {
	k.now = w
	w.waits = false
	if k.pool.Running() != k.owner {
		k.deep++
		defer func() { k.deep-- }()
	}
	k.pool.Resume(w.Coroutine)
	if k.now == nil {
		return // it has gone back to the pool by itself
	}
	switch k.now.Status() {
	case coro.Suspended:
	case coro.Panicked:
		if v, _ := k.now.Panic(); v != fmt.Sprint(k.now.name) {
			k.t.Errorf("walker %d has panicked with %v", k.now.name, v)
		}
		k.now.put()
	default:
		k.now.put()
	}
}

func TestRandomWalks(t *testing.T) {
	for seed := range uint64(100) {
		run(t, func(t *testing.T, p *coro.Pool) {
			k := &walk{t: t, pool: p, rng: rand.New(rand.NewPCG(seed, 0))}
			p.Max = 1 + k.rng.IntN(10)
			for all := 300; k.born < all || len(k.alive) > 0; {
				if k.born < all && (len(k.alive) == 0 || k.rng.IntN(4) == 0) {
					w := k.newWalker()
					if k.owner == nil {
						k.owner = p.Running()
					}
					k.step(w)
				} else {
					k.step(k.anyone())
				}
				if k.rng.IntN(300) == 0 {
					p.Close()
				}
			}
			if k.died != k.born {
				t.Errorf("%d have ended, want %d", k.died, k.born)
			}
		})
	}
}
