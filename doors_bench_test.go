// What the doors between a loop and other goroutines cost.

package asyncio_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/goasyncio/asyncio"
)

// besideLoop runs fn while another loop runs on a goroutine of its own.
func besideLoop(b *testing.B, fn func(other *asyncio.EventLoop)) {
	other := asyncio.NewEventLoop()
	ended := make(chan error)
	go func() {
		other.RunForever()
		ended <- other.Close()
	}()
	fn(other)
	other.CallSoonThreadsafe(other.Stop)
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

func BenchmarkToThread(b *testing.B) {
	measure(b, "Nothing", func(ctx context.Context) func() error {
		return func() error {
			_, err := asyncio.ToThread(ctx, seven)
			return err
		}
	})
	b.Run("Executor", func(b *testing.B) { // of one goroutine
		p := newPool(1)
		defer p.end()
		benchOnLoop(b, func(ctx context.Context) error {
			return rounds(b, func() error {
				_, err := asyncio.RunInExecutor(ctx, p, seven)
				return err
			})
		})
	})
}

func BenchmarkPromise(b *testing.B) {
	measure(b, "Resolve", func(ctx context.Context) func() error {
		return func() error {
			p := asyncio.NewPromise[int](ctx)
			go p.Resolve(1)
			return p.Future().Wait(ctx)
		}
	})
}

func BenchmarkRunCoroutineThreadsafe(b *testing.B) {
	b.Run("Wait", func(b *testing.B) { // of a goroutine
		besideLoop(b, func(other *asyncio.EventLoop) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := asyncio.RunCoroutineThreadsafe(background, other, seven).Wait(background); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("WrapFuture", func(b *testing.B) { // of a task of another loop: a round trip between two
		besideLoop(b, func(other *asyncio.EventLoop) {
			benchOnLoop(b, func(ctx context.Context) error {
				return rounds(b, func() error {
					return asyncio.WrapFuture(ctx, asyncio.RunCoroutineThreadsafe(ctx, other, seven)).Wait(ctx)
				})
			})
		})
	})
}

func BenchmarkInbox(b *testing.B) {
	measure(b, "There", func(ctx context.Context) func() error {
		in := asyncio.NewInbox[int](ctx, 0)
		return func() error {
			if err := in.PutNowait(1); err != nil {
				return err
			}
			_, err := in.Get(ctx)
			return err
		}
	})
	for _, putters := range []int{1, 4} {
		b.Run(fmt.Sprint("Putters", putters), func(b *testing.B) { // goroutines that put without end
			benchOnLoop(b, func(ctx context.Context) error {
				in := asyncio.NewInbox[int](ctx, 1024)
				ended := make(chan struct{})
				for range putters {
					go func() {
						for in.Put(background, 1) == nil {
						}
						ended <- struct{}{}
					}()
				}
				err := rounds(b, func() error {
					_, err := in.Get(ctx)
					return err
				})
				in.Close()
				for range putters {
					<-ended
				}
				return err
			})
		})
	}
	b.Run("Wakes", func(b *testing.B) { // each item is asked for, and waited for
		served(b, func(ctx context.Context, ask chan<- int) (func(int), func() error) {
			in := asyncio.NewInbox[int](ctx, 0)
			return func(v int) { in.PutNowait(v) }, func() error {
				ask <- 1
				_, err := in.Get(ctx)
				return err
			}
		})
	})
}

// served measures what prepare returns, while a goroutine passes on, by its put, what
// is asked for.
func served(b *testing.B, prepare func(ctx context.Context, ask chan<- int) (put func(int), round func() error)) {
	benchOnLoop(b, func(ctx context.Context) error {
		ask, ended := make(chan int, 1), newGate()
		put, round := prepare(ctx, ask)
		go func() {
			defer ended.open()
			for v := range ask {
				put(v)
			}
		}()
		err := rounds(b, round)
		close(ask)
		ended.pass()
		return err
	})
}

func BenchmarkReceive(b *testing.B) {
	receive := func(ctx context.Context, ch <-chan int) error {
		_, _, err := asyncio.Receive(ctx, ch)
		return err
	}
	measure(b, "There", func(ctx context.Context) func() error {
		ch := make(chan int, 1)
		return func() error {
			ch <- 1
			return receive(ctx, ch)
		}
	})
	b.Run("Wakes", func(b *testing.B) {
		served(b, func(ctx context.Context, ask chan<- int) (func(int), func() error) {
			ch := make(chan int)
			return func(v int) { ch <- v }, func() error {
				ask <- 1
				return receive(ctx, ch)
			}
		})
	})
	b.Run("ValuesWakes", func(b *testing.B) { // of one sequence
		benchOnLoop(b, func(ctx context.Context) error {
			ask, ch := make(chan int, 1), make(chan int)
			go func() {
				defer close(ch)
				for v := range ask {
					ch <- v
				}
			}()
			ask <- 1
			more := true
			for _, err := range asyncio.Values(ctx, ch) {
				if err != nil {
					return err
				}
				switch {
				case !more:
				case b.Loop():
					ask <- 1
				default:
					more = false
					close(ask)
				}
			}
			return nil
		})
	})
}

func BenchmarkSend(b *testing.B) {
	measure(b, "Room", func(ctx context.Context) func() error {
		ch := make(chan int, 1)
		return func() error {
			err := asyncio.Send(ctx, ch, 1)
			<-ch
			return err
		}
	})
	b.Run("Wakes", func(b *testing.B) {
		served(b, func(ctx context.Context, ask chan<- int) (func(int), func() error) {
			ch := make(chan int)
			return func(int) { <-ch }, func() error {
				ask <- 1
				return asyncio.Send(ctx, ch, 1)
			}
		})
	})
}
