// Stream readers: is a whole line here yet?

package asyncio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"

	"github.com/goasyncio/asyncio/internal/seam"
)

const defaultLimit = 64 << 10

// StreamReader reads bytes for one task at a time (asyncio.StreamReader). It is
// the reading half of a connection, or it is fed by hand: NewStreamReader makes such a
// one. It belongs to its loop's goroutine.
//
// Of a connection it reads only when somebody asks: what nobody asks for stays
// with the kernel, and slows the peer down. While it is idle and nothing is left
// over from the last read, it holds no buffer.
//
// What has arrived before the connection breaks can still be read; then every read
// returns the error. One set with SetError comes before what is buffered. After the end of
// the stream reads return io.EOF, after a local Close net.ErrClosed. A read that is
// cancelled takes nothing: all bytes are there for the next one. A second task that
// has to wait while one waits already gets ErrConcurrentRead.
//
// A reader that is fed by hand behaves like asyncio's to the letter, also where several
// tasks read from it and one takes what another was woken for: Read may then return 0
// and nil, and a wait that began in between is forgotten. Nor does a read that waits for
// more than was fed hear of a SetError that came before its turn. One task at a time is
// the rule.
type StreamReader struct {
	loop  *EventLoop
	peer  *StreamWriter // of the same connection; nil if it is fed by hand
	limit int

	buf      []byte // what has arrived is buf[start:]
	start    int
	consumed uint32 // how often bytes have left buf
	lent     bool   // the last ReadSome gave away buf, until the next call
	eof      bool
	closes   bool // the connection is closed as soon as its end was read
	err      error
	waiter   *waiter // of the task that waits
}

// NewStreamReader returns a reader that is fed by hand, with FeedData, FeedEOF
// and SetError. limit bounds the length of a line; 0 means 64 KiB. It panics with a
// *UsageError if limit is negative or ctx carries no loop.
func NewStreamReader(ctx context.Context, limit int) *StreamReader {
	if limit < 0 {
		panic(misuse("NewStreamReader", ErrBadArgument, "the limit is %d", limit))
	}
	r := new(StreamReader)
	r.init(loopOf(ctx, "NewStreamReader"), limit)
	return r
}

func (r *StreamReader) init(l *EventLoop, limit int) {
	if limit == 0 {
		limit = defaultLimit
	}
	r.loop, r.limit = l, limit
}

// Limit returns how long a line may be, in bytes.
func (r *StreamReader) Limit() int { return r.limit }

// SetLimit changes how long a line may be. It panics if limit is not positive.
func (r *StreamReader) SetLimit(limit int) {
	if limit <= 0 {
		panic(misuse("SetLimit", ErrBadArgument, "the limit is %d; it must be positive", limit))
	}
	r.limit = limit
}

// Buffered returns how many bytes can be read without waiting for the connection.
func (r *StreamReader) Buffered() int { return len(r.buf) - r.start }

// AtEOF reports whether the end of the stream has been seen and nothing is
// buffered. It does not look for the end: a connection whose peer has closed is at
// its end when a read has found that.
func (r *StreamReader) AtEOF() bool { return r.eof && r.Buffered() == 0 }

// Err returns the error that reads return, nil if there is none.
func (r *StreamReader) Err() error { return r.err }

// String shows the state of the reader.
func (r *StreamReader) String() string {
	s := fmt.Sprintf("<StreamReader buffered=%d", r.Buffered())
	if r.limit != defaultLimit {
		s += fmt.Sprintf(" limit=%d", r.limit)
	}
	if r.eof {
		s += " eof"
	}
	if r.err != nil {
		s += fmt.Sprintf(" error=%q", shorten(r.err.Error()))
	}
	if r.waiter != nil {
		s += " waiting=" + r.waiter.task.Name()
	}
	return s + ">"
}

// FeedData appends p, which it copies, and wakes who waits. After FeedEOF, and
// on the reader of a connection, it returns a *UsageError.
func (r *StreamReader) FeedData(p []byte) error {
	if err := r.feedable("FeedData"); err != nil {
		return err
	}
	if r.eof {
		return misuse("FeedData", ErrInvalidState, "the stream has ended with FeedEOF")
	}
	if len(p) > 0 {
		if r.start > len(r.buf)/2 { // else moving costs more than it frees
			r.compact()
		}
		r.buf = append(r.buf, p...)
		r.notify()
	}
	return nil
}

// FeedEOF ends the stream. Doing it twice is harmless.
func (r *StreamReader) FeedEOF() error {
	if err := r.feedable("FeedEOF"); err != nil {
		return err
	}
	r.eof = true
	r.notify()
	return nil
}

// SetError makes every read return err from now on, also one that waits.
func (r *StreamReader) SetError(err error) error {
	if e := r.feedable("SetError"); e != nil {
		return e
	}
	if err == nil {
		return misuse("SetError", ErrBadArgument, "the error is nil")
	}
	r.err = err
	if w := r.waiter; w != nil {
		r.waiter = nil
		w.wake(err)
	}
	return nil
}

func (r *StreamReader) feedable(op string) error {
	if r.peer != nil {
		return misuse(op, ErrBadArgument, "this reader belongs to a connection")
	}
	return r.usable(op)
}

// usable says why op, which does not suspend, must not be called here.
func (r *StreamReader) usable(op string) error {
	switch {
	case r.loop == nil:
		return misuse(op, ErrOutsideTask, "this StreamReader belongs to no loop; make it with NewStreamReader")
	case !r.loop.mine():
		return r.loop.elsewhere(op)
	}
	return nil
}

// Read reads at least one byte into p, up to len(p), as soon as there is one. It
// waits only if there is none. It allocates nothing.
func (r *StreamReader) Read(ctx context.Context, p []byte) (int, error) {
	t, err := r.begin(ctx, "Read")
	if err != nil || len(p) == 0 {
		return 0, err
	}
	for {
		n, err := r.readNow(p)
		if err != seam.ErrWouldBlock {
			return n, err
		}
		if err = r.wait(ctx, t, "Read"); err != nil {
			return 0, err
		}
		if r.peer == nil && r.Buffered() == 0 && !r.eof {
			return 0, nil // another task was faster; asyncio does not wait twice
		}
	}
}

// readNow is Read without waiting: it returns seam.ErrWouldBlock if there is nothing.
func (r *StreamReader) readNow(p []byte) (int, error) {
	for {
		switch {
		case r.Buffered() > 0:
			n := copy(p, r.buf[r.start:])
			r.consume(n)
			return n, nil
		case r.err != nil:
			return 0, r.err
		case r.eof:
			return 0, io.EOF
		case r.peer == nil:
			return 0, seam.ErrWouldBlock
		}
		n, err := r.peer.tr.read(p, r.peer.tr.tls)
		if n > 0 {
			return n, nil
		}
		if err == seam.ErrWouldBlock {
			return 0, err
		}
		if err = r.fail(err); err != nil {
			return 0, err
		}
	}
}

// ReadSome waits until something has arrived and returns what is there, at most
// 256 KiB. The memory is the reader's: it may be changed, but is valid only until the
// next call of a method of the reader. It is the way to read that takes the least
// memory, since a reader that waits holds none, and the fewest system calls.
// It allocates nothing.
func (r *StreamReader) ReadSome(ctx context.Context) ([]byte, error) {
	t, err := r.begin(ctx, "ReadSome")
	for err == nil {
		var data []byte
		if data, err = r.someNow(); data != nil || err != nil {
			return data, err
		}
		err = r.wait(ctx, t, "ReadSome")
	}
	return nil, err
}

// someNow is ReadSome without waiting: it returns nil if there is nothing. What needs
// much of the stack is kept away from the frames that wait, here and elsewhere: a
// coroutine that needs no more than 1.1 KB has a stack of 2 KB, not 4.
func (r *StreamReader) someNow() ([]byte, error) {
	for {
		switch {
		case r.Buffered() > 0:
			return r.lendRest(), nil
		case r.err != nil:
			return nil, r.err
		case r.eof:
			return nil, io.EOF
		case r.peer == nil:
			return nil, nil
		}
		tr := &r.peer.tr
		if !tr.mayHold() && !tr.closing {
			return nil, nil
		}
		scratch := r.loop.readScratch()
		n, err := tr.read(scratch, tr.tls)
		if n > 0 {
			return r.lend(scratch, n), nil
		}
		if err == seam.ErrWouldBlock {
			return nil, nil
		}
		if err = r.fail(err); err != nil {
			return nil, err
		}
	}
}

// lend gives away the first n bytes of scratch, which is the loop's: itself if they
// are many, else a copy in a small buffer.
func (r *StreamReader) lend(scratch []byte, n int) []byte {
	if n > smallBuffer {
		r.loop.scratch = nil
		r.buf = scratch[:n]
	} else {
		r.buf = append(r.loop.borrowBuffer(), scratch[:n]...)
	}
	r.lent, r.start = true, n
	return r.buf
}

// lendRest gives away what is buffered.
func (r *StreamReader) lendRest() []byte {
	data := r.buf[r.start:]
	r.consumed++
	if r.peer == nil {
		r.buf, r.start = nil, 0 // for good: it may be fed before the next call
	} else {
		r.lent, r.start = true, len(r.buf)
	}
	return data
}

// takeBack ends the validity of what ReadSome gave away.
func (r *StreamReader) takeBack() {
	if r.lent {
		r.lent = false
		r.release()
	}
}

// ReadLine reads a line and returns it with its newline; the last line may lack
// that. At the end of the stream it returns io.EOF. A line longer than the limit is
// a *LimitOverrunError; the data stays. The caller owns the memory.
func (r *StreamReader) ReadLine(ctx context.Context) ([]byte, error) {
	line, err := r.until(ctx, newline, "ReadLine")
	if e, ok := err.(*IncompleteReadError); ok {
		if len(e.Partial) == 0 {
			return nil, io.EOF
		}
		return e.Partial, nil
	}
	return line, err
}

var newline = [][]byte{{'\n'}}

// Lines walks the lines of the stream, as ReadLine returns them, to its end. An
// error is yielded and ends the walk. It can be used once.
func (r *StreamReader) Lines(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			line, err := r.ReadLine(ctx)
			if err == io.EOF || !yield(line, err) || err != nil {
				return
			}
		}
	}
}

// ReadUntil reads up to and including a separator; with several, the one that
// ends first. If the stream ends before, it consumes what is left and returns an
// *IncompleteReadError with it. If more than the limit precedes the separator it
// returns a *LimitOverrunError and the data stays. The caller owns the memory.
func (r *StreamReader) ReadUntil(ctx context.Context, separators ...[]byte) ([]byte, error) {
	if err := checkSeparators(separators); err != nil {
		return nil, err
	}
	return r.until(ctx, separators, "ReadUntil")
}

func (r *StreamReader) until(ctx context.Context, separators [][]byte, op string) ([]byte, error) {
	t, err := r.begin(ctx, op)
	s := search{from: r.consumed}
	for err == nil {
		var end int
		if end, err = r.untilNow(separators, &s); end > 0 {
			return r.take(end), nil
		}
		if err == nil {
			err = r.fillNow(0)
		}
		if err == seam.ErrWouldBlock {
			err = r.wait(ctx, t, op)
		}
	}
	return nil, err
}

// A search is how far ReadUntil has come.
type search struct {
	searched int    // no separator begins before this offset
	from     uint32 // consumed, when that was found
}

// untilNow looks in what is buffered for the end of what ReadUntil is to return. It
// returns 0 if there is none yet.
func (r *StreamReader) untilNow(separators [][]byte, s *search) (end int, err error) {
	if r.peer != nil && r.consumed != s.from {
		// Another task had its turn first. A reader that is fed by hand goes
		// on where it was all the same, as CPython's does.
		s.searched, s.from = 0, r.consumed
	}
	begin, end := s.find(r.buf[r.start:], separators)
	switch {
	case begin > r.limit:
		return 0, r.overrun(begin, end > 0)
	case end == 0 && r.eof:
		return 0, r.incomplete(-1)
	}
	return end, nil
}

// incomplete consumes what is left at the end of the stream, where more was expected.
//
//go:noinline
func (r *StreamReader) incomplete(expected int) error {
	return &IncompleteReadError{Partial: r.take(r.Buffered()), Expected: expected}
}

func checkSeparators(separators [][]byte) error {
	if len(separators) == 0 {
		return misuse("ReadUntil", ErrBadArgument, "there is no separator")
	}
	if shortest, _ := lengths(separators); shortest == 0 {
		return misuse("ReadUntil", ErrBadArgument, "a separator is empty")
	}
	return nil
}

func lengths(separators [][]byte) (shortest, longest int) {
	shortest = len(separators[0])
	for _, s := range separators {
		shortest, longest = min(shortest, len(s)), max(longest, len(s))
	}
	return shortest, longest
}

// find returns where the separator lies that ends first. If there is none, end is 0,
// and begin how many bytes are known to be before it, if that has changed.
func (s *search) find(data []byte, separators [][]byte) (begin, end int) {
	shortest, longest := lengths(separators)
	if len(data)-s.searched < shortest {
		return 0, 0
	}
	for _, sep := range separators {
		if i := index(data[s.searched:], sep); i >= 0 {
			i += s.searched
			if e := i + len(sep); end == 0 || e < end || e == end && i > begin {
				begin, end = i, e
			}
		}
	}
	if end == 0 {
		s.searched = max(0, len(data)+1-longest)
		begin = s.searched
	}
	return begin, end
}

// index is bytes.Index, which needs more of the stack.
func index(data, sep []byte) int {
	if len(sep) == 1 {
		return bytes.IndexByte(data, sep[0])
	}
	return bytes.Index(data, sep)
}

//go:noinline
func (r *StreamReader) overrun(consumed int, found bool) error {
	return &LimitOverrunError{Buffered: bytes.Clone(r.buf[r.start:]), Consumed: consumed, Found: found}
}

// ReadExactly reads n bytes, however many that are. If the stream ends before,
// it consumes what is left and returns an *IncompleteReadError with it. The caller
// owns the memory.
func (r *StreamReader) ReadExactly(ctx context.Context, n int) ([]byte, error) {
	if n < 0 {
		return nil, misuse("ReadExactly", ErrBadArgument, "%d bytes", n)
	}
	t, err := r.begin(ctx, "ReadExactly")
	if err != nil || n == 0 {
		return nil, err
	}
	for r.Buffered() < n {
		if r.eof {
			return nil, r.incomplete(n)
		}
		if err := r.fill(ctx, t, "ReadExactly", n); err != nil {
			return nil, err
		}
	}
	return r.take(n), nil
}

// ReadAll reads to the end of the stream. The caller owns the memory.
func (r *StreamReader) ReadAll(ctx context.Context) ([]byte, error) {
	t, err := r.begin(ctx, "ReadAll")
	if err != nil {
		return nil, err
	}
	for !r.eof {
		if err := r.fill(ctx, t, "ReadAll", 0); err != nil {
			return nil, err
		}
	}
	return r.take(r.Buffered()), nil
}

// Peek returns the next n bytes without consuming them, waiting until they have
// arrived. If there will be no more it returns those that are left, and why: io.EOF
// at the end of the stream. The memory is the reader's: it must not be changed, and
// is valid until the next call.
func (r *StreamReader) Peek(ctx context.Context, n int) ([]byte, error) {
	if n < 0 {
		return nil, misuse("Peek", ErrBadArgument, "%d bytes", n)
	}
	t, err := r.begin(ctx, "Peek")
	if err != nil {
		return nil, err
	}
	for r.Buffered() < n {
		if r.eof {
			return r.buf[r.start:], io.EOF
		}
		if err := r.fill(ctx, t, "Peek", n); err != nil {
			return r.buf[r.start:], err
		}
	}
	return r.buf[r.start : r.start+n : r.start+n], nil
}

// Discard drops the next n of the buffered bytes. If fewer are buffered it drops
// none and returns a *UsageError.
func (r *StreamReader) Discard(n int) error {
	if err := r.usable("Discard"); err != nil {
		return err
	}
	if n < 0 || n > r.Buffered() {
		return misuse("Discard", ErrBadArgument, "%d bytes, %d are buffered", n, r.Buffered())
	}
	r.consume(n)
	return nil
}

// Close closes the connection that the reader belongs to, like the Close of its
// writer; for a pipe to read from it is the only way. A reader that is fed by hand
// ends: reads return net.ErrClosed.
func (r *StreamReader) Close() error {
	if r.peer != nil {
		return r.peer.Close()
	}
	if err := r.usable("Close"); err != nil || r.err != nil {
		return err
	}
	return r.SetError(net.ErrClosed)
}

// begin checks that a read may go on.
func (r *StreamReader) begin(ctx context.Context, op string) (*task, error) {
	t, err := current(ctx, op)
	switch {
	case err != nil:
		return nil, err
	case t.loop != r.loop:
		return nil, r.foreign(op, t)
	}
	r.takeBack()
	if r.err != nil && (r.peer == nil || errors.Is(r.err, net.ErrClosed)) {
		return nil, r.err
	}
	return t, nil
}

func (r *StreamReader) foreign(op string, t *task) error {
	if r.loop == nil {
		return r.usable(op)
	}
	return misuse(op, ErrWrongLoop, "the stream belongs to %s, the running task to %s", r.loop.name, t.loop.name)
}

// fill gets more bytes into the buffer, or the end, waiting for them. It makes
// room for want bytes in all if it has to grow the buffer.
func (r *StreamReader) fill(ctx context.Context, t *task, op string, want int) error {
	err := r.fillNow(want)
	if err == seam.ErrWouldBlock {
		err = r.wait(ctx, t, op)
	}
	return err
}

// fillNow is fill without waiting: it returns seam.ErrWouldBlock if there is nothing.
func (r *StreamReader) fillNow(want int) error {
	switch {
	case r.peer == nil:
		return seam.ErrWouldBlock
	case r.err != nil:
		return r.err
	}
	r.grow(want)
	n, err := r.peer.tr.read(r.buf[len(r.buf):cap(r.buf)], r.peer.tr.tls)
	switch {
	case n > 0:
		r.buf = r.buf[:len(r.buf)+n]
		return nil
	case err != seam.ErrWouldBlock:
		return r.fail(err)
	case r.Buffered() == 0:
		r.release()
	}
	return err
}

// fail takes note of the end of the stream, for which it returns nil, or of its error.
func (r *StreamReader) fail(err error) error {
	if err == io.EOF {
		r.eof, err = true, nil
	} else {
		err = r.peer.error("read", err)
		r.err = err
	}
	if r.closes {
		r.peer.tr.close()
	}
	return err
}

// wait suspends t until something has changed.
func (r *StreamReader) wait(ctx context.Context, t *task, op string) error {
	if r.waiter != nil {
		return r.occupied(op, t)
	}
	w := t.arm()
	r.waiter = w
	if r.peer == nil {
		err := t.park(ctx, w)
		r.waiter = nil
		return err
	}
	w.far = true
	r.loop.onNetwork++
	err := t.suspend(ctx, w)
	r.loop.onNetwork--
	w.far = false
	if err == nil {
		return w.err
	}
	w.done = true
	if r.waiter == w {
		r.waiter = nil
	}
	return err
}

func (r *StreamReader) occupied(op string, t *task) error {
	return misuse(op, ErrConcurrentRead, "%s reads, %s has to wait until it is done", r.waiter.task.Name(), t.Name())
}

// notify wakes the task that waits.
func (r *StreamReader) notify() {
	if w := r.waiter; w != nil {
		r.waiter = nil
		w.wake(nil)
	}
}

// lost is the end of the connection by this side.
func (r *StreamReader) lost() {
	if r.err == nil && !r.eof {
		r.err = r.peer.error("read", net.ErrClosed)
	}
	r.notify()
}

// take consumes n bytes and returns them in memory of their own.
func (r *StreamReader) take(n int) []byte {
	if n == r.Buffered() && n >= len(r.buf)/2 && n > smallBuffer {
		data := r.buf[r.start:] // hand over the buffer itself
		r.buf, r.start = nil, 0
		r.consumed++
		return data
	}
	data := make([]byte, n) // bytes.Clone needs more of the stack
	copy(data, r.buf[r.start:])
	r.consume(n)
	return data
}

// early takes what was read ahead.
func (r *StreamReader) early() []byte {
	if r.Buffered() == 0 {
		return nil // the buffer may be lent
	}
	return r.take(r.Buffered())
}

func (r *StreamReader) consume(n int) {
	r.consumed++
	r.start += n
	if r.start == len(r.buf) {
		r.release()
	}
}

// smallBuffer is the size of buffers that idle readers leave to the loop.
const smallBuffer = 16 << 10

// grow makes room for more bytes if there is none. want is how many are wanted in
// all, 0 if that is not known.
func (r *StreamReader) grow(want int) {
	switch {
	case r.buf == nil:
		r.buf = r.loop.borrowBuffer()
		return
	case len(r.buf) < cap(r.buf):
		return
	case r.start >= cap(r.buf)/2:
		r.compact()
		return
	}
	// Grow by what has arrived, not by what is announced: a peer that announces
	// much and sends nothing costs nothing.
	have := r.Buffered()
	size := max(2*have, have+smallBuffer)
	if want > have {
		size = min(size, want)
	}
	bigger := make([]byte, have, size)
	copy(bigger, r.buf[r.start:])
	r.buf, r.start = bigger, 0
}

// compact moves what is buffered to the front.
func (r *StreamReader) compact() {
	if r.start > 0 {
		n := copy(r.buf, r.buf[r.start:])
		r.buf, r.start = r.buf[:n], 0
	}
}

// release gives an empty buffer back.
func (r *StreamReader) release() {
	if r.peer != nil {
		r.loop.returnBuffer(r.buf)
		r.buf = nil
	} else {
		r.buf = r.buf[:0]
	}
	r.start = 0
}

// borrowBuffer returns an empty buffer of smallBuffer bytes.
func (l *EventLoop) borrowBuffer() []byte {
	if n := len(l.buffers); n > 0 {
		b := l.buffers[n-1]
		l.buffers = l.buffers[:n-1]
		return b
	}
	return make([]byte, 0, smallBuffer)
}

// returnBuffer keeps b for the next reader, if it is one that is needed again.
func (l *EventLoop) returnBuffer(b []byte) {
	const most = 64
	switch {
	case cap(b) == smallBuffer && len(l.buffers) < most:
		l.buffers = append(l.buffers, b[:0])
	case cap(b) == scratchSize && l.scratch == nil:
		l.scratch = b[:scratchSize]
	}
}
