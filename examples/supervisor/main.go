// supervisor keeps three programs running: it marks their output, starts one that
// fails again, after a pause that doubles each time, and ends them one after another
// when it is interrupted or its time is over. The programs are supervisor itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio"
)

const firstPause = 100 * time.Millisecond

var grace = flag.Duration("grace", 300*time.Millisecond, "how long a program may take to end by itself")

func main() {
	duration := flag.Duration("for", 1500*time.Millisecond, "how long to run")
	worker := flag.String("worker", "", "be one of the `programs`: web, flaky, stubborn")
	flag.Parse()
	if *worker != "" {
		work(*worker)
		return
	}
	err := asyncio.Run(context.Background(), func(ctx context.Context) error { return superviseFor(ctx, *duration) },
		asyncio.WithInterrupt(os.Interrupt, syscall.SIGTERM))
	if err != nil && !errors.Is(err, asyncio.ErrInterrupted) {
		log.Fatal(err)
	}
}

// superviseFor keeps the programs running for so long, or until it is cancelled.
func superviseFor(ctx context.Context, d time.Duration) error {
	var keepers []*asyncio.Task[struct{}]
	for _, name := range []string{"web", "flaky", "stubborn"} {
		keepers = append(keepers, asyncio.Go(ctx, func(ctx context.Context) error { return keep(ctx, name) }))
	}
	err := asyncio.Sleep(ctx, d)
	ctx = asyncio.CleanupContext(ctx)
	for _, k := range slices.Backward(keepers) {
		k.Cancel(nil)
		if err := k.Wait(ctx); err != nil && !errors.Is(err, asyncio.ErrCancelled) {
			return err
		}
	}
	return err
}

// keep keeps a program running.
func keep(ctx context.Context, name string) error {
	for pause := firstPause; ; pause *= 2 {
		code, err := run(ctx, name)
		if err != nil || code == 0 {
			return err
		}
		fmt.Printf("supervisor: %s has failed with %d, again in %v\n", name, code, pause)
		if err := asyncio.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// run runs a program to its end, which it brings about if it is cancelled.
func run(ctx context.Context, name string) (code int, err error) {
	p, err := asyncio.CreateSubprocessExec(ctx, os.Args[0], []string{"-worker", name}, &asyncio.SubprocessOptions{
		Stdin:        asyncio.DevNull,
		Stdout:       asyncio.Pipe,
		Stderr:       asyncio.ToStdout,
		ProcessGroup: runtime.GOOS != "windows", // an interrupt from the terminal is for the supervisor
	})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	// A task of its own also gets the last words.
	output := asyncio.Go(ctx, func(ctx context.Context) error { return show(ctx, name, p.Stdout) })
	code, err = p.Wait(ctx)
	if err == nil {
		return code, output.Wait(ctx)
	}
	ctx = asyncio.CleanupContext(ctx)
	ended, serr := p.Shutdown(ctx, *grace)
	err = errors.Join(err, output.Wait(ctx))
	if serr == nil {
		fmt.Printf("supervisor: %s is ended, with %d\n", name, ended)
	}
	return code, err
}

func show(ctx context.Context, name string, output *asyncio.StreamReader) error {
	for line, err := range output.Lines(ctx) {
		if err != nil {
			return err
		}
		fmt.Printf("%-8s | %s", name, line)
	}
	return nil
}

// work is what the programs do.
func work(name string) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if name == "stubborn" {
		signal.Ignore(syscall.SIGTERM)
	}
	fmt.Println("here I am")
	for tick := 1; ; tick++ {
		select {
		case <-time.After(150 * time.Millisecond):
			fmt.Println("tick", tick)
		case <-stop:
			fmt.Println("good-bye")
			return
		}
		if name == "flaky" && tick == 2 {
			log.Fatal("out of order")
		}
	}
}
