//go:build !unix

// This file has nothing to change: files block.

package netcontract

import "os"

func blockingFile(_ suite, f *os.File) *os.File { return f }
