// Package demosites serves stand-ins for three web sites on this machine, so
// that programs which fetch from them can be shown, and tested, without a network.
package demosites

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/goasyncio/asyncio"
)

// A site answers every request with the same page, after a delay.
type site struct {
	name   string
	delay  time.Duration
	header []string
	page   string
}

var sites = []site{
	{
		name:  "www.sina.com.cn",
		delay: 450 * time.Millisecond,
		header: []string{
			"HTTP/1.1 200 OK",
			"Server: edge-esnssl-1.17.3-14.3",
			"Content-Type: text/html",
			"Connection: close",
			"Vary: Accept-Encoding",
			"X-Powered-By: shci_v1.13",
			"Cache-Control: max-age=60",
		},
		page: "<!DOCTYPE html>\n<title>Sina</title>\n",
	},
	{
		name:  "www.sohu.com",
		delay: 150 * time.Millisecond,
		header: []string{
			"HTTP/1.1 200 OK",
			"Content-Type: text/html;charset=UTF-8",
			"Connection: close",
			"Server: SWS",
			"Cache-Control: no-transform, max-age=120",
			"Vary: Accept-Encoding",
			"FSS-Cache: HIT from 4612155.6528017.5813424",
		},
		page: "<!DOCTYPE html>\n<title>Sohu</title>\n",
	},
	{
		name:  "www.163.com",
		delay: 300 * time.Millisecond,
		header: []string{
			"HTTP/1.1 200 OK",
			"Server: nginx",
			"Content-Type: text/html; charset=utf-8",
			"Connection: close",
			"Cache-Control: no-cache,no-store,private",
			"cdn-user-ip: 127.0.0.1",
			"X-Ser: BC171_dx-lt-yd-jiangsu-taizhou-4-cache-4",
		},
		page: "<!DOCTYPE html>\n<title>NetEase</title>\n",
	},
}

// Names returns the names of the sites, which answer in another order.
func Names() []string {
	var names []string
	for _, s := range sites {
		names = append(names, s.name)
	}
	return names
}

// Sites is the sites being served, on an event loop and a thread of their own.
// Its methods may be called from any goroutine.
type Sites struct {
	stop  context.CancelFunc
	ended chan struct{}

	// Set before Start returns, or before ended is closed.
	addrs map[string]netip.AddrPort
	err   error

	turn asyncio.Lock // of the loop: held by the site that answers
}

// Start serves the sites until Close.
func Start() (*Sites, error) {
	ctx, stop := context.WithCancel(context.Background())
	s := &Sites{stop: stop, ended: make(chan struct{}), addrs: make(map[string]netip.AddrPort)}
	ready := make(chan struct{})
	go func() {
		defer close(s.ended)
		s.err = asyncio.Run(ctx, func(ctx context.Context) error {
			if err := s.listen(ctx); err != nil {
				return err
			}
			close(ready)
			return asyncio.Sleep(ctx, asyncio.Forever)
		})
	}()
	select {
	case <-ready:
		return s, nil
	case <-s.ended:
		stop()
		return nil, s.err
	}
}

func (s *Sites) listen(ctx context.Context) error {
	for _, site := range sites {
		serve := func(ctx context.Context, reader *asyncio.StreamReader, writer *asyncio.StreamWriter) error {
			return s.serve(ctx, site, reader, writer)
		}
		server, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", serve, nil)
		if err != nil {
			return err
		}
		s.addrs[site.name] = server.Addr().(*net.TCPAddr).AddrPort()
	}
	return nil
}

// patience is how long a site waits for a visitor to leave.
const patience = 5 * time.Second

// serve answers one request. The next answer waits until the visitor has left: so, even
// on a busy machine, answers are read in the order in which they are given.
func (s *Sites) serve(ctx context.Context, at site, reader *asyncio.StreamReader, writer *asyncio.StreamWriter) error {
	if _, err := reader.ReadUntil(ctx, []byte("\r\n\r\n")); err != nil {
		return nil // the visitor has left
	}
	if err := asyncio.Sleep(ctx, at.delay); err != nil {
		return err
	}
	if err := s.turn.Acquire(ctx); err != nil {
		return err
	}
	defer s.turn.Release()
	date := "Date: " + time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
	if _, err := writer.WriteString(strings.Join(at.header, "\r\n") + "\r\n" + date + "\r\n\r\n" + at.page); err != nil {
		return err
	}
	if err := writer.WriteEOF(); err != nil {
		return err
	}
	asyncio.Timeout(ctx, patience, func(ctx context.Context) error {
		_, err := reader.ReadAll(ctx)
		return err // it does not matter how the visitor leaves
	})
	return nil
}

// Close stops serving and waits until all is cleaned up.
func (s *Sites) Close() error {
	s.stop()
	<-s.ended
	if errors.Is(s.err, asyncio.ErrCancelled) {
		return nil
	}
	return s.err
}

// GetAddrInfo leads port 80 of the sites' names to where they are served. No
// other name exists. With it Sites is an asyncio.Resolver.
func (s *Sites) GetAddrInfo(_ context.Context, _, host, port string) ([]netip.AddrPort, error) {
	addr, known := s.addrs[strings.ToLower(host)]
	if !known || port != "80" && port != "http" {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.AddrPort{addr}, nil
}
