//go:build unix && !linux && !solaris

// This file has the number of an option, where package syscall knows it.

package portable

import "syscall"

const soReusePort = syscall.SO_REUSEPORT
