// Descriptors of others: when callbacks are called, by whom they are replaced, and
// what is left of them.

package asyncio_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/sock"
)

// descriptorLoop makes a loop that is closed when the test has ended. The test is
// skipped where descriptors cannot be watched.
func descriptorLoop(t *testing.T, opts ...asyncio.LoopOption) *asyncio.EventLoop {
	t.Helper()
	needDescriptors(t)
	loop := asyncio.NewEventLoop(opts...)
	t.Cleanup(func() { expectError(t, loop.Close(), nil) })
	return loop
}

func needDescriptors(t *testing.T) {
	t.Helper()
	r, _ := pipe(t)
	loop := asyncio.NewEventLoop()
	defer loop.Close()
	if err := loop.AddReader(r, func() {}); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this network cannot watch descriptors:", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// pipe returns the two ends of a pipe, which the end of the test closes.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// readablePipe returns the end of a pipe where something can be read.
func readablePipe(t *testing.T) *os.File {
	t.Helper()
	r, w := pipe(t)
	writeTo(t, w, "x")
	return r
}

func writeTo(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func readFrom(t *testing.T, r io.Reader, n int) string {
	t.Helper()
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// runPasses runs n passes of loop which do not wait.
func runPasses(t *testing.T, loop *asyncio.EventLoop, n int) {
	t.Helper()
	for range n {
		if err := loop.RunOnce(0); err != nil {
			t.Fatal(err)
		}
	}
}

// passesUntil runs passes until done, and fails after a while.
func passesUntil(t *testing.T, loop *asyncio.EventLoop, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); runPasses(t, loop, 1) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come about")
		}
	}
}

// begins starts fn as a task and lets it come to its first wait.
func begins(ctx context.Context, fn func(ctx context.Context) error) *asyncio.Task[struct{}] {
	return asyncio.Go(ctx, fn, asyncio.EagerStart())
}

func TestAddReader(t *testing.T) {
	leavesNothing(t)
	t.Run("EV-017 SEL-006 it is called in each pass in which there is something to read", func(t *testing.T) {
		loop := descriptorLoop(t)
		r, w := pipe(t)
		var j journal
		expectError(t, loop.AddReader(r, func() { j.say("r") }), nil)
		runPasses(t, loop, 2)
		j.expect(t, "")
		writeTo(t, w, "xy")
		runPasses(t, loop, 3)
		j.expect(t, "r r r")
		readFrom(t, r, 1)
		runPasses(t, loop, 1)
		j.expect(t, "r")
		readFrom(t, r, 1)
		runPasses(t, loop, 2)
		j.expect(t, "")
		w.Close()
		runPasses(t, loop, 2)
		j.expect(t, "r r") // the end can be read
	})
	t.Run("it wakes a loop that waits", func(t *testing.T) {
		loop := descriptorLoop(t)
		r, w := pipe(t)
		got := ""
		expectError(t, loop.AddReader(r, func() {
			got = readFrom(t, r, 1)
			loop.Stop()
		}), nil)
		loop.CallSoon(func() { go w.WriteString("x") })
		expectError(t, loop.RunForever(), nil)
		if got != "x" {
			t.Errorf("read %q", got)
		}
	})
	t.Run("EV-018 a writer is called as long as there is room", func(t *testing.T) {
		loop := descriptorLoop(t)
		r, w := pipe(t)
		written := 0
		expectError(t, loop.AddWriter(w, func() { // a pipe is writable while a page of it is free
			n, _ := w.Write(make([]byte, 4096))
			written += n
		}), nil)
		runPasses(t, loop, 1000)
		if written < 4096 || written == 1000*4096 {
			t.Errorf("%d bytes in 1000 passes", written)
		}
		full := written
		runPasses(t, loop, 3)
		if written != full {
			t.Errorf("called without room: %d bytes, then %d", full, written)
		}
		readFrom(t, r, full)
		runPasses(t, loop, 1)
		if written == full {
			t.Error("not called when there is room again")
		}
	})
	t.Run("SEL-007 a second reader takes the place of the first, which may be queued", func(t *testing.T) {
		loop := descriptorLoop(t)
		r := readablePipe(t)
		var j journal
		loop.CallSoon(func() {
			j.say("replace")
			expectError(t, loop.AddReader(r, func() { j.say("second") }), nil)
		})
		expectError(t, loop.AddReader(r, func() { j.say("first") }), nil)
		runPasses(t, loop, 2) // the poll has queued the first behind what replaces it
		j.expect(t, "replace second")
	})
	t.Run("SEL-008 SEL-009 SEL-011 one descriptor, both directions", func(t *testing.T) {
		loop := descriptorLoop(t)
		a, b := tcpPair(t)
		var j journal
		say := func(s string) func() { return func() { j.say("%s", s) } }
		expectError(t, loop.AddReader(a, say("r")), nil)
		expectError(t, loop.AddWriter(a, say("w")), nil)
		runPasses(t, loop, 2)
		j.expect(t, "w w")
		writeTo(t, b, "x")
		passesUntil(t, loop, func() bool { return strings.Contains(strings.Join(j, " "), "r") })
		j = nil
		runPasses(t, loop, 2)
		j.expect(t, "r w r w")
		expectError(t, loop.AddWriter(a, say("w2")), nil)
		runPasses(t, loop, 1)
		j.expect(t, "r w2")
		if !loop.RemoveWriter(a) {
			t.Error("there was no writer")
		}
		runPasses(t, loop, 2)
		j.expect(t, "r r")
		expectError(t, loop.AddWriter(a, say("w3")), nil)
		if !loop.RemoveReader(a) {
			t.Error("there was no reader")
		}
		runPasses(t, loop, 2)
		j.expect(t, "w3 w3")
		if !loop.RemoveWriter(a) || loop.RemoveWriter(a) || loop.RemoveReader(a) {
			t.Error("not removed, or twice")
		}
		runPasses(t, loop, 2)
		j.expect(t, "")
	})
	t.Run("EV-019 SEL-010 SEL-012 removing tells whether there was one", func(t *testing.T) {
		loop := descriptorLoop(t)
		r, w := pipe(t)
		check := func(want bool, removed ...bool) {
			t.Helper()
			for _, got := range removed {
				if got != want {
					t.Errorf("removed %v, want all %v", removed, want)
				}
			}
		}
		check(false, loop.RemoveReader(r), loop.RemoveWriter(r)) // before the first run
		runPasses(t, loop, 1)
		check(false, loop.RemoveReader(r), loop.RemoveWriter(w), loop.RemoveReader(asyncio.FD(math.MaxInt32)), loop.RemoveReader(asyncio.FD(-1)))
		expectError(t, loop.AddReader(r, func() { t.Error("called") }), nil)
		expectError(t, loop.AddWriter(w, func() { t.Error("called") }), nil)
		check(false, loop.RemoveWriter(r), loop.RemoveReader(w))
		check(true, loop.RemoveReader(r), loop.RemoveWriter(w))
		check(false, loop.RemoveReader(r), loop.RemoveWriter(w))
		w.WriteString("x")
		runPasses(t, loop, 2)
	})
	t.Run("SEL-013 one that is removed while it is queued is not called", func(t *testing.T) {
		loop := descriptorLoop(t)
		a, b := readablePipe(t), readablePipe(t)
		calls := 0
		expectError(t, loop.AddReader(a, func() { calls++; loop.RemoveReader(b) }), nil)
		expectError(t, loop.AddReader(b, func() { calls++; loop.RemoveReader(a) }), nil)
		runPasses(t, loop, 1)
		if calls != 1 {
			t.Errorf("%d calls", calls)
		}
		runPasses(t, loop, 3)
		if calls != 4 {
			t.Errorf("%d calls after three more passes", calls)
		}
	})
	t.Run("it may remove itself and its descriptor", func(t *testing.T) {
		loop := descriptorLoop(t)
		r, w := pipe(t)
		calls := 0
		expectError(t, loop.AddReader(r, func() {
			calls++
			if !loop.RemoveReader(r) {
				t.Error("there was no reader")
			}
			r.Close()
		}), nil)
		w.WriteString("x")
		runPasses(t, loop, 3)
		if calls != 1 {
			t.Errorf("%d calls", calls)
		}
	})
	t.Run("by its number", func(t *testing.T) {
		loop := descriptorLoop(t)
		r := readablePipe(t)
		fd := numberOf(t, r)
		calls := 0
		expectError(t, loop.AddReader(fd, func() { t.Error("the first is called") }), nil)
		expectError(t, loop.AddReader(r, func() { calls++ }), nil)
		runPasses(t, loop, 2)
		if !loop.RemoveReader(fd) || calls != 2 {
			t.Errorf("%d calls; or number and file are not the same", calls)
		}
		runtime.KeepAlive(r)
	})
	t.Run("BASE-033 when the loop is stopped, callbacks of that pass run once", func(t *testing.T) {
		loop := descriptorLoop(t)
		r := readablePipe(t)
		_, w := pipe(t)
		var j journal
		expectError(t, loop.AddReader(r, func() { j.say("r"); loop.Stop() }), nil)
		expectError(t, loop.AddWriter(w, func() { j.say("w") }), nil)
		expectError(t, loop.RunForever(), nil)
		if len(j) != 2 || !strings.Contains(strings.Join(j, " "), "w") {
			t.Errorf("called %q", j)
		}
		j = nil
		loop.Stop()
		expectError(t, loop.RunForever(), nil)
		if len(j) != 2 {
			t.Errorf("called %q", j)
		}
	})
	t.Run("one that panics is reported, and stays", func(t *testing.T) {
		var r reports
		loop := descriptorLoop(t, r.handler(), asyncio.WithDebug(true))
		calls := 0
		expectError(t, loop.AddReader(readablePipe(t), func() { calls++; panic(io.ErrNoProgress) }), nil)
		runPasses(t, loop, 2)
		r.expect(t, io.ErrNoProgress, io.ErrNoProgress)
		if ec := r.list[0]; calls != 2 || !strings.Contains(ec.Source.String(), "descriptor_test.go") || !strings.Contains(ec.CreatedAt, "descriptor_test.go") {
			t.Errorf("%d calls, reported %+v", calls, ec)
		}
	})
	t.Run("one that is always ready starves nobody", func(t *testing.T) {
		loop := descriptorLoop(t)
		counts := make([]int, 5)
		for i := range 3 {
			expectError(t, loop.AddReader(readablePipe(t), func() { counts[i]++ }), nil)
		}
		timer := false
		loop.CallLater(time.Millisecond, func() { timer = true })
		task := asyncio.Go(loop.Context(context.Background()), func(ctx context.Context) error {
			for ; !timer; counts[3]++ {
				expectError(t, asyncio.Yield(ctx), nil)
			}
			return nil
		})
		for ; !task.Done(); counts[4]++ {
			runPasses(t, loop, 1)
		}
		for _, n := range counts {
			if n == 0 || n < counts[4]-2 || n > counts[4] {
				t.Errorf("counts %v: readers, a task, passes", counts)
			}
		}
	})
	t.Run("a virtual clock goes with the wall clock meanwhile", func(t *testing.T) {
		loop := descriptorLoop(t, asynciotest.WithVirtualClock())
		r, w := pipe(t)
		expectError(t, loop.AddReader(r, loop.Stop), nil)
		loop.CallSoon(func() { go w.WriteString("x") })
		expectError(t, loop.RunForever(), nil) // no deadlock
		loop.RemoveReader(r)
		expectError(t, loop.RunForever(), asyncio.ErrDeadlock)
	})
}

func TestAddReaderRefuses(t *testing.T) {
	leavesNothing(t)
	nothing := func() {}
	t.Run("UNIX-057 what has no descriptor", func(t *testing.T) {
		loop := descriptorLoop(t)
		gone, _ := pipe(t)
		gone.Close()
		conn, _ := tcpPair(t)
		conn.Close()
		for _, add := range []func(syscall.Conn, func()) error{loop.AddReader, loop.AddWriter} {
			mistake(t, add(nil, nothing), asyncio.ErrBadArgument)
			mistake(t, add(readablePipe(t), nil), asyncio.ErrBadArgument)
			expectError(t, add(asyncio.FD(-1), nothing), syscall.EBADF)
			expectError(t, add(asyncio.FD(math.MaxInt32), nothing), syscall.EBADF)
			expectError(t, add(gone, nothing), os.ErrClosed)
			expectError(t, add(conn, nothing), net.ErrClosed)
			expectError(t, add((*os.File)(nil), nothing), os.ErrInvalid)
		}
		panicsWith(t, asyncio.ErrBadArgument, func() { loop.RemoveReader(nil) })
		if loop.RemoveReader(gone) || loop.RemoveWriter(conn) {
			t.Error("something was removed")
		}
	})
	t.Run("a regular file", func(t *testing.T) {
		loop := descriptorLoop(t)
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		expectError(t, loop.AddReader(f, nothing), syscall.EPERM)
		if loop.RemoveReader(f) {
			t.Error("it has a reader")
		}
	})
	t.Run("EV-020 EV-021 after Close", func(t *testing.T) {
		loop := descriptorLoop(t)
		r, w := pipe(t)
		expectError(t, loop.AddReader(r, nothing), nil)
		expectError(t, loop.Close(), nil)
		mistake(t, loop.AddReader(r, nothing), asyncio.ErrLoopClosed)
		mistake(t, loop.AddWriter(w, nothing), asyncio.ErrLoopClosed)
		if loop.RemoveReader(r) || loop.RemoveWriter(w) {
			t.Error("there was one")
		}
	})
	t.Run("on another goroutine", func(t *testing.T) {
		loop := descriptorLoop(t)
		r := readablePipe(t)
		loop.CallSoon(func() {
			onAnotherGoroutine(func() {
				mistake(t, loop.AddReader(r, nothing), asyncio.ErrWrongGoroutine)
				panicsWith(t, asyncio.ErrWrongGoroutine, func() { loop.RemoveReader(r) })
			})
		})
		runPasses(t, loop, 1)
	})
	t.Run("a network that cannot", func(t *testing.T) {
		loop := asyncio.NewEventLoop(bareNetwork())
		defer loop.Close()
		r := readablePipe(t)
		expectError(t, loop.AddReader(r, nothing), errors.ErrUnsupported)
		if loop.RemoveReader(r) {
			t.Error("it has a reader")
		}
		task := asyncio.Go(loop.Context(context.Background()), func(ctx context.Context) error {
			_, err := asyncio.SockRecv(ctx, r, make([]byte, 1))
			expectError(t, err, errors.ErrUnsupported)
			return nil
		})
		expectError(t, loop.RunUntilComplete(task), nil)
	})
}

// bareNetwork makes the real network, without what not every network has.
func bareNetwork() asyncio.LoopOption {
	return seam.LoopOption(seam.Seams{NewNetwork: func() (seam.Network, error) {
		n, err := sock.New()
		return struct{ seam.Network }{n}, err
	}}).(asyncio.LoopOption)
}

func TestDescriptorsAtTheEnd(t *testing.T) {
	leavesNothing(t)
	t.Run("EV-022 SEL-001 SEL-002 Close drops readers and frees what is the loop's own", func(t *testing.T) {
		needDescriptors(t)
		r := readablePipe(t)
		_, w := pipe(t)
		open := len(descriptors())
		for _, runs := range []bool{false, true} {
			loop := asyncio.NewEventLoop()
			expectError(t, loop.AddReader(r, func() {}), nil)
			expectError(t, loop.AddWriter(w, func() {}), nil)
			if runs {
				runPasses(t, loop, 2)
			}
			expectError(t, loop.Close(), nil)
			expectError(t, loop.Close(), nil)
			if now := descriptors(); len(now) != open {
				t.Errorf("%d descriptors are open, %d were before: %v", len(now), open, now)
			}
		}
		if got := readFrom(t, r, 1); got != "x" {
			t.Errorf("the descriptor does not work any more: %q", got)
		}
		writeTo(t, w, "y")
	})
	t.Run("a loop that was prepared by another goroutine", func(t *testing.T) {
		needDescriptors(t)
		loop := asyncio.NewEventLoop()
		calls := 0
		expectError(t, loop.AddReader(readablePipe(t), func() { calls++ }), nil)
		onAnotherGoroutine(func() {
			runPasses(t, loop, 1)
			expectError(t, loop.Close(), nil)
		})
		if calls != 1 {
			t.Errorf("%d calls", calls)
		}
	})
	t.Run("a descriptor that was closed before its reader was removed", func(t *testing.T) {
		loop := descriptorLoop(t)
		r, w := pipe(t)
		expectError(t, loop.AddReader(r, func() { t.Error("called") }), nil)
		r.Close()
		if !loop.RemoveReader(r) || loop.RemoveReader(r) {
			t.Error("it does not know the reader by its file")
		}
		w.WriteString("x")
		runPasses(t, loop, 1)
	})
	t.Run("a number that is used again", func(t *testing.T) {
		loop := descriptorLoop(t)
		r, _ := pipe(t)
		fd := numberOf(t, r)
		expectError(t, loop.AddReader(r, func() { t.Error("the old one is called") }), nil)
		r.Close()
		r2 := readablePipe(t)
		if numberOf(t, r2) != fd {
			t.Skip("the number was not used again")
		}
		calls := 0
		expectError(t, loop.AddReader(r2, func() { calls++ }), nil)
		runPasses(t, loop, 2)
		if calls != 2 || !loop.RemoveReader(r2) {
			t.Errorf("%d calls", calls)
		}
	})
	t.Run("a number that becomes the loop's own", func(t *testing.T) {
		needDescriptors(t)
		runStreams(t, func(ctx context.Context) error {
			loop := asyncio.CurrentTask(ctx).Loop()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			defer ln.Close()
			r, _ := pipe(t)
			fd := numberOf(t, r)
			expectError(t, loop.AddReader(r, func() { t.Error("the old one is called") }), nil)
			r.Close()
			_, w, err := asyncio.OpenConnection(ctx, "tcp", ln.Addr().String(), nil)
			if err != nil {
				return err
			}
			defer w.Close()
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			defer c.Close()
			if err := loop.AddReader(fd, func() {}); !errors.Is(err, asyncio.ErrDescriptorInUse) {
				t.Skip("the number was not used again")
			}
			writeTo(t, w, "hello")
			expectError(t, w.Drain(ctx), nil)
			if got := readFrom(t, c, 5); got != "hello" {
				t.Errorf("the peer got %q", got)
			}
			return nil
		})
	})
}

func TestFD(t *testing.T) {
	r := readablePipe(t)
	fd := numberOf(t, r)
	raw, err := fd.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func(func(uintptr) bool) error{"Read": raw.Read, "Write": raw.Write} {
		for _, done := range []bool{true, false} {
			calls := 0
			err := try(func(got uintptr) bool {
				calls++
				if got != uintptr(fd) {
					t.Errorf("%s with %d, want %d", name, got, fd)
				}
				return done
			})
			if calls != 1 || (err == nil) != done || !done && !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s, done %v: %d calls, error %v", name, done, calls, err)
			}
		}
	}
	if _, err := asyncio.FD(-1).SyscallConn(); !errors.Is(err, syscall.EBADF) {
		t.Errorf("error %v", err)
	}
	runtime.KeepAlive(r)
}

// numberOf returns the number of a descriptor.
func numberOf(t *testing.T, c syscall.Conn) asyncio.FD {
	t.Helper()
	raw, err := c.SyscallConn()
	fd := asyncio.FD(-1)
	if err == nil {
		err = raw.Control(func(n uintptr) { fd = asyncio.FD(n) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// tcpPair returns two connections of package net that are connected with each
// other. The end of the test closes them.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); peer.Close() })
	return c.(*net.TCPConn), peer.(*net.TCPConn)
}
