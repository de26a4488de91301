// What streams cost.

package asyncio_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/goasyncio/asyncio"
)

// withEchoPair runs fn with a client whose peer, a task of the same loop, sends
// back what it reads.
func withEchoPair(t testing.TB, ctx context.Context, network string, fn func(client stream) error) error {
	address := "127.0.0.1:0"
	if network == "unix" {
		address = socketPath(t)
	}
	client, server, end := streamPair(t, ctx, network, address)
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
	for _, network := range []string{"tcp", "unix"} {
		b.Run("Echo/"+network, func(b *testing.B) { // of 64 bytes, both ends on one loop
			benchOnLoop(b, func(ctx context.Context) error {
				return withEchoPair(b, ctx, network, func(client stream) error {
					p := make([]byte, 64)
					return rounds(b, func() error {
						if _, err := client.w.Write(p); err != nil {
							return err
						}
						_, err := client.r.Read(ctx, p)
						return err
					})
				})
			})
		})
	}
	b.Run("Read1K", func(b *testing.B) { // from a peer that sends without end
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
	// out is a benchmark of writes to a peer that reads all.
	out := func(name string, prepare func(ctx context.Context, w *asyncio.StreamWriter) (size int, round func() error)) {
		b.Run(name, func(b *testing.B) {
			address := peer(b, func(c *net.TCPConn) error {
				_, err := io.Copy(io.Discard, c)
				return err
			})
			benchOnLoop(b, func(ctx context.Context) error {
				_, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
				if err != nil {
					return err
				}
				size, round := prepare(ctx, w)
				b.SetBytes(int64(size))
				if err := rounds(b, round); err != nil {
					return err
				}
				w.Close()
				return w.WaitClosed(ctx)
			})
		})
	}
	write := func(name string, size int) { // with Drain
		out(name, func(ctx context.Context, w *asyncio.StreamWriter) (int, func() error) {
			p := make([]byte, size)
			return size, func() error {
				if _, err := w.Write(p); err != nil {
					return err
				}
				return w.Drain(ctx)
			}
		})
	}
	write("Write64Drain", 64)
	write("Write1KDrain", 1<<10)
	write("Write64KDrain", 64<<10)
	out("Write64", func(ctx context.Context, w *asyncio.StreamWriter) (int, func() error) { // a hundred in a pass
		p := make([]byte, 64)
		n := 0
		return len(p), func() error {
			if n++; n%100 == 0 {
				if err := w.Drain(ctx); err != nil {
					return err
				}
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
			_, err := w.Write(p)
			return err
		}
	})
	out("WriteLines", func(ctx context.Context, w *asyncio.StreamWriter) (int, func() error) { // ten of 64 bytes
		lines := make([][]byte, 10)
		for i := range lines {
			lines[i] = make([]byte, 64)
		}
		return 640, func() error {
			if err := w.WriteLines(lines); err != nil {
				return err
			}
			return w.Drain(ctx)
		}
	})
	// fed is a benchmark of reads of 64 bytes that are buffered.
	fed := func(name string, read func(ctx context.Context, r *asyncio.StreamReader) error) {
		measure(b, name, func(ctx context.Context) func() error {
			r := asyncio.NewStreamReader(ctx, 0)
			lines := make([]byte, 64*100)
			for i := 63; i < len(lines); i += 64 {
				lines[i] = '\n'
			}
			b.SetBytes(64)
			return func() error {
				if r.Buffered() == 0 {
					if err := r.FeedData(lines); err != nil {
						return err
					}
				}
				return read(ctx, r)
			}
		})
	}
	fed("ReadLine", func(ctx context.Context, r *asyncio.StreamReader) error {
		_, err := r.ReadLine(ctx)
		return err
	})
	separator := []byte("\n")
	fed("ReadUntil", func(ctx context.Context, r *asyncio.StreamReader) error {
		_, err := r.ReadUntil(ctx, separator)
		return err
	})
	fed("ReadExactly", func(ctx context.Context, r *asyncio.StreamReader) error {
		_, err := r.ReadExactly(ctx, 64)
		return err
	})
	p := make([]byte, 64)
	fed("Read", func(ctx context.Context, r *asyncio.StreamReader) error {
		_, err := r.Read(ctx, p)
		return err
	})
	fed("PeekDiscard", func(ctx context.Context, r *asyncio.StreamReader) error {
		if _, err := r.Peek(ctx, 64); err != nil {
			return err
		}
		return r.Discard(64)
	})
	b.Run("Connect", func(b *testing.B) { // and accept, and close, both ends on one loop
		benchOnLoop(b, func(ctx context.Context) error {
			srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(context.Context, *asyncio.StreamReader, *asyncio.StreamWriter) error { return nil }, nil)
			if err != nil {
				return err
			}
			address := srv.Addr().String()
			err = rounds(b, func() error { return open(ctx, "tcp", address, nil) })
			return errors.Join(err, closes(ctx, srv))
		})
	})
}
