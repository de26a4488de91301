// Gather: the values of several, in the order in which they were asked for.

package asyncio

import "context"

// A Result is a value or an error.
type Result[T any] struct {
	Value T
	Err   error
}

// Gather awaits all of as concurrently and returns their values in the order of
// the arguments (asyncio.gather). Coroutines among them are started as tasks;
// what stands there twice is awaited once.
//
// The first error ends Gather at once; the others go on, and their errors count
// as seen. Cancelling Gather cancels all of them, and it ends when they have ended.
// A task group is the better choice where a failure shall end the others.
func Gather[T any](ctx context.Context, as ...Awaitable[T]) ([]T, error) {
	fs, err := gather(ctx, as, false, "Gather")
	if err != nil {
		return nil, err
	}
	values := make([]T, len(fs))
	for i, f := range fs {
		values[i], _ = valueOf[T](f)
	}
	return values, nil
}

// GatherSettled is Gather that waits for all of as whatever becomes of them
// (gather with return_exceptions). Its own error is not nil only if Gather itself
// was cancelled, or misused.
func GatherSettled[T any](ctx context.Context, as ...Awaitable[T]) ([]Result[T], error) {
	fs, err := gather(ctx, as, true, "GatherSettled")
	if err != nil {
		return nil, err
	}
	results := make([]Result[T], len(fs))
	for i, f := range fs {
		results[i].Value, results[i].Err = valueOf[T](f)
	}
	return results, nil
}

// gathering is the future of a Gather: done when its children are, or when one fails.
type gathering struct {
	Future[struct{}]
	children []*future
	left     int
	settled  bool // errors of children are results
	asked    bool // a cancellation was passed on to a child
}

// cancel passes a cancellation on to the children, and refuses it if none takes it.
func (g *gathering) cancel(cause error) bool {
	taken := false
	for _, c := range g.children {
		if c.cancelAwait(cause) {
			taken = true
		}
	}
	if taken {
		g.asked = true
	}
	return taken
}

func (g *gathering) childDone(c *future) {
	c.see()
	g.left--
	switch {
	case g.state != pending:
	case !g.settled && c.err != nil:
		g.finish(finished, c.err)
	case g.left > 0:
	case g.asked:
		g.finish(finished, g.cancellationOf(c))
	default:
		g.finish(finished, nil)
	}
}

// cancellationOf returns a cancellation with the cause of the last child's.
func (g *gathering) cancellationOf(c *future) error {
	if err := c.cancellation(); err != nil {
		return err
	}
	return errPlainCancel
}

func gather[T any](ctx context.Context, as []Awaitable[T], settled bool, op string) ([]*future, error) {
	t, err := current(ctx, op)
	if err != nil || len(as) == 0 {
		return nil, err
	}
	if err := checkAwaitables(op, as...); err != nil {
		return nil, err
	}
	g := &gathering{settled: settled}
	g.init(t.loop, g)
	g.seen = true
	g.children = make([]*future, len(as))
	for i, a := range as {
		g.children[i] = coreOf(ctx, a, op)
	}
	if err := checkLoop(g.children, t, op); err != nil {
		return nil, err
	}
	g.register()
	for _, f := range g.children {
		if f.state != pending {
			g.childDone(f)
		}
	}
	return g.children, g.await(ctx, op)
}

// register makes g hear of its children that are not done, of each once.
func (g *gathering) register() {
	var callbacks []doneCallback // in one piece of memory
	childDone := g.childDone
	for i, f := range g.children {
		if f.state != pending {
			g.left++
			continue
		}
		if last, ok := f.lastCallback().(*doneCallback); ok && last.awaiter == &g.future {
			continue // it stands among them twice
		}
		g.left++
		if callbacks == nil {
			callbacks = make([]doneCallback, len(g.children))
		}
		callbacks[i] = doneCallback{future: f, fn: childDone, retrieves: true, awaiter: &g.future}
		f.addCallback(&callbacks[i])
	}
}
