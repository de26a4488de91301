// This file tests the heap against a sorted slice.

package timer_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/goasyncio/asyncio/internal/timer"
)

type (
	tick = timer.Timer[int]
	heap = timer.Heap[int]
)

// A sorted is a dumb Heap: a slice in the order in which Timers are due.
type sorted []*tick

func (s *sorted) add(t *tick) {
	// After all that are not later, as the order of adding settles ties.
	i, _ := slices.BinarySearchFunc(*s, t, func(old, t *tick) int {
		if old.When <= t.When {
			return -1
		}
		return 1
	})
	*s = slices.Insert(*s, i, t)
}

func (s *sorted) remove(t *tick) bool {
	i := slices.Index(*s, t)
	if i < 0 {
		return false
	}
	*s = slices.Delete(*s, i, i+1)
	return true
}

func (s sorted) first() *tick {
	if len(s) == 0 {
		return nil
	}
	return s[0]
}

// FuzzHeap runs a program on a Heap and on a sorted slice. Each byte is one
// step: below 0x80 it adds a Timer that is due at that time divided by two, or
// else it removes one of those made so far, or the first.
func FuzzHeap(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{4, 2, 2, 0, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0x80, 0x81, 0x81, 0x85, 3, 0xff})
	long := make([]byte, 0, 3000)
	for i := range 3000 {
		long = append(long, byte(i*i*31>>3))
	}
	f.Add(long)
	f.Fuzz(func(t *testing.T, program []byte) {
		var (
			h   heap
			s   sorted
			all []*tick
		)
		for step, b := range program {
			switch {
			case b < 0x80:
				tm := &tick{When: time.Duration(b / 2), Owner: len(all)}
				all = append(all, tm)
				h.Add(tm)
				s.add(tm)
			case b == 0xff:
				if first := h.First(); first != nil {
					if !h.Remove(first) || !s.remove(first) {
						t.Fatalf("step %d: first Timer was not in the heap", step)
					}
				}
			case len(all) > 0:
				tm := all[int(b-0x80)*7%len(all)]
				armed := tm.Armed()
				if got, want := h.Remove(tm), s.remove(tm); got != want || armed != want {
					t.Fatalf("step %d: Remove = %v, Armed = %v; want %v", step, got, armed, want)
				}
			}
			if h.Len() != len(s) || h.First() != s.first() {
				t.Fatalf("step %d: Len, First = %d, %v; want %d, %v", step, h.Len(), h.First(), len(s), s.first())
			}
		}
		if all := h.All(); !slices.Equal(all, s) {
			t.Fatalf("All = %v, want %v", all, s)
		}
		for len(s) > 0 {
			first := h.First()
			if first != s.first() || !h.Remove(first) || !s.remove(first) {
				t.Fatalf("%d left: First = %v, want %v", len(s), first, s.first())
			}
		}
		if h.Len() != 0 || h.First() != nil {
			t.Fatalf("Len, First = %d, %v; want an empty heap", h.Len(), h.First())
		}
	})
}

func TestTies(t *testing.T) {
	var h heap
	for i := range 100 {
		h.Add(&tick{When: time.Second, Owner: i})
	}
	for i := range 100 {
		first := h.First()
		if first.Owner != i {
			t.Fatalf("Timer %d came as number %d", first.Owner, i)
		}
		h.Remove(first)
	}
}

func TestAddAgain(t *testing.T) {
	// A Timer that was removed and added is as new: it comes after its equals.
	var h heap
	a, b := &tick{Owner: 1}, &tick{Owner: 2}
	h.Add(a)
	h.Add(b)
	h.Remove(a)
	h.Add(a)
	if h.First() != b {
		t.Errorf("First = %v, want the one that stayed", h.First())
	}
}

func TestRemoveFromOtherHeap(t *testing.T) {
	var h, other heap
	a, b := new(tick), new(tick)
	h.Add(a)
	if other.Remove(a) {
		t.Error("an empty heap had the Timer of another")
	}
	other.Add(b)
	if other.Remove(a) || !a.Armed() || h.First() != a {
		t.Error("a heap had the Timer of another")
	}
	if h.Remove(new(tick)) {
		t.Error("a heap had a Timer that was in none")
	}
}

func TestAddTwicePanics(t *testing.T) {
	var h heap
	tm := new(tick)
	h.Add(tm)
	defer func() {
		if recover() == nil {
			t.Error("the second Add did not panic")
		}
		if h.Len() != 1 || !h.Remove(tm) {
			t.Error("the second Add changed the heap")
		}
	}()
	h.Add(tm)
}

// TestMany lets a heap grow and shrink by turns, over many blocks.
func TestMany(t *testing.T) {
	var h heap
	var s sorted
	r := rand.New(rand.NewPCG(1, 2))
	timers := make([]*tick, 3000)
	for i := range timers {
		timers[i] = new(tick)
	}
	for step := range 20000 {
		tm := timers[r.IntN(len(timers))]
		grows := step/5000%2 == 0
		switch {
		case !tm.Armed() && (grows || r.IntN(10) == 0):
			tm.When = time.Duration(r.IntN(1000))
			h.Add(tm)
			s.add(tm)
		case tm.Armed() && (!grows || r.IntN(10) == 0):
			h.Remove(tm)
			s.remove(tm)
		}
		if h.Len() != len(s) || h.First() != s.first() {
			t.Fatalf("step %d: Len, First = %d, %v; want %d, %v", step, h.Len(), h.First(), len(s), s.first())
		}
	}
	if !slices.Equal(h.All(), s) {
		t.Error("All are others")
	}
}

func TestMemoryShrinks(t *testing.T) {
	var h heap
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const many = 100_000
	timers := make([]tick, many)
	before := used()
	for i := range timers {
		h.Add(&timers[i])
	}
	full := used() - before
	for i := range timers {
		h.Remove(&timers[i])
	}
	empty := int64(used() - before)
	if full < many*16 || empty > int64(full)/10 {
		t.Errorf("%d bytes when it is full, %d when it is empty", full, empty)
	}
	runtime.KeepAlive(&h)
}
