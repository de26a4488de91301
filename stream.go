// Opening streams: connections and pipes for tasks.

package asyncio

import (
	"context"
	"os"
)

// OpenConnection connects to address and returns the two halves of the
// connection (asyncio.open_connection). network is "tcp", "tcp4" or "tcp6" with an
// address "host:port" as in package net, or "unix" with the path of a socket, which
// is abstract if it begins with '@'.
//
// A name is looked up without blocking the loop. If it has several addresses,
// IPv6 and IPv4 take turns, and the next one is tried when one has failed or has
// taken too long; the first connection that stands is used.
//
// Errors are a *net.OpError, joined if several addresses have failed, with a
// *net.DNSError for a name that does not exist. A cancelled OpenConnection leaves no
// connection behind. The caller has to Close the writer.
func OpenConnection(ctx context.Context, network, address string, opts *ConnOptions) (*StreamReader, *StreamWriter, error) {
	if opts == nil {
		opts = new(ConnOptions)
	}
	t, err := current(ctx, "OpenConnection")
	if err == nil && opts.Limit < 0 {
		err = misuse("OpenConnection", ErrBadArgument, "the limit is %d", opts.Limit)
	}
	if err != nil {
		opts.discard()
		return nil, nil, err
	}
	tr, err := t.open(ctx, "OpenConnection", network, address, opts, func(network string) *transport {
		return &newStream(t.loop, originOf(network), opts.Limit).tr
	})
	if err != nil {
		return nil, nil, err
	}
	w := tr.consumer.(*StreamWriter)
	return &w.reader, w, nil
}

// OpenReadPipe reads from a pipe, a FIFO, a socket or a character device, a
// terminal say, which it takes over: f is closed with the reader, which the caller
// has to Close. Standard input stays open, and blocks again afterwards if it did
// before. With a *UsageError f is left open; one is what a regular file gets: it is
// always ready, so ToThread is the way to read it.
func OpenReadPipe(ctx context.Context, f *os.File) (*StreamReader, error) {
	w, err := openPipe(ctx, "OpenReadPipe", f, false)
	if err != nil {
		return nil, err
	}
	return &w.reader, nil
}

// OpenWritePipe writes to what OpenReadPipe reads from. When the reader of a pipe
// has gone, writes return syscall.EPIPE.
func OpenWritePipe(ctx context.Context, f *os.File) (*StreamWriter, error) {
	return openPipe(ctx, "OpenWritePipe", f, true)
}

func openPipe(ctx context.Context, op string, f *os.File, toWrite bool) (*StreamWriter, error) {
	t, err := current(ctx, op)
	if err != nil {
		return nil, err
	}
	w := newStream(t.loop, originOf("pipe"), 0)
	if err := w.tr.adoptPipe(op, f, toWrite); err != nil {
		return nil, err
	}
	return w, nil
}
