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

	pos int // index in Heap.entries, plus one; zero if it is in no heap
}

// Armed reports whether t is in a heap.
func (t *Timer[T]) Armed() bool { return t.pos != 0 }

// A Heap holds Timers, ordered by deadline; those with the same deadline are
// in the order in which they were added. The zero value is an empty heap. It is
// not safe for concurrent use.
type Heap[T any] struct {
	// entries is a heap in which the children of i are 4i+1 to 4i+4: four
	// children make it half as deep as two would, and they lie side by side.
	entries []entry[T]
	added   uint64 // number of calls of Add so far
}

// An entry is a Timer with a copy of what it is ordered by: comparisons then
// stay within the slice, instead of visiting Timers all over memory.
type entry[T any] struct {
	when time.Duration
	seq  uint64
	t    *Timer[T]
}

func (e *entry[T]) before(f *entry[T]) bool {
	return e.when < f.when || e.when == f.when && e.seq < f.seq
}

// Len returns the number of Timers in h.
func (h *Heap[T]) Len() int { return len(h.entries) }

// All returns the Timers in h in the order in which they are due.
func (h *Heap[T]) All() []*Timer[T] {
	entries := slices.Clone(h.entries)
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
	if len(h.entries) == 0 {
		return nil
	}
	return h.entries[0].t
}

// Add puts t into h. It panics if t is in a heap already.
func (h *Heap[T]) Add(t *Timer[T]) {
	if t.Armed() {
		panic("timer: Add of a Timer that is in a heap; Remove it first")
	}
	h.added++
	h.entries = append(h.entries, entry[T]{})
	h.up(len(h.entries)-1, entry[T]{t.When, h.added, t})
}

// Remove takes t out of h, in logarithmic time, and reports whether it was
// in there.
func (h *Heap[T]) Remove(t *Timer[T]) bool {
	i := t.pos - 1
	if i < 0 || i >= len(h.entries) || h.entries[i].t != t {
		return false
	}
	t.pos = 0
	end := len(h.entries) - 1
	last := h.entries[end]
	h.entries[end] = entry[T]{} // let go of the Timer
	h.entries = h.entries[:end]
	switch {
	case i == end:
	case i > 0 && last.before(&h.entries[(i-1)/4]):
		h.up(i, last)
	default:
		h.down(i, last)
	}
	return true
}

// put stores e at i.
func (h *Heap[T]) put(i int, e entry[T]) {
	h.entries[i] = e
	e.t.pos = i + 1
}

// up stores e, starting at the free place i, where its parent is not later.
func (h *Heap[T]) up(i int, e entry[T]) {
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&h.entries[parent]) {
			break
		}
		h.put(i, h.entries[parent])
		i = parent
	}
	h.put(i, e)
}

// down stores e, starting at the free place i, where no child is earlier.
func (h *Heap[T]) down(i int, e entry[T]) {
	for {
		child := 4*i + 1
		if child >= len(h.entries) {
			break
		}
		first := child
		for c := child + 1; c < min(child+4, len(h.entries)); c++ {
			if h.entries[c].before(&h.entries[first]) {
				first = c
			}
		}
		if !h.entries[first].before(&e) {
			break
		}
		h.put(i, h.entries[first])
		i = first
	}
	h.put(i, e)
}
