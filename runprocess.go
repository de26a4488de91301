// Processes that live no longer than the task that has started them.

package asyncio

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"time"
)

const defaultGrace = 5 * time.Second

// WithProcess starts a program, as CreateSubprocessExec does, runs fn with it, and
// returns when fn has returned and the process has exited and is reaped. If it still
// runs when fn returns, because the calling task was cancelled for instance, it is
// ended: by Terminate, and by Kill when SubprocessOptions.Grace has passed, or at
// once if the task is cancelled once more, or if fn panics. A fn that wants the process
// to go its own way calls Wait.
//
// It returns the error of fn, and the errors of starting and ending the process.
func WithProcess(ctx context.Context, name string, args []string, opts *SubprocessOptions, fn func(ctx context.Context, p *Process) error) (err error) {
	if fn == nil {
		return misuse("WithProcess", ErrBadArgument, "the function is nil")
	}
	p, err := CreateSubprocessExec(ctx, name, args, opts)
	if err != nil {
		return err
	}
	grace := time.Duration(-1) // fn may panic, or be left by Goexit
	defer func() {
		_, serr := p.Shutdown(CleanupContext(ctx), grace)
		p.Close()
		switch {
		case err == nil:
			err = serr
		case serr != nil && !isCancelled(serr, nil):
			err = errors.Join(err, serr)
		}
	}()
	err = fn(ctx, p)
	grace = defaultGrace
	if opts != nil && opts.Grace != 0 {
		grace = opts.Grace
	}
	return err
}

// ProcessResult is what has become of a process that RunProcess has run.
type ProcessResult struct {
	// Stdout and Stderr are the outputs; nil for one that was not captured.
	Stdout, Stderr []byte

	// ReturnCode is the exit status, or minus the number of the signal that has
	// ended the process.
	ReturnCode int

	// State is what the system knows about the process. It is nil if that is lost.
	State *os.ProcessState
}

// RunProcess runs a program to its end: it starts it, writes input, collects the
// outputs and waits, as Communicate does. A standard stream that opts does not name
// is captured, and standard input is empty if input is nil.
//
// If the exit status is not zero, or a signal has ended the process, the error is an
// *exec.ExitError, as that of package os/exec. If the calling task is cancelled, the
// process is ended as by WithProcess, and RunProcess returns the cancellation when it
// is reaped. In both cases the result is there too, with the output so far. An
// error of starting has no result.
func RunProcess(ctx context.Context, name string, args []string, input []byte, opts *SubprocessOptions) (*ProcessResult, error) {
	var o SubprocessOptions
	if opts != nil {
		o = *opts
	}
	if o.Stdin.mode == stdioDefault {
		o.Stdin = DevNull
		if input != nil {
			o.Stdin = Pipe
		}
	}
	for _, s := range []*Stdio{&o.Stdout, &o.Stderr} {
		if s.mode == stdioDefault {
			*s = Pipe
		}
	}
	var r *ProcessResult
	var process *Process
	err := WithProcess(ctx, name, args, &o, func(ctx context.Context, p *Process) error {
		r, process = new(ProcessResult), p
		var err error
		if r.Stdout, r.Stderr, err = p.Communicate(ctx, input); err != nil {
			r.Stdout, r.Stderr = p.Stdout.rest(), p.Stderr.rest()
			return err
		}
		if code, _ := p.ReturnCode(); code != 0 {
			return &exec.ExitError{ProcessState: p.State()}
		}
		return nil
	})
	if r != nil {
		r.ReturnCode, _ = process.ReturnCode()
		r.State = process.State()
	}
	return r, err
}
