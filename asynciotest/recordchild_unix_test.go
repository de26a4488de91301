//go:build unix

// Recordings and replays of programs with child processes.

package asynciotest_test

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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// childScript is the program that the tests start. It does what its first argument says.
const childScript = `#!/bin/sh
case $1 in
exit) exit $2 ;;
kill) kill -s $2 $$; sleep 10 ;;
echo) cat; echo "to the other" >&2; exit 7 ;;
big) dd if=/dev/zero bs=1000 count=1000 2>/dev/null; exit 0 ;;
deaf) exec <&-; echo deaf; exec sleep 60 ;;
traps) trap 'echo trapped' USR1; trap 'echo over; exit 4' TERM; echo ready; while :; do sleep 0.01; done ;;
stubborn) trap '' TERM; echo ready; while :; do sleep 0.01; done ;;
group) trap '' TERM; sleep 60 & echo $!; wait; wait; ;;
slow) echo first; exec sleep 60 ;;
esac
`

// script puts the program into a new directory and returns its name.
func script(t testing.TB) string {
	name := filepath.Join(t.TempDir(), "child")
	if err := os.WriteFile(name, []byte(childScript), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

func pipes() *asyncio.SubprocessOptions {
	return &asyncio.SubprocessOptions{Stdin: asyncio.Pipe, Stdout: asyncio.Pipe, Stderr: asyncio.Pipe}
}

// ended notes how a process has ended.
func (d *diary) ended(ctx context.Context, p *asyncio.Process) {
	code, err := p.Wait(ctx)
	s := p.State()
	d.note(ctx, "%v: %d, %v; %v, %d, %v, %v %v", p, code, err, s, s.Pid(), s.Sys(), s.UserTime(), s.SystemTime())
	d.note(ctx, "%v, done: %t", p.Kill(), p.Terminate() == os.ErrProcessDone)
}

// ways are what children are used for. child is the name of the program.
var ways = []struct {
	name string
	run  func(ctx context.Context, d *diary, child string) error
}{
	{"exits", func(ctx context.Context, d *diary, child string) error {
		for _, args := range [][]string{{"exit", "0"}, {"exit", "3"}, {"kill", "KILL"}, {"kill", "TERM"}} {
			p, err := asyncio.CreateSubprocessExec(ctx, child, args, nil)
			if err != nil {
				return err
			}
			d.note(ctx, "%v", p)
			d.ended(ctx, p)
			if err := p.Close(); err != nil {
				return err
			}
		}
		return nil
	}},
	{"RunProcess", func(ctx context.Context, d *diary, child string) error {
		r, err := asyncio.RunProcess(ctx, child, []string{"echo"}, []byte("some input"), nil)
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			return fmt.Errorf("no exit error: %w", err)
		}
		d.note(ctx, "%q %q %d, %v, %d, %t, %t, %+v", r.Stdout, r.Stderr, r.ReturnCode, err, exit.ExitCode(), exit.Exited(), exit.Success(), exit.SysUsage())
		r, err = asyncio.RunProcess(ctx, child, []string{"exit", "0"}, nil, nil)
		d.note(ctx, "%q %q %d, %v, %t", r.Stdout, r.Stderr, r.ReturnCode, err, r.State.Success())
		r, err = asyncio.RunProcess(ctx, child, []string{"kill", "HUP"}, nil, nil)
		d.note(ctx, "%d, %v, %v", r.ReturnCode, err, r.State.Sys().(syscall.WaitStatus).Signal())
		return nil
	}},
	{"many at a time", func(ctx context.Context, d *diary, child string) error {
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for i := range 8 {
				g.Go(func(ctx context.Context) error {
					r, err := asyncio.RunProcess(ctx, child, []string{"echo"}, fmt.Appendf(nil, "input %d", i), nil)
					d.note(ctx, "%q, %v", r.Stdout, err)
					return nil
				})
			}
			return nil
		})
	}},
	{"a program that cannot be started", func(ctx context.Context, d *diary, child string) error {
		file := filepath.Join(filepath.Dir(child), "no program")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return err
		}
		for _, name := range []string{child + " is missing", "no-program-of-this-name", file} {
			_, err := asyncio.CreateSubprocessExec(ctx, name, nil, pipes())
			var search *exec.Error
			var path *fs.PathError
			d.note(ctx, "%v: %t %t, %t %t %t", err, errors.As(err, &search), errors.As(err, &path),
				errors.Is(err, fs.ErrNotExist), errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrPermission))
			if err == nil {
				return errors.New("it was started")
			}
		}
		opts := pipes()
		opts.Dir = child + " is no directory"
		_, err := asyncio.CreateSubprocessExec(ctx, child, []string{"exit", "0"}, opts)
		d.note(ctx, "%v: %t", err, errors.Is(err, fs.ErrNotExist))
		return nil
	}},
	{"much output", func(ctx context.Context, d *diary, child string) error {
		p, err := asyncio.CreateSubprocessExec(ctx, child, []string{"big"}, &asyncio.SubprocessOptions{Stdout: asyncio.Pipe})
		if err != nil {
			return err
		}
		defer p.Close()
		for total := 0; ; {
			got, err := p.Stdout.ReadSome(ctx)
			if total += len(got); err != nil {
				d.note(ctx, "%d bytes, then %v", total, err)
				break
			}
			d.note(ctx, "%d bytes", len(got))
		}
		d.ended(ctx, p)
		return nil
	}},
	{"input that nobody reads", func(ctx context.Context, d *diary, child string) error {
		p, err := asyncio.CreateSubprocessExec(ctx, child, []string{"deaf"}, pipes())
		if err != nil {
			return err
		}
		defer p.Close()
		for i := 0; ; i++ {
			_, err := p.Stdin.Write(bytes.Repeat([]byte("x"), 50_000))
			if err == nil {
				err = p.Stdin.Drain(ctx)
			}
			if err != nil {
				d.note(ctx, "write %d: %v, %t", i, err, errors.Is(err, syscall.EPIPE))
				break
			}
		}
		line, err := p.Stdout.ReadLine(ctx)
		d.note(ctx, "%q, %v; kill: %v", line, err, p.Kill())
		out, errs, err := p.Communicate(ctx, []byte("more"))
		d.note(ctx, "%q %q %v", out, errs, err)
		d.ended(ctx, p)
		return nil
	}},
	{"signals", func(ctx context.Context, d *diary, child string) error {
		p, err := asyncio.CreateSubprocessExec(ctx, child, []string{"traps"}, pipes())
		if err != nil {
			return err
		}
		defer p.Close()
		line, err := p.Stdout.ReadLine(ctx)
		d.note(ctx, "%q %v, %v", line, err, p.Signal(syscall.SIGUSR1))
		line, err = p.Stdout.ReadLine(ctx)
		d.note(ctx, "%q %v, %v, %v", line, err, p.Terminate(), p.Signal(syscall.Signal(1000)))
		line, err = p.Stdout.ReadLine(ctx)
		d.note(ctx, "%q %v", line, err)
		d.ended(ctx, p)
		return nil
	}},
	{"a time that is over", func(ctx context.Context, d *diary, child string) error {
		opts := pipes()
		opts.Grace = 30 * time.Millisecond
		err := asyncio.Timeout(ctx, 500*time.Millisecond, func(ctx context.Context) error {
			r, err := asyncio.RunProcess(ctx, child, []string{"stubborn"}, []byte{}, opts)
			d.note(ctx, "%q %q %d %v, %v", r.Stdout, r.Stderr, r.ReturnCode, r.State, err)
			return err
		})
		d.note(ctx, "%v, %t", err, errors.Is(err, asyncio.ErrTimeout))
		return nil
	}},
	{"a group", func(ctx context.Context, d *diary, child string) error {
		opts := pipes()
		opts.ProcessGroup = true
		p, err := asyncio.CreateSubprocessExec(ctx, child, []string{"group"}, opts)
		if err != nil {
			return err
		}
		defer p.Close()
		line, err := p.Stdout.ReadLine(ctx)
		d.note(ctx, "%q %v, %v", line, err, p.SignalGroup(syscall.SIGTERM))
		code, err := p.Shutdown(ctx, 10*time.Millisecond)
		d.note(ctx, "%d %v, %v", code, err, p.KillGroup())
		return nil
	}},
	{"Communicate, cancelled", func(ctx context.Context, d *diary, child string) error {
		p, err := asyncio.CreateSubprocessExec(ctx, child, []string{"slow"}, pipes())
		if err != nil {
			return err
		}
		defer p.Close()
		err = asyncio.Timeout(ctx, 300*time.Millisecond, func(ctx context.Context) error {
			_, _, err := p.Communicate(ctx, bytes.Repeat([]byte("y"), 1<<20))
			return err
		})
		d.note(ctx, "%v, %v", err, p)
		line, err := p.Stdout.ReadLine(ctx)
		d.note(ctx, "%q, %v; %v", line, err, p.Terminate())
		d.ended(ctx, p)
		return nil
	}},
	{"a protocol", func(ctx context.Context, d *diary, child string) error {
		for _, args := range [][]string{{"echo"}, {"deaf"}} {
			told := &tells{ctx: ctx, d: d, done: asyncio.NewFuture[struct{}](ctx)}
			tr, _, err := asyncio.SubprocessExec(ctx, func() *tells { return told }, child, args, nil)
			if err != nil {
				return err
			}
			d.note(ctx, "%v", tr)
			if err := told.done.Wait(ctx); err != nil {
				return err
			}
			code, exited := tr.ReturnCode()
			d.note(ctx, "%d, %t, %v", code, exited, tr.State())
		}
		_, _, err := asyncio.SubprocessShell(ctx, func() *tells { return nil }, "exit 1", &asyncio.SubprocessOptions{Dir: child + " is no directory"})
		d.note(ctx, "%v", err)
		return nil
	}},
	{"output of a shell, merged", func(ctx context.Context, d *diary, child string) error {
		p, err := asyncio.CreateSubprocessShell(ctx, "echo one; echo two >&2", &asyncio.SubprocessOptions{Stdout: asyncio.Pipe, Stderr: asyncio.ToStdout, Stdin: asyncio.DevNull})
		if err != nil {
			return err
		}
		defer p.Close()
		out, errs, err := p.Communicate(ctx, nil)
		d.note(ctx, "%q %q %v", out, errs, err)
		return nil
	}},
	{"a pipe beside the standard streams", func(ctx context.Context, d *diary, child string) error {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		p, err := asyncio.CreateSubprocessShell(ctx, "echo third >&3; read line; echo $line >&3", &asyncio.SubprocessOptions{Stdin: asyncio.Pipe, ExtraFiles: []*os.File{w}})
		w.Close()
		if err != nil {
			return err
		}
		defer p.Close()
		third, err := asyncio.OpenReadPipe(ctx, r)
		if err != nil {
			return err
		}
		line, err := third.ReadLine(ctx)
		d.note(ctx, "%q, %v", line, err)
		p.Stdin.WriteString("and more\n")
		rest, err := third.ReadAll(ctx)
		d.note(ctx, "%q, %v, %v", rest, err, third.Close())
		d.ended(ctx, p)
		return nil
	}},
	{"left to the loop", func(ctx context.Context, d *diary, child string) error {
		p, err := asyncio.CreateSubprocessExec(ctx, child, []string{"slow"}, pipes())
		if err != nil {
			return err
		}
		told := &tells{ctx: ctx, d: d, quiet: true, done: asyncio.NewFuture[struct{}](ctx)}
		tr, _, err := asyncio.SubprocessExec(ctx, func() *tells { return told }, child, []string{"slow"}, nil)
		d.note(ctx, "%v %v %v", p, tr, err)
		return err
	}},
}

// tells notes what it is told of a process.
type tells struct {
	ctx   context.Context
	d     *diary
	quiet bool
	tr    *asyncio.SubprocessTransport
	got   int
	done  *asyncio.Future[struct{}]
}

func (p *tells) ConnectionMade(tr *asyncio.SubprocessTransport) {
	p.tr = tr
	p.d.note(p.ctx, "made %d", tr.Pid())
	if !p.quiet {
		in := tr.PipeTransport(0)
		in.Write(bytes.Repeat([]byte("z"), 300_000))
		in.WriteEOF()
	}
}

func (p *tells) PipeDataReceived(fd int, data []byte) {
	p.got += len(data)
	p.d.note(p.ctx, "%d bytes from %d", len(data), fd)
	if string(data) == "deaf\n" && !p.quiet {
		p.d.note(p.ctx, "close: %v", p.tr.Kill())
	}
}

func (p *tells) PipeConnectionLost(fd int, err error) {
	if !p.quiet {
		p.d.note(p.ctx, "%d lost: %v", fd, err)
	}
}

func (p *tells) PauseWriting()  { p.d.note(p.ctx, "pause") }
func (p *tells) ResumeWriting() { p.d.note(p.ctx, "resume") }

func (p *tells) ProcessExited() {
	if !p.quiet {
		p.d.note(p.ctx, "exited after %d bytes", p.got)
	}
}

func (p *tells) ConnectionLost(err error) {
	if !p.quiet {
		p.d.note(p.ctx, "lost: %v", err)
		p.done.SetResult(struct{}{})
	}
}

func TestReplayOfChildren(t *testing.T) {
	child := script(t)
	for _, way := range ways {
		for _, backend := range []struct {
			name string
			opts []asyncio.RunOption
		}{{"", nil}, {", portable backend", []asyncio.RunOption{asyncio.WithBackend(asyncio.PortableBackend)}}} {
			t.Run(way.name+backend.name, func(t *testing.T) {
				leavesNothing(t)
				again(t, func(ctx context.Context, d *diary) error { return way.run(ctx, d, child) }, backend.opts...)
				noChild(t)
			})
		}
	}
}

// The exit of a process may go to other code of the program.
func TestReplayOfLostExits(t *testing.T) {
	var told []string
	handler := asyncio.WithExceptionHandler(func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) {
		told = append(told, fmt.Sprint(ec.Message, ec.Err, errors.Is(ec.Err, syscall.ECHILD)))
	})
	lost := 0
	for range 20 { // where a goroutine waits for the process it may be faster
		run := 0
		again(t, func(ctx context.Context, d *diary) error {
			run++
			p, err := asyncio.CreateSubprocessShell(ctx, "exit 3", nil)
			if err != nil {
				return err
			}
			defer p.Close()
			if run == 1 {
				if _, err := syscall.Wait4(p.Pid(), nil, 0, nil); err == nil {
					lost++
				}
			}
			code, err := p.Wait(ctx)
			d.note(ctx, "%v: %d, %v, %v", p, code, err, p.State())
			if p.Pid() <= 0 {
				return errors.New("its number is lost, too")
			}
			return nil
		}, handler)
	}
	if len(told) != 2*lost {
		t.Errorf("%d exits were lost, told is %q", lost, told)
	}
	for i := 0; i+1 < len(told); i += 2 {
		if told[i] != told[i+1] {
			t.Errorf("told %q, in the replay %q", told[i], told[i+1])
		}
	}
}

// noChild fails the test if this process has children, dead or alive.
func noChild(t *testing.T) {
	t.Helper()
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("there is a child: %d, %v", pid, err)
	}
}

// allWays runs all ways, one after another.
func allWays(child string, d *diary) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		for _, way := range ways {
			if err := way.run(ctx, d, child); err != nil {
				return fmt.Errorf("%s: %w", way.name, err)
			}
		}
		return nil
	}
}

// TestReplayWithoutPrograms replays in another process, which cannot start anything: the
// program is gone, PATH is empty, and so is the table of processes that it may have.
func TestReplayWithoutPrograms(t *testing.T) {
	child := script(t)
	tape := filepath.Join(t.TempDir(), "tape")
	var d diary
	if err := os.WriteFile(tape, taped(t, allWays(child, &d)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(child); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestReplayElsewhere$", "-test.v")
	cmd.Env = []string{"ASYNCIOTEST_TAPE=" + tape, "ASYNCIOTEST_CHILD=" + child, "PATH="}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, diary, _ := strings.Cut(string(out), "diary:\n")
	diary, _, _ = strings.Cut(diary, "\nover\n")
	if want := strings.Join(d.lines, "\n"); diary != want {
		t.Errorf("recorded\n%s\nreplayed\n%s", want, out)
	}
}

// TestReplayElsewhere is the process that TestReplayWithoutPrograms starts.
func TestReplayElsewhere(t *testing.T) {
	tape, child := os.Getenv("ASYNCIOTEST_TAPE"), os.Getenv("ASYNCIOTEST_CHILD")
	if tape == "" {
		t.Skip("it is for TestReplayWithoutPrograms")
	}
	f, err := os.Open(tape)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var d diary
	if err := asynciotest.Replay(f, allWays(child, &d)); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("diary:\n%s\nover\n", strings.Join(d.lines, "\n"))
}

// A written is a file that can be read while it is written.
type written struct {
	mu   sync.Mutex
	all  []byte
	more chan struct{}
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, p...)
	select {
	case w.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

// soFar returns what has been written when it is that much.
func (w *written) soFar(size int) []byte {
	for {
		<-w.more
		w.mu.Lock()
		all := bytes.Clone(w.all)
		w.mu.Unlock()
		if len(all) > size {
			return all
		}
	}
}

// TestReplaySignalsNobody replays the beginning of a recording while the recorded
// process is still there.
func TestReplaySignalsNobody(t *testing.T) {
	child := script(t)
	tape := &written{more: make(chan struct{}, 1)}
	// traps signals the process, runs a function elsewhere, and ends the process.
	traps := func(meanwhile func() error) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			p, err := asyncio.CreateSubprocessExec(ctx, child, []string{"traps"}, pipes())
			if err != nil {
				return err
			}
			defer p.Close()
			ready, err := p.Stdout.ReadLine(ctx)
			if err != nil {
				return err
			}
			err = p.Signal(syscall.SIGUSR1)
			trapped, rerr := p.Stdout.ReadLine(ctx)
			if err := errors.Join(err, rerr); err != nil || string(ready)+string(trapped) != "ready\ntrapped\n" {
				return fmt.Errorf("%q %q %w", ready, trapped, err)
			}
			_, err = asyncio.ToThread(ctx, func(context.Context) (struct{}, error) { return struct{}{}, meanwhile() })
			if err := errors.Join(err, p.Terminate()); err != nil {
				return err
			}
			out, _, err := p.Communicate(ctx, nil)
			if err != nil || string(out) != "over\n" {
				t.Errorf("the process was told more than it was in the recorded run: %q, %v", out, err)
			}
			return nil
		}
	}
	nothing := func() error { return nil }
	taped := traps(func() error {
		if err := asynciotest.Replay(bytes.NewReader(tape.soFar(100)), traps(nothing), quiet); err != asynciotest.ErrRecordingEnds {
			t.Errorf("the replay: %v", err)
		}
		return nil
	})
	rec := asynciotest.NewRecording(tape)
	err := asyncio.Run(context.Background(), taped, asynciotest.WithRecording(rec))
	if err := errors.Join(err, rec.Err()); err != nil {
		t.Fatal(err)
	}
	if err := asynciotest.Replay(bytes.NewReader(tape.all), traps(nothing)); err != nil {
		t.Error(err)
	}
}

func TestReplayReportsDifferencesOfChildren(t *testing.T) {
	child := script(t)
	sends := func(ctx context.Context, args []string, input string, sig os.Signal, opts *asyncio.SubprocessOptions) error {
		p, err := asyncio.CreateSubprocessExec(ctx, child, args, opts)
		if err != nil {
			return err
		}
		defer p.Close()
		if _, err := io.WriteString(p.Stdin, input); err != nil {
			return err
		}
		if err := p.Signal(sig); err != nil {
			return err
		}
		_, err = p.Wait(ctx)
		return err
	}
	slow := []string{"slow"}
	for name, program := range map[string]struct {
		main           func(ctx context.Context, run int) error
		then, now, obj string
	}{
		"another argument": {
			main: func(ctx context.Context, run int) error {
				return sends(ctx, []string{"slow", fmt.Sprint(run)}, "x", os.Kill, pipes())
			},
			then: `"slow" "1"]`, now: `"slow" "2"]`,
		},
		"a long argument": {
			main: func(ctx context.Context, run int) error {
				return sends(ctx, []string{"slow", strings.Repeat("long", 10_000), fmt.Sprint(run)}, "x", os.Kill, pipes())
			},
			then: "bytes with the checksum", now: "bytes with the checksum",
		},
		"another directory": {
			main: func(ctx context.Context, run int) error {
				opts := pipes()
				opts.Dir = []string{"/", "/dev"}[run-1]
				return sends(ctx, slow, "x", os.Kill, opts)
			},
			then: "in /, stdin a pipe", now: "in /dev, stdin a pipe",
		},
		"another stream": {
			main: func(ctx context.Context, run int) error {
				opts := pipes()
				opts.Stderr = []asyncio.Stdio{asyncio.DevNull, asyncio.ToStdout}[run-1]
				return sends(ctx, slow, "x", os.Kill, opts)
			},
			then: "stderr null", now: "stderr to stdout",
		},
		"a pipe more": {
			main: func(ctx context.Context, run int) error {
				opts := pipes()
				opts.Stdout = []asyncio.Stdio{asyncio.DevNull, asyncio.Pipe}[run-1]
				opts.Stderr = asyncio.DevNull
				return sends(ctx, slow, "x", os.Kill, opts)
			},
			then: "the start of a child process", now: "the opening of a pipe",
		},
		"other input": {
			main: func(ctx context.Context, run int) error {
				return sends(ctx, slow, fmt.Sprintf("run %d", run), os.Kill, pipes())
			},
			then: "5 bytes with the checksum", now: `"run 2"`, obj: "a pipe to write to",
		},
		"another signal": {
			main: func(ctx context.Context, run int) error {
				return sends(ctx, slow, "x", []os.Signal{syscall.SIGTERM, os.Kill}[run-1], pipes())
			},
			then: "terminated", now: "killed", obj: "the child process ",
		},
		"no signal": {
			main: func(ctx context.Context, run int) error {
				p, err := asyncio.CreateSubprocessExec(ctx, child, slow, &asyncio.SubprocessOptions{Stdout: asyncio.DevNull})
				if err != nil {
					return err
				}
				if run == 2 {
					loopTime(ctx)
				}
				_, err = p.Shutdown(ctx, 0)
				return err
			},
			then: "a signal to a child process on the child process ", now: "a reading of the loop's clock",
		},
		"no child": {
			main: func(ctx context.Context, run int) error {
				if run == 2 {
					return nil
				}
				_, err := asyncio.RunProcess(ctx, child, []string{"exit", "0"}, nil, nil)
				return err
			},
			then: "the opening of a pipe", now: "the closing of the network",
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := 0
			main := func(ctx context.Context) error {
				run++
				return program.main(ctx, run)
			}
			tape := taped(t, main)
			start := time.Now()
			err := asynciotest.Replay(bytes.NewReader(tape), main, quiet)
			var d *asynciotest.Difference
			if !errors.As(err, &d) {
				t.Fatalf("the replay: %v, want a difference", err)
			}
			if !strings.Contains(d.Recorded, program.then) || !strings.Contains(d.Replayed, program.now) || !strings.Contains(d.Object, program.obj) {
				t.Errorf("%q, %q, %q, want %q, %q, %q", d.Recorded, d.Replayed, d.Object, program.then, program.now, program.obj)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("the end took %v", took)
			}
		})
	}
}

// TestReplayOfDamagedChildren damages the recording of children everywhere.
func TestReplayOfDamagedChildren(t *testing.T) {
	child := script(t)
	main := func(ctx context.Context) error {
		for range 3 {
			p, err := asyncio.CreateSubprocessExec(ctx, child, []string{"echo"}, pipes())
			if err != nil {
				return err
			}
			if _, _, err := p.Communicate(ctx, []byte("input")); err != nil {
				return err
			}
			p.Close()
		}
		return nil
	}
	tape := taped(t, main)
	replay := func(tape []byte) error { return asynciotest.Replay(bytes.NewReader(tape), main, quiet) }
	if err := replay(tape); err != nil {
		t.Fatal(err)
	}
	for n := 8; n < len(tape); n += 7 {
		if err := replay(tape[:n]); !errors.Is(err, asynciotest.ErrRecordingEnds) {
			t.Errorf("cut off after %d bytes: %v", n, err)
		}
		damaged := bytes.Clone(tape)
		damaged[n] ^= 0x10
		if err := replay(damaged); !errors.Is(err, asynciotest.ErrDamaged) && !errors.Is(err, asynciotest.ErrRecordingEnds) {
			t.Errorf("byte %d is damaged: %v", n, err)
		}
	}
	// A format that is not known any more.
	old := bytes.Clone(tape)
	old[7] = 1
	if err := replay(old); !errors.Is(err, asynciotest.ErrDamaged) || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("version 1: %v", err)
	}
}

// Children and connections in one program.
func TestReplayOfChildrenOfAServer(t *testing.T) {
	child := script(t)
	again(t, func(ctx context.Context, d *diary) error {
		s, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			line, err := r.ReadLine(ctx)
			if err != nil {
				return err
			}
			done, err := asyncio.RunProcess(ctx, child, []string{"echo"}, line, nil)
			d.note(ctx, "%q: %v", line, err)
			w.Write(done.Stdout)
			return w.Drain(ctx)
		}, nil)
		if err != nil {
			return err
		}
		err = asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for i := range 4 {
				g.Go(func(ctx context.Context) error {
					r, w, err := asyncio.OpenConnection(ctx, "tcp", s.Addr().String(), nil)
					if err != nil {
						return err
					}
					defer w.Close()
					fmt.Fprintf(w, "from %d\n", i)
					all, err := r.ReadAll(ctx)
					d.note(ctx, "%d got %q, %v", i, all, err)
					return err
				})
			}
			return nil
		})
		return errors.Join(err, s.Close(), s.WaitClosed(ctx), closedAgain(s))
	})
}

func closedAgain(s *asyncio.Server) error {
	if err := s.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
