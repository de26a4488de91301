// Closing a loop: end what is left, report what failed, free everything.

package asyncio

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/goasyncio/asyncio/internal/coro"
	"github.com/goasyncio/asyncio/internal/seam"
)

var errClosing = errors.New("the loop is closing")

// Close ends the loop (the shut-down of asyncio.run, and loop.close). It cancels
// the tasks that are not done and runs the loop until they have ended and the
// functions run by ToThread have returned, for the grace at most
// (WithShutdownGrace). A task that has not ended by then is ended by force: its
// awaits return errors without suspending, and after some of them the coroutine is
// left as by runtime.Goexit, so that its deferred functions run; the exception
// handler is told its name. Then errors that nobody has looked at are reported,
// connections are aborted, processes are killed and reaped, and callbacks and timers
// are dropped.
//
// Close returns an error that names what could not be ended: a function of ToThread
// that still runs. If the poll fails it ends the tasks by force, and returns that error.
// A coroutine that does not await any more blocks Close, as it
// blocks the loop, since there is one thread for both; a second after the grace the
// logger says which one it is.
//
// Closing twice is harmless. It returns a *UsageError while the loop runs, and on
// another goroutine than the one that ran it.
func (l *EventLoop) Close() error {
	switch home := l.home.Load(); {
	case l.active.Load():
		return misuse("Close", ErrLoopRunning, "%s; call Stop and close it when the run has returned", l.name)
	case home != 0 && home != coro.Current():
		return misuse("Close", ErrWrongGoroutine, "%s belongs to the goroutine that ran it first", l.name)
	case l.closed.Load():
		return nil
	case l.locked: // closing it may take a run
		if err := l.mayRun("Close"); err != nil {
			return err
		}
	}
	if l.audit != nil {
		if !l.halted() { // a crash lets nobody tidy up
			if l.locked {
				l.settle()
			}
			l.audit.Closing(l.leftovers())
		}
		defer l.audit.Closed()
	}
	if l.halted() {
		l.reportFailures()
	}
	err := l.shutDown()
	if !l.halted() {
		l.reportFailures()
	}
	l.abandoning = true
	for _, owner := range l.open.owners() {
		owner.(interface{ abandon() }).abandon()
	}
	l.closed.Store(true)
	l.entry.close()
	l.ready.clear()
	l.timers = timerHeap{}
	l.coros.Close()
	if l.net != nil {
		if cerr := l.net.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("asyncio: Close: %w", cerr)
		}
	}
	if l.tape != nil {
		l.tape.Close(drop)
	}
	if l.locked && l.machine == nil {
		l.thread.unlock()
	}
	return err
}

// shutDown ends all tasks.
func (l *EventLoop) shutDown() error {
	if l.tasks.count == 0 && l.workers.count == 0 {
		return nil
	}
	if !l.locked { // nothing has ever run: there is nothing to wait for
		l.cancelTasks()
		for l.tasks.first != nil {
			l.tasks.first.finishTask(&CancelledError{Cause: errClosing})
		}
		return nil
	}
	if err := l.enter("Close"); err != nil {
		return err
	}
	defer l.leave()
	if l.halted() {
		l.cutOff()
		return nil
	}
	defer l.watchForBlocking()()
	if c, ok := l.order.(seam.Chronicle); ok {
		c.Closes()
	}
	l.cancelTasks()
	over := l.grace <= 0
	if !over {
		defer l.callAt(after(l.clock.Now(), l.grace), func() { over = true }).Cancel()
	}
	var failed error
	idle := 0 // passes in which the clock stood still
	for !over && l.tasks.count+l.workers.count > 0 {
		now := l.clock.Now()
		if err := l.pass(-1); err != nil {
			if l.halted() {
				l.cutOff()
				return nil
			}
			if !errors.Is(err, ErrDeadlock) && l.tape == nil {
				failed = err
			}
			break // what is left waits for something that cannot happen, or of which nobody hears
		}
		if idle++; l.clock.Now() != now {
			idle = 0
		}
		over = over || idle == enoughPasses
	}
	l.forceTasks()
	return errors.Join(failed, l.remaining())
}

// watchForBlocking logs which task keeps the thread, if Close takes longer than it
// can wait for: nothing else can be done about a coroutine that does not return.
func (l *EventLoop) watchForBlocking() (stop func()) {
	l.closing = true
	name := new(string)
	l.stepping.Store(name)
	watchdog := time.AfterFunc(after(max(0, l.grace), time.Second), func() {
		if now := l.stepping.Load(); now != name {
			l.logger.Error("asyncio: Close is blocked by a task that does not await", "task", *now)
		}
	})
	return func() { watchdog.Stop() }
}

// enoughPasses is how many passes Close runs at one time of the loop's clock. A
// virtual clock stands still while a task spins, and the grace would never be over.
const enoughPasses = 100_000

// cancelTasks cancels all tasks, the oldest first.
func (l *EventLoop) cancelTasks() {
	for t := l.tasks.first; t != nil; t = t.inLoop.next {
		t.cancel(errClosing)
	}
}

// forceTasks ends the tasks that are left by force. New ones that their deferred
// functions create meet the same end. The callbacks of the tasks that have ended
// run, and what those queue, but no more: that may never come to an end.
func (l *EventLoop) forceTasks() {
	const rounds, lastPasses = 100, 3
	for i := 0; i < rounds && (l.tasks.count > 0 || i < lastPasses && l.ready.count > 0); i++ {
		for _, t := range l.tasks.all() {
			switch {
			case t.coro == nil:
				t.cancel(errForced) // it never runs, and so creates no others
			case t.forced == 0:
				l.CallExceptionHandler(&ErrorContext{
					Message: "task did not end when the loop was closed; it is ended by force",
					Source:  text(t.self.String()), CreatedAt: t.origin(),
				})
				t.force()
			}
		}
		l.entry.drain(&l.ready)
		l.runReady()
	}
}

// cutOff ends the tasks of a machine that has been switched off: none goes on but with
// its deferred functions. Callbacks do not run. What has failed before is reported
// before: the errors of tasks that are cut off mean nothing.
func (l *EventLoop) cutOff() {
	l.reportFailures()
	l.closing = true
	for l.tasks.first != nil {
		l.entry.drain(&l.ready)
		l.ready.clear()
		t := l.tasks.first
		if t.coro == nil {
			t.finishTask(&CancelledError{Cause: errForced})
			continue
		}
		t.queued, t.interrupt, t.forced = false, true, refusals
		t.run()
	}
}

// remaining names what has not ended.
func (l *EventLoop) remaining() error {
	if l.tasks.count+l.workers.count == 0 {
		return nil
	}
	var names []string
	for _, t := range l.tasks.all() {
		names = append(names, t.String())
	}
	for _, owner := range l.workers.owners() {
		names = append(names, fmt.Sprint(owner))
	}
	return fmt.Errorf("asyncio: Close: still running: %s", strings.Join(names, ", "))
}

// reportFailures reports the errors that nobody has looked at.
func (l *EventLoop) reportFailures() {
	for _, owner := range l.failures.owners() {
		fl := owner.(*failure)
		fl.cleanup.Stop()
		fl.run()
	}
}
