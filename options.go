// Options of loops and of runs.

package asyncio

import (
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// A RunOption is an option of Run, RunValue and NewRunner. Every LoopOption is
// one too.
type RunOption interface {
	applyRun(*runConfig)
}

// A LoopOption is an option of NewEventLoop.
type LoopOption interface {
	RunOption
	applyLoop(*loopConfig)
}

type loopConfig struct {
	debug    bool
	logger   *slog.Logger
	handler  ExceptionHandler
	resolver Resolver
	grace    time.Duration
	threads  int
	executor any // an Executor; nil for goroutines
	backend  Backend
	seams    seam.Seams
}

type runConfig struct {
	loop       []LoopOption
	interrupts []os.Signal
}

type loopOption func(*loopConfig)

func (o loopOption) applyLoop(c *loopConfig) { o(c) }
func (o loopOption) applyRun(c *runConfig)   { c.loop = append(c.loop, o) }

type runOption func(*runConfig)

func (o runOption) applyRun(c *runConfig) { o(c) }

// checkOptions returns a *UsageError if one of the options that op was given is nil.
func checkOptions[O comparable](op string, opts []O) error {
	var none O
	if slices.Contains(opts, none) {
		return misuse(op, ErrBadArgument, "an option is nil")
	}
	return nil
}

// mustOptions panics with the error of checkOptions.
func mustOptions[O comparable](op string, opts []O) {
	if err := checkOptions(op, opts); err != nil {
		panic(err)
	}
}

// WithDebug switches debug mode on or off. Without it, the environment variable
// ASYNCIO_DEBUG decides: anything but nothing and 0 means on.
func WithDebug(on bool) LoopOption {
	return loopOption(func(c *loopConfig) { c.debug = on })
}

// WithLogger sets where the loop logs. The default, which nil stands for, is
// slog.Default when the loop is made.
func WithLogger(logger *slog.Logger) LoopOption {
	return loopOption(func(c *loopConfig) { c.logger = logger })
}

// WithExceptionHandler sets what receives the errors that have no caller to go
// to. The default, which nil stands for, logs them.
func WithExceptionHandler(h ExceptionHandler) LoopOption {
	return loopOption(func(c *loopConfig) { c.handler = h })
}

// WithResolver sets how the loop looks up names. The default, which nil stands for,
// asks package net.
func WithResolver(r Resolver) LoopOption {
	return loopOption(func(c *loopConfig) { c.resolver = r })
}

// WithShutdownGrace sets how long Close waits, on the loop's clock, for the
// tasks that it has cancelled to end, before it ends them by force. The default
// is 10 seconds; it does not wait at all if d is not positive.
func WithShutdownGrace(d time.Duration) LoopOption {
	return loopOption(func(c *loopConfig) { c.grace = d })
}

// WithThreadLimit sets how many functions ToThread runs at once by default. The
// default is the number of CPUs plus 4, at most 32. It panics if n is not positive.
func WithThreadLimit(n int) LoopOption {
	if n <= 0 {
		panic(misuse("WithThreadLimit", ErrBadArgument, "the limit is %d; it must be positive", n))
	}
	return loopOption(func(c *loopConfig) { c.threads = n })
}

// WithBackend chooses how the loop waits for the network. Without it, the
// environment variable ASYNCIO_BACKEND decides: "epoll" or "portable", while nothing
// means DefaultBackend. A backend that the system does not have is an error of the
// loop's first run that Is errors.ErrUnsupported. WithBackend panics with a *UsageError
// if b is none of the constants.
func WithBackend(b Backend) LoopOption {
	if b > PortableBackend {
		panic(misuse("WithBackend", ErrBadArgument, "there is no %v", b))
	}
	return loopOption(func(c *loopConfig) { c.backend = b })
}

// WithInterrupt makes signals end the program in order: the first one cancels
// the main task with the cause ErrInterrupted, the second prints the tasks to
// standard error and restores the signal's default action, so that a third one
// ends the process. If none is given it is for os.Interrupt. Without WithInterrupt,
// signals are left alone. It panics with a *UsageError if one of them is nil.
func WithInterrupt(signals ...os.Signal) RunOption {
	if len(signals) == 0 {
		signals = []os.Signal{os.Interrupt}
	}
	if slices.Contains(signals, nil) {
		panic(misuse("WithInterrupt", ErrBadArgument, "a signal is nil"))
	}
	return runOption(func(c *runConfig) { c.interrupts = append(c.interrupts, signals...) })
}

func init() {
	seam.LoopOption = func(s seam.Seams) any {
		return loopOption(func(c *loopConfig) {
			if s.Name != "" {
				c.seams.Name = s.Name
			}
			if s.NewClock != nil {
				c.seams.NewClock = s.NewClock
			}
			if s.NewNetwork != nil {
				c.seams.NewNetwork = s.NewNetwork
			}
			if s.NewRandom != nil {
				c.seams.NewRandom = s.NewRandom
			}
			if s.NewOrder != nil {
				c.seams.NewOrder = s.NewOrder
			}
			if s.NewAudit != nil {
				c.seams.NewAudit = s.NewAudit
			}
			if s.NewTape != nil {
				c.seams.NewTape = s.NewTape
			}
		})
	}
}
