// The CPU time of the process, on Windows.

package main

import (
	"syscall"
	"time"
)

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	self, err := syscall.GetCurrentProcess()
	must(err)
	var created, ended, kernel, user syscall.Filetime
	err = syscall.GetProcessTimes(self, &created, &ended, &kernel, &user)
	must(err)
	ticks := func(f syscall.Filetime) time.Duration {
		return time.Duration(f.HighDateTime)<<32 | time.Duration(f.LowDateTime)
	}
	return 100 * time.Nanosecond * (ticks(kernel) + ticks(user))
}
