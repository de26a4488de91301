// The simulated network: one clock, one queue of events, and who runs next.

package asynciotest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/coro"
	"github.com/goasyncio/asyncio/internal/thread"
	"github.com/goasyncio/asyncio/internal/timer"
)

// A Network is a simulated network of hosts, on which programs run unchanged: their
// connections, datagrams, names, clocks and disks are the simulation's. Everything
// happens in virtual time, on one thread, one thing after the other, and everything
// that is left to chance is drawn from the seed: the same seed gives the same run.
//
//	n := asynciotest.NewNetwork(seed)
//	server := n.Host("server")
//	server.Go(serve)
//	n.Run(t, func(ctx context.Context) error {
//		_, w, err := asyncio.OpenConnection(ctx, "tcp", "server:80", nil)
//		...
//	})
//
// The main of Run is a program on a host of its own, "outside". It is the test: it
// sleeps in virtual time, cuts links, crashes hosts, and waits for programs.
//
// A program takes no virtual time to run: the clock moves when all programs wait. It
// stands still while a function of ToThread runs, for up to a second of real time;
// after that it goes on without it, and the run can no longer be repeated.
//
// Unless something else is said, the methods of a Network, of its hosts, programs and
// disks may be called before and after Run, and meanwhile from the code that runs on the
// network. On another goroutine, one of ToThread for instance, they panic with an
// *asyncio.UsageError while the simulation runs, or return it if they return errors. Hosts
// that are nil, or of another network, are a mistake that methods panic about.
type Network struct {
	seed     uint64
	rand     *rand.Rand
	now      atomic.Int64 // a time.Duration; any goroutine may read it
	events   timer.Heap[event]
	ready    fifo[*process]
	running  bool
	over     bool
	exited   bool // a program has called runtime.Goexit
	coros    coro.Pool
	hosts    []*Host
	named    map[string]*Host
	at       map[netip.Addr]*Host
	outside  *Host
	links    [][]*link // from a host to another one, by their numbers; nil if there is none yet
	standard Link
	buffer   int       // the size of the buffers of a socket
	packets  []*packet // free ones
	programs []*Program
	acting   *process // whose turn it is; nil while events happen
	busy     int      // programs that have a function running on another goroutine
	hasty    bool     // the simulation has lost its patience with those,

	waitedInVain bool // and has done so at some time

	log      fifo[LogEntry]
	logLimit int
	hash     uint64
	steps    uint64 // events and turns of programs

	sim        *Sim        // nil if it is a part of none
	candidates []candidate // for the next turn

	limits  limits
	passes  uint64   // of loops, within one turn: those that never wait
	endless error    // why the run is over; nil if it is within its limits
	spinner *Program // whose turn was ended because of that

	kick chan struct{} // somebody has called Wake

	kicked atomic.Bool // there are kicks

	thread atomic.Int64 // on which the simulation runs; 0 while it does not, or where threads have no numbers

	mu    sync.Mutex
	kicks []*process // whose Wake was called

	testMu sync.Mutex
	test   testing.TB // of Run, which takes what the loops log; nil without it, and after it
}

// An event is something that happens at a time of the network's clock.
type event interface{ happen() }

// A NetworkOption is an option of NewNetwork.
type NetworkOption interface{ applyNetwork(*Network) }

type networkOption func(*Network)

func (o networkOption) applyNetwork(n *Network) { o(n) }

// WithLink sets what the links between hosts are like for which SetLink says nothing
// else. The default is a latency from 0.5 to 1.5 ms, and no fault.
func WithLink(l Link) NetworkOption {
	l = l.checked()
	return networkOption(func(n *Network) { n.standard = l })
}

// WithSocketBuffers sets how many bytes a connection holds at each end that were
// received and not read, and as many that were written and have not arrived: 64 KiB
// by default. A peer that does not read stops the sender when both are full. It panics
// if size is not positive.
func WithSocketBuffers(size int) NetworkOption {
	if size <= 0 {
		panic(fmt.Sprintf("asynciotest: buffers of %d bytes", size))
	}
	return networkOption(func(n *Network) { n.buffer = size })
}

// WithLogLimit sets how many entries the log of the network keeps, the latest: 10,000
// by default, none if limit is 0. It panics if limit is negative.
func WithLogLimit(limit int) NetworkOption {
	if limit < 0 {
		panic(fmt.Sprintf("asynciotest: WithLogLimit(%d): the limit must not be negative", limit))
	}
	return networkOption(func(n *Network) { n.logLimit = limit })
}

// NewNetwork returns a network without hosts, at time zero.
func NewNetwork(seed uint64, opts ...NetworkOption) *Network {
	n := &Network{
		seed:     seed,
		rand:     rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)),
		named:    make(map[string]*Host),
		at:       make(map[netip.Addr]*Host),
		standard: Link{Latency: Uniform(500*time.Microsecond, 1500*time.Microsecond)},
		buffer:   64 << 10,
		logLimit: 10_000,
		limits:   ofOne,
		hash:     14695981039346656037,
		kick:     make(chan struct{}, 1),
	}
	for _, o := range opts {
		if o == nil {
			panic("asynciotest: NewNetwork: an option is nil")
		}
		o.applyNetwork(n)
	}
	n.outside = n.Host("outside")
	return n
}

// Seed returns the seed of the network.
func (n *Network) Seed() uint64 { return n.seed }

// Now returns the time of the network, which began at zero. It is the Time of the
// loops of all programs, too. Any goroutine may call it.
func (n *Network) Now() time.Duration { return time.Duration(n.now.Load()) }

// Events returns how many events there were: packets that have arrived, timers, turns
// of programs.
func (n *Network) Events() uint64 {
	n.here("Network.Events")
	return n.steps
}

// Run runs main as a program on the host "outside", and with it all programs that are
// started on the hosts. When main returns, the power is cut: all hosts stop as in a
// crash. Run ends the test with Fatal if there is an error: of main, or of a program
// whose end nobody has waited for. When nothing can ever happen any more, that is an
// asyncio.ErrDeadlock which names who waits for what. A panic of a program or of main is
// an error, too, with its stack. Fatal is told the seed, and so is the log of t if t has
// failed otherwise meanwhile.
//
// What the loops of main and of programs log goes to the log of t, with the host, the
// program and the virtual time, unless their options have a logger (asyncio.WithLogger).
// That is where errors appear which nobody has retrieved, of tasks that nobody awaits for
// instance, when a program ends or its host loses its power. A panic among them fails t.
//
// A network can be run once. Run must be called from the goroutine of the test. main and
// the mains of programs may use t.FailNow, which ends the test; in another task it fails
// that task.
func (n *Network) Run(t testing.TB, main func(ctx context.Context) error, opts ...asyncio.RunOption) {
	t.Helper()
	n.logTo(t)
	defer n.logTo(nil)
	told := n.sim != nil || t.Failed()
	defer func() {
		if !told && t.Failed() {
			t.Logf("asynciotest: the network had the seed %d", n.seed)
		}
	}()
	err := n.Simulate(main, opts...)
	switch {
	case err == nil:
	case n.sim != nil: // whose report tells the seed
		t.Fatal(err)
	default:
		told = true
		t.Fatal(fmt.Errorf("seed %d: %w", n.seed, err))
	}
}

// Simulate is Run without a test: it returns the error. A panic of main is an error like
// that of any program, see Program.Err. If the main of any program calls runtime.Goexit,
// as FailNow does, the simulation ends there and then, and the goroutine of Simulate
// exits. It panics if main or an option is nil.
func (n *Network) Simulate(main func(ctx context.Context) error, opts ...asyncio.RunOption) error {
	if err := n.elsewhere("Network.Simulate"); err != nil {
		return err
	}
	if n.over || n.running {
		return errors.New("asynciotest: a network can be run once; make a new one")
	}
	checkProgram("Network.Run", main, opts)
	if n.sim != nil {
		if err := n.sim.begin(); err != nil {
			return err
		}
		if n.test == nil {
			n.logTo(n.sim.t)
			defer n.logTo(nil)
		}
	}
	n.running = true
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if t := n.trial(); t != nil {
		t.begins(n.Now)
		defer t.ends()
	}
	n.thread.Store(int64(thread.ID()))
	defer n.thread.Store(0)
	p := n.outside.start("main", main, opts)
	complete := false
	defer func() {
		if !complete { // a panic in a hook of the test: leave nothing behind
			n.finish()
		}
	}()
	err := n.loop(p)
	complete = true
	n.finish()
	if n.exited {
		runtime.Goexit()
	}
	return errors.Join(err, n.failures(p))
}

// elsewhere says that op is called on a goroutine that is none of the simulation's, while
// that runs. All of those are on one thread, which no other one gets.
func (n *Network) elsewhere(op string) error {
	if home := n.thread.Load(); home == 0 || home == int64(thread.ID()) {
		return nil
	}
	return &asyncio.UsageError{Op: op, Cause: asyncio.ErrWrongGoroutine, Text: "the simulation runs on another one; call this in main or in a program, by CallSoonThreadsafe for instance"}
}

// here panics if op is called on a goroutine that is none of the simulation's.
func (n *Network) here(op string) {
	if err := n.elsewhere(op); err != nil {
		panic(err)
	}
}

// loop lets things happen until p has ended.
func (n *Network) loop(p *Program) error {
	for !p.done && !n.exited {
		if n.endless != nil {
			return n.endAll(n.endless)
		}
		n.takeKicks()
		if n.ready.len() > 0 {
			if n.mayGoOn(n.Now()) == nil {
				n.advance()
			}
			continue
		}
		if n.busy > 0 && n.awaitWorkers() {
			continue
		}
		next := n.events.First()
		if next != nil {
			if n.mayGoOn(next.When) == nil {
				n.happen(next)
			}
			continue
		}
		if n.awaitsOutside() {
			<-n.kick
			continue
		}
		return n.endAll(fmt.Errorf("%w: nothing can happen any more at %v", asyncio.ErrDeadlock, n.Now()))
	}
	if p.err == ErrCrashed {
		return fmt.Errorf("%v: %w", p, p.err)
	}
	return p.err
}

// mayGoOn returns why the run must not go on until then, and notes it.
func (n *Network) mayGoOn(then time.Duration) error {
	steps := int(n.steps + n.passes)
	if n.sim != nil {
		steps = n.sim.trial.steps
	}
	if n.endless == nil && n.limits.exceed(steps, then) {
		n.endless = n.limits.exceeded(steps, then)
		if t := n.trial(); t != nil {
			n.endless = t.overran(n.endless)
		}
	}
	return n.endless
}

func (n *Network) happen(t *timer.Timer[event]) {
	n.events.Remove(t)
	n.now.Store(int64(max(t.When, n.Now())))
	n.steps++
	t.Owner.happen()
}

// How long the simulation stands still for functions of ToThread: at first; when that was
// in vain, before each further event; and when something has come in the end, for that is
// how it goes with a function that itself waits for the network.
const (
	patience      = time.Second
	shortPatience = 5 * time.Millisecond
	lessPatience  = 50 * time.Millisecond
)

// awaitWorkers waits, in real time, for the functions that run on other goroutines. It
// reports whether one has ended, or something else has come from outside.
func (n *Network) awaitWorkers() bool {
	d := patience
	switch {
	case n.hasty:
		d = shortPatience
	case n.waitedInVain:
		d = lessPatience
	}
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-n.kick:
		n.hasty = false
		return true
	case <-late.C:
		n.hasty, n.waitedInVain = true, true
		return false
	}
}

// takeKicks gives a turn to the programs whose Wake was called.
func (n *Network) takeKicks() {
	if !n.kicked.Load() {
		return
	}
	select {
	case <-n.kick:
	default:
	}
	n.mu.Lock()
	kicks := n.kicks
	n.kicks = nil
	n.kicked.Store(false)
	n.mu.Unlock()
	for _, p := range kicks {
		p.wake()
	}
}

// awaitsOutside reports whether a program waits for something that the simulation
// knows nothing of.
func (n *Network) awaitsOutside() bool {
	for _, p := range n.programs {
		if q := p.current; q != nil && (q.external || q.workers > 0) {
			return true
		}
	}
	return false
}

// endAll ends all programs, and returns why, with the tasks of each.
func (n *Network) endAll(why error) error {
	for n.ready.len() > 0 {
		n.ready.pop().queued = false
	}
	if t := n.trial(); t != nil {
		how := deadlocked
		if n.endless != nil {
			how = tooLong
		}
		t.remark(n.Now(), how)
	}
	var text strings.Builder
	for _, p := range n.programs {
		did := ""
		switch q := p.current; {
		case q != nil:
			if n.endless != nil {
				did = ", " + plural(q.turns, "turn")
			}
			q.over = true
			q.turn()
		case p == n.spinner:
			did = ", which never waits"
		default:
			continue
		}
		fmt.Fprintf(&text, "\n%s%s", p, did)
		if _, tasks, ok := strings.Cut(fmt.Sprint(p.err), "\n"); ok {
			text.WriteString(":\n" + tasks)
		}
		p.err, p.asked = why, true
	}
	err := fmt.Errorf("%w%s", why, text.String())
	if t := n.trial(); t != nil && n.endless != nil {
		t.endless = err
	}
	return err
}

// finish cuts the power.
func (n *Network) finish() {
	n.running, n.over = false, true
	for _, h := range n.hosts {
		h.halt()
	}
	for n.ready.len() > 0 { // with what their deferred functions start
		n.ready.pop().turn()
	}
	for n.events.Len() > 0 {
		n.events.Remove(n.events.First())
	}
	n.coros.Close()
}

// failures joins the errors of the programs, other than main, that nobody has asked for.
func (n *Network) failures(main *Program) error {
	var errs []error
	for _, p := range n.programs {
		switch {
		case p == main || !p.done || p.err == nil || p.asked || p.err == ErrCrashed || n.faulty(p.err):
		case p.named:
			errs = append(errs, p.err)
		default:
			errs = append(errs, fmt.Errorf("%v: %w", p, p.err))
		}
	}
	return errors.Join(errs...)
}

// after sets t for a time from now on.
func (n *Network) after(d time.Duration, t *timer.Timer[event], e event) {
	t.When, t.Owner = later(n.Now(), d), e
	n.events.Add(t)
}

// later adds d to now without overflowing.
func later(now, d time.Duration) time.Duration {
	if t := now + max(d, 0); t >= now {
		return t
	}
	return 1<<63 - 1
}

// note takes an event into the hash.
func (n *Network) note(kind LogKind, from, to *Host, size int) {
	if n.sim != nil {
		n.remark(kind, from, to, size)
	}
	n.mix(kind, from, to, size)
}

func (n *Network) mix(kind LogKind, from, to *Host, size int) {
	f, t := uint64(1), uint64(1)
	if from != nil {
		f = uint64(from.id)
	}
	if to != nil {
		t = uint64(to.id)
	}
	h := n.hash
	for _, v := range [...]uint64{uint64(kind)<<32 | f<<16 | t, uint64(size), uint64(n.Now())} {
		h = (h ^ v) * 1099511628211
		h ^= h >> 29
	}
	n.hash = h
}

// Hash returns a number that sums up what has happened so far: the kind, the hosts,
// the size and the time of every packet and fault, and each turn of a program. Two
// runs that went the same way have the same hash. The content of packets does not
// count, so that TLS, which is encrypted with true randomness, makes no difference.
func (n *Network) Hash() uint64 {
	n.here("Network.Hash")
	return n.hash
}

// fifo is a queue. The zero value is empty.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) len() int   { return len(q.items) - q.head }
func (q *fifo[T]) push(v T)   { q.items = append(q.items, v) }
func (q *fifo[T]) first() *T  { return &q.items[q.head] }
func (q *fifo[T]) at(i int) T { return q.items[q.head+i] }

// take removes the one at place i; those before it keep their order.
func (q *fifo[T]) take(i int) T {
	v := q.items[q.head+i]
	copy(q.items[q.head+1:q.head+i+1], q.items[q.head:q.head+i])
	q.items[q.head] = v
	return q.pop()
}

func (q *fifo[T]) pop() T {
	var none T
	v := q.items[q.head]
	q.items[q.head] = none
	q.head++
	switch {
	case q.head == len(q.items):
		q.items, q.head = q.items[:0], 0
	case q.head >= 64 && q.head*2 >= len(q.items):
		k := copy(q.items, q.items[q.head:])
		clear(q.items[k:])
		q.items, q.head = q.items[:k], 0
	}
	return v
}
