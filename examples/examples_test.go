// The examples as their users run them: built, and started as processes.

package examples_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestExamples(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./chat", "./hello", "./tasks", "./wget")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, c := range []struct {
		name  string
		args  []string
		check func(t *testing.T, lines []string)
	}{
		{"chat", nil, checkChat},
		{"hello", nil, checkHello},
		{"tasks", nil, checkTasks},
		{"wget", []string{"-local"}, checkWget},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			cmd := exec.CommandContext(t.Context(), filepath.Join(dir, c.name), c.args...)
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Run(); err != nil || errs.Len() > 0 {
				t.Fatalf("%v\n%s", err, errs.String())
			}
			c.check(t, strings.Split(strings.TrimSpace(out.String()), "\n"))
		})
	}
}

// checkChat: everybody hears what is said in the same room, in the same order, and
// who does not listen is dropped.
func checkChat(t *testing.T, lines []string) {
	for name, want := range map[string][]string{
		"Ann": {
			"* Ann comes into the lobby", "* Bob comes into the lobby", "Ann: hello Bob, meet me in the garden",
			"* Ann comes into the garden", "* Bob comes into the garden", "Ann: how nice and quiet it is here", "Bob: good-bye",
		},
		"Cyd": {"* Cyd comes into the lobby", "* Cyd comes into the cellar", "* Dan comes into the cellar", "* Dan has left"},
		"Dan": nil,
	} {
		var heard []string
		for _, line := range lines {
			if text, ok := strings.CutPrefix(line, name+" hears  "); ok && !strings.HasPrefix(text, "* Dan comes into the lobby") {
				heard = append(heard, text)
			}
		}
		if !slices.Equal(heard, want) {
			t.Errorf("%s hears %q", name, heard)
		}
	}
	if !slices.Contains(lines, "Bob hears  Ann: hello Bob, meet me in the garden") || !slices.Contains(lines, "Bob hears  * Ann goes to the garden") {
		t.Errorf("%s", strings.Join(lines, "\n"))
	}
}

func checkHello(t *testing.T, lines []string) {
	if !slices.Equal(lines, []string{"Hello world!", "Hello again!"}) {
		t.Errorf("%q", lines)
	}
}

func checkTasks(t *testing.T, lines []string) {
	thread := regexp.MustCompile(` \(thread \d+\)$`).FindString(lines[0])
	world, again := "Hello world!"+thread, "Hello again!"+thread
	if thread == "" || !slices.Equal(lines, []string{world, world, again, again}) {
		t.Errorf("%q", lines)
	}
}

// checkWget: all are asked at once, and they come as they answer.
func checkWget(t *testing.T, lines []string) {
	var firsts []string
	for _, line := range lines {
		if strings.HasPrefix(line, "wget ") || strings.HasSuffix(line, " header > HTTP/1.1 200 OK") {
			firsts = append(firsts, line)
		}
	}
	want := []string{
		"wget www.sina.com.cn...",
		"wget www.sohu.com...",
		"wget www.163.com...",
		"www.sohu.com header > HTTP/1.1 200 OK",
		"www.163.com header > HTTP/1.1 200 OK",
		"www.sina.com.cn header > HTTP/1.1 200 OK",
	}
	if !slices.Equal(firsts, want) || len(lines) < len(want)+6 {
		t.Errorf("%s", strings.Join(lines, "\n"))
	}
}
