//go:build !unix

// This file takes files as they are.

package portable

import "os"

func interruptible(f *os.File) (*os.File, bool, error) { return f, false, nil }

func makeBlocking(*os.File) {}
