// wget against a server that this project did not write: nginx, plain and over
// TLS.

package main

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNginx(t *testing.T) {
	server := startNginx(t)
	page := make([]byte, 1<<20)
	rand.Read(page)
	if err := os.WriteFile(filepath.Join(server.root, "page.bin"), page, 0o666); err != nil {
		t.Fatal(err)
	}
	saved := filepath.Join(t.TempDir(), "saved")
	for _, test := range []struct{ name, scheme, host string }{
		{"http", "http://", server.plain},
		{"https", "https://", server.tls},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := program(t, "wget", "-cacert", server.authority, "-o", saved, test.scheme+test.host+"/page.bin")
			server.checkOutput(t, r, test.host,
				" header > HTTP/1.1 200 OK\n",
				" header > Server: nginx",
				" header > Content-Length: 1048576\n",
				" header > Connection: close\n",
				" body > "+saved+" (1048576 bytes)\n")
			if got, err := os.ReadFile(saved); err != nil || !bytes.Equal(got, page) {
				t.Errorf("saved %d bytes (%v), not the %d of the page", len(got), err, len(page))
			}
		})
	}
	t.Run("chunked", func(t *testing.T) {
		r := program(t, "wget", "-o", saved, server.plain)
		server.checkOutput(t, r, server.plain, " header > Transfer-Encoding: chunked\n")
		if got, err := os.ReadFile(saved); err != nil || !strings.HasSuffix(string(got), "</html>\r\n") {
			t.Errorf("saved %q (%v), not the list of files", got, err)
		}
	})
	t.Run("certificate that is not trusted", func(t *testing.T) {
		r := program(t, "wget", "https://"+server.tls)
		if r.code != exitFailed || r.out != "" || !strings.Contains(r.err, ": TLS: ") {
			t.Errorf("%+v", r)
		}
	})
}

// An nginx is a running server.
type nginx struct {
	root       string // directory of what it serves
	plain, tls string // addresses
	authority  string // file for -cacert
}

// checkOutput checks that wget has succeeded and printed lines about host.
func (n *nginx) checkOutput(t *testing.T, r result, host string, lines ...string) {
	t.Helper()
	if r.code != exitOK || r.err != "" {
		t.Fatalf("exit code %d: %s", r.code, r.err)
	}
	for _, line := range lines {
		if !strings.Contains(r.out, host+line) {
			t.Errorf("the output has no %q:\n%s", host+line, r.out)
		}
	}
}

// nginxConfig takes the directory for all that nginx writes, the two addresses and
// the directory that it serves.
const nginxConfig = `
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr warn;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s;
		listen %[3]s ssl;
		ssl_certificate %[1]s/cert.pem;
		ssl_certificate_key %[1]s/key.pem;
		root %[4]s;
		autoindex on;
	}
}
`

// startNginx starts nginx, and stops it at the end of the test.
func startNginx(t *testing.T) *nginx {
	t.Helper()
	executable, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("needs package nginx")
	}
	dir, root := t.TempDir(), t.TempDir()
	n := &nginx{root: root, authority: writeCertificate(t, dir)}
	n.plain, n.tls = freeAddresses(t)
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, n.plain, n.tls, root), 0o666); err != nil {
		t.Fatal(err)
	}
	startBound(t, executable, "-e", "stderr", "-p", dir, "-c", config)
	waitForServer(t, n.plain)
	waitForServer(t, n.tls)
	return n
}

// startBound starts a server that ends with the test, and even if the test is
// killed: a shell ends it when its own standard input does.
func startBound(t *testing.T, command ...string) {
	t.Helper()
	const script = `"$@" & read -r nothing; kill $!; wait`
	cmd := exec.Command("sh", append([]string{"-c", script, "sh"}, command...)...)
	cmd.WaitDelay = 10 * time.Second
	var said bytes.Buffer
	cmd.Stderr = &said
	life, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		life.Close()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", command[0], said.Bytes())
		}
	})
}

// waitForServer waits until a server listens at an address, which it tells nobody.
func waitForServer(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server does not listen: %v", err)
		}
	}
}

// freeAddresses returns two addresses on this machine at which nobody listens. Their
// ports are none of those that the system gives to whoever wants any: others would get
// them before the server does, or a client that looks for it would meet itself.
func freeAddresses(t *testing.T) (a, b string) {
	t.Helper()
	var free []string
	for tries := 1; len(free) < 2; tries++ {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+mathrand.IntN(20_000)))
		if err == nil {
			defer l.Close() // at the end, or both might be the same
			free = append(free, l.Addr().String())
		} else if tries == 1000 {
			t.Fatal(err)
		}
	}
	return free[0], free[1]
}

// writeCertificate makes cert.pem and key.pem for a server on this machine, and
// returns the file with the certificate of the authority.
func writeCertificate(t *testing.T, dir string) string {
	t.Helper()
	ca := newAuthority(t)
	cert := ca.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return ca.file
}
