// This file holds the buffers between the loop and a goroutine that moves bytes.

package portable

import "sync"

// A buffer is small while little is in it: many connections may have a few bytes
// that nobody reads.
const (
	smallSize  = 2 << 10
	bufferSize = 64 << 10
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallSize]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}
)

// recycle keeps the memory of a buffer for others.
func recycle(mem []byte) {
	if len(mem) == smallSize {
		smallBuffers.Put((*[smallSize]byte)(mem))
	} else {
		largeBuffers.Put((*[bufferSize]byte)(mem))
	}
}

// A buffer takes bytes at one end and gives them at the other. It holds memory
// only while it holds bytes, or while one side works in it: the filled part may be
// read, or the free part written, without the lock that guards the buffer, when
// the other parts are left alone.
type buffer struct {
	mem  []byte // nil while it is empty
	r, w int    // mem[r:w] is filled
	busy bool   // somebody works in mem without the lock
}

func (b *buffer) empty() bool { return b.r == b.w }

// room returns how much can be appended.
func (b *buffer) room() int { return bufferSize - b.w }

// free returns the free part of a large buffer; commit says how much of it was
// filled.
func (b *buffer) free() []byte {
	b.need(bufferSize - b.w)
	return b.mem[b.w:]
}

func (b *buffer) commit(n int) { b.w += n }

// need makes the free part n bytes long at least.
func (b *buffer) need(n int) {
	if len(b.mem)-b.w >= n {
		return
	}
	old := b.mem
	if b.w+n <= smallSize {
		b.mem = smallBuffers.Get().(*[smallSize]byte)[:]
	} else {
		b.mem = largeBuffers.Get().(*[bufferSize]byte)[:]
	}
	// The filled part stays where it is, and somebody may go on reading it in the
	// old memory.
	copy(b.mem[b.r:b.w], old[b.r:b.w])
	if old != nil && !b.busy {
		recycle(old)
	}
}

// append copies what there is room for.
func (b *buffer) append(p []byte) int {
	n := min(len(p), b.room())
	if n > 0 {
		b.need(n)
		copy(b.mem[b.w:], p[:n])
		b.w += n
	}
	return n
}

// filled returns the filled part; drop says how much of it is done with.
func (b *buffer) filled() []byte { return b.mem[b.r:b.w] }

func (b *buffer) drop(n int) {
	b.r += n
	b.settle()
}

// settle gives the memory back if it is empty and nobody works in it.
func (b *buffer) settle() {
	if b.busy || !b.empty() {
		return
	}
	b.r, b.w = 0, 0
	if b.mem != nil {
		recycle(b.mem)
		b.mem = nil
	}
}

// discard drops everything.
func (b *buffer) discard() {
	b.r = b.w
	b.settle()
}
