// Tests of processes that need to look into Linux: who reaps, and when.

package asyncio_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/sock"
)

// noPipes is a network as a simulation may have it.
type noPipes struct{ seam.Network }

// shuffled is an order of callbacks that is different each time.
type shuffled struct{ *rand.Rand }

func (s shuffled) Next(q seam.Queue) int { return s.IntN(q.Pass()) }

// pipesOnly is a network that cannot watch a pidfd.
type pipesOnly struct {
	seam.Network
	seam.Adopter
}

// onGoroutines makes a loop reap its processes on goroutines.
var onGoroutines = seam.LoopOption(seam.Seams{NewNetwork: func() (seam.Network, error) {
	n, err := sock.New()
	return pipesOnly{n, n}, err
}}).(asyncio.LoopOption)

func init() { reapers["reaped on goroutines"] = onGoroutines }

// state returns the state of a process, as the kernel spells it; 0 if there is none.
func state(pid int) byte {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest[0]
}

// becomes waits, without the loop, until a process is in a state.
func becomes(t *testing.T, pid int, want byte) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); state(pid) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is in state %c, want %c", pid, state(pid), want)
		}
	}
}

// byPidfd skips the test if the loop reaps on goroutines.
func byPidfd(t *testing.T) {
	t.Helper()
	if os.Getenv("ASYNCIO_BACKEND") != "" {
		t.Skip("this loop reaps on goroutines")
	}
	n, err := sock.New()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, ok := seam.Network(n).(seam.Watcher); !ok {
		t.Skip("this network cannot watch a pidfd")
	}
}

// withPidfds is withProcesses for a loop that has pidfds.
func withPidfds(t *testing.T, name string, main func(t *testing.T, ctx context.Context) error) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		byPidfd(t)
		noChildren(t)
		leavesNothing(t)
		runStreams(t, func(ctx context.Context) error { return main(t, ctx) })
	})
}

func TestProcessReaping(t *testing.T) {
	withPidfds(t, "SUB-018 the pid is not free before the exit is known", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "exit 3", nil)
		becomes(t, p.Pid(), 'Z')
		if err := p.Terminate(); err != nil {
			t.Errorf("Terminate: %v", err)
		}
		if _, exited := p.ReturnCode(); exited {
			t.Error("the exit is known, and the process is not reaped")
		}
		code, err := p.Wait(ctx)
		if s := state(p.Pid()); s != 0 || code != 3 || err != nil {
			t.Errorf("%d, %v in state %c", code, err, s)
		}
		return p.Close()
	})
	withProcesses(t, "SUB-019 a process that is stopped has not exited, and does not hold up the loop", func(t *testing.T, ctx context.Context) error {
		p := sh(t, ctx, "kill -STOP $$; exit 5", nil)
		becomes(t, p.Pid(), 'T')
		if err := asyncio.Sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
		if _, exited := p.ReturnCode(); exited {
			t.Error("it is taken for finished")
		}
		if err := p.Signal(syscall.SIGCONT); err != nil {
			t.Error(err)
		}
		exits(t, ctx, p, 5)
		return nil
	})
	withPidfds(t, "SUB-036 a process costs no goroutine where there are pidfds", func(t *testing.T, ctx context.Context) error {
		before := runtime.NumGoroutine()
		p := sh(t, ctx, "read x", piped())
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines, %d before", n, before)
		}
		return p.Close()
	})
	t.Run("UNIX-060 an exit that other code has taken is 255, and the pidfd is closed", func(t *testing.T) {
		byPidfd(t)
		noChildren(t)
		leavesNothing(t)
		var r reporting
		runStreams(t, func(ctx context.Context) error {
			for _, opts := range []*asyncio.SubprocessOptions{nil, {NewSession: true}} {
				p := sh(t, ctx, "exit 3", opts)
				pid := p.Pid()
				if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
					return err
				}
				exits(t, ctx, p, 255)
				if p.Pid() != pid {
					t.Errorf("its number was %d, and is %d", pid, p.Pid())
				}
				if p.State() != nil {
					t.Errorf("the state is %v", p.State())
				}
				if err := p.Terminate(); err != os.ErrProcessDone {
					t.Errorf("Terminate: %v", err)
				}
			}
			return nil
		}, r.option())
		lost := "the exit code of a child process is lost: other code has waited for it: waitid: no child processes"
		r.expect(t, lost, lost)
	})
}

// TestProcessDescriptorsExhausted lets starting a process fail for lack of
// descriptors at each place where it needs one.
func TestProcessDescriptorsExhausted(t *testing.T) {
	withProcesses(t, "nothing is left open", func(t *testing.T, ctx context.Context) error {
		var was syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
			return err
		}
		defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 200, Max: was.Max}); err != nil {
			return err
		}
		for free := 0; ; free++ {
			before := len(descriptors())
			var hoard []int
			for {
				fd, err := syscall.Dup(2)
				if err != nil {
					break
				}
				hoard = append(hoard, fd)
			}
			for range free {
				syscall.Close(hoard[0])
				hoard = hoard[1:]
			}
			p, err := asyncio.CreateSubprocessShell(ctx, "cat", piped())
			for _, fd := range hoard {
				syscall.Close(fd)
			}
			if err == nil {
				if free < 6 {
					t.Errorf("%d descriptors were enough", free)
				}
				exits(t, ctx, closeInput(p), 0)
				return nil
			}
			if descriptorsLeft(before) != before {
				t.Errorf("with %d: open are %v, there were %d", free, descriptors(), before)
			}
			if !errors.Is(err, syscall.EMFILE) || free > 50 {
				t.Fatalf("with %d: %v", free, err)
			}
		}
	})
}

func closeInput(p *asyncio.Process) *asyncio.Process {
	p.Stdin.Close()
	return p
}

func TestProcessWithoutPipes(t *testing.T) {
	option := seam.LoopOption(seam.Seams{NewNetwork: func() (seam.Network, error) {
		n, err := sock.New()
		return noPipes{n}, err
	}}).(asyncio.LoopOption)
	noChildren(t)
	leavesNothing(t)
	runStreams(t, func(ctx context.Context) error {
		before := len(descriptors())
		if _, err := asyncio.CreateSubprocessShell(ctx, "true", piped()); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("with pipes: %v", err)
		}
		if descriptorsLeft(before) != before {
			t.Errorf("open are %v, there were %d", descriptors(), before)
		}
		exits(t, ctx, sh(t, ctx, "exit 3", nil), 3)
		return nil
	}, option)
}

// TestSubprocessOrder lets the callbacks that are ready run in any order: the
// protocol is told in the one that is promised all the same.
func TestSubprocessOrder(t *testing.T) {
	for seed := range uint64(30) {
		option := seam.LoopOption(seam.Seams{NewOrder: func() seam.Order { return shuffled{rand.New(rand.NewPCG(seed, 0))} }})
		withProcesses(t, strconv.FormatUint(seed, 10), func(t *testing.T, ctx context.Context) error {
			var all []*childLog
			for range 5 {
				all = append(all, logs(t, ctx, "echo out; echo err >&2; exit 3", nil))
			}
			for _, c := range all {
				c.ends(t, ctx, "data 1, data 2, exited 3 true, lost, lost 0, lost 1, lost 2, made")
			}
			return nil
		}, option.(asyncio.LoopOption))
	}
}
