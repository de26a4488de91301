// Tests of arguments that make no sense.

package asynciotest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
	"github.com/goasyncio/asyncio/internal/thread"
)

func TestNetworkMistakes(t *testing.T) {
	n := asynciotest.NewNetwork(1)
	a, other := n.Host("a"), asynciotest.NewNetwork(1).Host("stranger")
	mistakes := map[string]func(){
		"Fixed(-1s)":                       func() { asynciotest.Fixed(-time.Second) },
		"Uniform(-1s, 1s)":                 func() { asynciotest.Uniform(-time.Second, time.Second) },
		"Uniform(2s, 1s)":                  func() { asynciotest.Uniform(2*time.Second, time.Second) },
		"Normal(-1s, 1s)":                  func() { asynciotest.Normal(-time.Second, time.Second) },
		"Normal(1s, -1s)":                  func() { asynciotest.Normal(time.Second, -time.Second) },
		"LongTail(-1s, 1s)":                func() { asynciotest.LongTail(-time.Second, time.Second) },
		"LongTail(2s, 1s)":                 func() { asynciotest.LongTail(2*time.Second, time.Second) },
		"WithLogLimit(-1)":                 func() { asynciotest.WithLogLimit(-1) },
		"buffers of -1 bytes":              func() { asynciotest.WithSocketBuffers(-1) },
		"SetDescriptorLimit(-1)":           func() { a.SetDescriptorLimit(-1) },
		"SetClock(1s, NaN)":                func() { a.SetClock(time.Second, math.NaN()) },
		"SetClock(1s, +Inf)":               func() { a.SetClock(time.Second, math.Inf(1)) },
		"SetClock(1s, -Inf)":               func() { a.SetClock(time.Second, math.Inf(-1)) },
		"SetClock(1s, -1)":                 func() { a.SetClock(time.Second, -1) },
		"a capacity of -1":                 func() { a.Disk().Configure(asynciotest.DiskConfig{Capacity: -1}) },
		"Host.Go: the function is nil":     func() { a.Go(nil) },
		"Host.Go: an option is nil":        func() { a.Go(func(context.Context) error { return nil }, nil) },
		"Network.Run: the function is nil": func() { _ = n.Simulate(nil) },
		"Network.Run: an option is nil":    func() { _ = n.Simulate(func(context.Context) error { return nil }, nil) },
		"a certificate for nobody":         func() { asynciotest.Certificate("a", "") },
		"Partition: host stranger belongs to another network": func() {
			n.Partition([]*asynciotest.Host{n.Outside(), a}, []*asynciotest.Host{other})
		},
	}
	for _, name := range []string{"", "localhost", "10.0.0.1", "::1", "a b", "a:80", "a\n", "a\tb", "[a]", "a\x00"} {
		mistakes[fmt.Sprintf("%q is no name for a host", name)] = func() { n.Host(name) }
	}
	for op, do := range map[string]func(from, to *asynciotest.Host){
		"SetLink": func(from, to *asynciotest.Host) { n.SetLink(from, to, asynciotest.Link{}) },
		"Cut":     n.Cut, "Heal": n.Heal, "Hold": n.Hold, "Release": n.Release, "Reset": n.Reset, "Forget": n.Forget,
	} {
		mistakes[op+": the host is nil"] = func() { do(a, nil) }
		mistakes[op+": host stranger belongs to another network"] = func() { do(other, a) }
	}
	for want, do := range mistakes {
		func() {
			defer func() {
				text, _ := recover().(string)
				if !strings.HasPrefix(text, "asynciotest: ") || !strings.Contains(text, want) {
					t.Errorf("the panic is %q, want %q", text, want)
				}
			}()
			do()
		}()
	}
	for _, e := range n.Log() {
		t.Errorf("something has happened: %v", e)
	}
	for _, name := range []string{"b", "db-1.example.org", "north_2", "Zürich"} {
		n.Host(name)
	}
}

// After Run a program is over for good, and whoever waits for one is told what is wrong.
func TestNetworkThatIsOver(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	h := n.Host("a")
	p := h.Go(func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) })
	for what, ctx := range map[error]context.Context{asyncio.ErrOutsideTask: context.Background(), asyncio.ErrBadArgument: nil} {
		usage, ok := errors.AsType[*asyncio.UsageError](p.Wait(ctx))
		if !ok || usage.Op != "Program.Wait" || usage.Cause != what {
			t.Errorf("Wait = %v, want %v", usage, what)
		}
	}
	n.Run(t, func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Second) })
	h.Restart()
	if p.Running() || p.Err() != asynciotest.ErrCrashed || h.Up() {
		t.Errorf("running %v, error %v, host up %v", p.Running(), p.Err(), h.Up())
	}
	if err := p.Wait(context.Background()); err != asynciotest.ErrCrashed {
		t.Errorf("Wait = %v", err)
	}
}

// What a recording and a replay need is asked for where it is missing.
// Who uses what belongs to another host is told of both by their names.
func TestLoopsAreNamed(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	lock := new(asyncio.Lock)
	server, client := n.Host("server"), n.Host("client")
	acquire := func(ctx context.Context) error {
		lock.Acquire(ctx)
		return lock.Acquire(ctx)
	}
	server.Go(acquire)
	errs := make([]error, 2)
	for i := range errs {
		client.Go(func(ctx context.Context) error {
			errs[i] = acquire(ctx)
			return nil
		})
	}
	var loop string
	n.Run(t, func(ctx context.Context) error {
		loop = asyncio.RunningLoop(ctx).String()
		return asyncio.Sleep(ctx, time.Second)
	})
	for i, name := range []string{"client", `client \(program 2\)`} {
		want := regexp.MustCompile(`tasks of server \(loop-\d+\) have waited for it, the running task main belongs to ` + name + ` \(loop-\d+\); make one for each loop$`)
		if !errors.Is(errs[i], asyncio.ErrWrongLoop) || !want.MatchString(errs[i].Error()) {
			t.Errorf("error %v, want %v", errs[i], want)
		}
	}
	if !strings.HasPrefix(loop, "<EventLoop outside (loop-") {
		t.Error(loop)
	}
}

func TestRecordingOfNothing(t *testing.T) {
	for want, do := range map[string]func(){
		"NewRecording: the writer is nil":     func() { asynciotest.NewRecording(nil) },
		"WithRecording: the recording is nil": func() { asynciotest.WithRecording(nil) },
		"NewReplay: the reader is nil":        func() { _ = asynciotest.Replay(nil, nil) },
		"WithReplay: the replay is nil":       func() { asynciotest.WithReplay(nil) },
	} {
		func() {
			defer func() {
				if got := recover(); got != "asynciotest: "+want {
					t.Errorf("the panic is %v, want %q", got, want)
				}
			}()
			do()
		}()
	}
}

// The methods of a disk want the context of the task that calls them.
func TestDiskMistakes(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	h := n.Host("a")
	d := h.Disk()
	methods := map[string]func(ctx context.Context, name string) error{
		"Append":   func(ctx context.Context, name string) error { return d.Append(ctx, name, []byte("x")) },
		"Sync":     d.Sync,
		"ReadFile": func(ctx context.Context, name string) error { _, err := d.ReadFile(ctx, name); return err },
		"Truncate": func(ctx context.Context, name string) error { return d.Truncate(ctx, name, 0) },
		"Rename":   func(ctx context.Context, name string) error { return d.Rename(ctx, name, "new") },
		"Remove":   d.Remove,
		"List":     func(ctx context.Context, name string) error { _, err := d.List(ctx); return err },
	}
	var foreign context.Context
	h.Go(func(ctx context.Context) error {
		foreign = ctx
		return asyncio.Sleep(ctx, time.Hour)
	})
	n.Run(t, func(ctx context.Context) error {
		if err := d.Append(ctx, "f", nil); err != nil {
			return err
		}
		if err := asyncio.Sleep(ctx, time.Second); err != nil {
			return err
		}
		mistaken := func(what, method string, err, cause error) {
			usage, ok := errors.AsType[*asyncio.UsageError](err)
			if !ok || usage.Op != "Disk."+method || usage.Cause != cause {
				t.Errorf("%s, %s: %v", method, what, err)
			}
		}
		for method, do := range methods {
			mistaken("nil", method, do(nil, "f"), asyncio.ErrBadArgument)
			mistaken("Background", method, do(context.Background(), "f"), asyncio.ErrOutsideTask)
			mistaken("another host's", method, do(foreign, "f"), asyncio.ErrWrongLoop)
			ran := asyncio.NewFuture[struct{}](ctx)
			asyncio.RunningLoop(ctx).CallSoon(func() {
				mistaken("a callback", method, do(ctx, "f"), asyncio.ErrOutsideTask)
				ran.SetResult(struct{}{})
			})
			if err := ran.Wait(ctx); err != nil {
				return err
			}
			for _, name := range []string{"", ".", "..", "/", "a/b", "/f"} {
				if err := do(ctx, name); method != "List" && !errors.Is(err, fs.ErrInvalid) {
					t.Errorf("%s(%q) = %v", method, name, err)
				}
			}
		}
		if err := d.Rename(ctx, "f", "a/b"); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Rename = %v", err)
		}
		if names, err := d.List(ctx); err != nil || !slices.Equal(names, []string{"f"}) {
			t.Errorf("List = %q, %v", names, err)
		}
		return nil
	})
	asynciotest.Run(t, func(ctx context.Context) error {
		for method, do := range methods {
			var usage *asyncio.UsageError
			if err := do(ctx, "f"); !errors.As(err, &usage) || usage.Cause != asyncio.ErrWrongLoop {
				t.Errorf("%s outside the network: %v", method, err)
			}
		}
		return nil
	})
}

// Other goroutines have no business in a simulation that runs.
func TestNetworkOnAnotherGoroutine(t *testing.T) {
	if thread.ID() == 0 {
		t.Skip("the system does not number its threads")
	}
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	a, b := n.Host("a"), n.Host("b")
	d := a.Disk()
	sleep := func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) }
	p := a.Go(sleep)
	var inside context.Context
	methods := map[string]func() error{
		"Network.Host":            func() error { n.Host("c"); return nil },
		"Network.Simulate":        func() error { return n.Simulate(sleep) },
		"Network.Events":          func() error { n.Events(); return nil },
		"Network.Hash":            func() error { n.Hash(); return nil },
		"Network.Log":             func() error { n.Log(); return nil },
		"Network.Note":            func() error { n.Note("hello"); return nil },
		"Network.SetLink":         func() error { n.SetLink(a, b, asynciotest.Link{}); return nil },
		"Network.SetLinks":        func() error { n.SetLinks(asynciotest.Link{}); return nil },
		"Network.Cut":             func() error { n.Cut(a, b); return nil },
		"Network.Heal":            func() error { n.Heal(a, b); return nil },
		"Network.Partition":       func() error { n.Partition(nil); return nil },
		"Network.HealAll":         func() error { n.HealAll(); return nil },
		"Network.Hold":            func() error { n.Hold(a, b); return nil },
		"Network.Release":         func() error { n.Release(a, b); return nil },
		"Network.Reset":           func() error { n.Reset(a, b); return nil },
		"Network.Forget":          func() error { n.Forget(a, b); return nil },
		"Host.Go":                 func() error { a.Go(sleep); return nil },
		"Host.Up":                 func() error { a.Up(); return nil },
		"Host.Boot":               func() error { a.Boot(); return nil },
		"Host.Crash":              func() error { a.Crash(); return nil },
		"Host.Restart":            func() error { a.Restart(); return nil },
		"Host.SetClock":           func() error { a.SetClock(0, 0); return nil },
		"Host.Wall":               func() error { a.Wall(); return nil },
		"Host.SetDescriptorLimit": func() error { a.SetDescriptorLimit(1); return nil },
		"Host.FailLookups":        func() error { a.FailLookups(nil); return nil },
		"Program.Running":         func() error { p.Running(); return nil },
		"Program.Err":             func() error { p.Err(); return nil },
		"Program.Wait":            func() error { return p.Wait(inside) },
		"Disk.Configure":          func() error { d.Configure(asynciotest.DiskConfig{}); return nil },
		"Disk.SetFault":           func() error { d.SetFault(nil); return nil },
		"Disk.Append":             func() error { return d.Append(inside, "f", nil) },
	}
	caught := func(do func() error) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = p.(error)
			}
		}()
		return do()
	}
	n.Run(t, func(ctx context.Context) error {
		inside = ctx
		_, err := asyncio.ToThread(ctx, func(context.Context) (struct{}, error) {
			for op, do := range methods {
				err := caught(do)
				usage, ok := errors.AsType[*asyncio.UsageError](err)
				if !ok || usage.Op != op || usage.Cause != asyncio.ErrWrongGoroutine || !strings.Contains(usage.Text, "another") {
					t.Errorf("%s: %v", op, err)
				}
			}
			if n.Seed() != 1 || n.Now() != 0 || a.Name() != "a" || n.Outside().Addr() == a.Addr() || a.Disk() != d || p.Host() != a {
				t.Error("what does not change, or the time, cannot be read")
			}
			return struct{}{}, nil
		})
		if !a.Up() {
			t.Error("a has crashed")
		}
		return err
	})
	n.Events()
	if a.Up() {
		t.Error("a is up in the end")
	}
}
