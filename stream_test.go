// Streams over real sockets, against peers of package net: what is sent arrives,
// what breaks is told, what is closed is gone.

package asyncio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// leavesNothing fails the test if at its end there are more goroutines or
// descriptors than now.
func leavesNothing(t testing.TB) {
	t.Helper()
	startNetpoll()
	goroutines, files := runtime.NumGoroutine(), len(descriptors())
	t.Cleanup(func() {
		if t.Failed() {
			return // it has other worries
		}
		settled := func() bool { return runtime.NumGoroutine() <= goroutines && len(descriptors()) == files }
		for deadline := time.Now().Add(30 * time.Second); !settled(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				t.Errorf("%d goroutines are left, %d were there before; descriptors %v, %d before\n%s", runtime.NumGoroutine(),
					goroutines, descriptors(), files, stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

// startNetpoll makes package net open the descriptors that it keeps.
var startNetpoll = sync.OnceFunc(func() {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
	}
})

// descriptors lists the open descriptors, on systems that tell them.
func descriptors() []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var open []string
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil { // not the directory itself
			open = append(open, e.Name()+" "+target)
		}
	}
	return open
}

// descriptorsLeft counts the open descriptors. The portable backend gets time to close
// all but most of them: it does so on goroutines that are on their way.
func descriptorsLeft(most int) int {
	n := len(descriptors())
	for i := 0; onPortable && i < 10_000 && n > most; i++ {
		time.Sleep(time.Millisecond)
		n = len(descriptors())
	}
	return n
}

// onPortable says that the tests run on the portable backend.
var onPortable = os.Getenv("ASYNCIO_BACKEND") == "portable" || runtime.GOOS != "linux"

// underRace says whether the race detector watches: it is slow and allows 8,000
// goroutines only.
var underRace = func() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}()

// runStreams runs main on a loop with the wall clock. The test fails if main does, if
// anything is reported that no option takes care of, or if timers are left.
func runStreams(t testing.TB, main func(ctx context.Context) error, opts ...asyncio.RunOption) {
	t.Helper()
	report := asyncio.WithExceptionHandler(func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) {
		t.Errorf("reported: %s: %v", ec.Message, ec.Err)
	})
	counted := func(ctx context.Context) error {
		err := main(ctx)
		if loop := asyncio.CurrentTask(ctx).Loop(); err == nil {
			alone := func() bool { return len(asyncio.AllTasks(ctx)) == 1 } // else the timers may be those of tasks
			for start := time.Now(); loop.Timers() > 0 && time.Since(start) < 10*time.Second; {
				if !alone() && time.Since(start) > time.Second/2 {
					break
				}
				asyncio.Yield(ctx) // connections may have to close yet
			}
			if n := loop.Timers(); n > 0 && alone() {
				t.Errorf("%d timers are left", n)
			}
		}
		return err
	}
	if err := asyncio.Run(context.Background(), counted, append([]asyncio.RunOption{report}, opts...)...); err != nil {
		t.Fatal(err)
	}
}

// mistake checks that err is a *UsageError because of cause.
func mistake(t testing.TB, err, cause error) {
	t.Helper()
	var e *asyncio.UsageError
	if !errors.As(err, &e) || !errors.Is(err, cause) {
		t.Errorf("error is %v, want a UsageError: %v", err, cause)
	}
}

// panicsWith checks that fn panics with a *UsageError because of cause.
func panicsWith(t testing.TB, cause error, fn func()) {
	t.Helper()
	defer func() {
		t.Helper()
		err, _ := recover().(error)
		mistake(t, err, cause)
	}()
	fn()
}

// elsewhere runs fn on another goroutine.
func elsewhere(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	<-done
}

// socketPath returns the path for a unix socket.
func socketPath(t testing.TB) string { return filepath.Join(t.TempDir(), "s") }

// A stream is both halves of one end.
type stream struct {
	r *asyncio.StreamReader
	w *asyncio.StreamWriter
}

// streamPair connects two streams of the running loop. end aborts what is left of
// them and waits until nothing is.
func streamPair(t testing.TB, ctx context.Context, network, address string) (client, server stream, end func()) {
	t.Helper()
	over := asyncio.NewFuture[struct{}](ctx)
	accepted := asyncio.NewFuture[stream](ctx)
	srv, err := asyncio.StartServer(ctx, network, address, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		accepted.SetResult(stream{r, w})
		return over.Wait(ctx)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if network != "unix" {
		address = srv.Addr().String()
	}
	client.r, client.w, err = asyncio.OpenConnection(ctx, network, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if server, err = accepted.Await(ctx); err != nil {
		t.Fatal(err)
	}
	return client, server, func() {
		t.Helper()
		client.w.Abort()
		server.w.Abort()
		over.SetResult(struct{}{})
		srv.Close()
		if err := srv.WaitClosed(ctx); err != nil {
			t.Error(err)
		}
	}
}

// connected is streamPair for the reader of one end and the writer of the other.
func connected(t testing.TB, ctx context.Context, network, address string) (r *asyncio.StreamReader, w *asyncio.StreamWriter, end func()) {
	t.Helper()
	client, server, end := streamPair(t, ctx, network, address)
	return client.r, server.w, end
}

// peer listens, and runs serve with the first connection on a goroutine of its
// own. At its end the connection is closed; the test waits for that.
func peer(t testing.TB, serve func(c *net.TCPConn) error) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := ln.Accept()
		if err != nil {
			return // nobody came
		}
		defer c.Close()
		if err := serve(c.(*net.TCPConn)); err != nil {
			t.Errorf("peer: %v", err)
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-ended
	})
	return ln.Addr().String()
}

// withPeer runs test with a connection to a peer that runs serve.
func withPeer(t *testing.T, serve func(c *net.TCPConn) error, test func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error) {
	t.Helper()
	address := peer(t, serve)
	runStreams(t, func(ctx context.Context) error {
		r, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
		if err != nil {
			return err
		}
		return test(ctx, r, w) // the loop closes the connection
	})
}

// A gate lets goroutines wait for each other.
type gate chan struct{}

func (g gate) open() { close(g) }
func (g gate) pass() { <-g }
func newGate() gate  { return make(gate) }
func (g gate) waitIn(ctx context.Context) error { // for tasks
	_, err := asyncio.ToThread(ctx, func(ctx context.Context) (struct{}, error) {
		select {
		case <-g:
			return struct{}{}, nil
		case <-ctx.Done():
			return struct{}{}, context.Cause(ctx)
		}
	})
	return err
}

// reset ends a connection with a reset.
func reset(c *net.TCPConn) error {
	if err := c.SetLinger(0); err != nil {
		return err
	}
	return c.Close()
}

// pattern is n bytes that do not repeat soon.
func pattern(n int) []byte {
	p := make([]byte, n)
	x := uint32(1)
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	return p
}

// scaled scales down what takes long.
func scaled(n int) int {
	switch {
	case testing.Short():
		return n / 50
	case underRace:
		return n / 10
	}
	return n
}

func TestStreamEcho(t *testing.T) {
	leavesNothing(t)
	echo := func(t *testing.T, network, address string) {
		runStreams(t, func(ctx context.Context) error {
			client, server, end := streamPair(t, ctx, network, address)
			defer end()
			echoing := asyncio.Go(ctx, func(ctx context.Context) error {
				for line, err := range server.r.Lines(ctx) {
					if err != nil {
						return err
					}
					server.w.Write(line)
					if err := server.w.Drain(ctx); err != nil {
						return err
					}
				}
				return server.w.WriteEOF()
			})
			for i := range 100 {
				line := fmt.Sprintf("line %d\n", i)
				if n, err := client.w.WriteString(line); n != len(line) || err != nil {
					t.Errorf("WriteString = %d, %v", n, err)
				}
				got, err := client.r.ReadLine(ctx)
				sees(t, got, err, line, nil)
			}
			client.w.WriteEOF()
			got, err := client.r.ReadAll(ctx)
			sees(t, got, err, "", nil)
			return echoing.Wait(ctx)
		})
	}
	t.Run("STR-001 opening TCP works and nothing is reported", func(t *testing.T) { echo(t, "tcp", "127.0.0.1:0") })
	t.Run("STR-002 opening a unix socket works", func(t *testing.T) { echo(t, "unix", socketPath(t)) })
}

func TestStreamHalfClose(t *testing.T) {
	leavesNothing(t)
	t.Run("our half", func(t *testing.T) {
		withPeer(t, func(c *net.TCPConn) error {
			all, err := io.ReadAll(c)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c, "got %q", all)
			return err
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			w.WriteString("question")
			for range 2 { // a second time is harmless
				if err := w.WriteEOF(); err != nil {
					t.Errorf("WriteEOF = %v", err)
				}
			}
			if _, err := w.WriteString("more"); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Write after WriteEOF = %v", err)
			}
			got, err := r.ReadAll(ctx)
			sees(t, got, err, `got "question"`, nil)
			return nil
		})
	})
	t.Run("our half, when what was written has gone out", func(t *testing.T) {
		data := pattern(scaled(20 << 20))
		withPeer(t, func(c *net.TCPConn) error {
			all, err := io.ReadAll(c)
			if err == nil && !bytes.Equal(all, data) {
				err = fmt.Errorf("%d bytes of %d arrived", len(all), len(data))
			}
			return err
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			w.Write(data)
			if err := w.WriteEOF(); err != nil {
				t.Errorf("WriteEOF = %v", err)
			}
			_, err := r.ReadAll(ctx)
			return err
		})
	})
	t.Run("the peer's half", func(t *testing.T) {
		withPeer(t, func(c *net.TCPConn) error {
			c.Write([]byte("bye\n"))
			c.CloseWrite()
			all, err := io.ReadAll(c)
			if err == nil && string(all) != "still here\nand here\n" {
				err = fmt.Errorf("got %q", all)
			}
			return err
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			got, err := r.ReadAll(ctx)
			sees(t, got, err, "bye\n", nil)
			if !r.AtEOF() {
				t.Error("not at the end")
			}
			for _, line := range []string{"still here\n", "and here\n"} {
				if _, err := w.WriteString(line); err != nil {
					t.Errorf("Write = %v", err)
				}
				asyncio.Yield(ctx)
			}
			w.Close()
			return w.WaitClosed(ctx)
		})
	})
}

func TestStreamReset(t *testing.T) {
	leavesNothing(t)
	// The rest of each test: every further read says the same.
	stays := func(t *testing.T, ctx context.Context, r *asyncio.StreamReader, cause error) {
		t.Helper()
		for range 2 {
			got, err := r.ReadLine(ctx)
			sees(t, got, err, "", cause)
		}
		var op *net.OpError
		if !errors.As(r.Err(), &op) || op.Op != "read" || op.Addr == nil {
			t.Errorf("Err = %v, which does not say what was done where", r.Err())
		}
	}
	t.Run("STR-005 during a read", func(t *testing.T) {
		suspended := newGate()
		withPeer(t, func(c *net.TCPConn) error {
			suspended.pass()
			return reset(c)
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			reading := inTask(t, ctx, r.ReadLine)
			suspended.open()
			got, err := reading.Await(ctx)
			sees(t, got, err, "", syscall.ECONNRESET)
			stays(t, ctx, r, syscall.ECONNRESET)
			return nil
		})
	})
	t.Run("STR-005 before a read", func(t *testing.T) {
		connected, gone := newGate(), newGate()
		withPeer(t, func(c *net.TCPConn) error {
			defer gone.open()
			connected.pass()
			return reset(c)
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			connected.open()
			if err := gone.waitIn(ctx); err != nil {
				return err
			}
			stays(t, ctx, r, syscall.ECONNRESET)
			return nil
		})
	})
	t.Run("before a write", func(t *testing.T) {
		connected, gone := newGate(), newGate()
		withPeer(t, func(c *net.TCPConn) error {
			defer gone.open()
			connected.pass()
			return reset(c)
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			connected.open()
			gone.pass() // blocks the loop: it has not heard of the reset
			_, err := w.WriteString("data")
			for err == nil && onPortable { // which accepts a write before it asks the kernel
				asyncio.Yield(ctx)
				_, err = w.WriteString("data")
			}
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Write = %v", err)
			}
			if err := w.Drain(ctx); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Drain = %v", err)
			}
			// The kernel tells of a reset once only. It must not look like the end.
			stays(t, ctx, r, syscall.ECONNRESET)
			return nil
		})
	})
	t.Run("during a blocked Drain", func(t *testing.T) {
		suspended := newGate()
		withPeer(t, func(c *net.TCPConn) error {
			suspended.pass()
			return reset(c)
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			reading := inTask(t, ctx, r.ReadLine)
			draining := stuck(t, ctx, w)
			suspended.open()
			if err := draining.Wait(ctx); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Drain = %v", err)
			}
			got, err := reading.Await(ctx)
			sees(t, got, err, "", syscall.ECONNRESET)
			stays(t, ctx, r, syscall.ECONNRESET)
			if w.Buffered() != 0 {
				t.Errorf("%d bytes are kept for nobody", w.Buffered())
			}
			w.Close()
			if err := w.WaitClosed(ctx); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("WaitClosed = %v, want why something was not sent", err)
			}
			return nil
		})
	})
	t.Run("after WriteEOF, with bytes that wait to be sent", func(t *testing.T) {
		suspended := newGate()
		withPeer(t, func(c *net.TCPConn) error {
			suspended.pass()
			return reset(c)
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			draining := stuck(t, ctx, w)
			if err := w.WriteEOF(); err != nil {
				t.Errorf("WriteEOF = %v", err)
			}
			suspended.open()
			if err := draining.Wait(ctx); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Drain = %v", err)
			}
			w.Close()
			if err := w.WaitClosed(ctx); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("WaitClosed = %v", err)
			}
			return nil
		})
	})
	t.Run("what the peer had sent before can be read after a failed write", func(t *testing.T) {
		gone := newGate()
		withPeer(t, func(c *net.TCPConn) error {
			defer gone.open()
			c.Write([]byte("last words\n"))
			return c.Close() // with nothing unread this is an ordinary end
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			gone.pass()
			for {
				if _, err := w.WriteString("anybody?"); err != nil {
					break
				}
				asyncio.Yield(ctx)
			}
			got, err := r.ReadAll(ctx)
			sees(t, got, err, "last words\n", nil)
			return nil
		})
	})
}

// plenty is more than kernels take of what nobody reads. How much that is, and when they
// take it, cannot be told: not all at once, if the machine is busy.
const plenty = 16 << 20

// writePlenty fills a connection whose peer does not read, and returns how much was
// written.
func writePlenty(t testing.TB, w *asyncio.StreamWriter) (written int) {
	t.Helper()
	for chunk := make([]byte, 1<<20); w.Buffered() < plenty; written += len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	return written
}

// stuck fills a connection whose peer does not read, and returns a task that
// waits in Drain.
func stuck(t testing.TB, ctx context.Context, w *asyncio.StreamWriter) asyncio.AnyTask {
	t.Helper()
	writePlenty(t, w)
	draining := asyncio.Go(ctx, w.Drain, asyncio.WithName("draining"))
	for range 10 { // what fits into the kernel has gone there
		asyncio.Yield(ctx)
	}
	if draining.Done() {
		t.Fatalf("Drain did not wait although %d bytes do: %v", w.Buffered(), draining)
	}
	return draining
}

func TestStreamPeerNeverReads(t *testing.T) {
	leavesNothing(t)
	for _, name := range []string{"Abort", "the end of the loop"} {
		t.Run(name, func(t *testing.T) {
			over := newGate()
			defer over.open()
			withPeer(t, func(c *net.TCPConn) error {
				over.pass()
				return nil
			}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				draining := stuck(t, ctx, w)
				if name == "Abort" {
					closing := asyncio.Go(ctx, w.WaitClosed)
					w.Close()
					asyncio.Yield(ctx)
					if !w.IsClosing() || closing.Done() {
						t.Errorf("closing is %t, WaitClosed is done %t", w.IsClosing(), closing.Done())
					}
					w.Abort()
					if err := draining.Wait(ctx); !errors.Is(err, net.ErrClosed) {
						t.Errorf("Drain = %v", err)
					}
					if err := closing.Wait(ctx); err != nil {
						t.Errorf("WaitClosed = %v", err)
					}
				}
				return nil
			})
		})
	}
	t.Run("a cancelled Drain drops nothing", func(t *testing.T) {
		cancelled := newGate()
		came := make(chan int, 1)
		withPeer(t, func(c *net.TCPConn) error {
			cancelled.pass()
			n, err := io.Copy(io.Discard, c)
			came <- int(n)
			return err
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			written := writePlenty(t, w)
			draining := asyncio.Go(ctx, w.Drain)
			asyncio.Yield(ctx)
			draining.Cancel(nil)
			if err := draining.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) || w.Buffered() == 0 {
				t.Errorf("Drain = %v, %d bytes wait", err, w.Buffered())
			}
			cancelled.open()
			w.Close()
			if err := w.WaitClosed(ctx); err != nil {
				return err
			}
			if n := <-came; n != written {
				t.Errorf("%d bytes came, %d were written", n, written)
			}
			return nil
		})
	})
}

func TestStreamDrain(t *testing.T) {
	leavesNothing(t)
	t.Run("STR-053 ten tasks draining at once all wake", func(t *testing.T) {
		read := newGate()
		withPeer(t, func(c *net.TCPConn) error {
			read.pass()
			_, err := io.Copy(io.Discard, c)
			return err
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			tasks := []asyncio.AnyTask{stuck(t, ctx, w)}
			for range 9 {
				tasks = append(tasks, asyncio.Go(ctx, w.Drain))
			}
			asyncio.Yield(ctx)
			read.open()
			for _, task := range tasks {
				if err := task.Wait(ctx); err != nil {
					t.Errorf("Drain = %v", err)
				}
			}
			if w.Buffered() > 16<<10 {
				t.Errorf("%d bytes still wait, above the low mark", w.Buffered())
			}
			w.Close()
			return w.WaitClosed(ctx)
		})
	})
	t.Run("STR-054 draining against a closed peer ends in an error", func(t *testing.T) {
		withPeer(t, func(c *net.TCPConn) error { return nil },
			func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				var err error
				for err == nil {
					w.WriteString("data")
					if err = w.Drain(ctx); err == nil {
						err = asyncio.Yield(ctx)
					}
				}
				if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("Drain = %v", err)
				}
				return nil
			})
	})
	t.Run("the marks are where they are set", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			client, server, end := streamPair(t, ctx, "unix", socketPath(t))
			defer end()
			mistake(t, client.w.SetWriteBufferLimits(1, 2), asyncio.ErrBadArgument)
			mistake(t, client.w.SetWriteBufferLimits(1, -1), asyncio.ErrBadArgument)
			elsewhere(func() { mistake(t, client.w.SetWriteBufferLimits(2, 1), asyncio.ErrWrongGoroutine) })
			if err := client.w.SetWriteBufferLimits(1<<20, 0); err != nil {
				t.Error(err)
			}
			for client.w.Buffered() < 600<<10 { // more than there is room for below
				client.w.Write(make([]byte, 16<<10))
			}
			withoutWaiting := func() bool {
				task := asyncio.Go(ctx, client.w.Drain)
				asyncio.Yield(ctx)
				if !task.Done() {
					task.Cancel(nil)
					task.Wait(ctx)
					return false
				}
				return true
			}
			if !withoutWaiting() {
				t.Errorf("Drain waits with %d bytes, below the mark", client.w.Buffered())
			}
			client.w.SetWriteBufferLimits(0, 0) // from now on it waits for all
			if withoutWaiting() {
				t.Errorf("Drain does not wait with %d bytes, above the mark", client.w.Buffered())
			}
			reading := asyncio.Go(ctx, func(ctx context.Context) error {
				_, err := server.r.ReadAll(ctx)
				return err
			})
			if err := client.w.Drain(ctx); err != nil || client.w.Buffered() != 0 {
				t.Errorf("Drain = %v, %d bytes wait", err, client.w.Buffered())
			}
			client.w.WriteEOF()
			return reading.Wait(ctx)
		})
	})
}

// TestStreamPeerSendsForever: what nobody reads stays with the kernel, and stops
// the peer.
func TestStreamPeerSendsForever(t *testing.T) {
	leavesNothing(t)
	sent := make(chan int, 1)
	withPeer(t, func(c *net.TCPConn) error {
		total := 0
		for chunk := make([]byte, 1<<20); ; {
			c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			n, err := c.Write(chunk)
			total += n
			if errors.Is(err, os.ErrDeadlineExceeded) {
				if n == 0 && total > 0 {
					break // there is no room anywhere
				}
				continue
			}
			if err != nil {
				return err
			}
			if total > 1<<30 {
				return errors.New("somebody takes it all")
			}
		}
		sent <- total
		return nil
	}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		if _, err := r.ReadExactly(ctx, 1); err != nil {
			return err
		}
		total, err := asyncio.ToThread(ctx, func(context.Context) (int, error) { return <-sent, nil })
		if err != nil {
			return err
		}
		if r.Buffered() > 64<<10 {
			t.Errorf("%d bytes are buffered here", r.Buffered())
		}
		rest, err := r.ReadAll(ctx)
		if 1+len(rest) != total || err != nil {
			t.Errorf("%d bytes came, %v, of %d", 1+len(rest), err, total)
		}
		return nil
	})
}

func TestStreamOneByteAtATime(t *testing.T) {
	leavesNothing(t)
	const text = "one\ntwo\r\nthree--four"
	withPeer(t, func(c *net.TCPConn) error {
		for i := range len(text) {
			if _, err := c.Write([]byte{text[i]}); err != nil {
				return err
			}
			runtime.Gosched()
		}
		return nil
	}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		got, err := r.ReadLine(ctx)
		sees(t, got, err, "one\n", nil)
		got, err = r.ReadUntil(ctx, []byte("\r\n"))
		sees(t, got, err, "two\r\n", nil)
		got, err = r.Peek(ctx, 7)
		sees(t, got, err, "three--", nil)
		got, err = r.ReadExactly(ctx, 5)
		sees(t, got, err, "three", nil)
		got, err = r.ReadExactly(ctx, 7)
		incomplete(t, err, "--four", 7)
		sees(t, got, err, "", io.ErrUnexpectedEOF)
		return nil
	})
}

func TestStreamBigTransfer(t *testing.T) {
	leavesNothing(t)
	total := scaled(100 << 20)
	block := pattern(1 << 20)
	sum := make(chan uint32, 1)
	table := crc32.MakeTable(crc32.Castagnoli)
	withPeer(t, func(c *net.TCPConn) error {
		crc := uint32(0)
		for left := total; left > 0; {
			p := block[:min(left, len(block))]
			crc = crc32.Update(crc, table, p)
			if _, err := c.Write(p); err != nil {
				return err
			}
			left -= len(p)
		}
		sum <- crc
		return nil
	}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		start := time.Now()
		crc, n := uint32(0), 0
		p := make([]byte, 1<<10)
		for {
			k, err := r.Read(ctx, p)
			crc = crc32.Update(crc, table, p[:k])
			n += k
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
		}
		if want := <-sum; n != total || crc != want {
			t.Errorf("%d bytes with sum %x came, %d with %x were sent", n, crc, total, want)
		}
		t.Logf("%d MB in %v by reads of 1 KB", n>>20, time.Since(start))
		return nil
	})
}

func TestStreamClose(t *testing.T) {
	leavesNothing(t)
	t.Run("STR-055 close, then wait", func(t *testing.T) {
		for _, unread := range []bool{false, true} {
			sent := newGate()
			withPeer(t, func(c *net.TCPConn) error {
				if unread {
					c.Write([]byte("HTTP/1.0 200 OK\r\n\r\nbody"))
				}
				sent.open()
				_, err := io.Copy(io.Discard, c)
				if unread && errors.Is(err, syscall.ECONNRESET) {
					err = nil // this is how the kernel tells that something was not read
				}
				return err
			}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				if unread {
					r.ReadLine(ctx)
				}
				if err := sent.waitIn(ctx); err != nil {
					return err
				}
				if w.Close() != nil || w.Close() != nil {
					t.Error("Close fails")
				}
				if err := w.WaitClosed(ctx); err != nil || !w.IsClosing() {
					t.Errorf("WaitClosed = %v, closing is %t", err, w.IsClosing())
				}
				return w.WaitClosed(ctx)
			})
		}
	})
	t.Run("what is buffered is delivered", func(t *testing.T) {
		data := pattern(scaled(20 << 20))
		closed := newGate()
		withPeer(t, func(c *net.TCPConn) error {
			closed.pass()
			all, err := io.ReadAll(c)
			if err == nil && !bytes.Equal(all, data) {
				err = fmt.Errorf("%d bytes of %d arrived", len(all), len(data))
			}
			return err
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			if n, err := w.Write(data); n != len(data) || err != nil {
				t.Errorf("Write = %d, %v", n, err)
			}
			if !testing.Short() && !underRace && w.Buffered() == 0 {
				t.Error("all of it has gone into the kernel: the test shows nothing")
			}
			clear(data[len(data)-1:]) // the writer has copied what it keeps
			data[len(data)-1] = pattern(len(data))[len(data)-1]
			w.Close()
			closed.open()
			return w.WaitClosed(ctx)
		})
	})
	t.Run("STR-056 use after close of everything", func(t *testing.T) {
		for _, how := range []string{"Close", "Abort"} {
			withPeer(t, func(c *net.TCPConn) error {
				c.Write([]byte("first\nsecond\n"))
				io.Copy(io.Discard, c)
				return nil
			}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				got, err := r.ReadLine(ctx)
				sees(t, got, err, "first\n", nil)
				local, remote := w.LocalAddr().String(), w.RemoteAddr().String()
				if how == "Close" {
					w.Close()
				} else {
					w.Abort()
				}
				if err := w.WaitClosed(ctx); err != nil {
					t.Errorf("WaitClosed = %v", err)
				}
				_, writeErr := w.Write([]byte("x"))
				_, stringErr := w.WriteString("x")
				_, peekErr := r.Peek(ctx, 1)
				_, readErr := readSome(ctx, r, 1)
				_, lineErr := r.ReadLine(ctx)
				_, exactErr := r.ReadExactly(ctx, 1)
				_, allErr := r.ReadAll(ctx)
				for name, err := range map[string]error{
					"Write": writeErr, "WriteString": stringErr, "WriteLines": w.WriteLines([][]byte{{1}}), "Drain": w.Drain(ctx),
					"WriteEOF": w.WriteEOF(), "Peek": peekErr, "Read": readErr, "ReadLine": lineErr, "ReadExactly": exactErr, "ReadAll": allErr,
				} {
					var op *net.OpError
					if !errors.Is(err, net.ErrClosed) || !errors.As(err, &op) {
						t.Errorf("after %s, %s = %v", how, name, err)
					}
				}
				w.Abort()
				if err := w.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
				if w.LocalAddr().String() != local || w.RemoteAddr().String() != remote || w.Buffered() != 0 {
					t.Errorf("it has become %v", w)
				}
				if want := fmt.Sprintf("<StreamWriter closed %s->%s buffered=0>", local, remote); w.String() != want {
					t.Errorf("String = %s, want %s", w, want)
				}
				return nil
			})
		}
	})
	t.Run("STR-057 closing the writer ends the reader's wait", func(t *testing.T) {
		for _, how := range []string{"Close", "Abort"} {
			withPeer(t, func(c *net.TCPConn) error {
				io.Copy(io.Discard, c)
				return nil
			}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				reading := inTask(t, ctx, r.ReadLine)
				if how == "Close" {
					w.Close()
				} else {
					w.Abort()
				}
				got, err := reading.Await(ctx)
				sees(t, got, err, "", net.ErrClosed)
				return nil
			})
		}
	})
	t.Run("STR-057 also while the buffer is flushed", func(t *testing.T) {
		over := newGate()
		withPeer(t, func(c *net.TCPConn) error {
			over.pass()
			return nil
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			reading := inTask(t, ctx, r.ReadLine)
			draining := stuck(t, ctx, w)
			w.Close()
			got, err := reading.Await(ctx)
			sees(t, got, err, "", net.ErrClosed)
			if !strings.Contains(w.String(), "<StreamWriter closing ") {
				t.Errorf("String = %s", w)
			}
			w.Abort()
			draining.Wait(ctx)
			over.open()
			return nil
		})
	})
	t.Run("STR-058 a connection that nobody closed is closed with the loop", func(t *testing.T) {
		for _, network := range []string{"unix", "tcp"} {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = socketPath(t)
			}
			var left stream
			runStreams(t, func(ctx context.Context) error {
				left, _, _ = streamPair(t, ctx, network, address)
				return nil
			})
			// The loop is gone; what is left of the stream still answers.
			if _, err := left.w.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Write = %v", err)
			}
			if err := left.w.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			left.w.Abort()
		}
	})
}

func TestStreamWriteLines(t *testing.T) {
	leavesNothing(t)
	for _, test := range []struct {
		name  string
		lines int
		size  func(i int) int
	}{
		{"none", 0, nil},
		{"a few", 3, func(i int) int { return 10 * i }}, // one of them is empty
		{"more than the kernel takes at once", 5000, func(i int) int { return i % 50 }},
		{"more than there is room for", 40, func(i int) int { return (i % 3) * scaled(400<<10) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var lines [][]byte
			var want []byte
			all := pattern(1 << 20)
			for i := range test.lines {
				line := bytes.Clone(all[i : i+test.size(i)])
				lines = append(lines, line)
				want = append(want, line...)
			}
			written := newGate()
			withPeer(t, func(c *net.TCPConn) error {
				written.pass()
				got, err := io.ReadAll(c)
				if err == nil && !bytes.Equal(got, append(want, want...)) {
					err = fmt.Errorf("%d bytes arrived, not those that were written", len(got))
				}
				return err
			}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				for range 2 { // the second time, behind what waits
					if err := w.WriteLines(lines); err != nil {
						t.Errorf("WriteLines = %v", err)
					}
				}
				for _, line := range lines {
					clear(line) // they are ours again
				}
				written.open()
				w.Close()
				return w.WaitClosed(ctx)
			})
		})
	}
}

func TestStreamLongLine(t *testing.T) {
	leavesNothing(t)
	line := strings.Repeat("x", 300<<10) + "\n"
	withPeer(t, func(c *net.TCPConn) error {
		_, err := c.Write([]byte(line + "next\n"))
		return err
	}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		for range 2 {
			_, err := r.ReadLine(ctx)
			var e *asyncio.LimitOverrunError
			if !errors.As(err, &e) || e.Found || e.Consumed <= r.Limit() || !strings.HasPrefix(line, string(e.Buffered)) {
				t.Fatalf("ReadLine = %v", err)
			}
			if r.Buffered() > 3*r.Limit() {
				t.Errorf("%d bytes are buffered, the limit is %d", r.Buffered(), r.Limit())
			}
		}
		r.SetLimit(1 << 20)
		got, err := r.ReadLine(ctx)
		sees(t, got, err, line, nil)
		got, err = r.ReadLine(ctx)
		sees(t, got, err, "next\n", nil)
		return nil
	})
}

func TestStreamElsewhere(t *testing.T) {
	leavesNothing(t)
	withPeer(t, func(c *net.TCPConn) error {
		io.Copy(io.Discard, c)
		return nil
	}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		reading := inTask(t, ctx, r.ReadLine)
		_, err := r.ReadLine(ctx)
		mistake(t, err, asyncio.ErrConcurrentRead)

		p := make([]byte, 1)
		awaits := map[string]func(ctx context.Context) error{
			"Read":       func(ctx context.Context) error { _, err := r.Read(ctx, p); return err },
			"Drain":      w.Drain,
			"WaitClosed": w.WaitClosed,
		}
		for name, op := range awaits {
			mistake(t, op(context.Background()), asyncio.ErrOutsideTask)
			elsewhere(func() {
				mistake(t, op(ctx), asyncio.ErrWrongGoroutine)
				err := asyncio.Run(context.Background(), op)
				if !errors.Is(err, asyncio.ErrWrongLoop) {
					t.Errorf("%s on another loop = %v", name, err)
				}
			})
		}
		elsewhere(func() {
			_, err := w.Write(p)
			mistake(t, err, asyncio.ErrWrongGoroutine)
			mistake(t, w.WriteLines([][]byte{p}), asyncio.ErrWrongGoroutine)
			mistake(t, w.WriteEOF(), asyncio.ErrWrongGoroutine)
			mistake(t, w.Close(), asyncio.ErrWrongGoroutine)
			panicsWith(t, asyncio.ErrWrongGoroutine, w.Abort)
			_, _, err = asyncio.OpenConnection(ctx, "tcp", w.RemoteAddr().String(), nil)
			mistake(t, err, asyncio.ErrWrongGoroutine)
		})
		if reading.Done() || w.IsClosing() {
			t.Error("one of them had an effect")
		}
		w.Close()
		reading.Wait(ctx)
		return nil
	})
}

// An interruption is an operation that is cancelled at each place where it waits.
type interruption struct {
	// prepare runs before, and check after the operation, on the same loop.
	prepare, check func(ctx context.Context) error
	operation      func(ctx context.Context) error
}

// interruptEverywhere runs the operation once to its end, counting the passes of
// the loop that it takes, and then again for each of them, cancelled in that
// pass. Whatever happened, at the end of check no descriptor may be left and no
// timer, and with the loop all goroutines have to end.
func interruptEverywhere(t *testing.T, build func(t *testing.T) interruption) {
	leavesNothing(t)
	passes := -1
	for k := -1; k <= passes; k++ {
		took, interrupted := interruptOnce(t, build(t), k)
		if t.Failed() {
			t.Fatalf("interrupted in pass %d of %d", k, passes)
		}
		if k == -1 && took == 0 {
			t.Fatal("the operation does not wait anywhere")
		}
		if k == -1 || interrupted && k == passes {
			passes = max(passes, min(took, k+20)) // it takes longer this time: how many passes there are depends on the peer
		}
	}
	t.Logf("interrupted in %d passes", passes)
}

// interruptOnce runs the operation and cancels it in pass k, never if k is -1. It
// returns in how many passes it ended.
func interruptOnce(t *testing.T, i interruption, k int) (passes int, interrupted bool) {
	t.Helper()
	runner := asyncio.NewRunner(asynciotest.WithVirtualClock(), asyncio.WithExceptionHandler(
		func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) { t.Errorf("reported: %s: %v", ec.Message, ec.Err) }))
	defer func() {
		if err := runner.Close(); err != nil {
			t.Errorf("closing the loop: %v", err)
		}
	}()
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	bg := context.Background()
	must("run", runner.Run(bg, func(context.Context) error { return nil })) // the loop has its descriptors now
	loop, _ := runner.Loop()
	open := len(descriptors())
	must("prepare", runner.Run(bg, i.prepare))
	task := asyncio.Go(loop.Context(bg), i.operation, asyncio.WithName("operation"))
	for ; passes != k && !task.Done(); passes++ {
		must("pass", loop.RunOnce(-1))
	}
	interrupted = task.Cancel(nil)
	switch err := loop.RunUntilComplete(task); {
	case !interrupted || err == nil:
		must("operation", err)
	case !errors.Is(err, asyncio.ErrCancelled):
		t.Fatalf("operation: %v, want a cancellation", err)
	}
	must("check", runner.Run(bg, i.check))
	// A virtual clock runs on to the end of all timers, but never faster than the
	// other one while a function of ToThread has yet to end.
	start, before := time.Now(), loop.Time()
	err := loop.RunUntilComplete(asyncio.NewFuture[int](loop.Context(bg)))
	if took, passed := time.Since(start), loop.Time()-before; !errors.Is(err, asyncio.ErrDeadlock) || passed > took {
		t.Errorf("there is still something to wait for: %v, the clock went on by %v in %v", err, passed, took)
	}
	for deadline := time.Now().Add(20 * time.Second); len(descriptors()) != open; time.Sleep(time.Millisecond) { // those of the peers
		if time.Now().After(deadline) {
			t.Errorf("descriptors %v are left, there were %d", descriptors(), open)
			break
		}
	}
	return passes, interrupted
}

// TestStreamReadInterrupted: whatever a cancelled read has seen is there for the
// next one.
func TestStreamReadInterrupted(t *testing.T) {
	sent := []byte("alpha\nbeta\ngamma delta\nepsilon\n")
	for name, read := range map[string]func(ctx context.Context, r *asyncio.StreamReader) ([]byte, error){
		"Read":     func(ctx context.Context, r *asyncio.StreamReader) ([]byte, error) { return readSome(ctx, r, 4) },
		"ReadLine": func(ctx context.Context, r *asyncio.StreamReader) ([]byte, error) { return r.ReadLine(ctx) },
		"ReadUntil": func(ctx context.Context, r *asyncio.StreamReader) ([]byte, error) {
			line, err := r.ReadUntil(ctx, []byte("a\n"), []byte("\n"))
			if e := new(asyncio.IncompleteReadError); errors.As(err, &e) {
				return e.Partial, io.EOF
			}
			return line, err
		},
		"ReadExactly": func(ctx context.Context, r *asyncio.StreamReader) ([]byte, error) {
			data, err := r.ReadExactly(ctx, 7)
			if e := new(asyncio.IncompleteReadError); errors.As(err, &e) {
				return e.Partial, io.EOF
			}
			return data, err
		},
		"ReadAll": func(ctx context.Context, r *asyncio.StreamReader) ([]byte, error) {
			data, err := r.ReadAll(ctx)
			if err == nil {
				err = io.EOF
			}
			return data, err
		},
		"Peek": func(ctx context.Context, r *asyncio.StreamReader) ([]byte, error) {
			data, err := r.Peek(ctx, 7)
			if err != nil && err != io.EOF {
				return nil, err
			}
			data = bytes.Clone(data)
			if derr := r.Discard(len(data)); derr != nil {
				return nil, derr
			}
			return data, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			interruptEverywhere(t, func(t *testing.T) interruption {
				var client, server stream
				var end func()
				var got []byte
				var sending asyncio.AnyTask
				readAll := func(ctx context.Context) error {
					for {
						data, err := read(ctx, client.r)
						got = append(got, data...)
						if err == io.EOF {
							return nil
						}
						if err != nil {
							return err
						}
					}
				}
				return interruption{
					prepare: func(ctx context.Context) error {
						client, server, end = streamPair(t, ctx, "unix", socketPath(t))
						sending = asyncio.Go(ctx, func(ctx context.Context) error {
							for chunk := range slices.Chunk(sent, 5) {
								if err := asyncio.Yield(ctx); err != nil {
									return err
								}
								server.w.Write(chunk)
							}
							return server.w.WriteEOF()
						})
						return nil
					},
					operation: readAll,
					check: func(ctx context.Context) error {
						defer end()
						if err := readAll(ctx); err != nil {
							return err
						}
						if !bytes.Equal(got, sent) {
							t.Errorf("got %q, sent was %q", got, sent)
						}
						return sending.Wait(ctx)
					},
				}
			})
		})
	}
}

// TestStreamWriteInterrupted: a cancelled Drain or WaitClosed drops nothing.
func TestStreamWriteInterrupted(t *testing.T) {
	data := pattern(1 << 20)
	for _, name := range []string{"Drain", "WaitClosed"} {
		t.Run(name, func(t *testing.T) {
			interruptEverywhere(t, func(t *testing.T) interruption {
				var client, server stream
				var end func()
				var receiving *asyncio.Task[[]byte]
				left := data
				write := func(ctx context.Context) error {
					for len(left) > 0 {
						p := left[:min(len(left), 128<<10)]
						left = left[len(p):]
						if _, err := client.w.Write(p); err != nil {
							return err
						}
						if name == "Drain" {
							if err := client.w.Drain(ctx); err != nil {
								return err
							}
						}
					}
					if name == "WaitClosed" {
						client.w.Close()
						return client.w.WaitClosed(ctx)
					}
					return nil
				}
				return interruption{
					prepare: func(ctx context.Context) error {
						client, server, end = streamPair(t, ctx, "unix", socketPath(t))
						receiving = asyncio.CreateTask(ctx, func(ctx context.Context) ([]byte, error) {
							var all []byte
							for p := make([]byte, 100<<10); ; {
								n, err := server.r.Read(ctx, p)
								all = append(all, p[:n]...)
								if err == io.EOF {
									return all, nil
								}
								if err != nil {
									return nil, err
								}
								if err := asyncio.Yield(ctx); err != nil {
									return nil, err
								}
							}
						})
						return nil
					},
					operation: write,
					check: func(ctx context.Context) error {
						defer end()
						if err := write(ctx); err != nil {
							return err
						}
						client.w.Close()
						got, err := receiving.Await(ctx)
						if err == nil && !bytes.Equal(got, data) {
							err = fmt.Errorf("%d bytes arrived of %d", len(got), len(data))
						}
						return errors.Join(err, client.w.WaitClosed(ctx))
					},
				}
			})
		})
	}
}

// TestToThreadInterrupted: a function that has begun ends by its context, one that
// has not is never called, and its place is free again.
func TestToThreadInterrupted(t *testing.T) {
	interruptEverywhere(t, func(t *testing.T) interruption {
		var limiter *asyncio.ThreadLimiter
		calls := 0
		call := func(ctx context.Context) error {
			n, err := asyncio.ToThread(ctx, func(ctx context.Context) (int, error) {
				calls++
				return 5, nil
			}, asyncio.WithLimiter(limiter))
			if err == nil && n != 5 {
				err = fmt.Errorf("ToThread = %d", n)
			}
			return err
		}
		return interruption{
			prepare: func(ctx context.Context) error {
				limiter = asyncio.NewThreadLimiter(1)
				return nil
			},
			operation: func(ctx context.Context) error { return errors.Join(call(ctx), call(ctx)) },
			check: func(ctx context.Context) error {
				err := call(ctx) // with one place, those before have ended
				if calls < 1 || calls > 3 {
					t.Errorf("the function was called %d times", calls)
				}
				return err
			},
		}
	})
}

// A peer that sends in small pieces what ReadExactly has announced to be much
// must not make the reader allocate for each piece.
func TestReadExactlyInSmallPieces(t *testing.T) {
	const pieces, size = 500, 100
	address := peer(t, func(c *net.TCPConn) error {
		ack := make([]byte, 1)
		for range pieces {
			if _, err := c.Write(make([]byte, size)); err != nil {
				return err
			}
			if _, err := c.Read(ack); err != nil {
				return err
			}
		}
		return nil
	})
	runStreams(t, func(ctx context.Context) error {
		r, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
		if err != nil {
			return err
		}
		defer w.Close()
		acks := asyncio.Go(ctx, func(ctx context.Context) error {
			for sent := 0; sent < pieces; {
				if r.Buffered() == size*(sent+1) { // the piece is there, and no other
					sent++
					w.Write([]byte{1})
				}
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
			return nil
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = r.ReadExactly(ctx, 1<<20)
		runtime.ReadMemStats(&after)
		var incomplete *asyncio.IncompleteReadError
		if !errors.As(err, &incomplete) || len(incomplete.Partial) != pieces*size {
			t.Errorf("ReadExactly = %v, want the %d bytes that came", err, pieces*size)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
			t.Errorf("%d bytes were allocated for %d that came", took, pieces*size)
		}
		return acks.Wait(ctx)
	})
}

func TestStreamReadSome(t *testing.T) {
	t.Run("gives what is there, in turn with the other ways to read", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			r, w, end := connected(t, ctx, "tcp", "127.0.0.1:0")
			defer end()
			fmt.Fprint(w, "line\nrest")
			if line, err := r.ReadLine(ctx); string(line) != "line\n" || err != nil {
				t.Errorf("ReadLine gave %q, %v", line, err)
			}
			if p, err := r.ReadSome(ctx); string(p) != "rest" || err != nil {
				t.Errorf("after a line, ReadSome gave %q, %v", p, err)
			}
			fmt.Fprint(w, "more")
			p, err := r.ReadSome(ctx)
			if string(p) != "more" || err != nil {
				t.Errorf("ReadSome gave %q, %v", p, err)
			}
			for i := range p { // the memory may be changed
				p[i] = 0
			}
			w.WriteEOF()
			if p, err := r.ReadSome(ctx); len(p) > 0 || err != io.EOF {
				t.Errorf("at the end ReadSome gave %q, %v", p, err)
			}
			return nil
		})
	})

	t.Run("two readers never share memory", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			for _, size := range []int{100, 100_000} { // a copy, and the loop's own memory
				r1, w1, end1 := connected(t, ctx, "tcp", "127.0.0.1:0")
				r2, w2, end2 := connected(t, ctx, "tcp", "127.0.0.1:0")
				w1.Write(bytes.Repeat([]byte("1"), size))
				w2.Write(bytes.Repeat([]byte("2"), size))
				for got1, got2 := 0, 0; got1 < size || got2 < size; {
					var p1, p2 []byte
					var err error
					if got1 < size {
						if p1, err = r1.ReadSome(ctx); err != nil {
							return err
						}
					}
					if got2 < size {
						if p2, err = r2.ReadSome(ctx); err != nil {
							return err
						}
					}
					if n := bytes.Count(p1, []byte("1")); n != len(p1) {
						t.Fatalf("of %d bytes of the first reader %d are its own", len(p1), n)
					}
					if n := bytes.Count(p2, []byte("2")); n != len(p2) {
						t.Fatalf("of %d bytes of the second reader %d are its own", len(p2), n)
					}
					got1, got2 = got1+len(p1), got2+len(p2)
				}
				end1()
				end2()
			}
			return nil
		})
	})

	t.Run("a cancelled one takes nothing", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			r, w, end := connected(t, ctx, "tcp", "127.0.0.1:0")
			defer end()
			reader := asyncio.Go(ctx, func(ctx context.Context) error {
				_, err := r.ReadSome(ctx)
				return err
			})
			if err := asyncio.Yield(ctx); err != nil {
				return err
			}
			reader.Cancel(nil)
			fmt.Fprint(w, "all")
			if err := reader.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
				t.Errorf("the reader ended with %v", err)
			}
			if p, err := r.ReadSome(ctx); string(p) != "all" || err != nil {
				t.Errorf("the next one gave %q, %v", p, err)
			}
			return nil
		})
	})

	t.Run("of a reader that is fed by hand", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			r := asyncio.NewStreamReader(ctx, 0)
			asyncio.Go(ctx, func(context.Context) error { return errors.Join(r.FeedData([]byte("ab")), r.FeedEOF()) })
			p, err := r.ReadSome(ctx)
			if string(p) != "ab" || err != nil {
				t.Errorf("got %q, %v", p, err)
			}
			if _, err := r.ReadSome(ctx); err != io.EOF {
				t.Errorf("at the end: %v", err)
			}
			return nil
		})
	})
}
