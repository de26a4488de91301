// Children: what a program is started with, and how the loop hears of its end.

package asyncio

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
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
// It hears of the exit by a watch of the poller or, where there is none, by a call
// from the goroutine that has waited for it; see systemChild. The exit is made known in
// the callback that follows.
type child struct {
	registered // in loop.open, until its exit is known
	loop       *EventLoop
	process    seam.Child
	path       string // of the program
	number     uint64 // for a tape
	group      bool   // it leads a process group
	onExit     func()

	unwatch func() // ends the watch; nil if there is none, and at the end
	queued  bool   // its exit will be made known

	exited  bool // the exit is known
	code    int
	state   *os.ProcessState
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
	c := &child{loop: l, path: cmd.Path, number: l.number()}
	cmd.Dir, cmd.Env, cmd.ExtraFiles = opts.Dir, opts.Env, opts.ExtraFiles
	if c.group, err = setAttributes(cmd, opts); err != nil {
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
			their, our, err := l.childPipe(fd)
			if err != nil {
				return nil, err
			}
			theirs = append(theirs, their)
			if err := connect(fd, our); err != nil {
				return nil, fmt.Errorf("asyncio: %s: pipe: %w", op, err)
			}
			end = their
		}
		setStream(cmd, fd, s.mode, end)
	}
	if c.process, err = l.startChild(cmd, streams); err != nil {
		return nil, err
	}
	started = true
	l.outside++
	c.watchExit()
	return c, nil
}

// setAttributes sets what the system shall do beyond starting a program, and reports
// whether that will lead a process group.
func setAttributes(cmd *exec.Cmd, opts *SubprocessOptions) (group bool, err error) {
	attr := new(syscall.SysProcAttr)
	if opts.SysProcAttr != nil {
		*attr = *opts.SysProcAttr
	}
	if cmd.SysProcAttr != nil { // of a shell
		mergeShell(attr, cmd.SysProcAttr)
	}
	cmd.SysProcAttr = attr
	if (opts.ProcessGroup || opts.NewSession) && !haveGroups {
		return false, fmt.Errorf("process group: %w", errors.ErrUnsupported)
	}
	return setGroup(attr, opts.ProcessGroup, opts.NewSession), nil
}

// setStream sets what a descriptor of a child is connected to. Nothing is the null
// device.
func setStream(cmd *exec.Cmd, fd int, mode stdioMode, end *os.File) {
	switch {
	case mode == stdioMerged:
		cmd.Stderr = cmd.Stdout
	case end == nil:
	case fd == 0:
		cmd.Stdin = end
	case fd == 1:
		cmd.Stdout = end
	default:
		cmd.Stderr = end
	}
}

// childPipe returns both ends of a pipe for a descriptor of a child.
func (l *EventLoop) childPipe(fd int) (their, our *os.File, err error) {
	open := func() (their, our *os.File, err error) {
		r, w, err := os.Pipe()
		if fd == 0 {
			return r, w, err
		}
		return w, r, err
	}
	if l.tape != nil {
		return l.tape.Pipe(open)
	}
	return open()
}

// startChild starts the process.
func (l *EventLoop) startChild(cmd *exec.Cmd, streams [3]Stdio) (seam.Child, error) {
	start := func() (seam.Child, error) {
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		return &systemChild{cmd: cmd, pid: cmd.Process.Pid}, nil
	}
	if l.tape != nil {
		return l.tape.Start(commandText(cmd, streams), start)
	}
	return start()
}

// commandText says for a tape what is started, as far as the program has chosen it.
func commandText(cmd *exec.Cmd, streams [3]Stdio) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q", words(cmd))
	if cmd.Dir != "" {
		fmt.Fprintf(&b, " in %s", cmd.Dir)
	}
	for fd, s := range streams {
		fmt.Fprintf(&b, ", %s", [...]string{"stdin", "stdout", "stderr"}[fd])
		fmt.Fprintf(&b, " %s", [...]string{stdioInherit: "inherited", stdioPipe: "a pipe", stdioNull: "null", stdioMerged: "to stdout", stdioFile: "a file"}[s.mode])
	}
	return b.String()
}

// watchExit takes care that run is called when the child has exited.
func (c *child) watchExit() {
	if c.unwatch = c.process.Watch(c.loop.net, c); c.unwatch != nil {
		c.loop.listening++
		return
	}
	c.loop.expect(c.post(), c)
	c.process.Await(func() { c.loop.entry.post(c) }) // refused after Close, when nobody waits any more
}

// Ready is told by the poller that the child has exited.
func (c *child) Ready(seam.Readiness) {
	if !c.queued {
		c.queued = true
		c.loop.ready.push(c)
	}
}

func (c *child) post() seam.Post { return seam.Post{Kind: seam.Exit, Number: c.number} }

// run makes the exit known.
func (c *child) run() {
	if c.exited {
		return
	}
	c.endWatch()
	c.publish()
}

// unknownCode is the code of a child whose exit other code has taken.
const unknownCode = 255

func (c *child) publish() {
	c.gone()
	state, err := c.process.Reap()
	if err != nil {
		c.code = unknownCode
		c.loop.CallExceptionHandler(&ErrorContext{
			Message: "the exit code of a child process is lost: other code has waited for it", Err: err, Source: c,
		})
	} else {
		c.state, c.code = state, returnCode(state)
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

func (c *child) endWatch() {
	if c.unwatch != nil {
		c.unwatch()
		c.unwatch = nil
		c.loop.listening--
	}
}

// reapPatience is how long closing the loop waits for a child that it has killed.
const reapPatience = 5 * time.Second

// abandon kills and reaps the child when the loop is closed.
func (c *child) abandon() {
	c.end(os.Kill)
	c.endWatch()
	if c.process.Exits(reapPatience) {
		c.publish()
		return
	}
	c.code = unknownCode
	c.gone() // a goroutine will reap it
	c.loop.CallExceptionHandler(&ErrorContext{Message: "a child process could not be ended when the loop was closed", Source: c})
}

// signal sends sig to the child, or to its group, for the operation op.
func (c *child) signal(op string, sig os.Signal, group bool) error {
	switch {
	case !c.loop.mine():
		return c.loop.elsewhere(op)
	case c.exited:
		return os.ErrProcessDone
	case group && !c.group:
		return misuse(op, ErrInvalidState, "the child has no process group of its own; start it with ProcessGroup or NewSession")
	}
	return c.process.Signal(sig, group)
}

// end is how the child is ended without being named by a caller: with its group,
// if it leads one.
func (c *child) end(sig os.Signal) error { return c.process.Signal(sig, c.group) }

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

func (c *child) pid() int { return c.process.Pid() }

// returnCode is the code, and whether it is known.
func (c *child) returnCode() (int, bool) { return c.code, c.exited }

// describe is the text of a consumer.
func (c *child) describe(kind string) string {
	if c.exited {
		return fmt.Sprintf("<%s %d returncode=%d>", kind, c.pid(), c.code)
	}
	return fmt.Sprintf("<%s %d running>", kind, c.pid())
}

func (c *child) String() string { return c.describe("child") + " " + c.path }
