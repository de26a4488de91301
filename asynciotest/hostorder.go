// Networks as a part of a run of Explore: which host goes on, and what is told of it.

package asynciotest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Network returns a network like NewNetwork, with the seed of the run, whose programs are
// a part of the run:
//
//	asynciotest.Explore(t, 1000, func(t testing.TB, sim *asynciotest.Sim) {
//		n := sim.Network()
//		n.Host("server").Go(serve)
//		n.Run(t, func(ctx context.Context) error { ... })
//	})
//
// The schedule decides which of the programs that are ready at one time goes on, until it
// waits; whether a packet that arrives at that time, or a timer, comes before; and which of
// its callbacks a program runs first, as with Sim.Run. What packets of different connections
// have made ready runs in any order. But a schedule changes no latency, and no time passes
// while something is ready: let seeds vary the latencies, or make them Fixed, so that much
// happens at one time.
//
// Determinism is checked for what happens on the network, too. Reports tell that between
// the steps, and name tasks with their hosts: "server/main" is the main of the first
// program on the host server, "server (program 2)/main" that of the second one.
//
// The faults of CancelEverywhere and PanicEverywhere concern the tasks of all programs but
// the main of Network.Run, which is the test. OnlyTask("server/main") limits them to a task
// of one host, OnlyTask("main") to those of this name on any, and OnlyTask("outside/main")
// concerns the test after all. A program that ends with the fault as its error does not fail
// Network.Run, unless main returns that.
//
// The limits are those of the run, unless an option says otherwise. A network that has
// programs and is never run fails the run. It panics if an option is nil.
func (s *Sim) Network(opts ...NetworkOption) *Network {
	of := networkOption(func(n *Network) { n.sim, n.limits = s, s.trial.limits })
	n := NewNetwork(s.Seed, append([]NetworkOption{of}, opts...)...)
	s.networks = append(s.networks, n)
	return n
}

// idle reports whether a network has programs that nobody has run.
func (s *Sim) idle() bool {
	return slices.ContainsFunc(s.networks, func(n *Network) bool { return len(n.programs) > 0 && !n.over })
}

// begin counts a run of the program. It returns an error if the trial is over.
func (s *Sim) begin() error {
	s.runs++
	return s.trial.endless
}

// trial returns the trial that the network belongs to, nil for none.
func (n *Network) trial() *trial {
	if n.sim == nil {
		return nil
	}
	return n.sim.trial
}

// advance gives one of the programs that are ready its turn. In a run of a Sim that is
// decided by the schedule, which may as well let something happen that is due at this time.
func (n *Network) advance() {
	t := n.trial()
	if t == nil {
		n.ready.pop().turn()
		return
	}
	n.candidates = n.candidates[:0]
	for i := range min(n.ready.len(), candidates-1) {
		n.candidates = append(n.candidates, candidate{i, n.ready.at(i).program})
	}
	next := n.events.First()
	if next != nil && next.When <= n.Now() {
		n.candidates = append(n.candidates, candidate{due, n})
	}
	place := 0
	if len(n.candidates) > 1 {
		place = n.candidates[t.decide(n.candidates, (*instant)(n))].place
	} else if r, ok := t.picker.(*repetition); ok {
		r.ran(n.candidates[0].lane)
	}
	if place == due {
		n.happen(next)
		return
	}
	n.ready.take(place).turn()
}

// due is the place of the next event.
const due = -1

// An instant is a network as a source of decisions: what may happen now.
type instant Network

func (n *instant) mayGoOn() bool { return (*Network)(n).mayGoOn((*Network)(n).Now()) == nil }

func (n *instant) describe(place int) callbackRun {
	e := callbackRun{at: (*Network)(n).Now(), kind: "host"}
	if place != due {
		e.name = n.ready.at(place).program.label
		return e
	}
	e.kind = "event"
	switch what := n.events.First().Owner.(type) {
	case *packet:
		e.name = fmt.Sprintf("%v -> %v, %v", what.from, what.to, what.kind)
	case *process:
		e.name = "timer of " + what.program.label
	default:
		e.name = "timer of the network"
	}
	return e
}

func (n *instant) where(int) string { return "" }

// labelled returns what p is called in reports: the host, and what tells p from the first
// program on that.
func (p *Program) labelled() string {
	if p.isTest() || p.name == "program 1" && p.host != p.host.net.outside {
		return p.host.name
	}
	return p.String()
}

// isTest reports whether p is the main of Run.
func (p *Program) isTest() bool { return p.host.net.outside == p.host && p.name == "main" }

// faulty reports whether err is what a fault has done, which is no failure of the network.
func (n *Network) faulty(err error) bool {
	t := n.trial()
	return t != nil && t.fault != nil && errors.Is(err, ErrInjected)
}

// A remark is what happens between two steps.
type remark struct {
	after int // the step before it
	at    time.Duration
	text  string

	ofNet  bool    // a packet's, or a host's
	ofTest bool    // what the test has said,
	fails  bool    // and that was a failure
	story  LogKind // what has happened to a host or a link, or a note; 0 for all else
	link   string  // which link
	more   int     // how many other links are not named
}

// mostLinks is how many links a line of a report names.
const mostLinks = 6

// isStory reports whether a report tells of something even if the steps around it are left
// out.
func (k LogKind) isStory() bool {
	return k >= HostCrashed && k <= LinkReleased || k >= NoteTaken
}

// String is what the courses of two runs are compared by.
func (r remark) String() string { return fmt.Sprintf("%-12v %s", r.at, r.text) }

// remark takes down, for a report, what happens on the network. Determinism is judged by
// everything, also by what has no place in the log.
func (n *Network) remark(what LogKind, from, to *Host, size int) {
	t := n.sim.trial
	if !t.record || n.over {
		return
	}
	text := what.String()
	if from != nil {
		text = from.name + "  " + text
	}
	if to != nil {
		text += " " + to.name
	}
	if size > 0 {
		text = fmt.Sprintf("%s %d B", text, size)
	}
	t.said = append(t.said, remark{after: len(t.events), at: n.Now(), text: text, ofNet: true})
}

// remarkEntry takes down an entry of the log.
func (n *Network) remarkEntry(e LogEntry) {
	t := n.sim.trial
	if !t.record && !t.explain || n.over {
		return
	}
	r := remark{after: len(t.events), at: e.Time, text: e.text(), ofNet: true}
	if e.Kind.isStory() {
		r.story = e.Kind
	} else if t.leaves(t.steps + 1) {
		return
	}
	if r.story != 0 && e.To != nil {
		r.link = fmt.Sprintf("%v -> %v", e.From, e.To)
		if k := len(t.said) - 1; t.explain && k >= 0 && t.said[k].continues(r) { // a partition is many links
			t.said[k].join(r)
			return
		}
		r.text = fmt.Sprintf("%v: %s", e.Kind, r.link)
	}
	t.said = append(t.said, r)
}

// join adds the link of other.
func (r *remark) join(other remark) {
	if strings.Count(r.text, " -> ") < mostLinks {
		r.text += ", " + other.link
		return
	}
	r.text = strings.TrimSuffix(r.text, fmt.Sprintf(", and %d more", r.more))
	r.more++
	r.text += fmt.Sprintf(", and %d more", r.more)
}

// continues reports whether other is the same that happens to another link at the same time.
func (r remark) continues(other remark) bool {
	return r.link != "" && r.story == other.story && r.at == other.at && r.after == other.after
}
