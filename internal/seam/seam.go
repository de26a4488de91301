// Package seam holds the interfaces between the event loop and what a
// simulation replaces: the clock, the network, the source of randomness and
// the order of the ready queue. The root package fills them in with the real
// things; package asynciotest replaces them. User code never sees this package.
//
// Unless a method says otherwise it is called on the loop's thread only, and
// never blocks.
package seam

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// ErrWouldBlock is what a non-blocking operation returns when it can do
// nothing now. The Handler is told when it is worth another try.
var ErrWouldBlock = errors.New("operation would block")

// ErrIdle is what Clock.Wait returns when nothing can ever wake the loop.
var ErrIdle = errors.New("nothing left to wait for")

// A Clock says what time it is and decides how waiting happens. With the wall
// clock, waiting is a poll that blocks; a virtual clock polls without blocking
// and moves on.
type Clock interface {
	// Now is the loop's time: monotonic, starting near zero.
	Now() time.Duration

	// Wall is the time of day that belongs to Now.
	Wall() time.Time

	// Wait lets at most d pass, or any time if d is negative, and ends early
	// when poll has found something ready or has been woken. poll(p) polls the
	// network for at most p, for ever if p is negative; it says whether it
	// found anything or was woken.
	//
	// external says that something outside the loop is under way (a wait on a
	// real descriptor, a worker goroutine) which may wake it. Without it, and
	// with a negative d, a virtual clock returns ErrIdle.
	Wait(d time.Duration, external bool, poll func(p time.Duration) (woken bool, err error)) error
}

// Readiness says what has become possible on a Conn or Listener.
type Readiness uint8

const (
	// Readable: bytes, a connection to accept, the end of the stream or an
	// error can be read.
	Readable Readiness = 1 << iota
	// Writable: there is room for bytes, or a connection attempt has ended.
	Writable
	// HungUp: the peer has closed its sending half, or the whole connection.
	// What it sent before may still be there to read.
	HungUp
	// Failed: the connection has broken, or its attempt has failed.
	Failed
)

// A Handler is told about readiness. Ready is called from inside Poller.Wait.
// Reports are edge-triggered: one comes when something becomes possible, and
// not again until an operation has returned ErrWouldBlock or come back short.
// After HungUp or Failed a short Read is not enough: the end of the stream may
// have been reported together with its last bytes, so read until there is an
// error. Reports may be spurious.
type Handler interface {
	Ready(r Readiness)
}

// A Poller waits for readiness.
type Poller interface {
	// Wait polls for at most d, for ever if d is negative, calls the Handlers
	// of what is ready, and says whether there was any or Wake was called. It
	// may end early with neither, for instance because of a signal.
	Wait(d time.Duration) (woken bool, err error)

	// Wake makes a Wait that is under way, or else the next one, return at
	// once. Any goroutine may call it, also after Close.
	Wake()

	// Close frees the poller. Open Conns and Listeners are not closed.
	Close() error
}

// A Network connects and listens. Each loop has one of its own.
type Network interface {
	Poller

	// Dial starts to connect a stream. The Conn is returned at once; h is told
	// Writable or Failed when Conn.Connected has an answer. network is "tcp"
	// (to is an IP address and a port) or "unix" (path is a file name, or
	// abstract if it begins with '@'). local may be the zero AddrPort.
	Dial(network string, to, local netip.AddrPort, path string, h Handler) (Conn, error)

	// Listen makes a listening socket.
	Listen(network string, at netip.AddrPort, path string, opts ListenOptions, h Handler) (Listener, error)
}

// ListenOptions are the options of a listening socket.
type ListenOptions struct {
	Backlog     int           // as in listen(2); 0 means the largest that the system allows
	NoReuseAddr bool          // do not set SO_REUSEADDR
	ReusePort   bool          // set SO_REUSEPORT
	KeepAlive   time.Duration // of accepted connections; 0 means 15 s, negative: none
}

// A Conn is a byte stream that never blocks. Errors are plain causes (a
// syscall error as an *os.SyscallError, io.EOF, ErrWouldBlock, net.ErrClosed);
// the caller adds operation and address.
type Conn interface {
	// Connected returns how the connection attempt ended: nil if it stands,
	// ErrWouldBlock while it is under way.
	Connected() error

	// Read reads what is there, at most len(p) bytes. It returns io.EOF at the
	// end of the stream.
	Read(p []byte) (int, error)

	// Write writes as much of p as there is room for: n < len(p) without an
	// error means that there is no more room now, and Handler will be told.
	// With no room at all it returns 0 and ErrWouldBlock.
	Write(p []byte) (int, error)

	// Writev is Write for several buffers in one call.
	Writev(v [][]byte) (int, error)

	// CloseWrite ends the sending half (shutdown). What was written before
	// still arrives.
	CloseWrite() error

	// Close closes both halves and frees the descriptor. No report comes after
	// it. A second Close returns net.ErrClosed.
	Close() error

	// Reset closes like Close, but the peer sees a reset and unsent bytes are
	// dropped, where the network has that.
	Reset() error

	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}

// A Listener accepts connections.
type Listener interface {
	// Accept returns the next connection that has arrived, or ErrWouldBlock.
	// After another error (no descriptor is left, say) the connection still
	// waits, and is not reported again: call Accept again after a while.
	// Nothing is reported for the new Conn before its Attach.
	Accept() (AcceptedConn, error)

	// Close stops listening. No report comes after it.
	Close() error

	Addr() net.Addr
}

// An AcceptedConn is a Conn whose Handler is set once, after Accept.
type AcceptedConn interface {
	Conn
	// Attach sets the Handler. What is ready by then is reported.
	Attach(h Handler) error
}

// Random is a source of random numbers. *rand.Rand of math/rand/v2 has what
// programs need on top of it.
type Random interface {
	Uint64() uint64
}

// An Order chooses which of n ready callbacks runs next; it is nil for first
// come, first served.
type Order interface {
	Next(n int) int
}

// Seams are what one loop uses. A nil member means the real thing. New
// functions are called once per loop.
type Seams struct {
	NewClock   func() Clock
	NewNetwork func() (Network, error)
	NewRandom  func() Random
	NewOrder   func() Order
}

// LoopOption turns Seams into an option of a loop (an asyncio.LoopOption). The
// root package sets it when it is initialised.
var LoopOption func(Seams) any
