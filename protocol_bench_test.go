// What protocols cost: round trips over each kind of connection.

package asyncio_test

import (
	"context"
	"crypto/tls"
	"testing"

	"github.com/goasyncio/asyncio"
)

// A pinger sends a message, and again when its echo has come, until the benchmark
// ends.
type pinger struct {
	asyncio.NopProtocol
	b       *testing.B
	tr      *asyncio.Transport
	message []byte
	missing int // bytes of the present echo
	over    *asyncio.Future[struct{}]
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
	if p.b.Loop() {
		p.ping()
	} else {
		p.over.SetResult(struct{}{})
	}
}

// A bufferedEcho sends back what it gets, out of the memory that it provides.
type bufferedEcho struct {
	asyncio.NopProtocol
	tr     *asyncio.Transport
	memory [4 << 10]byte
}

func (e *bufferedEcho) ConnectionMade(t *asyncio.Transport) { e.tr = t }
func (e *bufferedEcho) GetBuffer(int) []byte                { return e.memory[:] }
func (e *bufferedEcho) BufferUpdated(n int)                 { e.tr.Write(e.memory[:n]) }

// benchEcho measures round trips of 64 bytes; both ends are on one loop.
func benchEcho[P asyncio.BaseProtocol](b *testing.B, name, network string, echo func() P, security func() (client, server *tls.Config)) {
	b.Run(name, func(b *testing.B) {
		benchOnLoop(b, func(ctx context.Context) error {
			client, server := security()
			address := "127.0.0.1:0"
			if network == "unix" {
				address = socketPath(b)
			}
			srv, err := asyncio.CreateServer(ctx, network, address, echo, &asyncio.ServerOptions{TLS: server})
			if err != nil {
				return err
			}
			p := &pinger{b: b, message: make([]byte, 64), over: asyncio.NewFuture[struct{}](ctx)}
			_, _, err = asyncio.CreateConnection(ctx, network, srv.Addr().String(), func() *pinger { return p }, &asyncio.ConnOptions{TLS: client})
			if err != nil {
				return err
			}
			p.ping()
			if err := p.over.Wait(ctx); err != nil {
				return err
			}
			p.tr.Close()
			return srv.Shutdown(ctx)
		})
	})
}

func BenchmarkProtocol(b *testing.B) {
	plain := func() (client, server *tls.Config) { return nil, nil }
	benchEcho(b, "Echo/tcp", "tcp", newEcho, plain)
	benchEcho(b, "Echo/unix", "unix", newEcho, plain)
	benchEcho(b, "Echo/tls", "tcp", newEcho, func() (client, server *tls.Config) {
		ca := newAuthority(b)
		return &tls.Config{RootCAs: ca.pool, ServerName: "localhost"},
			&tls.Config{Certificates: []tls.Certificate{ca.issue(b, soon(), "localhost")}}
	})
	benchEcho(b, "Echo/buffered", "tcp", func() *bufferedEcho { return new(bufferedEcho) }, plain)
}
