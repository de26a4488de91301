// The workloads of tasks, timers and callbacks.

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"runtime"
	"slices"
	"time"

	"github.com/goasyncio/asyncio"
)

var errWrong = errors.New("the workload computed something else than it should")

// spawn creates a task and awaits it, one after another.
func spawn(ctx context.Context, a args) error {
	n := a.number(0)
	start := time.Now()
	if err := spawnAndAwait(ctx, n); err != nil {
		return err
	}
	per(start, n)
	return nil
}

// spawnBusy is spawn while another task is always ready.
func spawnBusy(ctx context.Context, a args) error {
	n := a.number(0)
	over := false
	busy := asyncio.Go(ctx, func(ctx context.Context) error {
		for !over {
			if err := asyncio.Yield(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	start := time.Now()
	if err := spawnAndAwait(ctx, n); err != nil {
		return err
	}
	per(start, n)
	over = true
	return busy.Wait(ctx)
}

func spawnAndAwait(ctx context.Context, n int) error {
	sum := 0
	for i := range n {
		v, err := asyncio.CreateTask(ctx, func(context.Context) (int, error) { return i, nil }).Await(ctx)
		if err != nil {
			return err
		}
		sum += v
	}
	if sum != n*(n-1)/2 {
		return errWrong
	}
	return nil
}

// gather creates all tasks, and then awaits them all.
func gather(ctx context.Context, a args) error {
	n := a.number(0)
	start := time.Now()
	tasks := make([]asyncio.Awaitable[int], n)
	for i := range n {
		tasks[i] = asyncio.CreateTask(ctx, func(context.Context) (int, error) { return i, nil })
	}
	values, err := asyncio.Gather(ctx, tasks...)
	if err != nil {
		return err
	}
	sum := 0
	for _, v := range values {
		sum += v
	}
	if sum != n*(n-1)/2 {
		return errWrong
	}
	per(start, n)
	return nil
}

// each runs f as several tasks at once.
func each(ctx context.Context, tasks int, f func(ctx context.Context) error) error {
	return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
		for range tasks {
			g.Go(f)
		}
		return nil
	})
}

func yield(ctx context.Context, a args) error {
	tasks, times := a.number(0), a.number(1)
	start := time.Now()
	err := each(ctx, tasks, func(ctx context.Context) error {
		for range times {
			if err := asyncio.Yield(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	per(start, tasks*times)
	return err
}

// pingPong passes messages between two tasks over queues of capacity 1.
func pingPong(ctx context.Context, a args) error {
	n := a.number(0)
	there, back := asyncio.NewQueue[int](1), asyncio.NewQueue[int](1)
	start := time.Now()
	other := asyncio.Go(ctx, func(ctx context.Context) error {
		for range n / 2 {
			v, err := there.Get(ctx)
			if err == nil {
				err = back.Put(ctx, v)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	for i := range n / 2 {
		if err := there.Put(ctx, i); err != nil {
			return err
		}
		if v, err := back.Get(ctx); err != nil || v != i {
			return errors.Join(err, errWrong)
		}
	}
	if err := other.Wait(ctx); err != nil {
		return err
	}
	per(start, n)
	return nil
}

// prodCons passes messages over a queue of capacity 100.
func prodCons(ctx context.Context, a args) error {
	n := a.number(0)
	q := asyncio.NewQueue[int](100)
	start := time.Now()
	producer := asyncio.Go(ctx, func(ctx context.Context) error {
		for i := range n {
			if err := q.Put(ctx, i); err != nil {
				return err
			}
		}
		return nil
	})
	sum := 0
	for range n {
		v, err := q.Get(ctx)
		if err != nil {
			return err
		}
		sum += v
	}
	if sum != n*(n-1)/2 {
		return errWrong
	}
	if err := producer.Wait(ctx); err != nil {
		return err
	}
	per(start, n)
	return nil
}

func lock(ctx context.Context, a args) error {
	tasks, times := a.number(0), a.number(1)
	l := new(asyncio.Lock)
	start := time.Now()
	err := each(ctx, tasks, func(ctx context.Context) error {
		for range times {
			if err := l.Acquire(ctx); err != nil {
				return err
			}
			if err := asyncio.Yield(ctx); err != nil {
				return err
			}
			l.Release()
		}
		return nil
	})
	per(start, tasks*times)
	return err
}

// timers lets many tasks sleep for a random time at once, and reports the CPU time
// of each and how late they woke up.
func timers(ctx context.Context, a args) error {
	n := a.number(0)
	late := make([]time.Duration, 0, n)
	r := rand.New(rand.NewSource(1))
	used, start := cpuTime(), time.Now()
	err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
		for range n {
			d := time.Duration(r.Float64() * float64(time.Second))
			g.Go(func(ctx context.Context) error {
				t := time.Now()
				err := asyncio.Sleep(ctx, d)
				late = append(late, time.Since(t)-d)
				return err
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	used = cpuTime() - used
	slices.Sort(late)
	micros := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	fmt.Printf("RESULT ns=%.1f late50=%.1f late99=%.1f wall=%.4f\n", float64(used)/float64(n), micros(late[n/2]), micros(late[n*99/100]), time.Since(start).Seconds())
	return nil
}

// timeout puts a timeout around a call that completes at once.
func timeout(ctx context.Context, a args) error {
	return timeouts(ctx, a.number(0), func(context.Context) error { return nil })
}

// timeoutYield puts a timeout around a call that yields once.
func timeoutYield(ctx context.Context, a args) error {
	return timeouts(ctx, a.number(0), asyncio.Yield)
}

func timeouts(ctx context.Context, n int, f func(ctx context.Context) error) error {
	start := time.Now()
	for range n {
		if err := asyncio.Timeout(ctx, 10*time.Second, f); err != nil {
			return err
		}
	}
	per(start, n)
	return nil
}

func loopOf(ctx context.Context) *asyncio.EventLoop { return asyncio.CurrentTask(ctx).Loop() }

// callSoon lets a callback schedule the next.
func callSoon(ctx context.Context, a args) error {
	n := a.number(0)
	l, over := loopOf(ctx), new(asyncio.Event)
	left := n
	var callback func()
	callback = func() {
		if left--; left > 0 {
			l.CallSoon(callback)
		} else {
			over.Set()
		}
	}
	start := time.Now()
	l.CallSoon(callback)
	if err := over.Wait(ctx); err != nil {
		return err
	}
	per(start, n)
	return nil
}

// crossPost posts callbacks from another thread.
func crossPost(ctx context.Context, a args) error {
	n := a.number(0)
	l, over := loopOf(ctx), new(asyncio.Event)
	left := n
	callback := func() {
		if left--; left == 0 {
			over.Set()
		}
	}
	start := time.Now()
	go func() {
		runtime.LockOSThread()
		for range n {
			if _, err := l.CallSoonThreadsafe(callback); err != nil {
				fail(err.Error())
			}
		}
	}()
	if err := over.Wait(ctx); err != nil {
		return err
	}
	per(start, n)
	return nil
}

// crossRoundTrip goes from another thread to the loop and back.
func crossRoundTrip(ctx context.Context, a args) error {
	n := a.number(0)
	l, over := loopOf(ctx), new(asyncio.Event)
	answers := make(chan int)
	start := time.Now()
	go func() {
		runtime.LockOSThread()
		for i := range n {
			l.CallSoonThreadsafe(func() { answers <- i })
			<-answers
		}
		l.CallSoonThreadsafe(func() { over.Set() })
	}()
	if err := over.Wait(ctx); err != nil {
		return err
	}
	per(start, n)
	return nil
}

// sleep lets many tasks sleep at once, and reports how much longer that took.
func sleep(ctx context.Context, a args) error {
	d := time.Duration(a.number(1)) * time.Second
	start := time.Now()
	err := each(ctx, a.number(0), func(ctx context.Context) error { return asyncio.Sleep(ctx, d) })
	fmt.Printf("RESULT over=%.3f\n", (time.Since(start) - d).Seconds())
	return err
}

// sleepCallback is sleep with timers instead of tasks.
func sleepCallback(ctx context.Context, a args) error {
	n, d := a.number(0), time.Duration(a.number(1))*time.Second
	l, over := loopOf(ctx), new(asyncio.Event)
	left := n
	start := time.Now()
	for range n {
		l.CallLater(d, func() {
			if left--; left == 0 {
				over.Set()
			}
		})
	}
	if err := over.Wait(ctx); err != nil {
		return err
	}
	fmt.Printf("RESULT over=%.3f\n", (time.Since(start) - d).Seconds())
	return nil
}
