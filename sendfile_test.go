// Files over transports and streams: by the kernel, by copying and over TLS, between
// other writes, and when the connection ends in the middle.

package asyncio_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/sock"
)

// A plainNetwork is the real one without connections that send files.
type plainNetwork struct{ *sock.Network }

type plainConn struct{ seam.Conn }

func (n plainNetwork) Dial(network string, to, local seam.Addr, h seam.Handler) (seam.Conn, error) {
	c, err := n.Network.Dial(network, to, local, h)
	return plainConn{c}, err
}

// A courier is a way to send files.
type courier struct {
	name   string
	native bool
	dial   func(t *testing.T, ctx context.Context, address string) fileSender
	opts   []asyncio.RunOption
	server *tls.Config // of the peer
}

// A fileSender is a Transport or a StreamWriter.
type fileSender interface {
	SendFile(ctx context.Context, f *os.File, opts *asyncio.SendFileOptions) (int64, error)
	Write(p []byte) (int, error)
	WriteLines(lines [][]byte) error
	WriteEOF() error
	StartTLS(ctx context.Context, config *tls.Config, opts *asyncio.TLSOptions) error
	Close() error
	Abort()
}

func couriers(t testing.TB) []courier {
	ca := newAuthority(t)
	client := &asyncio.ConnOptions{TLS: &tls.Config{RootCAs: ca.pool, Time: time.Now}} // also on a virtual clock
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, soon(), "127.0.0.1")}}
	stream := func(opts *asyncio.ConnOptions) func(t *testing.T, ctx context.Context, address string) fileSender {
		return func(t *testing.T, ctx context.Context, address string) fileSender {
			_, w, err := asyncio.OpenConnection(ctx, "tcp", address, opts)
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
	}
	transport := func(opts *asyncio.ConnOptions) func(t *testing.T, ctx context.Context, address string) fileSender {
		return func(t *testing.T, ctx context.Context, address string) fileSender {
			tr, _, err := asyncio.CreateConnection(ctx, "tcp", address, func() *witness { return new(witness) }, opts)
			if err != nil {
				t.Fatal(err)
			}
			return tr
		}
	}
	copying := []asyncio.RunOption{seam.LoopOption(seam.Seams{NewNetwork: func() (seam.Network, error) {
		n, err := sock.New()
		return plainNetwork{n}, err
	}}).(asyncio.LoopOption)}
	return []courier{
		{"a transport, by the kernel", !onPortable, transport(nil), nil, nil},
		{"a transport, by copying", false, transport(nil), copying, nil},
		{"a transport, over TLS", false, transport(client), nil, server},
		{"a stream, by the kernel", !onPortable, stream(nil), nil, nil},
		{"a stream, by copying", false, stream(nil), copying, nil},
		{"a stream, over TLS", false, stream(client), nil, server},
	}
}

// fileWith returns a file with that content, which stands somewhere in the middle.
func fileWith(t testing.TB, content []byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	f.Seek(int64(len(content)/3), io.SeekStart)
	return f
}

// withCourier runs test with a connection to a peer that runs serve.
func withCourier(t *testing.T, c courier, serve func(c net.Conn) error, test func(ctx context.Context, s fileSender) error) {
	t.Helper()
	address := peer(t, func(tc *net.TCPConn) error {
		if c.server == nil {
			return serve(tc)
		}
		s := tls.Server(tc, c.server)
		if err := s.Handshake(); err != nil {
			return err
		}
		return serve(s)
	})
	runStreams(t, func(ctx context.Context) error { return test(ctx, c.dial(t, ctx, address)) }, c.opts...)
}

// delivered runs test with a connection whose peer reads all, and returns that.
func delivered(t *testing.T, c courier, test func(ctx context.Context, s fileSender) error) (got []byte) {
	t.Helper()
	done := newGate()
	withCourier(t, c, func(c net.Conn) (err error) {
		defer done.open()
		got, err = io.ReadAll(c)
		return err
	}, func(ctx context.Context, s fileSender) error {
		if err := test(ctx, s); err != nil {
			return err
		}
		s.Close()
		return done.waitIn(ctx)
	})
	return got
}

// sends checks what SendFile returns, and where the file stands then.
func sends(t *testing.T, ctx context.Context, s fileSender, f *os.File, opts *asyncio.SendFileOptions, want int64) {
	t.Helper()
	n, err := s.SendFile(ctx, f, opts)
	at, _ := f.Seek(0, io.SeekCurrent)
	if opts == nil {
		opts = new(asyncio.SendFileOptions)
	}
	if n != want || err != nil || want > 0 && at != opts.Offset+want {
		t.Errorf("SendFile = %d, %v, want %d; the file is at %d", n, err, want, at)
	}
}

func TestSendFile(t *testing.T) {
	leavesNothing(t)
	content := pattern(1<<20 + 12345)
	for _, c := range couriers(t) {
		t.Run("SF-007 SF-008 SF-009 a whole file, "+c.name, func(t *testing.T) {
			f := fileWith(t, content)
			got := delivered(t, c, func(ctx context.Context, s fileSender) error {
				sends(t, ctx, s, f, nil, int64(len(content)))
				return nil
			})
			if !bytes.Equal(got, content) {
				t.Errorf("%d bytes came, of %d", len(got), len(content))
			}
		})
		t.Run("SF-010 SF-016 a part, wherever the file stands, "+c.name, func(t *testing.T) {
			f := fileWith(t, content)
			size := int64(len(content))
			for _, part := range []struct{ offset, count, want int64 }{
				{0, 0, size}, {0, 1, 1}, {5, 100, 100}, {1 << 18, 1 << 19, 1 << 19}, {size - 10, 100, 10}, {size, 0, 0}, {size + 100, 5, 0},
			} {
				for _, position := range []int64{1000, size} {
					f.Seek(position, io.SeekStart)
					got := delivered(t, c, func(ctx context.Context, s fileSender) error {
						sends(t, ctx, s, f, &asyncio.SendFileOptions{Offset: part.offset, Count: part.count}, part.want)
						if at, _ := f.Seek(0, io.SeekCurrent); part.want == 0 && at != position {
							t.Errorf("the file was moved to %d", at)
						}
						return nil
					})
					if from := min(part.offset, size); !bytes.Equal(got, content[from:from+part.want]) {
						t.Errorf("%+v: %d bytes came", part, len(got))
					}
				}
			}
		})
		t.Run("SF-011 between other writes, "+c.name, func(t *testing.T) {
			f := fileWith(t, content)
			before, after := pattern(5<<20), []byte("the end")
			got := delivered(t, c, func(ctx context.Context, s fileSender) error {
				s.Write(before) // more than there is room for
				sends(t, ctx, s, f, nil, int64(len(content)))
				s.Write(after)
				sends(t, ctx, s, f, &asyncio.SendFileOptions{Count: 3}, 3)
				return nil
			})
			if want := slices.Concat(before, content, after, content[:3]); !bytes.Equal(got, want) {
				t.Errorf("%d bytes came, want %d", len(got), len(want))
			}
		})
		t.Run("SF-012 SF-015 without copying, "+c.name, func(t *testing.T) {
			f := fileWith(t, content)
			got := delivered(t, c, func(ctx context.Context, s fileSender) error {
				n, err := s.SendFile(ctx, f, &asyncio.SendFileOptions{NoFallback: true})
				at, _ := f.Seek(0, io.SeekCurrent)
				switch {
				case c.native && (n != int64(len(content)) || err != nil):
					t.Errorf("SendFile = %d, %v", n, err)
				case !c.native && (n != 0 || !errors.Is(err, asyncio.ErrSendfileNotAvailable) || at != int64(len(content)/3)):
					t.Errorf("SendFile = %d, %v; the file is at %d", n, err, at)
				}
				_, err = s.Write([]byte(".")) // goes on
				return err
			})
			if c.native && len(got) != len(content)+1 || !c.native && string(got) != "." {
				t.Errorf("%d bytes came", len(got))
			}
		})
		t.Run("SF-014 after Close, "+c.name, func(t *testing.T) {
			f := fileWith(t, content)
			got := delivered(t, c, func(ctx context.Context, s fileSender) error {
				s.Close()
				if n, err := s.SendFile(ctx, f, nil); n != 0 || !errors.Is(err, net.ErrClosed) {
					t.Errorf("SendFile = %d, %v", n, err)
				}
				return nil
			})
			if len(got) != 0 {
				t.Errorf("%d bytes came", len(got))
			}
		})
		t.Run("SF-017 a peer that leaves when it has got all, "+c.name, func(t *testing.T) {
			f := fileWith(t, content)
			withCourier(t, c, func(c net.Conn) error {
				got := make([]byte, len(content))
				_, err := io.ReadFull(c, got)
				if !bytes.Equal(got, content) {
					t.Error("something else came")
				}
				return err
			}, func(ctx context.Context, s fileSender) error {
				sends(t, ctx, s, f, nil, int64(len(content)))
				s.Close() // what was copied may wait still
				comesTrue(t, ctx, "the end", func() bool { return strings.Contains(fmt.Sprint(s), " closed ") })
				return nil
			})
		})
		t.Run("SF-018 SF-019 SF-020 a peer that leaves in the middle, "+c.name, func(t *testing.T) {
			f := fileWith(t, make([]byte, 64<<20))
			withCourier(t, c, func(c net.Conn) error {
				if _, err := io.ReadFull(c, make([]byte, 1<<20)); err != nil {
					return err
				}
				if over, ok := c.(*tls.Conn); ok {
					c = over.NetConn()
				}
				return reset(c.(*net.TCPConn))
			}, func(ctx context.Context, s fileSender) error {
				n, err := s.SendFile(ctx, f, nil)
				if n < 1<<20 || n >= 64<<20 || !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
					t.Errorf("SendFile = %d, %v", n, err)
				}
				if at, _ := f.Seek(0, io.SeekCurrent); at != n {
					t.Errorf("the file is at %d, %d were sent", at, n)
				}
				if tr, ok := s.(*asyncio.Transport); ok {
					p := tr.Protocol().(*witness)
					comesTrue(t, ctx, "the loss", p.lost)
					if p.err == nil {
						t.Errorf("lost by %v", p.err)
					}
				}
				return nil
			})
		})
		t.Run("SF-021 writing meanwhile is refused, and Close ends it, "+c.name, func(t *testing.T) {
			f := fileWith(t, make([]byte, 64<<20))
			begun, over := newGate(), newGate()
			withCourier(t, c, func(c net.Conn) error {
				_, err := c.Read(make([]byte, 1))
				begun.open()
				over.pass()
				return err
			}, func(ctx context.Context, s fileSender) error {
				defer over.open()
				var sent int64
				sending := asyncio.Go(ctx, func(ctx context.Context) (err error) {
					sent, err = s.SendFile(ctx, f, nil)
					return err
				})
				if err := begun.waitIn(ctx); err != nil { // there is no room for all
					return err
				}
				_, err := s.Write([]byte("x"))
				mistake(t, err, asyncio.ErrInvalidState)
				mistake(t, s.WriteLines([][]byte{[]byte("x")}), asyncio.ErrInvalidState)
				mistake(t, s.WriteEOF(), asyncio.ErrInvalidState)
				mistake(t, s.StartTLS(ctx, &tls.Config{InsecureSkipVerify: true}, nil), asyncio.ErrInvalidState)
				_, err = s.SendFile(ctx, f, nil)
				mistake(t, err, asyncio.ErrInvalidState)
				s.Close()
				if err := sending.Wait(ctx); !errors.Is(err, net.ErrClosed) || sent <= 0 || sent >= 64<<20 {
					t.Errorf("SendFile = %d, %v", sent, err)
				}
				s.Abort()
				return nil
			})
		})
	}
	for _, c := range couriers(t)[:3] {
		t.Run("other tasks go on, "+c.name, func(t *testing.T) {
			size := int64(max(scaled(100<<20), 5<<20))
			f := fileWith(t, make([]byte, size))
			turns := 0
			delivered(t, c, func(ctx context.Context, s fileSender) error {
				other := asyncio.Go(ctx, func(ctx context.Context) error {
					for {
						turns++
						if err := asyncio.Yield(ctx); err != nil {
							return err
						}
					}
				})
				sends(t, ctx, s, f, nil, size)
				other.Cancel(nil)
				return nil
			})
			if turns < int(size>>20)*9/10 {
				t.Errorf("another task had %d turns while %d bytes were sent", turns, size)
			}
		})
	}
	t.Run("mistakes", func(t *testing.T) {
		f := fileWith(t, content)
		withCourier(t, couriers(t)[0], func(c net.Conn) error { return nil }, func(ctx context.Context, s fileSender) error {
			_, err := s.SendFile(ctx, nil, nil)
			mistake(t, err, asyncio.ErrBadArgument)
			for _, opts := range []*asyncio.SendFileOptions{{Offset: -1}, {Count: -1}} {
				_, err := s.SendFile(ctx, f, opts)
				mistake(t, err, asyncio.ErrBadArgument)
			}
			elsewhere(func() {
				_, err := s.SendFile(ctx, f, nil)
				mistake(t, err, asyncio.ErrWrongGoroutine)
			})
			f.Close()
			if _, err := s.SendFile(ctx, f, nil); !errors.Is(err, os.ErrClosed) {
				t.Errorf("SendFile of a closed file = %v", err)
			}
			return nil
		})
	})
	t.Run("a task that ConnectionMade starts", func(t *testing.T) {
		f := fileWith(t, content)
		p := new(witness)
		read := 0
		done := newGate()
		address := peer(t, func(c *net.TCPConn) error {
			defer done.open()
			time.Sleep(5 * time.Millisecond)
			got, err := io.ReadAll(c)
			read = len(got)
			return err
		})
		runStreams(t, func(ctx context.Context) error {
			var sending asyncio.AnyTask
			p.on = map[string]func(){"made": func() {
				p.tr.Write(make([]byte, 8<<20))
				sending = asyncio.Go(ctx, func(ctx context.Context) error {
					_, err := p.tr.SendFile(ctx, f, nil)
					return err
				}, asyncio.EagerStart())
			}}
			tr, _, err := asyncio.CreateConnection(ctx, "tcp", address, func() *witness { return p }, nil)
			if err != nil {
				return err
			}
			if err := sending.Wait(ctx); err != nil {
				return err
			}
			tr.Close()
			return done.waitIn(ctx)
		})
		if want := 8<<20 + len(content); read != want {
			t.Errorf("%d bytes came, want %d", read, want)
		}
	})
}

func TestSendFileInterrupted(t *testing.T) {
	content := pattern(2 << 20)
	for _, c := range couriers(t) {
		if c.opts != nil {
			continue // the network of an interrupted operation is the real one
		}
		t.Run(c.name, func(t *testing.T) {
			interruptEverywhere(t, func(t *testing.T) interruption {
				f := fileWith(t, content)
				var got []byte
				done := newGate()
				address := peer(t, func(tc *net.TCPConn) (err error) {
					defer done.open()
					var conn net.Conn = tc
					if c.server != nil {
						conn = tls.Server(tc, c.server)
					}
					got, err = io.ReadAll(conn)
					return err
				})
				var s fileSender
				var sent int64
				return interruption{
					prepare: func(ctx context.Context) error { s = c.dial(t, ctx, address); return nil },
					operation: func(ctx context.Context) error {
						for sent < int64(len(content)) {
							n, err := s.SendFile(ctx, f, &asyncio.SendFileOptions{Offset: sent, Count: 300_000})
							sent += n
							if err != nil {
								return err
							}
						}
						return nil
					},
					check: func(ctx context.Context) error {
						s.Close()
						err := done.waitIn(ctx)
						comesTrue(t, ctx, "the end", func() bool { return strings.Contains(fmt.Sprint(s), " closed ") })
						if int64(len(got)) != sent || !bytes.Equal(got, content[:sent]) {
							t.Errorf("%d bytes came, %d were sent", len(got), sent)
						}
						return err
					},
				}
			})
		})
	}
}
