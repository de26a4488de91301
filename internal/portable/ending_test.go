// This file tests what goes on behind the loop's back: goroutines, and bytes that
// are sent after Close.

package portable_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/goasyncio/asyncio/internal/portable"
	"github.com/goasyncio/asyncio/internal/seam"
)

type recorder struct{ got seam.Readiness }

func (r *recorder) Ready(what seam.Readiness) { r.got |= what }

func newNetwork(t testing.TB) *portable.Network {
	t.Helper()
	n, err := portable.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// until waits in n until done says so.
func until(t testing.TB, n *portable.Network, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("nothing happened for too long")
		}
		if _, err := n.Wait(time.Second); err != nil {
			t.Fatal(err)
		}
	}
}

// goroutines waits until n goroutines of the package are left.
func goroutines(t *testing.T, n int) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		all := stacks[:runtime.Stack(stacks, true)]
		got := bytes.Count(all, []byte("created by github.com/goasyncio/asyncio/internal/portable."))
		if got == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, want %d\n%s", got, n, all)
		}
	}
}

// connect returns a connection of n and its other end.
func connect(t testing.TB, n *portable.Network) (seam.Conn, *recorder, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	rec := new(recorder)
	c, err := n.Dial("tcp", seam.Addr{AddrPort: l.Addr().(*net.TCPAddr).AddrPort()}, seam.Addr{}, rec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	until(t, n, func() bool { return c.Connected() == nil })
	return c, rec, peer.(*net.TCPConn)
}

// fill writes until there is no room, and the goroutine that sends waits for some.
func fill(t *testing.T, c seam.Conn) []byte {
	t.Helper()
	var sent []byte
	chunk := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	for stuck := 0; stuck < 20; {
		n, err := c.Write(chunk)
		sent = append(sent, chunk[:n]...)
		switch {
		case err == seam.ErrWouldBlock && senderWaits(): // really?
			stuck++
			time.Sleep(time.Millisecond)
		case err == nil || err == seam.ErrWouldBlock:
			stuck = 0
			runtime.Gosched()
		default:
			t.Fatal(err)
		}
	}
	return sent
}

// senderWaits says whether a goroutine that sends is blocked, rather than on its way.
func senderWaits() bool {
	stacks := make([]byte, 1<<20)
	for stack := range bytes.SplitSeq(stacks[:runtime.Stack(stacks, true)], []byte("\n\n")) {
		head, _, _ := bytes.Cut(stack, []byte("\n"))
		waits := bytes.Contains(head, []byte("[IO wait")) || bytes.Contains(head, []byte("[select")) // a socket; a net.Pipe
		if waits && bytes.Contains(stack, []byte("portable.(*Conn).send(")) {
			return true
		}
	}
	return false
}

func TestGoroutinesOfConn(t *testing.T) {
	n := newNetwork(t)
	c, _, peer := connect(t, n)
	goroutines(t, 1)
	if _, err := c.Write([]byte("data")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(peer, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	goroutines(t, 1) // the one that wrote has ended
	fill(t, c)
	goroutines(t, 2)
	if err := c.Reset(); err != nil {
		t.Fatal(err)
	}
	goroutines(t, 0)
}

// TestCloseIsBounded closes a network while a peer does not read what a closed
// connection still sends: the rest is cut off, and the peer sees that.
func TestCloseIsBounded(t *testing.T) {
	n := newNetwork(t)
	c, _, peer := connect(t, n)
	sent := fill(t, c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < time.Second/2 || took > 20*time.Second { // less than a connection may linger
		t.Errorf("Close took %v", took)
	}
	goroutines(t, 0)
	if got, err := io.ReadAll(peer); err == nil {
		t.Errorf("the peer read %d bytes of %d to the end", len(got), len(sent))
	}
	if err := n.Close(); err != net.ErrClosed {
		t.Errorf("a second Close = %v", err)
	}
	if _, err := n.Wait(0); err != net.ErrClosed {
		t.Errorf("Wait after Close = %v", err)
	}
	n.Wake() // does nothing
}

// TestCloseFlushes closes a network while a closed connection still sends to a
// peer that reads.
func TestCloseFlushes(t *testing.T) {
	n := newNetwork(t)
	c, _, peer := connect(t, n)
	sent := fill(t, c)
	c.Close()
	got := make(chan []byte)
	go func() {
		all, err := io.ReadAll(peer)
		if err != nil {
			t.Error(err)
		}
		got <- all
	}()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if all := <-got; !bytes.Equal(all, sent) {
		t.Errorf("%d bytes of %d have arrived", len(all), len(sent))
	}
}

// TestDialCancelled closes connections whose attempts are under way.
func TestDialCancelled(t *testing.T) {
	n := newNetwork(t)
	for _, end := range []func(seam.Conn) error{seam.Conn.Close, seam.Conn.Reset} {
		rec := new(recorder)
		c, err := n.Dial("tcp", seam.Addr{AddrPort: netip.MustParseAddrPort("192.0.2.1:9")}, seam.Addr{}, rec) // nobody has it
		if err != nil {
			t.Fatal(err)
		}
		if err := end(c); err != nil {
			t.Error(err)
		}
		goroutines(t, 0)
		n.Wait(0)
		if rec.got != 0 {
			t.Errorf("reports %b after Close", rec.got)
		}
		if err := c.Connected(); err != net.ErrClosed {
			t.Errorf("Connected = %v", err)
		}
	}
}

// TestListenerKeepsOneAhead: who accepts none has accepted one at most.
func TestListenerKeepsOneAhead(t *testing.T) {
	n := newNetwork(t)
	l, err := n.Listen("tcp", seam.Addr{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}, seam.ListenOptions{}, new(recorder))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	goroutines(t, 1)
	for range 5 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	goroutines(t, 1)
	var accepted []seam.AcceptedConn
	until(t, n, func() bool {
		c, err := l.Accept()
		if err == nil {
			accepted = append(accepted, c)
		}
		return len(accepted) == 3
	})
	for _, c := range accepted {
		if err := c.Close(); err != nil { // without Attach
			t.Error(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	goroutines(t, 0)
}

// TestAdoptPipe takes over a connection that is no socket and has no halves.
func TestAdoptPipe(t *testing.T) {
	n := newNetwork(t)
	ours, peer := net.Pipe()
	c, err := n.AdoptConn(ours, new(recorder))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("CloseWrite = %v", err)
	}
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4)
	if _, err := io.ReadFull(peer, buf); err != nil || string(buf) != "ping" {
		t.Errorf("the peer read %q, %v", buf, err)
	}
	go peer.Write([]byte("pong"))
	read := 0
	until(t, n, func() bool {
		k, err := c.Read(buf)
		if err != nil && err != seam.ErrWouldBlock {
			t.Fatal(err)
		}
		read += k
		return read == 4
	})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Read(buf); err != io.EOF {
		t.Errorf("the peer read %v at the end", err)
	}
	goroutines(t, 0)
	// One that is reset while its peer does not read.
	ours, peer = net.Pipe()
	defer peer.Close()
	if c, err = n.AdoptConn(ours, new(recorder)); err != nil {
		t.Fatal(err)
	}
	fill(t, c)
	c.Reset()
	goroutines(t, 0)
}

// TestAdoptTLS takes over a connection that says good-bye: the end of the sending
// half, and what was written before it, arrive in order.
func TestAdoptTLS(t *testing.T) {
	n := newNetwork(t)
	plain, peer := net.Pipe()
	config := tlsConfig(t)
	server := tls.Server(peer, config)
	c, err := n.AdoptConn(tls.Client(plain, &tls.Config{InsecureSkipVerify: true}), new(recorder))
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("data"), 10_000)
	if k, err := c.Write(sent); k != len(sent) || err != nil {
		t.Fatalf("Write = %d, %v", k, err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(server); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d have arrived, %v", len(got), len(sent), err)
	}
	go server.Close()
	var end error
	until(t, n, func() bool {
		_, end = c.Read(make([]byte, 1))
		return end != seam.ErrWouldBlock
	})
	if end != io.EOF {
		t.Errorf("Read = %v", end)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	goroutines(t, 0)
}
