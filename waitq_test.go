// What the tests of locks, queues and the like have in common.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// A journal collects what tasks say, in the order in which they say it.
type journal []string

func (j *journal) say(format string, args ...any) { *j = append(*j, fmt.Sprintf(format, args...)) }

// expect compares the journal with want, which is divided by spaces, and empties it.
func (j *journal) expect(t *testing.T, want string) {
	t.Helper()
	if got := strings.Join(*j, " "); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	*j = nil
}

// settle lets everything happen that can happen without time going by.
func settle(ctx context.Context) { asyncio.Sleep(asyncio.CleanupContext(ctx), 1) }

// expectError checks what err Is; want may be nil.
func expectError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// expectUsage checks that fn panics with a *UsageError of that cause.
func expectUsage(t *testing.T, cause error, fn func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if e, ok := recover().(*asyncio.UsageError); !ok || !errors.Is(e, cause) || e.Op == "" || e.Text == "" {
			t.Errorf("panic %v, want a UsageError %v", e, cause)
		}
	}()
	fn()
}

// expectText checks the String of v.
func expectText(t *testing.T, v fmt.Stringer, want string) {
	t.Helper()
	if got := withoutPlaces(v.String()); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// withoutPlaces leaves out of a text where tasks wait.
func withoutPlaces(s string) string { return waitingPlace.ReplaceAllString(s, "") }

var waitingPlace = regexp.MustCompile(` at \w+\.go:\d+`)

// withoutSuspending checks that no other task or callback runs during fn.
func withoutSuspending(t *testing.T, ctx context.Context, fn func()) {
	t.Helper()
	ran := false
	h := asyncio.CurrentTask(ctx).Loop().CallSoon(func() { ran = true })
	fn()
	h.Cancel()
	if ran {
		t.Error("it suspended")
	}
}

// spawn runs fn as a task that says its name when fn has returned, and its error.
func (j *journal) spawn(ctx context.Context, name string, fn func(ctx context.Context) error) asyncio.AnyTask {
	return asyncio.Go(ctx, func(ctx context.Context) error {
		j.say("%s", name+outcome(fn(ctx), ""))
		return nil
	}, asyncio.WithName(name))
}

// outcome is the word for err in a journal, and ok if that is nil.
func outcome(err error, ok string) string {
	switch {
	case err == nil:
		return ok
	case errors.Is(err, asyncio.ErrCancelled):
		return "!cancelled"
	case errors.Is(err, asyncio.ErrBrokenBarrier):
		return "!broken"
	case errors.Is(err, asyncio.ErrQueueShutDown):
		return "!shut-down"
	}
	return "!" + err.Error()
}

// onTwoLoops calls use in a task of one loop and, while that has not ended, in a
// task of another loop on another goroutine.
func onTwoLoops(t *testing.T, wait func(ctx context.Context) error, elsewhere func(ctx context.Context)) {
	t.Helper()
	asynciotest.Run(t, func(ctx context.Context) error {
		first := asyncio.Go(ctx, wait)
		asyncio.Yield(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			asyncio.Run(context.Background(), func(ctx context.Context) error {
				elsewhere(ctx)
				return nil
			})
		}()
		<-done
		first.Cancel(nil)
		return nil
	})
}

// onAnotherGoroutine calls fn on a goroutine that runs no loop.
func onAnotherGoroutine(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	<-done
}

// endedByForce runs a task that does not end until it is ended by force when the
// loop is closed, and returns its error.
func endedByForce(t *testing.T, stubborn func(ctx context.Context) error) error {
	t.Helper()
	var task asyncio.AnyTask
	silent := func(*asyncio.EventLoop, *asyncio.ErrorContext) {}
	asynciotest.Run(t, func(ctx context.Context) error {
		task = asyncio.Go(ctx, stubborn)
		settle(ctx)
		return nil
	}, asyncio.WithShutdownGrace(0), asyncio.WithExceptionHandler(silent))
	return task.Err()
}

// A line keeps who waits for something, as a model of a fair line: nobody gets
// it before those who came earlier, unless they were cancelled.
type line struct {
	waiting   []asyncio.AnyTask
	cancelled map[asyncio.AnyTask]bool
}

func (l *line) join(t asyncio.AnyTask) { l.waiting = append(l.waiting, t) }

// leave removes t, and reports who it has overtaken if it was served.
func (l *line) leave(t asyncio.AnyTask, served bool) (overtaken []asyncio.AnyTask) {
	i := slices.Index(l.waiting, t)
	if served {
		for _, earlier := range l.waiting[:i] {
			if !l.cancelled[earlier] {
				overtaken = append(overtaken, earlier)
			}
		}
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
	return overtaken
}

func (l *line) cancel(t asyncio.AnyTask) {
	if l.cancelled == nil {
		l.cancelled = make(map[asyncio.AnyTask]bool)
	}
	l.cancelled[t] = t.Cancel(nil)
}

// seeds are the seeds of the random tests.
func seeds(t *testing.T, test func(t *testing.T, seed uint64)) {
	n := uint64(50)
	if testing.Short() {
		n = 5
	}
	for seed := range n {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { test(t, seed) })
	}
}

// The misuse that every operation answers in the same way.
func TestPrimitivesOutsideTask(t *testing.T) {
	held := new(asyncio.Condition)
	held.TryAcquire()
	operations := map[string]func(ctx context.Context) error{
		"Lock.Acquire":             new(asyncio.Lock).Acquire,
		"Event.Wait":               new(asyncio.Event).Wait,
		"Condition.Acquire":        new(asyncio.Condition).Acquire,
		"Condition.Wait":           held.Wait,
		"Semaphore.Acquire":        asyncio.NewSemaphore(1).Acquire,
		"BoundedSemaphore.Acquire": asyncio.NewBoundedSemaphore(1).Acquire,
		"Barrier.Wait": func(ctx context.Context) error {
			_, err := asyncio.NewBarrier(1).Wait(ctx)
			return err
		},
		"Queue.Put": func(ctx context.Context) error { return asyncio.NewQueue[int](0).Put(ctx, 1) },
		"Queue.Get": func(ctx context.Context) error {
			_, err := asyncio.NewQueue[int](0).Get(ctx)
			return err
		},
		"Queue.Join": asyncio.NewQueue[int](0).Join,
	}
	expectMisuse := func(t *testing.T, err error, op string, cause error) {
		t.Helper()
		var usage *asyncio.UsageError
		if !errors.As(err, &usage) || usage.Op != op || !errors.Is(err, cause) {
			t.Errorf("error %v, want a UsageError of %s: %v", err, op, cause)
		}
	}
	for op, call := range operations {
		t.Run(op, func(t *testing.T) {
			expectMisuse(t, call(context.Background()), op, asyncio.ErrOutsideTask)
			asynciotest.Run(t, func(ctx context.Context) error {
				asyncio.CurrentTask(ctx).Loop().CallSoon(func() {
					expectMisuse(t, call(ctx), op, asyncio.ErrOutsideTask)
				})
				onAnotherGoroutine(func() {
					expectMisuse(t, call(ctx), op, asyncio.ErrWrongGoroutine)
				})
				return asyncio.Yield(ctx)
			})
		})
	}
}

// A wait that was called off leaves nothing behind that would keep its task alive.
func TestPrimitivesForgetTasks(t *testing.T) {
	asynciotest.Run(t, func(ctx context.Context) error {
		var lock asyncio.Lock
		lock.Acquire(ctx)
		gone := make(chan struct{})
		func() {
			task := asyncio.Go(ctx, lock.Acquire)
			runtime.AddCleanup(task, func(gone chan struct{}) { close(gone) }, gone)
			asyncio.Yield(ctx)
			task.Cancel(nil)
			task.Wait(ctx)
		}()
		for range 100 {
			runtime.GC()
			select {
			case <-gone:
				return nil
			case <-time.After(time.Millisecond):
			}
			asyncio.Yield(ctx)
		}
		t.Error("the task is still reachable")
		runtime.KeepAlive(&lock)
		return nil
	})
}
