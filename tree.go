// The task tree: which task waits for which.

package asyncio

import "strings"

// taskTree draws the tasks that are not done. Under a task stand those that it
// waits for, and those of its groups.
func (l *EventLoop) taskTree() string {
	var b strings.Builder
	below := make(map[*task][]*task)
	root := make(map[*task]bool)
	var all []*task
	for _, t := range l.AllTasks() {
		all = append(all, t.base())
		root[t.base()] = true
	}
	for _, t := range all {
		for _, above := range t.awaiters() {
			if above != t {
				root[t] = false
				below[above] = append(below[above], t)
				break
			}
		}
	}
	drawn := make(map[*task]bool)
	var draw func(t *task, indent string)
	draw = func(t *task, indent string) {
		drawn[t] = true
		b.WriteString(indent + t.self.String() + "\n")
		for _, c := range below[t] {
			if !drawn[c] {
				draw(c, indent+"    ")
			}
		}
	}
	for _, t := range all {
		if root[t] {
			draw(t, "")
		}
	}
	for _, t := range all { // tasks that wait for each other in a circle
		if !drawn[t] {
			draw(t, "")
		}
	}
	return b.String()
}
