//go:build !linux

// This file tests what a system without a poller says.

package poll_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/goasyncio/asyncio/internal/poll"
)

func TestUnsupported(t *testing.T) {
	p, err := poll.New()
	if p != nil || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), runtime.GOOS) {
		t.Errorf("New = %v, %v; want an ErrUnsupported that names %s", p, err, runtime.GOOS)
	}
}
