// Lending: how a scope acts as a context of package context.

package asyncio

import (
	"context"
	"time"
)

// A lending is what a scope lends to package context: a real cancel context, so
// that context.Cause, context.WithTimeout, context.AfterFunc and the like work
// with it through any wrapper, without a goroutine. It is made when somebody asks
// for Done or derives a context; most scopes never lend anything.
//
// It is itself the parent of that cancel context, and cancels it by the function
// that package context registers with AfterFunc. So the child takes over Err and
// Cause of the scope, be it cancelled or timed out.
type lending struct {
	scope  *scope
	ctx    context.Context
	free   context.CancelFunc // of ctx, if it turns out not to be needed
	cancel func()             // by which package context lets its parent cancel ctx
	next   *lending           // in scope.cleanups
}

// lend returns what s lends. Any goroutine may call it.
func (s *scope) lend() *lending {
	x := s.extra()
	if l := x.lent.Load(); l != nil {
		return l
	}
	l := &lending{scope: s}
	l.ctx, l.free = context.WithCancel(l)
	if !x.lent.CompareAndSwap(nil, l) {
		l.free()
		return x.lent.Load()
	}
	if !s.stacked() {
		s.home().keep(l)
	}
	if s.heard() != nil { // it may have been cancelled before it was known to lend
		l.cancel()
	}
	return l
}

// lends reports whether s has lent anything.
func (s *scope) lends() bool {
	x := s.extras.Load()
	return x != nil && x.lent.Load() != nil
}

// home returns the innermost scope around s that is on its task's stack.
func (s *scope) home() *scope {
	for !s.stacked() {
		s = s.parent
	}
	return s
}

// keep remembers what was lent for a scope that is not on the stack.
func (s *scope) keep(l *lending) {
	for x := s.extra(); ; {
		l.next = x.cleanups.Load()
		if x.cleanups.CompareAndSwap(l.next, l) {
			return
		}
	}
}

// callBorrowers cancels what s and the clean-up scopes in it have lent, as far
// as they hear of it.
func (s *scope) callBorrowers() {
	x := s.extras.Load()
	if x == nil {
		return
	}
	if l := x.lent.Load(); l != nil && s.heard() != nil {
		l.cancel()
	}
	if x.cleanups.Load() == nil {
		return
	}
	for l := x.cleanups.Swap(nil); l != nil; {
		next := l.next
		if l.scope.heard() != nil {
			l.cancel()
		} else {
			s.keep(l)
		}
		l = next
	}
}

// never is the Done channel of a lending as a parent. It is not looked at: the
// cancellation comes through AfterFunc.
var never = make(chan struct{})

func (l *lending) Deadline() (time.Time, bool) { return l.scope.Deadline() }
func (l *lending) Done() <-chan struct{}       { return never }
func (l *lending) Err() error                  { return l.scope.Err() }

// AfterFunc keeps the function by which package context cancels the child.
func (l *lending) AfterFunc(cancel func()) (stop func() bool) {
	l.cancel = cancel
	return func() bool { return true }
}

// Value answers context.Cause while the child is cancelled, by a context that
// has the cause.
func (l *lending) Value(key any) any {
	if key == cancelCtxKey {
		r := l.scope.heard()
		if r == nil {
			return nil
		}
		cause := r.cause
		if cause == nil {
			cause = r.contextError()
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(cause)
		return ctx.Value(key)
	}
	return l.scope.Value(key)
}

// cancelCtxKey is the private key by which package context finds the nearest
// cancel context, learned once from what it asks of a parent.
var cancelCtxKey = func() any {
	p := &probe{Context: context.Background()}
	_, cancel := context.WithCancel(p)
	cancel()
	return p.key
}()

type probe struct {
	context.Context
	key any
}

func (p *probe) Done() <-chan struct{} { return never }

func (p *probe) Value(key any) any {
	if p.key == nil {
		p.key = key
	}
	return nil
}

func (p *probe) AfterFunc(func()) (stop func() bool) { return func() bool { return true } }

// rules reports whether the cancellation of ctx, which was made from s, is that
// of s: only values have been added.
func (s *scope) rules(ctx context.Context) bool {
	// What a wrapper does with Value tells nothing: it may have a Done of its own.
	return ctx == context.Context(s) || ctx.Done() == s.Done()
}

// shielded reports whether context.WithoutCancel has cut ctx off.
func shielded(ctx context.Context) bool {
	if s, ok := ctx.(*scope); ok {
		return s.task == nil
	}
	return ctx.Done() == nil
}
