// The meter: one contender runs one workload once.

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// errLacks is that a contender does not have a workload.
var errLacks = errors.New("no such workload")

// errEnded is that a process ends without an error, but too early.
var errEnded = errors.New("it has ended before its time")

// lacking is the exit status that tells so.
const lacking = 3

// How long a client loads a server, in seconds: first without, then with counting.
const warm, counted = "0.4", "1.6"

// A meter measures.
type meter struct {
	dir       string
	tools     tools
	cert, key string // files
	limit     time.Duration
	place     place
}

// A place is where processes run, as numbers of processors; anywhere if it is nil.
type place struct {
	contender, client *int
}

// can reports why a workload cannot be measured here.
func (m *meter) can(w *workload) error {
	switch {
	case w.kind == server && m.tools.client == "", w.kind == tlsServer && m.tools.tlsClient == "", w.kind == idle && m.tools.idle == "":
		return errors.New("there is no client")
	case w.kind == asleep:
		return canRead()
	}
	return nil
}

// patiently is measure with a second attempt, since a busy machine may be why the first
// has failed. It reports what fails.
func (m *meter) patiently(ctx context.Context, w *workload, c *contender, word string, say func(string, ...any)) (v float64, err error) {
	for range 2 {
		v, err = m.measure(ctx, w, c, word)
		if err == nil || errors.Is(err, errLacks) || ctx.Err() != nil {
			break
		}
		say("%s, %s: %v", w.name, c.name, err)
	}
	return v, err
}

// measure lets a contender run a workload, in the form that a word names.
func (m *meter) measure(ctx context.Context, w *workload, c *contender, word string) (float64, error) {
	if c.free && w.kind != task {
		return 0, errLacks // a contender serves on one processor, and sleeps on any
	}
	ctx, cancel := context.WithTimeoutCause(ctx, m.limit, fmt.Errorf("it takes longer than %v", m.limit))
	defer cancel()
	at := m.place.contender
	if c.free || w.both {
		at = nil
	}
	var v float64
	var err error
	switch w.kind {
	case task:
		v, err = start(ctx, c, at, w.args...).value(w.key)
	case asleep:
		v, err = sleeping(ctx, start(ctx, c, at, w.args...), w.args[1])
	default:
		v, err = m.serving(ctx, w, c, word, at)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return v, err
}

// serving starts a contender as a server, and a client.
func (m *meter) serving(ctx context.Context, w *workload, c *contender, word string, at *int) (float64, error) {
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	args := []string{word, port}
	switch w.kind {
	case tlsServer:
		args = append(args, m.cert, m.key)
	case idle: // for those that need a buffer for each connection
		args = append(args, "4096")
	}
	s := start(ctx, c, at, args...)
	defer s.kill()
	if err := s.listens(ctx, port); err != nil {
		return 0, err
	}
	pid := strconv.Itoa(s.cmd.Process.Pid)
	var client *contender
	args = append([]string{port}, w.load...)
	switch w.kind {
	case server:
		client, args = &contender{cmd: []string{m.tools.client}}, append(args, warm, counted, pid)
	case tlsServer:
		client, args = &contender{cmd: []string{m.tools.tlsClient}}, append(args, warm, counted, pid)
	case idle:
		client, args = &contender{cmd: []string{m.tools.idle}}, append(args, pid)
	}
	v, err := start(ctx, client, m.place.client, args...).value(w.key)
	if err == nil {
		return v, nil
	}
	select { // a server that crashes is why its client fails
	case <-s.ended:
		return 0, fmt.Errorf("the server has ended: %w", cmp.Or(s.failure(), errEnded))
	case <-time.After(time.Second / 2):
		return 0, fmt.Errorf("the client: %w", err)
	}
}

// sleeping returns the memory of each of n tasks, once they have all been created:
// when the process uses no more CPU time.
func sleeping(ctx context.Context, p *process, n string) (float64, error) {
	defer p.kill()
	tasks, err := strconv.Atoi(n)
	if err != nil {
		return 0, err
	}
	const (
		pause = 100 * time.Millisecond // between looks at the process
		quiet = 15                     // looks without more than a little CPU time among them
		few   = 2                      // hundredths of a second, for what a runtime does in the background
	)
	used, looks := int64(0), 0 // since when it is quiet
	for looks < quiet {
		select {
		case <-p.ended:
			return 0, cmp.Or(p.failure(), errEnded)
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(pause):
		}
		ticks, err := cpuTicks(p.cmd.Process.Pid)
		if err != nil {
			return 0, err
		}
		if looks++; ticks > used+few || ticks == 0 {
			used, looks = ticks, 0
		}
	}
	bytes, err := resident(p.cmd.Process.Pid)
	return float64(bytes) / float64(tasks), err
}

// freePort returns a port that nobody listens on. It is none of those that the system gives
// to whoever wants any: a client would get it before the server does.
func freePort() (port string, err error) {
	for range 1000 {
		var l net.Listener
		port = strconv.Itoa(10_000 + rand.IntN(20_000))
		if l, err = net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return port, l.Close()
		}
	}
	return "", err
}

// A process is a contender, or a client, that runs.
type process struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr tail
	ended  chan struct{} // closed after err is set
	err    error
}

// start starts a contender on a processor. The process ends when ctx does.
func start(ctx context.Context, c *contender, at *int, args ...string) *process {
	p := &process{ended: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, c.cmd[0], append(c.cmd[1:len(c.cmd):len(c.cmd)], args...)...)
	p.cmd.Env = append(p.cmd.Environ(), c.env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.WaitDelay = time.Second
	if p.err = startOn(at, p.cmd); p.err != nil {
		close(p.ended)
		return p
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p
}

func (p *process) kill() {
	if p.cmd.Process != nil {
		p.cmd.Process.Kill() // or it has ended
	}
	<-p.ended
}

// failure returns why a process that has ended did so, or nil.
func (p *process) failure() error {
	var exit *exec.ExitError
	switch {
	case errors.As(p.err, &exit) && exit.ExitCode() == lacking:
		return errLacks
	case p.err != nil && p.stderr.String() != "":
		return fmt.Errorf("%w: %s", p.err, p.stderr.String())
	}
	return p.err
}

// value waits for a process and returns what it gives as result.
func (p *process) value(key string) (float64, error) {
	<-p.ended
	if err := p.failure(); err != nil {
		return 0, err
	}
	return result(p.stdout.String(), key)
}

var resultLine = regexp.MustCompile(`(?m)^RESULT (.*)$`)

// result finds a number in what a contender prints.
func result(out, key string) (float64, error) {
	if m := resultLine.FindStringSubmatch(out); m != nil {
		for _, field := range strings.Fields(m[1]) {
			if v, ok := strings.CutPrefix(field, key+"="); ok {
				return strconv.ParseFloat(v, 64)
			}
		}
	}
	return 0, fmt.Errorf("it gives no %q: it prints %.200q", key, out)
}

// listens waits until a server accepts connections.
func (p *process) listens(ctx context.Context, port string) error {
	var d net.Dialer
	for {
		c, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.ended:
			return cmp.Or(p.failure(), errEnded)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// A tail keeps the end of what is written to it.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 2000
	t.kept = append(t.kept, p...)
	if n := len(t.kept) - most; n > 0 {
		t.kept = append(t.kept[:0], t.kept[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.kept)) }
