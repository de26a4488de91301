// Examples of the doors between a loop and other goroutines; docs/doors.md explains
// them.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/goasyncio/asyncio"
)

// Any number of goroutines put, and a task gets.
func ExampleInbox() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		prices := asyncio.NewInbox[int](ctx, 16)
		go func() {
			defer prices.Close()
			for price := range 3 {
				prices.Put(context.Background(), 100+price)
			}
		}()
		for price, err := range prices.Items(ctx) {
			if err != nil {
				return err
			}
			fmt.Println(price)
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// 100
	// 101
	// 102
	// <nil>
}

// A task uses the channels that other code has.
func ExampleReceive() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		ticks := time.After(time.Millisecond)
		_, ok, err := asyncio.Receive(ctx, ticks)
		fmt.Println(ok, err)
		return nil
	})
	// Output: true <nil>
}

func ExampleValues() {
	words := make(chan string)
	go func() {
		defer close(words)
		words <- "any"
		words <- "goroutine"
	}()
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		for word, err := range asyncio.Values(ctx, words) {
			if err != nil {
				return err
			}
			fmt.Println(word)
		}
		return nil
	})
	// Output:
	// any
	// goroutine
}

// A task hands work to a goroutine that serves a channel.
func ExampleSend() {
	jobs, done := make(chan int), make(chan int)
	go func() {
		sum := 0
		for job := range jobs {
			sum += job
		}
		done <- sum
	}()
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		defer close(jobs)
		for job := range 5 {
			if err := asyncio.Send(ctx, jobs, job); err != nil {
				return err
			}
		}
		return nil
	})
	fmt.Println(<-done)
	// Output: 10
}

// A callback of a foreign library completes a future.
func ExamplePromise() {
	fetch := func(answer func(string, error)) { // a library with goroutines of its own
		go answer("forty-two", nil)
	}
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		p := asyncio.NewPromise[string](ctx)
		fetch(func(text string, err error) {
			if err != nil {
				p.Reject(err)
				return
			}
			p.Resolve(text)
		})
		text, err := p.Future().Await(ctx)
		fmt.Println(text, err)
		return nil
	})
	// Output: forty-two <nil>
}

// A task of one loop awaits a coroutine of another loop.
func ExampleWrapFuture() {
	other := asyncio.NewEventLoop()
	ended := make(chan error)
	go func() {
		err := other.RunForever()
		ended <- errors.Join(err, other.Close())
	}()
	double := func(ctx context.Context) (int, error) { return 42, asyncio.Sleep(ctx, time.Millisecond) }
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		f := asyncio.RunCoroutineThreadsafe(ctx, other, double)
		v, err := asyncio.WrapFuture(ctx, f).Await(ctx)
		fmt.Println(v, err)
		return nil
	})
	other.CallSoonThreadsafe(other.Stop)
	fmt.Println(<-ended)
	// Output:
	// 42 <nil>
	// <nil>
}

// workers is an executor with a fixed number of goroutines.
type workers chan func()

func (w workers) Execute(fn func()) error {
	select {
	case w <- fn:
		return nil
	default:
		return errors.New("too much to do")
	}
}

func ExampleRunInExecutor() {
	w := make(workers, 100)
	defer close(w)
	for range 2 {
		go func() {
			for fn := range w {
				fn()
			}
		}()
	}
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		v, err := asyncio.RunInExecutor(ctx, w, func(context.Context) (int, error) { return 42, nil })
		fmt.Println(v, err)
		return nil
	})
	// Output: 42 <nil>
}

// The first Ctrl-C reloads, the second ends the program.
func ExampleNotifySignals() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		interrupts, err := asyncio.NotifySignals(ctx, os.Interrupt)
		if err != nil {
			return err
		}
		defer interrupts.Close()
		if _, err := interrupts.Next(ctx); err != nil {
			return err
		}
		fmt.Println("reloading")
		_, err = interrupts.Next(ctx)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
}
