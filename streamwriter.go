// Stream writers: the writing half of a connection, and its owner.

package asyncio

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// StreamWriter writes to a connection and owns it (asyncio.StreamWriter): closing
// it closes both halves. It is an io.Writer that never suspends and never blocks:
// what the kernel has no room for is kept. Whoever writes much calls Drain now and
// then, which waits until the peer has caught up.
//
// After Close, and after the sending half has broken, every write returns an error.
type StreamWriter struct {
	registered // in Server.clients
	loop       *EventLoop
	network    string
	tr         *transport
	tls        *tlsLayer // nil for a plain connection
	reader     *StreamReader
	server     clientList // that of the server that accepted it, or nil
	dismissed  bool       // the server has closed it
	linger     time.Duration
	lingering  *TimerHandle
	drainers   []*waiter // tasks in Drain
	closers    []*waiter // tasks in WaitClosed
}

// A clientList is told when a connection in it is closed.
type clientList interface{ forget(w *StreamWriter) }

// newStream makes both halves of a connection that is to get a transport.
func newStream(l *EventLoop, network string, limit int) *StreamWriter {
	r := newReader(l, limit)
	w := &StreamWriter{loop: l, network: network, reader: r}
	r.peer = w
	return w
}

// attach gives the stream its transport.
func (w *StreamWriter) attach(tr *transport) {
	w.tr = tr
	w.reader.source = tr
}

// Write sends p, or keeps a copy of what there is no room for. It never suspends.
// It allocates nothing as long as the peer keeps up.
func (w *StreamWriter) Write(p []byte) (int, error) {
	if !w.loop.mine() {
		return 0, w.loop.elsewhere("Write")
	}
	var err error
	if w.tls != nil {
		_, err = w.tls.conn.Write(p)
	} else {
		err = w.tr.write(p)
	}
	if err != nil {
		return 0, w.error("write", err)
	}
	return len(p), nil
}

// WriteString is Write for a string.
func (w *StreamWriter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// WriteLines writes several buffers, on a plain connection by one system call if
// there is room. It adds no newlines.
func (w *StreamWriter) WriteLines(lines [][]byte) error {
	if !w.loop.mine() {
		return w.loop.elsewhere("WriteLines")
	}
	if w.tls == nil {
		return w.error("write", w.tr.writev(lines))
	}
	for _, line := range lines {
		if _, err := w.tls.conn.Write(line); err != nil {
			return w.error("write", err)
		}
	}
	return nil
}

// Buffered returns how many bytes wait to be sent.
func (w *StreamWriter) Buffered() int { return w.tr.out.size }

// SetWriteBufferLimits sets from how many waiting bytes on Drain waits, and down
// to how many (64 KiB and 16 KiB by default). With 0 and 0 Drain waits until all
// is sent. It returns a *UsageError unless 0 <= low <= high.
func (w *StreamWriter) SetWriteBufferLimits(high, low int) error {
	switch {
	case !w.loop.mine():
		return w.loop.elsewhere("SetWriteBufferLimits")
	case low < 0 || high < low:
		return misuse("SetWriteBufferLimits", ErrBadArgument, "high is %d, low is %d", high, low)
	}
	w.tr.setLimits(high, low)
	return nil
}

// Drain waits until there is room for more: if more bytes wait to be sent than
// the high mark, until they are down to the low mark. Otherwise it does not suspend.
// Any number of tasks may call it. It returns the error that has broken the sending
// half, and net.ErrClosed after Close. A cancelled Drain drops nothing.
func (w *StreamWriter) Drain(ctx context.Context) error {
	t, err := current(ctx, "Drain")
	if err != nil {
		return err
	}
	if t.loop != w.loop {
		return w.foreign("Drain", t)
	}
	for {
		switch {
		case w.tr.writeErr != nil:
			return w.error("write", w.tr.writeErr)
		case w.tr.closing || w.tr.closed:
			return w.error("write", net.ErrClosed)
		case !w.tr.full:
			return nil
		}
		if err := t.parkIn(ctx, &w.drainers); err != nil {
			return err
		}
	}
}

func (w *StreamWriter) foreign(op string, t *task) error {
	return misuse(op, ErrWrongLoop, "the stream belongs to %s, the running task to %s", w.loop.name, t.loop.name)
}

// parkIn suspends t in a line of waiters.
func (t *task) parkIn(ctx context.Context, line *[]*waiter) error {
	waiter := t.arm()
	*line = append(*line, waiter)
	t.loop.outside++
	err := t.park(ctx, waiter)
	t.loop.outside--
	if i := slices.Index(*line, waiter); i >= 0 {
		*line = slices.Delete(*line, i, i+1)
	}
	return err
}

// wakeAll wakes a line of waiters in order and empties it.
func wakeAll(line *[]*waiter) {
	for _, waiter := range *line {
		waiter.wake(nil)
	}
	*line = nil
}

// WriteEOF ends the sending half when all is sent: the peer reads the end, and
// can still send. Writes return net.ErrClosed from now on. Over TLS it sends the
// alert that ends the stream.
func (w *StreamWriter) WriteEOF() error {
	if !w.loop.mine() {
		return w.loop.elsewhere("WriteEOF")
	}
	if w.tls != nil {
		if err := w.tls.conn.CloseWrite(); err != nil {
			return w.error("close", err)
		}
	}
	return w.error("close", w.tr.writeEOF())
}

// Close closes the connection when all that was written is sent; it does not
// wait for that, WaitClosed does. Reads return net.ErrClosed from now on. Closing
// twice is harmless. A peer that does not read keeps a plain connection open until
// Abort.
func (w *StreamWriter) Close() error {
	if !w.loop.mine() {
		return w.loop.elsewhere("Close")
	}
	if w.tr.closing || w.tr.closed {
		return nil
	}
	if w.tls != nil {
		w.tls.conn.Close() // puts the closing alert into the buffer
	}
	w.shut()
	return nil
}

// shut closes the transport, within the time that it may linger.
func (w *StreamWriter) shut() {
	w.tr.close()
	if !w.tr.closed && w.linger > 0 {
		w.lingering = w.loop.callAt(after(w.loop.clock.Now(), w.linger), w.tr.abort)
	}
}

// Abort closes the connection at once. What was not sent is dropped, and the
// peer sees a reset. A connection that is closed already it leaves alone.
func (w *StreamWriter) Abort() {
	if w.loop.mine() && w.tr.closed {
		return // its loop may be closed too
	}
	w.loop.check("Abort")
	w.tr.abort()
}

// IsClosing reports whether Close or Abort was called.
func (w *StreamWriter) IsClosing() bool { return w.tr.closing }

// WaitClosed waits until the connection is closed, which Close or Abort must have
// asked for. It returns the error because of which something could not be sent.
func (w *StreamWriter) WaitClosed(ctx context.Context) error {
	t, err := current(ctx, "WaitClosed")
	if err != nil {
		return err
	}
	if t.loop != w.loop {
		return w.foreign("WaitClosed", t)
	}
	for !w.tr.closed {
		if err := t.parkIn(ctx, &w.closers); err != nil {
			return err
		}
	}
	return w.error("close", w.tr.writeErr)
}

// LocalAddr returns the address of this end; it answers after Close too.
func (w *StreamWriter) LocalAddr() net.Addr { return w.tr.conn.LocalAddr() }

// RemoteAddr returns the address of the peer; it answers after Close too.
func (w *StreamWriter) RemoteAddr() net.Addr { return w.tr.conn.RemoteAddr() }

// ConnectionState describes the TLS connection; false for a plain one.
func (w *StreamWriter) ConnectionState() (tls.ConnectionState, bool) {
	if w.tls == nil {
		return tls.ConnectionState{}, false
	}
	return w.tls.conn.ConnectionState(), true
}

// String shows the ends and the state of the connection.
func (w *StreamWriter) String() string {
	state := "open"
	switch {
	case w.tr.closed:
		state = "closed"
	case w.tr.closing:
		state = "closing"
	}
	return fmt.Sprintf("<StreamWriter %s %v->%v buffered=%d>", state, w.LocalAddr(), w.RemoteAddr(), w.Buffered())
}

func (w *StreamWriter) readReady() {
	if w.tls != nil && w.tls.waiter != nil {
		w.tls.waiter.wake(nil)
		return
	}
	w.reader.notify()
}

func (w *StreamWriter) writeReady() { wakeAll(&w.drainers) }

func (w *StreamWriter) connectionLost() {
	if w.lingering != nil {
		w.lingering.Cancel()
	}
	w.reader.lost()
	wakeAll(&w.drainers)
	wakeAll(&w.closers)
	if w.server != nil {
		w.server.forget(w)
	}
}

// error gives err the operation and the addresses, unless it has them.
func (w *StreamWriter) error(op string, err error) error {
	var known *net.OpError
	if err == nil || errors.As(err, &known) {
		return err
	}
	return opError(op, w.network, w.tr.conn, err)
}
