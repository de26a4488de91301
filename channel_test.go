// Tests of tasks at Go's channels.

package asyncio_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// ownLoop returns the loop of the running task.
func ownLoop(ctx context.Context) *asyncio.EventLoop { return asyncio.CurrentTask(ctx).Loop() }

// until lets the loop run until cond holds.
func until(t testing.TB, ctx context.Context, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); {
		if time.Now().After(deadline) {
			t.Fatal("waited for too long")
		}
		if err := asyncio.Sleep(ctx, time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

// onRealLoop runs a test on a wall clock, and checks that it leaves no goroutine.
func onRealLoop(t *testing.T, name string, test func(t *testing.T, ctx context.Context), opts ...asyncio.RunOption) {
	t.Run(name, func(t *testing.T) {
		noGoroutines(t, func() {
			err := asyncio.Run(background, func(ctx context.Context) error {
				test(t, ctx)
				return nil
			}, opts...)
			expectError(t, err, nil)
		})
	})
}

func TestReceive(t *testing.T) {
	receive := func(ch <-chan int) func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			v, ok, err := asyncio.Receive(ctx, ch)
			if !ok && err == nil {
				v = -1
			}
			return v, err
		}
	}
	inLoop(t, "what is there does not suspend, even if the task is cancelled", func(t *testing.T, ctx context.Context) {
		ch := make(chan int, 1)
		ch <- 1
		task := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
			asyncio.CurrentTask(ctx).Cancel(io2)
			v, ok, err := asyncio.Receive(ctx, ch)
			if v != 1 || !ok || err != nil {
				t.Errorf("got %v, %v, %v", v, ok, err)
			}
			_, _, err = asyncio.Receive(ctx, ch)
			return 0, err
		})
		expectError(t, task.Wait(ctx), io2)
	})
	inLoop(t, "a value that comes, and the end", func(t *testing.T, ctx context.Context) {
		ch := make(chan int)
		first, second := asyncio.CreateTask(ctx, receive(ch)), asyncio.CreateTask(ctx, receive(ch))
		settle(ctx)
		go func() {
			ch <- 1
			close(ch)
		}()
		a, err := first.Await(ctx)
		expectError(t, err, nil)
		b, err := second.Await(ctx)
		expectError(t, err, nil)
		if a+b != 0 || a*b != -1 {
			t.Errorf("got %d and %d", a, b)
		}
	})
	t.Run("a cancelled wait leaves the value, and no goroutine", func(t *testing.T) {
		noGoroutines(t, func() {
			ch := make(chan int, 1)
			expectError(t, runLoop(func(ctx context.Context) error {
				task := asyncio.CreateTask(ctx, receive(ch), asyncio.EagerStart())
				task.Cancel(io2)
				expectError(t, task.Wait(ctx), io2)
				ch <- 1
				return nil
			}), nil)
			if len(ch) != 1 {
				t.Error("it was taken")
			}
		})
	})
	inLoop(t, "a value that wins is returned, and the cancellation comes with the next await", func(t *testing.T, ctx context.Context) {
		ch := make(chan int)
		var got int
		task := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
			v, _, err := asyncio.Receive(ctx, ch)
			expectError(t, err, nil)
			got = v
			return 0, asyncio.Yield(asyncio.CleanupContext(ctx))
		}, asyncio.EagerStart())
		ch <- 7 // only the goroutine can have taken it
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
		if got != 7 {
			t.Errorf("got %d", got)
		}
	})
	inLoop(t, "mistakes", func(t *testing.T, ctx context.Context) {
		_, _, err := asyncio.Receive[int](ctx, nil)
		mistake(t, err, asyncio.ErrBadArgument)
		mistake(t, asyncio.Send(ctx, nil, 1), asyncio.ErrBadArgument)
		_, _, err = asyncio.Receive(background, make(chan int))
		mistake(t, err, asyncio.ErrOutsideTask)
		mistake(t, asyncio.Send(background, make(chan int, 1), 1), asyncio.ErrOutsideTask)
		for _, err := range asyncio.Values[int](ctx, nil) {
			mistake(t, err, asyncio.ErrBadArgument)
		}
	})
	for name, wait := range map[string]func(ctx context.Context){
		"Receive": func(ctx context.Context) { asyncio.Receive(ctx, make(chan int)) },
		"Send":    func(ctx context.Context) { asyncio.Send(ctx, make(chan int), 1) },
		"Values": func(ctx context.Context) {
			for range asyncio.Values(ctx, make(chan int)) {
			}
		},
	} {
		t.Run("Close ends by force what waits in "+name, func(t *testing.T) {
			noGoroutines(t, func() {
				expectError(t, runLoop(func(ctx context.Context) error {
					asyncio.Go(ctx, func(ctx context.Context) error {
						for {
							wait(context.WithoutCancel(ctx))
						}
					}, asyncio.EagerStart())
					return nil
				}, asyncio.WithShutdownGrace(0), new(reports).handler()), nil)
			})
		})
	}
}

func TestSend(t *testing.T) {
	inLoop(t, "room, no room, and a receiver that comes", func(t *testing.T, ctx context.Context) {
		ch := make(chan int, 1)
		expectError(t, asyncio.Send(ctx, ch, 1), nil)
		task := asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.Send(ctx, ch, 2) }, asyncio.EagerStart())
		if task.Done() {
			t.Error("there was no room")
		}
		got := []int{<-ch}
		expectError(t, task.Wait(ctx), nil)
		if got = append(got, <-ch); !slices.Equal(got, []int{1, 2}) {
			t.Errorf("got %v", got)
		}
	})
	inLoop(t, "what was cancelled is not sent", func(t *testing.T, ctx context.Context) {
		ch := make(chan int, 1)
		ch <- 1
		err := asyncio.Timeout(ctx, time.Millisecond, func(ctx context.Context) error { return asyncio.Send(ctx, ch, 2) })
		expectError(t, err, asyncio.ErrTimeout)
		<-ch
		if len(ch) > 0 {
			t.Error("it was sent")
		}
	})
	inLoop(t, "to a closed channel it panics, as Go's does", func(t *testing.T, ctx context.Context) {
		ch := make(chan int)
		send := func(ctx context.Context) error { return asyncio.Send(ctx, ch, 1) }
		var tasks []*asyncio.Task[struct{}]
		if !raceDetector { // it reports a send that waits while the channel is closed, as it should
			tasks = append(tasks, asyncio.Go(ctx, send, asyncio.EagerStart()))
		}
		close(ch)
		for _, task := range append(tasks, asyncio.Go(ctx, send)) {
			p, ok := task.Wait(ctx).(*asyncio.PanicError)
			if !ok || fmt.Sprint(p.Value) != "send on closed channel" {
				t.Errorf("error %v", task.Err())
			}
		}
	})
}

func TestValues(t *testing.T) {
	inLoop(t, "all values, with one goroutine", func(t *testing.T, ctx context.Context) {
		ch := make(chan int)
		go func() {
			defer close(ch)
			for i := range 1000 {
				ch <- i
			}
		}()
		next := 0
		for v, err := range asyncio.Values(ctx, ch) {
			if v != next || err != nil {
				t.Fatalf("got %d, %v, want %d", v, err, next)
			}
			next++
		}
		if next != 1000 {
			t.Errorf("got %d values", next)
		}
	})
	t.Run("ending early takes nothing more, and leaves no goroutine", func(t *testing.T) {
		noGoroutines(t, func() {
			ch := make(chan int)
			expectError(t, runLoop(func(ctx context.Context) error {
				go func() {
					for i := range 3 {
						ch <- i
					}
				}()
				for v, err := range asyncio.Values(ctx, ch) {
					if v == 1 {
						break
					}
					expectError(t, err, nil)
				}
				return nil
			}), nil)
			if v := <-ch; v != 2 {
				t.Errorf("left %d", v)
			}
		})
	})
	inLoop(t, "a cancellation ends the sequence", func(t *testing.T, ctx context.Context) {
		ch := make(chan int)
		var errs []error
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			for _, err := range asyncio.Values(ctx, ch) {
				errs = append(errs, err)
			}
			return nil
		}, asyncio.EagerStart())
		ch <- 1
		task.Cancel(io2)
		task.Wait(ctx)
		expectErrors(t, errs, nil, io2)
	})
}

// TestChannelStorm sends numbers through a channel in both directions, with tasks that
// are cancelled all the time: each number arrives once.
func TestChannelStorm(t *testing.T) {
	const senders, each = 4, 300
	in, out := make(chan int), make(chan int)
	var sent, received []int
	noGoroutines(t, func() {
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for i := range each {
					in <- s*each + i
					if i%7 == 0 {
						runtime.Gosched()
					}
				}
			})
		}
		wg.Go(func() {
			for v := range out {
				received = append(received, v)
			}
		})
		expectError(t, asyncio.Run(background, func(ctx context.Context) error {
			left := senders * each
			defer close(out)
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				for worker := range 8 {
					g.Go(func(ctx context.Context) error {
						random := rand.New(rand.NewPCG(uint64(worker), 1))
						for left > 0 {
							var v int
							ok := false
							asyncio.Timeout(ctx, time.Duration(random.IntN(60))*time.Microsecond, func(ctx context.Context) (err error) {
								v, ok, err = asyncio.Receive(ctx, in)
								return err
							})
							if !ok {
								continue
							}
							left--
							sent = append(sent, v)
							for asyncio.Timeout(ctx, time.Duration(random.IntN(60))*time.Microsecond, func(ctx context.Context) error {
								if v < 0 {
									return nil // a timeout was late, and the number is out
								}
								err := asyncio.Send(ctx, out, v)
								if err == nil {
									v = -1
								}
								return err
							}) != nil {
							}
						}
						return nil
					})
				}
				return nil
			})
		}), nil)
		wg.Wait()
	})
	slices.Sort(sent)
	slices.Sort(received)
	for i := range senders * each {
		if len(sent) <= i || sent[i] != i || len(received) <= i || received[i] != i {
			t.Fatalf("%d of %d came, %d of them arrived, and they are not 0 to %d", len(sent), senders*each, len(received), senders*each-1)
		}
	}
}
