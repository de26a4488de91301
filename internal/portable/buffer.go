// This file holds the buffers between the loop and a goroutine that moves bytes.

package portable

import "sync"

// bufferSize is how much a connection holds in each direction.
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// A buffer takes bytes at one end and gives them at the other. It holds memory
// only while it holds bytes, or while one side works in it: the filled part may be
// read, or the free part written, without the lock that guards the buffer, when
// the other parts are left alone.
type buffer struct {
	mem  *[bufferSize]byte // nil while it is empty
	r, w int               // mem[r:w] is filled
	busy bool              // somebody works in mem without the lock
}

func (b *buffer) empty() bool { return b.r == b.w }

// room returns how much can be appended.
func (b *buffer) room() int { return bufferSize - b.w }

// free returns the free part; commit says how much of it was filled.
func (b *buffer) free() []byte {
	if b.mem == nil {
		b.mem = buffers.Get().(*[bufferSize]byte)
	}
	return b.mem[b.w:]
}

func (b *buffer) commit(n int) { b.w += n }

// append copies what there is room for.
func (b *buffer) append(p []byte) int {
	if len(p) == 0 || b.room() == 0 {
		return 0
	}
	n := copy(b.free(), p)
	b.commit(n)
	return n
}

// filled returns the filled part; drop says how much of it is done with.
func (b *buffer) filled() []byte {
	if b.mem == nil {
		return nil
	}
	return b.mem[b.r:b.w]
}

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
		buffers.Put(b.mem)
		b.mem = nil
	}
}

// discard drops everything.
func (b *buffer) discard() {
	b.r = b.w
	b.settle()
}
