// Tests of Barrier.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func ExampleBarrier() {
	// Two players make their moves, round by round.
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		round := asyncio.NewBarrier(2)
		player := func(name string, thinks time.Duration) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				for i := range 2 {
					if err := asyncio.Sleep(ctx, thinks); err != nil {
						return err
					}
					fmt.Println(name, "has moved in round", i)
					if _, err := round.Wait(ctx); err != nil {
						return err
					}
				}
				return nil
			}
		}
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(player("hare", time.Second))
			g.Go(player("tortoise", time.Hour))
			return nil
		})
	}, asynciotest.WithVirtualClock())
	// Output:
	// hare has moved in round 0
	// tortoise has moved in round 0
	// hare has moved in round 1
	// tortoise has moved in round 1
}

// arrive is a task that says its name and what it got from the barrier.
func (j *journal) arrive(ctx context.Context, name string, b *asyncio.Barrier) asyncio.AnyTask {
	return asyncio.Go(ctx, func(ctx context.Context) error {
		i, err := b.Wait(ctx)
		j.say("%s", name+outcome(err, fmt.Sprint(i)))
		return nil
	}, asyncio.WithName(name))
}

func TestBarrier(t *testing.T) {
	t.Run("LOCK-035 the number of parties must be positive", func(t *testing.T) {
		expectUsage(t, asyncio.ErrBadArgument, func() { asyncio.NewBarrier(0) })
		expectUsage(t, asyncio.ErrBadArgument, func() { asyncio.NewBarrier(-1) })
		asynciotest.Run(t, func(ctx context.Context) error {
			var zero asyncio.Barrier
			_, err := zero.Wait(ctx)
			expectError(t, err, asyncio.ErrBadArgument)
			return nil
		})
	})
	t.Run("LOCK-036 all pass together, each with another index", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			b := asyncio.NewBarrier(3)
			var j journal
			j.arrive(ctx, "a", b)
			j.arrive(ctx, "b", b)
			settle(ctx)
			j.expect(t, "")
			j.arrive(ctx, "c", b)
			settle(ctx)
			j.expect(t, "c2 a0 b1")
			return nil
		})
	})
	t.Run("LOCK-037 a barrier for one passes at once", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			b := asyncio.NewBarrier(1)
			withoutSuspending(t, ctx, func() {
				for range 3 {
					i, err := b.Wait(ctx)
					expectError(t, err, nil)
					if i != 0 {
						t.Errorf("index %d, want 0", i)
					}
				}
			})
			return nil
		})
	})
	t.Run("LOCK-038 it can be used again", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			b := asyncio.NewBarrier(2)
			rounds := make([][]int, 5)
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				for range 2 {
					g.Go(func(ctx context.Context) error {
						for r := range rounds {
							i, err := b.Wait(ctx)
							if err != nil {
								return err
							}
							if rounds[r] = append(rounds[r], i); r > 0 && len(rounds[r-1]) != 2 {
								t.Errorf("round %d began before the last one had ended", r)
							}
						}
						return nil
					})
				}
				return nil
			})
		})
	})
	t.Run("LOCK-039 those who come while it drains wait for the next round", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			b := asyncio.NewBarrier(3)
			var j journal
			for _, name := range []string{"a", "b", "c", "d", "e"} {
				j.arrive(ctx, name, b)
			}
			settle(ctx)
			j.expect(t, "c2 a0 b1")
			if b.Waiting() != 2 {
				t.Errorf("%d wait, want 2", b.Waiting())
			}
			j.arrive(ctx, "f", b)
			settle(ctx)
			j.expect(t, "f2 d0 e1")
			return nil
		})
	})
	t.Run("LOCK-040 a cancelled task leaves the barrier", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			b := asyncio.NewBarrier(2)
			var j journal
			a := j.arrive(ctx, "a", b)
			settle(ctx)
			a.Cancel(nil)
			settle(ctx)
			j.expect(t, "a!cancelled")
			if b.Waiting() != 0 || b.Broken() {
				t.Errorf("barrier %v", b)
			}
			j.arrive(ctx, "b", b)
			j.arrive(ctx, "c", b)
			settle(ctx)
			j.expect(t, "c1 b0")
			return nil
		})
	})
	t.Run("LOCK-040 as in asyncio, the next one then goes to the back, and an index may come twice", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			b := asyncio.NewBarrier(4)
			var j journal
			a := j.arrive(ctx, "a", b)
			j.arrive(ctx, "b", b)
			j.arrive(ctx, "c", b)
			settle(ctx)
			a.Cancel(nil)
			settle(ctx)
			j.arrive(ctx, "d", b)
			j.arrive(ctx, "e", b)
			settle(ctx)
			j.expect(t, "a!cancelled e3 c2 b1 d2")
			return nil
		})
	})
	t.Run("LOCK-041 reset with nobody in it is harmless", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			b := asyncio.NewBarrier(1)
			b.Reset()
			_, err := b.Wait(ctx)
			return err
		})
	})
	t.Run("LOCK-042 reset breaks those who wait", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			b := asyncio.NewBarrier(3)
			var j journal
			j.arrive(ctx, "a", b)
			j.arrive(ctx, "b", b)
			settle(ctx)
			b.Reset()
			expectText(t, b, "<Barrier resetting waiters=0/3>")
			j.arrive(ctx, "c", b) // waits until the others have left
			settle(ctx)
			j.expect(t, "a!broken b!broken")
			expectText(t, b, "<Barrier filling waiters=1/3>")
			if b.Broken() {
				t.Error("the barrier is broken")
			}
			return nil
		})
	})
	t.Run("LOCK-042 those who come while it is reset wait for that", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			b := asyncio.NewBarrier(2)
			var j journal
			j.arrive(ctx, "a", b)
			settle(ctx)
			b.Reset()
			expectError(t, asyncio.Timeout(ctx, time.Second, func(ctx context.Context) error {
				_, err := b.Wait(ctx)
				return err
			}), asyncio.ErrTimeout)
			j.expect(t, "a!broken")
			return nil
		})
	})
	t.Run("LOCK-043 after that it works again, also from the clean-up of those who waited", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			b := asyncio.NewBarrier(2)
			var j journal
			j.spawn(ctx, "a", func(ctx context.Context) error {
				_, err := b.Wait(ctx)
				expectError(t, err, asyncio.ErrBrokenBarrier)
				_, err = b.Wait(ctx)
				return err
			})
			settle(ctx)
			b.Reset()
			settle(ctx)
			_, err := b.Wait(ctx)
			expectError(t, err, nil)
			settle(ctx)
			j.expect(t, "a")
			return nil
		})
	})
	t.Run("LOCK-044 reset while it drains", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			b := asyncio.NewBarrier(3)
			var j journal
			j.arrive(ctx, "a", b)
			j.arrive(ctx, "b", b)
			j.arrive(ctx, "c", b)
			j.arrive(ctx, "d", b)
			asyncio.Yield(ctx)
			b.Reset() // c has left, a and b have not
			settle(ctx)
			j.expect(t, "c2 a!broken b!broken")
			expectText(t, b, "<Barrier filling waiters=1/3>")
			return nil
		})
	})
	t.Run("LOCK-045 reset by the last to leave does not disturb the next round", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			b := asyncio.NewBarrier(2)
			var j journal
			j.arrive(ctx, "a", b)
			j.spawn(ctx, "last", func(ctx context.Context) error {
				if _, err := b.Wait(ctx); err != nil {
					return err
				}
				asyncio.Yield(ctx)
				asyncio.Yield(ctx)
				b.Reset()
				return nil
			})
			settle(ctx)
			j.expect(t, "a0 last")
			j.arrive(ctx, "b", b)
			j.arrive(ctx, "c", b)
			settle(ctx)
			j.expect(t, "c1 b0")
			return nil
		})
	})
	t.Run("LOCK-046 abort breaks those who wait and those who come, until reset", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			b := asyncio.NewBarrier(3)
			var j journal
			j.arrive(ctx, "a", b)
			j.arrive(ctx, "b", b)
			settle(ctx)
			b.Abort()
			j.arrive(ctx, "c", b)
			settle(ctx)
			j.expect(t, "a!broken b!broken c!broken")
			if !b.Broken() || b.Waiting() != 0 {
				t.Errorf("barrier %v", b)
			}
			expectText(t, b, "<Barrier broken>")
			b.Reset()
			expectText(t, b, "<Barrier filling waiters=0/3>")
			return nil
		})
	})
	t.Run("LOCK-047 abort after a task has failed between rounds, then reset and use again", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			b := asyncio.NewBarrier(2)
			var j journal
			player := func(fails bool) func(ctx context.Context) error {
				return func(ctx context.Context) error {
					if _, err := b.Wait(ctx); err != nil {
						return err
					}
					if fails {
						b.Abort()
						return nil
					}
					_, err := b.Wait(ctx)
					return err
				}
			}
			j.spawn(ctx, "a", player(false))
			j.spawn(ctx, "b", player(true))
			settle(ctx)
			j.expect(t, "b a!broken")
			b.Reset()
			j.arrive(ctx, "c", b)
			j.arrive(ctx, "d", b)
			settle(ctx)
			j.expect(t, "d1 c0")
			return nil
		})
	})
	t.Run("LOCK-048 state and number can be seen at each stage", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			b := asyncio.NewBarrier(2)
			if b.Parties() != 2 {
				t.Errorf("%d parties, want 2", b.Parties())
			}
			expectText(t, b, "<Barrier filling waiters=0/2>")
			var j journal
			j.arrive(ctx, "a", b)
			asyncio.Yield(ctx)
			expectText(t, b, "<Barrier filling waiters=1/2>")
			withoutSuspending(t, ctx, func() { b.Wait(ctx) })
			expectText(t, b, "<Barrier draining waiters=0/2>")
			settle(ctx)
			expectText(t, b, "<Barrier filling waiters=0/2>")
			return nil
		})
	})
	t.Run("use on another loop or goroutine is an error", func(t *testing.T) {
		b := asyncio.NewBarrier(2)
		wait := func(ctx context.Context) error {
			_, err := b.Wait(ctx)
			return err
		}
		onTwoLoops(t, wait, func(ctx context.Context) {
			expectError(t, wait(ctx), asyncio.ErrWrongLoop)
			expectUsage(t, asyncio.ErrWrongLoop, b.Reset)
			expectUsage(t, asyncio.ErrWrongLoop, b.Abort)
			onAnotherGoroutine(func() {
				expectUsage(t, asyncio.ErrWrongGoroutine, func() { b.Waiting() })
				expectUsage(t, asyncio.ErrWrongGoroutine, func() { b.Broken() })
			})
		})
	})
	t.Run("a task that is ended by force leaves it", func(t *testing.T) {
		b := asyncio.NewBarrier(2)
		err := endedByForce(t, func(ctx context.Context) error {
			for {
				b.Wait(ctx)
			}
		})
		expectError(t, err, asyncio.ErrCancelled)
		expectText(t, b, "<Barrier filling waiters=0/2>")
	})
}

// Random tasks meet at a barrier and are cancelled at random: those who
// wait are always too few for a round, and no more pass than have arrived.
func TestBarrierRandom(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		asynciotest.Run(t, func(ctx context.Context) error {
			r := rand.New(rand.NewPCG(seed, 3))
			parties := 1 + r.IntN(4)
			b := asyncio.NewBarrier(parties)
			inside := 0
			var got []int
			var tasks []asyncio.AnyTask
			for range 100 {
				tasks = append(tasks, asyncio.Go(ctx, func(ctx context.Context) error {
					inside++
					i, err := b.Wait(ctx)
					inside--
					if err == nil {
						got = append(got, i)
					} else if !errors.Is(err, asyncio.ErrCancelled) {
						t.Error(err)
					}
					return err
				}))
				for range r.IntN(3) {
					asyncio.Yield(ctx)
				}
				if r.IntN(3) == 0 {
					tasks[max(0, len(tasks)-1-r.IntN(4))].Cancel(nil)
				}
				if r.IntN(5) == 0 {
					settle(ctx)
					if inside >= parties || inside != b.Waiting() {
						t.Fatalf("%d tasks are in %v", inside, b)
					}
				}
			}
			settle(ctx)
			last := 0
			for _, i := range got {
				if i == parties-1 {
					last++
				}
			}
			// Of the others some may be cancelled in the pass in which they would
			// have passed.
			if rounds := last; rounds == 0 || len(got) > rounds*parties || slices.Max(got) >= parties {
				t.Errorf("%d rounds of %d, indexes %v", rounds, parties, got)
			}
			return nil
		})
	})
}
