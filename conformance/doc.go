// Package conformance holds the proof that programs run in the order in which
// CPython's asyncio runs them. It has no code of its own, only tests.
//
// The files in testdata are random programs, each with the trace that CPython 3.14
// produced: which task did what at which time, and how everything ended. The tests
// are an interpreter of such programs, written on the public API of the library,
// that has to produce the same trace, event for event.
//
//	go test ./conformance
//	go test ./conformance -v -args -corpus '/absolute/path/*.jsonl.gz'
//
// The second form replays other files, with or without compression. It prints how
// many programs matched, and shows the first that did not side by side with what
// was expected of them.
//
// # Where the interpreter bridges a difference
//
// Python interrupts a task once for each cancellation. Here a context that was
// cancelled stays cancelled, so a handler that has caught a cancellation, and a
// finally block that is entered because of one, run with a CleanupContext. Python's
// readline throws away a line that is too long, and its read(-1) what it has taken
// by the time it is cancelled; the reader here keeps both, so the interpreter
// discards the line, and reads to the end piece by piece.
package conformance
