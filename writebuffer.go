// The write buffer of a transport.

package asyncio

// A writeBuffer holds bytes that wait to be written, in chunks. It is made when
// something has to wait, and dropped when nothing does.
type writeBuffer struct {
	size   int
	off    int // bytes of the first chunk that have gone
	chunks [][]byte
	one    [1][]byte // chunks, as long as that is enough
}

// Chunks grow with what waits: thousands of peers that are a little late shall not
// cost a large one each.
const (
	leastChunk = 1 << 10
	chunkSize  = 16 << 10
)

func newWriteBuffer() *writeBuffer {
	b := new(writeBuffer)
	b.chunks = b.one[:0]
	return b
}

func (b *writeBuffer) append(p []byte) {
	b.size += len(p)
	if n := len(b.chunks); n > 0 {
		last := b.chunks[n-1]
		k := min(cap(last)-len(last), len(p))
		b.chunks[n-1] = append(last, p[:k]...)
		p = p[k:]
	}
	if len(p) > 0 {
		size := max(len(p), min(max(leastChunk, b.size), chunkSize))
		b.chunks = append(b.chunks, append(make([]byte, 0, size), p...))
	}
}

// views returns the bytes, in order; they stay in the buffer.
func (b *writeBuffer) views() [][]byte {
	const most = 64 // about a megabyte: more does not fit into a socket
	v := make([][]byte, 0, min(most, len(b.chunks)))
	v = append(v, b.chunks[0][b.off:])
	return append(v, b.chunks[1:min(most, len(b.chunks))]...)
}

func (b *writeBuffer) drop(n int) {
	b.size -= n
	b.off += n
	for len(b.chunks) > 0 && b.off >= len(b.chunks[0]) {
		b.off -= len(b.chunks[0])
		b.chunks[0] = nil
		b.chunks = b.chunks[1:]
	}
}

func total(v [][]byte) int {
	n := 0
	for _, p := range v {
		n += len(p)
	}
	return n
}
