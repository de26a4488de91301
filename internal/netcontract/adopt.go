// This file tests taking over what others have opened.

package netcontract

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/goasyncio/asyncio/internal/seam"
)

// Adoption tests a network that is an Adopter.
func Adoption(t *testing.T, open Open) {
	t.Run("connection", func(t *testing.T) { everywhere(t, open, testAdoptConn) })
	t.Run("listener", func(t *testing.T) { everywhere(t, open, testAdoptListener) })
	t.Run("the wrong kind of socket", func(t *testing.T) { testAdoptWrong(start(t, open)) })
	t.Run("socket file", func(t *testing.T) { testAdoptSocketFile(start(t, open)) })
	if runtime.GOOS != "windows" {
		t.Run("pipe to read", func(t *testing.T) { testAdoptReader(start(t, open)) })
		t.Run("pipe to write", func(t *testing.T) { testAdoptWriter(start(t, open)) })
		t.Run("blocking pipe", func(t *testing.T) { testAdoptBlocking(start(t, open)) })
	}
}

func testAdoptConn(s suite, p place) {
	l, p := s.peerListen(p)
	ours := s.peerDial(p)
	peer, err := l.Accept()
	s.must(err)
	defer peer.Close()
	want := ours.RemoteAddr().String()
	rec := new(recorder)
	c, err := s.net.(seam.Adopter).AdoptConn(ours, rec)
	s.must(err)
	defer c.Close()
	s.reported(rec, seam.Writable)
	s.must(c.Connected())
	if got := c.RemoteAddr().String(); got != want {
		s.Errorf("RemoteAddr = %q, want %q", got, want)
	}
	s.writeAll(c, []byte("ping"))
	buf := make([]byte, 4)
	if _, err := io.ReadFull(peer, buf); err != nil || string(buf) != "ping" {
		s.Errorf("the peer read %q, %v", buf, err)
	}
	peer.Write([]byte("pong"))
	peer.Close()
	if got, err := s.readAll(c); string(got) != "pong" || err != nil {
		s.Errorf("read %q, %v", got, err)
	}
	s.must(c.Close())
}

func testAdoptListener(s suite, p place) {
	ours, p := s.peerListen(p)
	rec := new(recorder)
	l, err := s.net.(seam.Adopter).AdoptListener(ours, seam.ListenOptions{}, rec)
	s.must(err)
	defer l.Close()
	first := s.peerDial(p) // before Start
	defer first.Close()
	s.must(l.Start())
	s.accept(l)
	second := s.peerDial(p)
	defer second.Close()
	s.accept(l)
	s.must(l.Close())
	if c, err := net.Dial(p.peer()); err == nil {
		c.Close()
		s.Error("it still listens")
	}
	if p.network == "unix" {
		if _, err := os.Lstat(p.path); err == nil {
			s.Error("the socket file is still there")
		}
	}
}

func testAdoptWrong(s suite) {
	udp, err := net.Dial("udp", "127.0.0.1:9")
	s.must(err)
	_, err = s.net.(seam.Adopter).AdoptConn(udp, new(recorder))
	s.is(err, syscall.EPROTOTYPE)
	if _, err := udp.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		s.Errorf("it was left open: %v", err)
	}
}

func testAdoptSocketFile(s suite) {
	path := filepath.Join(shortDir(s.T), "s")
	ours, err := net.Listen("unix", path)
	s.must(err)
	l, err := s.net.(seam.Adopter).AdoptListener(ours, seam.ListenOptions{KeepSocketFile: true}, new(recorder))
	s.must(err)
	s.must(l.Close())
	if _, err := os.Lstat(path); err != nil {
		s.Error("the socket file is gone")
	}
}

func testAdoptReader(s suite) {
	r, w, err := os.Pipe()
	s.must(err)
	rec := new(recorder)
	c, err := s.net.(seam.Adopter).AdoptFile(r, false, rec)
	s.must(err)
	defer c.Close()
	sent := noise(1 << 20)
	go func() {
		w.Write(sent)
		w.Close()
	}()
	if got, err := s.readAll(c); err != nil || !bytes.Equal(got, sent) {
		s.Errorf("%d bytes, %v", len(got), err)
	}
	s.must(c.Close())
	// One that is closed while nothing comes.
	idle, other, err := os.Pipe()
	s.must(err)
	defer other.Close()
	c, err = s.net.(seam.Adopter).AdoptFile(idle, false, rec)
	s.must(err)
	if _, err := c.Read(make([]byte, 1)); err != seam.ErrWouldBlock {
		s.Errorf("Read = %v", err)
	}
	s.must(c.Close())
	if _, err := other.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		s.Errorf("the other end is told %v", err)
	}
}

func testAdoptWriter(s suite) {
	r, w, err := os.Pipe()
	s.must(err)
	defer r.Close()
	rec := new(recorder)
	c, err := s.net.(seam.Adopter).AdoptFile(w, true, rec)
	s.must(err)
	defer c.Close()
	s.reported(rec, seam.Writable)
	if rec.got&(seam.Readable|seam.Failed|seam.HungUp) != 0 {
		s.Errorf("reports %b of a pipe in order", rec.got)
	}
	rec.take()
	sent := s.fill(c)
	s.must(c.CloseWrite()) // is Close
	if err := c.Close(); err != net.ErrClosed {
		s.Errorf("Close after CloseWrite: %v", err)
	}
	if got, err := io.ReadAll(r); !bytes.Equal(got, sent) || err != nil {
		s.Errorf("%d bytes of %d have arrived, %v", len(got), len(sent), err)
	}
	// The reader goes away.
	r, w, err = os.Pipe()
	s.must(err)
	rec = new(recorder)
	c, err = s.net.(seam.Adopter).AdoptFile(w, true, rec)
	s.must(err)
	defer c.Close()
	s.reported(rec, seam.Writable)
	rec.take()
	r.Close()
	if runtime.GOOS == "linux" {
		s.reported(rec, seam.Failed)
	}
	for err = nil; err == nil || err == seam.ErrWouldBlock; {
		s.net.Wait(1e6)
		_, err = c.Write([]byte("x"))
	}
	s.is(err, syscall.EPIPE)
}

// testAdoptBlocking takes a pipe that package os found blocking, as standard input
// is, and gives it back so.
func testAdoptBlocking(s suite) {
	r, w, err := os.Pipe()
	s.must(err)
	defer w.Close()
	blocking := blockingFile(s, r)
	c, err := s.net.(seam.Adopter).AdoptFile(blocking, false, new(recorder))
	s.must(err)
	if _, err := c.Read(make([]byte, 1)); err != seam.ErrWouldBlock {
		s.Errorf("Read = %v", err)
	}
	s.must(c.Close()) // the read that is under way ends
}
