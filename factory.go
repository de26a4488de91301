// Task factories: what happens to each task that is made on a loop.

package asyncio

// TaskSpec is what a task factory may alter of a task before it starts.
type TaskSpec struct {
	// Name is the name that the task was given by WithName: "Task-N" if empty.
	Name string

	// Eager says whether the task's first step runs at once, as with
	// EagerStart. A task that was created with LazyStart ignores it.
	Eager bool
}

// A TaskFactory is called for each task that is made on a loop, before the task is
// started, with what its options say. It runs inside the call that creates the
// task, on the loop's goroutine, and must not suspend. If it panics there is no
// task, and the panic goes on to whoever wanted to create it.
type TaskFactory func(l *EventLoop, spec *TaskSpec)

// SetTaskFactory sets what is called for each task that is made on the loop from
// now on, by whatever function; nil, the default, means nothing
// (loop.set_task_factory). Unlike asyncio's, a factory alters tasks and does not
// make them. It panics like CallSoon.
func (l *EventLoop) SetTaskFactory(f TaskFactory) {
	l.check("SetTaskFactory")
	l.factory = f
}

// TaskFactory returns what SetTaskFactory has set, nil if nothing
// (loop.get_task_factory).
func (l *EventLoop) TaskFactory() TaskFactory { return l.factory }

// EagerTaskFactory is the task factory that makes all tasks start eagerly, as with
// EagerStart (asyncio.eager_task_factory). LazyStart exempts one.
func EagerTaskFactory(_ *EventLoop, spec *TaskSpec) { spec.Eager = true }
