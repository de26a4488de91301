// TLS against OpenSSL: another's implementation sees clean ends, gets new keys when it
// wants them, resumes connections, and is refused renegotiation.

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
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// An openssl is a run of the command. It ends with the test.
type openssl struct {
	in   io.WriteCloser
	mu   sync.Mutex
	out  bytes.Buffer
	said *sync.Cond
	over bool
	done gate
}

func startOpenSSL(t *testing.T, args ...string) *openssl {
	t.Helper()
	executable, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("needs package openssl")
	}
	cmd := exec.Command(executable, args...)
	o := &openssl{done: newGate()}
	o.said = sync.NewCond(&o.mu)
	if o.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		defer o.done.open()
		defer r.Close()
		for p := make([]byte, 64<<10); ; {
			n, err := r.Read(p)
			o.mu.Lock()
			o.out.Write(p[:n])
			o.over = err != nil
			o.said.Broadcast()
			o.mu.Unlock()
			if err != nil {
				cmd.Wait()
				return
			}
		}
	}()
	t.Cleanup(func() {
		o.in.Close()
		cmd.Process.Kill()
		o.done.pass()
		if t.Failed() {
			said := o.out.String()
			t.Logf("openssl said at last:\n%s", said[max(0, len(said)-2000):])
		}
	})
	return o
}

func (o *openssl) tell(text string) { io.WriteString(o.in, text) }

// until waits until it has said text, on a goroutine or in a task's ToThread.
func (o *openssl) until(text string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !strings.Contains(o.out.String(), text) {
		if o.over {
			return fmt.Errorf("openssl ends without %q:\n%s", text, o.out.String())
		}
		o.said.Wait()
	}
	return nil
}

func (o *openssl) untilIn(ctx context.Context, text string) error {
	_, err := asyncio.ToThread(ctx, func(context.Context) (struct{}, error) { return struct{}{}, o.until(text) })
	return err
}

// ends waits for its end and returns what it has said.
func (o *openssl) ends(ctx context.Context) (string, error) {
	err := o.done.waitIn(ctx)
	return o.out.String(), err
}

// files writes a certificate and its key for openssl.
func files(t *testing.T, cert tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// sClient starts openssl s_client.
func sClient(t *testing.T, addr net.Addr, args ...string) *openssl {
	return startOpenSSL(t, append([]string{"s_client", "-connect", addr.String(), "-servername", "localhost", "-msg"}, args...)...)
}

// sServer starts openssl s_server and returns its address.
func sServer(t *testing.T, cert tls.Certificate, args ...string) (*openssl, string) {
	t.Helper()
	certFile, keyFile := files(t, cert)
	o := startOpenSSL(t, append([]string{"s_server", "-accept", "127.0.0.1:0", "-cert", certFile, "-key", keyFile, "-msg", "-naccept", "1"}, args...)...)
	return o, o.accepts(t)
}

var acceptLine = regexp.MustCompile(`(?m)^ACCEPT (\S+)\n`)

// accepts waits until a server has said where it accepts connections, and returns that.
func (o *openssl) accepts(t *testing.T) (address string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		if m := acceptLine.FindStringSubmatch(o.out.String()); m != nil {
			return m[1]
		}
		if o.over {
			t.Fatalf("openssl accepts nothing:\n%s", o.out.String())
		}
		o.said.Wait()
	}
}

const opensslGotNotify = "warning close_notify"

func TestTLSWithOpenSSL(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	localhost := ca.issue(t, soon(), "localhost", "127.0.0.1")
	servers := &tls.Config{Certificates: []tls.Certificate{localhost}}
	clients := &tls.Config{RootCAs: ca.pool, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for flag, name := range map[string]string{"-tls1_2": "TLS 1.2", "-tls1_3": "TLS 1.3"} {
		t.Run("its client sees a clean end, "+name, func(t *testing.T) {
			withTLSServer(t, "tcp", servers, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				line, err := r.ReadLine(ctx)
				sees(t, line, err, "hello\n", nil)
				w.WriteString("good bye\n")
				return nil
			}, nil, func(ctx context.Context, addr net.Addr) error {
				o := sClient(t, addr, flag)
				o.tell("hello\n")
				out, err := o.ends(ctx)
				if !strings.Contains(out, "good bye\n") || !strings.Contains(out, "<<< "+name+", Alert [length 0002], "+opensslGotNotify) || strings.Contains(out, "error:0") || strings.Contains(out, "errno") {
					t.Error("openssl does not see the alert, or sees an error")
				}
				return err
			})
		})
		t.Run("its server sees a clean end, "+name, func(t *testing.T) {
			o, address := sServer(t, localhost, flag)
			runStreams(t, func(ctx context.Context) error {
				r, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{TLS: clients})
				if err != nil {
					return err
				}
				w.WriteString("hello from here\n")
				if err := o.untilIn(ctx, "hello from here\n"); err != nil {
					return err
				}
				o.tell("hello from there\n")
				line, err := r.ReadLine(ctx)
				sees(t, line, err, "hello from there\n", nil)
				w.Close()
				if err := w.WaitClosed(ctx); err != nil {
					return err
				}
				out, err := o.ends(ctx)
				if !strings.Contains(out, "<<< "+name+", Alert [length 0002], "+opensslGotNotify) || strings.Contains(out, "error:0") || strings.Contains(out, "errno") {
					t.Error("openssl does not see the alert, or sees an error")
				}
				return err
			})
		})
	}
	t.Run("its client wants new keys", func(t *testing.T) {
		withTLSServer(t, "tcp", servers, echoLines, nil, func(ctx context.Context, addr net.Addr) error {
			o := sClient(t, addr, "-tls1_3")
			for i := range 3 {
				o.tell(fmt.Sprintf("line %d\n", i))
				if err := o.untilIn(ctx, fmt.Sprintf("line %d\n", i)); err != nil {
					return err
				}
				o.tell("K\n")
				if err := o.untilTimes(ctx, "<<< TLS 1.3, Handshake [length 0005], KeyUpdate", i+1); err != nil {
					return err
				}
			}
			o.tell("Q\n")
			_, err := o.ends(ctx)
			return err
		})
	})
	t.Run("its server wants new keys", func(t *testing.T) {
		o, address := sServer(t, localhost, "-tls1_3")
		runStreams(t, func(ctx context.Context) error {
			r, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{TLS: clients})
			if err != nil {
				return err
			}
			reading := inTask(t, ctx, r.ReadLine)
			for i := range 3 {
				fmt.Fprintf(w, "line %d\n", i)
				if err := o.untilIn(ctx, fmt.Sprintf("line %d\n", i)); err != nil {
					return err
				}
				o.tell("K\n")
				if err := o.untilTimes(ctx, "<<< TLS 1.3, Handshake [length 0005], KeyUpdate", i+1); err != nil {
					return err
				}
			}
			o.tell("enough\n")
			line, err := reading.Await(ctx)
			sees(t, line, err, "enough\n", nil)
			w.Close()
			return w.WaitClosed(ctx)
		})
	})
	t.Run("its server wants to renegotiate", func(t *testing.T) {
		o, address := sServer(t, localhost, "-tls1_2")
		runStreams(t, func(ctx context.Context) error {
			r, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{TLS: clients})
			if err != nil {
				return err
			}
			w.WriteString("hello\n")
			if err := o.untilIn(ctx, "hello\n"); err != nil {
				return err
			}
			o.tell("R\n")
			for range 2 {
				_, err := r.ReadLine(ctx)
				if err == nil || !strings.Contains(err.Error(), "local error: tls: no renegotiation") {
					t.Errorf("ReadLine = %v", err)
				}
			}
			if err := o.untilIn(ctx, "warning no_renegotiation"); err != nil {
				return err
			}
			w.Abort()
			return nil
		})
	})
	t.Run("its client wants to renegotiate", func(t *testing.T) {
		withTLSServer(t, "tcp", servers, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			line, err := r.ReadLine(ctx)
			sees(t, line, err, "hello\n", nil)
			w.Write(line)
			_, err = r.ReadLine(ctx)
			if err == nil || !strings.Contains(err.Error(), "tls: ") {
				t.Errorf("ReadLine = %v", err)
			}
			return nil
		}, nil, func(ctx context.Context, addr net.Addr) error {
			o := sClient(t, addr, "-tls1_2")
			o.tell("hello\n")
			if err := o.untilIn(ctx, "hello\n"); err != nil {
				return err
			}
			o.tell("R\n")
			_, err := o.ends(ctx)
			return err
		})
	})
	t.Run("its server resumes a connection", func(t *testing.T) {
		for flag, name := range map[string]string{"-tls1_2": "TLS 1.2", "-tls1_3": "TLS 1.3"} {
			config := clients.Clone()
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			certFile, keyFile := files(t, localhost)
			o := startOpenSSL(t, "s_server", "-accept", "127.0.0.1:0", "-cert", certFile, "-key", keyFile, flag, "-rev", "-naccept", "2")
			address := o.accepts(t)
			runStreams(t, func(ctx context.Context) error {
				for i := range 2 {
					r, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{TLS: config})
					if err != nil {
						return err
					}
					w.WriteString("hello\n")
					line, err := r.ReadLine(ctx)
					sees(t, line, err, "olleh\n", nil)
					if state, _ := w.ConnectionState(); state.DidResume != (i == 1) {
						t.Errorf("%s, connection %d: resumed = %v", name, i, state.DidResume)
					}
					w.Close()
					if err := w.WaitClosed(ctx); err != nil {
						return err
					}
				}
				return nil
			})
		}
	})
}

// untilTimes waits until it has said text so often.
func (o *openssl) untilTimes(ctx context.Context, text string, times int) error {
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); asyncio.Sleep(ctx, time.Millisecond) {
		o.mu.Lock()
		n := strings.Count(o.out.String(), text)
		o.mu.Unlock()
		if n >= times {
			return nil
		}
	}
	return errors.New("openssl does not say " + text)
}
