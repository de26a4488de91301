//go:build unix

// Netpoll is an echo server on github.com/cloudwego/netpoll, with one poller. It has
// the same form as the contender.
//
//	netpoll echo PORT
package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"github.com/cloudwego/netpoll"
)

func main() {
	if len(os.Args) < 2 {
		fail("usage: netpoll echo PORT")
	}
	if os.Args[1] != "echo" {
		os.Exit(3)
	}
	if len(os.Args) < 3 {
		fail("an argument is missing")
	}
	if err := serve(os.Args[2]); err != nil {
		fail(err.Error())
	}
}

func fail(reason string) {
	fmt.Fprintln(os.Stderr, "netpoll:", reason)
	os.Exit(2)
}

// serve serves until the process is killed.
func serve(port string) error {
	if err := netpoll.Configure(netpoll.Config{PollerNum: 1}); err != nil {
		return err
	}
	l, err := netpoll.CreateListener("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return err
	}
	loop, err := netpoll.NewEventLoop(echo)
	if err != nil {
		return err
	}
	return loop.Serve(l)
}

// echo sends back what has arrived on a connection.
func echo(_ context.Context, c netpoll.Connection) error {
	r := c.Reader()
	p, err := r.Next(r.Len())
	if err != nil {
		return err
	}
	if _, err := c.Writer().WriteBinary(p); err != nil {
		return err
	}
	if err := c.Writer().Flush(); err != nil {
		return err
	}
	return r.Release()
}
