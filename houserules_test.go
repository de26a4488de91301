// The house rules: what holds for every file of the repository and can be
// checked by reading it.

package asyncio_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/goasyncio/asyncio"

// A house is all Go files of the repository.
type house struct {
	fset  *token.FileSet
	files []*goFile
}

// pos returns "file:line" of a node.
func (h *house) pos(n ast.Node) string {
	p := h.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// A goFile is a parsed file of the repository.
type goFile struct {
	*ast.File
	path   string // with slashes, from the root of the repository
	test   bool
	nested bool // belongs to a module of its own, below the root
}

func (f *goFile) dir() string { return path.Dir(f.path) }

// TestHouseRules checks each rule. The text of a rule is also its reason.
func TestHouseRules(t *testing.T) {
	h := readHouse(t, os.DirFS("."))
	for _, rule := range houseRules {
		t.Run(rule.name, func(t *testing.T) {
			for _, breach := range rule.breaches(h) {
				t.Errorf("%s\n%s", breach, rule.reason)
			}
		})
	}
}

// TestHouseRulesNoticeBreaches checks a small repository that breaks every rule.
func TestHouseRulesNoticeBreaches(t *testing.T) {
	repository := fstest.MapFS{
		"two.go":               {Data: []byte("// Package asyncio is one.\npackage asyncio\nconst Bare = 1\n")},
		"doc.go":               {Data: []byte("// Package asyncio is another.\npackage asyncio\ntype XOptions struct { Bare int }\n")},
		"ok_test.go":           {Data: []byte("// Tests.\n\npackage asyncio_test\nimport _ \"example.org/x\"\nfunc Bare() {}\n")},
		"testdata/ignored.go":  {Data: []byte("not Go")},
		"tools/go.mod":         {Data: []byte("module tools\n")},
		"tools/tool.go":        {Data: []byte("// Command tool may import what it likes.\npackage main\nimport _ \"example.org/x\"\n")},
		"internal/a/util.go":   {Data: []byte("package a\nimport _ \"example.org/x\"\nimport _ \"golang.org/x/sys/unix\"\n")},
		"internal/a/pull.go":   {Data: []byte("// Package a pulls.\npackage a\nimport i \"iter\"\nvar _, _ = i.Pull2[int, int](nil)\n")},
		"internal/a/link.go":   {Data: []byte("//go:build linux\n\npackage a\n//go:linkname f runtime.f\nfunc f()\n")},
		"internal/poll/sys.go": {Data: []byte("// Package poll may use the system.\npackage poll\nimport _ \"golang.org/x/sys/unix\"\n")},
	}
	want := map[string][]string{
		"one package doc":  {"package . has 2 package comments"},
		"opening comments": {"internal/a/link.go has", "internal/a/util.go has"},
		"file names":       {"internal/a/util.go is"},
		"exported names":   {"doc.go:3: XOptions", "doc.go:3: Bare", "two.go:3: Bare"},
		"dependencies":     {"internal/a/util.go:2 imports example.org/x"},
		"x/sys":            {"internal/a/util.go:3 imports golang.org/x/sys/unix"},
		"iter.Pull":        {"internal/a/pull.go:4 uses iter.Pull2"},
		"linkname":         {"internal/a/link.go:4 has //go:linkname"},
	}
	h := readHouse(t, repository)
	for _, rule := range houseRules {
		breaches := rule.breaches(h)
		isWanted := func(got, want string) bool { return strings.HasPrefix(got, want) }
		if !slices.EqualFunc(breaches, want[rule.name], isWanted) {
			t.Errorf("%s: found %q, want %q", rule.name, breaches, want[rule.name])
		}
	}
}

var houseRules = []struct {
	name     string
	reason   string
	breaches func(h *house) []string
}{
	{"one package doc", "A package has one place where its reader begins.", packageDocs},
	{"opening comments", "A file begins with a sentence that says what it is for.", openingComments},
	{"file names", "A file has a name that a user would search for; these names gather what has no place.", fileNames},
	{"exported names", "What is exported is explained where it is declared.", exportedDocs},
	{"dependencies", "The root module depends on the standard library and golang.org/x/sys only; what needs more is a module of its own.", dependencies},
	{"x/sys", "Only the packages next to the operating system know it.", owners("golang.org/x/sys", "internal/poll", "internal/sock", "internal/thread")},
	{"iter.Pull", "A coroutine resumed in the wrong place ends the process: internal/coro alone makes them.", pullers},
	{"linkname", "The runtime's private functions may change with any release.", linknames},
}

// readHouse parses the Go files below a root.
func readHouse(t *testing.T, root fs.FS) *house {
	t.Helper()
	h := &house{fset: token.NewFileSet()}
	var modules []string // directories of nested modules
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch base := path.Base(name); {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")):
			return fs.SkipDir
		case d.IsDir():
			if _, err := fs.Stat(root, path.Join(name, "go.mod")); err == nil && name != "." {
				modules = append(modules, name+"/")
			}
			return nil
		case path.Ext(name) != ".go":
			return nil
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(h.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		nested := slices.ContainsFunc(modules, func(dir string) bool { return strings.HasPrefix(name, dir) })
		h.files = append(h.files, &goFile{f, name, strings.HasSuffix(name, "_test.go"), nested})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func packageDocs(h *house) (breaches []string) {
	docs := make(map[string][]string)
	var dirs []string
	for _, f := range h.files {
		if f.test {
			continue
		}
		if !slices.Contains(dirs, f.dir()) {
			dirs = append(dirs, f.dir())
		}
		if f.Doc != nil {
			docs[f.dir()] = append(docs[f.dir()], f.path)
		}
	}
	for _, dir := range dirs {
		if n := len(docs[dir]); n != 1 {
			breaches = append(breaches, fmt.Sprintf("package %s has %d package comments %v, want one; in other files an empty line follows the opening comment", dir, n, docs[dir]))
		}
	}
	return breaches
}

func openingComments(h *house) (breaches []string) {
	for _, f := range h.files {
		opens := slices.ContainsFunc(f.Comments, func(c *ast.CommentGroup) bool {
			return c.End() < f.Package && strings.TrimSpace(c.Text()) != "" // the text has no directives
		})
		if !opens {
			breaches = append(breaches, f.path+" has no comment before its package clause")
		}
	}
	return breaches
}

var forbiddenName = regexp.MustCompile(`^(util|helper|common|misc|type)s?$`)

func fileNames(h *house) (breaches []string) {
	for _, f := range h.files {
		words := strings.Split(strings.TrimSuffix(f.path, ".go"), "/")
		for i, word := range words {
			if i == len(words)-1 {
				word, _, _ = strings.Cut(word, "_") // of a test, of a platform
			}
			if forbiddenName.MatchString(word) {
				breaches = append(breaches, f.path+" is a name for anything")
			}
		}
	}
	return breaches
}

func dependencies(h *house) (breaches []string) {
	for _, f := range h.files {
		if f.test || f.nested {
			continue
		}
		for _, spec := range f.Imports {
			host, _, _ := strings.Cut(imported(spec), "/")
			if strings.Contains(host, ".") && !within(imported(spec), module) && !within(imported(spec), "golang.org/x/sys") {
				breaches = append(breaches, fmt.Sprintf("%s imports %s", h.pos(spec), imported(spec)))
			}
		}
	}
	return breaches
}

// owners is the rule that only some directories import a module.
func owners(of string, dirs ...string) func(*house) []string {
	return func(h *house) (breaches []string) {
		for _, f := range h.files {
			for _, spec := range f.Imports {
				if within(imported(spec), of) && !f.nested && !slices.Contains(dirs, f.dir()) {
					breaches = append(breaches, fmt.Sprintf("%s imports %s", h.pos(spec), imported(spec)))
				}
			}
		}
		return breaches
	}
}

func imported(spec *ast.ImportSpec) string {
	p, _ := strconv.Unquote(spec.Path.Value)
	return p
}

// within reports whether a package belongs to a module, or is at a path below it.
func within(pkg, of string) bool { return pkg == of || strings.HasPrefix(pkg, of+"/") }

func pullers(h *house) (breaches []string) {
	for _, f := range h.files {
		if f.test || f.dir() == "internal/coro" {
			continue
		}
		name := "" // by which the file knows package iter
		for _, spec := range f.Imports {
			if imported(spec) != "iter" {
				continue
			}
			name = "iter"
			if spec.Name != nil {
				name = spec.Name.Name
			}
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok || name == "" {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == name && strings.HasPrefix(s.Sel.Name, "Pull") {
				breaches = append(breaches, fmt.Sprintf("%s uses iter.%s", h.pos(s), s.Sel.Name))
			}
			return true
		})
		if name == "." {
			breaches = append(breaches, f.path+" imports all names of iter")
		}
	}
	return breaches
}

func linknames(h *house) (breaches []string) {
	for _, f := range h.files {
		for _, group := range f.Comments {
			for _, c := range group.List {
				if strings.HasPrefix(c.Text, "//go:linkname") {
					breaches = append(breaches, h.pos(c)+" has "+c.Text)
				}
			}
		}
	}
	return breaches
}

// plainMethods are methods that the standard library gives their meaning; they
// need no comment.
var plainMethods = []string{"Error", "Unwrap", "Is", "As", "String", "Timeout", "Temporary", "Len", "Less", "Swap", "Push", "Pop"}

// exportedDocs finds exported names of the root package without a comment:
// declarations, methods, and fields of options.
func exportedDocs(h *house) (breaches []string) {
	for _, f := range h.files {
		if f.test || f.dir() != "." {
			continue
		}
		for _, d := range f.Decls {
			for _, name := range bareNames(d) {
				breaches = append(breaches, fmt.Sprintf("%s: %s has no comment", h.pos(name), name.Name))
			}
		}
	}
	return breaches
}

// bareNames returns the exported names of a declaration that have no comment.
func bareNames(d ast.Decl) []*ast.Ident {
	switch d := d.(type) {
	case *ast.FuncDecl:
		isPlain := d.Recv != nil && slices.Contains(plainMethods, d.Name.Name)
		if d.Name.IsExported() && d.Doc == nil && !isPlain && !ofUnexported(d.Recv) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		var bare []*ast.Ident
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.ValueSpec:
				if d.Doc == nil && s.Doc == nil && s.Comment == nil {
					bare = append(bare, exported(s.Names)...)
				}
			case *ast.TypeSpec:
				if !s.Name.IsExported() {
					continue
				}
				if d.Doc == nil && s.Doc == nil {
					bare = append(bare, s.Name)
				}
				bare = append(bare, bareOptions(s)...)
			}
		}
		return bare
	}
	return nil
}

// ofUnexported reports whether a receiver is of a type that is not exported. The
// methods of such a type are seen only where it is embedded or behind an
// interface, which explains them.
func ofUnexported(recv *ast.FieldList) bool {
	if recv == nil {
		return false
	}
	expr := recv.List[0].Type
	if star, ok := expr.(*ast.StarExpr); ok {
		expr = star.X
	}
	switch generic := expr.(type) {
	case *ast.IndexExpr:
		expr = generic.X
	case *ast.IndexListExpr:
		expr = generic.X
	}
	id, ok := expr.(*ast.Ident)
	return ok && !id.IsExported()
}

// bareOptions returns the exported fields of a struct of options that have no
// comment. A zero option means the default, and only the comment says what that is;
// the fields of other types may be explained by the comment of the type.
func bareOptions(s *ast.TypeSpec) []*ast.Ident {
	options, ok := s.Type.(*ast.StructType)
	if !ok || !strings.HasSuffix(s.Name.Name, "Options") {
		return nil
	}
	var bare []*ast.Ident
	for _, field := range options.Fields.List {
		if field.Doc == nil && field.Comment == nil {
			bare = append(bare, exported(field.Names)...)
		}
	}
	return bare
}

func exported(names []*ast.Ident) []*ast.Ident {
	return slices.DeleteFunc(slices.Clone(names), func(id *ast.Ident) bool { return !id.IsExported() })
}
