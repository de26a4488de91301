// Promises: futures that other goroutines complete.

package asyncio

import (
	"context"
	"sync"
)

// Promise is the other side of a future: any goroutine may complete it, once
// (concurrent.futures.Future, seen from its executor). The tasks of the loop await its
// Future. Until it is decided, the loop keeps it, and a virtual clock follows the wall
// clock. Complete the future by the promise only.
//
// A promise costs some allocations, and a wake-up of the loop when it is decided.
type Promise[T any] struct {
	registered // in loop.open, until it is delivered
	future     Future[T]
	forward    func(cause error) // what a cancellation asks to end instead; may be nil
	done       chan struct{}

	mu      sync.Mutex
	decided bool
	value   T
	err     error
}

// NewPromise makes a promise whose future is on the loop of ctx. It panics with a
// *UsageError if ctx carries no loop, on a goroutine that must not use the loop, and
// after Close.
func NewPromise[T any](ctx context.Context) *Promise[T] {
	return newPromise[T](loopOf(ctx, "NewPromise"), "NewPromise")
}

func newPromise[T any](l *EventLoop, op string) *Promise[T] {
	l.check(op)
	p := &Promise[T]{done: make(chan struct{})}
	p.future.init(l, &p.future)
	p.future.canceller = p
	l.open.add(&p.registered, p)
	l.outside++
	return p
}

// String is that of the future.
func (p *Promise[T]) String() string { return "Promise of " + p.future.String() }

// Future returns the future, for the tasks of the loop. Cancelling it, or a task that
// awaits it, decides the promise, unless that was decided before: then the future
// ends with that value or error.
func (p *Promise[T]) Future() *Future[T] { return &p.future }

// Resolve completes the future with v and reports whether it was in time: not if the
// promise is decided already, the future cancelled, or the loop closed. Any goroutine
// may call it; on the loop's own, too, the future is done in the next pass.
func (p *Promise[T]) Resolve(v T) bool { return p.decide(v, nil) }

// Reject completes the future with err, and reports like Resolve. A cancellation as
// err is an error like any other. It panics with a *UsageError if err is nil.
func (p *Promise[T]) Reject(err error) bool {
	if err == nil {
		panic(misuse("Promise.Reject", ErrBadArgument, "the error is nil; use Resolve"))
	}
	var zero T
	return p.decide(zero, err)
}

// Done returns a channel that is closed when nothing can be decided any more: by
// Resolve or Reject, because the future was cancelled, or with the loop. A goroutine
// that works for the promise should end then.
func (p *Promise[T]) Done() <-chan struct{} { return p.done }

func (p *Promise[T]) decide(v T, err error) bool {
	return p.settle(v, err) && p.future.loop.entry.post(p)
}

// settle decides the promise without telling the loop.
func (p *Promise[T]) settle(v T, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.decided {
		return false
	}
	p.decided, p.value, p.err = true, v, err
	close(p.done)
	return true
}

// run delivers what was decided.
func (p *Promise[T]) run() {
	if p.owner == nil {
		return
	}
	p.leave()
	if p.future.state != pending { // somebody has called SetResult
		return
	}
	p.future.value = p.value
	state := finished
	if p.forward != nil && p.err != nil && isCancelled(p.err, nil) {
		state = cancelled
	}
	p.future.finish(state, p.err)
}

// cancel is called by the future, on the loop's goroutine, while that is pending.
func (p *Promise[T]) cancel(cause error) bool {
	var zero T
	switch {
	case p.forward != nil:
		p.forward(cause)
		return true
	case p.settle(zero, newCancelled(cause)):
		p.leave()
		p.future.finish(cancelled, p.err)
		return true
	}
	return true // it was decided before, and what was is on its way
}

func (p *Promise[T]) leave() {
	p.future.loop.open.remove(&p.registered)
	p.future.loop.outside--
}

// abandon tells the goroutine that works for the promise that the loop is closed.
func (p *Promise[T]) abandon() {
	var zero T
	p.settle(zero, misuse("Promise", ErrLoopClosed, "%s", p.future.loop.name))
}

// WrapFuture returns a future on the loop of ctx for a coroutine that runs on
// another loop (asyncio.wrap_future). So a task of one loop awaits what a task of
// another one does:
//
//	f := asyncio.RunCoroutineThreadsafe(ctx, other, work)
//	v, err := asyncio.WrapFuture(ctx, f).Await(ctx)
//
// Cancelling the future, or a task that awaits it, asks the coroutine to end; the
// future is done when the coroutine is, as with a task of the same loop. If the other
// loop is closed the future fails with ErrLoopClosed, unless its task has ended
// before. A virtual clock follows the wall clock until then.
//
// WrapFuture panics with a *UsageError if f is nil, if ctx carries no loop, on a
// goroutine that must not use that, and after Close.
func WrapFuture[T any](ctx context.Context, f *ThreadFuture[T]) *Future[T] {
	const op = "WrapFuture"
	l := loopOf(ctx, op)
	if f == nil {
		panic(misuse(op, ErrBadArgument, "the future is nil"))
	}
	p := newPromise[T](l, op)
	p.forward = func(cause error) { f.Cancel(cause) }
	f.whenDone(func() { p.decide(f.value, f.err) })
	return &p.future
}
