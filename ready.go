// The ready queue: what runs in this pass of the loop and the next.

package asyncio

// A runnable is something that the loop can run: a callback, a step of a task,
// an event of the network. It is an interface over pointers, so queueing one
// allocates nothing.
type runnable interface {
	run()
}

// readyQueue is a first-in, first-out ring. The zero value is empty.
type readyQueue struct {
	ring  []runnable // its length is a power of two, or zero
	head  int        // where the first one is
	count int
}

func (q *readyQueue) push(r runnable) {
	if q.count == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.count)&(len(q.ring)-1)] = r
	q.count++
}

// first returns what pop would; there must be something.
func (q *readyQueue) first() runnable { return q.ring[q.head] }

// at returns the one at place i.
func (q *readyQueue) at(i int) runnable { return q.ring[(q.head+i)&(len(q.ring)-1)] }

func (q *readyQueue) pop() runnable {
	r := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.count--
	return r
}

// popAt removes the one at place i; those before it keep their order.
func (q *readyQueue) popAt(i int) runnable {
	mask := len(q.ring) - 1
	r := q.ring[(q.head+i)&mask]
	for ; i > 0; i-- {
		q.ring[(q.head+i)&mask] = q.ring[(q.head+i-1)&mask]
	}
	q.ring[q.head] = r
	return q.pop()
}

func (q *readyQueue) grow() {
	ring := make([]runnable, max(64, 2*len(q.ring)))
	n := copy(ring, q.ring[q.head:])
	copy(ring[n:], q.ring[:q.head])
	q.ring, q.head = ring, 0
}

func (q *readyQueue) clear() { *q = readyQueue{} }
