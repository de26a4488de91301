// Datagrams for tasks: which one comes next?

package asyncio

import (
	"context"
	"net"
	"syscall"

	"github.com/goasyncio/asyncio/internal/seam"
)

// OpenDatagramEndpoint opens an endpoint for datagrams that tasks read from and
// write to. It is to CreateDatagramEndpoint what OpenConnection is to a protocol
// of streams; options, attempts and errors are the same.
//
// The caller closes the endpoint; Close of the loop does it at last.
func OpenDatagramEndpoint(ctx context.Context, opts *DatagramOptions) (*DatagramEndpoint, error) {
	const op = "OpenDatagramEndpoint"
	opts = datagramOptions(opts)
	t, err := current(ctx, op)
	if err != nil {
		closeUnused(opts)
		return nil, err
	}
	e := new(DatagramEndpoint)
	e.tr.init(t.loop, e)
	if err := t.openPackets(ctx, op, &e.tr, opts); err != nil {
		return nil, err
	}
	e.tr.start()
	return e, nil
}

// DatagramEndpoint is a socket for datagrams in the hands of tasks. Datagrams that
// nobody has read wait in the system, which drops new ones when it has no more room
// for them. It belongs to its loop's goroutine.
type DatagramEndpoint struct {
	tr       packetTransport
	reading  bool    // a task is in ReadFrom
	reader   *waiter // of that task, while there is nothing to read
	streak   int     // datagrams that were read without a suspension between them
	failed   error   // of a datagram that was queued, for the next ReadFrom or Drain
	drainers []*waiter
	closers  []*waiter
}

// ReadFrom waits for a datagram, copies it to p, and returns its length and its
// sender; zero if that has no address. What has no room in p is dropped. A
// datagram may be empty.
//
// An error of the system, a *net.OpError, concerns a datagram that was sent: it was
// refused, say. It is returned once, and the next ReadFrom goes on. After Close, and
// from a Close meanwhile, the error is net.ErrClosed. A cancelled ReadFrom has taken
// no datagram. If another task is in ReadFrom, the error Is ErrConcurrentRead.
//
// If there is a datagram ReadFrom does not suspend, but for one pass of the loop
// after each 64, so that a flood does not hold up the other tasks. It allocates
// nothing.
func (e *DatagramEndpoint) ReadFrom(ctx context.Context, p []byte) (n int, from SockAddr, err error) {
	t, err := e.task(ctx, "ReadFrom")
	if err != nil {
		return 0, SockAddr{}, err
	}
	if e.reading {
		return 0, SockAddr{}, misuse("ReadFrom", ErrConcurrentRead, "one datagram goes to one task; let one task read, and hand on what it gets")
	}
	e.reading = true
	defer func() { e.reading = false }()
	if e.streak == packetBatch {
		e.streak = 0
		if err := t.yield(ctx); err != nil {
			return 0, SockAddr{}, err
		}
	}
	for {
		if err := e.takeFailure(); err != nil {
			return 0, SockAddr{}, err
		}
		n, from, err := e.tr.read(p)
		if err == nil {
			e.streak++
			return n, SockAddr(from), nil
		}
		if err != seam.ErrWouldBlock {
			return 0, SockAddr{}, e.tr.error("read", SockAddr{}, err)
		}
		e.streak = 0
		e.reader = t.arm()
		err = t.parkFar(ctx, e.reader)
		e.reader = nil
		if err != nil {
			return 0, SockAddr{}, err
		}
	}
}

// WriteTo sends p to an address, at once if the system has room for it; else it
// keeps a copy, which counts 8 bytes more than it has. It never suspends. The zero
// address is the peer's; to send to another one than that is a *UsageError. p may be
// empty.
//
// An error that is known at once is returned. If it is of the system, the endpoint
// goes on, and nothing was sent: the error may tell of a datagram before, that was
// refused. After Close WriteTo returns net.ErrClosed. It allocates nothing as long
// as there is room.
func (e *DatagramEndpoint) WriteTo(p []byte, to SockAddr) error {
	addr, err := e.tr.address("WriteTo", to)
	if err != nil {
		return err
	}
	if err := e.tr.send(p, addr); err != nil {
		return e.tr.error("write", to, err)
	}
	return nil
}

// Drain waits until there is room for more: if more bytes wait to be sent than
// the high mark, until they are down to the low mark. Otherwise it does not suspend.
// Any number of tasks may call it. It returns the first error of the datagrams that
// waited, unless ReadFrom has returned it, and net.ErrClosed after Close. A cancelled
// Drain drops nothing.
func (e *DatagramEndpoint) Drain(ctx context.Context) error {
	t, err := e.task(ctx, "Drain")
	if err != nil {
		return err
	}
	for {
		if err := e.takeFailure(); err != nil {
			return err
		}
		switch {
		case e.tr.closing:
			return e.tr.error("write", SockAddr{}, net.ErrClosed)
		case !e.tr.full:
			return nil
		}
		if err := t.parkIn(ctx, &e.drainers); err != nil {
			return err
		}
	}
}

func (e *DatagramEndpoint) takeFailure() error {
	err := e.failed
	e.failed = nil
	return err
}

// task returns the running task, which must be of the endpoint's loop.
func (e *DatagramEndpoint) task(ctx context.Context, op string) (*task, error) {
	t, err := current(ctx, op)
	if err == nil && t.loop != e.tr.loop {
		err = misuse(op, ErrWrongLoop, "the endpoint belongs to %s, the running task to %s", e.tr.loop.name, t.loop.name)
	}
	return t, err
}

// Buffered returns how many bytes wait to be sent; each datagram counts 8 more than
// it has.
func (e *DatagramEndpoint) Buffered() int { return e.tr.out.size }

// SetWriteBufferLimits sets from how many waiting bytes on Drain waits, and down
// to how many (64 KiB and 16 KiB by default). It returns a *UsageError unless
// 0 <= low <= high.
func (e *DatagramEndpoint) SetWriteBufferLimits(high, low int) error {
	return e.tr.setLimitsMine(high, low)
}

// Close closes the endpoint when all that waits is sent; it does not wait for that,
// WaitClosed does. Closing twice is harmless.
func (e *DatagramEndpoint) Close() error {
	if !e.tr.loop.mine() {
		return e.tr.loop.elsewhere("Close")
	}
	e.tr.close()
	if e.reader != nil {
		e.reader.wake(nil)
	}
	wakeAll(&e.drainers)
	return nil
}

// Abort closes the endpoint at once, and drops what waits to be sent.
func (e *DatagramEndpoint) Abort() { e.tr.abortMine() }

// IsClosing reports whether Close or Abort was called.
func (e *DatagramEndpoint) IsClosing() bool { return e.tr.closing }

// WaitClosed waits until the endpoint is closed, which Close or Abort must have
// asked for.
func (e *DatagramEndpoint) WaitClosed(ctx context.Context) error {
	t, err := e.task(ctx, "WaitClosed")
	if err != nil {
		return err
	}
	for !e.tr.closed {
		if err := t.parkIn(ctx, &e.closers); err != nil {
			return err
		}
	}
	return nil
}

// LocalAddr returns the address that the endpoint is bound to; it answers after
// Close too.
func (e *DatagramEndpoint) LocalAddr() SockAddr { return SockAddr(e.tr.conn.LocalAddr()) }

// RemoteAddr returns the only address to send to; zero if there are others.
func (e *DatagramEndpoint) RemoteAddr() SockAddr { return SockAddr(e.tr.remote) }

// SyscallConn gives access to the socket, for setting options. On a network that has
// none it returns an error that Is errors.ErrUnsupported.
func (e *DatagramEndpoint) SyscallConn() (syscall.RawConn, error) { return e.tr.syscallConn() }

// String shows the addresses and the state of the endpoint.
func (e *DatagramEndpoint) String() string { return e.tr.text("DatagramEndpoint") }

func (e *DatagramEndpoint) packetsReady() {
	if e.reader != nil {
		e.reader.wake(nil)
	}
}

func (e *DatagramEndpoint) roomChanged(full bool) {
	if !full {
		wakeAll(&e.drainers)
	}
}

// sendFailed keeps the first error: the others are most likely the same.
func (e *DatagramEndpoint) sendFailed(err error) {
	if e.failed == nil {
		e.failed = err
	}
	if !transient(err) {
		e.tr.abort()
		return
	}
	e.packetsReady()
	wakeAll(&e.drainers)
}

func (e *DatagramEndpoint) connectionLost() {
	e.tr.loop.open.remove(&e.tr.registered)
	e.packetsReady()
	wakeAll(&e.drainers)
	wakeAll(&e.closers)
}

func (e *DatagramEndpoint) abandon() { e.tr.abandon() }
