//go:build !linux

// This file stands in for questions to files and sockets. A FIFO that nobody has
// opened to write to is at its end.

package portable

func readable(uintptr) bool { return true }

// otherEndClosed reports whether nobody can read any more what is written to fd. Of a
// pipe it is told that the system has reported something, which can be nothing else;
// of all others only a write finds it out.
func otherEndClosed(_ uintptr, reported bool) bool { return reported }
