// The operations on stream readers that are fed by hand.

package conformance_test

import (
	"errors"
	"io"
	"maps"

	"github.com/goasyncio/asyncio"
)

func init() {
	maps.Copy(operations, readerOperations)
}

var readerOperations = map[string]func(f frame, o op) error{
	"feed": on(func(f frame, o op, r *asyncio.StreamReader) error {
		return f.done(r.FeedData([]byte(o.text(2))), "fed %s", o.text(1))
	}),
	"feed_eof": on(func(f frame, o op, r *asyncio.StreamReader) error {
		return f.done(r.FeedEOF(), "fed_eof %s", o.text(1))
	}),
	"feed_error": on(func(f frame, o op, r *asyncio.StreamReader) error {
		return f.done(r.SetError(failure(o.text(2))), "fed_error %s", o.text(1))
	}),
	"at_eof": on(func(f frame, o op, r *asyncio.StreamReader) error {
		return f.done(nil, "at_eof %s %t", o.text(1), r.AtEOF())
	}),
	"read_line": reading(func(f frame, o op, r *asyncio.StreamReader) ([]byte, error) {
		line, err := r.ReadLine(f.ctx)
		var overrun *asyncio.LimitOverrunError
		if errors.As(err, &overrun) {
			return nil, discardLine(r, overrun)
		}
		return line, err
	}),
	"read_until": reading(func(f frame, o op, r *asyncio.StreamReader) ([]byte, error) {
		return r.ReadUntil(f.ctx, []byte(o.text(2)))
	}),
	"read_exactly": reading(func(f frame, o op, r *asyncio.StreamReader) ([]byte, error) {
		return r.ReadExactly(f.ctx, o.number(2))
	}),
	"read": reading(func(f frame, o op, r *asyncio.StreamReader) ([]byte, error) {
		if n := o.number(2); n >= 0 {
			p := make([]byte, n)
			n, err := r.Read(f.ctx, p)
			return p[:n], err
		}
		return readAll(f, r)
	}),
}

// reading is an operation that returns bytes: none at the end of the stream.
func reading(read func(f frame, o op, r *asyncio.StreamReader) ([]byte, error)) func(frame, op) error {
	return on(func(f frame, o op, r *asyncio.StreamReader) error {
		data, err := read(f, o, r)
		if err == io.EOF {
			err = nil
		}
		return f.done(err, "%s %s -> %s", o.text(0), o.text(1), text(data))
	})
}

// readAll reads to the end of the stream as Python does, piece by piece: other
// tasks do not see what it has taken, and it is lost if the read is cancelled.
func readAll(f frame, r *asyncio.StreamReader) ([]byte, error) {
	var all []byte
	for p := make([]byte, r.Limit()); ; {
		n, err := r.Read(f.ctx, p)
		all = append(all, p[:n]...)
		if n == 0 || err != nil {
			return all, err
		}
	}
}

// discardLine drops of a line that is too long what Python drops: through the
// newline if that is buffered, else everything.
func discardLine(r *asyncio.StreamReader, overrun *asyncio.LimitOverrunError) error {
	n := r.Buffered()
	if overrun.Found {
		n = overrun.Consumed + len("\n")
	}
	if err := r.Discard(n); err != nil {
		return err
	}
	return &asyncio.UsageError{Op: "ReadLine", Cause: overrun} // Python calls it a ValueError
}
