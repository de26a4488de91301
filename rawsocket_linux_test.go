// Sockets by hand: each call, what it does when it has to wait, is cancelled, or
// fails; on sockets made with system calls.

package asyncio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// newSocket makes a socket, which the end of the test closes. It is not in blocking
// mode unless kind says so.
func newSocket(t *testing.T, family, kind int) *os.File {
	t.Helper()
	fd, err := syscall.Socket(family, kind^syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "test socket")
	t.Cleanup(func() { f.Close() })
	return f
}

// blocking makes newSocket leave a socket in blocking mode.
const blocking = syscall.SOCK_NONBLOCK

// tcpSocket is a new socket for TCP.
func tcpSocket(t *testing.T) *os.File { return newSocket(t, syscall.AF_INET, syscall.SOCK_STREAM) }

// socketPair returns two sockets that are connected with each other.
func socketPair(t *testing.T, kind int) (a, b *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, kind^syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b = os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// hear listens with package net, and returns the address as the loop has it.
func hear(t *testing.T, network string) (net.Listener, asyncio.SockAddr) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	if network == "unix" {
		return ln, asyncio.SockAddr{Path: address}
	}
	return ln, asyncio.SockAddr{AddrPort: addrPort(t, ln.Addr().String())}
}

// bySock runs a subtest as a coroutine, where descriptors can be watched.
func bySock(t *testing.T, name string, test func(t *testing.T, ctx context.Context) error) {
	t.Run(name, func(t *testing.T) {
		needDescriptors(t)
		runStreams(t, func(ctx context.Context) error { return test(t, ctx) })
	})
}

// receives returns n bytes from c.
func receives(ctx context.Context, c syscall.Conn, n int) ([]byte, error) {
	p := make([]byte, n)
	for got := 0; got < n; {
		k, err := asyncio.SockRecv(ctx, c, p[got:])
		if got += k; err != nil {
			return p[:got], err
		}
	}
	return p, nil
}

// letters returns n bytes in which nothing is where it was by accident.
func letters(n int) []byte {
	p := make([]byte, n)
	x := uint32(1)
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	return p
}

func TestSockCalls(t *testing.T) {
	leavesNothing(t)
	for _, network := range []string{"tcp", "unix"} {
		family := map[string]int{"tcp": syscall.AF_INET, "unix": syscall.AF_UNIX}[network]
		bySock(t, "SOCK-001 connect, send, receive over "+network, func(t *testing.T, ctx context.Context) error {
			ln, addr := hear(t, network)
			c := newSocket(t, family, syscall.SOCK_STREAM)
			expectError(t, asyncio.SockConnect(ctx, c, addr), nil)
			peer, err := ln.Accept()
			if err != nil {
				return err
			}
			defer peer.Close()
			expectError(t, asyncio.SockSendAll(ctx, c, []byte("ping")), nil)
			if got := readFrom(t, peer, 4); got != "ping" {
				t.Errorf("the peer got %q", got)
			}
			waiting := begins(ctx, func(ctx context.Context) error {
				p := make([]byte, 10)
				n, err := asyncio.SockRecv(ctx, c, p)
				if string(p[:n]) != "pong" {
					t.Errorf("received %q", p[:n])
				}
				return err
			})
			if waiting.Done() {
				t.Error("it did not wait")
			}
			writeTo(t, peer, "pong")
			expectError(t, waiting.Wait(ctx), nil)
			peer.Close()
			for range 2 {
				n, err := asyncio.SockRecv(ctx, c, make([]byte, 1))
				if n != 0 || err != io.EOF {
					t.Errorf("at the end: %d, %v", n, err)
				}
			}
			return nil
		})
	}
	bySock(t, "SOCK-005 a megabyte, sent while it is received", func(t *testing.T, ctx context.Context) error {
		a, b := tcpPair(t)
		sent := letters(1 << 20)
		sending := asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.SockSendAll(ctx, a, sent) })
		got, err := receives(ctx, b, len(sent))
		if !bytes.Equal(got, sent) {
			t.Errorf("%d bytes, which are others", len(got))
		}
		return errors.Join(err, sending.Wait(ctx))
	})
	bySock(t, "SOCK-007 EV-080 refused", func(t *testing.T, ctx context.Context) error {
		addr := refused(t, "127.0.0.1")
		err := asyncio.SockConnect(ctx, tcpSocket(t), asyncio.SockAddr{AddrPort: addr})
		expectError(t, err, syscall.ECONNREFUSED)
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "connect" || op.Addr.String() != addr.String() {
			t.Errorf("error %v", err)
		}
		expectError(t, asyncio.SockConnect(ctx, newSocket(t, syscall.AF_UNIX, syscall.SOCK_STREAM), asyncio.SockAddr{Path: "/nowhere/s"}), syscall.ENOENT)
		return nil
	})
	bySock(t, "SOCK-008 accept", func(t *testing.T, ctx context.Context) error {
		ln, addr := hear(t, "tcp")
		var client net.Conn
		asyncio.CurrentTask(ctx).Loop().CallSoon(func() { // when it waits
			var err error
			if client, err = net.Dial("tcp", addr.String()); err != nil {
				t.Error(err)
			}
		})
		f, from, err := asyncio.SockAccept(ctx, ln.(*net.TCPListener))
		if err != nil {
			return err
		}
		defer client.Close()
		if from.String() != client.LocalAddr().String() {
			t.Errorf("from %v, want %v", from, client.LocalAddr())
		}
		fd := uintptr(numberOf(t, f))
		for name, want := range map[int]uintptr{syscall.F_GETFL: syscall.O_NONBLOCK, syscall.F_GETFD: syscall.FD_CLOEXEC} {
			if flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, uintptr(name), 0); flags&want == 0 || errno != 0 {
				t.Errorf("flags %x, %v; want %x", flags, errno, want)
			}
		}
		c, err := net.FileConn(f)
		if err != nil {
			return err
		}
		defer c.Close()
		f.Close()
		writeTo(t, client, "x")
		readFrom(t, c, 1)
		// A wait for nobody leaves nothing.
		expectError(t, asyncio.Timeout(ctx, time.Millisecond, func(ctx context.Context) error {
			_, _, err := asyncio.SockAccept(ctx, ln.(*net.TCPListener))
			return err
		}), asyncio.ErrTimeout)
		return nil
	})
	bySock(t, "several tasks accept in the order in which they came", func(t *testing.T, ctx context.Context) error {
		ln, addr := hear(t, "unix")
		var j journal
		var tasks []asyncio.Awaitable[struct{}]
		for i := range 3 {
			tasks = append(tasks, begins(ctx, func(ctx context.Context) error {
				f, from, err := asyncio.SockAccept(ctx, ln.(*net.UnixListener))
				if err != nil {
					return err
				}
				j.say("%d%v", i, from)
				return f.Close()
			}))
		}
		for range 3 {
			c, err := net.Dial("unix", addr.String())
			if err != nil {
				return err
			}
			defer c.Close()
		}
		_, err := asyncio.Gather(ctx, tasks...)
		j.expect(t, "0 1 2")
		return err
	})
	bySock(t, "a callback and a task share a descriptor", func(t *testing.T, ctx context.Context) error {
		a, b := socketPair(t, syscall.SOCK_STREAM)
		loop := asyncio.CurrentTask(ctx).Loop()
		calls := 0
		expectError(t, loop.AddReader(a, func() { calls++ }), nil)
		reading := begins(ctx, func(ctx context.Context) error {
			_, err := receives(ctx, a, 1)
			return err
		})
		writeTo(t, b, "x")
		expectError(t, reading.Wait(ctx), nil)
		if calls != 1 {
			t.Errorf("the callback is called %d times", calls)
		}
		writeTo(t, b, "y")
		expectError(t, asyncio.Yield(ctx), nil)
		expectError(t, asyncio.Yield(ctx), nil)
		if calls < 2 || !loop.RemoveReader(a) {
			t.Errorf("the end of the task has ended the callback: %d calls", calls)
		}
		return nil
	})
}

func TestSockDatagrams(t *testing.T) {
	leavesNothing(t)
	bySock(t, "SOCK-006 datagrams, from whom and how long", func(t *testing.T, ctx context.Context) error {
		server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		defer server.Close()
		to := asyncio.SockAddr{AddrPort: server.LocalAddr().(*net.UDPAddr).AddrPort()}
		client := newSocket(t, syscall.AF_INET, syscall.SOCK_DGRAM)
		for _, text := range []string{"a datagram", ""} {
			n, err := asyncio.SockSendTo(ctx, client, []byte(text), to)
			if n != len(text) || err != nil {
				t.Errorf("sent %d, %v", n, err)
			}
		}
		p := make([]byte, 4)
		n, from, err := asyncio.SockRecvFrom(ctx, server, p) // too short
		if string(p[:n]) != "a da" || err != nil {
			t.Errorf("received %q, %v", p[:n], err)
		}
		n, from2, err := asyncio.SockRecvFrom(ctx, server, p)
		if n != 0 || err != nil || from2 != from || from.Network() != "ip" || from.AddrPort.Addr() != netip.AddrFrom4([4]byte{127, 0, 0, 1}) {
			t.Errorf("an empty datagram: %d, %v from %v after %v", n, err, from2, from)
		}
		waiting := begins(ctx, func(ctx context.Context) error {
			expectError(t, asyncio.SockConnect(ctx, client, to), nil)
			n, err := asyncio.SockRecv(ctx, client, p)
			if string(p[:n]) != "back" {
				t.Errorf("received %q", p[:n])
			}
			return err
		})
		_, err = asyncio.SockSendTo(ctx, server, []byte("back"), from)
		expectError(t, err, nil)
		expectError(t, waiting.Wait(ctx), nil)
		_, err = asyncio.SockSendTo(ctx, client, []byte("x"), asyncio.SockAddr{}) // to the peer
		expectError(t, err, nil)
		_, err = asyncio.SockSendTo(ctx, client, make([]byte, 1<<17), to)
		expectError(t, err, syscall.EMSGSIZE)
		return nil
	})
	bySock(t, "SOCK-006 a send that would block is tried again", func(t *testing.T, ctx context.Context) error {
		a, b := socketPair(t, syscall.SOCK_DGRAM)
		datagram := make([]byte, 1000)
		sent, received := 0, 0
		sending := begins(ctx, func(ctx context.Context) error {
			for range 1000 {
				if _, err := asyncio.SockSendTo(ctx, a, datagram, asyncio.SockAddr{}); err != nil {
					return err
				}
				sent++
			}
			return nil
		})
		if sent == 0 || sending.Done() {
			t.Errorf("%d datagrams were sent at once", sent)
		}
		for ; received < 1000; received++ {
			n, from, err := asyncio.SockRecvFrom(ctx, b, make([]byte, 2000))
			if n != len(datagram) || err != nil || !from.IsZero() {
				t.Fatalf("datagram %d: %d bytes from %v, %v", received, n, from, err)
			}
		}
		return sending.Wait(ctx)
	})
	bySock(t, "IPv4 by a socket of IPv6, and zones", func(t *testing.T, ctx context.Context) error {
		s6 := newSocket(t, syscall.AF_INET6, syscall.SOCK_DGRAM)
		var addrs []asyncio.SockAddr
		for _, a := range []string{"127.0.0.1", "::1"} {
			c, err := net.ListenPacket("udp", net.JoinHostPort(a, "0"))
			if err != nil {
				t.Skip("no IPv6: ", err)
			}
			defer c.Close()
			addr := asyncio.SockAddr{AddrPort: addrPort(t, c.LocalAddr().String())}
			addrs = append(addrs, addr)
			_, err = asyncio.SockSendTo(ctx, s6, []byte("x"), addr)
			expectError(t, err, nil)
			p := make([]byte, 1)
			_, from, err := asyncio.SockRecvFrom(ctx, c.(*net.UDPConn), p)
			expectError(t, err, nil)
			if from.AddrPort.Addr() != addr.AddrPort.Addr() {
				t.Errorf("from %v, want %v", from, addr)
			}
		}
		_, err := asyncio.SockSendTo(ctx, newSocket(t, syscall.AF_INET, syscall.SOCK_DGRAM), []byte("x"), addrs[1])
		expectError(t, err, syscall.EAFNOSUPPORT)
		zoned := netip.AddrPortFrom(netip.MustParseAddr("fe80::1%nowhere"), 1)
		if _, err := asyncio.SockSendTo(ctx, s6, []byte("x"), asyncio.SockAddr{AddrPort: zoned}); err == nil || !strings.Contains(err.Error(), "zone") {
			t.Errorf("error %v", err)
		}
		return nil
	})
	bySock(t, "unix sockets with names", func(t *testing.T, ctx context.Context) error {
		path := filepath.Join(t.TempDir(), "a")
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = asyncio.SockSendTo(ctx, c, []byte("x"), asyncio.SockAddr{Path: path})
		expectError(t, err, nil)
		_, from, err := asyncio.SockRecvFrom(ctx, c, make([]byte, 1))
		if from.Path != path || err != nil {
			t.Errorf("from %v, %v", from, err)
		}
		return nil
	})
}

func TestSockCancelled(t *testing.T) {
	leavesNothing(t)
	bySock(t, "SOCK-003 EV-080 a cancelled receive does not break the next", func(t *testing.T, ctx context.Context) error {
		a, b := socketPair(t, syscall.SOCK_STREAM)
		for range 3 {
			first := begins(ctx, func(ctx context.Context) error {
				_, err := receives(ctx, a, 1)
				return err
			})
			first.Cancel(nil)
			next := begins(ctx, func(ctx context.Context) error {
				p, err := receives(ctx, a, 4)
				if string(p) != "data" {
					t.Errorf("received %q", p)
				}
				return err
			})
			writeTo(t, b, "data")
			expectError(t, next.Wait(ctx), nil)
			expectError(t, first.Wait(ctx), asyncio.ErrCancelled)
		}
		return nil
	})
	bySock(t, "SOCK-003 what comes with the cancellation is not lost", func(t *testing.T, ctx context.Context) error {
		a, b := socketPair(t, syscall.SOCK_STREAM)
		var first *asyncio.Task[struct{}]
		expectError(t, asyncio.CurrentTask(ctx).Loop().AddReader(a, func() { // in the pass that wakes it
			first.Cancel(nil)
		}), nil)
		first = begins(ctx, func(ctx context.Context) error {
			_, err := receives(ctx, a, 4)
			return err
		})
		writeTo(t, b, "data")
		err := first.Wait(ctx)
		first.Loop().RemoveReader(a)
		if errors.Is(err, asyncio.ErrCancelled) {
			p, err := receives(ctx, a, 4)
			if string(p) != "data" || err != nil {
				t.Errorf("received %q, %v", p, err)
			}
		} else {
			expectError(t, err, nil)
		}
		return nil
	})
	bySock(t, "SOCK-003 a cancelled send", func(t *testing.T, ctx context.Context) error {
		a, b := socketPair(t, syscall.SOCK_STREAM)
		sending := begins(ctx, func(ctx context.Context) error { return asyncio.SockSendAll(ctx, a, make([]byte, 10<<20)) })
		if sending.Done() {
			t.Fatal("it does not wait for room")
		}
		sending.Cancel(nil)
		next := begins(ctx, func(ctx context.Context) error { return asyncio.SockSendAll(ctx, a, []byte("end")) })
		expectError(t, sending.Wait(ctx), asyncio.ErrCancelled)
		last := byte(0)
		for p := make([]byte, 1<<16); last != 'd'; {
			n, err := asyncio.SockRecv(ctx, b, p)
			if err != nil {
				return err
			}
			last = p[n-1]
		}
		return next.Wait(ctx)
	})
	bySock(t, "SOCK-003 a cancelled connect", func(t *testing.T, ctx context.Context) error {
		hole := asyncio.SockAddr{AddrPort: blackHole(t, "127.0.0.1")}
		c := tcpSocket(t)
		for range 2 {
			connecting := begins(ctx, func(ctx context.Context) error { return asyncio.SockConnect(ctx, c, hole) })
			if connecting.Done() {
				t.Fatal("it does not wait")
			}
			connecting.Cancel(nil)
			expectError(t, connecting.Wait(ctx), asyncio.ErrCancelled)
		}
		ln, addr := hear(t, "tcp")
		c2 := tcpSocket(t)
		connecting := begins(ctx, func(ctx context.Context) error { return asyncio.SockConnect(ctx, c2, addr) })
		connecting.Cancel(nil)
		expectError(t, asyncio.SockConnect(ctx, c2, addr), nil)
		peer, err := ln.Accept()
		if err != nil {
			return err
		}
		defer peer.Close()
		connecting.Wait(ctx)
		writeTo(t, peer, "x")
		_, err = receives(ctx, c2, 1)
		return err
	})
	bySock(t, "SOCK-004 a cancelled accept loses no connection", func(t *testing.T, ctx context.Context) error {
		ln, addr := hear(t, "tcp")
		for range 20 {
			accepting := begins(ctx, func(ctx context.Context) error {
				f, _, err := asyncio.SockAccept(ctx, ln.(*net.TCPListener))
				if err == nil {
					t.Error("it has taken the connection")
					f.Close()
				}
				return err
			})
			c, err := net.Dial("tcp", addr.String())
			if err != nil {
				return err
			}
			accepting.Cancel(nil)
			f, from, err := asyncio.SockAccept(ctx, ln.(*net.TCPListener))
			if err != nil || from.String() != c.LocalAddr().String() {
				t.Errorf("accepted %v, %v; want %v", from, err, c.LocalAddr())
			}
			f.Close()
			c.Close()
			expectError(t, accepting.Wait(ctx), asyncio.ErrCancelled)
		}
		return nil
	})
	t.Run("when the loop is closed", func(t *testing.T) {
		needDescriptors(t)
		a, _ := socketPair(t, syscall.SOCK_STREAM)
		var err error
		runStreams(t, func(ctx context.Context) error {
			begins(ctx, func(ctx context.Context) error {
				_, err = asyncio.SockRecv(ctx, a, make([]byte, 1))
				return err
			})
			return nil
		})
		expectError(t, err, asyncio.ErrCancelled)
	})
	t.Run("by force", func(t *testing.T) {
		needDescriptors(t)
		a, _ := socketPair(t, syscall.SOCK_STREAM)
		endedByForce(t, func(ctx context.Context) error {
			for {
				asyncio.SockRecv(ctx, a, make([]byte, 1))
			}
		})
	})
}

// TestSockInterrupted: in whatever pass a call is cancelled, nothing is lost and
// nothing goes on.
func TestSockInterrupted(t *testing.T) {
	needDescriptors(t)
	nothing := func(ctx context.Context) error { return nil }
	t.Run("SOCK-003 receiving", func(t *testing.T) {
		interruptEverywhere(t, func(t *testing.T) interruption {
			const text = "what was sent, in parts"
			a, b := socketPair(t, syscall.SOCK_STREAM)
			var got []byte
			receive := func(ctx context.Context) error {
				for len(got) < len(text) {
					p := make([]byte, 4)
					n, err := asyncio.SockRecv(ctx, a, p)
					got = append(got, p[:n]...)
					if err != nil {
						return err
					}
				}
				return nil
			}
			return interruption{
				prepare: func(context.Context) error {
					go func() {
						for _, r := range text {
							b.WriteString(string(r))
						}
					}()
					return nil
				},
				operation: receive,
				check: func(ctx context.Context) error {
					err := receive(ctx)
					if string(got) != text {
						t.Errorf("received %q", got)
					}
					return err
				},
			}
		})
	})
	t.Run("SOCK-004 accepting", func(t *testing.T) {
		interruptEverywhere(t, func(t *testing.T) interruption {
			const clients = 3
			var ln *net.TCPListener
			came := 0
			accept := func(ctx context.Context) error {
				for came < clients {
					f, _, err := asyncio.SockAccept(ctx, ln)
					if err != nil {
						return err
					}
					came++
					f.Close()
				}
				return nil
			}
			return interruption{
				prepare: func(context.Context) error {
					l, err := net.Listen("tcp", "127.0.0.1:0")
					if err != nil {
						return err
					}
					ln = l.(*net.TCPListener)
					go func() {
						for range clients {
							if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
								c.Close()
							}
						}
					}()
					return nil
				},
				operation: accept,
				check: func(ctx context.Context) error {
					err := accept(ctx)
					ln.Close()
					return err
				},
			}
		})
	})
	t.Run("UNIX-028 sending a file", func(t *testing.T) {
		content := letters(4 << 20)
		interruptEverywhere(t, func(t *testing.T) interruption {
			f := newFile(t, content)
			a, b := tcpPair(t)
			got := make(chan []byte, 1)
			return interruption{
				prepare: func(context.Context) error {
					go func() {
						all, _ := io.ReadAll(b)
						got <- all
					}()
					return nil
				},
				operation: func(ctx context.Context) error {
					n, err := asyncio.SockSendFile(ctx, a, f, nil)
					if at := position(t, f); at != n {
						t.Errorf("%d bytes were sent, the position is %d", n, at)
					}
					return err
				},
				check: func(ctx context.Context) error {
					sent := position(t, f)
					a.CloseWrite()
					if all := <-got; !bytes.Equal(all, content[:sent]) {
						t.Errorf("%d bytes have arrived, %d were sent", len(all), sent)
					}
					return nil
				},
			}
		})
	})
	t.Run("SOCK-003 connecting", func(t *testing.T) {
		interruptEverywhere(t, func(t *testing.T) interruption {
			hole := asyncio.SockAddr{AddrPort: blackHole(t, "127.0.0.1")}
			c := tcpSocket(t)
			return interruption{
				prepare: nothing,
				operation: func(ctx context.Context) error {
					if err := asyncio.Timeout(ctx, time.Millisecond, func(ctx context.Context) error {
						return asyncio.SockConnect(ctx, c, hole)
					}); err != asyncio.ErrTimeout {
						return err
					}
					return nil
				},
				check: nothing,
			}
		})
	})
}

func TestSockRefuses(t *testing.T) {
	leavesNothing(t)
	p := make([]byte, 1)
	bySock(t, "SOCK-002 BASE-105 BASE-107 a socket in blocking mode never blocks the loop", func(t *testing.T, ctx context.Context) error {
		addr := asyncio.SockAddr{AddrPort: refused(t, "127.0.0.1")}
		c := newSocket(t, syscall.AF_INET, syscall.SOCK_STREAM|blocking)
		mistake(t, asyncio.SockConnect(ctx, c, addr), asyncio.ErrBadArgument)
		_, _, err := asyncio.SockAccept(ctx, c)
		mistake(t, err, asyncio.ErrBadArgument)
		_, err = asyncio.SockSendFile(ctx, c, newFile(t, []byte("x")), nil)
		mistake(t, err, asyncio.ErrBadArgument)
		_, err = asyncio.SockSendFile(ctx, newSocket(t, syscall.AF_INET, syscall.SOCK_DGRAM), newFile(t, []byte("x")), nil)
		mistake(t, err, asyncio.ErrBadArgument)
		a, b := socketPair(t, syscall.SOCK_STREAM|blocking)
		expectError(t, asyncio.Timeout(ctx, time.Millisecond, func(ctx context.Context) error {
			_, err := asyncio.SockRecv(ctx, a, p)
			return err
		}), asyncio.ErrTimeout)
		sending := begins(ctx, func(ctx context.Context) error { return asyncio.SockSendAll(ctx, a, make([]byte, 1<<20)) })
		_, err = receives(ctx, b, 1<<20)
		return errors.Join(err, sending.Wait(ctx))
	})
	bySock(t, "what is closed, is nil, is no socket", func(t *testing.T, ctx context.Context) error {
		gone := tcpSocket(t)
		gone.Close()
		r := readablePipe(t)
		for want, c := range map[error]syscall.Conn{os.ErrClosed: gone, syscall.ENOTSOCK: r, syscall.EBADF: asyncio.FD(1 << 20), asyncio.ErrBadArgument: nil} {
			_, err := asyncio.SockRecv(ctx, c, p)
			expectError(t, err, want)
			expectError(t, asyncio.SockSendAll(ctx, c, p), want)
			_, _, err = asyncio.SockAccept(ctx, c)
			if c == r {
				want = asyncio.ErrBadArgument // it blocks, too
			}
			if c != r {
				expectError(t, err, want)
			}
		}
		mistake(t, asyncio.SockConnect(ctx, tcpSocket(t), asyncio.SockAddr{}), asyncio.ErrBadArgument)
		_, _, err := asyncio.SockAccept(ctx, tcpSocket(t)) // does not listen
		expectError(t, err, syscall.EINVAL)
		expectError(t, asyncio.SockSendAll(ctx, tcpSocket(t), p), syscall.EPIPE)
		_, err = asyncio.SockRecv(ctx, tcpSocket(t), p)
		expectError(t, err, syscall.ENOTCONN)
		if !strings.Contains(err.Error(), "SockRecv") {
			t.Errorf("error %v", err)
		}
		return nil
	})
	t.Run("outside a task", func(t *testing.T) {
		_, err := asyncio.SockRecv(context.Background(), nil, p)
		mistake(t, err, asyncio.ErrOutsideTask)
	})
	bySock(t, "a reset", func(t *testing.T, ctx context.Context) error {
		a, b := tcpPair(t)
		receiving := begins(ctx, func(ctx context.Context) error {
			_, err := receives(ctx, a, 1)
			return err
		})
		b.SetLinger(0)
		b.Close()
		expectError(t, receiving.Wait(ctx), syscall.ECONNRESET)
		return nil
	})
	bySock(t, "UNIX-056 a descriptor of the loop's own", func(t *testing.T, ctx context.Context) error {
		loop := asyncio.CurrentTask(ctx).Loop()
		ln, addr := hear(t, "tcp")
		_, w, err := asyncio.OpenConnection(ctx, "tcp", addr.String(), nil)
		if err != nil {
			return err
		}
		peer, err := ln.Accept()
		if err != nil {
			return err
		}
		defer peer.Close()
		own := socketNamed(t, w.LocalAddr())
		mistake(t, loop.AddReader(own, func() {}), asyncio.ErrDescriptorInUse)
		mistake(t, loop.AddWriter(own, func() {}), asyncio.ErrDescriptorInUse)
		panicsWith(t, asyncio.ErrDescriptorInUse, func() { loop.RemoveReader(own) })
		panicsWith(t, asyncio.ErrDescriptorInUse, func() { loop.RemoveWriter(own) })
		_, err = asyncio.SockRecv(ctx, own, p)
		mistake(t, err, asyncio.ErrDescriptorInUse)
		writeTo(t, w, "still there")
		expectError(t, w.Drain(ctx), nil)
		readFrom(t, peer, len("still there"))
		w.Close()
		return w.WaitClosed(ctx)
	})
}

// socketNamed returns the descriptor of the socket with a local address.
func socketNamed(t *testing.T, addr net.Addr) asyncio.FD {
	t.Helper()
	for _, d := range descriptors() {
		var fd int
		fmt.Sscan(d, &fd)
		sa, err := syscall.Getsockname(fd)
		if in, ok := sa.(*syscall.SockaddrInet4); ok && err == nil {
			if netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)).String() == addr.String() {
				return asyncio.FD(fd)
			}
		}
	}
	t.Fatal("no such socket")
	return -1
}

// newFile returns a file with that content, at its beginning.
func newFile(t *testing.T, content []byte) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "file")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	return f
}
