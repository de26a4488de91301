// What streams and tasks cost: benchmarks, and the allocations that are promised.

package asyncio_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// benchOnLoop runs fn in the main task of a loop.
func benchOnLoop(b *testing.B, fn func(ctx context.Context) error) {
	b.Helper()
	b.ReportAllocs()
	runStreams(b, fn)
}

// withEchoPair runs fn with a client whose peer, a task of the same loop, sends
// back what it reads.
func withEchoPair(t testing.TB, ctx context.Context, fn func(client stream) error) error {
	client, server, end := streamPair(t, ctx, "tcp", "127.0.0.1:0")
	echoing := asyncio.Go(ctx, func(ctx context.Context) error {
		for p := make([]byte, 4<<10); ; {
			n, err := server.r.Read(ctx, p)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if _, err := server.w.Write(p[:n]); err != nil {
				return err
			}
		}
	})
	if err := fn(client); err != nil {
		return err
	}
	if err := client.w.WriteEOF(); err != nil {
		return err
	}
	err := echoing.Wait(ctx)
	end()
	return err
}

func BenchmarkStream(b *testing.B) {
	b.Run("EchoRoundTrip", func(b *testing.B) { // both ends on one loop
		benchOnLoop(b, func(ctx context.Context) error {
			return withEchoPair(b, ctx, func(client stream) error {
				p := make([]byte, 64)
				for b.Loop() {
					if _, err := client.w.Write(p); err != nil {
						return err
					}
					if _, err := client.r.Read(ctx, p); err != nil {
						return err
					}
				}
				return nil
			})
		})
	})
	b.Run("Read", func(b *testing.B) { // of 1 KB, from a peer that sends without end
		over := newGate()
		address := peer(b, func(c *net.TCPConn) error {
			for chunk := make([]byte, 1<<20); ; {
				if _, err := c.Write(chunk); err != nil {
					over.pass()
					return nil
				}
			}
		})
		benchOnLoop(b, func(ctx context.Context) error {
			defer over.open()
			r, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
			if err != nil {
				return err
			}
			defer w.Abort()
			p := make([]byte, 1<<10)
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				if _, err := r.Read(ctx, p); err != nil {
					return err
				}
			}
			return nil
		})
	})
	b.Run("Write", func(b *testing.B) { // of 1 KB, with Drain, to a peer that reads all
		address := peer(b, func(c *net.TCPConn) error {
			_, err := io.Copy(io.Discard, c)
			return err
		})
		benchOnLoop(b, func(ctx context.Context) error {
			_, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
			if err != nil {
				return err
			}
			p := make([]byte, 1<<10)
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				if _, err := w.Write(p); err != nil {
					return err
				}
				if err := w.Drain(ctx); err != nil {
					return err
				}
			}
			w.Close()
			return w.WaitClosed(ctx)
		})
	})
	b.Run("ReadLine", func(b *testing.B) { // of 64 bytes, that are buffered
		benchOnLoop(b, func(ctx context.Context) error {
			r := asyncio.NewStreamReader(ctx, 0)
			lines := make([]byte, 64*100)
			for i := 63; i < len(lines); i += 64 {
				lines[i] = '\n'
			}
			b.SetBytes(64)
			for b.Loop() {
				if r.Buffered() == 0 {
					if err := r.FeedData(lines); err != nil {
						return err
					}
				}
				if _, err := r.ReadLine(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func BenchmarkTask(b *testing.B) {
	for _, bench := range []struct {
		name string
		op   func(ctx context.Context) error
	}{
		{"CreateTaskAwait", createAndAwait},
		{"Sleep", func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Nanosecond) }},
		{"Yield", asyncio.Yield},
		{"Timeout", func(ctx context.Context) error { return asyncio.Timeout(ctx, time.Hour, nothing) }},
		{"TaskGroup", func(ctx context.Context) error { // of two tasks
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Go(nothing)
				g.Go(nothing)
				return nil
			})
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			benchOnLoop(b, func(ctx context.Context) error {
				for b.Loop() {
					if err := bench.op(ctx); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

func nothing(context.Context) error { return nil }

func createAndAwait(ctx context.Context) error {
	_, err := asyncio.CreateTask(ctx, five).Await(ctx)
	return err
}

func five(context.Context) (int, error) { return 5, nil }

// TestAllocations holds the library to what its documentation promises.
func TestAllocations(t *testing.T) {
	if underRace {
		t.Skip("the race detector allocates, too")
	}
	leavesNothing(t)
	costs := func(what string, most float64, op func() error) {
		t.Helper()
		failed := error(nil)
		got := testing.AllocsPerRun(2000, func() {
			if err := op(); err != nil {
				failed = err
			}
		})
		if got > most || failed != nil {
			t.Errorf("%s costs %v allocations, want %v at most: %v", what, got, most, failed)
		}
		t.Logf("%s: %v", what, got)
	}
	runStreams(t, func(ctx context.Context) error {
		costs("a task that is created and awaited", 4, func() error { return createAndAwait(ctx) })
		costs("Sleep", 2, func() error { return asyncio.Sleep(ctx, time.Nanosecond) })
		costs("Yield", 0, func() error { return asyncio.Yield(ctx) })
		return withEchoPair(t, ctx, func(client stream) error {
			p := make([]byte, 64)
			costs("Write and Read of both ends, each Read with a wait", 0, func() error {
				if _, err := client.w.Write(p); err != nil {
					return err
				}
				_, err := client.r.Read(ctx, p)
				return err
			})
			costs("Drain below the mark", 0, func() error { return client.w.Drain(ctx) })
			return nil
		})
	})
}
