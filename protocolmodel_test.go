// A property of protocols: whatever both sides do, and when, each gets exactly what
// the other has sent.

package asyncio_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// A checker gets the bytes of pattern, from the first on, in pieces.
type checker struct {
	want []byte
	n    int
	bad  bool
}

func (c *checker) feed(p []byte) {
	if c.n+len(p) > len(c.want) || string(p) != string(c.want[c.n:c.n+len(p)]) {
		c.bad = true
	}
	c.n += len(p)
}

// A moody protocol pauses, resumes, changes its kind and its marks by chance.
type moody struct {
	rng   *rand.Rand
	tr    *asyncio.Transport
	got   *checker
	left  []byte // to be written
	state *moodyState
}

// moodyState is what the two kinds share.
type moodyState struct {
	made, eof, lost int
	stopped         bool // PauseWriting was called last
	wrong           string
	err             error
	ended           bool // nothing more will be written
}

func (m *moody) fault(what string) {
	if m.state.wrong == "" {
		m.state.wrong = what
	}
}

func (m *moody) ConnectionMade(t *asyncio.Transport) {
	m.tr = t
	if m.state.made++; m.state.made > 1 {
		m.fault("ConnectionMade twice")
	}
	m.act()
}

func (m *moody) DataReceived(p []byte) {
	m.got.feed(p)
	switch {
	case len(p) == 0:
		m.fault("no data")
	case m.state.eof > 0:
		m.fault("data after the end")
	}
	m.check("data")
	m.act()
}

func (m *moody) check(callback string) {
	switch {
	case m.state.made == 0:
		m.fault(callback + " before ConnectionMade")
	case m.state.lost > 0:
		m.fault(callback + " after ConnectionLost")
	}
}

func (m *moody) EOFReceived() bool {
	if m.state.eof++; m.state.eof > 1 {
		m.fault("the end twice")
	}
	m.check("the end")
	return true
}

func (m *moody) PauseWriting() {
	m.check("PauseWriting")
	if m.state.stopped {
		m.fault("PauseWriting twice")
	}
	m.state.stopped = true
}

func (m *moody) ResumeWriting() {
	m.check("ResumeWriting")
	if !m.state.stopped {
		m.fault("ResumeWriting twice")
	}
	m.state.stopped = false
	m.act()
}

func (m *moody) ConnectionLost(err error) {
	m.check("ConnectionLost")
	m.state.lost++
	m.state.err = err
}

// act does something that is allowed at any time.
func (m *moody) act() {
	switch m.rng.IntN(8) {
	case 0:
		m.tr.PauseReading()
	case 1:
		m.tr.ResumeReading()
	case 2:
		if m.rng.IntN(2) == 0 {
			m.tr.SetProtocol(m)
		} else {
			m.tr.SetProtocol(&moodyBuffered{moody: m, buf: make([]byte, 1+m.rng.IntN(100_000))})
		}
	case 3:
		low := m.rng.IntN(100_000)
		m.tr.SetWriteBufferLimits(low+m.rng.IntN(200_000), low)
	default:
		m.write()
	}
}

func (m *moody) write() {
	for !m.state.stopped && len(m.left) > 0 && m.rng.IntN(4) != 0 {
		n := min(len(m.left), 1+m.rng.IntN(1<<m.rng.IntN(20)))
		if m.rng.IntN(3) == 0 {
			m.tr.WriteLines([][]byte{m.left[:n/2], nil, m.left[n/2 : n]})
		} else {
			m.tr.Write(m.left[:n])
		}
		m.left = m.left[n:]
	}
	if len(m.left) == 0 && !m.state.ended {
		m.state.ended = true
		m.tr.WriteEOF()
	}
}

// moodyBuffered is a moody that provides the memory.
type moodyBuffered struct {
	*moody
	buf []byte
}

func (m *moodyBuffered) GetBuffer(hint int) []byte {
	if m.state.eof > 0 {
		m.fault("GetBuffer after the end")
	}
	return m.buf[:1+m.rng.IntN(len(m.buf))]
}

func (m *moodyBuffered) BufferUpdated(n int) { m.DataReceived(m.buf[:n]) }

// dawdle lets some time go by, or none.
func dawdle(rng *rand.Rand) {
	if rng.IntN(8) == 0 {
		time.Sleep(time.Duration(rng.IntN(200)) * time.Microsecond)
	}
}

func TestProtocolModel(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	client := &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool}}
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "127.0.0.1")}}
	down, up := pattern(2<<20), pattern(3<<20)
	for seed := range uint64(max(scaled(300), 10)) {
		secure, breaks := seed%3 == 2, seed%5 == 4
		name := fmt.Sprintf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		sent := down[:rng.IntN(1<<(rng.IntN(22)+1))%len(down)]
		answer := up[:rng.IntN(1<<(rng.IntN(22)+1))%len(up)]
		heard := &checker{want: answer}
		made, ended := newGate(), newGate()
		address := peer(t, func(tc *net.TCPConn) error {
			defer ended.open()
			c, half := net.Conn(tc), tc.CloseWrite
			if secure {
				s := tls.Server(tc, server)
				if err := s.Handshake(); err != nil {
					return err
				}
				c, half = s, s.CloseWrite
			}
			reading := make(chan error, 1)
			go func() {
				rng := rand.New(rand.NewPCG(seed, 1))
				for p := make([]byte, 100_000); ; {
					n, err := c.Read(p[:1+rng.IntN(len(p))])
					heard.feed(p[:n])
					if err != nil {
						reading <- err
						return
					}
					dawdle(rng)
				}
			}()
			rng := rand.New(rand.NewPCG(seed, 2))
			for left := sent; len(left) > 0; {
				n := min(len(left), 1+rng.IntN(1<<rng.IntN(18)))
				if _, err := c.Write(left[:n]); err != nil {
					return err
				}
				left = left[n:]
				dawdle(rng)
			}
			if breaks {
				made.pass()
				reset(tc)
				<-reading
				return nil
			}
			if err := half(); err != nil {
				return err
			}
			if err := <-reading; err != io.EOF {
				return err
			}
			return nil
		})
		m := &moody{rng: rng, got: &checker{want: sent}, left: answer, state: new(moodyState)}
		runStreams(t, func(ctx context.Context) error {
			opts := &asyncio.ConnOptions{}
			if secure {
				opts = client
			}
			tr, _, err := asyncio.CreateConnection(ctx, "tcp", address, func() *moody { return m }, opts)
			made.open()
			if err != nil {
				return err
			}
			deadline := time.Now().Add(2 * time.Minute)
			for m.state.lost == 0 {
				if time.Now().After(deadline) {
					t.Fatalf("%s is stuck: %v; got %d of %d, reading %t; %d left to write, peer got %d of %d", name, tr, m.got.n, len(sent), tr.IsReading(), len(m.left), heard.n, len(answer))
				}
				if err := asyncio.Sleep(ctx, time.Duration(rng.IntN(50))*time.Microsecond); err != nil {
					return err
				}
				m.act()
				if m.state.eof > 0 && m.state.ended {
					tr.Close()
				}
			}
			return ended.waitIn(ctx)
		})
		s := m.state
		switch {
		case s.wrong != "" || s.made != 1 || s.lost != 1 || m.got.bad || heard.bad:
			t.Fatalf("%s: %s; %+v; got %+v", name, s.wrong, s, m.got.bad)
		case breaks && s.err == nil && s.eof == 0:
			t.Fatalf("%s: the reset was not told", name)
		case !breaks && (s.err != nil || s.eof != 1 || m.got.n != len(sent) || heard.n != len(answer)):
			t.Fatalf("%s: lost by %v, got %d of %d, the peer %d of %d", name, s.err, m.got.n, len(sent), heard.n, len(answer))
		}
	}
}
