// Files to sockets: by the kernel and by copying, in part, interrupted, and where
// the file stands afterwards.

package asyncio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
	"github.com/goasyncio/asyncio/internal/sock"
)

// A fickleNetwork is the real one, whose SendFile fails if fail says so.
type fickleNetwork struct {
	*sock.Network
	calls int
	fail  func(call int) error
}

func (n *fickleNetwork) SendFile(fd int, f *os.File, offset int64, k int) (int, error) {
	n.calls++
	if err := n.fail(n.calls); err != nil {
		return 0, err
	}
	return n.Network.SendFile(fd, f, offset, k)
}

// sendfile fails as fail says, which is told how often it was called.
func sendfileFails(fail func(call int) error) asyncio.LoopOption {
	return seam.LoopOption(seam.Seams{NewNetwork: func() (seam.Network, error) {
		n, err := sock.New()
		return &fickleNetwork{Network: n, fail: fail}, err
	}}).(asyncio.LoopOption)
}

// never lets SendFile fail; always makes it fail, so that files are copied.
func never(int) error  { return nil }
func always(int) error { return errors.ErrUnsupported }

// bothWays runs a subtest with files that the kernel sends, and with files that are
// copied.
func bothWays(t *testing.T, name string, test func(t *testing.T, ctx context.Context) error) {
	for way, fail := range map[string]func(int) error{"by the kernel": never, "by copying": always} {
		t.Run(name+", "+way, func(t *testing.T) {
			needDescriptors(t)
			runStreams(t, func(ctx context.Context) error { return test(t, ctx) }, sendfileFails(fail))
		})
	}
}

// position returns where a file stands.
func position(t *testing.T, f *os.File) int64 {
	t.Helper()
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// sendsFile sends f over a new connection, and returns what arrives, and what SockSendFile
// returns.
func sendsFile(t *testing.T, ctx context.Context, f *os.File, opts *asyncio.SendFileOptions) (got []byte, n int64, err error) {
	t.Helper()
	a, b := tcpPair(t)
	receiving := asyncio.CreateTask(ctx, func(ctx context.Context) ([]byte, error) {
		var all []byte
		for p := make([]byte, 1<<16); ; {
			n, err := asyncio.SockRecv(ctx, b, p)
			all = append(all, p[:n]...)
			if err == io.EOF {
				return all, nil
			}
			if err != nil {
				return all, err
			}
		}
	})
	n, err = asyncio.SockSendFile(ctx, a, f, opts)
	a.CloseWrite()
	got, rerr := receiving.Await(ctx)
	expectError(t, rerr, nil)
	return got, n, err
}

func TestSockSendFile(t *testing.T) {
	leavesNothing(t)
	const size = 5 << 20
	content := letters(size)
	bothWays(t, "SF-001 SF-005 BASE-110 a whole file", func(t *testing.T, ctx context.Context) error {
		f := newFile(t, content)
		got, n, err := sendsFile(t, ctx, f, nil)
		if !bytes.Equal(got, content) || n != size || position(t, f) != size {
			t.Errorf("%d bytes arrived, SockSendFile says %d, the position is %d", len(got), n, position(t, f))
		}
		return err
	})
	for _, part := range []asyncio.SendFileOptions{
		{Offset: 0, Count: 1}, {Offset: 2000, Count: size / 2}, {Offset: size / 2}, {Offset: size - 1}, {Offset: size - 1, Count: 100},
		{Count: size + 1}, {Offset: size}, {Offset: size + 10},
	} {
		bothWays(t, fmt.Sprintf("SF-002 SF-004 BASE-111 from %d on, %d bytes", part.Offset, part.Count), func(t *testing.T, ctx context.Context) error {
			f := newFile(t, content)
			const start = 77 // which says nothing
			if _, err := f.Seek(start, io.SeekStart); err != nil {
				return err
			}
			want := content[min(part.Offset, size):]
			if part.Count > 0 {
				want = want[:min(part.Count, int64(len(want)))]
			}
			got, n, err := sendsFile(t, ctx, f, &part)
			if !bytes.Equal(got, want) || n != int64(len(want)) {
				t.Errorf("%d bytes arrived, SockSendFile says %d, want %d", len(got), n, len(want))
			}
			end := part.Offset + n
			if n == 0 {
				end = start
			}
			if at := position(t, f); at != end {
				t.Errorf("the position is %d, want %d", at, end)
			}
			return err
		})
	}
	bothWays(t, "SF-003 an empty file", func(t *testing.T, ctx context.Context) error {
		got, n, err := sendsFile(t, ctx, newFile(t, nil), nil)
		if len(got) != 0 || n != 0 {
			t.Errorf("%d bytes arrived, SockSendFile says %d", len(got), n)
		}
		return err
	})
	bothWays(t, "SF-006 between other sends", func(t *testing.T, ctx context.Context) error {
		a, b := tcpPair(t)
		f := newFile(t, content[:1000])
		for _, text := range []string{"before ", " after"} {
			expectError(t, asyncio.SockSendAll(ctx, a, []byte(text)), nil)
			if text == "before " {
				_, err := asyncio.SockSendFile(ctx, a, f, nil)
				expectError(t, err, nil)
			}
		}
		want := "before " + string(content[:1000]) + " after"
		got, err := receives(ctx, b, len(want))
		if string(got) != want {
			t.Errorf("received %q", got)
		}
		return err
	})
	bothWays(t, "other tasks have their turns meanwhile", func(t *testing.T, ctx context.Context) error {
		turns := 0
		done := false
		other := asyncio.Go(ctx, func(ctx context.Context) error {
			for ; !done; turns++ {
				if err := asyncio.Yield(ctx); err != nil {
					return err
				}
			}
			return nil
		})
		_, _, err := sendsFile(t, ctx, newFile(t, content), nil)
		done = true
		if turns < 5 {
			t.Errorf("%d turns", turns)
		}
		return errors.Join(err, other.Wait(ctx))
	})
	bySock(t, "BASE-108 BASE-109 what makes no sense", func(t *testing.T, ctx context.Context) error {
		a, _ := tcpPair(t)
		f := newFile(t, content[:10])
		for _, opts := range []asyncio.SendFileOptions{{Offset: -1}, {Count: -1}} {
			n, err := asyncio.SockSendFile(ctx, a, f, &opts)
			mistake(t, err, asyncio.ErrBadArgument)
			if n != 0 || position(t, f) != 0 {
				t.Errorf("%d bytes", n)
			}
		}
		_, err := asyncio.SockSendFile(ctx, a, nil, nil)
		mistake(t, err, asyncio.ErrBadArgument)
		return nil
	})
}

func TestSockSendFileNotAvailable(t *testing.T) {
	leavesNothing(t)
	refusing := &asyncio.SendFileOptions{NoFallback: true, Offset: 3}
	// refuses checks that f is not sent, and stays where it is.
	refuses := func(t *testing.T, ctx context.Context, f *os.File, cause error) {
		t.Helper()
		a, b := tcpPair(t)
		n, err := asyncio.SockSendFile(ctx, a, f, refusing)
		expectError(t, err, asyncio.ErrSendfileNotAvailable)
		expectError(t, err, cause)
		if n != 0 {
			t.Errorf("%d bytes were sent", n)
		}
		a.CloseWrite()
		_, err = asyncio.SockRecv(ctx, b, make([]byte, 1))
		expectError(t, err, io.EOF)
	}
	for _, cause := range []error{errors.ErrUnsupported, syscall.EBADF, syscall.EIO} {
		t.Run(fmt.Sprintf("BASE-112 UNIX-024 UNIX-026 UNIX-027 UNIX-030 the kernel cannot: %v", cause), func(t *testing.T) {
			needDescriptors(t)
			f := newFile(t, letters(1000))
			f.Seek(5, io.SeekStart)
			runStreams(t, func(ctx context.Context) error {
				refuses(t, ctx, f, cause)
				if at := position(t, f); at != 5 {
					t.Errorf("the position is %d", at)
				}
				// Otherwise it is copied.
				got, n, err := sendsFile(t, ctx, f, nil)
				if n != 1000 || !bytes.Equal(got, letters(1000)) {
					t.Errorf("%d bytes were sent, %d arrived", n, len(got))
				}
				return err
			}, sendfileFails(func(int) error { return cause }))
		})
	}
	bySock(t, "UNIX-026 a file that is closed, has a bad descriptor, or cannot be read", func(t *testing.T, ctx context.Context) error {
		gone := newFile(t, nil)
		gone.Close()
		bad := os.NewFile(1<<20, "bad")
		only, err := os.OpenFile(filepath.Join(t.TempDir(), "file"), os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		defer only.Close()
		a, _ := tcpPair(t)
		for f, cause := range map[*os.File]error{gone: os.ErrClosed, bad: syscall.EBADF, only: syscall.EBADF} {
			refuses(t, ctx, f, cause)
			_, err := asyncio.SockSendFile(ctx, a, f, nil)
			expectError(t, err, cause)
			if errors.Is(err, asyncio.ErrSendfileNotAvailable) {
				t.Errorf("error %v", err)
			}
		}
		return nil
	})
	bySock(t, "UNIX-025 a pipe", func(t *testing.T, ctx context.Context) error {
		r := readablePipe(t)
		refuses(t, ctx, r, errors.ErrUnsupported)
		a, _ := tcpPair(t)
		_, err := asyncio.SockSendFile(ctx, a, r, nil)
		expectError(t, err, syscall.ESPIPE)
		readFrom(t, r, 1)
		return nil
	})
	t.Run("UNIX-031 UNIX-032 an error after the beginning is the error", func(t *testing.T) {
		needDescriptors(t)
		runStreams(t, func(ctx context.Context) error {
			f := newFile(t, letters(5<<20))
			got, n, err := sendsFile(t, ctx, f, nil)
			expectError(t, err, syscall.EIO)
			if n == 0 || errors.Is(err, asyncio.ErrSendfileNotAvailable) {
				t.Errorf("%d bytes, error %v", n, err)
			}
			if at := position(t, f); at != n || int64(len(got)) != n {
				t.Errorf("%d bytes were sent, %d have arrived, the position is %d", n, len(got), at)
			}
			return nil
		}, sendfileFails(func(call int) error {
			if call == 2 {
				return syscall.EIO
			}
			return nil
		}))
	})
	bothWays(t, "UNIX-030 a connection that has gone", func(t *testing.T, ctx context.Context) error {
		a, _ := tcpPair(t)
		a.CloseWrite()
		n, err := asyncio.SockSendFile(ctx, a, newFile(t, letters(1000)), nil)
		expectError(t, err, syscall.EPIPE)
		if n != 0 {
			t.Errorf("%d bytes", n)
		}
		return nil
	})
	bothWays(t, "UNIX-032 a peer that resets", func(t *testing.T, ctx context.Context) error {
		a, b := tcpPair(t)
		f := newFile(t, letters(20<<20))
		sending := begins(ctx, func(ctx context.Context) error {
			n, err := asyncio.SockSendFile(ctx, a, f, nil)
			if n == 0 || n != position(t, f) {
				t.Errorf("%d bytes, the position is %d", n, position(t, f))
			}
			return err
		})
		if _, err := receives(ctx, b, 1<<20); err != nil {
			return err
		}
		b.SetLinger(0)
		b.Close()
		if err := sending.Wait(ctx); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("error %v", err)
		}
		return nil
	})
	bothWays(t, "UNIX-028 UNIX-029 UNIX-032 cancelled while there is no room", func(t *testing.T, ctx context.Context) error {
		a, b := tcpPair(t)
		content := letters(20 << 20)
		f := newFile(t, content)
		var sent int64
		sending := begins(ctx, func(ctx context.Context) (err error) {
			sent, err = asyncio.SockSendFile(ctx, a, f, nil)
			return err
		})
		if _, err := receives(ctx, b, 1); err != nil { // it has begun
			return err
		}
		sending.Cancel(nil)
		expectError(t, sending.Wait(ctx), asyncio.ErrCancelled)
		if at := position(t, f); at != sent || sent == 0 {
			t.Errorf("%d bytes were sent, the position is %d", sent, at)
		}
		// Nothing is lost, and nothing is in the way.
		closing := begins(ctx, func(ctx context.Context) error {
			if err := asyncio.SockSendAll(ctx, a, []byte("end")); err != nil {
				return err
			}
			return a.CloseWrite()
		})
		rest, err := receives(ctx, b, int(sent)-1+len("end"))
		if want := append(bytes.Clone(content[1:sent]), "end"...); !bytes.Equal(rest, want) {
			t.Errorf("%d bytes have arrived, not the %d that were sent", len(rest), len(want))
		}
		return errors.Join(err, closing.Wait(ctx))
	})
	t.Run("cancelled while a piece is read", func(t *testing.T) {
		needDescriptors(t)
		runStreams(t, func(ctx context.Context) error {
			a, b := tcpPair(t)
			f := newFile(t, letters(1000))
			release := make(chan struct{})
			blocking := begins(ctx, func(ctx context.Context) error { // the only thread
				_, err := asyncio.ToThread(ctx, func(context.Context) (int, error) {
					<-release
					return 0, nil
				})
				return err
			})
			sending := begins(ctx, func(ctx context.Context) error {
				_, err := asyncio.SockSendFile(ctx, a, f, nil)
				return err
			})
			sending.Cancel(nil)
			expectError(t, sending.Wait(ctx), asyncio.ErrCancelled)
			close(release)
			expectError(t, blocking.Wait(ctx), nil)
			expectError(t, asyncio.SockSendAll(ctx, a, []byte("end")), nil)
			p, err := receives(ctx, b, 3)
			if string(p) != "end" || position(t, f) != 0 {
				t.Errorf("received %q, the position is %d", p, position(t, f))
			}
			return err
		}, sendfileFails(always), asyncio.WithThreadLimit(1))
	})
	bothWays(t, "UNIX-028 cancelled before it begins", func(t *testing.T, ctx context.Context) error {
		a, b := socketPair(t, syscall.SOCK_STREAM) // which stays full: TCP takes a little more later
		f := newFile(t, letters(1000))
		filling := begins(ctx, func(ctx context.Context) error { return asyncio.SockSendAll(ctx, a, make([]byte, 20<<20)) })
		filling.Cancel(nil)
		expectError(t, filling.Wait(ctx), asyncio.ErrCancelled)
		sending := begins(ctx, func(ctx context.Context) error {
			n, err := asyncio.SockSendFile(ctx, a, f, nil)
			if n != 0 || position(t, f) != 0 {
				t.Errorf("%d bytes, the position is %d", n, position(t, f))
			}
			return err
		})
		sending.Cancel(nil)
		expectError(t, sending.Wait(ctx), asyncio.ErrCancelled)
		b.Close()
		return nil
	})
}
