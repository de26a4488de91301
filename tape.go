// The names of what other goroutines post, by which a replay knows it again.

package asyncio

import (
	"runtime"
	"strings"

	"github.com/goasyncio/asyncio/internal/seam"
)

// A labelled callback is known to a tape by its kind and its number on the loop.
type labelled interface{ post() seam.Post }

// postOf names what is being posted.
func postOf(r runnable) seam.Post {
	if n, ok := r.(labelled); ok {
		return n.post()
	}
	return seam.Post{Kind: seam.Call, Site: poster()}
}

// poster returns the function outside this package which is posting.
func poster() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	name := ""
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if f.Function == "runtime.goexit" || f.Function == "" {
			break
		}
		name = f.Function
		if !strings.HasPrefix(name, "github.com/goasyncio/asyncio.") {
			break
		}
	}
	return name
}
