// The table of names: each asyncio name with its form here, and docs/from-python.md,
// which is made from it.

package asyncio_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	namesTable = "docs/from-python.tsv"
	namesPage  = "docs/from-python.md"
)

// goOnly are the exported names that asyncio has no counterpart for.
var goOnly = []string{
	// What virtual time and simulations need.
	"Now", "Rand", "ErrDeadlock",
	// What Go has and Python does not.
	"ErrGoexit", "EventLoop.Context", "RunOption",
	"SockAddr", "SockAddr.IsZero", "SockAddr.Network",
	// What asyncio lacks.
	"NetConn",
	"Backend", "Backend.String", "DefaultBackend", "EpollBackend", "PortableBackend",
	"DatagramEndpoint", "DatagramEndpoint.Abort", "DatagramEndpoint.Buffered", "DatagramEndpoint.Close",
	"DatagramEndpoint.Drain", "DatagramEndpoint.IsClosing", "DatagramEndpoint.LocalAddr",
	"DatagramEndpoint.ReadFrom", "DatagramEndpoint.RemoteAddr", "DatagramEndpoint.SetWriteBufferLimits",
	"DatagramEndpoint.String", "DatagramEndpoint.SyscallConn", "DatagramEndpoint.WaitClosed",
	"DatagramEndpoint.WriteTo", "DatagramOptions.Resolver",
	"FD", "FD.SyscallConn", "ErrDescriptorInUse",
	"Process.Close", "Process.KillGroup", "Process.Shutdown", "Process.SignalGroup", "Process.State",
	"ProcessResult", "ProcessResult.ReturnCode", "ProcessResult.State", "ProcessResult.Stderr",
	"ProcessResult.Stdout", "SubprocessOptions.Grace", "SubprocessTransport.KillGroup",
	"SubprocessTransport.SignalGroup", "SubprocessTransport.State",
	"Receive", "Values", "Send", "Inbox", "NewInbox", "Promise", "NewPromise", "NotifySignals", "SignalStream",
	"TaskGroup.Cancel", "WithLimit",
	"Server.Shutdown", "Transport.Loop", "StreamReader.Close",
	"StreamReader.Buffered", "StreamReader.Discard", "StreamReader.Limit", "StreamReader.ReadSome", "StreamReader.Peek", "StreamReader.SetLimit",
}

// everywhere are the methods that any type may have.
var everywhere = []string{"String", "Error", "Is", "Unwrap"}

// likeOthers are types with the methods of another one, which has its rows.
var likeOthers = map[string]string{
	"AnyFuture": "Future", "AnyTask": "Task", "TimerHandle": "Handle", "BoundedSemaphore": "Semaphore",
	"LifoQueue": "Queue", "PriorityQueue": "Queue", "Protocol": "BaseProtocol", "BufferedProtocol": "BaseProtocol", "NopProtocol": "Protocol", "NameResolver": "Resolver",
	"NopSubprocessProtocol": "SubprocessProtocol", "NopDatagramProtocol": "DatagramProtocol",
}

// A nameRow is a row of the table. Its Go names are none if there is no
// counterpart, and planned ones have none yet.
type nameRow struct {
	area, python string
	names        []string
	planned      bool
	remark       string
}

func TestFromPython(t *testing.T) {
	rows := readNames(t)
	root, test := exportedNames(t, "."), exportedNames(t, "asynciotest")
	inTable := make(map[string]bool)
	for _, r := range rows {
		for _, name := range r.names {
			inTable[name] = true
			if outside, ok := strings.CutPrefix(name, "asynciotest."); ok && !test[outside] || !ok && !root[name] {
				t.Errorf("%s: %s is not exported", r.python, name)
			}
		}
	}
	for _, name := range goOnly {
		switch {
		case !root[name]:
			t.Errorf("%s, said to be in Go only, is not exported", name)
		case inTable[name]:
			t.Errorf("%s, said to be in Go only, is in %s", name, namesTable)
		}
		inTable[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(root)) {
		if !inTable[name] && !impliedName(name, inTable) {
			t.Errorf("%s is neither in %s nor in the list of names in Go only", name, namesTable)
		}
	}
	page := namesDocument(rows)
	if *update {
		if err := os.WriteFile(namesPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if readText(t, namesPage) != page {
		t.Errorf("%s is not what %s says: run go test -run FromPython -update .", namesPage, namesTable)
	}
}

// impliedName reports whether a method or field needs no row of its own.
func impliedName(name string, inTable map[string]bool) bool {
	owner, member, ok := strings.Cut(name, ".")
	if !ok {
		return false
	}
	if other, ok := likeOthers[owner]; ok {
		name := other + "." + member
		if inTable[name] || slices.Contains(goOnly, name) || impliedName(name, inTable) {
			return true
		}
	}
	if slices.Contains(everywhere, member) {
		return inTable[owner]
	}
	// The fields of options, results and errors go with their type.
	fields := strings.HasSuffix(owner, "Options") || strings.HasSuffix(owner, "Error") || owner == "Result" || owner == "TaskSpec" || owner == "SockAddr"
	return inTable[owner] && (fields || owner == "Awaitable" || owner == "Executor") || slices.Contains(goOnly, owner)
}

// readNames reads the table: a line "# area", or Python, Go and remark between
// tabs. Go is a list of names, "planned", or "-" for no counterpart.
func readNames(t *testing.T) []nameRow {
	var rows []nameRow
	var area string
	for line := range strings.Lines(readText(t, namesTable)) {
		line = strings.TrimSuffix(line, "\n")
		if a, ok := strings.CutPrefix(line, "# "); ok {
			area = a
			continue
		}
		cells := strings.Split(line, "\t")
		if len(cells) != 3 {
			t.Fatalf("%s: %q has not three cells", namesTable, line)
		}
		r := nameRow{area: area, python: cells[0], remark: cells[2]}
		switch cells[1] {
		case "planned":
			r.planned = true
		case "-":
		default:
			r.names = strings.Split(cells[1], ", ")
		}
		rows = append(rows, r)
	}
	return rows
}

// namesDocument is the page that the rows make.
func namesDocument(rows []nameRow) string {
	var b strings.Builder
	b.WriteString(`# From Python

Each name of Python's asyncio and what it is called here. A dash means that there is no counterpart because none is needed; *planned* is what does not exist
yet. Parameters stand behind the function to which they belong.

This page is made from [from-python.tsv](from-python.tsv) by ` + "`go test -run FromPython -update .`\n")
	area := ""
	for _, r := range rows {
		if r.area != area {
			area = r.area
			fmt.Fprintf(&b, "\n## %s\n\n| asyncio | here | remark |\n|---|---|---|\n", area)
		}
		form := "–"
		switch {
		case r.planned:
			form = "*planned*"
		case len(r.names) > 0:
			form = "`" + strings.Join(r.names, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.python, form, r.remark)
	}
	return b.String()
}

// exportedNames returns what a package exports: names, and "Type.Member" for
// methods and fields, promoted ones too.
func exportedNames(t *testing.T, dir string) map[string]bool {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	s := packageNames{all: make(map[string]bool), members: make(map[string][]string), embedded: make(map[string][]string)}
	for _, p := range paths {
		if strings.HasSuffix(p, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			s.declare(decl)
		}
	}
	for name := range maps.Clone(s.all) {
		for _, m := range s.membersOf(name) {
			s.all[name+"."+m] = true
		}
	}
	return s.all
}

// packageNames are the names that the files of a package declare.
type packageNames struct {
	all      map[string]bool     // exported
	members  map[string][]string // exported methods and fields of each type
	embedded map[string][]string // the types in each type
}

func (s *packageNames) declare(decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		switch {
		case !d.Name.IsExported():
		case d.Recv == nil:
			s.all[d.Name.Name] = true
		default:
			owner := baseName(d.Recv.List[0].Type)
			s.members[owner] = append(s.members[owner], d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				s.export(spec.Name)
				s.contents(spec.Name.Name, spec.Type)
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					s.export(name)
				}
			}
		}
	}
}

func (s *packageNames) export(name *ast.Ident) {
	if name.IsExported() {
		s.all[name.Name] = true
	}
}

// contents notes the fields, or the methods of an interface.
func (s *packageNames) contents(owner string, typ ast.Expr) {
	var fields *ast.FieldList
	switch typ := typ.(type) {
	case *ast.StructType:
		fields = typ.Fields
	case *ast.InterfaceType:
		fields = typ.Methods
	default:
		return
	}
	for _, f := range fields.List {
		if len(f.Names) == 0 {
			s.embedded[owner] = append(s.embedded[owner], baseName(f.Type))
		}
		for _, name := range f.Names {
			if name.IsExported() {
				s.members[owner] = append(s.members[owner], name.Name)
			}
		}
	}
}

func (s *packageNames) membersOf(name string) []string {
	all := slices.Clone(s.members[name])
	for _, e := range s.embedded[name] {
		all = append(all, s.membersOf(e)...)
	}
	return all
}

// baseName returns the name of a type without pointer, package and parameters.
func baseName(typ ast.Expr) string {
	switch typ := typ.(type) {
	case *ast.StarExpr:
		return baseName(typ.X)
	case *ast.IndexExpr:
		return baseName(typ.X)
	case *ast.IndexListExpr:
		return baseName(typ.X)
	case *ast.SelectorExpr:
		return baseName(typ.X) + "." + typ.Sel.Name
	case *ast.Ident:
		return typ.Name
	}
	return ""
}
