// The examples as their users run them: built, and started as processes.

package examples_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestExamples(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./...")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, c := range []struct {
		name   string
		args   []string
		check  func(t *testing.T, lines []string)
		enough func(out string) bool // it is interrupted then; nil: it ends by itself
	}{
		{"chat", nil, checkChat, nil},
		{"hello", nil, checkHello, nil},
		{"multicore", []string{"-loops", "3", "-calls", "90"}, checkMulticore, nil},
		{"raft", nil, checkRaft, nil},
		{"supervisor", []string{"-for", "1m", "-grace", "3s"}, checkSupervisor, supervised},
		{"tasks", nil, checkTasks, nil},
		{"tlsecho", nil, checkTLSEcho, nil},
		{"wget", []string{"-local"}, checkWget, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "multicore" && runtime.GOOS != "linux" {
				t.Skip("other systems do not spread the connections of a port over its listeners")
			}
			if c.enough != nil && runtime.GOOS == "windows" {
				c.args, c.enough = nil, nil // nobody can be interrupted there
			}
			t.Parallel()
			var errs bytes.Buffer
			cmd := exec.CommandContext(t.Context(), filepath.Join(dir, c.name), c.args...)
			cmd.Stderr = &errs
			pipe, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			for lines := bufio.NewScanner(pipe); lines.Scan(); {
				out.WriteString(lines.Text() + "\n")
				if c.enough != nil && c.enough(out.String()) {
					cmd.Process.Signal(os.Interrupt)
					c.enough = nil
				}
			}
			if err := cmd.Wait(); err != nil || errs.Len() > 0 {
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
		"Dan": {"* Cyd goes to the cellar"},
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

// checkRaft: who leads is a matter of chance, but one node is killed, another one takes
// over, and at the end all have all that was acknowledged.
func checkRaft(t *testing.T, lines []string) {
	acknowledged := regexp.MustCompile(`^client \| (\w+) is acknowledged by node (\d)$`)
	var names, by []string
	var logs []string
	killed := ""
	for _, line := range lines {
		if strings.Contains(line, " has ") {
			logs = append(logs, line)
		}
		if m := acknowledged.FindStringSubmatch(line); m != nil {
			names, by = append(names, m[1]), append(by, m[2])
		}
		if node, ok := strings.CutPrefix(line, "       * node "); ok && strings.HasSuffix(node, " is killed") {
			killed = node[:1]
		}
	}
	want := []string{"apple", "banana", "cherry", "date", "elder", "fig", "grape"}
	if !slices.Equal(names, want) || by[2] != killed || slices.Contains(by[3:6], killed) || len(logs) != 5 {
		t.Errorf("%s", strings.Join(lines, "\n"))
	}
	for node, line := range logs {
		if line != fmt.Sprintf("node %d has %s", node, strings.Join(want, ", ")) {
			t.Errorf("%q", line)
		}
	}
}

// supervised: all programs speak, and one has been started again.
func supervised(out string) bool {
	return strings.Count(out, "| here I am\n") >= 4 && strings.Contains(out, "again in")
}

// checkSupervisor: all programs speak, one fails and is started again, and they are
// ended from the last to the first, by force if need be.
func checkSupervisor(t *testing.T, lines []string) {
	at := 0
	for _, want := range []string{
		"supervisor: flaky has failed with 1, again in 100ms",
		"flaky    | here I am",
		"supervisor: stubborn is ended, with -9",
		"web      | good-bye",
		"supervisor: web is ended, with 0",
	} {
		i := slices.Index(lines[at:], want)
		if i < 0 {
			t.Fatalf("%q is missing, or not in its place:\n%s", want, strings.Join(lines, "\n"))
		}
		at += i + 1
	}
}

func checkTasks(t *testing.T, lines []string) {
	thread := regexp.MustCompile(` \(thread \d+\)$`).FindString(lines[0])
	world, again := "Hello world!"+thread, "Hello again!"+thread
	if thread == "" || !slices.Equal(lines, []string{world, world, again, again}) {
		t.Errorf("%q", lines)
	}
}

// checkMulticore: three loops on threads of their own have served all connections, and
// told of each.
func checkMulticore(t *testing.T, lines []string) {
	threads := make(map[string]bool)
	sum := 0
	for _, line := range lines[1:] {
		var number, served, told int
		var thread string
		if _, err := fmt.Sscanf(line, "loop %d on thread %s served %d connections, told of %d", &number, &thread, &served, &told); err != nil || served != told {
			t.Errorf("%q: %v", line, err)
		}
		threads[thread] = true
		sum += served
	}
	if !strings.HasPrefix(lines[0], "3 loops share a port") || len(lines) != 4 || len(threads) != 3 || sum != 90 {
		t.Errorf("%s", strings.Join(lines, "\n"))
	}
}

// checkTLSEcho: which cipher is chosen depends on the machine.
func checkTLSEcho(t *testing.T, lines []string) {
	connection := regexp.MustCompile(`^(first|second) connection: TLS 1\.3, TLS_[A-Z0-9_]+, ALPN echo, resumed: (true|false)$`)
	var seen []string
	for i, line := range lines {
		if m := connection.FindStringSubmatch(line); m != nil && i+1 < len(lines) {
			seen = append(seen, m[1], m[2], lines[i+1])
		}
	}
	if !slices.Equal(seen, []string{"first", "false", "echo: hello", "second", "true", "echo: hello again"}) || len(lines) != 4 {
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
