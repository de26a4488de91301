// Package timer keeps deadlines in order: it says which of many is due first.
// It reads no clock and calls nobody.
package timer

import (
	"slices"
	"time"
)

// A Timer is one deadline. It is meant to be embedded in what it belongs to,
// with Owner pointing back, so that arming it allocates nothing and the way
// from the heap's first Timer to its owner is one load:
//
//	type handle struct {
//		timer.Timer[*handle]
//		...
//	}
//
// The zero value is in no heap.
type Timer[T any] struct {
	// When is the deadline. It must not change while the Timer is armed.
	When time.Duration

	// Owner is for the user of the heap, which does not look at it.
	Owner T

	pos int // in the Heap; zero if it is in none
}

// Armed reports whether t is in a heap.
func (t *Timer[T]) Armed() bool { return t.pos != 0 }

// A Heap holds Timers, ordered by deadline; those with the same deadline are
// in the order in which they were added. The zero value is an empty heap. It is
// not safe for concurrent use.
//
// Its memory follows the number of Timers by small steps, up and down: a slice that
// grows would stop a loop with a million timers for many milliseconds, and leave a
// multiple of its size behind.
type Heap[T any] struct {
	// The first entry is at root, and the children of i are 4(i-2) to 4(i-2)+3:
	// four children make the heap half as deep as two would, and they lie side by
	// side in one block.
	blocks []*block[T]
	end    int    // the place behind the last entry; zero before the first
	added  uint64 // number of calls of Add so far
}

const root = 3

func parentOf(i int) int     { return i/4 + 2 }
func firstChildOf(i int) int { return 4 * (i - 2) }

// blockSize is a multiple of 4, so that siblings are in one block: 1.5 KB.
const blockSize = 64

type block[T any] [blockSize]entry[T]

// An entry is a Timer with a copy of what it is ordered by: comparisons then
// stay within the blocks, instead of visiting Timers all over memory.
type entry[T any] struct {
	when time.Duration
	seq  uint64
	t    *Timer[T]
}

func (e *entry[T]) before(f *entry[T]) bool {
	return e.when < f.when || e.when == f.when && e.seq < f.seq
}

func (h *Heap[T]) at(i int) *entry[T] { return &h.blocks[uint(i)/blockSize][uint(i)%blockSize] }

// Len returns the number of Timers in h.
func (h *Heap[T]) Len() int { return max(0, h.end-root) }

// All returns the Timers in h in the order in which they are due.
func (h *Heap[T]) All() []*Timer[T] {
	entries := make([]entry[T], h.Len())
	for i := range entries {
		entries[i] = *h.at(root + i)
	}
	slices.SortFunc(entries, func(e, f entry[T]) int {
		if e.before(&f) {
			return -1
		}
		return 1
	})
	all := make([]*Timer[T], len(entries))
	for i, e := range entries {
		all[i] = e.t
	}
	return all
}

// First returns the Timer that is due first and leaves it in h, or nil if h is
// empty.
func (h *Heap[T]) First() *Timer[T] {
	if h.end <= root {
		return nil
	}
	return h.at(root).t
}

// Add puts t into h. It panics if t is in a heap already.
func (h *Heap[T]) Add(t *Timer[T]) {
	if t.Armed() {
		panic("timer: Add of a Timer that is in a heap; Remove it first")
	}
	h.end = max(root, h.end)
	if h.end >= len(h.blocks)*blockSize {
		h.blocks = append(h.blocks, new(block[T]))
	}
	h.added++
	h.end++
	h.up(h.end-1, entry[T]{t.When, h.added, t})
}

// Remove takes t out of h, in logarithmic time, and reports whether it was
// in there.
func (h *Heap[T]) Remove(t *Timer[T]) bool {
	i := t.pos
	if i == 0 || i >= h.end || h.at(i).t != t {
		return false
	}
	t.pos = 0
	h.end--
	end := h.at(h.end)
	last := *end
	*end = entry[T]{} // let go of the Timer
	switch {
	case i == h.end:
	case i > root && last.before(h.at(parentOf(i))):
		h.up(i, last)
	default:
		h.down(i, last)
	}
	if n := len(h.blocks); h.end < (n-2)*blockSize { // two are empty: one is for the next Timers
		h.blocks[n-1] = nil
		h.blocks = h.blocks[:n-1]
	}
	return true
}

// up stores e, starting at the free place i, where its parent is not later.
func (h *Heap[T]) up(i int, e entry[T]) {
	free := h.at(i)
	for i > root {
		above := h.at(parentOf(i))
		if !e.before(above) {
			break
		}
		free.put(above, i)
		free, i = above, parentOf(i)
	}
	free.put(&e, i)
}

// down stores e, starting at the free place i, where no child is earlier.
func (h *Heap[T]) down(i int, e entry[T]) {
	free := h.at(i)
	for {
		child := firstChildOf(i)
		if child >= h.end {
			break
		}
		siblings := h.blocks[uint(child)/blockSize][uint(child)%blockSize:][:min(4, h.end-child)]
		first, at := &siblings[0], child
		for c := 1; c < len(siblings); c++ {
			if siblings[c].before(first) {
				first, at = &siblings[c], child+c
			}
		}
		if !first.before(&e) {
			break
		}
		free.put(first, i)
		free, i = first, at
	}
	free.put(&e, i)
}

// put stores f in e, which is at i.
func (e *entry[T]) put(f *entry[T], i int) {
	*e = *f
	e.t.pos = i
}
