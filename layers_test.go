// The layer test: fails when a file of the package uses a name that is declared
// in a file not below it.

package asyncio_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// layers are the files of the package, bottom up. A file may use what is declared
// in the layers below its own. Files that stand in one string know each other and
// can only be understood together; other files of the same layer are siblings,
// which do not use each other.
var layers = [][]string{
	// What knows no loop.
	{"doc.go", "errors.go", "ready.go", "registry.go", "clock.go", "network.go", "resolver.go", "sockaddr.go", "writebuffer.go"},
	{"tape.go"},
	{"entry.go"},
	// The loop: what runs next, who may touch it, where its errors go.
	{"loop.go handle.go options.go report.go running.go factory.go order.go"},
	{"future.go"},
	// A task has a stack of scopes, a scope tells its task to end, and a
	// suspended task hears of it.
	{"task.go tasklist.go scope.go lending.go suspend.go waits.go"},
	{"executor.go", "leftover.go"},
	// What is done with tasks.
	{"timeout.go", "waitq.go", "group.go", "offload.go", "now.go", "close.go", "graph.go"},
	{"await.go", "tree.go", "standstill.go", "signal.go", "channel.go", "promise.go", "lookup.go", "descriptor.go"},
	{"gather.go", "wait.go", "completed.go", "staggered.go", "rawsocket.go"},
	{"run.go", "sockfile.go"},
	// What tasks share: each is a wait queue and what its tasks wait for.
	{"lock.go", "event.go", "semaphore.go", "barrier.go", "queue.go"},
	{"condition.go", "inbox.go"},
	// Connections: a descriptor, bytes that suspend, who calls, who answers.
	{"transport.go tls.go"},
	{"pipe.go", "dial.go", "child.go systemchild.go child_unix.go child_windows.go child_other.go"},
	{"packet.go"},
	{"datagram.go", "endpoint.go", "streamreader.go streamwriter.go", "protocol.go protocoltransport.go", "server.go service.go listener.go"},
	{"stream.go", "streamserver.go", "connect.go", "protocolserver.go", "netconn.go", "sendfile.go", "process.go", "subprocess.go"},
	{"runprocess.go"},
}

// A fileUse is a name that a file uses and another one declares: of the package, or a
// field or method.
type fileUse struct{ user, declarer, name string }

func (u fileUse) String() string { return u.user + " uses " + u.name + " of " + u.declarer }

// layerExceptions are uses that are allowed although they point up or sideways,
// each with the reason.
var layerExceptions = map[fileUse]string{
	{"loop.go", "tasklist.go", "taskList"}: "a list of tasks goes through the tasks, and is part of the loop without an allocation",
	{"loop.go", "order.go", "choice"}:      "a loop is what its Order chooses from, and that knows tasks",
	{"future.go", "task.go", "loopOf"}:     "NewFuture is made with a context, and scopes know the loop of one",
}

func TestLayers(t *testing.T) {
	src := rootSources(t)
	uses := usesOf(t, src)
	for _, problem := range misplaced(src, uses) {
		t.Error(problem)
	}
	for e := range layerExceptions {
		if _, ok := uses[e]; !ok {
			t.Errorf("the exception that %v is needed no more: take it out", e)
		}
	}
	for file := range layerPlaces() {
		if src[file] == nil {
			t.Errorf("layers lists %s, which does not exist", file)
		}
	}
}

// TestLayersNoticesPlantedUse appends code to files, in memory, that breaks a rule.
func TestLayersNoticesPlantedUse(t *testing.T) {
	for _, test := range []struct{ name, file, code, want string }{
		{"type of a higher layer", "registry.go", "type planted struct{ loop *EventLoop }",
			"registry.go uses EventLoop of loop.go"},
		{"function of a higher layer", "loop.go", "func planted() { _ = CurrentTask }",
			"loop.go uses CurrentTask of task.go"},
		{"method of a higher layer", "clock.go", "func planted(l interface{ task() *future }) { l.task().finish(0, nil) }",
			"clock.go uses finish of future.go"},
		{"field of a higher layer", "entry.go", "func planted(f *future) { _ = f.failure }",
			"entry.go uses failure of future.go"},
		{"method of a generic type", "timeout.go", "func planted(q *Queue[int]) { q.Len() }",
			"timeout.go uses Len of queue.go"},
		{"sibling", "event.go", "func planted(q *Queue[int]) {}",
			"event.go uses Queue of queue.go"},
		{"unknown file", "planted.go", "package asyncio",
			"planted.go is in no layer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := rootSources(t)
			src[test.file] = append(src[test.file], "\n"+test.code+"\n"...)
			problems := strings.Join(misplaced(src, usesOf(t, src)), "\n")
			if !strings.Contains(problems, test.want) {
				t.Errorf("found %q, want %q", problems, test.want)
			}
		})
	}
}

// misplaced says in words what is wrong with the files and their uses.
func misplaced(src map[string][]byte, uses map[fileUse]token.Position) []string {
	place := layerPlaces()
	var problems []string
	for file := range src {
		if _, ok := place[file]; !ok {
			problems = append(problems, file+" is in no layer: add it to the table in layers_test.go, as low as it can be")
		}
	}
	for u, at := range uses {
		user, declarer := place[u.user], place[u.declarer]
		if user.unit == declarer.unit || user.layer > declarer.layer || user.unit == 0 || declarer.unit == 0 {
			continue
		}
		if _, ok := layerExceptions[u]; !ok {
			problems = append(problems, fmt.Sprintf("%s:%d: %v, which is not below it: move what is used down, "+
				"or let the upper file hand it in", at.Filename, at.Line, u))
		}
	}
	slices.Sort(problems)
	return problems
}

// A layerPlace is where a file stands in layers. Units count from 1.
type layerPlace struct{ layer, unit int }

func layerPlaces() map[string]layerPlace {
	m := make(map[string]layerPlace)
	unit := 0
	for layer, units := range layers {
		for _, files := range units {
			unit++
			for _, file := range strings.Fields(files) {
				m[file] = layerPlace{layer, unit}
			}
		}
	}
	return m
}

// rootSources returns the files of the package, without tests.
func rootSources(t *testing.T) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	src := make(map[string][]byte)
	for _, e := range entries {
		if path.Ext(e.Name()) != ".go" || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		if src[e.Name()], err = os.ReadFile(e.Name()); err != nil {
			t.Fatal(err)
		}
	}
	return src
}

// usesOf returns what the files use of each other, with the first place of each
// use. It checks types with nothing known of the packages that are imported: what
// that leaves unresolved is not of this package, or is used by its name elsewhere
// in the file.
func usesOf(t *testing.T, src map[string][]byte) map[fileUse]token.Position {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range slices.Sorted(maps.Keys(src)) {
		f, err := parser.ParseFile(fset, name, src[name], parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	config := types.Config{Importer: emptyPackages{}, Error: func(error) {}}
	pkg, _ := config.Check("asyncio", fset, files, info)
	uses := make(map[fileUse]token.Position)
	for id, object := range info.Uses {
		if object.Pkg() != pkg {
			continue
		}
		at := fset.Position(id.Pos())
		u := fileUse{at.Filename, fset.Position(object.Pos()).Filename, object.Name()}
		if u.user == u.declarer {
			continue
		}
		if first, ok := uses[u]; !ok || at.Offset < first.Offset {
			uses[u] = at
		}
	}
	return uses
}

// emptyPackages imports packages without anything in them.
type emptyPackages struct{}

func (emptyPackages) Import(importPath string) (*types.Package, error) {
	p := types.NewPackage(importPath, path.Base(importPath))
	p.MarkComplete()
	return p, nil
}
