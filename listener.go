// The listening sockets of a server.

package asyncio

import (
	"fmt"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// A listener is one listening socket of a server.
type listener struct {
	registered // in loop.open
	server     *Server
	listener   seam.Listener
	queued     bool
	closed     bool
	retry      *TimerHandle // while accepting pauses for lack of descriptors
	complained bool         // about that
}

const (
	acceptBatch = 64 // so that a flood of connections does not hold up the others
	acceptRetry = time.Second
)

func (ln *listener) String() string { return fmt.Sprintf("<listener %v>", ln.listener.Addr()) }

// use takes over a listening socket.
func (ln *listener) use(sl seam.Listener) {
	ln.listener = sl
	l := ln.server.loop
	l.open.add(&ln.registered, ln)
	l.listening++
	l.onNetwork++
	ln.server.listeners = append(ln.server.listeners, ln)
}

// Ready notes that there are connections to accept.
func (ln *listener) Ready(seam.Readiness) {
	if !ln.queued {
		ln.queued = true
		ln.server.loop.ready.push(ln)
	}
}

// run accepts connections.
func (ln *listener) run() {
	ln.queued = false
	if ln.closed || ln.retry != nil {
		return
	}
	for range acceptBatch {
		if ln.server.full() {
			return // forget goes on
		}
		conn, err := ln.listener.Accept()
		switch {
		case err == seam.ErrWouldBlock:
			ln.complained = false
			return
		case err != nil:
			ln.pause(err)
			return
		}
		ln.server.accept(conn)
		if ln.closed {
			return
		}
	}
	ln.Ready(seam.Readable) // there may be more
}

// pause tries again later: what is missing, descriptors most likely, has to be
// freed by somebody. The connections wait meanwhile.
func (ln *listener) pause(err error) {
	if !ln.complained {
		ln.complained = true
		ln.server.report("accepting pauses", err)
	}
	l := ln.server.loop
	ln.retry = l.callAt(after(l.clock.Now(), acceptRetry), func() {
		ln.retry = nil
		ln.run()
	})
}

func (ln *listener) close() error {
	if ln.closed {
		return nil
	}
	ln.closed = true
	if ln.retry != nil {
		ln.retry.Cancel()
	}
	l := ln.server.loop
	l.open.remove(&ln.registered)
	l.listening--
	l.onNetwork--
	return ln.listener.Close()
}

// abandon is close when the loop is closed.
func (ln *listener) abandon() { ln.close() }
