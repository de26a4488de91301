//go:build !unix

// This file takes files as they are.

package portable

import (
	"errors"
	"net"
	"os"
)

func interruptible(f *os.File) (*os.File, bool, error) { return f, false, nil }

func makeBlocking(*os.File) {}

func unnamedUnixgram() (net.PacketConn, error) { return nil, errors.ErrUnsupported }
