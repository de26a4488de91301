// Tests of coroutines: how they suspend, how they end, and that nothing is left.

package coro_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"weak"

	"github.com/goasyncio/asyncio/internal/coro"
)

// body makes a coro.Body of a function that is told its coroutine. It suspends before
// it calls that, so that several can be made at once.
type body struct {
	c *stack
	f func(c *stack)
}

func (b *body) RunCoroutine() *coro.Coroutine {
	b.c.Suspend()
	b.f(b.c)
	return nil
}

// A stack is a coroutine with its pool.
type stack struct {
	*coro.Coroutine
	p *coro.Pool
}

func (s *stack) Resume() coro.Status {
	s.p.Resume(s.Coroutine)
	return s.Status()
}

func (s *stack) Suspend() { s.p.Suspend() }

func (s *stack) put() { s.p.Put(s.Coroutine) }

// get starts a coroutine of p that runs f once it is resumed.
func get(p *coro.Pool, f func(c *stack)) *stack {
	b := &body{f: f}
	b.c = &stack{p.Get(b), p}
	if s := b.c.Resume(); s != coro.Suspended {
		panic(s)
	}
	return b.c
}

// run runs test twice, without and with a thread lock. Each time it checks that
// all goroutines are gone once the pool is closed.
func run(t *testing.T, test func(t *testing.T, p *coro.Pool)) {
	checked := func(t *testing.T) {
		baseline := runtime.NumGoroutine()
		p := new(coro.Pool)
		test(t, p)
		p.Close()
		if n := p.Idle(); n != 0 {
			t.Errorf("Idle after Close = %d, want 0", n)
		}
		waitGoroutines(t, baseline)
	}
	t.Run("unlocked", checked)
	t.Run("locked", func(t *testing.T) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		checked(t)
	})
}

// waitGoroutines lets others run until there are want goroutines.
func waitGoroutines(t *testing.T, want int) {
	t.Helper()
	n := 0
	for range 100_000 {
		if n = runtime.NumGoroutine(); n <= want {
			return
		}
		runtime.Gosched()
	}
	all := make([]byte, 1<<16)
	t.Errorf("%d goroutines, want %d:\n%s", n, want, all[:runtime.Stack(all, true)])
}

// resume resumes c and checks the status.
func resume(t *testing.T, c *stack, want coro.Status) {
	t.Helper()
	if got := c.Resume(); got != want {
		v, stack := c.Panic()
		t.Fatalf("Resume = %v, want %v; Panic = %v\n%s", got, want, v, stack)
	}
}

// mustPanic checks that f panics with a text that contains want.
func mustPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
			t.Errorf("panic = %q, want one with %q", got, want)
		}
	}()
	f()
}

func TestSuspendAndFinish(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		var log []string
		c := get(p, func(c *stack) {
			for i := range 3 {
				log = append(log, fmt.Sprint("in ", i))
				c.Suspend()
			}
			log = append(log, "end")
		})
		for i := range 3 {
			resume(t, c, coro.Suspended)
			log = append(log, fmt.Sprint("out ", i))
		}
		resume(t, c, coro.Finished)
		want := []string{"in 0", "out 0", "in 1", "out 1", "in 2", "out 2", "end"}
		if !slices.Equal(log, want) {
			t.Errorf("order = %v, want %v", log, want)
		}
		c.put()
	})
}

func TestSuspendDeepInTheStack(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		const depth = 10_000
		var sum int
		c := get(p, func(c *stack) { sum = down(c, depth) })
		for range depth {
			resume(t, c, coro.Suspended)
		}
		resume(t, c, coro.Finished)
		if want := depth * (depth + 1) / 2; sum != want {
			t.Errorf("sum = %d, want %d", sum, want)
		}
		c.put()
	})
}

// down calls itself n deep and suspends at each level on the way.
func down(c *stack, n int) int {
	if n == 0 {
		return 0
	}
	c.Suspend()
	return n + down(c, n-1)
}

func TestNestedResume(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		var log []string
		var inner *stack
		outer := get(p, func(outer *stack) {
			inner = get(p, func(inner *stack) {
				log = append(log, "inner 1")
				inner.Suspend()
				log = append(log, "inner 2")
			})
			if s := inner.Resume(); s != coro.Suspended {
				t.Errorf("nested Resume = %v, want suspended", s)
			}
			log = append(log, "outer 1")
			outer.Suspend()
			log = append(log, "outer 2")
		})
		// A coroutine may be started inside another one and go on outside it.
		resume(t, outer, coro.Suspended)
		resume(t, inner, coro.Finished)
		resume(t, outer, coro.Finished)
		want := []string{"inner 1", "outer 1", "inner 2", "outer 2"}
		if !slices.Equal(log, want) {
			t.Errorf("order = %v, want %v", log, want)
		}
		inner.put()
		outer.put()
	})
}

// TestNestedDeep starts each coroutine from within the one before, and has
// each finish, be put and be reused from there too.
func TestNestedDeep(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		ended := 0
		var start func(n int)
		start = func(n int) {
			c := get(p, func(c *stack) {
				if n > 1 {
					start(n - 1)
					start(n / 2)
				}
				ended++
			})
			if s := c.Resume(); s != coro.Finished {
				t.Errorf("Resume at depth %d = %v, want finished", n, s)
			}
			c.put()
		}
		start(16)
		if got := p.Idle(); got != 16 {
			t.Errorf("Idle = %d, want 16, as many as were running at one time", got)
		}
		if ended < 17 {
			t.Errorf("%d bodies ended, want more than that", ended)
		}
	})
}

// TestNestedEndings ends a coroutine in each way inside another one, which must
// notice nothing but the status.
func TestNestedEndings(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		outer := get(p, func(outer *stack) {
			for _, test := range []struct {
				f    func(*stack)
				want coro.Status
			}{
				{func(*stack) {}, coro.Finished},
				{func(*stack) { panic("inner") }, coro.Panicked},
				{func(*stack) { runtime.Goexit() }, coro.Exited},
			} {
				inner := get(p, test.f)
				if got := inner.Resume(); got != test.want {
					t.Errorf("nested Resume = %v, want %v", got, test.want)
				}
				inner.put()
				outer.Suspend()
			}
		})
		for range 3 {
			resume(t, outer, coro.Suspended)
		}
		resume(t, outer, coro.Finished)
		outer.put()
	})
}

func explode(v any) { panic(v) }

func TestPanic(t *testing.T) {
	cause := errors.New("boom")
	run(t, func(t *testing.T, p *coro.Pool) {
		c := get(p, func(c *stack) {
			c.Suspend()
			explode(cause)
		})
		resume(t, c, coro.Suspended)
		if v, stack := c.Panic(); v != nil || stack != nil {
			t.Errorf("Panic before the panic = %v, %q", v, stack)
		}
		resume(t, c, coro.Panicked)
		v, stack := c.Panic()
		if v != cause {
			t.Errorf("panic value = %v, want %v", v, cause)
		}
		if !bytes.Contains(stack, []byte("coro_test.explode(")) {
			t.Errorf("stack does not name the function that panicked:\n%s", stack)
		}
		c.put()
		if v, stack := c.Panic(); v != nil || stack != nil {
			t.Errorf("Panic after Put = %v, %q", v, stack)
		}

		if n := p.Idle(); n != 0 {
			t.Errorf("Idle = %d, want 0: what panicked cannot be kept", n)
		}
	})
}

func TestPanicOfTheRuntime(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		c := get(p, func(*stack) {
			var m map[string]int
			m["x"] = 1
		})
		resume(t, c, coro.Panicked)
		if v, _ := c.Panic(); !isRuntimeError(v) {
			t.Errorf("panic value = %v, want a runtime.Error", v)
		}
		c.put()
	})
}

func isRuntimeError(v any) bool { _, ok := v.(runtime.Error); return ok }

func testPanicNil(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		c := get(p, func(*stack) { explode(nil) })
		resume(t, c, coro.Panicked)
		v, stack := c.Panic()
		if _, ok := v.(*runtime.PanicNilError); !ok {
			t.Errorf("panic value = %v, want a *runtime.PanicNilError", v)
		}
		if !bytes.Contains(stack, []byte("coro_test.explode(")) {
			t.Errorf("stack does not name the function that panicked:\n%s", stack)
		}
		c.put()
	})
}

func TestPanicNil(t *testing.T) { testPanicNil(t) }

// TestPanicNilUnseen has recover return nil for panic(nil), as before Go 1.21.
func TestPanicNilUnseen(t *testing.T) {
	t.Setenv("GODEBUG", "panicnil=1")
	testPanicNil(t)
}

func TestPanicAndSuspendWhileUnwinding(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		var log []string
		c := get(p, func(c *stack) {
			defer func() {
				c.Suspend()
				log = append(log, "outer")
			}()
			defer func() {
				c.Suspend()
				log = append(log, "inner")
				panic("second")
			}()
			panic("first")
		})
		resume(t, c, coro.Suspended)
		resume(t, c, coro.Suspended)
		resume(t, c, coro.Panicked)
		if want := []string{"inner", "outer"}; !slices.Equal(log, want) {
			t.Errorf("deferred functions that ran = %v, want %v", log, want)
		}
		if v, _ := c.Panic(); v != "second" {
			t.Errorf("panic value = %v, want second", v)
		}
		c.put()
	})
}

func TestPanicRecoveredInTheBody(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		c := get(p, func(c *stack) {
			func() {
				defer func() {
					c.Suspend()
					recover()
				}()
				panic("mine")
			}()
			c.Suspend()
		})
		resume(t, c, coro.Suspended)
		resume(t, c, coro.Suspended)
		resume(t, c, coro.Finished)
		if v, stack := c.Panic(); v != nil || stack != nil {
			t.Errorf("Panic = %v, %q, want nothing", v, stack)
		}
		c.put()
	})
}

func goexit() { runtime.Goexit() }

func TestGoexit(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		deferred := false
		c := get(p, func(c *stack) {
			defer func() { deferred = true }()
			c.Suspend()
			goexit()
		})
		resume(t, c, coro.Suspended)
		resume(t, c, coro.Exited)
		if !deferred {
			t.Error("the deferred function did not run")
		}
		if v, stack := c.Panic(); v != nil || stack != nil {
			t.Errorf("Panic = %v, %q, want nothing", v, stack)
		}
		c.put()
		if n := p.Idle(); n != 0 {
			t.Errorf("Idle = %d, want 0: what exited cannot be kept", n)
		}
	})
}

func TestGoexitAtOnce(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		for range 100 {
			c := get(p, func(*stack) { runtime.Goexit() })
			resume(t, c, coro.Exited)
			c.put()
		}
	})
}

func TestGoexitInAReusedCoroutine(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		for i, f := range []func(*stack){
			func(*stack) {},
			func(*stack) { panic("boom") },
			func(*stack) { runtime.Goexit() },
		} {
			c := get(p, f)
			resume(t, c, []coro.Status{coro.Finished, coro.Panicked, coro.Exited}[i])
			c.put()
		}
	})
}

// TestGoexitAndSuspendWhileUnwinding has deferred functions, at several depths,
// suspend while Goexit unwinds the stack.
func TestGoexitAndSuspendWhileUnwinding(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		const depth = 50
		ran := 0
		var deeper func(c *stack, n int)
		deeper = func(c *stack, n int) {
			defer func() {
				c.Suspend()
				ran++
			}()
			if n == 1 {
				runtime.Goexit()
			}
			deeper(c, n-1)
		}
		c := get(p, func(c *stack) { deeper(c, depth) })
		for range depth {
			resume(t, c, coro.Suspended)
		}
		resume(t, c, coro.Exited)
		if ran != depth {
			t.Errorf("%d deferred functions ran, want %d", ran, depth)
		}
		c.put()
	})
}

// TestGoexitMixedWithPanic goes through the ways in which a panic and a Goexit
// can meet on one stack.
func TestGoexitMixedWithPanic(t *testing.T) {
	for _, test := range []struct {
		name  string
		f     func(*stack)
		want  coro.Status
		value any
	}{
		{
			name: "goexit during a panic, which it calls off",
			f: func(*stack) {
				defer runtime.Goexit()
				panic("lost")
			},
			want: coro.Exited,
		},
		{
			name: "panic during goexit",
			f: func(*stack) {
				defer func() { panic("late") }()
				runtime.Goexit()
			},
			want:  coro.Panicked,
			value: "late",
		},
		{
			name: "panic during goexit, recovered",
			f: func(*stack) {
				defer func() { recover() }()
				defer func() { panic("late") }()
				runtime.Goexit()
			},
			want: coro.Exited,
		},
		{
			name: "goexit after a recovered panic",
			f: func(*stack) {
				func() {
					defer func() { recover() }()
					panic("early")
				}()
				runtime.Goexit()
			},
			want: coro.Exited,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, func(t *testing.T, p *coro.Pool) {
				c := get(p, test.f)
				resume(t, c, test.want)
				if v, _ := c.Panic(); fmt.Sprint(v) != fmt.Sprint(test.value) {
					t.Errorf("panic value = %v, want %v", v, test.value)
				}
				c.put()
				if test.want == coro.Exited && p.Idle() != 0 {
					t.Error("a coroutine that has exited was kept")
				}
			})
		})
	}
}

// TestFailNow uses the real thing: a test that fails inside a coroutine.
func TestFailNow(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		inner := new(testing.T)
		c := get(p, func(*stack) { inner.FailNow() })
		resume(t, c, coro.Exited)
		if !inner.Failed() {
			t.Error("the inner test did not fail")
		}
		c.put()
	})
}

func TestMisuse(t *testing.T) {
	run(t, func(t *testing.T, p *coro.Pool) {
		c := get(p, func(c *stack) {
			mustPanic(t, "is running", func() { c.Resume() })
			c.Suspend()
		})
		resume(t, c, coro.Suspended)
		mustPanic(t, "has not ended", func() { c.put() })
		mustPanic(t, "outside", func() { c.Suspend() })
		resume(t, c, coro.Finished)
		mustPanic(t, "has ended", func() { c.Resume() })
		c.put()
		mustPanic(t, "put before", func() { c.put() })
		mustPanic(t, "has ended", func() { c.Resume() })
	})
}

func TestStatusString(t *testing.T) {
	for s, want := range map[coro.Status]string{
		coro.Suspended: "suspended",
		coro.Finished:  "finished",
		coro.Panicked:  "panicked",
		coro.Exited:    "exited",
		100:            "invalid",
	} {
		if got := s.String(); got != want {
			t.Errorf("Status(%d).String() = %q, want %q", s, got, want)
		}
	}
}

// TestThreadLock states what the runtime does if a coroutine is resumed under
// another thread lock than it was made under. Whoever finds this test failing
// may loosen what the package asks of its users.
func TestThreadLock(t *testing.T) {
	const env = "CORO_TEST_THREAD_LOCK"
	if os.Getenv(env) != "" {
		c := get(new(coro.Pool), func(*stack) {})
		runtime.LockOSThread()
		defer func() { recover() }()
		c.Resume()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestThreadLock$")
	cmd.Env = append(os.Environ(), env+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("fatal error: coro: OS thread locking must match")) {
		t.Errorf("resuming under another thread lock: %v, want a fatal error; output:\n%s", err, out)
	}
}

// TestNothingKept checks that a coroutine that was put keeps neither its last
// body nor its panic value alive, be it in the pool or ended.
func TestNothingKept(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(ballast *[1024]byte)
		want coro.Status
	}{
		{"finished", func(*[1024]byte) {}, coro.Finished},
		{"panicked", func(b *[1024]byte) { panic(b) }, coro.Panicked},
		{"exited", func(*[1024]byte) { runtime.Goexit() }, coro.Exited},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, func(t *testing.T, p *coro.Pool) {
				ballast := new([1024]byte)
				gone := weak.Make(ballast)
				c := get(p, func(c *stack) {
					c.Suspend()
					test.end(ballast)
				})
				resume(t, c, coro.Suspended)
				resume(t, c, test.want)
				c.put()
				for range 10 {
					runtime.GC()
				}
				if gone.Value() != nil {
					t.Error("the body or its panic value is still alive")
				}
				runtime.KeepAlive(p)
				runtime.KeepAlive(c)
			})
		})
	}
}
