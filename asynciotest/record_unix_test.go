//go:build unix

// The signals and the pipes of recorded programs.

package asynciotest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func TestReplayOfInterruptedRuns(t *testing.T) {
	program := func(first func()) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			asyncio.RunningLoop(ctx).CallSoon(first)
			return asyncio.Sleep(ctx, time.Hour)
		}
	}
	var tape bytes.Buffer
	rec := asynciotest.NewRecording(&tape)
	err := asyncio.Run(context.Background(), program(func() { syscall.Kill(os.Getpid(), syscall.SIGHUP) }),
		asynciotest.WithRecording(rec), asyncio.WithInterrupt(syscall.SIGHUP))
	if !errors.Is(err, asyncio.ErrInterrupted) {
		t.Fatal(err)
	}
	again := asynciotest.Replay(&tape, program(func() {}), asyncio.WithInterrupt(syscall.SIGHUP))
	if !errors.Is(again, asyncio.ErrInterrupted) || again.Error() != err.Error() {
		t.Errorf("the replay: %v, recorded %v", again, err)
	}
}

// sigs runs a program that sends signals to this process, but not in its replay.
func sigs(t *testing.T, program func(ctx context.Context, d *diary, send func(syscall.Signal)) error) {
	run := 0
	again(t, func(ctx context.Context, d *diary) error {
		run++
		first := run == 1
		return program(ctx, d, func(sig syscall.Signal) {
			if first {
				syscall.Kill(os.Getpid(), sig)
			}
		})
	})
}

func TestReplayOfSignals(t *testing.T) {
	t.Run("handlers", func(t *testing.T) {
		sigs(t, func(ctx context.Context, d *diary, send func(syscall.Signal)) error {
			loop := asyncio.RunningLoop(ctx)
			for round := range 3 {
				done := asyncio.NewFuture[struct{}](ctx)
				count := 0
				for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2} {
					err := loop.AddSignalHandler(sig, func() {
						d.note(ctx, "%d: %v", round, sig)
						if count++; count == 2 {
							done.SetResult(struct{}{})
						}
					})
					if err != nil {
						return err
					}
				}
				send(syscall.SIGUSR2)
				send(syscall.SIGUSR1)
				if err := done.Wait(ctx); err != nil {
					return err
				}
				if round == 1 {
					d.note(ctx, "%t", loop.RemoveSignalHandler(syscall.SIGUSR1))
				}
			}
			return nil
		})
	})
	t.Run("streams", func(t *testing.T) {
		sigs(t, func(ctx context.Context, d *diary, send func(syscall.Signal)) error {
			for range 2 {
				s, err := asyncio.NotifySignals(ctx, syscall.SIGUSR1, syscall.SIGHUP)
				if err != nil {
					return err
				}
				for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGHUP} {
					send(sig)
					got, err := s.Next(ctx)
					d.note(ctx, "%v, %v", got, err)
				}
				err = asyncio.Timeout(ctx, 5*time.Millisecond, func(ctx context.Context) error {
					_, err := s.Next(ctx)
					return err
				})
				d.note(ctx, "%v", err)
				s.Close()
			}
			return nil
		})
	})
	t.Run("those that come to the replay are none of its own", func(t *testing.T) {
		received := make(chan os.Signal, 1)
		signal.Notify(received, syscall.SIGUSR1)
		defer signal.Stop(received)
		again(t, func(ctx context.Context, d *diary) error {
			s, err := asyncio.NotifySignals(ctx, syscall.SIGUSR1)
			if err != nil {
				return err
			}
			defer s.Close()
			syscall.Kill(os.Getpid(), syscall.SIGUSR1) // also in the replay
			got, err := s.Next(ctx)
			d.note(ctx, "%v, %v", got, err)
			<-received
			return err
		})
	})
	t.Run("one that the replay has no handler for", func(t *testing.T) {
		run := 0
		main := func(ctx context.Context) error {
			if run++; run == 2 {
				return asyncio.NewFuture[struct{}](ctx).Wait(ctx)
			}
			s, err := asyncio.NotifySignals(ctx, syscall.SIGUSR1)
			if err != nil {
				return err
			}
			syscall.Kill(os.Getpid(), syscall.SIGUSR1)
			_, err = s.Next(ctx)
			return err
		}
		tape := taped(t, main)
		var d *asynciotest.Difference
		if err := asynciotest.Replay(bytes.NewReader(tape), main, quiet); !errors.As(err, &d) || d.Recorded != "a change of who wants which signals" {
			t.Errorf("the replay: %v", err)
		}
	})
}

// TestReplayTellsWhoWantsSignals: that a replay adds or removes a handler or a stream which
// the recording did not is told when it does so, not when it is missed.
func TestReplayTellsWhoWantsSignals(t *testing.T) {
	remove := func(ctx context.Context) error {
		if !asyncio.RunningLoop(ctx).RemoveSignalHandler(syscall.SIGUSR1) {
			return errors.New("there is no handler")
		}
		return nil
	}
	add := func(ctx context.Context) error {
		return asyncio.RunningLoop(ctx).AddSignalHandler(syscall.SIGUSR2, func() {})
	}
	nothing := func(ctx context.Context) error { return nil }
	for name, program := range map[string]struct {
		then, now          func(ctx context.Context) error
		recorded, replayed string
	}{
		"a handler is removed": {nothing, remove, "a reading of the loop's clock",
			"a change of who wants which signals: user defined signal 1 (streams: 1)"},
		"a handler is added": {nothing, add, "a reading of the loop's clock",
			"a change of who wants which signals: user defined signal 1 (a handler, streams: 1), user defined signal 2 (a handler)"},
		"another one is removed": {add, remove,
			"a change of who wants which signals: user defined signal 1 (a handler, streams: 1), user defined signal 2 (a handler)",
			"a change of who wants which signals: user defined signal 1 (streams: 1)"},
		"none is removed": {remove, nothing, "a change of who wants which signals", "a reading of the loop's clock"},
	} {
		t.Run(name, func(t *testing.T) {
			do := program.then
			main := func(ctx context.Context) error {
				s, err := asyncio.NotifySignals(ctx, syscall.SIGUSR1)
				if err != nil {
					return err
				}
				defer s.Close()
				if err := asyncio.RunningLoop(ctx).AddSignalHandler(syscall.SIGUSR1, func() {}); err != nil {
					return err
				}
				if err := do(ctx); err != nil {
					return err
				}
				loopTime(ctx)
				return nil
			}
			tape := taped(t, main)
			do = program.now
			var d *asynciotest.Difference
			if err := asynciotest.Replay(bytes.NewReader(tape), main, quiet); !errors.As(err, &d) || d.Recorded != program.recorded || d.Replayed != program.replayed {
				t.Errorf("the replay: %v", err)
			}
			do = program.then
			if err := asynciotest.Replay(bytes.NewReader(tape), main, quiet); err != nil {
				t.Errorf("the same again: %v", err)
			}
		})
	}
}

func TestReplayOfPipes(t *testing.T) {
	for name, opts := range map[string][]asyncio.RunOption{"": nil, ", portable backend": {asyncio.WithBackend(asyncio.PortableBackend)}} {
		t.Run("to read from"+name, func(t *testing.T) {
			run := 0
			again(t, func(ctx context.Context, d *diary) error {
				run++
				ours, theirs, err := os.Pipe()
				if err != nil {
					return err
				}
				r, err := asyncio.OpenReadPipe(ctx, ours)
				if err != nil {
					return err
				}
				if run == 1 { // whoever is at the other end is not there in the replay
					go func() {
						io.WriteString(theirs, strings.Repeat("a line\n", 50_000))
						theirs.Close()
					}()
				} else {
					defer theirs.Close()
				}
				for total := 0; ; {
					p, err := r.ReadSome(ctx)
					if total += len(p); err != nil {
						d.note(ctx, "%d bytes, then %v", total, err)
						return r.Close()
					}
					d.note(ctx, "%d bytes", len(p))
				}
			}, opts...)
		})
		t.Run("to write to"+name, func(t *testing.T) {
			run := 0
			again(t, func(ctx context.Context, d *diary) error {
				run++
				theirs, ours, err := os.Pipe()
				if err != nil {
					return err
				}
				tr, p, err := asyncio.ConnectWritePipe(ctx, ours, func() *ending { return &ending{over: asyncio.NewFuture[struct{}](ctx)} })
				if err != nil {
					return err
				}
				if run == 1 {
					go func() {
						io.CopyN(io.Discard, theirs, 300_000)
						theirs.Close()
					}()
				} else {
					defer theirs.Close()
				}
				for range 50 {
					n, err := tr.Write(bytes.Repeat([]byte("w"), 10_000))
					d.note(ctx, "%d, %v; %d wait", n, err, tr.WriteBufferSize())
					if err := asyncio.Sleep(ctx, 0); err != nil {
						return err
					}
				}
				err = p.over.Wait(ctx)
				d.note(ctx, "%v, lost: %v", err, p.err)
				return err
			}, opts...)
		})
	}
	t.Run("devices", func(t *testing.T) {
		again(t, func(ctx context.Context, d *diary) error {
			for range 2 {
				f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
				if err != nil {
					return err
				}
				r, err := asyncio.OpenReadPipe(ctx, f)
				if err != nil {
					return err
				}
				all, err := r.ReadAll(ctx)
				d.note(ctx, "%q, %v, %v", all, err, r.Close())
				if f, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
					return err
				}
				w, err := asyncio.OpenWritePipe(ctx, f)
				if err != nil {
					return err
				}
				_, err = w.WriteString("for nobody")
				d.note(ctx, "%v, %v, %v", err, w.Close(), w.WaitClosed(ctx))
			}
			return nil
		})
	})
	t.Run("other bytes are a difference", func(t *testing.T) {
		run := 0
		main := func(ctx context.Context) error {
			run++
			f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			w, err := asyncio.OpenWritePipe(ctx, f)
			if err != nil {
				return err
			}
			defer w.Close()
			_, err = w.WriteString("run " + string(rune('0'+run)))
			return err
		}
		tape := taped(t, main)
		var d *asynciotest.Difference
		if err := asynciotest.Replay(bytes.NewReader(tape), main, quiet); !errors.As(err, &d) || !strings.Contains(d.Replayed, `"run 2"`) || !strings.Contains(d.Object, "pipe") {
			t.Errorf("the replay: %v", err)
		}
	})
}

// ending waits for the end of a transport.
type ending struct {
	asyncio.NopProtocol
	over *asyncio.Future[struct{}]
	err  error
}

func (e *ending) ConnectionLost(err error) {
	e.err = err
	e.over.SetResult(struct{}{})
}
