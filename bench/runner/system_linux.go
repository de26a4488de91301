// What the runner asks of Linux: processors, limits, and what a process uses.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// places chooses a processor for contenders and another for clients.
func places() (place, error) {
	var s unix.CPUSet
	if err := unix.SchedGetaffinity(0, &s); err != nil {
		return place{}, err
	}
	var cpus []*int
	for i := 0; len(cpus) < s.Count(); i++ {
		if s.IsSet(i) {
			cpus = append(cpus, &i)
		}
	}
	if len(cpus) < 2 {
		return place{}, errors.New("there is one alone")
	}
	return place{contender: cpus[0], client: cpus[1]}, nil
}

// startOn starts a command on a processor, which it inherits from this thread.
func startOn(cpu *int, cmd *exec.Cmd) error {
	if cpu == nil {
		return cmd.Start()
	}
	var before, one unix.CPUSet
	one.Set(*cpu)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	err := cmd.Start()
	return errors.Join(err, unix.SchedSetaffinity(0, &before))
}

// raiseOpenFiles lets processes that we start have as many descriptors as they may.
func raiseOpenFiles() {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil {
		l.Cur = l.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l) // who needs more will say so
	}
}

func canRead() error { return nil }

// resident is the memory of a process.
func resident(pid int) (int64, error) {
	f, err := statistics(pid, "statm")
	if err != nil || len(f) < 2 {
		return 0, errors.Join(err, errors.ErrUnsupported)
	}
	pages, err := strconv.ParseInt(string(f[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// cpuTicks is what a process has used, in hundredths of a second.
func cpuTicks(pid int) (int64, error) {
	f, err := statistics(pid, "stat")
	if err != nil || len(f) < 13 {
		return 0, errors.Join(err, errors.ErrUnsupported)
	}
	user, err1 := strconv.ParseInt(string(f[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(f[12]), 10, 64)
	return user + system, errors.Join(err1, err2)
}

// statistics returns the fields of a file of a process, those after its name in "stat".
func statistics(pid int, file string) ([][]byte, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return nil, err
	}
	if i := bytes.LastIndexByte(b, ')'); i >= 0 {
		b = b[i+1:]
	}
	return bytes.Fields(b), nil
}
