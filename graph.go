// Call graphs: who awaits whom, and where.

package asyncio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
)

// FutureCallGraph is a future with what is known of who waits for it
// (asyncio.FutureCallGraph). It is a snapshot.
type FutureCallGraph struct {
	// Future is the future or task that this is about.
	Future AnyFuture

	// CallStack is the stack of the task, as Task.Stack returns it; empty if
	// Future is no task.
	CallStack []FrameCallGraphEntry

	// AwaitedBy are the tasks that wait for Future, each with those that wait
	// for it, in the order in which they began to wait. A task that has occurred
	// on the way from the first future, since tasks wait for each other in a
	// circle, has no entries here once more.
	AwaitedBy []*FutureCallGraph
}

// FrameCallGraphEntry is a frame of a call stack (asyncio.FrameCallGraphEntry).
type FrameCallGraphEntry struct {
	Frame runtime.Frame
}

// A GraphOption is an option of CaptureCallGraph, FormatCallGraph and
// PrintCallGraph.
type GraphOption interface {
	applyGraph(*graphConfig)
}

type graphConfig struct {
	depth   int
	limit   int
	limited bool
}

type graphOption func(*graphConfig)

func (o graphOption) applyGraph(c *graphConfig) { o(c) }

// Limit limits the frames of each call stack to the n innermost ones; if n is
// negative, to the -n outermost ones. With 0 there are none. Without this option
// there is no limit.
func Limit(n int) GraphOption {
	return graphOption(func(c *graphConfig) { c.limit, c.limited = n, true })
}

// Depth leaves out the n innermost frames of the running task, from the caller
// of CaptureCallGraph, FormatCallGraph or PrintCallGraph on. It has no effect on
// other tasks. It panics if n is negative.
func Depth(n int) GraphOption {
	if n < 0 {
		panic(misuse("Depth", ErrBadArgument, "the depth is %d; it must not be negative", n))
	}
	return graphOption(func(c *graphConfig) { c.depth = n })
}

// CaptureCallGraph tells where f is and who waits for it, directly and indirectly
// (asyncio.capture_call_graph). If f is nil it is the running task. What waits is
// a task that awaits the future, alone or by Gather, Wait, AsCompleted, Shield or
// WaitFor, and for a task of a group the one whose group it is. Task.Stack says what
// is known of stacks.
//
// It costs nothing unless it is called: the links are read from what the loop
// knows anyway. It may be called on the loop's goroutine, or while the loop is not
// running, and returns a *UsageError elsewhere and if f is nil and no task runs.
func CaptureCallGraph(ctx context.Context, f AnyFuture, opts ...GraphOption) (*FutureCallGraph, error) {
	return captureCallGraph(ctx, f, opts, "CaptureCallGraph")
}

// FormatCallGraph returns the call graph that CaptureCallGraph captures as text
// (asyncio.format_call_graph).
func FormatCallGraph(ctx context.Context, f AnyFuture, opts ...GraphOption) (string, error) {
	g, err := captureCallGraph(ctx, f, opts, "FormatCallGraph")
	if err != nil {
		return "", err
	}
	return g.String(), nil
}

// PrintCallGraph writes the call graph that CaptureCallGraph captures to w
// (asyncio.print_call_graph). Its errors are those of CaptureCallGraph and of w.
func PrintCallGraph(ctx context.Context, w io.Writer, f AnyFuture, opts ...GraphOption) error {
	if w == nil {
		return misuse("PrintCallGraph", ErrBadArgument, "the writer is nil")
	}
	g, err := captureCallGraph(ctx, f, opts, "PrintCallGraph")
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, g.String())
	return err
}

// captureCallGraph is called by those three directly: it counts frames.
func captureCallGraph(ctx context.Context, f AnyFuture, opts []GraphOption, op string) (*FutureCallGraph, error) {
	var c graphConfig
	if err := checkOptions(op, opts); err != nil {
		return nil, err
	}
	for _, o := range opts {
		o.applyGraph(&c)
	}
	var of *future
	if f == nil {
		t, err := current(ctx, op)
		if err != nil {
			return nil, err
		}
		of = &t.future
	} else {
		of = f.core()
	}
	if of.loop == nil {
		return nil, misuse(op, ErrOutsideTask, "this Future belongs to no loop; make it with NewFuture")
	}
	if !of.loop.mine() {
		return nil, misuse(op, ErrWrongGoroutine, "the future belongs to %s; call this through CallSoonThreadsafe", of.loop.name)
	}
	g := &graphing{graphConfig: c, running: resolve(callers(2 + c.depth))}
	return g.graph(of), nil
}

// graphing is the capture of a call graph.
type graphing struct {
	graphConfig
	running []runtime.Frame // the stack of the caller
	path    []*future       // from the first future to the one that is looked at
}

func (g *graphing) graph(f *future) *FutureCallGraph {
	node := &FutureCallGraph{Future: f.self}
	if t := taskOf(f); t != nil {
		for _, frame := range g.cut(t.frames(g.running)) {
			node.CallStack = append(node.CallStack, FrameCallGraphEntry{frame})
		}
	}
	if slices.Contains(g.path, f) {
		return node
	}
	g.path = append(g.path, f)
	for _, t := range f.awaiters() {
		node.AwaitedBy = append(node.AwaitedBy, g.graph(&t.future))
	}
	g.path = g.path[:len(g.path)-1]
	return node
}

// cut applies the limit.
func (g *graphing) cut(frames []runtime.Frame) []runtime.Frame {
	switch n := len(frames); {
	case !g.limited:
		return frames
	case g.limit < 0:
		return frames[max(0, n+g.limit):]
	default:
		return frames[:min(g.limit, n)]
	}
}

// String draws the graph: stacks with the innermost frame first, and who waits
// for a future below it.
func (g *FutureCallGraph) String() string {
	var b strings.Builder
	g.draw(&b, "")
	return b.String()
}

func (g *FutureCallGraph) draw(b *strings.Builder, indent string) {
	fmt.Fprintf(b, "%s* %v\n", indent, g.Future)
	if len(g.CallStack) > 0 {
		fmt.Fprintf(b, "%s  + Call stack:\n", indent)
		for _, e := range g.CallStack {
			fmt.Fprintf(b, "%s  |   %s\n", indent, frameText(e.Frame))
		}
	}
	if len(g.AwaitedBy) > 0 {
		fmt.Fprintf(b, "%s  + Awaited by:\n", indent)
		for _, by := range g.AwaitedBy {
			by.draw(b, indent+"    ")
		}
	}
}

// awaiters returns the tasks that wait for f, each once, in the order in which
// they began to. They are read from the callbacks, which a task that awaits f, or
// does so by something that combines futures, has registered.
func (f *future) awaiters() []*task {
	if f.state != pending {
		return nil
	}
	var found []*task
	add := func(ts ...*task) {
		for _, t := range ts {
			if t.state == pending && !slices.Contains(found, t) {
				found = append(found, t)
			}
		}
	}
	if t := taskOf(f); t != nil && t.siblings != nil {
		add(t.siblings.parent)
	}
	look := func(r runnable) {
		switch r := r.(type) {
		case *task:
			add(r)
		case *doneCallback:
			if r.awaiter == nil {
				break
			}
			if t := taskOf(r.awaiter); t != nil {
				add(t)
			} else {
				add(r.awaiter.awaiters()...)
			}
		}
	}
	for _, r := range f.callbacks() {
		look(r)
	}
	return found
}

// taskOf returns the task that f is the middle of, or nil.
func taskOf(f *future) *task {
	if t, ok := f.self.(AnyTask); ok {
		return t.base()
	}
	return nil
}

// Stack returns the call stack of the task, the innermost frame first: at most
// limit frames, all if limit is not positive (Task.get_stack).
//
// Of the running task it is the real stack, of a suspended one that of the operation
// in which it is suspended. To ask takes some microseconds, and nothing beforehand. Of
// a task that has not begun, or runs another's eager start, the one frame is the
// beginning of its function; so it is on another goroutine than the one that ran the
// loop. A task that is done has no stack; that of a panic is in its PanicError.
//
// Of the package's own functions only those that are exported are shown.
func (t *task) Stack(limit int) []runtime.Frame {
	return t.stackFrom(resolve(callers(1)), limit)
}

func (t *task) stackFrom(running []runtime.Frame, limit int) []runtime.Frame {
	frames := t.frames(running)
	if limit > 0 && limit < len(frames) {
		frames = frames[:limit]
	}
	return frames
}

// PrintStack writes the task's state and its Stack to w, a line each; of a task
// that has panicked, the stack of the panic (Task.print_stack). It returns the
// error of w.
func (t *task) PrintStack(w io.Writer, limit int) error {
	var b strings.Builder
	var p *PanicError
	frames := t.stackFrom(resolve(callers(1)), limit)
	switch {
	case len(frames) > 0:
		fmt.Fprintf(&b, "Stack for %v (most recent call first):\n", t)
		for _, f := range frames {
			fmt.Fprintf(&b, "  %s\n", frameText(f))
		}
	case t.state == finished && errors.As(t.err, &p):
		fmt.Fprintf(&b, "Panic of task %s: %v\n%s", t.Name(), p.Value, p.Stack)
	default:
		fmt.Fprintf(&b, "No stack for %v\n", t)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// frames returns the stack of t. running is the stack of the caller.
func (t *task) frames(running []runtime.Frame) []runtime.Frame {
	if t.state != pending {
		return nil
	}
	if t.loop.running == t {
		return userFrames(slices.Clone(running))
	}
	var frames []runtime.Frame
	if t.suspended {
		frames = userFrames(resolve(t.look()))
	}
	if fn := runtime.FuncForPC(uintptr(t.code)); len(frames) == 0 && fn != nil {
		file, line := fn.FileLine(uintptr(t.code))
		frames = append(frames, runtime.Frame{PC: uintptr(t.code), Func: fn, Function: fn.Name(), File: file, Line: line, Entry: fn.Entry()})
	}
	return frames
}
