// Processes: a program that a task talks to by streams.

package asyncio

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"time"
)

// Process is a program that was started with streams to talk to it
// (asyncio.subprocess.Process). It belongs to its loop's goroutine.
//
// The caller has to Close it. Apart from that a pipe is closed by its stream's Close;
// that to the input also by Communicate, and when nobody can read it any more; those
// from the outputs when they have been read to the end. Closing the loop closes the
// pipes and kills the process.
type Process struct {
	// Stdin writes to the standard input; nil if that is no pipe. Closing it is
	// how the process is told the end.
	Stdin *StreamWriter

	// Stdout and Stderr read the outputs; nil if they are no pipes. They read only
	// when somebody asks. A process that writes more than a pipe holds, 64 KiB on
	// Linux, waits until somebody reads. What it has written can be read after it
	// has exited. The end comes when everybody has closed the pipe: the process, and
	// what it has started with it.
	Stdout, Stderr *StreamReader

	child *child
	pipes []*transport
	limit int
	loop  *EventLoop
}

// CreateSubprocessExec starts a program (asyncio.create_subprocess_exec). name is
// looked up in PATH if it has no slash; the rules, and the errors, are those of
// package os/exec: an *exec.Error if there is no such program, an *fs.PathError if it
// cannot be started. Then nothing is left open. args are the arguments without the
// name.
//
// The process inherits the standard streams that opts does not name, and no other
// descriptor. It never suspends, and so is never cancelled: what has been started is
// returned. To tie the life of the process to that of a task use WithProcess.
//
// A network without pipes returns errors.ErrUnsupported if one is asked for.
func CreateSubprocessExec(ctx context.Context, name string, args []string, opts *SubprocessOptions) (*Process, error) {
	return createProcess(ctx, "CreateSubprocessExec", exec.Command(name, args...), opts)
}

// CreateSubprocessShell is CreateSubprocessExec for a line of the shell
// (asyncio.create_subprocess_shell): /bin/sh -c on Unix, cmd /c on Windows. What is
// not meant for the shell must be quoted by the caller. A signal meets the shell;
// use SubprocessOptions.ProcessGroup to reach what it has started.
func CreateSubprocessShell(ctx context.Context, command string, opts *SubprocessOptions) (*Process, error) {
	return createProcess(ctx, "CreateSubprocessShell", shell(command), opts)
}

func createProcess(ctx context.Context, op string, cmd *exec.Cmd, opts *SubprocessOptions) (*Process, error) {
	t, err := current(ctx, op)
	if err != nil {
		return nil, err
	}
	if opts == nil {
		opts = new(SubprocessOptions)
	}
	if opts.Limit < 0 {
		return nil, misuse(op, ErrBadArgument, "the limit is %d", opts.Limit)
	}
	p := &Process{loop: t.loop, limit: opts.Limit}
	p.child, err = t.loop.spawn(op, cmd, opts, [3]Stdio{Inherit, Inherit, Inherit}, p.connect, p.closePipes)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// connect makes a stream of our end of a pipe.
func (p *Process) connect(fd int, end *os.File) error {
	w := newStream(p.loop, originOf("pipe"), p.limit)
	if err := w.tr.useChildPipe(fd, end); err != nil {
		return err
	}
	p.pipes = append(p.pipes, &w.tr)
	switch fd {
	case 0:
		p.Stdin = w
		return nil
	case 1:
		p.Stdout = &w.reader
	case 2:
		p.Stderr = &w.reader
	}
	w.reader.closes = true
	return nil
}

func (p *Process) closePipes() {
	for _, tr := range p.pipes {
		tr.abort()
	}
}

// Pid returns the number of the process.
func (p *Process) Pid() int { return p.child.pid() }

// ReturnCode returns the exit status, or minus the number of the signal that has
// ended the process, and true; false while the exit is not known
// (Process.returncode). If other code of this program has waited for the process
// the code is lost: it is 255, and the exception handler is told.
func (p *Process) ReturnCode() (code int, exited bool) { return p.child.returnCode() }

// State returns what the system knows about the process that has exited: times,
// status, memory. It is nil before, and if that is lost.
func (p *Process) State() *os.ProcessState { return p.child.state }

// task returns the running task, which must be of the process's loop.
func (p *Process) task(ctx context.Context, op string) (*task, error) {
	t, err := current(ctx, op)
	if err == nil && t.loop != p.loop {
		err = misuse(op, ErrWrongLoop, "the process belongs to %s, the running task to %s", p.loop.name, t.loop.name)
	}
	return t, err
}

// Wait waits until the process has exited and returns its code, as ReturnCode
// does. It does not wait for the ends of the pipes. Any number of tasks may wait; a
// cancelled Wait does nothing to the process.
//
// A process whose output is a pipe that nobody reads may never exit: read it, use
// Communicate, or let it go to DevNull.
func (p *Process) Wait(ctx context.Context) (code int, err error) {
	t, err := p.task(ctx, "Process.Wait")
	if err != nil {
		return 0, err
	}
	for !p.child.exited {
		if err := t.parkIn(ctx, &p.child.waiters); err != nil {
			return 0, err
		}
	}
	return p.child.code, nil
}

// Communicate writes input to the process and closes its input, reads both outputs
// to their ends, all at the same time, and waits until the process has exited. It
// returns the outputs, nil for one that is no pipe. That the process does not read its
// input to the end is no error. All output is kept in memory.
//
// A cancelled Communicate does nothing to the process, and loses nothing of its
// outputs: what has arrived is in the readers. What was written stays written.
// Input for a process that has no pipe for it is a *UsageError.
func (p *Process) Communicate(ctx context.Context, input []byte) (stdout, stderr []byte, err error) {
	if _, err := p.task(ctx, "Process.Communicate"); err != nil {
		return nil, nil, err
	}
	if len(input) > 0 && p.Stdin == nil {
		return nil, nil, misuse("Process.Communicate", ErrBadArgument, "there is input, but standard input is no pipe")
	}
	var jobs []func(ctx context.Context) error
	if p.Stdin != nil {
		jobs = append(jobs, func(ctx context.Context) error { return p.feed(ctx, input) })
	}
	for _, r := range []*StreamReader{p.Stdout, p.Stderr} {
		if r != nil {
			jobs = append(jobs, r.fetchAll)
		}
	}
	if err := together(ctx, jobs); err != nil {
		return nil, nil, err
	}
	if _, err := p.Wait(ctx); err != nil {
		return nil, nil, err
	}
	return p.Stdout.rest(), p.Stderr.rest(), nil
}

// feed writes input and closes the pipe.
func (p *Process) feed(ctx context.Context, input []byte) error {
	const portion = 64 << 10 // so that at most twice that much is copied
	for len(input) > 0 {
		n := min(len(input), portion)
		_, err := p.Stdin.Write(input[:n])
		if err == nil {
			err = p.Stdin.Drain(ctx)
		}
		if brokenPipe(err) {
			break
		}
		if err != nil {
			return err
		}
		input = input[n:]
	}
	return p.Stdin.Close()
}

// fetchAll reads to the end and keeps everything in the reader, so that nothing is
// lost if it is cancelled.
func (r *StreamReader) fetchAll(ctx context.Context) error {
	if _, err := r.Peek(ctx, math.MaxInt); err != io.EOF {
		return err
	}
	return nil
}

// rest takes what is in the reader; nil if there is no reader.
func (r *StreamReader) rest() []byte {
	switch {
	case r == nil:
		return nil
	case r.Buffered() == 0:
		r.release()
		return []byte{}
	}
	return r.take(r.Buffered())
}

// together runs jobs at the same time. The first error ends the others, and is
// returned.
func together(ctx context.Context, jobs []func(ctx context.Context) error) error {
	switch len(jobs) {
	case 0:
		return nil
	case 1:
		return jobs[0](ctx)
	}
	err := WithTaskGroup(ctx, func(_ context.Context, g *TaskGroup) error {
		for _, job := range jobs {
			g.Go(job)
		}
		return nil
	})
	if failures, ok := err.(*GroupError); ok {
		return errors.Join(failures.Errs...)
	}
	return err
}

// Signal sends a signal to the process (Process.send_signal). Once its exit is known
// this returns os.ErrProcessDone, as do the other functions that send signals; a
// signal never meets another process. Windows knows os.Kill only.
func (p *Process) Signal(sig os.Signal) error { return p.child.signal("Process.Signal", sig, false) }

// Terminate asks the process to end, by SIGTERM. On Windows it is Kill.
func (p *Process) Terminate() error { return p.child.signal("Process.Terminate", termination, false) }

// Kill ends the process, by SIGKILL.
func (p *Process) Kill() error { return p.child.signal("Process.Kill", os.Kill, false) }

// SignalGroup sends a signal to the process and all others in its group. It needs
// SubprocessOptions.ProcessGroup or NewSession. When the process has exited, the
// others of the group can no longer be reached.
func (p *Process) SignalGroup(sig os.Signal) error {
	return p.child.signal("Process.SignalGroup", sig, true)
}

// KillGroup is SignalGroup with os.Kill.
func (p *Process) KillGroup() error { return p.child.signal("Process.KillGroup", os.Kill, true) }

// Shutdown ends the process and returns its code when it has exited: it sends what
// Terminate sends, and what Kill sends if grace has passed without an exit, or if the
// calling task is cancelled, whose cancellation it then returns. If grace is not
// positive it kills at once. A process with a group is ended with its group. One that
// has exited is left alone.
func (p *Process) Shutdown(ctx context.Context, grace time.Duration) (code int, err error) {
	if _, err := p.task(ctx, "Process.Shutdown"); err != nil {
		return 0, err
	}
	if grace > 0 && !p.child.exited {
		if err := p.child.end(termination); err != nil && err != os.ErrProcessDone {
			return 0, err
		}
		err = Timeout(ctx, grace, func(ctx context.Context) error {
			_, err := p.Wait(ctx)
			return err
		})
		if err == ErrTimeout {
			err = nil
		}
	}
	if !p.child.exited {
		if err := p.child.end(os.Kill); err != nil && err != os.ErrProcessDone {
			return 0, err
		}
		if _, werr := p.Wait(context.WithoutCancel(ctx)); werr != nil {
			return 0, werr
		}
	}
	return p.child.code, err
}

// Close closes the pipes, and kills the process if it has not exited; it is reaped
// when it has. Reads return net.ErrClosed from now on, and what was not sent is
// dropped. Closing twice is harmless.
func (p *Process) Close() error {
	if !p.loop.mine() {
		return p.loop.elsewhere("Process.Close")
	}
	err := p.child.close()
	p.closePipes()
	return err
}

// String shows the number and the state of the process.
func (p *Process) String() string { return p.child.describe("Process") }
