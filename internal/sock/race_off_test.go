//go:build !race

// This file says that there is no race detector, which allocates.

package sock_test

const raceEnabled = false
