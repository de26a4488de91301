// The help command, and how usage is shown.

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
)

var helpCommand = &command{
	name:    "help",
	args:    "[command]",
	summary: "tell how a command is used",
	about:   "Without a command it lists all of them.",
}

func init() { // apart from the declaration, since help knows all commands
	helpCommand.declare = func(*flag.FlagSet) action { return help }
}

func help(_ context.Context, args []string, std streams) error {
	switch len(args) {
	case 0:
		writeOverview(std.out)
		return nil
	case 1:
		c := find(args[0])
		if c == nil {
			return usagef("unknown command %q", args[0])
		}
		c.writeHelp(std.out)
		return nil
	}
	return usagef("one command at a time")
}

// writeOverview lists the commands.
func writeOverview(w io.Writer) {
	fmt.Fprint(w, "asyncio for Go: many tasks on one thread.\n\nusage: asyncio <command> [arguments]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-8s  %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\nRun 'asyncio help <command>' for more about one of them.\n")
}

// writeHelp tells all about c.
func (c *command) writeHelp(w io.Writer) {
	fmt.Fprintf(w, "asyncio %s: %s\n\nusage: asyncio %s", c.name, c.summary, c.name)
	flags, _ := c.flags()
	options := 0
	flags.VisitAll(func(*flag.Flag) { options++ })
	if options > 0 {
		fmt.Fprint(w, " [options]")
	}
	if c.args != "" {
		fmt.Fprint(w, " "+c.args)
	}
	fmt.Fprint(w, "\n")
	if c.about != "" {
		fmt.Fprint(w, "\n"+c.about+"\n")
	}
	if options > 0 {
		fmt.Fprint(w, "\nOptions:\n")
		flags.SetOutput(w)
		flags.PrintDefaults()
	}
}
