// The version command.

package main

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
)

var versionCommand = &command{
	name:    "version",
	summary: "print the version of the program",
	declare: func(*flag.FlagSet) action { return version },
}

func version(_ context.Context, args []string, std streams) error {
	if len(args) > 0 {
		return usagef("it takes no arguments")
	}
	v := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	fmt.Fprintf(std.out, "asyncio %s %s %s/%s\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
