// The way to other goroutines and back: blocking calls, and coroutines started
// from outside.

package asyncio

import (
	"context"
	"sync"

	"github.com/goasyncio/asyncio/internal/seam"
)

// ToThread runs fn, which may block, on a goroutine of its own, or the one that the
// loop's default executor gives it (SetDefaultExecutor), and suspends the calling task
// until fn returns (asyncio.to_thread). It returns what fn returns; a panic of fn as a
// *PanicError. The loop's other tasks go on meanwhile. No more functions run at once
// than the loop's thread limit allows, or the limiter given with WithLimiter; the
// others wait for their turn, first come, first served. After ShutdownDefaultExecutor
// it returns ErrExecutorShutDown, and outside a task a *UsageError.
//
// fn must not use the loop. Its context has the values of ctx, and is cancelled
// when the wait for fn is: ToThread then returns at once, and what fn returns is
// dropped. A function that had not begun is never called. To wait for the function
// all the same, because it opens something or still uses a buffer of the caller, give
// ToThread a context from context.WithoutCancel.
func ToThread[T any](ctx context.Context, fn func(ctx context.Context) (T, error), opts ...ThreadOption) (T, error) {
	var zero T
	t, err := current(ctx, "ToThread")
	if err != nil {
		return zero, err
	}
	if fn == nil {
		return zero, misuse("ToThread", ErrBadArgument, "the function is nil")
	}
	if err := checkOptions("ToThread", opts); err != nil {
		return zero, err
	}
	var value T
	err = t.offload(ctx, func(ctx context.Context) error {
		v, err := fn(ctx)
		if err == nil {
			value = v
		}
		return err
	}, placeOf(fn), opts)
	if err != nil {
		return zero, err
	}
	return value, nil
}

// RunInExecutor is ToThread on the goroutines of e (loop.run_in_executor). How many
// functions run at once is for e to say: the loop's thread limit does not count. With
// a nil e it is ToThread. If e refuses the function, RunInExecutor returns its error.
func RunInExecutor[T any](ctx context.Context, e Executor, fn func(ctx context.Context) (T, error)) (T, error) {
	if e == nil {
		return ToThread(ctx, fn)
	}
	return ToThread(ctx, fn, onExecutor(e))
}

// A ThreadOption is an option of ToThread.
type ThreadOption interface {
	applyThread(*threadConfig)
}

type threadConfig struct {
	limiter  *ThreadLimiter
	executor Executor // nil for the default one
}

type threadOption func(*threadConfig)

func (o threadOption) applyThread(c *threadConfig) { o(c) }

// WithLimiter makes ToThread count against limiter instead of the loop's thread
// limit, unless limiter is nil.
func WithLimiter(limiter *ThreadLimiter) ThreadOption {
	return threadOption(func(c *threadConfig) {
		if limiter != nil {
			c.limiter = limiter
		}
	})
}

// onExecutor makes ToThread use e, without a limit unless a limiter is given, too.
func onExecutor(e Executor) ThreadOption {
	return threadOption(func(c *threadConfig) { c.limiter, c.executor = nil, e })
}

// A ThreadLimiter bounds how many functions ToThread runs at once. NewThreadLimiter
// makes one. It belongs to the loop on which it is used first.
type ThreadLimiter struct {
	loop    *EventLoop // nil before its first use
	limit   int
	running int
	queue   registry // of *threadJob, those that wait for their turn
}

// NewThreadLimiter returns a limiter for n functions at once. It panics if n is
// not positive.
func NewThreadLimiter(n int) *ThreadLimiter {
	if n <= 0 {
		panic(misuse("NewThreadLimiter", ErrBadArgument, "the limit is %d; it must be positive", n))
	}
	return &ThreadLimiter{limit: n}
}

// bind ties the limiter to l at its first use.
func (m *ThreadLimiter) bind(l *EventLoop) error {
	if m.limit == 0 {
		return misuse("ToThread", ErrBadArgument, "the limiter has no limit; make it with NewThreadLimiter")
	}
	if m.loop == nil {
		m.loop = l
	}
	if m.loop != l {
		return misuse("ToThread", ErrWrongLoop, "the limiter is used by %s, the running loop is %s; make one for each loop", m.loop.name, l.name)
	}
	return nil
}

func (m *ThreadLimiter) submit(j *threadJob) {
	if m.running == m.limit {
		m.queue.add(&j.place, j)
		return
	}
	m.running++
	j.begin()
}

// withdraw removes a job that has not begun, and reports whether it could.
func (m *ThreadLimiter) withdraw(j *threadJob) bool {
	waits := j.place.owner != nil
	m.queue.remove(&j.place)
	return waits
}

func (m *ThreadLimiter) finished() {
	if m.queue.first == nil {
		m.running--
		return
	}
	j := m.queue.first.owner.(*threadJob)
	m.queue.remove(&j.place)
	j.begin()
}

// A threadJob is a function on its way through a goroutine and back. Posted to
// the loop it is the function's end.
type threadJob struct {
	registered            // in loop.workers, by which Close knows of it
	number     uint64     // for a tape
	place      registered // in limiter.queue
	member     registered // in pool.jobs
	loop       *EventLoop
	limiter    *ThreadLimiter   // nil if there is no limit
	executor   Executor         // who runs it
	pool       *defaultExecutor // nil if the executor is another one
	fn         func(context.Context) error
	ctx        context.Context
	code       codePlace
	waiter     *waiter // nil if nobody waits any more
	err        error
}

func (t *task) offload(ctx context.Context, fn func(context.Context) error, code codePlace, opts []ThreadOption) error {
	l := t.loop
	if l.limiter == nil {
		l.limiter = NewThreadLimiter(l.options.threads)
	}
	c := threadConfig{limiter: l.limiter.(*ThreadLimiter)}
	for _, o := range opts {
		o.applyThread(&c)
	}
	if c.limiter != nil {
		if err := c.limiter.bind(l); err != nil {
			return err
		}
	}
	var pool *defaultExecutor
	if c.executor == nil {
		if pool = l.defaultExecutor(); pool.down {
			return ErrExecutorShutDown
		}
		c.executor = pool.executor
	}
	if t.doomed(ctx) {
		return t.park(ctx, &waiter{task: t}) // fn is not worth beginning
	}
	jobCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	j := &threadJob{loop: l, limiter: c.limiter, executor: c.executor, pool: pool, fn: fn, ctx: jobCtx, code: code, waiter: &waiter{task: t}, number: l.number()}
	l.workers.add(&j.registered, j)
	l.outside++
	if pool != nil {
		pool.jobs.add(&j.member, j)
	}
	if c.limiter != nil {
		c.limiter.submit(j)
	} else {
		j.begin()
	}
	if err := t.park(ctx, j.waiter); err != nil {
		cancel(err)
		j.waiter = nil
		if c.limiter != nil && c.limiter.withdraw(j) {
			j.gone()
		}
		return err
	}
	return j.err
}

// begin gives the job to its executor. If that refuses, the job has ended.
func (j *threadJob) begin() {
	if err := j.execute(); err != nil {
		j.err = err
		j.loop.ready.push(j)
	}
}

func (j *threadJob) execute() (err error) {
	if _, plain := j.executor.(goroutines); plain {
		go j.work()
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: stack()}
		}
	}()
	return j.executor.Execute(j.work)
}

// work runs on the job's goroutine.
func (j *threadJob) work() {
	ended := false
	defer func() {
		if p := recover(); p != nil {
			j.err = &PanicError{Value: p, Stack: stack()}
		} else if !ended {
			j.err = ErrGoexit
		}
		j.loop.entry.post(j) // refused after Close, when nobody waits any more
	}()
	if j.err = j.ctx.Err(); j.err == nil { // else nobody waits any more, and it had not begun
		j.err = j.fn(j.ctx)
	}
	ended = true
}

func (j *threadJob) run() {
	if j.owner == nil {
		return // an executor that has called it, and refused it, or called it twice
	}
	j.gone()
	if j.limiter != nil {
		j.limiter.finished()
	}
	if j.waiter != nil {
		j.waiter.wake(nil)
	}
}

func (j *threadJob) gone() {
	j.loop.workers.remove(&j.registered)
	j.loop.outside--
	if j.pool != nil {
		j.pool.jobs.remove(&j.member)
		j.pool.ended()
	}
}

func (j *threadJob) post() seam.Post { return seam.Post{Kind: seam.Thread, Number: j.number} }

func (j *threadJob) String() string { return "a function run by ToThread: " + j.code.String() }

// RunCoroutineThreadsafe runs fn as a task of loop l, from any goroutine
// (asyncio.run_coroutine_threadsafe). On a loop that is not running the task
// starts when that runs; if l is closed, or is closed before, the future fails with
// ErrLoopClosed. ctx gives the task its values.
func RunCoroutineThreadsafe[T any](ctx context.Context, l *EventLoop, fn Coroutine[T], opts ...TaskOption) *ThreadFuture[T] {
	f := &ThreadFuture[T]{loop: l, done: make(chan struct{})}
	start := &threadsafeStart{
		start: func() { f.start(ctx, fn, opts) },
		fail:  func() { f.finish(misuse("RunCoroutineThreadsafe", ErrLoopClosed, "%s", l.name)) },
	}
	if l == nil {
		f.finish(misuse("RunCoroutineThreadsafe", ErrBadArgument, "the loop is nil"))
	} else if !l.entry.post(start) {
		start.fail()
	}
	return f
}

// threadsafeStart starts a task that came through the entry.
type threadsafeStart struct{ start, fail func() }

func (s *threadsafeStart) run()  { s.start() }
func (s *threadsafeStart) drop() { s.fail() }

// ThreadFuture is the result of a coroutine for other goroutines
// (concurrent.futures.Future). All its methods may be called from any goroutine.
type ThreadFuture[T any] struct {
	loop *EventLoop
	done chan struct{}

	mu      sync.Mutex
	over    bool
	readers []func() // told when it is over

	// Owned by the loop until done is closed.
	task  *Task[T]
	value T
	err   error
	asked *CancelledError // a cancellation that came before the task
}

func (f *ThreadFuture[T]) start(ctx context.Context, fn Coroutine[T], opts []TaskOption) {
	defer func() {
		if p := recover(); p != nil {
			err, misused := p.(*UsageError)
			if misused {
				f.finish(err)
				return
			}
			failure := &PanicError{Value: p, Stack: stack()} // of an option or a task factory
			f.finish(failure)
			f.loop.CallExceptionHandler(&ErrorContext{Message: "panic while a task was created", Err: failure})
		}
	}()
	if f.asked != nil {
		f.finish(f.asked)
		return
	}
	f.task = newTask(f.loop.Context(ctx), fn, opts, "RunCoroutineThreadsafe")
	// Whoever waits for f hears of it as soon as the task is done: when the loop
	// is closing there may be no further pass.
	f.task.seen = true
	f.task.extra().settled = func() {
		f.value = f.task.value
		f.finish(f.task.err)
	}
	f.task.start()
}

func (f *ThreadFuture[T]) finish(err error) {
	f.mu.Lock()
	if f.over {
		f.mu.Unlock()
		return
	}
	f.over, f.err = true, err
	readers := f.readers
	f.readers = nil
	close(f.done)
	f.mu.Unlock()
	for _, tell := range readers {
		tell()
	}
}

// whenDone calls tell, on whatever goroutine, when the coroutine has ended; at once
// if it has already.
func (f *ThreadFuture[T]) whenDone(tell func()) {
	f.mu.Lock()
	if !f.over {
		f.readers = append(f.readers, tell)
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	tell()
}

// Done returns a channel that is closed when the coroutine has ended.
func (f *ThreadFuture[T]) Done() <-chan struct{} { return f.done }

// Wait blocks the calling goroutine until the coroutine has ended, and returns
// its result, or until ctx is done, and returns its error; the coroutine then goes
// on. On the goroutine of the loop itself, where it would wait for ever, it returns
// a *UsageError.
func (f *ThreadFuture[T]) Wait(ctx context.Context) (T, error) {
	var zero T
	select {
	case <-f.done:
	default:
		if f.loop.waitsForMe() {
			return zero, misuse("ThreadFuture.Wait", ErrWrongGoroutine, "%s runs on this goroutine and would wait for itself; create a task and await it", f.loop.name)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return zero, context.Cause(ctx)
		}
	}
	if f.err != nil {
		return zero, f.err
	}
	return f.value, nil
}

// Cancel asks the coroutine to end, as Task.Cancel does, and reports whether the
// loop has been told. If it was, Wait tells what has come of it.
func (f *ThreadFuture[T]) Cancel(cause error) bool {
	select {
	case <-f.done:
		return false
	default:
	}
	return f.loop.entry.post(&call{fn: func() {
		if f.task != nil {
			f.task.cancel(cause)
		} else if f.asked == nil {
			f.asked = newCancelled(cause)
		}
	}})
}
