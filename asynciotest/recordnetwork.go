// The network of a loop that is recorded: the real one, and what it gives.

package asynciotest

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

func (r *recorder) Network(open func() (seam.Network, error)) (seam.Network, error) {
	inner, err := open()
	r.op(opNetwork)
	putError(r, err)
	if err != nil {
		return nil, err
	}
	r.sockets = inner
	r.start()
	return &recordedNetwork{r, inner}, nil
}

// object begins the entry of an operation on an object.
func (r *recorder) object(o op, id uint64) {
	r.block = small(append(r.small(), byte(o)), id)
}

// done writes the entry of an operation that gives nothing but an error.
func (r *recorder) done(o op, id uint64, err error) error {
	r.object(o, id)
	putError(r, err)
	return err
}

// made writes the end of an entry that makes an object, and returns its number.
func (r *recorder) made(err error) uint64 {
	putError(r, err)
	if err != nil {
		return 0
	}
	r.objects++
	return r.objects
}

type recordedNetwork struct {
	r     *recorder
	inner seam.Network
}

func (n *recordedNetwork) Wait(d time.Duration) (bool, error) { return n.inner.Wait(d) }

func (n *recordedNetwork) Wake() { n.inner.Wake() }

func (n *recordedNetwork) Close() error {
	err := n.inner.Close()
	n.r.op(opNetworkClose)
	putError(n.r, err)
	return err
}

// A handler hears of an object.
type handler struct {
	r     *recorder
	id    uint64
	h     seam.Handler
	early seam.Readiness // before there was a number
}

func (h *handler) Ready(ready seam.Readiness) {
	if h.id == 0 {
		h.early |= ready
		return
	}
	h.r.block = small(small(append(h.r.small(), byte(opReady)), h.id), uint64(ready))
	h.h.Ready(ready)
}

func dialText(network string, to, local seam.Addr) string {
	return fmt.Sprintf("%s %s from %s", network, addrText(to), addrText(local))
}

func (n *recordedNetwork) Dial(network string, to, local seam.Addr, h seam.Handler) (seam.Conn, error) {
	c := &recordedConn{handler: handler{r: n.r, h: h}}
	conn, err := n.inner.Dial(network, to, local, c)
	n.r.op(opDial)
	n.r.str(dialText(network, to, local))
	c.id = n.r.made(err)
	if err != nil {
		return nil, err
	}
	c.conn = conn
	return c, nil
}

func listenText(network string, at seam.Addr, opts seam.ListenOptions) string {
	return fmt.Sprintf("%s %s %+v", network, addrText(at), opts)
}

func (n *recordedNetwork) Listen(network string, at seam.Addr, opts seam.ListenOptions, h seam.Handler) (seam.Listener, error) {
	l := &recordedListener{handler: handler{r: n.r, h: h}}
	ln, err := n.inner.Listen(network, at, opts, l)
	n.r.op(opListen)
	n.r.str(listenText(network, at, opts))
	l.id = n.r.made(err)
	if err != nil {
		return nil, err
	}
	l.ln = ln
	return l, nil
}

func packetText(network string, local, remote seam.Addr, opts seam.PacketOptions) string {
	return fmt.Sprintf("%s %s to %s %+v", network, addrText(local), addrText(remote), opts)
}

// errUnixDatagrams is what a loop on a tape says to them: whether there is room for
// one is not told by readiness.
var errUnixDatagrams = fmt.Errorf("asynciotest: datagrams of Unix sockets cannot be recorded: %w", errors.ErrUnsupported)

func (n *recordedNetwork) OpenPacket(network string, local, remote seam.Addr, opts seam.PacketOptions, h seam.Handler) (seam.PacketConn, error) {
	if network == "unixgram" {
		return nil, errUnixDatagrams
	}
	p := &recordedPacketConn{handler: handler{r: n.r, h: h}}
	conn, err := n.inner.OpenPacket(network, local, remote, opts, p)
	n.r.op(opOpenPacket)
	n.r.str(packetText(network, local, remote, opts))
	p.id = n.r.made(err)
	if err != nil {
		return nil, err
	}
	p.conn = conn
	return p, nil
}

type recordedConn struct {
	handler
	conn   seam.Conn
	opaque bool // TLS: what moves here is not kept
}

func (c *recordedConn) Attach(h seam.Handler) error {
	c.h = h
	return c.r.done(opAttach, c.id, c.conn.(seam.AcceptedConn).Attach(c))
}

func (c *recordedConn) Connected() error { return c.r.done(opConnected, c.id, c.conn.Connected()) }

func (c *recordedConn) Read(p []byte) (int, error) {
	n, err := c.conn.Read(p)
	r := c.r
	r.endsWith(small(append(r.small(), byte(opRead)), c.id), err)
	if c.opaque {
		r.u(uint64(n))
	} else {
		r.bytes(p[:n])
	}
	return n, err
}

func (c *recordedConn) Write(p []byte) (int, error) {
	n, err := c.conn.Write(p)
	crc := uint64(0)
	if !c.opaque {
		crc = checksum(p)
	}
	c.wrote(len(p), crc, n, err)
	return n, err
}

func (c *recordedConn) Writev(v [][]byte) (int, error) {
	size, crc := 0, uint64(0)
	if c.opaque {
		for _, p := range v {
			size += len(p)
		}
	} else {
		size, crc = sum(v)
	}
	n, err := c.conn.Writev(v)
	c.wrote(size, crc, n, err)
	return n, err
}

func (c *recordedConn) wrote(size int, crc uint64, n int, err error) {
	r := c.r
	b := small(small(append(r.small(), byte(opWrite)), c.id), uint64(size))
	if !c.opaque {
		b = binary.AppendUvarint(b, crc)
	}
	r.endsWith(small(b, uint64(n)), err)
}

func (c *recordedConn) CloseWrite() error { return c.r.done(opCloseWrite, c.id, c.conn.CloseWrite()) }
func (c *recordedConn) Close() error      { return c.r.done(opClose, c.id, c.conn.Close()) }
func (c *recordedConn) Reset() error      { return c.r.done(opReset, c.id, c.conn.Reset()) }

func (c *recordedConn) LocalAddr() net.Addr {
	return c.r.addr(opLocalAddr, c.id, c.conn.LocalAddr())
}

func (c *recordedConn) RemoteAddr() net.Addr {
	return c.r.addr(opRemoteAddr, c.id, c.conn.RemoteAddr())
}

func (r *recorder) addr(o op, id uint64, a net.Addr) net.Addr {
	if r.mine() {
		r.object(o, id)
		putAddr(r, a)
	}
	return a
}

type recordedListener struct {
	handler
	ln seam.Listener
}

func (l *recordedListener) Start() error { return l.r.done(opStart, l.id, l.ln.Start()) }

func (l *recordedListener) Accept() (seam.AcceptedConn, error) {
	conn, err := l.ln.Accept()
	l.r.object(opAccept, l.id)
	id := l.r.made(err)
	if err != nil {
		return nil, err
	}
	return &recordedConn{handler: handler{r: l.r, id: id}, conn: conn}, nil
}

func (l *recordedListener) Close() error { return l.r.done(opClose, l.id, l.ln.Close()) }

func (l *recordedListener) Addr() net.Addr { return l.r.addr(opLocalAddr, l.id, l.ln.Addr()) }

type recordedPacketConn struct {
	handler
	conn seam.PacketConn
}

func (c *recordedPacketConn) ReadFrom(p []byte) (int, seam.Addr, error) {
	n, from, err := c.conn.ReadFrom(p)
	c.r.object(opReadFrom, c.id)
	putError(c.r, err)
	c.r.bytes(p[:n])
	putSeamAddr(c.r, from)
	return n, from, err
}

func (c *recordedPacketConn) WriteTo(p []byte, to seam.Addr) error {
	err := c.conn.WriteTo(p, to)
	c.r.object(opWriteTo, c.id)
	putSeamAddr(c.r, to)
	c.r.u(uint64(len(p)))
	c.r.u(checksum(p))
	putError(c.r, err)
	return err
}

func (c *recordedPacketConn) Close() error { return c.r.done(opClose, c.id, c.conn.Close()) }

func (c *recordedPacketConn) LocalAddr() seam.Addr {
	return c.r.seamAddr(opLocalAddr, c.id, c.conn.LocalAddr())
}

func (c *recordedPacketConn) RemoteAddr() seam.Addr {
	return c.r.seamAddr(opRemoteAddr, c.id, c.conn.RemoteAddr())
}

func (r *recorder) seamAddr(o op, id uint64, a seam.Addr) seam.Addr {
	if r.mine() {
		r.object(o, id)
		putSeamAddr(r, a)
	}
	return a
}

// Calls of a TLS connection.
const (
	tlsHandshake = iota
	tlsRead
	tlsWrite
	tlsCloseWrite
	tlsClose
	tlsState
)

var tlsCalls = [...]string{"handshake", "read", "write", "end of the sending half", "close", "question for the state"}

func (r *recorder) TLS(conn seam.Conn, below net.Conn) (net.Conn, func(seam.TLSConn) seam.TLSConn) {
	c := conn.(*recordedConn)
	c.opaque = true
	r.object(opTLS, c.id)
	b := &recordedBelow{Conn: below, r: r, id: c.id}
	return b, func(t seam.TLSConn) seam.TLSConn { return &recordedTLS{r, c.id, t, b} }
}

// A recordedBelow is what crypto/tls reads from and writes to. How much of that it
// does, and when, is recorded: so that a replay can do the same.
type recordedBelow struct {
	net.Conn
	r    *recorder
	id   uint64
	last error // that Read or Write has returned
}

func (b *recordedBelow) Read(p []byte) (int, error) {
	b.r.object(opTLSRead, b.id)
	b.r.u(uint64(len(p)))
	n, err := b.Conn.Read(p)
	if err != nil {
		b.last = err
	}
	return n, err
}

func (b *recordedBelow) Write(p []byte) (int, error) {
	b.r.object(opTLSWrite, b.id)
	b.r.u(uint64(len(p)))
	n, err := b.Conn.Write(p)
	if err != nil {
		b.last = err
	}
	return n, err
}

// A recordedTLS is a TLS connection whose plain text is recorded.
type recordedTLS struct {
	r     *recorder
	id    uint64
	conn  seam.TLSConn
	below *recordedBelow
}

func (t *recordedTLS) call(which uint64) {
	t.r.object(opTLSCall, t.id)
	t.r.u(which)
}

// done writes how a call has ended.
func (t *recordedTLS) done(err error) {
	t.r.object(opTLSDone, t.id)
	last := t.below.last
	switch {
	case err == nil || last == nil || !errors.Is(err, last):
		putError(t.r, err)
	case err == last:
		t.r.u(errorBelow)
	default:
		t.r.u(errorAroundBelow)
		t.r.str(err.Error())
	}
}

// broken writes that a call panics, when a function of the tls.Config does.
func (t *recordedTLS) broken(returned *bool) {
	if !*returned {
		t.r.object(opTLSDone, t.id)
		t.r.u(errorPanic)
	}
}

func (t *recordedTLS) HandshakeContext(ctx context.Context) error {
	t.call(tlsHandshake)
	returned := false
	defer t.broken(&returned)
	err := t.conn.HandshakeContext(ctx)
	returned = true
	t.done(err)
	return err
}

func (t *recordedTLS) Read(p []byte) (int, error) {
	t.call(tlsRead)
	returned := false
	defer t.broken(&returned)
	n, err := t.conn.Read(p)
	returned = true
	t.done(err)
	t.r.bytes(p[:n])
	return n, err
}

func (t *recordedTLS) Write(p []byte) (int, error) {
	t.call(tlsWrite)
	t.r.u(uint64(len(p)))
	t.r.u(checksum(p))
	n, err := t.conn.Write(p)
	t.done(err)
	t.r.u(uint64(n))
	return n, err
}

func (t *recordedTLS) CloseWrite() error {
	t.call(tlsCloseWrite)
	err := t.conn.CloseWrite()
	t.done(err)
	return err
}

func (t *recordedTLS) Close() error {
	t.call(tlsClose)
	err := t.conn.Close()
	t.done(err)
	return err
}

func (t *recordedTLS) ConnectionState() tls.ConnectionState {
	s := t.conn.ConnectionState()
	if t.r.mine() {
		t.call(tlsState)
		t.done(nil)
		putState(t.r, s)
	}
	return s
}
