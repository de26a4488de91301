// Children of the system: how a process is signalled, watched and reaped.

package asyncio

import (
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// A systemChild is a process that has been started.
//
// It is reaped on the loop's thread, together with the news of its exit: as long as
// that is not known its pid cannot belong to another process. On Linux its pidfd tells
// when. Where there is none a goroutine waits for it; package os then takes care that a
// signal does not meet another process.
type systemChild struct {
	cmd    *exec.Cmd
	pid    int
	reaped chan struct{} // closed by the goroutine that has reaped it; nil if none does

	// Set by reap.
	state *os.ProcessState
	err   error
}

// Pid returns its number.
func (c *systemChild) Pid() int { return c.pid }

// Watch watches its pidfd, which stays open until it is reaped.
func (c *systemChild) Watch(n seam.Network, h seam.Handler) (stop func()) {
	w, ok := n.(seam.Watcher)
	if !ok || runtime.GOOS != "linux" {
		return nil
	}
	c.cmd.Process.WithHandle(func(pidfd uintptr) {
		watch, err := w.Watch(int(pidfd), h)
		if err != nil {
			return
		}
		if watch.Set(seam.Readable) != nil {
			watch.Close()
			return
		}
		stop = func() { watch.Close() }
	})
	return stop
}

// Await waits for it on a goroutine.
func (c *systemChild) Await(tell func()) {
	c.reaped = make(chan struct{})
	go func() {
		c.reap()
		close(c.reaped)
		tell()
	}()
}

// Exits waits for it here.
func (c *systemChild) Exits(d time.Duration) bool {
	if c.reaped == nil {
		c.Await(func() {})
	}
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	select {
	case <-c.reaped:
		return true
	case <-timeout.C:
		return false
	}
}

// Reap returns how it has exited.
func (c *systemChild) Reap() (*os.ProcessState, error) {
	if c.reaped == nil {
		c.reap()
	}
	if c.err != nil {
		c.cmd.Process.Release() // not while the loop may signal it
	}
	return c.state, c.err
}

func (c *systemChild) reap() { c.state, c.err = c.cmd.Process.Wait() }

// Signal signals it, or its group, which has its pid. As long as it is not reaped
// that is no other group's.
func (c *systemChild) Signal(sig os.Signal, group bool) error {
	if !group {
		return c.cmd.Process.Signal(sig)
	}
	if c.reaped != nil { // a goroutine may have reaped it already
		if err := c.cmd.Process.Signal(noSignal); err != nil {
			return err
		}
	}
	err := signalGroup(c.pid, sig)
	if err == os.ErrProcessDone { // it has moved to another group
		err = c.cmd.Process.Signal(sig)
	}
	return err
}
