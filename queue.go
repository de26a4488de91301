// Queues: items that tasks hand to other tasks.

package asyncio

import (
	"context"
	"fmt"
	"iter"
	"strings"
)

// Queue hands items from tasks to tasks, first in, first out (asyncio.Queue).
//
// With a maxsize, Put waits while that many items are in the queue, so that
// producers cannot run ahead of consumers. Each item counts as unfinished until a
// consumer says TaskDone; Join waits until none is left. Shutdown ends the queue.
//
// The zero value is an empty queue without bound. A Queue must not be copied after
// its first use. It belongs to the loop on which a task first had to wait for it;
// after that its methods panic, or fail, with a *UsageError on other goroutines and
// loops.
//
// # Order
//
// Those who wait for an item, or for room, are woken in the order in which they
// came, one for each item. An item is not reserved for the task that was woken:
// one that calls Get, or GetNowait, before that task's turn takes the item, and
// the woken task waits again behind the others. An item that was got is never lost
// to a cancellation: Get returns the one or the other.
//
// # Cost
//
// Putting and getting without a wait allocates nothing, but for the growth of
// the storage, and costs some ten nanoseconds.
type Queue[T any] struct {
	queue[T, fifoStore[T], *fifoStore[T]]
}

// NewQueue makes a queue for at most maxsize items; without bound if maxsize is
// not positive.
func NewQueue[T any](maxsize int) *Queue[T] {
	q := new(Queue[T])
	q.maxsize = maxsize
	return q
}

// LifoQueue is a queue in which the newest item is the first to leave
// (asyncio.LifoQueue). The zero value is empty and without bound. All else is as with
// Queue.
type LifoQueue[T any] struct {
	queue[T, lifoStore[T], *lifoStore[T]]
}

// NewLifoQueue makes a queue for at most maxsize items; without bound if maxsize
// is not positive.
func NewLifoQueue[T any](maxsize int) *LifoQueue[T] {
	q := new(LifoQueue[T])
	q.maxsize = maxsize
	return q
}

// PriorityQueue is a queue in which the least item is the first to leave; of
// equal ones the oldest (asyncio.PriorityQueue). NewPriorityQueue makes one; the zero
// value has no order, and putting into it is a *UsageError. All else is as with Queue.
type PriorityQueue[T any] struct {
	queue[T, priorityStore[T], *priorityStore[T]]
}

// NewPriorityQueue makes a queue for at most maxsize items; without bound if
// maxsize is not positive. less says whether a is to leave before b. It must not
// change its mind while the items are in the queue. If it is nil NewPriorityQueue
// panics with a *UsageError.
func NewPriorityQueue[T any](maxsize int, less func(a, b T) bool) *PriorityQueue[T] {
	if less == nil {
		panic(misuse("NewPriorityQueue", ErrBadArgument, "less is nil"))
	}
	q := new(PriorityQueue[T])
	q.maxsize = maxsize
	q.items.less = less
	return q
}

// queue is what the kinds of queues have in common: they differ in how S stores
// the items.
type queue[T, S any, P queueStore[T, S]] struct {
	queueLines
	items S
}

// A queueStore keeps items in the order in which they leave a queue. Its zero value
// is empty.
type queueStore[T, S any] interface {
	*S
	push(item T) error // a mistake in how it was made
	pop() T            // there must be one
}

// queueLines is the part of a queue that does not know the items: who waits for what.
type queueLines struct {
	binding
	getters, putters, joiners waitq

	maxsize    int
	count      int // of the items
	unfinished int
	down       bool
}

func (l *queueLines) full() bool { return l.count >= l.maxsize && l.maxsize > 0 }

// waitForRoom suspends t until the queue is not full.
func (l *queueLines) waitForRoom(ctx context.Context, t *task) error {
	for l.full() {
		if l.down {
			return ErrQueueShutDown
		}
		granted, err := l.wait(ctx, t, &l.putters)
		if err != nil {
			if granted && !l.full() {
				l.putters.grant()
			}
			return err
		}
	}
	return nil
}

// waitForItem suspends t until the queue is not empty.
func (l *queueLines) waitForItem(ctx context.Context, t *task) error {
	for l.count == 0 {
		if l.down {
			return ErrQueueShutDown
		}
		granted, err := l.wait(ctx, t, &l.getters)
		if err != nil {
			if granted && l.count > 0 {
				l.getters.grant()
			}
			return err
		}
	}
	return nil
}

func (l *queueLines) finish() {
	if l.unfinished--; l.unfinished == 0 {
		l.joiners.grantAll()
	}
}

func (q *queue[T, S, P]) store() P { return &q.items }

// Put waits until there is room and puts item into the queue (Queue.put). If
// there is room, Put does not suspend, even if ctx is done.
//
// It returns ErrQueueShutDown if the queue is shut down, before or meanwhile. If
// the task, or ctx, is cancelled while it waits, Put returns that, and the item is
// not in the queue. Outside a task, or with a context of another loop, it returns a
// *UsageError.
func (q *queue[T, S, P]) Put(ctx context.Context, item T) error {
	t, err := q.enter(ctx, "Queue.Put")
	if err != nil {
		return err
	}
	if q.full() {
		if err := q.waitForRoom(ctx, t); err != nil {
			return err
		}
	}
	return q.put(item)
}

// PutNowait puts item into the queue (Queue.put_nowait). It returns ErrQueueFull
// if there is no room, and ErrQueueShutDown if the queue is shut down. It never
// suspends.
func (q *queue[T, S, P]) PutNowait(item T) error {
	q.check("Queue.PutNowait")
	return q.put(item)
}

func (q *queue[T, S, P]) put(item T) error {
	switch {
	case q.down:
		return ErrQueueShutDown
	case q.full():
		return ErrQueueFull
	}
	q.count++ // first, since a less that panics leaves the item in the queue
	if err := q.store().push(item); err != nil {
		q.count--
		return err
	}
	q.unfinished++
	q.getters.grant()
	return nil
}

// Get waits until there is an item and takes it out of the queue (Queue.get). If
// there is one, Get does not suspend, even if ctx is done.
//
// It returns ErrQueueShutDown if the queue is shut down and empty, before or
// meanwhile. If the task, or ctx, is cancelled while it waits, Get returns that and
// takes no item. Outside a task, or with a context of another loop, it returns a
// *UsageError.
func (q *queue[T, S, P]) Get(ctx context.Context) (T, error) {
	var zero T
	t, err := q.enter(ctx, "Queue.Get")
	if err != nil {
		return zero, err
	}
	if q.count == 0 {
		if err := q.waitForItem(ctx, t); err != nil {
			return zero, err
		}
	}
	return q.take(), nil
}

// GetNowait takes an item out of the queue (Queue.get_nowait). It returns
// ErrQueueEmpty if there is none, and ErrQueueShutDown if the queue is shut down
// as well. It never suspends.
func (q *queue[T, S, P]) GetNowait() (T, error) {
	q.check("Queue.GetNowait")
	var zero T
	switch {
	case q.count > 0:
		return q.take(), nil
	case q.down:
		return zero, ErrQueueShutDown
	}
	return zero, ErrQueueEmpty
}

func (q *queue[T, S, P]) take() T {
	q.count--
	q.putters.grant()
	return q.store().pop()
}

// Items yields the items as Get gives them, until the queue is shut down and
// empty. If Get fails otherwise, that error is yielded, with a zero item, and the
// sequence ends. Any number of tasks may range over one queue; each item goes to
// one of them. TaskDone is left to the loop body.
func (q *queue[T, S, P]) Items(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			item, err := q.Get(ctx)
			if err == ErrQueueShutDown || !yield(item, err) || err != nil {
				return
			}
		}
	}
}

// Len returns how many items are in the queue (Queue.qsize).
func (q *queue[T, S, P]) Len() int {
	q.check("Queue.Len")
	return q.count
}

// Maxsize returns the bound, 0 or less if there is none (Queue.maxsize).
func (q *queue[T, S, P]) Maxsize() int { return q.maxsize }

// Empty reports whether no item is in the queue (Queue.empty).
func (q *queue[T, S, P]) Empty() bool { return q.Len() == 0 }

// Full reports whether there is no room (Queue.full). A queue without bound is
// never full.
func (q *queue[T, S, P]) Full() bool {
	q.check("Queue.Full")
	return q.full()
}

// TaskDone says that an item which was got is finished (Queue.task_done). It
// panics with a *UsageError, ErrTooOften, if it is called for more items than
// were put.
func (q *queue[T, S, P]) TaskDone() {
	q.check("Queue.TaskDone")
	if q.unfinished == 0 {
		panic(misuse("Queue.TaskDone", ErrTooOften, "no item is unfinished; call it once for each item that Get has returned"))
	}
	q.finish()
}

// Join waits until every item that was put is finished (Queue.join). If all are,
// Join does not suspend. If the task, or ctx, is cancelled, it returns that.
// Outside a task, or with a context of another loop, it returns a *UsageError.
func (q *queue[T, S, P]) Join(ctx context.Context) error {
	t, err := q.enter(ctx, "Queue.Join")
	if err != nil || q.unfinished == 0 {
		return err
	}
	_, err = q.wait(ctx, t, &q.joiners)
	return err
}

// Shutdown ends the queue (Queue.shutdown): putting fails with ErrQueueShutDown
// from now on, and so does getting when the queue is empty. Tasks that wait in Put
// or Get are woken and find that out. If immediate is true the items that are left
// are dropped, and count as finished. Shutting down twice is harmless.
func (q *queue[T, S, P]) Shutdown(immediate bool) {
	q.check("Queue.Shutdown")
	q.down = true
	if immediate {
		for q.count > 0 {
			q.count--
			q.store().pop()
			if q.unfinished > 0 { // TaskDone may have been called for what nobody got
				q.finish()
			}
		}
	}
	q.getters.grantAll()
	q.putters.grantAll()
}

// String shows how many items are in the queue, how many are unfinished, and how
// many tasks wait.
func (q *queue[T, S, P]) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "<Queue maxsize=%d items=%d", q.maxsize, q.count)
	for _, c := range []struct {
		what string
		n    int
	}{{"getters", int(q.getters.count)}, {"putters", int(q.putters.count)}, {"unfinished", q.unfinished}} {
		if c.n > 0 {
			fmt.Fprintf(&b, " %s=%d", c.what, c.n)
		}
	}
	if q.down {
		b.WriteString(" shut down")
	}
	b.WriteString(">")
	return b.String()
}

// fifoStore is the store of a Queue.
type fifoStore[T any] struct {
	items []T // its length is a power of two, or zero
	head  int // where the first one is
	count int
}

// A storage that is larger than this shrinks with the number of items. A smaller one does not:
// a queue that is filled and emptied by turns would allocate each time.
const smallFifo = 128

func (r *fifoStore[T]) push(item T) error {
	if r.count == len(r.items) {
		r.resize(max(8, 2*r.count))
	}
	r.items[(r.head+r.count)&(len(r.items)-1)] = item
	r.count++
	return nil
}

func (r *fifoStore[T]) pop() T {
	var zero T
	item := r.items[r.head]
	r.items[r.head] = zero
	r.head = (r.head + 1) & (len(r.items) - 1)
	if r.count--; r.count < len(r.items)/4 && len(r.items) > smallFifo {
		r.resize(len(r.items) / 2)
	}
	return item
}

func (r *fifoStore[T]) resize(n int) {
	items := make([]T, n)
	k := copy(items, r.items[r.head:min(r.head+r.count, len(r.items))])
	copy(items[k:], r.items[:r.count-k])
	r.items, r.head = items, 0
}

// lifoStore is the store of a LifoQueue.
type lifoStore[T any] struct{ items []T }

func (s *lifoStore[T]) push(item T) error {
	s.items = append(s.items, item)
	return nil
}

func (s *lifoStore[T]) pop() T {
	var zero T
	last := len(s.items) - 1
	item := s.items[last]
	s.items[last] = zero
	s.items = s.items[:last]
	return item
}

// priorityStore is the store of a PriorityQueue: a binary heap. The number of an item
// decides between equal ones.
type priorityStore[T any] struct {
	less  func(a, b T) bool
	items []numbered[T]
	count uint64 // of all items that were ever pushed
}

type numbered[T any] struct {
	item   T
	number uint64
}

func (h *priorityStore[T]) before(a, b *numbered[T]) bool {
	switch {
	case h.less(a.item, b.item):
		return true
	case h.less(b.item, a.item):
		return false
	}
	return a.number < b.number
}

func (h *priorityStore[T]) push(item T) error {
	if h.less == nil {
		return misuse("PriorityQueue.Put", ErrBadArgument, "the queue does not know how to order items; make it with NewPriorityQueue")
	}
	h.count++
	h.items = append(h.items, numbered[T]{item, h.count})
	for i := len(h.items) - 1; i > 0; {
		above := (i - 1) / 2
		if !h.before(&h.items[i], &h.items[above]) {
			break
		}
		h.items[i], h.items[above] = h.items[above], h.items[i]
		i = above
	}
	return nil
}

func (h *priorityStore[T]) pop() T {
	item := h.items[0].item
	last := len(h.items) - 1
	h.items[0] = h.items[last]
	h.items[last] = numbered[T]{}
	h.items = h.items[:last]
	for i := 0; ; {
		least := i
		for below := 2*i + 1; below <= 2*i+2 && below < last; below++ {
			if h.before(&h.items[below], &h.items[least]) {
				least = below
			}
		}
		if least == i {
			return item
		}
		h.items[i], h.items[least] = h.items[least], h.items[i]
		i = least
	}
}
