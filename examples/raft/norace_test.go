// How much the tests do without the race detector.

//go:build !race

package main_test

// slowness is how much longer everything takes.
const slowness = 1
