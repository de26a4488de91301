// Package seam holds the interfaces between the event loop and what a
// simulation replaces: the clock, the network, the source of randomness and
// the order of the ready queue. The root package fills them in with the real
// things; package asynciotest replaces them. User code never sees this package.
//
// Unless a method says otherwise it is called on the loop's thread only, and
// never blocks.
package seam

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
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

// A Fuse is a Clock that ends a run which goes on for ever.
type Fuse interface {
	Clock

	// Pass says that n more passes have begun, the last one of which is about to wait
	// for d, negative for ever. If it returns an error, the run ends with that, and with a
	// list of the tasks. The loop calls it before each wait, and now and then while it never
	// has to wait, until it is closed.
	Pass(n int, d time.Duration) error
}

// ErrBlown is what the Wait of a Fuse returns if it would have done better not to wait.
var ErrBlown = errors.New("the run has gone on for too long")

// ErrHalted is what the Wait of a Machine returns after it has been switched off.
var ErrHalted = errors.New("the machine has been switched off")

// A Machine is the Clock of a loop that runs on a simulated machine. Its Network is
// simulated, too: what a loop awaits there is nothing external. Whoever runs the loop
// has locked the thread, on which other machines run as well, so that the loop does
// not; Wait lets the others run, but only with a d that is not zero.
type Machine interface {
	Clock

	// Working says before each Wait how many functions run on other goroutines for
	// the loop.
	Working(n int)

	// Halted reports whether the machine has been switched off: no line of the
	// program shall run any more, but for deferred functions. Wait returns ErrHalted.
	Halted() bool
}

// A NameServer is a Network that looks names up itself.
type NameServer interface {
	// LookUp asks for the addresses of a host and a port. tell is called once, from
	// inside Poller.Wait, unless stop is called before.
	LookUp(network, host, port string, tell func(addrs []netip.AddrPort, err error)) (stop func())

	// LookUpAddr asks in the same way for the name of the host at addr.
	LookUpAddr(addr netip.Addr, tell func(name string, err error)) (stop func())
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
// Reports are edge-triggered: one comes when something becomes possible, and not again
// until a Read has returned ErrWouldBlock, or a Write has written less than it was given.
// A short Read by itself is not enough: there may be more, or the end. Reports may be
// spurious.
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

// An Addr is the address of a socket: AddrPort for IP, Path for Unix sockets,
// abstract if it begins with '@'. The zero Addr is none.
type Addr struct {
	AddrPort netip.AddrPort
	Path     string
}

// A Network connects and listens. Each loop has one of its own.
//
// A real network also implements Adopter; where descriptors can be polled one
// by one it implements Watcher and Sockets.
type Network interface {
	Poller

	// Dial starts to connect a stream. The Conn is returned at once; h is told
	// Writable or Failed when Conn.Connected has an answer. network is "tcp" or
	// "unix". local may be zero.
	Dial(network string, to, local Addr, h Handler) (Conn, error)

	// Listen makes a socket that is bound, but listens only after Start.
	Listen(network string, at Addr, opts ListenOptions, h Handler) (Listener, error)

	// OpenPacket makes a socket for datagrams. network is "udp4", "udp6" or
	// "unixgram". It is bound to local and connected to remote, where these are
	// not zero.
	OpenPacket(network string, local, remote Addr, opts PacketOptions, h Handler) (PacketConn, error)
}

// ListenOptions are the options of a listening socket.
type ListenOptions struct {
	Backlog        int           // as in listen(2); 0 means the largest that the system allows
	NoReuseAddr    bool          // do not set SO_REUSEADDR
	ReusePort      bool          // set SO_REUSEPORT
	KeepAlive      time.Duration // of accepted connections; 0 means 15 s, negative: none
	KeepSocketFile bool          // do not remove the file of a Unix socket on Close
}

// PacketOptions are the options of a socket for datagrams.
type PacketOptions struct {
	ReusePort bool // set SO_REUSEPORT
	Broadcast bool // set SO_BROADCAST
}

// An Adopter takes over what others have opened. From the call on it owns what
// it is given, and has closed it when it returns an error.
type Adopter interface {
	// AdoptConn takes over a connected stream.
	AdoptConn(c net.Conn, h Handler) (Conn, error)

	// AdoptListener takes over a listening socket. Start only begins to report.
	AdoptListener(ln net.Listener, opts ListenOptions, h Handler) (Listener, error)

	// AdoptPacket takes over a socket for datagrams.
	AdoptPacket(c net.PacketConn, h Handler) (PacketConn, error)

	FileAdopter
}

// A FileAdopter is what an Adopter is for files.
type FileAdopter interface {
	// AdoptFile takes over one end of a pipe, a FIFO, a socket or a character
	// device. Of a pipe, the half that it has not answers with an error.
	// CloseWrite of what is no socket is Close. With toWrite, Read is not called,
	// and what can be read is left to others, who may have the same file open.
	AdoptFile(f *os.File, toWrite bool, h Handler) (Conn, error)
}

// A Watcher polls descriptors of others.
type Watcher interface {
	// Watch registers fd, which stays the caller's, for nothing yet. It returns
	// ErrWatched if fd is registered already. Whoever closes fd must close the
	// Watch before.
	Watch(fd int, h Handler) (Watch, error)
}

// ErrWatched is what Watch returns for a descriptor that is in use on the loop.
var ErrWatched = errors.New("descriptor is registered already")

// A Watch reports level-triggered: again at each poll, as long as it is so.
type Watch interface {
	// Set says for what to watch: Readable, Writable, both or nothing. Hang-ups
	// and failures are reported as the one that was asked for.
	Set(r Readiness) error

	// Close ends the reports.
	Close() error
}

// Sockets are the calls on sockets of others, by descriptor. A Network whose
// descriptors are the system's may have them. None of them blocks: what would have
// to wait returns ErrWouldBlock, and what cannot promise it, because the socket is in
// blocking mode, ErrBlocking.
type Sockets interface {
	// Recv receives bytes or a datagram, with its sender, and io.EOF at the end of
	// a stream.
	Recv(fd int, p []byte) (n int, from Addr, err error)

	// Send sends what there is room for, or a datagram, to the connected peer if
	// to is zero.
	Send(fd int, p []byte, to Addr) (int, error)

	// Connect starts to connect. If it returns ErrWouldBlock, Connected tells when
	// the socket is writable how it has ended.
	Connect(fd int, to Addr) error
	Connected(fd int) error

	// Accept returns the next connection, which is not in blocking mode.
	Accept(fd int) (*os.File, Addr, error)

	// SendFile is that of a FileSender. A socket that is none for a stream is an
	// ErrNoStream.
	SendFile(fd int, f *os.File, offset int64, n int) (int, error)
}

// Errors of Sockets.
var (
	ErrBlocking = errors.New("socket is in blocking mode")
	ErrNoStream = errors.New("socket is not for a stream")
)

// A Conn is a byte stream that never blocks. Errors are plain causes (a
// syscall error as an *os.SyscallError, io.EOF, ErrWouldBlock, net.ErrClosed);
// the caller adds operation and address.
//
// A Conn of the system may also be a syscall.Conn and a FileSender.
type Conn interface {
	// Connected returns how the connection attempt ended: nil if it stands,
	// ErrWouldBlock while it is under way.
	Connected() error

	// Read reads what is there, at most len(p) bytes. It returns io.EOF at the
	// end of the stream. Bytes together with ErrWouldBlock are all that there was:
	// a Conn that knows it saves its user another Read.
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
	// it. What was written before still arrives. A second Close returns
	// net.ErrClosed.
	Close() error

	// Reset closes like Close, but the peer sees a reset and unsent bytes are
	// dropped, where the network has that.
	Reset() error

	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}

// A FileSender is a Conn to which the kernel can copy a file (sendfile).
type FileSender interface {
	// SendFile writes at most n bytes of f from offset on, as far as there is
	// room, and leaves the position of f alone. 0 without an error is the end of
	// f. It returns ErrWouldBlock if there is no room, and errors.ErrUnsupported
	// if the kernel cannot do it with f.
	SendFile(f *os.File, offset int64, n int) (int, error)
}

// A Listener accepts connections.
type Listener interface {
	// Start begins to listen and to report. It does nothing the second time.
	Start() error

	// Accept returns the next connection that has arrived, or ErrWouldBlock.
	// After another error (no descriptor is left, say) the connection still
	// waits, and is not reported again: call Accept again after a while.
	// Nothing is reported for the new Conn before its Attach.
	Accept() (AcceptedConn, error)

	// Close stops listening. No report comes after it.
	Close() error

	Addr() net.Addr
}

// A PacketConn sends and receives datagrams, and never blocks.
//
// One of the system may also be a syscall.Conn.
type PacketConn interface {
	// ReadFrom reads the next datagram, of which it drops what has no room in
	// p, or returns ErrWouldBlock. A failure that the network has told of, a
	// refused datagram say, is returned once, and the next call goes on.
	ReadFrom(p []byte) (n int, from Addr, err error)

	// WriteTo sends one datagram, to the connected peer if to is zero. It
	// returns ErrWouldBlock if there is no room for it now.
	WriteTo(p []byte, to Addr) error

	// Close closes the socket. No report comes after it.
	Close() error

	LocalAddr() Addr
	RemoteAddr() Addr // zero if it is not connected
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

// An Order chooses which of the ready callbacks runs next; it is nil for first
// come, first served.
type Order interface {
	// Next returns the place in q of the callback that runs next; the others keep
	// their order. It is called before every callback, also if there is just one.
	Next(q Queue) int
}

// A Witness is an Order that is told how tasks go on. The task is an
// asyncio.AnyTask.
type Witness interface {
	Order

	// Awaits is called when the running task begins a call that may suspend it. If
	// it panics, that call does.
	Awaits(task any)

	// Suspends is called when the running task is about to be suspended. It may
	// cancel it.
	Suspends(task any)
}

// A Chronicle is an Order that is told what becomes of the run.
type Chronicle interface {
	Order

	// Idles is called when nothing can happen any more: the run ends with
	// asyncio.ErrDeadlock.
	Idles()

	// Closes is called when the loop is being closed, before it cancels the tasks that
	// are left.
	Closes()
}

// A Queue is what is ready to run, in the order in which it became ready. New
// callbacks come in at the end, and nothing but Order takes one out.
type Queue interface {
	// Len is how many there are, those that have been queued for the next pass
	// among them.
	Len() int

	// Pass is how many turns are left in this pass: at least one. The first Pass
	// callbacks are the ones that first come, first served runs in it.
	Pass() int

	// At returns the callback at place i.
	At(i int) Callback

	// Now is the loop's time.
	Now() time.Duration
}

// A Callback is something that is ready to run.
type Callback struct {
	Kind Kind

	// Subject is whose turn it is: the task (an asyncio.AnyTask), the handle, or
	// what the loop itself has queued.
	Subject any

	// Callbacks of one Lane must run in the order in which they were queued. It
	// can be compared with ==.
	Lane any

	// When is the deadline of an Alarm or a Timer.
	When time.Duration
}

// A Kind says what a Callback is.
type Kind uint8

const (
	Step   Kind = iota // a task begins or goes on
	Alarm              // a task has slept long enough: it is going to have its turn
	Handle             // what CallSoon has queued
	Timer              // what CallLater has queued
	Done               // what waits for a future by a callback
	Event              // the network, another goroutine
)

// String returns the kind as one word in lower case.
func (k Kind) String() string {
	return [...]string{"task", "alarm", "callback", "timer", "done", "event"}[k]
}

// Seams are what one loop uses. A nil member means the real thing. New
// functions are called once per loop.
type Seams struct {
	Name string // what the loop is called beside its number; may be empty

	NewClock   func() Clock
	NewNetwork func() (Network, error)
	NewRandom  func() Random
	NewOrder   func() Order
	NewAudit   func() Audit
	NewTape    func() Tape
}

// An Audit is told what a program has left behind on a loop. With one, the loop is
// in debug mode, so that it knows where things were created.
type Audit interface {
	// Closing is called when the loop begins to close, and no callback is ready any
	// more, with what there is nevertheless.
	Closing(left []Leftover)

	// Closed is called when the loop is closed, on the same goroutine.
	Closed()
}

// A Leftover is something that a program should have ended, closed or waited for.
type Leftover struct {
	Kind      string // "task", "timer", ...
	What      string
	CreatedAt string // "function file:line" a frame, the innermost first; empty if unknown
}

// ClockOf returns the clock of the loop of ctx. It panics with an
// *asyncio.UsageError of op if ctx carries none. The root package sets it when it is
// initialised.
var ClockOf func(ctx context.Context, op string) Clock

// WaitOf returns the call in which a task (an asyncio.AnyTask) is suspended or runs,
// "Lock.Acquire", and where the program has called that, "bank.go:41". Both are empty if
// they are not known. The root package sets it when it is initialised.
var WaitOf func(task any) (call, place string)

// LoopOption turns Seams into an option of a loop (an asyncio.LoopOption). The
// root package sets it when it is initialised.
var LoopOption func(Seams) any
