//go:build solaris

// This file has the number of an option that package syscall lacks.

package portable

const soReusePort = 0x100e
