// hello says two things with a second in between. While it sleeps its thread is
// free for other tasks.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/goasyncio/asyncio"
)

func hello(ctx context.Context) error {
	fmt.Println("Hello world!")
	if err := asyncio.Sleep(ctx, time.Second); err != nil {
		return err
	}
	fmt.Println("Hello again!")
	return nil
}

func main() {
	if err := asyncio.Run(context.Background(), hello); err != nil {
		log.Fatal(err)
	}
}
