// The network of a simulated host: sockets, ports, names, and what arrives.

package asynciotest

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/timer"
)

// A stack is the kernel's part of the network on a host, from its boot to its crash.
type stack struct {
	host      *Host
	gone      bool // the host has crashed
	streams   []*stream
	listeners map[uint16][]*listener
	packets   map[uint16][]*packetConn
	unix      map[string]any // *listener or *packetConn, by path
	open      int            // descriptors
}

func newStack(h *Host) *stack {
	return &stack{
		host:      h,
		listeners: make(map[uint16][]*listener),
		packets:   make(map[uint16][]*packetConn),
		unix:      make(map[string]any),
	}
}

// receive takes a packet that has arrived.
func (k *stack) receive(p *packet) {
	switch p.kind {
	case DatagramPacket:
		k.receiveDatagram(p)
	case UnreachablePacket:
		p.socket.unreachable()
	case ConnectPacket:
		k.receiveConnect(p)
	case RefusePacket:
		p.stream.refused()
	case AcceptPacket:
		p.stream.connected(p.server, p.window)
	case ResetPacket:
		p.stream.receiveReset()
	default:
		p.stream.receive(p)
	}
}

// A failure is a plain error of a system call.
func failure(call string, errno syscall.Errno) error { return os.NewSyscallError(call, errno) }

const syscallReset = syscall.ECONNRESET

// A socket is what an open descriptor has of each kind: who is told what.
type socket struct {
	process *process
	handler seam.Handler
	pending seam.Readiness
	queued  bool
	closed  bool
}

// report tells the handler of s in the next turn of its program.
func (s *socket) report(r seam.Readiness) {
	if s.closed || s.process == nil || s.process.halted {
		return
	}
	s.pending |= r
	if s.handler == nil || s.queued {
		return
	}
	s.queued = true
	s.process.reports = append(s.process.reports, s)
	s.process.wake()
}

// dead reports whether the program of s has no effect any more.
func (s *socket) dead() bool { return s.process != nil && s.process.halted }

// take counts a new descriptor.
func (q *process) take(call string) error {
	if l := q.program.host.limit; l > 0 && q.stack.open >= l {
		return failure(call, syscall.EMFILE)
	}
	q.stack.open++
	return nil
}

func (q *process) give() { q.stack.open-- }

// A wire is a process as the network of its loop.
type wire process

var (
	_ seam.Network    = (*wire)(nil)
	_ seam.NameServer = (*wire)(nil)
)

// Wait calls the handlers of what has become ready. It does not wait: the clock does.
func (w *wire) Wait(time.Duration) (woken bool, err error) {
	q := (*process)(w)
	if q.halted {
		return false, seam.ErrHalted
	}
	woken = q.woken.Swap(false)
	for len(q.answers) > 0 {
		tell := q.answers[0]
		q.answers = q.answers[1:]
		q.schedule.arrives(tell)
		woken = true
	}
	reports := q.reports
	q.reports = q.spare[:0]
	for i, s := range reports {
		reports[i] = nil
		s.queued = false
		r := s.pending
		s.pending = 0
		if !s.closed && r != 0 {
			if q.schedule == nil {
				s.handler.Ready(r)
			} else {
				q.schedule.arrives(func() { s.handler.Ready(r) })
			}
			woken = true
		}
	}
	q.spare = reports
	return woken, nil
}

// Wake gives the program a turn. Any goroutine may call it.
func (w *wire) Wake() {
	n := w.net
	if w.woken.Swap(true) {
		return // it knows
	}
	n.mu.Lock()
	n.kicks = append(n.kicks, (*process)(w))
	n.kicked.Store(true)
	n.mu.Unlock()
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

func (w *wire) Close() error { return nil }

// LookUp asks the network for a name. The answer takes as long as a packet there and back.
func (w *wire) LookUp(network, host, port string, tell func([]netip.AddrPort, error)) (stop func()) {
	addrs, err := w.find(network, host, port)
	return (*process)(w).answer(func() { tell(addrs, err) })
}

// LookUpAddr asks the network for the name of an address.
func (w *wire) LookUpAddr(addr netip.Addr, tell func(string, error)) (stop func()) {
	name, err := "", error(&net.DNSError{Err: "no such address", Name: addr.String(), IsNotFound: true})
	switch h := w.net.at[addr]; {
	case w.program.host.lookups != nil:
		err = w.program.host.lookups
	case h != nil:
		name, err = h.name, nil
	case addr.IsLoopback():
		name, err = "localhost", nil
	}
	return (*process)(w).answer(func() { tell(name, err) })
}

func (w *wire) find(network, host, port string) ([]netip.AddrPort, error) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		n, lerr := net.LookupPort(network, port)
		if lerr != nil {
			return nil, lerr
		}
		number = uint64(n)
	}
	at := func(a netip.Addr) []netip.AddrPort { return []netip.AddrPort{netip.AddrPortFrom(a, uint16(number))} }
	if ip, err := netip.ParseAddr(host); err == nil {
		return at(ip), nil
	}
	name := strings.TrimSuffix(host, ".")
	switch h := w.net.named[name]; {
	case name == "localhost" && strings.HasSuffix(network, "6"):
		return at(netip.IPv6Loopback()), nil
	case name == "localhost":
		return at(netip.AddrFrom4([4]byte{127, 0, 0, 1})), nil
	case w.program.host.lookups != nil:
		return nil, w.program.host.lookups
	case h == nil || strings.HasSuffix(network, "6"):
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	default:
		return at(h.addr), nil
	}
}

// A question is a look-up under way.
type question struct {
	timer   timer.Timer[event]
	process *process
	tell    func()
}

func (u *question) happen() {
	u.process.answers = append(u.process.answers, func() {
		if u.tell != nil {
			u.tell()
		}
	})
	u.process.wake()
}

// answer calls tell after the time that an answer takes.
func (q *process) answer(tell func()) (stop func()) {
	u := &question{process: q, tell: tell}
	took := time.Duration(0)
	if latency := q.net.standard.Latency; latency != nil {
		took = latency(q.net.rand) + latency(q.net.rand)
	}
	q.net.after(took, &u.timer, u)
	return func() {
		u.tell = nil
		q.net.events.Remove(&u.timer)
	}
}

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	any4      = netip.IPv4Unspecified()
	any6      = netip.IPv6Unspecified()
)

// canonical returns an address without the detour over IPv6.
func canonical(a netip.AddrPort) (netip.AddrPort, error) {
	if !a.IsValid() {
		return a, &net.AddrError{Err: "no IP address", Addr: a.String()}
	}
	addr := a.Addr().Unmap()
	if addr.Zone() != "" {
		return a, &net.AddrError{Err: "unknown IPv6 zone", Addr: a.String()}
	}
	return netip.AddrPortFrom(addr, a.Port()), nil
}

// owns reports whether addr is an address of the host.
func (h *Host) owns(addr netip.Addr) bool { return addr == h.addr || addr.IsLoopback() }

// owner returns the host that addr belongs to, as h sees it; nil if there is none.
func (h *Host) owner(addr netip.Addr) *Host {
	if h.owns(addr) {
		return h
	}
	return h.net.at[addr]
}

// sourceFor returns the address from which h talks to addr.
func (h *Host) sourceFor(addr netip.Addr) netip.Addr {
	if addr.IsLoopback() {
		return addr
	}
	return h.addr
}

// mayBind says whether the host can bind a socket to addr.
func (h *Host) mayBind(addr netip.Addr) error {
	if addr.IsUnspecified() || h.owns(addr) {
		return nil
	}
	return failure("bind", syscall.EADDRNOTAVAIL)
}

// clash reports whether two sockets on one port would get the same packets.
func clash(a, b netip.Addr) bool {
	return a.Is4() == b.Is4() && (a == b || a.IsUnspecified() || b.IsUnspecified())
}

const (
	firstPort = 32768 // of those that are chosen for a socket
	portCount = 28232
)

// freePort chooses a port that taken does not refuse.
func (k *stack) freePort(taken func(port uint16) bool) (uint16, error) {
	start := k.host.net.rand.IntN(portCount)
	for i := range portCount {
		port := uint16(firstPort + (start+i)%portCount)
		if !taken(port) {
			return port, nil
		}
	}
	return 0, failure("bind", syscall.EADDRINUSE)
}

// abstract reports whether path names no file.
func abstract(path string) bool { return path == "" || path[0] == '@' || path[0] == 0 }

func checkPath(call, path string) error {
	if !abstract(path) && strings.IndexByte(path, 0) >= 0 {
		return failure(call, syscall.EINVAL)
	}
	return nil
}

// bindUnix takes a path for s, and replaces the file of a socket that nobody has.
func (k *stack) bindUnix(path string, s any) error {
	if err := checkPath("bind", path); err != nil {
		return err
	}
	if abstract(path) && k.unix[path] != nil {
		return failure("bind", syscall.EADDRINUSE)
	}
	k.unix[path] = s
	if !abstract(path) {
		k.host.files[path] = true
	}
	return nil
}

// freeUnix gives up the path of s.
func (k *stack) freeUnix(path string, s any, keepFile bool) {
	if k.unix[path] != s {
		return // somebody else has replaced it
	}
	delete(k.unix, path)
	if !keepFile {
		delete(k.host.files, path)
	}
}

// missing is why there is no socket at a path.
func (k *stack) missing(path string) syscall.Errno {
	if abstract(path) || k.host.files[path] {
		return syscall.ECONNREFUSED
	}
	return syscall.ENOENT
}

// errTwice is what a second Attach returns.
var errTwice = errors.New("connection has a handler already")
