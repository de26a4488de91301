// Events: has it happened yet?

package asyncio

import "context"

// Event is a flag that tasks can wait for (asyncio.Event). Where something
// happens once and has a value, a Future is the better choice.
//
// The zero value is not set. An Event must not be copied after its first use. It
// belongs to the loop on which a task first had to wait for it; after that its
// methods panic, or fail, with a *UsageError on other goroutines and loops.
// Nothing but a wait that suspends costs more than a few nanoseconds.
type Event struct {
	binding
	waiters waitq
	set     bool
}

// Set sets the flag and wakes all tasks that wait for it, in the order in which
// they came (Event.set). They return from Wait even if the flag is cleared before
// their turn. If the flag is set already, Set does nothing.
func (e *Event) Set() {
	e.check("Event.Set")
	e.set = true
	e.waiters.grantAll()
}

// Clear resets the flag: Wait suspends again (Event.clear).
func (e *Event) Clear() {
	e.check("Event.Clear")
	e.set = false
}

// IsSet reports whether the flag is set (Event.is_set).
func (e *Event) IsSet() bool {
	e.check("Event.IsSet")
	return e.set
}

// Wait waits until the flag is set (Event.wait). If it is set, Wait does not
// suspend, even if ctx is done.
//
// If the task, or ctx, is cancelled while it waits, Wait returns that. Outside a
// task, or with a context of another loop, it returns a *UsageError.
func (e *Event) Wait(ctx context.Context) error {
	t, err := e.enter(ctx, "Event.Wait")
	if err != nil || e.set {
		return err
	}
	_, err = e.wait(ctx, t, &e.waiters)
	return err
}

// String shows the state and how many wait.
func (e *Event) String() string {
	if e.set {
		return e.waiters.describe("<Event set") + ">"
	}
	return e.waiters.describe("<Event unset") + ">"
}
