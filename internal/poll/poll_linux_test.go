// This file tests the Poller with pipes and socket pairs.

package poll_test

import (
	"errors"
	"math"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/poll"
	"github.com/goasyncio/asyncio/internal/seam"
)

// newPoller returns a Poller that the end of the test closes. It checks then
// that no descriptor is left open.
func newPoller(t testing.TB) *poll.Poller {
	t.Helper()
	before := descriptors(t)
	p, err := poll.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("Close: %v", err)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors are open, %d before the test", after, before)
		}
	})
	return p
}

// descriptors counts the open descriptors.
func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// pair returns two connected non-blocking sockets that the end of the test
// closes.
func pair(t testing.TB) (int, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

// A recorder collects reports. If act is set, it is called for each of them.
type recorder struct {
	got []seam.Readiness
	act func()
}

func (r *recorder) Ready(what seam.Readiness) {
	r.got = append(r.got, what)
	if r.act != nil {
		r.act()
	}
}

// take returns what was reported since the last call, put together.
func (r *recorder) take() seam.Readiness {
	var all seam.Readiness
	for _, what := range r.got {
		all |= what
	}
	r.got = nil
	return all
}

func register(t testing.TB, p *poll.Poller, fd int, h seam.Handler) *poll.Desc {
	t.Helper()
	d := new(poll.Desc)
	if err := p.Register(d, fd, h); err != nil {
		t.Fatal(err)
	}
	return d
}

// wait calls p.Wait(d) and checks what it reports.
func wait(t testing.TB, p *poll.Poller, d time.Duration, want bool) {
	t.Helper()
	if got, err := p.Wait(d); got != want || err != nil {
		t.Fatalf("Wait(%v) = %v, %v; want %v", d, got, err, want)
	}
}

func mustWrite(t testing.TB, fd int, s string) {
	t.Helper()
	if _, err := unix.Write(fd, []byte(s)); err != nil {
		t.Fatal(err)
	}
}

func TestReports(t *testing.T) {
	const (
		r = seam.Readable
		w = seam.Writable
		h = seam.HungUp
		f = seam.Failed
	)
	pipe := func(t *testing.T) (int, int) {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fds[0]) })
		return fds[0], fds[1]
	}
	t.Run("stream", func(t *testing.T) {
		p := newPoller(t)
		a, b := pair(t)
		var rec recorder
		register(t, p, a, &rec)
		wait(t, p, -1, true)
		if got := rec.take(); got != w {
			t.Errorf("new socket: %v, want writable", got)
		}
		wait(t, p, 0, false) // edge-triggered
		mustWrite(t, b, "x")
		wait(t, p, -1, true)
		if got := rec.take(); got&r == 0 || got&(h|f) != 0 {
			t.Errorf("after a byte: %v, want readable", got)
		}
		wait(t, p, 0, false)
		mustWrite(t, b, "y") // more bytes are news
		wait(t, p, -1, true)
		if got := rec.take(); got&r == 0 {
			t.Errorf("after another byte: %v, want readable", got)
		}
		unix.Shutdown(b, unix.SHUT_WR)
		wait(t, p, -1, true)
		if got := rec.take(); got&r == 0 || got&h == 0 || got&f != 0 {
			t.Errorf("after the peer's shutdown: %v, want readable, hung up", got)
		}
	})
	t.Run("hang-up", func(t *testing.T) {
		p := newPoller(t)
		reader, writer := pipe(t)
		var rec recorder
		register(t, p, reader, &rec)
		wait(t, p, 0, false)
		unix.Close(writer)
		wait(t, p, -1, true)
		if got := rec.take(); got != r|w|h {
			t.Errorf("%v, want readable, writable, hung up", got)
		}
	})
	t.Run("error", func(t *testing.T) {
		p := newPoller(t)
		reader, writer := pipe(t)
		defer unix.Close(writer)
		var rec recorder
		register(t, p, writer, &rec)
		wait(t, p, -1, true)
		rec.take()
		// Replacing the reader closes it, and leaves Cleanup a number to close.
		null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(null)
		if err := unix.Dup3(null, reader, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		wait(t, p, -1, true)
		if got := rec.take(); got != r|w|f {
			t.Errorf("pipe without a reader: %v, want readable, writable, failed", got)
		}
	})
}

func TestRegisterErrors(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	var rec, other recorder
	d := register(t, p, a, &rec)
	if err := p.Register(new(poll.Desc), a, &other); !errors.Is(err, unix.EEXIST) {
		t.Errorf("second Register: %v, want EEXIST", err)
	}
	if err := p.Register(new(poll.Desc), -1, &other); !errors.Is(err, unix.EBADF) {
		t.Errorf("Register(-1): %v, want EBADF", err)
	}
	// Failures leave no trace: the slot that they tried is used next.
	register(t, p, b, &other)
	wait(t, p, -1, true)
	if rec.take() != seam.Writable || other.take() != seam.Writable {
		t.Error("not both sockets were reported writable")
	}
	if err := d.Unregister(); err != nil {
		t.Error(err)
	}
	if err := d.Unregister(); err != nil {
		t.Errorf("second Unregister: %v", err)
	}
	mustWrite(t, b, "x")
	wait(t, p, 0, false)
}

// TestStaleEvents has a batch of two events, of which the handler of the
// first, whichever that is, unregisters the other.
func TestStaleEvents(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	var recs [2]recorder
	descs := [2]*poll.Desc{register(t, p, a, &recs[0]), register(t, p, b, &recs[1])}
	for i := range recs {
		recs[i].act = func() { descs[1-i].Unregister() }
	}
	wait(t, p, -1, true)
	if n := len(recs[0].got) + len(recs[1].got); n != 1 {
		t.Errorf("%d reports, want 1", n)
	}
}

// TestReusedDescriptor is the same, but the number of the other descriptor and
// its slot are in use again, for something that is not ready.
func TestReusedDescriptor(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	fds := [2]int{a, b}
	var recs [2]recorder
	var fresh recorder
	descs := [2]*poll.Desc{register(t, p, a, &recs[0]), register(t, p, b, &recs[1])}
	for i := range recs {
		recs[i].act = func() {
			recs[i].act = nil // the peer's end is a second report
			descs[1-i].Unregister()
			if err := unix.Dup3(pipe[0], fds[1-i], unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			register(t, p, fds[1-i], &fresh)
		}
	}
	wait(t, p, -1, true)
	if n := len(recs[0].got) + len(recs[1].got); n != 1 {
		t.Errorf("%d reports, want 1", n)
	}
	if len(fresh.got) != 0 {
		t.Errorf("the new user got %v, meant for the old one", fresh.got)
	}
	mustWrite(t, pipe[1], "x")
	wait(t, p, -1, true)
	if got := fresh.take(); got != seam.Readable {
		t.Errorf("the new user got %v, want readable", got)
	}
}

// TestManyEvents has more events than the first batch holds.
func TestManyEvents(t *testing.T) {
	p := newPoller(t)
	const pairs = 200
	var recs [2 * pairs]recorder
	for i := range pairs {
		a, b := pair(t)
		register(t, p, a, &recs[2*i])
		register(t, p, b, &recs[2*i+1])
	}
	for range 2 {
		wait(t, p, 0, true) // 128, then 256: the batch has grown
	}
	total := 0
	for i := range recs {
		total += len(recs[i].got)
	}
	if total != 128+256 {
		t.Errorf("%d events came with the first two calls, want 128+256", total)
	}
	wait(t, p, 0, true)
	wait(t, p, 0, false)
	for i := range recs {
		if len(recs[i].got) != 1 {
			t.Fatalf("socket %d got %v, want one report", i, recs[i].got)
		}
	}
}

func TestWakeBeforeWait(t *testing.T) {
	p := newPoller(t)
	for range 3 {
		p.Wake()
	}
	wait(t, p, -1, true)
	wait(t, p, 0, false)
	p.Wake()
	wait(t, p, 0, true)
	if n := p.Wakes(); n != 0 {
		t.Errorf("waking what did not sleep took %d writes", n)
	}
}

func TestWakeDuringWait(t *testing.T) {
	p := newPoller(t)
	for range 100 {
		go p.Wake()
		wait(t, p, -1, true)
	}
	// Each Wait returned at most once for each Wake, whether the Wake came
	// early or late.
	if n := p.Wakes(); n > 100 {
		t.Errorf("100 wakes took %d writes", n)
	}
}

func TestWakesCoalesce(t *testing.T) {
	p := newPoller(t)
	const wakers = 16
	var start, done sync.WaitGroup
	start.Add(1)
	for range wakers {
		done.Go(func() {
			start.Wait()
			for range 100 {
				p.Wake()
			}
		})
	}
	start.Done()
	wakes := 0
	finished := make(chan struct{})
	go func() { done.Wait(); close(finished); p.Wake() }()
	for ; ; wakes++ {
		if _, err := p.Wait(-1); err != nil {
			t.Fatal(err)
		}
		select {
		case <-finished:
		default:
			continue
		}
		break
	}
	// A Wait that nobody has woken can still be ended by a late write, so
	// writes are at most as many as returns.
	if n := p.Wakes(); n > uint64(wakes)+1 {
		t.Errorf("%d writes for %d returns of Wait", n, wakes)
	}
}

func TestWakeTooOften(t *testing.T) {
	t.Run("SEL-003 a wake-up descriptor that is full wakes all the same", func(t *testing.T) {
		p := newPoller(t)
		if err := p.FillWakes(); err != nil {
			t.Fatal(err)
		}
		wait(t, p, 0, false)
		for range 3 {
			p.FallAsleep()
			p.Wake() // the write would block
			p.Wake()
			wait(t, p, -1, true)
		}
		p.Wakes()
		go p.Wake()
		wait(t, p, -1, true)
	})
}

// TestWakeSeesWhatCameBefore: what was stored before Wake is there after Wait.
func TestWakeSeesWhatCameBefore(t *testing.T) {
	p := newPoller(t)
	var mailbox [1000]int
	go func() {
		for i := range mailbox {
			mailbox[i] = i + 1
		}
		p.Wake()
	}()
	wait(t, p, -1, true)
	if mailbox[999] != 1000 {
		t.Error("the mailbox is empty")
	}
}

func TestClose(t *testing.T) {
	p := newPoller(t)
	a, b := pair(t)
	var rec recorder
	d := register(t, p, a, &rec)
	var wakers sync.WaitGroup
	for range 4 {
		wakers.Go(func() {
			for range 1000 {
				p.Wake()
			}
		})
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	wakers.Wait()
	// Whoever gets the numbers next is not written to.
	var pipes [4][2]int
	for i := range pipes {
		if err := unix.Pipe2(pipes[i][:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pipes[i][0])
		defer unix.Close(pipes[i][1])
	}
	for range 3 { // as if a Wait had been blocked, too
		p.Wake()
		p.FallAsleep()
	}
	for _, pipe := range pipes {
		if n, err := unix.Read(pipe[0], make([]byte, 8)); err != unix.EAGAIN {
			t.Errorf("Wake after Close wrote to a stranger: %d, %v", n, err)
		}
	}
	if err := d.Unregister(); err != nil {
		t.Errorf("Unregister after Close: %v", err)
	}
	if err := p.Register(new(poll.Desc), b, &rec); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Register after Close: %v, want net.ErrClosed", err)
	}
	if _, err := p.Wait(0); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Wait after Close: %v, want net.ErrClosed", err)
	}
	if err := p.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v, want net.ErrClosed", err)
	}
}

func TestTimeoutsAreNeverEarly(t *testing.T) {
	// Other threads preempt this one by signals, each of which ends a wait. Here the
	// collector does not, only the runtime's monitor now and then.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for _, kernel := range []string{"nanoseconds", "milliseconds"} {
		t.Run(kernel, func(t *testing.T) {
			p := newPoller(t)
			if kernel == "milliseconds" {
				p.ForgetPwait2()
			}
			for _, d := range []time.Duration{1, time.Microsecond, 999 * time.Microsecond, time.Millisecond, 1001 * time.Microsecond, 7 * time.Millisecond} {
				early := 0
				for range 10 {
					start := time.Now()
					woken, err := p.Wait(d)
					took := time.Since(start)
					if woken || err != nil {
						t.Fatalf("Wait(%v) = %v, %v; want a timeout", d, woken, err)
					}
					if took < d {
						early++
					}
				}
				if early > 2 { // a signal may still end one of them
					t.Errorf("%d of 10 calls of Wait(%v) took less", early, d)
				}
			}
		})
	}
}

func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]int{
		-1:                   -1,
		math.MinInt64:        -1,
		0:                    0,
		1:                    1,
		time.Millisecond:     1,
		time.Millisecond + 1: 2,
		math.MaxInt64:        math.MaxInt32,
	} {
		if got := poll.Milliseconds(d); got != want {
			t.Errorf("milliseconds(%d) = %d, want %d", d, got, want)
		}
	}
}

// TestSignal ends waits by signals, which are no errors.
func TestSignal(t *testing.T) {
	p := newPoller(t)
	var rec recorder
	a, b := pair(t)
	register(t, p, a, &rec)
	wait(t, p, -1, true)
	rec.take()
	thread := make(chan int, 1)
	stop := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() {
		tid := <-thread
		for range 200 {
			// The runtime uses SIGURG to preempt, so it ignores spurious ones.
			unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
			time.Sleep(10 * time.Microsecond) // gives it time to block
		}
		mustWrite(t, b, "x")
		close(stop)
	})
	defer sender.Wait()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread <- unix.Gettid()
	for rec.take()&seam.Readable == 0 {
		if _, err := p.Wait(-1); err != nil {
			t.Fatal(err)
		}
	}
	<-stop
}

// TestNoDescriptors has no room for the second, or the first, descriptor of a
// Poller.
func TestNoDescriptors(t *testing.T) {
	newPoller(t) // counts descriptors
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	next, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(next)
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	for room, call := range []string{"epoll_create1", "eventfd2"} {
		limit := old
		limit.Cur = uint64(next + room)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		_, err := poll.New()
		var se *os.SyscallError
		if !errors.Is(err, unix.EMFILE) || !errors.As(err, &se) || se.Syscall != call {
			t.Errorf("New with room for %d descriptors: %v, want EMFILE of %s", room, err, call)
		}
	}
}
