// StartTLS: a connection becomes secure while it is in use, once or twice.

package asyncio_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// startsTLS answers a line "STARTTLS" by StartTLS, as often as it comes, and sends
// back all others.
func startsTLS(config *tls.Config) asyncio.Handler {
	return func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		for line, err := range r.Lines(ctx) {
			if err != nil {
				return err
			}
			if string(line) == "STARTTLS\n" {
				w.WriteString("go ahead\n")
				if err := w.StartTLS(ctx, config, nil); err != nil {
					return err
				}
				continue
			}
			w.Write(line)
		}
		return nil
	}
}

// withServerOf runs fn with a plain server.
func withServerOf(t testing.TB, network string, handler asyncio.Handler, fn func(ctx context.Context, addr net.Addr) error, opts ...asyncio.RunOption) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = socketPath(t)
	}
	runStreams(t, func(ctx context.Context) error {
		srv, err := asyncio.StartServer(ctx, network, address, handler, nil)
		if err != nil {
			return err
		}
		return errors.Join(fn(ctx, srv.Addr()), srv.Close(), srv.WaitClosed(ctx))
	}, opts...)
}

func TestStartTLS(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	servers := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "localhost")}}
	clients := &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}
	for _, network := range []string{"tcp", "unix"} {
		for layers := range 4 {
			t.Run(fmt.Sprintf("STR-051 TLSP-022 TLS-009 TLSP-019 both ends here, %d layers over %s", layers, network), func(t *testing.T) {
				withServerOf(t, network, startsTLS(servers), func(ctx context.Context, addr net.Addr) error {
					const many = 5
					clientsDone := make([]asyncio.Awaitable[struct{}], many)
					for i := range many {
						clientsDone[i] = asyncio.Go(ctx, func(ctx context.Context) error {
							r, w, err := asyncio.OpenConnection(ctx, addr.Network(), addr.String(), nil)
							if err != nil {
								return err
							}
							long := string(bytes.Repeat([]byte{'a' + byte(i)}, 50_000)) + "\n"
							for layer := range layers + 1 {
								if _, secure := w.ConnectionState(); secure != (layer > 0) {
									t.Errorf("layer %d: secure = %v", layer, secure)
								}
								w.WriteLines([][]byte{[]byte("layer"), []byte{'0' + byte(layer)}, []byte("\n"), []byte(long)})
								for _, want := range []string{fmt.Sprintf("layer%d\n", layer), long} {
									line, err := r.ReadLine(ctx)
									sees(t, line, err, want, nil)
								}
								if layer == layers {
									break
								}
								w.WriteString("STARTTLS\n")
								line, err := r.ReadLine(ctx)
								sees(t, line, err, "go ahead\n", nil)
								if err := w.StartTLS(ctx, clients, nil); err != nil {
									return err
								}
							}
							w.WriteString("end\n")
							if err := w.WriteEOF(); err != nil {
								return err
							}
							got, err := r.ReadAll(ctx)
							sees(t, got, err, "end\n", nil)
							w.Close()
							return w.WaitClosed(ctx)
						})
					}
					_, err := asyncio.Gather(ctx, clientsDone...)
					return err
				})
			})
		}
	}
	t.Run("a client of crypto/tls, one and two layers", func(t *testing.T) {
		withServerOf(t, "tcp", startsTLS(servers), func(ctx context.Context, addr net.Addr) error {
			_, err := asyncio.ToThread(ctx, func(context.Context) (struct{}, error) {
				c, err := net.Dial("tcp", addr.String())
				if err != nil {
					return struct{}{}, err
				}
				defer c.Close()
				for layer := range 3 {
					fmt.Fprintf(c, "layer %d\nSTARTTLS\n", layer)
					got := make([]byte, len("layer 0\ngo ahead\n"))
					if _, err := io.ReadFull(c, got); err != nil || string(got) != fmt.Sprintf("layer %d\ngo ahead\n", layer) {
						return struct{}{}, fmt.Errorf("got %q, %w", got, err)
					}
					c = tls.Client(c, clients)
				}
				return struct{}{}, c.(*tls.Conn).Handshake()
			})
			return err
		})
	})
	t.Run("TLS-008 a server of crypto/tls that ends by the alert alone", func(t *testing.T) {
		address := peer(t, func(c *net.TCPConn) error {
			io.WriteString(c, "ready\n")
			tc := tls.Server(c, servers)
			line, err := bufio.NewReader(tc).ReadString('\n')
			if err != nil {
				return err
			}
			io.WriteString(tc, line)
			if err := tc.CloseWrite(); err != nil {
				return err
			}
			if _, err := tc.Read(make([]byte, 1)); err != io.EOF { // the answer to the alert
				return fmt.Errorf("at the end: %w", err)
			}
			return nil
		})
		runStreams(t, func(ctx context.Context) error {
			r, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
			if err != nil {
				return err
			}
			line, err := r.ReadLine(ctx)
			sees(t, line, err, "ready\n", nil)
			if err := w.StartTLS(ctx, clients, nil); err != nil {
				return err
			}
			w.WriteString("hello\n")
			got, err := r.ReadAll(ctx)
			sees(t, got, err, "hello\n", nil)
			w.Close()
			return w.WaitClosed(ctx)
		})
	})
	t.Run("STR-052 what the reader holds is the beginning of TLS", func(t *testing.T) {
		for _, held := range []int{1, 5, 100, 0} { // 0: all
			withServerOf(t, "tcp", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				line, err := r.ReadLine(ctx)
				sees(t, line, err, "STARTTLS\n", nil)
				hello, err := r.Peek(ctx, max(held, 5))
				if err != nil || hello[0] != 22 {
					t.Errorf("the reader holds %x, %v", hello, err)
				}
				if held == 0 {
					if _, err := r.Peek(ctx, 5+int(hello[3])<<8+int(hello[4])); err != nil {
						return err
					}
				}
				if err := w.StartTLS(ctx, servers, nil); err != nil {
					return err
				}
				if r.Buffered() != 0 {
					t.Errorf("%d bytes are left", r.Buffered())
				}
				line, err = r.ReadLine(ctx)
				sees(t, line, err, "hello\n", nil)
				w.Write(line)
				return nil
			}, func(ctx context.Context, addr net.Addr) error {
				_, err := asyncio.ToThread(ctx, func(context.Context) (struct{}, error) {
					c, err := net.Dial("tcp", addr.String())
					if err != nil {
						return struct{}{}, err
					}
					defer c.Close()
					io.WriteString(c, "STARTTLS\n")
					_, err = greets(c, clients)
					return struct{}{}, err
				})
				return err
			})
		}
	})
	t.Run("this end is the server though it has connected", func(t *testing.T) {
		address := peer(t, func(c *net.TCPConn) error {
			_, err := greets(c, clients)
			return err
		})
		runStreams(t, func(ctx context.Context) error {
			r, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
			if err != nil {
				return err
			}
			if err := w.StartTLS(ctx, servers, &asyncio.TLSOptions{Server: true, HandshakeTimeout: time.Minute, ShutdownTimeout: time.Minute}); err != nil {
				return err
			}
			err = echoLines(ctx, r, w)
			w.Close()
			return errors.Join(err, w.WaitClosed(ctx))
		})
	})
}

// TestStartTLSMeanwhile: what other tasks do while one shakes hands.
func TestStartTLSMeanwhile(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	servers := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "localhost")}}
	clients := &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}
	// meanwhile runs fn while a client shakes hands with a peer that goes on when
	// proceed is called.
	meanwhile := func(t *testing.T, fn func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter, shaking *asyncio.Task[struct{}], proceed func()) error) {
		t.Helper()
		proceed := newGate()
		address := peer(t, func(c *net.TCPConn) error {
			proceed.pass()
			tc := tls.Server(c, servers)
			if tc.Handshake() == nil {
				echoTLS(tc)
			}
			return nil
		})
		runStreams(t, func(ctx context.Context) error {
			r, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
			if err != nil {
				return err
			}
			open := false
			proceedOnce := func() {
				if !open {
					proceed.open()
					open = true
				}
			}
			defer proceedOnce()
			shaking := asyncio.Go(ctx, func(ctx context.Context) error { return w.StartTLS(ctx, clients, nil) })
			asyncio.Yield(ctx)
			return fn(ctx, r, w, shaking, proceedOnce)
		})
	}
	t.Run("writes are refused, reads wait", func(t *testing.T) {
		meanwhile(t, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter, shaking *asyncio.Task[struct{}], proceed func()) error {
			_, err := w.WriteString("too early")
			mistake(t, err, asyncio.ErrInvalidState)
			mistake(t, w.WriteLines([][]byte{[]byte("too early")}), asyncio.ErrInvalidState)
			mistake(t, w.WriteEOF(), asyncio.ErrInvalidState)
			mistake(t, w.StartTLS(ctx, clients, nil), asyncio.ErrInvalidState)
			if _, secure := w.ConnectionState(); secure {
				t.Error("it is secure already")
			}
			reading := inTask(t, ctx, r.ReadLine)
			proceed()
			if err := shaking.Wait(ctx); err != nil {
				return err
			}
			w.WriteString("hello\n")
			line, err := reading.Await(ctx)
			sees(t, line, err, "hello\n", nil)
			return nil
		})
	})
	t.Run("TLSP-007 Close", func(t *testing.T) {
		meanwhile(t, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter, shaking *asyncio.Task[struct{}], proceed func()) error {
			reading := inTask(t, ctx, r.ReadLine)
			w.Close()
			if err := w.WaitClosed(ctx); err != nil {
				t.Errorf("WaitClosed = %v", err)
			}
			if err := shaking.Wait(ctx); !errors.Is(err, net.ErrClosed) {
				t.Errorf("StartTLS = %v", err)
			}
			if _, err := reading.Await(ctx); !errors.Is(err, net.ErrClosed) {
				t.Errorf("ReadLine = %v", err)
			}
			mistakeOrClosed := w.StartTLS(ctx, clients, nil)
			if !errors.Is(mistakeOrClosed, net.ErrClosed) {
				t.Errorf("StartTLS after Close = %v", mistakeOrClosed)
			}
			return nil
		})
	})
	t.Run("Abort", func(t *testing.T) {
		meanwhile(t, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter, shaking *asyncio.Task[struct{}], proceed func()) error {
			w.Abort()
			if err := shaking.Wait(ctx); !errors.Is(err, net.ErrClosed) {
				t.Errorf("StartTLS = %v", err)
			}
			return nil
		})
	})
	t.Run("TLSP-023 TLSP-009 TLSP-010 a timeout of the caller's closes the connection", func(t *testing.T) {
		meanwhile(t, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter, shaking *asyncio.Task[struct{}], proceed func()) error {
			shaking.Cancel(errors.New("enough"))
			if err := shaking.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) || !strings.Contains(err.Error(), "enough") {
				t.Errorf("StartTLS = %v", err)
			}
			if !w.IsClosing() || asyncio.CurrentTask(ctx).Loop().Timers() != 0 {
				t.Errorf("%v, %d timers", w, asyncio.CurrentTask(ctx).Loop().Timers())
			}
			_, err := r.ReadLine(ctx)
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("ReadLine = %v", err)
			}
			return nil
		})
	})
	t.Run("the end of the loop", func(t *testing.T) {
		meanwhile(t, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter, shaking *asyncio.Task[struct{}], proceed func()) error {
			return nil
		})
	})
}

func TestStartTLSFails(t *testing.T) {
	leavesNothing(t)
	ca, other := newAuthority(t), newAuthority(t)
	clients := &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}
	t.Run("TLSP-012 TLSP-013 TLS-004 a certificate that is not trusted", func(t *testing.T) {
		address := peer(t, func(c *net.TCPConn) error {
			err := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{other.issue(t, soon(), "localhost")}}).Handshake()
			if err == nil || !strings.Contains(err.Error(), "remote error: tls: bad certificate") {
				return fmt.Errorf("the client did not say why: %w", err)
			}
			return nil
		})
		runStreams(t, func(ctx context.Context) error {
			_, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
			if err != nil {
				return err
			}
			err = w.StartTLS(ctx, clients, nil)
			var unknown *tls.CertificateVerificationError
			var op *net.OpError
			if !errors.As(err, &unknown) || !errors.As(err, &op) || op.Op != "StartTLS" || op.Addr.String() != address {
				t.Errorf("StartTLS = %v", err)
			}
			if err := w.WaitClosed(ctx); err != nil {
				t.Errorf("WaitClosed = %v", err)
			}
			if n := ownConnections(t, address) + asyncio.CurrentTask(ctx).Loop().Timers(); n != 0 {
				t.Errorf("%d connections or timers are left", n)
			}
			return nil
		})
	})
	t.Run("TLSP-005 TLSP-011 TLS-016 a peer that closes, and one that is silent", func(t *testing.T) {
		for _, silent := range []bool{false, true} {
			over := newGate()
			address := peer(t, func(c *net.TCPConn) error {
				if silent {
					over.pass()
				} else {
					c.Read(make([]byte, 10<<10))
				}
				return nil
			})
			runStreams(t, func(ctx context.Context) error {
				defer over.open()
				_, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
				if err != nil {
					return err
				}
				opts := new(asyncio.TLSOptions)
				if silent {
					opts.HandshakeTimeout = 20 * time.Millisecond
				}
				err = w.StartTLS(ctx, clients, opts)
				if silent && (!isTimeout(err) || !strings.HasSuffix(err.Error(), "TLS handshake: not done within 20ms")) || !silent && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("StartTLS = %v", err)
				}
				if n := ownConnections(t, address) + asyncio.CurrentTask(ctx).Loop().Timers(); n != 0 {
					t.Errorf("%d connections or timers are left", n)
				}
				return nil
			})
		}
	})
	t.Run("arguments", func(t *testing.T) {
		withServerOf(t, "tcp", echoLines, func(ctx context.Context, addr net.Addr) error {
			r, w, err := asyncio.OpenConnection(ctx, "tcp", addr.String(), nil)
			if err != nil {
				return err
			}
			for _, test := range []struct {
				name   string
				config *tls.Config
				opts   *asyncio.TLSOptions
			}{
				{"TLSP-024 no config", nil, nil},
				{"TLSP-003 no name", &tls.Config{}, nil},
				{"TLSP-001 a negative limit", clients, &asyncio.TLSOptions{HandshakeTimeout: -1}},
				{"TLSP-001 a negative limit of the end", clients, &asyncio.TLSOptions{ShutdownTimeout: -1}},
				{"renegotiation", &tls.Config{ServerName: "localhost", Renegotiation: tls.RenegotiateOnceAsClient}, nil},
			} {
				err := w.StartTLS(ctx, test.config, test.opts) // not in a goroutine of t.Run
				t.Run(test.name, func(t *testing.T) { mistake(t, err, asyncio.ErrBadArgument) })
			}
			elsewhere(func() { mistake(t, w.StartTLS(ctx, clients, nil), asyncio.ErrWrongGoroutine) })
			reading := inTask(t, ctx, r.ReadLine)
			mistake(t, w.StartTLS(ctx, clients, nil), asyncio.ErrConcurrentRead)
			w.WriteString("still plain\n")
			line, err := reading.Await(ctx)
			sees(t, line, err, "still plain\n", nil)
			w.Close()
			return w.WaitClosed(ctx)
		})
	})
	t.Run("TLSP-024 a pipe", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			here, there, err := os.Pipe()
			if err != nil {
				return err
			}
			defer here.Close()
			w, err := asyncio.OpenWritePipe(ctx, there)
			if err != nil {
				return err
			}
			mistake(t, w.StartTLS(ctx, clients, nil), asyncio.ErrBadArgument)
			return w.Close()
		})
	})
}
