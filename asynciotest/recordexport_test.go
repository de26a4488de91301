// What the tests see of a recording: how much memory it takes.

package asynciotest

// RecordingMemory returns how much memory the blocks of r take.
func RecordingMemory(r *Recording) int { return r.allocated * blockSize }
