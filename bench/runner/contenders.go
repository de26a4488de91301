// The contenders: building them, and finding what others need.

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// A contender is a program that takes a workload as arguments.
type contender struct {
	name    string
	version string // of what it stands for
	cmd     []string
	env     []string
	free    bool // it uses all processors in tasks, and does not serve
}

// tools are the programs that load servers. What is missing is empty.
type tools struct {
	client, tlsClient, idle string
}

// A builder makes what takes part in a directory.
type builder struct {
	ctx     context.Context
	sources string
	dir     string
	wanted  *regexp.Regexp
	say     func(format string, a ...any)

	found []*contender
}

// all returns the contenders that can run here, ours first, and the tools.
func (b *builder) all() ([]*contender, tools) {
	goVersion := "Go " + strings.TrimPrefix(runtime.Version(), "go")
	b.inGo("./contender", contender{name: "asyncio for Go", version: goVersion})
	b.inGo("./peers/goroutines", contender{name: "goroutines, GOMAXPROCS=1", version: goVersion, env: []string{"GOMAXPROCS=1"}},
		contender{name: "goroutines, all cores", version: goVersion, free: true})
	if runtime.GOOS != "windows" {
		b.inGo("./peers/netpoll", contender{name: "netpoll", version: b.output("go", "list", "-C", b.sources, "-m", "-f", "{{.Version}}", "github.com/cloudwego/netpoll")})
	}
	b.tokio()
	b.python()
	b.node()
	return b.found, b.inC()
}

// add lets contenders take part if they are wanted.
func (b *builder) add(contenders ...contender) {
	for _, c := range contenders {
		if b.wanted.MatchString(c.name) {
			b.found = append(b.found, &c)
		}
	}
}

// want reports whether any of these contenders is to take part.
func (b *builder) want(names ...string) bool {
	for _, name := range names {
		if b.wanted.MatchString(name) {
			return true
		}
	}
	return false
}

// lacks says that something is not there.
func (b *builder) lacks(what, remedy string) { b.say("%s: not here; %s.", what, remedy) }

// output is what a program prints, or "" if it fails.
func (b *builder) output(name string, args ...string) string {
	out, err := exec.CommandContext(b.ctx, name, args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// build runs a compiler, and says what it says if it fails.
func (b *builder) build(what string, cmd *exec.Cmd) bool {
	out, err := cmd.CombinedOutput()
	if err != nil && b.ctx.Err() == nil {
		b.say("%s: cannot be built: %v\n%s", what, err, out)
	}
	return err == nil
}

// inGo builds a package of this module.
func (b *builder) inGo(pkg string, contenders ...contender) {
	names := make([]string, len(contenders))
	program := filepath.Join(b.dir, filepath.Base(pkg))
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	for i := range contenders {
		names[i] = contenders[i].name
		contenders[i].cmd = []string{program}
	}
	if b.want(names...) && b.build(pkg, exec.CommandContext(b.ctx, "go", "build", "-C", b.sources, "-o", program, pkg)) {
		b.add(contenders...)
	}
}

// inC builds the clients and the floor, all of which need Linux.
func (b *builder) inC() (t tools) {
	if runtime.GOOS != "linux" {
		b.lacks("servers, memory and the floor in C", "they are measured on Linux")
		return t
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		b.lacks("servers, and the floor in C", "install a C compiler: apt install gcc libc6-dev")
		return t
	}
	program := func(name string, args ...string) string {
		out := filepath.Join(b.dir, name)
		cmd := exec.CommandContext(b.ctx, cc, append([]string{"-O2", "-Wall", "-pthread", "-o", out}, args...)...)
		cmd.Dir = path(b.sources, "peers", "c")
		if !b.build(name+" in C", cmd) {
			return ""
		}
		return out
	}
	t.client = program("client", "client.c")
	t.idle = program("idle", "idle.c")
	if exec.CommandContext(b.ctx, cc, "-E", "-include", "openssl/ssl.h", "-x", "c", os.DevNull, "-o", os.DevNull).Run() != nil {
		b.lacks("the client for TLS", "install OpenSSL for development: apt install libssl-dev")
	} else {
		t.tlsClient = program("tlsclient", "-DTLS", "client.c", "-lssl", "-lcrypto")
	}
	const name = "floor in C"
	if b.want(name) {
		if p := program("floor", "floor.c", "server.c"); p != "" {
			b.add(contender{name: name, version: "gcc " + b.output(cc, "-dumpfullversion"), cmd: []string{p}})
		}
	}
	return t
}

// registry is where Debian keeps the sources of Rust's libraries.
const registry = "/usr/share/cargo/registry"

// tokio builds its peer offline, with Debian's libraries. The compiled libraries are
// kept for the next time.
func (b *builder) tokio() {
	const name = "tokio, current_thread"
	if !b.want(name) {
		return
	}
	cargo, err := exec.LookPath("cargo")
	libraries, _ := filepath.Glob(filepath.Join(registry, "tokio-[0-9o]*")) // tokio and tokio-openssl
	if err != nil || len(libraries) < 2 {
		b.lacks(name, "apt install cargo librust-tokio-dev librust-tokio-openssl-dev")
		return
	}
	src := filepath.Join(b.dir, "tokio") // cargo writes there
	if err := os.CopyFS(src, os.DirFS(path(b.sources, "peers", "tokio"))); err != nil {
		b.say("%s: %v", name, err)
		return
	}
	target := filepath.Join(b.dir, "tokio-target")
	if cache, err := os.UserCacheDir(); err == nil {
		target = filepath.Join(cache, "asyncio-bench", "tokio")
	}
	cmd := exec.CommandContext(b.ctx, cargo, "build", "--quiet", "--release", "--offline", "--target-dir", target,
		"--config", `source.crates-io.replace-with="debian"`, "--config", `source.debian.directory="`+registry+`"`)
	cmd.Dir = src
	if !b.build(name, cmd) {
		return
	}
	version := ""
	if lock, err := os.ReadFile(filepath.Join(src, "Cargo.lock")); err == nil {
		if m := regexp.MustCompile(`name = "tokio"\nversion = "([^"]*)"`).FindSubmatch(lock); m != nil {
			version = string(m[1])
		}
	}
	b.add(contender{name: name, version: version, cmd: []string{filepath.Join(target, "release", "workloads")}})
}

// python finds an interpreter that knows TaskGroup and timeout, best one with uvloop.
func (b *builder) python() {
	const plain, fast = "Python asyncio", "Python uvloop"
	if !b.want(plain, fast) {
		return
	}
	program := path(b.sources, "peers", "python", "workloads.py")
	interpreter, version, uvloop := "", "", ""
	for _, p := range []string{"/usr/bin/python3", "python3"} {
		v := b.output(p, "-c", "import sys, asyncio; asyncio.TaskGroup, asyncio.timeout; print(sys.version.split()[0])")
		if v == "" {
			continue
		}
		u := b.output(p, "-c", "import uvloop; print(uvloop.__version__)")
		if interpreter == "" || u != "" {
			interpreter, version, uvloop = p, v, u
		}
		if u != "" {
			break
		}
	}
	if interpreter == "" {
		b.lacks(plain+" and uvloop", "install Python 3.11 or later: apt install python3 python3-uvloop")
		return
	}
	b.add(contender{name: plain, version: version, cmd: []string{interpreter, program}})
	if uvloop == "" {
		b.lacks(fast, "apt install python3-uvloop")
		return
	}
	b.add(contender{name: fast, version: uvloop, cmd: []string{interpreter, program}, env: []string{"LOOP=uvloop"}})
}

func (b *builder) node() {
	const name = "node"
	if !b.want(name) {
		return
	}
	node, err := exec.LookPath("node")
	if err != nil {
		b.lacks(name, "apt install nodejs")
		return
	}
	b.add(contender{name: name, version: strings.TrimPrefix(b.output(node, "--version"), "v"), cmd: []string{node, path(b.sources, "peers", "node", "workloads.js")}})
}

func (c *contender) String() string {
	if c.version == "" {
		return c.name
	}
	return fmt.Sprintf("%s (%s)", c.name, c.version)
}
