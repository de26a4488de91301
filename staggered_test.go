// Tests of staggered races: when attempts start, who wins, and that a race which is
// cancelled leaves nothing behind.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// A starts notes when the attempts of a race started.
type starts struct {
	began time.Time
	list  []string
}

// attempt is an attempt that takes d and then gives value, or err.
func (s *starts) attempt(d time.Duration, value int, err error) asyncio.Coroutine[int] {
	return func(ctx context.Context) (int, error) {
		s.list = append(s.list, fmt.Sprintf("%d at %v", value, asyncio.Now(ctx).Sub(s.began)))
		if d > 0 {
			if e := asyncio.Sleep(ctx, d); e != nil {
				s.list = append(s.list, fmt.Sprintf("%d cancelled at %v", value, asyncio.Now(ctx).Sub(s.began)))
				return 0, e
			}
		}
		return value, err
	}
}

func (s *starts) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(s.list, want) {
		t.Errorf("the attempts: %q, want %q", s.list, want)
	}
}

// expectErrors checks that each of errs Is what is wanted; nil is only nil.
func expectErrors(t *testing.T, errs []error, want ...error) {
	t.Helper()
	if !slices.EqualFunc(errs, want, func(got, want error) bool { return errors.Is(got, want) && (got == nil) == (want == nil) }) {
		t.Errorf("errors %q, want %q", errs, want)
	}
}

func expectWinner(t *testing.T, value, index int, err error, wantValue, wantIndex int) {
	t.Helper()
	if value != wantValue || index != wantIndex || err != nil {
		t.Errorf("attempt %d won with %v, error %v; want attempt %d with %v", index, value, err, wantIndex, wantValue)
	}
}

func TestStaggeredRace(t *testing.T) {
	race := func(name string, test func(t *testing.T, ctx context.Context, s *starts), opts ...asyncio.RunOption) {
		inLoop(t, name, func(t *testing.T, ctx context.Context) {
			test(t, ctx, &starts{began: asyncio.Now(ctx)})
			if n := len(asyncio.AllTasks(ctx)); n != 1 {
				t.Errorf("%d tasks are left", n)
			}
			expectError(t, asyncio.Yield(asyncio.CleanupContext(ctx)), nil)
		}, opts...)
	}
	const always = -time.Second // no attempt is overtaken
	race("STAG-001 no attempts", func(t *testing.T, ctx context.Context, s *starts) {
		v, i, errs, err := asyncio.StaggeredRace[int](ctx, time.Second)
		expectWinner(t, v, i, err, 0, -1)
		expectErrors(t, errs)
	})
	for _, delay := range []time.Duration{always, 0, time.Second} {
		race(fmt.Sprintf("STAG-002 the first success, delay %v", delay), func(t *testing.T, ctx context.Context, s *starts) {
			v, i, errs, err := asyncio.StaggeredRace(ctx, delay, s.attempt(0, 1, nil), s.attempt(0, 2, nil))
			expectWinner(t, v, i, err, 1, 0)
			expectErrors(t, errs, nil)
			s.expect(t, "1 at 0s")
		})
		race(fmt.Sprintf("STAG-003 a failure starts the next one, delay %v", delay), func(t *testing.T, ctx context.Context, s *starts) {
			v, i, errs, err := asyncio.StaggeredRace(ctx, delay, s.attempt(0, 1, io2), s.attempt(0, 2, nil), s.attempt(0, 3, nil))
			expectWinner(t, v, i, err, 2, 1)
			expectErrors(t, errs, io2, nil)
			s.expect(t, "1 at 0s", "2 at 0s")
		})
	}
	race("STAG-003 in the middle of the delay", func(t *testing.T, ctx context.Context, s *starts) {
		v, i, errs, err := asyncio.StaggeredRace(ctx, sec(5), s.attempt(sec(1), 1, io2), s.attempt(sec(9), 2, nil), s.attempt(sec(1), 3, nil))
		expectWinner(t, v, i, err, 3, 2)
		expectErrors(t, errs, io2, asyncio.ErrCancelled, nil)
		s.expect(t, "1 at 0s", "2 at 1s", "3 at 6s", "2 cancelled at 7s")
	})
	race("STAG-004 a slow attempt", func(t *testing.T, ctx context.Context, s *starts) {
		v, i, errs, err := asyncio.StaggeredRace(ctx, sec(1), s.attempt(sec(10), 1, nil), s.attempt(sec(2), 2, nil))
		expectWinner(t, v, i, err, 2, 1)
		expectErrors(t, errs, asyncio.ErrCancelled, nil)
		s.expect(t, "1 at 0s", "2 at 1s", "1 cancelled at 3s")
	})
	race("a slow attempt without delay", func(t *testing.T, ctx context.Context, s *starts) {
		v, i, errs, err := asyncio.StaggeredRace(ctx, always, s.attempt(sec(10), 1, nil), s.attempt(sec(2), 2, nil))
		expectWinner(t, v, i, err, 1, 0)
		expectErrors(t, errs, nil)
		s.expect(t, "1 at 0s")
	})
	race("STAG-005 all fail", func(t *testing.T, ctx context.Context, s *starts) {
		other := errors.New("other")
		v, i, errs, err := asyncio.StaggeredRace(ctx, sec(1), s.attempt(sec(5), 1, io2), s.attempt(0, 2, other), s.attempt(sec(1), 3, io2))
		expectWinner(t, v, i, err, 0, -1)
		expectErrors(t, errs, io2, other, io2)
		s.expect(t, "1 at 0s", "2 at 1s", "3 at 1s")
	})
	race("STAG-006 several at once", func(t *testing.T, ctx context.Context, s *starts) {
		v, i, errs, err := asyncio.StaggeredRace(ctx, sec(1), s.attempt(sec(3), 1, nil), s.attempt(sec(2), 2, nil), s.attempt(sec(1), 3, nil))
		expectWinner(t, v, i, err, 1, 0)
		expectErrors(t, errs, nil, asyncio.ErrCancelled, asyncio.ErrCancelled)
	})
	race("STAG-006 a loser that does not care", func(t *testing.T, ctx context.Context, s *starts) {
		stubborn := func(ctx context.Context) (int, error) {
			return 1, asyncio.Sleep(context.WithoutCancel(ctx), sec(5))
		}
		v, i, errs, err := asyncio.StaggeredRace(ctx, sec(1), stubborn, s.attempt(sec(1), 2, nil))
		expectWinner(t, v, i, err, 2, 1)
		expectErrors(t, errs, nil, nil)
		if took := asyncio.Now(ctx).Sub(s.began); took != sec(5) {
			t.Errorf("it took %v, although the loser takes 5 s to end", took)
		}
	})
	race("STAG-007 cancelling", func(t *testing.T, ctx context.Context, s *starts) {
		slow := func(ctx context.Context) (int, error) {
			v, err := s.attempt(time.Hour, 1, nil)(ctx)
			return v, errors.Join(err, asyncio.Sleep(context.WithoutCancel(ctx), sec(3)))
		}
		racing := asyncio.Go(ctx, func(ctx context.Context) error {
			_, i, errs, err := asyncio.StaggeredRace(ctx, sec(1), slow, slow)
			if i != -1 {
				t.Errorf("attempt %d has won", i)
			}
			expectErrors(t, errs, asyncio.ErrCancelled, asyncio.ErrCancelled)
			s.list = append(s.list, fmt.Sprint("over at ", asyncio.Now(ctx).Sub(s.began)))
			return err
		})
		for _, d := range []time.Duration{sec(2), sec(1), sec(1)} {
			asyncio.Sleep(ctx, d)
			racing.Cancel(io2)
		}
		expectError(t, racing.Wait(ctx), asyncio.ErrCancelled)
		if !racing.Cancelled() || !errors.Is(racing.Err(), io2) {
			t.Errorf("the race: %v", racing)
		}
		s.expect(t, "1 at 0s", "1 at 1s", "1 cancelled at 2s", "1 cancelled at 2s", "over at 5s")
	})
	race("cancelled when somebody has won already", func(t *testing.T, ctx context.Context, s *starts) {
		stubborn := func(ctx context.Context) (int, error) {
			return 1, asyncio.Sleep(context.WithoutCancel(ctx), sec(5))
		}
		racing := asyncio.Go(ctx, func(ctx context.Context) error {
			v, i, _, err := asyncio.StaggeredRace(ctx, sec(1), stubborn, s.attempt(sec(1), 2, nil))
			if v != 0 || i != -1 {
				t.Errorf("attempt %d has won with %d", i, v)
			}
			return err
		})
		asyncio.Sleep(ctx, sec(3))
		racing.Cancel(nil)
		expectError(t, racing.Wait(ctx), asyncio.ErrCancelled)
	})
	race("a panic ends the race", func(t *testing.T, ctx context.Context, s *starts) {
		_, i, errs, err := asyncio.StaggeredRace(ctx, sec(1), s.attempt(sec(5), 1, nil), func(context.Context) (int, error) { return blowUp() })
		var p *asyncio.PanicError
		var g *asyncio.GroupError
		if !errors.As(err, &p) || !errors.As(err, &g) || i != -1 {
			t.Errorf("attempt %d, error %v", i, err)
		}
		expectErrors(t, errs, asyncio.ErrCancelled, nil)
	})
	race("misuse", func(t *testing.T, ctx context.Context, s *starts) {
		_, i, _, err := asyncio.StaggeredRace(ctx, sec(1), s.attempt(0, 1, nil), nil)
		mistake(t, err, asyncio.ErrBadArgument)
		_, j, _, err := asyncio.StaggeredRace(context.Background(), sec(1), s.attempt(0, 1, nil))
		mistake(t, err, asyncio.ErrOutsideTask)
		if i != -1 || j != -1 {
			t.Errorf("attempts %d, %d have won", i, j)
		}
		s.expect(t)
	})
	for _, delay := range []time.Duration{always, 0, time.Second} {
		race(fmt.Sprintf("EAGER-011 eager attempts, delay %v", delay), func(t *testing.T, ctx context.Context, s *starts) {
			asyncio.CurrentTask(ctx).Loop().SetTaskFactory(asyncio.EagerTaskFactory)
			v, i, errs, err := asyncio.StaggeredRace(ctx, delay, s.attempt(0, 1, io2), s.attempt(0, 2, nil), s.attempt(0, 3, nil))
			expectWinner(t, v, i, err, 2, 1)
			expectErrors(t, errs, io2, nil)
			s.expect(t, "1 at 0s", "2 at 0s")
		})
		race(fmt.Sprintf("EAGER-011 eager attempts that suspend, delay %v", delay), func(t *testing.T, ctx context.Context, s *starts) {
			asyncio.CurrentTask(ctx).Loop().SetTaskFactory(asyncio.EagerTaskFactory)
			v, i, _, err := asyncio.StaggeredRace(ctx, delay, s.attempt(sec(5), 1, io2), s.attempt(sec(5), 2, nil))
			expectWinner(t, v, i, err, 2, 1)
		})
	}
}
