// This file measures what a Wait costs.

package poll_test

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/seam"
)

// Nothing is ready: the pass of a busy loop.
func BenchmarkWaitZero(b *testing.B) {
	p := newPoller(b)
	runtime.LockOSThread() // as an event loop does
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	for b.Loop() {
		p.Wait(0)
	}
}

// One descriptor is ready.
func BenchmarkWaitReady(b *testing.B) {
	p := newPoller(b)
	runtime.LockOSThread() // as an event loop does
	defer runtime.UnlockOSThread()
	x, y := pair(b)
	var rec counter
	register(b, p, x, &rec)
	p.Wait(-1)
	byte := []byte{1}
	b.ReportAllocs()
	for b.Loop() {
		unix.Write(y, byte)
		p.Wait(-1)
		unix.Read(x, byte)
	}
}

// Another goroutine wakes the one that waits, which answers.
func BenchmarkWakeRoundTrip(b *testing.B) {
	p := newPoller(b)
	runtime.LockOSThread() // as an event loop does
	defer runtime.UnlockOSThread()
	ask := make(chan struct{})
	defer close(ask)
	go func() {
		for range ask {
			p.Wake()
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		ask <- struct{}{}
		for {
			if woken, _ := p.Wait(-1); woken {
				break
			}
		}
	}
}

// Two Pollers wake each other.
func BenchmarkWakePingPong(b *testing.B) {
	p, q := newPoller(b), newPoller(b)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	stop := false
	go func() {
		defer close(done)
		runtime.LockOSThread()
		for !stop {
			if woken, _ := q.Wait(-1); woken {
				p.Wake()
			}
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		q.Wake()
		for {
			if woken, _ := p.Wait(-1); woken {
				break
			}
		}
	}
	stop = true
	q.Wake()
	<-done
}

// Wake while the loop is busy.
func BenchmarkWakeBusy(b *testing.B) {
	p := newPoller(b)
	runtime.LockOSThread() // as an event loop does
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	for b.Loop() {
		p.Wake()
		p.Wait(0)
	}
}

type counter int

func (c *counter) Ready(r seam.Readiness) { *c++ }
