// Tests of CancelEverywhere and PanicEverywhere.

package asynciotest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// tolerable ends the test unless err is nothing, or what was injected.
func tolerable(t testing.TB, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, asynciotest.ErrInjected) {
		t.Fatal(err)
	}
}

// halfTransfer takes money from one account and puts it into another, with a wait in
// between, and does not put it back if that is interrupted.
func halfTransfer(t testing.TB, sim *asynciotest.Sim) {
	from, to := 100, 0
	tolerable(t, sim.Run(func(ctx context.Context) error {
		clerk := asyncio.Go(ctx, func(ctx context.Context) error {
			if err := asyncio.Sleep(ctx, time.Hour); err != nil {
				return err
			}
			from -= 10
			if err := asyncio.Sleep(ctx, time.Hour); err != nil {
				return err
			}
			to += 10
			return nil
		}, asyncio.WithName("clerk"))
		return clerk.Wait(ctx)
	}))
	if from+to != 100 {
		t.Errorf("the total is %d", from+to)
	}
}

// dropped loses a value if it is cancelled when that is there.
func dropped(t testing.TB, sim *asynciotest.Sim) {
	sent, got := 0, 0
	tolerable(t, sim.Run(func(ctx context.Context) error {
		mail := asyncio.NewFuture[int](ctx)
		reader := asyncio.Go(ctx, func(ctx context.Context) error {
			n, err := mail.Await(ctx)
			got += n
			return err
		}, asyncio.WithName("reader"))
		err := asyncio.Sleep(ctx, time.Second)
		if mail.SetResult(1) == nil {
			sent++
		}
		if err != nil {
			ctx = asyncio.CleanupContext(ctx)
		}
		return reader.Wait(ctx)
	}))
	if sent != got {
		t.Errorf("%d sent, %d received", sent, got)
	}
}

func TestFaultsFind(t *testing.T) {
	tests := []struct {
		program, names string
		says           []string
	}{
		{"rarely", "", []string{"the books are wrong", "task writer is cancelled when it waits"}},
		{"cancel", "cancel3@1", []string{"the total is 90", "task clerk is cancelled when it waits, faults_test.go:38 in Sleep", "task main"}},
		{"late", "late2@1", []string{"1 sent, 0 received", "task reader is cancelled when it is about to go on, faults_test.go:57 in Future.Await"}},
		{"throw", "panic2@1", []string{"the total is 90", "task clerk panics instead of waiting, faults_test.go:38 in Sleep"}},
	}
	for _, test := range tests {
		t.Run(test.program, func(t *testing.T) {
			t.Parallel()
			out := explored(t, test.program)
			command := repeats.FindStringSubmatch(out)
			if command == nil || !strings.HasPrefix(command[3], test.names) || !regexp.MustCompile(`^(cancel|late|panic)\d+@\d+$`).MatchString(command[3]) {
				t.Fatalf("there is no command in\n%s", out)
			}
			again, failed := runs(t, test.program, os.Args[0], "-test.run="+command[1], command[2])
			if !failed {
				t.Errorf("%s has not failed", command[0])
			}
			for _, want := range test.says {
				if !strings.Contains(out, want) || !strings.Contains(again, want) {
					t.Errorf("the reports do not say %q:\n%s\n%s", want, out, again)
				}
			}
		})
	}
}

// A transfer that puts the money back keeps the total, whatever happens.
func TestFaultsPass(t *testing.T) {
	var places []string
	transfer := func(t testing.TB, sim *asynciotest.Sim) {
		var lock asyncio.Lock
		from, to, place := 100, 0, "no fault"
		at := func(next string, err error) error {
			if err == nil {
				place = next
			}
			return err
		}
		place = "before"
		err := sim.Run(func(ctx context.Context) error {
			clerk := asyncio.Go(ctx, func(ctx context.Context) (err error) {
				if err := at("asleep", asyncio.Yield(ctx)); err != nil {
					return err
				}
				if err := lock.Acquire(ctx); err != nil {
					return err
				}
				defer lock.Release()
				from -= 10
				done := false
				defer func() {
					if !done {
						from += 10
					}
				}()
				if err := at("awake", asyncio.Sleep(ctx, time.Hour)); err != nil {
					return err
				}
				to += 10
				done = true
				return at("after", asyncio.Yield(ctx))
			}, asyncio.WithName("clerk"))
			return clerk.Wait(ctx)
		})
		tolerable(t, err)
		places = append(places, fmt.Sprint(place, " ", err != nil))
		if from+to != 100 || lock.Locked() {
			t.Errorf("the total is %d, locked: %v", from+to, lock.Locked())
		}
	}
	t.Run("cancel", func(t *testing.T) {
		places = nil
		asynciotest.CancelEverywhere(t, transfer, asynciotest.OnlyTask("clerk"))
		want := []string{"after false",
			"before true", "before true", "asleep true", "asleep true", "awake true", "awake true", // three places, twice each
			"after false", "after false"}
		if !slices.Equal(places, want) {
			t.Errorf("the runs went %q, want %q", places, want)
		}
	})
	t.Run("panic", func(t *testing.T) {
		places = nil
		asynciotest.PanicEverywhere(t, transfer, asynciotest.OnlyTask("clerk"))
		want := []string{"after false", "before true", "asleep true", "awake true", "after false"}
		if !slices.Equal(places, want) {
			t.Errorf("the runs went %q, want %q", places, want)
		}
	})
	t.Run("any task", func(t *testing.T) {
		places = nil
		asynciotest.CancelEverywhere(t, transfer)
		asynciotest.PanicEverywhere(t, transfer)
		if len(places) != 1+2*4+2+1+4+1 {
			t.Errorf("there were the runs %q", places)
		}
	})
}

// A panic of main is returned by Run; a task that starts eagerly has its places, too.
func TestFaultsInMain(t *testing.T) {
	var errs []error
	program := func(t testing.TB, sim *asynciotest.Sim) {
		errs = append(errs, sim.Run(func(ctx context.Context) error {
			eager := asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Second) }, asyncio.EagerStart())
			return eager.Wait(ctx)
		}))
	}
	asynciotest.PanicEverywhere(t, program)
	asynciotest.CancelEverywhere(t, program)
	var p *asyncio.PanicError
	if len(errs) != 4+1+4+2 || errs[0] != nil || !errors.As(errs[1], &p) || !errors.As(errs[2], &p) || !errors.Is(errs[2], asynciotest.ErrInjected) {
		t.Errorf("the runs ended with %v", errs)
	}
	for i, err := range errs[5:9] {
		if !errors.Is(err, asynciotest.ErrInjected) || !errors.Is(err, asyncio.ErrCancelled) {
			t.Errorf("run %d ended with %v", i, err)
		}
	}
}

// interrupted has a mistake that takes a cancellation in an order that is not first
// come, first served.
func interrupted(t testing.TB, sim *asynciotest.Sim) {
	begun, checked, wrong := false, false, false
	tolerable(t, sim.Run(func(ctx context.Context) error {
		writer := asyncio.Go(ctx, func(ctx context.Context) error {
			for range 2 {
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
			begun = true
			err := asyncio.Yield(ctx)
			begun = err != nil
			return err
		}, asyncio.WithName("writer"))
		checker := asyncio.Go(ctx, func(ctx context.Context) error {
			err := asyncio.Yield(ctx)
			checked, wrong = true, begun
			return err
		}, asyncio.WithName("checker"))
		err := writer.Wait(ctx)
		return errors.Join(err, checker.Wait(asyncio.CleanupContext(ctx)))
	}))
	if checked && wrong && begun {
		t.Error("the books are wrong")
	}
}

func TestFaultsPanic(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("WithSeeds(0) has not panicked")
		}
	}()
	asynciotest.WithSeeds(0)
}
