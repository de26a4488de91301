// Running a program: make a loop, run main, cancel what is left, close.

package asyncio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"

	"github.com/goasyncio/asyncio/internal/seam"
)

// Run makes an event loop, runs main on it as a task, and closes it
// (asyncio.run). It returns the error of main.
//
// When main has ended, all other tasks are cancelled and awaited. One that does
// not end within the grace (WithShutdownGrace) is ended by force and reported to
// the exception handler. What cannot be ended is named in the error of Run.
//
// If ctx is cancelled, main is cancelled with the same cause; main's context has
// the values of ctx. A panic of main, once all is cleaned up, goes on in Run, as a
// *PanicError with the stack of main; so does one of another task that main returns.
// If main calls runtime.Goexit, as testing.T.FailNow does, Run's goroutine exits.
//
// Inside a running loop Run returns a *UsageError, ErrLoopRunning; so it does, with
// ErrBadArgument, if main or an option is nil. An error of Close is joined to that of
// main.
func Run(ctx context.Context, main func(ctx context.Context) error, opts ...RunOption) error {
	_, err := runValue(ctx, valueless(main), placeOf(main), opts)
	return err
}

// RunValue is Run for a main that has a value.
func RunValue[T any](ctx context.Context, main Coroutine[T], opts ...RunOption) (value T, err error) {
	return runValue(ctx, main, placeOf(main), opts)
}

func runValue[T any](ctx context.Context, main Coroutine[T], code codePlace, opts []RunOption) (value T, err error) {
	if err := checkOptions("Run", opts); err != nil {
		return value, err
	}
	r := NewRunner(opts...)
	defer func() {
		if cerr := r.Close(); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}()
	return runIn(ctx, r, main, code)
}

// A Runner runs several mains, one after another, on one loop (asyncio.Runner).
// Tasks that a main leaves behind go on in the next run, until Close. Like its
// loop it belongs to the goroutine that used it first.
type Runner struct {
	config runConfig
	loop   *EventLoop
	closed bool
}

// NewRunner returns a Runner. It makes its loop when that is first needed. It panics with
// a *UsageError if an option is nil.
func NewRunner(opts ...RunOption) *Runner {
	mustOptions("NewRunner", opts)
	r := new(Runner)
	for _, o := range opts {
		o.applyRun(&r.config)
	}
	return r
}

// Loop returns the runner's loop, and after Close a *UsageError, ErrLoopClosed.
func (r *Runner) Loop() (*EventLoop, error) {
	if r.closed {
		return nil, misuse("Runner.Loop", ErrLoopClosed, "the runner is closed")
	}
	if r.loop == nil {
		r.loop = NewEventLoop(r.config.loop...)
	}
	return r.loop, nil
}

// Run runs main on the runner's loop and returns its error; see the function Run.
func (r *Runner) Run(ctx context.Context, main func(ctx context.Context) error) error {
	_, err := runIn(ctx, r, valueless(main), placeOf(main))
	return err
}

// Close cancels the tasks that are left and closes the loop; see EventLoop.Close.
// Closing twice, or without any run, is harmless.
func (r *Runner) Close() error {
	r.closed = true
	if r.loop == nil {
		return nil
	}
	return r.loop.Close()
}

// RunIn is Runner.Run for a main that has a value.
func RunIn[T any](ctx context.Context, r *Runner, main Coroutine[T]) (T, error) {
	return runIn(ctx, r, main, placeOf(main))
}

// runIn is RunIn for a main whose code begins at a place that is known.
func runIn[T any](ctx context.Context, r *Runner, main Coroutine[T], code codePlace) (T, error) {
	var zero T
	l, err := r.Loop()
	if err != nil {
		return zero, err
	}
	if err := l.mayRun("Run"); err != nil {
		return zero, err
	}
	if main == nil {
		return zero, misuse("Run", ErrBadArgument, "the function is nil")
	}
	t := newTask(l.Context(ctx), main, []TaskOption{WithName("main")}, "Run")
	t.code = code
	t.start()
	defer t.follow(ctx)()
	defer t.interruptOn(r.config.interrupts)()
	err = l.RunUntilComplete(t)
	var p *PanicError
	switch {
	case t.exited:
		r.Close()
		runtime.Goexit()
	case errors.As(err, &p):
		r.Close()
		panic(p)
	case err != nil:
		return zero, err
	}
	return t.value, nil
}

// follow makes t, which is a main, repeat the cancellation of ctx.
func (t *task) follow(ctx context.Context) (stop func()) {
	if t.loop.tape != nil {
		t.loop.expect(seam.Post{Kind: seam.Cancel}, &follower{task: t, ctx: ctx})
		t.loop.expect(seam.Post{Kind: seam.Cancel, Number: 1}, &follower{task: t, ctx: ctx, expired: true})
	}
	if ctx.Done() == nil {
		return func() {}
	}
	b := &follower{task: t, ctx: ctx}
	if ctx.Err() != nil {
		b.run()
		return func() {}
	}
	cancel := context.AfterFunc(ctx, func() { t.loop.entry.post(b) })
	return func() { cancel() }
}

// A follower is the cancellation of a main by the context given to Run.
type follower struct {
	task    *task
	ctx     context.Context
	expired bool // in a replay, where ctx goes on
}

func (b *follower) post() seam.Post {
	p := seam.Post{Kind: seam.Cancel}
	if b.expired || b.ctx.Err() == context.DeadlineExceeded {
		p.Number = 1
	}
	return p
}

func (b *follower) run() {
	if b.task.state == pending {
		cause := context.Cause(b.ctx)
		if cause == b.ctx.Err() {
			cause = nil
		}
		b.task.root.request(cause, b.expired || b.ctx.Err() == context.DeadlineExceeded)
	}
}

// interruptOn cancels t at the first of the signals, and prints all tasks and
// restores the default action at the second.
func (t *task) interruptOn(signals []os.Signal) (stop func()) {
	if len(signals) == 0 {
		return func() {}
	}
	received := make(chan os.Signal, 2)
	signal.Notify(received, signals...)
	over := make(chan struct{})
	ended := make(chan struct{})
	l := t.loop
	first := interruption{number: 1, call: &call{fn: func() { t.cancel(ErrInterrupted) }}}
	second := interruption{number: 2, call: &call{fn: func() { fmt.Fprint(os.Stderr, l.taskTree()) }}}
	l.expect(first.post(), first)
	l.expect(second.post(), second)
	go func() {
		defer close(ended)
		select {
		case <-received:
		case <-over:
			return
		}
		l.entry.post(first)
		select {
		case <-received:
		case <-over:
			return
		}
		signal.Reset(signals...)
		l.entry.post(second)
	}()
	return func() {
		signal.Stop(received)
		close(over)
		<-ended
	}
}

// An interruption is what a signal of interruptOn does.
type interruption struct {
	*call
	number uint64
}

func (i interruption) post() seam.Post {
	return seam.Post{Kind: seam.Interrupt, Number: i.number}
}

// RunUntilComplete runs the loop until f is done and returns the error of f
// (loop.run_until_complete). The loop stays open, and can be run again. It fails
// like RunForever, with ErrLoopStopped if Stop ends the run before f is done, and
// with ErrDeadlock if f can never be done.
func (l *EventLoop) RunUntilComplete(f AnyFuture) error {
	if f == nil {
		return misuse("RunUntilComplete", ErrBadArgument, "the future is nil")
	}
	c := f.core()
	if c.loop != l {
		return misuse("RunUntilComplete", ErrWrongLoop, "the future does not belong to %s", l.name)
	}
	if err := l.enter("RunUntilComplete"); err != nil {
		return err
	}
	defer l.leave()
	over := false
	stop := c.onDone(func(*future) {
		if !over { // Stop may have been faster; the next run is none of its business
			l.stopping = true
		}
	})
	defer func() {
		over = true
		c.removeCallback(stop)
	}()
	for {
		if err := l.pass(-1); err != nil {
			return err
		}
		if l.stopping {
			break
		}
	}
	if c.state == pending {
		return misuse("RunUntilComplete", ErrLoopStopped, "%s", l.name)
	}
	c.see()
	return c.err
}
