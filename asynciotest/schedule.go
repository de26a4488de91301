// Schedules: which of the callbacks that are ready runs next, and what has run.

package asynciotest

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
)

// A schedule is the order of one loop. It keeps what the loop promises whatever the
// network and other goroutines do, and lets a picker decide the rest; see Explore.
type schedule struct {
	trial   *trial
	waiting []waiting   // the loop's queue
	ready   []candidate // who may run next
	lanes   map[any]struct{}
	now     time.Duration // of the last turn,
	last    int           // and its step
	queue   seam.Queue    // nil before it

	process *process // nil if the loop is not that of a program on a Network
	arrived int      // what has arrived there, from -1 downwards
	closing bool     // what runs is the clean-up
}

// waiting is a callback in the queue.
type waiting struct {
	seam.Callback
	by int // the step, or the arrival, that has queued it; 0 if it has not to wait for others
}

// A candidate is a callback that may run next.
type candidate struct {
	place int // in the queue
	lane  any
}

// Of a queue that is longer, only the beginning is looked at.
const (
	sight      = 1024
	candidates = 64
)

func newSchedule(t *trial) *schedule {
	return &schedule{trial: t, lanes: make(map[any]struct{})}
}

// Next implements seam.Order.
func (s *schedule) Next(q seam.Queue) int {
	t := s.trial
	if s.queue == nil && s.process == nil {
		t.begins(func() time.Duration { return s.now })
	}
	s.queue, s.now = q, q.Now()
	s.takeIn(s.last)
	s.findReady()
	turn := t.decide(s.ready, s)
	s.last = t.steps
	place := s.ready[turn].place
	if t.fault != nil && s.waiting[place].Kind == seam.Step {
		t.fault.goesOn(s.waiting[place].Subject)
	}
	copy(s.waiting[1:place+1], s.waiting[:place])
	s.waiting[0] = waiting{}
	s.waiting = s.waiting[1:]
	return place
}

// takeIn takes in what has been queued, and notes by whom.
func (s *schedule) takeIn(by int) {
	for i := len(s.waiting); i < s.queue.Len(); i++ {
		w := waiting{Callback: s.queue.At(i)}
		if w.Kind == seam.Step || w.Kind == seam.Handle || w.Kind == seam.Done {
			w.by = by
		}
		s.waiting = append(s.waiting, w)
	}
}

// arrives calls tell, which tells the loop of something that has arrived. What that
// queues is queued neither by the last step nor by what else arrives. s may be nil.
func (s *schedule) arrives(tell func()) {
	if s == nil || s.queue == nil {
		tell()
		return
	}
	s.takeIn(s.last)
	tell()
	s.arrived--
	s.takeIn(s.arrived)
}

// mayGoOn implements source.
func (s *schedule) mayGoOn() bool {
	t := s.trial
	if s.process != nil {
		return s.process.net.mayGoOn(s.now) == nil
	}
	if t.endless == nil {
		if why := t.limits.exceeded(t.steps, s.now); why != nil {
			if t.end(why, s.waiting); t.endless != nil {
				t.remark(s.now, tooLong)
				s.closing = true
			}
			return false
		}
	}
	return t.endless == nil
}

// describe implements source.
func (s *schedule) describe(place int) callbackRun {
	c := s.waiting[place].Callback
	return callbackRun{at: s.now, kind: c.Kind.String(), name: s.prefix() + nameOf(c), vain: s.closing}
}

// where implements source.
func (s *schedule) where(place int) string { return whereIs(s.waiting[place].Callback) }

// prefix is what names of tasks begin with: the program, if there are several.
func (s *schedule) prefix() string {
	if s.process == nil {
		return ""
	}
	return s.process.program.label + "/"
}

// nameOf names a task.
func (s *schedule) nameOf(t asyncio.AnyTask) string { return s.prefix() + t.Name() }

// off reports whether the host of the program has no power: only deferred functions run.
func (s *schedule) off() bool { return s.process != nil && s.process.halted }

// Awaits implements seam.Witness.
func (s *schedule) Awaits(task any) {
	if s.off() {
		return
	}
	if f := s.trial.fault; f != nil {
		f.awaits(s, task.(asyncio.AnyTask))
	}
	s.trial.watch(s, task.(asyncio.AnyTask))
}

// Suspends implements seam.Witness.
func (s *schedule) Suspends(task any) {
	if f := s.trial.fault; f != nil && !s.off() {
		f.suspends(s, task.(asyncio.AnyTask))
	}
}

// What a report says of how a run has ended.
const (
	deadlocked = "deadlock: every task waits, and nothing is left that could wake one"
	tooLong    = "it goes on for too long: all tasks are cancelled"
)

// Idles implements seam.Chronicle.
func (s *schedule) Idles() {
	s.closing = true
	if s.process == nil { // a network says it once for all
		s.trial.remark(s.now, deadlocked)
	}
}

// Closes implements seam.Chronicle.
func (s *schedule) Closes() {
	if !s.closing {
		s.trial.remark(s.now, "the loop is closed: what is left is cancelled")
	}
}

// findReady finds the callbacks that may run next: those that no other one must
// precede.
func (s *schedule) findReady() {
	clear(s.lanes)
	s.ready = s.ready[:0]
	by, deadline, timed := 0, time.Duration(0), false
	for i := range s.waiting[:min(sight, len(s.waiting))] {
		w := &s.waiting[i]
		held := false
		if w.by != 0 {
			held, by = w.by == by, w.by
		}
		if w.Kind == seam.Alarm || w.Kind == seam.Timer {
			if !timed {
				deadline, timed = w.When, true
			}
			held = held || w.When != deadline
		}
		if _, behind := s.lanes[w.Lane]; behind {
			continue
		}
		s.lanes[w.Lane] = struct{}{}
		if held {
			continue
		}
		if s.ready = append(s.ready, candidate{i, w.Lane}); len(s.ready) == candidates {
			return
		}
	}
}

// A callbackRun is a callback that has run: the determinism of a program is judged by
// them, and failures are told by them.
type callbackRun struct {
	at   time.Duration
	kind string // a seam.Kind, or "host"
	name string
	// What follows is known in a run that is to be reported.
	where   string // where the task goes on
	instead string // what else would have run, if this deviates
	vain    bool   // after a deadlock or a limit, when the tasks are only cancelled
}

// String is what the courses of two runs are compared by.
func (e callbackRun) String() string { return fmt.Sprintf("%-12v %-8v %s", e.at, e.kind, e.name) }

// nameOf names whose turn it is in the same way in every run.
func nameOf(c seam.Callback) string {
	switch s := c.Subject.(type) {
	case asyncio.AnyTask:
		return s.Name()
	case asyncio.Handle:
		return placeIn(s.String())
	case *asyncio.TimerHandle:
		return placeIn(s.String())
	case asyncio.AnyFuture:
		return "of a future"
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", c.Subject), "*asyncio.")
}

// placeIn takes the place of the function out of the String of a handle.
func placeIn(handle string) string {
	handle = strings.TrimSuffix(handle, ">")
	for _, prefix := range []string{"<Handle", " cancelled", " "} {
		handle = strings.TrimPrefix(handle, prefix)
	}
	if own, ok := strings.CutPrefix(handle, ownPrefix+"(*Program).Wait."); ok && own != "" {
		return "Program.Wait"
	}
	return shortPlace(handle)
}

// shortPlace shortens "path/package.function path/file:line".
func shortPlace(place string) string {
	function, file, ok := strings.Cut(place, " ")
	if !ok {
		return base(place)
	}
	return base(function) + " " + base(file)
}

// base is what follows the last slash.
func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// whereIs says where a task goes on.
func whereIs(c seam.Callback) string {
	if task, ok := c.Subject.(asyncio.AnyTask); ok && c.Kind == seam.Step {
		return whereOf(task)
	}
	return ""
}

// whereOf is where a task waits, and for what, as far as its stack tells.
func whereOf(task asyncio.AnyTask) string {
	call, place := seam.WaitOf(task)
	if call == "" || place == "" {
		return place + call
	}
	return place + " in " + call
}

// rootPrefix is how the names of the functions of package asyncio begin.
var rootPrefix = reflect.TypeFor[asyncio.EventLoop]().PkgPath() + "."

// internalPrefix is how the names of the functions of the packages below it begin.
var internalPrefix = reflect.TypeFor[asyncio.EventLoop]().PkgPath() + "/internal/"
