// Processes for protocols: what callbacks does a child make?

package asyncio

import (
	"context"
	"os"
	"os/exec"
)

// A SubprocessProtocol is told what becomes of a process (asyncio.SubprocessProtocol).
// All its methods are called on the loop, as callbacks: they cannot await, but they can
// create tasks. A panic in one is reported; in ConnectionMade it also ends the process,
// and in PipeDataReceived the pipe. Embed NopSubprocessProtocol to implement only some
// of them.
type SubprocessProtocol interface {
	// ConnectionMade is called once, before all others.
	ConnectionMade(t *SubprocessTransport)

	// PipeDataReceived gets what has arrived from descriptor fd of the process, at
	// least one byte. The memory is valid only during the call.
	PipeDataReceived(fd int, p []byte)

	// PipeConnectionLost is called once for each pipe, after all its data: with nil
	// at the end of an output, when nobody reads the input any more, and after
	// Close; else with what has broken the pipe, syscall.EPIPE for instance if
	// something waited to be sent.
	PipeConnectionLost(fd int, err error)

	// PauseWriting is called, from inside Write, when more bytes wait to be sent to
	// the input of the process than the high mark.
	PauseWriting()

	// ResumeWriting is called after PauseWriting, when no more bytes wait than the
	// low mark.
	ResumeWriting()

	// ProcessExited is called once, when the exit of the process is known. That may
	// be before or after what happens to the pipes.
	ProcessExited()

	// ConnectionLost is called once, after all others: when the exit is known and
	// all pipes are lost. It gets nil, unless the loop is being closed or
	// ConnectionMade has panicked.
	ConnectionLost(err error)
}

// NopSubprocessProtocol has the methods of SubprocessProtocol, which do nothing, to be
// embedded.
type NopSubprocessProtocol struct{}

// ConnectionMade does nothing.
func (NopSubprocessProtocol) ConnectionMade(*SubprocessTransport) {}

// PipeDataReceived does nothing.
func (NopSubprocessProtocol) PipeDataReceived(int, []byte) {}

// PipeConnectionLost does nothing.
func (NopSubprocessProtocol) PipeConnectionLost(int, error) {}

// PauseWriting does nothing.
func (NopSubprocessProtocol) PauseWriting() {}

// ResumeWriting does nothing.
func (NopSubprocessProtocol) ResumeWriting() {}

// ProcessExited does nothing.
func (NopSubprocessProtocol) ProcessExited() {}

// ConnectionLost does nothing.
func (NopSubprocessProtocol) ConnectionLost(error) {}

// SubprocessTransport is a process that reports to a SubprocessProtocol
// (asyncio.SubprocessTransport). Its methods are for the loop's goroutine.
type SubprocessTransport struct {
	loop     *EventLoop
	child    *child
	protocol SubprocessProtocol
	pipes    [3]*Transport
	open     int // pipes that are not lost

	made    bool // ConnectionMade has been called
	told    bool // ProcessExited has been called
	closing bool
	lost    bool // ConnectionLost has been called
	cause   error
}

// SubprocessExec starts a program and gives it to the protocol that factory makes
// (loop.subprocess_exec). It returns when ConnectionMade has been called. A standard
// stream that opts does not name is a pipe. Apart from that, and in its errors, it is
// like CreateSubprocessExec. SubprocessOptions.Limit and Grace are for streams and
// tasks, and refused.
//
// If it is cancelled, or ConnectionMade panics, the process is killed, and has been
// reaped when SubprocessExec returns.
func SubprocessExec[P SubprocessProtocol](ctx context.Context, factory func() P, name string, args []string, opts *SubprocessOptions) (*SubprocessTransport, P, error) {
	return startSubprocess(ctx, "SubprocessExec", factory, exec.Command(name, args...), opts)
}

// SubprocessShell is SubprocessExec for a line of the shell, as CreateSubprocessShell
// runs it (loop.subprocess_shell).
func SubprocessShell[P SubprocessProtocol](ctx context.Context, factory func() P, command string, opts *SubprocessOptions) (*SubprocessTransport, P, error) {
	return startSubprocess(ctx, "SubprocessShell", factory, shell(command), opts)
}

func startSubprocess[P SubprocessProtocol](ctx context.Context, op string, factory func() P, cmd *exec.Cmd, opts *SubprocessOptions) (*SubprocessTransport, P, error) {
	var none P
	t, err := current(ctx, op)
	if err != nil {
		return nil, none, err
	}
	if opts == nil {
		opts = new(SubprocessOptions)
	}
	switch {
	case factory == nil:
		return nil, none, misuse(op, ErrBadArgument, "the factory is nil")
	case opts.Limit != 0 || opts.Grace != 0:
		return nil, none, misuse(op, ErrBadArgument, "a limit of lines or a grace, which protocols do not have")
	}
	p := factory()
	s := &SubprocessTransport{loop: t.loop, protocol: p}
	s.child, err = t.loop.spawn(op, cmd, opts, [3]Stdio{Pipe, Pipe, Pipe}, s.connect, s.closePipes)
	if err != nil {
		return nil, none, err
	}
	s.child.onExit = s.advance
	if err := t.introduceChild(ctx, s); err != nil {
		return nil, none, err
	}
	return s, p, nil
}

// connect makes a transport of our end of a pipe.
func (s *SubprocessTransport) connect(fd int, end *os.File) error {
	c, p := newTransport(s.loop, originOf("pipe")), &childPipe{s, fd}
	c.data = p
	if err := c.tr.useChildPipe(fd, end); err != nil {
		return err
	}
	c.readOnly = fd != 0
	s.pipes[fd] = c
	s.open++
	return nil
}

func (s *SubprocessTransport) closePipes() {
	for _, c := range s.pipes {
		if c != nil {
			c.tr.abort()
		}
	}
}

// introduceChild waits until the protocol of s has been told.
func (t *task) introduceChild(ctx context.Context, s *SubprocessTransport) error {
	w := &waiter{task: t} // begin keeps it, also if the wait is called off
	t.loop.ready.push(&call{fn: func() {
		s.begin()
		w.wake(nil)
	}})
	err := t.park(ctx, w)
	if err == nil {
		err = s.cause
	}
	if err == nil {
		return nil
	}
	s.end()
	for !s.child.exited {
		if perr := t.parkIn(context.WithoutCancel(ctx), &s.child.waiters); perr != nil {
			return perr
		}
	}
	return err
}

// begin calls ConnectionMade, and lets the pipes report.
func (s *SubprocessTransport) begin() {
	s.made = true
	if err := s.guard("ConnectionMade", func() { s.protocol.ConnectionMade(s) }); err != nil {
		s.cause = err
		s.end()
	}
	for fd, c := range s.pipes {
		switch {
		case c == nil:
		case c.tr.closed:
			s.pipeLost(fd, nil) // it could not tell that itself
		default:
			c.opened()
			if fd != 0 {
				c.readAgain()
			}
		}
	}
	s.advance()
}

// guard calls a method of the protocol. A panic is reported and returned.
func (s *SubprocessTransport) guard(method string, call func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: stack()}
			s.loop.CallExceptionHandler(&ErrorContext{Message: "panic in " + method + " of a protocol", Err: err, Source: s})
		}
	}()
	call()
	return nil
}

func (s *SubprocessTransport) pipeLost(fd int, err error) {
	s.guard("PipeConnectionLost", func() { s.protocol.PipeConnectionLost(fd, err) })
	s.open--
	s.advance()
}

// advance calls what the protocol is to be told about the end.
func (s *SubprocessTransport) advance() {
	if !s.made || s.lost || !s.child.exited {
		return
	}
	if !s.told {
		s.told = true
		s.guard("ProcessExited", s.protocol.ProcessExited)
	}
	if s.open > 0 || s.lost { // ProcessExited may have closed the rest
		return
	}
	s.lost, s.closing = true, true
	if s.cause == nil && s.loop.abandoning {
		s.cause = misuse("SubprocessTransport", ErrLoopClosed, "%s", s.loop.name)
	}
	s.guard("ConnectionLost", func() { s.protocol.ConnectionLost(s.cause) })
}

// end closes the pipes, and kills the process if it has not exited.
func (s *SubprocessTransport) end() error {
	s.closing = true
	err := s.child.close()
	s.closePipes()
	return err
}

// Pid returns the number of the process (SubprocessTransport.get_pid).
func (s *SubprocessTransport) Pid() int { return s.child.pid() }

// ReturnCode is as that of Process (SubprocessTransport.get_returncode).
func (s *SubprocessTransport) ReturnCode() (code int, exited bool) { return s.child.returnCode() }

// State is as that of Process.
func (s *SubprocessTransport) State() *os.ProcessState { return s.child.state }

// PipeTransport returns the transport of descriptor 0, 1 or 2 of the process, nil if
// that is no pipe (SubprocessTransport.get_pipe_transport). Its protocol must not be
// replaced.
func (s *SubprocessTransport) PipeTransport(fd int) *Transport {
	if fd < 0 || fd >= len(s.pipes) {
		return nil
	}
	return s.pipes[fd]
}

// Signal is as that of Process (SubprocessTransport.send_signal).
func (s *SubprocessTransport) Signal(sig os.Signal) error {
	return s.child.signal("SubprocessTransport.Signal", sig, false)
}

// Terminate is as that of Process (SubprocessTransport.terminate).
func (s *SubprocessTransport) Terminate() error {
	return s.child.signal("SubprocessTransport.Terminate", termination, false)
}

// Kill is as that of Process (SubprocessTransport.kill).
func (s *SubprocessTransport) Kill() error {
	return s.child.signal("SubprocessTransport.Kill", os.Kill, false)
}

// SignalGroup is as that of Process.
func (s *SubprocessTransport) SignalGroup(sig os.Signal) error {
	return s.child.signal("SubprocessTransport.SignalGroup", sig, true)
}

// KillGroup is as that of Process.
func (s *SubprocessTransport) KillGroup() error {
	return s.child.signal("SubprocessTransport.KillGroup", os.Kill, true)
}

// Close closes the pipes, dropping what was not sent, and kills the process if it has
// not exited, with its group if it has one. The callbacks that tell of the end follow.
// Closing twice is harmless.
func (s *SubprocessTransport) Close() error {
	if !s.loop.mine() {
		return s.loop.elsewhere("SubprocessTransport.Close")
	}
	return s.end()
}

// IsClosing reports whether Close was called, or ConnectionLost.
func (s *SubprocessTransport) IsClosing() bool { return s.closing }

// Protocol returns the protocol.
func (s *SubprocessTransport) Protocol() SubprocessProtocol { return s.protocol }

// String shows the number and the state of the process.
func (s *SubprocessTransport) String() string { return s.child.describe("SubprocessTransport") }

// A childPipe is the protocol of a pipe. It passes everything on.
type childPipe struct {
	owner *SubprocessTransport
	fd    int
}

func (*childPipe) ConnectionMade(*Transport)  {}
func (c *childPipe) DataReceived(p []byte)    { c.owner.protocol.PipeDataReceived(c.fd, p) }
func (*childPipe) EOFReceived() bool          { return false }
func (c *childPipe) PauseWriting()            { c.owner.protocol.PauseWriting() }
func (c *childPipe) ResumeWriting()           { c.owner.protocol.ResumeWriting() }
func (c *childPipe) ConnectionLost(err error) { c.owner.pipeLost(c.fd, err) }
