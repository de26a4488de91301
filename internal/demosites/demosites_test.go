// The stand-ins as an ordinary client meets them.

package demosites_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/goasyncio/asyncio/internal/demosites"
)

func TestSites(t *testing.T) {
	s, err := demosites.Start()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range demosites.Names() {
		t.Run(name, func(t *testing.T) { fetch(t, s, name) })
	}
	t.Run("other names", func(t *testing.T) {
		for _, to := range [][2]string{{"example.com", "80"}, {"www.sohu.com", "443"}} {
			_, err := s.GetAddrInfo(context.Background(), "tcp", to[0], to[1])
			var dns *net.DNSError
			if !errors.As(err, &dns) || !dns.IsNotFound {
				t.Errorf("%s port %s: %v, want that it is not found", to[0], to[1], err)
			}
		}
	})
	addr := address(t, s, "www.sohu.com")
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("a site is served after Close")
	}
}

func address(t *testing.T, s *demosites.Sites, name string) string {
	t.Helper()
	addrs, err := s.GetAddrInfo(context.Background(), "tcp", name, "80")
	if err != nil || len(addrs) != 1 {
		t.Fatalf("GetAddrInfo: %v, %v", addrs, err)
	}
	return addrs[0].String()
}

// fetch reads a whole answer, by package net, and looks whether it is in order.
func fetch(t *testing.T, s *demosites.Sites, name string) {
	c, err := net.Dial("tcp", address(t, s, name))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\nHost: "+name+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || len(page) == 0 || resp.Header.Get("Date") == "" {
		t.Errorf("status %d, header %v, page %q, %v", resp.StatusCode, resp.Header, page, err)
	}
}
