// Recordings and replays of programs on real sockets.

package asynciotest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// quiet keeps what a replay that fails leaves behind out of the log.
var quiet = asyncio.WithLogger(slog.New(slog.DiscardHandler))

// A diary is what a program has seen.
type diary struct{ lines []string }

func (d *diary) note(ctx context.Context, format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf("%v %s %s", loopTime(ctx), asyncio.Now(ctx).Format(time.RFC3339Nano), fmt.Sprintf(format, args...)))
}

// taped runs main on real sockets and returns the recording.
func taped(t *testing.T, main func(ctx context.Context) error, opts ...asyncio.RunOption) []byte {
	t.Helper()
	var tape bytes.Buffer
	rec := asynciotest.NewRecording(&tape)
	err := asyncio.Run(context.Background(), main, append(slices.Clone(opts), asynciotest.WithRecording(rec))...)
	if err := errors.Join(err, rec.Err()); err != nil {
		t.Fatalf("the recorded run: %v", err)
	}
	return tape.Bytes()
}

// again records a program and replays it, and compares what it has seen.
func again(t *testing.T, program func(ctx context.Context, d *diary) error, opts ...asyncio.RunOption) {
	t.Helper()
	var first, second diary
	tape := taped(t, func(ctx context.Context) error { return program(ctx, &first) }, opts...)
	err := asynciotest.Replay(bytes.NewReader(tape), func(ctx context.Context) error { return program(ctx, &second) }, opts...)
	if err != nil {
		t.Fatalf("the replay: %v", err)
	}
	if !slices.Equal(first.lines, second.lines) {
		for i, line := range first.lines {
			if i >= len(second.lines) || line != second.lines[i] {
				t.Fatalf("recorded %d lines, replayed %d; the first that differs is %d\n%q\n%q", len(first.lines), len(second.lines), i, line, second.lines[i:min(i+1, len(second.lines))])
			}
		}
	}
	if len(first.lines) == 0 {
		t.Error("the program has seen nothing")
	}
}

func returnAll(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
	for {
		p, err := r.ReadSome(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
		if err := w.Drain(ctx); err != nil {
			return err
		}
	}
}

// talks is a server and clients in one program.
func talks(network, address string, clients, messages int) func(ctx context.Context, d *diary) error {
	return func(ctx context.Context, d *diary) error {
		s, err := asyncio.StartServer(ctx, network, address, returnAll, nil)
		if err != nil {
			return err
		}
		d.note(ctx, "listening at %v", s.Addr())
		err = asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for i := range clients {
				g.Go(func(ctx context.Context) error {
					r, w, err := asyncio.OpenConnection(ctx, network, s.Addr().String(), nil)
					if err != nil {
						return err
					}
					defer w.Close()
					d.note(ctx, "client %d from %v to %v", i, w.LocalAddr(), w.RemoteAddr())
					for range messages {
						n := asyncio.Rand(ctx).IntN(100_000)
						line := strings.Repeat("x", n%500) + "\n"
						if _, err := io.WriteString(w, line); err != nil {
							return err
						}
						back, err := r.ReadLine(ctx)
						if string(back) != line || err != nil {
							return fmt.Errorf("got %q, %v", back, err)
						}
						d.note(ctx, "client %d: %d", i, n)
						if n%3 == 0 {
							if err := asyncio.Sleep(ctx, time.Duration(n)*time.Nanosecond); err != nil {
								return err
							}
						}
					}
					return nil
				})
			}
			return nil
		})
		if err != nil {
			return err
		}
		return errors.Join(s.Close(), s.WaitClosed(ctx))
	}
}

func TestReplayIsTheRecordedRun(t *testing.T) {
	t.Run("a server and its clients over TCP", func(t *testing.T) {
		again(t, talks("tcp", "127.0.0.1:0", 10, 20))
	})
	t.Run("on the portable backend", func(t *testing.T) {
		again(t, talks("tcp", "127.0.0.1:0", 5, 20), asyncio.WithBackend(asyncio.PortableBackend))
	})
	t.Run("over Unix sockets", func(t *testing.T) {
		again(t, talks("unix", t.TempDir()+"/socket", 3, 5))
	})
	t.Run("bytes beyond the buffers", func(t *testing.T) {
		again(t, func(ctx context.Context, d *diary) error {
			s, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", returnAll, nil)
			if err != nil {
				return err
			}
			defer s.Close()
			r, w, err := asyncio.OpenConnection(ctx, "tcp", s.Addr().String(), nil)
			if err != nil {
				return err
			}
			defer w.Close()
			sender := asyncio.Go(ctx, func(ctx context.Context) error {
				for i := range 50 {
					if _, err := w.Write(bytes.Repeat([]byte{byte(i)}, 100_000)); err != nil {
						return err
					}
					if err := w.Drain(ctx); err != nil {
						return err
					}
					d.note(ctx, "sent %d", i)
				}
				return w.WriteEOF()
			})
			for total := 0; ; {
				p, err := r.ReadSome(ctx)
				if total += len(p); err != nil {
					d.note(ctx, "%d bytes, then %v", total, err)
					break
				}
				d.note(ctx, "%d bytes", len(p))
			}
			return sender.Wait(ctx)
		})
	})
	t.Run("a file", func(t *testing.T) {
		name := t.TempDir() + "/file"
		if err := os.WriteFile(name, bytes.Repeat([]byte("file"), 100_000), 0o600); err != nil {
			t.Fatal(err)
		}
		again(t, func(ctx context.Context, d *diary) error {
			s, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				f, err := os.Open(name)
				if err != nil {
					return err
				}
				defer f.Close()
				n, err := w.SendFile(ctx, f, nil)
				d.note(ctx, "sent %d, %v", n, err)
				return err
			}, nil)
			if err != nil {
				return err
			}
			r, w, err := asyncio.OpenConnection(ctx, "tcp", s.Addr().String(), nil)
			if err != nil {
				return err
			}
			defer w.Close()
			all, err := r.ReadAll(ctx)
			d.note(ctx, "%d bytes, %v", len(all), err)
			return errors.Join(s.Close(), s.WaitClosed(ctx))
		})
	})
	t.Run("datagrams", func(t *testing.T) {
		again(t, func(ctx context.Context, d *diary) error {
			var ends [2]*asyncio.DatagramEndpoint
			for i := range ends {
				e, err := asyncio.OpenDatagramEndpoint(ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
				if err != nil {
					return err
				}
				defer e.Close()
				ends[i] = e
			}
			p := make([]byte, 100)
			for i := range 20 {
				if err := ends[0].WriteTo(fmt.Appendf(nil, "datagram %d", i), ends[1].LocalAddr()); err != nil {
					return err
				}
				n, from, err := ends[1].ReadFrom(ctx, p)
				d.note(ctx, "%q from %v, %v", p[:n], from, err)
			}
			return nil
		})
	})
}

func TestReplayOfErrors(t *testing.T) {
	again(t, func(ctx context.Context, d *diary) error {
		_, _, err := asyncio.OpenConnection(ctx, "tcp", "127.0.0.1:1", nil)
		d.note(ctx, "%v, refused: %t", err, errors.Is(err, syscall.ECONNREFUSED))

		s, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			line, err := r.ReadLine(ctx)
			d.note(ctx, "the server got %q, %v", line, err)
			if string(line) == "reset\n" {
				w.Abort()
				return nil
			}
			return asyncio.Sleep(ctx, time.Hour)
		}, nil)
		if err != nil {
			return err
		}
		r, w, err := asyncio.OpenConnection(ctx, "tcp", s.Addr().String(), nil)
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, "reset\n")
		d.note(ctx, "wrote: %v", err)
		p, err := r.ReadSome(ctx)
		d.note(ctx, "read %q, %v, reset: %t", p, err, errors.Is(err, syscall.ECONNRESET))
		w.Close()

		r, w, err = asyncio.OpenConnection(ctx, "tcp", s.Addr().String(), nil)
		if err != nil {
			return err
		}
		io.WriteString(w, "wait\n")
		err = asyncio.Timeout(ctx, 20*time.Millisecond, func(ctx context.Context) error {
			_, err := r.ReadSome(ctx)
			return err
		})
		d.note(ctx, "read: %v, %t", err, errors.Is(err, asyncio.ErrTimeout))
		_, err = asyncio.StartServer(ctx, "tcp", s.Addr().String(), returnAll, nil)
		d.note(ctx, "a second server: %v, %t", err, errors.Is(err, syscall.EADDRINUSE))
		w.Close()
		s.Close()
		return nil
	})
}

func TestReplayOfLookUps(t *testing.T) {
	var asked atomic.Int32
	resolver := asyncio.ResolverFunc(func(ctx context.Context, network, host, port string) ([]netip.AddrPort, error) {
		asked.Add(1)
		switch host {
		case "slow.test":
			<-ctx.Done()
			return nil, ctx.Err()
		case "none.test":
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:80"), netip.MustParseAddrPort("[::1]:80")}, nil
	})
	program := func(ctx context.Context, d *diary) error {
		names := []string{"a.test:80", "none.test:80", "b.test:80"}
		var others []*asyncio.Task[struct{}]
		for i, name := range names {
			others = append(others, asyncio.Go(ctx, func(ctx context.Context) error {
				addrs, err := asyncio.GetAddrInfo(ctx, "tcp", name)
				var missing *net.DNSError
				d.note(ctx, "%d: %v, %v, missing: %t", i, addrs, err, errors.As(err, &missing) && missing.IsNotFound)
				return nil
			}))
		}
		err := asyncio.Timeout(ctx, 30*time.Millisecond, func(ctx context.Context) error {
			_, err := asyncio.GetAddrInfo(ctx, "tcp", "slow.test:80")
			return err
		})
		d.note(ctx, "slow: %v", err)
		host, service, err := asyncio.GetNameInfo(ctx, netip.MustParseAddrPort("127.0.0.1:80"), nil)
		d.note(ctx, "%q %q %v", host, service, err)
		for _, other := range others {
			if err := other.Wait(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	again(t, program, asyncio.WithResolver(resolver))
	if n := asked.Load(); n < 3 || n > 4 { // the slow one may be given up before it is asked
		t.Errorf("the resolver was asked %d times, want 4: not in the replay", n)
	}
}

func TestReplayOfOtherGoroutines(t *testing.T) {
	again(t, func(ctx context.Context, d *diary) error {
		loop := asyncio.RunningLoop(ctx)
		// Functions of ToThread end in an order that differs from run to run.
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for i := range 20 {
				g.Go(func(ctx context.Context) error {
					n, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
						total := 0
						for k := range 1000 * (20 - i) {
							total += k
						}
						return total, nil
					})
					d.note(ctx, "function %d: %d, %v", i, n, err)
					return err
				})
			}
			return nil
		})
		if err != nil {
			return err
		}
		// So do the calls of goroutines that the loop does not know.
		done := asyncio.NewFuture[struct{}](ctx)
		count := 0
		called := func(who string) {
			d.note(ctx, "call of %s", who)
			if count++; count == 200 {
				done.SetResult(struct{}{})
			}
		}
		go func() {
			for range 100 {
				loop.CallSoonThreadsafe(func() { called("one") })
			}
		}()
		go func() {
			for range 100 {
				loop.CallSoonThreadsafe(func() { called("two") })
			}
		}()
		for range 50 { // the loop is at work meanwhile
			if err := asyncio.Sleep(ctx, 0); err != nil {
				return err
			}
		}
		if err := done.Wait(ctx); err != nil {
			return err
		}
		f := asyncio.RunCoroutineThreadsafe(ctx, loop, func(ctx context.Context) (int, error) {
			d.note(ctx, "a coroutine from outside")
			return 1, asyncio.Sleep(ctx, time.Millisecond)
		})
		n, err := asyncio.ToThread(ctx, func(ctx context.Context) (int, error) { return f.Wait(ctx) })
		d.note(ctx, "it returned %d, %v", n, err)
		promise := asyncio.NewPromise[string](ctx)
		go promise.Resolve("resolved")
		s, err := promise.Future().Await(ctx)
		d.note(ctx, "%s %v", s, err)
		foreign, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		defer cancel()
		d.note(ctx, "%v", asyncio.Sleep(foreign, time.Hour))
		return nil
	})
}

// A program may hand a connection to a goroutine.
func TestReplayOfNetConn(t *testing.T) {
	again(t, func(ctx context.Context, d *diary) error {
		s, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", returnAll, nil)
		if err != nil {
			return err
		}
		r, w, err := asyncio.OpenConnection(ctx, "tcp", s.Addr().String(), nil)
		if err != nil {
			return err
		}
		conn := asyncio.NetConn(ctx, r, w)
		got, err := asyncio.ToThread(ctx, func(context.Context) (string, error) {
			if _, err := io.WriteString(conn, "over there"); err != nil {
				return "", err
			}
			p := make([]byte, len("over there"))
			_, err := io.ReadFull(conn, p)
			return string(p), errors.Join(err, conn.Close())
		})
		d.note(ctx, "%q, %v", got, err)
		return s.Close()
	})
}

// TestReplayReportsDifferences lets a program depend on what is not recorded.
func TestReplayReportsDifferences(t *testing.T) {
	for name, program := range map[string]struct {
		main           func(ctx context.Context, run int) error
		then, now, obj string
		stack          string
	}{
		"time.Now": {
			main: func(ctx context.Context, run int) error {
				s, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", returnAll, nil)
				if err != nil {
					return err
				}
				defer s.Close()
				r, w, err := asyncio.OpenConnection(ctx, "tcp", s.Addr().String(), nil)
				if err != nil {
					return err
				}
				defer w.Close()
				fmt.Fprintf(w, "%025d\n", time.Now().UnixNano())
				_, err = r.ReadLine(ctx)
				return err
			},
			then: "a write of 26 bytes with the checksum", now: "a write of 26 bytes with the checksum", obj: "the connection to 127.0.0.1:",
			stack: "asyncio.(*StreamWriter).Write(...)\n",
		},
		"another timer": {
			main: func(ctx context.Context, run int) error {
				return asyncio.Sleep(ctx, time.Duration(run)*time.Millisecond)
			},
			then: "a wait for something to happen", now: "a wait for something to happen: for",
			stack: "The loop waits, and the tasks are:\n\t<Task main ",
		},
		"another connection": {
			main: func(ctx context.Context, run int) error {
				asyncio.OpenConnection(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", run), nil)
				return nil
			},
			then: "127.0.0.1:1 ", now: "127.0.0.1:2 ",
			stack: "asyncio.OpenConnection(...)\n",
		},
		"another turn": {
			main: func(ctx context.Context, run int) error {
				if run == 2 {
					loopTime(ctx)
				}
				for err := ctx.Err(); err == nil; err = asyncio.Sleep(ctx, 0) {
					if run == 1 {
						break
					}
				}
				return nil
			},
			then: "the closing of the network", now: "a reading of the loop's clock",
		},
		"less": {
			main: func(ctx context.Context, run int) error {
				if run == 1 {
					loopTime(ctx)
				}
				return nil
			},
			then: "a reading of the loop's clock", now: "the closing of the network",
		},
		"more": {
			main: func(ctx context.Context, run int) error {
				if run == 2 {
					loopTime(ctx)
				}
				return nil
			},
			then: "the closing of the network", now: "a reading of the loop's clock",
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := 0
			main := func(ctx context.Context) error {
				run++
				return program.main(ctx, run)
			}
			tape := taped(t, main)
			err := asynciotest.Replay(bytes.NewReader(tape), main, quiet)
			var d *asynciotest.Difference
			if !errors.As(err, &d) {
				t.Fatalf("the replay: %v, want a difference", err)
			}
			if !strings.Contains(d.Recorded, program.then) || !strings.Contains(d.Replayed, program.now) || !strings.Contains(d.Object, program.obj) {
				t.Errorf("%q, %q, %q, want %q, %q, %q", d.Recorded, d.Replayed, d.Object, program.then, program.now, program.obj)
			}
			if d.Entry == 0 || !strings.Contains(err.Error(), "time.Now") || !strings.Contains(d.Stack, "record_test.go") && program.obj != "" {
				t.Errorf("the report is %v", err)
			}
			if strings.Contains(d.Stack, "player") || strings.Contains(d.Stack, "runtime.") || !strings.Contains(d.Stack, program.stack) {
				t.Errorf("the stack is not that of the program, with %q:\n%s", program.stack, d.Stack)
			}
		})
	}
}

func TestReplayOfDamagedRecordings(t *testing.T) {
	main := func(ctx context.Context) error { return talks("tcp", "127.0.0.1:0", 3, 300)(ctx, new(diary)) }
	tape := taped(t, main)
	if len(tape) < 2*64<<10 {
		t.Fatalf("the recording has %d bytes, which is too short for this test", len(tape))
	}
	replay := func(tape []byte) error { return asynciotest.Replay(bytes.NewReader(tape), main, quiet) }
	if err := replay(tape); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{8, 9, 100, 64 << 10, 64<<10 + 8, 64<<10 + 30, len(tape) - 1} {
		if err := replay(tape[:n]); !errors.Is(err, asynciotest.ErrRecordingEnds) {
			t.Errorf("cut off after %d bytes: %v", n, err)
		}
	}
	for _, n := range []int{0, 3, 7, 9, 13, 17, 25, 5000, 64<<10 + 8, 100_000, len(tape) - 1} {
		damaged := bytes.Clone(tape)
		damaged[n] ^= 0x10
		if err := replay(damaged); !errors.Is(err, asynciotest.ErrDamaged) {
			t.Errorf("byte %d is damaged: %v", n, err)
		}
	}
	for _, text := range []string{"", "AIO", "no recording at all"} {
		if err := replay([]byte(text)); !errors.Is(err, asynciotest.ErrDamaged) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestReplayOfTLS(t *testing.T) {
	certificate, roots := asynciotest.Certificate("127.0.0.1")
	server := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"echo"}}
	client := &tls.Config{RootCAs: roots, NextProtos: []string{"echo"}}
	t.Run("streams", func(t *testing.T) {
		again(t, func(ctx context.Context, d *diary) error {
			s, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", returnAll, &asyncio.ServerOptions{TLS: server})
			if err != nil {
				return err
			}
			err = asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				for i := range 4 {
					g.Go(func(ctx context.Context) error {
						r, w, err := asyncio.OpenConnection(ctx, "tcp", s.Addr().String(), &asyncio.ConnOptions{TLS: client})
						if err != nil {
							return err
						}
						state, _ := w.ConnectionState()
						d.note(ctx, "%d: %x %q %v, %d chains", i, state.Version, state.NegotiatedProtocol, state.PeerCertificates[0].IPAddresses, len(state.VerifiedChains))
						for k := range 10 {
							line := strings.Repeat("secret", 1+asyncio.Rand(ctx).IntN(10_000)) + "\n"
							io.WriteString(w, line)
							back, err := r.ReadUntil(ctx, []byte("\n"))
							if err != nil && len(line) < 64<<10 {
								return fmt.Errorf("%d bytes: %w", len(line), err)
							}
							d.note(ctx, "%d.%d: %d of %d, %v", i, k, len(back), len(line), err)
						}
						if err := w.Close(); err != nil {
							return err
						}
						return w.WaitClosed(ctx)
					})
				}
				return nil
			})
			if err != nil {
				return err
			}
			return errors.Join(s.Close(), s.WaitClosed(ctx))
		})
	})
	t.Run("a handshake that fails", func(t *testing.T) {
		again(t, func(ctx context.Context, d *diary) error {
			s, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", returnAll, &asyncio.ServerOptions{TLS: server})
			if err != nil {
				return err
			}
			_, _, err = asyncio.OpenConnection(ctx, "tcp", s.Addr().String(), &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: x509.NewCertPool()}})
			d.note(ctx, "%v", err)
			return errors.Join(s.Close(), s.WaitClosed(ctx))
		}, asyncio.WithExceptionHandler(func(*asyncio.EventLoop, *asyncio.ErrorContext) {}))
	})
	t.Run("a handshake that is never answered", func(t *testing.T) {
		again(t, func(ctx context.Context, d *diary) error {
			s, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
				return asyncio.Sleep(ctx, time.Hour)
			}, nil)
			if err != nil {
				return err
			}
			_, _, err = asyncio.OpenConnection(ctx, "tcp", s.Addr().String(), &asyncio.ConnOptions{TLS: client, TLSHandshakeTimeout: 20 * time.Millisecond})
			d.note(ctx, "%v", err)
			return s.Close()
		})
	})
	t.Run("other plain text is a difference", func(t *testing.T) {
		run := 0
		main := func(ctx context.Context) error {
			run++
			s, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", returnAll, &asyncio.ServerOptions{TLS: server})
			if err != nil {
				return err
			}
			defer s.Close()
			r, w, err := asyncio.OpenConnection(ctx, "tcp", s.Addr().String(), &asyncio.ConnOptions{TLS: client})
			if err != nil {
				return err
			}
			defer w.Close()
			fmt.Fprintf(w, "run %d\n", run)
			_, err = r.ReadLine(ctx)
			return err
		}
		tape := taped(t, main)
		var d *asynciotest.Difference
		if err := asynciotest.Replay(bytes.NewReader(tape), main, quiet); !errors.As(err, &d) || !strings.Contains(d.Replayed, `"run 2\n"`) {
			t.Errorf("the replay: %v", err)
		}
	})
}

// TestRecordingRefuses tries what cannot be recorded.
func TestRecordingRefuses(t *testing.T) {
	main := func(ctx context.Context) error {
		loop := asyncio.RunningLoop(ctx)
		mine, theirs := net.Pipe()
		defer theirs.Close()
		tries := map[string]func() error{
			"Receive":   func() error { _, _, err := asyncio.Receive(ctx, make(chan int)); return err },
			"Send":      func() error { return asyncio.Send(ctx, make(chan int), 1) },
			"AddReader": func() error { return loop.AddReader(os.Stdin, func() {}) },
			"a connection": func() error {
				_, _, err := asyncio.OpenConnection(ctx, "", "", &asyncio.ConnOptions{Conn: mine})
				return err
			},
			"datagrams over Unix": func() error {
				_, err := asyncio.OpenDatagramEndpoint(ctx, &asyncio.DatagramOptions{Network: "unixgram", LocalAddr: t.TempDir() + "/socket"})
				return err
			},
			"NewInbox": func() (err error) {
				defer func() { err, _ = recover().(error) }()
				asyncio.NewInbox[int](ctx, 1)
				return nil
			},
		}
		for name, try := range tries {
			if err := try(); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "recorded") {
				t.Errorf("%s: %v", name, err)
			}
		}
		return nil
	}
	taped(t, main)
}

// stopped is a file that takes nothing for a while, from the first block on.
type stopped struct {
	begin func()
	gate  chan struct{}
}

func (s stopped) Write(p []byte) (int, error) {
	s.begin()
	<-s.gate
	return len(p), nil
}

func TestRecordingIsBounded(t *testing.T) {
	gate := make(chan struct{})
	begin := sync.OnceFunc(func() { time.AfterFunc(200*time.Millisecond, func() { close(gate) }) })
	rec := asynciotest.NewRecording(stopped{begin, gate})
	const messages = 100_000
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		s, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", returnAll, nil)
		if err != nil {
			return err
		}
		return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for range 100 {
				g.Go(func(ctx context.Context) error {
					r, w, err := asyncio.OpenConnection(ctx, "tcp", s.Addr().String(), nil)
					if err != nil {
						return err
					}
					defer w.Close()
					message := bytes.Repeat([]byte("m"), 64)
					for range messages / 100 {
						if _, err := w.Write(message); err != nil {
							return err
						}
						if _, err := r.ReadExactly(ctx, len(message)); err != nil {
							return err
						}
					}
					return nil
				})
			}
			return nil
		})
	}, asynciotest.WithRecording(rec))
	if err := errors.Join(err, rec.Err()); err != nil {
		t.Fatal(err)
	}
	if n := asynciotest.RecordingMemory(rec); n > 1<<20 || n < 64<<10 {
		t.Errorf("the recording has taken %d bytes of memory", n)
	}
}

// TestRecordingOfAPanic ends a program by a panic in its main.
func TestRecordingOfAPanic(t *testing.T) {
	main := func(ctx context.Context) error {
		loopTime(ctx)
		panic("over")
	}
	run := func(run func() error) (value any) {
		defer func() { value = recover() }()
		return run()
	}
	var tape bytes.Buffer
	rec := asynciotest.NewRecording(&tape)
	got := run(func() error { return asyncio.Run(context.Background(), main, asynciotest.WithRecording(rec)) })
	var p *asyncio.PanicError
	if err, _ := got.(error); !errors.As(err, &p) || p.Value != "over" {
		t.Fatalf("the recorded run: %v", got)
	}
	got = run(func() error { return asynciotest.Replay(bytes.NewReader(tape.Bytes()), main) })
	if err, _ := got.(error); !errors.As(err, &p) || p.Value != "over" {
		t.Errorf("the replay: %v", got)
	}
}

type fullDisk struct{ room int }

var errFull = errors.New("the disk is full")

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.room -= len(p); d.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestRecordingOnAFullDisk(t *testing.T) {
	for _, room := range []int{0, 100 << 10} {
		rec := asynciotest.NewRecording(&fullDisk{room})
		err := asyncio.Run(context.Background(), func(ctx context.Context) error {
			return talks("tcp", "127.0.0.1:0", 4, 400)(ctx, new(diary))
		}, asynciotest.WithRecording(rec))
		if err != nil || !errors.Is(rec.Err(), errFull) {
			t.Errorf("with room for %d bytes: %v, %v", room, err, rec.Err())
		}
	}
}

// TestRecordingIsFlushed looks into the file of a program that waits.
func TestRecordingIsFlushed(t *testing.T) {
	written := make(chan int, 100)
	rec := asynciotest.NewRecording(writerFunc(func(p []byte) (int, error) {
		written <- len(p)
		return len(p), nil
	}))
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
			<-written // the header
			return <-written, nil
		})
		return err
	}, asynciotest.WithRecording(rec))
	if err := errors.Join(err, rec.Err()); err != nil {
		t.Error(err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestReplayOfCancelledRuns(t *testing.T) {
	program := func(ctx context.Context) error { return asyncio.Sleep(ctx, time.Hour) }
	t.Run("by the context", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		var tape bytes.Buffer
		rec := asynciotest.NewRecording(&tape)
		err := asyncio.Run(ctx, program, asynciotest.WithRecording(rec))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if again := asynciotest.Replay(&tape, program); !errors.Is(again, context.DeadlineExceeded) {
			t.Errorf("the replay: %v", again)
		}
	})
}

func TestReplayOfLostFailures(t *testing.T) {
	var reports []string
	program := func(ctx context.Context) error {
		asyncio.Go(ctx, func(context.Context) error { return errors.New("nobody looks") })
		for range 100 {
			if err := asyncio.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
			runtime.GC()
			loopTime(ctx)
		}
		return nil
	}
	handler := asyncio.WithExceptionHandler(func(l *asyncio.EventLoop, ec *asyncio.ErrorContext) {
		reports = append(reports, fmt.Sprint(l.Time(), ec.Message, ec.Err))
	})
	tape := taped(t, program, handler)
	if err := asynciotest.Replay(bytes.NewReader(tape), program, handler); err != nil {
		t.Fatal(err)
	}
	if len(reports) != 2 || reports[0] != reports[1] {
		t.Errorf("reported %q", reports)
	}
}
