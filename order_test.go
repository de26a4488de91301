// Tests of what an order of callbacks gets to know, and of what it may do.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
	"github.com/goasyncio/asyncio/internal/seam"
)

// A scout is an order that serves who came first and takes notes.
type scout struct {
	t     *testing.T
	notes []string
	seen  map[seam.Kind]bool
	calls map[any]int // of Awaits and Suspends, by task
}

func (s *scout) Next(q seam.Queue) int {
	if q.Pass() < 1 || q.Len() < q.Pass() {
		s.t.Errorf("%d callbacks, %d of this pass", q.Len(), q.Pass())
	}
	lanes := map[any]bool{}
	for i := range q.Len() {
		lanes[q.At(i).Lane] = true // they can be compared
	}
	c := q.At(0)
	s.seen[c.Kind] = true
	note := fmt.Sprint(q.Now(), " ", c.Kind)
	if task, ok := c.Subject.(asyncio.AnyTask); ok {
		note += " " + task.Name()
	}
	if c.Kind == seam.Alarm || c.Kind == seam.Timer {
		note += fmt.Sprint(" due ", c.When)
	}
	s.notes = append(s.notes, note)
	return 0
}

func (s *scout) Awaits(task any)   { s.calls[task]++ }
func (s *scout) Suspends(task any) { s.calls[task] += 100 }

func TestOrderIsTold(t *testing.T) {
	var trace []string
	main := func(ctx context.Context) error {
		loop := asyncio.RunningLoop(ctx)
		note := func(what string) { trace = append(trace, fmt.Sprint(what, " ", loop.Time())) }
		loop.CallSoon(func() { note("callback") })
		loop.CallLater(time.Second, func() { note("timer") })
		answer := asyncio.NewFuture[int](ctx)
		answer.AddDoneCallback(func(asyncio.AnyFuture) { note("done") })
		var free asyncio.Lock
		child := asyncio.Go(ctx, func(ctx context.Context) error {
			note("child")
			err := errors.Join(free.Acquire(ctx), asyncio.Sleep(ctx, 2*time.Second), asyncio.Yield(ctx))
			note("child")
			answer.SetResult(1)
			return err
		}, asyncio.WithName("child"))
		_, err := answer.Await(ctx)
		note("main")
		return errors.Join(err, child.Wait(ctx))
	}
	run := func(opts ...asyncio.RunOption) []string {
		trace = nil
		asynciotest.Run(t, main, opts...)
		return trace
	}
	s := &scout{t: t, seen: map[seam.Kind]bool{}, calls: map[any]int{}}
	order := seam.LoopOption(seam.Seams{NewOrder: func() seam.Order { return s }}).(asyncio.LoopOption)
	plain, watched := run(), run(order)
	if !slices.Equal(plain, watched) {
		t.Errorf("first come, first served is\n%q, by an order\n%q", plain, watched)
	}
	want := []string{
		"0s task main", "0s callback", "0s task child",
		"1s timer due 1s",
		"2s alarm child due 2s", "2s task child", "2s task child",
		"2s done", "2s task main", "2s done main",
	}
	if !slices.Equal(s.notes, want) {
		t.Errorf("got  %q\nwant %q", s.notes, want)
	}
	var calls []int
	for _, n := range s.calls {
		calls = append(calls, n)
	}
	if slices.Sort(calls); !slices.Equal(calls, []int{102, 203}) { // main: two calls, one of which waits; child: three and two
		t.Errorf("the calls were %v", calls)
	}
}

// reversed serves the last callback first, those for the next pass among them.
type reversed struct{}

func (reversed) Next(q seam.Queue) int { return q.Len() - 1 }

func TestOrderChoosesFromTheWholeQueue(t *testing.T) {
	var got []int
	order := seam.LoopOption(seam.Seams{NewOrder: func() seam.Order { return reversed{} }}).(asyncio.LoopOption)
	loop := asyncio.NewEventLoop(asynciotest.WithVirtualClock(), order)
	defer loop.Close()
	for i := range 3 {
		loop.CallSoon(func() {
			got = append(got, i)
			if i < 10 {
				loop.CallSoon(func() { got = append(got, i+10) })
			}
		})
	}
	for _, want := range [][]int{{2, 12, 1}, {2, 12, 1, 11, 0}, {2, 12, 1, 11, 0, 10}} {
		if err := loop.RunOnce(0); err != nil || !slices.Equal(got, want) {
			t.Errorf("RunOnce = %v, ran %v, want %v", err, got, want)
		}
	}
}
