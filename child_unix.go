//go:build unix

// What children are where signals and process groups exist.

package asyncio

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

const (
	haveGroups  = true
	termination = syscall.SIGTERM
	noSignal    = syscall.Signal(0) // only looks whether the process is there
)

// shell returns the command that runs a line of the shell.
func shell(line string) *exec.Cmd { return exec.Command("/bin/sh", "-c", line) }

// words returns what a command line consists of.
func words(cmd *exec.Cmd) []string { return cmd.Args }

// mergeShell adds what a shell needs: nothing here.
func mergeShell(_, _ *syscall.SysProcAttr) {}

// setGroup makes the child lead a group, also by setsid, and reports whether it
// leads one.
func setGroup(attr *syscall.SysProcAttr, group, setsid bool) bool {
	if setsid {
		attr.Setsid = true
	}
	if attr.Setsid {
		attr.Setpgid = false // it would fail: who has called setsid leads a group already
	} else if group {
		attr.Setpgid, attr.Pgid = true, 0
	}
	return attr.Setsid || attr.Setpgid && attr.Pgid == 0
}

func signalGroup(pid int, sig os.Signal) error {
	number, ok := sig.(syscall.Signal)
	if !ok {
		return errors.New("unsupported signal")
	}
	err := syscall.Kill(-pid, number)
	if err == syscall.ESRCH {
		return os.ErrProcessDone
	}
	return os.NewSyscallError("kill", err)
}

// returnCode is the exit status, or minus the number of the signal that ended the
// process.
func returnCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return -int(status.Signal())
	}
	return state.ExitCode()
}

// brokenPipe reports whether err says that nobody reads what is written.
func brokenPipe(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
