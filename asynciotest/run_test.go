// Tests of Run: how a test ends.

package asynciotest_test

import (
	"context"
	"errors"
	"runtime"
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
