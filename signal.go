// Signals: callbacks and streams for what the system sends to the process.

package asyncio

import (
	"context"
	"fmt"
	"iter"
	"net"
	"os"
	"os/signal"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/goasyncio/asyncio/internal/seam"
)

// AddSignalHandler makes the loop run fn, as a callback, whenever the process
// receives sig (loop.add_signal_handler). There is one handler for each signal and
// loop: a second one replaces the first. The handler runs once at least after the
// last signal of its kind was sent; several that come before the loop gets round to
// them may count as one, as they do in the system. A panic in fn is reported to the
// exception handler.
//
// It rests on package os/signal: the signal loses its default action, and other
// users of it in the program, streams of NotifySignals and other loops among them,
// receive it as well. (The second signal that WithInterrupt receives ends all of them for
// it: its default action is back.) A handler keeps no loop on a virtual clock from ErrDeadlock:
// only what a task awaits does.
//
// AddSignalHandler returns a *UsageError if sig is no signal of the system or fn is
// nil, on a goroutine that must not use the loop, and after Close; for os.Kill and
// SIGSTOP, which cannot be caught, it returns an error that Is syscall.EINVAL.
func (l *EventLoop) AddSignalHandler(sig os.Signal, fn func()) error {
	const op = "AddSignalHandler"
	if err := l.maySignal(op); err != nil {
		return err
	}
	if fn == nil {
		return misuse(op, ErrBadArgument, "the function is nil")
	}
	if err := catchable(op, sig); err != nil {
		return err
	}
	w := l.signalWatch()
	line := w.line(sig)
	if line.handler != nil {
		line.handler.cancel(0)
	}
	line.handler = &call{fn: fn, createdAt: l.here(3)}
	w.update()
	return nil
}

// RemoveSignalHandler removes the handler of sig and reports whether there was one
// (loop.remove_signal_handler). The handler does not run any more, even if a signal
// came before. If nothing else in the program listens to the signal, its default
// action is back. It panics with a *UsageError if sig is no signal of the system, and
// on a goroutine that must not use the loop. After Close it returns false.
func (l *EventLoop) RemoveSignalHandler(sig os.Signal) bool {
	const op = "RemoveSignalHandler"
	l.checkMine(op)
	if err := knownSignal(op, sig); err != nil {
		panic(err)
	}
	w, _ := l.signals.(*signalWatch)
	if w == nil {
		return false
	}
	i := w.find(sig)
	if i < 0 || w.lines[i].handler == nil {
		return false
	}
	w.lines[i].handler.cancel(0)
	w.lines[i].handler = nil
	w.update()
	return true
}

// NotifySignals starts a stream of the given signals, for coroutines. The signals
// lose their default actions until the stream is closed; handlers, other streams and
// other users of package os/signal receive them, too. No signal gets lost, but several
// of one kind that wait to be taken count as one.
//
// It returns errors like AddSignalHandler, and a *UsageError if no signal is given.
// Closing the loop closes the stream.
func NotifySignals(ctx context.Context, sigs ...os.Signal) (*SignalStream, error) {
	const op = "NotifySignals"
	s := scopeOf(ctx)
	if s == nil {
		return nil, misuse(op, ErrOutsideTask, "the context carries no loop; pass on the one that Run or the task gave")
	}
	if err := s.loop().maySignal(op); err != nil {
		return nil, err
	}
	if len(sigs) == 0 {
		return nil, misuse(op, ErrBadArgument, "no signal is given; name those that the stream is for")
	}
	for _, sig := range sigs {
		if err := catchable(op, sig); err != nil {
			return nil, err
		}
	}
	w := s.loop().signalWatch()
	stream := &SignalStream{watch: w}
	for _, sig := range sigs {
		if line := w.line(sig); !slices.Contains(line.streams, stream) {
			line.streams = append(line.streams, stream)
		}
	}
	w.update()
	return stream, nil
}

// A SignalStream gives signals to tasks, one after another. NotifySignals makes one.
// It belongs to its loop's goroutine. While a task waits in Next, a virtual clock
// follows the wall clock.
type SignalStream struct {
	watch   *signalWatch
	waiting []os.Signal // those that have come, each kind once
	takers  waitq
	closed  bool
}

// Next waits for a signal and returns it. If one has come already, Next does not
// suspend. Any number of tasks may wait; each signal goes to one of them. After Close
// it returns net.ErrClosed; a cancellation takes no signal.
func (s *SignalStream) Next(ctx context.Context) (os.Signal, error) {
	t, err := current(ctx, "SignalStream.Next")
	if err != nil {
		return nil, err
	}
	if l := s.watch.loop; l != t.loop {
		return nil, misuse("SignalStream.Next", ErrWrongLoop, "the stream belongs to %s, the running task %s to %s", l.name, t.Name(), t.loop.name)
	}
	for len(s.waiting) == 0 {
		if s.closed {
			return nil, net.ErrClosed
		}
		granted, err := s.wait(ctx, t)
		if err != nil {
			if granted && len(s.waiting) > 0 {
				s.takers.grant()
			}
			return nil, err
		}
	}
	sig := s.waiting[0]
	s.waiting = slices.Delete(s.waiting, 0, 1)
	return sig, nil
}

func (s *SignalStream) wait(ctx context.Context, t *task) (granted bool, err error) {
	t.loop.outside++
	defer func() { t.loop.outside-- }() // also when the task is ended by force
	return s.takers.wait(ctx, t)
}

// All yields the signals as Next gives them, until the stream is closed. If Next
// fails otherwise, that error is yielded and the sequence ends.
func (s *SignalStream) All(ctx context.Context) iter.Seq2[os.Signal, error] {
	return func(yield func(os.Signal, error) bool) {
		for {
			sig, err := s.Next(ctx)
			if err == net.ErrClosed || !yield(sig, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the stream. Signals that wait are dropped, and tasks in Next return
// net.ErrClosed. Where nothing else in the program listens to a signal its default
// action is back. Closing twice is harmless. It always returns nil.
func (s *SignalStream) Close() error {
	l := s.watch.loop
	if !l.mine() {
		return l.elsewhere("SignalStream.Close")
	}
	if s.closed {
		return nil
	}
	for _, line := range s.watch.lines {
		line.streams = slices.DeleteFunc(line.streams, func(other *SignalStream) bool { return other == s })
	}
	s.end()
	s.watch.update()
	return nil
}

func (s *SignalStream) end() {
	s.closed, s.waiting = true, nil
	s.takers.grantAll()
}

func (s *SignalStream) receive(sig os.Signal) {
	if !slices.Contains(s.waiting, sig) {
		s.waiting = append(s.waiting, sig)
		s.takers.grant()
	}
}

// A signalWatch listens to signals for a loop, on one goroutine for all of them. It
// lives from the first line to the last.
type signalWatch struct {
	registered // in loop.open
	loop       *EventLoop
	lines      []*signalLine // in the order in which they were wanted first
	stop       func()        // ends the goroutine; nil if there is none
}

// A signalLine is who wants one signal. Posted to the loop it is the signal. Its
// channel holds one signal: if it is full the next one need not be told.
type signalLine struct {
	loop     *EventLoop
	sig      os.Signal
	number   uint64 // for a tape
	received chan os.Signal
	posted   chan struct{} // full while the line is on its way to the loop
	handler  *call
	streams  []*SignalStream
	listens  bool
}

func (l *EventLoop) maySignal(op string) error {
	switch {
	case l.closed.Load():
		return misuse(op, ErrLoopClosed, "%s", l.name)
	case !l.mine():
		return l.elsewhere(op)
	}
	return nil
}

func (l *EventLoop) signalWatch() *signalWatch {
	w, _ := l.signals.(*signalWatch)
	if w == nil {
		w = &signalWatch{loop: l}
		l.signals = w
		l.open.add(&w.registered, w)
	}
	return w
}

func (w *signalWatch) String() string {
	names := make([]string, len(w.lines))
	for i, line := range w.lines {
		names[i] = line.sig.String()
	}
	return "<signals " + strings.Join(names, ", ") + ">"
}

// wanted tells who wants which signals.
func (w *signalWatch) wanted() string {
	var all []string
	for _, line := range w.lines {
		var who []string
		if line.handler != nil {
			who = append(who, "a handler")
		}
		if n := len(line.streams); n > 0 {
			who = append(who, fmt.Sprintf("streams: %d", n))
		}
		if who != nil {
			all = append(all, fmt.Sprintf("%v (%s)", line.sig, strings.Join(who, ", ")))
		}
	}
	if all == nil {
		return "nobody any"
	}
	return strings.Join(all, ", ")
}

func (w *signalWatch) find(sig os.Signal) int {
	return slices.IndexFunc(w.lines, func(line *signalLine) bool { return line.sig == sig })
}

func (w *signalWatch) line(sig os.Signal) *signalLine {
	if i := w.find(sig); i >= 0 {
		return w.lines[i]
	}
	line := &signalLine{loop: w.loop, sig: sig, number: w.loop.number(), received: make(chan os.Signal, 1), posted: make(chan struct{}, 1)}
	w.loop.expect(line.post(), line)
	w.lines = append(w.lines, line)
	return line
}

// update makes the goroutine listen to what is wanted now. A signal that comes while
// there is none waits in its channel. In a replay nothing listens.
func (w *signalWatch) update() {
	replay := w.loop.tape != nil && !w.loop.tape.Listens(w.wanted())
	changed := false
	for _, line := range w.lines {
		if wanted := line.handler != nil || len(line.streams) > 0; wanted != line.listens {
			line.listens, changed = wanted, true
			switch {
			case replay:
			case wanted:
				signal.Notify(line.received, line.sig)
			default:
				signal.Stop(line.received)
			}
		}
	}
	if !changed {
		return
	}
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
	w.lines = slices.DeleteFunc(w.lines, func(line *signalLine) bool { return !line.listens })
	if len(w.lines) > 0 {
		if !replay {
			w.stop = w.listen(slices.Clone(w.lines))
		}
		return
	}
	w.loop.open.remove(&w.registered)
	w.loop.signals = nil
}

// listen posts the lines whose signals come, on a goroutine of its own. stop
// returns when that has ended.
func (w *signalWatch) listen(lines []*signalLine) (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	cases := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(over)}}
	for _, line := range lines {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(line.received)})
	}
	go func() {
		defer close(ended)
		for {
			i, _, _ := reflect.Select(cases)
			if i == 0 {
				return
			}
			select {
			case lines[i-1].posted <- struct{}{}:
				w.loop.entry.post(lines[i-1])
			default: // the loop will see that one and this one together
			}
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}

func (s *signalLine) post() seam.Post {
	return seam.Post{Kind: seam.Signal, Site: s.sig.String(), Number: s.number}
}

// run hands the signal out. From now on another one counts anew.
func (s *signalLine) run() {
	select {
	case <-s.posted:
	default: // in a replay
	}
	for _, stream := range s.streams {
		stream.receive(s.sig)
	}
	if h := s.handler; h != nil {
		s.loop.ready.push(h)
	}
}

// abandon ends all handlers and streams, when the loop is closed.
func (w *signalWatch) abandon() {
	for _, line := range w.lines {
		for _, stream := range line.streams {
			stream.end()
		}
		line.handler, line.streams = nil, nil
	}
	w.update()
}

// knownSignal says whether sig is a signal of the system.
func knownSignal(op string, sig os.Signal) error {
	last := syscall.Signal(32)
	if runtime.GOOS == "linux" || runtime.GOOS == "windows" {
		last = 64
	}
	s, ok := sig.(syscall.Signal)
	switch {
	case !ok:
		return misuse(op, ErrBadArgument, "%v is no signal of the system", sig)
	case s < 1 || s > last:
		return misuse(op, ErrBadArgument, "%d is no signal of the system; they are 1 to %d", int(s), int(last))
	}
	return nil
}

// catchable says whether a handler of sig can be called at all.
func catchable(op string, sig os.Signal) error {
	if err := knownSignal(op, sig); err != nil {
		return err
	}
	stop := syscall.Signal(17) // package syscall has no name for it on Windows
	switch {
	case runtime.GOOS == "windows":
		stop = 0
	case runtime.GOOS == "linux" && strings.HasPrefix(runtime.GOARCH, "mips"):
		stop = 23
	case runtime.GOOS == "linux":
		stop = 19
	}
	if sig == os.Kill || sig == stop {
		return fmt.Errorf("asyncio: %s: signal %q cannot be caught: %w", op, sig, syscall.EINVAL)
	}
	return nil
}
