// Tests of executors: who runs what may block.

package asyncio_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// A pool is an executor with one goroutine and a queue.
type pool struct {
	functions chan func()
	ended     sync.WaitGroup
	calls     int
}

var errPoolFull = errors.New("the pool is full")

func newPool(queue int) *pool {
	p := &pool{functions: make(chan func(), queue)}
	p.ended.Go(func() {
		for fn := range p.functions {
			p.calls++
			fn()
		}
	})
	return p
}

func (p *pool) Execute(fn func()) error {
	select {
	case p.functions <- fn:
		return nil
	default:
		return errPoolFull
	}
}

// end returns how many functions have been called.
func (p *pool) end() int {
	close(p.functions)
	p.ended.Wait()
	return p.calls
}

type executorFunc func(fn func()) error

func (e executorFunc) Execute(fn func()) error { return e(fn) }

func seven(context.Context) (int, error) { return 7, nil }

func TestRunInExecutor(t *testing.T) {
	inLoop(t, "EV-015 a job runs on another goroutine and returns its value", func(t *testing.T, ctx context.Context) {
		p := newPool(1)
		v, err := asyncio.RunInExecutor(ctx, p, seven)
		if v != 7 || err != nil || p.end() != 1 {
			t.Errorf("got %v, %v after %d calls", v, err, p.calls)
		}
		v, err = asyncio.RunInExecutor(ctx, nil, seven)
		if v != 7 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
		_, err = asyncio.RunInExecutor(ctx, nil, func(context.Context) (int, error) { return 0, io2 })
		expectError(t, err, io2)
	})
	inLoop(t, "the thread limit does not count", func(t *testing.T, ctx context.Context) {
		var together sync.WaitGroup
		together.Add(3)
		e := executorFunc(func(fn func()) error { go fn(); return nil })
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for range 3 {
				g.Go(func(ctx context.Context) error {
					_, err := asyncio.RunInExecutor(ctx, e, func(context.Context) (int, error) {
						together.Done()
						together.Wait()
						return 0, nil
					})
					return err
				})
			}
			return nil
		})
		expectError(t, err, nil)
	}, asyncio.WithThreadLimit(1))
	inLoop(t, "an executor that refuses, panics, or breaks its word", func(t *testing.T, ctx context.Context) {
		_, err := asyncio.RunInExecutor(ctx, executorFunc(func(func()) error { return io2 }), seven)
		expectError(t, err, io2)
		_, err = asyncio.RunInExecutor(ctx, executorFunc(func(func()) error { panic(io2) }), seven)
		expectError(t, err, io2)
		_, err = asyncio.RunInExecutor(ctx, executorFunc(func(fn func()) error { fn(); return io2 }), seven)
		expectError(t, err, io2)
		expectError(t, ownLoop(ctx).ShutdownDefaultExecutor(ctx), nil)
	})
	t.Run("EV-016 no late callback arrives when a job was cancelled and the loop closed", func(t *testing.T) {
		noGoroutines(t, func() {
			p := newPool(2)
			began, release := make(chan struct{}), make(chan struct{})
			err := asyncio.Run(background, func(ctx context.Context) error {
				busy := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
					return asyncio.RunInExecutor(ctx, p, func(context.Context) (int, error) {
						close(began)
						<-release
						return 0, nil
					})
				}, asyncio.EagerStart())
				queued := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
					return asyncio.RunInExecutor(ctx, p, func(context.Context) (int, error) {
						t.Error("it had not begun when it was cancelled")
						return 0, nil
					})
				}, asyncio.EagerStart())
				<-began
				for _, task := range []*asyncio.Task[int]{busy, queued} {
					task.AddDoneCallback(func(f asyncio.AnyFuture) { expectError(t, f.Err(), io2) })
					task.Cancel(io2)
					expectError(t, task.Wait(ctx), io2)
				}
				return nil
			}, asyncio.WithShutdownGrace(time.Millisecond))
			if err == nil || !strings.Contains(err.Error(), "still running") {
				t.Errorf("error %v", err)
			}
			close(release)
			if p.end() != 2 {
				t.Errorf("%d calls", p.calls)
			}
		})
	})
	t.Run("EV-014 on a closed loop it is an error", func(t *testing.T) {
		loop := asyncio.NewEventLoop()
		loop.Close()
		_, err := asyncio.RunInExecutor(loop.Context(background), newPoolEnded(t), seven)
		mistake(t, err, asyncio.ErrOutsideTask)
		panicsWith(t, asyncio.ErrLoopClosed, func() { loop.SetDefaultExecutor(newPoolEnded(t)) })
	})
}

// newPoolEnded makes a pool that ends with the test.
func newPoolEnded(t *testing.T) *pool {
	p := newPool(8)
	t.Cleanup(func() { p.end() })
	return p
}

func TestDefaultExecutor(t *testing.T) {
	p := newPoolEnded(t)
	inLoop(t, "BASE-052 another one runs the functions of ToThread, within the limit", func(t *testing.T, ctx context.Context) {
		panicsWith(t, asyncio.ErrBadArgument, func() { ownLoop(ctx).SetDefaultExecutor(nil) })
		panicsWith(t, asyncio.ErrBadArgument, func() { asyncio.WithExecutor(nil) })
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for range 100 { // the pool would refuse them if they came all at once
				g.Go(func(ctx context.Context) error {
					_, err := asyncio.ToThread(ctx, seven)
					return err
				})
			}
			return nil
		})
		expectError(t, err, nil)
		if calls, err := asyncio.ToThread(ctx, func(context.Context) (int, error) { return p.calls, nil }); calls != 101 || err != nil {
			t.Errorf("%d calls, %v", calls, err)
		}
		other := newPoolEnded(t)
		ownLoop(ctx).SetDefaultExecutor(other)
		calls, _ := asyncio.ToThread(ctx, func(context.Context) (int, error) { return other.calls, nil })
		if calls != 1 {
			t.Errorf("%d calls", calls)
		}
	}, asyncio.WithExecutor(p), asyncio.WithThreadLimit(2))
	inLoop(t, "a refusal ends one job; the others get their turn", func(t *testing.T, ctx context.Context) {
		n := 0
		ownLoop(ctx).SetDefaultExecutor(executorFunc(func(fn func()) error {
			if n++; n%2 == 0 {
				return errPoolFull
			}
			go fn()
			return nil
		}))
		var tasks []asyncio.Awaitable[int]
		for range 6 {
			tasks = append(tasks, asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) { return asyncio.ToThread(ctx, seven) }))
		}
		refused := 0
		for _, task := range tasks {
			if _, err := task.Await(ctx); err != nil {
				expectError(t, err, errPoolFull)
				refused++
			}
		}
		if refused != 3 {
			t.Errorf("%d refused", refused)
		}
	}, asyncio.WithThreadLimit(1))
}

func TestShutdownDefaultExecutor(t *testing.T) {
	inLoop(t, "it waits for what runs and for what waits for its turn, and then refuses", func(t *testing.T, ctx context.Context) {
		loop := ownLoop(ctx)
		release := make(chan struct{})
		var tasks []*asyncio.Task[int]
		for range 3 {
			tasks = append(tasks, asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
				return asyncio.ToThread(ctx, func(context.Context) (int, error) {
					<-release
					return 7, nil
				})
			}, asyncio.EagerStart()))
		}
		loop.CallSoon(func() { close(release) })
		expectError(t, loop.ShutdownDefaultExecutor(ctx), nil)
		for _, task := range tasks {
			if v, err := task.Await(ctx); v != 7 || err != nil {
				t.Errorf("got %v, %v", v, err)
			}
		}
		_, err := asyncio.ToThread(ctx, seven)
		expectError(t, err, asyncio.ErrExecutorShutDown)
		_, err = asyncio.RunInExecutor(ctx, nil, seven)
		expectError(t, err, asyncio.ErrExecutorShutDown)
		v, err := asyncio.RunInExecutor(ctx, newPoolEnded(t), seven)
		if v != 7 || err != nil {
			t.Errorf("another executor: %v, %v", v, err)
		}
		expectError(t, loop.ShutdownDefaultExecutor(ctx), nil)
	}, asyncio.WithThreadLimit(1))
	var log bytes.Buffer
	inLoop(t, "BASE-053 a timeout warns and returns", func(t *testing.T, ctx context.Context) {
		release, began := make(chan struct{}), make(chan struct{})
		task := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
			return asyncio.ToThread(ctx, func(context.Context) (int, error) {
				close(began)
				<-release
				return 7, nil
			})
		}, asyncio.EagerStart())
		<-began
		err := asyncio.Timeout(ctx, time.Millisecond, ownLoop(ctx).ShutdownDefaultExecutor)
		expectError(t, err, asyncio.ErrTimeout)
		if s := log.String(); !strings.Contains(s, "did not finish in time") || !strings.Contains(s, "executor_test.go") {
			t.Errorf("logged %q", s)
		}
		close(release)
		v, err := task.Await(ctx)
		if v != 7 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
	}, asyncio.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	inLoop(t, "mistakes", func(t *testing.T, ctx context.Context) {
		other := asyncio.NewEventLoop()
		defer other.Close()
		mistake(t, other.ShutdownDefaultExecutor(ctx), asyncio.ErrWrongLoop)
		mistake(t, ownLoop(ctx).ShutdownDefaultExecutor(background), asyncio.ErrOutsideTask)
	})
}
