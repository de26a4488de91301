// Tests of the simulated network: programs on it, time, and what is repeatable.

package asynciotest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// echo is a program that sends back what it receives at port 7.
func echo(ctx context.Context) error {
	s, err := asyncio.StartServer(ctx, "tcp", ":7", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		defer w.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := r.Read(ctx, buf)
			if err != nil {
				return err
			}
			w.Write(buf[:n])
			if err := w.Drain(ctx); err != nil {
				return err
			}
		}
	}, nil)
	if err != nil {
		return err
	}
	return s.ServeForever(ctx)
}

// ask sends a line to the echo at address and returns the answer.
func ask(ctx context.Context, address, line string) (string, error) {
	r, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
	if err != nil {
		return "", err
	}
	defer w.Close()
	w.Write([]byte(line + "\n"))
	answer, err := r.ReadLine(ctx)
	return strings.TrimSuffix(string(answer), "\n"), err
}

func TestNetworkConnects(t *testing.T) {
	n := asynciotest.NewNetwork(1, asynciotest.WithLink(asynciotest.Link{Latency: asynciotest.Fixed(time.Millisecond)}))
	n.Host("server").Go(echo)
	n.Run(t, func(ctx context.Context) error {
		start := n.Now()
		got, err := ask(ctx, "server:7", "hello")
		if got != "hello" || err != nil {
			t.Errorf("the answer is %q, %v", got, err)
		}
		// Name, connection, bytes: a way and back each.
		if took := n.Now() - start; took != 6*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		return nil
	})
}

func BenchmarkNetworkEcho(b *testing.B) {
	n := asynciotest.NewNetwork(1, asynciotest.WithLogLimit(0))
	n.Host("server").Go(echo)
	err := n.Simulate(func(ctx context.Context) error {
		r, w, err := asyncio.OpenConnection(ctx, "tcp", "server:7", nil)
		if err != nil {
			return err
		}
		b.ReportAllocs()
		b.ResetTimer()
		before := n.Events()
		for range b.N {
			w.Write([]byte("hello, world\n"))
			if _, err := r.ReadLine(ctx); err != nil {
				return err
			}
		}
		b.ReportMetric(float64(n.Events()-before)/b.Elapsed().Seconds(), "events/s")
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

var _ = errors.New
var _ = fmt.Sprint
var _ = io.EOF
