//go:build unix

// Examples of processes.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os/exec"
	"time"

	"github.com/goasyncio/asyncio"
)

// A program is run to its end, and does not outlive the time that it is given.
func ExampleRunProcess() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		r, err := asyncio.RunProcess(ctx, "tr", []string{"a-z", "A-Z"}, []byte("hello\n"), nil)
		if err != nil {
			return err
		}
		fmt.Printf("%s", r.Stdout)

		r, err = asyncio.RunProcess(ctx, "sh", []string{"-c", "echo oops >&2; exit 3"}, nil, nil)
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			fmt.Printf("%v: %s", exit, r.Stderr)
		}

		err = asyncio.Timeout(ctx, 50*time.Millisecond, func(ctx context.Context) error {
			_, err := asyncio.RunProcess(ctx, "sleep", []string{"100"}, nil, nil)
			return err
		})
		fmt.Println(err)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// HELLO
	// exit status 3: oops
	// asyncio: timeout
}

// A task talks to a program line by line. When it is done the program is ended.
func ExampleWithProcess() {
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		opts := &asyncio.SubprocessOptions{Stdin: asyncio.Pipe, Stdout: asyncio.Pipe}
		return asyncio.WithProcess(ctx, "cat", nil, opts, func(ctx context.Context, p *asyncio.Process) error {
			for _, word := range []string{"one", "two"} {
				fmt.Fprintln(p.Stdin, word)
				line, err := p.Stdout.ReadLine(ctx)
				if err != nil {
					return err
				}
				fmt.Printf("it says %s", line)
			}
			return nil
		})
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// it says one
	// it says two
}

// lineCount is a protocol that counts the lines that a process writes.
type lineCount struct {
	asyncio.NopSubprocessProtocol
	lines int
	done  *asyncio.Future[int]
}

func (c *lineCount) PipeDataReceived(_ int, p []byte) {
	for _, b := range p {
		if b == '\n' {
			c.lines++
		}
	}
}

func (c *lineCount) ConnectionLost(error) { c.done.SetResult(c.lines) }

// A process reports to a protocol, without a task that waits for it.
func ExampleSubprocessShell() {
	n, err := asyncio.RunValue(context.Background(), func(ctx context.Context) (int, error) {
		done := asyncio.NewFuture[int](ctx)
		_, _, err := asyncio.SubprocessShell(ctx, func() *lineCount { return &lineCount{done: done} }, "seq 1000", nil)
		if err != nil {
			return 0, err
		}
		return done.Await(ctx)
	})
	fmt.Println(n, err)
	// Output: 1000 <nil>
}
