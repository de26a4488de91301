// Channels: tasks that receive from Go's channels, and send to them.

package asyncio

import (
	"context"
	"iter"
	"sync"
)

// Receive receives from ch, on whose other side may be any goroutine; ok is false if
// ch is closed and empty. If a value is there Receive does not suspend, even if ctx
// is done. Any number of tasks and goroutines may receive from one channel.
//
// If the task, or ctx, is cancelled while it waits, Receive returns that and leaves
// the value in the channel. A value that was received in the same moment is returned;
// the next await that suspends then tells of the cancellation. While a task waits, a
// virtual clock follows the wall clock.
//
// It returns a *UsageError outside a task, and if ch is nil.
//
// # Cost
//
// A value that is there costs some ten nanoseconds. A wait costs a goroutine and two
// changes of thread, some microseconds. Values spares the goroutine; where many
// goroutines feed one task, or values come fast, an Inbox is the better door.
func Receive[T any](ctx context.Context, ch <-chan T) (v T, ok bool, err error) {
	r := receiver[T]{ch: ch}
	return r.next(ctx, "Receive", false)
}

// Values yields what it receives from ch, as Receive does, until ch is closed. If
// receiving fails, that error is yielded, with a zero value, and the sequence ends.
// All its waits share one goroutine. When the loop body ends the sequence early,
// nothing more has been taken from ch.
func Values[T any](ctx context.Context, ch <-chan T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		r := receiver[T]{ch: ch}
		defer func() {
			if r.trip != nil {
				r.trip.courier.recall(nil)
			}
		}()
		for {
			v, ok, err := r.next(ctx, "Values", true)
			if err != nil || !ok {
				if err != nil {
					yield(v, err)
				}
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// Send sends v to ch, from which any goroutine may receive. If there is room, or a
// receiver waits, Send does not suspend, even if ctx is done.
//
// If the task, or ctx, is cancelled while it waits, Send returns that and v is not
// sent. If v was sent in the same moment Send returns nil; the next await that
// suspends then tells of the cancellation. It panics if ch is closed, as Go's own
// send does, and returns a *UsageError outside a task, and if ch is nil. It costs
// what Receive costs.
func Send[T any](ctx context.Context, ch chan<- T, v T) error {
	t, err := current(ctx, "Send")
	if err != nil {
		return err
	}
	if err := t.loop.untaped("Send", "a Go channel"); err != nil {
		return err
	}
	if ch == nil {
		return misuse("Send", ErrBadArgument, "the channel is nil, and nothing would ever be sent")
	}
	select {
	case ch <- v:
		return nil
	default:
	}
	s := &sending[T]{ch: ch, value: v}
	s.init(s, false)
	return s.await(ctx, t)
}

// A receiver receives values one after another.
type receiver[T any] struct {
	ch   <-chan T
	trip *receiving[T] // the last that is there for more
}

func (r *receiver[T]) next(ctx context.Context, op string, more bool) (v T, ok bool, err error) {
	t, err := current(ctx, op)
	if err != nil {
		return v, false, err
	}
	if err := t.loop.untaped(op, "a Go channel"); err != nil {
		return v, false, err
	}
	if r.ch == nil {
		return v, false, misuse(op, ErrBadArgument, "the channel is nil, and nothing would ever come")
	}
	select {
	case v, ok = <-r.ch:
		return v, ok, nil
	default:
	}
	trip := r.trip
	if trip == nil || trip.recalled {
		trip = &receiving[T]{ch: r.ch}
		trip.init(trip, more)
		if more {
			r.trip = trip
		}
	}
	if err := trip.await(ctx, t); err != nil {
		return v, false, err
	}
	v, ok = trip.value, trip.ok
	var zero T
	trip.value = zero
	return v, ok, nil
}

// receiving is a courier that receives.
type receiving[T any] struct {
	courier
	ch    <-chan T
	value T
	ok    bool
}

func (r *receiving[T]) carry() bool {
	select {
	case r.value, r.ok = <-r.ch:
		return true
	case <-r.quit:
		return false
	}
}

// sending is a courier that sends.
type sending[T any] struct {
	courier
	ch    chan<- T
	value T
}

func (s *sending[T]) carry() bool {
	select {
	case s.ch <- s.value:
		return true
	case <-s.quit:
		return false
	}
}

// A courier is a goroutine that waits at a channel for a task. Posted to the loop it
// is the goroutine's answer. The task is not resumed before that: so an operation on
// the channel that was in time always reaches it.
type courier struct {
	task *task
	trip interface{ carry() bool } // operates the channel, unless quit is faster
	quit chan struct{}             // closed to recall the goroutine
	more chan struct{}             // sends it once more; nil for a single trip

	recalled bool
	cause    error
	arrived  bool // the answer is there
	left     bool // the task does not wait for it any more

	away    sync.WaitGroup // the goroutine, until it knows its answer
	carried bool           // its answer
	fault   any            // what operating the channel panicked with
}

func (c *courier) init(trip interface{ carry() bool }, more bool) {
	c.trip = trip
	c.quit = make(chan struct{})
	if more {
		c.more = make(chan struct{}, 1)
	}
}

// await sends the courier out for t. It returns nil if the channel was operated, or
// else the cancellation.
func (c *courier) await(ctx context.Context, t *task) error {
	if t.forced > 0 || t.doomed(ctx) {
		return t.park(ctx, &waiter{task: t}) // it is not worth sending
	}
	first := c.task == nil
	c.task, c.arrived, c.carried = t, false, false
	c.away.Add(1)
	t.loop.outside++
	if first {
		go c.work()
	} else {
		c.more <- struct{}{}
	}
	defer c.fetch() // the task may be ended in the middle, with its machine
	err := t.suspend(ctx, c)
	c.fetch()
	if c.fault != nil {
		panic(c.fault)
	}
	if c.carried {
		return nil
	}
	return err
}

// fetch does not go on without the answer, even if the task is ended by force.
func (c *courier) fetch() {
	if !c.arrived {
		c.left = true
		c.recall(nil)
		c.away.Wait()
	}
}

func (c *courier) work() {
	for {
		c.operate()
		on := c.carried && c.more != nil // the task may look at it, and send again, from now on
		c.away.Done()
		c.task.loop.entry.post(c)
		if !on {
			return
		}
		select {
		case <-c.more:
		case <-c.quit:
			return
		}
	}
}

func (c *courier) operate() {
	defer func() {
		if p := recover(); p != nil { // a closed channel
			c.fault = p
		}
	}()
	c.carried = c.trip.carry()
}

func (c *courier) recall(cause error) {
	if !c.recalled {
		c.recalled, c.cause = true, newCancelled(cause)
		close(c.quit)
	}
}

func (c *courier) run() {
	c.task.loop.outside--
	c.arrived = true
	if !c.left && !c.task.queued {
		c.task.queue()
	}
}

// cancelAwait recalls the goroutine; the wait ends with its answer.
func (c *courier) cancelAwait(cause error) bool {
	c.recall(cause)
	return true
}

func (c *courier) cancellation() error {
	if c.arrived && !c.carried && c.fault == nil {
		return c.cause
	}
	return nil
}
