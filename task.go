// Tasks: who waits, and how is the wait called off?

package asyncio

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strconv"
	"strings"

	"github.com/goasyncio/asyncio/internal/coro"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/timer"
)

// A Coroutine is a function that may await: an ordinary function whose context
// it hands to whatever suspends. Calling it is awaiting it, in the same task;
// CreateTask runs it concurrently. It must not change its goroutine's thread lock
// (runtime.LockOSThread, a callback from C) across an await.
type Coroutine[T any] func(ctx context.Context) (T, error)

// Await calls the coroutine.
func (c Coroutine[T]) Await(ctx context.Context) (T, error) { return c(ctx) }

// AnyTask is a task of any type. *Task[T] implements it; the task that serves a
// connection of StartServer has a type of its own.
type AnyTask interface {
	AnyFuture

	// Name returns the task's name, "Task-N" if it was given none.
	Name() string

	// SetName changes the name.
	SetName(name string)

	// Cancelling returns how often Cancel was called on the task before it ended.
	Cancelling() int

	// Context returns the context that the task's coroutine was given.
	Context() context.Context

	// Stack returns the task's call stack; Task.Stack says what is known of it.
	Stack(limit int) []runtime.Frame

	// PrintStack writes the task's call stack.
	PrintStack(w io.Writer, limit int) error

	base() *task

	// exec runs the coroutine.
	exec(ctx context.Context) error
}

// Task runs a coroutine concurrently with others on the loop's thread
// (asyncio.Task). It is done when its coroutine has returned. A task belongs to
// its loop's goroutine: nothing but CallSoonThreadsafe and RunCoroutineThreadsafe
// reaches it from others.
//
// # Cancellation
//
// Cancel requests that the task end. Its context is done from then on, and an
// await that is suspended, or would suspend, cancels what it awaits, ends when that
// has ended, and returns an error that Is ErrCancelled; context.Cause tells why.
// Code that has to await for its clean-up takes a CleanupContext. A task that was
// cancelled before its first step never runs.
//
// The task ends cancelled if its coroutine returns a cancellation, or nil while a
// request was not delivered. An error joined of a cancellation and something else
// is a failure.
//
// # Cost
//
// A task that is created and awaited costs 1 allocation, besides the closure of
// its function. While it is suspended it holds a goroutine's stack, some 3 KB.
type Task[T any] struct {
	task
	value T // not the last one: if it were, an empty one would take a word
	fn    Coroutine[T]
}

// A TaskOption is an option of CreateTask, Go and GroupTask.
type TaskOption interface {
	applyTask(*taskConfig)
}

type taskConfig struct {
	TaskSpec
	lazy bool
}

type taskOption func(*taskConfig)

func (o taskOption) applyTask(c *taskConfig) { o(c) }

// WithName names a task. Names are for people: they need not be unique.
func WithName(name string) TaskOption {
	return taskOption(func(c *taskConfig) { c.Name = name })
}

// EagerStart runs the task's first step at once, inside the call that creates
// it, instead of in the next pass. A coroutine that does not suspend is done when
// that call returns. It has no effect while the loop is not running.
func EagerStart() TaskOption { return eagerStart }

var eagerStart TaskOption = taskOption(func(c *taskConfig) { c.Eager, c.lazy = true, false })

// LazyStart runs the task's first step in the next pass, which is the default,
// even if the loop has a task factory that says otherwise. Of EagerStart and
// LazyStart the last one counts.
func LazyStart() TaskOption { return lazyStart }

var lazyStart TaskOption = taskOption(func(c *taskConfig) { c.Eager, c.lazy = false, true })

// CreateTask runs fn as a task on the loop of ctx, from the next pass on
// (asyncio.create_task). The loop keeps the task until it is done.
//
// The task inherits the values of ctx, but neither its cancellation nor its
// deadline: its life is its own, as in asyncio. Whatever it fails with is given to
// who awaits it, or else to the exception handler. To tie lives together use a task
// group.
//
// CreateTask panics with a *UsageError if ctx carries no loop, if the loop is
// closed, on a goroutine that is not running the loop, or if fn or an option is nil.
func CreateTask[T any](ctx context.Context, fn Coroutine[T], opts ...TaskOption) *Task[T] {
	t := newTask(ctx, fn, opts, "CreateTask")
	t.start()
	return t
}

// Go is CreateTask for a function that has no value.
func Go(ctx context.Context, fn func(ctx context.Context) error, opts ...TaskOption) *Task[struct{}] {
	t := newPlainTask(ctx, fn, opts, "Go")
	t.start()
	return t
}

func valueless(fn func(context.Context) error) Coroutine[struct{}] {
	if fn == nil {
		return nil
	}
	return func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) }
}

// newTask makes a task that start will start.
func newTask[T any](ctx context.Context, fn Coroutine[T], opts []TaskOption, op string) *Task[T] {
	l := loopForTask(ctx, op, fn != nil, opts)
	t := &Task[T]{fn: fn}
	t.initTask(l, ctx, t, placeOf(fn), opts)
	return t
}

// newPlainTask is newTask for a function that has no value.
func newPlainTask(ctx context.Context, fn func(context.Context) error, opts []TaskOption, op string) *Task[struct{}] {
	l := loopForTask(ctx, op, fn != nil, opts)
	t := new(Task[struct{}])
	t.plain = fn
	t.initTask(l, ctx, t, placeOf(fn), opts)
	return t
}

// loopForTask returns the loop on which a task can be made with ctx.
func loopForTask(ctx context.Context, op string, hasFunc bool, opts []TaskOption) *EventLoop {
	l := loopOf(ctx, op)
	l.check(op)
	checkFunc(op, hasFunc)
	if len(opts) > 0 {
		mustOptions(op, opts)
	}
	return l
}

// initTask makes t, which must be zero, a task of l. Its function is the exec of self.
func (t *task) initTask(l *EventLoop, ctx context.Context, self AnyTask, code codePlace, opts []TaskOption) {
	t.init(l, self)
	t.code = code
	t.root.task, t.root.values = t, valuesOf(ctx)
	t.top = &t.root
	if len(opts) > 0 || l.factory != nil {
		t.configure(opts)
	}
	l.taskCount++
	t.id = l.taskCount
}

// configure applies the options and what the loop's task factory makes of them.
func (t *task) configure(opts []TaskOption) {
	var c taskConfig
	for _, o := range opts {
		o.applyTask(&c)
	}
	if factory := t.loop.factory; factory != nil {
		factory(t.loop, &c.TaskSpec)
	}
	t.eager = c.Eager && !c.lazy
	if c.Name != "" {
		t.extra().name = c.Name
	}
}

// loopOf returns the loop of ctx; it panics if there is none.
func loopOf(ctx context.Context, op string) *EventLoop {
	if s := scopeOf(ctx); s != nil {
		return s.loop()
	}
	panic(misuse(op, ErrOutsideTask, "the context carries no loop; pass on the one that Run or the task gave"))
}

// Result returns the value or the error of the task, and ErrInvalidState while
// it is not done.
func (t *Task[T]) Result() (T, error) {
	if err := t.Err(); err != nil {
		var zero T
		return zero, err
	}
	return t.value, nil
}

// exec is small enough to be inlined into what calls it for each T: stacks have one
// frame less. Nobody looks at the value if there is an error.
func (t *Task[T]) exec(ctx context.Context) (err error) {
	fn := t.fn
	t.fn = nil
	t.value, err = fn(ctx)
	return err
}

// String shows name, state, what the task waits for, and its result.
func (t *Task[T]) String() string { return t.describeTask(any(t.value)) }

// task is the untyped middle of Task: a coroutine, its scopes, and what it waits for.
//
// # States
//
// A task is created, queued for its first step (or run at once, if eager; or
// held, by a group with a limit), then it runs and is suspended by turns, and at
// last it is done. While it is suspended it waits for something (waiter), or for
// nothing but its turn. When that is done the task is queued once more; a
// cancellation that comes between then and its turn interrupts it all the same.
type task struct {
	future
	inLoop taskLinks // of loop.tasks

	id    uint64
	code  codePlace                   // of its function
	plain func(context.Context) error // its function, if that has no value; else exec calls it
	root  scope
	top   *scope // the innermost scope on the stack
	coro  *coro.Coroutine

	requests  uint64    // the number of the last request to a scope of this task
	delivered uint64    // the number of the last one that was delivered
	siblings  *siblings // of the group that this belongs to, until that has seen its end; or nil
	inGroup   taskLinks // of siblings.children

	// While it is suspended.
	waiter    awaited
	ears      *scope // the scope of the await
	suspended bool
	interrupt bool // the await ends as cancelled, whatever its waiter says

	eager      bool
	exited     bool  // the coroutine has called Goexit
	admitted   bool  // it counts as one of group.running
	held       bool  // start has not queued it: it waits for its turn in a group
	queued     bool  // in the ready queue
	cancelling bool  // inside cancel: seen again, there is a cycle of awaits
	forced     uint8 // awaits that were refused since Close ends the task by force
	ignored    uint8 // awaits in a row, up to 255, that were interrupted by a request delivered before
	asked      int32 // calls of Cancel

	own   waiter // for operations of the package that wait for something private
	alarm timer.Timer[runnable]
}

func (t *task) base() *task { return t }

// Name returns the task's name, "Task-N" if it was given none.
func (t *task) Name() string {
	if t.extras == nil || t.extras.name == "" {
		return "Task-" + strconv.FormatUint(t.id, 10)
	}
	return t.extras.name
}

// SetName changes the name.
func (t *task) SetName(name string) { t.extra().name = name }

// Cancelling returns how often Cancel was called on the task before it ended
// (Task.cancelling).
func (t *task) Cancelling() int { return int(t.asked) }

// Context returns the context that the task's coroutine was given.
func (t *task) Context() context.Context { return &t.root }

// start registers the task and queues its first step, or runs that if it is eager.
func (t *task) start() {
	t.loop.tasks.add(t)
	if t.eager && t.loop.active.Load() {
		t.loop.nested++
		t.run()
		t.loop.nested--
		return
	}
	t.queue()
}

// hold registers the task; release queues its first step.
func (t *task) hold() {
	t.loop.tasks.add(t)
	t.held = true
}

func (t *task) release() {
	if t.held {
		t.held = false
		t.queue()
	}
}

func (t *task) queue() {
	t.queued = true
	t.loop.ready.push(t)
}

// run is the task's turn: its first step, or the end of an await. It runs the
// coroutine until that suspends or ends, and those that it hands over to. An eager
// task's first step happens inside another task's.
//
// Here, and in suspend, each call between a switch of stacks and who made it costs
// extra: the processor foresees where a call returns to, but not on another stack.
func (t *task) run() {
	if !t.begins() {
		return
	}
	l := t.loop
	if t.coro == nil {
		t.coro = l.coros.Get((*taskStack)(t))
	}
	outer, g := l.running, l.g.Load()
	l.running = t
	if l.closing {
		name := t.Name()
		l.stepping.Store(&name)
	}
	l.coros.Resume(t.coro)
	t = l.running.(*task) // the last one
	l.running = outer
	l.g.Store(g)
	if t.coro != nil && t.coro.Status() != coro.Suspended {
		t.ended()
	}
}

// begins begins the turn of the task, which has been taken from the queue. It returns
// false if the task has none, because it has ended or was cancelled before its first one.
func (t *task) begins() bool {
	t.queued = false
	if t.state != pending {
		return false // ended by force while it had given up its turn
	}
	if t.coro == nil {
		if r := t.root.req.Load(); r != nil {
			t.finishTask(r.error())
			return false
		}
	}
	return true
}

func (t *task) callback() seam.Callback {
	return seam.Callback{Kind: seam.Step, Subject: t.self, Lane: t}
}

// ended finishes the task, whose coroutine has ended.
func (t *task) ended() {
	err := t.err
	switch t.coro.Status() {
	case coro.Panicked:
		value, stack := t.coro.Panic()
		err = &PanicError{Value: value, Stack: stack}
	case coro.Exited:
		t.exited = true
		if err = ErrGoexit; t.forced > 0 {
			err = &CancelledError{Cause: errForced}
		}
	}
	t.loop.coros.Put(t.coro)
	t.finishTask(err)
}

// taskStack is a task as the body of its coroutine.
type taskStack task

func (s *taskStack) RunCoroutine() (next *coro.Coroutine) {
	t := (*task)(s)
	for l := t.loop; ; {
		l.g.Store(coro.Current())
		if fn := t.plain; fn != nil { // without a frame of a closure or of exec
			t.plain = nil
			t.err = fn(&t.root)
		} else {
			t.err = t.self.(AnyTask).exec(&t.root)
		}
		if t.err != nil || t.forced > 0 || !l.handsOver() || !l.coros.Keeps() {
			return nil
		}
		c := t.coro
		t.finishTask(nil)
		l.running = nil
		var next *task
		if l.batch > 0 || l.listening == 0 { // to poll takes a larger stack, which would stay
			next = l.nextTask(true)
		}
		if next == nil {
			l.running = t
			return l.coros.Resumer()
		}
		l.running = next
		if next.coro != nil {
			return next.coro
		}
		next.coro = c // which has a stack to spare
		t = next
	}
}

// finishTask ends the task with what its coroutine has returned.
func (t *task) finishTask(err error) {
	var ctxErr error
	if r := t.root.req.Load(); r != nil {
		ctxErr = t.root.Err()
		if err == nil && r.seq > t.delivered {
			err = r.error()
		}
	}
	t.root.forget()
	t.loop.tasks.remove(t)
	t.coro, t.waiter, t.ears = nil, nil, nil
	s := finished
	if err != nil {
		s, err = judge(err, ctxErr)
	}
	t.finish(s, err)
	if x := t.extras; x != nil && x.settled != nil {
		x.settled()
	}
}

// judge tells what the error of a task makes of it, and of the error. One whose methods
// panic, as those of a nil *os.PathError do, is as good as a panic of the task.
func judge(err, ctxErr error) (s state, result error) {
	defer func() {
		if p := recover(); p != nil {
			s, result = finished, &PanicError{Value: p, Stack: stack()}
		}
	}()
	switch {
	case !isCancelled(err, ctxErr):
		return finished, err
	case errors.Is(err, ErrCancelled):
		return cancelled, err
	default: // a bare context.Canceled
		return cancelled, &CancelledError{Cause: err, deadline: err == context.DeadlineExceeded}
	}
}

// cancel is Cancel of a task.
func (t *task) cancel(cause error) bool {
	if t.state != pending {
		return false
	}
	if t.cancelling {
		t.loop.cycle = true
		return false
	}
	t.asked++
	t.cancelling = true
	t.root.request(cause, false)
	t.cancelling = false
	t.release()
	return true
}

func (t *task) function() string { return t.code.String() }

// String describes the task, for whoever has no *Task.
func (t *task) String() string { return t.self.String() }

// describeTask is the String of a task.
func (t *task) describeTask(value any) string {
	s := strings.TrimSuffix(t.describe("Task "+t.Name(), value), ">")
	if t.state == pending && t.asked > 0 {
		s = strings.Replace(s, " pending", " cancelling", 1)
	}
	switch {
	case t.state != pending:
	case t.suspended:
		s += " " + t.waits(t.loop.taskNumbered).String()
	case t.coro == nil:
		s += " " + t.code.String()
	}
	return s + ">"
}

// brief names a future without going into what it waits for, which may lead
// back to where the description began.
func (f *future) brief() string {
	if t, ok := f.self.(AnyTask); ok {
		return t.Name()
	}
	return "a future"
}

// RunningLoop returns the loop of ctx (asyncio.get_running_loop). Any goroutine may
// call it: the context carries the loop. It panics with a *UsageError if ctx carries
// none.
func RunningLoop(ctx context.Context) *EventLoop { return loopOf(ctx, "RunningLoop") }

// CurrentTask returns the task that is running on the loop of ctx, nil in a
// callback (asyncio.current_task). It panics with a *UsageError if ctx carries no
// loop, and on another goroutine than the loop's.
func CurrentTask(ctx context.Context) AnyTask {
	l := loopOf(ctx, "CurrentTask")
	l.checkMine("CurrentTask")
	if t, ok := l.running.(*task); ok {
		return t.self.(AnyTask)
	}
	return nil
}

// AllTasks returns the tasks of the loop of ctx that are not done, in the order
// of their creation (asyncio.all_tasks). It panics like CurrentTask.
func AllTasks(ctx context.Context) []AnyTask {
	return loopOf(ctx, "AllTasks").AllTasks()
}

// AllTasks returns the tasks that are not done, in the order of their creation. On a
// goroutine that must not use the loop it panics with a *UsageError.
func (l *EventLoop) AllTasks() []AnyTask {
	l.checkMine("AllTasks")
	tasks := make([]AnyTask, 0, l.tasks.count)
	for _, t := range l.tasks.all() {
		tasks = append(tasks, t.self.(AnyTask))
	}
	return tasks
}
