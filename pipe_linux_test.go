// Pipes, FIFOs, socket pairs and pseudo-terminals as transports and streams.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/goasyncio/asyncio"
)

// A duct is two ends of something: what is written to w can be read from r.
type duct struct {
	name string
	open func(t testing.TB) (r, w *os.File)
}

func pipes(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

func socketpair(t testing.TB) (r, w *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "one"), os.NewFile(uintptr(fds[1]), "two")
}

func fifo(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func opened(t testing.TB, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func fifos(t testing.TB) (r, w *os.File) {
	t.Helper()
	path := fifo(t)
	r = opened(t, path, os.O_RDONLY|syscall.O_NONBLOCK)
	return r, opened(t, path, os.O_WRONLY|syscall.O_NONBLOCK)
}

// terminals returns both ends of a pseudo-terminal that passes on what it gets.
func terminals(t testing.TB) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	ioctl := func(request uintptr, arg unsafe.Pointer) {
		t.Helper()
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), request, uintptr(arg)); errno != 0 {
			t.Skip(errno)
		}
	}
	var unlocked, number int32
	ioctl(syscall.TIOCSPTLCK, unsafe.Pointer(&unlocked))
	ioctl(syscall.TIOCGPTN, unsafe.Pointer(&number))
	slave = opened(t, fmt.Sprint("/dev/pts/", number), os.O_RDWR|syscall.O_NOCTTY)
	var mode syscall.Termios
	ioctl(syscall.TCGETS, unsafe.Pointer(&mode))
	mode.Lflag &^= syscall.ICANON | syscall.ECHO | syscall.ISIG
	mode.Iflag &^= syscall.ICRNL
	mode.Oflag &^= syscall.OPOST
	ioctl(syscall.TCSETS, unsafe.Pointer(&mode))
	return master, slave
}

var ducts = []duct{
	{"pipe", pipes},
	{"fifo", fifos},
	{"socket pair", socketpair},
	{"character device", func(t testing.TB) (r, w *os.File) { m, s := terminals(t); return m, s }},
}

// readPipe gives f to p.
func readPipe(t testing.TB, ctx context.Context, f *os.File, p *witness) *asyncio.Transport {
	t.Helper()
	tr, _, err := asyncio.ConnectReadPipe(ctx, f, func() *witness { return p })
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func writePipe(t testing.TB, ctx context.Context, f *os.File, p *witness) *asyncio.Transport {
	t.Helper()
	tr, _, err := asyncio.ConnectWritePipe(ctx, f, func() *witness { return p })
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestReadPipe(t *testing.T) {
	leavesNothing(t)
	for _, d := range ducts {
		t.Run("EV-068 EV-070 EV-072 EV-077 UNIX-033 UNIX-034 UNIX-035 data, the end and the loss of a "+d.name, func(t *testing.T) {
			r, w := d.open(t)
			p := &witness{keep: true} // a pipe has no other half to keep
			runStreams(t, func(ctx context.Context) error {
				tr := readPipe(t, ctx, r, p)
				if !onPortable { // which may go on using it
					if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
						t.Errorf("the file is open still: %v", err)
					}
				}
				if tr.LocalAddr().String() != r.Name() || tr.CanWriteEOF() || !tr.IsReading() || !strings.HasPrefix(tr.String(), "<Transport open "+r.Name()) {
					t.Errorf("it is %v", tr)
				}
				_, err := tr.Write([]byte("x"))
				mistake(t, err, asyncio.ErrBadArgument)
				mistake(t, tr.WriteLines(nil), asyncio.ErrBadArgument)
				mistake(t, tr.WriteEOF(), asyncio.ErrBadArgument)
				mistake(t, tr.StartTLS(ctx, nil, nil), asyncio.ErrBadArgument)
				w.WriteString("one")
				comesTrue(t, ctx, "data", func() bool { return string(p.data) == "one" })
				w.WriteString("two")
				comesTrue(t, ctx, "data", func() bool { return string(p.data) == "onetwo" })
				w.Close()
				comesTrue(t, ctx, "the loss", p.lost)
				return nil
			})
			p.told(t, "made data eof lost")
			if p.err != nil {
				t.Errorf("lost by %v", p.err)
			}
		})
	}
	t.Run("UNIX-036 UNIX-038 UNIX-039 UNIX-040 pausing and closing, twice", func(t *testing.T) {
		r, w := pipes(t)
		defer w.Close()
		p := new(witness)
		runStreams(t, func(ctx context.Context) error {
			tr := readPipe(t, ctx, r, p)
			tr.PauseReading()
			tr.PauseReading()
			w.WriteString("data")
			for range 10 {
				asyncio.Yield(ctx)
			}
			p.told(t, "made")
			tr.ResumeReading()
			tr.ResumeReading()
			comesTrue(t, ctx, "data", func() bool { return string(p.data) == "data" })
			tr.Close()
			tr.Close()
			tr.PauseReading()
			tr.ResumeReading()
			comesTrue(t, ctx, "the loss", p.lost)
			tr.PauseReading()
			tr.ResumeReading()
			return nil
		})
		p.told(t, "made data lost")
		if _, err := w.WriteString("x"); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the pipe is open still: %v", err)
		}
	})
	t.Run("a fifo that nobody has opened to write to", func(t *testing.T) {
		path := fifo(t)
		r := opened(t, path, os.O_RDONLY|syscall.O_NONBLOCK)
		p := new(witness)
		runStreams(t, func(ctx context.Context) error {
			readPipe(t, ctx, r, p)
			for range 10 {
				asyncio.Yield(ctx)
			}
			p.told(t, "made")
			w := opened(t, path, os.O_WRONLY)
			w.WriteString("late")
			comesTrue(t, ctx, "data", func() bool { return string(p.data) == "late" })
			p.told(t, "made data")
			w.Close()
			comesTrue(t, ctx, "the loss", p.lost)
			return nil
		})
		p.told(t, "made data eof lost")
	})
	t.Run("UNIX-037 a read error", func(t *testing.T) {
		r, w := socketpair(t)
		p := new(witness)
		runStreams(t, func(ctx context.Context) error {
			other := new(witness)
			end := writePipe(t, ctx, w, other)
			r.WriteString("unread") // so that closing resets
			readPipe(t, ctx, r, p)
			end.Abort()
			comesTrue(t, ctx, "the loss", p.lost)
			return nil
		})
		p.told(t, "made lost")
		if !errors.Is(p.err, syscall.ECONNRESET) {
			t.Errorf("lost by %v", p.err)
		}
	})
	t.Run("the end of the loop", func(t *testing.T) {
		r, w := pipes(t)
		defer w.Close()
		p := new(witness)
		runStreams(t, func(ctx context.Context) error { readPipe(t, ctx, r, p); return nil })
		p.told(t, "made lost")
		if s := p.tr.String(); !strings.HasPrefix(s, "<Transport closed |0") {
			t.Error(s)
		}
	})
}

func TestWritePipe(t *testing.T) {
	leavesNothing(t)
	for _, d := range ducts {
		t.Run("EV-069 EV-073 EV-078 UNIX-041 UNIX-045 UNIX-052 what is written to a "+d.name, func(t *testing.T) {
			r, w := d.open(t)
			defer r.Close()
			p := new(witness)
			runStreams(t, func(ctx context.Context) error {
				tr := writePipe(t, ctx, w, p)
				if tr.IsReading() || !tr.CanWriteEOF() || tr.RemoteAddr().String() != w.Name() {
					t.Errorf("it is %v", tr)
				}
				tr.Write(nil)
				tr.Write([]byte("one "))
				tr.WriteLines([][]byte{[]byte("two"), nil, []byte(" three")})
				if tr.WriteBufferSize() != 0 {
					t.Errorf("%d bytes wait", tr.WriteBufferSize())
				}
				got := make([]byte, len("one two three"))
				if _, err := io.ReadFull(r, got); string(got) != "one two three" {
					t.Errorf("got %q, %v", got, err)
				}
				if err := tr.WriteEOF(); err != nil {
					t.Errorf("WriteEOF = %v", err)
				}
				asyncio.Yield(ctx)
				p.told(t, "made lost")
				if _, err := tr.Write([]byte("x")); err == nil {
					t.Error("it can be written to still")
				}
				return nil
			})
			if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("after the end: %d, %v", n, err)
			}
			if p.err != nil {
				t.Errorf("lost by %v", p.err)
			}
		})
		t.Run("EV-075 UNIX-047 the reader of a "+d.name+" goes, with nothing pending", func(t *testing.T) {
			r, w := d.open(t)
			p := new(witness)
			runStreams(t, func(ctx context.Context) error {
				tr := writePipe(t, ctx, w, p)
				r.Close()
				comesTrue(t, ctx, "the loss", p.lost)
				if n, err := tr.Write([]byte("x")); n != 0 || err == nil {
					t.Errorf("Write = %d, %v", n, err)
				}
				return nil
			})
			p.told(t, "made lost")
			if p.err != nil {
				t.Errorf("lost by %v", p.err)
			}
		})
	}
	full := func(t *testing.T, test func(ctx context.Context, tr *asyncio.Transport, p *witness, r *os.File, size int) error) *witness {
		r, w := pipes(t)
		defer r.Close()
		p := new(witness)
		runStreams(t, func(ctx context.Context) error {
			tr := writePipe(t, ctx, w, p)
			return test(ctx, tr, p, r, fill(t, ctx, tr))
		})
		return p
	}
	t.Run("UNIX-042 UNIX-043 UNIX-044 UNIX-049 UNIX-050 UNIX-053 UNIX-054 Close waits for what is pending", func(t *testing.T) {
		p := full(t, func(ctx context.Context, tr *asyncio.Transport, p *witness, r *os.File, size int) error {
			tr.Write([]byte("the end"))
			tr.Close()
			tr.Close()
			asyncio.Yield(ctx)
			p.told(t, "made pause")
			got, err := asyncio.ToThread(ctx, func(context.Context) ([]byte, error) { return io.ReadAll(r) })
			if len(got) != size+7 || !strings.HasSuffix(string(got), "the end") {
				t.Errorf("%d bytes came, %d were sent", len(got), size+7)
			}
			comesTrue(t, ctx, "the loss", p.lost)
			return err
		})
		if p.err != nil {
			t.Errorf("lost by %v", p.err)
		}
	})
	t.Run("UNIX-046 UNIX-048 UNIX-051 the reader goes with data pending", func(t *testing.T) {
		p := full(t, func(ctx context.Context, tr *asyncio.Transport, p *witness, r *os.File, size int) error {
			r.Close()
			comesTrue(t, ctx, "the loss", p.lost)
			if _, err := tr.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("Write = %v", err)
			}
			return nil
		})
		if !errors.Is(p.err, syscall.EPIPE) {
			t.Errorf("lost by %v", p.err)
		}
	})
	t.Run("UNIX-055 Abort drops data", func(t *testing.T) {
		p := full(t, func(ctx context.Context, tr *asyncio.Transport, p *witness, r *os.File, size int) error {
			tr.Abort()
			asyncio.Yield(ctx)
			p.told(t, "made pause lost")
			got, err := io.ReadAll(r)
			if len(got) >= size {
				t.Error("nothing was dropped")
			}
			return err
		})
		if p.err != nil {
			t.Errorf("lost by %v", p.err)
		}
	})
	t.Run("EV-076 unread data is not taken for a hang-up", func(t *testing.T) {
		path := fifo(t)
		r := opened(t, path, os.O_RDONLY|syscall.O_NONBLOCK)
		defer r.Close()
		w := opened(t, path, os.O_RDWR|syscall.O_NONBLOCK) // it could be read from, too
		p := new(witness)
		runStreams(t, func(ctx context.Context) error {
			tr := writePipe(t, ctx, w, p)
			tr.Write([]byte("1"))
			for range 10 {
				asyncio.Yield(ctx)
			}
			if got := make([]byte, 1); tr.IsClosing() {
				t.Errorf("told %q, %v", p.log, got)
			} else if _, err := r.Read(got); string(got) != "1" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			tr.Write([]byte("2"))
			for range 10 {
				asyncio.Yield(ctx)
			}
			if tr.IsClosing() {
				t.Errorf("told %q", p.log)
			}
			return nil
		})
		p.told(t, "made lost")
	})
}

func TestPipeBothWays(t *testing.T) {
	leavesNothing(t)
	t.Run("EV-074 a pseudo-terminal in both directions at once", func(t *testing.T) {
		master, slave := terminals(t)
		defer slave.Close()
		fd, err := syscall.Dup(int(master.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		syscall.CloseOnExec(fd)
		in, out := new(witness), new(witness)
		runStreams(t, func(ctx context.Context) error {
			rd := readPipe(t, ctx, master, in)
			wr := writePipe(t, ctx, os.NewFile(uintptr(fd), "master"), out)
			for i := range 5 {
				wr.Write([]byte("ping"))
				got := make([]byte, 4)
				if _, err := io.ReadFull(slave, got); string(got) != "ping" {
					t.Errorf("the slave got %q, %v", got, err)
				}
				slave.WriteString("pong")
				comesTrue(t, ctx, "the answer", func() bool { return len(in.data) == 4*(i+1) })
			}
			slave.Close()
			comesTrue(t, ctx, "the losses", func() bool { return in.lost() && out.lost() })
			if rd.IsReading() {
				t.Error("it reads still")
			}
			return nil
		})
		in.told(t, "made data eof lost")
		out.told(t, "made lost")
		if in.err != nil || out.err != nil {
			t.Errorf("lost by %v and %v", in.err, out.err)
		}
	})
}

func TestPipeRefused(t *testing.T) {
	leavesNothing(t)
	t.Run("EV-079 regular files are refused and left open", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			f, err := os.Create(filepath.Join(t.TempDir(), "file"))
			if err != nil {
				return err
			}
			defer f.Close()
			dir, err := os.Open(t.TempDir())
			if err != nil {
				return err
			}
			defer dir.Close()
			for _, f := range []*os.File{f, dir, nil} {
				_, err := asyncio.OpenReadPipe(ctx, f)
				mistake(t, err, asyncio.ErrBadArgument)
				_, err = asyncio.OpenWritePipe(ctx, f)
				mistake(t, err, asyncio.ErrBadArgument)
				_, _, err = asyncio.ConnectReadPipe(ctx, f, func() *witness { return nil })
				mistake(t, err, asyncio.ErrBadArgument)
				_, _, err = asyncio.ConnectWritePipe(ctx, f, func() *witness { return nil })
				mistake(t, err, asyncio.ErrBadArgument)
			}
			_, err = f.WriteString("open still")
			return err
		})
	})
	t.Run("no factory, or no loop", func(t *testing.T) {
		r, w := pipes(t)
		defer r.Close()
		defer w.Close()
		runStreams(t, func(ctx context.Context) error {
			_, _, err := asyncio.ConnectReadPipe[*witness](ctx, r, nil)
			mistake(t, err, asyncio.ErrBadArgument)
			return nil
		})
		_, _, err := asyncio.ConnectReadPipe(t.Context(), r, func() *witness { return nil })
		mistake(t, err, asyncio.ErrOutsideTask)
		if _, err := w.WriteString("open still"); err != nil {
			t.Error(err)
		}
	})
	t.Run("a closed file", func(t *testing.T) {
		r, w := pipes(t)
		r.Close()
		w.Close()
		runStreams(t, func(ctx context.Context) error {
			if _, err := asyncio.OpenReadPipe(ctx, r); !errors.Is(err, os.ErrClosed) {
				t.Errorf("OpenReadPipe = %v", err)
			}
			return nil
		})
	})
	t.Run("a factory that panics", func(t *testing.T) {
		r, w := pipes(t)
		defer w.Close()
		runStreams(t, func(ctx context.Context) error {
			defer func() {
				if p := recover(); p != "oh" {
					t.Errorf("panic: %v", p)
				}
			}()
			asyncio.ConnectReadPipe(ctx, r, func() *witness { panic("oh") })
			return nil
		})
		if _, err := w.WriteString("x"); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the pipe is open still: %v", err)
		}
	})
}

func TestPipeStreams(t *testing.T) {
	leavesNothing(t)
	for _, d := range ducts {
		t.Run("a "+d.name, func(t *testing.T) {
			rf, wf := d.open(t)
			runStreams(t, func(ctx context.Context) error {
				r, err := asyncio.OpenReadPipe(ctx, rf)
				if err != nil {
					return err
				}
				w, err := asyncio.OpenWritePipe(ctx, wf)
				if err != nil {
					return err
				}
				data := pattern(1 << 20)
				writing := asyncio.Go(ctx, func(ctx context.Context) error {
					for p := range slices.Chunk(data, 10_000) {
						if _, err := w.Write(p); err != nil {
							return err
						}
						if err := w.Drain(ctx); err != nil {
							return err
						}
					}
					w.Close()
					return w.WaitClosed(ctx)
				})
				got, err := r.ReadExactly(ctx, len(data))
				sees(t, got, err, string(data), nil)
				if err := writing.Wait(ctx); err != nil {
					return err
				}
				got, err = r.ReadAll(ctx)
				sees(t, got, err, "", nil)
				return r.Close()
			})
		})
	}
	t.Run("the reader goes", func(t *testing.T) {
		rf, wf := pipes(t)
		runStreams(t, func(ctx context.Context) error {
			w, err := asyncio.OpenWritePipe(ctx, wf)
			if err != nil {
				return err
			}
			rf.Close()
			if err := w.WaitClosed(ctx); err != nil { // nothing was lost
				t.Errorf("WaitClosed = %v", err)
			}
			if _, err := w.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("Write = %v", err)
			}
			if err := w.Drain(ctx); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("Drain = %v", err)
			}
			return nil
		})
	})
	t.Run("blocking files block again afterwards", func(t *testing.T) {
		r, w := socketpair(t)
		defer w.Close()
		fd, err := syscall.Dup(int(r.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fd)
		blocks := func() bool {
			flags, _, _ := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
			return flags&syscall.O_NONBLOCK == 0
		}
		runStreams(t, func(ctx context.Context) error {
			s, err := asyncio.OpenReadPipe(ctx, r)
			if err != nil {
				return err
			}
			if blocks() {
				t.Error("it blocks")
			}
			return s.Close()
		})
		if !blocks() {
			t.Error("it does not block")
		}
	})
}
