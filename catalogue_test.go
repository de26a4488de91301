// The catalogue test: each behaviour in the documents is pinned by a test, and
// none is forgotten.

package asyncio_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the generated parts of the documents")

// catalogue is how many behaviours each area has; their ids count from 001.
var catalogue = map[string]int{
	"TASK": 121, "FUT": 37, "FUT2": 4, "CTX": 1, "THR": 6, "FREE": 6, "EAGER": 16, "TO": 26, "WF": 14, "STAG": 7, "TG": 34,
	"RUN": 22, "BASE": 114, "LOCK": 48, "Q": 28, "STR": 61, "GRAPH": 13, "P492": 5, "OBS": 18,
	"EV": 105, "SEL": 82, "UNIX": 60, "SOCK": 9, "SRV": 19, "SF": 21, "BUF": 1, "TR": 5, "PROTO": 1, "TLSP": 26, "TLS": 19,
	"SUB": 36, "TOOLS": 8,
}

// notBuilt are the behaviours of what does not exist yet, or not in full. The
// documents do not list them; a test may name them.
var notBuilt = slices.Concat(
	area("TOOLS"),
)

func area(prefix string) []string { return ids(prefix, 1, catalogue[prefix]) }

// ids returns the ids from one number to another.
func ids(prefix string, from, to int) []string {
	var all []string
	for n := from; n <= to; n++ {
		all = append(all, fmt.Sprintf("%s-%03d", prefix, n))
	}
	return all
}

const (
	behavioursPath  = "docs/behaviours.md"
	differencesPath = "docs/differences.md"
)

func TestCatalogue(t *testing.T) {
	var all []string
	for _, prefix := range slices.Sorted(maps.Keys(catalogue)) {
		all = append(all, area(prefix)...)
	}
	if len(all) != 973 {
		t.Errorf("the catalogue has %d behaviours", len(all))
	}
	pins := readPins(t, os.DirFS("."))
	met := readRows(t, behavioursPath)
	differs := readRows(t, differencesPath)
	for _, p := range catalogueProblems(all, notBuilt, met, differs, pins) {
		t.Error(p)
	}
	text := readText(t, behavioursPath)
	fresh := withPins(text, pins)
	switch {
	case fresh == text:
	case *update:
		if err := os.WriteFile(behavioursPath, []byte(fresh), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s does not name the tests as they are: run go test -run Catalogue -update .", behavioursPath)
	}
}

// catalogueProblems compares what there is with the documents and the tests.
func catalogueProblems(all, later, met, differs []string, pins map[string][]string) []string {
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for _, id := range all {
		m, d := count(met, id), count(differs, id)
		switch {
		case m > 1 || d > 1:
			add("%s stands twice in a document", id)
		case slices.Contains(later, id):
			if m+d > 0 {
				add("%s is in a document, but listed as not built", id)
			}
		case m+d == 0:
			add("%s is neither in %s nor in %s", id, behavioursPath, differencesPath)
		case m+d == 2:
			add("%s is both in %s and in %s", id, behavioursPath, differencesPath)
		case m == 1 && len(pins[id]) == 0:
			add("%s is in %s, but no test has a name that begins with it", id, behavioursPath)
		}
	}
	for _, named := range [][]string{met, differs, slices.Sorted(maps.Keys(pins))} {
		for _, id := range named {
			if !slices.Contains(all, id) {
				add("%s is no behaviour that is known", id)
			}
		}
	}
	return problems
}

func count(ids []string, id string) int {
	n := 0
	for _, other := range ids {
		if other == id {
			n++
		}
	}
	return n
}

func TestCatalogueNoticesProblems(t *testing.T) {
	all := []string{"a1", "a2", "a3", "a4", "a5", "a6", "a7"}
	later := []string{"a6", "a7"}
	met := []string{"a1", "a2", "a3", "a6", "b1"}
	differs := []string{"a2", "a5", "a5"}
	pins := map[string][]string{"a1": {"x"}, "a2": {"x"}, "a7": {"x"}, "b2": {"x"}}
	got := catalogueProblems(all, later, met, differs, pins)
	want := []string{"a2 is both", "a3 is in", "a4 is neither", "a5 stands twice", "a6 is in a document", "b1 is no", "b2 is no"}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("got %q", got)
	}
}

var (
	oneID = regexp.MustCompile(`[A-Z][A-Z0-9]*-\d{3}\b`)
	// leading are the ids with which a name begins.
	leading = regexp.MustCompile(`^(?:[A-Z][A-Z0-9]*-\d{3}(?: |$))+`)
	row     = regexp.MustCompile(`(?m)^\| ([A-Z][A-Z0-9]*-\d{3}) \| (.*) \| (.*) \|$`)
	rowIDs  = regexp.MustCompile(`(?m)^\| ((?:[A-Z][A-Z0-9]*-\d{3} )+)\|`)
)

// readRows returns the ids of the rows of a document's tables.
func readRows(t *testing.T, name string) []string {
	var all []string
	for _, m := range rowIDs.FindAllStringSubmatch(readText(t, name), -1) {
		all = append(all, strings.Fields(m[1])...)
	}
	return all
}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// withPins returns the text with the tests of each id in the last column.
func withPins(text string, pins map[string][]string) string {
	return row.ReplaceAllStringFunc(text, func(line string) string {
		m := row.FindStringSubmatch(line)
		how := strings.Join(pins[m[1]], ", ")
		if how == "" {
			how = "?"
		}
		return fmt.Sprintf("| %s | %s | %s |", m[1], m[2], how)
	})
}

// readPins returns, for each id with which a string in a test function begins,
// these tests.
func readPins(t *testing.T, root fs.FS) map[string][]string {
	pins := make(map[string][]string)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		source, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, 0)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Test") {
				for _, id := range idsIn(fn) {
					where := fmt.Sprintf("`%s` in %s", fn.Name.Name, path.Clean(name))
					if !slices.Contains(pins[id], where) {
						pins[id] = append(pins[id], where)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pins
}

// idsIn returns the ids with which strings in fn begin.
func idsIn(fn *ast.FuncDecl) []string {
	var all []string
	ast.Inspect(fn, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil {
				all = append(all, oneID.FindAllString(leading.FindString(s), -1)...)
			}
		}
		return true
	})
	return all
}
