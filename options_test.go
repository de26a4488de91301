// Tests of options and other arguments that make no sense.

package asyncio_test

import (
	"context"
	"os"
	"testing"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// TestNilOptions: who is given a nil among options says so.
func TestNilOptions(t *testing.T) {
	nothing := func(context.Context) error { return nil }
	none := func(context.Context) (int, error) { return 0, nil }
	told := func(t *testing.T, op string, err error) {
		t.Helper()
		mistake(t, err, asyncio.ErrBadArgument)
		if want := "asyncio: " + op + ": bad argument: an option is nil"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	t.Run("of functions that return it", func(t *testing.T) {
		ctx := context.Background()
		told(t, "Run", asyncio.Run(ctx, nothing, asyncio.WithDebug(false), nil))
		_, err := asyncio.RunValue(ctx, none, asyncio.WithDebug(false), nil)
		told(t, "Run", err)
		asynciotest.Run(t, func(ctx context.Context) error {
			_, err := asyncio.ToThread(ctx, none, asyncio.WithLimiter(nil), nil)
			told(t, "ToThread", err)
			told(t, "WithTaskGroup", asyncio.WithTaskGroup(ctx, func(context.Context, *asyncio.TaskGroup) error {
				t.Error("it runs")
				return nil
			}, asyncio.WithLimit(1), nil))
			_, err = asyncio.CaptureCallGraph(ctx, nil, asyncio.Limit(1), nil)
			told(t, "CaptureCallGraph", err)
			_, err = asyncio.FormatCallGraph(ctx, nil, asyncio.Limit(1), nil)
			told(t, "FormatCallGraph", err)
			told(t, "PrintCallGraph", asyncio.PrintCallGraph(ctx, t.Output(), nil, asyncio.Limit(1), nil))
			loop := asyncio.CurrentTask(ctx).Loop()
			_, err = asyncio.ToThread(ctx, func(ctx context.Context) (int, error) {
				return asyncio.RunCoroutineThreadsafe(ctx, loop, none, asyncio.WithName("x"), nil).Wait(ctx)
			})
			told(t, "RunCoroutineThreadsafe", err)
			return nil
		})
	})
	t.Run("of functions that panic with it", func(t *testing.T) {
		panics := func(op string, fn func()) {
			t.Helper()
			defer func() {
				t.Helper()
				err, _ := recover().(error)
				told(t, op, err)
			}()
			fn()
		}
		panics("NewEventLoop", func() { asyncio.NewEventLoop(asyncio.WithDebug(false), nil) })
		expectUsage(t, asyncio.ErrBadArgument, func() { asyncio.WithInterrupt(os.Interrupt, nil) })
		panics("NewRunner", func() { asyncio.NewRunner(asyncio.WithDebug(false), nil) })
		asynciotest.Run(t, func(ctx context.Context) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				panics("CreateTask", func() { asyncio.CreateTask(ctx, none, asyncio.WithName("x"), nil) })
				panics("Go", func() { asyncio.Go(ctx, nothing, asyncio.WithName("x"), nil) })
				panics("TaskGroup.Go", func() { g.Go(nothing, asyncio.WithName("x"), nil) })
				panics("GroupTask", func() { asyncio.GroupTask(g, none, asyncio.WithName("x"), nil) })
				return nil
			})
		})
	})
}

// TestNothingToAwait: who is given a nil in place of something to await says so, before it
// starts anything.
func TestNothingToAwait(t *testing.T) {
	asynciotest.Run(t, func(ctx context.Context) error {
		runs := asyncio.Coroutine[int](func(context.Context) (int, error) {
			t.Error("it runs")
			return 0, nil
		})
		for _, none := range []asyncio.Awaitable[int]{nil, asyncio.Coroutine[int](nil), (*asyncio.Task[int])(nil), (*asyncio.Future[int])(nil)} {
			_, err := asyncio.Gather(ctx, runs, none)
			mistake(t, err, asyncio.ErrBadArgument)
			_, err = asyncio.GatherSettled(ctx, runs, none)
			mistake(t, err, asyncio.ErrBadArgument)
			_, err = asyncio.Shield(ctx, none)
			mistake(t, err, asyncio.ErrBadArgument)
			_, err = asyncio.WaitFor(ctx, 0, none)
			mistake(t, err, asyncio.ErrBadArgument)
			_, err = asyncio.WaitFor(ctx, 1, none)
			mistake(t, err, asyncio.ErrBadArgument)
			n := 0
			for _, err := range asyncio.AsCompleted(ctx, runs, none) {
				mistake(t, err, asyncio.ErrBadArgument)
				n++
			}
			if n != 1 {
				t.Errorf("AsCompleted has yielded %d times", n)
			}
		}
		_, _, err := asyncio.Wait(ctx, []asyncio.AnyFuture{asyncio.CurrentTask(ctx), nil}, asyncio.WaitOptions{})
		mistake(t, err, asyncio.ErrBadArgument)
		mistake(t, asyncio.PrintCallGraph(ctx, nil, nil), asyncio.ErrBadArgument)
		return nil
	})
	_, err := asyncio.RunCoroutineThreadsafe(context.Background(), nil, func(context.Context) (int, error) { return 0, nil }).Wait(context.Background())
	mistake(t, err, asyncio.ErrBadArgument)
	loop := asyncio.NewEventLoop()
	defer loop.Close()
	mistake(t, loop.RunUntilComplete(nil), asyncio.ErrBadArgument)
}
