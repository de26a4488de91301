// Examples of NetConn: code that knows no loop, in tasks and on other goroutines.

package asyncio_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/goasyncio/asyncio"
)

// serveHello serves HTTP with what net/http has for parsing and formatting; the tasks of
// all connections are on one thread.
func serveHello(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
	c := asyncio.NetConn(ctx, r, w)
	for in := bufio.NewReader(c); ; {
		c.SetReadDeadline(asyncio.Now(ctx).Add(time.Minute))
		req, err := http.ReadRequest(in)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		body := "hello from " + req.URL.Path
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
}

// A server and a client of HTTP in tasks of one loop. Where net/http reads, the task
// is suspended.
func ExampleNetConn() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", serveHello, nil)
		if err != nil {
			return err
		}
		defer srv.Close()
		r, w, err := asyncio.OpenConnection(ctx, "tcp", srv.Addr().String(), nil)
		if err != nil {
			return err
		}
		c := asyncio.NetConn(ctx, r, w)
		defer c.Close()
		for _, path := range []string{"/one", "/two"} {
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: example\r\n\r\n", path)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				return err
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				return err
			}
			fmt.Println(resp.Status, string(body))
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 200 OK hello from /one
	// 200 OK hello from /two
}

// An http.Client whose connections are the loop's: its own goroutines read and write
// them by way of the loop.
func ExampleNetConn_transport() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", serveHello, nil)
		if err != nil {
			return err
		}
		defer srv.Close()
		loop := srv.Loop()
		transport := &http.Transport{
			DialContext: func(dial context.Context, network, address string) (net.Conn, error) {
				conn := asyncio.RunCoroutineThreadsafe(dial, loop, func(ctx context.Context) (net.Conn, error) {
					r, w, err := asyncio.OpenConnection(ctx, network, address, nil)
					if err != nil {
						return nil, err
					}
					return asyncio.NetConn(context.WithoutCancel(ctx), r, w), nil // it outlives this task
				})
				stop := context.AfterFunc(dial, func() { conn.Cancel(context.Cause(dial)) })
				defer stop()
				return conn.Wait(context.Background())
			},
		}
		client := &http.Client{Transport: transport}
		defer transport.CloseIdleConnections()
		body, err := asyncio.ToThread(ctx, func(ctx context.Context) ([]byte, error) {
			req, err := http.NewRequestWithContext(ctx, "GET", "http://"+srv.Addr().String()+"/there", nil)
			if err != nil {
				return nil, err
			}
			resp, err := client.Do(req)
			if err != nil {
				return nil, err
			}
			defer resp.Body.Close()
			return io.ReadAll(resp.Body)
		})
		fmt.Printf("%s\n", body)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: hello from /there
}
