// What a program has left behind when its loop is closed.

package asyncio

import (
	"fmt"
	"strings"

	"github.com/goasyncio/asyncio/internal/seam"
)

// settle lets what is ready run, and what that makes ready, before it is judged what
// is left: a task that is about to end does not count.
func (l *EventLoop) settle() {
	if l.enter("Close") != nil {
		return
	}
	defer l.leave()
	l.single = true // count the passes
	defer func() { l.single = false }()
	const atLeast, atMost = 2, 100
	for i := 0; i < atLeast || i < atMost && l.ready.count > 0; i++ {
		if l.pass(0) != nil {
			return
		}
	}
}

// leftovers lists what the program should have ended, closed or waited for.
func (l *EventLoop) leftovers() []seam.Leftover {
	var left []seam.Leftover
	add := func(kind string, what any, site string) {
		left = append(left, seam.Leftover{Kind: kind, What: fmt.Sprint(what), CreatedAt: site})
	}
	for _, t := range l.tasks.all() {
		add("task", t.self, t.origin())
	}
	for _, t := range l.timers.All() {
		if h, ok := t.Owner.(*TimerHandle); ok && !ownFunction(h.call.fn) {
			add("timer", h, h.call.createdAt.String())
		}
	}
	for i := range l.ready.count {
		switch c := l.ready.at(i).(type) {
		case *soon:
			if !c.cancelled(c.turn) && !ownFunction(c.fn) {
				add("callback", c, "")
			}
		case *call:
			if !c.cancelled(0) && !ownFunction(c.fn) {
				add("callback", c, c.createdAt.String())
			}
		}
	}
	for e := l.open.first; e != nil; e = e.next {
		add("open", describe(e.owner), l.open.siteOf(e).String())
	}
	for e := l.workers.first; e != nil; e = e.next {
		add("worker", e.owner, "")
	}
	return left
}

// siteOf returns where e was added, if that was recorded.
func (r *registry) siteOf(e *registered) *site {
	s := site(r.sites[e])
	return &s
}

// ownFunction reports whether fn is one of the package's own: the timer of a Timeout,
// say, which ends with its task.
func ownFunction(fn func()) bool { return strings.HasPrefix(placeOf(fn).String(), ownPrefix) }
