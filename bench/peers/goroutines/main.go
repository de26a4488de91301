// Goroutines is what plain Go does in every workload: goroutines, channels, package
// sync, package net, crypto/tls. It has the same form as the contender, and like it
// uses the processors that GOMAXPROCS says.
//
//	goroutines WORKLOAD ARGS...
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

var workloads = map[string]func(a args){
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
	"xpost":     crossPost,
	"xrtt":      crossRoundTrip,
	"sleep":     sleep,
	"sleepcb":   sleepCallback,

	"echo": echo,
	"tls":  echoTLS,
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
	fmt.Fprintln(os.Stderr, "goroutines:", reason)
	os.Exit(2)
}

func must(err error) {
	if err != nil {
		fail(err.Error())
	}
}

// expect ends the program if a workload has computed something else than it should.
func expect(holds bool) {
	if !holds {
		fail("the workload computed something else than it should")
	}
}

// per reports how long one of n operations took.
func per(start time.Time, n int) {
	fmt.Printf("RESULT ns=%.1f\n", float64(time.Since(start))/float64(n))
}

func main() {
	if len(os.Args) < 2 {
		fail("usage: goroutines WORKLOAD ARGS...")
	}
	work, ok := workloads[os.Args[1]]
	if !ok {
		os.Exit(3)
	}
	work(os.Args[2:])
}
