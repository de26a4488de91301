// This file has a number that package syscall lacks on some processors.

package portable

import "runtime"

// soReusePort is SO_REUSEPORT.
var soReusePort = func() int {
	switch runtime.GOARCH {
	case "mips", "mipsle", "mips64", "mips64le":
		return 0x200
	}
	return 0xf
}()
