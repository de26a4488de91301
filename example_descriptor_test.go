// Examples of descriptors and names.

package asyncio_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/goasyncio/asyncio"
)

// A callback that is called when there is something to read, and a task that
// waits for what it finds.
func ExampleEventLoop_AddReader() {
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	defer w.Close()
	err = asyncio.Run(context.Background(), func(ctx context.Context) error {
		loop := asyncio.CurrentTask(ctx).Loop()
		found := asyncio.NewFuture[string](ctx)
		p := make([]byte, 100)
		if err := loop.AddReader(r, func() {
			n, _ := r.Read(p) // does not block: there is something
			found.SetResult(string(p[:n]))
			loop.RemoveReader(r)
		}); err != nil {
			return err
		}
		go w.WriteString("hello")
		text, err := found.Await(ctx)
		fmt.Println(text)
		return err
	})
	fmt.Println(err)
}

// A connection of package net, from a coroutine.
func ExampleSockRecv() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		c, err := net.Dial("tcp", "time.example:13")
		if err != nil {
			return err
		}
		defer c.Close()
		p := make([]byte, 100)
		n, err := asyncio.SockRecv(ctx, c.(*net.TCPConn), p)
		fmt.Printf("%s", p[:n])
		return err
	})
	fmt.Println(err)
}

func ExampleGetNameInfo() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		_, service, err := asyncio.GetNameInfo(ctx, netip.MustParseAddrPort("127.0.0.1:60000"), &asyncio.NameInfoOptions{NumericHost: true})
		fmt.Println(service)
		return err
	})
	fmt.Println(err)
	// Output:
	// 60000
	// <nil>
}
