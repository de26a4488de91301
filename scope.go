// Cancellation scopes: the contexts of coroutines.

package asyncio

import (
	"context"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// A scope is the context of a coroutine: it carries the loop, the task and the
// user's values, and it is a place to which cancellation can be addressed. A
// task has a root scope; Timeout and a task group add one for as long as their
// function runs. Those form the task's stack; the parent of a scope is the one
// whose cancellation it shares.
//
// # Requests
//
// A cancellation is a request to a scope. Each gets the next number of its task.
// A request is delivered when a suspended await of the task returns an error
// because of it; one delivery delivers all requests made so far, so that a
// single number, task.delivered, says which ones are. A scope stays cancelled, as
// contexts do: every further await with it is interrupted as well. CleanupContext
// makes a scope that is deaf to the requests up to a number, those delivered so
// far. Leaving a scope is a request with the highest number, to which nothing is
// deaf.
//
// # Other contexts
//
// What the user passes need not be a scope of the running task. A context made
// from one by context.WithValue is as good as it. Any other (of another task, or
// made by context.WithTimeout or WithoutCancel) is bridged: a scope that repeats
// that context's cancellation joins the stack for the length of the await.
//
// Requests and the methods of context.Context work from any goroutine, on the
// loop's goroutine alone is everything else.
type scope struct {
	// Set once.
	task   *task // nil for EventLoop.Context, whose values know the loop
	parent *scope
	values context.Context
	deafTo uint64 // requests to enclosing scopes up to this number are not heard

	// Any goroutine.
	req      atomic.Pointer[request]
	deadline atomic.Int64               // loop time; 0 for none
	extras   atomic.Pointer[scopeExtra] // nil as long as none is needed

	// Owned by the loop.
	outer *scope // the next one on the stack; itself if it is on none, like what CleanupContext makes
}

// A scopeExtra is what few scopes need.
type scopeExtra struct {
	// Any goroutine.
	lent     atomic.Pointer[lending]
	cleanups atomic.Pointer[lending] // what was lent for scopes that are not stacked, inside this one

	// Owned by the loop.
	followers []*scope // bridges that repeat this scope for other tasks
	isBridge  bool
	bridge    bridge // if it is one
}

// extra returns the scopeExtra of s, which it makes if there is none.
func (s *scope) extra() *scopeExtra {
	if x := s.extras.Load(); x != nil {
		return x
	}
	s.extras.CompareAndSwap(nil, new(scopeExtra))
	return s.extras.Load()
}

// stacked reports whether s is on the stack of its task, or was.
func (s *scope) stacked() bool { return s.outer != s }

// A bridge is what makes a scope repeat a context that is none of its task's.
type bridge struct {
	follows  context.Context // of package context; nil if it is a scope, or if nothing is repeated
	unfollow func()          // may be nil
	number   uint64          // for a tape
}

// A request asks for the cancellation of a scope. It does not change.
type request struct {
	seq      uint64
	cause    error
	deadline bool // made by a deadline: Err is context.DeadlineExceeded
	first    *request
}

// forgotten is the number of the request that a scope gets when it is left.
const forgotten = math.MaxUint64

// plainlyLeft is the request that a scope gets when it is left without another.
var plainlyLeft = request{seq: forgotten}

// after returns the earliest request that is known with a number above deaf.
func (r *request) after(deaf uint64) *request {
	switch {
	case r.first != nil && r.first.seq > deaf:
		return r.first
	case r.seq > deaf:
		return r
	}
	return nil
}

func (r *request) error() error {
	if r.cause == nil && !r.deadline {
		return errPlainCancel
	}
	return &CancelledError{Cause: r.cause, deadline: r.deadline}
}

func (r *request) contextError() error {
	if r.deadline {
		return context.DeadlineExceeded
	}
	return context.Canceled
}

// heard returns the earliest request to s or a scope around it that s hears, or nil.
func (s *scope) heard() *request {
	if s.parent == nil && s.req.Load() == nil { // as mostly
		return nil
	}
	return s.heardInLine()
}

func (s *scope) heardInLine() *request {
	var found *request
	deaf := uint64(0)
	for ; s != nil; s = s.parent {
		if r := s.req.Load(); r != nil {
			if r = r.after(deaf); r != nil && (found == nil || r.seq < found.seq) {
				found = r
			}
		}
		deaf = max(deaf, s.deafTo)
	}
	return found
}

// hears reports whether request number seq to scope of is heard with s, of the
// same task. A scope outside the line of s is heard: the running task's own
// requests interrupt it whatever context it uses.
func (s *scope) hears(of *scope, seq uint64) bool {
	deaf := uint64(0)
	for x := s; x != nil; x = x.parent {
		if x == of {
			return seq > deaf
		}
		deaf = max(deaf, x.deafTo)
	}
	return seq > deaf
}

// request cancels s: it stays cancelled, and if its task is suspended in an
// await that hears of it, what that awaits is cancelled.
func (s *scope) request(cause error, deadline bool) {
	t := s.task
	t.requests++
	r := &request{seq: t.requests, cause: cause, deadline: deadline}
	if old := s.req.Load(); old != nil {
		if old.seq == forgotten {
			return
		}
		if r.first = old.first; r.first == nil {
			r.first = old
		}
	}
	s.req.Store(r)
	s.announce()
	if t.suspended && t.ears.hears(s, r.seq) {
		t.forward(cause)
	}
}

// announce tells everybody who repeats s that it is cancelled.
func (s *scope) announce() {
	for x := s.task.top; x != nil; x = x.outer {
		x.callBorrowers()
		if x == s {
			break
		}
	}
	// Contexts that come from what was lent are cancelled now, and so is who
	// awaits with them: without the way through another goroutine.
	for x := s.task.top; x != nil && x != s; x = x.outer {
		if b := x.bridge(); b != nil && b.follows != nil && x.req.Load() == nil && b.follows.Err() != nil {
			x.repeat()
		}
	}
	for _, f := range s.followers() {
		f.request(s.req.Load().cause, s.req.Load().deadline)
	}
}

// renew makes the requests that s hears undelivered again.
func (s *scope) renew() {
	deaf := uint64(0)
	for x := s; x != nil; x = x.parent {
		if r := x.req.Load(); r != nil && r.seq != forgotten && r.seq > deaf {
			x.request(r.cause, r.deadline)
		}
		deaf = max(deaf, x.deafTo)
	}
}

// enter puts a scope with the cancellation and values of ctx on t's stack.
func (t *task) enter(ctx context.Context) *scope {
	s := new(scope)
	t.enterScope(s, ctx)
	return s
}

// enterScope is enter with the memory for the scope, which must be zero.
func (t *task) enterScope(s *scope, ctx context.Context) {
	s.task, s.parent, s.values = t, t.listen(ctx), valuesOf(ctx)
	t.push(s)
}

func (t *task) push(s *scope) {
	s.outer = t.top
	t.top = s
}

// leave takes s off t's stack, with a bridge below it. Its context is done from
// now on. Scopes on top of it, which a Goexit may have left behind, go too.
func (t *task) leave(s *scope) {
	for x := t.top; x != nil; x = t.top {
		t.top = x.outer
		x.forget()
		if x == s {
			break
		}
	}
	if p := s.parent; p != nil && p == t.top && p.isBridge() {
		t.leave(p)
	}
}

// forget makes the context of s done for good.
func (s *scope) forget() {
	left := &plainlyLeft
	if old := s.req.Load(); old != nil {
		left = &request{seq: forgotten, first: old}
		if old.first != nil {
			left.first = old.first
		}
	}
	s.req.Store(left)
	s.callBorrowers()
	for _, f := range s.followers() {
		f.request(nil, false)
	}
	if b := s.bridge(); b != nil && b.unfollow != nil {
		b.unfollow()
	}
}

// listen returns the scope with which an await with ctx hears of cancellation.
// If that is a bridge, it is on top of the stack, and whoever called listen has
// to leave it.
func (t *task) listen(ctx context.Context) *scope {
	if s, ok := ctx.(*scope); ok && s.task == t { // as mostly
		return s
	}
	return t.listenTo(ctx)
}

func (t *task) listenTo(ctx context.Context) *scope {
	s := scopeOf(ctx)
	switch {
	case shielded(ctx):
		return t.bridge(ctx, math.MaxUint64)
	case s == nil || !s.rules(ctx):
		deafTo := uint64(math.MaxUint64) // of this task's requests ctx tells, or hides them on purpose
		if s != nil && s.task != t {
			deafTo = t.delivered
		}
		b := t.bridge(ctx, deafTo)
		b.followContext(ctx)
		return b
	case s.task == t:
		return s
	}
	b := t.bridge(ctx, t.delivered)
	if s.task != nil {
		b.followScope(s)
	}
	return b
}

func (t *task) bridge(ctx context.Context, deafTo uint64) *scope {
	b := &scope{task: t, parent: t.top, values: valuesOf(ctx), deafTo: deafTo}
	b.extra().isBridge = true
	t.push(b)
	return b
}

// bridge returns what s is as a bridge, nil if it is none.
func (s *scope) bridge() *bridge {
	if x := s.extras.Load(); x != nil && x.isBridge {
		return &x.bridge
	}
	return nil
}

func (s *scope) isBridge() bool { return s.bridge() != nil }

func (s *scope) followers() []*scope {
	if x := s.extras.Load(); x != nil {
		return x.followers
	}
	return nil
}

// followScope makes the bridge b repeat the requests to s, a scope of another task.
func (b *scope) followScope(s *scope) {
	for x := s; x != nil; x = x.parent {
		x.extra().followers = append(x.followers(), b)
	}
	b.bridge().unfollow = func() {
		for x := s; x != nil; x = x.parent {
			f := x.followers()
			if i := slices.Index(f, b); i >= 0 {
				x.extra().followers = slices.Concat(f[:i], f[i+1:])
			}
		}
	}
	if r := s.heard(); r != nil {
		b.request(r.cause, r.deadline)
	}
}

// followContext makes the bridge b repeat ctx, a context of package context.
func (b *scope) followContext(ctx context.Context) {
	bridge := b.bridge()
	bridge.follows = ctx
	if ctx.Err() != nil {
		b.repeat()
		return
	}
	l := b.task.loop
	bridge.number = l.number()
	stop := context.AfterFunc(ctx, func() { l.entry.post((*repeater)(b)) })
	l.outside++
	bridge.unfollow = func() {
		l.outside--
		stop()
	}
}

// repeat requests of b what the context that it follows has got.
func (b *scope) repeat() {
	follows := b.bridge().follows
	err := follows.Err()
	cause := context.Cause(follows)
	if cause == err {
		cause = nil
	}
	b.request(cause, err == context.DeadlineExceeded)
}

// repeater is a bridge whose context has been cancelled on another goroutine.
type repeater scope

func (r *repeater) post() seam.Post {
	return seam.Post{Kind: seam.Context, Number: (*scope)(r).bridge().number}
}

func (r *repeater) run() {
	if b := (*scope)(r); b.req.Load() == nil {
		b.repeat()
	}
}

// Context makes a context that carries the loop and the values of parent. With
// it tasks and futures can be created on a loop that is not running yet. It is
// never done, and nothing can be awaited with it outside a task.
func (l *EventLoop) Context(parent context.Context) context.Context {
	if parent == nil {
		panic(misuse("Context", ErrBadArgument, "the parent is nil"))
	}
	return &scope{values: valuesOnly{parent, l}}
}

// loop returns the loop that s belongs to.
func (s *scope) loop() *EventLoop {
	if s.task != nil {
		return s.task.loop
	}
	return s.values.(valuesOnly).loop
}

// valuesOnly is a context with the values of another one and nothing else of it. What
// context.WithoutCancel makes is the same, but allocates at each look-up.
type valuesOnly struct {
	of   context.Context
	loop *EventLoop
}

func (v valuesOnly) Deadline() (deadline time.Time, ok bool) { return }
func (v valuesOnly) Done() <-chan struct{}                   { return nil }
func (v valuesOnly) Err() error                              { return nil }
func (v valuesOnly) Value(key any) any                       { return v.of.Value(key) }

// CleanupContext returns a context for the clean-up of a coroutine that has been
// cancelled: it is deaf to the requests that were delivered to the task so far,
// that is, returned by a suspended await. A request that was made but not
// delivered still interrupts the next await, and so do later requests and the
// enclosing scopes that have not fired yet. Apart from that it is like ctx. Of a
// context made by context.WithTimeout or WithCancel it has the values only.
//
//	if err := work(ctx); errors.Is(err, asyncio.ErrCancelled) {
//		ctx := asyncio.CleanupContext(ctx)
//		return errors.Join(err, save(ctx))
//	}
//
// It has to be called from the task that uses it; with a context that does not
// belong to a task it panics with a *UsageError.
func CleanupContext(ctx context.Context) context.Context {
	t, err := current(ctx, "CleanupContext")
	if err != nil {
		panic(err)
	}
	if shielded(ctx) {
		return ctx
	}
	parent := scopeOf(ctx)
	if parent.task != t || !parent.rules(ctx) {
		parent = t.top
	}
	return t.aside(parent, valuesOf(ctx))
}

// aside makes a scope with the cancellation of parent, as far as that was not
// delivered, which is not on the stack.
func (t *task) aside(parent *scope, values context.Context) *scope {
	s := &scope{task: t, parent: parent, values: values, deafTo: t.delivered}
	s.outer = s
	return s
}

type scopeKey struct{}

// scopeOf returns the scope that ctx was made from, or nil.
func scopeOf(ctx context.Context) *scope {
	s, ok := ctx.(*scope)
	if !ok {
		s, _ = ctx.Value(scopeKey{}).(*scope)
	}
	return s
}

// valuesOf returns a context with the values of ctx. Of a scope it is the user's
// part alone: a task that starts its successor must not keep it alive.
func valuesOf(ctx context.Context) context.Context {
	if s, ok := ctx.(*scope); ok {
		return s.values
	}
	return ctx
}

// Deadline returns the earliest deadline of the enclosing timeout scopes.
func (s *scope) Deadline() (time.Time, bool) {
	first := int64(0)
	for x := s; x != nil; x = x.parent {
		if d := x.deadline.Load(); d != 0 && (first == 0 || d < first) {
			first = d
		}
	}
	if first == 0 {
		return time.Time{}, false
	}
	return s.task.loop.epoch.Add(time.Duration(first)), true
}

// Done returns a channel that is closed when the scope is cancelled or left.
func (s *scope) Done() <-chan struct{} {
	if s.task == nil {
		return nil
	}
	return s.lend().ctx.Done()
}

// Err returns nil, context.Canceled or context.DeadlineExceeded.
func (s *scope) Err() error {
	if r := s.heard(); r != nil {
		return r.contextError()
	}
	return nil
}

// Value returns the user's values, and what package context asks for.
func (s *scope) Value(key any) any {
	switch key {
	case scopeKey{}:
		return s
	case cancelCtxKey:
		if s.task == nil {
			return nil
		}
		if s.lends() || s.heard() != nil {
			return s.lend().ctx.Value(key)
		}
		return s // nothing was lent yet; no cancel context is known by this
	}
	return s.values.Value(key)
}

func (s *scope) String() string {
	if s.task == nil {
		return "asyncio.Context(" + s.loop().name + ")"
	}
	return "asyncio.Context(" + s.task.Name() + ")"
}
