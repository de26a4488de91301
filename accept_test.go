// How servers accept: many connections at once, and those that have gone before
// their turn.

package asyncio_test

import (
	"context"
	"net"
	"testing"

	"github.com/goasyncio/asyncio"
)

func TestServerAccepts(t *testing.T) {
	leavesNothing(t)
	// crowd lets n clients connect while the loop is busy.
	crowd := func(t *testing.T, addr net.Addr, n int) (clients []*net.TCPConn) {
		t.Helper()
		for range n {
			c, err := net.Dial("tcp", addr.String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			clients = append(clients, c.(*net.TCPConn))
		}
		return clients
	}
	t.Run("SEL-014 a crowd is accepted in parts, and others have their turns in between", func(t *testing.T) {
		const clients = 200
		served, turns := 0, 0
		runStreams(t, func(ctx context.Context) error {
			srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				served++
				return nil
			}, &asyncio.ServerOptions{Backlog: clients})
			if err != nil {
				return err
			}
			crowd(t, srv.Addr(), clients)
			for served < clients {
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
				turns++
			}
			return closes(ctx, srv)
		})
		if turns < 3 {
			t.Errorf("%d turns of another task", turns)
		}
	})
	t.Run("SEL-015 connections that were broken off do not end a server", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				greet(ctx, r, w) // the error is known
				return nil
			}, nil)
			if err != nil {
				return err
			}
			for _, c := range crowd(t, srv.Addr(), 10) {
				c.SetLinger(0)
				c.Close() // with a reset
			}
			got, err := visits(ctx, srv.Addr(), "Ann\n")
			if got != "hello, Ann\n" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			return closes(ctx, srv)
		})
	})
}
