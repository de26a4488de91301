// What the tests need of the package's inside: its data structures, over numbers.

package asyncio

// ReadyQueue is a readyQueue of numbers.
type ReadyQueue struct{ queue readyQueue }

type number struct{ n int }

func (*number) run() {}

func (q *ReadyQueue) Push(n int)      { q.queue.push(&number{n}) }
func (q *ReadyQueue) Pop() int        { return q.queue.pop().(*number).n }
func (q *ReadyQueue) PopAt(i int) int { return q.queue.popAt(i).(*number).n }
func (q *ReadyQueue) Len() int        { return q.queue.count }

// Registry is a registry of numbers.
type Registry struct{ registry registry }

// Member is a number that is in a Registry, or was.
type Member struct {
	registered
	n int
}

func (r *Registry) Add(n int) *Member {
	m := &Member{n: n}
	r.registry.add(&m.registered, m)
	return m
}

func (r *Registry) Remove(m *Member) { r.registry.remove(&m.registered) }
func (r *Registry) Len() int         { return r.registry.count }

func (r *Registry) Numbers() []int {
	var all []int
	for _, o := range r.registry.owners() {
		all = append(all, o.(*Member).n)
	}
	return all
}

// Timers returns how many timers of the loop are armed.
func (l *EventLoop) Timers() int { return l.timers.Len() }

// Awaited returns how many waits for something outside the loop are under way.
func (l *EventLoop) Awaited() int { return l.outside + l.onNetwork }

// TaskTree returns what a second interrupt prints.
func (l *EventLoop) TaskTree() string { return l.taskTree() }

// SetSpareCoroutines sets how many coroutines the loop keeps: none if n is negative.
func (l *EventLoop) SetSpareCoroutines(n int) { l.coros.Max = n }
