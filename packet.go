// Sockets for datagrams: can one be sent now, and what waits?

package asyncio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// DatagramOptions say where an endpoint for datagrams is, and what it may do.
type DatagramOptions struct {
	// Network is "udp", "udp4", "udp6" or "unixgram": "udp" if empty. An
	// endpoint has one family: "udp" takes that of its addresses.
	Network string

	// LocalAddr is the address to be bound to: "host:port" as in package net, any
	// address without a host and a free port for 0; or a path, abstract if it
	// begins with '@'. A socket file that is left over at the path is replaced, and
	// removed on Close. Empty: any.
	LocalAddr string

	// RemoteAddr is the only address to send to and to receive from, in the
	// form of LocalAddr. With Broadcast the endpoint receives from all.
	RemoteAddr string

	// ReusePort sets SO_REUSEPORT: several endpoints share one address.
	ReusePort bool

	// Broadcast sets SO_BROADCAST: the endpoint may send to broadcast addresses.
	Broadcast bool

	// Conn is a socket for datagrams to be taken over, instead of all the rest. It
	// belongs to the endpoint from the call on, and has been closed if that
	// returns an error.
	Conn net.PacketConn

	// Resolver looks names up: the loop's if nil.
	Resolver Resolver
}

// A packetTransport is a socket for datagrams: it reads on demand, keeps what the
// system has no room for in a queue with a high and a low mark, and tells its one
// consumer what has become possible. It knows no tasks.
type packetTransport struct {
	registered // in loop.open, for its consumer
	loop       *EventLoop
	conn       seam.PacketConn
	consumer   packetConsumer
	network    string
	remote     seam.Addr // the only one to send to, if it is not zero
	connected  bool      // and the socket knows that

	events  seam.Readiness // reported, and not handled yet
	queued  bool           // in the ready queue, to handle them
	started bool           // they are handled

	readable bool // a read may give something
	writable bool // the same for a write

	out       packetQueue
	high, low int
	full      bool         // out went above high, and not yet down to low
	retry     *TimerHandle // while room is not reported as it should
	wait      time.Duration
	closing   bool
	closed    bool
}

// A packetConsumer is what a packetTransport reports to.
type packetConsumer interface {
	// packetsReady says that a read may give something.
	packetsReady()
	// roomChanged says that the queue is above its high mark, or down to its low
	// one again.
	roomChanged(full bool)
	// sendFailed says what came of a datagram of the queue. The others go on.
	sendFailed(err error)
	// connectionLost says that the transport is closed. The consumer takes it
	// from the registry.
	connectionLost()
	// abandon is Close of the loop.
	abandon()
}

// packetBatch is how many datagrams are handled in a pass, so that a flood does
// not hold up the others.
const packetBatch = 64

func (t *packetTransport) init(l *EventLoop, c packetConsumer) {
	t.loop, t.consumer = l, c
	t.high, t.low = defaultHigh, defaultLow
}

// use takes over conn, whose events t handles.
func (t *packetTransport) use(conn seam.PacketConn) {
	t.conn = conn
	t.readable, t.writable = true, true
	t.loop.open.add(&t.registered, t.consumer)
	t.loop.listening++
}

// start begins to handle events.
func (t *packetTransport) start() {
	t.started = true
	if !t.queued {
		t.run()
	}
}

// Ready takes note of what the poller reports; it is handled in this pass.
func (t *packetTransport) Ready(r seam.Readiness) {
	t.events |= r
	if !t.queued && t.started {
		t.queued = true
		t.loop.ready.push(t)
	}
}

func (t *packetTransport) run() {
	t.queued = false
	events := t.events
	t.events = 0
	if events&(seam.Writable|seam.Failed) != 0 && !t.closed && t.retry == nil {
		t.writable = true
		t.flush()
	}
	if events&(seam.Readable|seam.HungUp|seam.Failed) != 0 && !t.closing {
		t.readable = true
		t.consumer.packetsReady()
	}
}

// read reads a datagram. It returns seam.ErrWouldBlock if there is none; the
// consumer is then told when there is.
func (t *packetTransport) read(p []byte) (int, seam.Addr, error) {
	if t.closing {
		return 0, seam.Addr{}, net.ErrClosed
	}
	if !t.readable {
		return 0, seam.Addr{}, seam.ErrWouldBlock
	}
	n, from, err := t.conn.ReadFrom(p)
	if err == seam.ErrWouldBlock {
		t.readable = false
	}
	return n, from, err
}

// buffer returns memory for a datagram, which all transports of the loop share.
func (t *packetTransport) buffer() []byte {
	size := 64 << 10
	if t.network == "unixgram" {
		size = 256 << 10
	}
	if len(t.loop.datagram) < size {
		t.loop.datagram = make([]byte, size)
	}
	return t.loop.datagram
}

// address checks where a datagram is to go, and says what the socket has to be told.
func (t *packetTransport) address(op string, to SockAddr) (seam.Addr, error) {
	switch {
	case !t.loop.mine():
		return seam.Addr{}, t.loop.elsewhere(op)
	case t.closing:
		return seam.Addr{}, t.error("write", to, net.ErrClosed)
	case to.IsZero() && t.remote == seam.Addr{}:
		return seam.Addr{}, misuse(op, ErrBadArgument, "no address is given, and the endpoint has no peer")
	case !to.IsZero() && t.remote != seam.Addr{} && unmapped(seam.Addr(to)) != unmapped(t.remote):
		return seam.Addr{}, misuse(op, ErrBadArgument, "the address is %v, the endpoint sends to its peer %v only", to, SockAddr(t.remote))
	case !to.IsZero() && to.AddrPort.IsValid() == (t.network == "unixgram"):
		return seam.Addr{}, misuse(op, ErrBadArgument, "%v is no address of a %s socket", to, t.network)
	case t.connected:
		return seam.Addr{}, nil
	case to.IsZero():
		return t.remote, nil
	}
	return seam.Addr(to), nil
}

// unmapped returns a, an IPv4 address that is written as an IPv6 one as the former.
func unmapped(a seam.Addr) seam.Addr {
	if a.AddrPort.Addr().Is4In6() {
		a.AddrPort = netip.AddrPortFrom(a.AddrPort.Addr().Unmap(), a.AddrPort.Port())
	}
	return a
}

// send sends p, or keeps a copy if there is no room.
func (t *packetTransport) send(p []byte, to seam.Addr) error {
	if t.out.size == 0 && t.writable {
		err := t.conn.WriteTo(p, to)
		if err != seam.ErrWouldBlock {
			return err
		}
		t.blocked()
	}
	t.out.push(packet{bytes.Clone(p), to})
	t.checkRoom()
	return nil
}

// blocked notes that there is no room. A Unix socket that is not connected does not
// hear of room at the receiver, whose queue others may have filled; instead it is
// reported as writable after each attempt. So a timer says when to try again.
func (t *packetTransport) blocked() {
	const shortest, longest = time.Millisecond, 100 * time.Millisecond
	t.writable = false
	if _, ofSystem := t.conn.(syscall.Conn); t.network != "unixgram" || t.connected || !ofSystem {
		return
	}
	t.wait = min(max(2*t.wait, shortest), longest)
	t.retry = t.loop.callAt(after(t.loop.clock.Now(), t.wait), func() {
		t.retry = nil
		t.Ready(seam.Writable)
	})
}

// setLimits moves the marks of the queue, for what is in it too.
func (t *packetTransport) setLimits(high, low int) {
	t.high, t.low = high, low
	t.checkRoom()
}

// checkRoom tells the consumer when the queue has passed a mark.
func (t *packetTransport) checkRoom() {
	switch {
	case !t.full && t.out.size > t.high:
		t.full = true
		t.consumer.roomChanged(true)
	case t.full && t.out.size <= t.low:
		t.full = false
		t.consumer.roomChanged(false)
	}
}

// flush sends what is in the queue, as far as there is room. A datagram that
// fails does not keep those behind it.
func (t *packetTransport) flush() {
	for i := 0; t.out.size > 0 && t.writable && !t.closed; i++ {
		if i == packetBatch {
			t.Ready(seam.Writable) // in the next pass
			break
		}
		p := t.out.first()
		err := t.conn.WriteTo(p.data, p.to)
		if err == seam.ErrWouldBlock {
			t.blocked()
			break
		}
		t.wait = 0
		t.out.drop()
		if err != nil {
			t.consumer.sendFailed(t.error("write", SockAddr(p.to), err))
		}
	}
	if t.closed {
		return
	}
	t.checkRoom()
	t.closeIfSent()
}

func (t *packetTransport) closeIfSent() {
	if t.closing && !t.closed && t.out.size == 0 {
		t.finish()
	}
}

// close ends the transport once the queue is flushed.
func (t *packetTransport) close() {
	if !t.closing {
		t.closing = true
		t.closeIfSent()
	}
}

// abort ends the transport at once and drops the queue.
func (t *packetTransport) abort() {
	if !t.closed {
		t.closing = true
		t.finish()
	}
}

// abandon ends the transport when the loop is closed: what fits still goes out.
func (t *packetTransport) abandon() {
	for t.out.size > 0 && !t.closed {
		p := t.out.first()
		if err := t.conn.WriteTo(p.data, p.to); err == seam.ErrWouldBlock {
			break
		}
		t.out.drop()
	}
	t.abort()
}

func (t *packetTransport) finish() {
	t.drop()
	t.consumer.connectionLost()
}

// drop frees what the transport has.
func (t *packetTransport) drop() {
	t.closing, t.closed = true, true
	t.out = packetQueue{}
	if t.retry != nil {
		t.retry.Cancel()
	}
	t.loop.listening--
	t.conn.Close()
}

// What both forms of an endpoint have.

func (t *packetTransport) closeMine(op string) error {
	if !t.loop.mine() {
		return t.loop.elsewhere(op)
	}
	t.close()
	return nil
}

func (t *packetTransport) abortMine() {
	if t.loop.mine() && t.closed {
		return // its loop may be closed too
	}
	t.loop.check("Abort")
	t.abort()
}

func (t *packetTransport) setLimitsMine(high, low int) error {
	switch {
	case !t.loop.mine():
		return t.loop.elsewhere("SetWriteBufferLimits")
	case low < 0 || high < low:
		return misuse("SetWriteBufferLimits", ErrBadArgument, "high is %d, low is %d", high, low)
	}
	t.setLimits(high, low)
	return nil
}

func (t *packetTransport) syscallConn() (syscall.RawConn, error) {
	if c, ok := t.conn.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, fmt.Errorf("asyncio: SyscallConn: the network has no sockets of the system: %w", errors.ErrUnsupported)
}

func (t *packetTransport) text(kind string) string {
	state := "open"
	switch {
	case t.closed:
		state = "closed"
	case t.closing:
		state = "closing"
	}
	peer := ""
	if t.remote != (seam.Addr{}) {
		peer = "->" + SockAddr(t.remote).String()
	}
	return fmt.Sprintf("<%s %s %v%s queued=%d>", kind, state, SockAddr(t.conn.LocalAddr()), peer, t.out.size)
}

// error gives err the operation and the addresses, unless it has them.
func (t *packetTransport) error(op string, to SockAddr, err error) error {
	var known *net.OpError
	if errors.As(err, &known) {
		return err
	}
	e := &net.OpError{Op: op, Net: t.network, Source: SockAddr(t.conn.LocalAddr()), Err: err}
	switch {
	case !to.IsZero():
		e.Addr = to
	case t.remote != seam.Addr{}:
		e.Addr = SockAddr(t.remote)
	}
	return e
}

// transient reports whether err concerns a datagram and not the socket: it is an
// error of the system, or of an address.
func transient(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var system net.Error
	return errors.As(err, &system) && !errors.Is(err, net.ErrClosed)
}

// A packet is a datagram that waits to be sent.
type packet struct {
	data []byte
	to   seam.Addr
}

// packetOverhead is what a datagram counts beside its bytes, so that empty ones
// count too.
const packetOverhead = 8

// A packetQueue holds datagrams, first in, first out.
type packetQueue struct {
	packets []packet
	head    int // of the first one
	size    int
}

func (q *packetQueue) push(p packet) {
	if 2*q.head > len(q.packets) && len(q.packets) == cap(q.packets) {
		n := copy(q.packets, q.packets[q.head:])
		clear(q.packets[n:])
		q.packets, q.head = q.packets[:n], 0
	}
	q.packets = append(q.packets, p)
	q.size += len(p.data) + packetOverhead
}

func (q *packetQueue) first() packet { return q.packets[q.head] }

func (q *packetQueue) drop() {
	q.size -= len(q.packets[q.head].data) + packetOverhead
	q.packets[q.head] = packet{}
	q.head++
	if q.size == 0 {
		*q = packetQueue{}
	}
}

// openPackets opens tr's socket.
func (t *task) openPackets(ctx context.Context, op string, tr *packetTransport, opts *DatagramOptions) error {
	if opts.Conn != nil {
		return tr.adopt(op, opts)
	}
	network := opts.Network
	if network == "" {
		network = "udp"
	}
	tr.network = network
	if opts.LocalAddr == "" && opts.RemoteAddr == "" && network == "udp" {
		return misuse(op, ErrBadArgument, "there is neither an address nor a family: give LocalAddr, RemoteAddr, or a Network such as udp4")
	}
	pairs, err := t.packetPairs(ctx, network, opts)
	if err != nil {
		return packetError(opts, network, err)
	}
	var errs []error
	for _, p := range pairs {
		err := tr.open(p, opts)
		if err == nil {
			return nil
		}
		errs = append(errs, packetError(opts, network, err))
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// adopt takes over the socket of opts.
func (t *packetTransport) adopt(op string, opts *DatagramOptions) error {
	if beside := opts.besideConn(); beside != "" {
		opts.Conn.Close()
		return misuse(op, ErrBadArgument, "Conn is given together with %s; it has its own", beside)
	}
	if err := t.loop.untaped(op, "what others have opened"); err != nil {
		opts.Conn.Close()
		return err
	}
	adopter, ok := t.loop.net.(seam.Adopter)
	if !ok {
		opts.Conn.Close()
		return misuse(op, errors.ErrUnsupported, "the network is simulated, and takes over nothing that was opened elsewhere")
	}
	local := opts.Conn.LocalAddr()
	t.network = "udp"
	if local != nil {
		t.network = local.Network()
	}
	conn, err := adopter.AdoptPacket(opts.Conn, t)
	if err != nil {
		return &net.OpError{Op: "adopt", Net: t.network, Addr: local, Err: err}
	}
	t.use(conn)
	t.remote = conn.RemoteAddr()
	t.connected = t.remote != seam.Addr{}
	return nil
}

// besideConn names the options that are given beside Conn.
func (o *DatagramOptions) besideConn() string {
	var names []string
	for _, f := range [...]struct {
		given bool
		name  string
	}{
		{o.Network != "", "Network"},
		{o.LocalAddr != "", "LocalAddr"},
		{o.RemoteAddr != "", "RemoteAddr"},
		{o.ReusePort, "ReusePort"},
		{o.Broadcast, "Broadcast"},
		{o.Resolver != nil, "Resolver"},
	} {
		if f.given {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, ", ")
}

// datagramOptions returns opts, or those of nil.
func datagramOptions(opts *DatagramOptions) *DatagramOptions {
	if opts == nil {
		return new(DatagramOptions)
	}
	return opts
}

// closeUnused closes the socket that would have been taken over.
func closeUnused(opts *DatagramOptions) {
	if opts.Conn != nil {
		opts.Conn.Close()
	}
}

// A packetPair is where a socket may be: in a network of one family, at a local
// address, for a remote one. Each of them may be zero.
type packetPair struct {
	network       string
	local, remote seam.Addr
}

// open opens the socket for a pair.
func (t *packetTransport) open(p packetPair, opts *DatagramOptions) error {
	connect := p.remote
	if opts.Broadcast {
		connect = seam.Addr{} // the answers do not come from the broadcast address
	}
	conn, err := t.loop.net.OpenPacket(p.network, p.local, connect, seam.PacketOptions{ReusePort: opts.ReusePort, Broadcast: opts.Broadcast}, t)
	if err != nil {
		return err
	}
	t.use(conn)
	t.remote = p.remote
	t.connected = connect != seam.Addr{}
	return nil
}

// packetPairs returns the pairs to be tried, in order.
func (t *task) packetPairs(ctx context.Context, network string, opts *DatagramOptions) ([]packetPair, error) {
	switch network {
	case "unixgram":
		return []packetPair{{network, seam.Addr{Path: opts.LocalAddr}, seam.Addr{Path: opts.RemoteAddr}}}, nil
	case "udp", "udp4", "udp6":
	default:
		return nil, net.UnknownNetworkError(network)
	}
	locals, err := t.packetAddrs(ctx, network, opts.LocalAddr, true, opts.Resolver)
	if err != nil {
		return nil, err
	}
	remotes, err := t.packetAddrs(ctx, network, opts.RemoteAddr, false, opts.Resolver)
	if err != nil {
		return nil, err
	}
	var pairs []packetPair
	for _, local := range locals {
		for _, remote := range remotes {
			if family := commonFamily(network, local, remote); family != "" {
				pairs = append(pairs, packetPair{family, seam.Addr{AddrPort: local}, seam.Addr{AddrPort: remote}})
			}
		}
	}
	if len(pairs) == 0 {
		return nil, &net.AddrError{Err: "no address of the family of the local one", Addr: opts.RemoteAddr}
	}
	return pairs, nil
}

// packetAddrs returns the addresses for "host:port"; the zero one for none.
func (t *task) packetAddrs(ctx context.Context, network, address string, local bool, r Resolver) ([]netip.AddrPort, error) {
	if address == "" {
		return []netip.AddrPort{{}}, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host != "" || !local {
		return t.resolve(ctx, network, address, r)
	}
	found, err := t.resolve(ctx, "udp", net.JoinHostPort("0.0.0.0", port), r)
	if err != nil {
		return nil, err
	}
	v4 := found[0]
	v6 := netip.AddrPortFrom(netip.IPv6Unspecified(), v4.Port())
	switch network {
	case "udp4":
		return []netip.AddrPort{v4}, nil
	case "udp6":
		return []netip.AddrPort{v6}, nil
	}
	return []netip.AddrPort{v4, v6}, nil
}

// commonFamily returns the network of one family that both addresses are in, one
// of which may be none; nothing if there is no such.
func commonFamily(network string, local, remote netip.AddrPort) string {
	names := [2]string{network, network}
	for i, a := range [2]netip.AddrPort{local, remote} {
		switch {
		case !a.IsValid():
		case a.Addr().Unmap().Is4():
			names[i] = "udp4"
		default:
			names[i] = "udp6"
		}
	}
	switch {
	case names[0] == names[1], names[1] == "udp":
		return names[0]
	case names[0] == "udp":
		return names[1]
	}
	return ""
}

// packetError gives the error of opening the operation and the address, unless it
// is a cancellation or a misuse or has them.
func packetError(opts *DatagramOptions, network string, err error) error {
	var op *net.OpError
	var usage *UsageError
	if isCancelled(err, nil) || errors.As(err, &usage) || errors.As(err, &op) {
		return err
	}
	if opts.RemoteAddr != "" {
		return &net.OpError{Op: "dial", Net: network, Addr: target{network, opts.RemoteAddr}, Err: err}
	}
	return &net.OpError{Op: "listen", Net: network, Addr: target{network, opts.LocalAddr}, Err: err}
}
