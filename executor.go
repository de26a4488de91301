// Executors: whose goroutines run the functions that may block.

package asyncio

import (
	"context"
	"fmt"
	"strings"
)

// Executor runs functions on goroutines of its choice (concurrent.futures.Executor):
// a pool of workers that keep a connection or an OS thread each, for example. Whoever
// makes one ends it, after the loop has been closed.
type Executor interface {
	// Execute has fn called once, on another goroutine, and returns without waiting
	// for that. If it returns an error, fn must never be called. It is called on the
	// loop's goroutine, which it must not block. Several loops may call it at once if
	// they share the executor.
	Execute(fn func()) error
}

// WithExecutor makes e the loop's default executor, as SetDefaultExecutor does. It
// panics if e is nil.
func WithExecutor(e Executor) LoopOption {
	if e == nil {
		panic(misuse("WithExecutor", ErrBadArgument, "the executor is nil"))
	}
	return loopOption(func(c *loopConfig) { c.executor = e })
}

// SetDefaultExecutor makes e run the functions of ToThread from now on
// (loop.set_default_executor). Limits stay: e gets no more functions at once than the
// thread limit, or the limiter, allows. Without it each function has a goroutine.
// Name look-ups do not use it. SetDefaultExecutor panics with a *UsageError if e is nil,
// on a goroutine that must not use the loop, and after Close.
func (l *EventLoop) SetDefaultExecutor(e Executor) {
	l.check("SetDefaultExecutor")
	if e == nil {
		panic(misuse("SetDefaultExecutor", ErrBadArgument, "the executor is nil"))
	}
	l.defaultExecutor().executor = e
}

// ShutdownDefaultExecutor makes ToThread return ErrExecutorShutDown from now on, and
// waits until the functions that it was given before have ended
// (loop.shutdown_default_executor). Those that wait for their turn are run. Close waits
// as well, for its grace; this is for programs that want to see to it earlier.
//
// If the task, or ctx, is cancelled, by a Timeout for example, it returns that, and
// logs a warning that names the functions which go on. Outside a task, or on another
// loop, it returns a *UsageError. Calling it twice is harmless.
func (l *EventLoop) ShutdownDefaultExecutor(ctx context.Context) error {
	const op = "ShutdownDefaultExecutor"
	t, err := current(ctx, op)
	if err != nil {
		return err
	}
	if t.loop != l {
		return misuse(op, ErrWrongLoop, "the running task %s belongs to %s, not to %s", t.Name(), t.loop.name, l.name)
	}
	d := l.defaultExecutor()
	d.down = true
	if d.jobs.count == 0 {
		return nil
	}
	w := &waiter{task: t}
	d.idle = append(d.idle, w)
	err = t.park(ctx, w)
	if err != nil && d.jobs.count > 0 {
		l.logger.Warn("asyncio: the default executor did not finish in time", "running", d.names())
	}
	return err
}

// defaultExecutor is who runs the functions of ToThread on a loop, and which.
type defaultExecutor struct {
	executor Executor
	down     bool
	jobs     registry
	idle     []*waiter // those that wait until there are no jobs
}

func (l *EventLoop) defaultExecutor() *defaultExecutor {
	if l.executor == nil {
		d := &defaultExecutor{executor: goroutines{}}
		if e, ok := l.options.executor.(Executor); ok {
			d.executor = e
		}
		l.executor = d
	}
	return l.executor.(*defaultExecutor)
}

// ended is called when a job has left.
func (d *defaultExecutor) ended() {
	if d.jobs.count > 0 {
		return
	}
	for _, w := range d.idle {
		w.wake(nil)
	}
	d.idle = nil
}

func (d *defaultExecutor) names() string {
	var names []string
	for _, job := range d.jobs.owners() {
		names = append(names, fmt.Sprint(job))
	}
	return strings.Join(names, ", ")
}

// goroutines is the executor that starts a goroutine for each function.
type goroutines struct{}

func (goroutines) Execute(fn func()) error {
	go fn()
	return nil
}
