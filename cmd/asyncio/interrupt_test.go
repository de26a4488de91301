// Ctrl-C.

//go:build unix

package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestInterrupt(t *testing.T) {
	addr := rawServer(t, saysAndWaits("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
	dir := t.TempDir()
	out, errs := newScreen(), newScreen()
	ended := make(chan int)
	go func() {
		ended <- run(t.Context(), []string{"wget", "-o", filepath.Join(dir, "body"), addr}, nil, out, errs)
	}()
	if err := out.waitFor(t.Context(), "Content-Length: 10\n"); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Error(err)
	}
	if code := <-ended; code != exitInterrupted || errs.String() != "asyncio wget: interrupted\n" {
		t.Errorf("exit code %d, standard error %q", code, errs)
	}
	checkFiles(t, dir, nil)
}
