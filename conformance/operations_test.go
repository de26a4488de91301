// The operations on tasks, futures and the loop.

package conformance_test

import (
	"errors"
	"maps"
	"time"

	"github.com/goasyncio/asyncio"
)

// operations are the ops that have no block of their own.
var operations = map[string]func(f frame, o op) error{}

func init() {
	maps.Copy(operations, taskOperations)
}

var taskOperations = map[string]func(f frame, o op) error{
	"log": func(f frame, o op) error {
		f.log("%s", o.text(1))
		return nil
	},
	"raise": func(f frame, o op) error { return failure(o.text(1)) },
	"sleep": func(f frame, o op) error {
		err := asyncio.Sleep(f.ctx, o.seconds(1, 0))
		return f.done(err, "slept %d", o.number(1))
	},

	// Tasks.
	"spawn": func(f frame, o op) error {
		name := o.text(2)
		opts := []asyncio.TaskOption{asyncio.WithName(name)}
		if !o.missing(3) {
			opts = append(opts, asyncio.EagerStart())
		}
		f.handles[name] = asyncio.CreateTask(f.ctx, f.coroutine(o.text(1), name), opts...)
		return f.done(nil, "spawned %s", name)
	},
	"group_spawn": func(f frame, o op) error {
		if f.group == nil {
			return nil
		}
		name := o.text(2)
		task := asyncio.GroupTask(f.group, f.coroutine(o.text(1), name), asyncio.WithName(name))
		if errors.Is(task.Err(), asyncio.ErrTaskGroupClosed) {
			return f.done(nil, "group refused %s", name)
		}
		f.handles[name] = task
		return f.done(nil, "spawned %s", name)
	},
	"call": func(f frame, o op) error {
		value, err := f.coroutine(o.text(1), f.who+"/"+o.text(1))(f.ctx)
		return f.done(err, "call %s -> %s", o.text(1), text(value))
	},
	"cancel_self": func(f frame, o op) error {
		return f.done(nil, "cancel self -> %t", asyncio.CurrentTask(f.ctx).Cancel(nil))
	},

	// Futures and tasks.
	"await": onHandle(func(f frame, o op, h handle) error {
		value, err := h.Await(f.ctx)
		return f.done(err, "await %s -> %s", o.text(1), text(value))
	}),
	"shield": onHandle(func(f frame, o op, h handle) error {
		value, err := asyncio.Shield[any](f.ctx, h)
		return f.done(err, "shield %s -> %s", o.text(1), text(value))
	}),
	"cancel": onHandle(func(f frame, o op, h handle) error {
		return f.done(nil, "cancel %s -> %t", o.text(1), h.Cancel(nil))
	}),
	"state": onHandle(func(f frame, o op, h handle) error {
		return f.done(nil, "state %s %s", o.text(1), state(h))
	}),
	"on_done": onHandle(func(f frame, o op, h handle) error {
		h.AddDoneCallback(func(asyncio.AnyFuture) {
			f.run.log("loop", "%s: %s %s", o.text(2), o.text(1), state(h))
		})
		return f.done(nil, "watching %s", o.text(1))
	}),
	"set_result": onHandle(func(f frame, o op, h handle) error {
		return f.done(setResult(h, o), "set_result %s %s", o.text(1), text(o.value(2)))
	}),
	"set_error": onHandle(func(f frame, o op, h handle) error {
		return f.done(setError(h, o), "set_error %s %s", o.text(1), o.text(2))
	}),

	// Several of them.
	"gather": func(f frame, o op) error {
		if o.bool(2) {
			results, err := asyncio.GatherSettled(f.ctx, f.awaitables(o.names(1))...)
			return f.done(err, "gather -> [%s]", join(results, settled))
		}
		values, err := asyncio.Gather(f.ctx, f.awaitables(o.names(1))...)
		return f.done(err, "gather -> [%s]", join(values, text))
	},
	"wait": wait,
	"as_completed": func(f frame, o op) error {
		var unfinished []string
		for _, name := range o.names(1) {
			if h := f.handles[name]; h != nil && !h.Done() {
				unfinished = append(unfinished, name)
			}
		}
		for value, err := range asyncio.AsCompletedWithin(f.ctx, o.seconds(2, asyncio.Forever), f.awaitables(unfinished)...) {
			switch {
			case err == nil:
				f.log("completed -> %s", text(value))
			case catches("error", err):
				f.log("completed !! %s", describe(err))
			default:
				return err
			}
		}
		return nil
	},

	// Limited in time.
	"wait_for": onHandle(func(f frame, o op, h handle) error {
		value, err := asyncio.WaitFor[any](f.ctx, o.seconds(2, asyncio.Forever), h)
		return f.done(err, "wait_for %s -> %s", o.text(1), text(value))
	}),
	"wait_for_call": func(f frame, o op) error {
		inner := f.coroutine(o.text(1), f.who+"/"+o.text(1))
		value, err := asyncio.WaitFor[any](f.ctx, o.seconds(2, asyncio.Forever), inner)
		return f.done(err, "wait_for_call %s -> %s", o.text(1), text(value))
	},

	// Callbacks.
	"soon": func(f frame, o op) error {
		f.loop.CallSoon(func() { f.run.log("loop", "%s", o.text(1)) })
		return nil
	},
	"later": func(f frame, o op) error {
		f.timers[o.text(2)] = f.loop.CallLater(o.seconds(1, 0), func() { f.run.log("loop", "%s", o.text(2)) })
		return nil
	},
	"cancel_timer": func(f frame, o op) error {
		timer := f.timers[o.text(1)]
		if timer == nil {
			return nil
		}
		timer.Cancel()
		return f.done(nil, "timer %s cancelled", o.text(1))
	},
	"soon_do": func(f frame, o op) error {
		f.loop.CallSoon(func() { f.callback(o.op(1)) })
		return nil
	},
	"later_do": func(f frame, o op) error {
		f.loop.CallLater(o.seconds(1, 0), func() { f.callback(o.op(2)) })
		return nil
	},
}

// done logs that an operation has succeeded, or returns its error.
func (f frame) done(err error, format string, args ...any) error {
	if err == nil {
		f.log(format, args...)
	}
	return err
}

// onHandle is an operation on a handle, which does nothing if that does not exist.
func onHandle(do func(f frame, o op, h handle) error) func(frame, op) error {
	return func(f frame, o op) error {
		if h := f.handles[o.text(1)]; h != nil {
			return do(f, o, h)
		}
		return nil
	}
}

// awaitables returns those of the named handles that exist.
func (r *run) awaitables(names []string) []asyncio.Awaitable[any] {
	var known []asyncio.Awaitable[any]
	for _, name := range names {
		if h := r.handles[name]; h != nil {
			known = append(known, h)
		}
	}
	return known
}

func settled(r asyncio.Result[any]) string {
	if r.Err != nil {
		return describe(r.Err)
	}
	return text(r.Value)
}

func wait(f frame, o op) error {
	var futures []asyncio.AnyFuture
	names := make(map[asyncio.AnyFuture]string)
	for _, name := range o.names(1) {
		if h := f.handles[name]; h != nil {
			futures = append(futures, h)
			names[h] = name
		}
	}
	if len(futures) == 0 {
		return nil
	}
	opts := asyncio.WaitOptions{
		Timeout: o.seconds(2, 0),
		ReturnWhen: map[string]asyncio.ReturnWhen{
			"ALL_COMPLETED":   asyncio.AllCompleted,
			"FIRST_COMPLETED": asyncio.FirstCompleted,
			"FIRST_EXCEPTION": asyncio.FirstException,
		}[o.text(3)],
	}
	if opts.Timeout == 0 && !o.missing(2) {
		opts.Timeout = -time.Second // no time at all; zero means for ever
	}
	done, pending, err := asyncio.Wait(f.ctx, futures, opts)
	name := func(h asyncio.AnyFuture) string {
		if f.handles[names[h]] != h {
			return "?" // the name has gone to a later task
		}
		return names[h]
	}
	return f.done(err, "wait done [%s] pending [%s]", join(done, name), join(pending, name))
}

// errNotOurs is what Python calls a runtime error: only a task sets its result.
var errNotOurs = &asyncio.UsageError{Cause: asyncio.ErrBadArgument}

func setResult(h handle, o op) error {
	if f, ok := h.(*asyncio.Future[any]); ok {
		return f.SetResult(o.value(2))
	}
	return errNotOurs
}

func setError(h handle, o op) error {
	if f, ok := h.(*asyncio.Future[any]); ok {
		return f.SetError(failure(o.text(2)))
	}
	return errNotOurs
}

// callback runs a synchronous op as a plain callback of the loop.
func (r *run) callback(o op) {
	name := o.text(1)
	h, object := r.handles[name], r.objects[name]
	if h == nil && object == nil && o.text(0) != "cancel" {
		return
	}
	outcome := ""
	if err := misuses(func() error { return do(o, h, object) }); err != nil {
		outcome = " !! " + describe(err)
	}
	r.log("loop", "did %s %s%s", o.text(0), name, outcome)
}

func do(o op, h handle, object any) error {
	switch o.text(0) {
	case "set_result":
		return setResult(h, o)
	case "set_error":
		return setError(h, o)
	case "cancel":
		if h != nil {
			h.Cancel(nil)
		}
	case "set":
		object.(*asyncio.Event).Set()
	case "release":
		object.(locker).Release()
	case "feed":
		return object.(*asyncio.StreamReader).FeedData([]byte(o.text(2)))
	case "feed_eof":
		return object.(*asyncio.StreamReader).FeedEOF()
	}
	return nil
}
