// Reports: what becomes of an error that nobody can be given.

package asyncio

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"
)

// ErrorContext describes an error that has no caller to go to: a panic in a
// callback, a failed task that nobody awaited, a client that could not be
// accepted.
type ErrorContext struct {
	Message string       // what has happened, in a few words
	Err     error        // nil if there is none
	Source  fmt.Stringer // the task, future, handle, stream or server concerned; nil if there is none
	// CreatedAt is where Source was created. It is known in debug mode; for a
	// task it is otherwise the place of its function.
	CreatedAt string
}

// An ExceptionHandler receives the errors that have no caller to go to. It runs
// on the loop's thread and must not suspend.
type ExceptionHandler func(*EventLoop, *ErrorContext)

// SetExceptionHandler replaces the exception handler; nil restores the default one
// (loop.set_exception_handler). It panics like SetDebug.
func (l *EventLoop) SetExceptionHandler(h ExceptionHandler) {
	l.checkMine("SetExceptionHandler")
	l.handler = h
}

// CallExceptionHandler gives ec to the exception handler
// (loop.call_exception_handler). If the handler panics, the default one reports both. It
// never panics itself. Only the loop's goroutine may call it.
func (l *EventLoop) CallExceptionHandler(ec *ErrorContext) {
	if l.handler == nil || l.halted() { // a program that was cut off runs no handlers
		l.DefaultExceptionHandler(ec)
		return
	}
	defer func() {
		if p := recover(); p != nil {
			l.DefaultExceptionHandler(&ErrorContext{Message: "panic in the exception handler", Err: &PanicError{Value: p, Stack: stack()}})
			l.DefaultExceptionHandler(ec)
		}
	}()
	l.handler(l, ec)
}

// DefaultExceptionHandler logs ec with the loop's logger at level error
// (loop.default_exception_handler). Any goroutine may call it.
func (l *EventLoop) DefaultExceptionHandler(ec *ErrorContext) {
	defer func() { _ = recover() }() // a broken log handler must not end the loop
	attrs := make([]slog.Attr, 0, 3)
	if ec.Source != nil {
		attrs = append(attrs, slog.String("source", ec.Source.String()))
	}
	if ec.Err != nil {
		attrs = append(attrs, slog.Any("error", ec.Err))
	}
	if ec.CreatedAt != "" {
		attrs = append(attrs, slog.String("created_at", ec.CreatedAt))
	}
	l.logger.LogAttrs(context.Background(), slog.LevelError, "asyncio: "+ec.Message, attrs...)
}

// stack returns the stack of the calling goroutine.
func stack() []byte {
	buf := make([]byte, 8<<10)
	for {
		n := runtime.Stack(buf, false)
		if n < len(buf) {
			return buf[:n]
		}
		buf = make([]byte, 2*len(buf))
	}
}

// A site is where something was created, as program counters. It is taken in
// debug mode only, since that costs about a microsecond.
type site []uintptr

const siteDepth = 10

// here returns the site that lies skip frames up, as runtime.Callers counts.
func (l *EventLoop) here(skip int) *site {
	if !l.debug {
		return nil
	}
	return takeSite(skip + 1)
}

func takeSite(skip int) *site {
	s := make(site, siteDepth)
	s = s[:runtime.Callers(skip, s)]
	return &s
}

// frames returns the program counters; s may be nil.
func (s *site) frames() site {
	if s == nil {
		return nil
	}
	return *s
}

// stackDepth is how many frames most stacks have room in.
const stackDepth = 64

// callers returns the stack from skip frames above its caller on.
func callers(skip int) site {
	pcs := make(site, stackDepth)
	for {
		n := runtime.Callers(2+skip, pcs)
		if n < len(pcs) {
			return pcs[:n]
		}
		pcs = make(site, 2*len(pcs))
	}
}

// resolve returns the frames of a stack, the innermost first.
func resolve(s site) []runtime.Frame {
	var frames []runtime.Frame
	if len(s) == 0 {
		return nil
	}
	for walk := runtime.CallersFrames(s); ; {
		f, more := walk.Next()
		frames = append(frames, f)
		if !more {
			return frames
		}
	}
}

// userFrames cuts a stack where the loop has called a task's function or a callback, and
// leaves out what goes on inside the package.
func userFrames(frames []runtime.Frame) []runtime.Frame {
	if bottom := slices.IndexFunc(frames, isBottom); bottom >= 0 {
		frames = frames[:bottom]
	}
	return slices.DeleteFunc(frames, func(f runtime.Frame) bool {
		name, own := strings.CutPrefix(f.Function, ownPrefix)
		return own && !isExported(name)
	})
}

// isBottom reports whether a frame is that of the function in which the loop calls what
// has its turn.
func isBottom(f runtime.Frame) bool {
	name, own := strings.CutPrefix(f.Function, ownPrefix)
	return own && (name == "(*taskStack).RunCoroutine" || name == "(*EventLoop).runBatch")
}

// isExported reports whether a function or method of the package is exported. The
// name is as in a runtime.Frame: "Sleep", "(*Queue[...]).Get", "Timeout.func1".
func isExported(name string) bool {
	name = strings.ReplaceAll(name, "[...]", "")
	first := name[strings.LastIndexByte(name, '.')+1]
	return 'A' <= first && first <= 'Z'
}

// ownPrefix is how the names of the package's functions begin.
var ownPrefix = reflect.TypeFor[site]().PkgPath() + "."

// String returns one "function file:line" a frame, the innermost first, from where
// the package was called.
func (s *site) String() string {
	frames := resolve(s.frames())
	for len(frames) > 1 && strings.HasPrefix(frames[0].Function, ownPrefix) {
		frames = frames[1:]
	}
	lines := make([]string, 0, len(frames))
	for _, f := range userFrames(frames) {
		lines = append(lines, frameText(f))
	}
	return strings.Join(lines, "\n")
}

func frameText(f runtime.Frame) string {
	return fmt.Sprintf("%s %s:%d", f.Function, f.File, f.Line)
}

// A codePlace is where a function begins. It does not keep the function alive.
type codePlace uintptr

func placeOf(fn any) codePlace {
	v := reflect.ValueOf(fn)
	if v.Kind() != reflect.Func {
		return 0
	}
	return codePlace(v.Pointer())
}

// String returns "function file:line".
func (p codePlace) String() string {
	f := runtime.FuncForPC(uintptr(p))
	if f == nil {
		return "?"
	}
	file, line := f.FileLine(uintptr(p))
	if file == "<autogenerated>" { // the method of a value
		return f.Name()
	}
	return fmt.Sprintf("%s %s:%d", f.Name(), file, line)
}
