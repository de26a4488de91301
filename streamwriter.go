// Stream writers: the writing half of a connection, and its owner.

package asyncio

import (
	"context"
	"crypto/tls"
	"net"
	"syscall"
)

// StreamWriter writes to a connection and owns it (asyncio.StreamWriter): closing
// it closes both halves. It is an io.Writer that never suspends and never blocks:
// what the kernel has no room for is kept. Whoever writes much calls Drain now and
// then, which waits until the peer has caught up. It belongs to its loop's goroutine; a
// NetConn can be used from others.
//
// After Close, and after the sending half has broken, every write returns an error.
type StreamWriter struct {
	tr      transport
	reader  StreamReader
	waiting *waiting // nil if nobody ever was
}

// waiting are the tasks that wait for a writer.
type waiting struct {
	drainers []*waiter // in Drain
	closers  []*waiter // in WaitClosed
}

// newStream makes both halves of a connection that is to be opened. It is one object,
// and not larger than 256 bytes, since a server may have many that are idle.
func newStream(l *EventLoop, from *origin, limit int) *StreamWriter {
	w := new(StreamWriter)
	w.tr.init(l, from, w)
	w.reader.init(l, limit)
	w.reader.peer = w
	return w
}

// lines returns the lines of tasks that wait, to wait in one of them.
func (w *StreamWriter) lines() *waiting {
	if w.waiting == nil {
		w.waiting = new(waiting)
	}
	return w.waiting
}

// Write sends p, or keeps a copy of what there is no room for. It never suspends.
// It allocates nothing as long as the peer keeps up.
func (w *StreamWriter) Write(p []byte) (int, error) {
	if !w.tr.loop.mine() {
		return 0, w.tr.loop.elsewhere("Write")
	}
	if err := w.tr.write(p); err != nil {
		return 0, w.error("write", err)
	}
	return len(p), nil
}

// WriteString is Write for a string.
func (w *StreamWriter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// WriteLines writes several buffers, on a plain connection by one system call if
// there is room. It adds no newlines.
func (w *StreamWriter) WriteLines(lines [][]byte) error {
	if !w.tr.loop.mine() {
		return w.tr.loop.elsewhere("WriteLines")
	}
	return w.error("write", w.tr.writev(lines))
}

// Buffered returns how many bytes wait to be sent.
func (w *StreamWriter) Buffered() int { return w.tr.buffered() }

// SetWriteBufferLimits sets from how many waiting bytes on Drain waits, and down
// to how many (64 KiB and 16 KiB by default). With 0 and 0 Drain waits until all
// is sent. It returns a *UsageError unless 0 <= low <= high.
func (w *StreamWriter) SetWriteBufferLimits(high, low int) error {
	switch {
	case !w.tr.loop.mine():
		return w.tr.loop.elsewhere("SetWriteBufferLimits")
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
	if t.loop != w.tr.loop {
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
		if err := t.parkIn(ctx, &w.lines().drainers); err != nil {
			return err
		}
	}
}

func (w *StreamWriter) foreign(op string, t *task) error {
	return misuse(op, ErrWrongLoop, "the stream belongs to %s, the running task to %s", w.tr.loop.name, t.loop.name)
}

// WriteEOF ends the sending half when all is sent: the peer reads the end, and
// can still send. Writes return net.ErrClosed from now on. Over TLS it sends the
// alert that ends the stream.
func (w *StreamWriter) WriteEOF() error {
	if !w.tr.loop.mine() {
		return w.tr.loop.elsewhere("WriteEOF")
	}
	return w.error("close", w.tr.writeEOF())
}

// Close closes the connection when all that was written is sent; it does not
// wait for that, WaitClosed does. Reads return net.ErrClosed from now on. Closing
// twice is harmless. A peer that does not read keeps a plain connection open until
// Abort. A TLS connection, and WaitClosed, also wait for the peer to close, both no
// longer than ConnOptions.TLSShutdownTimeout or its like says: a socket that is closed
// before may lose what is on its way.
func (w *StreamWriter) Close() error {
	if !w.tr.loop.mine() {
		return w.tr.loop.elsewhere("Close")
	}
	w.tr.close()
	return nil
}

// Abort closes the connection at once. What was not sent is dropped, and the
// peer sees a reset. A connection that is closed already it leaves alone.
func (w *StreamWriter) Abort() {
	if w.tr.loop.mine() && w.tr.closed {
		return // its loop may be closed too
	}
	w.tr.loop.check("Abort")
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
	if t.loop != w.tr.loop {
		return w.foreign("WaitClosed", t)
	}
	for !w.tr.closed {
		if err := t.parkIn(ctx, &w.lines().closers); err != nil {
			return err
		}
	}
	if w.tr.writeErr == errReaderGone {
		return nil // nothing was lost
	}
	return w.error("close", w.tr.writeErr)
}

// StartTLS begins TLS on the connection (StreamWriter.start_tls): what was written
// before goes out before. What the reader holds already is taken for the beginning
// of TLS, not for plain text. This end is the server if a Server has accepted the
// connection, or the options say so; else it is the client, and config needs a
// ServerName unless it skips verification. No other task may be reading.
//
// While it shakes hands, writes return a *UsageError and reads wait. If the handshake
// fails or is cancelled, the connection is closed.
func (w *StreamWriter) StartTLS(ctx context.Context, config *tls.Config, opts *TLSOptions) error {
	if reads := w.reader.waiter; reads != nil {
		return misuse("StartTLS", ErrConcurrentRead, "%s reads", reads.task.Name())
	}
	return w.tr.startTLS(ctx, config, opts, w.reader.early)
}

// LocalAddr returns the address of this end; it answers after Close too.
func (w *StreamWriter) LocalAddr() net.Addr { return w.tr.conn.LocalAddr() }

// RemoteAddr returns the address of the peer; it answers after Close too.
func (w *StreamWriter) RemoteAddr() net.Addr { return w.tr.conn.RemoteAddr() }

// ConnectionState describes the TLS connection; false for a plain one.
func (w *StreamWriter) ConnectionState() (tls.ConnectionState, bool) { return w.tr.connectionState() }

// SyscallConn gives access to the descriptor, for socket options say. It is an
// errors.ErrUnsupported where there is none. The descriptor must not be read from,
// written to or closed.
func (w *StreamWriter) SyscallConn() (syscall.RawConn, error) { return w.tr.syscallConn() }

// String shows the ends and the state of the connection.
func (w *StreamWriter) String() string { return w.tr.text("StreamWriter") }

func (w *StreamWriter) readReady() { w.reader.notify() }

func (w *StreamWriter) writeReady() {
	if w.waiting != nil {
		wakeAll(&w.waiting.drainers)
	}
}

func (w *StreamWriter) connectionLost() {
	w.reader.lost()
	if w.waiting != nil {
		wakeAll(&w.waiting.drainers)
		wakeAll(&w.waiting.closers)
	}
	w.tr.leave()
}

func (w *StreamWriter) error(op string, err error) error { return w.tr.error(op, err) }
