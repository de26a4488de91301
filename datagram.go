// Datagrams for protocols: who is called back when one has come?

package asyncio

import (
	"context"
	"syscall"

	"github.com/goasyncio/asyncio/internal/seam"
)

// A DatagramProtocol is called back by a DatagramTransport
// (asyncio.DatagramProtocol). All calls come on the loop's thread and must not
// suspend; they may use the transport, and start tasks.
type DatagramProtocol interface {
	// ConnectionMade is called once, before all others. If it panics, or one of the
	// next two does, that is reported and the transport is closed; of the others a
	// panic is reported only.
	ConnectionMade(t *DatagramTransport)

	// DatagramReceived gives one datagram, which may be empty, and its sender;
	// zero if that has no address. p is valid during the call only.
	DatagramReceived(p []byte, from SockAddr)

	// ErrorReceived gives an error of the system, a *net.OpError, from sending or
	// receiving: a datagram that was refused, or is too long. The transport stays
	// open.
	ErrorReceived(err error)

	// PauseWriting says that more waits to be sent than the high mark. It is
	// called from inside SendTo and SetWriteBufferLimits.
	PauseWriting()

	// ResumeWriting says that what waits is down to the low mark, after
	// PauseWriting.
	ResumeWriting()

	// ConnectionLost is called once, after all others: with nil after Close and
	// Abort and when the loop is closed, else with the error that has ended the
	// transport.
	ConnectionLost(err error)
}

// NopDatagramProtocol is a DatagramProtocol whose methods do nothing, to embed.
type NopDatagramProtocol struct{}

// ConnectionMade does nothing.
func (NopDatagramProtocol) ConnectionMade(*DatagramTransport) {}

// DatagramReceived does nothing.
func (NopDatagramProtocol) DatagramReceived([]byte, SockAddr) {}

// ErrorReceived does nothing.
func (NopDatagramProtocol) ErrorReceived(error) {}

// PauseWriting does nothing.
func (NopDatagramProtocol) PauseWriting() {}

// ResumeWriting does nothing.
func (NopDatagramProtocol) ResumeWriting() {}

// ConnectionLost does nothing.
func (NopDatagramProtocol) ConnectionLost(error) {}

// CreateDatagramEndpoint opens an endpoint for datagrams, whose protocol is made by
// factory (loop.create_datagram_endpoint). It returns when ConnectionMade has
// been called.
//
// Names are looked up without blocking the loop. Each local address is tried with
// each remote one of its family, and the first pair that works is used; if
// none does, the error has that of each pair, a *net.OpError. Without an address
// Network must name a family, otherwise it is a *UsageError, as are options beside
// Conn. A cancelled call leaves nothing open.
//
// The caller closes the transport; Close of the loop does it at last.
func CreateDatagramEndpoint[P DatagramProtocol](ctx context.Context, factory func() P, opts *DatagramOptions) (*DatagramTransport, P, error) {
	var none P
	const op = "CreateDatagramEndpoint"
	opts = datagramOptions(opts)
	t, err := current(ctx, op)
	if err == nil && factory == nil {
		err = misuse(op, ErrBadArgument, "the factory is nil")
	}
	if err != nil {
		closeUnused(opts)
		return nil, none, err
	}
	dt := new(DatagramTransport)
	dt.tr.init(t.loop, dt)
	if err := t.openPackets(ctx, op, &dt.tr, opts); err != nil {
		return nil, none, err
	}
	made := false
	defer func() {
		if !made { // the factory has panicked, or has made none
			dt.tr.drop()
			t.loop.open.remove(&dt.tr.registered)
		}
	}()
	protocol := factory()
	if any(protocol) == nil {
		return nil, none, misuse(op, ErrBadArgument, "the factory has returned no protocol")
	}
	dt.protocol = protocol
	made = true
	dt.opening = t.arm()
	t.loop.onNetwork++
	t.loop.ready.push((*datagramStart)(dt))
	err = t.park(ctx, dt.opening)
	dt.opening = nil
	if err == nil {
		err = dt.lost // ConnectionMade has panicked
	}
	if err != nil {
		dt.tr.abort()
		return nil, none, err
	}
	return dt, protocol, nil
}

// DatagramTransport sends datagrams for a DatagramProtocol, and calls it back
// (asyncio.DatagramTransport). It belongs to its loop's goroutine.
type DatagramTransport struct {
	tr       packetTransport
	protocol DatagramProtocol
	opening  *waiter // of the task in CreateDatagramEndpoint
	started  bool    // ConnectionMade was called
	telling  bool    // inside ErrorReceived
	lost     error   // for ConnectionLost
	over     bool    // ConnectionLost was called, or will never be
}

// SendTo sends p to an address, at once if the system has room for it; else it
// keeps a copy, which counts 8 bytes more than it has. It never blocks. The zero
// address is the peer's; to send to another one than that is a *UsageError. An
// error of the system goes to ErrorReceived. After Close SendTo returns net.ErrClosed.
//
// p may be empty. A datagram that goes out at once costs no allocation.
func (t *DatagramTransport) SendTo(p []byte, to SockAddr) error {
	addr, err := t.tr.address("SendTo", to)
	if err != nil {
		return err
	}
	if err := t.tr.send(p, addr); err != nil {
		t.sendFailed(t.tr.error("write", to, err))
	}
	return nil
}

// Close closes the endpoint when all that waits is sent; nothing is received from
// now on. Then ConnectionLost is called. Closing twice is harmless.
func (t *DatagramTransport) Close() error { return t.tr.closeMine("Close") }

// Abort closes the endpoint at once, and drops what waits to be sent. Then
// ConnectionLost is called.
func (t *DatagramTransport) Abort() { t.tr.abortMine() }

// IsClosing reports whether Close or Abort was called, or an error has ended the
// transport.
func (t *DatagramTransport) IsClosing() bool { return t.tr.closing }

// SetWriteBufferLimits sets above how many bytes that wait to be sent PauseWriting
// is called, and down to how many ResumeWriting (64 KiB and 16 KiB by default).
// It applies to what waits already. It returns a *UsageError unless
// 0 <= low <= high.
func (t *DatagramTransport) SetWriteBufferLimits(high, low int) error {
	return t.tr.setLimitsMine(high, low)
}

// WriteBufferLimits returns the two marks.
func (t *DatagramTransport) WriteBufferLimits() (high, low int) { return t.tr.high, t.tr.low }

// WriteBufferSize returns how many bytes wait to be sent; each datagram counts 8
// more than it has.
func (t *DatagramTransport) WriteBufferSize() int { return t.tr.out.size }

// LocalAddr returns the address that the endpoint is bound to; it answers after
// Close too.
func (t *DatagramTransport) LocalAddr() SockAddr { return SockAddr(t.tr.conn.LocalAddr()) }

// RemoteAddr returns the only address to send to; zero if there are others.
func (t *DatagramTransport) RemoteAddr() SockAddr { return SockAddr(t.tr.remote) }

// SetProtocol makes p the protocol that is called from now on. ConnectionMade is
// not called again. It panics with a *UsageError if p is nil, and like CallSoon.
func (t *DatagramTransport) SetProtocol(p DatagramProtocol) {
	t.tr.loop.check("SetProtocol")
	if p == nil {
		panic(misuse("SetProtocol", ErrBadArgument, "the protocol is nil"))
	}
	t.protocol = p
}

// Protocol returns the protocol that is called.
func (t *DatagramTransport) Protocol() DatagramProtocol { return t.protocol }

// SyscallConn gives access to the socket, for setting options. On a network that has
// none it returns an error that Is errors.ErrUnsupported.
func (t *DatagramTransport) SyscallConn() (syscall.RawConn, error) { return t.tr.syscallConn() }

// String shows the addresses and the state of the endpoint.
func (t *DatagramTransport) String() string { return t.tr.text("DatagramTransport") }

// A datagramStart is a DatagramTransport whose protocol is to be told of it.
type datagramStart DatagramTransport

func (s *datagramStart) lane() any { return &s.tr }

func (s *datagramStart) run() {
	t := (*DatagramTransport)(s)
	if t.tr.closed { // before it began
		t.end()
		return
	}
	t.started = true
	t.connectionMade()
	if t.opening != nil {
		t.opening.wake(nil)
	}
	t.tr.start()
}

func (t *DatagramTransport) packetsReady() {
	buf := t.tr.buffer()
	for range packetBatch {
		n, from, err := t.tr.read(buf)
		switch {
		case err == seam.ErrWouldBlock:
			return
		case err == nil:
			t.datagramReceived(buf[:n], SockAddr(from))
		case transient(err):
			t.errorReceived(t.tr.error("read", SockAddr{}, err))
		default:
			t.fail(t.tr.error("read", SockAddr{}, err))
		}
		if t.tr.closing {
			return
		}
	}
	t.tr.Ready(seam.Readable) // there may be more
}

func (t *DatagramTransport) roomChanged(full bool) {
	if full {
		t.pauseWriting()
	} else {
		t.resumeWriting()
	}
}

// sendFailed tells the protocol what came of a datagram. From inside ErrorReceived
// it does so in the next pass: a protocol that answers each error by another
// datagram would go on for ever.
func (t *DatagramTransport) sendFailed(err error) {
	switch {
	case t.over:
	case !transient(err):
		t.fail(err)
	case t.telling:
		t.tr.loop.ready.push(&call{fn: func() { t.sendFailed(err) }})
	default:
		t.errorReceived(err)
	}
}

// fail ends the transport because of err.
func (t *DatagramTransport) fail(err error) {
	if !t.tr.closed {
		t.lost = err
		t.tr.abort()
	}
}

func (t *DatagramTransport) connectionLost() {
	if t.started {
		t.tr.loop.ready.push((*datagramEnd)(t))
	} // else the start does it
}

// A datagramEnd is a DatagramTransport whose protocol is to be told of its end.
type datagramEnd DatagramTransport

func (e *datagramEnd) lane() any { return &e.tr }

func (e *datagramEnd) run() { (*DatagramTransport)(e).end() }

func (t *DatagramTransport) end() {
	if t.over {
		return
	}
	t.over = true
	t.tr.loop.open.remove(&t.tr.registered)
	t.tr.loop.onNetwork--
	if t.started && !t.tr.loop.halted() {
		t.tellLost()
	}
}

// abandon ends the transport when the loop is closed: what fits still goes out.
func (t *DatagramTransport) abandon() {
	t.tr.abandon()
	t.end()
}

// The calls of the protocol. A panic of one is reported, and what it says about
// datagrams ends the transport.

func (t *DatagramTransport) connectionMade() {
	defer t.caught("ConnectionMade", true)
	t.protocol.ConnectionMade(t)
}

func (t *DatagramTransport) datagramReceived(p []byte, from SockAddr) {
	defer t.caught("DatagramReceived", true)
	t.protocol.DatagramReceived(p, from)
}

func (t *DatagramTransport) errorReceived(err error) {
	t.telling = true
	defer func() { t.telling = false }()
	defer t.caught("ErrorReceived", true)
	t.protocol.ErrorReceived(err)
}

func (t *DatagramTransport) pauseWriting() {
	defer t.caught("PauseWriting", false)
	t.protocol.PauseWriting()
}

func (t *DatagramTransport) resumeWriting() {
	defer t.caught("ResumeWriting", false)
	t.protocol.ResumeWriting()
}

func (t *DatagramTransport) tellLost() {
	defer t.caught("ConnectionLost", false)
	t.protocol.ConnectionLost(t.lost)
}

func (t *DatagramTransport) caught(call string, fatal bool) {
	p := recover()
	if p == nil {
		return
	}
	err := &PanicError{Value: p, Stack: stack()}
	t.tr.loop.CallExceptionHandler(&ErrorContext{Message: "panic in " + call + " of a datagram protocol", Err: err, Source: t})
	if fatal {
		t.fail(err)
	}
}
