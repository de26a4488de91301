// The absence of getg, where there is no assembly for it.

//go:build !gc || purego || (!amd64 && !arm64)

package coro

func getg() uintptr { return 0 }
