// Task groups: tasks that live and fail together.

package asyncio

import (
	"context"
	"errors"

	"github.com/goasyncio/asyncio/internal/seam"
)

// TaskGroup owns tasks: WithTaskGroup returns when all of them are done
// (asyncio.TaskGroup). Its methods may be called by the group's function and by
// its tasks, on the loop's goroutine.
type TaskGroup struct {
	siblings
	loop     *EventLoop
	scope    *scope
	errs     []error
	waiting  *waiter // of the parent, at the end
	exiting  bool
	aborting bool
	ended    bool

	limit   int // 0 for none
	running int // children that have had their turn
}

// groupChild is a task of a group as the callback for when it is done.
type groupChild task

func (c *groupChild) run() { c.siblings.group.(*TaskGroup).childDone((*task)(c)) }

func (c *groupChild) callback() seam.Callback {
	return seam.Callback{Kind: seam.Done, Subject: c.self, Lane: &c.future}
}

// A GroupOption is an option of WithTaskGroup.
type GroupOption interface {
	applyGroup(*TaskGroup)
}

type groupOption func(*TaskGroup)

func (o groupOption) applyGroup(g *TaskGroup) { o(g) }

// WithLimit lets at most n tasks of a group run at once. The others are created
// all the same, and take their turns in the order of their creation. It panics if
// n is not positive.
func WithLimit(n int) GroupOption {
	if n <= 0 {
		panic(misuse("WithLimit", ErrBadArgument, "the limit is %d; it must be positive", n))
	}
	return groupOption(func(g *TaskGroup) { g.limit = n })
}

// WithTaskGroup runs fn, which may add tasks to the group, and returns when fn
// has returned and all tasks of the group are done.
//
// The first failure, of a task or of fn, cancels the rest in the order of their
// creation: the tasks, and the context that fn was given. All failures together
// are returned as a *GroupError. A task that ends cancelled is no failure. If the
// calling task is cancelled, the group's tasks are too; WithTaskGroup then returns
// the cancellation, or the failures if there are any.
//
// A panic in fn goes on when the tasks have ended; one in a task is a failure, a
// *PanicError.
func WithTaskGroup(ctx context.Context, fn func(ctx context.Context, g *TaskGroup) error, opts ...GroupOption) error {
	t, err := current(ctx, "WithTaskGroup")
	if err != nil {
		return err
	}
	if fn == nil {
		return misuse("WithTaskGroup", ErrBadArgument, "the function is nil")
	}
	if err := checkOptions("WithTaskGroup", opts); err != nil {
		return err
	}
	g := &TaskGroup{loop: t.loop}
	g.siblings = siblings{parent: t, children: taskList{ofGroup: true}, group: g}
	for _, o := range opts {
		o.applyGroup(g)
	}
	g.scope = t.enter(ctx)
	returned := false
	defer func() {
		if !returned { // fn has panicked, or called Goexit
			g.abort()
			g.join(nil)
			g.leave()
		}
	}()
	err = fn(g.scope, g)
	cancellation := g.join(err)
	returned = true
	return g.result(err, cancellation)
}

// Go adds a task that runs fn, and returns it. If the group is shutting down or
// has ended, fn never runs: the task has ended cancelled, with the cause
// ErrTaskGroupClosed.
func (g *TaskGroup) Go(fn func(ctx context.Context) error, opts ...TaskOption) *Task[struct{}] {
	t := newPlainTask(g.scope, fn, opts, "TaskGroup.Go")
	g.adopt(&t.task)
	return t
}

// GroupTask is TaskGroup.Go for a task that has a value (TaskGroup.create_task).
// The task inherits the values of the context that the group's function was given.
func GroupTask[T any](g *TaskGroup, fn Coroutine[T], opts ...TaskOption) *Task[T] {
	t := newTask(g.scope, fn, opts, "GroupTask")
	g.adopt(&t.task)
	return t
}

// adopt starts a task as one of the group.
func (g *TaskGroup) adopt(t *task) {
	if g.refuses() {
		t.finishTask(&CancelledError{Cause: ErrTaskGroupClosed})
		return
	}
	t.seen = true // the group sees its error
	t.siblings = &g.siblings
	g.children.add(t)
	if g.limit > 0 && g.running >= g.limit {
		t.hold()
	} else {
		g.admit(t)
		t.start()
	}
	t.addCallback((*groupChild)(t))
}

func (g *TaskGroup) admit(t *task) {
	t.admitted = true
	g.running++
}

func (g *TaskGroup) refuses() bool {
	return g.aborting || g.ended || g.exiting && g.children.count == 0
}

// Cancel ends the group: it cancels the tasks and the context of the group's
// function. WithTaskGroup returns nil when they have ended, unless one has failed.
func (g *TaskGroup) Cancel() {
	g.loop.check("TaskGroup.Cancel")
	if !g.ended && !g.aborting {
		g.abort()
		g.scope.request(errGroupCancelled, false)
	}
}

var (
	errGroupFailed    = errors.New("another task of the group has failed")
	errGroupCancelled = errors.New("the group was cancelled")
)

// abort cancels all children.
func (g *TaskGroup) abort() {
	g.aborting = true
	for t := g.children.first; t != nil; t = t.inGroup.next {
		t.cancelAwait(errGroupFailed)
	}
}

func (g *TaskGroup) childDone(t *task) {
	g.children.remove(t)
	t.siblings = nil
	if t.admitted {
		g.running--
		g.releaseNext()
	}
	if g.waiting != nil && g.children.count == 0 {
		g.waiting.wake(nil)
	}
	if t.state == cancelled || t.err == nil {
		return
	}
	g.errs = append(g.errs, t.err)
	if !g.aborting {
		g.abort()
		g.scope.request(errGroupFailed, false)
	}
}

// releaseNext starts held children as far as the limit allows. Those before the
// first held one are running, so it does not look at more than the limit.
func (g *TaskGroup) releaseNext() {
	for t := g.children.first; t != nil && g.running < g.limit; t = t.inGroup.next {
		if t.held {
			g.admit(t)
			t.release()
		}
	}
}

// join waits until all children are done, and returns the cancellation with
// which the group shall end: that which fn has returned, or that which has
// interrupted the wait first. err is what fn has returned.
func (g *TaskGroup) join(err error) (cancellation error) {
	t := g.parent
	g.exiting = true
	if err != nil {
		if isCancelled(err, g.scope.Err()) {
			cancellation = err
		}
		if !g.aborting {
			g.abort()
		}
	}
	for g.children.count > 0 {
		// What was delivered has had its effect; without this the wait would be
		// interrupted for ever.
		deaf := t.aside(g.scope, g.scope.values)
		g.waiting = &waiter{task: t}
		err := t.park(deaf, g.waiting)
		g.waiting = nil
		if err != nil && !g.aborting {
			cancellation = err
			g.abort()
		}
	}
	return cancellation
}

// result leaves the group and returns what WithTaskGroup returns.
func (g *TaskGroup) result(err, cancellation error) error {
	if err != nil && !isCancelled(err, g.scope.Err()) {
		g.errs = append(g.errs, err)
	}
	own := g.scope.req.Load() != nil
	around := g.scope.parent
	outside := around.heard() != nil
	if len(g.errs) > 0 && outside && !around.isBridge() {
		// The failure hides the cancellation, so that must be delivered again.
		around.renew()
	}
	g.leave()
	switch {
	case len(g.errs) > 0:
		return &GroupError{Errs: g.errs}
	case own && !outside:
		return nil // it was the group's own
	}
	return cancellation
}

func (g *TaskGroup) leave() {
	g.ended = true
	g.parent.leave(g.scope)
}
