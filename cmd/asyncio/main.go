// Command asyncio shows what the library does, and fetches from many web sites
// at once on one thread. `asyncio help` lists its commands.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/goasyncio/asyncio"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// What the process exits with.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // as a shell says of a program that Ctrl-C has ended
)

// A command is one of the words that may follow `asyncio`.
type command struct {
	name    string
	args    string // as the usage shows them
	summary string // one line
	about   string // what help tells further
	// declare adds the command's options to flags, and returns what to call
	// with the other arguments when the options have been read.
	declare func(flags *flag.FlagSet) action
}

type action func(ctx context.Context, args []string, std streams) error

// streams are the standard streams of the process.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func commands() []*command {
	return []*command{demoCommand, wgetCommand, helpCommand, versionCommand}
}

func find(name string) *command {
	for _, c := range commands() {
		if c.name == name {
			return c
		}
	}
	return nil
}

// A usageError says what is wrong with the command line.
type usageError string

func (e usageError) Error() string { return string(e) }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// errReported is the error of a command that has told the user all about it.
var errReported = errors.New("reported")

// run is the whole program. It returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	std := streams{stdin, stdout, stderr}
	if len(args) == 0 {
		writeOverview(stderr)
		return exitUsage
	}
	name := args[0]
	switch name {
	case "-h", "-help", "--help":
		name = "help"
	}
	c := find(name)
	if c == nil {
		fmt.Fprintf(stderr, "asyncio: unknown command %q\nRun 'asyncio help' for the list.\n", name)
		return exitUsage
	}
	return code(c.run(ctx, args[1:], std), c, stderr)
}

// run reads the options and runs the command.
func (c *command) run(ctx context.Context, args []string, std streams) error {
	flags, act := c.flags()
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		c.writeHelp(std.out)
		return nil
	case err != nil:
		return usageError(err.Error())
	}
	return act(ctx, flags.Args(), std)
}

// flags returns the options of the command, and what to call when they are read.
func (c *command) flags() (*flag.FlagSet, action) {
	flags := flag.NewFlagSet("asyncio "+c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	return flags, c.declare(flags)
}

// code tells the user of err, and returns what the process exits with.
func code(err error, c *command, stderr io.Writer) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case err == errReported:
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "asyncio %s: %v\nRun 'asyncio help %s' for usage.\n", c.name, err, c.name)
		return exitUsage
	case errors.Is(err, asyncio.ErrInterrupted):
		fmt.Fprintf(stderr, "asyncio %s: interrupted\n", c.name)
		return exitInterrupted
	}
	fmt.Fprintf(stderr, "asyncio %s: %s\n", c.name, reason(err))
	return exitFailed
}
