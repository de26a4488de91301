// Stream readers that are fed by hand: what each kind of read returns, what it
// leaves, and that no reader does anything but what a dumb model of it does.

package asyncio_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// withReader runs test with a reader that is fed by hand.
func withReader(t *testing.T, limit int, test func(ctx context.Context, r *asyncio.StreamReader)) {
	t.Helper()
	asynciotest.Run(t, func(ctx context.Context) error {
		test(ctx, asyncio.NewStreamReader(ctx, limit))
		return nil
	})
}

// feed feeds r with chunks.
func feed(t *testing.T, r *asyncio.StreamReader, chunks ...string) {
	t.Helper()
	for _, c := range chunks {
		if err := r.FeedData([]byte(c)); err != nil {
			t.Fatalf("FeedData(%q) = %v", c, err)
		}
	}
}

// feedEOF ends r.
func feedEOF(t *testing.T, r *asyncio.StreamReader) {
	t.Helper()
	if err := r.FeedEOF(); err != nil {
		t.Fatalf("FeedEOF = %v", err)
	}
}

// sees checks what a read has returned.
func sees(t *testing.T, got []byte, err error, want string, wantErr error) {
	t.Helper()
	if string(got) != want || !errors.Is(err, wantErr) {
		t.Fatalf("got %q, %v, want %q, %v", abridged(string(got)), err, abridged(want), wantErr)
	}
}

func abridged(s string) string {
	if len(s) > 100 {
		return fmt.Sprintf("%s... (%d bytes)", s[:100], len(s))
	}
	return s
}

// readSome is Read into memory of its own.
func readSome(ctx context.Context, r *asyncio.StreamReader, n int) ([]byte, error) {
	p := make([]byte, n)
	n, err := r.Read(ctx, p)
	return p[:n], err
}

// inTask starts a read in a task of its own and lets it come to its suspension.
func inTask(t *testing.T, ctx context.Context, read asyncio.Coroutine[[]byte]) *asyncio.Task[[]byte] {
	t.Helper()
	task := asyncio.CreateTask(ctx, read, asyncio.WithName("reading"))
	asyncio.Yield(ctx)
	if task.Done() {
		t.Fatalf("the read did not wait: %v", task)
	}
	return task
}

// overrun checks that err is a LimitOverrunError and returns it.
func overrun(t *testing.T, err error, consumed int, found bool) *asyncio.LimitOverrunError {
	t.Helper()
	var e *asyncio.LimitOverrunError
	if !errors.As(err, &e) || e.Consumed != consumed || e.Found != found {
		t.Fatalf("error is %#v, want a LimitOverrunError with Consumed %d and Found %t", err, consumed, found)
	}
	return e
}

// incomplete checks that err is an IncompleteReadError.
func incomplete(t *testing.T, err error, partial string, expected int) {
	t.Helper()
	var e *asyncio.IncompleteReadError
	if !errors.As(err, &e) || string(e.Partial) != partial || e.Expected != expected {
		t.Fatalf("error is %#v, want an IncompleteReadError with %q of %d", err, partial, expected)
	}
}

var errBroken = errors.New("broken")

func TestStreamReaderRead(t *testing.T) {
	leavesNothing(t)
	t.Run("STR-006 reading zero bytes gives nothing and keeps the buffer", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			n, err := r.Read(ctx, nil) // does not wait
			if n != 0 || err != nil {
				t.Errorf("Read = %d, %v", n, err)
			}
			feed(t, r, "data")
			if n, err = r.Read(ctx, nil); n != 0 || err != nil || r.Buffered() != 4 {
				t.Errorf("Read = %d, %v, and %d are left", n, err, r.Buffered())
			}
		})
	})
	t.Run("STR-007 reading gives what is there, at most as much as asked for", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "12345")
			got, err := readSome(ctx, r, 30)
			sees(t, got, err, "12345", nil)
			feed(t, r, "12345", "678")
			got, err = readSome(ctx, r, 6)
			sees(t, got, err, "123456", nil)
			got, err = readSome(ctx, r, 6)
			sees(t, got, err, "78", nil)
		})
	})
	t.Run("STR-008 reading suspends until something arrives", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			task := inTask(t, ctx, func(ctx context.Context) ([]byte, error) { return readSome(ctx, r, 30) })
			feed(t, r, "data")
			got, err := task.Await(ctx)
			sees(t, got, err, "data", nil)
		})
	})
	t.Run("STR-009 reading to the end collects every chunk", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "a\n")
			task := inTask(t, ctx, r.ReadAll)
			for _, chunk := range []string{"b", "c\n"} {
				feed(t, r, chunk)
				asyncio.Yield(ctx)
			}
			if task.Done() {
				t.Fatal("ReadAll ended before the stream did")
			}
			feedEOF(t, r)
			got, err := task.Await(ctx)
			sees(t, got, err, "a\nbc\n", nil)
		})
	})
	t.Run("STR-010 reading at the end gives nothing", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feedEOF(t, r)
			got, err := readSome(ctx, r, 30)
			sees(t, got, err, "", io.EOF)
			got, err = r.ReadAll(ctx)
			sees(t, got, err, "", nil)
		})
	})
	t.Run("STR-010 the end wakes who waits", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			task := inTask(t, ctx, func(ctx context.Context) ([]byte, error) { return readSome(ctx, r, 30) })
			feedEOF(t, r)
			got, err := task.Await(ctx)
			sees(t, got, err, "", io.EOF)
		})
	})
	t.Run("STR-011 a stored error is returned", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "line\n")
			got, err := readSome(ctx, r, 2)
			sees(t, got, err, "li", nil)
			if err := r.SetError(errBroken); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				got, err = readSome(ctx, r, 2)
				sees(t, got, err, "", errBroken)
				got, err = r.ReadAll(ctx)
				sees(t, got, err, "", errBroken)
				got, err = r.Peek(ctx, 1)
				sees(t, got, err, "", errBroken)
			}
			if r.Err() != errBroken {
				t.Errorf("Err = %v", r.Err())
			}
		})
	})
	t.Run("STR-012 the limit does not bound reads of bytes", func(t *testing.T) {
		withReader(t, 3, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "chunk")
			got, err := readSome(ctx, r, 5)
			sees(t, got, err, "chunk", nil)
			feed(t, r, "long data")
			feedEOF(t, r)
			got, err = r.ReadAll(ctx)
			sees(t, got, err, "long data", nil)
		})
	})
}

func TestStreamReaderReadLine(t *testing.T) {
	leavesNothing(t)
	t.Run("STR-013 a line may span chunks", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "chunk1 ")
			task := inTask(t, ctx, r.ReadLine)
			for _, chunk := range []string{"chunk2 ", "chunk3 ", "\n chunk4"} {
				if task.Done() {
					t.Fatal("ReadLine ended before the line did")
				}
				feed(t, r, chunk)
				asyncio.Yield(ctx)
			}
			got, err := task.Await(ctx)
			sees(t, got, err, "chunk1 chunk2 chunk3 \n", nil)
			if r.Buffered() != len(" chunk4") {
				t.Errorf("%d bytes are left", r.Buffered())
			}
		})
	})
	t.Run("STR-014 what follows the line is kept", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "line1\nline2\n")
			got, err := r.ReadLine(ctx)
			sees(t, got, err, "line1\n", nil)
			feedEOF(t, r)
			got, err = r.ReadAll(ctx)
			sees(t, got, err, "line2\n", nil)
		})
	})
	t.Run("STR-015 the end gives the partial line", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "some data")
			feedEOF(t, r)
			got, err := r.ReadLine(ctx)
			sees(t, got, err, "some data", nil)
			got, err = r.ReadLine(ctx)
			sees(t, got, err, "", io.EOF)
		})
	})
	t.Run("STR-016 the end without data gives nothing", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feedEOF(t, r)
			got, err := r.ReadLine(ctx)
			sees(t, got, err, "", io.EOF)
		})
	})
	t.Run("STR-017 reads of lines and of bytes can be mixed", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "line1\nline2\nline3\nrest")
			got, err := r.ReadLine(ctx)
			sees(t, got, err, "line1\n", nil)
			got, err = readSome(ctx, r, 7)
			sees(t, got, err, "line2\nl", nil)
			got, err = r.ReadLine(ctx)
			sees(t, got, err, "ine3\n", nil)
			got, err = readSome(ctx, r, 100)
			sees(t, got, err, "rest", nil)
		})
	})
	t.Run("STR-018 a line over the limit is an error, there before the read", func(t *testing.T) {
		withReader(t, 3, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "li", "ne1\nline2\n")
			_, err := r.ReadLine(ctx)
			overrun(t, err, 5, true)
		})
	})
	t.Run("STR-018 a line over the limit is an error, coming during the read", func(t *testing.T) {
		withReader(t, 7, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "chunk1")
			task := inTask(t, ctx, r.ReadLine)
			feed(t, r, "chunk2")
			_, err := task.Await(ctx)
			overrun(t, err, len("chunk1chunk2"), false)
		})
	})
	t.Run("STR-019 following lines survive a line over the limit", func(t *testing.T) {
		withReader(t, 5, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "too long\nfine\n")
			_, err := r.ReadLine(ctx)
			e := overrun(t, err, len("too long"), true)
			if err := r.Discard(e.Consumed + 1); err != nil {
				t.Fatal(err)
			}
			got, err := r.ReadLine(ctx)
			sees(t, got, err, "fine\n", nil)
		})
	})
	t.Run("STR-020 a line over the limit without its newline is kept", func(t *testing.T) {
		withReader(t, 3, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "data")
			for range 2 {
				_, err := r.ReadLine(ctx)
				if e := overrun(t, err, 4, false); string(e.Buffered) != "data" || r.Buffered() != 4 {
					t.Errorf("the error has %q, %d bytes are left", e.Buffered, r.Buffered())
				}
			}
			feed(t, r, " more\n")
			r.SetLimit(100)
			got, err := r.ReadLine(ctx)
			sees(t, got, err, "data more\n", nil)
		})
	})
	t.Run("STR-021 the limit is exact", func(t *testing.T) {
		withReader(t, 7, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "1234567\n12345678\n")
			got, err := r.ReadLine(ctx)
			sees(t, got, err, "1234567\n", nil)
			_, err = r.ReadLine(ctx)
			overrun(t, err, 8, true)
		})
	})
	t.Run("STR-022 a stored error is returned", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "line\n")
			r.SetError(errBroken)
			got, err := r.ReadLine(ctx)
			sees(t, got, err, "", errBroken)
		})
	})
	t.Run("STR-023 P492-002 Lines yields lines and a final partial one", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "line1\nline2\nline3")
			feedEOF(t, r)
			var lines []string
			for line, err := range r.Lines(ctx) {
				if err != nil {
					t.Fatal(err)
				}
				lines = append(lines, string(line))
			}
			if want := []string{"line1\n", "line2\n", "line3"}; !slices.Equal(lines, want) {
				t.Errorf("lines are %q, want %q", lines, want)
			}
		})
	})
	t.Run("STR-023 Lines yields an error and ends, and what follows can be read", func(t *testing.T) {
		withReader(t, 4, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "one\nthree\nfive\n")
			walk := func() (events []string) {
				for line, err := range r.Lines(ctx) {
					events = append(events, fmt.Sprintf("%q %v", line, err != nil))
					if len(events) == 5 {
						break // it goes on after an error
					}
				}
				return events
			}
			if got, want := walk(), []string{`"one\n" false`, `"" true`}; !slices.Equal(got, want) {
				t.Errorf("first walk gave %q, want %q", got, want)
			}
			r.Discard(len("three\n"))
			feedEOF(t, r)
			if got, want := walk(), []string{`"five\n" false`}; !slices.Equal(got, want) {
				t.Errorf("second walk gave %q, want %q", got, want)
			}
		})
	})
	t.Run("STR-023 a walk over Lines can be left", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "one\ntwo\n")
			for range r.Lines(ctx) {
				break
			}
			got, err := r.ReadLine(ctx)
			sees(t, got, err, "two\n", nil)
		})
	})
}

func TestStreamReaderReadUntil(t *testing.T) {
	leavesNothing(t)
	seps := func(list ...string) (all [][]byte) {
		for _, s := range list {
			all = append(all, []byte(s))
		}
		return all
	}
	t.Run("STR-024 a separator may span chunks", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "some -")
			task := inTask(t, ctx, func(ctx context.Context) ([]byte, error) { return r.ReadUntil(ctx, []byte("--;")) })
			for _, chunk := range []string{"-", ";more"} {
				if task.Done() {
					t.Fatal("ReadUntil ended before the separator")
				}
				feed(t, r, chunk)
				asyncio.Yield(ctx)
			}
			got, err := task.Await(ctx)
			sees(t, got, err, "some --;", nil)
			got, err = readSome(ctx, r, 100)
			sees(t, got, err, "more", nil)
		})
	})
	t.Run("STR-025 repeated prefixes of the separator are handled", func(t *testing.T) {
		const text = "aaaaaaaab"
		for split := range len(text) {
			withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
				feed(t, r, text[:split])
				task := asyncio.CreateTask(ctx, func(ctx context.Context) ([]byte, error) { return r.ReadUntil(ctx, []byte("aaab")) })
				asyncio.Yield(ctx)
				feed(t, r, text[split:])
				got, err := task.Await(ctx)
				sees(t, got, err, text, nil)
			})
		}
	})
	t.Run("STR-026 a separator at the start gives just the separator", func(t *testing.T) {
		withReader(t, 1, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "--;rest")
			got, err := r.ReadUntil(ctx, []byte("--;"))
			sees(t, got, err, "--;", nil)
		})
	})
	t.Run("STR-027 no separator, or an empty one, is a mistake", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "data")
			for _, bad := range [][][]byte{nil, {}, {nil}, seps("a", "")} {
				_, err := r.ReadUntil(ctx, bad...)
				mistake(t, err, asyncio.ErrBadArgument)
			}
			if r.Buffered() != 4 {
				t.Errorf("%d bytes are left", r.Buffered())
			}
		})
	})
	t.Run("STR-028 the end gives an incomplete read with the partial data", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "some data")
			feedEOF(t, r)
			_, err := r.ReadUntil(ctx, []byte("@"))
			incomplete(t, err, "some data", -1)
			if !r.AtEOF() {
				t.Error("the partial data was not consumed")
			}
			_, err = r.ReadUntil(ctx, []byte("@"))
			incomplete(t, err, "", -1)
		})
	})
	t.Run("STR-029 a limit overrun leaves the data in the buffer", func(t *testing.T) {
		withReader(t, 4, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "some dataAA")
			_, err := r.ReadUntil(ctx, []byte("AAA"))
			if e := overrun(t, err, 9, false); string(e.Buffered) != "some dataAA" || !errors.Is(err, bufio.ErrTooLong) {
				t.Errorf("error is %#v", err)
			}
			got, err := readSome(ctx, r, 100)
			sees(t, got, err, "some dataAA", nil)
		})
	})
	t.Run("STR-030 overruns with and without the separator are told apart", func(t *testing.T) {
		withReader(t, 4, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "some dataA")
			_, err := r.ReadUntil(ctx, []byte("AA"))
			overrun(t, err, 9, false)
			feed(t, r, "A")
			_, err = r.ReadUntil(ctx, []byte("AA"))
			overrun(t, err, 9, true)
		})
	})
	t.Run("STR-031 of several separators the one that ends first wins", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			for _, order := range [][][]byte{seps("\r", "\n", "\r\n"), seps("\r\n", "\n", "\r")} {
				feed(t, r, "a\nb\rc\r\nd")
				var parts []string
				for range 4 {
					got, err := r.ReadUntil(ctx, order...)
					if err != nil {
						t.Fatal(err)
					}
					parts = append(parts, string(got))
				}
				if want := []string{"a\n", "b\r", "c\r", "\n"}; !slices.Equal(parts, want) {
					t.Errorf("parts are %q, want %q", parts, want)
				}
				got, err := readSome(ctx, r, 9)
				sees(t, got, err, "d", nil)
			}
		})
	})
	t.Run("STR-032 the limit is judged on the shortest match", func(t *testing.T) {
		withReader(t, 3, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "some data!")
			_, err := r.ReadUntil(ctx, seps("A", "a", "e data!")...)
			// "some d" precedes "a"; a longer match would have begun within the limit.
			overrun(t, err, 6, true)
			r.SetLimit(7)
			for _, order := range [][][]byte{seps("a!", "data!"), seps("data!", "a!")} {
				_, err = r.ReadUntil(ctx, order...) // both end at the same place
				overrun(t, err, 8, true)
			}
		})
	})
	t.Run("STR-033 buffers shorter than the longest separator are handled", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "d")
			task := inTask(t, ctx, func(ctx context.Context) ([]byte, error) {
				return r.ReadUntil(ctx, seps("ata", "long separator")...)
			})
			feed(t, r, "a")
			asyncio.Yield(ctx)
			feed(t, r, "ta")
			got, err := task.Await(ctx)
			sees(t, got, err, "data", nil)
		})
	})
	t.Run("a wait that another read has overtaken searches from the start", func(t *testing.T) {
		if onPortable {
			t.Skip("bytes have to arrive in the pass in which they are written, and go through a goroutine here")
		}
		runStreams(t, func(ctx context.Context) error {
			r, w, end := connected(t, ctx, "unix", socketPath(t))
			defer end()
			w.WriteString("12345678")
			task := inTask(t, ctx, func(ctx context.Context) ([]byte, error) { return r.ReadUntil(ctx, []byte("\r\n")) })
			for range 5 { // until it waits again
				asyncio.Yield(ctx)
			}
			w.WriteString("9")
			asyncio.Yield(ctx)
			asyncio.Yield(ctx) // it is awake, but it is this task's turn
			got, err := readSome(ctx, r, 100)
			sees(t, got, err, "12345678", nil)
			w.WriteString("a\r\nb")
			got, err = task.Await(ctx)
			sees(t, got, err, "9a\r\n", nil)
			return nil
		})
	})
}

func TestStreamReaderReadExactly(t *testing.T) {
	leavesNothing(t)
	t.Run("STR-034 exactly zero bytes are nothing", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			got, err := r.ReadExactly(ctx, 0) // does not wait
			sees(t, got, err, "", nil)
			feed(t, r, "data")
			got, err = r.ReadExactly(ctx, 0)
			sees(t, got, err, "", nil)
			if r.Buffered() != 4 {
				t.Errorf("%d bytes are left", r.Buffered())
			}
		})
	})
	t.Run("STR-035 a negative count is a mistake and loses nothing", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "data")
			_, err := r.ReadExactly(ctx, -1)
			mistake(t, err, asyncio.ErrBadArgument)
			_, err = r.Peek(ctx, -1)
			mistake(t, err, asyncio.ErrBadArgument)
			mistake(t, r.Discard(-1), asyncio.ErrBadArgument)
			mistake(t, r.Discard(5), asyncio.ErrBadArgument)
			if r.Buffered() != 4 {
				t.Errorf("%d bytes are left", r.Buffered())
			}
		})
	})
	t.Run("STR-036 an exact read suspends until it is complete and keeps the surplus", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			task := inTask(t, ctx, func(ctx context.Context) ([]byte, error) { return r.ReadExactly(ctx, 7) })
			for _, chunk := range []string{"1234", "56", "789"} {
				if task.Done() {
					t.Fatal("ReadExactly ended early")
				}
				feed(t, r, chunk)
				asyncio.Yield(ctx)
			}
			got, err := task.Await(ctx)
			sees(t, got, err, "1234567", nil)
			if r.Buffered() != 2 {
				t.Errorf("%d bytes are left", r.Buffered())
			}
		})
	})
	t.Run("STR-037 exact reads ignore the limit", func(t *testing.T) {
		withReader(t, 3, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "chunk")
			got, err := r.ReadExactly(ctx, 5)
			sees(t, got, err, "chunk", nil)
		})
	})
	t.Run("STR-038 the end gives an incomplete read and empties the buffer", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			task := inTask(t, ctx, func(ctx context.Context) ([]byte, error) { return r.ReadExactly(ctx, 8) })
			feed(t, r, "part")
			feedEOF(t, r)
			_, err := task.Await(ctx)
			incomplete(t, err, "part", 8)
			if !errors.Is(err, io.ErrUnexpectedEOF) || !r.AtEOF() {
				t.Errorf("error is %v, at the end is %t", err, r.AtEOF())
			}
		})
	})
	t.Run("STR-039 a stored error is returned", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "data")
			r.SetError(errBroken)
			got, err := r.ReadExactly(ctx, 2)
			sees(t, got, err, "", errBroken)
		})
	})
}

func TestStreamReaderState(t *testing.T) {
	leavesNothing(t)
	t.Run("STR-040 AtEOF only after the end, with an empty buffer", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			var seen []bool
			look := func() { seen = append(seen, r.AtEOF()) }
			look()
			feed(t, r, "some data\n")
			look()
			r.ReadLine(ctx)
			look()
			feed(t, r, "some data\n")
			feedEOF(t, r)
			look()
			r.ReadLine(ctx)
			look()
			if want := []bool{false, false, false, false, true}; !slices.Equal(seen, want) {
				t.Errorf("AtEOF was %v, want %v", seen, want)
			}
		})
	})
	t.Run("STR-041 the limit must be positive", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			panicsWith(t, asyncio.ErrBadArgument, func() { asyncio.NewStreamReader(ctx, -1) })
			panicsWith(t, asyncio.ErrBadArgument, func() { r.SetLimit(0) })
			panicsWith(t, asyncio.ErrBadArgument, func() { r.SetLimit(-1) })
			if r.Limit() != 64<<10 {
				t.Errorf("Limit = %d", r.Limit())
			}
			r.SetLimit(5)
			if r.Limit() != 5 {
				t.Errorf("Limit = %d after SetLimit(5)", r.Limit())
			}
		})
		panicsWith(t, asyncio.ErrOutsideTask, func() { asyncio.NewStreamReader(context.Background(), 0) })
	})
	t.Run("STR-042 feeding nothing does nothing", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			task := inTask(t, ctx, func(ctx context.Context) ([]byte, error) { return readSome(ctx, r, 4) })
			feed(t, r, "")
			asyncio.Yield(ctx)
			asyncio.Yield(ctx)
			if task.Done() || r.Buffered() != 0 {
				t.Fatalf("it woke %v", task)
			}
			feed(t, r, "data")
			got, err := task.Await(ctx)
			sees(t, got, err, "data", nil)
		})
	})
	t.Run("the zero value is not usable", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, _ *asyncio.StreamReader) {
			var r asyncio.StreamReader
			_, err := r.ReadLine(ctx)
			for _, err := range []error{err, r.FeedData(nil), r.FeedEOF(), r.SetError(errBroken), r.Discard(0), r.Close()} {
				mistake(t, err, asyncio.ErrOutsideTask)
			}
		})
	})
	t.Run("STR-043 an error wakes the task that waits", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			task := inTask(t, ctx, r.ReadLine)
			if err := r.SetError(errBroken); err != nil {
				t.Fatal(err)
			}
			got, err := task.Await(ctx)
			sees(t, got, err, "", errBroken)
			mistake(t, r.SetError(nil), asyncio.ErrBadArgument)
		})
	})
	t.Run("a read that was woken and wants more hears of no error that came in between", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) { // as in asyncio
			task := asyncio.CreateTask(ctx, r.ReadLine)
			asyncio.Yield(ctx)
			feed(t, r, "da")
			expectError(t, r.SetError(errBroken), nil)
			asyncio.Sleep(ctx, sec(1))
			if task.Done() {
				t.Error(task)
			}
			feed(t, r, "ta\n")
			line, err := task.Await(ctx)
			sees(t, line, err, "data\n", nil)
			_, err = r.ReadLine(ctx)
			expectError(t, err, errBroken)
		})
	})
	t.Run("STR-044 an error after the task that waited was cancelled is safe", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			task := inTask(t, ctx, r.ReadLine)
			task.Cancel(nil)
			r.SetError(errBroken) // before it has had its turn
			if _, err := task.Await(ctx); !errors.Is(err, asyncio.ErrCancelled) {
				t.Errorf("Await = %v", err)
			}
			got, err := r.ReadLine(ctx)
			sees(t, got, err, "", errBroken)
		})
	})
	t.Run("STR-045 the text covers every state", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			says := func(want string) {
				t.Helper()
				if r.String() != want {
					t.Errorf("String = %s, want %s", r, want)
				}
			}
			says("<StreamReader buffered=0>")
			task := inTask(t, ctx, r.ReadLine)
			says("<StreamReader buffered=0 waiting=reading>")
			task.Cancel(nil)
			task.Wait(ctx)
			feed(t, r, "data")
			says("<StreamReader buffered=4>")
			r.SetLimit(10)
			says("<StreamReader buffered=4 limit=10>")
			feedEOF(t, r)
			says("<StreamReader buffered=4 limit=10 eof>")
			r.SetError(errBroken)
			says(`<StreamReader buffered=4 limit=10 eof error="broken">`)
		})
	})
	t.Run("STR-046 errors keep their fields when copied", func(t *testing.T) {
		i := asyncio.IncompleteReadError{Partial: []byte("ab"), Expected: 5}
		o := asyncio.LimitOverrunError{Buffered: []byte("abc"), Consumed: 2, Found: true}
		i2, o2 := i, o
		if !reflect.DeepEqual(i, i2) || !reflect.DeepEqual(o, o2) {
			t.Error("a copy differs")
		}
		if i2.Error() != "stream ended after 2 of 5 bytes" || !errors.Is(&i2, io.ErrUnexpectedEOF) {
			t.Errorf("copy of the IncompleteReadError says %q", i2.Error())
		}
		if o2.Error() != "separator found after 2 bytes, beyond the limit" || !errors.Is(&o2, bufio.ErrTooLong) {
			t.Errorf("copy of the LimitOverrunError says %q", o2.Error())
		}
	})
	t.Run("feeding after the end is a mistake, ending twice is not", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feedEOF(t, r)
			feedEOF(t, r)
			mistake(t, r.FeedData([]byte("x")), asyncio.ErrInvalidState)
		})
	})
	t.Run("what is fed is copied", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			p := []byte("data")
			r.FeedData(p)
			copy(p, "....")
			got, err := readSome(ctx, r, 9)
			sees(t, got, err, "data", nil)
		})
	})
}

func TestStreamReaderPeek(t *testing.T) {
	leavesNothing(t)
	t.Run("peek waits, and consumes nothing", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "a")
			task := inTask(t, ctx, func(ctx context.Context) ([]byte, error) { return r.Peek(ctx, 3) })
			feed(t, r, "bcd")
			got, err := task.Await(ctx)
			sees(t, got, err, "abc", nil)
			if r.Buffered() != 4 || cap(got) != 3 {
				t.Errorf("%d bytes are left, an append could write over %d of them", r.Buffered(), cap(got)-3)
			}
			if err := r.Discard(2); err != nil {
				t.Fatal(err)
			}
			got, err = readSome(ctx, r, 9)
			sees(t, got, err, "cd", nil)
		})
	})
	t.Run("peek at the end gives what is left", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "ab")
			feedEOF(t, r)
			got, err := r.Peek(ctx, 3)
			sees(t, got, err, "ab", io.EOF)
			got, err = r.Peek(ctx, 2)
			sees(t, got, err, "ab", nil)
		})
	})
	t.Run("discarding everything", func(t *testing.T) {
		withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
			feed(t, r, "ab")
			if err := r.Discard(2); err != nil || r.Buffered() != 0 {
				t.Fatalf("Discard = %v, %d bytes are left", err, r.Buffered())
			}
			feed(t, r, "c")
			got, err := readSome(ctx, r, 9)
			sees(t, got, err, "c", nil)
		})
	})
}

func TestStreamReaderTwoTasks(t *testing.T) {
	leavesNothing(t)
	withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
		first := inTask(t, ctx, r.ReadLine)
		_, err := r.ReadExactly(ctx, 3)
		mistake(t, err, asyncio.ErrConcurrentRead)
		if !strings.Contains(err.Error(), "reading") || !strings.Contains(err.Error(), "main") {
			t.Errorf("%q does not name both tasks", err)
		}
		feed(t, r, "line\n")
		got, err := first.Await(ctx)
		sees(t, got, err, "line\n", nil)
		// It is free again, also when a wait was cancelled.
		second := inTask(t, ctx, r.ReadLine)
		second.Cancel(nil)
		second.Wait(ctx)
		third := inTask(t, ctx, r.ReadLine)
		feed(t, r, "x\n")
		got, err = third.Await(ctx)
		sees(t, got, err, "x\n", nil)
	})
}

func TestStreamReaderCancelledTakesNothing(t *testing.T) {
	leavesNothing(t)
	reads := map[string]func(ctx context.Context, r *asyncio.StreamReader) ([]byte, error){
		"Read":     func(ctx context.Context, r *asyncio.StreamReader) ([]byte, error) { return readSome(ctx, r, 9) },
		"ReadLine": func(ctx context.Context, r *asyncio.StreamReader) ([]byte, error) { return r.ReadLine(ctx) },
		"ReadUntil": func(ctx context.Context, r *asyncio.StreamReader) ([]byte, error) {
			return r.ReadUntil(ctx, []byte("\n"))
		},
		"ReadExactly": func(ctx context.Context, r *asyncio.StreamReader) ([]byte, error) { return r.ReadExactly(ctx, 5) },
		"ReadAll":     func(ctx context.Context, r *asyncio.StreamReader) ([]byte, error) { return r.ReadAll(ctx) },
		"Peek":        func(ctx context.Context, r *asyncio.StreamReader) ([]byte, error) { return r.Peek(ctx, 5) },
	}
	for name, read := range reads {
		for _, when := range []string{"before the data", "after the data"} {
			t.Run(name+" "+when, func(t *testing.T) {
				withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
					task := inTask(t, ctx, func(ctx context.Context) ([]byte, error) { return read(ctx, r) })
					if when == "before the data" {
						task.Cancel(nil)
					}
					feed(t, r, "data\n") // it is awake now, but had no turn
					feedEOF(t, r)
					task.Cancel(nil)
					if got, err := task.Await(ctx); !errors.Is(err, asyncio.ErrCancelled) || got != nil {
						t.Errorf("Await = %q, %v", got, err)
					}
					got, err := r.ReadAll(ctx)
					sees(t, got, err, "data\n", nil)
				})
			})
		}
	}
}

func TestStreamReaderElsewhere(t *testing.T) {
	leavesNothing(t)
	all := map[string]func(ctx context.Context, r *asyncio.StreamReader) error{
		"Read":        func(ctx context.Context, r *asyncio.StreamReader) error { _, err := readSome(ctx, r, 1); return err },
		"ReadLine":    func(ctx context.Context, r *asyncio.StreamReader) error { _, err := r.ReadLine(ctx); return err },
		"ReadExactly": func(ctx context.Context, r *asyncio.StreamReader) error { _, err := r.ReadExactly(ctx, 1); return err },
		"ReadAll":     func(ctx context.Context, r *asyncio.StreamReader) error { _, err := r.ReadAll(ctx); return err },
		"Peek":        func(ctx context.Context, r *asyncio.StreamReader) error { _, err := r.Peek(ctx, 1); return err },
		"ReadUntil": func(ctx context.Context, r *asyncio.StreamReader) error {
			_, err := r.ReadUntil(ctx, []byte("\n"))
			return err
		},
	}
	withReader(t, 0, func(ctx context.Context, r *asyncio.StreamReader) {
		feed(t, r, "data\n")
		for name, read := range all {
			mistake(t, read(context.Background(), r), asyncio.ErrOutsideTask)
			elsewhere(func() { mistake(t, read(ctx, r), asyncio.ErrWrongGoroutine) })
			elsewhere(func() {
				other := asyncio.Run(context.Background(), func(ctx context.Context) error { return read(ctx, r) })
				mistake(t, other, asyncio.ErrWrongLoop)
			})
			called := make(chan error, 1)
			loop := asyncio.CurrentTask(ctx).Loop()
			loop.CallSoon(func() { called <- read(ctx, r) })
			asyncio.Yield(ctx)
			mistake(t, <-called, asyncio.ErrOutsideTask)
			if r.Buffered() != 5 {
				t.Fatalf("%s took something", name)
			}
		}
		elsewhere(func() {
			mistake(t, r.FeedData([]byte("x")), asyncio.ErrWrongGoroutine)
			mistake(t, r.FeedEOF(), asyncio.ErrWrongGoroutine)
			mistake(t, r.SetError(errBroken), asyncio.ErrWrongGoroutine)
			mistake(t, r.Discard(1), asyncio.ErrWrongGoroutine)
		})
	})
}

// TestStreamReaderMemory: what reads return is the caller's.
func TestStreamReaderMemory(t *testing.T) {
	leavesNothing(t)
	for _, size := range []int{10, 1000, 16 << 10, 17 << 10, 100 << 10} {
		withReader(t, 1<<20, func(ctx context.Context, r *asyncio.StreamReader) {
			line := strings.Repeat("x", size-1) + "\n"
			var kept [][]byte
			for _, read := range []asyncio.Coroutine[[]byte]{
				r.ReadLine,
				func(ctx context.Context) ([]byte, error) { return r.ReadUntil(ctx, []byte("\n")) },
				func(ctx context.Context) ([]byte, error) { return r.ReadExactly(ctx, size) },
				r.ReadLine,
			} {
				feed(t, r, line)
				if len(kept) == 1 {
					feed(t, r, "tail\n")
				}
				got, err := read(ctx)
				sees(t, got, err, line, nil)
				kept = append(kept, got)
				if len(kept) == 2 {
					// Writing to it, and behind it, harms nobody.
					whole := got[:cap(got)]
					for i := range whole {
						whole[i] = '#'
					}
					copy(got, line)
					rest, err := r.ReadLine(ctx)
					sees(t, rest, err, "tail\n", nil)
				}
			}
			feed(t, r, strings.Repeat("y", 3*size))
			for i, got := range kept {
				if string(got) != line {
					t.Errorf("size %d: the result of read %d was written over", size, i)
				}
			}
		})
	}
}

// A readerModel is what a reader has to do, in the dumbest words.
type readerModel struct {
	buf   []byte
	eof   bool
	limit int
}

type readRequest struct {
	kind string
	n    int
	seps [][]byte
}

// A readResult is what a read returned: some return data together with an error.
type readResult struct {
	data []byte
	err  error
}

func (q readRequest) run(ctx context.Context, r *asyncio.StreamReader) ([]byte, error) {
	switch q.kind {
	case "Read":
		return readSome(ctx, r, q.n)
	case "ReadExactly":
		return r.ReadExactly(ctx, q.n)
	case "Peek":
		return r.Peek(ctx, q.n)
	case "ReadAll":
		return r.ReadAll(ctx)
	case "ReadLine":
		return r.ReadLine(ctx)
	}
	return r.ReadUntil(ctx, q.seps...)
}

// try says what the read returns now, and false if it has to wait.
func (m *readerModel) try(q readRequest) (data []byte, err string, done bool) {
	switch q.kind {
	case "Read":
		switch {
		case q.n == 0:
			return nil, "", true
		case len(m.buf) > 0:
			return m.buf[:min(q.n, len(m.buf))], "", true
		case m.eof:
			return nil, "EOF", true
		}
	case "ReadExactly":
		switch {
		case len(m.buf) >= q.n:
			return m.buf[:q.n], "", true
		case m.eof:
			return m.buf, "incomplete", true
		}
	case "Peek":
		switch {
		case len(m.buf) >= q.n:
			return m.buf[:q.n], "", true
		case m.eof:
			return m.buf, "EOF", true
		}
	case "ReadAll":
		if m.eof {
			return m.buf, "", true
		}
	case "ReadLine":
		data, err, done := m.until(q.seps)
		if err == "incomplete" {
			if err = ""; len(data) == 0 {
				err = "EOF"
			}
		}
		return data, err, done
	case "ReadUntil":
		return m.until(q.seps)
	}
	return nil, "", false
}

func (m *readerModel) until(seps [][]byte) (data []byte, err string, done bool) {
	longest := 0
	for _, s := range seps {
		longest = max(longest, len(s))
	}
	for end := range len(m.buf) + 1 {
		begin := -1
		for _, s := range seps {
			if bytes.HasSuffix(m.buf[:end], s) {
				begin = max(begin, end-len(s))
			}
		}
		if begin > m.limit {
			return nil, fmt.Sprintf("overrun %d true", begin), true
		}
		if begin >= 0 {
			return m.buf[:end], "", true
		}
	}
	if searched := len(m.buf) + 1 - longest; searched > m.limit {
		return nil, fmt.Sprintf("overrun %d false", searched), true
	}
	if m.eof {
		return m.buf, "incomplete", true
	}
	return nil, "", false
}

// readOutcome says what a reader has returned in the words of the model.
func readOutcome(data []byte, err error) ([]byte, string) {
	var i *asyncio.IncompleteReadError
	var o *asyncio.LimitOverrunError
	switch {
	case err == nil:
		return data, ""
	case err == io.EOF:
		return data, "EOF"
	case errors.As(err, &i):
		return i.Partial, "incomplete"
	case errors.As(err, &o):
		return data, fmt.Sprintf("overrun %d %t", o.Consumed, o.Found)
	}
	return data, err.Error()
}

// A feeder is where a reader gets its bytes from.
type feeder struct {
	r     *asyncio.StreamReader
	feed  func(p []byte) error
	end   func() error
	exact bool // what was fed is in the reader's buffer at once
}

// playReads runs a program of feeding, reading and cancelling on a reader and on
// the model, and compares.
func playReads(t *testing.T, ctx context.Context, f feeder, program []byte) {
	next := func() int {
		if len(program) == 0 {
			return 0
		}
		b := program[0]
		program = program[1:]
		return int(b)
	}
	m := &readerModel{limit: 1 + next()%24}
	f.r.SetLimit(m.limit)
	var request readRequest
	var waiting *asyncio.Task[readResult]
	var log []string
	say := func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) }
	fail := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("%s\nlimit %d\n%s", fmt.Sprintf(format, args...), m.limit, strings.Join(log, "\n"))
	}
	separators := [][][]byte{{[]byte("\n")}, {[]byte("ab")}, {[]byte("aab"), []byte("b")}, {[]byte("\n"), []byte("ba\n"), []byte("aa")}}
	start := func(q readRequest) {
		say("%s %d %q", q.kind, q.n, q.seps)
		request = q
		waiting = asyncio.CreateTask(ctx, func(ctx context.Context) (readResult, error) {
			data, err := q.run(ctx, f.r)
			if errors.Is(err, asyncio.ErrCancelled) {
				return readResult{}, err
			}
			return readResult{data, err}, nil
		})
	}
	// settle compares when everything that can happen has happened.
	settle := func() {
		t.Helper()
		for range 3 {
			asyncio.Yield(ctx)
		}
		if waiting == nil {
			return
		}
		want, wantErr, done := m.try(request)
		if !done {
			if waiting.Done() {
				got, err := waiting.Result()
				fail("%s gave %q, %v, %v, and should wait with %q", request.kind, got.data, got.err, err, m.buf)
			}
			return
		}
		got, err := waiting.Await(ctx)
		if err != nil {
			fail("%s gave %v", request.kind, err)
		}
		data, gotErr := readOutcome(got.data, got.err)
		waiting = nil
		say("\t-> %q %s", data, gotErr)
		if !f.exact && request.kind == "Read" && len(data) > 0 && bytes.HasPrefix(want, data) {
			want = data // some was buffered, the rest is with the kernel
		}
		if !f.exact && strings.HasPrefix(gotErr, "overrun") && strings.HasPrefix(wantErr, "overrun") {
			gotErr = wantErr // judged by what has been fetched
		}
		if !bytes.Equal(data, want) || gotErr != wantErr {
			fail("%s gave %q %s, want %q %s", request.kind, data, gotErr, want, wantErr)
		}
		if request.kind != "Peek" && !strings.HasPrefix(wantErr, "overrun") {
			m.buf = m.buf[len(want):]
			for i := range data {
				data[i] = '#' // it is ours
			}
			clear(data[len(data):cap(data)])
		}
	}
	for step := 0; len(program) > 0 && step < 200; step++ {
		switch op := next() % 16; {
		case op < 5:
			p := make([]byte, next()%16)
			for i := range p {
				p[i] = "aab\n"[next()%4]
			}
			if m.eof {
				continue
			}
			say("feed %q", p)
			m.buf = append(bytes.Clone(m.buf), p...)
			if err := f.feed(p); err != nil {
				fail("feeding: %v", err)
			}
		case op == 5:
			if !m.eof && next()%4 == 0 {
				say("end")
				m.eof = true
				if err := f.end(); err != nil {
					fail("ending: %v", err)
				}
			}
		case op == 6 && waiting == nil: // a read that waits looks at it when something comes
			m.limit = 1 + next()%24
			say("limit %d", m.limit)
			f.r.SetLimit(m.limit)
		case op == 7:
			if waiting != nil {
				say("cancel")
				waiting.Cancel(nil)
				if _, err := waiting.Await(ctx); !errors.Is(err, asyncio.ErrCancelled) {
					fail("cancelled %s gave %v", request.kind, err)
				}
				waiting = nil
			}
		case waiting != nil:
		case op == 8:
			n := min(next()%8, f.r.Buffered())
			say("discard %d", n)
			if err := f.r.Discard(n); err != nil {
				fail("Discard: %v", err)
			}
			m.buf = m.buf[n:]
		case op == 9:
			start(readRequest{kind: "Read", n: next() % 12})
		case op == 10:
			start(readRequest{kind: "ReadExactly", n: next() % 40})
		case op == 11:
			start(readRequest{kind: "Peek", n: next() % 40})
		case op == 12 && next()%4 == 0:
			start(readRequest{kind: "ReadAll"})
		case op < 14:
			start(readRequest{kind: "ReadLine", seps: separators[0]})
		default:
			start(readRequest{kind: "ReadUntil", seps: separators[next()%len(separators)]})
		}
		settle()
		if f.exact && f.r.Buffered() != len(m.buf) || f.r.Buffered() > len(m.buf) {
			fail("%d bytes are buffered, the model has %q", f.r.Buffered(), m.buf)
		}
	}
	if waiting != nil {
		waiting.Cancel(nil)
		waiting.Wait(ctx)
	}
	if !m.eof {
		if err := f.end(); err != nil {
			fail("ending: %v", err)
		}
	}
	rest, err := f.r.ReadAll(ctx)
	if !bytes.Equal(rest, m.buf) || err != nil {
		fail("at the end there was %q, %v, want %q", rest, err, m.buf)
	}
}

// playFed plays a program on a reader that is fed by hand.
func playFed(t *testing.T, program []byte) {
	asynciotest.Run(t, func(ctx context.Context) error {
		r := asyncio.NewStreamReader(ctx, 0)
		playReads(t, ctx, feeder{r: r, feed: r.FeedData, end: r.FeedEOF, exact: true}, program)
		return nil
	})
}

// playConnected plays a program on the reader of a connection.
func playConnected(t *testing.T, network, address string, program []byte) {
	runStreams(t, func(ctx context.Context) error {
		r, w, end := connected(t, ctx, network, address)
		defer end()
		playReads(t, ctx, feeder{
			r:    r,
			feed: func(p []byte) error { _, err := w.Write(p); return err },
			end:  w.WriteEOF,
		}, program)
		return nil
	})
}

func randomProgram(seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	p := make([]byte, 50+rnd.IntN(400))
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
	return p
}

func TestStreamReaderModel(t *testing.T) {
	leavesNothing(t)
	for seed := range uint64(300) {
		playFed(t, randomProgram(seed))
	}
	for seed := range uint64(60) {
		playConnected(t, "unix", socketPath(t), randomProgram(1000+seed))
	}
}

func FuzzStreamReader(f *testing.F) {
	for seed := range uint64(10) {
		f.Add(randomProgram(seed))
	}
	f.Fuzz(playFed)
}

// TestStreamReaderOfConnectionCannotBeFed: a connection alone feeds its reader.
func TestStreamReaderOfConnectionCannotBeFed(t *testing.T) {
	leavesNothing(t)
	runStreams(t, func(ctx context.Context) error {
		r, w, end := connected(t, ctx, "tcp", "127.0.0.1:0")
		defer end()
		for _, err := range []error{r.FeedData([]byte("x")), r.FeedEOF(), r.SetError(net.ErrClosed)} {
			mistake(t, err, asyncio.ErrBadArgument)
		}
		w.Write([]byte("line\n"))
		got, err := r.ReadLine(ctx)
		sees(t, got, err, "line\n", nil)
		return nil
	})
}
