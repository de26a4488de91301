// The child processes and pipes of a replay: none is started, and none is opened.

package asynciotest

import (
	"fmt"
	"os"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

func (p *player) Pipe(func() (their, our *os.File, err error)) (their, our *os.File, err error) {
	return nil, nil, p.done(opPipe, nil)
}

// A replayedPipe is an end of a pipe. The file that the program has given for it is
// neither read nor written; it is closed when the recorded one was. That to a child
// process has none.
type replayedPipe struct {
	replayedConn
	file *os.File
}

func pipeText(toWrite bool) string {
	if toWrite {
		return "a pipe to write to"
	}
	return "a pipe to read from"
}

func (n *replayedNetwork) AdoptFile(f *os.File, toWrite bool, h seam.Handler) (seam.Conn, error) {
	p := n.p
	c := &replayedPipe{file: f}
	if p.entry(opAdopt, nil, pipeText(toWrite)) {
		if then := takeBool(p); then != toWrite && p.failed == nil {
			p.differ(nil, "the use of "+pipeText(then), "the use of "+pipeText(toWrite))
		}
	}
	if err := p.make(&c.replayed, pipeText(toWrite), h); err != nil {
		c.closeFile()
		return nil, err
	}
	if early := p.u(); early != 0 {
		h.Ready(seam.Readiness(early))
	}
	return c, nil
}

// closeFile closes the file unless others rely on it, as a real pipe would.
func (c *replayedPipe) closeFile() {
	switch c.file {
	case nil, os.Stdin, os.Stdout, os.Stderr:
	default:
		c.file.Close()
	}
}

func (c *replayedPipe) CloseWrite() error {
	c.closeFile()
	return c.replayedConn.CloseWrite()
}

func (c *replayedPipe) Close() error {
	c.closeFile()
	return c.replayedConn.Close()
}

func (c *replayedPipe) Reset() error {
	c.closeFile()
	return c.replayedConn.Reset()
}

func (p *player) Start(command string, _ func() (seam.Child, error)) (seam.Child, error) {
	command = shortened(command)
	c := new(replayedChild)
	p.open(opChild, command)
	if err := p.make(&c.replayed, "", nil); err != nil {
		return nil, err
	}
	c.pid = int(p.u())
	c.name = fmt.Sprintf("the child process %d", c.pid)
	return c, nil
}

func (p *player) Listens(who string) bool {
	if p.entry(opSignals, nil, who) {
		if then := p.str(); then != who && p.failed == nil {
			p.differ(nil, fmt.Sprintf("%v: %s", opSignals, then), fmt.Sprintf("%v: %s", opSignals, who))
		}
	}
	return false
}

// A replayedChild stands for a process that once was.
type replayedChild struct {
	replayed
	pid    int
	waiter seam.Handler // hears of the exit when the replay has failed
}

func (c *replayedChild) Pid() int { return c.pid }

func (c *replayedChild) Watch(_ seam.Network, h seam.Handler) (stop func()) {
	c.waiter = h
	if !c.p.entry(opChildWatch, &c.replayed, "") || !takeBool(c.p) {
		return nil
	}
	c.h = h
	return func() { c.h = nil }
}

func (c *replayedChild) Await(func()) {} // it is expected

// Signal reaches nobody. A replay that has failed ends, and then whatever is signalled
// exits.
func (c *replayedChild) Signal(sig os.Signal, group bool) error {
	p := c.p
	now := signalText(sig, group)
	if p.entry(opChildSignal, &c.replayed, now) {
		if then := p.str(); then != now && p.failed == nil {
			p.differ(&c.replayed, fmt.Sprintf("%v: %s", opChildSignal, then), fmt.Sprintf("%v: %s", opChildSignal, now))
		}
	}
	err := takeError(p)
	if p.failed != nil {
		c.waiter.Ready(seam.Readable)
		return nil
	}
	return err
}

func (c *replayedChild) Exits(time.Duration) bool {
	return !c.p.entry(opChildExits, &c.replayed, "") || takeBool(c.p)
}

func (c *replayedChild) Reap() (*os.ProcessState, error) {
	p := c.p
	if !p.entry(opChildReap, &c.replayed, "") {
		return new(os.ProcessState), nil // nobody shall be told that the exit is lost
	}
	if err := p.error(); err != nil {
		return nil, err
	}
	return takeExit(p), nil
}
