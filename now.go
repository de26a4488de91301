// What a program asks its loop for so that it can be simulated: the time of day
// and random numbers.

package asyncio

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

func init() {
	seam.ClockOf = func(ctx context.Context, op string) seam.Clock { return loopOf(ctx, op).clock }
}

// Now returns the time of day on the loop of ctx: time.Now on a real loop, and on
// a virtual clock the time that belongs to the loop's Time. It panics with a
// *UsageError if ctx carries no loop.
func Now(ctx context.Context) time.Time { return loopOf(ctx, "Now").clock.Wall() }

// Rand returns the random numbers of the loop of ctx: seeded by chance on a real
// loop, by the seed in a simulation. Like everything of a loop it may be used on the
// loop's goroutine only. It panics with a *UsageError if ctx carries no loop.
func Rand(ctx context.Context) *rand.Rand { return loopOf(ctx, "Rand").rand }
