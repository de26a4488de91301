// The workloads of goroutines, timers and threads.

package main

import (
	"context"
	"fmt"
	"math/rand"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// spawn starts a goroutine and receives its result, one after another.
func spawn(a args) {
	n := a.number(0)
	start := time.Now()
	spawnAndReceive(n)
	per(start, n)
}

// spawnBusy is spawn while another goroutine is always ready.
func spawnBusy(a args) {
	n := a.number(0)
	var over atomic.Bool
	var busy sync.WaitGroup
	busy.Go(func() {
		for !over.Load() {
			runtime.Gosched()
		}
	})
	start := time.Now()
	spawnAndReceive(n)
	per(start, n)
	over.Store(true)
	busy.Wait()
}

func spawnAndReceive(n int) {
	sum := 0
	for i := range n {
		c := make(chan int, 1)
		go func() { c <- i }()
		sum += <-c
	}
	expect(sum == n*(n-1)/2)
}

// gather starts all goroutines, and then waits for them all.
func gather(a args) {
	n := a.number(0)
	start := time.Now()
	values := make([]int, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { values[i] = i })
	}
	wg.Wait()
	sum := 0
	for _, v := range values {
		sum += v
	}
	expect(sum == n*(n-1)/2)
	per(start, n)
}

// each runs f on several goroutines at once.
func each(goroutines int, f func()) {
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(f)
	}
	wg.Wait()
}

func yield(a args) {
	goroutines, times := a.number(0), a.number(1)
	start := time.Now()
	each(goroutines, func() {
		for range times {
			runtime.Gosched()
		}
	})
	per(start, goroutines*times)
}

// pingPong passes messages between two goroutines over channels of capacity 1.
func pingPong(a args) {
	n := a.number(0)
	there, back := make(chan int, 1), make(chan int, 1)
	start := time.Now()
	var other sync.WaitGroup
	other.Go(func() {
		for range n / 2 {
			back <- <-there
		}
	})
	for i := range n / 2 {
		there <- i
		expect(<-back == i)
	}
	other.Wait()
	per(start, n)
}

// prodCons passes messages over a channel of capacity 100.
func prodCons(a args) {
	n := a.number(0)
	c := make(chan int, 100)
	start := time.Now()
	var producer sync.WaitGroup
	producer.Go(func() {
		for i := range n {
			c <- i
		}
	})
	sum := 0
	for range n {
		sum += <-c
	}
	expect(sum == n*(n-1)/2)
	producer.Wait()
	per(start, n)
}

func lock(a args) {
	goroutines, times := a.number(0), a.number(1)
	var mu sync.Mutex
	start := time.Now()
	each(goroutines, func() {
		for range times {
			mu.Lock()
			runtime.Gosched()
			mu.Unlock()
		}
	})
	per(start, goroutines*times)
}

// timers lets many goroutines sleep for a random time at once, and reports the CPU
// time of each and how late they woke up.
func timers(a args) {
	n := a.number(0)
	late := make([]time.Duration, n)
	r := rand.New(rand.NewSource(1))
	used := cpuTime()
	var wg sync.WaitGroup
	for i := range n {
		d := time.Duration(r.Float64() * float64(time.Second))
		wg.Go(func() {
			t := time.Now()
			time.Sleep(d)
			late[i] = time.Since(t) - d
		})
	}
	wg.Wait()
	used = cpuTime() - used
	slices.Sort(late)
	micros := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	fmt.Printf("RESULT ns=%.1f late50=%.1f late99=%.1f\n", float64(used)/float64(n), micros(late[n/2]), micros(late[n*99/100]))
}

// timeout puts a timeout around a call that returns at once.
func timeout(a args) {
	timeouts(a.number(0), func(context.Context) error { return nil })
}

// timeoutYield puts a timeout around a call that yields once.
func timeoutYield(a args) {
	timeouts(a.number(0), func(context.Context) error {
		runtime.Gosched()
		return nil
	})
}

func timeouts(n int, f func(ctx context.Context) error) {
	start := time.Now()
	for range n {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		must(f(ctx))
		cancel()
	}
	per(start, n)
}

// crossPost sends functions from one thread to another over a buffered channel.
func crossPost(a args) {
	n := a.number(0)
	runtime.LockOSThread()
	c := make(chan func(), 1024)
	left := n
	callback := func() { left-- }
	start := time.Now()
	go func() {
		runtime.LockOSThread()
		for range n {
			c <- callback
		}
	}()
	for left > 0 {
		(<-c)()
	}
	per(start, n)
}

// crossRoundTrip goes from one thread to another and back.
func crossRoundTrip(a args) {
	n := a.number(0)
	runtime.LockOSThread()
	there, back := make(chan int), make(chan int)
	start := time.Now()
	go func() {
		runtime.LockOSThread()
		for i := range n {
			there <- i
			<-back
		}
		close(there)
	}()
	for i := range there {
		back <- i
	}
	per(start, n)
}

// sleep lets many goroutines sleep at once, and reports how much longer that took.
func sleep(a args) {
	d := time.Duration(a.number(1)) * time.Second
	start := time.Now()
	each(a.number(0), func() { time.Sleep(d) })
	fmt.Printf("RESULT over=%.3f\n", (time.Since(start) - d).Seconds())
}

// sleepCallback is sleep with timers instead of goroutines.
func sleepCallback(a args) {
	n, d := a.number(0), time.Duration(a.number(1))*time.Second
	over := make(chan struct{})
	var left atomic.Int64
	left.Store(int64(n))
	start := time.Now()
	for range n {
		time.AfterFunc(d, func() {
			if left.Add(-1) == 0 {
				close(over)
			}
		})
	}
	<-over
	fmt.Printf("RESULT over=%.3f\n", (time.Since(start) - d).Seconds())
}
