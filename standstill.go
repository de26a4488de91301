// Standstills: why nothing can happen any more on a loop.

package asyncio

import (
	"fmt"
	"slices"
	"strings"
)

// A standstill is what is known of a loop on which nothing can happen any more.
type standstill struct {
	tasks []*task
	waits map[*task]wait
	on    map[*task][]*task // the tasks that one waits for
}

func init() { tellTasks = standstillOf }

// standstillOf tells why l does not get on: which task waits for what, and which wait
// for each other.
func standstillOf(l *EventLoop) string {
	s := standstill{waits: make(map[*task]wait), on: make(map[*task][]*task)}
	numbers := make(map[taskNumber]*task)
	s.tasks = l.tasks.all()
	for _, t := range s.tasks {
		numbers[t.number()] = t
	}
	for _, t := range s.tasks {
		if t.suspended {
			s.waits[t] = t.waits(func(n taskNumber) *task { return numbers[n] })
		}
	}
	for _, t := range s.tasks {
		for _, above := range t.awaiters() {
			if s.waitsFor(above, t) {
				s.on[above] = append(s.on[above], t)
			}
		}
		if p, ok := t.waiter.(*place); ok && numbers[p.holder()] != nil {
			s.on[t] = append(s.on[t], numbers[p.holder()])
		}
	}
	return s.list() + s.circles()
}

// waitsFor reports whether t, which has to do with other, waits for it in this moment.
func (s *standstill) waitsFor(t, other *task) bool {
	if f, ok := t.waiter.(*future); ok && f == &other.future {
		return true
	}
	switch s.waits[t].call {
	case "WithTaskGroup", "Gather", "GatherSettled", "Wait", "AsCompleted", "Shield":
		return true
	}
	return false
}

// list lists the tasks. Those that wait in the same way share a line.
func (s *standstill) list() string {
	var texts []string
	alike := make(map[string][]*task)
	for _, t := range s.tasks {
		text := s.describe(t)
		if alike[text] == nil {
			texts = append(texts, text)
		}
		alike[text] = append(alike[text], t)
	}
	var b strings.Builder
	for _, text := range texts {
		ts := alike[text]
		fmt.Fprintf(&b, "\n\ttask %s: %s", ts[0].Name(), text)
		if len(ts) > 1 {
			b.WriteString(", like " + enumerate(ts[1:]))
		}
	}
	return b.String()
}

// describe says what a task waits for.
func (s *standstill) describe(t *task) string {
	w, suspended := s.waits[t]
	switch {
	case t.held:
		return "has not begun, since its group has a limit"
	case !suspended:
		return "is not suspended"
	}
	if on := s.on[t]; w.what == "" && len(on) > 0 {
		w.what = " for " + enumerate(on)
	}
	if t.asked > 0 {
		return "was cancelled, and " + w.String()
	}
	return w.String()
}

// enumerate writes "A", "A and B", "A, B and C", "A, B, C, D and 7 more".
func enumerate(ts []*task) string {
	const most = 5
	names := make([]string, 0, most)
	for i, t := range ts {
		if i == most-1 && len(ts) > most {
			names = append(names, fmt.Sprintf("%d more", len(ts)-i))
			break
		}
		names = append(names, t.Name())
	}
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// circles tells which tasks wait for each other.
func (s *standstill) circles() string {
	var b strings.Builder
	var path []*task // from the task at which the walk began to where it is
	const left = -1
	seen := make(map[*task]int) // where in path, or left
	var walk func(t *task)
	walk = func(t *task) {
		if i, known := seen[t]; known {
			if i != left && len(path)-i > 1 { // one that waits for itself has been told
				b.WriteString("\n\t" + circle(path[i:]))
			}
			return
		}
		seen[t] = len(path)
		path = append(path, t)
		for _, other := range s.on[t] {
			walk(other)
		}
		path = path[:len(path)-1]
		seen[t] = left
	}
	for _, t := range s.tasks {
		walk(t)
	}
	return b.String()
}

// circle describes tasks of which each waits for the next one, from the oldest on.
func circle(ts []*task) string {
	first := 0
	for i, t := range ts {
		if t.id < ts[first].id {
			first = i
		}
	}
	ts = slices.Concat(ts[first:], ts[:first])
	if len(ts) == 2 {
		return ts[0].Name() + " and " + ts[1].Name() + " wait for each other"
	}
	parts := make([]string, len(ts))
	for i, t := range ts {
		parts[i] = t.Name() + " waits for " + ts[(i+1)%len(ts)].Name()
	}
	return "in a circle: " + strings.Join(parts, ", ")
}
