// Tests of a poll that fails: the run ends with its error, and no task is lost.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/sock"
)

var errPoll = errors.New("the poll has failed")

// A failingNetwork fails to poll when it is told to.
type failingNetwork struct {
	*sock.Network
	fails func() bool
}

func (n failingNetwork) Wait(d time.Duration) (bool, error) {
	if n.fails() {
		return false, errPoll
	}
	return n.Network.Wait(d)
}

func withFailingPoll(fails func() bool) asyncio.LoopOption {
	return seam.LoopOption(seam.Seams{NewNetwork: func() (seam.Network, error) {
		n, err := sock.New()
		return failingNetwork{n, fails}, err
	}}).(asyncio.LoopOption)
}

// TestCloseFails: of a task that waits for its clean-up nobody would hear that it may go
// on. So it is ended by force.
func TestCloseFails(t *testing.T) {
	needDescriptors(t)
	for _, lasts := range []bool{false, true} {
		t.Run(fmt.Sprint("for good: ", lasts), func(t *testing.T) {
			leavesNothing(t)
			var r reports
			fails := false
			loop := asyncio.NewEventLoop(r.handler(), withFailingPoll(func() bool {
				failed := fails
				fails = fails && lasts
				return failed
			}))
			ctx := loop.Context(context.Background())
			deferred := false
			stubborn := asyncio.Go(ctx, func(ctx context.Context) error {
				defer func() { deferred = true }()
				asyncio.Sleep(ctx, time.Hour)
				fails = true
				return asyncio.Sleep(asyncio.CleanupContext(ctx), time.Hour)
			}, asyncio.WithName("stubborn"))
			expectError(t, loop.RunUntilComplete(asyncio.Go(ctx, func(ctx context.Context) error {
				return asyncio.Sleep(ctx, time.Millisecond)
			})), nil)
			expectError(t, loop.Close(), errPoll)
			if !stubborn.Done() || !deferred {
				t.Errorf("%v, its deferred functions ran: %v", stubborn, deferred)
			}
			if len(r.list) != 1 || !strings.Contains(r.list[0].Source.String(), "stubborn") {
				t.Errorf("reports %v", r.list)
			}
			expectError(t, loop.Close(), nil)
		})
	}
}

// TestPollPanics: it is Run that panics, and says where it comes from, whoever was to have
// his turn. Neither a task nor a callback is blamed.
func TestPollPanics(t *testing.T) {
	needDescriptors(t)
	const turns = 100
	for name, main := range map[string]func(ctx context.Context, turn func()) error{
		"while a task hands over": func(ctx context.Context, turn func()) error {
			for { // until it is cancelled
				turn()
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
		},
		"while callbacks queue callbacks": func(ctx context.Context, turn func()) error {
			over := asyncio.NewFuture[int](ctx)
			var again func()
			again = func() {
				if turn(); !over.Done() {
					over.Loop().CallSoon(again)
				}
			}
			again()
			return over.Wait(ctx)
		},
		"while all wait": func(ctx context.Context, turn func()) error {
			for range turns {
				turn()
			}
			return asyncio.Sleep(ctx, time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			r, _ := pipe(t)
			n, panics, deferred := 0, false, false
			network := withFailingPoll(func() bool {
				if panics {
					panics = false
					panic(errPoll)
				}
				return false
			})
			handler := asyncio.WithExceptionHandler(func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) {
				t.Errorf("reported: %s: %v", ec.Message, ec.Err)
			})
			defer func() {
				p, _ := recover().(*asyncio.PanicError)
				if p == nil || p.Value != errPoll || !strings.HasPrefix(p.Error(), "panic in the poll of loop-") || !strings.Contains(p.Error(), "failingNetwork.Wait") {
					t.Errorf("Run has panicked with %v", p)
				}
				if n >= 2*turns {
					t.Error("the run has gone on")
				}
				if !deferred {
					t.Error("main was not ended")
				}
			}()
			err := asyncio.Run(context.Background(), func(ctx context.Context) error {
				defer func() { deferred = true }()
				loop := asyncio.CurrentTask(ctx).Loop()
				expectError(t, loop.AddReader(r, func() {}), nil) // there is something to poll
				asyncio.Go(ctx, func(ctx context.Context) error {
					for {
						if err := asyncio.Yield(ctx); err != nil {
							return err
						}
					}
				})
				return main(ctx, func() {
					switch n++; n {
					case turns:
						panics = true
					case 2 * turns:
						runtime.Goexit()
					}
				})
			}, network, handler)
			t.Errorf("Run has returned %v", err)
		})
	}
}

// TestPollFailsOnce: however busy the loop is, the error ends the run, which then can be
// taken up again.
func TestPollFailsOnce(t *testing.T) {
	needDescriptors(t)
	const turns = 100
	for name, spin := range map[string]func(ctx context.Context, turn func() bool) error{
		"while a task yields": func(ctx context.Context, turn func() bool) error {
			for turn() {
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
			return nil
		},
		"while callbacks queue callbacks": func(ctx context.Context, turn func() bool) error {
			over := asyncio.NewFuture[int](ctx)
			var again func()
			again = func() {
				if turn() {
					over.Loop().CallSoon(again)
				} else {
					over.SetResult(0)
				}
			}
			again()
			return over.Wait(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			fails := false
			loop := asyncio.NewEventLoop(withFailingPoll(func() bool {
				failed := fails
				fails = false
				return failed
			}))
			defer loop.Close()
			r, _ := pipe(t)
			expectError(t, loop.AddReader(r, func() {}), nil) // there is something to poll
			n := 0
			main := asyncio.Go(loop.Context(context.Background()), func(ctx context.Context) error {
				return spin(ctx, func() bool {
					n++
					fails = n == turns/2
					return n < turns
				})
			})
			expectError(t, loop.RunUntilComplete(main), errPoll)
			if n != turns/2 {
				t.Errorf("the run has ended after %d turns", n)
			}
			expectError(t, loop.RunUntilComplete(main), nil)
			if n != turns {
				t.Errorf("%d turns", n)
			}
		})
	}
}
