// The demo: what it must show.

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goasyncio/asyncio/internal/demosites"
	"github.com/goasyncio/asyncio/internal/thread"
)

func TestDemo(t *testing.T) {
	r := program(t, "demo")
	if r.code != exitOK || r.err != "" {
		t.Fatalf("exit code %d, standard error %q", r.code, r.err)
	}
	parts := strings.Split(r.out, "== ")
	if len(parts) != 4 || parts[0] != "" {
		t.Fatalf("%d parts, want 3:\n%s", len(parts)-1, r.out)
	}
	var programs [][]string
	for _, p := range parts[1:] {
		_, text, _ := strings.Cut(p, "\n")
		programs = append(programs, strings.Split(strings.TrimSpace(text), "\n"))
	}
	t.Run("hello", func(t *testing.T) { checkHello(t, programs[0]) })
	t.Run("tasks", func(t *testing.T) { checkTasks(t, programs[1]) })
	t.Run("sites", func(t *testing.T) { checkSites(t, programs[2]) })
}

func checkHello(t *testing.T, lines []string) {
	if !slices.Equal(lines, []string{"Hello world!", "Hello again!"}) {
		t.Errorf("%q", lines)
	}
}

// checkTasks: the second task begins before the first one ends, on one thread.
func checkTasks(t *testing.T, lines []string) {
	if len(lines) != 4 {
		t.Fatalf("%q", lines)
	}
	id := regexp.MustCompile(`\(thread (\d+)\)`).FindStringSubmatch(lines[0])
	if id == nil || id[1] == "0" && thread.ID() != 0 {
		t.Fatalf("%q names no thread", lines[0])
	}
	world := fmt.Sprintf("Hello world! (thread %s)", id[1])
	again := fmt.Sprintf("Hello again! (thread %s)", id[1])
	if !slices.Equal(lines, []string{world, world, again, again}) {
		t.Errorf("%q", lines)
	}
}

// checkSites: all three are asked before any answers, and those who answer first
// come first.
func checkSites(t *testing.T, lines []string) {
	if len(lines) < 5 {
		t.Fatalf("%q", lines)
	}
	var asked []string
	for _, host := range demosites.Names() {
		asked = append(asked, "wget "+host+"...")
	}
	if !slices.Equal(lines[:3], asked) {
		t.Errorf("it begins with %q, want %q", lines[:3], asked)
	}
	headers := make(map[string][]string)
	var order []string
	for _, line := range lines[3 : len(lines)-2] {
		host, header, found := strings.Cut(line, " header > ")
		if !found {
			t.Fatalf("%q is no line of a header", line)
		}
		if len(order) == 0 || order[len(order)-1] != host {
			order = append(order, host)
		}
		headers[host] = append(headers[host], header)
	}
	if want := []string{"www.sohu.com", "www.163.com", "www.sina.com.cn"}; !slices.Equal(order, want) {
		t.Errorf("the answers came from %q, want %q", order, want)
	}
	for host, header := range headers {
		if header[0] != "HTTP/1.1 200 OK" || len(header) < 3 {
			t.Errorf("%s: %q", host, header)
		}
	}
	checkTimes(t, lines[len(lines)-1])
}

func checkTimes(t *testing.T, line string) {
	m := regexp.MustCompile(`^The three sites took (\d+\.\d\d) s together; one after another they take (\d+\.\d\d) s\.$`).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("the last line is %q", line)
	}
	together, _ := strconv.ParseFloat(m[1], 64)
	apart, _ := strconv.ParseFloat(m[2], 64)
	if together < 0.45 || apart < 0.90 {
		t.Errorf("%q: the sites answer after 0.15, 0.30 and 0.45 s", line)
	}
}
