// This file starts connections.

package portable

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// Dial starts to connect a stream, as in seam.Network. Only what is wrong with the
// addresses is returned at once.
func (n *Network) Dial(network string, to, local seam.Addr, h seam.Handler) (seam.Conn, error) {
	var attempt func(ctx context.Context) (net.Conn, error)
	var remote net.Addr
	switch network {
	case "tcp":
		kind, at, err := inet("tcp", to.AddrPort)
		if err != nil {
			return nil, err
		}
		from := local.AddrPort
		if from.IsValid() {
			if from, err = unmap(from); err != nil {
				return nil, err
			}
			if from.Addr().Is4() != at.Addr().Is4() {
				return nil, os.NewSyscallError("bind", syscall.EAFNOSUPPORT)
			}
		}
		remote = net.TCPAddrFromAddrPort(at)
		attempt = func(ctx context.Context) (net.Conn, error) { return dialTCP(ctx, kind, from, at) }
	case "unix":
		if err := checkPath(to.Path); err != nil || to.Path == "" {
			return nil, os.NewSyscallError("connect", syscall.EINVAL)
		}
		var from *net.UnixAddr
		if local.Path != "" {
			from = &net.UnixAddr{Name: local.Path, Net: "unix"}
		}
		at := &net.UnixAddr{Name: to.Path, Net: "unix"}
		remote = at
		attempt = func(ctx context.Context) (net.Conn, error) {
			c, err := new(net.Dialer).DialUnix(ctx, "unix", from, at)
			if err != nil {
				return nil, err // and not a nil *net.UnixConn
			}
			return c, nil
		}
	default:
		return nil, net.UnknownNetworkError(network)
	}
	c := n.newConn(nil)
	c.handler = h
	c.started = true
	c.remote = remote
	c.result = seam.ErrWouldBlock
	c.attempted = make(chan struct{})
	c.goroutines = 1
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	go c.connect(ctx, attempt)
	return c, nil
}

func dialTCP(ctx context.Context, kind string, from, at netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1, KeepAliveConfig: keepAlive(0)}
	c, err := d.DialTCP(ctx, kind, from, at)
	if err != nil {
		return nil, err
	}
	// Dialing a port of this machine where nobody listens can connect a socket
	// with itself, when the port happens to be the one that the system has chosen
	// for it. Package net tries again then, but not for ever.
	if from.Port() == 0 && c.LocalAddr().String() == c.RemoteAddr().String() {
		c.SetLinger(0)
		c.Close()
		return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	return c, nil
}

// connect makes the attempt, and goes on as receive if there is a connection.
func (c *Conn) connect(ctx context.Context, attempt func(context.Context) (net.Conn, error)) {
	defer c.cancel()
	stream, err := attempt(ctx)
	c.mu.Lock()
	defer close(c.attempted)
	if err == nil && c.ending {
		if tcp, ok := stream.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		stream.Close()
		err = net.ErrClosed
	}
	if err != nil {
		err = plain(err)
		c.result, c.readErr, c.writeErr = err, err, err
		c.report(seam.Writable | seam.Failed)
		c.exit()
		return
	}
	c.result = nil
	c.use(stream)
	c.mu.Unlock()
	c.report(seam.Writable)
	go c.receive()
}

// keepAlive returns how package net shall probe connections: each interval, never
// if that is negative; 0 is the default.
func keepAlive(interval time.Duration) net.KeepAliveConfig {
	const most = 32767 * time.Second // more is an error on Linux
	if interval < 0 {
		return net.KeepAliveConfig{}
	}
	if interval == 0 {
		interval = 15 * time.Second
	}
	return net.KeepAliveConfig{Enable: true, Idle: min(interval, most), Interval: 15 * time.Second, Count: 9}
}

// inet returns the network of package net ("tcp4", "udp6") for an IP address, and
// the address as it wants it.
func inet(kind string, ap netip.AddrPort) (string, netip.AddrPort, error) {
	ap, err := unmap(ap)
	if err != nil {
		return "", ap, err
	}
	if ap.Addr().Is4() {
		return kind + "4", ap, nil
	}
	return kind + "6", ap, nil
}

// unmap returns an address without an IPv4 address in an IPv6 one. Its zone must
// exist: package net takes an unknown one for none.
func unmap(ap netip.AddrPort) (netip.AddrPort, error) {
	if !ap.IsValid() {
		return ap, &net.AddrError{Err: "no IP address", Addr: ap.String()}
	}
	if zone := ap.Addr().Zone(); zone != "" {
		if _, err := net.InterfaceByName(zone); err != nil {
			if _, err := strconv.ParseUint(zone, 10, 32); err != nil {
				return ap, &net.AddrError{Err: "unknown IPv6 zone", Addr: ap.String()}
			}
		}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

// abstract reports whether path names no file: it has a name of Linux's abstract
// namespace, or none.
func abstract(path string) bool {
	return path == "" || path[0] == '@' || path[0] == 0
}

// checkPath refuses names of which the system would read only a part.
func checkPath(path string) error {
	if !abstract(path) && strings.IndexByte(path, 0) >= 0 {
		return syscall.EINVAL
	}
	return nil
}
