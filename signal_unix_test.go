// Tests of signals, sent to this process or to a child.

//go:build unix

package asyncio_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// kill sends a signal to this process, and returns when package os/signal has handed
// it out. The system may take its time with that: whoever does not wait for it may
// have ceased to listen, and the signal ends the process.
func kill(sig syscall.Signal) {
	handedOut := make(chan os.Signal, 1)
	signal.Notify(handedOut, sig)
	defer signal.Stop(handedOut)
	syscall.Kill(syscall.Getpid(), sig)
	<-handedOut
}

// The runtime starts a goroutine for signals when they are first wanted, for good.
func init() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR2)
	signal.Stop(c)
}

func TestSignalHandler(t *testing.T) {
	onRealLoop(t, "EV-026 EV-028 a handler runs on the loop, with what its closure knows", func(t *testing.T, ctx context.Context) {
		loop := ownLoop(ctx)
		calls, argument := 0, "x"
		expectError(t, loop.AddSignalHandler(syscall.SIGUSR1, func() {
			calls++
			loop.CallSoon(func() { argument += "y" }) // would panic on another goroutine
		}), nil)
		kill(syscall.SIGUSR1)
		until(t, ctx, func() bool { return argument == "xy" })
		if !loop.RemoveSignalHandler(syscall.SIGUSR1) || calls != 1 {
			t.Errorf("%d calls", calls)
		}
	})
	onRealLoop(t, "EV-027 a signal that arrives while the loop polls wakes it", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		f.Loop().AddSignalHandler(syscall.SIGUSR1, func() { f.SetResult(1) })
		timer := time.AfterFunc(20*time.Millisecond, func() { kill(syscall.SIGUSR1) })
		defer timer.Stop()
		expectError(t, f.Wait(ctx), nil)
	})
	onRealLoop(t, "EV-023 invalid numbers are rejected", func(t *testing.T, ctx context.Context) {
		loop := ownLoop(ctx)
		for _, sig := range []os.Signal{nil, syscall.Signal(0), syscall.Signal(-1), syscall.Signal(1000), madeUp{}} {
			mistake(t, loop.AddSignalHandler(sig, func() {}), asyncio.ErrBadArgument)
			panicsWith(t, asyncio.ErrBadArgument, func() { loop.RemoveSignalHandler(sig) })
			_, err := asyncio.NotifySignals(ctx, syscall.SIGUSR1, sig)
			mistake(t, err, asyncio.ErrBadArgument)
		}
		_, err := asyncio.NotifySignals(ctx)
		mistake(t, err, asyncio.ErrBadArgument)
		mistake(t, loop.AddSignalHandler(syscall.SIGUSR1, nil), asyncio.ErrBadArgument)
	})
	onRealLoop(t, "EV-024 UNIX-003 UNIX-005 signals that cannot be caught are another error, and disturb no handler", func(t *testing.T, ctx context.Context) {
		loop := ownLoop(ctx)
		calls := 0
		loop.AddSignalHandler(syscall.SIGUSR1, func() { calls++ })
		for _, sig := range []os.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
			err := loop.AddSignalHandler(sig, func() {})
			var usage *asyncio.UsageError
			if expectError(t, err, syscall.EINVAL); errors.As(err, &usage) {
				t.Errorf("%v is a UsageError", err)
			}
			if loop.RemoveSignalHandler(sig) {
				t.Errorf("%v had a handler", sig)
			}
		}
		kill(syscall.SIGUSR1)
		until(t, ctx, func() bool { return calls == 1 })
	})
	onRealLoop(t, "EV-025 removing what is not there returns false", func(t *testing.T, ctx context.Context) {
		loop := ownLoop(ctx)
		if loop.RemoveSignalHandler(syscall.SIGUSR1) {
			t.Error("removed")
		}
		loop.AddSignalHandler(syscall.SIGUSR1, func() {})
		if loop.RemoveSignalHandler(syscall.SIGUSR2) || !loop.RemoveSignalHandler(syscall.SIGUSR1) || loop.RemoveSignalHandler(syscall.SIGUSR1) {
			t.Error("each is removed once")
		}
	})
	onRealLoop(t, "a second handler replaces the first", func(t *testing.T, ctx context.Context) {
		var j journal
		loop := ownLoop(ctx)
		loop.AddSignalHandler(syscall.SIGUSR1, func() { j.say("first") })
		loop.AddSignalHandler(syscall.SIGUSR1, func() { j.say("second") })
		kill(syscall.SIGUSR1)
		until(t, ctx, func() bool { return len(j) > 0 })
		j.expect(t, "second")
	})
	onRealLoop(t, "UNIX-001 a handler that was removed does not run, even if the signal came before", func(t *testing.T, ctx context.Context) {
		calls := 0
		loop := ownLoop(ctx)
		for sig, other := range map[syscall.Signal]syscall.Signal{syscall.SIGUSR1: syscall.SIGUSR2, syscall.SIGUSR2: syscall.SIGUSR1} {
			loop.AddSignalHandler(sig, func() {
				calls++
				if !loop.RemoveSignalHandler(other) {
					t.Error("no handler")
				}
			})
		}
		loop.CallSoon(func() { // the loop hears of both in one pass, or of one of them later
			kill(syscall.SIGUSR2)
			kill(syscall.SIGUSR1)
			time.Sleep(10 * time.Millisecond)
		})
		until(t, ctx, func() bool { return calls > 0 })
		settle(ctx)
		if calls != 1 {
			t.Errorf("%d calls", calls)
		}
	})
	t.Run("EV-016 no handler runs late", func(t *testing.T) {
		noGoroutines(t, func() {
			expectError(t, asyncio.Run(background, func(ctx context.Context) error {
				loop := ownLoop(ctx)
				loop.AddSignalHandler(syscall.SIGUSR1, func() { t.Error("called") })
				kill(syscall.SIGUSR1)
				time.Sleep(5 * time.Millisecond)
				loop.RemoveSignalHandler(syscall.SIGUSR1)
				return asyncio.Sleep(ctx, 5*time.Millisecond)
			}), nil)
		})
	})
	t.Run("UNIX-002 UNIX-011 EV-014 any goroutine may run the loop; Close removes all handlers", func(t *testing.T) {
		noGoroutines(t, func() {
			elsewhere(func() {
				loop := asyncio.NewEventLoop()
				expectError(t, loop.AddSignalHandler(syscall.SIGUSR1, func() {}), nil)
				expectError(t, loop.AddSignalHandler(syscall.SIGUSR2, func() {}), nil)
				stream, err := asyncio.NotifySignals(loop.Context(background), syscall.SIGUSR1)
				expectError(t, err, nil)
				expectError(t, loop.Close(), nil)
				mistake(t, loop.AddSignalHandler(syscall.SIGUSR1, func() {}), asyncio.ErrLoopClosed)
				_, err = asyncio.NotifySignals(loop.Context(background), syscall.SIGUSR1)
				mistake(t, err, asyncio.ErrLoopClosed)
				if loop.RemoveSignalHandler(syscall.SIGUSR1) {
					t.Error("it was still there")
				}
				expectError(t, stream.Close(), nil)
			})
		})
	})
	onRealLoop(t, "on another goroutine it is a mistake", func(t *testing.T, ctx context.Context) {
		loop := ownLoop(ctx)
		stream, _ := asyncio.NotifySignals(ctx, syscall.SIGUSR1)
		elsewhere(func() {
			mistake(t, loop.AddSignalHandler(syscall.SIGUSR1, func() {}), asyncio.ErrWrongGoroutine)
			panicsWith(t, asyncio.ErrWrongGoroutine, func() { loop.RemoveSignalHandler(syscall.SIGUSR1) })
			_, err := asyncio.NotifySignals(ctx, syscall.SIGUSR1)
			mistake(t, err, asyncio.ErrWrongGoroutine)
			_, err = stream.Next(ctx)
			mistake(t, err, asyncio.ErrWrongGoroutine)
			mistake(t, stream.Close(), asyncio.ErrWrongGoroutine)
		})
		_, err := asyncio.NotifySignals(background, syscall.SIGUSR1)
		mistake(t, err, asyncio.ErrOutsideTask)
	})
	t.Run("a panic goes to the exception handler, and the next signal to the handler", func(t *testing.T) {
		var r reports
		expectError(t, asyncio.Run(background, func(ctx context.Context) error {
			calls := 0
			ownLoop(ctx).AddSignalHandler(syscall.SIGUSR1, func() {
				calls++
				panic(io2)
			})
			for n := 1; n <= 2; n++ {
				kill(syscall.SIGUSR1)
				until(t, ctx, func() bool { return calls == n })
			}
			return nil
		}, r.handler()), nil)
		r.expect(t, io2, io2)
		if !strings.Contains(r.list[0].Source.String(), "TestSignalHandler") {
			t.Errorf("source %v", r.list[0].Source)
		}
	})
	onRealLoop(t, "a handler runs after the last signal of its kind, however many come", func(t *testing.T, ctx context.Context) {
		loop := ownLoop(ctx)
		sigs := []syscall.Signal{syscall.SIGWINCH, syscall.SIGCONT} // which do no harm if they are handed out after the end
		var sent [2]atomic.Int64                                    // how many had been sent when the handler ran last
		var seen [2]int64
		for i, sig := range sigs {
			loop.AddSignalHandler(sig, func() { seen[i] = sent[i].Load() })
		}
		for round := range 50 {
			_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
				for n := range 20 {
					i := (n + round) % 2
					sent[i].Add(1)
					syscall.Kill(syscall.Getpid(), sigs[i])
				}
				return 0, nil
			})
			expectError(t, err, nil)
			until(t, ctx, func() bool { return seen[0] == sent[0].Load() && seen[1] == sent[1].Load() })
		}
	})
	onRealLoop(t, "UNIX-007 removing one handler disturbs neither the others nor other users of os/signal", func(t *testing.T, ctx context.Context) {
		loop := ownLoop(ctx)
		other := make(chan os.Signal, 8)
		signal.Notify(other, syscall.SIGUSR1)
		defer signal.Stop(other)
		calls := 0
		loop.AddSignalHandler(syscall.SIGUSR1, func() { calls++ })
		kill(syscall.SIGUSR1)
		until(t, ctx, func() bool { return calls == 1 && len(other) == 1 })
		second := 0
		loop.AddSignalHandler(syscall.SIGUSR2, func() { second++ })
		loop.RemoveSignalHandler(syscall.SIGUSR1)
		kill(syscall.SIGUSR1)
		kill(syscall.SIGUSR2)
		until(t, ctx, func() bool { return len(other) == 2 && second == 1 && calls == 1 })
	})
	t.Run("two loops hear one signal", func(t *testing.T) {
		ready := make(chan struct{})
		heard := make(chan struct{})
		go func() {
			defer close(heard)
			asyncio.Run(background, func(ctx context.Context) error {
				stream, err := asyncio.NotifySignals(ctx, syscall.SIGUSR1)
				expectError(t, err, nil)
				close(ready)
				_, err = stream.Next(ctx)
				expectError(t, err, nil)
				return nil
			})
		}()
		<-ready
		expectError(t, asyncio.Run(background, func(ctx context.Context) error {
			stream, _ := asyncio.NotifySignals(ctx, syscall.SIGUSR1)
			kill(syscall.SIGUSR1)
			_, err := stream.Next(ctx)
			return err
		}), nil)
		<-heard
	})
	inLoop(t, "a handler keeps no virtual clock from a deadlock, a stream that is awaited does", func(t *testing.T, ctx context.Context) {
		stream, _ := asyncio.NotifySignals(ctx, syscall.SIGUSR1)
		timer := time.AfterFunc(10*time.Millisecond, func() { kill(syscall.SIGUSR1) })
		defer timer.Stop()
		sig, err := stream.Next(ctx)
		if sig != syscall.SIGUSR1 || err != nil {
			t.Errorf("got %v, %v", sig, err)
		}
		expectError(t, runDeadlock(t), asyncio.ErrDeadlock)
	})
}

// runDeadlock runs a loop on a virtual clock that waits for a handler.
func runDeadlock(t *testing.T) (err error) {
	elsewhere(func() {
		err = runLoop(func(ctx context.Context) error {
			ownLoop(ctx).AddSignalHandler(syscall.SIGUSR1, func() {})
			return asyncio.NewFuture[int](ctx).Wait(ctx)
		})
	})
	return err
}

type madeUp struct{}

func (madeUp) Signal()        {}
func (madeUp) String() string { return "made up" }

func TestSignalStream(t *testing.T) {
	onRealLoop(t, "each kind of signal once, in the order of arrival", func(t *testing.T, ctx context.Context) {
		stream, err := asyncio.NotifySignals(ctx, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGUSR1)
		expectError(t, err, nil)
		handled := 0
		ownLoop(ctx).AddSignalHandler(syscall.SIGUSR2, func() { handled++ })
		kill(syscall.SIGUSR1)
		sig, err := stream.Next(ctx)
		if sig != syscall.SIGUSR1 || err != nil {
			t.Errorf("got %v, %v", sig, err)
		}
		kill(syscall.SIGUSR2)
		until(t, ctx, func() bool { return handled == 1 })
		kill(syscall.SIGUSR2)
		until(t, ctx, func() bool { return handled == 2 })
		if sig, err = stream.Next(ctx); sig != syscall.SIGUSR2 || err != nil {
			t.Errorf("got %v, %v", sig, err)
		}
		err = asyncio.Timeout(ctx, time.Millisecond, func(ctx context.Context) error {
			_, err := stream.Next(ctx)
			return err
		})
		expectError(t, err, asyncio.ErrTimeout)
		expectError(t, stream.Close(), nil)
		expectError(t, stream.Close(), nil)
		_, err = stream.Next(ctx)
		expectError(t, err, net.ErrClosed)
		kill(syscall.SIGUSR2)
		until(t, ctx, func() bool { return handled == 3 })
	})
	onRealLoop(t, "All ends with the stream; tasks in Next wake", func(t *testing.T, ctx context.Context) {
		stream, _ := asyncio.NotifySignals(ctx, syscall.SIGUSR1)
		got := 0
		ranger := asyncio.Go(ctx, func(ctx context.Context) error {
			for _, err := range stream.All(ctx) {
				if err != nil {
					return err
				}
				got++
			}
			return nil
		})
		waiter := asyncio.Go(ctx, func(ctx context.Context) error {
			asyncio.Yield(ctx)
			_, err := stream.Next(ctx)
			return err
		})
		cancelled := asyncio.Go(ctx, func(ctx context.Context) error {
			for _, err := range stream.All(ctx) {
				return err
			}
			return nil
		})
		settle(ctx)
		cancelled.Cancel(io2)
		expectError(t, cancelled.Wait(ctx), io2)
		kill(syscall.SIGUSR1)
		until(t, ctx, func() bool { return got == 1 })
		stream.Close()
		expectError(t, ranger.Wait(ctx), nil)
		expectError(t, waiter.Wait(ctx), net.ErrClosed)
	})
	onRealLoop(t, "a signal that woke a cancelled task goes to the next", func(t *testing.T, ctx context.Context) {
		loop := ownLoop(ctx)
		stream, _ := asyncio.NotifySignals(ctx, syscall.SIGUSR1)
		var first *asyncio.Task[struct{}]
		next := func(ctx context.Context) error {
			_, err := stream.Next(ctx)
			return err
		}
		first = asyncio.Go(ctx, next)
		second := asyncio.Go(ctx, next)
		settle(ctx)
		loop.CallSoon(func() {
			kill(syscall.SIGUSR1)
			time.Sleep(10 * time.Millisecond)
		})
		// Cancel it in the very pass in which it is woken, or before.
		asyncio.Yield(ctx)
		first.Cancel(nil)
		expectError(t, second.Wait(ctx), nil)
		if err := first.Wait(ctx); err != nil {
			expectError(t, err, asyncio.ErrCancelled)
		}
	})
	t.Run("Close of the loop ends tasks that ignore it", func(t *testing.T) {
		noGoroutines(t, func() {
			expectError(t, asyncio.Run(background, func(ctx context.Context) error {
				stream, _ := asyncio.NotifySignals(ctx, syscall.SIGUSR1)
				asyncio.Go(ctx, func(ctx context.Context) error {
					for {
						stream.Next(context.WithoutCancel(ctx))
					}
				}, asyncio.EagerStart())
				return nil
			}, asyncio.WithShutdownGrace(0), new(reports).handler()), nil)
		})
	})
}

// TestSignalChild is the program of a child process, which does as it is told.
func TestSignalChild(t *testing.T) {
	order := os.Getenv("ASYNCIO_TEST_SIGNAL_CHILD")
	if order == "" {
		t.Skip("for the child processes of other tests")
	}
	loop := asyncio.NewEventLoop()
	tell := func(s string) { os.Stdout.WriteString(s + "\n") }
	loop.AddSignalHandler(syscall.SIGTERM, func() {
		tell("handled")
		if order == "remove" {
			loop.RemoveSignalHandler(syscall.SIGTERM)
			tell("removed")
		}
	})
	if order == "close" {
		loop.Close()
	}
	tell("ready")
	if order == "close" {
		time.Sleep(time.Minute)
	}
	loop.CallLater(time.Minute, loop.Stop)
	loop.RunForever()
}

func TestSignalDisposition(t *testing.T) {
	// child starts one and returns what it says and how it ends.
	child := func(t *testing.T, order string) (lines *bufio.Scanner, cmd *exec.Cmd) {
		cmd = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSignalChild$")
		cmd.Env = append(os.Environ(), "ASYNCIO_TEST_SIGNAL_CHILD="+order)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return bufio.NewScanner(out), cmd
	}
	expectLine := func(t *testing.T, lines *bufio.Scanner, want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("the child says %q, want %q", lines.Text(), want)
		}
	}
	expectDeath := func(t *testing.T, cmd *exec.Cmd, sig syscall.Signal) {
		t.Helper()
		cmd.Wait()
		if s := cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != sig {
			t.Errorf("it ended with %v, want %v", cmd.ProcessState, sig)
		}
	}
	t.Run("EV-029 UNIX-006 removing a handler restores the default action", func(t *testing.T) {
		lines, cmd := child(t, "remove")
		expectLine(t, lines, "ready")
		cmd.Process.Signal(syscall.SIGTERM)
		expectLine(t, lines, "handled")
		expectLine(t, lines, "removed")
		cmd.Process.Signal(syscall.SIGTERM)
		expectDeath(t, cmd, syscall.SIGTERM)
	})
	t.Run("UNIX-011 so does closing the loop", func(t *testing.T) {
		lines, cmd := child(t, "close")
		expectLine(t, lines, "ready")
		cmd.Process.Signal(syscall.SIGTERM)
		expectDeath(t, cmd, syscall.SIGTERM)
	})
	t.Run("UNIX-059 a signal for a child does not reach the loop of its parent", func(t *testing.T) {
		lines, cmd := child(t, "stay")
		expectLine(t, lines, "ready")
		expectError(t, asyncio.Run(background, func(ctx context.Context) error {
			stream, err := asyncio.NotifySignals(ctx, syscall.SIGTERM)
			if err != nil {
				return err
			}
			cmd.Process.Signal(syscall.SIGTERM)
			expectLine(t, lines, "handled")
			kill(syscall.SIGTERM)
			if sig, err := stream.Next(ctx); err != nil || sig != syscall.SIGTERM {
				t.Errorf("got %v, %v", sig, err)
			}
			err = asyncio.Timeout(ctx, 20*time.Millisecond, func(ctx context.Context) error {
				_, err := stream.Next(ctx)
				return err
			})
			expectError(t, err, asyncio.ErrTimeout)
			return nil
		}), nil)
		cmd.Process.Kill()
		expectDeath(t, cmd, syscall.SIGKILL)
	})
}
