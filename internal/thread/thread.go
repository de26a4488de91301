// Package thread tells on which thread of the operating system the calling
// goroutine runs, so that programs can show that all tasks of a loop share one.
package thread

// ID returns the number by which the system knows the current thread, 0 where
// it does not tell. It says nothing about the next call unless the goroutine is
// locked to its thread, as a running loop's is.
func ID() int { return id() }
