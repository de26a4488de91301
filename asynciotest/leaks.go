// Leaks: what a program leaves behind.

package asynciotest

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
)

// NoLeaks is an option of a loop that fails the test if something is left behind when
// the loop is closed, as it is at the end of Run:
//
//   - tasks that are not done: Close would cancel them;
//   - callbacks of CallLater and CallAt whose time has not come, and of CallSoon that
//     have not run;
//   - connections, servers, datagram endpoints, processes, watched descriptors,
//     signal handlers and promises that are not closed;
//   - functions of ToThread that have not returned;
//   - other goroutines that the program has started and that do not end within a
//     second.
//
// The failure names each with the place where it was created, as the loop is in debug
// mode. What is ready to run when main has ended may still do so. A loop that is not
// closed by the end of the test is a failure too. On a simulated host, what a crash or the
// end of the network's Run has ended is no leak, but for goroutines that go on.
//
// It is said at the end of the test, in a function of its Cleanup, and only if nothing
// else has failed the test: tasks that are left behind by a deadlock, or because main
// has returned an error, are no news beside that.
//
// The program's goroutines are told from others by a label of runtime/pprof that they
// inherit from the goroutine that makes the loop; a goroutine that sets labels of its
// own is not found. When the loop is closed its goroutine has no labels.
// It panics if t is nil.
func NoLeaks(t testing.TB) asyncio.LoopOption {
	if t == nil {
		panic("asynciotest: NoLeaks: the test is nil")
	}
	return seam.LoopOption(seam.Seams{
		NewAudit: func() seam.Audit { return newAudit(t) },
	}).(asyncio.LoopOption)
}

// An audit is the end of one loop.
type audit struct {
	t      testing.TB
	loop   string // "run at" the line where the test has made it
	label  string
	closed atomic.Bool
	left   []seam.Leftover
}

// auditLabel is the key of the label; its value is different for each loop.
const auditLabel = "asynciotest-loop"

var audits atomic.Uint64

func newAudit(t testing.TB) *audit {
	a := &audit{t: t, loop: programPlace(), label: fmt.Sprintf("audit-%d-", audits.Add(1))}
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels(auditLabel, a.label)))
	t.Cleanup(a.judge)
	return a
}

// judge fails the test, at its end.
func (a *audit) judge() {
	switch {
	case a.t.Failed():
	case !a.closed.Load():
		a.t.Errorf("asynciotest: NoLeaks: the loop of the program %s was never closed", a.loop)
	case len(a.left) > 0:
		a.t.Errorf("asynciotest: the program %s has left behind:%s", a.loop, list(a.left))
	}
}

// programPlace says which program makes a loop: by the line from which the library was
// called. Below the loop of a simulated host there is none.
func programPlace() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		f, more := frames.Next()
		switch {
		case strings.HasPrefix(f.Function, internalPrefix):
			return "of a simulated host"
		case !more || !strings.HasPrefix(f.Function, ownPrefix) && !strings.HasPrefix(f.Function, rootPrefix):
			return fmt.Sprintf("run at %s:%d", base(f.File), f.Line)
		}
	}
}

// Closing implements seam.Audit.
func (a *audit) Closing(left []seam.Leftover) { a.left = left }

// Closed implements seam.Audit.
func (a *audit) Closed() {
	defer a.closed.Store(true)
	pprof.SetGoroutineLabels(context.Background())
	if a.t.Failed() {
		return // nobody will ask, and to look for goroutines may take a second
	}
	a.left = append(a.left, goroutinesOf(a.label)...)
}

// list lists what is left behind.
func list(left []seam.Leftover) string {
	var b strings.Builder
	for _, l := range left {
		fmt.Fprintf(&b, "\n    %s: %s", l.Kind, l.What)
		if strings.HasPrefix(l.What, "<StreamWriter closing") {
			b.WriteString("\n        Close was called, but is not done: wait for that with WaitClosed")
		}
		by := "created by "
		if l.Kind == "goroutine" {
			by = "" // it is a stack
		}
		for line := range strings.Lines(l.CreatedAt) {
			if strings.HasPrefix(line, rootPrefix) || strings.HasPrefix(line, ownPrefix) {
				break // below it is how the loop runs a task, or a host its program
			}
			fmt.Fprintf(&b, "\n        %s%s", by, strings.TrimSpace(line))
			by = ""
		}
	}
	return b.String()
}

// goroutinesOf returns the goroutines with a label that do not end.
func goroutinesOf(label string) []seam.Leftover {
	const patience = time.Second
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		left := labelled(label)
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

var stackLine = regexp.MustCompile(`(?m)^#\t0x[0-9a-f]+\t(\S+?)\+0x[0-9a-f]+\s+(.*)$`)

// labelled returns the goroutines with a label, as the profile of goroutines knows
// them.
func labelled(label string) []seam.Leftover {
	var profile bytes.Buffer
	if pprof.Lookup("goroutine").WriteTo(&profile, 1) != nil || !bytes.Contains(profile.Bytes(), []byte(label)) {
		return nil
	}
	var left []seam.Leftover
	alike := make(map[string]int)                       // what differs in nothing that is shown stands once
	_, groups, _ := strings.Cut(profile.String(), "\n") // below the headline
	for _, group := range strings.Split(groups, "\n\n") {
		if !strings.Contains(group, label) {
			continue
		}
		frames := stackLine.FindAllStringSubmatch(group, -1)
		if len(frames) == 0 {
			left = append(left, seam.Leftover{Kind: "goroutine", What: "has not begun to run"})
			continue
		}
		bottom := frames[len(frames)-1]
		if strings.HasPrefix(bottom[1], "os/signal.") { // started once for the whole process
			continue
		}
		var stack strings.Builder
		for _, f := range frames {
			fmt.Fprintf(&stack, "%s %s\n", f[1], f[2])
		}
		if by := creatorOf(bottom[1]); by != "" {
			fmt.Fprintf(&stack, "created by %s\n", by)
		}
		var n int
		fmt.Sscan(strings.TrimSpace(group), &n)
		if alike[stack.String()] == 0 {
			left = append(left, seam.Leftover{Kind: "goroutine", What: bottom[1], CreatedAt: stack.String()})
		}
		alike[stack.String()] += n
	}
	for i := range left {
		if n := alike[left[i].CreatedAt]; n > 1 {
			left[i].What += fmt.Sprintf(" (%d of them)", n)
		}
	}
	return left
}

// creatorOf returns who has started a goroutine with that function, which the
// profile does not know.
func creatorOf(function string) string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	pattern := `(?m)^` + regexp.QuoteMeta(function) + `\(.*\n\t.*\ncreated by (.*?)(?: in goroutine \d+)?\n\t(\S+)`
	if m := regexp.MustCompile(pattern).FindSubmatch(stacks); m != nil {
		return fmt.Sprintf("%s %s", m[1], m[2])
	}
	return ""
}
