// wget against servers of all kinds.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestHeaders(t *testing.T) {
	var got *http.Request
	addr := webServer(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		page("hello")(w, r)
	})
	want := result{out: strings.ReplaceAll(`HOST header > HTTP/1.1 200 OK
HOST header > Content-Type: text/plain
HOST header > Content-Length: 5
HOST header > Connection: close
`, "HOST", addr)}
	t.Run("URL", func(t *testing.T) {
		program(t, "wget", "http://"+addr+"/a%20b?q=1#frag").check(t, want)
		if got.Method != "GET" || got.RequestURI != "/a%20b?q=1" || got.Host != addr || got.Proto != "HTTP/1.1" {
			t.Errorf("the request was %s %s %s for %s", got.Method, got.RequestURI, got.Proto, got.Host)
		}
	})
	t.Run("bare host", func(t *testing.T) {
		program(t, "wget", addr).check(t, want)
		if got.RequestURI != "/" {
			t.Errorf("it asked for %s", got.RequestURI)
		}
	})
	t.Run("status of an error", func(t *testing.T) {
		addr := webServer(t, http.NotFound)
		r := program(t, "wget", addr)
		if r.code != 0 || !strings.HasPrefix(r.out, addr+" header > HTTP/1.1 404 Not Found\n") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("redirect", func(t *testing.T) {
		addr := webServer(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
		})
		r := program(t, "wget", addr)
		if r.code != 0 || !strings.Contains(r.out, " header > Location: http://elsewhere.invalid/\n") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("answers before the final one", func(t *testing.T) {
		addr := rawServer(t, says("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n"))
		program(t, "wget", addr).check(t, result{out: strings.ReplaceAll(`HOST header > HTTP/1.1 103 Early Hints
HOST header > Link: </a>
HOST header > HTTP/1.1 200 OK
HOST header > A: b
`, "HOST", addr)})
	})
	t.Run("what could steer a terminal", func(t *testing.T) {
		addr := rawServer(t, says("HTTP/1.1 200 OK\r\nA: \x1b[2J\r\nB: \"ü\"\r\n\r\n"))
		r := program(t, "wget", addr)
		if !strings.Contains(r.out, ` header > A: \x1b[2J`+"\n") || !strings.Contains(r.out, ` header > B: "ü"`+"\n") {
			t.Errorf("%q", r.out)
		}
	})
}

// Each site asks the others to have been asked before it answers.
func TestAllAtOnce(t *testing.T) {
	const n = 3
	var together sync.WaitGroup
	together.Add(n)
	args := []string{"wget"}
	for range n {
		args = append(args, rawServer(t, func(c *net.TCPConn) {
			together.Done()
			together.Wait()
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		}))
	}
	r := program(t, args...)
	if r.code != 0 || strings.Count(r.out, " header > HTTP/1.1 200 OK\n") != n {
		t.Errorf("%+v", r)
	}
}

func TestConcurrency(t *testing.T) {
	const n, limit = 6, 2
	var mu sync.Mutex
	inside, most := 0, 0
	pairs := make(chan struct{}) // two have to meet here
	addr := rawServer(t, func(c *net.TCPConn) {
		mu.Lock()
		inside++
		most = max(most, inside)
		mu.Unlock()
		select {
		case pairs <- struct{}{}:
		case <-pairs:
		}
		mu.Lock()
		inside--
		mu.Unlock()
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	})
	args := append([]string{"wget", "-concurrency", "2"}, slices.Repeat([]string{addr}, n)...)
	r := program(t, args...)
	if r.code != 0 || strings.Count(r.out, " header > ") != n {
		t.Errorf("%+v", r)
	}
	if most != limit {
		t.Errorf("%d sites at once, want %d", most, limit)
	}
}

func TestFailures(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	long := strings.Repeat("x", 70<<10)
	for _, c := range []struct {
		name string
		url  string
		says string // begins with it
		out  bool   // part of a header was printed
	}{
		{"name that does not exist", "http://nothing.invalid/", "", false},
		{"refused", closedPort(t), "connection refused\n", false},
		{"reset", rawServer(t, saysAndResets("", func() {})), "connection reset by the server\n", false},
		{"silence", rawServer(t, saysAndWaits("")), "timed out\n", false},
		{"silence in the header", rawServer(t, saysAndWaits("HTTP/1.1 200 OK\r\nA: b")), "timed out\n", true},
		{"closed at once", rawServer(t, says("")), "the connection was closed without an answer\n", false},
		{"closed in the header", rawServer(t, says("HTTP/1.1 200 OK\r\n")), "the connection was closed in the middle of the header\n", true},
		{"closed in a line", rawServer(t, says("HTTP/1.1 200 OK\r\nA: b")), "the connection was closed in the middle of the header\n", true},
		{"not HTTP", rawServer(t, says("220 mail.example ESMTP\r\n")), "not HTTP: the answer begins with \"220 mail.example ESM\"\n", false},
		{"not HTTP, without a line", rawServer(t, says("\x00\xff")), "not HTTP: the answer begins with \"\\x00\\xff\"\n", false},
		{"not HTTP, without end", rawServer(t, saysAndWaits(long)), "not HTTP: the answer begins with \"xxxxxxxxxxxxxxxxxxxx\"\n", false},
		{"bad status", rawServer(t, says("HTTP/1.1 abc OK\r\n\r\n")), "not HTTP: malformed HTTP status code \"abc\"\n", true},
		{"bad header", rawServer(t, says("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n")), "not HTTP: malformed MIME header: missing colon: \"nonsense\"\n", true},
		{"long line", rawServer(t, saysAndWaits("HTTP/1.1 200 OK\r\nA: "+long)), "the header is longer than 64 KiB\n", true},
		{"long header", rawServer(t, saysAndWaits("HTTP/1.1 200 OK\r\n"+strings.Repeat("A: b\r\n", 12<<10))), "the header is longer than 64 KiB\n", true},
		{"unknown authority", "https://" + other.server("127.0.0.1", time.Hour, page("")), "TLS: certificate signed by unknown authority", false},
		{"expired certificate", "https://" + ca.server("127.0.0.1", -time.Hour, page("")), "TLS: certificate has expired or is not yet valid: ", false},
		{"certificate for another name", "https://" + local(ca.server("else.example", time.Hour, page(""))), "TLS: certificate is valid for else.example, not localhost\n", false},
		{"plain server", "https://" + rawTLS(t), "not TLS: first record does not look like a TLS handshake\n", false},
		{"TLS cut in the handshake", "https://" + rawTLSCut(t), "TLS handshake: unexpected EOF\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeouts := []string{"20s"}
			if strings.HasPrefix(c.says, "timed out") {
				timeouts = []string{"300ms", "3s", "30s"} // a slow machine may need more for the part of a header
			}
			var r result
			for _, timeout := range timeouts {
				r = program(t, "wget", "-timeout", timeout, "-cacert", ca.file, c.url)
				r.err = strings.Replace(r.err, "timed out after "+timeout, "timed out", 1)
				if r.out != "" || !c.out {
					break
				}
			}
			if r.code != exitFailed {
				t.Errorf("exit code %d, want %d", r.code, exitFailed)
			}
			if (r.out != "") != c.out {
				t.Errorf("standard output %q", r.out)
			}
			if c.says == "" {
				checkNoName(t, r.err)
			} else if !strings.HasPrefix(r.err, "asyncio wget: "+c.url+": "+c.says) || strings.Count(r.err, "\n") != 1 {
				t.Errorf("standard error %q, want %q", r.err, c.says)
			}
		})
	}
}

// checkNoName: without a name server nobody knows whether a name exists.
func checkNoName(t *testing.T, said string) {
	if said != "asyncio wget: http://nothing.invalid/: name not found\n" &&
		!strings.HasPrefix(said, "asyncio wget: http://nothing.invalid/: the look-up of the name failed: ") {
		t.Errorf("standard error %q", said)
	}
}

func TestReason(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&net.DNSError{Err: "no such host", Name: "a", IsNotFound: true}, "name not found"},
		{&net.DNSError{Err: "server misbehaving", Name: "a", Server: "b"}, "the look-up of the name failed: server misbehaving"},
		{errors.Join(&net.OpError{Op: "dial", Net: "tcp", Err: errRefused}, errors.New("other")), "connection refused"},
		{&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("no route")}, "no route"},
		{errors.New("one\ntwo"), "one; two"},
	} {
		if got := reason(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

// local returns an address of 127.0.0.1 under the name that it has everywhere.
func local(addr string) string { return strings.Replace(addr, "127.0.0.1", "localhost", 1) }

// rawTLS is a server that answers a TLS client in plain words.
func rawTLS(t *testing.T) string {
	return listener(t, func(c net.Conn) {
		io.ReadFull(c, make([]byte, 5))
		io.WriteString(c, "220 mail.example ESMTP\r\n")
		io.Copy(io.Discard, c)
	})
}

// rawTLSCut is a server that closes when a TLS client has said hello.
func rawTLSCut(t *testing.T) string {
	return listener(t, func(c net.Conn) {
		head := make([]byte, 5)
		io.ReadFull(c, head)
		io.CopyN(io.Discard, c, int64(head[3])<<8|int64(head[4]))
	})
}

// listener serves one connection.
func listener(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if c, err := ln.Accept(); err == nil {
			serve(c)
			c.Close()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-ended
	})
	return ln.Addr().String()
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	addr := ca.server("127.0.0.1", time.Hour, page("hello"))
	file := filepath.Join(t.TempDir(), "body")
	r := program(t, "wget", "-cacert", ca.file, "-o", file, "https://"+addr)
	r.check(t, result{out: strings.ReplaceAll(`HOST header > HTTP/1.1 200 OK
HOST header > Content-Type: text/plain
HOST header > Content-Length: 5
HOST header > Connection: close
HOST body > FILE (5 bytes)
`, "HOST", addr)}.with("FILE", file))
	checkFiles(t, filepath.Dir(file), map[string]string{"body": "hello"})
}

// with returns r with a word of its output replaced.
func (r result) with(word, by string) result {
	r.out = strings.ReplaceAll(r.out, word, by)
	return r
}

// One site waits with its answer until the other's failure has been told.
func TestOneFailureDoesNotStopTheOthers(t *testing.T) {
	var out, errs = newScreen(), newScreen()
	refused := closedPort(t)
	good := rawServer(t, func(c *net.TCPConn) {
		if err := errs.waitFor(t.Context(), "connection refused\n"); err != nil {
			t.Error(err)
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	})
	code := run(t.Context(), []string{"wget", good, refused}, nil, out, errs)
	result{code, out.String(), errs.String()}.check(t, result{
		code: exitFailed,
		out:  good + " header > HTTP/1.1 200 OK\n",
		err:  "asyncio wget: " + refused + ": connection refused\n",
	})
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	addr := rawServer(t, saysAndWaits("HTTP/1.1 200 OK\r\n"))
	out, errs := newScreen(), newScreen()
	ended := make(chan int)
	go func() { ended <- run(ctx, []string{"wget", addr, addr}, nil, out, errs) }()
	if err := out.waitFor(t.Context(), "200 OK\n"); err != nil {
		t.Error(err)
	}
	cancel()
	if code := <-ended; code != exitFailed || errs.String() != "asyncio wget: asyncio: cancelled\n" {
		t.Errorf("exit code %d, standard error %q", code, errs)
	}
}

func TestBodies(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 64<<10) // a megabyte
	for _, c := range []struct {
		name   string
		serve  func(*net.TCPConn)
		body   string
		failed string
	}{
		{"length", says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), "hello", ""},
		{"length, and more than that", says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, world"), "hello", ""},
		{"length, and the connection stays open", saysAndWaits("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), "hello", ""},
		{"chunks", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: u\r\n\r\n"), "hello", ""},
		{"to the end", says("HTTP/1.1 200 OK\r\n\r\nhello"), "hello", ""},
		{"to the end, by HTTP/1.0", says("HTTP/1.0 200 OK\r\n\r\nhello"), "hello", ""},
		{"empty", says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "", ""},
		{"none", saysAndWaits("HTTP/1.1 204 No Content\r\n\r\n"), "", ""},
		{"big", says(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(big), big)), big, ""},
		{"cut", says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), "", "the body ended early, after 5 of 10 bytes\n"},
		{"cut in a chunk", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello"), "", "the body ended early, after 5 bytes\n"},
		{"cut between chunks", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), "", "the body ended early, after 5 bytes\n"},
		{"bad chunk", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"), "", "the body ended early, after 0 bytes: invalid byte in chunk length\n"},
		{"silence", saysAndWaits("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), "", "timed out after 300ms\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeout := "20s"
			if strings.HasPrefix(c.failed, "timed out") {
				timeout = "300ms"
			}
			addr := rawServer(t, c.serve)
			dir := t.TempDir()
			file := filepath.Join(dir, "body")
			r := program(t, "wget", "-timeout", timeout, "-o", file, addr)
			saved := fmt.Sprintf("%s body > %s (%d bytes)\n", addr, file, len(c.body))
			if c.failed == "" {
				if r.code != exitOK || r.err != "" || !strings.HasSuffix(r.out, saved) {
					t.Errorf("%+v", r)
				}
				checkFiles(t, dir, map[string]string{"body": c.body})
				return
			}
			if want := "asyncio wget: " + addr + ": " + c.failed; r.code != exitFailed || r.err != want {
				t.Errorf("exit code %d, standard error %q, want %q", r.code, r.err, want)
			}
			checkFiles(t, dir, nil)
		})
	}
}

// A body is broken off by a reset when its first part is on its way to the file.
func TestBodyReset(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "body")
	if err := os.WriteFile(file, []byte("what stood there"), 0o666); err != nil {
		t.Fatal(err)
	}
	part := func() bool {
		entries, err := os.ReadDir(dir)
		return err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool {
			info, err := e.Info()
			return err == nil && strings.HasSuffix(e.Name(), ".part") && info.Size() == 5
		})
	}
	addr := rawServer(t, saysAndResets("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", func() {
		for !part() && t.Context().Err() == nil {
			runtime.Gosched()
		}
	}))
	r := program(t, "wget", "-timeout", "20s", "-o", file, addr)
	if want := "asyncio wget: " + addr + ": the body ended early, after 5 of 10 bytes: connection reset by the server\n"; r.code != exitFailed || r.err != want {
		t.Errorf("exit code %d, standard error %q, want %q", r.code, r.err, want)
	}
	checkFiles(t, dir, map[string]string{"body": "what stood there"})
}

func TestOutputNames(t *testing.T) {
	addr := webServer(t, func(w http.ResponseWriter, r *http.Request) { page(r.URL.Path)(w, r) })
	name := strings.ReplaceAll(addr, ":", "_")
	t.Run("several URLs", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "made", "for", "it")
		r := program(t, "wget", "-o", dir, addr+"/a", addr+"/b", local(addr)+"/c")
		if r.code != 0 || r.err != "" {
			t.Errorf("%+v", r)
		}
		checkFiles(t, dir, map[string]string{name: "/a", name + ".2": "/b", local(name): "/c"})
	})
	t.Run("one URL and a directory", func(t *testing.T) {
		dir := t.TempDir()
		if r := program(t, "wget", "-o", dir, addr+"/a"); r.code != 0 {
			t.Errorf("%+v", r)
		}
		checkFiles(t, dir, map[string]string{name: "/a"})
	})
	t.Run("a file that exists", func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "body")
		os.WriteFile(file, []byte("what stood there"), 0o666)
		if r := program(t, "wget", "-o", file, addr+"/a"); r.code != 0 {
			t.Errorf("%+v", r)
		}
		checkFiles(t, dir, map[string]string{"body": "/a"})
	})
	t.Run("a directory that is missing", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "missing", "body")
		r := program(t, "wget", "-o", file, addr+"/a")
		if r.code != exitFailed || !strings.HasPrefix(r.err, "asyncio wget: "+addr+"/a: open "+file) {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a device", func(t *testing.T) {
		if r := program(t, "wget", "-o", os.DevNull, addr+"/a"); r.code != 0 || r.err != "" {
			t.Errorf("%+v", r)
		}
		if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
			t.Errorf("%s is now %v, %v", os.DevNull, info.Mode(), err)
		}
	})
}

// checkFiles says what a directory must hold, and nothing else.
func checkFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		w, wanted := want[e.Name()]
		if err != nil || !wanted || w != string(text) {
			t.Errorf("%s is there with %d bytes, %.40q (%v); want it: %v", e.Name(), len(text), text, err, wanted)
		}
	}
	if len(entries) < len(want) {
		t.Errorf("%d files are there, want %d", len(entries), len(want))
	}
}

func TestFileNames(t *testing.T) {
	taken := make(map[string]bool)
	for _, c := range [][2]string{
		{"Example.com", "example.com"},
		{"example.com", "example.com.2"},
		{"example.com.2", "example.com.2.2"},
		{"example.com:8080", "example.com_8080"},
		{"[::1]:80", "___1__80"},
	} {
		if got := freeName(fileName(c[0]), taken); got != c[1] {
			t.Errorf("%s becomes %s, want %s", c[0], got, c[1])
		}
	}
}
