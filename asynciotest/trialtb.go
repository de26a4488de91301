// The testing.TB of one run.

package asynciotest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/goasyncio/asyncio"
)

// A trialT is the testing.TB of one trial. It embeds the one of the test for its
// private method and for what all trials may share.
type trialT struct {
	testing.TB
	name    string
	trial   *trial
	context context.Context
	cancel  context.CancelFunc

	mu       sync.Mutex
	log      bytes.Buffer
	failed   bool
	place    string // of the first failure
	skipped  bool
	cleanups []func()
	helpers  map[string]bool // functions that have called Helper
}

// guard calls f and takes a panic for a failure.
func (t *trialT) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			t.failAt("panic")
			if e, ok := p.(*asyncio.PanicError); ok { // of a task: it has the stack that tells
				t.write(e.Error())
				return
			}
			t.write(fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	f()
}

// cleanUp calls the functions of Cleanup, the last one first. One that calls FailNow
// ends nothing but itself.
func (t *trialT) cleanUp() {
	t.cancel()
	for {
		t.mu.Lock()
		n := len(t.cleanups)
		if n == 0 {
			t.mu.Unlock()
			return
		}
		f := t.cleanups[n-1]
		t.cleanups = t.cleanups[:n-1]
		t.mu.Unlock()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			t.guard(f)
		}()
		<-ended
	}
}

func (t *trialT) write(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log.WriteString(strings.TrimSuffix(text, "\n") + "\n")
}

// say logs text with the place of the test's code that says it: helpers and this
// package are left out. What this package says in a function of Cleanup has no place.
// If it is a failure, it marks that.
func (t *trialT) say(text string, failure bool) {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if more && (strings.HasPrefix(f.Function, ownPrefix) || t.isHelper(f.Function)) {
			continue
		}
		place := ""
		if !strings.HasPrefix(f.Function, "runtime.") {
			place = fmt.Sprintf("%s:%d", base(f.File), f.Line)
			text = place + ": " + text
		}
		t.write(text)
		t.trial.hear(text, failure)
		if failure {
			t.failAt(place)
		}
		return
	}
}

func (t *trialT) Helper() {
	var pc [1]uintptr
	runtime.Callers(2, pc[:])
	caller, _ := runtime.CallersFrames(pc[:]).Next()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.helpers == nil {
		t.helpers = make(map[string]bool)
	}
	t.helpers[caller.Function] = true
}

func (t *trialT) isHelper(function string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.helpers[function]
}

func (t *trialT) Name() string { return t.name }

func (t *trialT) Context() context.Context { return t.context }

func (t *trialT) Log(args ...any) { t.say(fmt.Sprintln(args...), false) }

func (t *trialT) Logf(format string, args ...any) { t.say(fmt.Sprintf(format, args...), false) }

func (t *trialT) Error(args ...any) {
	t.say(fmt.Sprintln(args...), true)
}

func (t *trialT) Errorf(format string, args ...any) {
	t.say(fmt.Sprintf(format, args...), true)
}

func (t *trialT) Fatal(args ...any) {
	t.say(fmt.Sprintln(args...), true)
	runtime.Goexit()
}

func (t *trialT) Fatalf(format string, args ...any) {
	t.say(fmt.Sprintf(format, args...), true)
	runtime.Goexit()
}

func (t *trialT) Fail() { t.failAt("") }

// failAt fails the run. The place is that of the code which says so.
func (t *trialT) failAt(place string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.failed {
		t.failed, t.place = true, place
	}
}

func (t *trialT) FailNow() {
	t.Fail()
	runtime.Goexit()
}

func (t *trialT) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

func (t *trialT) Skip(args ...any) {
	t.say(fmt.Sprintln(args...), false)
	t.SkipNow()
}

func (t *trialT) Skipf(format string, args ...any) {
	t.say(fmt.Sprintf(format, args...), false)
	t.SkipNow()
}

func (t *trialT) SkipNow() {
	t.mu.Lock()
	t.skipped = true
	t.mu.Unlock()
	runtime.Goexit()
}

func (t *trialT) Skipped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.skipped
}

func (t *trialT) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

// TempDir returns a directory that is removed after the run, since there may be many.
func (t *trialT) TempDir() string {
	t.Helper()
	dir := t.TB.TempDir()
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("TempDir: %v", err)
		}
	})
	return dir
}

func (t *trialT) Attr(key, value string) { t.write(fmt.Sprintf("%s=%s", key, value)) }

func (t *trialT) Output() io.Writer { return loopLog{t} }

// Setenv and Chdir are for one test alone, and there are several at once.

func (t *trialT) Setenv(key, value string) {
	t.Fatal("asynciotest: Setenv cannot be used here: several runs share the process")
}

func (t *trialT) Chdir(dir string) {
	t.Fatal("asynciotest: Chdir cannot be used here: several runs share the process")
}

// A loopLog writes whole lines to the log of a trial.
type loopLog struct{ t *trialT }

func (l loopLog) Write(p []byte) (int, error) {
	l.t.write(string(p))
	return len(p), nil
}
