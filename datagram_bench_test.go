// What datagrams cost.

package asyncio_test

import (
	"context"
	"net"
	"testing"

	"github.com/goasyncio/asyncio"
)

// A rally is a protocol that sends each datagram back. The one that serves stops at
// the end of the benchmark.
type rally struct {
	asyncio.NopDatagramProtocol
	transport *asyncio.DatagramTransport
	serves    *testing.B
	over      *asyncio.Future[struct{}]
}

func (r *rally) ConnectionMade(t *asyncio.DatagramTransport) { r.transport = t }

func (r *rally) DatagramReceived(p []byte, from asyncio.SockAddr) {
	if r.serves != nil && !r.serves.Loop() {
		r.over.SetResult(struct{}{})
		return
	}
	r.transport.SendTo(p, from)
}

func BenchmarkDatagram(b *testing.B) {
	b.Run("Echo/Protocol", func(b *testing.B) { // both ends on one loop
		benchOnLoop(b, func(ctx context.Context) error {
			wall, _, err := asyncio.CreateDatagramEndpoint(ctx, func() *rally { return new(rally) }, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
			if err != nil {
				return err
			}
			over := asyncio.NewFuture[struct{}](ctx)
			player, _, err := asyncio.CreateDatagramEndpoint(ctx, func() *rally { return &rally{serves: b, over: over} },
				&asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0", RemoteAddr: wall.LocalAddr().String()})
			if err != nil {
				return err
			}
			if err := player.SendTo(make([]byte, 64), nobody); err != nil {
				return err
			}
			return over.Wait(ctx)
		})
	})
	b.Run("WriteRead", func(b *testing.B) { // of what is there
		benchOnLoop(b, func(ctx context.Context) error {
			server := openEndpoint(b, ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
			client := openEndpoint(b, ctx, &asyncio.DatagramOptions{RemoteAddr: server.LocalAddr().String()})
			p := make([]byte, 64)
			return rounds(b, func() error {
				if err := client.WriteTo(p, nobody); err != nil {
					return err
				}
				_, _, err := server.ReadFrom(ctx, p)
				return err
			})
		})
	})
	b.Run("Echo/Tasks", func(b *testing.B) { // both ends on one loop
		benchOnLoop(b, func(ctx context.Context) error {
			server := openEndpoint(b, ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
			client := openEndpoint(b, ctx, &asyncio.DatagramOptions{RemoteAddr: server.LocalAddr().String()})
			echoing := asyncio.Go(ctx, func(ctx context.Context) error {
				for p := make([]byte, 64); ; {
					n, from, err := server.ReadFrom(ctx, p)
					if err != nil {
						return err
					}
					if err := server.WriteTo(p[:n], from); err != nil {
						return err
					}
				}
			})
			p := make([]byte, 64)
			for b.Loop() {
				if err := client.WriteTo(p, nobody); err != nil {
					return err
				}
				if _, _, err := client.ReadFrom(ctx, p); err != nil {
					return err
				}
			}
			echoing.Cancel(nil)
			echoing.Wait(ctx)
			return nil
		})
	})
	b.Run("Echo/Goroutines", func(b *testing.B) { // package net, for comparison
		server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			b.Fatal(err)
		}
		client, err := net.DialUDP("udp4", nil, server.LocalAddr().(*net.UDPAddr))
		if err != nil {
			b.Fatal(err)
		}
		over := newGate()
		go func() {
			defer over.open()
			for p := make([]byte, 64); ; {
				n, from, err := server.ReadFromUDPAddrPort(p)
				if err != nil {
					return
				}
				server.WriteToUDPAddrPort(p[:n], from)
			}
		}()
		p := make([]byte, 64)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := client.Write(p); err != nil {
				b.Fatal(err)
			}
			if _, err := client.Read(p); err != nil {
				b.Fatal(err)
			}
		}
		client.Close()
		server.Close()
		over.pass()
	})
}
