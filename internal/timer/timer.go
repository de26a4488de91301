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

	pos int // the number of its entry in the Heap; zero if it is in no heap
}

// Armed reports whether t is in a heap.
func (t *Timer[T]) Armed() bool { return t.pos != 0 }

// A Heap holds Timers, ordered by deadline; those with the same deadline are
// in the order in which they were added. The zero value is an empty heap. It is
// not safe for concurrent use.
type Heap[T any] struct {
	// The entries form a heap with four children each, which is half as deep as
	// one with two. They are numbered from root on: the children of i are 4i-8 to
	// 4i-5, always in one block, and its parent is i/4+2.
	//
	// They are in blocks, since one slice would leave its copies behind as it grows:
	// with a million Timers as much as four more slices.
	blocks []*block[T]
	end    int    // the number after the last entry; anything up to root if there is none
	added  uint64 // number of calls of Add so far
}

const (
	root     = 3
	blockLen = 64
)

type block[T any] [blockLen]entry[T]

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

// at returns the place of entry i.
func (h *Heap[T]) at(i int) *entry[T] { return &h.blocks[uint(i)/blockLen][uint(i)%blockLen] }

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
	return h.blocks[0][root].t
}

// Add puts t into h. It panics if t is in a heap already.
func (h *Heap[T]) Add(t *Timer[T]) {
	if t.Armed() {
		panic("timer: Add of a Timer that is in a heap; Remove it first")
	}
	h.end = max(root, h.end)
	if h.end >= len(h.blocks)*blockLen {
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
	if h.end+2*blockLen <= len(h.blocks)*blockLen {
		h.shrink()
	}
	switch {
	case i == h.end:
	case i > root && last.before(h.at(i/4+2)):
		h.up(i, last)
	default:
		h.down(i, last)
	}
	return true
}

// shrink lets go of the last block. One that is empty stays, so that a heap that
// grows and shrinks by turns does not allocate.
func (h *Heap[T]) shrink() {
	last := len(h.blocks) - 1
	h.blocks[last] = nil
	h.blocks = h.blocks[:last]
}

// put stores e as entry i, whose place is p.
func (e entry[T]) put(p *entry[T], i int) {
	*p = e
	e.t.pos = i
}

// up stores e, starting at the free place i, where its parent is not later.
func (h *Heap[T]) up(i int, e entry[T]) {
	place := h.at(i)
	for i > root {
		parent := h.at(i/4 + 2)
		if !e.before(parent) {
			break
		}
		parent.put(place, i)
		place, i = parent, i/4+2
	}
	e.put(place, i)
}

// down stores e, starting at the free place i, where no child is earlier.
func (h *Heap[T]) down(i int, e entry[T]) {
	place := h.at(i)
	for {
		child := 4*i - 8
		if child >= h.end {
			break
		}
		offset := uint(child) % blockLen
		children := h.blocks[uint(child)/blockLen][offset:][:min(4, h.end-child)]
		first := 0
		for c := 1; c < len(children); c++ {
			if children[c].before(&children[first]) {
				first = c
			}
		}
		if !children[first].before(&e) {
			break
		}
		children[first].put(place, i)
		place, i = &children[first], child+first
	}
	e.put(place, i)
}
