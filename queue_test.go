// Tests of Queue, LifoQueue and PriorityQueue.

package asyncio_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

func ExampleQueue() {
	// A producer that is faster than its consumer has to wait for it.
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		orders := asyncio.NewQueue[string](1)
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			g.Go(func(ctx context.Context) error {
				defer orders.Shutdown(false)
				for _, dish := range []string{"soup", "fish", "cake"} {
					if err := orders.Put(ctx, dish); err != nil {
						return err
					}
					fmt.Println("ordered", dish)
				}
				return nil
			})
			g.Go(func(ctx context.Context) error {
				for dish, err := range orders.Items(ctx) {
					if err != nil {
						return err
					}
					fmt.Println("served ", dish)
				}
				return nil
			})
			return nil
		})
	})
	// Output:
	// ordered soup
	// served  soup
	// ordered fish
	// served  fish
	// ordered cake
	// served  cake
}

func ExampleQueue_Join() {
	asyncio.Run(context.Background(), func(ctx context.Context) error {
		loop := asyncio.CurrentTask(ctx).Loop()
		var jobs asyncio.Queue[time.Duration]
		for range 2 {
			asyncio.Go(ctx, func(ctx context.Context) error {
				for d, err := range jobs.Items(ctx) {
					if err != nil {
						return err
					}
					asyncio.Sleep(ctx, d)
					jobs.TaskDone()
				}
				return nil
			})
		}
		for i := range 4 {
			jobs.PutNowait(time.Duration(i) * time.Second)
		}
		err := jobs.Join(ctx)
		fmt.Println("all done after", loop.Time())
		jobs.Shutdown(false)
		return err
	}, asynciotest.WithVirtualClock())
	// Output:
	// all done after 4s
}

func ExamplePriorityQueue() {
	type patient struct {
		name    string
		urgency int
	}
	room := asyncio.NewPriorityQueue(0, func(a, b patient) bool { return a.urgency > b.urgency })
	room.PutNowait(patient{"cough", 1})
	room.PutNowait(patient{"broken leg", 5})
	room.PutNowait(patient{"cold", 1})
	for !room.Empty() {
		next, _ := room.GetNowait()
		fmt.Println(next.name)
	}
	// Output:
	// broken leg
	// cough
	// cold
}

func ExampleLifoQueue() {
	var undo asyncio.LifoQueue[string]
	undo.PutNowait("type a word")
	undo.PutNowait("delete a line")
	last, _ := undo.GetNowait()
	fmt.Println(last)
	// Output:
	// delete a line
}

// anyQueue is what the three kinds of queues have in common.
type anyQueue interface {
	Put(ctx context.Context, item int) error
	PutNowait(item int) error
	Get(ctx context.Context) (int, error)
	GetNowait() (int, error)
	Items(ctx context.Context) iter.Seq2[int, error]
	Len() int
	Maxsize() int
	Empty() bool
	Full() bool
	TaskDone()
	Join(ctx context.Context) error
	Shutdown(immediate bool)
	fmt.Stringer
}

// everyQueue runs a test with each kind of queue.
func everyQueue(t *testing.T, maxsize int, test func(t *testing.T, ctx context.Context, q anyQueue)) {
	for _, q := range []anyQueue{
		asyncio.NewQueue[int](maxsize),
		asyncio.NewLifoQueue[int](maxsize),
		asyncio.NewPriorityQueue(maxsize, cmp.Less[int]),
	} {
		t.Run(fmt.Sprintf("%T", q), func(t *testing.T) {
			asynciotest.Run(t, func(ctx context.Context) error {
				test(t, ctx, q)
				return nil
			})
		})
	}
}

// get is a coroutine that says what it gets.
func (j *journal) get(q anyQueue) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		item, err := q.Get(ctx)
		if err == nil {
			j.say("%d", item)
		}
		return err
	}
}

func put(q anyQueue, item int) func(ctx context.Context) error {
	return func(ctx context.Context) error { return q.Put(ctx, item) }
}

// drain takes everything out of q.
func drain(q anyQueue) (items []int) {
	for !q.Empty() {
		item, _ := q.GetNowait()
		items = append(items, item)
	}
	return items
}

func expectItems(t *testing.T, got []int, want ...int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestQueueBasics(t *testing.T) {
	t.Run("Q-001 empty and full, without bound", func(t *testing.T) {
		for _, maxsize := range []int{0, -1} {
			everyQueue(t, maxsize, func(t *testing.T, ctx context.Context, q anyQueue) {
				if !q.Empty() || q.Full() || q.Len() != 0 || q.Maxsize() != maxsize {
					t.Errorf("new queue: %v", q)
				}
				for i := range 1000 {
					expectError(t, q.PutNowait(i), nil)
				}
				if q.Empty() || q.Full() || q.Len() != 1000 {
					t.Errorf("queue with 1000 items: %v", q)
				}
			})
		}
	})
	t.Run("Q-002 Q-009 Q-010 the bound is enforced", func(t *testing.T) {
		everyQueue(t, 2, func(t *testing.T, ctx context.Context, q anyQueue) {
			_, err := q.GetNowait()
			expectError(t, err, asyncio.ErrQueueEmpty)
			withoutSuspending(t, ctx, func() {
				expectError(t, q.Put(ctx, 1), nil)
				expectError(t, q.Put(ctx, 2), nil)
			})
			if q.Empty() || !q.Full() || q.Len() != 2 || q.Maxsize() != 2 {
				t.Errorf("full queue: %v", q)
			}
			expectError(t, q.PutNowait(3), asyncio.ErrQueueFull)
			expectError(t, asyncio.Timeout(ctx, time.Second, put(q, 3)), asyncio.ErrTimeout)
			if q.Len() != 2 {
				t.Errorf("queue: %v", q)
			}
		})
	})
	t.Run("Q-003 Q-004 Q-005 order", func(t *testing.T) {
		fill := func(q anyQueue) anyQueue {
			for _, item := range []int{3, 1, 4, 1, 5} {
				q.PutNowait(item)
			}
			return q
		}
		expectItems(t, drain(fill(new(asyncio.Queue[int]))), 3, 1, 4, 1, 5)
		expectItems(t, drain(fill(new(asyncio.LifoQueue[int]))), 5, 1, 4, 1, 3)
		expectItems(t, drain(fill(asyncio.NewPriorityQueue(0, cmp.Less[int]))), 1, 1, 3, 4, 5)
	})
	t.Run("equal items of a priority queue leave it in order", func(t *testing.T) {
		q := asyncio.NewPriorityQueue(0, func(a, b int) bool { return a/10 < b/10 })
		for _, item := range []int{20, 11, 21, 12, 22, 13, 14, 23} {
			q.PutNowait(item)
		}
		expectItems(t, drain(q), 11, 12, 13, 14, 20, 21, 22, 23)
	})
	t.Run("a priority queue without an order", func(t *testing.T) {
		expectUsage(t, asyncio.ErrBadArgument, func() { asyncio.NewPriorityQueue[int](0, nil) })
		var zero asyncio.PriorityQueue[int]
		expectError(t, zero.PutNowait(1), asyncio.ErrBadArgument)
		_, err := zero.GetNowait()
		expectError(t, err, asyncio.ErrQueueEmpty)
	})
	t.Run("Q-006 the string form", func(t *testing.T) {
		asynciotest.Run(t, func(ctx context.Context) error {
			q := asyncio.NewQueue[int](1)
			expectText(t, q, "<Queue maxsize=1 items=0>")
			getter := asyncio.Go(ctx, func(ctx context.Context) error {
				_, err := q.Get(ctx)
				return err
			})
			asyncio.Yield(ctx)
			expectText(t, q, "<Queue maxsize=1 items=0 getters=1>")
			getter.Cancel(nil)
			asyncio.Yield(ctx)
			var j journal
			q.PutNowait(1)
			j.spawn(ctx, "a", put(q, 2))
			asyncio.Yield(ctx)
			expectText(t, q, "<Queue maxsize=1 items=1 putters=1 unfinished=1>")
			q.Shutdown(false)
			settle(ctx)
			expectText(t, q, "<Queue maxsize=1 items=1 unfinished=1 shut down>")
			return nil
		})
	})
	t.Run("storage grows and shrinks around the items", func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 4))
		var q asyncio.Queue[int]
		var model []int
		for i := range 20000 {
			if r.IntN(2000) < 1000+500*(1-2*(i/5000%2)) {
				q.PutNowait(i)
				model = append(model, i)
			} else if len(model) > 0 {
				item, err := q.GetNowait()
				if err != nil || item != model[0] {
					t.Fatalf("got %v, %v, want %v", item, err, model[0])
				}
				model = model[1:]
			}
		}
		expectItems(t, drain(&q), model...)
	})
}

func TestQueueGetAndPut(t *testing.T) {
	t.Run("Q-007 get suspends until put", func(t *testing.T) {
		everyQueue(t, 0, func(t *testing.T, ctx context.Context, q anyQueue) {
			var j journal
			j.spawn(ctx, "a", j.get(q))
			settle(ctx)
			j.expect(t, "")
			q.PutNowait(1)
			asyncio.Yield(ctx)
			j.expect(t, "1 a")
		})
	})
	t.Run("Q-008 put suspends until get", func(t *testing.T) {
		everyQueue(t, 1, func(t *testing.T, ctx context.Context, q anyQueue) {
			var j journal
			q.PutNowait(1)
			j.spawn(ctx, "a", put(q, 2))
			settle(ctx)
			j.expect(t, "")
			q.GetNowait()
			asyncio.Yield(ctx)
			j.expect(t, "a")
			expectItems(t, drain(q), 2)
		})
	})
	t.Run("Q-011 Q-014 a cancelled getter does not swallow an item", func(t *testing.T) {
		everyQueue(t, 0, func(t *testing.T, ctx context.Context, q anyQueue) {
			var j journal
			a := j.spawn(ctx, "a", j.get(q))
			j.spawn(ctx, "b", j.get(q))
			asyncio.Yield(ctx)
			a.Cancel(nil)
			q.PutNowait(1)
			settle(ctx)
			j.expect(t, "a!cancelled 1 b")
			expectText(t, q, "<Queue maxsize=0 items=0 unfinished=1>")
		})
	})
	t.Run("Q-012 a cancelled putter does not block the next", func(t *testing.T) {
		everyQueue(t, 1, func(t *testing.T, ctx context.Context, q anyQueue) {
			var j journal
			q.PutNowait(1)
			a := j.spawn(ctx, "a", put(q, 2))
			j.spawn(ctx, "b", put(q, 3))
			asyncio.Yield(ctx)
			a.Cancel(nil)
			settle(ctx)
			j.expect(t, "a!cancelled")
			q.GetNowait()
			settle(ctx)
			j.expect(t, "b")
			expectItems(t, drain(q), 3)
		})
	})
	t.Run("Q-013 a getter that is woken and cancelled in one pass passes that on", func(t *testing.T) {
		everyQueue(t, 0, func(t *testing.T, ctx context.Context, q anyQueue) {
			var j journal
			a := j.spawn(ctx, "a", j.get(q))
			b := j.spawn(ctx, "b", j.get(q))
			j.spawn(ctx, "c", j.get(q))
			asyncio.Yield(ctx)
			q.PutNowait(1)
			a.Cancel(nil)
			b.Cancel(nil)
			settle(ctx)
			j.expect(t, "a!cancelled b!cancelled 1 c")
		})
	})
	t.Run("Q-013 a putter that is woken and cancelled in one pass passes that on", func(t *testing.T) {
		everyQueue(t, 1, func(t *testing.T, ctx context.Context, q anyQueue) {
			var j journal
			q.PutNowait(1)
			a := j.spawn(ctx, "a", put(q, 2))
			j.spawn(ctx, "b", put(q, 3))
			asyncio.Yield(ctx)
			q.GetNowait()
			a.Cancel(nil)
			settle(ctx)
			j.expect(t, "a!cancelled b")
			expectItems(t, drain(q), 3)
		})
	})
	t.Run("OBS-012 an item is not reserved for the getter that is woken", func(t *testing.T) {
		everyQueue(t, 0, func(t *testing.T, ctx context.Context, q anyQueue) {
			var j journal
			j.spawn(ctx, "a", j.get(q))
			j.spawn(ctx, "b", j.get(q))
			asyncio.Yield(ctx)
			q.PutNowait(1)
			withoutSuspending(t, ctx, func() { expectError(t, j.get(q)(ctx), nil) })
			settle(ctx)
			j.expect(t, "1") // a waits again, behind b
			q.PutNowait(2)
			settle(ctx)
			q.PutNowait(3)
			settle(ctx)
			j.expect(t, "2 b 3 a")
		})
	})
	t.Run("Q-015 producers and consumers with room for one", func(t *testing.T) {
		everyQueue(t, 1, func(t *testing.T, ctx context.Context, q anyQueue) {
			sum := 0
			err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				for i := range 3 {
					g.Go(func(ctx context.Context) error {
						for k := range 10 {
							if err := q.Put(ctx, 10*i+k); err != nil {
								return err
							}
						}
						return nil
					})
					g.Go(func(ctx context.Context) error {
						for range 10 {
							item, err := q.Get(ctx)
							if err != nil {
								return err
							}
							sum += item
						}
						return nil
					})
				}
				return nil
			})
			if err != nil || sum != 29*30/2 || !q.Empty() {
				t.Errorf("error %v, sum %d, queue %v", err, sum, q)
			}
		})
	})
	t.Run("Q-016 many putters are all served", func(t *testing.T) {
		everyQueue(t, 2, func(t *testing.T, ctx context.Context, q anyQueue) {
			var j journal
			for i := range 6 {
				j.spawn(ctx, fmt.Sprint("p", i), put(q, i))
			}
			settle(ctx)
			j.expect(t, "p0 p1")
			got := drain(q)
			settle(ctx)
			j.expect(t, "p2 p3")
			got = append(got, drain(q)...)
			settle(ctx)
			j.expect(t, "p4 p5")
			got = append(got, drain(q)...)
			slices.Sort(got)
			expectItems(t, got, 0, 1, 2, 3, 4, 5)
		})
	})
	t.Run("OBS-001 no suspension without need, even in a cancelled scope", func(t *testing.T) {
		everyQueue(t, 1, func(t *testing.T, ctx context.Context, q anyQueue) {
			asyncio.CurrentTask(ctx).Cancel(nil)
			withoutSuspending(t, ctx, func() {
				expectError(t, q.Put(ctx, 1), nil)
				_, err := q.Get(ctx)
				expectError(t, err, nil)
			})
			for range 3 {
				_, err := q.Get(ctx)
				expectError(t, err, asyncio.ErrCancelled)
			}
			q.PutNowait(1)
			for range 3 {
				expectError(t, q.Put(ctx, 2), asyncio.ErrCancelled)
			}
			expectItems(t, drain(q), 1)
		})
	})
	t.Run("use on another loop or goroutine is an error", func(t *testing.T) {
		q := asyncio.NewQueue[int](1)
		get := func(ctx context.Context) error {
			_, err := q.Get(ctx)
			return err
		}
		onTwoLoops(t, get, func(ctx context.Context) {
			expectError(t, get(ctx), asyncio.ErrWrongLoop)
			expectError(t, q.Put(ctx, 1), asyncio.ErrWrongLoop)
			expectError(t, q.Join(ctx), asyncio.ErrWrongLoop)
			expectUsage(t, asyncio.ErrWrongLoop, func() { q.PutNowait(1) })
			onAnotherGoroutine(func() {
				for _, use := range []func(){
					func() { q.PutNowait(1) }, func() { q.GetNowait() }, func() { q.Len() }, func() { q.Empty() },
					func() { q.Full() }, q.TaskDone, func() { q.Shutdown(true) },
				} {
					expectUsage(t, asyncio.ErrWrongGoroutine, use)
				}
			})
		})
	})
}

func TestQueueJoin(t *testing.T) {
	t.Run("Q-017 TaskDone more often than put is an error", func(t *testing.T) {
		everyQueue(t, 0, func(t *testing.T, ctx context.Context, q anyQueue) {
			expectUsage(t, asyncio.ErrTooOften, q.TaskDone)
			q.PutNowait(1)
			q.TaskDone()
			expectUsage(t, asyncio.ErrTooOften, q.TaskDone)
		})
	})
	t.Run("Q-018 join returns when every item is done", func(t *testing.T) {
		everyQueue(t, 0, func(t *testing.T, ctx context.Context, q anyQueue) {
			var j journal
			withoutSuspending(t, ctx, func() { expectError(t, q.Join(ctx), nil) })
			q.PutNowait(1)
			q.PutNowait(2)
			j.spawn(ctx, "a", q.Join)
			b := j.spawn(ctx, "b", q.Join)
			settle(ctx)
			drain(q)
			q.TaskDone()
			settle(ctx)
			j.expect(t, "")
			b.Cancel(nil)
			q.TaskDone()
			settle(ctx)
			j.expect(t, "b!cancelled a")
		})
	})
}

func TestQueueShutdown(t *testing.T) {
	t.Run("Q-019 Q-020 Q-021 an empty queue", func(t *testing.T) {
		for _, immediate := range []bool{false, true} {
			everyQueue(t, 0, func(t *testing.T, ctx context.Context, q anyQueue) {
				var j journal
				j.spawn(ctx, "a", j.get(q))
				j.spawn(ctx, "b", j.get(q))
				settle(ctx)
				q.Shutdown(immediate)
				q.Shutdown(immediate)
				settle(ctx)
				j.expect(t, "a!shut-down b!shut-down")
				withoutSuspending(t, ctx, func() {
					expectError(t, q.Join(ctx), nil)
					expectError(t, q.Put(ctx, 1), asyncio.ErrQueueShutDown)
					expectError(t, q.PutNowait(1), asyncio.ErrQueueShutDown)
					_, err := q.Get(ctx)
					expectError(t, err, asyncio.ErrQueueShutDown)
					_, err = q.GetNowait()
					expectError(t, err, asyncio.ErrQueueShutDown)
				})
			})
		}
	})
	t.Run("Q-022 Q-023 Q-024 Q-025 a queue with items", func(t *testing.T) {
		everyQueue(t, 1, func(t *testing.T, ctx context.Context, q anyQueue) {
			var j journal
			q.PutNowait(1)
			j.spawn(ctx, "a", put(q, 2))
			j.spawn(ctx, "b", put(q, 2))
			j.spawn(ctx, "join", q.Join)
			settle(ctx)
			q.Shutdown(false)
			expectError(t, q.PutNowait(3), asyncio.ErrQueueShutDown)
			expectError(t, q.Put(ctx, 3), asyncio.ErrQueueShutDown)
			settle(ctx)
			j.expect(t, "a!shut-down b!shut-down")
			expectError(t, j.get(q)(ctx), nil)
			expectError(t, j.get(q)(ctx), asyncio.ErrQueueShutDown)
			j.expect(t, "1")
			q.TaskDone()
			settle(ctx)
			j.expect(t, "join")
		})
	})
	t.Run("Q-026 Q-027 Q-028 at once, with items", func(t *testing.T) {
		everyQueue(t, 0, func(t *testing.T, ctx context.Context, q anyQueue) {
			var j journal
			for i := range 3 {
				q.PutNowait(i)
			}
			j.spawn(ctx, "join", q.Join)
			q.Get(ctx)
			q.Shutdown(true)
			if !q.Empty() {
				t.Errorf("items are left: %v", q)
			}
			expectError(t, j.get(q)(ctx), asyncio.ErrQueueShutDown)
			settle(ctx)
			j.expect(t, "") // one item is in progress
			q.TaskDone()
			settle(ctx)
			j.expect(t, "join")
			expectUsage(t, asyncio.ErrTooOften, q.TaskDone)
		})
	})
	t.Run("at once, with items that were called done before they were got", func(t *testing.T) {
		everyQueue(t, 0, func(t *testing.T, ctx context.Context, q anyQueue) {
			q.PutNowait(1)
			q.PutNowait(2)
			q.TaskDone()
			q.Shutdown(true)
			expectUsage(t, asyncio.ErrTooOften, q.TaskDone)
			withoutSuspending(t, ctx, func() { expectError(t, q.Join(ctx), nil) })
		})
	})
	t.Run("a putter that was woken finds the queue shut down", func(t *testing.T) {
		everyQueue(t, 1, func(t *testing.T, ctx context.Context, q anyQueue) {
			var j journal
			q.PutNowait(1)
			j.spawn(ctx, "a", put(q, 2))
			asyncio.Yield(ctx)
			q.GetNowait()
			q.Shutdown(false)
			settle(ctx)
			j.expect(t, "a!shut-down")
			if !q.Empty() {
				t.Errorf("queue: %v", q)
			}
		})
	})
}

func TestQueueItems(t *testing.T) {
	t.Run("they end when the queue is shut down and empty", func(t *testing.T) {
		everyQueue(t, 0, func(t *testing.T, ctx context.Context, q anyQueue) {
			var j journal
			j.spawn(ctx, "a", func(ctx context.Context) error {
				for item, err := range q.Items(ctx) {
					if err != nil {
						return err
					}
					j.say("%d", item)
				}
				return nil
			})
			settle(ctx)
			q.PutNowait(1)
			settle(ctx)
			q.PutNowait(2)
			q.Shutdown(false)
			settle(ctx)
			j.expect(t, "1 2 a")
		})
	})
	t.Run("a cancellation is the last that they yield", func(t *testing.T) {
		everyQueue(t, 0, func(t *testing.T, ctx context.Context, q anyQueue) {
			var j journal
			a := asyncio.Go(ctx, func(ctx context.Context) error {
				for item, err := range q.Items(ctx) {
					j.say("%d,%t", item, errors.Is(err, asyncio.ErrCancelled))
				}
				return nil
			})
			q.PutNowait(1)
			settle(ctx)
			a.Cancel(nil)
			settle(ctx)
			j.expect(t, "1,false 0,true")
		})
	})
	t.Run("the loop may be left", func(t *testing.T) {
		everyQueue(t, 0, func(t *testing.T, ctx context.Context, q anyQueue) {
			q.PutNowait(1)
			q.PutNowait(2)
			for range q.Items(ctx) {
				break
			}
			if q.Len() != 1 {
				t.Errorf("queue: %v", q)
			}
		})
	})
}

// queueModel is a queue as a plain slice.
type queueModel struct {
	items []int
	kind  int
}

func (m *queueModel) put(item int) { m.items = append(m.items, item) }

// take removes the item that has to be the next.
func (m *queueModel) take() int {
	i := 0
	switch m.kind {
	case 1:
		i = len(m.items) - 1
	case 2:
		for k, item := range m.items {
			if item/100 < m.items[i]/100 {
				i = k
			}
		}
	}
	item := m.items[i]
	m.items = slices.Delete(m.items, i, i+1)
	return item
}

// Random tasks put, get and are cancelled at random: the items come in the order
// of the model, each once, and when all is quiet nobody waits without a reason.
func TestQueueRandom(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		asynciotest.Run(t, func(ctx context.Context) error {
			r := rand.New(rand.NewPCG(seed, 5))
			maxsize := r.IntN(4)
			m := &queueModel{kind: int(seed % 3)}
			q := []anyQueue{
				asyncio.NewQueue[int](maxsize),
				asyncio.NewLifoQueue[int](maxsize),
				asyncio.NewPriorityQueue(maxsize, func(a, b int) bool { return a/100 < b/100 }),
			}[m.kind]
			getting, putting, served := 0, 0, 0
			next := 0
			item := func() int {
				next++
				return 100*r.IntN(3) + next%100
			}
			got := func(item int) {
				served++
				if len(m.items) == 0 {
					t.Fatalf("got %d from an empty queue", item)
				}
				if want := m.take(); item != want {
					t.Fatalf("got %d, want %d", item, want)
				}
			}
			allowed := func(err error) {
				if !errors.Is(err, asyncio.ErrCancelled) && !errors.Is(err, asyncio.ErrQueueShutDown) {
					t.Error(err)
				}
			}
			getter := func(ctx context.Context) error {
				for range 1 + r.IntN(2) {
					getting++
					item, err := q.Get(ctx)
					getting--
					if err != nil {
						allowed(err)
						return nil
					}
					got(item)
				}
				return nil
			}
			putter := func(ctx context.Context) error {
				for range 1 + r.IntN(2) {
					putting++
					item := item()
					err := q.Put(ctx, item)
					putting--
					if err != nil {
						allowed(err)
						return nil
					}
					m.put(item)
				}
				return nil
			}
			quiet := func() {
				settle(ctx)
				if getting > 0 && len(m.items) > 0 || putting > 0 && (maxsize == 0 || len(m.items) < maxsize) || q.Len() != len(m.items) {
					t.Fatalf("%d get and %d put; items %v of %d, queue %v", getting, putting, m.items, maxsize, q)
				}
			}
			var tasks []asyncio.AnyTask
			for range 200 {
				switch r.IntN(10) {
				case 0, 1, 2:
					tasks = append(tasks, asyncio.Go(ctx, getter))
				case 3, 4, 5:
					tasks = append(tasks, asyncio.Go(ctx, putter))
				case 6:
					if item := item(); q.PutNowait(item) == nil {
						m.put(item)
					}
				case 7:
					if item, err := q.GetNowait(); err == nil {
						got(item)
					}
				case 8:
					asyncio.Yield(ctx)
				case 9:
					quiet()
				}
				for range r.IntN(3) {
					if n := len(tasks); n > 0 {
						tasks[max(0, n-1-r.IntN(6))].Cancel(nil)
					}
				}
			}
			quiet()
			q.Shutdown(false)
			settle(ctx)
			if putting > 0 || getting > 0 && len(m.items) > 0 || served == 0 {
				t.Errorf("after the shut-down %d get and %d put; %v", getting, putting, q)
			}
			for !q.Empty() {
				item, _ := q.GetNowait()
				got(item)
			}
			return nil
		})
	})
}
