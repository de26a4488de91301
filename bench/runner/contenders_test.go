// Tests that each contender which can be built here does what a contender has to.

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// lacks are the workloads that a contender does not have.
var lacks = map[string][]string{
	"asyncio for Go":           nil,
	"goroutines, GOMAXPROCS=1": {"callsoon", "echo-proto"},
	"goroutines, all cores":    {"callsoon", "echo-proto"},
	"netpoll": {"spawn", "spawnbusy", "gather", "yield", "pingpong", "prodcons", "lock", "timers", "timeout", "timeouty",
		"callsoon", "xpost", "xrtt", "sleep", "sleepcb", "echo-proto", "tls"},
	"floor in C": {"spawn", "spawnbusy", "gather", "yield", "pingpong", "prodcons", "lock", "timeout", "timeouty",
		"callsoon", "sleep", "sleepcb", "echo-proto", "tls"},
	"Python asyncio": nil,
	"Python uvloop":  nil,
	"node":           {"echo-proto"},
}

// Compiling tokio takes a minute, for which a test does not wait.
var quick = regexp.MustCompile(`^(asyncio|goroutines|netpoll|floor|Python|node)`)

var serverWords = []string{"echo", "echo-proto", "tls"}

// taskWords are the workloads that are no servers, and how many arguments they have.
func taskWords() (words []string, args map[string]int) {
	args = make(map[string]int)
	for _, w := range all {
		if (w.kind == task || w.kind == asleep) && args[w.args[0]] == 0 {
			words = append(words, w.args[0])
			args[w.args[0]] = len(w.args) - 1
		}
	}
	return words, args
}

// built returns the contenders that there are, and a meter. They are built once, in a
// directory that TestMain makes.
func built(t *testing.T) ([]*contender, *meter) {
	t.Helper()
	building.Do(buildOnce)
	if building.err != nil {
		t.Fatal(building.err)
	}
	contenders, m := building.contenders, building.meter
	for _, name := range []string{"asyncio for Go", "goroutines, GOMAXPROCS=1", "goroutines, all cores"} {
		if !slices.ContainsFunc(contenders, func(c *contender) bool { return c.name == name }) {
			t.Fatalf("there is no contender %q", name)
		}
	}
	if _, err := exec.LookPath("cc"); err == nil && runtime.GOOS == "linux" && (m.tools.client == "" || m.tools.idle == "") {
		t.Fatal("the clients in C have not been built")
	}
	return contenders, m
}

var programs string // the directory

var building struct {
	sync.Once
	contenders []*contender
	meter      *meter
	err        error
}

func buildOnce() {
	raiseOpenFiles()
	say := func(format string, a ...any) { fmt.Printf(format+"\n", a...) }
	b := &builder{ctx: context.Background(), sources: "..", dir: programs, wanted: quick, say: say}
	m := &meter{limit: time.Minute}
	building.meter = m
	building.contenders, m.tools = b.all()
	m.cert, m.key, building.err = certificate(programs)
}

func TestContenders(t *testing.T) {
	contenders, m := built(t)
	for _, c := range contenders {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			lacks, known := lacks[c.name]
			if !known {
				t.Fatal("what does it lack?")
			}
			check := func(word string, err error) {
				t.Helper()
				if slices.Contains(lacks, word) {
					if !errors.Is(err, errLacks) {
						t.Errorf("%s, which it lacks: %v, want exit status %d", word, err, lacking)
					}
				} else if err != nil {
					t.Errorf("%s: %v", word, err)
				}
			}
			words, args := taskWords()
			for _, word := range words {
				check(word, tiny(t, c, word, args[word]))
			}
			for _, word := range serverWords {
				check(word, echoes(t, m, c, word))
			}
			for _, word := range []string{"nonsense", "toString"} {
				p := start(t.Context(), c, nil, word, "1")
				if <-p.ended; !errors.Is(p.failure(), errLacks) {
					t.Errorf("%s: %v, want exit status %d", word, p.failure(), lacking)
				}
			}
		})
	}
}

// tiny lets a contender do little work.
func tiny(t *testing.T, c *contender, word string, args int) error {
	p := start(t.Context(), c, nil, append([]string{word}, []string{"20", "1"}[:args]...)...)
	if <-p.ended; p.failure() != nil {
		return p.failure()
	}
	keys := []string{"ns"}
	switch word {
	case "timers":
		keys = []string{"ns", "late50", "late99"}
	case "sleep", "sleepcb":
		keys = []string{"over"}
	}
	for _, key := range keys {
		// Node's timers may be a millisecond early.
		if v, err := result(p.stdout.String(), key); err != nil || v < -1000 || v <= 0 && key == "ns" {
			return errors.Join(err, fmt.Errorf("it prints %q", p.stdout.String()))
		}
	}
	return nil
}

// echoes starts a server and lets it echo, on two connections at once.
func echoes(t *testing.T, m *meter, c *contender, word string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	args := []string{word, port}
	dial := func() (net.Conn, error) { return net.Dial("tcp", "127.0.0.1:"+port) }
	if word == "tls" {
		args = append(args, m.cert, m.key)
		dial = func() (net.Conn, error) {
			return tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{InsecureSkipVerify: true})
		}
	}
	s := start(t.Context(), c, nil, args...)
	defer s.kill()
	if err := s.listens(t.Context(), port); err != nil {
		return err
	}
	first, err := dial()
	if err != nil {
		return err
	}
	defer first.Close()
	second, err := dial()
	if err != nil {
		return err
	}
	defer second.Close()
	return errors.Join(echo(first, 64), echo(second, 1<<20), echo(first, 64))
}

// echo sends so many bytes on a connection, and reads them.
func echo(c net.Conn, size int) error {
	c.SetDeadline(time.Now().Add(30 * time.Second))
	sent := bytes.Repeat([]byte("0123456789"), size/10)
	written := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		written <- err
	}()
	got := make([]byte, len(sent))
	_, err := io.ReadFull(c, got)
	if err == nil && !bytes.Equal(got, sent) {
		err = errors.New("it sends back something else")
	}
	return errors.Join(err, <-written)
}

// TestServersAreMeasured has the clients load our server a little.
func TestServersAreMeasured(t *testing.T) {
	contenders, m := built(t)
	c := contenders[0]
	for _, w := range []*workload{
		{name: "echo", kind: server, args: []string{"echo"}, load: []string{"3", "100000"}, key: "cpu"},
		{name: "tls", kind: tlsServer, args: []string{"tls"}, load: []string{"3", "64"}, key: "cpu"},
		{name: "idle", kind: idle, args: []string{"echo"}, load: []string{"500"}, key: "bytes"},
		{name: "asleep", kind: asleep, args: []string{"sleep", strconv.Itoa(50_000), "600"}},
	} {
		t.Run(w.name, func(t *testing.T) {
			if err := m.can(w); err != nil {
				t.Skip(err)
			}
			if v, err := m.measure(t.Context(), w, c, w.args[0]); err != nil || v <= 0 {
				t.Errorf("%v, %v; want something positive", v, err)
			}
		})
	}
}
