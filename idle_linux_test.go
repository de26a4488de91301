// What an idle connection costs, and what is left of thousands that come and go.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/goasyncio/asyncio"
)

// raiseLimit lets the process have as many descriptors as it may, and skips the test
// if those are fewer than n. It returns what undoes it.
func raiseLimit(t testing.TB, n int) (undo func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < uint64(n)+100 {
		t.Skipf("a process may have %d descriptors here", limit.Max)
	}
	was := limit
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return func() { syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was) }
}

// idlers plays the part of many clients that connect, and wait for the end of
// standard input. Each has something to say first.
func idlers(t testing.TB, role string) {
	var address string
	var n int
	if _, err := fmt.Sscan(role, &address, &n); err != nil {
		t.Fatal(err)
	}
	raiseLimit(t, n)
	for range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("connected")
	io.Copy(io.Discard, os.Stdin)
}

// memory returns how much heap and stack is in use.
func memory() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// idleCost returns how many bytes each of n idle connections takes at a server.
func idleCost(t testing.TB, n int, start func(ctx context.Context) (*asyncio.Server, error)) (bytes int64) {
	defer raiseLimit(t, n)()
	runStreams(t, func(ctx context.Context) error {
		srv, err := start(ctx)
		if err != nil {
			return err
		}
		if err := open(ctx, "tcp", srv.Addr().String(), nil); err != nil { // warms up
			return err
		}
		before := memory()
		c := child(t, fmt.Sprint(srv.Addr(), " ", n))
		in, err := c.StdinPipe()
		if err != nil {
			return err
		}
		out, err := c.StdoutPipe()
		if err != nil {
			return err
		}
		if err := c.Start(); err != nil {
			return err
		}
		_, err = asyncio.ToThread(ctx, func(context.Context) (int, error) { return out.Read(make([]byte, 9)) })
		bytes = (memory() - before) / int64(n)
		in.Close()
		_, werr := asyncio.ToThread(ctx, func(context.Context) (int, error) {
			io.Copy(io.Discard, out)
			return 0, c.Wait()
		})
		return errors.Join(err, werr, srv.Shutdown(ctx))
	})
	return bytes
}

// TestIdleConnections holds the library to what CreateServer says of an idle
// connection.
func TestIdleConnections(t *testing.T) {
	if role := os.Getenv(childRole); role != "" {
		idlers(t, role)
		return
	}
	leavesNothing(t)
	for _, test := range []struct {
		name  string
		most  int64
		start func(ctx context.Context) (*asyncio.Server, error)
	}{
		{"a protocol", 700, func(ctx context.Context) (*asyncio.Server, error) {
			return asyncio.CreateServer(ctx, "tcp", "127.0.0.1:0", newEcho, nil)
		}},
		{"a stream", 8000, func(ctx context.Context) (*asyncio.Server, error) {
			return asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", echoes, nil)
		}},
	} {
		n := amount(10_000, 2_000)
		cost := idleCost(t, n, test.start)
		if cost > test.most && !underRace && !testing.Short() {
			t.Errorf("%s: %d bytes a connection, want %d at most", test.name, cost, test.most)
		}
		t.Logf("%s: %d bytes a connection, with %d of them", test.name, cost, n)
	}
}

// echoes is a handler that sends back what it gets.
func echoes(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
	for p := make([]byte, 64); ; {
		n, err := r.Read(ctx, p)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		w.Write(p[:n])
		if err := w.Drain(ctx); err != nil {
			return err
		}
	}
}
