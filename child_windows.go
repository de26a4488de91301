// What children are on Windows.

package asyncio

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

const (
	haveGroups  = false
	termination = syscall.SIGKILL // there is no gentler one
	noSignal    = syscall.Signal(0)
)

// shell returns the command that runs a line of the shell.
func shell(line string) *exec.Cmd {
	interpreter := os.Getenv("ComSpec")
	if interpreter == "" {
		interpreter = "cmd.exe"
	}
	cmd := exec.Command(interpreter)
	// The shell does not split its line as other programs do: it gets it as it is.
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: `"` + interpreter + `" /c "` + line + `"`}
	return cmd
}

// words returns what a command line consists of.
func words(cmd *exec.Cmd) []string {
	if line := cmd.SysProcAttr.CmdLine; line != "" { // of a shell
		return []string{line}
	}
	return cmd.Args
}

// mergeShell adds what a shell needs.
func mergeShell(attr, of *syscall.SysProcAttr) { attr.CmdLine = of.CmdLine }

func setGroup(*syscall.SysProcAttr, bool, bool) bool { return false }

func signalGroup(int, os.Signal) error { return errors.ErrUnsupported }

func returnCode(state *os.ProcessState) int { return state.ExitCode() }

// brokenPipe reports whether err says that nobody reads what is written.
func brokenPipe(err error) bool {
	const noData = syscall.Errno(232) // the pipe is being closed
	return errors.Is(err, syscall.ERROR_BROKEN_PIPE) || errors.Is(err, noData) || errors.Is(err, syscall.EPIPE)
}
