// Datagrams for tasks: reading and being cancelled, what an error says and to
// whom, waiting for room, and what it costs.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
	"github.com/goasyncio/asyncio/internal/seam"
)

// openEndpoint opens an endpoint.
func openEndpoint(t testing.TB, ctx context.Context, opts *asyncio.DatagramOptions) *asyncio.DatagramEndpoint {
	t.Helper()
	e, err := asyncio.OpenDatagramEndpoint(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// reads checks what the next ReadFrom gives.
func reads(t testing.TB, ctx context.Context, e *asyncio.DatagramEndpoint, want string) asyncio.SockAddr {
	t.Helper()
	p := make([]byte, 100)
	n, from, err := e.ReadFrom(ctx, p)
	if string(p[:n]) != want || err != nil {
		t.Errorf("ReadFrom = %q, %v; want %q", p[:n], err, want)
	}
	return from
}

// withStage runs test with an endpoint on a stage.
func withStage(t *testing.T, opts *asyncio.DatagramOptions, test func(ctx context.Context, s *packetStage, e *asyncio.DatagramEndpoint)) {
	t.Helper()
	s := newPacketStage()
	runStreams(t, func(ctx context.Context) error {
		test(ctx, s, openEndpoint(t, ctx, opts))
		return nil
	}, s.option())
	if s.closed != 1 {
		t.Errorf("the socket was closed %d times", s.closed)
	}
}

func TestDatagramEndpoint(t *testing.T) {
	leavesNothing(t)
	for _, test := range []struct {
		name string
		opts func(t *testing.T) *asyncio.DatagramOptions
	}{
		{"IPv4", func(*testing.T) *asyncio.DatagramOptions {
			return &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"}
		}},
		{"IPv6", func(t *testing.T) *asyncio.DatagramOptions {
			needUDP6(t)
			return &asyncio.DatagramOptions{LocalAddr: "[::1]:0"}
		}},
		{"unixgram", func(t *testing.T) *asyncio.DatagramOptions {
			needUnixgram(t)
			return &asyncio.DatagramOptions{Network: "unixgram", LocalAddr: socketPath(t)}
		}},
	} {
		t.Run("over "+test.name, func(t *testing.T) {
			runStreams(t, func(ctx context.Context) error {
				server := openEndpoint(t, ctx, test.opts(t))
				peer := test.opts(t)
				peer.RemoteAddr = server.LocalAddr().String()
				client := openEndpoint(t, ctx, peer)
				if client.RemoteAddr() != server.LocalAddr() || !server.RemoteAddr().IsZero() {
					t.Errorf("they are %v, %v", client, server)
				}
				reading := asyncio.Go(ctx, func(ctx context.Context) error {
					for _, want := range []string{"hello", "", "bye"} {
						if from := reads(t, ctx, server, want); from != client.LocalAddr() {
							t.Errorf("it is from %v", from)
						}
					}
					return nil
				})
				for _, text := range []string{"hello", "", "bye"} {
					if err := client.WriteTo([]byte(text), nobody); err != nil {
						return err
					}
					if err := asyncio.Yield(ctx); err != nil {
						return err
					}
				}
				if err := reading.Wait(ctx); err != nil {
					return err
				}
				// What has no room is dropped, and not read later.
				if err := errors.Join(server.WriteTo([]byte("long"), client.LocalAddr()), server.WriteTo([]byte("next"), client.LocalAddr())); err != nil {
					return err
				}
				p := make([]byte, 2)
				if n, _, err := client.ReadFrom(ctx, p); string(p[:n]) != "lo" || err != nil {
					t.Errorf("ReadFrom = %q, %v", p[:n], err)
				}
				reads(t, ctx, client, "next")
				raw, err := client.SyscallConn()
				if err != nil && !errors.Is(err, errors.ErrUnsupported) {
					return err
				}
				if err == nil {
					err = raw.Control(func(uintptr) {})
				} else {
					err = nil
				}
				return errors.Join(err, client.Close(), client.Close(), client.WaitClosed(ctx), server.Close())
			})
		})
	}
	t.Run("what arrives before a read waits", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			e := openEndpoint(t, ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
			for i := range 10 {
				if err := e.WriteTo(fmt.Append(nil, i), e.LocalAddr()); err != nil {
					return err
				}
			}
			for i := range 10 {
				reads(t, ctx, e, fmt.Sprint(i))
			}
			return nil
		})
	})
	t.Run("a refused datagram is told once, and the endpoint goes on", func(t *testing.T) {
		address := gone(t)
		runStreams(t, func(ctx context.Context) error {
			client := openEndpoint(t, ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0", RemoteAddr: address})
			for range 2 {
				if err := client.WriteTo([]byte("anybody?"), nobody); err != nil {
					return err
				}
				var op *net.OpError
				if _, _, err := client.ReadFrom(ctx, nil); !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) || op.Op != "read" {
					t.Errorf("ReadFrom = %v", err)
				}
			}
			server := openEndpoint(t, ctx, &asyncio.DatagramOptions{LocalAddr: address})
			if err := client.WriteTo([]byte("hello"), nobody); err != nil {
				return err
			}
			if err := server.WriteTo([]byte("hello"), reads(t, ctx, server, "hello")); err != nil {
				return err
			}
			reads(t, ctx, client, "hello")
			return nil
		})
	})
	t.Run("an error that is known at once is returned", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			e := openEndpoint(t, ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
			var op *net.OpError
			if err := e.WriteTo(make([]byte, 1<<16), e.LocalAddr()); !errors.Is(err, syscall.EMSGSIZE) || !errors.As(err, &op) || op.Op != "write" {
				t.Errorf("WriteTo = %v", err)
			}
			if err := e.WriteTo(nil, sockAddr(t, "[::1]:9")); err == nil {
				t.Error("it sends to another family")
			}
			mistake(t, e.WriteTo(nil, nobody), asyncio.ErrBadArgument)
			mistake(t, e.WriteTo(nil, asyncio.SockAddr{Path: "/s"}), asyncio.ErrBadArgument)
			if err := e.WriteTo([]byte("me"), e.LocalAddr()); err != nil {
				return err
			}
			reads(t, ctx, e, "me")
			return nil
		})
	})
	t.Run("room in a queue that others have filled is found, without spinning", func(t *testing.T) {
		needUnixgram(t)
		runner := asyncio.NewRunner()
		defer func() {
			if err := runner.Close(); err != nil {
				t.Error(err)
			}
		}()
		bg := context.Background()
		var server, free, given *asyncio.DatagramEndpoint
		must := func(fn func(ctx context.Context) error) {
			t.Helper()
			if err := runner.Run(bg, fn); err != nil {
				t.Fatal(err)
			}
		}
		must(func(ctx context.Context) error {
			server = openEndpoint(t, ctx, &asyncio.DatagramOptions{Network: "unixgram", LocalAddr: socketPath(t)})
			filler := openEndpoint(t, ctx, &asyncio.DatagramOptions{Network: "unixgram", RemoteAddr: server.LocalAddr().Path})
			free = openEndpoint(t, ctx, &asyncio.DatagramOptions{Network: "unixgram"})
			given = openEndpoint(t, ctx, &asyncio.DatagramOptions{Network: "unixgram"})
			for filler.Buffered() == 0 {
				if err := filler.WriteTo([]byte("x"), nobody); err != nil {
					return err
				}
			}
			return errors.Join(free.WriteTo([]byte("me too"), server.LocalAddr()), given.WriteTo(nil, server.LocalAddr()))
		})
		loop, err := runner.Loop()
		if err != nil {
			t.Fatal(err)
		}
		pause := asyncio.Go(loop.Context(bg), func(ctx context.Context) error { return asyncio.Sleep(ctx, 50*time.Millisecond) })
		passes, start := 0, loop.Time()
		for ; !pause.Done(); passes++ {
			if err := loop.RunOnce(-1); err != nil {
				t.Fatal(err)
			}
		}
		if took := loop.Time() - start; passes > int(took/time.Millisecond)*2 {
			t.Errorf("it took %d passes to wait for %v", passes, took)
		}
		must(func(ctx context.Context) error {
			if given.Abort(); loop.Timers() != 1 && !onPortable { // that of the other one; there a goroutine waits
				t.Errorf("%d timers are left", loop.Timers())
			}
			for p := make([]byte, 10); ; {
				n, _, err := server.ReadFrom(ctx, p)
				if err != nil {
					return err
				}
				if string(p[:n]) == "me too" {
					break
				}
			}
			if loop.Timers() != 0 {
				t.Errorf("%d timers are left", loop.Timers())
			}
			return nil
		})
	})
}

func TestDatagramEndpointReading(t *testing.T) {
	leavesNothing(t)
	reading := func(ctx context.Context, e *asyncio.DatagramEndpoint) *asyncio.Task[string] {
		return asyncio.CreateTask(ctx, func(ctx context.Context) (string, error) {
			p := make([]byte, 100)
			n, _, err := e.ReadFrom(ctx, p)
			return string(p[:n]), err
		}, asyncio.EagerStart())
	}
	t.Run("a cancelled read takes nothing", func(t *testing.T) {
		for _, cancelFirst := range []bool{true, false} {
			withStage(t, bound, func(ctx context.Context, s *packetStage, e *asyncio.DatagramEndpoint) {
				r := reading(ctx, e)
				s.arrives("one", nil)
				if cancelFirst {
					r.Cancel(nil)
					s.h.Ready(seam.Readable)
				} else {
					s.report(ctx, seam.Readable) // the reader is awake, and has not run
					r.Cancel(nil)
				}
				if got, err := r.Await(ctx); !errors.Is(err, asyncio.ErrCancelled) || got != "" {
					t.Errorf("the read gives %q, %v", got, err)
				}
				reads(t, ctx, e, "one")
			})
		}
	})
	t.Run("a timeout takes nothing", func(t *testing.T) {
		s := newPacketStage()
		asynciotest.Run(t, func(ctx context.Context) error {
			e := openEndpoint(t, ctx, bound)
			err := asyncio.Timeout(ctx, 10*time.Millisecond, func(ctx context.Context) error {
				_, _, err := e.ReadFrom(ctx, nil)
				return err
			})
			expectError(t, err, asyncio.ErrTimeout)
			s.arrives("one", nil)
			s.h.Ready(seam.Readable)
			reads(t, ctx, e, "one")
			return nil
		}, s.option())
	})
	t.Run("one task reads", func(t *testing.T) {
		withStage(t, bound, func(ctx context.Context, s *packetStage, e *asyncio.DatagramEndpoint) {
			r := reading(ctx, e)
			_, _, err := e.ReadFrom(ctx, nil)
			mistake(t, err, asyncio.ErrConcurrentRead)
			s.arrives("one", nil)
			s.h.Ready(seam.Readable)
			if got, err := r.Await(ctx); got != "one" || err != nil {
				t.Errorf("the read gives %q, %v", got, err)
			}
		})
	})
	for _, how := range []string{"Close", "Abort"} {
		t.Run(how+" ends a read", func(t *testing.T) {
			withStage(t, bound, func(ctx context.Context, s *packetStage, e *asyncio.DatagramEndpoint) {
				r := reading(ctx, e)
				if how == "Close" {
					e.Close()
				} else {
					e.Abort()
				}
				var op *net.OpError
				if _, err := r.Await(ctx); !errors.Is(err, net.ErrClosed) || !errors.As(err, &op) {
					t.Errorf("the read gives %v", err)
				}
				if _, _, err := e.ReadFrom(ctx, nil); !errors.Is(err, net.ErrClosed) {
					t.Errorf("the next read gives %v", err)
				}
				if err := e.WriteTo(nil, sockAddr(t, "192.0.2.3:3")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("WriteTo = %v", err)
				}
				if err := e.Drain(ctx); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Drain = %v", err)
				}
				if err := e.WaitClosed(ctx); err != nil || !e.IsClosing() {
					t.Errorf("WaitClosed = %v, %v", err, e)
				}
			})
		})
	}
	t.Run("a flood does not hold up the others", func(t *testing.T) {
		withStage(t, bound, func(ctx context.Context, s *packetStage, e *asyncio.DatagramEndpoint) {
			for range 1000 {
				s.arrives("x", nil)
			}
			passes := countPasses(ctx)
			defer func() { passes.stop = true }()
			for range 1000 {
				reads(t, ctx, e, "x")
			}
			if n := passes.n; n < 10 || n > 20 {
				t.Errorf("1000 datagrams took %d passes", n)
			}
		})
	})
	t.Run("an error that is no datagram's comes each time", func(t *testing.T) {
		withStage(t, bound, func(ctx context.Context, s *packetStage, e *asyncio.DatagramEndpoint) {
			broken := errors.New("broken")
			s.arrives("", broken)
			s.arrives("", broken)
			for range 2 {
				if _, _, err := e.ReadFrom(ctx, nil); !errors.Is(err, broken) {
					t.Errorf("ReadFrom = %v", err)
				}
			}
		})
	})
	t.Run("another loop", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			e := openEndpoint(t, ctx, &asyncio.DatagramOptions{Network: "udp4"})
			done := newGate()
			go func() {
				defer done.open()
				runStreams(t, func(ctx context.Context) error {
					_, _, err := e.ReadFrom(ctx, nil)
					mistake(t, err, asyncio.ErrWrongLoop)
					mistake(t, e.Drain(ctx), asyncio.ErrWrongLoop)
					mistake(t, e.WaitClosed(ctx), asyncio.ErrWrongLoop)
					mistake(t, e.Close(), asyncio.ErrWrongLoop)
					mistake(t, e.WriteTo(nil, nobody), asyncio.ErrWrongLoop)
					mistake(t, e.SetWriteBufferLimits(1, 1), asyncio.ErrWrongLoop)
					panicsWith(t, asyncio.ErrWrongGoroutine, e.Abort)
					return nil
				})
			}()
			if err := done.waitIn(ctx); err != nil {
				return err
			}
			loop := asyncio.CurrentTask(ctx).Loop()
			called := asyncio.NewFuture[error](ctx)
			loop.CallSoon(func() {
				_, _, err := e.ReadFrom(ctx, nil)
				called.SetResult(err)
			})
			err, _ := called.Await(ctx)
			mistake(t, err, asyncio.ErrOutsideTask)
			return nil
		})
	})
}

func TestDatagramEndpointWriting(t *testing.T) {
	leavesNothing(t)
	to := sockAddr(t, "192.0.2.3:3")
	queue := func(s *packetStage, e *asyncio.DatagramEndpoint, texts ...string) {
		s.blocks()
		for _, text := range texts {
			if err := e.WriteTo([]byte(text), to); err != nil {
				t.Error(err)
			}
		}
	}
	draining := func(ctx context.Context, e *asyncio.DatagramEndpoint) asyncio.AnyTask {
		return asyncio.Go(ctx, e.Drain, asyncio.EagerStart())
	}
	t.Run("Drain waits for room", func(t *testing.T) {
		withStage(t, bound, func(ctx context.Context, s *packetStage, e *asyncio.DatagramEndpoint) {
			e.SetWriteBufferLimits(20, 0)
			queue(s, e, "one")
			withoutSuspending(t, ctx, func() {
				if err := e.Drain(ctx); err != nil {
					t.Error(err)
				}
			})
			queue(s, e, "two")
			first, second, third := draining(ctx, e), draining(ctx, e), draining(ctx, e)
			second.Cancel(nil)
			if err := second.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) || first.Done() || e.Buffered() != 22 {
				t.Errorf("Drain = %v, %v", err, e)
			}
			s.room(ctx)
			if err := errors.Join(first.Wait(ctx), third.Wait(ctx)); err != nil {
				t.Error(err)
			}
			s.expect(t, "one>192.0.2.3:3", "two>192.0.2.3:3")
		})
	})
	t.Run("the error of what waited goes to a Drain, once", func(t *testing.T) {
		withStage(t, bound, func(ctx context.Context, s *packetStage, e *asyncio.DatagramEndpoint) {
			e.SetWriteBufferLimits(0, 0)
			queue(s, e, "one", "two")
			d := draining(ctx, e)
			s.answer = func(p []byte, _ seam.Addr) error {
				if string(p) == "one" {
					return refusal
				}
				return nil
			}
			s.report(ctx, seam.Writable)
			if err := d.Wait(ctx); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("Drain = %v", err)
			}
			if err := e.Drain(ctx); err != nil {
				t.Errorf("the next Drain = %v", err)
			}
			s.expect(t, "two>192.0.2.3:3")
		})
	})
	t.Run("or to a ReadFrom, once", func(t *testing.T) {
		withStage(t, bound, func(ctx context.Context, s *packetStage, e *asyncio.DatagramEndpoint) {
			queue(s, e, "one")
			r := asyncio.Go(ctx, func(ctx context.Context) error {
				_, _, err := e.ReadFrom(ctx, nil)
				return err
			}, asyncio.EagerStart())
			s.answer = func([]byte, seam.Addr) error { return refusal }
			s.report(ctx, seam.Writable)
			if err := r.Wait(ctx); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("ReadFrom = %v", err)
			}
			s.arrives("x", nil)
			s.h.Ready(seam.Readable)
			reads(t, ctx, e, "x")
		})
	})
	t.Run("an error that is no datagram's is the end", func(t *testing.T) {
		withStage(t, bound, func(ctx context.Context, s *packetStage, e *asyncio.DatagramEndpoint) {
			e.SetWriteBufferLimits(0, 0)
			queue(s, e, "one", "two")
			d := draining(ctx, e)
			broken := errors.New("broken")
			s.answer = func([]byte, seam.Addr) error { return broken }
			s.report(ctx, seam.Writable)
			if err := d.Wait(ctx); !errors.Is(err, broken) {
				t.Errorf("Drain = %v", err)
			}
			if _, _, err := e.ReadFrom(ctx, nil); !errors.Is(err, net.ErrClosed) {
				t.Errorf("ReadFrom = %v", err)
			}
		})
	})
	t.Run("Close sends what waits, Abort does not", func(t *testing.T) {
		withStage(t, bound, func(ctx context.Context, s *packetStage, e *asyncio.DatagramEndpoint) {
			e.SetWriteBufferLimits(0, 0)
			queue(s, e, "one")
			d := draining(ctx, e)
			e.Close()
			if err := d.Wait(ctx); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Drain = %v", err)
			}
			closed := asyncio.Go(ctx, e.WaitClosed, asyncio.EagerStart())
			if want := "<DatagramEndpoint closing 192.0.2.1:1 queued=11>"; closed.Done() || e.String() != want {
				t.Errorf("it is %v, want %s", e, want)
			}
			s.room(ctx)
			if err := closed.Wait(ctx); err != nil {
				t.Error(err)
			}
			s.expect(t, "one>192.0.2.3:3")
		})
		withStage(t, toPeer, func(ctx context.Context, s *packetStage, e *asyncio.DatagramEndpoint) {
			s.blocks()
			e.WriteTo(nil, nobody)
			e.Close()
			e.Abort()
			s.room(ctx)
			s.expect(t)
			if want := "<DatagramEndpoint closed 192.0.2.1:1->192.0.2.2:2 queued=0>"; e.String() != want {
				t.Errorf("it is %v, want %s", e, want)
			}
		})
	})
	t.Run("Close of the loop sends what fits", func(t *testing.T) {
		s := newPacketStage()
		runStreams(t, func(ctx context.Context) error {
			e := openEndpoint(t, ctx, bound)
			queue(s, e, "one")
			s.answer = nil
			return nil
		}, s.option())
		s.expect(t, "one>192.0.2.3:3")
	})
}

// A read that is interrupted at any pass loses no datagram, and the next one gets
// them in order.
func TestDatagramEndpointInterrupted(t *testing.T) {
	leavesNothing(t)
	for seed := range uint64(200) {
		withStage(t, bound, func(ctx context.Context, s *packetStage, e *asyncio.DatagramEndpoint) {
			random := &shuffle{seed}
			var got []string
			sent := 0
			reader := func(ctx context.Context) error {
				for p := make([]byte, 10); ; {
					n, _, err := e.ReadFrom(ctx, p)
					if err != nil {
						return err
					}
					got = append(got, string(p[:n]))
				}
			}
			task := asyncio.Go(ctx, reader)
			for range 100 {
				switch random.number(4) {
				case 0:
					for range 1 + random.number(100) {
						s.arrives(fmt.Sprint(sent), nil)
						sent++
					}
					s.h.Ready(seam.Readable)
				case 1:
					task.Cancel(nil)
					if err := task.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
						t.Fatal(err)
					}
					task = asyncio.Go(ctx, reader)
				default:
					asyncio.Yield(ctx)
				}
			}
			s.h.Ready(seam.Readable)
			untilTrue(t, ctx, func() bool { return len(got) == sent })
			for i, text := range got {
				if text != fmt.Sprint(i) {
					t.Fatalf("seed %d: number %d is %s", seed, i, text)
				}
			}
			task.Cancel(nil)
			task.Wait(ctx)
		})
	}
}
