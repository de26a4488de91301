// Package asynciotest helps to test programs that use asyncio: it runs them on a
// virtual clock, so that a test of timeouts and retries takes no time and goes the
// same way each time.
//
//	func TestRetry(t *testing.T) {
//		asynciotest.Run(t, func(ctx context.Context) error {
//			...
//		}, asynciotest.NoLeaks(t))
//	}
//
// A Network goes further: hosts with programs on a simulated network, with clocks and disks
// of their own, whose links fail and which crash, all of it repeatable from a seed. It may
// be a part of what follows: see Sim.Network.
//
// The program under test needs no change: asyncio.Sleep, asyncio.Timeout and the
// timers of the loop follow the clock of the loop. Package time does not: what
// calls time.Now or time.Sleep still sees the wall clock. To test such code, and
// goroutines in general, testing/synctest is the better choice; RunInBubble runs a
// loop in it.
//
// # Time
//
// With Run and WithVirtualClock time jumps to the next timer when all tasks wait. A
// ManualClock goes when and as far as a test says, and WaitIdle tells when a program
// has got as far as it gets by itself.
//
// # Order
//
// Explore runs a program in many orders that could happen, each decided by a seed,
// and tells which one breaks it. CheckDeterminism runs it twice in the same one.
//
// # Faults
//
// CancelEverywhere and PanicEverywhere run a program once for each place where it
// waits, and let it go wrong there. NoLeaks tells what is left behind in the end.
package asynciotest
