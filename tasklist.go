// Lists of tasks: those of a loop, and those of a group.

package asyncio

// A taskList lists tasks in the order in which they were added. Its links are in the
// tasks and, unlike those of a registry, know no owner: there may be a million of them.
type taskList struct {
	first, last *task
	count       int
	ofGroup     bool // the links are task.inGroup, not task.inLoop
}

type taskLinks struct{ prev, next *task }

func (l *taskList) links(t *task) *taskLinks {
	if l.ofGroup {
		return &t.inGroup
	}
	return &t.inLoop
}

func (l *taskList) add(t *task) {
	l.links(t).prev = l.last
	if l.last != nil {
		l.links(l.last).next = t
	} else {
		l.first = t
	}
	l.last = t
	l.count++
}

// remove removes t, if it is in the list.
func (l *taskList) remove(t *task) {
	x := l.links(t)
	if x.prev == nil && l.first != t {
		return
	}
	if x.prev != nil {
		l.links(x.prev).next = x.next
	} else {
		l.first = x.next
	}
	if x.next != nil {
		l.links(x.next).prev = x.prev
	} else {
		l.last = x.prev
	}
	*x = taskLinks{}
	l.count--
}

// all returns the tasks in the list, the oldest first.
func (l *taskList) all() []*task {
	all := make([]*task, 0, l.count)
	for t := l.first; t != nil; t = l.links(t).next {
		all = append(all, t)
	}
	return all
}

// siblings are the tasks of a group, as far as they know it.
type siblings struct {
	parent   *task    // whose group it is
	children taskList // that have not ended, in the order of their creation
	group    any      // the *TaskGroup
}
