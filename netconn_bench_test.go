// What a net.Conn over a stream costs.

package asyncio_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/goasyncio/asyncio"
)

func BenchmarkNetConn(b *testing.B) {
	// Of 64 bytes, to a peer on the same loop that sends them back.
	echo := func(b *testing.B, c net.Conn) error {
		p := make([]byte, 64)
		for b.Loop() {
			if _, err := c.Write(p); err != nil {
				return err
			}
			if _, err := c.Read(p); err != nil {
				return err
			}
		}
		return nil
	}
	b.Run("Echo", func(b *testing.B) {
		benchOnLoop(b, func(ctx context.Context) error {
			return withEchoPair(b, ctx, "tcp", func(client stream) error {
				return echo(b, asyncio.NetConn(ctx, client.r, client.w))
			})
		})
	})
	b.Run("EchoThroughDoor", func(b *testing.B) {
		benchOnLoop(b, func(ctx context.Context) error {
			return withEchoPair(b, ctx, "tcp", func(client stream) error {
				c := asyncio.NetConn(ctx, client.r, client.w)
				_, err := asyncio.ToThread(ctx, func(context.Context) (any, error) { return nil, echo(b, c) })
				return err
			})
		})
	})
	for _, through := range []bool{false, true} {
		name := ""
		if through {
			name = "ThroughDoor"
		}
		on := func(ctx context.Context, fn func() error) error {
			if !through {
				return fn()
			}
			_, err := asyncio.ToThread(ctx, func(context.Context) (any, error) { return nil, fn() })
			return err
		}
		b.Run("Read"+name, func(b *testing.B) { // of 1 byte, from what is buffered
			benchOnLoop(b, func(ctx context.Context) error {
				_, server, end := streamPair(b, ctx, "tcp", "127.0.0.1:0")
				defer end()
				r := asyncio.NewStreamReader(ctx, 0)
				r.FeedData(make([]byte, 16<<20))
				c := asyncio.NetConn(ctx, r, server.w)
				p := make([]byte, 1)
				return on(ctx, func() error {
					for b.Loop() {
						if _, err := c.Read(p); err != nil {
							return err
						}
					}
					return nil
				})
			})
		})
		b.Run("Write"+name, func(b *testing.B) { // of 1 KB, to a peer that reads all
			address := peer(b, func(c *net.TCPConn) error {
				_, err := io.Copy(io.Discard, c)
				return err
			})
			benchOnLoop(b, func(ctx context.Context) error {
				r, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
				if err != nil {
					return err
				}
				c := asyncio.NetConn(ctx, r, w)
				p := make([]byte, 1<<10)
				b.SetBytes(int64(len(p)))
				err = on(ctx, func() error {
					for b.Loop() {
						if _, err := c.Write(p); err != nil {
							return err
						}
					}
					return nil
				})
				c.Close()
				return errors.Join(err, w.WaitClosed(ctx))
			})
		})
	}
}
