// What it costs to watch descriptors, and to use sockets by hand.

package asyncio_test

import (
	"context"
	"syscall"
	"testing"

	"github.com/goasyncio/asyncio"
)

// benchPair runs fn with both ends of a pair of sockets that do not block.
func benchPair(b *testing.B, name string, fn func(b *testing.B, ctx context.Context, ours, theirs asyncio.FD) error) {
	b.Run(name, func(b *testing.B) {
		if onPortable {
			b.Skip("the portable backend has no descriptors")
		}
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer syscall.Close(fds[0])
		defer syscall.Close(fds[1])
		benchOnLoop(b, func(ctx context.Context) error { return fn(b, ctx, asyncio.FD(fds[0]), asyncio.FD(fds[1])) })
	})
}

func BenchmarkAddReader(b *testing.B) {
	benchPair(b, "Ready", func(b *testing.B, ctx context.Context, ours, theirs asyncio.FD) error { // a byte that comes
		loop := ownLoop(ctx)
		came := new(asyncio.Event)
		one := make([]byte, 1)
		err := loop.AddReader(ours, func() {
			syscall.Read(int(ours), one)
			came.Set()
		})
		if err != nil {
			return err
		}
		defer loop.RemoveReader(ours)
		return rounds(b, func() error {
			came.Clear()
			if _, err := syscall.Write(int(theirs), one); err != nil {
				return err
			}
			return came.Wait(ctx)
		})
	})
	benchPair(b, "AddRemove", func(b *testing.B, ctx context.Context, ours, theirs asyncio.FD) error {
		loop := ownLoop(ctx)
		fn := func() {}
		return rounds(b, func() error {
			err := loop.AddReader(ours, fn)
			loop.RemoveReader(ours)
			return err
		})
	})
}

func BenchmarkSock(b *testing.B) {
	benchPair(b, "SendRecv", func(b *testing.B, ctx context.Context, ours, theirs asyncio.FD) error { // of what is there
		p := make([]byte, 64)
		return rounds(b, func() error {
			if err := asyncio.SockSendAll(ctx, theirs, p); err != nil {
				return err
			}
			_, err := asyncio.SockRecv(ctx, ours, p)
			return err
		})
	})
	benchPair(b, "Echo", func(b *testing.B, ctx context.Context, ours, theirs asyncio.FD) error { // of another task
		q := make([]byte, 64)
		echoing := asyncio.Go(ctx, func(ctx context.Context) error {
			for {
				n, err := asyncio.SockRecv(ctx, theirs, q)
				if err != nil {
					return err
				}
				if err := asyncio.SockSendAll(ctx, theirs, q[:n]); err != nil {
					return err
				}
			}
		})
		p := make([]byte, 64)
		err := rounds(b, func() error {
			if err := asyncio.SockSendAll(ctx, ours, p); err != nil {
				return err
			}
			_, err := asyncio.SockRecv(ctx, ours, p)
			return err
		})
		echoing.Cancel(nil)
		echoing.Wait(ctx)
		return err
	})
}
