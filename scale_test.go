//go:build linux

// Scale: many connections and many tasks on one thread, and memory that does not
// grow with what is over.

package asyncio_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// amount is how many of something a test takes: fewer under -short, and under the
// race detector, which allows some 8,000 goroutines.
func amount(full, race int) int {
	switch {
	case testing.Short():
		return min(full, race) / 2
	case underRace:
		return race
	}
	return full
}

// clientRounds is how many lines each of the clients has echoed.
const clientRounds = 3

// TestScaleConnections serves thousands of connections at once, whose clients are
// in another process. All of them are open while each has its lines echoed.
func TestScaleConnections(t *testing.T) {
	n := amount(10_000, 2_000)
	if role := os.Getenv(childRole); role != "" {
		var address string
		if _, err := fmt.Sscan(role, &address, &n); err != nil {
			t.Fatal(err)
		}
		if err := manyClients(address, n); err != nil {
			t.Error(err)
		}
		return
	}
	leavesNothing(t)
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
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was)
	start := time.Now()
	runStreams(t, func(ctx context.Context) error {
		before := len(descriptors())
		connected, most, lines := 0, 0, 0
		srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			connected++
			most = max(most, connected)
			defer func() { connected-- }()
			for line, err := range r.Lines(ctx) {
				if err != nil {
					return err
				}
				lines++
				w.Write(line)
				if err := w.Drain(ctx); err != nil {
					return err
				}
			}
			return nil
		}, nil)
		if err != nil {
			return err
		}
		out, err := asyncio.ToThread(ctx, func(context.Context) ([]byte, error) {
			return child(t, fmt.Sprint(srv.Addr(), " ", n)).CombinedOutput()
		})
		if err != nil {
			t.Errorf("the clients: %v\n%s", err, out)
		}
		if err := closes(ctx, srv); err != nil {
			return err
		}
		if most != n || lines != n*clientRounds {
			t.Errorf("%d connections were open at once, %d lines came; want %d and %d", most, lines, n, n*clientRounds)
		}
		if after := descriptorsLeft(before); after > before {
			t.Errorf("%d descriptors are left, before there were %d", after, before)
		}
		return nil
	})
	t.Logf("%d connections, %d lines each, in %v", n, clientRounds, time.Since(start))
}

// manyClients are n clients of package net, on a few goroutines.
func manyClients(address string, n int) error {
	const workers = 8
	conns := make([]net.Conn, n)
	each := func(do func(i int) error) error {
		var wg sync.WaitGroup
		errs := make([]error, workers)
		for w := range workers {
			wg.Go(func() {
				for i := w; i < n && errs[w] == nil; i += workers {
					errs[w] = do(i)
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	}
	err := each(func(i int) (err error) {
		conns[i], err = net.Dial("tcp", address)
		return err
	})
	for round := 0; round < clientRounds && err == nil; round++ {
		line := func(i int) string { return fmt.Sprintf("client %d round %d\n", i, round) }
		err = each(func(i int) error {
			_, err := conns[i].Write([]byte(line(i)))
			return err
		})
		if err != nil {
			break
		}
		err = each(func(i int) error {
			got, err := bufio.NewReaderSize(conns[i], 64).ReadString('\n')
			if err == nil && got != line(i) {
				err = fmt.Errorf("got %q, want %q", got, line(i))
			}
			return err
		})
	}
	return errors.Join(err, each(func(i int) error {
		if conns[i] == nil {
			return nil
		}
		return conns[i].Close()
	}))
}

// TestScaleSleepers: many tasks sleep at once, and the last one wakes about as
// early as the first.
func TestScaleSleepers(t *testing.T) {
	leavesNothing(t)
	n := amount(100_000, 5_000)
	sleepers := func(ctx context.Context) error {
		tasks := make([]*asyncio.Task[struct{}], n)
		for i := range tasks {
			tasks[i] = asyncio.Go(ctx, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Second) })
		}
		for _, task := range tasks {
			if err := task.Wait(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	t.Run("on the wall clock", func(t *testing.T) {
		start := time.Now()
		runStreams(t, func(ctx context.Context) error { return sleepers(ctx) })
		took := time.Since(start)
		if took < time.Second {
			t.Errorf("%d tasks slept a second in %v", n, took)
		}
		t.Logf("%d tasks slept a second in %v", n, took)
	})
	t.Run("on a virtual clock", func(t *testing.T) {
		start := time.Now()
		asynciotest.Run(t, func(ctx context.Context) error {
			err := sleepers(ctx)
			if now := asyncio.CurrentTask(ctx).Loop().Time(); now != time.Second {
				t.Errorf("it is %v", now)
			}
			return err
		})
		t.Logf("%d tasks slept a second in %v", n, time.Since(start))
	})
}

// heap returns how much memory is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// inConstantMemory fails the test if after fn more than a few megabytes are in
// use that were not before.
func inConstantMemory(t *testing.T, ctx context.Context, n int, fn func(ctx context.Context, n int) error) {
	t.Helper()
	const few = 4 << 20
	if err := fn(ctx, n/100); err != nil { // to warm up
		t.Fatal(err)
	}
	goroutines, before := runtime.NumGoroutine(), heap()
	start := time.Now()
	if err := fn(ctx, n); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	if grown := heap() - before; grown > few {
		t.Errorf("memory has grown by %d bytes", grown)
	}
	if now := runtime.NumGoroutine(); now > goroutines+10 {
		t.Errorf("%d goroutines run, before %d", now, goroutines)
	}
	t.Logf("%d in %v, %v each", n, took, took/time.Duration(n))
}

func TestScaleConstantMemory(t *testing.T) {
	leavesNothing(t)
	n := amount(1_000_000, 100_000)
	for _, test := range []struct {
		name string
		fn   func(ctx context.Context, n int) error
	}{
		{"tasks that end at once", func(ctx context.Context, n int) error {
			for i := range n {
				v, err := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) { return i, nil }).Await(ctx)
				if v != i || err != nil {
					return fmt.Errorf("task %d gave %d, %v", i, v, err)
				}
			}
			return nil
		}},
		{"tasks that nobody awaits", func(ctx context.Context, n int) error {
			ran := 0
			for range n / 1000 {
				for range 1000 {
					asyncio.Go(ctx, func(ctx context.Context) error { ran++; return nil })
				}
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
			if err := asyncio.Yield(ctx); err != nil || ran != n/1000*1000 {
				return fmt.Errorf("%d have run, %v", ran, err)
			}
			return nil
		}},
		{"a task that starts its successor", func(ctx context.Context, n int) error {
			end := asyncio.NewFuture[int](ctx)
			var link func(i int) func(ctx context.Context) error
			link = func(i int) func(ctx context.Context) error {
				return func(ctx context.Context) error {
					if i == n {
						return end.SetResult(i)
					}
					asyncio.Go(ctx, link(i+1))
					return asyncio.Yield(ctx)
				}
			}
			asyncio.Go(ctx, link(0))
			_, err := end.Await(ctx)
			return err
		}},
		{"timeouts", func(ctx context.Context, n int) error {
			for range n {
				if err := asyncio.Timeout(ctx, time.Hour, asyncio.Yield); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			runStreams(t, func(ctx context.Context) error {
				inConstantMemory(t, ctx, n, test.fn)
				return nil
			})
		})
	}
}
