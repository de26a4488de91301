// Examples of streams: a reader, a writer, a server and a client.

package asyncio_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/goasyncio/asyncio"
)

// A server answers each client in a task of its own, and a client talks to it.
func ExampleServer() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			for line, err := range r.Lines(ctx) {
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "you said %s", line)
				if err := w.Drain(ctx); err != nil {
					return err
				}
			}
			return nil // closes the connection
		}, nil)
		if err != nil {
			return err
		}
		r, w, err := asyncio.OpenConnection(ctx, "tcp", srv.Addr().String(), nil)
		if err != nil {
			return err
		}
		fmt.Fprintln(w, "hello")
		line, err := r.ReadLine(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("%s", line)
		w.Close()
		srv.Close()
		return srv.WaitClosed(ctx) // until its clients are gone
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: you said hello
}

// ServeForever serves until its task is cancelled, here by a timeout.
func ExampleServer_ServeForever() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			_, err := w.WriteString("hello\n")
			return err
		}, nil)
		if err != nil {
			return err
		}
		err = asyncio.Timeout(ctx, 10*time.Millisecond, srv.ServeForever)
		fmt.Println(err, srv.IsServing())
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: asyncio: timeout false
}

// A connection over TLS. The time for all of it is limited by a timeout.
func ExampleOpenConnection() {
	hs := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello over ", r.Proto)
	}))
	defer hs.Close()
	trusted := hs.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs

	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		return asyncio.Timeout(ctx, 10*time.Second, func(ctx context.Context) error {
			r, w, err := asyncio.OpenConnection(ctx, "tcp", hs.Listener.Addr().String(), &asyncio.ConnOptions{
				TLS: &tls.Config{RootCAs: trusted},
			})
			if err != nil {
				return err
			}
			defer w.Close()
			fmt.Fprint(w, "GET / HTTP/1.0\r\n\r\n")
			for line, err := range r.Lines(ctx) { // the header
				if err != nil {
					return err
				}
				if strings.TrimSpace(string(line)) == "" {
					break
				}
			}
			body, err := r.ReadAll(ctx)
			fmt.Printf("%s\n", body)
			return err
		})
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: hello over HTTP/1.0
}

// A reader can be fed by hand, from whatever has bytes.
func ExampleStreamReader() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		r := asyncio.NewStreamReader(ctx, 0)
		asyncio.Go(ctx, func(ctx context.Context) error {
			for _, chunk := range []string{"GET /", "index HT", "TP/1.0\r\n", "rest"} {
				if err := r.FeedData([]byte(chunk)); err != nil {
					return err
				}
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
			return r.FeedEOF()
		})
		method, err := r.ReadUntil(ctx, []byte(" "))
		if err != nil {
			return err
		}
		line, err := r.ReadLine(ctx)
		if err != nil {
			return err
		}
		rest, err := r.ReadAll(ctx)
		fmt.Printf("%q %q %q at the end: %t\n", method, line, rest, r.AtEOF())
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: "GET " "/index HTTP/1.0\r\n" "rest" at the end: true
}

// Write never waits. Drain does, when the peer is slow.
func ExampleStreamWriter() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			all, err := r.ReadAll(ctx)
			fmt.Println("the server got", len(all), "bytes")
			w.WriteString("thank you")
			return err
		}, nil)
		if err != nil {
			return err
		}
		defer srv.Close()
		r, w, err := asyncio.OpenConnection(ctx, "tcp", srv.Addr().String(), nil)
		if err != nil {
			return err
		}
		for range 1000 {
			if _, err := w.Write(make([]byte, 10_000)); err != nil {
				return err
			}
			if err := w.Drain(ctx); err != nil {
				return err
			}
		}
		w.WriteEOF() // that is all; the answer can still be read
		answer, err := r.ReadAll(ctx)
		fmt.Printf("the client got %q\n", answer)
		w.Close()
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// the server got 10000000 bytes
	// the client got "thank you"
}
