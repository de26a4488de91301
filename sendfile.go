// Files to transports and streams: by the kernel, or by copying.

package asyncio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/goasyncio/asyncio/internal/seam"
)

// SendFile sends a regular file, after what was written before (loop.sendfile). The
// kernel copies it, without a way through the program; where it cannot, and always over
// TLS, the file is read, on other goroutines, and written piece by piece, as the peer
// takes it. With NoFallback that is an error which Is ErrSendfileNotAvailable, and
// nothing is sent.
//
// The calling task suspends until all is handed over, and other tasks go on; a file
// that has to come from a slow disk can hold them up as long as that takes for a
// megabyte. Until then Write, WriteLines, WriteEOF, StartTLS and another SendFile are
// a *UsageError, and Close ends the transfer with net.ErrClosed.
//
// It returns how many bytes were sent, also with an error and after a cancellation. If
// there are any, the position of the file is behind them then. A negative offset or
// count is a *UsageError. The error of a connection that breaks meanwhile goes to
// ConnectionLost, too.
func (t *Transport) SendFile(ctx context.Context, f *os.File, opts *SendFileOptions) (int64, error) {
	if t.readOnly {
		return 0, misuse("SendFile", ErrBadArgument, "%v can only be read from", t)
	}
	n, err := t.tr.sendFile(ctx, f, opts)
	if t.lossCause != nil && errors.Is(err, net.ErrClosed) {
		err = t.lossCause // reading has heard of it first
	}
	return n, err
}

// SendFile sends a regular file, as that of a Transport does (loop.sendfile).
func (w *StreamWriter) SendFile(ctx context.Context, f *os.File, opts *SendFileOptions) (int64, error) {
	return w.tr.sendFile(ctx, f, opts)
}

func (t *transport) sendFile(ctx context.Context, f *os.File, opts *SendFileOptions) (int64, error) {
	const op = "SendFile"
	task, err := current(ctx, op)
	if err != nil {
		return 0, err
	}
	if opts == nil {
		opts = new(SendFileOptions)
	}
	switch {
	case task.loop != t.loop:
		return 0, misuse(op, ErrWrongLoop, "the connection belongs to %s, the running task to %s", t.loop.name, task.loop.name)
	case f == nil:
		return 0, misuse(op, ErrBadArgument, "the file is nil")
	case opts.Offset < 0:
		return 0, misuse(op, ErrBadArgument, "the offset is %d", opts.Offset)
	case opts.Count < 0:
		return 0, misuse(op, ErrBadArgument, "the count is %d", opts.Count)
	case t.sending || t.shaking:
		return 0, misuse(op, ErrInvalidState, "a file is being sent, or a handshake under way")
	}
	if err := t.writing(); err != nil {
		return 0, t.error("write", err)
	}
	t.sending = true
	part := filePart{f, opts.Offset, opts.Count}
	sent, err := task.sendByKernel(ctx, t, part)
	if errors.Is(err, ErrSendfileNotAvailable) && !opts.NoFallback {
		sent, err = task.sendByCopying(ctx, t, part)
	}
	t.sending = false
	if sent > 0 {
		if _, serr := f.Seek(opts.Offset+sent, io.SeekStart); err == nil {
			err = serr
		}
	}
	return sent, t.error("write", err)
}

// sendByKernel returns ErrSendfileNotAvailable if the first call fails, whatever the
// reason: copying finds out if it is the file, the connection, or the call.
func (t *task) sendByKernel(ctx context.Context, tr *transport, part filePart) (sent int64, err error) {
	conn, ok := tr.conn.(seam.FileSender)
	if !ok || tr.tls != nil {
		return 0, fmt.Errorf("%w on such a connection", ErrSendfileNotAvailable)
	}
	room := kernelPiece
	for {
		if err := t.awaitSending(ctx, tr, func() bool { return tr.out == nil && tr.writable }); err != nil {
			return sent, err
		}
		n := part.next(sent, room)
		if n == 0 {
			return sent, nil
		}
		k, err := conn.SendFile(part.file, part.offset+sent, n)
		switch {
		case err == seam.ErrWouldBlock:
			tr.writable = false
			continue
		case err != nil && sent == 0:
			return 0, fmt.Errorf("%w: %w", ErrSendfileNotAvailable, err)
		case err != nil:
			if !ofFile(err) {
				tr.breakWriting(err)
			}
			return sent, err
		case k == 0:
			return sent, nil
		}
		sent += int64(k)
		if room -= k; room <= 0 {
			room = kernelPiece
			if err := t.yield(ctx); err != nil {
				return sent, err
			}
		}
	}
}

// ofFile reports whether an error of the kernel's copying is about the file.
func ofFile(err error) bool {
	return errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.EIO) || errors.Is(err, errors.ErrUnsupported)
}

// sendByCopying reads the file piece by piece and writes each when there is room.
func (t *task) sendByCopying(ctx context.Context, tr *transport, part filePart) (sent int64, err error) {
	for {
		if err := t.awaitSending(ctx, tr, func() bool { return !tr.full }); err != nil {
			return sent, err
		}
		p, err := part.read(ctx, sent)
		if err != nil || len(p) == 0 {
			return sent, err
		}
		if err := tr.put(p); err != nil {
			return sent, err
		}
		sent += int64(len(p))
	}
}

// awaitSending suspends t until ready is true, and returns an error when nothing can
// be written any more.
func (t *task) awaitSending(ctx context.Context, tr *transport, ready func() bool) error {
	for {
		if err := tr.writing(); err != nil {
			return err
		}
		if ready() {
			return nil
		}
		if err := t.awaitOpening(ctx, tr); err != nil {
			return err
		}
	}
}
