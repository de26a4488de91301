// Tests of awaiting several: Gather, Wait, AsCompleted, Shield, WaitFor.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"go/scanner"
	"go/token"
	"slices"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// sec is n seconds.
func sec(n int) time.Duration { return time.Duration(n) * time.Second }

// number starts a task that gives n after n seconds.
func number(ctx context.Context, n int) *asyncio.Task[int] {
	return asyncio.CreateTask(ctx, later(sec(n), n))
}

// many makes arguments of tasks.
func many[A asyncio.Awaitable[int]](as ...A) []asyncio.Awaitable[int] {
	var all []asyncio.Awaitable[int]
	for _, a := range as {
		all = append(all, a)
	}
	return all
}

// alone checks that no task but the running one is left.
func alone(t *testing.T, ctx context.Context) {
	t.Helper()
	if all := asyncio.AllTasks(ctx); len(all) != 1 {
		t.Errorf("tasks are left: %v", all)
	}
}

func TestGather(t *testing.T) {
	inLoop(t, "TASK-073 values in the order of the arguments", func(t *testing.T, ctx context.Context) {
		expectTook(t, ctx, sec(3), func() {
			vs, err := asyncio.Gather(ctx, many(number(ctx, 3), number(ctx, 1), number(ctx, 2))...)
			if !slices.Equal(vs, []int{3, 1, 2}) || err != nil {
				t.Errorf("got %v, %v", vs, err)
			}
		})
	})
	inLoop(t, "coroutines, tasks and futures together", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		f.Loop().CallLater(sec(1), func() { f.SetResult(7) })
		vs, err := asyncio.Gather[int](ctx, later(sec(2), 5), f, number(ctx, 1), shielded{number(ctx, 3)})
		if !slices.Equal(vs, []int{5, 7, 1, 3}) || err != nil {
			t.Errorf("got %v, %v", vs, err)
		}
	})
	inLoop(t, "TASK-074 TASK-075 the first error at once, the others quietly", func(t *testing.T, ctx context.Context) {
		other := asyncio.CreateTask(ctx, failingAfter(sec(3), io2))
		slow := number(ctx, 5)
		expectTook(t, ctx, sec(1), func() {
			vs, err := asyncio.Gather[int](ctx, slow, failingAfter(sec(1), errors.ErrUnsupported), other)
			if vs != nil || err != errors.ErrUnsupported {
				t.Errorf("got %v, %v", vs, err)
			}
		})
		if other.Done() || slow.Done() {
			t.Errorf("%v, %v", other, slow)
		}
		if v, err := slow.Await(ctx); v != 5 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
	}, noReports(t))
	inLoop(t, "TASK-076 TASK-078 settled: errors and cancellations in their places", func(t *testing.T, ctx context.Context) {
		gone := number(ctx, 9)
		gone.Loop().CallLater(sec(1), func() { gone.Cancel(io2) })
		expectTook(t, ctx, sec(3), func() {
			rs, err := asyncio.GatherSettled[int](ctx, number(ctx, 3), failingAfter(sec(1), errors.ErrUnsupported), gone)
			if err != nil || len(rs) != 3 || rs[0] != (asyncio.Result[int]{Value: 3}) || rs[1].Err != errors.ErrUnsupported {
				t.Errorf("got %v, %v", rs, err)
			}
			expectError(t, rs[2].Err, asyncio.ErrCancelled)
		})
	}, noReports(t))
	inLoop(t, "TASK-077 a cancelled child is an error, the gatherer goes on", func(t *testing.T, ctx context.Context) {
		gone := number(ctx, 9)
		gone.Loop().CallLater(sec(1), func() { gone.Cancel(io2) })
		_, err := asyncio.Gather[int](ctx, gone, number(ctx, 1))
		expectError(t, err, io2)
		expectError(t, err, asyncio.ErrCancelled)
		expectError(t, ctx.Err(), nil)
		expectError(t, hour(ctx), nil)
	})
	for _, settled := range []bool{false, true} {
		inLoop(t, fmt.Sprintf("TASK-079 TASK-080 cancelling cancels all and waits for them, settled %v", settled), func(t *testing.T, ctx context.Context) {
			var children []asyncio.Awaitable[int]
			ended := 0
			for range 3 {
				children = append(children, asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
					err := hour(ctx)
					asyncio.Sleep(asyncio.CleanupContext(ctx), sec(1))
					ended++
					return 0, err
				}))
			}
			task := asyncio.Go(ctx, func(ctx context.Context) (err error) {
				if settled {
					_, err = asyncio.GatherSettled(ctx, children...)
				} else {
					_, err = asyncio.Gather(ctx, children...)
				}
				return err
			})
			settle(ctx)
			task.Cancel(io2)
			expectError(t, task.Wait(ctx), io2)
			if !task.Cancelled() || settled && ended != 3 {
				t.Errorf("%v, %d have ended", task, ended)
			}
		})
	}
	inLoop(t, "TASK-081 when all are done a cancellation interrupts the gatherer, not them", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			_, err := asyncio.Gather[int](ctx, f)
			return err
		}, asyncio.EagerStart())
		f.SetResult(1)
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
		if v, err := f.Result(); v != 1 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
	})
	inLoop(t, "TASK-082 nothing to gather", func(t *testing.T, ctx context.Context) {
		withoutSuspending(t, ctx, func() {
			vs, err := asyncio.Gather[int](ctx)
			rs, serr := asyncio.GatherSettled[int](ctx)
			if len(vs) != 0 || len(rs) != 0 || err != nil || serr != nil {
				t.Errorf("got %v, %v, %v, %v", vs, rs, err, serr)
			}
		})
	})
	inLoop(t, "TASK-085 TASK-086 a bad argument, and an early end, leave the others clean", func(t *testing.T, ctx context.Context) {
		good := asyncio.NewFuture[int](ctx)
		_, err := asyncio.Gather[int](ctx, good, new(asyncio.Future[int]))
		expectError(t, err, asyncio.ErrOutsideTask)
		expectText(t, good, "<Future pending>")
		_, err = asyncio.Gather[int](ctx, good, failingAfter(sec(1), io2))
		expectError(t, err, io2)
		good.SetError(errA) // counts as seen
	}, noReports(t))
	inLoop(t, "TASK-083 the same one twice", func(t *testing.T, ctx context.Context) {
		task := number(ctx, 1)
		vs, err := asyncio.Gather[int](ctx, task, number(ctx, 2), task)
		if !slices.Equal(vs, []int{1, 2, 1}) || err != nil {
			t.Errorf("got %v, %v", vs, err)
		}
	})
	inLoop(t, "TASK-088 TASK-098 shields in a gather, and a gather in a shield", func(t *testing.T, ctx context.Context) {
		a, b, c := number(ctx, 1), number(ctx, 2), number(ctx, 3)
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			_, err := asyncio.Gather[int](ctx, shielded{a}, shielded{b})
			return err
		})
		whole := asyncio.CreateTask(ctx, func(ctx context.Context) ([]int, error) { return asyncio.Gather[int](ctx, c, a) })
		other := asyncio.Go(ctx, func(ctx context.Context) error {
			_, err := asyncio.Shield(ctx, whole)
			return err
		})
		settle(ctx)
		task.Cancel(nil)
		other.Cancel(nil)
		expectError(t, task.Wait(ctx), asyncio.ErrCancelled)
		expectError(t, other.Wait(ctx), asyncio.ErrCancelled)
		if v, err := b.Await(ctx); v != 2 || err != nil || !a.Done() {
			t.Errorf("got %v, %v", v, err)
		}
		if vs, err := whole.Await(ctx); !slices.Equal(vs, []int{3, 1}) || err != nil {
			t.Errorf("got %v, %v", vs, err)
		}
	})
}

// shielded is a as a foreign Awaitable.
type shielded struct{ a asyncio.Awaitable[int] }

func (s shielded) Await(ctx context.Context) (int, error) { return asyncio.Shield(ctx, s.a) }

// noReports fails the test if anything comes to the exception handler.
func noReports(t *testing.T) asyncio.LoopOption {
	return asyncio.WithExceptionHandler(func(_ *asyncio.EventLoop, ec *asyncio.ErrorContext) { t.Errorf("report: %+v", *ec) })
}

// numbers are the values of the done ones.
func numbers(fs []asyncio.AnyFuture) []int {
	var vs []int
	for _, f := range fs {
		switch f := f.(type) {
		case *asyncio.Task[int]:
			v, _ := f.Result()
			vs = append(vs, v)
		case *asyncio.Future[int]:
			v, _ := f.Result()
			vs = append(vs, v)
		}
	}
	return vs
}

func TestWait(t *testing.T) {
	// expect checks what Wait returns, and how long it takes.
	expect := func(t *testing.T, ctx context.Context, took time.Duration, fs []asyncio.AnyFuture, opts asyncio.WaitOptions, wantDone, wantPending []int) {
		t.Helper()
		expectTook(t, ctx, took, func() {
			t.Helper()
			done, pending, err := asyncio.Wait(ctx, fs, opts)
			if len(done) != len(wantDone) || len(pending) != len(wantPending) || err != nil {
				t.Errorf("done %v, pending %v, %v", done, pending, err)
				return
			}
			for i, f := range done {
				if f != fs[wantDone[i]] || !f.Done() {
					t.Errorf("done %d is %v", i, f)
				}
			}
			for i, f := range pending {
				if f != fs[wantPending[i]] || f.Done() {
					t.Errorf("pending %d is %v", i, f)
				}
			}
		})
	}
	inLoop(t, "TASK-051 TASK-060 all, and again; mixed types", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[string](ctx)
		f.Loop().CallLater(sec(1), func() { f.SetResult("x") })
		fs := []asyncio.AnyFuture{number(ctx, 3), f, asyncio.Go(ctx, asyncio.Yield)}
		expect(t, ctx, sec(3), fs, asyncio.WaitOptions{}, []int{0, 1, 2}, nil)
		p := countPasses(ctx)
		expect(t, ctx, 0, fs, asyncio.WaitOptions{}, []int{0, 1, 2}, nil)
		if p.stop = true; p.n != 2 {
			t.Errorf("it took %d passes", p.n)
		}
	})
	inLoop(t, "TASK-052 the same one twice", func(t *testing.T, ctx context.Context) {
		a, b := number(ctx, 1), number(ctx, 2)
		done, pending, err := asyncio.Wait(ctx, []asyncio.AnyFuture{a, b, a}, asyncio.WaitOptions{})
		if !slices.Equal(numbers(done), []int{1, 2}) || pending != nil || err != nil {
			t.Errorf("got %v, %v, %v", done, pending, err)
		}
	})
	inLoop(t, "TASK-053 nothing, or an unknown mode", func(t *testing.T, ctx context.Context) {
		for _, fs := range [][]asyncio.AnyFuture{nil, {number(ctx, 1), nil}} {
			_, _, err := asyncio.Wait(ctx, fs, asyncio.WaitOptions{})
			mistake(t, err, asyncio.ErrBadArgument)
		}
		for _, mode := range []asyncio.ReturnWhen{-1, 3} {
			_, _, err := asyncio.Wait(ctx, []asyncio.AnyFuture{number(ctx, 1)}, asyncio.WaitOptions{ReturnWhen: mode})
			expectError(t, err, asyncio.ErrBadArgument)
		}
	})
	inLoop(t, "TASK-054 the first one", func(t *testing.T, ctx context.Context) {
		fs := []asyncio.AnyFuture{number(ctx, 3), number(ctx, 1), number(ctx, 2)}
		first := asyncio.WaitOptions{ReturnWhen: asyncio.FirstCompleted}
		expect(t, ctx, sec(1), fs, first, []int{1}, []int{0, 2})
		expect(t, ctx, 0, fs, first, []int{1}, []int{0, 2})
		expect(t, ctx, sec(1), []asyncio.AnyFuture{fs[0], fs[2]}, first, []int{1}, []int{0})
	})
	inLoop(t, "TASK-055 TASK-056 the first error", func(t *testing.T, ctx context.Context) {
		fs := []asyncio.AnyFuture{number(ctx, 1), number(ctx, 9), asyncio.CreateTask(ctx, failingAfter(sec(2), io2))}
		first := asyncio.WaitOptions{ReturnWhen: asyncio.FirstException}
		expect(t, ctx, sec(2), fs, first, []int{0, 2}, []int{1})
		expect(t, ctx, 0, fs, first, []int{0, 2}, []int{1})
		gone := number(ctx, 5)
		gone.Cancel(nil)
		expect(t, ctx, sec(7), []asyncio.AnyFuture{gone, fs[1]}, first, []int{0, 1}, nil)
		fs[2].Err()
	}, noReports(t))
	inLoop(t, "TASK-057 failed ones are simply done", func(t *testing.T, ctx context.Context) {
		fs := []asyncio.AnyFuture{asyncio.CreateTask(ctx, failingAfter(sec(1), io2)), number(ctx, 2)}
		expect(t, ctx, sec(2), fs, asyncio.WaitOptions{}, []int{0, 1}, nil)
		fs[0].Err()
	})
	inLoop(t, "TASK-058 a timeout is no error", func(t *testing.T, ctx context.Context) {
		fs := []asyncio.AnyFuture{number(ctx, 1), number(ctx, 3)}
		expect(t, ctx, sec(2), fs, asyncio.WaitOptions{Timeout: sec(2)}, []int{0}, []int{1})
		expect(t, ctx, 0, fs, asyncio.WaitOptions{Timeout: -1}, []int{0}, []int{1})
		expect(t, ctx, sec(1), fs, asyncio.WaitOptions{Timeout: sec(9)}, []int{0, 1}, nil)
		if n := fs[0].Loop().Timers(); n != 0 {
			t.Errorf("%d timers are left", n)
		}
	})
	inLoop(t, "TASK-059 what is done in the same pass counts", func(t *testing.T, ctx context.Context) {
		a, b := asyncio.NewFuture[int](ctx), asyncio.NewFuture[int](ctx)
		a.Loop().CallSoon(func() { a.SetResult(1); b.SetResult(2) })
		expect(t, ctx, 0, []asyncio.AnyFuture{a, b}, asyncio.WaitOptions{ReturnWhen: asyncio.FirstCompleted}, []int{0, 1}, nil)
	})
	inLoop(t, "TASK-061 TASK-062 cancelling it leaves them alone", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			_, _, err := asyncio.Wait(ctx, []asyncio.AnyFuture{f}, asyncio.WaitOptions{Timeout: sec(1)})
			return err
		}, asyncio.EagerStart())
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
		expectText(t, f, "<Future pending>")
		if n := f.Loop().Timers(); n != 0 {
			t.Errorf("%d timers are left", n)
		}
	})
}

func TestAsCompleted(t *testing.T) {
	collect := func(ctx context.Context, as ...asyncio.Awaitable[int]) (vs []int, errs []error) {
		for v, err := range asyncio.AsCompleted(ctx, as...) {
			vs, errs = append(vs, v), append(errs, err)
		}
		return vs, errs
	}
	inLoop(t, "TASK-063 TASK-064 in the order of completion", func(t *testing.T, ctx context.Context) {
		vs, errs := collect(ctx, number(ctx, 3), later(sec(1), 1), number(ctx, 2))
		if !slices.Equal(vs, []int{1, 2, 3}) || errors.Join(errs...) != nil {
			t.Errorf("got %v, %v", vs, errs)
		}
	})
	inLoop(t, "errors come in their turn", func(t *testing.T, ctx context.Context) {
		gone := number(ctx, 9)
		gone.Loop().CallLater(sec(3), func() { gone.Cancel(nil) })
		vs, errs := collect(ctx, failingAfter(sec(2), io2), number(ctx, 1), gone)
		if !slices.Equal(vs, []int{1, 0, 0}) || errs[0] != nil || errs[1] != io2 || !errors.Is(errs[2], asyncio.ErrCancelled) {
			t.Errorf("got %v, %v", vs, errs)
		}
	}, noReports(t))
	inLoop(t, "TASK-065 the timeout comes after what was ready", func(t *testing.T, ctx context.Context) {
		slow := number(ctx, 9)
		var vs []int
		var last error
		for v, err := range asyncio.AsCompletedWithin[int](ctx, sec(2), slow, number(ctx, 1), number(ctx, 1)) {
			vs, last = append(vs, v), err
		}
		if !slices.Equal(vs, []int{1, 1, 0}) || last != asyncio.ErrTimeout || slow.Done() {
			t.Errorf("got %v, %v, %v", vs, last, slow)
		}
		expectText(t, slow, "<Task "+slow.Name()+" pending sleeps until 9s>")
	})
	inLoop(t, "TASK-066 a timeout that was not needed leaves no timer", func(t *testing.T, ctx context.Context) {
		for range asyncio.AsCompletedWithin[int](ctx, sec(9), number(ctx, 1)) {
		}
		for range asyncio.AsCompletedWithin[int](ctx, sec(9), number(ctx, 1), number(ctx, 1)) {
			break
		}
		if n := asyncio.CurrentTask(ctx).Loop().Timers(); n != 0 {
			t.Errorf("%d timers are left", n)
		}
	})
	inLoop(t, "it may stop early, the others go on", func(t *testing.T, ctx context.Context) {
		slow := number(ctx, 3)
		expectTook(t, ctx, sec(1), func() {
			for range asyncio.AsCompleted[int](ctx, slow, number(ctx, 1)) {
				break
			}
		})
		if v, err := slow.Await(ctx); v != 3 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
	})
	inLoop(t, "TASK-068 a cancelled step loses nothing", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		task := asyncio.Go(ctx, func(ctx context.Context) (err error) {
			for _, err = range asyncio.AsCompleted[int](ctx, f) {
			}
			return err
		}, asyncio.EagerStart())
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
		expectText(t, f, "<Future pending>")
		f.SetResult(1)
		if vs, _ := collect(ctx, f); !slices.Equal(vs, []int{1}) {
			t.Errorf("got %v", vs)
		}
	})
	inLoop(t, "TASK-070 duplicates once, nothing at all", func(t *testing.T, ctx context.Context) {
		task := number(ctx, 1)
		if vs, _ := collect(ctx, task, task); !slices.Equal(vs, []int{1}) {
			t.Errorf("got %v", vs)
		}
		if vs, _ := collect(ctx); vs != nil {
			t.Errorf("got %v", vs)
		}
	})
	inLoop(t, "the loop body may await", func(t *testing.T, ctx context.Context) {
		var vs []int
		for v := range asyncio.AsCompleted[int](ctx, number(ctx, 3), number(ctx, 1), number(ctx, 2)) {
			vs = append(vs, v)
			asyncio.Sleep(ctx, sec(10))
		}
		if !slices.Equal(vs, []int{1, 2, 3}) {
			t.Errorf("got %v", vs)
		}
	})
}

func TestNilAwaitable(t *testing.T) {
	for what, none := range map[string]asyncio.Awaitable[int]{"nothing": nil, "a coroutine": asyncio.Coroutine[int](nil)} {
		for name, await := range map[string]func(ctx context.Context) error{
			"Gather":        func(ctx context.Context) error { _, err := asyncio.Gather(ctx, number(ctx, 1), none); return err },
			"GatherSettled": func(ctx context.Context) error { _, err := asyncio.GatherSettled(ctx, none); return err },
			"Shield":        func(ctx context.Context) error { _, err := asyncio.Shield(ctx, none); return err },
			"WaitFor":       func(ctx context.Context) error { _, err := asyncio.WaitFor(ctx, sec(1), none); return err },
			"WaitFor 0":     func(ctx context.Context) error { _, err := asyncio.WaitFor(ctx, 0, none); return err },
			"AsCompleted": func(ctx context.Context) (err error) {
				for _, err = range asyncio.AsCompleted(ctx, none) {
				}
				return err
			},
		} {
			inLoop(t, name+" of "+what, func(t *testing.T, ctx context.Context) {
				mistake(t, await(ctx), asyncio.ErrBadArgument)
			})
		}
	}
}

func TestShield(t *testing.T) {
	inLoop(t, "TASK-089 TASK-096 values and errors pass", func(t *testing.T, ctx context.Context) {
		done := number(ctx, 1)
		for range 2 { // pending, then done
			if v, err := asyncio.Shield[int](ctx, done); v != 1 || err != nil {
				t.Errorf("got %v, %v", v, err)
			}
		}
		failed := asyncio.CreateTask(ctx, failingAfter(sec(1), io2))
		for range 2 {
			if _, err := asyncio.Shield[int](ctx, failed); err != io2 {
				t.Errorf("error %v", err)
			}
		}
		if v, err := asyncio.Shield(ctx, asyncio.Awaitable[int](later(sec(1), 5))); v != 5 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
	}, noReports(t))
	inLoop(t, "TASK-090 cancelling what is inside ends it", func(t *testing.T, ctx context.Context) {
		inner := number(ctx, 9)
		inner.Loop().CallLater(sec(1), func() { inner.Cancel(io2) })
		_, err := asyncio.Shield[int](ctx, inner)
		expectError(t, err, asyncio.ErrCancelled)
		expectError(t, err, io2)
		expectError(t, ctx.Err(), nil)
	})
	inLoop(t, "TASK-091 TASK-095 TASK-097 cancelling the wait leaves it running and clean", func(t *testing.T, ctx context.Context) {
		inner := asyncio.NewFuture[int](ctx)
		for range 2 {
			task := asyncio.Go(ctx, func(ctx context.Context) error {
				_, err := asyncio.Shield[int](ctx, inner)
				return err
			}, asyncio.EagerStart())
			task.Cancel(io2)
			expectError(t, task.Wait(ctx), io2)
			expectText(t, inner, "<Future pending>")
		}
	})
	for _, look := range []bool{true, false} {
		var r reports
		inLoop(t, fmt.Sprintf("TASK-092 TASK-093 TASK-094 an error that comes afterwards, looked at: %v", look), func(t *testing.T, ctx context.Context) {
			inner := asyncio.NewFuture[int](ctx)
			task := asyncio.Go(ctx, func(ctx context.Context) error {
				_, err := asyncio.Shield[int](ctx, inner)
				return err
			}, asyncio.EagerStart())
			task.Cancel(nil)
			task.Wait(ctx)
			inner.SetError(io2)
			settle(ctx)
			r.expect(t)
			if look {
				expectError(t, inner.Err(), io2)
			}
		}, r.handler())
		if look {
			r.expect(t)
		} else {
			r.expect(t, io2)
		}
	}
	inLoop(t, "an error that cannot be compared", func(t *testing.T, ctx context.Context) {
		list := scanner.ErrorList{{Pos: token.Position{}, Msg: "x"}}
		_, err := asyncio.Shield[int](ctx, failingAfter(sec(1), list))
		if l, ok := err.(scanner.ErrorList); !ok || l[0] != list[0] {
			t.Errorf("error %v", err)
		}
	}, noReports(t))
}

func TestWaitFor(t *testing.T) {
	inLoop(t, "WF-001 what is done, without any time", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		f.SetResult(7)
		withoutSuspending(t, ctx, func() {
			for _, d := range []time.Duration{0, -1} {
				if v, err := asyncio.WaitFor[int](ctx, d, f); v != 7 || err != nil {
					t.Errorf("got %v, %v", v, err)
				}
			}
		})
	})
	inLoop(t, "WF-002 no time for a coroutine: it never starts", func(t *testing.T, ctx context.Context) {
		for _, d := range []time.Duration{0, -1} {
			_, err := asyncio.WaitFor(ctx, d, asyncio.Awaitable[int](asyncio.Coroutine[int](func(context.Context) (int, error) {
				t.Error("it starts")
				return 0, nil
			})))
			expectError(t, err, asyncio.ErrTimeout)
		}
		alone(t, ctx)
	})
	for _, d := range []time.Duration{0, -1, sec(1)} {
		inLoop(t, fmt.Sprintf("WF-003 WF-004 WF-014 %v: the task is cancelled and awaited", d), func(t *testing.T, ctx context.Context) {
			task := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
				err := hour(ctx)
				asyncio.Sleep(asyncio.CleanupContext(ctx), sec(5))
				return 0, err
			})
			asyncio.Yield(ctx)
			expectTook(t, ctx, max(d, 0)+sec(5), func() {
				_, err := asyncio.WaitFor[int](ctx, d, task)
				expectError(t, err, asyncio.ErrTimeout)
			})
			if !task.Cancelled() {
				t.Errorf("%v", task)
			}
		})
	}
	inLoop(t, "WF-006 no limit", func(t *testing.T, ctx context.Context) {
		if v, err := asyncio.WaitFor[int](ctx, asyncio.Forever, number(ctx, 1000)); v != 1000 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
	})
	inLoop(t, "WF-007 in time", func(t *testing.T, ctx context.Context) {
		if v, err := asyncio.WaitFor(ctx, sec(1)+1, asyncio.Awaitable[int](later(sec(1), 7))); v != 7 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
		if n := asyncio.CurrentTask(ctx).Loop().Timers(); n != 0 {
			t.Errorf("%d timers are left", n)
		}
	})
	for _, d := range []time.Duration{0, sec(1)} {
		inLoop(t, fmt.Sprintf("WF-008 WF-009 %v: a value or an error in spite of the cancellation", d), func(t *testing.T, ctx context.Context) {
			for _, want := range []error{nil, io2} {
				task := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
					hour(ctx)
					return 7, want
				}, asyncio.EagerStart())
				v, err := asyncio.WaitFor[int](ctx, d, task)
				if err != want || want == nil && v != 7 {
					t.Errorf("got %v, %v", v, err)
				}
			}
		}, noReports(t))
	}
	for _, d := range []time.Duration{sec(9), asyncio.Forever} {
		inLoop(t, fmt.Sprintf("WF-010 WF-011 %v: cancelling it cancels the task and waits", d), func(t *testing.T, ctx context.Context) {
			inner := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
				err := hour(ctx)
				asyncio.Sleep(asyncio.CleanupContext(ctx), sec(1))
				return 0, err
			})
			task := asyncio.Go(ctx, func(ctx context.Context) error {
				_, err := asyncio.WaitFor[int](ctx, d, inner)
				return err
			})
			settle(ctx)
			task.Cancel(io2)
			expectTook(t, ctx, sec(1), func() { expectError(t, task.Wait(ctx), io2) })
			if !inner.Cancelled() || !task.Cancelled() {
				t.Errorf("%v, %v", inner, task)
			}
		})
	}
	inLoop(t, "WF-012 cancelled when the value is there: the future keeps it", func(t *testing.T, ctx context.Context) {
		f := asyncio.NewFuture[int](ctx)
		task := asyncio.Go(ctx, func(ctx context.Context) error {
			_, err := asyncio.WaitFor[int](ctx, sec(1), f)
			return err
		}, asyncio.EagerStart())
		f.SetResult(7)
		task.Cancel(io2)
		expectError(t, task.Wait(ctx), io2)
		if v, err := f.Result(); v != 7 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
	})
	inLoop(t, "WF-013 what is shielded survives", func(t *testing.T, ctx context.Context) {
		inner := number(ctx, 3)
		for _, d := range []time.Duration{0, sec(1)} {
			_, err := asyncio.WaitFor[int](ctx, d, shielded{inner})
			expectError(t, err, asyncio.ErrTimeout)
		}
		if v, err := asyncio.WaitFor[int](ctx, asyncio.Forever, shielded{inner}); v != 3 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
	})
	t.Run("an error of a task that was cancelled for it, and nobody saw", func(t *testing.T) {
		var r reports
		asynciotest.Run(t, func(ctx context.Context) error {
			inner := asyncio.CreateTask(ctx, func(ctx context.Context) (int, error) {
				hour(ctx)
				asyncio.Sleep(asyncio.CleanupContext(ctx), sec(1))
				return 0, io2
			}, asyncio.EagerStart())
			task := asyncio.Go(ctx, func(ctx context.Context) error {
				_, err := asyncio.WaitFor[int](ctx, 0, inner)
				return err
			})
			settle(ctx)
			task.Cancel(nil)
			expectError(t, task.Wait(ctx), asyncio.ErrCancelled)
			return hour(ctx)
		}, r.handler())
		r.expect(t, io2)
	})
}
