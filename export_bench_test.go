// What the benchmarks need of the package's inside: its data structures, at work.

package asyncio

import "context"

// NewReadyQueue returns a ReadyQueue that has so many in it.
func NewReadyQueue(n int) *ReadyQueue {
	q := new(ReadyQueue)
	for i := range n {
		q.Push(i)
	}
	return q
}

// Cycle moves the first one to the end.
func (q *ReadyQueue) Cycle() { q.queue.push(q.queue.pop()) }

// CycleAt moves the one at place i to the end.
func (q *ReadyQueue) CycleAt(i int) { q.queue.push(q.queue.popAt(i)) }

// Readd removes a member and makes it the last one.
func (r *Registry) Readd(m *Member) {
	r.Remove(m)
	r.registry.add(&m.registered, m)
}

// WaitQueue is a waitq.
type WaitQueue struct{ line waitq }

func (q *WaitQueue) Wait(ctx context.Context) error {
	t, err := current(ctx, "Wait")
	if err != nil {
		return err
	}
	_, err = q.line.wait(ctx, t)
	return err
}

func (q *WaitQueue) Grant() bool { return q.line.grant() }
func (q *WaitQueue) GrantAll()   { q.line.grantAll() }

// WriteBuffer is a writeBuffer.
type WriteBuffer struct{ buffer writeBuffer }

func (b *WriteBuffer) Append(p []byte) { b.buffer.append(p) }
func (b *WriteBuffer) Views() [][]byte { return b.buffer.views() }
func (b *WriteBuffer) Drop(n int)      { b.buffer.drop(n) }
