// Waits: what suspended tasks wait for, and where, told to people.

package asyncio

import (
	"fmt"
	"path"
	"runtime"
	"strings"

	"github.com/goasyncio/asyncio/internal/seam"
)

// A wait is what is known of how a suspended task waits.
type wait struct {
	verb  string // "waits", "sleeps"
	call  string // what has suspended it, "Lock.Acquire"; empty if unknown
	place string // where the program has called that, "bank.go:41"; empty if unknown
	what  string // " for the lock that B holds"; empty if the call says it all
}

func (w wait) String() string {
	at := ""
	if w.place != "" {
		at = " at " + w.place
	}
	function, _, _ := strings.Cut(w.call, ".")
	switch function {
	case "", "Sleep", "Task", "Future": // what is waited for says enough
		return w.verb + w.what + at
	}
	return w.verb + " in " + w.call + at + w.what
}

// A taskNumber is what is kept of a task to know it again in a report: half of its id,
// which is enough for that. 0 stands for no task.
type taskNumber uint32

func (t *task) number() taskNumber { return taskNumber(t.id) }

// waits tells how a suspended task waits. find finds a task that is not done.
func (t *task) waits(find func(taskNumber) *task) wait {
	w := wait{verb: "waits"}
	w.call, w.place = t.suspendedIn()
	switch a := t.waiter.(type) {
	case *future:
		if _, ok := a.self.(AnyTask); ok || w.call == "" || strings.HasPrefix(w.call, "Future.") {
			w.what = " for " + a.brief()
		}
	case interface{ holder() taskNumber }:
		switch holder := a.holder(); {
		case holder == 0:
		case holder == t.number():
			w.what = " for a lock that it holds itself"
		default:
			if other := find(holder); other != nil {
				w.what = " for the lock that " + other.Name() + " holds"
			} else {
				w.what = " for a lock that was taken by a task that has ended"
			}
		}
	default:
		switch {
		case t.alarm.Armed():
			w.verb, w.what = "sleeps", fmt.Sprintf(" until %v", t.alarm.When)
		case w.call == "Sleep":
			w.verb, w.what = "sleeps", " for ever"
		}
	}
	return w
}

func init() {
	seam.WaitOf = func(task any) (call, place string) {
		t := task.(AnyTask).base()
		switch {
		case t.state != pending:
		case t.loop.running == t:
			return whoWaits(callers(1))
		case t.suspended:
			return t.suspendedIn()
		default: // it has not begun
			if _, at, ok := strings.Cut(t.code.String(), " "); ok && !inLibrary(at) {
				return "", path.Base(at)
			}
		}
		return "", ""
	}
}

// suspendedIn returns which function of the library has suspended the task, and where the
// program has called that, as far as its stack is known.
func (t *task) suspendedIn() (call, place string) {
	call, place = whoWaits(t.look())
	if f, ok := t.waiter.(*future); ok && call == "Future.Wait" {
		if _, ok := f.self.(AnyTask); ok {
			call = "Task.Wait"
		}
	}
	return call, place
}

// whoWaits reads from the stack of a suspended task which function of the library has
// suspended it, and where the program has called that.
func whoWaits(stack site) (call, place string) {
	if len(stack) == 0 {
		return "", ""
	}
	outer := ""
	frames := runtime.CallersFrames(stack)
	for more := true; more; {
		var f runtime.Frame
		if f, more = frames.Next(); isBottom(f) {
			break
		}
		name, own := libraryName(f.Function)
		own = own || inLibrary(f.File) // a closure that was inlined bears the name of its caller
		switch {
		case !own:
			place = fmt.Sprintf("%s:%d", path.Base(f.File), f.Line)
		case name != "" && place == "":
			if outer = name; call == "" || strings.HasPrefix(name, testPackage) {
				call = name
			}
		}
		if !own && !standard(f) { // package bufio has not called it by itself
			break
		}
	}
	if outer != call {
		call += " inside " + outer
	}
	return call, place
}

// testPackage is the package for tests; its functions are not the program's either.
const testPackage = "asynciotest."

// libraryName reports whether a function belongs to the library, and shortens its name
// to the one by which people know it: "Lock.Acquire" for "(*Lock).Acquire", nothing if
// it is not exported.
func libraryName(function string) (name string, own bool) {
	qualifier := ""
	if name, own = strings.CutPrefix(function, ownPrefix); !own {
		qualifier = testPackage
		if name, own = strings.CutPrefix(function, strings.TrimSuffix(ownPrefix, ".")+"/"+testPackage); !own {
			return "", false
		}
	}
	name = withoutSyntax.Replace(name)
	name, _, _ = strings.Cut(name, ".func")
	if !isExported(name) {
		return "", true
	}
	if 'a' <= name[0] && name[0] <= 'z' { // a method
		if qualifier != "" {
			return "", true
		}
		name = strings.ToUpper(name[:1]) + name[1:] // of the middle of an exported type
	}
	return qualifier + name, true
}

var withoutSyntax = strings.NewReplacer("(*", "", ")", "", "[...]", "", "-fm", "")

// inLibrary reports whether a file, or a line of one, is the library's own.
func inLibrary(file string) bool {
	folder := path.Dir(file)
	return (folder == ownFolder || folder == ownFolder+"/"+strings.TrimSuffix(testPackage, ".")) && !strings.Contains(file, "_test.go")
}

var ownFolder = func() string {
	_, file, _, _ := runtime.Caller(0)
	return path.Dir(file)
}()

// standard reports whether a frame is in the standard library.
func standard(f runtime.Frame) bool {
	return standardFolder != "" && strings.HasPrefix(f.File, standardFolder)
}

// standardFolder is where the standard library was built, empty if the program does
// not know the paths of its files.
var standardFolder = func() string {
	_, file, _ := strings.Cut(placeOf(path.Base).String(), " ")
	folder, _, _ := strings.Cut(file, "path/path.go")
	return folder
}()

// taskNumbered returns the task with that number, or nil if it is done.
func (l *EventLoop) taskNumbered(n taskNumber) *task {
	for t := l.tasks.first; t != nil; t = t.inLoop.next {
		if t.number() == n {
			return t
		}
	}
	return nil
}
