// Seeds: how a run is named, on the command line and in reports.

package asynciotest

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// seedFlag is a flag of test binaries only: other programs keep their flags for
// themselves.
var seedFlag *string

func init() {
	if testing.Testing() && flag.Lookup(seedFlagName) == nil {
		seedFlag = flag.String(seedFlagName, "", "run only this `seed` of asynciotest.Explore, as its report gives it")
	}
}

const (
	seedFlagName = "asynciotest.seed"
	seedVariable = "ASYNCIOTEST_SEED"
)

// A runName names one run: a seed with its own schedule, or with given decisions.
type runName struct {
	seed   uint64
	given  bool
	decide decisions
}

func (r runName) String() string {
	if !r.given {
		return strconv.FormatUint(r.seed, 10)
	}
	return fmt.Sprintf("%d:%v", r.seed, r.decide)
}

// wanted returns the name of the run that the user has asked for, and where.
func wanted() (name, where string) {
	if seedFlag != nil && *seedFlag != "" {
		return *seedFlag, "-" + seedFlagName
	}
	return os.Getenv(seedVariable), seedVariable
}

// asked returns the run that the user has asked for: one of Explore, or a fault; or
// neither.
func asked() (*runName, *faultName, error) {
	text, from := wanted()
	if text == "" {
		return nil, nil, nil
	}
	if f, ok := parseFault(text); ok {
		return nil, &f, nil
	}
	seed, rest, given := strings.Cut(text, ":")
	n, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return nil, nil, fmt.Errorf("asynciotest: %s=%q: %q is no seed", from, text, seed)
	}
	d, err := parseDecisions(rest)
	if err != nil {
		return nil, nil, fmt.Errorf("asynciotest: %s=%q: %w", from, text, err)
	}
	return &runName{n, given, d}, nil, nil
}

// missing tells which of the decisions a run could not make, if there is one.
func (r runName) missing(t *trial) string {
	for i, d := range r.decide {
		switch {
		case d.step > t.steps:
			return fmt.Sprintf("the run does not come to step %d: it has %s", d.step, plural(t.steps, "step"))
		case i >= len(t.made) || t.made[i] != d:
			return fmt.Sprintf("nobody can have the turn at step %d as %v says", d.step, d)
		}
	}
	return ""
}

// A search is how the calls of one test have answered to the name that is asked for.
// There may be several, and one of them has to know it.
type search struct {
	found  bool
	others bool // the name may well be one for other tests
	why    []string
}

var searches = struct {
	sync.Mutex
	of map[testing.TB]*search
}{of: make(map[testing.TB]*search)}

// searchOf returns that of a test, which ends with the test.
func searchOf(t testing.TB) *search {
	t.Helper()
	s := searches.of[t]
	if s == nil {
		s = &search{others: true}
		searches.of[t] = s
		t.Cleanup(func() {
			t.Helper()
			s.end(t)
		})
	}
	return s
}

func (s *search) end(t testing.TB) {
	t.Helper()
	searches.Lock()
	delete(searches.of, t)
	searches.Unlock()
	name, from := wanted()
	if s.found {
		return
	}
	text := fmt.Sprintf("asynciotest: %s=%q: there is no such run in this test: %s", from, name, strings.Join(s.why, "; "))
	if s.others && from == seedVariable {
		t.Log(text)
		return
	}
	t.Error(text)
}

// accept says that a call in t has the run that is asked for.
func accept(t testing.TB) {
	t.Helper()
	searches.Lock()
	defer searches.Unlock()
	searchOf(t).found = true
}

// decline says that a call in t has no such run. others says that the name may be one
// for other tests.
func decline(t testing.TB, others bool, why string) {
	t.Helper()
	searches.Lock()
	defer searches.Unlock()
	s := searchOf(t)
	s.others = s.others && others
	s.why = append(s.why, why)
}

// command is how to repeat a run of a test, in whatever directory of the module.
func command(test string, run fmt.Stringer) string {
	var pattern []string
	for _, part := range strings.Split(test, "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	tags, pkg := built()
	return fmt.Sprintf("go test %s-run %s %s-args -%s=%v", tags, quoted(strings.Join(pattern, "/")), pkg, seedFlagName, run)
}

// quoted is text as one word of a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// built returns what the command has to have so that it builds the same test binary:
// "-tags=a,b " if it has tags, "-race ", and "example.com/package ".
func built() (tags, pkg string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", ""
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "-tags" && s.Value != "":
			tags += "-tags=" + s.Value + " "
		case s.Key == "-race" && s.Value == "true": // it is a tag, too
			tags += "-race "
		}
	}
	pkg = strings.TrimSuffix(info.Path, ".test")
	if pkg == "" || pkg == "command-line-arguments" { // files were named, and not a package
		return tags, ""
	}
	return tags, pkg + " "
}
