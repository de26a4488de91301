// The interpreter: how a program runs, its blocks and its errors.

package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// A handle is a future or task by its name.
type handle interface {
	asyncio.AnyFuture
	asyncio.Awaitable[any]
	Result() (any, error)
}

// A run is one execution of a program.
type run struct {
	program *program
	loop    *asyncio.EventLoop
	handles map[string]handle
	timers  map[string]*asyncio.TimerHandle
	objects map[string]any
	trace   []event
	over    bool // nothing more goes into the trace
}

// execute runs p and returns its trace and the final state of its handles.
func execute(p *program) (trace []event, final map[string]string, err error) {
	r := &run{
		program: p,
		loop: asyncio.NewEventLoop(asynciotest.WithVirtualClock(), asyncio.WithShutdownGrace(0),
			asyncio.WithExceptionHandler(func(*asyncio.EventLoop, *asyncio.ErrorContext) {})),
		handles: make(map[string]handle),
		timers:  make(map[string]*asyncio.TimerHandle),
		objects: make(map[string]any),
	}
	ctx := r.loop.Context(context.Background())
	for name, o := range p.Objects {
		if o.Type == "future" {
			r.handles[name] = asyncio.NewFuture[any](ctx)
		} else {
			r.objects[name] = newObject(ctx, o)
		}
	}
	main := asyncio.CreateTask(ctx, r.coroutine("main", "main"), asyncio.WithName("main"))
	r.handles["main"] = main
	if err := r.loop.RunUntilComplete(main); errors.Is(err, asyncio.ErrDeadlock) {
		r.log("loop", "deadlock")
	}
	r.over = true
	final = make(map[string]string)
	for name, h := range r.handles {
		final[name] = state(h)
	}
	return r.trace, final, r.loop.Close()
}

func (r *run) log(who, format string, args ...any) {
	if !r.over {
		r.trace = append(r.trace, event{int(r.loop.Time() / time.Second), who, fmt.Sprintf(format, args...)})
	}
}

// coroutine returns a coroutine of the program, with its start and its end in
// the trace.
func (r *run) coroutine(name, who string) asyncio.Coroutine[any] {
	return func(ctx context.Context) (any, error) {
		r.log(who, "start")
		f := frame{run: r, ctx: ctx, who: who}
		returned, err := f.block(r.program.Coroutines[name])
		if err != nil {
			r.log(who, "end !! %s", describe(err))
			return nil, err
		}
		value := returned.orNone()
		r.log(who, "end -> %s", text(value))
		return value, nil
	}
}

// A frame is where an op runs: in which coroutine, scope and group.
type frame struct {
	*run
	ctx   context.Context
	who   string
	group *asyncio.TaskGroup // nil outside a group
}

func (f frame) log(format string, args ...any) { f.run.log(f.who, format, args...) }

// A result is the value of a return, nil if there was none.
type result struct{ value any }

func (r *result) orNone() any {
	if r == nil {
		return nil
	}
	return r.value
}

// block runs ops until one fails or returns.
func (f frame) block(ops []op) (*result, error) {
	for _, o := range ops {
		if returned, err := f.step(o); returned != nil || err != nil {
			return returned, err
		}
	}
	return nil, nil
}

// step runs one op. Those that have a block of their own may return from the
// coroutine.
func (f frame) step(o op) (*result, error) {
	switch kind := o.text(0); kind {
	case "return":
		return &result{o.value(1)}, nil
	case "try":
		return f.try(o.block(1), o[2].(map[string]any))
	case "timeout":
		return f.timeout(o.seconds(1, asyncio.Forever), o.block(2))
	case "group":
		return f.taskGroup(o.block(1))
	case "with":
		return f.with(o.text(1), o.block(2))
	default:
		do, ok := operations[kind]
		if !ok {
			return nil, fmt.Errorf("unknown op %s", kind)
		}
		return nil, misuses(func() error { return do(f, o) })
	}
}

// misuses calls fn and turns a panic about its misuse into an error.
func misuses(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			usage, ok := p.(*asyncio.UsageError)
			if !ok {
				panic(p)
			}
			err = usage
		}
	}()
	return fn()
}

func (f frame) try(body []op, handlers map[string]any) (*result, error) {
	returned, err := f.block(body)
	cancelled := isCancelled(err)
	if err != nil {
		returned, err = f.catch(err, block(handlers["catch"]))
	}
	if ops, ok := handlers["finally"]; ok {
		f.log("finally")
		if cancelled || isCancelled(err) {
			f.ctx = asyncio.CleanupContext(f.ctx)
		}
		if _, failed := f.block(block(ops)); failed != nil {
			return nil, failed
		}
	}
	return returned, err
}

// catch runs the first handler that is meant for err. A program that catches a
// cancellation always lets it go on.
func (f frame) catch(err error, handlers []op) (*result, error) {
	for _, h := range handlers {
		if !catches(h.text(0), err) {
			continue
		}
		f.log("caught %s", describe(err))
		if !isCancelled(err) {
			return f.block(h.block(1))
		}
		f.ctx = asyncio.CleanupContext(f.ctx)
		if _, failed := f.block(h.block(1)); failed != nil {
			return nil, failed
		}
		break
	}
	return nil, err
}

func (f frame) timeout(d time.Duration, body []op) (*result, error) {
	when := asyncio.Forever
	if d != asyncio.Forever {
		when = f.loop.Time() + d
	}
	var returned *result
	expired := false
	err := asyncio.TimeoutAt(f.ctx, when, func(ctx context.Context, scope *asyncio.TimeoutScope) (err error) {
		f.ctx = ctx
		returned, err = f.block(body)
		expired = scope.Expired()
		return err
	})
	if err == nil && returned == nil {
		f.log("timeout left, expired %s", text(expired))
	}
	return returned, err
}

func (f frame) taskGroup(body []op) (*result, error) {
	var returned *result
	err := asyncio.WithTaskGroup(f.ctx, func(ctx context.Context, g *asyncio.TaskGroup) (err error) {
		inner := frame{run: f.run, ctx: ctx, who: f.who, group: g}
		returned, err = inner.block(body)
		return err
	})
	if err != nil {
		return nil, err
	}
	if returned == nil {
		f.log("group left")
	}
	return returned, nil
}

// A failure is the error that programs raise themselves.
type failure string

func (e failure) Error() string { return string(e) }

func isCancelled(err error) bool { return describe(err) == "Cancelled" }

// catches reports whether the handler of that name is meant for err.
func catches(name string, err error) bool {
	kind := describe(err)
	switch name {
	case "cancelled":
		return kind == "Cancelled"
	case "timeout":
		return kind == "Timeout"
	case "error":
		return strings.HasPrefix(kind, "Error(")
	case "group":
		return strings.HasPrefix(kind, "Group[")
	}
	return kind != "Cancelled" // any
}

// describe names an error as traces do.
func describe(err error) string {
	switch e := err.(type) {
	case nil:
		return ""
	case failure:
		return "Error(" + string(e) + ")"
	case *asyncio.GroupError:
		return "Group[" + join(e.Errs, describe) + "]"
	case *asyncio.UsageError:
		return "Misuse"
	case *asyncio.IncompleteReadError:
		return fmt.Sprintf("IncompleteRead(%q, %s)", e.Partial, expected(e))
	case *asyncio.LimitOverrunError:
		return fmt.Sprintf("LimitOverrun(%d)", e.Consumed)
	}
	for _, known := range errorNames {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	return "unknown: " + err.Error()
}

var errorNames = []struct {
	err  error
	name string
}{
	{asyncio.ErrCancelled, "Cancelled"},
	{asyncio.ErrTimeout, "Timeout"},
	{asyncio.ErrInvalidState, "InvalidState"},
	{asyncio.ErrBrokenBarrier, "BrokenBarrier"},
	{asyncio.ErrQueueEmpty, "QueueEmpty"},
	{asyncio.ErrQueueFull, "QueueFull"},
	{asyncio.ErrQueueShutDown, "QueueShutDown"},
}

func expected(e *asyncio.IncompleteReadError) string {
	if e.Expected < 0 {
		return "None"
	}
	return strconv.Itoa(e.Expected)
}

// text shows a value as traces do.
func text(value any) string {
	switch v := value.(type) {
	case nil:
		return "none"
	case error:
		return describe(v)
	case []any:
		return "[" + join(v, text) + "]"
	case []byte:
		quoted, _ := json.Marshal(string(v))
		return string(quoted)
	}
	return fmt.Sprint(value)
}

// state shows the state of a handle.
func state(h handle) string {
	switch value, err := h.Result(); {
	case !h.Done():
		return "pending"
	case h.Cancelled():
		return "cancelled"
	case err != nil:
		return "!! " + describe(err)
	default:
		return "-> " + text(value)
	}
}

// join lists what show makes of the items.
func join[T any](items []T, show func(T) string) string {
	shown := make([]string, len(items))
	for i, item := range items {
		shown[i] = show(item)
	}
	return strings.Join(shown, ", ")
}
