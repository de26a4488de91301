//go:build !unix && !windows

// What stands in for children where no process can be started.

package asyncio

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

const (
	haveGroups  = false
	termination = syscall.SIGTERM
	noSignal    = syscall.Signal(0)
)

func shell(line string) *exec.Cmd { return exec.Command("sh", "-c", line) }

func words(cmd *exec.Cmd) []string { return cmd.Args }

func mergeShell(_, _ *syscall.SysProcAttr) {}

func setGroup(*syscall.SysProcAttr, bool, bool) bool { return false }

func signalGroup(int, os.Signal) error { return errors.ErrUnsupported }

func returnCode(state *os.ProcessState) int { return state.ExitCode() }

func brokenPipe(error) bool { return false }
