// Strategies: how the decisions of a schedule are made.

package asynciotest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// A picker makes the decisions of one run.
type picker interface {
	// pick returns which of the candidates has its turn at a step, the first of
	// which is 1, and how that deviates from first come, first served: by a choice,
	// which is the number of the candidate, by putOff, or not at all, which is 0.
	// Candidate 0 is the one that came first.
	pick(step int, ready []candidate) (turn, deviation int)
}

// firstCome is first come, first served.
type firstCome struct{}

func (firstCome) pick(int, []candidate) (int, int) { return 0, 0 }

// randomWalk gives each candidate the same chance.
type randomWalk struct{ rng *rand.Rand }

func (r randomWalk) pick(_ int, ready []candidate) (int, int) {
	turn := r.rng.IntN(len(ready))
	return turn, turn
}

// priorities is the scheduler of Burckhardt, Kothari, Musuvathi and Nagarakatte, "A
// Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010.
// Every task has a priority by chance, and the highest one runs; at depth-1 steps,
// chosen by chance, the task that would run becomes the lowest.
type priorities struct {
	rng     *rand.Rand
	of      map[any]float64 // by lane
	changes map[int]bool    // the steps at which the highest becomes the lowest
	lowest  float64
	last    any // who had the last turn,
	turns   int // and how many in a row although others were ready
}

// enough is how many turns one task gets while others are put off, or in a row while
// others are ready. A task that polls would otherwise never let them do what it waits for.
const enough = 100

func newPriorities(rng *rand.Rand, depth, steps int) *priorities {
	p := &priorities{rng: rng, of: make(map[any]float64), changes: make(map[int]bool)}
	for range depth - 1 {
		p.changes[1+rng.IntN(max(1, steps))] = true
	}
	return p
}

func (p *priorities) pick(step int, ready []candidate) (int, int) {
	best := p.highest(ready)
	if len(ready) == 1 || ready[best].lane != p.last {
		p.turns = 0
	}
	if p.turns++; p.changes[step] || p.turns > enough {
		p.lowest--
		p.of[ready[best].lane] = p.lowest
		p.turns = 0
		best = p.highest(ready)
	}
	p.last = ready[best].lane
	return best, best
}

func (p *priorities) highest(ready []candidate) int {
	best := 0
	for i, c := range ready {
		if _, known := p.of[c.lane]; !known {
			p.of[c.lane] = p.rng.Float64()
		}
		if p.of[c.lane] > p.of[ready[best].lane] {
			best = i
		}
	}
	return best
}

// A decision is one that is not first come, first served: the candidate of that
// number has its turn at a step; or the one whose turn it is is put off until nothing
// else is ready, or until another one has had enough turns.
type decision struct{ step, choice int }

// putOff is a decision's choice: it stands for many.
const putOff = -1

func (d decision) String() string {
	if d.choice == putOff {
		return fmt.Sprintf("%d.p", d.step)
	}
	return fmt.Sprintf("%d.%d", d.step, d.choice)
}

// decisions are what a run deviates by from first come, first served.
type decisions []decision

// replay makes decisions, and serves who came first otherwise.
func (d decisions) replay() picker {
	r := &repetition{decisions: d, at: make(map[int]int, len(d)), off: make(map[any]bool), turns: make(map[any]int)}
	for _, one := range d {
		r.at[one.step] = one.choice
	}
	return r
}

type repetition struct {
	decisions decisions

	at    map[int]int
	off   map[any]bool // the lanes that are put off,
	turns map[any]int  // and how many turns the others have had since
}

func (r *repetition) pick(step int, ready []candidate) (turn, deviation int) {
	turn = r.next(ready, 0)
	switch choice := r.at[step]; {
	case choice == putOff:
		if other := r.next(ready, turn+1); other > turn {
			r.off[ready[turn].lane] = true
			clear(r.turns)
			turn, deviation = other, putOff
		}
	case choice > 0:
		if choice = min(choice, len(ready)-1); choice != turn {
			turn, deviation = choice, choice
		}
	}
	r.had(ready[turn].lane)
	return turn, deviation
}

// had takes down that a lane has a turn.
func (r *repetition) had(lane any) {
	if delete(r.off, lane); len(r.off) == 0 {
		return
	}
	if r.turns[lane]++; r.turns[lane] == enough {
		clear(r.off)
	}
}

// ran is told that nothing else was ready: who was put off until then has had its turn.
func (r *repetition) ran(lane any) { delete(r.off, lane) }

// next returns the first candidate from a place on that is not put off, or candidate
// 0 if there is none.
func (r *repetition) next(ready []candidate, from int) int {
	for i := from; i < len(ready); i++ {
		if !r.off[ready[i].lane] {
			return i
		}
	}
	return 0
}

// String is what parseDecisions understands.
func (d decisions) String() string {
	text := make([]string, len(d))
	for i, one := range d {
		text[i] = one.String()
	}
	return strings.Join(text, ",")
}

func parseDecisions(text string) (decisions, error) {
	var d decisions
	if text == "" {
		return d, nil
	}
	for _, one := range strings.Split(text, ",") {
		step, choice, _ := strings.Cut(one, ".")
		s, err := strconv.Atoi(step)
		c := putOff
		if choice != "p" && err == nil {
			c, err = strconv.Atoi(choice)
		}
		next := decision{s, c}
		if err != nil || s < 1 || c == 0 || next.String() != one {
			return nil, fmt.Errorf("%q is not a step and who runs then instead, as 12.1 and 12.p are", one)
		}
		if len(d) > 0 && s <= d[len(d)-1].step {
			return nil, fmt.Errorf("step %d stands after step %d", s, d[len(d)-1].step)
		}
		d = append(d, next)
	}
	return d, nil
}
