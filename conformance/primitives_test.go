// The operations on locks, events, conditions, semaphores, barriers and queues.

package conformance_test

import (
	"context"
	"maps"

	"github.com/goasyncio/asyncio"
)

func init() {
	maps.Copy(operations, primitiveOperations)
}

// newObject makes a shared object that is not a future.
func newObject(ctx context.Context, o object) any {
	switch o.Type {
	case "lock":
		return new(asyncio.Lock)
	case "event":
		return new(asyncio.Event)
	case "condition":
		return new(asyncio.Condition)
	case "semaphore":
		return asyncio.NewSemaphore(o.N)
	case "bounded_semaphore":
		return asyncio.NewBoundedSemaphore(o.N)
	case "barrier":
		return asyncio.NewBarrier(o.N)
	case "queue":
		return asyncio.NewQueue[any](o.N)
	case "lifo_queue":
		return asyncio.NewLifoQueue[any](o.N)
	case "priority_queue":
		return asyncio.NewPriorityQueue(o.N, func(a, b any) bool { return a.(int) < b.(int) })
	case "reader":
		return asyncio.NewStreamReader(ctx, o.N)
	}
	panic("unknown object " + o.Type)
}

// What the kinds of objects have in common.
type (
	locker interface {
		Acquire(ctx context.Context) error
		Release()
		Locked() bool
		With(ctx context.Context, fn func(ctx context.Context) error) error
	}
	waiter interface {
		Wait(ctx context.Context) error
	}
	queue interface {
		Put(ctx context.Context, item any) error
		Get(ctx context.Context) (any, error)
		PutNowait(item any) error
		GetNowait() (any, error)
		TaskDone()
		Join(ctx context.Context) error
		Shutdown(immediate bool)
		Len() int
		Empty() bool
		Full() bool
	}
)

// on is an operation on an object of type T.
func on[T any](do func(f frame, o op, object T) error) func(frame, op) error {
	return func(f frame, o op) error { return do(f, o, f.objects[o.text(1)].(T)) }
}

func (f frame) with(name string, body []op) (*result, error) {
	var returned *result
	err := misuses(func() error {
		return within(f.ctx, f.objects[name], func(ctx context.Context) (err error) {
			f.log("entered %s", name)
			f.ctx = ctx
			returned, err = f.block(body)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if returned == nil {
		f.log("left %s", name)
	}
	return returned, nil
}

// within runs fn while it holds a lock, or when it has passed a barrier.
func within(ctx context.Context, object any, fn func(ctx context.Context) error) error {
	if b, ok := object.(*asyncio.Barrier); ok {
		if _, err := b.Wait(ctx); err != nil {
			return err
		}
		return fn(ctx)
	}
	return object.(locker).With(ctx, fn)
}

var primitiveOperations = map[string]func(f frame, o op) error{
	// Locks, conditions and semaphores.
	"acquire": on(func(f frame, o op, l locker) error {
		return f.done(l.Acquire(f.ctx), "acquired %s", o.text(1))
	}),
	"release": on(func(f frame, o op, l locker) error {
		l.Release()
		return f.done(nil, "released %s", o.text(1))
	}),
	"locked": on(func(f frame, o op, l locker) error {
		return f.done(nil, "locked %s %t", o.text(1), l.Locked())
	}),

	// Events and conditions.
	"set": on(func(f frame, o op, e *asyncio.Event) error {
		e.Set()
		return f.done(nil, "set %s", o.text(1))
	}),
	"clear": on(func(f frame, o op, e *asyncio.Event) error {
		e.Clear()
		return f.done(nil, "cleared %s", o.text(1))
	}),
	"wait_event": on(func(f frame, o op, e waiter) error {
		return f.done(e.Wait(f.ctx), "event %s", o.text(1))
	}),
	"wait_condition": on(func(f frame, o op, c waiter) error {
		return f.done(c.Wait(f.ctx), "condition %s", o.text(1))
	}),
	"notify": on(func(f frame, o op, c *asyncio.Condition) error {
		if n := o.number(2); n > 0 {
			c.Notify(n)
		} else {
			c.NotifyAll()
		}
		return f.done(nil, "notified %s", o.text(1))
	}),

	// Barriers.
	"barrier": on(func(f frame, o op, b *asyncio.Barrier) error {
		index, err := b.Wait(f.ctx)
		return f.done(err, "barrier %s -> %d", o.text(1), index)
	}),
	"barrier_reset": on(func(f frame, o op, b *asyncio.Barrier) error {
		b.Reset()
		return f.done(nil, "barrier reset %s", o.text(1))
	}),
	"barrier_abort": on(func(f frame, o op, b *asyncio.Barrier) error {
		b.Abort()
		return f.done(nil, "barrier abort %s", o.text(1))
	}),

	// Queues.
	"put": on(func(f frame, o op, q queue) error {
		return f.done(q.Put(f.ctx, o.value(2)), "put %s %s", o.text(1), text(o.value(2)))
	}),
	"get": on(func(f frame, o op, q queue) error {
		item, err := q.Get(f.ctx)
		return f.done(err, "get %s -> %s", o.text(1), text(item))
	}),
	"put_nowait": on(func(f frame, o op, q queue) error {
		return f.done(q.PutNowait(o.value(2)), "put_nowait %s %s", o.text(1), text(o.value(2)))
	}),
	"get_nowait": on(func(f frame, o op, q queue) error {
		item, err := q.GetNowait()
		return f.done(err, "get_nowait %s -> %s", o.text(1), text(item))
	}),
	"task_done": on(func(f frame, o op, q queue) error {
		q.TaskDone()
		return f.done(nil, "task_done %s", o.text(1))
	}),
	"join": on(func(f frame, o op, q queue) error {
		return f.done(q.Join(f.ctx), "joined %s", o.text(1))
	}),
	"shutdown": on(func(f frame, o op, q queue) error {
		q.Shutdown(o.bool(2))
		return f.done(nil, "shutdown %s", o.text(1))
	}),
	"size": on(func(f frame, o op, q queue) error {
		return f.done(nil, "size %s %d %t %t", o.text(1), q.Len(), q.Empty(), q.Full())
	}),
}
