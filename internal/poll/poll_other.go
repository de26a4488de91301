//go:build !linux

// This file stands in for the kernel's side of a Poller where there is none.

package poll

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// A kernel is never used: open fails.
type kernel struct{}

func (kernel) open() error {
	return fmt.Errorf("the event loop needs Linux: no poller for %s yet (%w)", runtime.GOOS, errors.ErrUnsupported)
}

func (kernel) close() error                              { return errors.ErrUnsupported }
func (kernel) add(int, int32, uint32, mode) error        { return errors.ErrUnsupported }
func (kernel) change(int, int32, uint32, mode) error     { return errors.ErrUnsupported }
func (kernel) remove(int) error                          { return errors.ErrUnsupported }
func (kernel) poll() (int, error)                        { return 0, errors.ErrUnsupported }
func (kernel) block(time.Duration) (int, error)          { return 0, errors.ErrUnsupported }
func (kernel) event(int) (int32, uint32, seam.Readiness) { return 0, 0, 0 }
func (kernel) done(int)                                  {}
func (kernel) wake()                                     {}
