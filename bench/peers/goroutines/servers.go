// The servers: each sends back what it receives, with a goroutine per connection.

package main

import (
	"crypto/tls"
	"net"
	"strconv"
)

func (a args) address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(a.number(0)))
}

// echo serves connections: echo PORT [SIZE], where SIZE is that of the buffer which
// each of them reads into, 64 KiB if it is not given.
func echo(a args) {
	size := 1 << 16
	if len(a) > 1 {
		size = a.number(1)
	}
	l, err := net.Listen("tcp", a.address())
	must(err)
	serve(l, size)
}

// echoTLS serves connections over TLS: tls PORT CERT KEY.
func echoTLS(a args) {
	if len(a) < 3 {
		fail("usage: tls PORT CERT KEY")
	}
	cert, err := tls.LoadX509KeyPair(a[1], a[2])
	must(err)
	l, err := tls.Listen("tcp", a.address(), &tls.Config{Certificates: []tls.Certificate{cert}})
	must(err)
	serve(l, 1<<16)
}

// serve serves until the process is killed.
func serve(l net.Listener, size int) {
	for {
		c, err := l.Accept()
		must(err)
		go func() {
			defer c.Close()
			p := make([]byte, size)
			for {
				n, err := c.Read(p)
				if err != nil {
					return
				}
				if _, err := c.Write(p[:n]); err != nil {
					return
				}
			}
		}()
	}
}
