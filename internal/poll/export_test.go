//go:build linux

// This file lets tests reach what they cannot bring about from outside.

package poll

import (
	"encoding/binary"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// ForgetPwait2 makes p wait as on a kernel without epoll_pwait2.
func (p *Poller) ForgetPwait2() { p.kernel.noPwait2 = true }

// FallAsleep makes Wake believe that a Wait is blocked.
func (p *Poller) FallAsleep() { p.state.Store(asleep) }

// Milliseconds is the timeout of epoll_pwait for d.
func Milliseconds(d time.Duration) int { return milliseconds(d) }

// Wakes returns how often Wake has written since the last call.
func (p *Poller) Wakes() uint64 {
	var count [8]byte
	if _, err := unix.Read(p.kernel.wakefd, count[:]); err != nil {
		return 0
	}
	return binary.NativeEndian.Uint64(count[:])
}

// FillWakes leaves the wake-up descriptor no room for another write.
func (p *Poller) FillWakes() error {
	var count [8]byte
	binary.NativeEndian.PutUint64(count[:], math.MaxUint64-1)
	_, err := unix.Write(p.kernel.wakefd, count[:])
	return err
}
