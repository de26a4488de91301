// Contender runs the workloads of the benchmarks on the public API of package
// asyncio, and on nothing else:
//
//	contender WORKLOAD ARGS...
//
// A workload of tasks prints one line, "RESULT ns=<nanoseconds per operation>" or
// another measure; a server serves on loopback until it is killed. The exit status
// is 3 for a workload that it lacks. Every peer has the same form.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/goasyncio/asyncio"
)

// workloads are run as the main task of a loop.
var workloads = map[string]func(ctx context.Context, a args) error{
	"spawn":     spawn,
	"spawnbusy": spawnBusy,
	"gather":    gather,
	"yield":     yield,
	"pingpong":  pingPong,
	"prodcons":  prodCons,
	"lock":      lock,
	"timers":    timers,
	"timeout":   timeout,
	"timeouty":  timeoutYield,
	"callsoon":  callSoon,
	"xpost":     crossPost,
	"xrtt":      crossRoundTrip,
	"sleep":     sleep,
	"sleepcb":   sleepCallback,

	"echo":       echo,
	"echo-proto": echoProtocol,
	"tls":        echoTLS,
}

// args are the arguments of a workload.
type args []string

// number returns the i-th argument, which has to be a positive number.
func (a args) number(i int) int {
	if i >= len(a) {
		fail("an argument is missing")
	}
	n, err := strconv.Atoi(a[i])
	if err != nil || n <= 0 {
		fail(fmt.Sprintf("%q is no positive number", a[i]))
	}
	return n
}

func fail(reason string) {
	fmt.Fprintln(os.Stderr, "contender:", reason)
	os.Exit(2)
}

// per reports how long one of n operations took.
func per(start time.Time, n int) {
	fmt.Printf("RESULT ns=%.1f\n", float64(time.Since(start))/float64(n))
}

func main() {
	if len(os.Args) < 2 {
		fail("usage: contender WORKLOAD ARGS...")
	}
	work, ok := workloads[os.Args[1]]
	if !ok {
		os.Exit(3)
	}
	err := asyncio.Run(context.Background(), func(ctx context.Context) error { return work(ctx, os.Args[2:]) })
	if err != nil {
		fail(err.Error())
	}
}
