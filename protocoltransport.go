// Transports for protocols: a connection that makes callbacks instead of
// suspending tasks.

package asyncio

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"syscall"

	"github.com/goasyncio/asyncio/internal/seam"
)

// A Transport is a connection, or one end of a pipe, that reports to a Protocol
// (asyncio.Transport). It needs no task and no stack of its own. Its methods are for
// the loop's goroutine; those that write never wait. On another goroutine those that
// change something fail, or panic if they return no error, with a *UsageError.
type Transport struct {
	tr       transport
	data     Protocol         // the protocol,
	buffered BufferedProtocol // or this

	made      bool // ConnectionMade has been called
	paused    bool // by PauseReading
	readOnly  bool // a pipe to read from
	ended     bool // the end of the stream was received
	again     bool // reading on is queued
	stopped   bool // PauseWriting was called last, not ResumeWriting
	swapped   bool // SetProtocol was called
	lossCause error
}

// readRound is what one connection may read in one pass.
const readRound = 256 << 10

// newTransport returns a transport that is to be opened, without a protocol.
func newTransport(l *EventLoop, from *origin) *Transport {
	t := new(Transport)
	t.tr.init(l, from, t)
	return t
}

// adoptProtocol makes p the protocol, if it is one.
func (t *Transport) adoptProtocol(op string, p BaseProtocol) error {
	data, isData := p.(Protocol)
	buffered, isBuffered := p.(BufferedProtocol)
	switch {
	case isBuffered:
		data = nil // the more special one, also if NopProtocol is embedded
	case !isData:
		return misuse(op, ErrBadArgument, "a %T is neither a Protocol nor a BufferedProtocol", p)
	}
	t.data, t.buffered = data, buffered
	return nil
}

// What a Transport queues for itself. They are the Transport by other names, so that
// queueing one allocates nothing.
type (
	beginning Transport // calls ConnectionMade
	reading   Transport // reads on
	breaking  Transport // ends, because a write has failed
	losing    Transport // calls ConnectionLost
)

// begin queues ConnectionMade, the wake-up of the task that opens the transport, and
// reading, which come one after the other.
func (t *Transport) begin() { t.tr.loop.ready.push((*beginning)(t)) }

// What is queued for one transport must not overtake each other.
func (b *beginning) lane() any { return &b.tr }
func (r *reading) lane() any   { return &r.tr }
func (b *breaking) lane() any  { return &b.tr }
func (h *losing) lane() any    { return &h.tr }

func (b *beginning) run() {
	t := (*Transport)(b)
	if t.tr.closed {
		return
	}
	t.opened()
	opener := t.tr.opener
	t.tr.opener = nil // a task that ConnectionMade starts may wait there
	t.guard("ConnectionMade", true, func() { t.Protocol().ConnectionMade(t) })
	if opener == nil {
		t.readReady()
		return
	}
	opener.wake(nil)
	t.readAgain()
}

// opened lets the transport make its callbacks from now on.
func (t *Transport) opened() {
	t.made = true
	t.tr.loop.onNetwork++
}

// guard calls a method of the protocol. A panic is reported; if it is fatal, it ends
// the connection.
func (t *Transport) guard(method string, fatal bool, call func()) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		err := &PanicError{Value: p, Stack: stack()}
		t.tr.loop.CallExceptionHandler(&ErrorContext{Message: "panic in " + method + " of a protocol", Err: err, Source: t})
		if fatal {
			t.fail(err)
		}
	}()
	call()
}

// fail ends the connection because of err.
func (t *Transport) fail(err error) {
	if t.lossCause == nil {
		t.lossCause = err
	}
	t.tr.abort()
}

// readReady reads what is there and hands it to the protocol.
func (t *Transport) readReady() {
	if !t.made || t.again || t.tr.shaking {
		return
	}
	for round := 0; round < readRound; {
		if t.paused || t.tr.closing {
			return
		}
		n, ok := t.readOnce()
		t.watchWriting() // TLS may have answered something
		if !ok {
			return
		}
		round += n
	}
	t.readAgain() // there may be more; it is the turn of others
}

// readOnce reads once, and reports whether it should be tried again.
func (t *Transport) readOnce() (n int, again bool) {
	if !t.tr.mayHold() {
		return 0, false
	}
	t.swapped = false
	p := t.readBuffer()
	switch {
	case t.paused || t.tr.closing:
		return 0, false
	case t.swapped:
		return 0, true // the buffer is another protocol's
	}
	n, err := t.tr.read(p, t.tr.tls)
	switch {
	case n > 0: // an error comes again
		t.received(p[:n])
		return n, true
	case err == nil || err == seam.ErrWouldBlock || t.tr.closing:
	case err == io.EOF:
		t.endReceived()
	default:
		t.fail(t.tr.error("read", err))
	}
	return 0, false
}

// received hands what was read to the protocol.
func (t *Transport) received(p []byte) {
	switch {
	case t.ended: // nothing comes after the end
	case t.data != nil:
		t.guard("DataReceived", true, func() { t.data.DataReceived(p) })
	default:
		t.guard("BufferUpdated", true, func() { t.buffered.BufferUpdated(len(p)) })
	}
}

// readBuffer returns where to read to.
func (t *Transport) readBuffer() (p []byte) {
	if t.data != nil || t.ended {
		return t.tr.loop.readScratch()
	}
	t.guard("GetBuffer", true, func() {
		if p = t.buffered.GetBuffer(-1); len(p) == 0 {
			panic(misuse("GetBuffer", ErrBadArgument, "the buffer is empty"))
		}
	})
	return p
}

// readAgain reads on in the next pass.
func (t *Transport) readAgain() {
	if !t.again && !t.tr.closing {
		t.again = true
		t.tr.loop.ready.push((*reading)(t))
	}
}

func (r *reading) run() {
	r.again = false
	(*Transport)(r).readReady()
}

func (t *Transport) endReceived() {
	if t.ended {
		return
	}
	t.ended = true
	keep := false
	t.guard("EOFReceived", true, func() {
		if t.data != nil {
			keep = t.data.EOFReceived()
		} else {
			keep = t.buffered.EOFReceived()
		}
	})
	if !keep || t.readOnly {
		t.tr.close()
	}
}

// writeReady is told that there is room again, or that writing has failed.
func (t *Transport) writeReady() {
	switch err := t.tr.writeErr; {
	case err == errReaderGone:
		// Nothing was lost: the transport closes as usual.
	case err != nil:
		if t.lossCause == nil {
			t.lossCause = t.tr.error("write", err)
		}
		t.tr.loop.ready.push((*breaking)(t)) // not inside Write
	default:
		t.watchWriting()
	}
}

// run ends the transport, after what the peer had sent before.
func (b *breaking) run() {
	t := (*Transport)(b)
	t.readReady()
	t.tr.abort()
}

// watchWriting calls PauseWriting or ResumeWriting when it is time to.
func (t *Transport) watchWriting() {
	switch {
	case t.tr.closed || !t.made || t.tr.writeErr != nil: // nobody shall write any more
	case t.tr.full && !t.stopped:
		t.stopped = true
		t.guard("PauseWriting", false, t.Protocol().PauseWriting)
	case !t.tr.full && t.stopped:
		t.stopped = false
		t.guard("ResumeWriting", false, t.Protocol().ResumeWriting)
	}
}

// connectionLost queues ConnectionLost. When the loop is being closed there will be
// no pass to run it, so it is called at once.
func (t *Transport) connectionLost() {
	if !t.made {
		t.tr.leave()
		return
	}
	l := t.tr.loop
	l.onNetwork--
	h := (*losing)(t)
	if l.abandoning {
		if t.lossCause == nil {
			t.lossCause = misuse("Transport", ErrLoopClosed, "%s", l.name)
		}
		h.call()
		t.tr.leave()
		return
	}
	l.open.add(&t.tr.registered, h) // to be called even if the loop is closed first
	l.ready.push(h)
}

func (h *losing) run() { h.abandon() }

func (h *losing) abandon() {
	if h.tr.owner != nil {
		h.tr.loop.open.remove(&h.tr.registered)
		h.call()
		h.tr.leave()
	}
}

func (h *losing) call() {
	t := (*Transport)(h)
	if t.tr.loop.halted() {
		return
	}
	t.guard("ConnectionLost", false, func() { t.Protocol().ConnectionLost(t.lossCause) })
}

// Write sends p, or keeps a copy of what there is no room for. It never waits. After
// Close, and after the sending half has broken, it returns an error; the connection
// ends then.
func (t *Transport) Write(p []byte) (int, error) {
	if err := t.mayWrite("Write"); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := t.tr.write(p); err != nil {
		return 0, t.tr.error("write", err)
	}
	t.watchWriting()
	return len(p), nil
}

// WriteLines writes several buffers, on a plain connection by one system call if
// there is room. It adds no newlines.
func (t *Transport) WriteLines(lines [][]byte) error {
	if err := t.mayWrite("WriteLines"); err != nil {
		return err
	}
	err := t.tr.writev(lines)
	t.watchWriting()
	return t.tr.error("write", err)
}

func (t *Transport) mayWrite(op string) error {
	switch {
	case !t.tr.loop.mine():
		return t.tr.loop.elsewhere(op)
	case t.readOnly:
		return misuse(op, ErrBadArgument, "%v can only be read from", t)
	}
	return nil
}

// WriteEOF ends the sending half when all is sent: the peer reads the end, and can
// still send. Writes return net.ErrClosed from now on. Over TLS it sends the alert
// that ends the stream. For a pipe it is Close.
func (t *Transport) WriteEOF() error {
	if err := t.mayWrite("WriteEOF"); err != nil {
		return err
	}
	if t.tr.oneWay {
		return t.Close()
	}
	return t.tr.error("close", t.tr.writeEOF())
}

// CanWriteEOF reports whether WriteEOF works: everywhere but on a pipe to read from.
func (t *Transport) CanWriteEOF() bool { return !t.readOnly }

// Close ends the connection when all that was written is sent; nothing more is read.
// ConnectionLost(nil) tells when that is done. Closing twice is harmless. A peer that
// does not read keeps a plain connection open until Abort. A TLS connection also waits
// for the peer to close, no longer than ConnOptions.TLSShutdownTimeout or its like says.
func (t *Transport) Close() error {
	if !t.tr.loop.mine() {
		return t.tr.loop.elsewhere("Close")
	}
	t.tr.close()
	return nil
}

// Abort ends the connection at once. What was not sent is dropped, and the peer sees
// a reset. ConnectionLost(nil) follows.
func (t *Transport) Abort() {
	if t.tr.loop.mine() && t.tr.closed {
		return // its loop may be closed too
	}
	t.tr.loop.check("Abort")
	t.tr.abort()
}

// IsClosing reports whether the connection has ended, or will when all is sent.
func (t *Transport) IsClosing() bool { return t.tr.closing }

// PauseReading stops the calls of DataReceived: what arrives stays with the kernel
// and slows the peer down. Doing it twice, or after Close, is harmless. After Close of
// the loop it panics like CallSoon.
func (t *Transport) PauseReading() {
	t.tr.loop.check("PauseReading")
	t.paused = true
}

// ResumeReading undoes PauseReading. What has arrived is received in the next pass. It
// panics like PauseReading.
func (t *Transport) ResumeReading() {
	t.tr.loop.check("ResumeReading")
	if t.paused {
		t.paused = false
		t.readAgain()
	}
}

// IsReading reports whether what arrives is received: not after PauseReading or Close.
func (t *Transport) IsReading() bool { return !t.paused && !t.tr.closing && !t.tr.oneWay }

// SetWriteBufferLimits sets from how many waiting bytes on PauseWriting is called,
// and down to how many ResumeWriting (64 KiB and 16 KiB by default). It takes effect
// at once. It returns a *UsageError unless 0 <= low <= high.
func (t *Transport) SetWriteBufferLimits(high, low int) error {
	switch {
	case !t.tr.loop.mine():
		return t.tr.loop.elsewhere("SetWriteBufferLimits")
	case low < 0 || high < low:
		return misuse("SetWriteBufferLimits", ErrBadArgument, "high is %d, low is %d", high, low)
	}
	t.tr.setLimits(high, low)
	t.watchWriting()
	return nil
}

// WriteBufferLimits returns the marks that SetWriteBufferLimits sets.
func (t *Transport) WriteBufferLimits() (high, low int) { return t.tr.limits.high, t.tr.limits.low }

// WriteBufferSize returns how many bytes wait to be sent. With TLS they are counted
// as encrypted.
func (t *Transport) WriteBufferSize() int { return t.tr.buffered() }

// StartTLS begins TLS on the connection (loop.start_tls). The calling task suspends
// for the handshake, during which the protocol is told nothing; ConnectionMade is not
// called again. What was written before goes out before. This end is the server if a
// Server has accepted the connection, or the options say so; else it is the client, and config
// needs a ServerName unless it skips verification. Call PauseReading before the peer
// can have begun, so that the protocol does not get what is meant for TLS.
//
// If the handshake fails or is cancelled, the connection is closed.
func (t *Transport) StartTLS(ctx context.Context, config *tls.Config, opts *TLSOptions) error {
	return t.tr.startTLS(ctx, config, opts, func() []byte { return nil })
}

// Protocol returns the present protocol.
func (t *Transport) Protocol() BaseProtocol {
	if t.data != nil {
		return t.data
	}
	return t.buffered
}

// SetProtocol makes p receive the callbacks from now on. Its ConnectionMade is not
// called, nor is PauseWriting again if that was called on the one before. A Protocol
// may replace a BufferedProtocol and the other way round; anything else is a
// *UsageError.
func (t *Transport) SetProtocol(p BaseProtocol) error {
	if !t.tr.loop.mine() {
		return t.tr.loop.elsewhere("SetProtocol")
	}
	err := t.adoptProtocol("SetProtocol", p)
	t.swapped = t.swapped || err == nil
	return err
}

// Loop returns the loop of the transport.
func (t *Transport) Loop() *EventLoop { return t.tr.loop }

// LocalAddr returns the address of this end, for a pipe the name of its file; it
// answers after Close too.
func (t *Transport) LocalAddr() net.Addr { return t.tr.conn.LocalAddr() }

// RemoteAddr returns the address of the peer, for a pipe the name of its file; it
// answers after Close too.
func (t *Transport) RemoteAddr() net.Addr { return t.tr.conn.RemoteAddr() }

// ConnectionState describes the TLS connection; false for a plain one.
func (t *Transport) ConnectionState() (tls.ConnectionState, bool) { return t.tr.connectionState() }

// SyscallConn gives access to the descriptor, for socket options say. It is an
// errors.ErrUnsupported where there is none. The descriptor must not be read from,
// written to or closed.
func (t *Transport) SyscallConn() (syscall.RawConn, error) { return t.tr.syscallConn() }

// String shows the ends and the state of the transport.
func (t *Transport) String() string { return t.tr.text("Transport") }
