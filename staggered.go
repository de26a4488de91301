// Staggered races: attempts at the same thing that start one after another.

package asyncio

import (
	"context"
	"time"
)

// StaggeredRace runs attempts, each as a task, until one succeeds
// (asyncio.staggered.staggered_race). The next one starts when the one before has
// failed, or has taken longer than delay; if delay is negative, only when it has
// failed. The first success wins: the other attempts are cancelled, and
// StaggeredRace returns when they have ended. So it does when it is cancelled
// itself, however often; then it returns the cancellation, and nobody has won.
//
// It returns what the winner gave and its place in attempts, which is -1 if nobody
// has won. errs has an entry for each attempt that was started: its error, a
// cancellation for those that have lost, and nil for the winner. That all have
// failed is no err: that is the cancellation, a *GroupError if an attempt
// panicked, or a *UsageError.
//
// What a loser gives nevertheless is dropped, and so is what the winner gave if the
// race is cancelled before all have ended. Attempts that open something have to
// close it when they are cancelled.
func StaggeredRace[T any](ctx context.Context, delay time.Duration, attempts ...Coroutine[T]) (winner T, index int, errs []error, err error) {
	for i, attempt := range attempts {
		if attempt == nil {
			return winner, -1, nil, misuse("StaggeredRace", ErrBadArgument, "attempt %d is nil", i)
		}
	}
	return staggeredRace(ctx, len(attempts), delay,
		func(ctx context.Context, i int) (T, error) { return attempts[i](ctx) },
		func(T) {})
}

// staggeredRace is StaggeredRace of n attempts. What an attempt gives that is not
// returned is given to discard.
func staggeredRace[T any](ctx context.Context, n int, delay time.Duration,
	attempt func(ctx context.Context, i int) (T, error), discard func(T)) (winner T, index int, errs []error, err error) {
	index = -1
	err = WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
		for i := 0; i < n && index < 0; i++ {
			failed := NewFuture[struct{}](ctx)
			errs = append(errs, nil)
			g.Go(func(ctx context.Context) error {
				v, err := attempt(ctx, i)
				switch {
				case err != nil:
					errs[i] = err
					failed.SetResult(struct{}{}) // which may have been given up
				case index >= 0:
					discard(v)
				default:
					winner, index = v, i
					g.Cancel()
				}
				return nil
			})
			wait := delay
			if i == n-1 || delay < 0 {
				wait = Forever
			}
			if _, err := WaitFor(ctx, wait, failed); err != nil && err != ErrTimeout {
				return err
			}
		}
		return nil
	})
	if err != nil && index >= 0 { // cancelled from outside after all
		discard(winner)
		var none T
		winner, index = none, -1
	}
	return winner, index, errs, err
}
