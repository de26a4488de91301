// The declaration of getg where it is written in assembly.

//go:build gc && !purego && (amd64 || arm64)

package coro

// getg returns the address of the running goroutine's g.
func getg() uintptr
