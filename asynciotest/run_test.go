// Tests of Run: how a test ends.

package asynciotest_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// recorder is a testing.TB that notes how the test was ended.
type recorder struct {
	testing.TB
	fatal []any
}

func (r *recorder) Helper() {}

func (r *recorder) Name() string { return "recorded" }

func (r *recorder) Failed() bool { return r.fatal != nil }

func (r *recorder) Fatal(args ...any) {
	r.fatal = args
	runtime.Goexit()
}

// record runs main as the test of a recorder.
func record(main func(ctx context.Context) error) []any {
	r := new(recorder)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		asynciotest.Run(r, main)
	}()
	<-ended
	return r.fatal
}

func TestRunEndsTheTestOnError(t *testing.T) {
	broken := errors.New("broken")
	if got := record(func(context.Context) error { return broken }); len(got) != 1 || got[0] != broken {
		t.Errorf("Fatal%v, want the error of main", got)
	}
	if got := record(func(context.Context) error { return nil }); got != nil {
		t.Errorf("Fatal%v without an error", got)
	}
}

func TestRunEndsTheTestOnDeadlock(t *testing.T) {
	got := record(func(ctx context.Context) error {
		return asyncio.NewFuture[int](ctx).Wait(ctx)
	})
	if err, _ := got[0].(error); !errors.Is(err, asyncio.ErrDeadlock) {
		t.Errorf("Fatal%v, want ErrDeadlock", got)
	}
}

func TestRunLetsMainExit(t *testing.T) {
	after := false
	got := record(func(context.Context) error {
		runtime.Goexit()
		after = true
		return nil
	})
	if after || got != nil {
		t.Errorf("main went on: %v, Fatal%v", after, got)
	}
}

// outputTB is a test that keeps what is written to its log.
type outputTB struct {
	testing.TB
	text strings.Builder
}

func (o *outputTB) Helper()           {}
func (o *outputTB) Output() io.Writer { return &o.text }

func TestRunLogsToTheTest(t *testing.T) {
	tb := new(outputTB)
	var loop *asyncio.EventLoop
	asynciotest.Run(tb, func(ctx context.Context) error {
		loop = asyncio.RunningLoop(ctx)
		asyncio.Go(ctx, func(context.Context) error { return errors.New("nobody looks") }, asyncio.WithName("lost"))
		return asyncio.Yield(ctx)
	})
	if text := tb.text.String(); !strings.HasPrefix(text, "level=ERROR ") || !strings.Contains(text, "<Task lost finished error=nobody looks>") {
		t.Errorf("the log is %q", text)
	}
	before := tb.text.Len()
	loop.DefaultExceptionHandler(&asyncio.ErrorContext{Message: "late, and no mistake"})
	if tb.text.Len() != before {
		t.Error("a log entry has come after the end")
	}
}
