// Fetching from one site: the request, the header as it comes, the body.

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goasyncio/asyncio"
)

// maxHeader is how long a header may be, in bytes.
const maxHeader = 64 << 10

var (
	errHeaderTooLong = fmt.Errorf("the header is longer than %d KiB", maxHeader>>10)
	errNoAnswer      = errors.New("the connection was closed without an answer")
	errHeaderCut     = errors.New("the connection was closed in the middle of the header")
)

// A notHTTPError shows why an answer is not one of HTTP.
type notHTTPError string

func (e notHTTPError) Error() string { return "not HTTP: " + string(e) }

// A bodyCutError says how much there was of a body that did not come whole.
type bodyCutError struct {
	got, want int64 // want is -1 if that was not announced
	err       error
}

func (e *bodyCutError) Error() string {
	s := fmt.Sprintf("the body ended early, after %d", e.got)
	if e.want >= 0 {
		s += fmt.Sprintf(" of %d", e.want)
	}
	s += " bytes"
	if !errors.Is(e.err, io.ErrUnexpectedEOF) {
		s += ": " + reason(e.err)
	}
	return s
}

// fetch prints the header of t, and saves its body if that is wanted.
func (w *wget) fetch(ctx context.Context, t *target) error {
	options := &asyncio.ConnOptions{Limit: maxHeader}
	if t.url.Scheme == "https" {
		options.TLS = w.tls
	}
	reader, writer, err := asyncio.OpenConnection(ctx, "tcp", t.address(), options)
	if err != nil {
		return err
	}
	defer writer.Close()
	writer.WriteString(t.request())
	if err := writer.Drain(ctx); err != nil {
		return err
	}
	head, err := w.readHead(ctx, t, reader)
	if err != nil {
		return err
	}
	// What reads from a net.Conn can read from a stream: it suspends the task
	// without knowing.
	answer := io.MultiReader(bytes.NewReader(head), asyncio.NetConn(ctx, reader, writer))
	resp, err := http.ReadResponse(bufio.NewReader(answer), nil)
	if err != nil {
		return notHTTPError(err.Error())
	}
	if t.file == "" {
		return nil
	}
	n, err := save(ctx, t.file, resp.Body)
	if err != nil {
		return cut(err, n, resp.ContentLength)
	}
	fmt.Fprintf(w.out, "%s body > %s (%d bytes)\n", t.host(), t.file, n)
	return nil
}

// readHead reads an answer up to and including the empty line, and prints each
// line when it has come. Answers before the final one (100 Continue, 103 Early
// Hints) are printed, and not returned.
func (w *wget) readHead(ctx context.Context, t *target, reader *asyncio.StreamReader) ([]byte, error) {
	var head []byte
	for size := 0; ; {
		line, err := reader.ReadLine(ctx)
		if err != nil {
			return nil, headError(err, size)
		}
		if len(head) == 0 && !isStatusLine(line) {
			return nil, notHTTP(line)
		}
		head = append(head, line...)
		if size += len(line); size > maxHeader {
			return nil, errHeaderTooLong
		}
		if line[len(line)-1] != '\n' {
			return nil, errHeaderCut
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text != "" {
			fmt.Fprintf(w.out, "%s header > %s\n", t.host(), printable(text))
			continue
		}
		if !isInterim(head) {
			return head, nil
		}
		head = nil
	}
}

// headError says what an error means when size bytes of the header have come.
func headError(err error, size int) error {
	var long *asyncio.LimitOverrunError
	ended := err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) // the latter if TLS was cut in a record
	switch {
	case ended && size == 0:
		return errNoAnswer
	case ended:
		return errHeaderCut
	case errors.As(err, &long) && size == 0 && !isStatusLine(long.Buffered):
		return notHTTP(long.Buffered)
	case errors.As(err, &long):
		return errHeaderTooLong
	}
	return err
}

func isStatusLine(line []byte) bool { return bytes.HasPrefix(line, []byte("HTTP/")) }

// isInterim reports whether a header is one of status 1xx.
func isInterim(head []byte) bool {
	_, status, _ := bytes.Cut(head, []byte(" "))
	return bytes.HasPrefix(status, []byte("1"))
}

func notHTTP(answer []byte) error {
	return notHTTPError(fmt.Sprintf("the answer begins with %q", answer[:min(len(answer), 20)]))
}

// cut says how far a body came that ended with err. What else can go wrong, with
// the file or by a timeout, stays what it is.
func cut(err error, got, want int64) error {
	var file *fs.PathError
	var link *os.LinkError
	if errors.As(err, &file) || errors.As(err, &link) || errors.Is(err, asyncio.ErrCancelled) {
		return err
	}
	return &bodyCutError{got: got, want: want, err: err}
}

// printable returns s as it is if a terminal shows it as it is, else with
// what could steer the terminal quoted.
func printable(s string) string {
	unprintable := func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }
	if utf8.ValidString(s) && !strings.ContainsFunc(s, unprintable) {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}
