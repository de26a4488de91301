// Transports: can this descriptor move bytes now?

package asyncio

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"

	"github.com/goasyncio/asyncio/internal/seam"
)

// A transport is one connection: it reads on demand, keeps what the kernel has
// no room for in a buffer with a high and a low mark, and tells its one consumer
// what has become possible. It knows no tasks.
//
// # States
//
// A transport is connecting (unless it was accepted), then open, then closing,
// while its buffer is flushed, and at last closed. If a write fails, the sending
// half is broken: the buffer is dropped and every further write returns the error,
// but what the peer has sent can still be read. Only close and abort end a
// transport.
type transport struct {
	registered // in loop.open
	loop       *EventLoop
	conn       seam.Conn
	consumer   consumer

	connecting *waiter        // of the task that connects
	events     seam.Readiness // reported, and not handled yet
	queued     bool           // in the ready queue, to handle them

	readable bool // a read may give something; false once one came back short
	writable bool // the same for a write
	hungUp   bool // the end has been reported: read until it is there

	out       writeBuffer
	high, low int
	full      bool  // out went above high, and not yet down to low
	writeErr  error // why the sending half is broken
	endWanted bool  // writeEOF was called
	ended     bool  // and is done
	closing   bool
	closed    bool
}

// A consumer is what a transport reports to: a stream or a protocol.
type consumer interface {
	// readReady says that a read may give something: bytes, the end, an error.
	readReady()
	// writeReady says that the buffer is below its low mark again, or that
	// writing has failed.
	writeReady()
	// connectionLost says that the transport is closed.
	connectionLost()
}

const (
	defaultHigh = 64 << 10
	defaultLow  = defaultHigh / 4
)

func newTransport(l *EventLoop, c consumer) *transport {
	return &transport{loop: l, consumer: c, high: defaultHigh, low: defaultLow}
}

// use takes over conn, whose events t handles.
func (t *transport) use(conn seam.Conn) {
	t.conn = conn
	t.loop.open.add(&t.registered, t)
	t.loop.listening++
}

// Ready takes note of what the poller reports; it is handled in this pass.
func (t *transport) Ready(r seam.Readiness) {
	t.events |= r
	if !t.queued {
		t.queued = true
		t.loop.ready.push(t)
	}
}

func (t *transport) run() {
	t.queued = false
	events := t.events
	t.events = 0
	if t.closed {
		return
	}
	if events&(seam.HungUp|seam.Failed) != 0 {
		t.hungUp = true
	}
	if t.connecting != nil {
		t.connecting.wake(nil)
		return
	}
	if events&(seam.Writable|seam.Failed) != 0 {
		t.writable = true
		t.flush()
	}
	if events&(seam.Readable|seam.HungUp|seam.Failed) != 0 && !t.closed {
		t.readable = true
		t.consumer.readReady()
	}
}

// read reads what is there. It returns seam.ErrWouldBlock if that is nothing; the
// consumer is then told when there is something.
func (t *transport) read(p []byte) (int, error) {
	if t.closing || t.closed {
		return 0, net.ErrClosed
	}
	if !t.readable {
		return 0, seam.ErrWouldBlock
	}
	n, err := t.conn.Read(p)
	if err == io.EOF && t.writeErr != nil && !errors.Is(t.writeErr, syscall.EPIPE) {
		// The kernel tells once that a connection has broken, and a write has
		// heard it. The peer has not ended the stream.
		err = t.writeErr
	}
	if err == seam.ErrWouldBlock || err == nil && n < len(p) && !t.hungUp {
		// After a short read there is nothing more; asking would only tell that.
		t.readable = false
	}
	return n, err
}

// write sends p, and keeps a copy of what there is no room for.
func (t *transport) write(p []byte) error {
	if err := t.writing(); err != nil {
		return err
	}
	if t.out.size == 0 && t.writable {
		n, err := t.conn.Write(p)
		if err != nil && err != seam.ErrWouldBlock {
			t.breakWriting(err)
			return err
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
		t.writable = false
	}
	t.out.append(p)
	t.full = t.full || t.out.size > t.high
	return nil
}

// writev is write for several buffers, by one system call if there is room.
func (t *transport) writev(v [][]byte) error {
	if err := t.writing(); err != nil {
		return err
	}
	if t.out.size == 0 && t.writable {
		n, err := t.conn.Writev(v)
		if err != nil && err != seam.ErrWouldBlock {
			t.breakWriting(err)
			return err
		}
		for len(v) > 0 && n >= len(v[0]) {
			n -= len(v[0])
			v = v[1:]
		}
		if len(v) == 0 {
			return nil
		}
		t.writable = false
		t.out.append(v[0][n:])
		v = v[1:]
	}
	for _, p := range v {
		t.out.append(p)
	}
	t.full = t.full || t.out.size > t.high
	return nil
}

// writing says whether writes are accepted.
func (t *transport) writing() error {
	switch {
	case t.writeErr != nil:
		return t.writeErr
	case t.closing || t.closed || t.endWanted:
		return net.ErrClosed
	}
	return nil
}

// setLimits moves the marks of the buffer, for what is in it too.
func (t *transport) setLimits(high, low int) {
	t.high, t.low = high, low
	switch {
	case t.out.size > high:
		t.full = true
	case t.full && t.out.size <= low:
		t.full = false
		t.consumer.writeReady()
	}
}

// flush writes what is in the buffer, as far as there is room.
func (t *transport) flush() {
	for t.out.size > 0 && t.writable {
		v := t.out.views()
		n, err := t.conn.Writev(v)
		if err == seam.ErrWouldBlock {
			n, err = 0, nil
		}
		if err != nil {
			t.breakWriting(err)
			return
		}
		t.writable = n == total(v)
		t.out.drop(n)
	}
	if t.full && t.out.size <= t.low {
		t.full = false
		t.consumer.writeReady()
	}
	t.afterFlush()
}

// afterFlush does what had to wait until the buffer was empty.
func (t *transport) afterFlush() {
	if t.out.size > 0 || t.closed {
		return
	}
	if t.endWanted && !t.ended && !t.closing {
		t.ended = true
		if err := t.conn.CloseWrite(); err != nil {
			t.breakWriting(err)
		}
	}
	if t.closing {
		t.finish(t.conn.Close)
	}
}

// breakWriting notes that the sending half is gone.
func (t *transport) breakWriting(err error) {
	t.writeErr = err
	t.out = writeBuffer{}
	t.full = false
	t.consumer.writeReady()
	t.afterFlush()
}

// writeEOF ends the sending half once the buffer is flushed.
func (t *transport) writeEOF() error {
	if t.endWanted {
		return nil
	}
	if err := t.writing(); err != nil {
		return err
	}
	t.endWanted = true
	t.afterFlush()
	return nil
}

// close ends the transport once the buffer is flushed.
func (t *transport) close() {
	if !t.closing && !t.closed {
		t.closing = true
		t.afterFlush()
		if !t.closed {
			t.consumer.readReady() // nothing will be read any more
		}
	}
}

// abort ends the transport at once and drops the buffer; the peer sees a reset.
func (t *transport) abort() {
	if !t.closed {
		t.closing = true
		t.finish(t.conn.Reset)
	}
}

// abandon ends the transport when the loop is closed: what fits still goes out.
func (t *transport) abandon() {
	if t.connecting == nil && t.writeErr == nil && t.out.size > 0 {
		t.writable = true
		t.flush()
	}
	switch {
	case t.closed:
	case t.out.size > 0:
		t.abort() // the peer shall see that something is missing
	default:
		t.closing = true
		t.finish(t.conn.Close)
	}
}

func (t *transport) finish(end func() error) {
	t.closed = true
	t.out = writeBuffer{}
	t.full = false
	t.loop.open.remove(&t.registered)
	t.loop.listening--
	if err := end(); err != nil && t.writeErr == nil {
		t.writeErr = err
	}
	t.consumer.connectionLost()
}

// A writeBuffer holds bytes that wait to be written, in chunks.
type writeBuffer struct {
	chunks [][]byte
	off    int // bytes of the first chunk that have gone
	size   int
}

const chunkSize = 16 << 10

func (b *writeBuffer) append(p []byte) {
	b.size += len(p)
	if n := len(b.chunks); n > 0 {
		last := b.chunks[n-1]
		k := min(cap(last)-len(last), len(p))
		b.chunks[n-1] = append(last, p[:k]...)
		p = p[k:]
	}
	if len(p) > 0 {
		b.chunks = append(b.chunks, append(make([]byte, 0, max(chunkSize, len(p))), p...))
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
	if b.size == 0 {
		*b = writeBuffer{}
	}
}

func total(v [][]byte) int {
	n := 0
	for _, p := range v {
		n += len(p)
	}
	return n
}

// connect makes the connection of tr and waits until it stands. The consumer is
// told nothing before.
func (t *task) connect(ctx context.Context, tr *transport, network string, to, local netip.AddrPort, path string) error {
	conn, err := t.loop.net.Dial(network, seam.Addr{AddrPort: to, Path: path}, seam.Addr{AddrPort: local}, tr)
	if err != nil {
		return err
	}
	tr.use(conn)
	t.loop.outside++
	defer func() { t.loop.outside-- }()
	for err = conn.Connected(); err == seam.ErrWouldBlock; err = conn.Connected() {
		tr.connecting = t.arm()
		err := t.park(ctx, tr.connecting)
		tr.connecting = nil
		if err != nil {
			tr.abort()
			return err
		}
	}
	if err != nil {
		tr.abort()
		return err
	}
	tr.writable = true
	tr.readable = true // what came together with the connection is not reported again
	return nil
}

// opError gives an error of a connection its operation and address, once.
func opError(op, network string, conn interface {
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	e := &net.OpError{Op: op, Net: network, Err: err}
	if conn != nil {
		e.Source, e.Addr = conn.LocalAddr(), conn.RemoteAddr()
	}
	return e
}
