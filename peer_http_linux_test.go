// HTTP with programs that this project did not write: nginx as the server, curl as the
// client. net/http parses and formats, the bytes go through streams.

package asyncio_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// nginxConfig takes the directory for all that nginx writes, the two addresses and the
// directory that it serves.
const nginxConfig = `
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
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

func TestPeerNginx(t *testing.T) {
	nginx := needProgram(t, "nginx", "nginx")
	leavesNothing(t)
	dir, root := t.TempDir(), t.TempDir()
	trusted := writeCertificate(t, dir)
	addresses := freeAddresses(t, 2)
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, addresses[0], addresses[1], root), 0o666); err != nil {
		t.Fatal(err)
	}
	small, piece, pieces := []byte("small\n"), pattern(1<<20), scaled(100)
	if err := os.WriteFile(filepath.Join(root, "small"), small, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "big"), bytes.Repeat(piece, pieces), 0o666); err != nil {
		t.Fatal(err)
	}
	startProgram(t, nginx, "-e", "stderr", "-p", dir, "-c", config)
	for _, a := range addresses {
		waitForListener(t, "tcp", a)
	}
	for i, name := range []string{"plain", "TLS"} {
		opts := new(asyncio.ConnOptions)
		if name == "TLS" {
			opts.TLS = &tls.Config{RootCAs: trusted}
		}
		// visit runs test with a connection of its own.
		visit := func(t *testing.T, test func(c net.Conn, in *bufio.Reader) error) {
			t.Parallel()
			runStreams(t, func(ctx context.Context) error {
				return asyncio.Timeout(ctx, time.Minute, func(ctx context.Context) error {
					r, w, err := asyncio.OpenConnection(ctx, "tcp", addresses[i], opts)
					if err != nil {
						return err
					}
					c := asyncio.NetConn(ctx, r, w)
					defer c.Close()
					return test(c, bufio.NewReader(c))
				})
			})
		}
		answer := func(in *bufio.Reader) (*http.Response, error) {
			resp, err := http.ReadResponse(in, nil)
			if err == nil && (resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Server"), "nginx")) {
				err = fmt.Errorf("%s from %q", resp.Status, resp.Header.Get("Server"))
			}
			return resp, err
		}
		t.Run(name+" keep-alive", func(t *testing.T) {
			visit(t, func(c net.Conn, in *bufio.Reader) error {
				for range 50 {
					fmt.Fprint(c, "GET /small HTTP/1.1\r\nHost: here\r\n\r\n")
					resp, err := answer(in)
					if err != nil {
						return err
					}
					if err := shallRead(resp.Body, string(small)); err != nil {
						return err
					}
				}
				return nil
			})
		})
		t.Run(name+" pipelined", func(t *testing.T) {
			visit(t, func(c net.Conn, in *bufio.Reader) error {
				fmt.Fprint(c, strings.Repeat("GET /small HTTP/1.1\r\nHost: here\r\n\r\n", 50))
				for range 50 {
					resp, err := answer(in)
					if err != nil {
						return err
					}
					if err := shallRead(resp.Body, string(small)); err != nil {
						return err
					}
				}
				return nil
			})
		})
		t.Run(name+" chunked, and the end of the connection", func(t *testing.T) {
			visit(t, func(c net.Conn, in *bufio.Reader) error {
				fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
				resp, err := answer(in)
				if err != nil {
					return err
				}
				list, err := io.ReadAll(resp.Body)
				if !slices.Equal(resp.TransferEncoding, []string{"chunked"}) || !bytes.Contains(list, []byte(`href="small"`)) {
					return fmt.Errorf("%v, %q: %w", resp.TransferEncoding, list, err)
				}
				return shallRead(in, "")
			})
		})
		t.Run(name+" big", func(t *testing.T) {
			t.Parallel()
			runStreams(t, func(ctx context.Context) error {
				r, w, err := asyncio.OpenConnection(ctx, "tcp", addresses[i], opts)
				if err != nil {
					return err
				}
				defer w.Close()
				fmt.Fprint(w, "GET /big HTTP/1.1\r\nHost: here\r\n\r\n")
				head, err := r.ReadUntil(ctx, []byte("\r\n\r\n"))
				if err != nil {
					return err
				}
				if length := fmt.Sprintf("Content-Length: %d\r\n", pieces<<20); !strings.Contains(string(head), length) {
					return fmt.Errorf("%q has no %q", head, length)
				}
				// Between the pieces nobody reads. What nginx sends meanwhile has to wait
				// outside this process.
				for i := range pieces {
					got, err := r.ReadExactly(ctx, len(piece))
					if !bytes.Equal(got, piece) {
						return fmt.Errorf("piece %d is not what it was: %w", i, err)
					}
					if err := asyncio.Sleep(ctx, time.Millisecond); err != nil {
						return err
					}
					if n := r.Buffered(); n > 1<<20 {
						return fmt.Errorf("%d bytes are buffered", n)
					}
				}
				return nil
			})
		})
		t.Run(name+" at once", func(t *testing.T) {
			t.Parallel()
			runStreams(t, func(ctx context.Context) error {
				return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
					for range 50 {
						g.Go(func(ctx context.Context) error {
							r, w, err := asyncio.OpenConnection(ctx, "tcp", addresses[i], opts)
							if err != nil {
								return err
							}
							c := asyncio.NetConn(ctx, r, w)
							defer c.Close()
							fmt.Fprint(c, "GET /big HTTP/1.1\r\nHost: here\r\nRange: bytes=100000-199999\r\n\r\n")
							resp, err := http.ReadResponse(bufio.NewReader(c), nil)
							if err != nil {
								return err
							}
							return shallRead(resp.Body, string(piece[100_000:200_000]))
						})
					}
					return nil
				})
			})
		})
	}
}

// serveUploads is a server of HTTP/1.1: it answers each request with its method and path,
// and length and checksum of its body.
func serveUploads(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
	c := asyncio.NetConn(ctx, r, w)
	for in := bufio.NewReader(c); ; {
		req, err := http.ReadRequest(in)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if req.Header.Get("Expect") == "100-continue" {
			if _, err := io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
				return err
			}
		}
		sum := crc32.NewIEEE()
		n, err := io.Copy(sum, req.Body)
		if err != nil {
			return err
		}
		body := uploaded(req.Method, req.URL.Path, n, sum.Sum32())
		resp := http.Response{
			StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1,
			Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}
		if err := resp.Write(c); err != nil {
			return err
		}
	}
}

func uploaded(method, path string, n int64, sum uint32) string {
	return fmt.Sprintf("%s %s %d %08x\n", method, path, n, sum)
}

func TestPeerCurl(t *testing.T) {
	curl := needProgram(t, "curl", "curl")
	leavesNothing(t)
	dir := t.TempDir()
	writeCertificate(t, dir)
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	big := pattern(scaled(50 << 20))
	file := filepath.Join(dir, "big")
	if err := os.WriteFile(file, big, 0o666); err != nil {
		t.Fatal(err)
	}
	sum := crc32.ChecksumIEEE(big)
	for _, test := range []struct {
		name, network string
		tls           *tls.Config
		args          []string
	}{
		{"plain", "tcp", nil, nil},
		{"TLS", "tcp", &tls.Config{Certificates: []tls.Certificate{certificate}}, []string{"--cacert", filepath.Join(dir, "ca.pem")}},
		{"Unix", "unix", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			runStreams(t, func(ctx context.Context) error {
				address := "127.0.0.1:0"
				if test.network == "unix" {
					address = socketPath(t)
				}
				srv, err := asyncio.StartServer(ctx, test.network, address, serveUploads, &asyncio.ServerOptions{TLS: test.tls})
				if err != nil {
					return err
				}
				url, args := "http://"+srv.Addr().String(), append([]string{"-sS", "-v", "--http1.1", "-m60"}, test.args...)
				switch {
				case test.network == "unix":
					url, args = "http://there", append(args, "--unix-socket", address)
				case test.tls != nil:
					url = "https" + url[len("http"):]
				}
				// run runs curl, and returns what it says of the talk.
				run := func(ctx context.Context, stdin []byte, want string, more ...string) (string, error) {
					return asyncio.ToThread(ctx, func(ctx context.Context) (string, error) {
						var out, talk bytes.Buffer
						cmd := exec.CommandContext(ctx, curl, append(slices.Clone(args), more...)...)
						cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &talk
						err := cmd.Run()
						if err == nil && out.String() != want {
							err = fmt.Errorf("answered %q, want %q", out.String(), want)
						}
						if err != nil {
							err = fmt.Errorf("curl %q: %w\n%s", more, err, talk.String())
						}
						return talk.String(), err
					})
				}
				err = asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
					g.Go(func(ctx context.Context) error { // several requests on one connection
						want := uploaded("GET", "/a", 0, 0) + uploaded("GET", "/b", 0, 0) + uploaded("GET", "/c", 0, 0)
						talk, err := run(ctx, nil, want, url+"/a", url+"/b", url+"/c")
						if err == nil && strings.Count(talk, "Re-using existing connection") != 2 {
							err = errors.New("curl has not used the connection again:\n" + talk)
						}
						return err
					})
					g.Go(func(ctx context.Context) error { // curl waits for our word
						talk, err := run(ctx, nil, uploaded("PUT", "/big", int64(len(big)), sum),
							"-T", file, "-H", "Expect: 100-continue", "--expect100-timeout", "60", url+"/big")
						if err == nil && !strings.Contains(talk, "< HTTP/1.1 100 Continue") {
							err = errors.New("curl was not told to go on:\n" + talk)
						}
						return err
					})
					g.Go(func(ctx context.Context) error { // in chunks, since the length is not known
						some := pattern(3 << 20)
						_, err := run(ctx, some, uploaded("PUT", "/chunks", int64(len(some)), crc32.ChecksumIEEE(some)),
							"-T", "-", "-H", "Expect:", url+"/chunks")
						return err
					})
					return nil
				})
				return errors.Join(err, srv.Close(), srv.WaitClosed(ctx))
			})
		})
	}
}
