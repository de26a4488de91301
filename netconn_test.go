// NetConn: code of the standard library that knows no loop, deadlines, calls from
// anywhere, and what becomes of calls that are called off.

package asyncio_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// netPair is streamPair with the ends as net.Conns that wait with ctx.
func netPair(t testing.TB, ctx context.Context) (client, server net.Conn, end func()) {
	t.Helper()
	c, s, end := streamPair(t, ctx, "tcp", "127.0.0.1:0")
	return asyncio.NetConn(ctx, c.r, c.w), asyncio.NetConn(ctx, s.r, s.w), end
}

// together runs functions as tasks, and waits for all of them.
func together(ctx context.Context, fns ...func() error) error {
	return asyncio.WithTaskGroup(ctx, func(_ context.Context, g *asyncio.TaskGroup) error {
		for _, fn := range fns {
			g.Go(func(context.Context) error { return fn() })
		}
		return nil
	})
}

// readError returns the error of a Read of one byte.
func readError(c net.Conn) error {
	_, err := c.Read(make([]byte, 1))
	return err
}

// timedOut checks that err is what package net returns when a deadline has passed.
func timedOut(t testing.TB, err error) {
	t.Helper()
	var op *net.OpError
	if !errors.As(err, &op) || !op.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error is %v, want that of a deadline", err)
	}
}

// TestNetConnCarries lets packages that read and write as if that blocked talk to
// each other, both ends in tasks of one loop.
func TestNetConnCarries(t *testing.T) {
	authority := newAuthority(t)
	for _, test := range []struct {
		name           string
		client, server func(c net.Conn) error
	}{
		{"bufio", func(c net.Conn) error {
			_, err := io.WriteString(c, "one\ntwo\nthree\n")
			return errors.Join(err, c.Close())
		}, func(c net.Conn) error {
			var got []string
			s := bufio.NewScanner(c)
			for s.Scan() {
				got = append(got, s.Text())
			}
			if s.Err() != nil || !slices.Equal(got, []string{"one", "two", "three"}) {
				return fmt.Errorf("scanned %q: %w", got, s.Err())
			}
			return nil
		}},
		{"io.Copy", func(c net.Conn) error {
			_, err := io.Copy(c, bytes.NewReader(pattern(10<<20)))
			return errors.Join(err, c.(interface{ CloseWrite() error }).CloseWrite(), shallRead(c, "thanks"))
		}, func(c net.Conn) error {
			got, err := io.ReadAll(c)
			if !bytes.Equal(got, pattern(10<<20)) {
				return fmt.Errorf("%d bytes, not those that were sent: %w", len(got), err)
			}
			_, err = c.Write([]byte("thanks"))
			return errors.Join(err, c.Close())
		}},
		{"net/http", func(c net.Conn) error {
			req, err := http.NewRequest("POST", "http://there/path", strings.NewReader("question"))
			if err != nil {
				return err
			}
			if err := req.Write(c); err != nil {
				return err
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), req)
			if err != nil {
				return err
			}
			return shallRead(resp.Body, "answer to question")
		}, func(c net.Conn) error {
			req, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				return err
			}
			question, err := io.ReadAll(req.Body)
			if err != nil {
				return err
			}
			resp := http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Body: io.NopCloser(strings.NewReader("answer to " + string(question))), ContentLength: -1}
			return errors.Join(resp.Write(c), c.Close())
		}},
		{"net/textproto", func(c net.Conn) error {
			tp := textproto.NewConn(c)
			id, err := tp.Cmd("HELO %s", "me")
			if err != nil {
				return err
			}
			tp.StartResponse(id)
			defer tp.EndResponse(id)
			_, message, err := tp.ReadResponse(250)
			if message != "first\nHELO me" {
				return fmt.Errorf("message %q: %w", message, err)
			}
			return err
		}, func(c net.Conn) error {
			tp := textproto.NewConn(c)
			line, err := tp.ReadLine()
			if err != nil {
				return err
			}
			return errors.Join(tp.PrintfLine("250-first"), tp.PrintfLine("250 %s", line))
		}},
		{"encoding/gob", func(c net.Conn) error {
			return gob.NewEncoder(c).Encode(map[string][]int{"a": {1, 2}, "b": make([]int, 100_000)})
		}, func(c net.Conn) error {
			var got map[string][]int
			err := gob.NewDecoder(c).Decode(&got)
			if len(got["a"]) != 2 || len(got["b"]) != 100_000 {
				return fmt.Errorf("decoded %d entries: %w", len(got), err)
			}
			return err
		}},
		{"crypto/tls", func(c net.Conn) error {
			s := tls.Client(c, &tls.Config{RootCAs: authority.pool, ServerName: "there"})
			_, err := s.Write([]byte("question"))
			return errors.Join(err, shallRead(s, "answer"), s.Close())
		}, func(c net.Conn) error {
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{authority.issue(t, soon(), "there")}})
			question := make([]byte, 8)
			if _, err := io.ReadFull(s, question); err != nil || string(question) != "question" {
				return fmt.Errorf("read %q: %w", question, err)
			}
			_, err := s.Write([]byte("answer"))
			return errors.Join(err, s.Close())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			leavesNothing(t)
			runStreams(t, func(ctx context.Context) error {
				client, server, end := netPair(t, ctx)
				defer end()
				return together(ctx, func() error { return test.client(client) }, func() error { return test.server(server) })
			})
		})
	}
}

// shallRead reads all of r, and fails if that is not want.
func shallRead(r io.Reader, want string) error {
	got, err := io.ReadAll(r)
	if string(got) != want {
		return fmt.Errorf("read %q, want %q: %w", got, want, err)
	}
	return err
}

func TestNetConnDeadline(t *testing.T) {
	t.Run("is on the loop's clock", func(t *testing.T) {
		leavesNothing(t)
		asynciotest.Run(t, func(ctx context.Context) error {
			pr, pw, err := os.Pipe()
			if err != nil {
				return err
			}
			defer pr.Close()
			w, err := asyncio.OpenWritePipe(ctx, pw)
			if err != nil {
				return err
			}
			r := asyncio.NewStreamReader(ctx, 0)
			c := asyncio.NetConn(ctx, r, w)
			defer c.Close()
			loop := asyncio.CurrentTask(ctx).Loop()
			start := loop.Time()
			if err := c.SetReadDeadline(asyncio.Now(ctx).Add(time.Hour)); err != nil {
				return err
			}
			timedOut(t, readError(c))
			if passed := loop.Time() - start; passed != time.Hour {
				t.Errorf("it came after %v", passed)
			}
			timedOut(t, readError(c)) // still
			if err := r.FeedData([]byte("late")); err != nil {
				return err
			}
			timedOut(t, readError(c))
			c.SetReadDeadline(asyncio.Now(ctx).Add(time.Hour))
			p := make([]byte, 10)
			if n, err := c.Read(p); string(p[:n]) != "late" || err != nil {
				t.Errorf("with a later deadline read %q, %v", p[:n], err)
			}
			return nil
		})
	})
	t.Run("ends calls that wait", func(t *testing.T) {
		leavesNothing(t)
		runStreams(t, func(ctx context.Context) error {
			client, server, end := netPair(t, ctx)
			defer end()
			c := client
			var order []string
			reader := func(name string) func() error {
				return func() error {
					err := readError(c)
					order = append(order, name)
					timedOut(t, err)
					return nil
				}
			}
			err := together(ctx, reader("first"), reader("second"), reader("third"), func() error {
				// They wait, two for the first one. A deadline to come changes nothing.
				c.SetReadDeadline(time.Now().Add(time.Hour))
				if len(order) != 0 {
					t.Errorf("%q have returned", order)
				}
				return c.SetReadDeadline(time.Unix(1, 0))
			})
			if err != nil || len(order) != 3 {
				return fmt.Errorf("%q: %w", order, err)
			}
			if n := asyncio.CurrentTask(ctx).Loop().Timers(); n != 0 {
				t.Errorf("%d timers are left", n)
			}
			c.SetReadDeadline(time.Time{})
			server.Write([]byte("x"))
			return readError(c)
		})
	})
	t.Run("tells how much was written", func(t *testing.T) {
		leavesNothing(t)
		got := make(chan []byte, 1)
		read := newGate()
		withPeer(t, func(c *net.TCPConn) error {
			read.pass()
			all, err := io.ReadAll(c)
			got <- all
			return err
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			c := asyncio.NetConn(ctx, r, w)
			data := pattern(20 << 20)
			n, late := 0, error(nil)
			err := together(ctx, func() error {
				n, late = c.Write(data)
				return nil
			}, func() error {
				comesTrue(t, ctx, "some of it is under way", func() bool { return w.Buffered() > 0 })
				return c.SetWriteDeadline(time.Unix(1, 0))
			})
			if err != nil {
				return err
			}
			timedOut(t, late)
			if n == 0 || n == len(data) || w.Buffered() > 256<<10 {
				t.Errorf("wrote %d bytes of %d, %d are buffered", n, len(data), w.Buffered())
			}
			if m, err := c.Write(data); m != 0 {
				t.Errorf("after the deadline wrote %d, %v", m, err)
			}
			read.open()
			c.SetDeadline(time.Now().Add(time.Minute))
			if m, err := c.Write(data[n:]); n+m != len(data) || err != nil {
				t.Errorf("then wrote %d of %d: %v", n+m, len(data), err)
			}
			if err := c.Close(); err != nil {
				return err
			}
			if timers := asyncio.CurrentTask(ctx).Loop().Timers(); timers != 0 {
				t.Errorf("%d timers are left", timers)
			}
			return w.WaitClosed(ctx)
		})
		if all := <-got; !bytes.Equal(all, pattern(20<<20)) {
			t.Errorf("%d bytes have arrived", len(all))
		}
	})
}

func TestNetConnClose(t *testing.T) {
	t.Run("ends calls that wait", func(t *testing.T) {
		leavesNothing(t)
		closed := newGate()
		withPeer(t, func(c *net.TCPConn) error {
			closed.pass()
			io.Copy(io.Discard, c)
			return nil
		}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
			c := asyncio.NetConn(ctx, r, w)
			var ended []string
			call := func(name string, fn func() error) func() error {
				return func() error {
					err := fn()
					ended = append(ended, name)
					if !errors.Is(err, net.ErrClosed) {
						t.Errorf("%s = %v", name, err)
					}
					return nil
				}
			}
			foreign := make(chan error)
			go func() { foreign <- readError(c) }()
			err := together(ctx,
				call("a", func() error { return readError(c) }),
				call("b", func() error { return readError(c) }),
				call("c", func() error { _, err := c.Write(make([]byte, 100<<20)); return err }),
				call("d", func() error { _, err := c.Write(make([]byte, 1)); return err }),
				func() error {
					if len(ended) > 0 {
						t.Errorf("%q have returned", ended)
					}
					return c.Close()
				})
			if err != nil || len(ended) != 4 {
				return fmt.Errorf("%q: %w", ended, err)
			}
			// Its call may only come now, and needs the loop.
			read, err := asyncio.ToThread(ctx, func(context.Context) (error, error) { return <-foreign, nil })
			if err != nil || !errors.Is(read, net.ErrClosed) {
				t.Errorf("Read of a goroutine = %v, %v", read, err)
			}
			for name, err := range map[string]error{
				"Close": c.Close(), "Read": readError(c), "SetDeadline": c.SetDeadline(time.Now()),
			} {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s of a closed one = %v", name, err)
				}
			}
			closed.open()
			return w.WaitClosed(ctx)
		})
	})
	t.Run("of two pipes closes both", func(t *testing.T) {
		leavesNothing(t)
		runStreams(t, func(ctx context.Context) error {
			toUs, fromThem, err := os.Pipe()
			if err != nil {
				return err
			}
			toThem, fromUs, err := os.Pipe()
			if err != nil {
				return err
			}
			defer toThem.Close()
			defer fromThem.Close()
			r, err := asyncio.OpenReadPipe(ctx, toUs)
			if err != nil {
				return err
			}
			w, err := asyncio.OpenWritePipe(ctx, fromUs)
			if err != nil {
				return err
			}
			c := asyncio.NetConn(ctx, r, w)
			if _, err := c.Write([]byte("hello")); err != nil {
				return err
			}
			fromThem.Write([]byte("hello"))
			p := make([]byte, 10)
			if n, err := c.Read(p); string(p[:n]) != "hello" {
				t.Errorf("read %q, %v", p[:n], err)
			}
			if err := c.Close(); err != nil {
				return err
			}
			if err := shallRead(toThem, "hello"); err != nil {
				return err
			}
			if _, err := fromThem.Write([]byte("x")); !errors.Is(err, os.ErrClosed) && err == nil {
				t.Error("the reader is open")
			}
			return nil
		})
	})
	t.Run("of the loop ends the calls of goroutines", func(t *testing.T) {
		leavesNothing(t)
		var reads, writes errgroup
		var c net.Conn
		address := peer(t, func(c *net.TCPConn) error {
			_, err := c.Read(make([]byte, 1))
			return errors.Join(err, reads.wait(), writes.wait())
		})
		runStreams(t, func(ctx context.Context) error {
			r, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
			if err != nil {
				return err
			}
			c = asyncio.NetConn(context.WithoutCancel(ctx), r, w)
			for range 3 {
				reads.call(func() error { return readError(c) })
			}
			w.Write([]byte("x"))
			for range 3 {
				writes.call(func() error { _, err := c.Write(make([]byte, 100<<20)); return err })
			}
			for len(asyncio.AllTasks(ctx)) < 7 { // all of them wait
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
			return nil
		})
		reads.expect(t, net.ErrClosed)
		writes.expect(t, net.ErrClosed)
		for name, err := range map[string]error{"Read": readError(c), "Close": c.Close(), "SetDeadline": c.SetDeadline(time.Now())} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after the end of the loop = %v", name, err)
			}
		}
		elsewhere(func() {
			for name, err := range map[string]error{"Read": readError(c), "Close": c.Close()} {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s after the end of the loop, elsewhere = %v", name, err)
				}
			}
		})
	})
}

// An errgroup keeps the errors of goroutines.
type errgroup struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (g *errgroup) call(fn func() error) {
	g.wg.Go(func() {
		err := fn()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.errs = append(g.errs, err)
	})
}

func (g *errgroup) wait() error {
	g.wg.Wait()
	return nil
}

// expect checks that each of the calls has ended with want.
func (g *errgroup) expect(t testing.TB, want error) {
	t.Helper()
	g.wait()
	for _, err := range g.errs {
		if !errors.Is(err, want) {
			t.Errorf("error is %v, want %v", err, want)
		}
	}
}

// TestNetConnQueues: in each direction calls take turns, in the order in which
// they came, whoever calls.
func TestNetConnQueues(t *testing.T) {
	leavesNothing(t)
	runStreams(t, func(ctx context.Context) error {
		client, server, end := streamPair(t, ctx, "tcp", "127.0.0.1:0")
		defer end()
		c := asyncio.NetConn(ctx, client.r, client.w)
		s := asyncio.NetConn(ctx, server.r, server.w)
		var order []string
		tasks := len(asyncio.AllTasks(ctx))
		read := func(name string) func() error {
			return func() error {
				p := make([]byte, 1)
				if _, err := io.ReadFull(c, p); err != nil {
					return err
				}
				order = append(order, name+string(p))
				return nil
			}
		}
		var foreign errgroup
		waits := func(n int) error {
			for len(asyncio.AllTasks(ctx)) < tasks+n {
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
			return nil
		}
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for i := range 6 {
				if i%2 == 0 {
					g.Go(func(context.Context) error { return read(fmt.Sprint("task", i, "="))() })
				} else {
					foreign.call(func() error {
						p := make([]byte, 1)
						_, err := io.ReadFull(c, p)
						return fmt.Errorf("goroutine%d=%s %w", i, p, err)
					})
				}
				if err := waits(i + 1); err != nil {
					return err
				}
			}
			for i := range 6 {
				if _, err := s.Write([]byte{'0' + byte(i)}); err != nil {
					return err
				}
				if err := waits(0); err != nil {
					return err
				}
			}
			return nil
		})
		foreign.wait()
		for _, err := range foreign.errs {
			order = append(order, strings.Fields(err.Error())[0])
		}
		slices.Sort(order)
		want := []string{"goroutine1=1", "goroutine3=3", "goroutine5=5", "task0=0", "task2=2", "task4=4"}
		if !slices.Equal(order, want) {
			t.Errorf("%q, want %q", order, want)
		}
		return err
	})
}

// TestNetConnWritesStayWhole: what one Write was given arrives in one piece, however
// many write at once, and however often they have to wait.
func TestNetConnWritesStayWhole(t *testing.T) {
	leavesNothing(t)
	const writers, rounds, size = 6, 4, 300_000
	got := make(chan []byte, 1)
	withPeer(t, func(c *net.TCPConn) error {
		all, err := io.ReadAll(c)
		got <- all
		return err
	}, func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		c := asyncio.NetConn(ctx, r, w)
		write := func(name byte) error {
			p := bytes.Repeat([]byte{name}, size)
			for range rounds {
				if n, err := c.Write(p); n != size || err != nil {
					return fmt.Errorf("wrote %d: %w", n, err)
				}
			}
			return nil
		}
		err := asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
			for i := range byte(writers) {
				if i%2 == 0 {
					g.Go(func(context.Context) error { return write('a' + i) })
				} else {
					g.Go(func(ctx context.Context) error {
						_, err := asyncio.ToThread(ctx, func(context.Context) (any, error) { return nil, write('a' + i) })
						return err
					})
				}
			}
			return nil
		})
		return errors.Join(err, c.Close(), w.WaitClosed(ctx))
	})
	all := <-got
	if len(all) != writers*rounds*size {
		t.Fatalf("%d bytes have arrived", len(all))
	}
	for piece := range slices.Chunk(all, size) {
		if bytes.Count(piece, piece[:1]) != size {
			t.Fatalf("a piece that begins with %q has others in it", piece[0])
		}
	}
}

func TestNetConnCancelled(t *testing.T) {
	t.Run("by the task", func(t *testing.T) {
		leavesNothing(t)
		runStreams(t, func(ctx context.Context) error {
			client, server, end := netPair(t, ctx)
			defer end()
			for name, fn := range map[string]func() error{
				"Read":  func() error { return readError(client) },
				"Write": func() error { _, err := client.Write(make([]byte, 100<<20)); return err },
			} {
				for _, again := range []bool{false, true} { // the second one stands behind the first
					first := asyncio.Go(ctx, func(context.Context) error { return fn() })
					task := first
					if again {
						task = asyncio.Go(ctx, func(context.Context) error { return fn() })
					}
					if err := asyncio.Yield(ctx); err != nil {
						return err
					}
					task.Cancel(nil)
					if err := task.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
						t.Errorf("%s = %v", name, err)
					}
					first.Cancel(nil)
					first.Wait(ctx)
				}
			}
			err := asyncio.Timeout(ctx, time.Millisecond, func(context.Context) error { return readError(client) })
			if !errors.Is(err, asyncio.ErrTimeout) {
				t.Errorf("in a Timeout: %v", err)
			}
			server.Write([]byte("x"))
			return readError(client)
		})
	})
	t.Run("by the context, elsewhere", func(t *testing.T) {
		leavesNothing(t)
		runStreams(t, func(ctx context.Context) error {
			client, server, end := streamPair(t, ctx, "tcp", "127.0.0.1:0")
			defer end()
			cause := errors.New("enough")
			failed := make(chan error)
			task := asyncio.Go(ctx, func(ctx context.Context) error {
				c := asyncio.NetConn(ctx, client.r, client.w)
				go func() { failed <- readError(c) }()
				return asyncio.NewFuture[int](ctx).Wait(ctx)
			})
			for len(asyncio.AllTasks(ctx)) < 4 { // main, the server's, this one, and the Read's
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
			task.Cancel(cause)
			task.Wait(ctx)
			if err := received(ctx, failed); !errors.Is(err, asyncio.ErrCancelled) || !errors.Is(err, context.Canceled) {
				t.Errorf("Read = %v", err)
			}
			server.w.Write([]byte("x"))
			_, err := readSome(ctx, client.r, 1)
			return err
		})
	})
	t.Run("everywhere", func(t *testing.T) {
		data := pattern(1 << 20)
		interruptEverywhere(t, func(t *testing.T) interruption {
			var c, s net.Conn
			var end func()
			var w *asyncio.StreamWriter
			var receiving *asyncio.Task[[]byte]
			left, answer := data, []byte(nil)
			operation := func(context.Context) error {
				n, err := c.Write(left)
				if left = left[n:]; err != nil {
					return err
				}
				for p := make([]byte, 2); len(answer) < 10; {
					n, err := c.Read(p)
					if answer = append(answer, p[:n]...); err != nil {
						return err
					}
				}
				return nil
			}
			return interruption{
				prepare: func(ctx context.Context) error {
					bg := asyncio.CurrentTask(ctx).Loop().Context(ctx) // this task ends before the net.Conns do
					var client, server stream
					client, server, end = streamPair(t, ctx, "unix", socketPath(t))
					w = client.w
					c, s = asyncio.NetConn(bg, client.r, client.w), asyncio.NetConn(bg, server.r, server.w)
					receiving = asyncio.CreateTask(ctx, func(ctx context.Context) ([]byte, error) {
						all := make([]byte, len(data))
						for p := all; len(p) > 0; {
							n, err := s.Read(p[:min(len(p), 100<<10)])
							if p = p[n:]; err != nil {
								return nil, err
							}
							if err := asyncio.Yield(ctx); err != nil {
								return nil, err
							}
						}
						for i := range 5 {
							if _, err := s.Write([]byte{'a' + byte(i), 'A' + byte(i)}); err != nil {
								return nil, err
							}
							if err := asyncio.Yield(ctx); err != nil {
								return nil, err
							}
						}
						return all, nil
					})
					return nil
				},
				operation: operation,
				check: func(ctx context.Context) error {
					defer end()
					if err := operation(ctx); err != nil {
						return err
					}
					got, err := receiving.Await(ctx)
					if !bytes.Equal(got, data) || string(answer) != "aAbBcCdDeE" {
						t.Errorf("%d bytes arrived of %d, the answer was %q", len(got), len(data), answer)
					}
					return errors.Join(err, c.Close(), w.WaitClosed(ctx))
				},
			}
		})
	})
}

// received waits for what a channel gives, with the loop going on.
func received[T any](ctx context.Context, from <-chan T) T {
	v, _ := asyncio.ToThread(ctx, func(context.Context) (T, error) { return <-from, nil })
	return v
}

func TestNetConnMisuse(t *testing.T) {
	leavesNothing(t)
	var c net.Conn
	runner := asyncio.NewRunner()
	defer func() {
		if err := runner.Close(); err != nil {
			t.Error(err)
		}
	}()
	err := runner.Run(context.Background(), func(ctx context.Context) error {
		loop := asyncio.CurrentTask(ctx).Loop()
		client, server, _ := streamPair(t, ctx, "tcp", "127.0.0.1:0")
		c = asyncio.NetConn(loop.Context(ctx), client.r, client.w)
		panicsWith(t, asyncio.ErrBadArgument, func() { asyncio.NetConn(ctx, nil, client.w) })
		panicsWith(t, asyncio.ErrBadArgument, func() { asyncio.NetConn(ctx, client.r, nil) })
		panicsWith(t, asyncio.ErrOutsideTask, func() { asyncio.NetConn(context.Background(), client.r, client.w) })
		elsewhere(func() {
			panicsWith(t, asyncio.ErrWrongGoroutine, func() { asyncio.NetConn(ctx, client.r, client.w) })
			asyncio.Run(context.Background(), func(ctx context.Context) error {
				panicsWith(t, asyncio.ErrWrongLoop, func() { asyncio.NetConn(ctx, client.r, client.w) })
				mistake(t, readError(c), asyncio.ErrWrongLoop)
				_, err := c.Write([]byte("x"))
				mistake(t, err, asyncio.ErrWrongLoop)
				return c.SetDeadline(time.Time{}) // does not wait
			})
		})
		called := asyncio.NewFuture[int](ctx)
		loop.CallSoon(func() {
			mistake(t, readError(c), asyncio.ErrOutsideTask)
			_, err := c.Write([]byte("x"))
			mistake(t, err, asyncio.ErrOutsideTask)
			if err := c.SetDeadline(time.Time{}); err != nil {
				t.Errorf("SetDeadline in a callback: %v", err)
			}
			called.SetResult(1)
		})
		called.Wait(ctx)

		// Of a stream that others use, too, what was read ahead comes first, and who
		// comes second is told.
		server.w.Write([]byte("line\nrest"))
		if _, err := client.r.ReadLine(ctx); err != nil {
			return err
		}
		p := make([]byte, 10)
		if n, err := c.Read(p); string(p[:n]) != "rest" {
			t.Errorf("read %q, %v", p[:n], err)
		}
		reading := asyncio.Go(ctx, func(context.Context) error { return readError(c) })
		asyncio.Yield(ctx)
		_, err := client.r.Read(ctx, p)
		mistake(t, err, asyncio.ErrConcurrentRead)
		reading.Cancel(nil)
		reading.Wait(ctx)

		asyncio.CurrentTask(ctx).Loop().SetTaskFactory(func(*asyncio.EventLoop, *asyncio.TaskSpec) { panic("no tasks") })
		loop.SetExceptionHandler(func(*asyncio.EventLoop, *asyncio.ErrorContext) {})
		elsewhereOf(ctx, loop, func() { // a call that would have to wait
			if err := readError(c); err == nil || !strings.Contains(err.Error(), "no tasks") {
				t.Errorf("Read without a task = %v", err)
			}
		})
		loop.SetTaskFactory(nil)
		loop.SetExceptionHandler(nil)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mistake(t, readError(c), asyncio.ErrOutsideTask) // nobody but this goroutine can run the loop
	late := make(chan error)
	go func() { late <- readError(c) }()
	go func() { late <- c.SetDeadline(time.Time{}) }()
	if err := runner.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		// They came before the end of the loop, or in it, or after it.
		if err := <-late; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("calls while the loop did not run: %v", err)
		}
	}
}

// elsewhereOf runs fn on another goroutine while the loop goes on, without a task.
func elsewhereOf(ctx context.Context, loop *asyncio.EventLoop, fn func()) {
	over := asyncio.NewFuture[int](ctx)
	go func() {
		fn()
		loop.CallSoonThreadsafe(func() { over.SetResult(1) })
	}()
	over.Wait(ctx)
}

// TestNetConnAnywhere gives net.Conns of a loop to the client and the server of
// net/http, whose goroutines know nothing of it.
func TestNetConnAnywhere(t *testing.T) {
	leavesNothing(t)
	runStreams(t, func(ctx context.Context) error {
		loop := asyncio.CurrentTask(ctx).Loop()
		ln := &loopListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", ln.handle, nil)
		if err != nil {
			return err
		}
		ln.addr = srv.Addr()
		serving := make(chan error, 1)
		hs := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %d", r.URL.Path, len(body))
		})}
		go func() { serving <- hs.Serve(ln) }()

		transport := &http.Transport{DialContext: func(dctx context.Context, network, address string) (net.Conn, error) {
			dialed := asyncio.RunCoroutineThreadsafe(dctx, loop, func(ctx context.Context) (net.Conn, error) {
				r, w, err := asyncio.OpenConnection(ctx, network, address, nil)
				if err != nil {
					return nil, err
				}
				return asyncio.NetConn(context.WithoutCancel(ctx), r, w), nil
			})
			return dialed.Wait(dctx)
		}}
		client := &http.Client{Transport: transport}
		get := func(i int) error {
			body := pattern(i * 50_000)
			resp, err := client.Post(fmt.Sprintf("http://%s/%d", srv.Addr(), i), "", bytes.NewReader(body))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			return shallRead(resp.Body, fmt.Sprintf("/%d %d", i, len(body)))
		}
		var gets []func() error
		clients := asyncio.NewThreadLimiter(20) // their own, since the listener needs threads too
		for i := range 20 {
			gets = append(gets, func() error {
				_, err := asyncio.ToThread(ctx, func(context.Context) (any, error) { return nil, get(i) }, asyncio.WithLimiter(clients))
				return err
			})
		}
		if err := together(ctx, gets...); err != nil {
			return err
		}
		_, err = asyncio.ToThread(ctx, func(ctx context.Context) (any, error) {
			transport.CloseIdleConnections()
			return nil, hs.Shutdown(ctx)
		})
		if serr := received(ctx, serving); serr != http.ErrServerClosed {
			t.Errorf("Serve = %v", serr)
		}
		return errors.Join(err, srv.Close(), srv.WaitClosed(ctx))
	})
}

// A loopListener is a net.Listener of the connections that a Server accepts.
type loopListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	addr   net.Addr
}

// handle hands a connection over, and keeps it until it is closed.
func (l *loopListener) handle(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
	c := asyncio.NetConn(ctx, r, w)
	_, err := asyncio.ToThread(ctx, func(ctx context.Context) (any, error) {
		select {
		case l.conns <- c:
			return nil, nil
		case <-l.closed:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	})
	if err != nil {
		return err
	}
	return w.WaitClosed(ctx)
}

func (l *loopListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *loopListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *loopListener) Addr() net.Addr { return l.addr }
