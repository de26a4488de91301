// Children: what a program is started with, and how the loop hears of its end.

package asyncio

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// Stdio says what a standard stream of a child process is connected to: Inherit,
// Pipe, DevNull, ToStdout, or a file given to StdioFile. The zero value is the
// default of the function that starts the process.
type Stdio struct {
	mode stdioMode
	file *os.File
}

type stdioMode uint8

const (
	stdioDefault stdioMode = iota
	stdioInherit
	stdioPipe
	stdioNull
	stdioMerged
	stdioFile
)

// What a standard stream of a child process can be connected to, beside a file.
var (
	// Inherit connects it to the same stream of this process.
	Inherit = Stdio{mode: stdioInherit}

	// Pipe connects it to this process (subprocess.PIPE).
	Pipe = Stdio{mode: stdioPipe}

	// DevNull connects it to nothing: input is empty, output is dropped
	// (subprocess.DEVNULL).
	DevNull = Stdio{mode: stdioNull}

	// ToStdout connects standard error to where standard output goes
	// (subprocess.STDOUT). It is for standard error only.
	ToStdout = Stdio{mode: stdioMerged}
)

// StdioFile connects a standard stream of a child process to f, which stays the
// caller's and has to be open until the process has been started.
func StdioFile(f *os.File) Stdio { return Stdio{stdioFile, f} }

// SubprocessOptions are the options of functions that start a process. The zero
// value, or nil, has the defaults.
type SubprocessOptions struct {
	// Stdin, Stdout and Stderr are the standard streams. What the zero value
	// means is said by the function that starts the process.
	Stdin, Stdout, Stderr Stdio

	// Dir is the working directory; this process's if empty.
	Dir string

	// Env is the environment, "key=value" each; this process's if nil. The
	// program is looked for in the PATH of this process all the same.
	Env []string

	// Limit is how long a line may be that ReadLine and ReadUntil return, in
	// bytes: 64 KiB if zero.
	Limit int

	// ExtraFiles are open in the child as the descriptors 3, 4 and so on. They
	// stay the caller's. No other descriptor is inherited. Not on Windows.
	ExtraFiles []*os.File

	// ProcessGroup makes the child the first of a process group of its own. The
	// group is what SignalGroup and KillGroup reach, and what is meant when the
	// child is ended by Close or Shutdown, or because its scope or its loop ends. A
	// system without process groups returns errors.ErrUnsupported.
	ProcessGroup bool

	// NewSession lets the child call setsid(2): it has no controlling terminal
	// then, and is the first of a process group as with ProcessGroup.
	NewSession bool

	// SysProcAttr has what only some systems know. It is not changed.
	SysProcAttr *syscall.SysProcAttr

	// Grace is how long WithProcess and RunProcess wait after Terminate before
	// they Kill: 5 s if zero. If negative they kill at once.
	Grace time.Duration
}

// streams returns the standard streams, by descriptor, with the defaults filled in.
func (o *SubprocessOptions) streams(op string, defaults [3]Stdio) ([3]Stdio, error) {
	streams := [3]Stdio{o.Stdin, o.Stdout, o.Stderr}
	for fd, s := range streams {
		switch {
		case s.mode == stdioDefault:
			streams[fd] = defaults[fd]
		case s.mode == stdioMerged && fd != 2:
			return streams, misuse(op, ErrBadArgument, "ToStdout is for standard error only")
		case s.mode == stdioFile && s.file == nil:
			return streams, misuse(op, ErrBadArgument, "the file of descriptor %d is nil", fd)
		}
	}
	return streams, nil
}

// A child is a process that the loop has started and reaps. It has one consumer,
// a Process or a SubprocessTransport, which owns its pipes.
//
// The child is reaped on the loop's thread, together with the news of its exit: as
// long as that is not known its pid cannot belong to another process. On Linux its
// pidfd tells when. Where there is none a goroutine waits for it; package os then
// takes care that a signal does not meet another process.
type child struct {
	registered // in loop.open, until its exit is known
	loop       *EventLoop
	cmd        *exec.Cmd
	group      bool // it leads a process group
	onExit     func()

	watch  seam.Watch    // of its pidfd; nil if there is none, and at the end
	queued bool          // to be reaped
	reaped chan struct{} // closed by the goroutine that has reaped it; nil if none does

	// Set by reap.
	state   *os.ProcessState
	reapErr error

	exited  bool // the exit is known
	code    int
	waiters []*waiter
}

// spawn starts cmd. connect is given our end of each pipe, which it owns from then
// on; if the child cannot be started disconnect has to close what it has made of
// them.
func (l *EventLoop) spawn(op string, cmd *exec.Cmd, opts *SubprocessOptions, defaults [3]Stdio, connect func(fd int, end *os.File) error, disconnect func()) (*child, error) {
	streams, err := opts.streams(op, defaults)
	if err != nil {
		return nil, err
	}
	if err := l.untaped(op, "a child process"); err != nil {
		return nil, err
	}
	c := &child{loop: l, cmd: cmd}
	cmd.Dir, cmd.Env, cmd.ExtraFiles = opts.Dir, opts.Env, opts.ExtraFiles
	if err := c.setAttributes(opts); err != nil {
		return nil, fmt.Errorf("asyncio: %s: %w", op, err)
	}
	l.open.add(&c.registered, c) // before its pipes: when the loop is closed it shall be killed, not see the end of its input
	started := false
	var theirs []*os.File // ends of pipes that only the child needs
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if !started {
			l.open.remove(&c.registered)
			disconnect()
		}
	}()
	for fd, s := range streams {
		end := s.file
		switch s.mode {
		case stdioInherit:
			end = []*os.File{os.Stdin, os.Stdout, os.Stderr}[fd]
		case stdioPipe:
			their, our, err := pipe(fd)
			if err != nil {
				return nil, err
			}
			theirs = append(theirs, their)
			if err := connect(fd, our); err != nil {
				return nil, fmt.Errorf("asyncio: %s: pipe: %w", op, err)
			}
			end = their
		}
		c.setStream(fd, s.mode, end)
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	started = true
	l.outside++
	c.watchExit()
	return c, nil
}

// setAttributes sets what the system shall do beyond starting a program.
func (c *child) setAttributes(opts *SubprocessOptions) error {
	attr := new(syscall.SysProcAttr)
	if opts.SysProcAttr != nil {
		*attr = *opts.SysProcAttr
	}
	if c.cmd.SysProcAttr != nil { // of a shell
		mergeShell(attr, c.cmd.SysProcAttr)
	}
	c.cmd.SysProcAttr = attr
	if (opts.ProcessGroup || opts.NewSession) && !haveGroups {
		return fmt.Errorf("process group: %w", errors.ErrUnsupported)
	}
	c.group = setGroup(attr, opts.ProcessGroup, opts.NewSession)
	return nil
}

// setStream sets what a descriptor of the child is connected to. Nothing is the
// null device.
func (c *child) setStream(fd int, mode stdioMode, end *os.File) {
	switch {
	case mode == stdioMerged:
		c.cmd.Stderr = c.cmd.Stdout
	case end == nil:
	case fd == 0:
		c.cmd.Stdin = end
	case fd == 1:
		c.cmd.Stdout = end
	default:
		c.cmd.Stderr = end
	}
}

// pipe returns both ends of a pipe for a descriptor of the child.
func pipe(fd int) (their, our *os.File, err error) {
	r, w, err := os.Pipe()
	if fd == 0 {
		return r, w, err
	}
	return w, r, err
}

// watchExit takes care that run is called when the child has exited.
func (c *child) watchExit() {
	if w, ok := c.loop.net.(seam.Watcher); ok && runtime.GOOS == "linux" {
		// The handle is a pidfd. It stays open until the child is reaped.
		c.cmd.Process.WithHandle(func(pidfd uintptr) {
			watch, err := w.Watch(int(pidfd), c)
			if err != nil {
				return
			}
			if watch.Set(seam.Readable) != nil {
				watch.Close()
				return
			}
			c.watch = watch
			c.loop.listening++
		})
	}
	if c.watch == nil {
		c.reapElsewhere()
	}
}

// Ready is told by the poller that the child has exited.
func (c *child) Ready(seam.Readiness) {
	if !c.queued {
		c.queued = true
		c.loop.ready.push(c)
	}
}

// reapElsewhere reaps the child on a goroutine, which waits until it has exited.
func (c *child) reapElsewhere() {
	c.reaped = make(chan struct{})
	go func() {
		c.reap()
		close(c.reaped)
		c.loop.entry.post(c) // refused after Close, when nobody waits any more
	}()
}

func (c *child) reap() {
	c.state, c.reapErr = c.cmd.Process.Wait()
	if c.reapErr != nil {
		c.cmd.Process.Release()
	}
}

// run makes the exit known.
func (c *child) run() {
	if c.exited {
		return
	}
	c.unwatch()
	if c.reaped == nil {
		c.reap()
	}
	c.publish()
}

// unknownCode is the code of a child whose exit other code has taken.
const unknownCode = 255

func (c *child) publish() {
	c.gone()
	if c.reapErr != nil {
		c.code = unknownCode
		c.loop.CallExceptionHandler(&ErrorContext{
			Message: "the exit code of a child process is lost: other code has waited for it", Err: c.reapErr, Source: c,
		})
	} else {
		c.cmd.ProcessState = c.state
		c.code = returnCode(c.state)
	}
	wakeAll(&c.waiters)
	if c.onExit != nil {
		c.onExit()
	}
}

// gone takes the child out of the loop's books.
func (c *child) gone() {
	c.exited = true
	c.loop.open.remove(&c.registered)
	c.loop.outside--
}

func (c *child) unwatch() {
	if c.watch != nil {
		c.watch.Close()
		c.watch = nil
		c.loop.listening--
	}
}

// reapPatience is how long closing the loop waits for a child that it has killed.
const reapPatience = 5 * time.Second

// abandon kills and reaps the child when the loop is closed.
func (c *child) abandon() {
	c.end(os.Kill)
	c.unwatch()
	if c.reaped == nil {
		c.reapElsewhere()
	}
	timeout := time.NewTimer(reapPatience)
	defer timeout.Stop()
	select {
	case <-c.reaped:
		c.publish()
	case <-timeout.C:
		c.code = unknownCode
		c.gone() // the goroutine will reap it
		c.loop.CallExceptionHandler(&ErrorContext{Message: "a child process could not be ended when the loop was closed", Source: c})
	}
}

// signal sends sig to the child, or to its group, for the operation op.
func (c *child) signal(op string, sig os.Signal, group bool) error {
	switch {
	case !c.loop.mine():
		return c.loop.elsewhere(op)
	case c.exited:
		return os.ErrProcessDone
	case !group:
		return c.send(sig)
	case !c.group:
		return misuse(op, ErrInvalidState, "the child has no process group of its own; start it with ProcessGroup or NewSession")
	}
	return c.sendGroup(sig)
}

// end is how the child is ended without being named by a caller: with its group,
// if it leads one.
func (c *child) end(sig os.Signal) error {
	if c.group {
		return c.sendGroup(sig)
	}
	return c.send(sig)
}

// close kills the child if it has not exited.
func (c *child) close() error {
	if c.exited {
		return nil
	}
	if err := c.end(os.Kill); err != os.ErrProcessDone {
		return err
	}
	return nil
}

func (c *child) send(sig os.Signal) error { return c.cmd.Process.Signal(sig) }

// sendGroup signals the group of the child, which has the child's pid. As long as
// the child is not reaped that is no other group's.
func (c *child) sendGroup(sig os.Signal) error {
	if c.reaped != nil { // a goroutine may have reaped it already
		if err := c.cmd.Process.Signal(noSignal); err != nil {
			return err
		}
	}
	err := signalGroup(c.pid(), sig)
	if err == os.ErrProcessDone { // the child has moved to another group
		err = c.send(sig)
	}
	return err
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// returnCode is the code, and whether it is known.
func (c *child) returnCode() (int, bool) { return c.code, c.exited }

// exitState is what the system knows about the child that has exited.
func (c *child) exitState() *os.ProcessState {
	if !c.exited { // a goroutine may be about to set it
		return nil
	}
	return c.state
}

// describe is the text of a consumer.
func (c *child) describe(kind string) string {
	if c.exited {
		return fmt.Sprintf("<%s %d returncode=%d>", kind, c.pid(), c.code)
	}
	return fmt.Sprintf("<%s %d running>", kind, c.pid())
}

func (c *child) String() string { return c.describe("child") + " " + c.cmd.Path }
