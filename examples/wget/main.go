// wget fetches the headers of three web sites at once, over raw connections, on
// one thread. With -local it fetches from stand-ins on this machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"strings"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/demosites"
)

func wget(ctx context.Context, host string) error {
	fmt.Printf("wget %s...\n", host)
	reader, writer, err := asyncio.OpenConnection(ctx, "tcp", host+":80", nil)
	if err != nil {
		return err
	}
	defer writer.Close()
	fmt.Fprintf(writer, "GET / HTTP/1.0\r\nHost: %s\r\n\r\n", host)
	if err := writer.Drain(ctx); err != nil {
		return err
	}
	for {
		line, err := reader.ReadLine(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", host, err)
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			return nil
		}
		fmt.Printf("%s header > %s\n", host, text)
	}
}

func fetchAll(ctx context.Context) error {
	var sites []asyncio.Awaitable[struct{}]
	for _, host := range []string{"www.sina.com.cn", "www.sohu.com", "www.163.com"} {
		sites = append(sites, asyncio.Go(ctx, func(ctx context.Context) error { return wget(ctx, host) }))
	}
	_, err := asyncio.Gather(ctx, sites...)
	return err
}

func main() {
	local := flag.Bool("local", false, "fetch from stand-ins on this machine")
	flag.Parse()
	var options []asyncio.RunOption
	if *local {
		sites, err := demosites.Start()
		if err != nil {
			log.Fatal(err)
		}
		defer sites.Close()
		options = append(options, asyncio.WithResolver(sites))
	}
	if err := asyncio.Run(context.Background(), fetchAll, options...); err != nil {
		log.Fatal(err)
	}
}
