// Wait: which of several futures are done?

package asyncio

import (
	"context"
	"time"
)

// ReturnWhen says when Wait returns.
type ReturnWhen int

const (
	// AllCompleted waits until all futures are done (asyncio.ALL_COMPLETED).
	AllCompleted ReturnWhen = iota
	// FirstCompleted waits until one of them is done (asyncio.FIRST_COMPLETED).
	FirstCompleted
	// FirstException waits until one of them has failed, a cancellation not
	// counted, or all are done (asyncio.FIRST_EXCEPTION).
	FirstException
)

// WaitOptions are the options of Wait. The zero value waits for all, for ever.
type WaitOptions struct {
	// Timeout is how long to wait; zero means for ever, a negative one only to
	// look, which takes two passes.
	Timeout time.Duration
	// ReturnWhen says for what to wait: AllCompleted if zero.
	ReturnWhen ReturnWhen
}

// Wait waits until futures of any types are done, and returns those that are and
// those that are not, each in the order of fs (asyncio.wait). It cancels none of
// them and passes on none of their errors; a timeout is no error. It suspends
// even if all are done. What stands there twice counts once.
//
// It returns a *UsageError for an empty fs, a nil future or an unknown mode. If it is
// cancelled, the futures go on.
func Wait(ctx context.Context, fs []AnyFuture, opts WaitOptions) (done, pending []AnyFuture, err error) {
	t, err := current(ctx, "Wait")
	if err != nil {
		return nil, nil, err
	}
	if len(fs) == 0 {
		return nil, nil, misuse("Wait", ErrBadArgument, "there is no future to wait for")
	}
	if opts.ReturnWhen < AllCompleted || opts.ReturnWhen > FirstException {
		return nil, nil, misuse("Wait", ErrBadArgument, "ReturnWhen is %d", opts.ReturnWhen)
	}
	var unique []*future
	known := make(map[*future]bool, len(fs))
	for i, f := range fs {
		if f == nil {
			return nil, nil, misuse("Wait", ErrBadArgument, "future %d is nil", i)
		}
		if c := f.core(); !known[c] {
			known[c] = true
			unique = append(unique, c)
		}
	}
	if err := checkLoop(unique, t, "Wait"); err != nil {
		return nil, nil, err
	}
	err = t.waitFor(ctx, unique, opts)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range unique {
		if f.Done() {
			done = append(done, f.self)
		} else {
			pending = append(pending, f.self)
		}
	}
	return done, pending, nil
}

func (t *task) waitFor(ctx context.Context, fs []*future, opts WaitOptions) error {
	w := &waiter{task: t}
	var timer *TimerHandle
	if opts.Timeout != 0 {
		timer = t.loop.callAt(after(t.loop.clock.Now(), max(0, opts.Timeout)), func() { w.wake(nil) })
		defer timer.Cancel()
	}
	left := len(fs)
	onDone := func(f *future) {
		left--
		failed := f.state == finished && f.err != nil
		if left == 0 || opts.ReturnWhen == FirstCompleted || opts.ReturnWhen == FirstException && failed {
			if timer != nil {
				timer.Cancel()
			}
			w.wake(nil)
		}
	}
	callbacks := make([]*doneCallback, len(fs))
	for i, f := range fs {
		callbacks[i] = &doneCallback{future: f, fn: onDone, awaiter: &t.future}
		f.addCallback(callbacks[i])
	}
	err := t.park(ctx, w)
	for i, f := range fs {
		f.removeCallback(callbacks[i])
	}
	return err
}
