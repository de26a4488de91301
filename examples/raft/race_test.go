// How much the tests do under the race detector.

//go:build race

package main_test

// slowness is how much longer everything takes.
const slowness = 10
