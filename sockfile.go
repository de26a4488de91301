// Files to sockets: by the kernel, or by copying.

package asyncio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/goasyncio/asyncio/internal/seam"
)

// SendFileOptions are the options of SockSendFile. The zero value, or nil, sends
// the whole file.
type SendFileOptions struct {
	// Offset is where in the file to begin, wherever its position is.
	Offset int64

	// Count is how many bytes to send at most: all up to the end if zero.
	Count int64

	// NoFallback refuses what the kernel cannot do by itself. Without it the file
	// is read and sent in pieces then.
	NoFallback bool
}

const (
	// kernelPiece is how much the kernel sends before other tasks have a turn.
	kernelPiece = 1 << 20
	// copyPiece is how much is read at once.
	copyPiece = 256 << 10
)

// SockSendFile sends a regular file over a stream socket and returns how many bytes
// were sent (loop.sock_sendfile). The kernel copies it, without a way through the
// program; where it cannot, the file is read, on other goroutines, and sent. With
// NoFallback that is an error which Is ErrSendfileNotAvailable, nothing is sent,
// and the position of the file stays.
//
// Otherwise the position of the file is behind the last byte that was sent when
// SockSendFile returns, also with an error and after a cancellation. A negative
// offset or count, and a socket for datagrams, are a *UsageError. All else is as
// with SockRecv.
func SockSendFile(ctx context.Context, c syscall.Conn, f *os.File, opts *SendFileOptions) (int64, error) {
	s, err := newSockOp(ctx, "SockSendFile", c)
	if err != nil {
		return 0, err
	}
	if opts == nil {
		opts = new(SendFileOptions)
	}
	switch {
	case f == nil:
		return 0, misuse(s.op, ErrBadArgument, "the file is nil")
	case opts.Offset < 0:
		return 0, misuse(s.op, ErrBadArgument, "the offset is %d", opts.Offset)
	case opts.Count < 0:
		return 0, misuse(s.op, ErrBadArgument, "the count is %d", opts.Count)
	}
	part := filePart{f, opts.Offset, opts.Count}
	sent, err := s.sendByKernel(ctx, part)
	if errors.Is(err, ErrSendfileNotAvailable) && !opts.NoFallback {
		sent, err = s.sendByCopying(ctx, part)
	}
	if sent > 0 {
		if _, serr := f.Seek(opts.Offset+sent, io.SeekStart); err == nil && serr != nil {
			err = s.named(serr)
		}
	}
	return sent, err
}

// A filePart is what is to be sent of a file.
type filePart struct {
	file   *os.File
	offset int64
	count  int64 // 0 means up to the end
}

// next returns how many bytes to send next, at most most, when some have been sent;
// 0 if there are no more.
func (p filePart) next(sent int64, most int) int {
	if p.count == 0 {
		return most
	}
	return int(min(p.count-sent, int64(most)))
}

// read reads the next piece, when some have been sent; it is empty if there are no
// more.
func (p filePart) read(ctx context.Context, sent int64) ([]byte, error) {
	size := p.next(sent, copyPiece)
	if size == 0 {
		return nil, nil
	}
	// A buffer for each piece: a read that was cancelled still goes on.
	return ToThread(ctx, func(context.Context) ([]byte, error) {
		piece := make([]byte, size)
		n, err := p.file.ReadAt(piece, p.offset+sent)
		if err == io.EOF {
			err = nil
		}
		return piece[:n], err
	})
}

// sendByKernel returns ErrSendfileNotAvailable if the first call fails, whatever
// the reason: copying finds out if it is the file, the socket, or the call.
func (s *sockOp) sendByKernel(ctx context.Context, part filePart) (sent int64, err error) {
	for room := kernelPiece; ; {
		n := part.next(sent, room)
		if n == 0 {
			return sent, nil
		}
		var k int
		err := s.until(ctx, seam.Writable, func(fd int) (err error) {
			k, err = s.calls.SendFile(fd, part.file, part.offset+sent, n)
			return err
		})
		var usage *UsageError
		switch {
		case err != nil && (sent > 0 || isCancelled(err, nil) || errors.As(err, &usage)):
			return sent, err
		case err != nil:
			return 0, fmt.Errorf("%w: %w", ErrSendfileNotAvailable, err)
		case k == 0:
			return sent, nil
		}
		sent += int64(k)
		if room -= k; room <= 0 {
			room = kernelPiece
			if err := s.wait(ctx, seam.Writable); err != nil {
				return sent, err
			}
		}
	}
}

// sendByCopying reads the file piece by piece and sends each.
func (s *sockOp) sendByCopying(ctx context.Context, part filePart) (sent int64, err error) {
	for {
		p, err := part.read(ctx, sent)
		if err != nil || len(p) == 0 {
			return sent, err
		}
		n, err := s.sendAll(ctx, p)
		sent += int64(n)
		if err != nil {
			return sent, err
		}
	}
}
