// TLS on a transport: crypto/tls, unmodified.

package asyncio

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

const (
	defaultHandshakeTimeout = 60 * time.Second
	defaultShutdownTimeout  = 30 * time.Second
)

// tlsLayer is a TLS connection and the net.Conn below it. During the handshake,
// which one task runs before the consumer is told anything, a read that finds
// nothing suspends that task; crypto/tls holds its locks then, and nobody else is let
// in. Later such a read returns an error that crypto/tls takes for temporary, and
// keeps its state: so no lock is ever held across a suspension. Writes go to the
// transport's buffer and never wait.
type tlsLayer struct {
	conn   seam.TLSConn // a *tls.Conn, or what a tape makes of it
	tr     *transport
	below  *tlsLayer // TLS inside TLS; nil at the bottom
	early  []byte    // what had arrived before TLS began
	broken error     // a function of the config has panicked in a read

	answers int // bytes that wait to be sent, at most, that it has written because of reads

	// While the handshake runs.
	task *task
	ctx  context.Context
}

// tlsSetup is what a connection needs to know to begin TLS.
type tlsSetup struct {
	config    *tls.Config
	server    bool
	handshake time.Duration // limit; 0 means the default
	shutdown  time.Duration // the same
}

// check says what is wrong with the setup.
func (s *tlsSetup) check(op string) error {
	switch {
	case s.handshake < 0 || s.shutdown < 0:
		return misuse(op, ErrBadArgument, "a TLS timeout is negative")
	case s.config == nil && (s.handshake != 0 || s.shutdown != 0):
		return misuse(op, ErrBadArgument, "a TLS timeout without TLS")
	case s.config != nil && !s.server && s.config.Renegotiation != tls.RenegotiateNever:
		// It would be a handshake inside Read, which cannot wait there.
		return misuse(op, ErrBadArgument, "renegotiation is not supported; TLS 1.3 has none")
	}
	return nil
}

// linger is how long a close may take.
func (s *tlsSetup) linger() time.Duration { return cmp.Or(s.shutdown, defaultShutdownTimeout) }

// TLSOptions are the options of StartTLS. The zero value, or nil, has the defaults.
type TLSOptions struct {
	// Server makes this end the server. It is that anyway on a connection that a
	// Server has accepted.
	Server bool

	// HandshakeTimeout limits the handshake: 60 s if zero.
	HandshakeTimeout time.Duration

	// ShutdownTimeout limits how long Close may take to send what is buffered and
	// to see the peer close; then the connection is ended. 30 s if zero.
	ShutdownTimeout time.Duration
}

// startTLS is StartTLS of a stream or a Transport. early returns what its consumer
// has read ahead.
func (t *transport) startTLS(ctx context.Context, config *tls.Config, opts *TLSOptions, early func() []byte) error {
	const op = "StartTLS"
	task, err := current(ctx, op)
	if err != nil {
		return err
	}
	if opts == nil {
		opts = new(TLSOptions)
	}
	s := tlsSetup{config: config, server: opts.Server || t.origin.clients != nil, handshake: opts.HandshakeTimeout, shutdown: opts.ShutdownTimeout}
	switch err := s.check(op); {
	case err != nil:
		return err
	case task.loop != t.loop:
		return misuse(op, ErrWrongLoop, "the connection belongs to %s, the running task to %s", t.loop.name, task.loop.name)
	case t.origin.network == "pipe":
		return misuse(op, ErrBadArgument, "%v is a pipe", t.consumer)
	case config == nil:
		return misuse(op, ErrBadArgument, "the config is nil")
	case !s.server && config.ServerName == "" && !config.InsecureSkipVerify:
		return misuse(op, ErrBadArgument, "TLS needs a ServerName to verify")
	case t.shaking:
		return misuse(op, ErrInvalidState, "a handshake is under way")
	case t.sending:
		return errSending(op)
	case t.closing || t.endWanted:
		return t.error(op, net.ErrClosed)
	}
	err = task.secure(ctx, t, s, early())
	t.Ready(seam.Readable) // for those who wanted to read meanwhile
	return t.error(op, err)
}

// secure puts TLS between tr and its consumer: t shakes hands. early is what has
// arrived already. If that fails, tr is closing or closed, after an alert that
// tells the peer why.
func (t *task) secure(ctx context.Context, tr *transport, s tlsSetup, early []byte) error {
	layer := &tlsLayer{tr: tr, below: tr.tls, early: early}
	config := t.loop.judging(s.config)
	var below net.Conn = layer
	taped := func(c seam.TLSConn) seam.TLSConn { return c }
	if t.loop.tape != nil {
		if layer.below != nil {
			tr.abort()
			return t.loop.untaped("StartTLS", "TLS inside TLS")
		}
		below, taped = t.loop.tape.TLS(tr.conn, layer)
	}
	if s.server {
		layer.conn = taped(tls.Server(below, config))
	} else {
		layer.conn = taped(tls.Client(below, config))
	}
	tr.tls = layer
	tr.setLinger(s.linger())
	limit := s.handshake
	if limit == 0 {
		limit = defaultHandshakeTimeout
	}
	returned := false
	tr.shaking = true
	defer func() {
		tr.shaking = false
		layer.task, layer.ctx = nil, nil
		if !returned { // a function of the config has panicked
			tr.abort()
		}
	}()
	err := Timeout(ctx, limit, func(ctx context.Context) error {
		layer.task, layer.ctx = t, ctx
		return layer.handshake(ctx)
	})
	returned = true
	switch {
	case err == nil:
		return nil
	case isCancelled(err, ctx.Err()):
		tr.abort()
		return err
	case errors.Is(err, ErrTimeout):
		tr.abort()
		return &handshakeError{cause: err, limit: limit}
	}
	tr.close() // the peer shall get the alert
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &handshakeError{cause: err}
}

// handshake shakes hands. When ctx is done crypto/tls calls Close, on a goroutine
// of its own, and returns the error of ctx: what has interrupted it is put in place
// of that.
func (l *tlsLayer) handshake(ctx context.Context) error {
	err := l.conn.HandshakeContext(ctx)
	if err == nil || err != ctx.Err() {
		return err
	}
	if l.conn.ConnectionState().HandshakeComplete {
		return nil // it was faster
	}
	if r := scopeOf(ctx).heard(); r != nil {
		err = r.error()
	}
	return err
}

// tlsShared is what the TLS connections of a loop have in common.
type tlsShared struct {
	record []byte // where small buffers become one record
	corked []byte // where records become one write
	judged map[*tls.Config]*tls.Config
}

func (l *EventLoop) tlsShared() *tlsShared {
	s, _ := l.shared.(*tlsShared)
	if s == nil {
		s = new(tlsShared)
		l.shared = s
	}
	return s
}

// mostJudged is how many clones are kept: a function of a config may make new ones
// for ever.
const mostJudged = 64

// judging returns config as it is used on l: if it has no clock, certificates are
// judged by that of the loop. Where that is the wall clock, nothing is to be done.
// Otherwise there is one clone for each config, since clones of a server would not
// share the keys of its tickets.
func (l *EventLoop) judging(config *tls.Config) *tls.Config {
	if _, real := l.clock.(*wallClock); real || l.tape != nil || config.Time != nil {
		return config
	}
	if clone := l.tlsShared().judged[config]; clone != nil {
		return clone
	}
	clone := config.Clone()
	clone.Time = l.clock.Wall
	if choose := clone.GetConfigForClient; choose != nil {
		clone.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			if chosen != nil {
				chosen = l.judging(chosen)
			}
			return chosen, err
		}
	}
	if judged := l.tlsShared().judged; judged == nil || len(judged) >= mostJudged {
		l.tlsShared().judged = make(map[*tls.Config]*tls.Config)
	}
	l.tlsShared().judged[config] = clone
	return clone
}

// A handshakeError says that it was the handshake that failed. It times out if
// its cause does, as an error of package net.
type handshakeError struct {
	cause error
	limit time.Duration // that has passed, or 0
}

func (e *handshakeError) Error() string {
	if e.limit > 0 {
		return "TLS handshake: not done within " + e.limit.String()
	}
	return "TLS handshake: " + e.cause.Error()
}

func (e *handshakeError) Unwrap() error { return e.cause }
func (e *handshakeError) Timeout() bool { return errors.Is(e.cause, os.ErrDeadlineExceeded) }

// read reads plain text.
func (l *tlsLayer) read(p []byte) (n int, err error) {
	if l.broken != nil {
		return 0, l.broken
	}
	defer func() {
		if p := recover(); p != nil { // a cache of tickets, say
			l.broken = &PanicError{Value: p, Stack: stack()}
			n, err = 0, l.broken
		}
	}()
	n, err = l.conn.Read(p)
	switch {
	case err == io.EOF && l.below == nil:
		l.tr.over = true
	case errors.Is(err, errNoBytes) && n > 0: // a part of an alert has followed
		err = nil
	case errors.Is(err, errNoBytes):
		err = seam.ErrWouldBlock
	}
	return n, err
}

// receive reads what the layer below has.
func (l *tlsLayer) receive(p []byte) (int, error) {
	if len(l.early) > 0 {
		n := copy(p, l.early)
		if l.early = l.early[n:]; len(l.early) == 0 {
			l.early = nil
		}
		return n, nil
	}
	if l.below != nil {
		return l.below.read(p)
	}
	return l.tr.read(p, nil)
}

// Read is what crypto/tls reads from.
func (l *tlsLayer) Read(p []byte) (int, error) {
	for {
		n, err := l.receive(p)
		if err != seam.ErrWouldBlock {
			return n, err
		}
		if l.task == nil {
			return 0, errNoBytes
		}
		if err := l.task.awaitOpening(l.ctx, l.tr); err != nil {
			return 0, err
		}
	}
}

// Write is what crypto/tls writes to.
func (l *tlsLayer) Write(p []byte) (int, error) {
	if l.below != nil {
		return l.below.conn.Write(p)
	}
	if err := l.tr.send(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close does nothing: the transport is closed by its consumer. crypto/tls may call
// it on another goroutine.
func (l *tlsLayer) Close() error { return nil }

func (l *tlsLayer) LocalAddr() net.Addr              { return l.tr.conn.LocalAddr() }
func (l *tlsLayer) RemoteAddr() net.Addr             { return l.tr.conn.RemoteAddr() }
func (l *tlsLayer) SetDeadline(time.Time) error      { return nil }
func (l *tlsLayer) SetReadDeadline(time.Time) error  { return nil }
func (l *tlsLayer) SetWriteDeadline(time.Time) error { return nil }

// errNoBytes is a net.Error that crypto/tls takes for temporary.
var errNoBytes error = noBytes{}

type noBytes struct{}

func (noBytes) Error() string   { return "no bytes yet" }
func (noBytes) Timeout() bool   { return true }
func (noBytes) Temporary() bool { return true }

// maxAnswers is how many bytes that TLS has sent by itself may wait before reads
// wait for the peer to read them. A peer that updates its keys makes this end answer
// each time.
const maxAnswers = 64 << 10

// readTLS reads through the layers.
func (t *transport) readTLS(p []byte) (int, error) {
	if t.closing {
		return 0, net.ErrClosed // though crypto/tls may hold more
	}
	if t.shaking {
		return 0, seam.ErrWouldBlock // crypto/tls holds its locks; whoever shakes hands tells the consumer
	}
	// How many of the bytes that wait are answers is not known, but it is not
	// more than there were and than there are.
	layer, before := t.tls, t.buffered()
	layer.answers = min(layer.answers, before)
	if layer.answers > maxAnswers {
		t.choked = true
		return 0, seam.ErrWouldBlock
	}
	n, err := layer.read(p)
	layer.answers += max(0, t.buffered()-before)
	return n, err
}

// mayWriteTLS says whether TLS accepts writes.
func (t *transport) mayWriteTLS() error {
	if t.shaking {
		return misuse("Write", ErrInvalidState, "a TLS handshake is under way")
	}
	return t.writing()
}

// writeTLS encrypts p. The records of one call go out together.
func (t *transport) writeTLS(p []byte) error {
	if err := t.mayWriteTLS(); err != nil {
		return err
	}
	const single = 1 << 10 // becomes one record in any case
	if len(p) <= single {
		_, err := t.tls.conn.Write(p)
		return err
	}
	t.cork()
	_, err := t.tls.conn.Write(p)
	return t.uncork(err)
}

// writevTLS is writeTLS for several buffers, which share records.
func (t *transport) writevTLS(v [][]byte) (err error) {
	if err := t.mayWriteTLS(); err != nil {
		return err
	}
	shared := t.loop.tlsShared()
	if shared.record == nil {
		shared.record = make([]byte, 0, recordSize)
	}
	record := shared.record
	t.cork()
	write := func(p []byte) {
		if err == nil && len(p) > 0 {
			_, err = t.tls.conn.Write(p)
		}
	}
	for _, p := range v {
		if len(record) == 0 && len(p) >= cap(record) {
			write(p)
			continue
		}
		for len(p) > 0 {
			n := min(len(p), cap(record)-len(record))
			record = append(record, p[:n]...)
			if p = p[n:]; len(record) == cap(record) {
				write(record)
				record = record[:0]
			}
		}
	}
	write(record)
	return t.uncork(err)
}

const (
	recordSize = 16 << 10               // the most that a record of TLS holds
	corkSize   = 4 * (recordSize + 512) // four of them, encrypted
)

// cork makes send collect what it is given, as long as there is nothing before it
// in the buffer.
func (t *transport) cork() {
	shared := t.loop.tlsShared()
	shared.corked = shared.corkBuffer()
	t.corked = true
}

func (s *tlsShared) corkBuffer() []byte {
	if s.corked == nil {
		s.corked = make([]byte, 0, corkSize)
	}
	return s.corked[:0]
}

// collect is send while the cork is in.
func (t *transport) collect(p []byte) error {
	if s := t.loop.tlsShared(); len(s.corked)+len(p) <= cap(s.corked) {
		s.corked = append(s.corked, p...)
		return nil
	}
	if err := t.uncork(nil); err != nil {
		return err
	}
	t.cork()
	if len(p) > corkSize || t.out != nil {
		return t.sendNow(p)
	}
	return t.collect(p)
}

// uncork sends what was collected. err is what has happened until then.
func (t *transport) uncork(err error) error {
	t.corked = false
	shared := t.loop.tlsShared()
	if p := shared.corked; len(p) > 0 {
		shared.corked = p[:0]
		if serr := t.sendNow(p); err == nil {
			err = serr
		}
	}
	return err
}

// seeOff closes a TLS connection when the peer has ended it too, and drops what
// arrives until then. If a socket is closed while there are bytes to be read, or
// if some arrive later, the kernel resets the connection and drops what it has not
// sent yet; and with TLS such bytes come unasked, tickets for resumption say. When
// a handshake has failed it does not wait.
func (t *transport) seeOff() {
	if !t.ended {
		t.ended = true
		if err := t.conn.CloseWrite(); err != nil {
			t.over = true
		}
	}
	t.discard()
	switch {
	case t.over || t.shaking:
		t.finish(t.conn.Close)
	case t.readable:
		t.Ready(seam.Readable) // it is the turn of others
	}
}

const discardRound = 256 << 10

// discard reads what has arrived, up to a round's worth, and drops it.
func (t *transport) discard() {
	// Not the loop's scratch: a protocol that closes may be looking at that.
	p := t.loop.tlsShared().corkBuffer()
	p = p[:cap(p)]
	for round := 0; !t.over && t.readable && round < discardRound; {
		n, err := t.conn.Read(p)
		switch {
		case err == seam.ErrWouldBlock:
			t.readable = false
		case err != nil:
			t.over = true
		}
		round += n
	}
}
