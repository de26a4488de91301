// Peers that this project did not write: how their programs are started, and socat,
// which speaks TCP, Unix sockets, TLS and terminals.

package asyncio_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/goasyncio/asyncio"
)

// needProgram returns the path of a program. Without it the test is skipped.
func needProgram(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip("needs package " + pkg)
	}
	return path
}

// startProgram starts a program that ends with the test, and even if the test is
// killed: a shell ends it, and its children, when its own standard input does.
func startProgram(t testing.TB, command ...string) {
	t.Helper()
	const script = `"$@" & read -r nothing; trap "" TERM; kill 0; wait`
	cmd := exec.Command("sh", append([]string{"-c", script, "sh"}, command...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
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

// waitFor waits until try succeeds, for a program to be ready.
func waitFor(t testing.TB, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the program does not get ready: %v", err)
		}
	}
}

// waitForListener waits until somebody listens at an address, which it tells nobody.
func waitForListener(t testing.TB, network, address string) {
	t.Helper()
	waitFor(t, func() error {
		c, err := net.DialTimeout(network, address, time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
}

// freeAddresses returns n addresses on this machine at which nobody listens. Their
// ports are none of those that the system gives to whoever wants any: others would get
// them before the program does, or a client that looks for it would meet itself.
func freeAddresses(t testing.TB, n int) []string {
	t.Helper()
	var free []string
	for tries := 1; len(free) < n; tries++ {
		ln, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000)))
		if err == nil {
			defer ln.Close() // at the end, or two might be the same
			free = append(free, ln.Addr().String())
		} else if tries == 1000 {
			t.Fatal(err)
		}
	}
	return free
}

// writeCertificate makes the files cert.pem, key.pem and ca.pem for a server on this
// machine, and returns who trusts it.
func writeCertificate(t testing.TB, dir string) *x509.CertPool {
	t.Helper()
	ca := newAuthority(t)
	cert := ca.issue(t, soon(), "127.0.0.1", "localhost")
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: key},
		"ca.pem":   {Type: "CERTIFICATE", Bytes: ca.cert.Raw},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return ca.pool
}

// peerEchoes sends data and reads it back at the same time. With half it then ends its own half,
// and expects the end.
func peerEchoes(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter, data []byte, half bool) error {
	return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
		g.Go(func(ctx context.Context) error {
			if _, err := asyncio.NetConn(ctx, r, w).Write(data); err != nil || !half {
				return err
			}
			return w.WriteEOF()
		})
		got, err := r.ReadExactly(ctx, len(data))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, data) {
			return errors.New("what came back is not what was sent")
		}
		if half {
			if rest, err := r.ReadAll(ctx); len(rest) > 0 || err != nil {
				return fmt.Errorf("after all of it there came %d bytes, %w", len(rest), err)
			}
		}
		return nil
	})
}

func TestPeerSocat(t *testing.T) {
	socat := needProgram(t, "socat", "socat")
	leavesNothing(t)
	dir := t.TempDir()
	trusted := writeCertificate(t, dir)
	addresses := freeAddresses(t, 6)
	data := pattern(scaled(5 << 20))
	// visit runs test with a connection to a socat that has one half of what it was told
	// at an address, and this process at the other.
	visit := func(t *testing.T, network, address, listen, then string, config *tls.Config, test func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error) {
		t.Parallel()
		startProgram(t, socat, "-t10", listen+",fork", then)
		waitForListener(t, network, address)
		runStreams(t, func(ctx context.Context) error {
			return asyncio.Timeout(ctx, time.Minute, func(ctx context.Context) error {
				r, w, err := asyncio.OpenConnection(ctx, network, address, &asyncio.ConnOptions{TLS: config})
				if err != nil {
					return err
				}
				defer w.Abort()
				return test(ctx, r, w)
			})
		})
	}
	listen := func(address string) string {
		_, port, _ := net.SplitHostPort(address)
		return "TCP-LISTEN:" + port + ",bind=127.0.0.1,reuseaddr"
	}
	echo := func(half bool) func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		return func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			return peerEchoes(ctx, r, w, data, half)
		}
	}
	t.Run("TCP", func(t *testing.T) {
		visit(t, "tcp", addresses[0], listen(addresses[0]), "EXEC:cat", nil, echo(true))
	})
	t.Run("Unix", func(t *testing.T) {
		path := socketPath(t)
		visit(t, "unix", path, "UNIX-LISTEN:"+path, "EXEC:cat", nil, echo(true))
	})
	t.Run("abstract Unix", func(t *testing.T) {
		name := fmt.Sprintf("asyncio-test-%d", os.Getpid())
		visit(t, "unix", "@"+name, "ABSTRACT-LISTEN:"+name, "EXEC:cat", nil, echo(true))
	})
	t.Run("TLS", func(t *testing.T) {
		_, port, _ := net.SplitHostPort(addresses[1])
		secure := fmt.Sprintf("OPENSSL-LISTEN:%s,bind=127.0.0.1,reuseaddr,verify=0,cert=%[2]s/cert.pem,key=%[2]s/key.pem", port, dir)
		visit(t, "tcp", addresses[1], secure, "EXEC:cat", &tls.Config{RootCAs: trusted}, echo(false))
	})
	t.Run("reset", func(t *testing.T) {
		// A process that is killed with bytes that it has not read: the kernel resets.
		script := filepath.Join(t.TempDir(), "die")
		if err := os.WriteFile(script, []byte("#!/bin/sh\nhead -c 1 >/dev/null\nkill -KILL $PPID\n"), 0o777); err != nil {
			t.Fatal(err)
		}
		visit(t, "tcp", addresses[2], listen(addresses[2]), "EXEC:"+script, nil,
			func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				w.Write(pattern(20 << 20))
				got, err := r.ReadAll(ctx)
				if !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("read %d bytes, %v, want a reset", len(got), err)
				}
				_, err = w.Write(data)
				if err == nil {
					err = w.Drain(ctx) // the write was kept: what was to be sent before it waits still
				}
				if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("after the reset a write returns %v", err)
				}
				return nil
			})
	})
	t.Run("slow reader", func(t *testing.T) {
		begin := filepath.Join(t.TempDir(), "begin")
		visit(t, "tcp", addresses[3], listen(addresses[3]), "SYSTEM:while [ ! -e "+begin+" ]; do sleep 0.01; done; wc -c", nil,
			func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				c := asyncio.NetConn(ctx, r, w)
				all := pattern(20 << 20) // does not fit into the buffers of the kernel
				c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
				n, err := c.Write(all)
				timedOut(t, err)
				if buffered := w.Buffered(); buffered > 256<<10 {
					t.Errorf("%d bytes are buffered", buffered)
				}
				if err := os.WriteFile(begin, nil, 0o666); err != nil {
					return err
				}
				c.SetWriteDeadline(time.Time{})
				if _, err := c.Write(all[n:]); err != nil {
					return err
				}
				if err := w.WriteEOF(); err != nil {
					return err
				}
				counted, err := r.ReadAll(ctx)
				if got := strings.TrimSpace(string(counted)); got != fmt.Sprint(len(all)) {
					return fmt.Errorf("it has counted %q, %w", got, err)
				}
				return nil
			})
	})
	t.Run("slow writer", func(t *testing.T) {
		visit(t, "tcp", addresses[4], listen(addresses[4]), "SYSTEM:for i in 1 2 3 4 5 6 7 8 9; do printf $i; sleep 0.01; done; echo", nil,
			func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				line, err := r.ReadLine(ctx)
				if string(line) != "123456789\n" {
					return fmt.Errorf("read %q, %w", line, err)
				}
				return shallRead(asyncio.NetConn(ctx, r, w), "")
			})
	})
	t.Run("terminal", func(t *testing.T) {
		t.Parallel()
		link := filepath.Join(t.TempDir(), "tty")
		startProgram(t, socat, "PTY,rawer,link="+link, "PIPE")
		waitFor(t, func() error { return isRaw(link) })
		runStreams(t, func(ctx context.Context) error {
			in, err := os.OpenFile(link, os.O_RDWR|syscall.O_NOCTTY, 0)
			if err != nil {
				return err
			}
			out, err := os.OpenFile(link, os.O_RDWR|syscall.O_NOCTTY, 0)
			if err != nil {
				return err
			}
			r, err := asyncio.OpenReadPipe(ctx, in)
			if err != nil {
				return err
			}
			w, err := asyncio.OpenWritePipe(ctx, out)
			if err != nil {
				return err
			}
			c := asyncio.NetConn(ctx, r, w)
			defer c.Close()
			for i := range 10 { // in small pieces: socat does not read while its pipe is full
				want := fmt.Appendf(nil, "line %d\n", i)
				if _, err := c.Write(want); err != nil {
					return err
				}
				got := make([]byte, len(want))
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
					return fmt.Errorf("read %q, %w", got, err)
				}
			}
			return nil
		})
	})
	t.Run("calls us", func(t *testing.T) {
		t.Parallel()
		runStreams(t, func(ctx context.Context) error {
			over := asyncio.NewFuture[string](ctx)
			srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				all, err := r.ReadAll(ctx)
				over.SetResult(string(all))
				return err
			}, nil)
			if err != nil {
				return err
			}
			defer srv.Close()
			_, err = asyncio.ToThread(ctx, func(ctx context.Context) (any, error) {
				return exec.CommandContext(ctx, socat, "SYSTEM:echo hello", "TCP:"+srv.Addr().String()).CombinedOutput()
			})
			if err != nil {
				return err
			}
			if got, err := over.Await(ctx); got != "hello\n" {
				t.Errorf("read %q, %v", got, err)
			}
			return nil
		})
	})
}

// isRaw says why the terminal at path does not pass on yet what it gets, as it is.
func isRaw(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var mode syscall.Termios
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TCGETS, uintptr(unsafe.Pointer(&mode))); errno != 0 {
		return errno
	}
	if mode.Lflag&(syscall.ECHO|syscall.ICANON) != 0 || mode.Iflag&syscall.ICRNL != 0 || mode.Oflag&syscall.OPOST != 0 {
		return errors.New("the terminal is not raw yet")
	}
	return nil
}
