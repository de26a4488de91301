// This file is the kernel's side of a Poller on Linux: epoll, and an eventfd
// to wake it.

package poll

import (
	"cmp"
	"errors"
	"math"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/seam"
)

// The buffer for events starts with minEvents and doubles each time that it was
// filled, up to maxEvents. What does not fit comes with the next poll.
const (
	minEvents = 128
	maxEvents = 8192
)

// events returns what to register a descriptor for. With edges, that is
// everything, once and for all. Errors and hang-ups are reported unasked; where
// nothing was asked for they have to be edges, or each poll would return at once.
func (m mode) events() uint32 {
	if m == edges {
		return unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	}
	var events uint32
	if m&mode(seam.Readable) != 0 {
		events |= unix.EPOLLIN
	}
	if m&mode(seam.Writable) != 0 {
		events |= unix.EPOLLOUT
	}
	if events == 0 {
		return unix.EPOLLET
	}
	return events
}

type kernel struct {
	epfd   int
	wakefd int // never read: with EPOLLET, each write to it is an event
	events []unix.EpollEvent

	timeout  timespec
	noPwait2 bool // the kernel has no epoll_pwait2, or a filter forbids it
}

// A timespec is the kernel's struct __kernel_timespec, the same on 32-bit
// systems, where unix.Timespec is smaller.
type timespec struct{ sec, nsec int64 }

func (k *kernel) open() error {
	var err error
	if k.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if k.wakefd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(k.epfd)
		return os.NewSyscallError("eventfd2", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: wakeSlot}
	if err = unix.EpollCtl(k.epfd, unix.EPOLL_CTL_ADD, k.wakefd, &ev); err != nil {
		k.close()
		return os.NewSyscallError("epoll_ctl", err)
	}
	k.events = make([]unix.EpollEvent, minEvents)
	return nil
}

func (k *kernel) close() error {
	return os.NewSyscallError("close", cmp.Or(unix.Close(k.wakefd), unix.Close(k.epfd)))
}

// add registers fd. The kernel keeps slot and gen, no pointers.
func (k *kernel) add(fd int, slot int32, gen uint32, m mode) error {
	return k.control(unix.EPOLL_CTL_ADD, fd, slot, gen, m)
}

// change registers fd, which is registered, in another way.
func (k *kernel) change(fd int, slot int32, gen uint32, m mode) error {
	return k.control(unix.EPOLL_CTL_MOD, fd, slot, gen, m)
}

func (k *kernel) control(op, fd int, slot int32, gen uint32, m mode) error {
	ev := unix.EpollEvent{Events: m.events(), Fd: slot, Pad: int32(gen)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(k.epfd, op, fd, &ev))
}

func (k *kernel) remove(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(k.epfd, unix.EPOLL_CTL_DEL, fd, nil))
}

func (k *kernel) wake() {
	one := [8]byte{1} // whatever the byte order, it is not zero
	unix.Write(k.wakefd, one[:])
}

// poll fetches events without waiting and returns how many there are.
//
// As it cannot block, the scheduler need not know: that takes a third off the
// 200 ns of a system call. Wait tries it before block, since a loop with much
// to do nearly always finds something ready; the others have the time.
func (k *kernel) poll() (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(k.epfd),
		uintptr(unsafe.Pointer(&k.events[0])), uintptr(len(k.events)), 0, 0, 0)
	return fetched("epoll_pwait", n, errno)
}

// block is like poll but waits for at most d, for ever if d is negative.
func (k *kernel) block(d time.Duration) (int, error) {
	if !k.noPwait2 {
		n, err := k.pwait2(d)
		if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
			return n, err
		}
		k.noPwait2 = true
	}
	return k.pwait(d)
}

// pwait2 waits with the precision of nanoseconds.
func (k *kernel) pwait2(d time.Duration) (int, error) {
	var timeout unsafe.Pointer // nil: for ever
	if d >= 0 {
		k.timeout = timespec{int64(d / time.Second), int64(d % time.Second)}
		timeout = unsafe.Pointer(&k.timeout)
	}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(k.epfd),
		uintptr(unsafe.Pointer(&k.events[0])), uintptr(len(k.events)), uintptr(timeout), 0, 0)
	return fetched("epoll_pwait2", n, errno)
}

// pwait waits with the precision of milliseconds.
func (k *kernel) pwait(d time.Duration) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(k.epfd),
		uintptr(unsafe.Pointer(&k.events[0])), uintptr(len(k.events)), uintptr(milliseconds(d)), 0, 0)
	return fetched("epoll_pwait", n, errno)
}

// milliseconds returns d as a timeout of epoll_pwait: rounded up, so that the
// wait does not end early, and limited to what fits.
func milliseconds(d time.Duration) int {
	if d < 0 {
		return -1
	}
	ms := d / time.Millisecond
	if d%time.Millisecond != 0 {
		ms++
	}
	return int(min(ms, math.MaxInt32))
}

// fetched turns the result of a system call into a number of events. A signal
// that ended the wait is no error: there are no events, that is all.
func fetched(call string, n uintptr, errno unix.Errno) (int, error) {
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	default:
		return 0, os.NewSyscallError(call, errno)
	}
}

// event returns what the i-th event that was fetched is about.
func (k *kernel) event(i int) (slot int32, gen uint32, r seam.Readiness) {
	ev := &k.events[i]
	return ev.Fd, uint32(ev.Pad), readiness(ev.Events)
}

// done says that the n events that were fetched have been handed out.
func (k *kernel) done(n int) {
	if n == len(k.events) && n < maxEvents {
		k.events = make([]unix.EpollEvent, 2*n)
	}
}

func readiness(events uint32) seam.Readiness {
	var r seam.Readiness
	if events&unix.EPOLLIN != 0 {
		r |= seam.Readable
	}
	if events&unix.EPOLLOUT != 0 {
		r |= seam.Writable
	}
	if events&unix.EPOLLPRI != 0 {
		r |= seam.Readable | Urgent
	}
	if events&unix.EPOLLRDHUP != 0 {
		r |= seam.Readable | seam.HungUp
	}
	if events&unix.EPOLLHUP != 0 {
		r |= seam.Readable | seam.Writable | seam.HungUp
	}
	if events&unix.EPOLLERR != 0 {
		r |= seam.Readable | seam.Writable | seam.Failed
	}
	return r
}
