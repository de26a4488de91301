// Shrinking: the simplest schedule that fails as another one did.

package asynciotest

import (
	"math/rand/v2"
	"slices"
	"time"
)

// shrinkRuns is how many runs shrinking may take,
const shrinkRuns = 3000

// and shrinkTime how long, if the test has so much time left.
var shrinkTime = 20 * time.Second

// A shrinking looks for a smaller set of decisions that still fails: delta debugging
// (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input"), towards
// first come, first served.
type shrinking struct {
	e        *exploration
	best     *outcome
	runs     int
	deadline time.Time
}

// shrink returns the simplest run that it has found which fails as o does, and in how many
// runs.
func (e *exploration) shrink(o *outcome) (*outcome, int) {
	s := &shrinking{e: e, best: o, deadline: time.Now().Add(atMost(e.t, shrinkTime))}
	s.simplify()
	s.elsewhere()
	s.search()
	return s.best, s.runs
}

// simplify leaves out what is not needed.
func (s *shrinking) simplify() {
	s.cut()
	for before := (*outcome)(nil); s.best != before && !s.over(); {
		before = s.best
		for chunk := len(s.best.trial.made); chunk > 0; chunk /= 2 {
			s.remove(chunk)
		}
		s.putOff()
	}
	s.lower()
}

// elsewhere looks for schedules that fail in the same way and are simpler, if there are
// many deviations left: one that is left out changes what the later ones mean, so that not
// all can be done without which are not needed. Those of priorities put few tasks off, for
// long.
func (s *shrinking) elsewhere() {
	const few, attempts = 3, 100
	for k := uint64(1); k <= attempts && len(s.best.trial.made) > few && !s.over(); k++ {
		steps := s.best.trial.steps
		if at := s.best.trial.failedAt; at > 0 {
			steps = at
		}
		s.runs++
		o := s.e.run(s.best.seed, &trial{picker: newPriorities(rand.New(rand.NewPCG(s.best.seed, k)), few, steps)})
		if !o.like(s.best) {
			continue
		}
		other := &shrinking{e: s.e, best: o, runs: s.runs, deadline: s.deadline}
		other.simplify()
		s.runs = other.runs
		if other.best.trial.made.simpler(s.best.trial.made) {
			s.best = other.best
		}
	}
}

// search looks for a failure with one or two deviations, if there are more so far.
func (s *shrinking) search() {
	const most = 1000
	none := &trial{picker: firstCome{}, measure: true}
	s.e.run(s.best.seed, none)
	level := []*trial{none}
	for depth := 1; depth <= 2 && depth < len(s.best.trial.made) && !s.over(); depth++ {
		longer := extend(level, most)
		level = make([]*trial, len(longer))
		failure := s.e.parallel(len(longer), func(i int) *outcome {
			level[i] = &trial{picker: longer[i].replay(), measure: true}
			if time.Now().After(s.deadline) {
				return &outcome{}
			}
			o := s.e.run(s.best.seed, level[i])
			if !o.like(s.best) {
				o = &outcome{}
			}
			return o
		})
		s.runs += len(longer)
		if failure != nil {
			s.best = failure
			return
		}
	}
}

func (s *shrinking) over() bool { return s.runs >= shrinkRuns || time.Now().After(s.deadline) }

// try adopts d if it fails and is simpler.
func (s *shrinking) try(d decisions) bool {
	if s.over() {
		return false
	}
	s.runs++
	o := s.e.run(s.best.seed, &trial{picker: d.replay()})
	if !o.like(s.best) || !o.trial.made.simpler(s.best.trial.made) {
		return false
	}
	s.best = o
	return true
}

// simpler reports whether d has fewer decisions than other, or as many but smaller
// ones.
func (d decisions) simpler(other decisions) bool {
	if len(d) != len(other) {
		return len(d) < len(other)
	}
	weigh := func(d decisions) (sum int) {
		for _, one := range d {
			sum += max(one.choice, 1)
		}
		return sum
	}
	return weigh(d) < weigh(other)
}

// cut tries to put off one callback instead of all the decisions from some step on.
func (s *shrinking) cut() {
	made := s.best.trial.made
	for i := range made {
		if s.try(append(made[:i:i], decision{made[i].step, putOff})) {
			return
		}
	}
}

// putOff tries to put off one callback instead of several decisions in a row.
func (s *shrinking) putOff() {
	for i := 0; i < len(s.best.trial.made); i++ {
		made := s.best.trial.made
		for j := len(made); j >= i+2; j-- {
			if s.try(slices.Concat(made[:i], decisions{{made[i].step, putOff}}, made[j:])) {
				break
			}
		}
	}
}

// remove tries to do without chunk decisions at a time, the last ones first.
func (s *shrinking) remove(chunk int) {
	for end := len(s.best.trial.made); end > 0; {
		made := s.best.trial.made
		end = min(end, len(made))
		start := max(0, end-chunk)
		s.try(slices.Concat(made[:start], made[end:]))
		end = start
	}
}

// lower tries smaller choices.
func (s *shrinking) lower() {
	for i := 0; i < len(s.best.trial.made); i++ {
		for choice := 1; i < len(s.best.trial.made) && choice < s.best.trial.made[i].choice; choice++ {
			d := slices.Clone(s.best.trial.made)
			d[i].choice = choice
			if s.try(d) {
				break
			}
		}
	}
}
