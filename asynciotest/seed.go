// Seeds: how a run is named, on the command line and in reports.

package asynciotest

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
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

// seedToRepeat returns the run that the user has asked for, or nil.
func seedToRepeat() (*runName, error) {
	text, from := wanted()
	if text == "" {
		return nil, nil
	}
	seed, rest, given := strings.Cut(text, ":")
	n, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("asynciotest: %s=%s: %q is no seed", from, text, seed)
	}
	d, err := parseDecisions(rest)
	if err != nil {
		return nil, fmt.Errorf("asynciotest: %s=%s: %w", from, text, err)
	}
	return &runName{n, given, d}, nil
}

// command is how to repeat a run of a test.
func command(test string, run fmt.Stringer) string {
	var pattern []string
	for _, part := range strings.Split(test, "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	return fmt.Sprintf("go test -run '%s' -args -%s=%v", strings.Join(pattern, "/"), seedFlagName, run)
}
