// Wait queues: who is next in line?

package asyncio

import (
	"context"
	"fmt"

	"github.com/goasyncio/asyncio/internal/coro"
)

// A waitq is a line of suspended tasks, first come, first served. It is under
// every primitive: locks, events, conditions, semaphores, queues. The zero value
// is empty.
//
// A place in the line is pending until it is granted or its wait is cancelled,
// whichever comes first. It stays in the line until its task has had its turn and
// has left. So a task may be granted its place and be interrupted all the same,
// when a cancellation comes between the grant and its turn; what it was granted it
// then has to pass on, which is why wait tells whether there was a grant.
//
// Joining, granting and leaving take constant time.
type waitq struct {
	first, last *place
	next        *place // the first one that is pending
	count       int
	live        int32      // those that were not cancelled: pending, or granted and not gone yet
	holder      taskNumber // the task that has the lock that the line is for; 0 if unknown
	spare       *place     // one that has left, for the next to come
}

// place is a task's place in a line.
type place struct {
	waiter
	line       *waitq
	prev, next *place
	granted    bool
}

// wait suspends t in the line until its place is granted. It returns the
// cancellation that has ended the wait, and whether there was a grant in spite
// of that. When it returns t has left the line.
func (q *waitq) wait(ctx context.Context, t *task) (granted bool, err error) {
	p := q.join(t)
	defer q.leave(p) // also when the task is ended by force
	err = t.suspend(ctx, p)
	return p.granted, err
}

func (q *waitq) join(t *task) *place {
	p := q.spare
	if p == nil {
		p = new(place)
	}
	q.spare = nil
	p.task, p.line, p.prev = t, q, q.last
	if q.last != nil {
		q.last.next = p
	} else {
		q.first = p
	}
	q.last = p
	if q.next == nil {
		q.next = p
	}
	q.count++
	q.live++
	return p
}

func (q *waitq) leave(p *place) {
	q.pass(p)
	if p.granted || !p.done {
		q.live--
	}
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		q.first = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	} else {
		q.last = p.prev
	}
	q.count--
	*p = place{}
	q.spare = p
}

// pass notes that p is not pending any more. Places only ever stop being
// pending, so next moves in one direction.
func (q *waitq) pass(p *place) {
	if q.next != p {
		return
	}
	for q.next = p.next; q.next != nil && q.next.done; {
		q.next = q.next.next
	}
}

// grant ends the wait of the first one that is pending, and reports whether
// there was one.
func (q *waitq) grant() bool { return q.next != nil && q.grantNext() }

func (q *waitq) grantNext() bool {
	p := q.next
	p.granted = true
	p.wake(nil)
	q.pass(p)
	return true
}

// grantFirst grants the place at the head of the line, unless that was granted
// or cancelled already.
func (q *waitq) grantFirst() {
	if q.first != nil && q.first == q.next {
		q.grant()
	}
}

// grantAll grants all that are pending.
func (q *waitq) grantAll() {
	for q.grant() {
	}
}

// describe adds to the description of a primitive how many are in the line.
func (q *waitq) describe(state string) string {
	if q.count == 0 {
		return state
	}
	return fmt.Sprintf("%s waiters=%d", state, q.count)
}

// cancelAwait ends the wait as cancelled. The place stays in the line until its
// task has had its turn.
func (p *place) cancelAwait(cause error) bool {
	if !p.waiter.cancelAwait(cause) {
		return false
	}
	p.line.live--
	p.line.pass(p)
	return true
}

// holder returns the task for whose lock this place waits, or 0.
func (p *place) holder() taskNumber { return p.line.holder }

// binding ties a primitive to the loop on which a task first had to wait for it.
type binding struct {
	loop *EventLoop // nil until then
}

// enter returns the task that runs now and may wait for the primitive.
func (b *binding) enter(ctx context.Context, op string) (*task, error) {
	t, err := current(ctx, op)
	if err == nil && b.loop != nil && b.loop != t.loop {
		return nil, b.foreign(t, op)
	}
	return t, err
}

func (b *binding) foreign(t *task, op string) *UsageError {
	return misuse(op, ErrWrongLoop, "tasks of %s have waited for it, the running task %s belongs to %s; make one for each loop", b.loop.name, t.Name(), t.loop.name)
}

// check panics if op, which does not suspend, is called on a goroutine that must
// not use the loop.
func (b *binding) check(op string) {
	if b.loop == nil || b.loop.mine() {
		return
	}
	if other := loopOn(coro.Current()); other != nil {
		panic(misuse(op, ErrWrongLoop, "tasks of %s have waited for it, but this code runs on %s; use CallSoonThreadsafe of %s", b.loop.name, other.name, b.loop.name))
	}
	panic(misuse(op, ErrWrongGoroutine, "it belongs to %s, which runs on another goroutine; use CallSoonThreadsafe", b.loop.name))
}

// wait is line.wait, which binds the primitive.
func (b *binding) wait(ctx context.Context, t *task, line *waitq) (granted bool, err error) {
	b.loop = t.loop
	return line.wait(ctx, t)
}
