// Tests of inboxes: any goroutine puts, tasks get.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

func TestInbox(t *testing.T) {
	inLoop(t, "items keep their order and wake the task that waits", func(t *testing.T, ctx context.Context) {
		in := asyncio.NewInbox[int](ctx, 0)
		go func() {
			for i := range 100 {
				in.Put(background, i)
			}
			in.Close()
		}()
		next := 0
		for v, err := range in.Items(ctx) {
			if v != next || err != nil {
				t.Fatalf("got %d, %v, want %d", v, err, next)
			}
			next++
		}
		if next != 100 {
			t.Errorf("got %d items", next)
		}
	})
	inLoop(t, "without a wait: full, empty, closed", func(t *testing.T, ctx context.Context) {
		in := asyncio.NewInbox[int](ctx, 2)
		_, err := in.GetNowait()
		expectError(t, err, asyncio.ErrQueueEmpty)
		expectError(t, in.Put(ctx, 1), nil)
		expectError(t, in.PutNowait(2), nil)
		expectError(t, in.PutNowait(3), asyncio.ErrQueueFull)
		expectText(t, in, "<Inbox capacity=2 items=2 putters=0>")
		in.Close()
		in.Close()
		expectText(t, in, "<Inbox capacity=2 items=2 putters=0 closed>")
		expectError(t, in.PutNowait(3), net.ErrClosed)
		expectError(t, in.Put(ctx, 3), net.ErrClosed)
		for want := 1; want <= 2; want++ {
			if v, err := in.Get(ctx); v != want || err != nil {
				t.Errorf("got %d, %v", v, err)
			}
		}
		_, err = in.Get(ctx)
		expectError(t, err, net.ErrClosed)
		_, err = in.GetNowait()
		expectError(t, err, net.ErrClosed)
	})
	inLoop(t, "who waits for room gets it in order, task or goroutine", func(t *testing.T, ctx context.Context) {
		in := asyncio.NewInbox[int](ctx, 1)
		in.PutNowait(0)
		var wg sync.WaitGroup
		put := func(i int) func(context.Context) error {
			return func(ctx context.Context) error { return in.Put(ctx, i) }
		}
		one := asyncio.Go(ctx, put(1), asyncio.EagerStart())
		wg.Go(func() { expectError(t, in.Put(background, 2), nil) })
		until(t, ctx, func() bool { return in.String() == "<Inbox capacity=1 items=1 putters=2>" })
		three := asyncio.Go(ctx, put(3), asyncio.EagerStart())
		for want := range 4 {
			if v, err := in.Get(ctx); v != want || err != nil {
				t.Errorf("got %d, %v, want %d", v, err, want)
			}
		}
		expectError(t, one.Wait(ctx), nil)
		expectError(t, three.Wait(ctx), nil)
		wg.Wait()
	})
	inLoop(t, "a put that is cancelled is taken back", func(t *testing.T, ctx context.Context) {
		in := asyncio.NewInbox[int](ctx, 1)
		in.PutNowait(0)
		task := asyncio.Go(ctx, func(ctx context.Context) error { return in.Put(ctx, 1) }, asyncio.EagerStart())
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
		expectError(t, asyncio.Go(ctx, func(ctx context.Context) error {
			asyncio.CurrentTask(ctx).Cancel(io2)
			return in.Put(ctx, 1)
		}).Wait(ctx), io2)
		elsewhere(func() {
			ctx, cancel := context.WithCancelCause(background)
			cancel(io2)
			expectError(t, in.Put(ctx, 2), io2)
		})
		if in.Len() != 1 {
			t.Errorf("%v", in)
		}
	})
	inLoop(t, "a put that was granted comes before its cancellation", func(t *testing.T, ctx context.Context) {
		in := asyncio.NewInbox[int](ctx, 1)
		in.PutNowait(0)
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			expectError(t, in.Put(ctx, 1), nil)
			return asyncio.Yield(asyncio.CleanupContext(ctx))
		}, asyncio.EagerStart())
		in.GetNowait()
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
		if v, err := in.GetNowait(); v != 1 || err != nil {
			t.Errorf("got %d, %v", v, err)
		}
	})
	inLoop(t, "an item that woke a cancelled task goes to the next", func(t *testing.T, ctx context.Context) {
		in := asyncio.NewInbox[int](ctx, 0)
		get := func(ctx context.Context) (int, error) { return in.Get(ctx) }
		first, second := asyncio.CreateTask(ctx, get, asyncio.EagerStart()), asyncio.CreateTask(ctx, get, asyncio.EagerStart())
		in.PutNowait(1)
		asyncio.Yield(ctx) // the loop is told
		first.Cancel(nil)
		if v, err := second.Await(ctx); v != 1 || err != nil {
			if v, err = first.Await(ctx); v != 1 || err != nil {
				t.Errorf("got %d, %v", v, err)
			}
		}
	})
	inLoop(t, "each item wakes one of those that wait, also when they come one by one", func(t *testing.T, ctx context.Context) {
		in := asyncio.NewInbox[int](ctx, 0)
		var tasks []*asyncio.Task[int]
		for range 3 {
			tasks = append(tasks, asyncio.CreateTask(ctx, in.Get, asyncio.EagerStart()))
		}
		for i, task := range tasks {
			elsewhere(func() { in.PutNowait(i) })
			if v, err := task.Await(ctx); v != i || err != nil {
				t.Errorf("got %d, %v, want %d", v, err, i)
			}
		}
	})
	inLoop(t, "Close wakes who waits on both sides", func(t *testing.T, ctx context.Context) {
		in := asyncio.NewInbox[int](ctx, 1)
		getter := asyncio.CreateTask(ctx, in.Get, asyncio.EagerStart())
		elsewhere(func() { in.Close() })
		expectError(t, getter.Wait(ctx), net.ErrClosed)

		in = asyncio.NewInbox[int](ctx, 1)
		in.PutNowait(0)
		putter := asyncio.Go(ctx, func(ctx context.Context) error { return in.Put(ctx, 1) }, asyncio.EagerStart())
		blocked := make(chan error)
		go func() { blocked <- in.Put(background, 2) }()
		until(t, ctx, func() bool { return in.String() == "<Inbox capacity=1 items=1 putters=2>" })
		in.Close()
		expectError(t, putter.Wait(ctx), net.ErrClosed)
		expectError(t, <-blocked, net.ErrClosed)
	})
	inLoop(t, "mistakes", func(t *testing.T, ctx context.Context) {
		in := asyncio.NewInbox[int](ctx, 1)
		in.PutNowait(0)
		done := asyncio.NewFuture[int](ctx)
		done.Loop().CallSoon(func() {
			mistake(t, in.Put(ctx, 1), asyncio.ErrOutsideTask)
			done.SetResult(1)
		})
		done.Await(ctx)
		mistake(t, in.Put(background, 1), asyncio.ErrOutsideTask) // it would stop the loop
		elsewhere(func() {
			_, err := in.Get(ctx)
			mistake(t, err, asyncio.ErrWrongGoroutine)
			panicsWith(t, asyncio.ErrWrongGoroutine, func() { in.GetNowait() })
			expectError(t, runLoop(func(ctx context.Context) error {
				_, err := in.Get(ctx)
				mistake(t, err, asyncio.ErrWrongLoop)
				return nil
			}), nil)
		})
		panicsWith(t, asyncio.ErrOutsideTask, func() { asyncio.NewInbox[int](background, 1) })
		var none asyncio.Inbox[int]
		_, err := none.Get(ctx)
		for _, err := range []error{err, none.Put(ctx, 1), none.PutNowait(1)} {
			mistake(t, err, asyncio.ErrOutsideTask)
		}
		panicsWith(t, asyncio.ErrOutsideTask, func() { none.GetNowait() })
	})
	t.Run("the goroutine of a loop that is not running would wait for itself", func(t *testing.T) {
		loop := newLoop(t)
		expectError(t, loop.RunOnce(0), nil)
		in := asyncio.NewInbox[int](loop.Context(background), 1)
		in.PutNowait(0)
		mistake(t, in.Put(background, 1), asyncio.ErrWrongGoroutine)
	})
}

func TestInboxBetweenLoops(t *testing.T) {
	noGoroutines(t, func() {
		var in *asyncio.Inbox[int]
		ready := make(chan struct{})
		ended := make(chan error)
		go func() {
			ended <- asyncio.Run(background, func(ctx context.Context) error {
				<-ready
				ticks := 0
				ticker := asyncio.Go(ctx, func(ctx context.Context) error {
					for ; ; ticks++ {
						if err := asyncio.Sleep(ctx, 100*time.Microsecond); err != nil {
							return err
						}
					}
				})
				for i := range 500 {
					if err := in.Put(ctx, i); err != nil {
						return err
					}
				}
				ticker.Cancel(nil)
				in.Close()
				return nil
			})
		}()
		expectError(t, asyncio.Run(background, func(ctx context.Context) error {
			in = asyncio.NewInbox[int](ctx, 3)
			close(ready)
			next := 0
			for v, err := range in.Items(ctx) {
				if v != next || err != nil {
					t.Fatalf("got %d, %v, want %d", v, err, next)
				}
				next++
			}
			if next != 500 {
				t.Errorf("got %d", next)
			}
			return nil
		}), nil)
		expectError(t, <-ended, nil)
	})
}

func TestInboxLoopClose(t *testing.T) {
	t.Run("who waits in Put is told, and who comes later", func(t *testing.T) {
		noGoroutines(t, func() {
			var in *asyncio.Inbox[int]
			blocked := make(chan error, 2)
			expectError(t, asyncio.Run(background, func(ctx context.Context) error {
				in = asyncio.NewInbox[int](ctx, 1)
				in.PutNowait(0)
				go func() { blocked <- in.Put(background, 1) }()
				go func() { // a task of another loop
					blocked <- asyncio.Run(background, func(ctx context.Context) error { return in.Put(ctx, 1) })
				}()
				until(t, ctx, func() bool { return in.String() == "<Inbox capacity=1 items=1 putters=2>" })
				return nil
			}), nil)
			mistake(t, <-blocked, asyncio.ErrLoopClosed)
			mistake(t, <-blocked, asyncio.ErrLoopClosed)
			mistake(t, in.Put(background, 1), asyncio.ErrLoopClosed)
			mistake(t, in.PutNowait(1), asyncio.ErrLoopClosed)
			expectError(t, in.Close(), nil)
		})
	})
	t.Run("at any moment", func(t *testing.T) {
		noGoroutines(t, func() {
			for round := range 200 {
				var wg sync.WaitGroup
				loop := asyncio.NewEventLoop()
				in := asyncio.NewInbox[int](loop.Context(background), 1+round%3)
				for range 4 {
					wg.Go(func() {
						for i := 0; ; i++ {
							if err := in.Put(background, i); err != nil {
								mistake(t, err, asyncio.ErrLoopClosed)
								return
							}
						}
					})
				}
				for range round % 5 {
					asyncio.Go(loop.Context(background), func(ctx context.Context) error {
						for _, err := range in.Items(ctx) {
							if err != nil {
								return err
							}
						}
						return nil
					})
				}
				if round%4 > 0 {
					loop.CallLater(time.Duration(round)*time.Microsecond, loop.Stop)
					loop.RunForever()
				}
				expectError(t, loop.Close(), nil)
				wg.Wait()
			}
		})
	})
	t.Run("ends by force what waits", func(t *testing.T) {
		noGoroutines(t, func() {
			expectError(t, runLoop(func(ctx context.Context) error {
				full, empty := asyncio.NewInbox[int](ctx, 1), asyncio.NewInbox[int](ctx, 1)
				full.PutNowait(0)
				for _, wait := range []func(context.Context){
					func(ctx context.Context) { full.Put(ctx, 1) },
					func(ctx context.Context) { empty.Get(ctx) },
				} {
					asyncio.Go(ctx, func(ctx context.Context) error {
						for {
							wait(context.WithoutCancel(ctx))
						}
					}, asyncio.EagerStart())
				}
				return nil
			}, asyncio.WithShutdownGrace(0), new(reports).handler()), nil)
		})
	})
}

// TestInboxModel does things at random on one loop. Items are numbered as they are
// offered, so those that are got must be exactly those that were put, in that order.
func TestInboxModel(t *testing.T) {
	for seed := range uint64(200) {
		inLoop(t, fmt.Sprint("seed ", seed), func(t *testing.T, ctx context.Context) {
			random := rand.New(rand.NewPCG(seed, 3))
			in := asyncio.NewInbox[int](ctx, 1+random.IntN(4))
			put := make(map[int]bool)
			var got []int
			var tasks []*asyncio.Task[struct{}]
			get := func(v int, err error) {
				if err == nil {
					got = append(got, v)
				}
			}
			for n := range 200 {
				switch random.IntN(6) {
				case 0:
					put[n] = in.PutNowait(n) == nil
				case 1:
					tasks = append(tasks, asyncio.Go(ctx, func(ctx context.Context) error {
						err := in.Put(ctx, n)
						put[n] = err == nil
						return err
					}, asyncio.EagerStart()))
				case 2:
					get(in.GetNowait())
				case 3:
					tasks = append(tasks, asyncio.Go(ctx, func(ctx context.Context) error {
						v, err := in.Get(ctx)
						get(v, err)
						return err
					}, asyncio.EagerStart()))
				case 4:
					if len(tasks) > 0 {
						tasks[random.IntN(len(tasks))].Cancel(nil)
					}
				case 5:
					asyncio.Yield(ctx)
				}
			}
			in.Close()
			for _, task := range tasks {
				task.Wait(ctx)
			}
			for v, err := range in.Items(ctx) {
				get(v, err)
			}
			for i, n := range got {
				if !put[n] || i > 0 && n <= got[i-1] {
					t.Fatalf("got %d, which was put: %v, after %v", n, put[n], got[:i])
				}
				delete(put, n)
			}
			for n, in := range put {
				if in {
					t.Errorf("%d was put and not got", n)
				}
			}
		})
	}
}

// TestInboxStorm has goroutines and tasks of two loops put, with timeouts, and tasks
// get, with timeouts: what was put, and nothing else, is got, once, and in the order of
// each putter.
func TestInboxStorm(t *testing.T) {
	const putters, each = 8, 150
	type item struct{ putter, n int }
	noGoroutines(t, func() {
		var put [putters]int // how many each has put
		var got [putters]int
		var in *asyncio.Inbox[item]
		ready := make(chan struct{})
		var wg sync.WaitGroup
		retry := func(ctx context.Context, p int, try func(ctx context.Context, d time.Duration, it item) error) {
			random := rand.New(rand.NewPCG(uint64(p), 2))
			for n := range each {
				it := item{p, n}
				for {
					err := try(ctx, time.Duration(random.IntN(400))*time.Microsecond, it)
					if err == nil {
						break
					}
					if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, asyncio.ErrQueueFull) {
						t.Errorf("error %v", err)
						return
					}
				}
				put[p]++
			}
		}
		asTask := func(ctx context.Context, d time.Duration, it item) error {
			in1 := errors.New("not in")
			err := asyncio.Timeout(ctx, d, func(ctx context.Context) error {
				in1 = in.Put(ctx, it)
				return in1
			})
			if in1 == nil {
				return nil // a timeout that came later does not count
			}
			return err
		}
		wg.Go(func() {
			<-ready
			expectError(t, asyncio.Run(background, func(ctx context.Context) error {
				return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
					for p := range 3 {
						g.Go(func(ctx context.Context) error { retry(ctx, p, asTask); return nil })
					}
					return nil
				})
			}), nil)
		})
		for p := 3; p < 6; p++ {
			wg.Go(func() {
				<-ready
				retry(background, p, func(ctx context.Context, d time.Duration, it item) error {
					if d%2 == 0 {
						runtime.Gosched()
						return in.PutNowait(it)
					}
					ctx, cancel := context.WithTimeout(ctx, d)
					defer cancel()
					return in.Put(ctx, it)
				})
			})
		}
		expectError(t, asyncio.Run(background, func(ctx context.Context) error {
			in = asyncio.NewInbox[item](ctx, 5)
			close(ready)
			left := putters * each
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				for p := 6; p < putters; p++ {
					g.Go(func(ctx context.Context) error { retry(ctx, p, asTask); return nil })
				}
				for range 3 {
					g.Go(func(ctx context.Context) error {
						for left > 0 {
							asyncio.Timeout(ctx, time.Millisecond, func(ctx context.Context) error {
								it, err := in.Get(ctx)
								if err != nil {
									return err
								}
								if got[it.putter] != it.n {
									return fmt.Errorf("got %v after %d", it, got[it.putter])
								}
								got[it.putter]++
								left--
								return nil
							})
						}
						return nil
					})
				}
				return nil
			})
		}), nil)
		wg.Wait()
		for p := range putters {
			if put[p] != each || got[p] != each {
				t.Errorf("putter %d: put %d, got %d, want %d", p, put[p], got[p], each)
			}
		}
	})
}
