// The network of a replay: it gives what has been recorded, and opens nothing.

package asynciotest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// replayed is what connections, listeners and sockets of a replay have in common.
type replayed struct {
	p    *player
	h    seam.Handler
	what string // for messages,
	name string // with its number
}

// make takes the end of an entry that makes what is said, and adds o to the others unless
// there is an error.
func (p *player) make(o *replayed, what string, h seam.Handler) error {
	if err := p.error(); err != nil {
		return err
	}
	p.objects = append(p.objects, o)
	o.p, o.h, o.what, o.name = p, h, what, fmt.Sprintf("%s (%d)", what, len(p.objects))
	return nil
}

// open takes the entry of an operation that makes an object.
func (p *player) open(o op, text string) {
	if p.entry(o, nil, text) {
		if then := p.str(); then != text {
			p.differ(nil, o.String()+": "+then, o.String()+": "+text)
		}
	}
}

func (p *player) Network(func() (seam.Network, error)) (seam.Network, error) {
	if err := p.done(opNetwork, nil); err != nil {
		return nil, err
	}
	return &replayedNetwork{p}, nil
}

type replayedNetwork struct{ p *player }

func (n *replayedNetwork) Wait(time.Duration) (bool, error) {
	return false, errors.New("asynciotest: the clock of a replay does not poll")
}

func (n *replayedNetwork) Wake() {}

func (n *replayedNetwork) Close() error { return n.p.done(opNetworkClose, nil) }

func (n *replayedNetwork) Dial(network string, to, local seam.Addr, h seam.Handler) (seam.Conn, error) {
	c := new(replayedConn)
	n.p.open(opDial, dialText(network, to, local))
	if err := n.p.make(&c.replayed, fmt.Sprintf("the connection to %s", addrText(to)), h); err != nil {
		return nil, err
	}
	return c, nil
}

func (n *replayedNetwork) Listen(network string, at seam.Addr, opts seam.ListenOptions, h seam.Handler) (seam.Listener, error) {
	l := new(replayedListener)
	n.p.open(opListen, listenText(network, at, opts))
	if err := n.p.make(&l.replayed, fmt.Sprintf("the listener at %s", addrText(at)), h); err != nil {
		return nil, err
	}
	return l, nil
}

func (n *replayedNetwork) OpenPacket(network string, local, remote seam.Addr, opts seam.PacketOptions, h seam.Handler) (seam.PacketConn, error) {
	if network == "unixgram" {
		return nil, errUnixDatagrams
	}
	c := new(replayedPacketConn)
	n.p.open(opOpenPacket, packetText(network, local, remote, opts))
	if err := n.p.make(&c.replayed, fmt.Sprintf("the socket at %s", addrText(local)), h); err != nil {
		return nil, err
	}
	return c, nil
}

type replayedConn struct {
	replayed
	opaque bool
}

func (c *replayedConn) Attach(h seam.Handler) error {
	c.h = h
	return c.p.done(opAttach, &c.replayed)
}

func (c *replayedConn) Connected() error { return c.p.done(opConnected, &c.replayed) }

// moved takes how many bytes an operation has moved, of at most most.
func (p *player) moved(most int) int {
	n := p.u()
	if n > uint64(most) {
		p.broken("%d bytes have moved, of %d", n, most)
		return 0
	}
	return int(n)
}

func (c *replayedConn) Read(b []byte) (int, error) {
	p := c.p
	if !p.entry(opRead, &c.replayed, "") {
		return 0, errReplayEnded
	}
	err := takeError(p)
	n := 0
	if c.opaque {
		n = p.moved(len(b))
		clear(b[:n])
	} else {
		n = p.fillIn(&c.replayed, b)
	}
	return p.result(n, err)
}

// fillIn takes bytes into b.
func (p *player) fillIn(object *replayed, b []byte) int {
	data := p.bytes()
	if len(data) > len(b) && p.failed == nil {
		p.differ(object, fmt.Sprintf("a read of %d bytes", len(data)), fmt.Sprintf("there is room for %d", len(b)))
	}
	return copy(b, data)
}

// result returns what an operation has given, or why the replay has failed.
func (p *player) result(n int, err error) (int, error) {
	if p.failed != nil {
		return 0, errReplayEnded
	}
	return n, err
}

func (c *replayedConn) Write(b []byte) (int, error) {
	return c.write([][]byte{b})
}

func (c *replayedConn) Writev(v [][]byte) (int, error) { return c.write(v) }

func (c *replayedConn) write(v [][]byte) (int, error) {
	p := c.p
	if !p.entry(opWrite, &c.replayed, "") {
		return 0, errReplayEnded
	}
	size, crc := sum(v)
	if c.opaque {
		if then := p.u(); then != uint64(size) {
			p.differ(&c.replayed, fmt.Sprintf("a write of %d bytes", then), fmt.Sprintf("a write of %d bytes", size))
		}
	} else {
		p.compare(&c.replayed, "a write", size, crc, v)
	}
	n := p.moved(size)
	return p.result(n, takeError(p))
}

// compare takes the length and the checksum of what was written, and compares them with
// what is being written.
func (p *player) compare(object *replayed, what string, size int, crc uint64, v [][]byte) {
	thenSize, thenCRC := p.u(), p.u()
	if p.failed == nil && (thenSize != uint64(size) || thenCRC != crc) {
		p.differ(object, fmt.Sprintf("%s of %d bytes with the checksum %08x", what, thenSize, thenCRC),
			fmt.Sprintf("%s of %d bytes with the checksum %08x: %s", what, size, crc, beginning(v)))
	}
}

// beginning shows what is being written, as far as a message has room for it.
func beginning(v [][]byte) string {
	const most = 200
	var all []byte
	for _, p := range v {
		all = append(all, p[:min(len(p), most)]...)
		if len(all) >= most {
			return fmt.Sprintf("%q...", all[:most])
		}
	}
	return fmt.Sprintf("%q", all)
}

func (c *replayedConn) CloseWrite() error { return c.p.done(opCloseWrite, &c.replayed) }
func (c *replayedConn) Close() error      { return c.p.done(opClose, &c.replayed) }
func (c *replayedConn) Reset() error      { return c.p.done(opReset, &c.replayed) }

func (c *replayedConn) LocalAddr() net.Addr  { return c.p.addr(opLocalAddr, &c.replayed) }
func (c *replayedConn) RemoteAddr() net.Addr { return c.p.addr(opRemoteAddr, &c.replayed) }

// noAddr is the address that other goroutines, and a replay that has failed, are told.
var noAddr = recordedAddr{"none", "unknown in a replay"}

func (p *player) addr(o op, object *replayed) net.Addr {
	if !p.mine() || !p.entry(o, object, "") {
		return noAddr
	}
	return takeAddr(p)
}

type replayedListener struct{ replayed }

func (l *replayedListener) Start() error { return l.p.done(opStart, &l.replayed) }

func (l *replayedListener) Accept() (seam.AcceptedConn, error) {
	l.p.entry(opAccept, &l.replayed, "")
	c := new(replayedConn)
	if err := l.p.make(&c.replayed, "a connection accepted by "+l.what, nil); err != nil {
		return nil, err
	}
	return c, nil
}

func (l *replayedListener) Close() error { return l.p.done(opClose, &l.replayed) }

func (l *replayedListener) Addr() net.Addr { return l.p.addr(opLocalAddr, &l.replayed) }

type replayedPacketConn struct{ replayed }

func (c *replayedPacketConn) ReadFrom(b []byte) (int, seam.Addr, error) {
	p := c.p
	if !p.entry(opReadFrom, &c.replayed, "") {
		return 0, seam.Addr{}, errReplayEnded
	}
	err := takeError(p)
	n := p.fillIn(&c.replayed, b)
	from := takeSeamAddr(p)
	n, err = p.result(n, err)
	return n, from, err
}

func (c *replayedPacketConn) WriteTo(b []byte, to seam.Addr) error {
	p := c.p
	if !p.entry(opWriteTo, &c.replayed, "") {
		return errReplayEnded
	}
	if then := takeSeamAddr(p); then != to && p.failed == nil {
		p.differ(&c.replayed, "a datagram to "+addrText(then), "a datagram to "+addrText(to))
	}
	p.compare(&c.replayed, "a datagram", len(b), checksum(b), [][]byte{b})
	return p.error()
}

func (c *replayedPacketConn) Close() error { return c.p.done(opClose, &c.replayed) }

func (c *replayedPacketConn) LocalAddr() seam.Addr { return c.p.seamAddr(opLocalAddr, &c.replayed) }
func (c *replayedPacketConn) RemoteAddr() seam.Addr {
	return c.p.seamAddr(opRemoteAddr, &c.replayed)
}

func (p *player) seamAddr(o op, object *replayed) seam.Addr {
	if !p.mine() || !p.entry(o, object, "") {
		return seam.Addr{}
	}
	return takeSeamAddr(p)
}

func (p *player) TLS(conn seam.Conn, below net.Conn) (net.Conn, func(seam.TLSConn) seam.TLSConn) {
	c := conn.(*replayedConn)
	c.opaque = true
	p.entry(opTLS, &c.replayed, "")
	t := &replayedTLS{c: c, p: p, below: below}
	return below, func(seam.TLSConn) seam.TLSConn { return t }
}

// A replayedTLS stands for a TLS connection. It reads from what is below it, and writes
// to it, as much and as often as the recorded one: so everything else takes the same
// course. What it reads and writes there is zeros.
type replayedTLS struct {
	c     *replayedConn
	p     *player
	below net.Conn
	last  error // of below
	zeros []byte
}

// call begins a call.
func (t *replayedTLS) call(which uint64) bool {
	p := t.p
	if !p.entry(opTLSCall, &t.c.replayed, tlsCalls[which]) {
		return false
	}
	if then := p.u(); then != which && p.failed == nil {
		name := "unknown"
		if then < uint64(len(tlsCalls)) {
			name = tlsCalls[then]
		}
		p.differ(&t.c.replayed, "a call of TLS: "+name, "a call of TLS: "+tlsCalls[which])
	}
	return p.failed == nil
}

// rest does below what the recorded connection did, and returns the error of the call.
func (t *replayedTLS) rest() error {
	p := t.p
	for {
		switch p.next() {
		case opTLSRead, opTLSWrite:
			o := p.next()
			if !p.entry(o, &t.c.replayed, "") {
				return errReplayEnded
			}
			t.move(o)
		default:
			if !p.entry(opTLSDone, &t.c.replayed, "") {
				return errReplayEnded
			}
			return t.end()
		}
	}
}

func (t *replayedTLS) move(o op) {
	const most = 1 << 20 // crypto/tls does not ask for as much
	p := t.p
	n := p.moved(most)
	if p.failed != nil {
		return
	}
	if len(t.zeros) < n {
		t.zeros = make([]byte, n)
	}
	var err error
	if o == opTLSRead {
		_, err = t.below.Read(t.zeros[:n])
	} else {
		clear(t.zeros)
		_, err = t.below.Write(t.zeros[:n])
	}
	if err != nil {
		t.last = err
	}
}

// end takes the error of a call.
func (t *replayedTLS) end() error {
	p := t.p
	switch p.peekUint() {
	case errorBelow:
		p.u()
		return t.last
	case errorAroundBelow:
		p.u()
		return &recordedError{text: p.str(), cause: t.last}
	case errorPanic:
		p.u()
		panic("a function of the tls.Config has panicked when this was recorded")
	}
	return p.error()
}

// peekUint returns the next byte, which is a small unsigned number.
func (p *player) peekUint() uint64 {
	if p.failed != nil || !p.fill() {
		return errorNone
	}
	return uint64(p.block[0])
}

func (t *replayedTLS) HandshakeContext(context.Context) error {
	if !t.call(tlsHandshake) {
		return errReplayEnded
	}
	return t.rest()
}

func (t *replayedTLS) Read(b []byte) (int, error) {
	if !t.call(tlsRead) {
		return 0, errReplayEnded
	}
	err := t.rest()
	return t.p.result(t.p.fillIn(&t.c.replayed, b), err)
}

func (t *replayedTLS) Write(b []byte) (int, error) {
	if !t.call(tlsWrite) {
		return 0, errReplayEnded
	}
	t.p.compare(&t.c.replayed, "a write by TLS", len(b), checksum(b), [][]byte{b})
	err := t.rest()
	return t.p.result(t.p.moved(len(b)), err)
}

func (t *replayedTLS) CloseWrite() error {
	if !t.call(tlsCloseWrite) {
		return errReplayEnded
	}
	return t.rest()
}

func (t *replayedTLS) Close() error {
	if !t.call(tlsClose) {
		return errReplayEnded
	}
	return t.rest()
}

func (t *replayedTLS) ConnectionState() (s tls.ConnectionState) {
	if t.p.mine() && t.call(tlsState) && t.rest() == nil {
		s = takeState(t.p)
	}
	return s
}
