// Examples of datagrams: called back, and in the hands of tasks.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/goasyncio/asyncio"
)

// An echoServer sends back what it gets.
type echoServer struct {
	asyncio.NopDatagramProtocol
	transport *asyncio.DatagramTransport
}

func (s *echoServer) ConnectionMade(t *asyncio.DatagramTransport) { s.transport = t }

func (s *echoServer) DatagramReceived(p []byte, from asyncio.SockAddr) {
	s.transport.SendTo(p, from)
}

// An echoClient says one thing and waits for the answer.
type echoClient struct {
	asyncio.NopDatagramProtocol
	message string
	answer  *asyncio.Future[string]
}

func (c *echoClient) ConnectionMade(t *asyncio.DatagramTransport) {
	t.SendTo([]byte(c.message), asyncio.SockAddr{})
}

func (c *echoClient) DatagramReceived(p []byte, _ asyncio.SockAddr) {
	c.answer.SetResult(string(p)) // a copy: p is valid during the call only
}

func (c *echoClient) ErrorReceived(err error) { c.answer.SetError(err) }

// Both ends of a conversation over UDP, as protocols.
func ExampleCreateDatagramEndpoint() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		server, _, err := asyncio.CreateDatagramEndpoint(ctx, func() *echoServer { return new(echoServer) },
			&asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
		if err != nil {
			return err
		}
		defer server.Close()
		client, protocol, err := asyncio.CreateDatagramEndpoint(ctx, func() *echoClient {
			return &echoClient{message: "hello", answer: asyncio.NewFuture[string](ctx)}
		}, &asyncio.DatagramOptions{RemoteAddr: server.LocalAddr().String()})
		if err != nil {
			return err
		}
		defer client.Close()
		answer, err := protocol.answer.Await(ctx)
		fmt.Println(answer)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: hello
}

// Both ends of a conversation over UDP, as tasks. A datagram may be lost, so the
// client has a timeout.
func ExampleOpenDatagramEndpoint() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		server, err := asyncio.OpenDatagramEndpoint(ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
		if err != nil {
			return err
		}
		defer server.Close()
		asyncio.Go(ctx, func(ctx context.Context) error {
			for buf := make([]byte, 64<<10); ; {
				n, from, err := server.ReadFrom(ctx, buf)
				if errors.Is(err, net.ErrClosed) {
					return nil
				}
				if err != nil {
					return err
				}
				if err := server.WriteTo(buf[:n], from); err != nil {
					return err
				}
			}
		})

		client, err := asyncio.OpenDatagramEndpoint(ctx, &asyncio.DatagramOptions{RemoteAddr: server.LocalAddr().String()})
		if err != nil {
			return err
		}
		defer client.Close()
		if err := client.WriteTo([]byte("hello"), asyncio.SockAddr{}); err != nil {
			return err
		}
		return asyncio.Timeout(ctx, 5*time.Second, func(ctx context.Context) error {
			buf := make([]byte, 64<<10)
			n, _, err := client.ReadFrom(ctx, buf)
			fmt.Printf("%s\n", buf[:n])
			return err
		})
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: hello
}
