// Limits: runs that would go on for ever are ended.

package asynciotest

import (
	"errors"
	"fmt"
	"time"
)

// ErrEndless is the error of a run that goes beyond StepLimit or TimeLimit. Its text says
// when that was, and which tasks have not ended. A run of Explore and its like that is ended
// so has failed, unless the function under test asks its error whether it Is ErrEndless.
var ErrEndless = errors.New("asynciotest: the run does not come to an end")

// A LimitOption says how long a run may be. It is an option of Explore and what is like
// it, of NewNetwork, and of WithVirtualClock.
type LimitOption interface {
	ExploreOption
	FaultOption
	NetworkOption
	applyLimits(*limits)
}

// StepLimit sets how many steps a run may take. What is left is then ended, and the error
// of the run is ErrEndless. So a program that beats for ever, while nobody waits for
// anything else, fails in the same moment each time, and not when go test loses its
// patience.
//
// In a run of Explore, CheckDeterminism, CancelEverywhere or PanicEverywhere a step is a
// turn of a task or a callback, on whatever host of its Network, and the default is a
// million. On other networks it is a packet, a timer, a turn of a program, or a pass of its
// loop within that, and with Run a pass of the loop; the default is 20 million, which take
// some 5 to 30 seconds. Passes that do not wait are counted by 64, so that a run may be
// that much longer. WithVirtualClock by itself has no limit.
//
// A run of Sim.Run is ended by cancelling all tasks; one that ignores that, and awaits ten
// thousand times more, fails the run, and is ended as by FailNow. Nothing can be done about
// a task that does not await.
//
// It panics if n is not positive.
func StepLimit(n int) LimitOption {
	if n < 1 {
		panic(fmt.Sprintf("asynciotest: StepLimit(%d): the limit must be positive", n))
	}
	return limitOption(func(l *limits) { l.steps = n })
}

// TimeLimit sets until when a run may go on, on the clock of its loop or network, as
// StepLimit sets how many steps it may take. There is no limit by default: to sleep for a
// year costs nothing. It panics if d is not positive.
func TimeLimit(d time.Duration) LimitOption {
	if d <= 0 {
		panic(fmt.Sprintf("asynciotest: TimeLimit(%v): the limit must be positive", d))
	}
	return limitOption(func(l *limits) { l.time = d })
}

// An overrun is the error of a run of many that goes beyond its limits. A function under test
// that does not ask for it has tested less than it thinks.
type overrun struct {
	why   error
	asked bool // whether it Is ErrEndless
}

func (o *overrun) Error() string { return o.why.Error() }
func (o *overrun) Unwrap() error { return o.why }

// Is notes the question, which Unwrap answers.
func (o *overrun) Is(target error) bool {
	o.asked = o.asked || target == ErrEndless
	return false
}

type limitOption func(*limits)

func (o limitOption) applyLimits(l *limits)       { o(l) }
func (o limitOption) applyExplore(e *exploration) { o(&e.limits) }
func (o limitOption) applyFault(i *injection)     { o(&i.limits) }
func (o limitOption) applyNetwork(n *Network)     { o(&n.limits) }

// limits are how long a run may be; zero is for ever.
type limits struct {
	steps int
	time  time.Duration
}

// The limits where no option says something else: of one run of many, and of a run.
var (
	oneOfMany = limits{steps: 1_000_000}
	ofOne     = limits{steps: 20_000_000}
)

// exceed reports whether exceeded returns an error, at little cost.
func (l limits) exceed(steps int, now time.Duration) bool {
	return l.steps > 0 && steps > l.steps || l.time > 0 && now > l.time
}

// exceeded returns the error of a run that has taken so many steps until now, or is about
// to go on until then; nil if it may.
func (l limits) exceeded(steps int, now time.Duration) error {
	switch {
	case !l.exceed(steps, now):
		return nil
	case l.steps > 0 && steps > l.steps:
		return fmt.Errorf("%w: there were %d steps (see StepLimit) until %v", ErrEndless, l.steps, now)
	}
	return fmt.Errorf("%w: it goes on after %v (see TimeLimit) and %s", ErrEndless, l.time, plural(steps, "step"))
}
