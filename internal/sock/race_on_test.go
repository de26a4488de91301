//go:build race

// This file says that there is the race detector, which allocates.

package sock_test

const raceEnabled = true
