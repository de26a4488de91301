// tasks says hello twice at once: two tasks that sleep at the same time on one
// and the same thread.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/thread"
)

func hello(ctx context.Context) error {
	fmt.Printf("Hello world! (thread %d)\n", thread.ID())
	if err := asyncio.Sleep(ctx, time.Second); err != nil {
		return err
	}
	fmt.Printf("Hello again! (thread %d)\n", thread.ID())
	return nil
}

func main() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		_, err := asyncio.Gather(ctx, asyncio.Go(ctx, hello), asyncio.Go(ctx, hello))
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
}
