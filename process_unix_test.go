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
	t.Cleanup(func() {
		if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
			t.Errorf("a child is left: %d, %v", pid, err)
		}
	})
}

// withProcesses runs main on a loop. The test fails if anything is left of it.
func withProcesses(t *testing.T, name string, main func(t *testing.T, ctx context.Context) error, opts ...asyncio.RunOption) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		noChildren(t)
		leavesNothing(t)
		runStreams(t, func(ctx context.Context) error { return main(t, ctx) }, opts...)
	})
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

var _ = fmt.Sprint
var _ = errors.Is
var _ = bytes.Equal
var _ = io.EOF
var _ fs.FS
var _ net.Addr
var _ = os.Args
var _ *exec.Cmd
var _ = filepath.Join
var _ = strconv.Itoa
var _ = strings.Cut
var _ time.Duration
