// Benchmarks of everything that a task does often.

package coro_test

import (
	"iter"
	"runtime"
	"testing"

	"github.com/goasyncio/asyncio/internal/coro"
)

// bench runs f without and with a thread lock.
func bench(b *testing.B, f func(b *testing.B)) {
	b.Run("unlocked", func(b *testing.B) {
		b.ReportAllocs()
		f(b)
	})
	b.Run("locked", func(b *testing.B) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		b.ReportAllocs()
		f(b)
	})
}

// BenchmarkPull measures the same as BenchmarkSwitch does, with nothing around it.
func BenchmarkPull(b *testing.B) {
	bench(b, func(b *testing.B) {
		next, stop := iter.Pull(func(yield func(struct{}) bool) {
			for yield(struct{}{}) {
			}
		})
		defer stop()
		for b.Loop() {
			next()
		}
	})
}

// BenchmarkPullCreate measures the same as BenchmarkCreate does, with nothing around it.
func BenchmarkPullCreate(b *testing.B) {
	bench(b, func(b *testing.B) {
		for b.Loop() {
			next, _ := iter.Pull(func(func(struct{}) bool) {})
			next()
		}
	})
}

// BenchmarkSwitch measures a Resume and a Suspend.
func BenchmarkSwitch(b *testing.B) {
	bench(b, func(b *testing.B) {
		var p coro.Pool
		defer p.Close()
		end := false
		c := get(&p, func(c *stack) {
			for !end {
				c.Suspend()
			}
		})
		for b.Loop() {
			c.Resume()
		}
		end = true
		c.Resume()
		c.put()
	})
}

// BenchmarkHandOver measures a switch from one coroutine to another one, and back: as many
// switches as in BenchmarkSwitch, for two turns instead of one.
func BenchmarkHandOver(b *testing.B) {
	bench(b, func(b *testing.B) {
		var p coro.Pool
		defer p.Close()
		end := false
		var one, other *stack
		pass := func(to **stack) func(*stack) {
			return func(*stack) {
				for !end {
					p.HandOver((*to).Coroutine)
				}
			}
		}
		other = get(&p, pass(&one))
		one = get(&p, func(c *stack) {
			for b.Loop() {
				p.HandOver(other.Coroutine)
			}
			end = true
		})
		for _, c := range []*stack{one, other} {
			c.Resume()
			c.put()
		}
	})
}

// BenchmarkReuse measures a body that ends at once, in a coroutine of the pool.
func BenchmarkReuse(b *testing.B) { benchmarkBody(b, 1) }

// BenchmarkCreate measures the same in a new coroutine each time.
func BenchmarkCreate(b *testing.B) { benchmarkBody(b, -1) }

func benchmarkBody(b *testing.B, max int) {
	bench(b, func(b *testing.B) {
		p := coro.Pool{Max: max}
		defer p.Close()
		e := new(empty)
		for b.Loop() {
			c := p.Get(e)
			p.Resume(c)
			p.Put(c)
		}
	})
}

func BenchmarkCurrent(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		coro.Current()
	}
}

// BenchmarkChannel measures what a switch would cost with channels.
func BenchmarkChannel(b *testing.B) {
	in, out := make(chan struct{}), make(chan struct{})
	go func() {
		for range in {
			out <- struct{}{}
		}
		close(out)
	}()
	b.ReportAllocs()
	for b.Loop() {
		in <- struct{}{}
		<-out
	}
	close(in)
	<-out
}
