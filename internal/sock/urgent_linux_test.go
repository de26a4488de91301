// This file tests that urgent data, before which a read stops, never leaves bytes
// behind that nobody is told of.

package sock_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/seam"
)

const urgentByte = '!'

// sendUrgent sends p, of which each urgentByte is urgent.
func sendUrgent(fd int, p []byte) error {
	for len(p) > 0 {
		n, flags := bytes.IndexByte(p, urgentByte), 0
		switch n {
		case 0:
			n, flags = 1, unix.MSG_OOB
		case -1:
			n = len(p)
		}
		if err := unix.Sendto(fd, p[:n], flags, nil); err != nil && err != unix.EAGAIN {
			return err
		} else if err == nil {
			p = p[n:]
		}
	}
	return nil
}

// TestUrgentData: whatever is sent before, between and behind urgent bytes arrives,
// although each round waits for all of it before anything else is sent. Where a peer is
// faster than the reader, an urgent byte before the last one arrives like others; so
// only the others are counted. Signals, which make reads stop at urgent data, rain all
// the while.
func TestUrgentData(t *testing.T) {
	for _, processors := range []int{1, 2} {
		t.Run(map[int]string{1: "one processor", 2: "two processors"}[processors], func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			n := newNetwork(t)
			c, rec, peer := dialed(t, n, place{network: "tcp", at: netip.MustParseAddrPort("127.0.0.1:0")})
			messages, sent := make(chan []byte), make(chan error)
			defer func() {
				close(messages)
				<-sent
			}()
			go func() {
				raw, _ := peer.(*net.TCPConn).SyscallConn()
				for p := range messages {
					var err error
					raw.Control(func(fd uintptr) { err = sendUrgent(int(fd), p) })
					sent <- err
				}
				close(sent)
			}()
			over, rained := make(chan bool), make(chan bool)
			defer func() {
				close(over)
				<-rained
			}()
			pid, thread := os.Getpid(), unix.Gettid()
			go func() {
				defer close(rained)
				for {
					select {
					case <-over:
						return
					default:
						unix.Tgkill(pid, thread, unix.SIGURG)
						runtime.Gosched()
					}
				}
			}()
			rounds := 6_000
			if testing.Short() {
				rounds = 2_000
			}
			buf := make([]byte, 4096)
			readable := true
			for range rounds {
				p := bytes.Repeat([]byte{'x'}, 1+rand.IntN(30))
				for range rand.IntN(4) {
					p[rand.IntN(len(p))] = urgentByte
				}
				want := bytes.Count(p, []byte{'x'})
				messages <- p
				until(t, n, func() bool {
					readable = rec.take()&seam.Readable != 0 || readable
					for readable {
						k, err := c.Read(buf)
						want -= bytes.Count(buf[:k], []byte{'x'})
						if err == seam.ErrWouldBlock {
							readable = false
						} else if err != nil {
							t.Fatal(err)
						}
					}
					return want == 0
				})
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
			}
			peer.Close()
			until(t, n, func() bool {
				_, err := c.Read(buf)
				return errors.Is(err, io.EOF)
			})
		})
	}
}

// TestShortRead: a short read of TCP tells that it has taken all, until something
// out of the ordinary was reported. On other connections it tells nothing.
func TestShortRead(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		n := newNetwork(t)
		c, rec, peer := dialed(t, n, p)
		var tells error
		if p.network == "tcp" {
			tells = seam.ErrWouldBlock
		}
		buf := make([]byte, 8)
		read := func(what string, length int, want error) {
			t.Helper()
			rec.take()
			if _, err := peer.Write([]byte(what)); err != nil {
				t.Fatal(err)
			}
			reported(t, n, rec, seam.Readable)
			if k, err := c.Read(buf[:length]); string(buf[:k]) != what[:k] || k == 0 || err != want {
				t.Errorf("read %q, %v; want %v", buf[:k], err, want)
			}
		}
		read("short", 8, tells)
		read("full", 4, nil)
		if p.network == "tcp" {
			raw, _ := peer.(*net.TCPConn).SyscallConn()
			raw.Control(func(fd uintptr) { sendUrgent(int(fd), []byte("!")) })
			rec.take()
			reported(t, n, rec, seam.Readable)
		}
		read("later", 8, nil)
	})
}
