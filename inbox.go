// Inboxes: queues that any goroutine may put into, and the tasks of a loop read.

package asyncio

import (
	"context"
	"fmt"
	"iter"
	"net"
	"sync"

	"github.com/goasyncio/asyncio/internal/coro"
)

// Inbox is a queue from other goroutines, and from the tasks of other loops, to the
// tasks of one loop, first in, first out. What one goroutine puts stays in order.
// NewInbox makes one; the zero value belongs to no loop.
//
// Put, PutNowait, Len and Close may be called from everywhere; Get, GetNowait and
// Items belong to the tasks and the goroutine of the loop. While a task waits, a
// virtual clock follows the wall clock. When the loop is closed, those who wait in Put
// return ErrLoopClosed, and what is in the inbox is dropped.
//
// # Cost
//
// Putting and getting cost a mutex each, some tens of nanoseconds, and allocate
// nothing. The loop is woken only if a task waits for an item, and once for all
// that are put before that task's turn.
type Inbox[T any] struct {
	loop     *EventLoop
	capacity int

	mu      sync.Mutex
	items   fifoStore[T]
	putters registry // of *putter[T]; empty unless the inbox is full
	told    bool     // the loop knows of putters, or will
	asleep  bool     // a task waits for the loop to be told of an item
	closed  bool
	lost    bool // the loop is closed

	// Owned by the loop.
	registered // in loop.open, while there are putters
	getters    waitq
}

// NewInbox makes an inbox on the loop of ctx for at most capacity items; without
// bound if capacity is not positive. It panics with a *UsageError if ctx carries no
// loop, or one that is being recorded.
func NewInbox[T any](ctx context.Context, capacity int) *Inbox[T] {
	l := loopOf(ctx, "NewInbox")
	if err := l.untaped("NewInbox", "an Inbox"); err != nil {
		panic(err)
	}
	return &Inbox[T]{loop: l, capacity: capacity}
}

// Put waits until there is room and puts item into the inbox. Any goroutine may call
// it; those who wait get room in the order in which they came. A task, of this loop or
// of another one, waits by suspending; any other goroutine is blocked.
//
// Put returns net.ErrClosed if the inbox is closed, before or meanwhile, and a
// *UsageError, ErrLoopClosed, if its loop is. If ctx is done while it waits, it
// returns the cause, or to a task its cancellation, and item is not in the inbox. If
// there is room it does not look at ctx. In a callback of a loop, where waiting would
// stop the loop, it returns a *UsageError if there is no room.
func (i *Inbox[T]) Put(ctx context.Context, item T) error {
	err := i.offer(item, nil)
	if err != ErrQueueFull {
		return err
	}
	t, err := current(ctx, "Inbox.Put")
	switch {
	case err == nil:
		return i.putTask(ctx, t, item)
	case loopOn(coro.Current()) != nil:
		return err
	case i.loop.waitsForMe():
		return misuse("Inbox.Put", ErrWrongGoroutine, "there is no room, and %s, which runs on this goroutine, would wait for itself", i.loop.name)
	}
	return i.putGoroutine(ctx, item)
}

// putTask is Put of a task, when there is no room.
func (i *Inbox[T]) putTask(ctx context.Context, t *task, item T) error {
	if t.forced > 0 || t.doomed(ctx) {
		return t.park(ctx, &waiter{task: t}) // item is not worth offering
	}
	p := &putter[T]{inbox: i, item: item, waiter: waiter{task: t}}
	if err := i.offer(item, p); err != ErrQueueFull {
		return err
	}
	t.loop.outside++
	defer func() { t.loop.outside-- }()
	err := t.suspend(ctx, p)
	p.done = true // an answer that comes later finds nobody
	if err != nil && p.withdraw() {
		return err
	}
	return p.answer
}

// putGoroutine is Put of any other goroutine, when there is no room.
func (i *Inbox[T]) putGoroutine(ctx context.Context, item T) error {
	p := &putter[T]{inbox: i, item: item, answered: make(chan struct{})}
	if err := i.offer(item, p); err != ErrQueueFull {
		return err
	}
	select {
	case <-p.answered:
	case <-ctx.Done():
		if p.withdraw() {
			return context.Cause(ctx)
		}
		<-p.answered
	}
	return p.answer
}

// PutNowait puts item into the inbox. It returns ErrQueueFull if there is no room,
// net.ErrClosed if the inbox is closed, and a *UsageError, ErrLoopClosed, if its loop
// is. It never waits, and any goroutine may call it.
func (i *Inbox[T]) PutNowait(item T) error { return i.offer(item, nil) }

// offer puts item into the inbox. If there is no room it returns ErrQueueFull, and p,
// unless that is nil, waits for its answer.
func (i *Inbox[T]) offer(item T, p *putter[T]) error {
	i.mu.Lock()
	if err := i.refusal(); err != nil {
		i.mu.Unlock()
		return err
	}
	if i.full() {
		tell := false
		if p != nil {
			i.putters.add(&p.registered, p)
			tell, i.told = !i.told, true
		}
		i.mu.Unlock()
		if tell && !i.loop.entry.post(i) {
			i.drop()
		}
		return ErrQueueFull
	}
	i.items.push(item)
	wake := i.asleep
	i.asleep = false
	i.mu.Unlock()
	if wake {
		i.loop.entry.post(i)
	}
	return nil
}

func (i *Inbox[T]) refusal() error {
	switch {
	case i.loop == nil:
		return i.homeless("Inbox.Put")
	case i.lost || i.loop.closed.Load():
		return misuse("Inbox.Put", ErrLoopClosed, "%s", i.loop.name)
	case i.closed:
		return net.ErrClosed
	}
	return nil
}

func (i *Inbox[T]) homeless(op string) *UsageError {
	return misuse(op, ErrOutsideTask, "this Inbox belongs to no loop; make it with NewInbox")
}

func (i *Inbox[T]) full() bool { return i.capacity > 0 && i.items.count >= i.capacity }

// Get waits until there is an item and takes it out of the inbox. If there is one,
// Get does not suspend, even if ctx is done. Any number of tasks of the loop may wait.
//
// It returns net.ErrClosed if the inbox is closed and empty. If the task, or ctx, is
// cancelled while it waits, Get returns that and takes no item. Outside a task, or on
// another loop, it returns a *UsageError.
func (i *Inbox[T]) Get(ctx context.Context) (T, error) {
	var zero T
	t, err := current(ctx, "Inbox.Get")
	if err != nil {
		return zero, err
	}
	switch i.loop {
	case t.loop:
	case nil:
		return zero, i.homeless("Inbox.Get")
	default:
		return zero, misuse("Inbox.Get", ErrWrongLoop, "the inbox belongs to %s, the running task %s to %s", i.loop.name, t.Name(), t.loop.name)
	}
	for {
		if item, err := i.take(true); err != ErrQueueEmpty {
			return item, err
		}
		granted, err := i.wait(ctx, t)
		if err != nil {
			if granted && i.Len() > 0 {
				i.getters.grant()
			}
			return zero, err
		}
	}
}

// GetNowait takes an item out of the inbox. It returns ErrQueueEmpty if there is
// none, and net.ErrClosed if the inbox is closed as well. It panics with a *UsageError
// on a goroutine that must not use the loop.
func (i *Inbox[T]) GetNowait() (T, error) {
	if i.loop == nil {
		panic(i.homeless("Inbox.GetNowait"))
	}
	i.loop.checkMine("Inbox.GetNowait")
	return i.take(false)
}

// take takes an item, and fills its room. If there is none and the caller will wait,
// the next one to put tells the loop.
func (i *Inbox[T]) take(willWait bool) (T, error) {
	i.mu.Lock()
	if i.items.count == 0 {
		closed := i.closed
		i.asleep = i.asleep || willWait && !closed
		i.mu.Unlock()
		var zero T
		if closed {
			return zero, net.ErrClosed
		}
		return zero, ErrQueueEmpty
	}
	item := i.items.pop()
	var next *putter[T]
	if e := i.putters.first; e != nil {
		next = e.owner.(*putter[T])
		i.putters.remove(e)
		i.items.push(next.item)
		i.forget()
	}
	i.mu.Unlock()
	if next != nil {
		next.tell()
	}
	return item, nil
}

func (i *Inbox[T]) wait(ctx context.Context, t *task) (granted bool, err error) {
	t.loop.outside++
	defer func() { t.loop.outside-- }() // also when the task is ended by force
	return i.getters.wait(ctx, t)
}

// Items yields the items as Get gives them, until the inbox is closed and empty. If
// Get fails otherwise, that error is yielded, with a zero item, and the sequence ends.
// Any number of tasks may range over one inbox; each item goes to one of them.
func (i *Inbox[T]) Items(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			item, err := i.Get(ctx)
			if err == net.ErrClosed || !yield(item, err) || err != nil {
				return
			}
		}
	}
}

// Len returns how many items are in the inbox. Any goroutine may call it.
func (i *Inbox[T]) Len() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.items.count
}

// Close ends the inbox: those who put, or wait in Put, get net.ErrClosed, and so do
// tasks in Get when the inbox is empty. Any goroutine may call it, and closing twice is
// harmless. It always returns nil.
func (i *Inbox[T]) Close() error {
	i.mu.Lock()
	i.closed = true
	tellAll := i.refuseAll(net.ErrClosed)
	i.mu.Unlock()
	tellAll()
	i.loop.entry.post(i) // wakes the tasks; refused when there are none
	return nil
}

// String shows how many items are in the inbox and how many wait to put one.
func (i *Inbox[T]) String() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	state := ""
	if i.closed {
		state = " closed"
	}
	return fmt.Sprintf("<Inbox capacity=%d items=%d putters=%d%s>", i.capacity, i.items.count, i.putters.count, state)
}

// run is the news that there are items, or putters, or that the inbox is closed.
func (i *Inbox[T]) run() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		i.getters.grantAll()
	}
	for n := i.items.count; n > 0 && i.getters.grant(); n-- {
	}
	i.asleep = i.getters.next != nil
	if i.putters.count > 0 && i.owner == nil {
		i.loop.open.add(&i.registered, i)
	}
	i.forget()
}

// forget takes an inbox without putters off the list of what the loop has to close.
// Only the loop may call it, with the mutex.
func (i *Inbox[T]) forget() {
	if i.putters.count == 0 {
		i.loop.open.remove(&i.registered)
		i.told = false
	}
}

// refuseAll answers all putters with err. They hear of it by tellAll, which must be
// called without the mutex.
func (i *Inbox[T]) refuseAll(err error) (tellAll func()) {
	putters := i.putters.owners()
	for _, owner := range putters {
		p := owner.(*putter[T])
		i.putters.remove(&p.registered)
		p.answer = err
	}
	return func() {
		for _, owner := range putters {
			owner.(*putter[T]).tell()
		}
	}
}

// abandon tells the putters that the loop is closed.
func (i *Inbox[T]) abandon() {
	i.mu.Lock()
	i.lost = true
	tellAll := i.refuseAll(misuse("Inbox.Put", ErrLoopClosed, "%s", i.loop.name))
	i.mu.Unlock()
	tellAll()
}

func (i *Inbox[T]) drop() { i.abandon() }

// A putter waits for room in an inbox: a task, or another goroutine. Posted to the
// task's loop it is its answer.
type putter[T any] struct {
	registered // in inbox.putters; guarded by its mutex, as are the next two
	answer     error
	withdrawn  bool

	waiter   // of the task; its task is nil for a goroutine
	inbox    *Inbox[T]
	item     T
	answered chan struct{} // for a goroutine
}

// tell ends the wait of a putter that is off the list.
func (p *putter[T]) tell() {
	if p.task == nil {
		close(p.answered)
		return
	}
	p.task.loop.entry.post(p)
}

// withdraw takes the item back, unless it is in the inbox, and reports whether it
// was taken back now or before.
func (p *putter[T]) withdraw() bool {
	p.inbox.mu.Lock()
	defer p.inbox.mu.Unlock()
	if p.owner != nil {
		p.inbox.putters.remove(&p.registered)
		p.withdrawn = true
	}
	return p.withdrawn
}

func (p *putter[T]) run() { p.wake(p.answer) }

// cancelAwait takes the item back, or else leaves the wait to the answer that is on
// its way.
func (p *putter[T]) cancelAwait(cause error) bool {
	if p.withdraw() {
		p.waiter.cancelAwait(cause)
	}
	return true
}
