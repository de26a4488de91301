//go:build unix

// Tests of processes: what goes in and comes out, how they end, and that nothing
// is left of them.

package asyncio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// noChildren fails the test if at its end this process has children, dead or alive.
func noChildren(t testing.TB) {
	t.Helper()
	t.Cleanup(func() { noChild(t) })
}

func noChild(t testing.TB) {
	t.Helper()
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("a child is left: %d, %v", pid, err)
	}
}

// reapers are the ways by which a loop can hear of the end of a process, beside the
// one that it chooses.
var reapers = map[string]asyncio.RunOption{}

// withProcesses runs main on a loop, once for each way. The test fails if anything
// is left of it.
func withProcesses(t *testing.T, name string, main func(t *testing.T, ctx context.Context) error, opts ...asyncio.RunOption) {
	t.Helper()
	test := func(t *testing.T, opts []asyncio.RunOption) {
		noChildren(t)
		leavesNothing(t)
		runStreams(t, func(ctx context.Context) error { return main(t, ctx) }, opts...)
	}
	t.Run(name, func(t *testing.T) { test(t, opts) })
	for reaper, option := range reapers {
		t.Run(name+", "+reaper, func(t *testing.T) { test(t, append([]asyncio.RunOption{option}, opts...)) })
	}
}

// piped are options with a pipe for each stream.
func piped() *asyncio.SubprocessOptions {
	return &asyncio.SubprocessOptions{Stdin: asyncio.Pipe, Stdout: asyncio.Pipe, Stderr: asyncio.Pipe}
}

// sh starts a line of the shell.
func sh(t testing.TB, ctx context.Context, line string, opts *asyncio.SubprocessOptions) *asyncio.Process {
	t.Helper()
	p, err := asyncio.CreateSubprocessShell(ctx, line, opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// exits checks the end of a process, and closes it.
func exits(t testing.TB, ctx context.Context, p *asyncio.Process, want int) {
	t.Helper()
	code, err := p.Wait(ctx)
	if err != nil || code != want {
		t.Errorf("Wait returns %d, %v, want %d", code, err, want)
	}
	if code, exited := p.ReturnCode(); code != want || !exited {
		t.Errorf("ReturnCode is %d, %v, want %d", code, exited, want)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// tells checks what a process writes.
func tells(t testing.TB, ctx context.Context, p *asyncio.Process, input, wantOut, wantErr string) {
	t.Helper()
	out, errs, err := p.Communicate(ctx, []byte(input))
	if err != nil || string(out) != wantOut || string(errs) != wantErr {
		t.Errorf("Communicate returns %q, %q, %v, want %q, %q", out, errs, err, wantOut, wantErr)
	}
}

func TestProcessStreams(t *testing.T) {
	withProcesses(t, "SUB-001 a task writes to stdin, reads stdout and waits", func(t *testing.T, ctx context.Context) error {
		p, err := asyncio.CreateSubprocessExec(ctx, "cat", nil, piped())
		if err != nil {
			return err
		}
		p.Stdin.WriteString("some data\n")
		if line, err := p.Stdout.ReadLine(ctx); err != nil || string(line) != "some data\n" {
			t.Errorf("read %q, %v", line, err)
		}
		p.Stdin.WriteString("more")
		p.Stdin.Close()
		if all, err := p.Stdout.ReadAll(ctx); err != nil || string(all) != "more" {
			t.Errorf("read %q, %v", all, err)
		}
		exits(t, ctx, p, 0)
		return nil
	})
	withProcesses(t, "SUB-002 Communicate with input returns the output", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "cat; echo oops >&2; exit 3", piped())
		tells(t, ctx, p, "some data", "some data", "oops\n")
		exits(t, ctx, p, 3)
		return nil
	})
	withProcesses(t, "SUB-003 Communicate without input closes stdin", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "cat; echo over", piped())
		out, _, err := p.Communicate(ctx, nil)
		if err != nil || string(out) != "over\n" {
			t.Errorf("%q, %v", out, err)
		}
		exits(t, ctx, p, 0)
		return nil
	})
	withProcesses(t, "SUB-004 Communicate works with empty input", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "cat", piped())
		out, errs, err := p.Communicate(ctx, []byte{})
		if err != nil || out == nil || len(out) > 0 || errs == nil || len(errs) > 0 {
			t.Errorf("%q, %q, %v", out, errs, err)
		}
		exits(t, ctx, p, 0)
		return nil
	})
	withProcesses(t, "SUB-006 the null device gives nil for the output", func(t *testing.T, ctx context.Context) error {
		for _, s := range []asyncio.Stdio{asyncio.DevNull, asyncio.Inherit} {
			p := sh(t, ctx, "cat </dev/null", &asyncio.SubprocessOptions{Stdin: asyncio.DevNull, Stdout: s, Stderr: s})
			if p.Stdin != nil || p.Stdout != nil || p.Stderr != nil {
				t.Error("there are streams")
			}
			if out, errs, err := p.Communicate(ctx, nil); out != nil || errs != nil || err != nil {
				t.Errorf("%q, %q, %v", out, errs, err)
			}
			exits(t, ctx, p, 0)
		}
		p := sh(t, ctx, "echo dropped; echo kept >&2; cat", &asyncio.SubprocessOptions{Stdin: asyncio.DevNull, Stdout: asyncio.DevNull, Stderr: asyncio.Pipe})
		if out, errs, err := p.Communicate(ctx, nil); out != nil || string(errs) != "kept\n" || err != nil {
			t.Errorf("%q, %q, %v", out, errs, err)
		}
		exits(t, ctx, p, 0)
		return nil
	})
}

func TestProcessSurroundings(t *testing.T) {
	withProcesses(t, "SUB-005 the shell gives its exit code, also after setsid", func(t *testing.T, ctx context.Context) error {
		for _, opts := range []*asyncio.SubprocessOptions{nil, {}, {NewSession: true}, {ProcessGroup: true}, {NewSession: true, ProcessGroup: true}} {
			exits(t, ctx, sh(t, ctx, "exit 7", opts), 7)
		}
		p := sh(t, ctx, "ps -o sid= -p $$ | tr -d ' '; read x", &asyncio.SubprocessOptions{Stdin: asyncio.Pipe, Stdout: asyncio.Pipe, NewSession: true})
		if _, err := exec.LookPath("ps"); err == nil {
			if line, err := p.Stdout.ReadLine(ctx); err != nil || string(line) != fmt.Sprintln(p.Pid()) {
				t.Errorf("setsid gave %q, %v, want %d", line, err, p.Pid())
			}
		}
		p.Stdin.Close()
		exits(t, ctx, p, 1)
		return nil
	})
	withProcesses(t, "SUB-007 the environment reaches programs and the shell", func(t *testing.T, ctx context.Context) error {
		opts := piped()
		opts.Env = []string{"GREETING=hello"}
		p := sh(t, ctx, "echo $GREETING", opts)
		tells(t, ctx, p, "", "hello\n", "")
		exits(t, ctx, p, 0)
		p, err := asyncio.CreateSubprocessExec(ctx, "env", nil, opts)
		if err != nil {
			return err
		}
		tells(t, ctx, p, "", "GREETING=hello\n", "")
		exits(t, ctx, p, 0)
		t.Setenv("GREETING", "good day")
		p = sh(t, ctx, "echo $GREETING", piped())
		tells(t, ctx, p, "", "good day\n", "")
		exits(t, ctx, p, 0)
		return nil
	})
	withProcesses(t, "SUB-008 a program is a path, or a name that is looked up", func(t *testing.T, ctx context.Context) error {
		path := filepath.Join(t.TempDir(), "a program \xff")
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho \"$1\"; pwd\n"), 0o700); err != nil {
			return err
		}
		opts := piped()
		opts.Dir = "/"
		p, err := asyncio.CreateSubprocessExec(ctx, path, []string{"a b"}, opts)
		if err != nil {
			return err
		}
		tells(t, ctx, p, "", "a b\n/\n", "")
		exits(t, ctx, p, 0)
		return nil
	})
	withProcesses(t, "SUB-024 no process inherits the pipe of another one", func(t *testing.T, ctx context.Context) error {
		first, second := sh(t, ctx, "cat", piped()), sh(t, ctx, "cat", piped())
		first.Stdin.Close()
		exits(t, ctx, first, 0)
		second.Stdin.Close()
		exits(t, ctx, second, 0)
		return nil
	})
	withProcesses(t, "SUB-025 a process can open /dev/stdin", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "cat /dev/stdin", piped())
		tells(t, ctx, p, "text", "text", "")
		exits(t, ctx, p, 0)
		return nil
	})
	withProcesses(t, "files", func(t *testing.T, ctx context.Context) error {
		name := filepath.Join(t.TempDir(), "file")
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		defer f.Close()
		exits(t, ctx, sh(t, ctx, "echo one; echo two >&2; echo three >&3", &asyncio.SubprocessOptions{
			Stdout: asyncio.StdioFile(f), Stderr: asyncio.ToStdout, ExtraFiles: []*os.File{f},
		}), 0)
		in, err := os.Open(name)
		if err != nil {
			return err
		}
		defer in.Close()
		p := sh(t, ctx, "cat", &asyncio.SubprocessOptions{Stdin: asyncio.StdioFile(in), Stdout: asyncio.Pipe})
		tells(t, ctx, p, "", "one\ntwo\nthree\n", "")
		exits(t, ctx, p, 0)
		return nil
	})
	withProcesses(t, "standard error joins standard output", func(t *testing.T, ctx context.Context) error {
		for _, out := range []asyncio.Stdio{asyncio.Pipe, asyncio.DevNull} {
			p := sh(t, ctx, "echo one; echo two >&2", &asyncio.SubprocessOptions{Stdout: out, Stderr: asyncio.ToStdout})
			if p.Stderr != nil {
				t.Error("there is a stream for standard error")
			}
			if all, _, err := p.Communicate(ctx, nil); err != nil || out == asyncio.Pipe && string(all) != "one\ntwo\n" {
				t.Errorf("%q, %v", all, err)
			}
			exits(t, ctx, p, 0)
		}
		return nil
	})
	withProcesses(t, "the limit is that of both readers", func(t *testing.T, ctx context.Context) error {
		opts := piped()
		opts.Limit = 10
		p := sh(t, ctx, "echo 12345678901234567890; echo 12345678901234567890 >&2", opts)
		for _, r := range []*asyncio.StreamReader{p.Stdout, p.Stderr} {
			if _, err := r.ReadLine(ctx); !errors.As(err, new(*asyncio.LimitOverrunError)) {
				t.Errorf("read: %v", err)
			}
		}
		exits(t, ctx, p, 0)
		return nil
	})
}

func TestProcessesAtOnce(t *testing.T) {
	withProcesses(t, "SUB-009 ten processes at once give ten outputs", func(t *testing.T, ctx context.Context) error {
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for i := range 10 {
				g.Go(func(ctx context.Context) error {
					text := strings.Repeat(strconv.Itoa(i), 1000)
					p := sh(t, ctx, "cat", piped())
					tells(t, ctx, p, text, text, "")
					exits(t, ctx, p, 0)
					return nil
				})
			}
			return nil
		})
	})
	withProcesses(t, "SUB-010 ten tasks wait for a process, before it has exited and after", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "read x; exit 4", piped())
		for range 2 {
			err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				for range 10 {
					g.Go(func(ctx context.Context) error {
						if code, err := p.Wait(ctx); code != 4 || err != nil {
							t.Errorf("%d, %v", code, err)
						}
						return nil
					})
				}
				return p.Stdin.Close()
			})
			if err != nil {
				return err
			}
		}
		exits(t, ctx, p, 4)
		return nil
	})
	withProcesses(t, "many processes, signalled while they exit", func(t *testing.T, ctx context.Context) error {
		n := 200
		if underRace {
			n = 60
		}
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for i := range n {
				g.Go(func(ctx context.Context) error {
					p, err := asyncio.CreateSubprocessExec(ctx, "sh", []string{"-c", fmt.Sprintf("read x; exit %d", i%100)}, &asyncio.SubprocessOptions{Stdin: asyncio.Pipe})
					if err != nil {
						return err
					}
					defer p.Close()
					asyncio.Sleep(ctx, time.Duration(i)*time.Millisecond/4)
					p.Stdin.WriteString("x\n")
					asyncio.Sleep(ctx, time.Duration(i%50)*100*time.Microsecond)
					for err == nil {
						if err = p.Terminate(); err == nil {
							err = asyncio.Yield(ctx)
						}
					}
					if err != os.ErrProcessDone {
						return err
					}
					code, err := p.Wait(ctx)
					if code != i%100 && code != -15 {
						t.Errorf("process %d ended with %d", i, code)
					}
					return err
				})
			}
			return nil
		})
	})
}

func TestProcessSignals(t *testing.T) {
	// ready starts a process that reads, and waits until it does.
	ready := func(t *testing.T, ctx context.Context, line string, opts asyncio.SubprocessOptions) *asyncio.Process {
		t.Helper()
		opts.Stdin, opts.Stdout, opts.Stderr = asyncio.Pipe, asyncio.Pipe, asyncio.DevNull
		p := sh(t, ctx, line, &opts)
		if line, err := p.Stdout.ReadLine(ctx); err != nil || string(line) != "ready\n" {
			t.Fatalf("read %q, %v", line, err)
		}
		return p
	}
	// done checks that p can no longer be signalled.
	done := func(t *testing.T, p *asyncio.Process) {
		t.Helper()
		for name, signal := range map[string]func() error{
			"Signal": func() error { return p.Signal(syscall.SIGUSR1) }, "Terminate": p.Terminate, "Kill": p.Kill,
			"SignalGroup": func() error { return p.SignalGroup(syscall.SIGUSR1) }, "KillGroup": p.KillGroup,
		} {
			if err := signal(); err != os.ErrProcessDone {
				t.Errorf("%s returns %v", name, err)
			}
		}
	}
	for _, c := range []struct {
		name   string
		signal func(p *asyncio.Process) error
		code   int
	}{
		{"SUB-011 Kill gives minus nine", (*asyncio.Process).Kill, -9},
		{"SUB-012 Terminate gives minus fifteen", (*asyncio.Process).Terminate, -15},
		{"SUB-013 another signal gives its negative number", func(p *asyncio.Process) error { return p.Signal(syscall.SIGUSR1) }, -int(syscall.SIGUSR1)},
	} {
		withProcesses(t, c.name, func(t *testing.T, ctx context.Context) error {
			p := ready(t, ctx, "echo ready; read x", asyncio.SubprocessOptions{})
			if err := c.signal(p); err != nil {
				t.Error(err)
			}
			if _, exited := p.ReturnCode(); exited || p.State() != nil {
				t.Error("the exit is known before the loop has run")
			}
			exits(t, ctx, p, c.code)
			if p.State() == nil || p.State().Pid() != p.Pid() {
				t.Errorf("the state is %v", p.State())
			}
			done(t, p)
			return nil
		})
	}
	withProcesses(t, "SUB-014 Kill ends a shell that runs several commands", func(t *testing.T, ctx context.Context) error {
		p := ready(t, ctx, "echo ready; read x; echo more; exit 0", asyncio.SubprocessOptions{})
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		exits(t, ctx, p, -9)
		return nil
	})
	withProcesses(t, "SUB-015 Wait returns when the process has exited though others hold its pipes", func(t *testing.T, ctx context.Context) error {
		p := ready(t, ctx, "cat & echo ready; exit 2", asyncio.SubprocessOptions{ProcessGroup: true})
		if code, err := p.Wait(ctx); code != 2 || err != nil {
			t.Errorf("%d, %v", code, err)
		}
		done(t, p)
		if err := p.Close(); err != nil {
			t.Error(err) // cat reads the end now
		}
		return nil
	})
	withProcesses(t, "a signal for the group reaches what the process has started", func(t *testing.T, ctx context.Context) error {
		for _, opts := range []asyncio.SubprocessOptions{{ProcessGroup: true}, {NewSession: true}, {SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}} {
			p := ready(t, ctx, "trap '' USR1; (trap - USR1; echo ready; read y; cat) <&0; echo over", opts)
			if err := p.SignalGroup(syscall.SIGUSR1); err != nil {
				t.Error(err)
			}
			if line, err := p.Stdout.ReadLine(ctx); err != nil || string(line) != "over\n" {
				t.Errorf("read %q, %v", line, err)
			}
			exits(t, ctx, p, 0)
			p = ready(t, ctx, "(echo ready; read y; cat) <&0; echo over", opts)
			if err := p.KillGroup(); err != nil {
				t.Error(err)
			}
			if rest, err := p.Stdout.ReadAll(ctx); err != nil || len(rest) > 0 {
				t.Errorf("read %q, %v", rest, err)
			}
			exits(t, ctx, p, -9)
		}
		return nil
	})
	withProcesses(t, "a process without a group has none to signal", func(t *testing.T, ctx context.Context) error {
		p := ready(t, ctx, "echo ready; read x", asyncio.SubprocessOptions{})
		mistake(t, p.KillGroup(), asyncio.ErrInvalidState)
		mistake(t, p.SignalGroup(syscall.SIGTERM), asyncio.ErrInvalidState)
		p.Stdin.Close()
		exits(t, ctx, p, 1)
		return nil
	})
	withProcesses(t, "a process that has left its group is reached all the same", func(t *testing.T, ctx context.Context) error {
		if _, err := exec.LookPath("setsid"); err != nil {
			t.Skip(err)
		}
		p := ready(t, ctx, "exec setsid -w sh -c 'echo ready; read x'", asyncio.SubprocessOptions{ProcessGroup: true})
		if err := p.KillGroup(); err != nil {
			t.Error(err)
		}
		p.Stdin.Close()
		exits(t, ctx, p, -9)
		return nil
	})
	withProcesses(t, "SUB-016 no signal goes to a process that is reaped", func(t *testing.T, ctx context.Context) error {
		p := ready(t, ctx, "echo ready; read x; exit 6", asyncio.SubprocessOptions{})
		p.Stdin.Close()
		if code, err := p.Wait(ctx); code != 6 || err != nil {
			t.Errorf("%d, %v", code, err)
		}
		if err := syscall.Kill(p.Pid(), 0); err != syscall.ESRCH {
			t.Errorf("the process is still there: %v", err)
		}
		done(t, p)
		exits(t, ctx, p, 6)
		done(t, p)
		return nil
	})
	withProcesses(t, "SUB-017 a signal while the process exits never makes its code unknown", func(t *testing.T, ctx context.Context) error {
		for i := range 20 {
			p := ready(t, ctx, "echo ready; read x; exit 6", asyncio.SubprocessOptions{})
			p.Stdin.WriteString("x\n")
			var err error
			for range i % 5 {
				err = errors.Join(err, p.Terminate(), asyncio.Yield(ctx))
			}
			code, werr := p.Wait(ctx)
			if code != 6 && code != -15 || werr != nil || err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("%d, %v, %v", code, werr, err)
			}
			p.Close()
		}
		return nil
	})
	withProcesses(t, "SUB-020 Close kills a process that runs, not one that has exited", func(t *testing.T, ctx context.Context) error {
		p := ready(t, ctx, "echo ready; read x", asyncio.SubprocessOptions{})
		for range 2 {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := p.Stdout.ReadLine(ctx); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read: %v", err)
		}
		if _, err := p.Stdin.WriteString("x"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write: %v", err)
		}
		exits(t, ctx, p, -9)
		p = ready(t, ctx, "echo ready; read x", asyncio.SubprocessOptions{})
		p.Stdin.WriteString("x\n")
		exits(t, ctx, p, 0)
		return nil
	})
	withProcesses(t, "OBS-016 after Communicate the process can no longer be signalled", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "cat", piped())
		tells(t, ctx, p, "text", "text", "")
		done(t, p)
		exits(t, ctx, p, 0)
		return nil
	})
}

func TestProcessPipes(t *testing.T) {
	withProcesses(t, "SUB-021 Drain reports that nobody reads, Communicate does not", func(t *testing.T, ctx context.Context) error {
		large := pattern(1 << 20)
		p := sh(t, ctx, "exec <&-; echo closed; read x </dev/null; exit 3", piped())
		if _, err := p.Stdout.ReadLine(ctx); err != nil {
			t.Error(err)
		}
		_, err := p.Stdin.Write(large)
		if err == nil {
			err = p.Stdin.Drain(ctx)
		}
		if !errors.Is(err, syscall.EPIPE) {
			t.Errorf("Write and Drain return %v", err)
		}
		exits(t, ctx, p, 3)

		p = sh(t, ctx, "echo not interested; exit 3", piped())
		tells(t, ctx, p, string(large), "not interested\n", "")
		exits(t, ctx, p, 3)
		return nil
	})
	withProcesses(t, "a closed input whose rest nobody reads", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "read go; exec <&-; echo closed; exit 3", piped())
		p.Stdin.Write(append([]byte("go\n"), pattern(1<<20)...))
		p.Stdin.Close()
		err := p.Stdin.WaitClosed(ctx)
		if !errors.Is(err, syscall.EPIPE) {
			t.Errorf("WaitClosed returns %v", err)
		}
		exits(t, ctx, p, 3)
		return nil
	})
	withProcesses(t, "SUB-022 a large output waits until it is read", func(t *testing.T, ctx context.Context) error {
		const size = 3 << 20
		p := sh(t, ctx, fmt.Sprintf("head -c %d /dev/zero", size), piped())
		buf := make([]byte, 1000)
		n, err := p.Stdout.Read(ctx, buf)
		for total := n; ; total += n {
			if p.Stdout.Buffered() > 0 {
				t.Fatalf("%d bytes were read that nobody has asked for", p.Stdout.Buffered())
			}
			if _, exited := p.ReturnCode(); exited && total < size-1<<20 {
				t.Fatalf("the process has exited, and %d bytes were read", total)
			}
			if err == io.EOF {
				if total != size {
					t.Errorf("read %d bytes, want %d", total, size)
				}
				break
			}
			if err != nil {
				return err
			}
			n, err = p.Stdout.Read(ctx, buf)
		}
		exits(t, ctx, p, 0)
		return nil
	})
	withProcesses(t, "SUB-023 what was written before the exit can be read after it", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "head -c 10000 /dev/zero; echo oops >&2", piped())
		if _, err := p.Wait(ctx); err != nil {
			return err
		}
		out, err := p.Stdout.ReadAll(ctx)
		if err != nil || len(out) != 10000 {
			t.Errorf("read %d bytes, %v", len(out), err)
		}
		errs, err := p.Stderr.ReadLine(ctx)
		if err != nil || string(errs) != "oops\n" {
			t.Errorf("read %q, %v", errs, err)
		}
		exits(t, ctx, p, 0)
		return nil
	})
	withProcesses(t, "large input and output cross", func(t *testing.T, ctx context.Context) error {
		large := pattern(4 << 20)
		p := sh(t, ctx, "tee /dev/stderr", piped())
		out, errs, err := p.Communicate(ctx, large)
		if err != nil || !bytes.Equal(out, large) || !bytes.Equal(errs, large) {
			t.Errorf("%d and %d bytes, %v", len(out), len(errs), err)
		}
		exits(t, ctx, p, 0)
		return nil
	})
	withProcesses(t, "a pipe is closed when its end was read", func(t *testing.T, ctx context.Context) error {
		before := len(descriptors())
		p := sh(t, ctx, "exec >&- 2>&-; read x; exit 0", piped())
		for _, read := range []func(ctx context.Context) ([]byte, error){p.Stdout.ReadAll, p.Stderr.ReadAll} {
			if all, err := read(ctx); len(all) > 0 || err != nil {
				t.Errorf("%q, %v", all, err)
			}
		}
		for range 2 { // again and again
			if _, err := p.Stdout.ReadLine(ctx); err != io.EOF {
				t.Errorf("read: %v", err)
			}
		}
		p.Stdin.Close()
		if _, err := p.Wait(ctx); err != nil {
			return err
		}
		if descriptorsLeft(before) != before {
			t.Errorf("open are %v, there were %d", descriptors(), before)
		}
		exits(t, ctx, p, 0)
		return nil
	})
	withProcesses(t, "a second Communicate finds nothing", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "cat", piped())
		tells(t, ctx, p, "text", "text", "")
		tells(t, ctx, p, "", "", "")
		exits(t, ctx, p, 0)
		return nil
	})
	withProcesses(t, "input for a stream that is closed or no pipe is a mistake", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "exit 0", &asyncio.SubprocessOptions{Stdin: asyncio.DevNull})
		_, _, err := p.Communicate(ctx, []byte("x"))
		mistake(t, err, asyncio.ErrBadArgument)
		exits(t, ctx, p, 0)
		p = sh(t, ctx, "cat", piped())
		p.Stdin.Close()
		if _, _, err := p.Communicate(ctx, []byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Communicate: %v", err)
		}
		exits(t, ctx, p, 0)
		return nil
	})
	withProcesses(t, "Communicate while another task reads", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "cat", piped())
		reader := asyncio.CreateTask(ctx, p.Stdout.ReadLine)
		asyncio.Yield(ctx)
		_, _, err := p.Communicate(ctx, nil)
		mistake(t, err, asyncio.ErrConcurrentRead)
		reader.Cancel(nil)
		reader.Wait(ctx)
		return p.Close()
	})
}

func TestProcessFailures(t *testing.T) {
	withProcesses(t, "SUB-026 a program that cannot be started leaves nothing open", func(t *testing.T, ctx context.Context) error {
		before := len(descriptors())
		start := func(name string, opts *asyncio.SubprocessOptions) error {
			p, err := asyncio.CreateSubprocessExec(ctx, name, nil, opts)
			if p != nil {
				t.Errorf("%s was started", name)
			}
			if descriptorsLeft(before) != before {
				t.Errorf("open are %v, there were %d", descriptors(), before)
			}
			return err
		}
		if err := start("no such program", piped()); !errors.As(err, new(*exec.Error)) || !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("an unknown name: %v", err)
		}
		if err := start("/no/such/program", piped()); !errors.As(err, new(*fs.PathError)) || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an unknown path: %v", err)
		}
		if err := start("/etc", piped()); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("a directory: %v", err)
		}
		opts := piped()
		opts.Dir = "/no/such/directory"
		if err := start("true", opts); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an unknown directory: %v", err)
		}
		return nil
	})
	withProcesses(t, "mistakes", func(t *testing.T, ctx context.Context) error {
		for _, opts := range []*asyncio.SubprocessOptions{
			{Limit: -1}, {Stdin: asyncio.ToStdout}, {Stdout: asyncio.ToStdout}, {Stdin: asyncio.StdioFile(nil)},
		} {
			_, err := asyncio.CreateSubprocessShell(ctx, "true", opts)
			mistake(t, err, asyncio.ErrBadArgument)
		}
		mistake(t, asyncio.WithProcess(ctx, "true", nil, nil, nil), asyncio.ErrBadArgument)
		p := sh(t, ctx, "read x", piped())
		elsewhere(func() {
			_, err := asyncio.CreateSubprocessShell(ctx, "true", nil)
			mistake(t, err, asyncio.ErrWrongGoroutine)
			_, err = p.Wait(ctx)
			mistake(t, err, asyncio.ErrWrongGoroutine)
			_, _, err = p.Communicate(ctx, nil)
			mistake(t, err, asyncio.ErrWrongGoroutine)
			_, err = p.Shutdown(ctx, 0)
			mistake(t, err, asyncio.ErrWrongGoroutine)
			for _, f := range []func() error{p.Terminate, p.Kill, p.KillGroup, p.Close} {
				mistake(t, f(), asyncio.ErrWrongGoroutine)
			}
		})
		return p.Close()
	})
	withProcesses(t, "SUB-035 the text tells the state", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "read x; exit 3", piped())
		expectText(t, p, fmt.Sprintf("<Process %d running>", p.Pid()))
		p.Stdin.Close()
		p.Wait(ctx)
		expectText(t, p, fmt.Sprintf("<Process %d returncode=3>", p.Pid()))
		return p.Close()
	})
}

func TestProcessCancellation(t *testing.T) {
	withProcesses(t, "SUB-027 a cancelled Wait leaves the process alone", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "read x; exit 3", piped())
		waiter := asyncio.CreateTask(ctx, p.Wait)
		asyncio.Yield(ctx)
		waiter.Cancel(nil)
		if _, err := waiter.Await(ctx); !errors.Is(err, asyncio.ErrCancelled) {
			t.Errorf("Wait returns %v", err)
		}
		p.Stdin.WriteString("x\n")
		exits(t, ctx, p, 3)
		return nil
	})
	withProcesses(t, "SUB-028 SUB-029 SUB-030 SUB-031 creation never suspends: a cancelled task gets its process", func(t *testing.T, ctx context.Context) error {
		task := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
			asyncio.CurrentTask(ctx).Cancel(nil)
			p, err := asyncio.CreateSubprocessShell(ctx, "read x; exit 3", piped())
			if err != nil {
				return 0, err
			}
			defer p.Close()
			return p.Wait(ctx)
		})
		if _, err := task.Await(ctx); !errors.Is(err, asyncio.ErrCancelled) {
			t.Errorf("the task ends with %v", err)
		}
		return nil
	})
	withProcesses(t, "a cancelled Communicate leaves the process and its outputs alone", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "exec 2>&-; echo one; read x; echo two; cat; exec sleep 100", piped())
		first := asyncio.Go(ctx, func(ctx context.Context) error {
			_, _, err := p.Communicate(ctx, []byte("x\n"+strings.Repeat("y", 1<<20)))
			return err
		})
		untilTrue(t, ctx, func() bool { return p.Stdout.Buffered() >= 1<<20 })
		first.Cancel(nil)
		if err := first.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
			t.Errorf("Communicate returns %v", err)
		}
		if err := p.Terminate(); err != nil {
			t.Error(err)
		}
		out, errs, err := p.Communicate(ctx, nil)
		if string(out) != "one\ntwo\n"+strings.Repeat("y", 1<<20) || len(errs) > 0 || err != nil {
			t.Errorf("%d bytes, %q, %v", len(out), errs, err)
		}
		exits(t, ctx, p, -15)
		return nil
	})
}

func TestWithProcess(t *testing.T) {
	stop := errors.New("stop")
	for _, c := range []struct {
		name, line string
		grace      time.Duration
		end        error
		code       int
	}{
		{"a process that runs when the function returns is terminated", "echo ready; read x", 0, nil, -15},
		{"so it is when the function fails", "echo ready; read x", 0, stop, -15},
		{"it may end as it likes", "trap 'exit 3' TERM; echo ready; while :; do read x </dev/tty || sleep 0.01; done 2>/dev/null", time.Minute, nil, 3},
		{"after the grace it is killed", "trap '' TERM; echo ready; read x", 50 * time.Millisecond, nil, -9},
		{"without a grace it is killed at once", "trap 'exit 3' TERM; echo ready; read x", -1, stop, -9},
	} {
		withProcesses(t, c.name, func(t *testing.T, ctx context.Context) error {
			var process *asyncio.Process
			opts := piped()
			opts.Grace = c.grace
			err := asyncio.WithProcess(ctx, "sh", []string{"-c", c.line}, opts, func(ctx context.Context, p *asyncio.Process) error {
				process = p
				if _, err := p.Stdout.ReadLine(ctx); err != nil {
					return err
				}
				return c.end
			})
			if err != c.end {
				t.Errorf("it returns %v", err)
			}
			if code, exited := process.ReturnCode(); code != c.code || !exited {
				t.Errorf("the process has ended with %d, %v, want %d", code, exited, c.code)
			}
			return nil
		})
	}
	withProcesses(t, "a process that has exited is left alone", func(t *testing.T, ctx context.Context) error {
		return asyncio.WithProcess(ctx, "true", nil, nil, func(ctx context.Context, p *asyncio.Process) error {
			code, err := p.Wait(ctx)
			if code != 0 {
				t.Error(code)
			}
			return err
		})
	})
	withProcesses(t, "a cancellation ends the process, with its group", func(t *testing.T, ctx context.Context) error {
		opts := piped()
		opts.ProcessGroup = true
		var process *asyncio.Process
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			return asyncio.WithProcess(ctx, "sh", []string{"-c", "sh -c 'echo ready; read x; cat' <&0; exit 5"}, opts, func(ctx context.Context, p *asyncio.Process) error {
				process = p
				_, err := p.Stdout.ReadExactly(ctx, 100)
				return err
			})
		})
		untilTrue(t, ctx, func() bool { return process != nil && process.Stdout.Buffered() > 0 })
		task.Cancel(nil)
		if err := task.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
			t.Errorf("it returns %v", err)
		}
		if code, exited := process.ReturnCode(); code != -15 || !exited {
			t.Errorf("the process has ended with %d, %v", code, exited)
		}
		return nil
	})
	withProcesses(t, "a second cancellation kills it", func(t *testing.T, ctx context.Context) error {
		opts := piped()
		opts.Grace = time.Hour
		var process *asyncio.Process
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			return asyncio.WithProcess(ctx, "sh", []string{"-c", "trap 'echo asked' TERM; echo ready; while :; do sleep 0.01; done"}, opts, func(ctx context.Context, p *asyncio.Process) error {
				process = p
				_, err := p.Wait(ctx)
				return err
			})
		})
		untilTrue(t, ctx, func() bool { return process != nil })
		if line, err := process.Stdout.ReadLine(ctx); err != nil || string(line) != "ready\n" {
			t.Errorf("read %q, %v", line, err)
		}
		task.Cancel(nil)
		if line, err := process.Stdout.ReadLine(ctx); err != nil || string(line) != "asked\n" {
			t.Errorf("read %q, %v", line, err)
		}
		if task.Done() {
			t.Error("it did not wait")
		}
		task.Cancel(nil)
		if err := task.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
			t.Errorf("it returns %v", err)
		}
		if code, exited := process.ReturnCode(); code != -9 || !exited {
			t.Errorf("the process has ended with %d, %v", code, exited)
		}
		return nil
	})
	withProcesses(t, "a panic kills it", func(t *testing.T, ctx context.Context) error {
		var process *asyncio.Process
		func() {
			defer func() {
				if recover() != "oops" {
					t.Error("the panic is lost")
				}
			}()
			asyncio.WithProcess(ctx, "sh", []string{"-c", "trap '' TERM; read x"}, piped(), func(ctx context.Context, p *asyncio.Process) error {
				process = p
				panic("oops")
			})
		}()
		if code, exited := process.ReturnCode(); code != -9 || !exited {
			t.Errorf("the process has ended with %d, %v", code, exited)
		}
		return nil
	})
	withProcesses(t, "errors of starting are returned", func(t *testing.T, ctx context.Context) error {
		err := asyncio.WithProcess(ctx, "/no/such/program", nil, nil, func(context.Context, *asyncio.Process) error {
			t.Error("it was started")
			return nil
		})
		expectError(t, err, fs.ErrNotExist)
		return nil
	})
}

func TestRunProcess(t *testing.T) {
	withProcesses(t, "the outputs are captured", func(t *testing.T, ctx context.Context) error {
		r, err := asyncio.RunProcess(ctx, "sh", []string{"-c", "cat; echo oops >&2"}, []byte("text"), nil)
		if err != nil || string(r.Stdout) != "text" || string(r.Stderr) != "oops\n" || r.ReturnCode != 0 || !r.State.Success() {
			t.Errorf("%+v, %v", r, err)
		}
		r, err = asyncio.RunProcess(ctx, "cat", nil, nil, &asyncio.SubprocessOptions{Stderr: asyncio.DevNull})
		if err != nil || r.Stdout == nil || len(r.Stdout) > 0 || r.Stderr != nil {
			t.Errorf("%+v, %v", r, err)
		}
		return nil
	})
	withProcesses(t, "a failure is an exec.ExitError", func(t *testing.T, ctx context.Context) error {
		for line, code := range map[string]int{"echo out; exit 3": 3, "echo out; kill -9 $$": -9} {
			r, err := asyncio.RunProcess(ctx, "sh", []string{"-c", line}, nil, nil)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ProcessState != r.State || string(r.Stdout) != "out\n" || r.ReturnCode != code {
				t.Errorf("%+v, %v", r, err)
			}
		}
		r, err := asyncio.RunProcess(ctx, "/no/such/program", nil, nil, nil)
		if r != nil || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v, %v", r, err)
		}
		return nil
	})
	clock := newJumpClock()
	withProcesses(t, "after a timeout the process is gone and its output is there", func(t *testing.T, ctx context.Context) error {
		said := filepath.Join(t.TempDir(), "said")
		asyncio.Go(ctx, func(ctx context.Context) error {
			untilTrue(t, ctx, func() bool { _, err := os.Stat(said); return err == nil })
			clock.jump(time.Hour)
			return nil
		})
		var r *asyncio.ProcessResult
		err := asyncio.Timeout(ctx, time.Hour, func(ctx context.Context) (err error) {
			r, err = asyncio.RunProcess(ctx, "sh", []string{"-c", `echo out; head -c 1000000 /dev/zero; : >"$0"; exec sleep 100`, said}, nil, nil)
			return err
		})
		expectError(t, err, asyncio.ErrTimeout)
		// The end of it may be on its way still.
		if len(r.Stdout) < 500_000 || !bytes.HasPrefix(r.Stdout, []byte("out\n")) || r.ReturnCode != -15 || r.State == nil {
			t.Errorf("%d bytes; %d, %v", len(r.Stdout), r.ReturnCode, r.State)
		}
		return nil
	}, onClock(clock))
}

func TestProcessInterrupted(t *testing.T) {
	for name, operation := range map[string]func(ctx context.Context) error{
		"WithProcess": func(ctx context.Context) error {
			return asyncio.WithProcess(ctx, "cat", nil, piped(), func(ctx context.Context, p *asyncio.Process) error {
				_, _, err := p.Communicate(ctx, pattern(200_000))
				return err
			})
		},
		"RunProcess": func(ctx context.Context) error {
			_, err := asyncio.RunProcess(ctx, "sh", []string{"-c", "cat; echo oops >&2"}, pattern(100_000), nil)
			return err
		},
		"Wait": func(ctx context.Context) error {
			return asyncio.WithProcess(ctx, "true", nil, nil, func(ctx context.Context, p *asyncio.Process) error {
				_, err := p.Wait(ctx)
				return err
			})
		},
		"Close": func(ctx context.Context) error {
			p, err := asyncio.CreateSubprocessExec(ctx, "cat", nil, piped())
			if err != nil {
				return err
			}
			defer p.Close()
			p.Stdin.WriteString("line\n")
			_, err = p.Stdout.ReadLine(ctx)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			noChildren(t)
			nothing := func(context.Context) error { return nil }
			interruptEverywhere(t, func(*testing.T) interruption { return interruption{nothing, nothing, operation} })
		})
	}
}

func TestProcessLoopClose(t *testing.T) {
	withProcesses(t, "processes that are left are killed and reaped", func(t *testing.T, ctx context.Context) error {
		for range 5 {
			sh(t, ctx, "trap '' TERM; echo text; read x; sleep 100", piped()).Stdin.Write(pattern(1 << 20))
		}
		sh(t, ctx, "exit 3", piped())
		sh(t, ctx, "sleep 100", &asyncio.SubprocessOptions{ProcessGroup: true})
		asyncio.Go(ctx, sh(t, ctx, "read x", piped()).Stdin.WaitClosed)
		return nil
	})
	t.Run("what was known stays known", func(t *testing.T) {
		noChildren(t)
		leavesNothing(t)
		var running, exited *asyncio.Process
		runStreams(t, func(ctx context.Context) error {
			running, exited = sh(t, ctx, "read x", piped()), sh(t, ctx, "exit 3", nil)
			_, err := exited.Wait(ctx)
			return err
		})
		for p, want := range map[*asyncio.Process]int{running: -9, exited: 3} {
			if code, known := p.ReturnCode(); code != want || !known {
				t.Errorf("%v, want %d", p, want)
			}
			if err := p.Kill(); err != os.ErrProcessDone {
				t.Errorf("Kill: %v", err)
			}
			if err := p.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
}
