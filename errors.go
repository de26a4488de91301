// The errors of the package: sentinels, error types and what counts as a
// cancellation.

package asyncio

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Errors that operations return. Compare with errors.Is.
var (
	// ErrCancelled is the cancellation of a task or future (asyncio.CancelledError).
	// The error itself is a *CancelledError, which tells why.
	ErrCancelled = errors.New("cancelled")

	// ErrTimeout says that a Timeout, a TimeoutAt or a WaitFor has expired
	// (TimeoutError). It Is context.DeadlineExceeded and os.ErrDeadlineExceeded.
	ErrTimeout error = timeoutError{}

	// ErrInvalidState is returned when a result is set a second time, or read
	// before it is there (asyncio.InvalidStateError).
	ErrInvalidState = errors.New("asyncio: invalid state")

	// ErrDeadlock is returned by RunUntilComplete when its future is not done
	// and nothing can ever wake the loop. Only a loop on a virtual clock can
	// know that. The text says which task waits for what, in which line of the
	// program, and which tasks wait for each other.
	ErrDeadlock = errors.New("asyncio: deadlock")

	// ErrInterrupted is the cause of the cancellation when a signal given to
	// WithInterrupt has ended the program (KeyboardInterrupt).
	ErrInterrupted = errors.New("asyncio: interrupted")

	// ErrGoexit is the failure of a task whose coroutine called
	// runtime.Goexit, as testing.T.FailNow does.
	ErrGoexit = errors.New("asyncio: coroutine called runtime.Goexit")

	// ErrTaskGroupClosed is the cause with which a task ends at once that was
	// added to a group which is shutting down or has ended. It never runs.
	ErrTaskGroupClosed = errors.New("asyncio: task group is shutting down")

	// ErrQueueEmpty is returned by GetNowait of a queue that has no item
	// (asyncio.QueueEmpty).
	ErrQueueEmpty = errors.New("asyncio: queue is empty")

	// ErrQueueFull is returned by PutNowait of a queue that has no room
	// (asyncio.QueueFull).
	ErrQueueFull = errors.New("asyncio: queue is full")

	// ErrQueueShutDown is returned by a queue after Shutdown (asyncio.QueueShutDown).
	ErrQueueShutDown = errors.New("asyncio: queue is shut down")

	// ErrExecutorShutDown is returned by ToThread and RunInExecutor after
	// ShutdownDefaultExecutor.
	ErrExecutorShutDown = errors.New("asyncio: the default executor is shut down")

	// ErrBrokenBarrier is returned to those who wait at a barrier that is
	// aborted or reset (asyncio.BrokenBarrierError).
	ErrBrokenBarrier = errors.New("asyncio: barrier is broken")

	// ErrSendfileNotAvailable is returned when the kernel cannot send a file by
	// itself and copying was refused (asyncio.SendfileNotAvailableError).
	ErrSendfileNotAvailable = errors.New("asyncio: sendfile is not available")
)

// Causes of a [UsageError]: mistakes of the caller. Compare with errors.Is.
var (
	// ErrOutsideTask: an operation that may suspend was called outside a
	// task, in a callback for example, or with a context that no task gave.
	ErrOutsideTask = errors.New("called outside a task")

	// ErrWrongGoroutine: something that belongs to a loop was used on a
	// goroutine that is not running it.
	ErrWrongGoroutine = errors.New("called from the wrong goroutine")

	// ErrWrongLoop: a future, stream or context of one loop was used in another.
	ErrWrongLoop = errors.New("belongs to another loop")

	// ErrLoopRunning: the loop runs already, or another one runs on this goroutine.
	ErrLoopRunning = errors.New("loop is running")

	// ErrLoopClosed: the loop has been closed.
	ErrLoopClosed = errors.New("loop is closed")

	// ErrLoopStopped: RunUntilComplete ended by Stop before its future was done.
	ErrLoopStopped = errors.New("loop stopped before the future was done")

	// ErrAwaitSelf: a task waits for itself.
	ErrAwaitSelf = errors.New("task awaits itself")

	// ErrConcurrentRead: a second task reads from a stream while one waits in it.
	ErrConcurrentRead = errors.New("another task is reading from this stream")

	// ErrBadArgument: an argument has a value that makes no sense.
	ErrBadArgument = errors.New("bad argument")

	// ErrDescriptorInUse: a descriptor that belongs to a connection or server of
	// the loop was to be watched or used by hand.
	ErrDescriptorInUse = errors.New("descriptor belongs to the loop")

	// ErrScopeState: a TimeoutScope was rescheduled when it was not active.
	ErrScopeState = errors.New("timeout scope is not active")

	// ErrNotHeld: a lock was released, or a condition used, while nobody held the lock.
	ErrNotHeld = errors.New("lock is not held")

	// ErrTooOften: a BoundedSemaphore was released more often than acquired, or
	// TaskDone called more often than items were put.
	ErrTooOften = errors.New("called too often")
)

// UsageError reports a mistake of the caller. Functions with an error result
// return it; those without panic with it. Its text names the operation, both
// sides of the conflict and the remedy. It unwraps to its cause, one of the
// sentinels of this package.
type UsageError struct {
	Op    string // the operation, "Sleep"
	Cause error  // which mistake: ErrOutsideTask, ...
	Text  string // who, where, and what to do instead
}

func (e *UsageError) Error() string {
	s := "asyncio: " + e.Op + ": " + e.Cause.Error()
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Cause }

func misuse(op string, cause error, format string, args ...any) *UsageError {
	return &UsageError{Op: op, Cause: cause, Text: fmt.Sprintf(format, args...)}
}

// CancelledError is the error of an await that was cancelled and the result of
// a cancelled task or future. It Is ErrCancelled, and it Is context.Canceled,
// or context.DeadlineExceeded if a deadline was the reason. It unwraps to the
// cause that was given to Cancel, if any.
type CancelledError struct {
	// Cause is why: what was given to Cancel, nil if that was nothing.
	Cause error

	// deadline is set if the request came from an expired deadline.
	deadline bool
}

// errPlainCancel serves all cancellations without a cause.
var errPlainCancel = &CancelledError{}

func newCancelled(cause error) *CancelledError {
	if cause == nil {
		return errPlainCancel
	}
	return &CancelledError{Cause: cause}
}

func (e *CancelledError) Error() string {
	switch {
	case e.Cause != nil && e.Cause != context.Canceled:
		return "asyncio: cancelled: " + e.Cause.Error()
	case e.deadline:
		return "asyncio: cancelled: " + context.DeadlineExceeded.Error()
	}
	return "asyncio: cancelled"
}

// Is reports whether target is ErrCancelled or the error that a context gives
// for this kind of cancellation.
func (e *CancelledError) Is(target error) bool {
	return target == ErrCancelled || target == e.contextError()
}

func (e *CancelledError) contextError() error {
	if e.deadline {
		return context.DeadlineExceeded
	}
	return context.Canceled
}

// Unwrap returns the cause.
func (e *CancelledError) Unwrap() error { return e.Cause }

// isCancelled reports whether err is a cancellation through and through: every
// leaf of it Is ErrCancelled, or is ctxErr, which is what the context at hand
// says (nil if it is not done). A joined error with anything else in it is a
// failure, so that the failure is not lost.
func isCancelled(err, ctxErr error) bool {
	switch e := err.(type) {
	case nil:
		return false
	case *CancelledError:
		return true
	case interface{ Unwrap() []error }:
		members := e.Unwrap()
		for _, m := range members {
			if !isCancelled(m, ctxErr) {
				return false
			}
		}
		return len(members) > 0
	}
	if err == ErrCancelled || ctxErr != nil && err == ctxErr {
		return true
	}
	if inner := errors.Unwrap(err); inner != nil {
		return isCancelled(inner, ctxErr)
	}
	return false
}

type timeoutError struct{}

func (timeoutError) Error() string { return "asyncio: timeout" }

// Timeout makes it a net.Error that timed out.
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

func (timeoutError) Is(target error) bool {
	return target == context.DeadlineExceeded || target == os.ErrDeadlineExceeded
}

// PanicError is the failure of a task, a callback or a function run by
// ToThread that panicked. If it reaches Run, Run panics with it. A panic in the poll of
// the network, which would be a fault of this library, ends the run with one that says so.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // the stack of the coroutine that panicked

	in string // what panicked, if that is no code of the program
}

func (e *PanicError) Error() string {
	what := "panic"
	if e.in != "" {
		what += " in " + e.in
	}
	return fmt.Sprintf("%s: %v\n\n%s", what, e.Value, e.Stack)
}

// Unwrap returns the value of the panic if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// GroupError holds the failures of a task group (ExceptionGroup): those of the
// children in the order in which they failed, the body's last.
type GroupError struct {
	Errs []error
}

func (e *GroupError) Error() string {
	if len(e.Errs) == 1 {
		return "task group: " + e.Errs[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "task group: %d errors:", len(e.Errs))
	for i, err := range e.Errs {
		fmt.Fprintf(&b, "\n%d. %v", i+1, err)
	}
	return b.String()
}

// Unwrap returns the members; errors.Is and errors.As look into all of them.
func (e *GroupError) Unwrap() []error { return e.Errs }

// IncompleteReadError says that a stream ended before what was asked for had
// arrived (asyncio.IncompleteReadError). It Is io.ErrUnexpectedEOF.
type IncompleteReadError struct {
	Partial  []byte // what arrived; it has been consumed
	Expected int    // how many bytes were asked for; -1 if that was not known
}

func (e *IncompleteReadError) Error() string {
	if e.Expected < 0 {
		return fmt.Sprintf("stream ended after %d bytes without the separator", len(e.Partial))
	}
	return fmt.Sprintf("stream ended after %d of %d bytes", len(e.Partial), e.Expected)
}

// Is reports whether target is io.ErrUnexpectedEOF.
func (e *IncompleteReadError) Is(target error) bool { return target == io.ErrUnexpectedEOF }

// LimitOverrunError says that a line or record is longer than the limit of the
// stream (asyncio.LimitOverrunError). Nothing is consumed: Discard drops the
// data, another read with a higher limit gets it. It Is bufio.ErrTooLong.
type LimitOverrunError struct {
	// Buffered is a copy of what the stream holds.
	Buffered []byte
	// Consumed is how many bytes can be discarded without losing a separator.
	Consumed int
	// Found says that the separator is there, right behind the first Consumed
	// bytes.
	Found bool
}

func (e *LimitOverrunError) Error() string {
	if e.Found {
		return fmt.Sprintf("separator found after %d bytes, beyond the limit", e.Consumed)
	}
	return fmt.Sprintf("no separator in the first %d bytes, the limit is exceeded", e.Consumed)
}

// Is reports whether target is bufio.ErrTooLong.
func (e *LimitOverrunError) Is(target error) bool { return target == bufio.ErrTooLong }
