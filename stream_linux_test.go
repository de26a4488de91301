// Streams where Linux alone lets a test set the scene: an address that swallows
// connections, and a process that runs out of descriptors.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
)

// childRole is the variable of the environment that makes a process of the test
// binary play a part in another one's test.
const childRole = "ASYNCIO_TEST_ROLE"

// child is a command that runs the same test in a process of its own.
func child(t testing.TB, role string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=5m")
	c.Env = append(os.Environ(), childRole+"="+role)
	return c
}

// blackHole returns an address that never answers: its listener's queue is full,
// and the kernel drops what is sent to it.
func blackHole(t testing.TB, ip string) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	// A queue for none takes one all the same.
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return addrPort(t, ln.Addr().String())
}

func TestOpenConnectionBlackHole(t *testing.T) {
	leavesNothing(t)
	t.Run("the next address is tried beside it", func(t *testing.T) {
		hole := blackHole(t, "127.0.0.1")
		h := newHost(t, "127.0.0.2")
		const delay = 30 * time.Millisecond
		runStreams(t, func(ctx context.Context) error {
			loop := asyncio.CurrentTask(ctx).Loop()
			open := len(descriptors())
			start := loop.Time()
			_, w, err := asyncio.OpenConnection(ctx, "tcp", "name.example:80", &asyncio.ConnOptions{
				Resolver: resolvesTo(hole, h.addr, hole), HappyEyeballsDelay: delay,
			})
			if err != nil {
				return err
			}
			if took := loop.Time() - start; took < delay {
				t.Errorf("the second attempt began after %v, before the first had its %v", took, delay)
			}
			if w.RemoteAddr().String() != h.addr.String() {
				t.Errorf("connected to %v", w)
			}
			(<-h.came).Close()
			w.Close()
			if err := w.WaitClosed(ctx); err != nil {
				return err
			}
			if now := descriptorsLeft(open); now > open {
				t.Errorf("%d descriptors are open, before %d", now, open)
			}
			return nil
		})
	})
	t.Run("the first one that stands is used, and a later one is dropped", func(t *testing.T) {
		hole := blackHole(t, "127.0.0.1")
		h := newHost(t, "127.0.0.2")
		for range 20 {
			runStreams(t, func(ctx context.Context) error {
				return open(ctx, "tcp", "name.example:80", &asyncio.ConnOptions{
					Resolver: resolvesTo(h.addr, hole, h.addr), HappyEyeballsDelay: time.Nanosecond, // all at once
				})
			})
			(<-h.came).Close()
		}
	})
	t.Run("without a race it waits", func(t *testing.T) {
		hole := blackHole(t, "127.0.0.1")
		h := newHost(t, "127.0.0.2")
		runStreams(t, func(ctx context.Context) error {
			before := len(descriptors())
			opening := asyncio.Go(ctx, func(ctx context.Context) error {
				return open(ctx, "tcp", "name.example:80", &asyncio.ConnOptions{Resolver: resolvesTo(hole, h.addr), HappyEyeballsDelay: -1})
			})
			comesTrue(t, ctx, "it tries the first address", func() bool { return len(descriptors()) == before+1 })
			if err := asyncio.Sleep(ctx, 10*time.Millisecond); err != nil {
				return err
			}
			if opening.Done() {
				t.Error("it did not wait for the first address")
			}
			opening.Cancel(nil)
			if err := opening.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
				t.Errorf("OpenConnection = %v", err)
			}
			if after := descriptorsLeft(before); after != before {
				t.Errorf("%d descriptors are open after the cancellation, %d before", after, before)
			}
			return nil
		})
		if len(h.came) > 0 {
			t.Error("the second address was tried")
		}
	})
	t.Run("a timeout ends all attempts", func(t *testing.T) {
		hole := blackHole(t, "127.0.0.1")
		other := blackHole(t, "127.0.0.2")
		runStreams(t, func(ctx context.Context) error {
			before := len(descriptors())
			err := asyncio.Timeout(ctx, 20*time.Millisecond, func(ctx context.Context) error {
				return open(ctx, "tcp", "name.example:80", &asyncio.ConnOptions{Resolver: resolvesTo(hole, other), HappyEyeballsDelay: time.Millisecond})
			})
			if err != asyncio.ErrTimeout {
				t.Errorf("Timeout = %v", err)
			}
			if after := descriptorsLeft(before); after != before {
				t.Errorf("%d descriptors are open, before %d", after, before)
			}
			return nil
		})
	})
	t.Run("failures and a cancellation", func(t *testing.T) {
		interruptEverywhere(t, func(t *testing.T) interruption {
			hole := blackHole(t, "127.0.0.1")
			h := newHost(t, "127.0.0.2")
			opts := &asyncio.ConnOptions{
				Resolver:           resolvesTo(refused(t, "127.0.0.3"), hole, refused(t, "127.0.0.4"), h.addr, hole),
				HappyEyeballsDelay: 2 * time.Millisecond,
			}
			nothing := func(ctx context.Context) error { return nil }
			return interruption{
				prepare:   nothing,
				operation: func(ctx context.Context) error { return open(ctx, "tcp", "name.example:80", opts) },
				check:     nothing,
			}
		})
	})
}

// A fastClock runs ahead of the wall clock, so that pauses are short.
type fastClock struct{ start time.Time }

const speed = 50

func (c *fastClock) Now() time.Duration { return speed * time.Since(c.start) }
func (c *fastClock) Wall() time.Time    { return c.start.Add(c.Now()) }

func (c *fastClock) Wait(d time.Duration, _ bool, poll func(time.Duration) (bool, error)) error {
	if d > 0 {
		d = d/speed + 1
	}
	_, err := poll(d)
	return err
}

func withFastClock() asyncio.LoopOption {
	return seam.LoopOption(seam.Seams{NewClock: func() seam.Clock { return &fastClock{time.Now()} }}).(asyncio.LoopOption)
}

func TestServerOutOfDescriptors(t *testing.T) {
	if os.Getenv(childRole) == "" {
		leavesNothing(t)
		if out, err := child(t, "server").CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = 100
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	var reported reporting
	withServer(t, func(ctx context.Context, srv *asyncio.Server, before stream) error {
		const report = "accepting pauses: accept4: too many open files"
		for round := 1; round <= 2; round++ { // it complains again when it has recovered in between
			var files []*os.File
			for {
				f, err := os.Open(os.DevNull)
				if err != nil {
					break
				}
				files = append(files, f)
			}
			files[0].Close() // the client gets this one, and none is left for the server
			r, w, err := asyncio.OpenConnection(ctx, "tcp", srv.Addr().String(), nil)
			if err != nil {
				return err
			}
			w.WriteString("late\n")
			comesTrue(t, ctx, "a report", func() bool { return len(reported.reports) == round })
			if err := asyncio.Sleep(ctx, 4*time.Second); err != nil { // it tries each second
				return err
			}
			want := []string{report, report}[:round]
			reported.expect(t, want...)
			before.w.WriteString("Bob\n")
			got, err := before.r.ReadLine(ctx)
			sees(t, got, err, "hello, Bob\n", nil)
			if srv.String() != "<Server ["+srv.Addr().String()+"] clients=1>" {
				t.Errorf("the server is %v", srv)
			}
			for _, f := range files {
				f.Close()
			}
			got, err = r.ReadLine(ctx)
			sees(t, got, err, "hello, late\n", nil)
			reported.expect(t, want...)
			w.Close()
			if err := w.WaitClosed(ctx); err != nil {
				return err
			}
			for srv.String() != "<Server ["+srv.Addr().String()+"] clients=1>" {
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
		}
		return nil
	}, reported.option(), withFastClock())
}

// TestStreamShortReads: a read that comes back short has not always taken all.
func TestStreamShortReads(t *testing.T) {
	leavesNothing(t)
	t.Run("a terminal gives a line at a time", func(t *testing.T) {
		master, slave := terminals(t)
		runStreams(t, func(ctx context.Context) error {
			if _, err := master.WriteString("one\ntwo\nthree\n"); err != nil {
				return err
			}
			r, err := asyncio.OpenReadPipe(ctx, slave)
			if err != nil {
				return err
			}
			for _, want := range []string{"one\n", "two\n", "three\n"} {
				if line, err := r.ReadLine(ctx); string(line) != want || err != nil {
					return fmt.Errorf("read %q, %w", line, err)
				}
			}
			return errors.Join(r.Close(), master.Close())
		})
	})
	t.Run("a socket stops before urgent data", func(t *testing.T) {
		address := peer(t, func(c *net.TCPConn) error {
			raw, err := c.SyscallConn()
			if err != nil {
				return err
			}
			c.Write([]byte("abc"))
			if cerr := raw.Control(func(fd uintptr) { err = syscall.Sendto(int(fd), []byte("!"), syscall.MSG_OOB, nil) }); cerr != nil || err != nil {
				return errors.Join(cerr, err)
			}
			c.Write([]byte("def"))
			_, err = io.Copy(io.Discard, c)
			return err
		})
		runStreams(t, func(ctx context.Context) error {
			r, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
			if err != nil {
				return err
			}
			defer w.Close()
			if got, err := r.ReadExactly(ctx, 6); string(got) != "abcdef" {
				return fmt.Errorf("read %q, %w", got, err)
			}
			return nil
		})
	})
	t.Run("a Unix socket stops behind descriptors", func(t *testing.T) {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fds[1])
		for _, part := range []string{"abc", "def", "ghi"} {
			if err := syscall.Sendmsg(fds[1], []byte(part), syscall.UnixRights(fds[1]), nil, 0); err != nil {
				t.Fatal(err)
			}
		}
		runStreams(t, func(ctx context.Context) error {
			r, err := asyncio.OpenReadPipe(ctx, os.NewFile(uintptr(fds[0]), "socket"))
			if err != nil {
				return err
			}
			defer r.Close()
			if got, err := r.ReadExactly(ctx, 9); string(got) != "abcdefghi" {
				return fmt.Errorf("read %q, %w", got, err)
			}
			return nil
		})
	})
	t.Run("a device that is always ready", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			r, err := asyncio.OpenReadPipe(ctx, opened(t, "/dev/null", os.O_RDONLY))
			if err != nil {
				return err
			}
			if got, err := r.ReadAll(ctx); len(got) > 0 || err != nil {
				t.Errorf("/dev/null gave %q, %v", got, err)
			}
			r.Close()
			if r, err = asyncio.OpenReadPipe(ctx, opened(t, "/dev/zero", os.O_RDONLY)); err != nil {
				return err
			}
			if got, err := r.ReadExactly(ctx, 1<<20); len(got) != 1<<20 || err != nil {
				t.Errorf("/dev/zero gave %d bytes, %v", len(got), err)
			}
			r.Close()
			w, err := asyncio.OpenWritePipe(ctx, opened(t, "/dev/null", os.O_WRONLY))
			if err != nil {
				return err
			}
			w.Write(pattern(1 << 20))
			w.Close()
			return w.WaitClosed(ctx)
		})
	})
}
