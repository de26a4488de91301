// This file tests the watching of descriptors of others.

package poll_test

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/poll"
	"github.com/goasyncio/asyncio/internal/seam"
)

func watch(t testing.TB, p *poll.Poller, fd int, rec *recorder, r seam.Readiness) seam.Watch {
	t.Helper()
	w, err := p.Watch(fd, rec)
	if err != nil {
		t.Fatal(err)
	}
	set(t, w, r)
	return w
}

func set(t testing.TB, w seam.Watch, r seam.Readiness) {
	t.Helper()
	if err := w.Set(r); err != nil {
		t.Fatal(err)
	}
}

// polled checks what the next poll, which does not wait, reports.
func polled(t testing.TB, p *poll.Poller, rec *recorder, want seam.Readiness) {
	t.Helper()
	if _, err := p.Wait(0); err != nil {
		t.Fatal(err)
	}
	if got := rec.take(); got != want {
		t.Errorf("reported %b, want %b", got, want)
	}
}

func TestWatch(t *testing.T) {
	const r, w = seam.Readable, seam.Writable
	t.Run("it reports as long as it is so", func(t *testing.T) {
		p := newPoller(t)
		a, b := pair(t)
		var rec recorder
		wa := watch(t, p, a, &rec, r)
		polled(t, p, &rec, 0)
		mustWrite(t, b, "xy")
		for range 3 {
			polled(t, p, &rec, r)
		}
		unix.Read(a, make([]byte, 1))
		polled(t, p, &rec, r)
		unix.Read(a, make([]byte, 1))
		polled(t, p, &rec, 0)
		set(t, wa, r|w)
		for range 2 {
			polled(t, p, &rec, w)
		}
		mustWrite(t, b, "z")
		polled(t, p, &rec, r|w)
		set(t, wa, w)
		polled(t, p, &rec, w)
		if err := wa.Close(); err != nil {
			t.Error(err)
		}
		polled(t, p, &rec, 0)
		if err := wa.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
		if err := wa.Set(r); err != net.ErrClosed {
			t.Errorf("Set after Close: %v", err)
		}
	})
	t.Run("a hang-up counts as what was asked for", func(t *testing.T) {
		p := newPoller(t)
		for _, want := range []seam.Readiness{r, w, r | w} {
			a, b := pair(t)
			var rec recorder
			wa := watch(t, p, a, &rec, want)
			p.Wait(0)
			rec.take()
			unix.Shutdown(b, unix.SHUT_RDWR)
			for range 2 {
				polled(t, p, &rec, want)
			}
			wa.Close()
		}
	})
	t.Run("nobody hears of a hang-up that was not asked for, and nothing spins", func(t *testing.T) {
		p := newPoller(t)
		a, b := pair(t)
		var rec recorder
		wa := watch(t, p, a, &rec, r)
		set(t, wa, 0)
		unix.Shutdown(b, unix.SHUT_RDWR)
		polls := 0
		for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); polls++ {
			if _, err := p.Wait(max(0, time.Until(end))); err != nil {
				t.Fatal(err)
			}
		}
		if polls > 5 || len(rec.got) > 0 {
			t.Errorf("%d polls in 20 ms, reported %v", polls, rec.got)
		}
		set(t, wa, r)
		polled(t, p, &rec, r)
	})
	t.Run("from inside a report", func(t *testing.T) {
		p := newPoller(t)
		a, b := pair(t)
		mustWrite(t, a, "x")
		mustWrite(t, b, "x")
		var first, second recorder
		wa, wb := watch(t, p, a, &first, r), watch(t, p, b, &second, r)
		first.act = func() { wb.Close() }
		second.act = func() { wa.Close() }
		for range 3 {
			p.Wait(0)
		}
		if n, m := len(first.got), len(second.got); n+m != 3 || n*m != 0 {
			t.Errorf("%d and %d reports: one ends the other at once", n, m)
		}
	})
}

func TestWatchRefuses(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	var rec recorder
	wa := watch(t, p, a, &rec, seam.Readable)
	register(t, p, b, &rec)
	for _, fd := range []int{a, b} {
		if _, err := p.Watch(fd, &rec); err != seam.ErrWatched {
			t.Errorf("Watch of a registered descriptor: %v", err)
		}
	}
	if err := p.Register(new(poll.Desc), a, &rec); !errors.Is(err, unix.EEXIST) {
		t.Errorf("Register of a watched descriptor: %v", err)
	}
	mustWrite(t, b, "x")
	p.Wait(0)
	if rec.take()&seam.Readable == 0 {
		t.Error("the refused ones have ended the reports")
	}
	f, err := os.Open("watch_linux_test.go")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := p.Watch(int(f.Fd()), &rec); !errors.Is(err, unix.EPERM) {
		t.Errorf("Watch of a file: %v", err)
	}
	for _, fd := range []int{-1, 1 << 20} {
		if _, err := p.Watch(fd, &rec); !errors.Is(err, unix.EBADF) {
			t.Errorf("Watch of descriptor %d: %v", fd, err)
		}
	}
	p.Close()
	if _, err := p.Watch(a, &rec); err != net.ErrClosed {
		t.Errorf("Watch after Close: %v", err)
	}
	if err := wa.Set(seam.Writable); err != net.ErrClosed {
		t.Errorf("Set after Close: %v", err)
	}
	if err := wa.Close(); err != nil {
		t.Errorf("Close after Close: %v", err)
	}
}

// TestWatchOfClosedDescriptor breaks the contract: what was closed without its
// Watch must harm nobody who gets its number.
func TestWatchOfClosedDescriptor(t *testing.T) {
	p := newPoller(t)
	var a, b int
	var old, fresh recorder
	watched := func(t *testing.T, r seam.Readiness) seam.Watch {
		a, b = pair(t)
		old, fresh = recorder{}, recorder{}
		return watch(t, p, a, &old, r)
	}
	reuse := func(t *testing.T) {
		t.Helper()
		if err := unix.Dup3(b, a, unix.O_CLOEXEC); err != nil { // closes a
			t.Fatal(err)
		}
	}
	t.Run("the number is not registered", func(t *testing.T) {
		w := watched(t, seam.Readable)
		reuse(t)
		set(t, w, seam.Writable)
		polled(t, p, &old, seam.Writable)
		w.Close()
	})
	for name, again := range map[string]func() (interface{ Close() error }, error){
		"the number is registered again": func() (interface{ Close() error }, error) {
			d := new(poll.Desc)
			err := p.Register(d, a, &fresh)
			return closer(d.Unregister), err
		},
		"the number is watched again": func() (interface{ Close() error }, error) {
			w, err := p.Watch(a, &fresh)
			if err == nil {
				err = w.Set(seam.Writable)
			}
			return w, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := watched(t, seam.Writable)
			reuse(t)
			d, err := again()
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Set(seam.Readable); err != net.ErrClosed {
				t.Errorf("Set of the outdated Watch: %v", err)
			}
			if err := w.Close(); err != nil {
				t.Errorf("Close of the outdated Watch: %v", err)
			}
			p.Wait(0)
			if fresh.take()&seam.Writable == 0 || len(old.got) > 0 {
				t.Errorf("the new one has no report, or the old one: %v", old.got)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

type closer func() error

func (c closer) Close() error { return c() }
