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
)

// BenchmarkPullAsleep creates as many coroutines as there are operations, with nothing
// around package iter, has all of them suspended at the same time with a place in a slice
// of deadlines each, and resumes them to their ends in the order of those. The memory of
// a million and the CPU time of 100,000 are given by
//
//	go test ./internal/coro -run '^$' -bench PullAsleep -cpu 1 -benchtime 1000000x
//	go test ./internal/coro -run '^$' -bench PullAsleep -cpu 1 -benchtime 100000x
func BenchmarkPullAsleep(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	type sleeper struct {
		when uint64
		next func() (struct{}, bool)
	}
	all := make([]sleeper, 0, b.N)
	memory, used := resident(b), -cpuTime(b)
	b.ResetTimer()
	for range b.N {
		next, _ := iter.Pull(func(yield func(struct{}) bool) { yield(struct{}{}) })
		next()
		all = append(all, sleeper{rand.Uint64(), next})
	}
	b.StopTimer()
	used += cpuTime(b)
	memory = resident(b) - memory
	slices.SortFunc(all, func(x, y sleeper) int { return cmp.Compare(x.when, y.when) })
	used -= cpuTime(b)
	b.StartTimer()
	for _, s := range all {
		s.next()
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
