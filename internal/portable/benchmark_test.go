// This file measures what waiting and moving bytes costs.

package portable_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// Nothing is ready: the pass of a busy loop, and of an idle one.
func BenchmarkWait(b *testing.B) {
	for _, d := range []time.Duration{0, time.Microsecond} {
		b.Run(fmt.Sprint(d), func(b *testing.B) {
			n := newNetwork(b)
			b.ReportAllocs()
			for b.Loop() {
				n.Wait(d)
			}
		})
	}
}

// Another goroutine wakes the one that waits.
func BenchmarkWake(b *testing.B) {
	n := newNetwork(b)
	ask := make(chan struct{})
	defer close(ask)
	go func() {
		for range ask {
			n.Wake()
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		ask <- struct{}{}
		for {
			if woken, _ := n.Wait(-1); woken {
				break
			}
		}
	}
}

// A byte to a peer that sends it back.
func BenchmarkPingPong(b *testing.B) {
	n := newNetwork(b)
	c, _, peer := connect(b, n)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for p := make([]byte, 1); ; {
			if _, err := peer.Read(p); err != nil {
				return
			}
			peer.Write(p)
		}
	}()
	p := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(p); err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := c.Read(p); err != seam.ErrWouldBlock {
				break
			}
			n.Wait(-1)
		}
	}
	c.Close()
	peer.Close()
	<-ended
}
