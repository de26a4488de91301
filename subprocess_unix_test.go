//go:build unix

// Tests of processes that report to a protocol: which callbacks come, and in which
// order.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// childLog is a protocol that writes down what it is told.
type childLog struct {
	transport *asyncio.SubprocessTransport
	events    []string
	data      [3]string
	lost      bool
	made      func(t *asyncio.SubprocessTransport)
	received  func(fd int, p []byte)
}

func (c *childLog) ConnectionMade(t *asyncio.SubprocessTransport) {
	c.transport = t
	c.events = append(c.events, "made")
	if c.made != nil {
		c.made(t)
	}
}

func (c *childLog) PipeDataReceived(fd int, p []byte) {
	c.data[fd] += string(p)
	event := fmt.Sprintf("data %d", fd)
	if !slices.Contains(c.events, event) {
		c.events = append(c.events, event)
	}
	if c.received != nil {
		c.received(fd, p)
	}
}

func (c *childLog) PipeConnectionLost(fd int, err error) {
	event := fmt.Sprintf("lost %d", fd)
	if err != nil {
		event += ": " + cause(err)
	}
	c.events = append(c.events, event)
}

func (c *childLog) PauseWriting()  { c.events = append(c.events, "pause") }
func (c *childLog) ResumeWriting() { c.events = append(c.events, "resume") }

func (c *childLog) ProcessExited() {
	code, exited := c.transport.ReturnCode()
	c.events = append(c.events, fmt.Sprintf("exited %d %v", code, exited))
}

func (c *childLog) ConnectionLost(err error) {
	c.lost = true
	event := "lost"
	if err != nil {
		event += ": " + cause(err)
	}
	c.events = append(c.events, event)
}

// cause abridges an error.
func cause(err error) string {
	var p *asyncio.PanicError
	switch {
	case errors.As(err, &p):
		return fmt.Sprint("panic ", p.Value)
	case errors.Is(err, syscall.EPIPE):
		return "EPIPE"
	case errors.Is(err, asyncio.ErrLoopClosed):
		return "loop closed"
	}
	return err.Error()
}

// sorted returns the events in an order that does not depend on which of the
// descriptors was first.
func (c *childLog) sorted() string { return strings.Join(slices.Sorted(slices.Values(c.events)), ", ") }

// ends waits until everything is over, and checks the order that is promised.
func (c *childLog) ends(t testing.TB, ctx context.Context, want string) {
	t.Helper()
	untilTrue(t.(*testing.T), ctx, func() bool { return c.lost })
	if c.events[0] != "made" || !strings.HasPrefix(c.events[len(c.events)-1], "lost") || strings.Contains(c.events[len(c.events)-1], "lost 1") {
		t.Errorf("the order is %q", c.events)
	}
	for fd := range 3 {
		data, lost := slices.Index(c.events, fmt.Sprintf("data %d", fd)), slices.Index(c.events, fmt.Sprintf("lost %d", fd))
		if data >= 0 && lost >= 0 && lost < data {
			t.Errorf("descriptor %d is lost before its data: %q", fd, c.events)
		}
	}
	if got := c.sorted(); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// logs starts a line of the shell.
func logs(t testing.TB, ctx context.Context, line string, opts *asyncio.SubprocessOptions) *childLog {
	t.Helper()
	_, c, err := asyncio.SubprocessShell(ctx, func() *childLog { return new(childLog) }, line, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSubprocessTransport(t *testing.T) {
	withProcesses(t, "EV-081 a program echoes what it is sent", func(t *testing.T, ctx context.Context) error {
		tr, c, err := asyncio.SubprocessExec(ctx, func() *childLog { return new(childLog) }, "cat", nil, nil)
		if err != nil {
			return err
		}
		if c.transport != tr || tr.Protocol() != asyncio.SubprocessProtocol(c) || tr.IsClosing() || tr.PipeTransport(3) != nil || tr.PipeTransport(-1) != nil {
			t.Errorf("%v has made %v", tr, c.events)
		}
		tr.PipeTransport(0).Write([]byte("Python The Winner"))
		untilTrue(t, ctx, func() bool { return c.data[1] == "Python The Winner" })
		tr.PipeTransport(0).Close()
		c.ends(t, ctx, "data 1, exited 0 true, lost, lost 0, lost 1, lost 2, made")
		if !tr.IsClosing() || tr.State() == nil || tr.State().Pid() != tr.Pid() {
			t.Errorf("%v in state %v", tr, tr.State())
		}
		return nil
	})
	withProcesses(t, "EV-082 several exchanges", func(t *testing.T, ctx context.Context) error {
		c := logs(t, ctx, "cat", nil)
		for i := range 5 {
			text := strings.Repeat(fmt.Sprint(i), i+1)
			c.data[1] = ""
			c.transport.PipeTransport(0).Write([]byte(text))
			untilTrue(t, ctx, func() bool { return c.data[1] == text })
		}
		c.transport.PipeTransport(0).WriteEOF()
		c.ends(t, ctx, "data 1, exited 0 true, lost, lost 0, lost 1, lost 2, made")
		return nil
	})
	withProcesses(t, "EV-083 EV-088 each output comes from its descriptor", func(t *testing.T, ctx context.Context) error {
		c := logs(t, ctx, "echo out; echo err >&2", nil)
		c.ends(t, ctx, "data 1, data 2, exited 0 true, lost, lost 0, lost 1, lost 2, made")
		if c.data != [3]string{"", "out\n", "err\n"} {
			t.Errorf("received %q", c.data)
		}
		return nil
	})
	withProcesses(t, "EV-084 EV-090 the exit code is told, absent pipes have no transport, and Close after the exit is quiet", func(t *testing.T, ctx context.Context) error {
		c := logs(t, ctx, "exit 7", &asyncio.SubprocessOptions{Stdin: asyncio.DevNull, Stdout: asyncio.Inherit, Stderr: asyncio.DevNull})
		for fd := range 3 {
			if tr := c.transport.PipeTransport(fd); tr != nil {
				t.Errorf("descriptor %d has %v", fd, tr)
			}
		}
		c.ends(t, ctx, "exited 7 true, lost, made")
		for range 2 {
			if err := c.transport.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		c.ends(t, ctx, "exited 7 true, lost, made")
		return nil
	})
	for _, s := range []struct {
		name   string
		signal func(tr *asyncio.SubprocessTransport) error
		code   int
	}{
		{"EV-085 Kill", (*asyncio.SubprocessTransport).Kill, -9},
		{"EV-086 Terminate", (*asyncio.SubprocessTransport).Terminate, -15},
		{"EV-087 another signal", func(tr *asyncio.SubprocessTransport) error { return tr.Signal(syscall.SIGUSR1) }, -int(syscall.SIGUSR1)},
		{"EV-091 Close of a live child", (*asyncio.SubprocessTransport).Close, -9},
		{"a signal for the group", func(tr *asyncio.SubprocessTransport) error { return tr.SignalGroup(syscall.SIGUSR1) }, -int(syscall.SIGUSR1)},
		{"KillGroup", (*asyncio.SubprocessTransport).KillGroup, -9},
	} {
		withProcesses(t, s.name, func(t *testing.T, ctx context.Context) error {
			c := logs(t, ctx, "read x", &asyncio.SubprocessOptions{ProcessGroup: true})
			if err := s.signal(c.transport); err != nil {
				t.Error(err)
			}
			c.ends(t, ctx, fmt.Sprintf("exited %d true, lost, lost 0, lost 1, lost 2, made", s.code))
			for _, err := range []error{c.transport.Kill(), c.transport.Terminate(), c.transport.Signal(syscall.SIGUSR1), c.transport.KillGroup()} {
				if err != os.ErrProcessDone {
					t.Errorf("a signal after the exit: %v", err)
				}
			}
			return nil
		})
	}
	withProcesses(t, "EV-089 standard error joins standard output, and has no transport", func(t *testing.T, ctx context.Context) error {
		c := logs(t, ctx, "echo out; echo err >&2", &asyncio.SubprocessOptions{Stderr: asyncio.ToStdout})
		if tr := c.transport.PipeTransport(2); tr != nil {
			t.Errorf("there is %v", tr)
		}
		c.ends(t, ctx, "data 1, exited 0 true, lost, lost 0, lost 1, made")
		if c.data != [3]string{"", "out\nerr\n", ""} {
			t.Errorf("received %q", c.data)
		}
		return nil
	})
	withProcesses(t, "EV-092 to close the reading end gives the child a broken pipe", func(t *testing.T, ctx context.Context) error {
		c := logs(t, ctx, "read x; trap '' PIPE; echo out 2>/dev/null || exit 4", nil)
		c.transport.PipeTransport(1).Close()
		c.transport.PipeTransport(0).Write([]byte("x\n"))
		c.ends(t, ctx, "exited 4 true, lost, lost 0, lost 1, lost 2, made")
		return nil
	})
	withProcesses(t, "EV-093 children that have called setsid are waited for", func(t *testing.T, ctx context.Context) error {
		c := logs(t, ctx, "exit 7", &asyncio.SubprocessOptions{NewSession: true})
		c.ends(t, ctx, "exited 7 true, lost, lost 0, lost 1, lost 2, made")
		return nil
	})
	withProcesses(t, "SUB-033 a child that exits at once is told of in order", func(t *testing.T, ctx context.Context) error {
		for range 20 {
			c := logs(t, ctx, "exit 0", nil)
			c.ends(t, ctx, "exited 0 true, lost, lost 0, lost 1, lost 2, made")
			if err := c.transport.Terminate(); err != os.ErrProcessDone {
				t.Errorf("Terminate: %v", err)
			}
		}
		return nil
	})
	withProcesses(t, "SUB-034 each descriptor's data precede its loss, wherever the exit comes", func(t *testing.T, ctx context.Context) error {
		early := logs(t, ctx, "head -c 300000 /dev/zero & echo err >&2; exit 3", &asyncio.SubprocessOptions{Stdin: asyncio.DevNull})
		early.transport.PipeTransport(1).PauseReading()
		untilTrue(t, ctx, func() bool { _, exited := early.transport.ReturnCode(); return exited })
		if early.lost {
			t.Error("it is over before its pipes are")
		}
		early.transport.PipeTransport(1).ResumeReading()
		early.ends(t, ctx, "data 1, data 2, exited 3 true, lost, lost 1, lost 2, made")
		if len(early.data[1]) != 300000 {
			t.Errorf("received %d bytes", len(early.data[1]))
		}
		late := logs(t, ctx, "trap 'exit 3' TERM; echo out; exec >&- 2>&- <&-; while :; do sleep 0.01; done", nil)
		untilTrue(t, ctx, func() bool {
			return slices.Contains(late.events, "lost 0") && slices.Contains(late.events, "lost 1") && slices.Contains(late.events, "lost 2")
		})
		if err := late.transport.Terminate(); err != nil {
			return err
		}
		late.ends(t, ctx, "data 1, exited 3 true, lost, lost 0, lost 1, lost 2, made")
		if i := slices.Index(late.events, "exited 3 true"); i != len(late.events)-2 {
			t.Errorf("told %q", late.events)
		}
		return nil
	})
	withProcesses(t, "writing pauses and resumes", func(t *testing.T, ctx context.Context) error {
		c := logs(t, ctx, "cat >/dev/null", nil)
		c.transport.PipeTransport(0).Write(pattern(1 << 20))
		untilTrue(t, ctx, func() bool { return slices.Contains(c.events, "resume") })
		c.transport.PipeTransport(0).Close()
		c.ends(t, ctx, "exited 0 true, lost, lost 0, lost 1, lost 2, made, pause, resume")
		return nil
	})
	withProcesses(t, "a child that does not read what it is sent", func(t *testing.T, ctx context.Context) error {
		c := logs(t, ctx, "exec sleep 100", nil)
		c.transport.PipeTransport(0).Write(pattern(1 << 20))
		c.transport.Terminate()
		c.ends(t, ctx, "exited -15 true, lost, lost 0: EPIPE, lost 1, lost 2, made, pause")
		return nil
	})
	withProcesses(t, "the text tells the state", func(t *testing.T, ctx context.Context) error {
		c := logs(t, ctx, "read x; exit 7", nil)
		expectText(t, c.transport, fmt.Sprintf("<SubprocessTransport %d running>", c.transport.Pid()))
		c.transport.PipeTransport(0).Close()
		c.ends(t, ctx, "exited 7 true, lost, lost 0, lost 1, lost 2, made")
		expectText(t, c.transport, fmt.Sprintf("<SubprocessTransport %d returncode=7>", c.transport.Pid()))
		return nil
	})
	withProcesses(t, "a protocol that does nothing", func(t *testing.T, ctx context.Context) error {
		tr, _, err := asyncio.SubprocessShell(ctx, func() asyncio.SubprocessProtocol { return asyncio.NopSubprocessProtocol{} }, "echo out; head -c 1 >/dev/null", nil)
		if err != nil {
			return err
		}
		tr.PipeTransport(0).Write(pattern(1 << 20))
		untilTrue(t, ctx, tr.IsClosing)
		return nil
	})
}

func TestSubprocessFailures(t *testing.T) {
	withProcesses(t, "a program that cannot be started leaves nothing open", func(t *testing.T, ctx context.Context) error {
		before := len(descriptors())
		c := new(childLog)
		tr, p, err := asyncio.SubprocessExec(ctx, func() *childLog { return c }, "/no/such/program", nil, nil)
		if tr != nil || p != nil || !errors.Is(err, fs.ErrNotExist) || len(c.events) > 0 {
			t.Errorf("%v, %v, %v, told %q", tr, p, err, c.events)
		}
		if descriptorsLeft(before) != before {
			t.Errorf("open are %v, there were %d", descriptors(), before)
		}
		return nil
	})
	withProcesses(t, "the end of the input, and a process that does not read up to it", func(t *testing.T, ctx context.Context) error {
		c := logs(t, ctx, "read go; exec <&-; exit 3", &asyncio.SubprocessOptions{Stdout: asyncio.DevNull, Stderr: asyncio.DevNull})
		in := c.transport.PipeTransport(0)
		in.Write(append([]byte("go\n"), pattern(1<<20)...))
		in.WriteEOF()
		c.ends(t, ctx, "exited 3 true, lost, lost 0: EPIPE, made, pause")
		return nil
	})
	withProcesses(t, "mistakes", func(t *testing.T, ctx context.Context) error {
		factory := func() *childLog { return new(childLog) }
		_, _, err := asyncio.SubprocessExec[*childLog](ctx, nil, "true", nil, nil)
		mistake(t, err, asyncio.ErrBadArgument)
		for _, opts := range []*asyncio.SubprocessOptions{{Limit: 10}, {Grace: 1}, {Stdin: asyncio.ToStdout}} {
			_, _, err := asyncio.SubprocessExec(ctx, factory, "true", nil, opts)
			mistake(t, err, asyncio.ErrBadArgument)
		}
		c := logs(t, ctx, "read x", nil)
		elsewhere(func() {
			_, _, err := asyncio.SubprocessShell(ctx, factory, "true", nil)
			mistake(t, err, asyncio.ErrWrongGoroutine)
			mistake(t, c.transport.Close(), asyncio.ErrWrongGoroutine)
			mistake(t, c.transport.Kill(), asyncio.ErrWrongGoroutine)
		})
		mistake(t, c.transport.KillGroup(), asyncio.ErrInvalidState)
		c.transport.Close()
		c.ends(t, ctx, "exited -9 true, lost, lost 0, lost 1, lost 2, made")
		return nil
	})
	withProcesses(t, "SUB-028 a cancelled creation kills and reaps the child", func(t *testing.T, ctx context.Context) error {
		c := new(childLog)
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			asyncio.CurrentTask(ctx).Cancel(nil)
			_, _, err := asyncio.SubprocessShell(ctx, func() *childLog { return c }, "trap '' TERM; read x", nil)
			return err
		})
		if err := task.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
			t.Errorf("it returns %v", err)
		}
		noChild(t)
		c.ends(t, ctx, "exited -9 true, lost, lost 0, lost 1, lost 2, made")
		return nil
	})
	withProcesses(t, "Close in ConnectionMade", func(t *testing.T, ctx context.Context) error {
		c := &childLog{made: func(t *asyncio.SubprocessTransport) { t.Close() }}
		if _, _, err := asyncio.SubprocessShell(ctx, func() *childLog { return c }, "read x", nil); err != nil {
			return err
		}
		c.ends(t, ctx, "exited -9 true, lost, lost 0, lost 1, lost 2, made")
		return nil
	})
	for name, test := range map[string]struct {
		line    string
		c       *childLog
		err     string
		events  string
		reports []string
	}{
		"a panic in ConnectionMade ends the child": {
			"read x",
			&childLog{made: func(*asyncio.SubprocessTransport) { panic("oops") }}, "oops",
			"exited -9 true, lost 0, lost 1, lost 2, lost: panic oops, made",
			[]string{"panic in ConnectionMade of a protocol: panic: oops"},
		},
		"a panic in PipeDataReceived ends the pipe": {
			"echo out; read x",
			&childLog{received: func(int, []byte) { panic("oops") }}, "",
			"data 1, exited -9 true, lost, lost 0, lost 1: panic oops, lost 2, made",
			[]string{"panic in DataReceived of a protocol: panic: oops"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			noChildren(t)
			leavesNothing(t)
			var r reporting
			runStreams(t, func(ctx context.Context) error {
				_, _, err := asyncio.SubprocessShell(ctx, func() *childLog { return test.c }, test.line, nil)
				var p *asyncio.PanicError
				if errors.As(err, &p) != (test.err != "") || p != nil && p.Value != test.err {
					t.Errorf("it returns %v", err)
				}
				untilTrue(t, ctx, func() bool { return test.c.lost || slices.Contains(test.c.events, "lost 1: panic oops") })
				test.c.transport.Close()
				test.c.ends(t, ctx, test.events)
				return nil
			}, r.option())
			r.expect(t, test.reports...)
		})
	}
	t.Run("a panic of the factory starts nothing", func(t *testing.T) {
		noChildren(t)
		leavesNothing(t)
		runStreams(t, func(ctx context.Context) error {
			defer func() {
				if recover() != "oops" {
					t.Error("the panic is lost")
				}
			}()
			asyncio.SubprocessShell(ctx, func() *childLog { panic("oops") }, "read x", nil)
			return nil
		})
	})
	t.Run("closing the loop kills the child and tells the protocol", func(t *testing.T) {
		for _, option := range append(reaperOptions(), asyncio.WithShutdownGrace(time.Second)) {
			noChildren(t)
			leavesNothing(t)
			var c *childLog
			runStreams(t, func(ctx context.Context) error {
				c = logs(t, ctx, "trap '' TERM; read x; sleep 100", nil)
				c.transport.PipeTransport(0).Write(pattern(1 << 20))
				return nil
			}, option)
			want := "exited -9 true, lost 0: loop closed, lost 1: loop closed, lost 2: loop closed, lost: loop closed, made"
			got := strings.ReplaceAll(strings.ReplaceAll(c.sorted(), ", pause", ""), "lost 0: EPIPE", "lost 0: loop closed")
			if got != want {
				t.Errorf("told %q, want %q", got, want)
			}
			if !strings.HasPrefix(c.events[len(c.events)-1], "lost: ") {
				t.Errorf("the order is %q", c.events)
			}
		}
	})
}

func reaperOptions() (all []asyncio.RunOption) {
	for _, o := range reapers {
		all = append(all, o)
	}
	return all
}

func TestSubprocessInterrupted(t *testing.T) {
	noChildren(t)
	nothing := func(context.Context) error { return nil }
	interruptEverywhere(t, func(*testing.T) interruption {
		c := new(childLog)
		return interruption{nothing, nothing, func(ctx context.Context) error {
			tr, _, err := asyncio.SubprocessShell(ctx, func() *childLog { return c }, "cat", nil)
			if err != nil {
				return err
			}
			defer tr.Close()
			return asyncio.Sleep(ctx, 1)
		}}
	})
}
