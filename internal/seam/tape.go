// The tape: what a recording, or the replay of one, sees of a loop.

package seam

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"os"
)

// A Tape stands between a loop and all that comes to it from outside: it writes that
// down, or gives the loop what has been written down before.
//
// Its methods are called on the loop's thread, but for Post.
type Tape interface {
	// Bind is called first. mine reports whether the calling goroutine may use the
	// loop.
	Bind(mine func() bool)

	// Clock returns the clock of the loop, given the one that it would have.
	Clock(c Clock) Clock

	// Seed returns the seed of the loop's random numbers, given the one that it would
	// have.
	Seed(a, b uint64) (uint64, uint64)

	// Network returns the network of the loop; open opens the one that it would have.
	Network(open func() (Network, error)) (Network, error)

	// Post is given what another goroutine wants the loop to run, under a name by
	// which a replay knows it again. The Number of a Call is the tape's to choose.
	// Any goroutine may call it. The loop is woken afterwards.
	Post(p Post, run any)

	// Expect says what is to run when a Post of the name arrives that a replay cannot
	// make: nobody calls Post for it there. A Signal may arrive any number of times.
	Expect(p Post, run any)

	// Take queues what has been posted, in order.
	Take(queue func(run any))

	// LookUp calls find on another goroutine, and then tell, from inside Take, unless
	// stop was called before.
	LookUp(question string, find func(ctx context.Context) Answer, tell func(Answer)) (stop func())

	// TLS is called when TLS begins on conn. It returns what the TLS connection shall
	// use in place of below, and what makes of the TLS connection that which the loop
	// shall use.
	TLS(conn Conn, below net.Conn) (net.Conn, func(c TLSConn) TLSConn)

	// Pipe makes a pipe to a child process by open, and returns both ends of it. A
	// replay has none: those that it returns are nil, and it is them that the AdoptFile
	// of its Network is given.
	Pipe(open func() (their, our *os.File, err error)) (their, our *os.File, err error)

	// Start starts a child process by start. command says which.
	Start(command string, start func() (Child, error)) (Child, error)

	// Listens is told who wants which signals, whenever that may have changed. It reports
	// whether the loop has to listen to them. A replay is given the Posts that were recorded.
	Listens(who string) bool

	// Err returns why a run has to end, nil if it has not.
	Err() error

	// Close is called when the loop is closed, with a function that drops what was
	// posted too late.
	Close(drop func(run any))
}

// A Post names what other goroutines hand to a loop.
type Post struct {
	Kind   PostKind
	Site   string // of a Call: the function that has made it; of a Signal: its name
	Number uint64 // by creation on the loop; of a Call by order on its Site
}

// A PostKind says what a Post is.
type PostKind uint8

const (
	Call      PostKind = iota // by CallSoonThreadsafe and its like
	Thread                    // the end of a function of ToThread
	Context                   // the end of a context of package context
	Failure                   // an error that nobody has looked at, and nobody can any more
	Interrupt                 // a signal that WithInterrupt waits for
	Cancel                    // the end of the context given to a run; 1 if its deadline has passed
	LookUp                    // the answer to a LookUp
	Exit                      // the exit of a child process
	Signal                    // a signal that the program has asked for
)

// String returns the kind in words.
func (k PostKind) String() string {
	return [...]string{"thread-safe call", "function of ToThread", "context", "failure", "interrupt", "end of the run's context", "look-up",
		"exit of child process", "signal"}[k]
}

// A TLSConn is a *tls.Conn.
type TLSConn interface {
	HandshakeContext(ctx context.Context) error
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	CloseWrite() error
	Close() error
	ConnectionState() tls.ConnectionState
}

// An Answer is what a look-up has found.
type Answer struct {
	Addrs         []netip.AddrPort
	Host, Service string
	Err           error
}
