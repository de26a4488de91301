// Sockets by hand: single calls on a socket that others have made, which suspend
// instead of blocking.

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

// SockRecv receives what is there, at most len(p) bytes, or one datagram, and waits
// until there is something (loop.sock_recv, loop.sock_recv_into). It returns io.EOF
// at the end of a stream. If p is shorter than a datagram, the rest of that is lost.
//
// # Sockets by hand
//
// This is one of the functions SockRecv, SockRecvFrom, SockSendAll, SockSendTo,
// SockConnect, SockAccept and SockSendFile. They are for sockets of which the
// loop knows nothing, and for kinds that it knows nothing of: c is an *os.File, a
// connection or listener of package net, or an FD. OpenConnection and StartServer
// are easier, and faster.
//
// Each tries the call first, and suspends only if it would have to wait. Any number
// of tasks may wait for one socket, also if that has an AddReader or AddWriter: they
// have their turns in the order in which they came. A wait that is cancelled has
// done nothing; the next call may follow at once. c stays the caller's, who must not
// close it while a task waits for it: the task may not hear of it.
//
// No socket can block the loop. SockConnect, SockAccept and SockSendFile refuse one
// in blocking mode with a *UsageError; the others work with it all the same.
//
// The functions return a *UsageError outside a task, and if they would have to wait
// for a socket that belongs to a connection or server of the loop
// (ErrDescriptorInUse). Where there are no such calls, the error Is
// errors.ErrUnsupported. What the system answers is an *os.SyscallError.
func SockRecv(ctx context.Context, c syscall.Conn, p []byte) (int, error) {
	n, _, err := sockRecv(ctx, "SockRecv", c, p)
	return n, err
}

// SockRecvFrom receives one datagram and tells who sent it, which is the zero
// SockAddr for a sender without an address (loop.sock_recvfrom,
// loop.sock_recvfrom_into). If p is shorter than the datagram, the rest of that is
// lost. All else is as with SockRecv.
func SockRecvFrom(ctx context.Context, c syscall.Conn, p []byte) (int, SockAddr, error) {
	return sockRecv(ctx, "SockRecvFrom", c, p)
}

func sockRecv(ctx context.Context, op string, c syscall.Conn, p []byte) (n int, from SockAddr, err error) {
	s, err := newSockOp(ctx, op, c)
	if err != nil {
		return 0, SockAddr{}, err
	}
	err = s.until(ctx, seam.Readable, func(fd int) (err error) {
		var addr seam.Addr
		n, addr, err = s.calls.Recv(fd, p)
		from = SockAddr(addr)
		return err
	})
	return n, from, err
}

// SockSendAll sends p, and waits for room as often as needed (loop.sock_sendall).
// After an error, a cancellation too, it is not known how much was sent. All else is
// as with SockRecv.
func SockSendAll(ctx context.Context, c syscall.Conn, p []byte) error {
	s, err := newSockOp(ctx, "SockSendAll", c)
	if err != nil {
		return err
	}
	_, err = s.sendAll(ctx, p)
	return err
}

// SockSendTo sends one datagram and returns how many bytes of it were sent, which
// are all of them (loop.sock_sendto). The zero SockAddr is the peer of a connected
// socket. All else is as with SockRecv.
func SockSendTo(ctx context.Context, c syscall.Conn, p []byte, to SockAddr) (n int, err error) {
	s, err := newSockOp(ctx, "SockSendTo", c)
	if err != nil {
		return 0, err
	}
	err = s.until(ctx, seam.Writable, func(fd int) (err error) {
		n, err = s.calls.Send(fd, p, seam.Addr(to))
		return err
	})
	return n, err
}

// SockConnect connects a socket, and waits until that has ended
// (loop.sock_connect). What fails is a *net.OpError with the address. Names are
// looked up with GetAddrInfo before. If the wait is cancelled the attempt goes on;
// another SockConnect to the same address joins it. All else is as with SockRecv.
func SockConnect(ctx context.Context, c syscall.Conn, to SockAddr) error {
	s, err := newSockOp(ctx, "SockConnect", c)
	if err != nil {
		return err
	}
	if to.IsZero() {
		return misuse("SockConnect", ErrBadArgument, "the address is zero")
	}
	begun := false
	err = s.until(ctx, seam.Writable, func(fd int) error {
		if begun {
			return s.calls.Connected(fd)
		}
		begun = true
		return s.calls.Connect(fd, seam.Addr(to))
	})
	var failure *os.SyscallError
	if errors.As(err, &failure) {
		return &net.OpError{Op: "connect", Net: to.Network(), Addr: to, Err: failure}
	}
	return err
}

// SockAccept accepts a connection of a listening socket, and waits until there is
// one (loop.sock_accept). The file that it returns is a socket that is not in
// blocking mode, and belongs to the caller; net.FileConn makes a connection of
// package net of it. A cancelled SockAccept takes no connection. All else is as with
// SockRecv.
func SockAccept(ctx context.Context, c syscall.Conn) (*os.File, SockAddr, error) {
	s, err := newSockOp(ctx, "SockAccept", c)
	if err != nil {
		return nil, SockAddr{}, err
	}
	var f *os.File
	var from seam.Addr
	err = s.until(ctx, seam.Readable, func(fd int) (err error) {
		f, from, err = s.calls.Accept(fd)
		return err
	})
	return f, SockAddr(from), err
}

// A sockOp is a call on a socket, of one task.
type sockOp struct {
	task  *task
	calls seam.Sockets
	op    string
	conn  syscall.Conn
	raw   syscall.RawConn
	fd    int // the number of the descriptor at the latest try
}

func newSockOp(ctx context.Context, op string, c syscall.Conn) (*sockOp, error) {
	t, err := current(ctx, op)
	if err != nil {
		return nil, err
	}
	if err := t.loop.untaped(op, "a descriptor of others"); err != nil {
		return nil, err
	}
	calls, ok := t.loop.net.(seam.Sockets)
	if !ok {
		return nil, fmt.Errorf("asyncio: %s: this network has no descriptors: %w", op, errors.ErrUnsupported)
	}
	raw, err := rawOf(op, c)
	if err != nil {
		return nil, err
	}
	return &sockOp{task: t, calls: calls, op: op, conn: c, raw: raw}, nil
}

// until calls try until it does not return seam.ErrWouldBlock, and waits for r in
// between. The descriptor is open during each try; while it waits, it has to be.
func (s *sockOp) until(ctx context.Context, r seam.Readiness, try func(fd int) error) error {
	var result error
	once := func(fd uintptr) {
		s.fd = int(fd)
		result = try(s.fd)
	}
	for {
		err := control(s.conn, s.raw, once)
		if err == nil {
			err = result
		}
		switch err {
		case seam.ErrWouldBlock:
			if err := s.wait(ctx, r); err != nil {
				return err
			}
		case seam.ErrBlocking:
			return misuse(s.op, ErrBadArgument, "the socket is in blocking mode and would block the loop; syscall.SetNonblock changes that")
		case seam.ErrNoStream:
			return misuse(s.op, ErrBadArgument, "the socket is not for a stream")
		case nil, io.EOF:
			return err
		default:
			return s.named(err)
		}
	}
}

// wait waits for r, after a try.
func (s *sockOp) wait(ctx context.Context, r seam.Readiness) error {
	return s.task.awaitReady(ctx, s.op, s.conn, s.fd, r)
}

// named gives err the name of the function.
func (s *sockOp) named(err error) error { return fmt.Errorf("asyncio: %s: %w", s.op, err) }

// sendAll sends p and returns how much of it was sent.
func (s *sockOp) sendAll(ctx context.Context, p []byte) (sent int, err error) {
	for sent < len(p) && err == nil {
		err = s.until(ctx, seam.Writable, func(fd int) error {
			n, err := s.calls.Send(fd, p[sent:], seam.Addr{})
			sent += n
			return err
		})
	}
	return sent, err
}
