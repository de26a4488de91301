// The command line from outside: words, options, usage, exit codes.

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain looks for goroutines that the tests have left behind.
func TestMain(m *testing.M) {
	code := m.Run()
	deadline := time.Now().Add(10 * time.Second)
	for code == 0 && leftovers() != "" {
		if time.Now().After(deadline) {
			fmt.Printf("goroutines are left:\n%s\n", leftovers())
			code = 1
		}
		runtime.Gosched()
	}
	os.Exit(code)
}

// leftovers returns the stacks of all goroutines but the calling one and that
// of package os/signal, which never ends.
func leftovers() string {
	buf := make([]byte, 1<<20)
	all := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	var left []string
	for _, s := range all[1:] {
		if !strings.Contains(s, "os/signal.loop") {
			left = append(left, s)
		}
	}
	return strings.Join(left, "\n\n")
}

// A result is all that a user sees of the program.
type result struct {
	code     int
	out, err string
}

func program(t *testing.T, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(""), &out, &err)
	return result{code, out.String(), err.String()}
}

func (r result) check(t *testing.T, want result) {
	t.Helper()
	if r.code != want.code {
		t.Errorf("exit code %d, want %d", r.code, want.code)
	}
	if r.out != want.out {
		t.Errorf("standard output:\n%s\nwant:\n%s", r.out, want.out)
	}
	if r.err != want.err {
		t.Errorf("standard error:\n%s\nwant:\n%s", r.err, want.err)
	}
}

// A screen is an output that a test can wait for.
type screen struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{}
}

func newScreen() *screen { return &screen{changed: make(chan struct{}, 1)} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// waitFor waits until text has been written. There may be one who waits.
func (s *screen) waitFor(ctx context.Context, text string) error {
	for !strings.Contains(s.String(), text) {
		select {
		case <-s.changed:
		case <-ctx.Done():
			return fmt.Errorf("%q was never written: %w", text, ctx.Err())
		}
	}
	return nil
}

func TestHelp(t *testing.T) {
	for _, c := range []struct {
		args string
		file string
	}{
		{"help", "help.txt"},
		{"-h", "help.txt"},
		{"--help", "help.txt"},
		{"help wget", "help-wget.txt"},
		{"wget -h", "help-wget.txt"},
		{"wget --help", "help-wget.txt"},
		{"help demo", "help-demo.txt"},
		{"help version", "help-version.txt"},
	} {
		t.Run(c.args, func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join("testdata", c.file))
			if err != nil {
				t.Fatal(err)
			}
			program(t, strings.Fields(c.args)...).check(t, result{out: strings.ReplaceAll(string(want), "\r\n", "\n")})
		})
	}
}

func TestVersion(t *testing.T) {
	r := program(t, "version")
	form := regexp.MustCompile(`^asyncio \S+ go\S+ .*` + runtime.GOOS + "/" + runtime.GOARCH + "\n$")
	if r.code != exitOK || r.err != "" || !form.MatchString(r.out) {
		t.Errorf("%+v", r)
	}
}

func TestUsageErrors(t *testing.T) {
	overview, err := os.ReadFile("testdata/help.txt")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("no command", func(t *testing.T) {
		program(t).check(t, result{code: 2, err: strings.ReplaceAll(string(overview), "\r\n", "\n")})
	})
	t.Run("unknown command", func(t *testing.T) {
		program(t, "fetch", "-x").check(t, result{code: 2, err: "asyncio: unknown command \"fetch\"\nRun 'asyncio help' for the list.\n"})
	})

	dir := t.TempDir()
	noCert := filepath.Join(dir, "nocert")
	if err := os.WriteFile(noCert, []byte("nothing"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"help", "fetch"}, `unknown command "fetch"`},
		{[]string{"help", "wget", "demo"}, "one command at a time"},
		{[]string{"version", "x"}, "it takes no arguments"},
		{[]string{"demo", "x"}, "it takes no arguments"},
		{[]string{"demo", "-x"}, "flag provided but not defined: -x"},
		{[]string{"wget"}, "there is no URL"},
		{[]string{"wget", "-x", "a"}, "flag provided but not defined: -x"},
		{[]string{"wget", "-timeout", "soon", "a"}, `invalid value "soon" for flag -timeout: parse error`},
		{[]string{"wget", "-timeout", "0", "a"}, "-timeout 0s: it must be positive"},
		{[]string{"wget", "-concurrency", "0", "a"}, "-concurrency 0: it must be positive"},
		{[]string{"wget", "-o", "-", "a"}, "-o -: standard output has the headers; name a file"},
		{[]string{"wget", "-o", noCert, "a", "b"}, "-o " + noCert + ": for several URLs it must be a directory"},
		{[]string{"wget", "-cacert", noCert, "a"}, "-cacert: there is no certificate in " + noCert},
		{[]string{"wget", "a", "-timeout", "1s"}, `bad URL "-timeout": options come before the URLs`},
		{[]string{"wget", "ftp://a"}, `bad URL "ftp://a": the scheme must be http or https`},
		{[]string{"wget", "http://"}, `bad URL "http://": there is no host`},
		{[]string{"wget", ""}, `bad URL "": there is no host`},
		{[]string{"wget", "a b"}, `bad URL "a b": invalid character " " in host name`},
		{[]string{"wget", "http://.."}, `bad URL "http://..": the host is neither a name nor an address`},
		{[]string{"wget", "http://bücher.example"}, `bad URL "http://bücher.example": the host is neither a name nor an address`},
		{[]string{"wget", "http://u:p@a"}, `bad URL "http://u:p@a": a user name is not supported`},
		{[]string{"wget", "a:0"}, `bad URL "a:0": the port must be a number from 1 to 65535`},
		{[]string{"wget", "a:"}, `bad URL "a:": the port must be a number from 1 to 65535`},
		{[]string{"wget", "a:65536"}, `bad URL "a:65536": the port must be a number from 1 to 65535`},
		{[]string{"wget", "a\nb"}, `bad URL "a\nb": net/url: invalid control character in URL`},
		{[]string{"wget", "good.example", "ftp://a"}, `bad URL "ftp://a": the scheme must be http or https`},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			program(t, c.args...).check(t, result{
				code: 2,
				err:  fmt.Sprintf("asyncio %s: %s\nRun 'asyncio help %s' for usage.\n", c.args[0], c.says, c.args[0]),
			})
		})
	}

	t.Run("cacert that is missing", func(t *testing.T) {
		r := program(t, "wget", "-cacert", filepath.Join(dir, "missing"), "a")
		if r.code != 2 || r.out != "" || !strings.HasPrefix(r.err, "asyncio wget: -cacert: open "+dir) {
			t.Errorf("%+v", r)
		}
	})
}
