// The number of a thread that the system does not number, or not for us.

//go:build !linux && !windows && !darwin

package thread

func id() int { return 0 }
