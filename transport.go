// Transports: can this connection move bytes now?

package asyncio

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// A transport is one connection: it reads on demand, keeps what the kernel has
// no room for in a buffer with a high and a low mark, and tells its one consumer
// what has become possible. It knows no tasks but the one that opens it.
//
// # States
//
// A transport is opening, while it connects or shakes hands, then open, then
// closing, while its buffer is flushed, and at last closed. If a write fails, the
// sending half is broken: the buffer is dropped and every further write returns the
// error, but what the peer has sent can still be read. Only close and abort end a
// transport.
//
// # TLS
//
// With TLS, read and write go through the topmost layer, which calls receive and
// send of the layer below it, at the bottom send of the transport, and read without
// a layer.
type transport struct {
	// What each message needs comes first, and together.
	loop     *EventLoop
	conn     seam.Conn
	consumer consumer
	tls      *tlsLayer

	events   seam.Readiness // reported, and not handled yet
	queued   bool           // in the ready queue, to handle events
	readable bool           // a read may give something; false once one has found nothing
	writable bool           // the same for a write

	connecting bool
	shaking    bool // a task shakes hands: the consumer is told nothing
	sending    bool // a task sends a file: nobody else may write
	hungUp     bool // the end has been reported: read until it is there
	oneWay     bool // a pipe to write to: nothing is ever read
	full       bool // out went above high, and not yet down to low
	endWanted  bool // writeEOF was called
	ended      bool // and is done
	closing    bool
	leaving    bool // it is flushed, and the peer has not ended yet; only with TLS
	closed     bool
	served     bool // the handler of a server has returned
	dismissed  bool // the server has closed it
	over       bool // the peer has ended: nothing more will arrive
	corked     bool // with TLS: records are collected
	choked     bool // answers are too many: reads wait until out is empty

	out      *writeBuffer // nil if nothing waits to be sent
	limits   *limits
	writeErr error   // why the sending half is broken
	opener   *waiter // of the task that connects, shakes hands, waits for ConnectionMade, or sends a file

	registered              // in loop.open
	origin     *origin      // shared with others; it is replaced, not changed
	lingering  *TimerHandle // ends a close that takes longer than origin.linger
}

// An origin is what the connections of one server have in common, or those that were
// opened in the same way.
type origin struct {
	network string        // for errors: "tcp", "unix", "pipe"
	linger  time.Duration // how long a close may take, if that is limited
	clients clientList    // that of the server that accepted them, or nil
}

// limits are the marks of a write buffer. They are not changed, but replaced.
type limits struct{ high, low int }

// A consumer is what a transport reports to: a stream or a protocol.
type consumer interface {
	fmt.Stringer
	// readReady says that a read may give something: bytes, the end, an error.
	readReady()
	// writeReady says that the buffer is below its low mark again, or that
	// writing has failed.
	writeReady()
	// connectionLost says that the transport is closed. It calls its leave, once the
	// program has been told.
	connectionLost()
}

// A clientList is told when a connection in it is closed.
type clientList interface{ forget(t *transport) }

const (
	defaultHigh = 64 << 10
	defaultLow  = defaultHigh / 4

	writeRound = 1 << 20 // what one connection may write from its buffer in one pass
)

var defaultLimits = limits{defaultHigh, defaultLow}

// origins are those of connections about which there is nothing else to say.
var origins = map[string]*origin{"tcp": {network: "tcp"}, "tcp4": {network: "tcp4"}, "tcp6": {network: "tcp6"}, "unix": {network: "unix"}, "pipe": {network: "pipe"}}

// originOf returns the origin of a connection that is opened.
func originOf(network string) *origin {
	if o := origins[network]; o != nil {
		return o
	}
	return &origin{network: network}
}

// init prepares a transport, which may be part of its consumer.
func (t *transport) init(l *EventLoop, from *origin, c consumer) {
	t.loop, t.origin, t.consumer = l, from, c
	t.limits = &defaultLimits
}

// setLinger limits how long a close may take.
func (t *transport) setLinger(d time.Duration) {
	if t.origin.linger != d {
		changed := *t.origin
		changed.linger = d
		t.origin = &changed
	}
}

// buffered returns how many bytes wait to be sent.
func (t *transport) buffered() int {
	if t.out == nil {
		return 0
	}
	return t.out.size
}

// String is that of the consumer.
func (t *transport) String() string { return t.consumer.String() }

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
	if t.connecting {
		t.wakeOpener()
		return
	}
	if t.oneWay && t.hungUp {
		t.readerGone()
		return
	}
	if events&(seam.Writable|seam.Failed) != 0 {
		t.writable = true
		if t.out != nil || t.sending {
			t.flush()
		}
	}
	if events&(seam.Readable|seam.HungUp|seam.Failed) != 0 && !t.closed && !t.oneWay {
		t.readable = true
		if t.leaving {
			t.seeOff()
		} else {
			t.announce()
		}
	}
}

// announce tells whom it concerns that a read may give something.
func (t *transport) announce() {
	if t.connecting || t.shaking {
		t.wakeOpener()
	} else {
		t.consumer.readReady()
	}
}

func (t *transport) wakeOpener() {
	if w := t.opener; w != nil {
		t.opener = nil
		w.wake(nil)
	}
}

// mayHold reports whether a read may give something.
func (t *transport) mayHold() bool { return t.readable || t.tls != nil }

// read reads what is there, in plain text if layer is t.tls, and as it came if it is
// nil. It returns seam.ErrWouldBlock if that is nothing; the consumer is then told when
// there is something.
func (t *transport) read(p []byte, layer *tlsLayer) (int, error) {
	switch {
	case layer != nil:
		return t.readTLS(p)
	case t.closing || t.closed:
		return 0, net.ErrClosed
	case !t.readable:
		return 0, seam.ErrWouldBlock
	}
	n, err := t.conn.Read(p)
	switch {
	case err == nil:
		// A short read by itself does not tell that nothing is left: a terminal gives a
		// line at a time, a Unix socket stops behind descriptors, TCP before urgent data.
		return n, nil
	case n > 0: // and seam.ErrWouldBlock
		t.readable = false
		return n, nil
	case err == seam.ErrWouldBlock:
		t.readable = false
		return 0, err
	}
	t.over = true
	if err == io.EOF && t.writeErr != nil && !errors.Is(t.writeErr, syscall.EPIPE) {
		// The kernel tells once that a connection has broken, and a write has
		// heard it. The peer has not ended the stream.
		err = t.writeErr
	}
	return n, err
}

// write sends p, and keeps a copy of what there is no room for.
func (t *transport) write(p []byte) error {
	switch {
	case t.sending:
		return errSending("Write")
	case t.tls != nil:
		return t.writeTLS(p)
	}
	if err := t.writing(); err != nil {
		return err
	}
	return t.sendNow(p)
}

//go:noinline
func errSending(op string) error {
	return misuse(op, ErrInvalidState, "a file is being sent; wait for SendFile")
}

// put is write by whoever is sending a file.
func (t *transport) put(p []byte) error {
	if t.tls != nil {
		return t.writeTLS(p)
	}
	return t.send(p)
}

// send sends p as it is.
func (t *transport) send(p []byte) error {
	if err := t.writing(); err != nil {
		return err
	}
	if t.corked && t.out == nil && t.writable {
		return t.collect(p)
	}
	return t.sendNow(p)
}

func (t *transport) sendNow(p []byte) error {
	if t.out == nil && t.writable {
		n, err := t.conn.Write(p)
		switch {
		case n == len(p):
			return nil
		case err != nil && err != seam.ErrWouldBlock:
			t.breakWriting(err)
			return err
		}
		p = p[n:]
		t.writable = false
	}
	t.keep(p)
	return nil
}

// keep puts into the buffer what there is no room for.
func (t *transport) keep(p []byte) {
	if len(p) == 0 {
		return
	}
	if t.out == nil {
		t.out = newWriteBuffer()
	}
	t.out.append(p)
	t.full = t.full || t.out.size > t.limits.high
}

// writev is write for several buffers, without TLS by one system call if there is
// room.
func (t *transport) writev(v [][]byte) error {
	if t.sending {
		return errSending("WriteLines")
	}
	if t.tls != nil {
		return t.writevTLS(v)
	}
	if err := t.writing(); err != nil {
		return err
	}
	if t.out == nil && t.writable {
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
		t.keep(v[0][n:])
		v = v[1:]
	}
	for _, p := range v {
		t.keep(p)
	}
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
	t.limits = &limits{high, low}
	switch {
	case t.buffered() > high:
		t.full = true
	case t.full && t.buffered() <= low:
		t.full = false
		t.consumer.writeReady()
	}
}

// flush writes what is in the buffer, as far as there is room.
func (t *transport) flush() {
	for round := 0; t.out != nil && t.writable; {
		if round >= writeRound {
			t.Ready(seam.Writable) // it is the turn of others
			break
		}
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
		if t.out.drop(n); t.out.size == 0 {
			t.out = nil
		}
		round += n
	}
	if t.full && t.buffered() <= t.limits.low {
		t.full = false
		t.consumer.writeReady()
	}
	t.wakeSender()
	t.afterFlush()
}

// wakeSender wakes the task that sends a file, to look what has changed.
func (t *transport) wakeSender() {
	if t.sending {
		t.wakeOpener()
	}
}

// afterFlush does what had to wait until the buffer was empty.
func (t *transport) afterFlush() {
	if t.out != nil || t.closed {
		return
	}
	if t.choked && !t.closing {
		t.choked = false
		t.Ready(seam.Readable) // later: the consumer may write, or close
	}
	if t.endWanted && !t.ended && !t.closing && t.writeErr == nil { // else why it is broken would be forgotten
		t.ended = true
		if err := t.conn.CloseWrite(); err != nil {
			t.breakWriting(err)
		}
	}
	switch {
	case t.closing && t.tls != nil && t.writeErr == nil && !t.over:
		t.leaving = true
		t.seeOff()
	case t.closing:
		t.finish(t.conn.Close)
	}
}

// breakWriting notes that the sending half is gone.
func (t *transport) breakWriting(err error) {
	t.writeErr = err
	t.out = nil
	t.full = false
	t.consumer.writeReady()
	t.wakeSender()
	t.afterFlush()
}

// errReaderGone is why the sending half of a pipe is broken whose reader has gone
// while nothing was waiting to be sent.
var errReaderGone error = &os.SyscallError{Syscall: "write", Err: syscall.EPIPE}

// readerGone ends a pipe to write to.
func (t *transport) readerGone() {
	switch {
	case t.writeErr != nil:
	case t.out != nil: // also after close, which waits for that
		t.breakWriting(os.NewSyscallError("write", syscall.EPIPE))
	case !t.closing:
		t.breakWriting(errReaderGone)
	}
	t.close()
}

// writeEOF ends the sending half once the buffer is flushed.
func (t *transport) writeEOF() error {
	switch {
	case t.sending:
		return errSending("WriteEOF")
	case t.endWanted:
		return nil
	}
	if err := t.writing(); err != nil {
		return err
	}
	if t.tls != nil {
		if err := t.mayWriteTLS(); err != nil {
			return err
		}
	}
	for l := t.tls; l != nil; l = l.below {
		if err := l.conn.CloseWrite(); err != nil {
			return err
		}
	}
	t.endWanted = true
	t.afterFlush()
	return nil
}

// close ends the transport once the buffer is flushed, within the time that it may
// linger.
func (t *transport) close() {
	if t.closing || t.closed {
		return
	}
	t.alert()
	t.closing = true
	t.wakeSender()
	t.afterFlush()
	if t.closed {
		return
	}
	if d := t.origin.linger; d > 0 {
		t.lingering = t.loop.callAt(after(t.loop.clock.Now(), d), t.lingered)
	}
	t.announce() // nothing will be read any more
}

// lingered ends a close that has taken too long.
func (t *transport) lingered() {
	if t.leaving {
		t.finish(t.conn.Close)
	} else {
		t.abort()
	}
}

// alert puts what ends a TLS stream into the buffer.
func (t *transport) alert() {
	for l := t.tls; l != nil; l = l.below {
		l.conn.Close()
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
	if !t.connecting && t.writeErr == nil {
		if !t.closing {
			t.alert()
		}
		for t.writable = true; t.out != nil && t.writable; {
			t.flush()
		}
	}
	switch {
	case t.closed:
	case t.out != nil:
		t.abort() // the peer shall see that something is missing
	default:
		t.closing = true
		if t.tls != nil {
			t.discard()
		}
		t.finish(t.conn.Close)
	}
}

func (t *transport) finish(end func() error) {
	t.closed = true
	t.out = nil
	t.full = false
	if t.lingering != nil {
		t.lingering.Cancel()
	}
	t.loop.open.remove(&t.registered)
	t.loop.listening--
	if err := end(); err != nil && t.writeErr == nil {
		t.writeErr = err
	}
	t.wakeOpener()
	t.consumer.connectionLost()
}

// leave tells the server that has accepted the connection, if one has, that it is gone.
func (t *transport) leave() {
	if clients := t.origin.clients; clients != nil {
		clients.forget(t)
	}
}

// connect connects tr, which stays closed if that fails or is cancelled.
func (t *task) connect(ctx context.Context, tr *transport, kind string, to, local seam.Addr) error {
	conn, err := t.loop.net.Dial(kind, to, local, tr)
	if err != nil {
		return err
	}
	tr.use(conn)
	tr.connecting = true
	defer func() { tr.connecting = false }()
	for err = conn.Connected(); err == seam.ErrWouldBlock; err = conn.Connected() {
		if err := t.awaitOpening(ctx, tr); err != nil {
			tr.abort()
			return err
		}
	}
	if err != nil {
		tr.abort()
		return err
	}
	tr.established()
	return nil
}

// established lets a new connection move bytes.
func (t *transport) established() {
	t.writable = true
	t.readable = true // what came together with the connection is not reported again
}

// awaitOpening suspends the task that opens tr until something has happened to it.
func (t *task) awaitOpening(ctx context.Context, tr *transport) error {
	tr.opener = t.arm()
	err := t.parkFar(ctx, tr.opener)
	tr.opener = nil
	return err
}

// error gives err the operation and the addresses, unless it has them.
func (t *transport) error(op string, err error) error {
	var usage *UsageError
	if err == nil || isCancelled(err, nil) || addressed(err) || errors.As(err, &usage) {
		return err
	}
	return opError(op, t.origin.network, t.conn, err)
}

// connectionState describes the TLS connection; false for a plain one.
func (t *transport) connectionState() (tls.ConnectionState, bool) {
	l := t.tls
	if l != nil && t.shaking {
		l = l.below // crypto/tls holds its locks
	}
	if l == nil {
		return tls.ConnectionState{}, false
	}
	return l.conn.ConnectionState(), true
}

// syscallConn gives access to the descriptor.
func (t *transport) syscallConn() (syscall.RawConn, error) {
	c, ok := t.conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return c.SyscallConn()
}

// text shows the ends and the state of what reports to the consumer called name.
func (t *transport) text(name string) string {
	state := "open"
	switch {
	case t.conn == nil:
		return fmt.Sprintf("<%s not connected>", name)
	case t.closed:
		state = "closed"
	case t.closing:
		state = "closing"
	}
	return fmt.Sprintf("<%s %s %v->%v buffered=%d>", name, state, t.conn.LocalAddr(), t.conn.RemoteAddr(), t.buffered())
}

// scratchSize is what one read takes at most.
const scratchSize = 256 << 10

// readScratch returns memory to read into. It is the loop's, and free until the next
// suspension or the end of the present callback.
func (l *EventLoop) readScratch() []byte {
	if l.scratch == nil {
		l.scratch = make([]byte, scratchSize)
	}
	return l.scratch
}

// target is an address as it was given.
type target struct{ network, address string }

func (a target) Network() string { return a.network }
func (a target) String() string  { return a.address }

// adopter returns the loop's network, for op, as one that takes over what others have
// opened.
func (l *EventLoop) adopter(op string) (seam.Adopter, error) {
	if err := l.untaped(op, "what others have opened"); err != nil {
		return nil, err
	}
	a, ok := l.net.(seam.Adopter)
	if !ok {
		return nil, simulated(op)
	}
	return a, nil
}

// networkOf returns the network of an address. What others have made may have none.
func networkOf(a net.Addr) string {
	if a == nil {
		return "unknown"
	}
	return a.Network()
}

func simulated(op string) *UsageError {
	return misuse(op, errors.ErrUnsupported, "the network is simulated, and takes over nothing that was opened elsewhere")
}

// parkIn suspends t in a line of waiters.
func (t *task) parkIn(ctx context.Context, line *[]*waiter) error {
	waiter := t.arm()
	*line = append(*line, waiter)
	err := t.parkFar(ctx, waiter)
	if i := slices.Index(*line, waiter); i >= 0 {
		*line = slices.Delete(*line, i, i+1)
	}
	return err
}

// parkFar is park of t for something that the network does.
func (t *task) parkFar(ctx context.Context, w *waiter) error {
	t.loop.onNetwork++
	defer func() { t.loop.onNetwork-- }() // also when the task is ended by force
	return t.park(ctx, w)
}

// wakeAll wakes a line of waiters in order and empties it.
func wakeAll(line *[]*waiter) {
	for _, waiter := range *line {
		waiter.wake(nil)
	}
	*line = nil
}

// addressed reports whether err has an operation and an address. The alerts of
// crypto/tls are operations without.
func addressed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Net != ""
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
