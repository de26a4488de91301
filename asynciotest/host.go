// Simulated hosts, and the programs that run on them.

package asynciotest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/coro"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/timer"
)

// ErrCrashed is the error of a program whose host has crashed.
var ErrCrashed = errors.New("asynciotest: the host has crashed")

// A Host is a machine on a Network. It has a name by which the others find it, an
// address, a clock, a disk, and its own ports. Each of its programs has a loop, and
// they share the rest. A host is up until it crashes.
type Host struct {
	net     *Network
	id      int
	name    string
	addr    netip.Addr
	stack   *stack // nil while the host is down
	boots   int
	files   map[string]bool // of Unix sockets, by path: whether there is one
	disk    *Disk
	skew    time.Duration
	drift   float64
	drifts  time.Duration // since when
	limit   int           // of descriptors; 0 for none
	lookups error         // what look-ups fail with
}

// Host returns the host called name, and makes it if there is none yet. The first one
// has the address 10.0.0.1, the next one 10.0.0.2, and so on. It panics if name is
// empty, localhost or an IP address, or has a space, a colon, a bracket or a control
// character in it.
func (n *Network) Host(name string) *Host {
	n.here("Network.Host")
	if h := n.named[name]; h != nil {
		return h
	}
	if _, err := netip.ParseAddr(name); err == nil || name == "" || name == "localhost" || strings.ContainsFunc(name, unfit) {
		panic(fmt.Sprintf("asynciotest: %q is no name for a host", name))
	}
	id := len(n.hosts) // the outside is 0
	last := id
	if id == 0 {
		last = 0xfffe
	}
	h := &Host{
		net: n, id: id, name: name,
		addr:  netip.AddrFrom4([4]byte{10, 0, byte(last >> 8), byte(last)}),
		files: make(map[string]bool),
	}
	h.disk = newDisk(h)
	n.hosts = append(n.hosts, h)
	n.named[name] = h
	n.at[h.addr] = h
	h.boot()
	return h
}

// unfit reports whether a name with r in it could not stand in an address or a log.
func unfit(r rune) bool {
	return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(":[]", r)
}

// Outside returns the host on which the main of Run runs.
func (n *Network) Outside() *Host { return n.outside }

// Name returns the name of the host.
func (h *Host) Name() string { return h.name }

// Addr returns the address of the host.
func (h *Host) Addr() netip.Addr { return h.addr }

// String returns the name of the host.
func (h *Host) String() string { return h.name }

// Up reports whether the host is running.
func (h *Host) Up() bool {
	h.net.here("Host.Up")
	return h.stack != nil
}

// Disk returns the disk of the host.
func (h *Host) Disk() *Disk { return h.disk }

// Go starts main as a program on the host, with a loop of its own, as asyncio.Run
// would. It begins when the code that runs now waits. A host that is down is booted.
//
// The loop's Time is that of the network, asyncio.Now follows the clock of the host,
// and asyncio.Rand is drawn from the seed. Options of the loop are respected, among
// them a resolver; but the clock and the network are those of the host. It panics if main
// or an option is nil.
func (h *Host) Go(main func(ctx context.Context) error, opts ...asyncio.RunOption) *Program {
	h.net.here("Host.Go")
	checkProgram("Host.Go", main, opts)
	return h.start(fmt.Sprintf("program %d", h.count()+1), main, opts)
}

// count returns how many programs were ever started on h.
func (h *Host) count() int {
	c := 0
	for _, p := range h.net.programs {
		if p.host == h {
			c++
		}
	}
	return c
}

// checkProgram panics if what the function op is given is no program.
func checkProgram(op string, main func(ctx context.Context) error, opts []asyncio.RunOption) {
	if main == nil {
		panic("asynciotest: " + op + ": the function is nil")
	}
	if slices.Contains(opts, nil) {
		panic("asynciotest: " + op + ": an option is nil")
	}
}

func (h *Host) start(name string, main func(ctx context.Context) error, opts []asyncio.RunOption) *Program {
	p := &Program{host: h, name: name, main: main, opts: opts}
	p.label = p.labelled()
	h.net.programs = append(h.net.programs, p)
	if h.net.over {
		p.done, p.err = true, ErrCrashed
		return p
	}
	h.boot()
	p.launch()
	return p
}

// Boot brings a host up that is down, without any program: it refuses connections,
// and resets those of the time before the crash whose peers send something. It does
// nothing to a host that is up.
func (h *Host) Boot() {
	h.net.here("Host.Boot")
	h.boot()
}

func (h *Host) boot() {
	if h.stack != nil || h.net.over {
		return
	}
	h.boots++
	h.stack = newStack(h)
	if h.boots > 1 {
		h.net.record(LogEntry{Kind: HostBooted, From: h})
		h.net.probeAll(func(c *stream) bool { return c.peer != nil && c.peer.stack.host == h })
	}
}

// Crash takes the power from the host. Its programs end without another line of theirs,
// but for functions that they have deferred; nothing that those do reaches the network
// or the disk. What was in memory is gone, and of the disk all that was not synced may
// be, see Disk. Peers are told nothing: what they send is lost, until the host is up
// again and resets the connections that it knows nothing of. It does nothing to a
// host that is down.
//
// A program that crashes its own host goes on until its loop waits, without any
// effect on others.
func (h *Host) Crash() {
	h.net.here("Host.Crash")
	h.crash()
}

func (h *Host) crash() {
	if h.stack == nil {
		return
	}
	h.halt()
	h.net.record(LogEntry{Kind: HostCrashed, From: h})
	h.disk.crash()
	h.net.suspectAll(func(c *stream) bool { return c.peer != nil && c.peer.stack.host == h })
}

// Restart boots the host, after a Crash if it is up, and starts all programs anew that
// were ended by a crash, in the order in which they were started at first. After Run it
// does nothing.
func (h *Host) Restart() {
	h.net.here("Host.Restart")
	if h.net.over {
		return
	}
	h.crash()
	h.boot()
	for _, p := range h.net.programs {
		if p.host == h && p.lost {
			p.launch()
		}
	}
}

// halt ends all programs of the host.
func (h *Host) halt() {
	if h.stack == nil {
		return
	}
	h.stack.gone = true
	h.stack = nil
	for _, p := range h.net.programs {
		if q := p.current; p.host == h && q != nil {
			q.halted = true
			p.lost = true
			p.finish(ErrCrashed)
			q.wake()
		}
	}
}

// SetClock makes the host's clock differ from the network's by skew from now on, and
// by drift seconds more each second: 50e-6 is a clock that gains 50 µs a second. Only
// asyncio.Now, and what is judged by it, certificates say, sees that; the loop's Time, timers
// and deadlines are the network's. It panics if drift is not a number, infinite, or not
// above -1, with which the clock would stand still or go backwards.
func (h *Host) SetClock(skew time.Duration, drift float64) {
	h.net.here("Host.SetClock")
	if !(drift > -1) || math.IsInf(drift, 1) {
		panic(fmt.Sprintf("asynciotest: SetClock(%v, %v): the drift must be a number above -1", skew, drift))
	}
	h.skew, h.drift, h.drifts = skew, drift, h.net.Now()
	if h.net.running {
		h.net.record(LogEntry{Kind: ClockSet, From: h, Text: fmt.Sprintf("the clock is set, with a skew of %v and a drift of %v", skew, drift)})
	}
}

// Wall returns the time of day on the host's clock.
func (h *Host) Wall() time.Time {
	h.net.here("Host.Wall")
	return h.wall()
}

func (h *Host) wall() time.Time {
	now := h.net.Now()
	return epoch.Add(now + h.skew + time.Duration(h.drift*float64(now-h.drifts)))
}

// SetDescriptorLimit sets how many sockets the programs of the host may have open: one
// more fails with syscall.EMFILE, and connections wait to be accepted. There is no
// limit if n is 0, which is the default. It panics if n is negative.
func (h *Host) SetDescriptorLimit(n int) {
	h.net.here("Host.SetDescriptorLimit")
	if n < 0 {
		panic(fmt.Sprintf("asynciotest: SetDescriptorLimit(%d): the limit must not be negative", n))
	}
	h.limit = n
}

// FailLookups makes the look-ups of names on this host fail with err from now on; nil
// ends that. Addresses that are numbers, and localhost, need no look-up.
func (h *Host) FailLookups(err error) {
	h.net.here("Host.FailLookups")
	h.lookups = err
}

// A Program is a function that runs on a host. After a Crash of the host and a Restart it
// runs anew.
type Program struct {
	host    *Host
	name    string
	label   string // in reports
	main    func(ctx context.Context) error
	opts    []asyncio.RunOption
	current *process // nil when it has ended
	runs    int

	lost    bool // ended by a crash
	done    bool
	err     error
	named   bool // err names the program
	asked   bool // somebody has looked at err, or is going to
	waiters []func(err error)
}

// String returns the host and the name of the program.
func (p *Program) String() string { return p.host.name + " (" + p.name + ")" }

// Host returns the host of the program.
func (p *Program) Host() *Host { return p.host }

// Running reports whether the program has not ended.
func (p *Program) Running() bool {
	p.host.net.here("Program.Running")
	return !p.done
}

// Err returns the error that the program has ended with: that of its main, ErrCrashed
// after a crash, nil while it runs, after a Restart among others. If its main has
// panicked, or has returned the panic of something that it has waited for, the error
// names the program and wraps the *asyncio.PanicError, which has the stack.
func (p *Program) Err() error {
	p.host.net.here("Program.Err")
	p.asked = p.asked || p.done
	return p.err
}

// Wait suspends the calling task, of whatever program, until the run of this one that
// is under way has ended, and returns the error of that run, see Err; or the
// cancellation, which does not touch the program. If none is under way it returns Err at
// once. A run that a Crash or a Restart ends has the error ErrCrashed, whatever becomes
// of the next one: to wait for that, call Wait again after the Restart.
func (p *Program) Wait(ctx context.Context) error {
	if err := p.host.net.elsewhere("Program.Wait"); err != nil {
		return err
	}
	p.asked = true
	if p.done {
		return p.err
	}
	if err := mayWait(ctx, "Program.Wait"); err != nil {
		return err
	}
	var result error
	f := asyncio.NewFuture[struct{}](ctx)
	p.waiters = append(p.waiters, func(err error) {
		result = err
		f.Loop().CallSoonThreadsafe(func() { f.SetResult(struct{}{}) })
	})
	if _, err := f.Await(ctx); err != nil {
		return err
	}
	return result
}

// mayWait says what is wrong with the context of a method op that suspends.
func mayWait(ctx context.Context, op string) (err error) {
	if ctx == nil {
		return &asyncio.UsageError{Op: op, Cause: asyncio.ErrBadArgument, Text: "the context is nil"}
	}
	defer mistaken(op, &err)
	if asyncio.CurrentTask(ctx) == nil {
		return &asyncio.UsageError{Op: op, Cause: asyncio.ErrOutsideTask, Text: "it may suspend; call it in a task"}
	}
	return nil
}

// launch starts the program as a new process.
func (p *Program) launch() {
	p.runs++
	p.lost, p.done, p.err, p.named, p.asked = false, false, nil, false, false
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%s/%d", p.host.name, p.name, p.runs)
	q := &process{program: p, net: p.host.net, stack: p.host.stack, rand: rand.NewPCG(p.host.net.seed, h.Sum64())}
	q.parked = true // until its first turn
	p.current = q
	p.host.net.record(LogEntry{Kind: ProgramStarted, From: p.host})
	q.wake()
}

// A process is one life of a program: a coroutine with a loop, whose clock it is.
type process struct {
	program *Program
	net     *Network
	stack   *stack
	rand    *rand.PCG
	co      *coro.Coroutine // nil before its first turn
	alarm   timer.Timer[event]
	parked  bool // it waits
	queued  bool // in net.ready
	halted  bool
	over    bool // the wait that is under way can never end, or shall not
	turns   int
	passes  int // of this turn, as far as they are known
	idlers  idleQueue

	schedule *schedule // nil for first come, first served

	workers  int
	external bool
	woken    atomic.Bool // Wake was called

	reports []*socket // those that have something to tell
	spare   []*socket
	answers []func() // of look-ups
	err     error
}

// RunCoroutine is the program's stack.
func (q *process) RunCoroutine() *coro.Coroutine {
	p := q.program
	opts := append(p.logging(), p.opts...)
	seams := seam.Seams{
		Name:       p.label,
		NewClock:   func() seam.Clock { return (*machine)(q) },
		NewNetwork: func() (seam.Network, error) { return (*wire)(q), nil },
		NewRandom:  func() seam.Random { return q.rand },
	}
	if t := q.net.trial(); t != nil {
		q.schedule = newSchedule(t)
		q.schedule.process = q
		seams.NewOrder = func() seam.Order { return q.schedule }
		if t.explain {
			opts = append(opts, asyncio.WithDebug(true))
		}
	}
	opts = append(opts, seam.LoopOption(seams).(asyncio.RunOption))
	var cargo *carried
	q.err = asyncio.Run(context.Background(), func(ctx context.Context) error {
		err := p.main(ctx)
		if _, panicked := errors.AsType[*asyncio.PanicError](err); panicked {
			cargo = &carried{err: err}
			return cargo
		}
		return err
	}, opts...)
	if cargo != nil {
		cargo.landed = true
	}
	return nil
}

// A carried error is one that main has returned and that wraps a panic. asyncio.Run
// must not see that: it would panic, and drop what is around it.
type carried struct {
	err    error
	landed bool
}

func (c *carried) Error() string { return c.err.Error() }

func (c *carried) Unwrap() error {
	if c.landed {
		return c.err
	}
	return nil
}

// wake gives the process a turn, if it waits.
func (q *process) wake() {
	if q.parked && !q.queued {
		q.queued = true
		q.net.ready.push(q)
	}
}

// happen is the end of a wait.
func (q *process) happen() { q.wake() }

// turn runs the process until it waits.
func (q *process) turn() {
	n := q.net
	q.queued, q.parked = false, false
	n.events.Remove(&q.alarm)
	n.steps++
	q.turns++
	q.passes = 0
	n.note(turned, q.program.host, nil, 0)
	if q.co == nil {
		if q.halted || q.over {
			q.ended(coro.Finished)
			return
		}
		q.co = n.coros.Get(q)
	}
	n.acting = q
	n.coros.Resume(q.co)
	n.acting = nil
	if status := q.co.Status(); status != coro.Suspended {
		q.ended(status)
	}
}

// ended is the end of the process.
func (q *process) ended(status coro.Status) {
	p := q.program
	switch {
	case q.halted:
	case status == coro.Panicked:
		value, stack := q.co.Panic()
		if err, ok := value.(*asyncio.PanicError); ok { // of asyncio.Run
			q.err = err
		} else {
			q.err = &asyncio.PanicError{Value: value, Stack: stack}
		}
	case status == coro.Exited:
		q.net.exited = true
		q.err = asyncio.ErrGoexit
	}
	if q.co != nil {
		q.net.coros.Put(q.co)
	}
	(*machine)(q).Working(0)
	if p.current == q {
		if _, p.named = errors.AsType[*asyncio.PanicError](q.err); p.named {
			q.err = fmt.Errorf("%v: %w", p, q.err)
		}
		p.finish(q.err)
	}
}

// finish notes the end of the program, and tells those who wait for it.
func (p *Program) finish(err error) {
	p.current = nil
	p.done, p.err = true, err
	p.host.net.record(LogEntry{Kind: ProgramEnded, From: p.host})
	for _, tell := range p.waiters {
		tell(err)
	}
	p.waiters = nil
}

// A machine is a process as the clock of its loop.
type machine process

func (m *machine) Now() time.Duration { return m.net.Now() }
func (m *machine) Wall() time.Time    { return m.program.host.wall() }
func (m *machine) Halted() bool       { return m.halted }

func (m *machine) whenIdle(fire func()) { m.idlers.add(fire) }

// Working notes how many functions of the program run on other goroutines.
func (m *machine) Working(n int) {
	if (m.workers > 0) != (n > 0) {
		if n > 0 {
			m.net.busy++
		} else {
			m.net.busy--
		}
	}
	m.workers = n
}

// Pass counts the passes of a turn that does not end.
func (m *machine) Pass(passes int, d time.Duration) error {
	n := m.net
	if d != 0 {
		return nil // whether it may wait is up to the network
	}
	if m.passes += passes; m.passes == passes {
		return nil // they may be those of earlier turns
	}
	n.passes += uint64(passes)
	if err := n.mayGoOn(n.Now()); err != nil {
		m.halted, n.spinner = true, m.program
		return err
	}
	return nil
}

// Wait lets the other programs run until something happens to this one.
func (m *machine) Wait(d time.Duration, external bool, poll func(time.Duration) (bool, error)) error {
	q := (*process)(m)
	if q.halted {
		return seam.ErrHalted
	}
	if woken, err := poll(0); woken || err != nil || d == 0 || q.idlers.serve() {
		return err
	}
	q.external = external
	if d > 0 {
		q.net.after(d, &q.alarm, q)
	}
	q.parked = true
	q.net.coros.Suspend()
	q.external = false
	switch {
	case q.over && q.net.endless != nil:
		q.halted = true
		return seam.ErrBlown
	case q.over:
		q.halted = true
		return seam.ErrIdle
	case q.halted:
		return seam.ErrHalted
	}
	_, err := poll(0)
	return err
}
