// What the tests see of recordings: how much memory they take, what they consist of.

package asynciotest

import (
	"bytes"
	"testing"
)

// RecordingMemory returns how much memory the blocks of r take.
func RecordingMemory(r *Recording) int { return r.allocated * blockSize }

// Impatient lets replays in a test wait for nothing that does not come.
func Impatient(t testing.TB) {
	steps, down := awaitSteps, windDownTime
	awaitSteps, windDownTime = 0, 0
	t.Cleanup(func() { awaitSteps, windDownTime = steps, down })
}

// Entries returns the entries of a recording, without what surrounds them.
func Entries(tape []byte) (entries []byte) {
	p := (*player)(NewReplay(bytes.NewReader(tape)))
	for p.fill() {
		entries = append(entries, p.block...)
		p.block = nil
	}
	return entries
}

// Framed returns a recording of entries.
func Framed(entries []byte) []byte {
	tape := append([]byte(tapeMagic), tapeVersion)
	for sequence := uint32(0); len(entries) > 0; sequence++ {
		n := min(len(entries), maxPayload)
		block := append(make([]byte, frameSize), entries[:n]...)
		frame(block, sequence)
		tape, entries = append(tape, block...), entries[n:]
	}
	return tape
}
