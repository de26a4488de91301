// What loops log to a test, and the panics in it: they fail the test.

package asynciotest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/goasyncio/asyncio"
)

// newLogger returns a logger of loops that writes to the log of a test. What it is told of
// are errors that have no other way to go. If that is a panic, fail is called: a program
// with a panic in it is not as it should be, whatever the test looks at.
func newLogger(w io.Writer, fail func()) *slog.Logger {
	h := &testHandler{w: w, fail: fail, mu: new(sync.Mutex), text: new(bytes.Buffer)}
	h.Handler = slog.NewTextHandler(h.text, &slog.HandlerOptions{ReplaceAttr: forTest})
	return slog.New(h)
}

type testHandler struct {
	slog.Handler
	w    io.Writer
	fail func()
	mu   *sync.Mutex
	text *bytes.Buffer // guarded by mu; what Handler writes to
}

func (h *testHandler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text.Reset()
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	r.Attrs(func(a slog.Attr) bool {
		if p := panicIn(a); p != nil {
			fmt.Fprintf(h.text, "\n%s\n", bytes.TrimSpace(p.Stack))
			if !errors.Is(p, ErrInjected) {
				h.fail()
			}
		}
		return true
	})
	_, err := h.w.Write(h.text.Bytes())
	return err
}

func (h *testHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(h.Handler.WithAttrs(attrs))
}

func (h *testHandler) WithGroup(name string) slog.Handler { return h.with(h.Handler.WithGroup(name)) }

func (h *testHandler) with(inner slog.Handler) slog.Handler {
	other := *h
	other.Handler = inner
	return &other
}

// panicIn returns the panic that an attribute tells of, or nil.
func panicIn(a slog.Attr) *asyncio.PanicError {
	err, _ := a.Value.Any().(error)
	p, _ := errors.AsType[*asyncio.PanicError](err)
	return p
}

// forTest leaves the time of day out of a log, and the stacks of panics, which follow.
func forTest(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	if panicIn(a) != nil {
		line, _, _ := strings.Cut(fmt.Sprint(a.Value.Any()), "\n")
		return slog.String(a.Key, line)
	}
	return a
}
