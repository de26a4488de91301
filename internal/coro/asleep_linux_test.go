// What a million coroutines cost that sleep at the same time: the floor under tasks.

package coro_test

import (
	"cmp"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/goasyncio/asyncio/internal/coro"
)

// BenchmarkAsleep creates as many coroutines as there are operations, has all of them
// suspended at the same time, with a place in a slice of deadlines each, and resumes them
// to their ends in the order of those. Pull has nothing around package iter. The memory of
// a million and the CPU time of 100,000 are given by these, each in a process of its own:
//
//	go test ./internal/coro -run '^$' -bench Asleep/Pull -cpu 1 -benchtime 1000000x
//	go test ./internal/coro -run '^$' -bench Asleep/Pull -cpu 1 -benchtime 100000x
func BenchmarkAsleep(b *testing.B) {
	b.Run("Pull", func(b *testing.B) {
		type next func() (struct{}, bool)
		asleep(b, func() next {
			next, _ := iter.Pull(func(yield func(struct{}) bool) { yield(struct{}{}) })
			next()
			return next
		}, func(n next) { n() })
	})
	b.Run("Pool", func(b *testing.B) {
		p := coro.Pool{Max: -1}
		s := new(sleeper)
		asleep(b, func() *coro.Coroutine {
			p.Start(s)
			return s.last
		}, func(c *coro.Coroutine) {
			c.Resume()
			p.Put(c)
		})
	})
}

// sleeper is a body that suspends once.
type sleeper struct{ last *coro.Coroutine }

func (s *sleeper) RunCoroutine(c *coro.Coroutine) {
	s.last = c
	c.Suspend()
}

// sleeping is a coroutine that is suspended.
type sleeping[C any] struct {
	when uint64
	coro C
}

func asleep[C any](b *testing.B, start func() C, end func(C)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	all := make([]sleeping[C], 0, b.N)
	memory, used := resident(b), -cpuTime(b)
	b.ResetTimer()
	for range b.N {
		all = append(all, sleeping[C]{rand.Uint64(), start()})
	}
	b.StopTimer()
	used += cpuTime(b)
	memory = resident(b) - memory
	slices.SortFunc(all, func(x, y sleeping[C]) int { return cmp.Compare(x.when, y.when) })
	used -= cpuTime(b)
	b.StartTimer()
	for _, s := range all {
		end(s.coro)
	}
	used += cpuTime(b)
	b.ReportMetric(float64(memory)/float64(b.N), "resident-B/op")
	b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/op")
}

// resident returns the resident memory of the process.
func resident(b *testing.B) int {
	var size, pages int
	text, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(text), &size, &pages)
	}
	if err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// cpuTime returns what the process has used so far, in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
