// The demo command: the three example programs, one after another.

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/demosites"
	"github.com/goasyncio/asyncio/internal/thread"
)

var demoCommand = &command{
	name:    "demo",
	summary: "run three small programs that show what asyncio is",
	about: `It takes about four seconds and needs no network: the web sites of the third
program are stand-ins on this machine, which answer after 150 to 450 ms. The code
that fetches from them is the one that would fetch from the real sites.`,
	declare: func(*flag.FlagSet) action { return demo },
}

func demo(ctx context.Context, args []string, std streams) error {
	if len(args) > 0 {
		return usagef("it takes no arguments")
	}
	for _, show := range []func(context.Context, io.Writer) error{showHello, showTasks, showSites} {
		if err := show(ctx, std.out); err != nil {
			return err
		}
	}
	return nil
}

// showHello is the program of examples/hello.
func showHello(ctx context.Context, out io.Writer) error {
	fmt.Fprint(out, "== A hello that sleeps for a second without blocking its thread\n")
	say := func(text string) { fmt.Fprintln(out, text) }
	return asyncio.Run(ctx, func(ctx context.Context) error { return hello(ctx, say) }, interruptible)
}

// showTasks is the program of examples/tasks.
func showTasks(ctx context.Context, out io.Writer) error {
	fmt.Fprint(out, "\n== Two hellos at once, as tasks on one and the same thread\n")
	say := func(text string) { fmt.Fprintf(out, "%s (thread %d)\n", text, thread.ID()) }
	return asyncio.Run(ctx, func(ctx context.Context) error {
		task := func(ctx context.Context) error { return hello(ctx, say) }
		_, err := asyncio.Gather(ctx, asyncio.Go(ctx, task), asyncio.Go(ctx, task))
		return err
	}, interruptible)
}

var interruptible = asyncio.WithInterrupt(os.Interrupt)

func hello(ctx context.Context, say func(string)) error {
	say("Hello world!")
	if err := asyncio.Sleep(ctx, time.Second); err != nil {
		return err
	}
	say("Hello again!")
	return nil
}

// showSites is the program of examples/wget, and how long it takes.
func showSites(ctx context.Context, out io.Writer) error {
	fmt.Fprint(out, "\n== The headers of three web sites at once, on one thread\n")
	sites, err := demosites.Start()
	if err != nil {
		return err
	}
	defer sites.Close()
	var together, apart time.Duration
	err = asyncio.Run(ctx, func(ctx context.Context) error {
		var err error
		if together, err = timed(func() error { return fetchTogether(ctx, out) }); err != nil {
			return err
		}
		apart, err = timed(func() error { return fetchApart(ctx, io.Discard) })
		return err
	}, asyncio.WithResolver(sites), interruptible)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nThe three sites took %.2f s together; one after another they take %.2f s.\n",
		together.Seconds(), apart.Seconds())
	return nil
}

func timed(do func() error) (time.Duration, error) {
	start := time.Now()
	err := do()
	return time.Since(start), err
}

func fetchTogether(ctx context.Context, out io.Writer) error {
	var tasks []asyncio.Awaitable[struct{}]
	for _, host := range demosites.Names() {
		tasks = append(tasks, asyncio.Go(ctx, func(ctx context.Context) error { return printHeader(ctx, out, host) }))
	}
	_, err := asyncio.Gather(ctx, tasks...)
	return err
}

func fetchApart(ctx context.Context, out io.Writer) error {
	for _, host := range demosites.Names() {
		if err := printHeader(ctx, out, host); err != nil {
			return err
		}
	}
	return nil
}

// printHeader fetches the header of a site over a raw connection.
func printHeader(ctx context.Context, out io.Writer, host string) error {
	fmt.Fprintf(out, "wget %s...\n", host)
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
		fmt.Fprintf(out, "%s header > %s\n", host, text)
	}
}
