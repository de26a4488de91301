// The child processes and pipes of a loop that is recorded.

package asynciotest

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

func (r *recorder) Pipe(open func() (their, our *os.File, err error)) (their, our *os.File, err error) {
	their, our, err = open()
	r.op(opPipe)
	putError(r, err)
	return their, our, err
}

func (n *recordedNetwork) AdoptFile(f *os.File, toWrite bool, h seam.Handler) (seam.Conn, error) {
	a, ok := n.inner.(seam.FileAdopter)
	if !ok {
		f.Close()
		return nil, errors.ErrUnsupported
	}
	c := &recordedConn{handler: handler{r: n.r, h: h}}
	conn, err := a.AdoptFile(f, toWrite, c)
	n.r.op(opAdopt)
	putBool(n.r, toWrite)
	id := n.r.made(err)
	if err != nil {
		return nil, err
	}
	n.r.u(uint64(c.early))
	c.conn, c.id = conn, id
	if c.early != 0 {
		h.Ready(c.early)
	}
	return c, nil
}

// commandLimit is how long the text of a command may be in a recording.
const commandLimit = 4 << 10

// shortened returns a text that may be long as one that is not, and tells it from
// others nevertheless.
func shortened(text string) string {
	if len(text) <= commandLimit {
		return text
	}
	return fmt.Sprintf("%s... (%d bytes with the checksum %08x)", text[:commandLimit], len(text), checksum([]byte(text)))
}

func (r *recorder) Start(command string, start func() (seam.Child, error)) (seam.Child, error) {
	child, err := start()
	r.op(opChild)
	r.str(shortened(command))
	id := r.made(err)
	if err != nil {
		return nil, err
	}
	r.u(uint64(child.Pid()))
	return &recordedChild{handler: handler{r: r, id: id}, child: child}, nil
}

func (r *recorder) Listens(who string) bool {
	r.op(opSignals)
	r.str(who)
	return true
}

// A recordedChild is a process of the system, and what becomes of it.
type recordedChild struct {
	handler
	child seam.Child
}

func (c *recordedChild) Pid() int { return c.child.Pid() }

func (c *recordedChild) Watch(_ seam.Network, h seam.Handler) (stop func()) {
	c.h = h
	stop = c.child.Watch(c.r.sockets, &c.handler)
	c.r.object(opChildWatch, c.id)
	putBool(c.r, stop != nil)
	return stop
}

func (c *recordedChild) Await(tell func()) { c.child.Await(tell) }

func (c *recordedChild) Signal(sig os.Signal, group bool) error {
	err := c.child.Signal(sig, group)
	c.r.object(opChildSignal, c.id)
	c.r.str(signalText(sig, group))
	putError(c.r, err)
	return err
}

func signalText(sig os.Signal, group bool) string {
	if group {
		return fmt.Sprintf("%v to its group", sig)
	}
	return fmt.Sprint(sig)
}

func (c *recordedChild) Exits(d time.Duration) bool {
	exited := c.child.Exits(d)
	c.r.object(opChildExits, c.id)
	putBool(c.r, exited)
	return exited
}

func (c *recordedChild) Reap() (*os.ProcessState, error) {
	state, err := c.child.Reap()
	c.r.object(opChildReap, c.id)
	putError(c.r, err)
	if err == nil {
		putExit(c.r, state)
	}
	return state, err
}
