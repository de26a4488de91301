// Random programs that read and write, on several connections at once: they run alike
// whether tasks that wait for the network hand over to each other or not.

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

// conversations runs a server and its clients on a simulated network. Whatever one of
// them does next depends on the seed alone. It returns what has happened.
func conversations(t *testing.T, seed uint64, each func(ctx context.Context), opts ...asyncio.RunOption) (trace []string) {
	n := asynciotest.NewNetwork(seed, asynciotest.WithLink(asynciotest.Link{Latency: asynciotest.Fixed(time.Millisecond)}))
	talk := func(ctx context.Context, who string, random *rand.Rand, r *asyncio.StreamReader, w *asyncio.StreamWriter) (err error) {
		note := func(what string, err error) {
			trace = append(trace, fmt.Sprint(n.Now(), " ", who, " ", what, " ", err))
			each(ctx)
		}
		defer func() { note("ends", err) }()
		for range random.IntN(20) {
			var err error
			what := ""
			switch random.IntN(8) {
			case 0:
				what, err = "yield", asyncio.Yield(ctx)
			case 1:
				what, err = "sleep", asyncio.Sleep(ctx, time.Duration(random.IntN(3))*time.Millisecond)
			case 2, 3:
				count := 1 + random.IntN(100)
				what = fmt.Sprint("write ", count)
				_, err = w.Write(make([]byte, count))
			case 4:
				what, err = "drain", w.Drain(ctx)
			case 5:
				d := time.Duration(random.IntN(4)) * time.Millisecond
				what, err = "time-out", asyncio.Timeout(ctx, d, func(ctx context.Context) error {
					_, err := r.ReadExactly(ctx, 50)
					return err
				})
			default:
				count, e := r.Read(ctx, make([]byte, 1+random.IntN(60)))
				what, err = fmt.Sprint("read ", count), e
			}
			note(what, err)
			if err != nil && !errors.Is(err, asyncio.ErrTimeout) {
				return nil
			}
			if random.IntN(20) == 0 {
				panic(who)
			}
		}
		return nil
	}
	source := func(i int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(i))) }
	quiet := asyncio.WithExceptionHandler(func(*asyncio.EventLoop, *asyncio.ErrorContext) {})
	n.Host("server").Go(func(ctx context.Context) error {
		served := 0
		server, err := asyncio.StartServer(ctx, "tcp", ":7", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			served++
			return talk(ctx, fmt.Sprint("server ", served), source(-served), r, w)
		}, nil)
		if err != nil {
			return err
		}
		return server.ServeForever(ctx)
	}, append(opts, quiet)...)
	err := n.Simulate(func(ctx context.Context) error {
		var clients []asyncio.AnyFuture
		for i := range 8 {
			clients = append(clients, asyncio.Go(ctx, func(ctx context.Context) error {
				r, w, err := asyncio.OpenConnection(ctx, "tcp", "server:7", nil)
				if err != nil {
					return err
				}
				defer w.Close()
				return talk(ctx, fmt.Sprint("client ", i), source(i), r, w)
			}))
		}
		_, pending, err := asyncio.Wait(ctx, clients, asyncio.WaitOptions{Timeout: time.Second})
		for _, c := range pending {
			c.Cancel(nil)
		}
		return err
	}, append(opts, quiet)...)
	return append(trace, fmt.Sprint(n.Now(), " ", n.Hash(), " ", n.Events(), " ", err))
}

// TestReadingBeginsNoPass has a task that waits for the network as the last one of a pass.
func TestReadingBeginsNoPass(t *testing.T) {
	leavesNothing(t)
	loop := asyncio.NewEventLoop(asyncio.WithDebug(false))
	defer loop.Close()
	ctx := loop.Context(context.Background())
	var client stream
	expectError(t, loop.RunUntilComplete(asyncio.Go(ctx, func(ctx context.Context) error {
		client, _, _ = streamPair(t, ctx, "tcp", "127.0.0.1:0") // which Close ends
		return nil
	})), nil)
	turns := 0
	asyncio.Go(ctx, func(ctx context.Context) error {
		for asyncio.Yield(ctx) == nil {
			turns++
		}
		return nil
	})
	asyncio.Go(ctx, func(ctx context.Context) error {
		asyncio.Yield(ctx)
		_, err := client.r.Read(ctx, make([]byte, 1))
		return err
	})
	for passes := range 5 {
		expectError(t, loop.RunOnce(0), nil)
		if turns != passes {
			t.Errorf("%d turns in %d passes", turns, passes)
		}
	}
}

func TestWaysToSwitchBetweenConnections(t *testing.T) {
	for seed := range uint64(scaled(100)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			leavesNothing(t)
			want := conversations(t, seed, func(context.Context) {}, asyncio.WithDebug(false))
			for name, got := range map[string][]string{
				"in debug mode": conversations(t, seed, func(context.Context) {}, asyncio.WithDebug(true)),
				"looking at every stack": conversations(t, seed, func(ctx context.Context) {
					for _, task := range asyncio.AllTasks(ctx) {
						task.Stack(0)
					}
				}, asyncio.WithDebug(false)),
				"switching debug mode": conversations(t, seed, func(ctx context.Context) {
					loop := asyncio.RunningLoop(ctx)
					loop.SetDebug(!loop.Debug())
				}),
			} {
				if !slices.Equal(got, want) {
					t.Errorf("%s it differs:\n%q\nwant\n%q", name, got, want)
				}
			}
		})
	}
}
