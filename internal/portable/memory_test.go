// This file tests that memory is held only while it is needed.

package portable

import (
	"net"
	"testing"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

type deaf struct{}

func (deaf) Ready(seam.Readiness) {}

// TestIdleHoldsNoBuffer reads messages of all kinds of sizes. When all is read and
// nothing comes, the connection holds no buffer, also not for what may come.
func TestIdleHoldsNoBuffer(t *testing.T) {
	n, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ours, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	adopted, err := n.AdoptConn(ours, deaf{})
	if err != nil {
		t.Fatal(err)
	}
	defer adopted.Close()
	c := adopted.(*Conn)
	buf := make([]byte, 2*bufferSize)
	deadline := time.Now().Add(time.Minute)
	for _, size := range []int{1, probeSize - 1, probeSize, probeSize + 1, smallSize, probeSize + bufferSize, 2 * bufferSize} {
		if _, err := peer.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < size; {
			k, err := c.Read(buf)
			if err != nil && err != seam.ErrWouldBlock {
				t.Fatal(err)
			}
			got += k
			n.Wait(time.Millisecond)
		}
		for {
			c.mu.Lock()
			in, out := len(c.in.mem), len(c.out.mem)
			c.mu.Unlock()
			if in+out == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("after %d bytes, the buffers are of %d and %d bytes", size, in, out)
			}
			time.Sleep(time.Millisecond)
		}
	}
}
