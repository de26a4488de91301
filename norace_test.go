// Whether the race detector is on.

//go:build !race

package asyncio_test

const raceDetector = false
