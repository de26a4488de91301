// What protocols cost: a round trip, and the allocations of one.

package asyncio_test

import (
	"context"
	"testing"

	"github.com/goasyncio/asyncio"
)

// A pinger sends a message, and again when its echo has come, as often as it shall.
type pinger struct {
	asyncio.NopProtocol
	tr      *asyncio.Transport
	message []byte
	missing int // bytes of the present echo
	left    int
	done    *asyncio.Future[struct{}]
}

func (p *pinger) ConnectionMade(t *asyncio.Transport) { p.tr = t }

func (p *pinger) ping() {
	p.missing = len(p.message)
	p.tr.Write(p.message)
}

func (p *pinger) DataReceived(data []byte) {
	if p.missing -= len(data); p.missing > 0 {
		return
	}
	if p.left--; p.left > 0 {
		p.ping()
	} else if p.done != nil {
		p.done.SetResult(struct{}{})
	}
}

// withPinger runs test with a pinger and an echo, both on one loop.
func withPinger(t testing.TB, ctx context.Context, test func(p *pinger) error) error {
	srv, err := asyncio.CreateServer(ctx, "tcp", "127.0.0.1:0", newEcho, nil)
	if err != nil {
		return err
	}
	_, p, err := asyncio.CreateConnection(ctx, "tcp", srv.Addr().String(), func() *pinger { return &pinger{message: make([]byte, 64)} }, nil)
	if err != nil {
		return err
	}
	if err := test(p); err != nil {
		return err
	}
	p.tr.Close()
	return srv.Shutdown(ctx)
}

func BenchmarkProtocol(b *testing.B) {
	b.Run("EchoRoundTrip", func(b *testing.B) { // both ends on one loop
		benchOnLoop(b, func(ctx context.Context) error {
			return withPinger(b, ctx, func(p *pinger) error {
				p.left, p.done = b.N, asyncio.NewFuture[struct{}](ctx)
				b.ResetTimer()
				p.ping()
				return p.done.Wait(ctx)
			})
		})
	})
}

func TestProtocolAllocations(t *testing.T) {
	if underRace {
		t.Skip("the race detector allocates, too")
	}
	leavesNothing(t)
	runStreams(t, func(ctx context.Context) error {
		return withPinger(t, ctx, func(p *pinger) error {
			failed := error(nil)
			got := testing.AllocsPerRun(2000, func() {
				p.left = 1
				for p.ping(); p.left > 0; {
					if err := asyncio.Yield(ctx); err != nil {
						failed = err
						return
					}
				}
			})
			if got != 0 || failed != nil {
				t.Errorf("a round trip costs %v allocations: %v", got, failed)
			}
			return nil
		})
	})
}
