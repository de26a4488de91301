// Datagrams for protocols: the order of the calls, what an error ends and what not,
// what waits to be sent, and where an endpoint may be.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
	"github.com/goasyncio/asyncio/internal/seam"
)

// A diary is a DatagramProtocol that writes down its calls, and does what the test
// wants at some of them.
type diary struct {
	t    *asyncio.DatagramTransport
	said []string
	from []asyncio.SockAddr
	errs []error
	do   map[string]func()
	lost error
}

func (d *diary) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	d.said = append(d.said, line)
	word, _, _ := strings.Cut(line, " ")
	if do := d.do[word]; do != nil {
		do()
	}
}

func (d *diary) ConnectionMade(t *asyncio.DatagramTransport) { d.t = t; d.say("made") }
func (d *diary) PauseWriting()                               { d.say("pause") }
func (d *diary) ResumeWriting()                              { d.say("resume") }
func (d *diary) ConnectionLost(err error)                    { d.lost = err; d.say("lost") }
func (d *diary) ErrorReceived(err error)                     { d.errs = append(d.errs, err); d.say("error") }
func (d *diary) DatagramReceived(p []byte, from asyncio.SockAddr) {
	d.from = append(d.from, from)
	d.say("got %s", p)
}

// expect checks what has been written down since the last time.
func (d *diary) expect(t testing.TB, want ...string) {
	t.Helper()
	if !slices.Equal(d.said, want) {
		t.Errorf("the protocol was told %q, want %q", d.said, want)
	}
	d.said = nil
}

// until waits until a line has been written down.
func (d *diary) until(t *testing.T, ctx context.Context, line string) {
	t.Helper()
	untilTrue(t, ctx, func() bool { return slices.Contains(d.said, line) })
}

// open opens an endpoint with a diary.
func openDiary(t testing.TB, ctx context.Context, opts *asyncio.DatagramOptions) (*asyncio.DatagramTransport, *diary) {
	t.Helper()
	tr, d, err := asyncio.CreateDatagramEndpoint(ctx, func() *diary { return &diary{do: map[string]func(){}} }, opts)
	if err != nil {
		t.Fatal(err)
	}
	return tr, d
}

// nobody is no address: the connected peer.
var nobody asyncio.SockAddr

// sockAddr is the address that s says.
func sockAddr(t testing.TB, s string) asyncio.SockAddr {
	return asyncio.SockAddr{AddrPort: addrPort(t, s)}
}

// gone returns an address of 127.0.0.1 to which nothing is bound, nor will be by others:
// its port is none of those that the system gives to whoever wants any.
func gone(t testing.TB) string {
	t.Helper()
	for tries := 1; ; tries++ {
		c, err := net.ListenPacket("udp4", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000)))
		if err == nil {
			defer c.Close()
			return c.LocalAddr().String()
		}
		if tries == 1000 {
			t.Fatal(err)
		}
	}
}

// needUDP6 skips the test on machines without ::1.
func needUDP6(t testing.TB) {
	t.Helper()
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip(err)
	}
	c.Close()
}

// needUnixgram skips the test on systems without such sockets.
func needUnixgram(t testing.TB) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there are no Unix sockets for datagrams")
	}
}

func TestDatagramEcho(t *testing.T) {
	leavesNothing(t)
	echo := func(t *testing.T, at func() *asyncio.DatagramOptions) {
		runStreams(t, func(ctx context.Context) error {
			server, sd := openDiary(t, ctx, at())
			client, cd := openDiary(t, ctx, at())
			sd.do["got"] = func() {
				if err := server.SendTo([]byte("you said so"), sd.from[len(sd.from)-1]); err != nil {
					t.Error(err)
				}
			}
			for _, text := range []string{"hello", ""} {
				if err := client.SendTo([]byte(text), server.LocalAddr()); err != nil {
					t.Error(err)
				}
				sd.until(t, ctx, "got "+text)
				cd.until(t, ctx, "got you said so")
				if from := cd.from[len(cd.from)-1]; from != server.LocalAddr() {
					t.Errorf("the answer is from %v, the server is %v", from, server)
				}
				cd.said = slices.DeleteFunc(cd.said, func(line string) bool { return line != "made" })
			}
			sd.expect(t, "made", "got hello", "got ")
			for _, tr := range []*asyncio.DatagramTransport{server, client} {
				if err := errors.Join(tr.Close(), tr.Close()); err != nil || !tr.IsClosing() {
					t.Errorf("Close = %v: %v", err, tr)
				}
				tr.Abort()
			}
			sd.expect(t) // not before the next pass
			if err := asyncio.Yield(ctx); err != nil {
				return err
			}
			sd.expect(t, "lost")
			cd.expect(t, "made", "lost")
			if sd.lost != nil || cd.lost != nil {
				t.Errorf("lost with %v, %v", sd.lost, cd.lost)
			}
			return nil
		})
	}
	t.Run("EV-059 over IPv4", func(t *testing.T) {
		echo(t, func() *asyncio.DatagramOptions { return &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"} })
	})
	t.Run("EV-060 over IPv6", func(t *testing.T) {
		needUDP6(t)
		echo(t, func() *asyncio.DatagramOptions { return &asyncio.DatagramOptions{LocalAddr: "[::1]:0"} })
	})
	t.Run("over Unix sockets", func(t *testing.T) {
		needUnixgram(t)
		echo(t, func() *asyncio.DatagramOptions {
			return &asyncio.DatagramOptions{Network: "unixgram", LocalAddr: socketPath(t)}
		})
	})
	t.Run("EV-061 with sockets of package net", func(t *testing.T) {
		echo(t, func() *asyncio.DatagramOptions {
			c, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			return &asyncio.DatagramOptions{Conn: c}
		})
	})
}

func TestDatagramPeer(t *testing.T) {
	leavesNothing(t)
	t.Run("SEL-077 a connected endpoint sends to its peer only", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			server, sd := openDiary(t, ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
			client, cd := openDiary(t, ctx, &asyncio.DatagramOptions{RemoteAddr: server.LocalAddr().String()})
			stranger, _ := openDiary(t, ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
			if client.RemoteAddr() != server.LocalAddr() || !server.RemoteAddr().IsZero() {
				t.Errorf("peers: %v, %v", client, server)
			}
			mistake(t, client.SendTo(nil, stranger.LocalAddr()), asyncio.ErrBadArgument)
			mistake(t, server.SendTo(nil, nobody), asyncio.ErrBadArgument)
			mistake(t, server.SendTo(nil, asyncio.SockAddr{Path: "/s"}), asyncio.ErrBadArgument)
			mapped := asyncio.SockAddr{AddrPort: netip.AddrPortFrom(netip.AddrFrom16(server.LocalAddr().AddrPort.Addr().As16()), server.LocalAddr().AddrPort.Port())}
			for i, to := range []asyncio.SockAddr{nobody, server.LocalAddr(), mapped} {
				if err := client.SendTo(fmt.Append(nil, i), to); err != nil {
					t.Error(err)
				}
				sd.until(t, ctx, fmt.Sprint("got ", i))
			}
			// It hears its peer only.
			if err := errors.Join(stranger.SendTo([]byte("psst"), client.LocalAddr()), server.SendTo([]byte("yes"), client.LocalAddr())); err != nil {
				return err
			}
			cd.until(t, ctx, "got yes")
			cd.expect(t, "made", "got yes")
			return nil
		})
	})
	t.Run("BASE-097 a broadcast endpoint has a peer to send to, and hears all", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			server, sd := openDiary(t, ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
			client, cd := openDiary(t, ctx, &asyncio.DatagramOptions{
				LocalAddr: "127.0.0.1:0", RemoteAddr: server.LocalAddr().String(), Broadcast: true,
			})
			stranger, _ := openDiary(t, ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
			mistake(t, client.SendTo(nil, stranger.LocalAddr()), asyncio.ErrBadArgument)
			if err := errors.Join(client.SendTo([]byte("all"), nobody), stranger.SendTo([]byte("me too"), client.LocalAddr())); err != nil {
				return err
			}
			sd.until(t, ctx, "got all")
			cd.until(t, ctx, "got me too")
			return nil
		})
	})
	t.Run("BASE-098 Unix endpoints need no address", func(t *testing.T) {
		needUnixgram(t)
		runStreams(t, func(ctx context.Context) error {
			server, sd := openDiary(t, ctx, &asyncio.DatagramOptions{Network: "unixgram", LocalAddr: socketPath(t)})
			free, _ := openDiary(t, ctx, &asyncio.DatagramOptions{Network: "unixgram"})
			bound, _ := openDiary(t, ctx, &asyncio.DatagramOptions{Network: "unixgram", RemoteAddr: server.LocalAddr().Path})
			if !free.LocalAddr().IsZero() || !bound.LocalAddr().IsZero() {
				t.Errorf("they are %v and %v", free, bound)
			}
			mistake(t, free.SendTo(nil, sockAddr(t, "127.0.0.1:9")), asyncio.ErrBadArgument)
			if err := errors.Join(free.SendTo([]byte("one"), server.LocalAddr()), bound.SendTo([]byte("two"), nobody)); err != nil {
				return err
			}
			sd.until(t, ctx, "got two")
			sd.expect(t, "made", "got one", "got two")
			if !sd.from[0].IsZero() {
				t.Errorf("the first is from %v", sd.from[0])
			}
			return nil
		})
	})
	t.Run("BASE-099 a stale socket file is replaced, and the own one removed", func(t *testing.T) {
		needUnixgram(t)
		path := socketPath(t)
		stale, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		stale.Close()
		runStreams(t, func(ctx context.Context) error {
			openDiary(t, ctx, &asyncio.DatagramOptions{Network: "unixgram", LocalAddr: path})
			return nil
		})
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file is left: %v", err)
		}
	})
	t.Run("EV-062 EV-067 a refused datagram is told, and the endpoint goes on", func(t *testing.T) {
		address := gone(t)
		runStreams(t, func(ctx context.Context) error {
			client, cd := openDiary(t, ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0", RemoteAddr: address})
			if err := client.SendTo([]byte("anybody?"), nobody); err != nil {
				return err
			}
			cd.until(t, ctx, "error")
			var op *net.OpError
			if err := cd.errs[0]; !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) || op.Op != "read" || op.Addr.String() != address {
				t.Errorf("the error is %v", err)
			}
			server, sd := openDiary(t, ctx, &asyncio.DatagramOptions{LocalAddr: address})
			if err := client.SendTo([]byte("there you are"), nobody); err != nil {
				return err
			}
			sd.until(t, ctx, "got there you are")
			if err := server.SendTo([]byte("yes"), client.LocalAddr()); err != nil {
				return err
			}
			cd.until(t, ctx, "got yes")
			cd.expect(t, "made", "error", "got yes")
			return nil
		})
	})
	t.Run("errors of sending go to the protocol", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			tr, d := openDiary(t, ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
			for _, err := range []error{
				tr.SendTo(make([]byte, 1<<16), tr.LocalAddr()),     // too long
				tr.SendTo(nil, sockAddr(t, "[::1]:9")),             // of another family
				tr.SendTo(nil, sockAddr(t, "[fe80::1%nowhere]:9")), // in no zone
			} {
				if err != nil {
					t.Errorf("SendTo = %v", err)
				}
			}
			d.expect(t, "made", "error", "error", "error")
			if !errors.Is(d.errs[0], syscall.EMSGSIZE) {
				t.Errorf("the first error is %v", d.errs[0])
			}
			if tr.IsClosing() {
				t.Error("it has closed")
			}
			return nil
		})
	})
}

func TestDatagramOptions(t *testing.T) {
	leavesNothing(t)
	open := func(ctx context.Context, opts *asyncio.DatagramOptions) error {
		tr, _, err := asyncio.CreateDatagramEndpoint(ctx, func() *diary { return new(diary) }, opts)
		if err == nil {
			tr.Abort()
		}
		return err
	}
	v4, v6 := netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0")
	foreign := netip.MustParseAddrPort("192.0.2.1:0") // of documentation: not of this machine
	unasked := asyncio.ResolverFunc(func(_ context.Context, network, host, port string) ([]netip.AddrPort, error) {
		t.Errorf("the resolver was asked for %s %s %s", network, host, port)
		return nil, nil
	})
	for _, test := range []struct {
		name string
		opts *asyncio.DatagramOptions
		want error
	}{
		{"BASE-087 an empty answer of the resolver", &asyncio.DatagramOptions{LocalAddr: "name.example:80", Resolver: resolvesTo()}, new(net.DNSError)},
		{"BASE-087 an empty answer for the peer", &asyncio.DatagramOptions{RemoteAddr: "name.example:80", Resolver: resolvesTo()}, new(net.DNSError)},
		{"BASE-088 a local address without a port", &asyncio.DatagramOptions{LocalAddr: "127.0.0.1"}, new(net.AddrError)},
		{"BASE-088 a remote address without a port", &asyncio.DatagramOptions{RemoteAddr: "127.0.0.1"}, new(net.AddrError)},
		{"BASE-089 connecting fails", &asyncio.DatagramOptions{Network: "unixgram", RemoteAddr: "/nonexistent/s"}, syscall.ENOENT},
		{"BASE-091 binding fails", &asyncio.DatagramOptions{LocalAddr: "192.0.2.1:0"}, syscall.EADDRNOTAVAIL},
		{"BASE-093 neither address nor family", &asyncio.DatagramOptions{ReusePort: true}, asyncio.ErrBadArgument},
		{"no options", nil, asyncio.ErrBadArgument},
		{"BASE-094 no common family", &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0", RemoteAddr: "[::1]:9"}, new(net.AddrError)},
		{"BASE-094 no address of the network's family", &asyncio.DatagramOptions{Network: "udp6", LocalAddr: "127.0.0.1:0"}, new(net.AddrError)},
		{"an unknown network", &asyncio.DatagramOptions{Network: "tcp", LocalAddr: "127.0.0.1:0"}, net.UnknownNetworkError("tcp")},
		{"a service that does not exist", &asyncio.DatagramOptions{LocalAddr: ":no-such-service"}, new(net.DNSError)},
		{"the first pair that works is used", &asyncio.DatagramOptions{LocalAddr: "name.example:0", Resolver: resolvesTo(foreign, v6, v4, foreign)}, nil},
		{"each pair fails", &asyncio.DatagramOptions{LocalAddr: "name.example:0", Resolver: resolvesTo(foreign, foreign)}, syscall.EADDRNOTAVAIL},
		{"pairs have one family", &asyncio.DatagramOptions{LocalAddr: ":0", RemoteAddr: "name.example:9", Resolver: resolvesTo(v4)}, nil},
		{"a family is enough", &asyncio.DatagramOptions{Network: "udp4"}, nil},
		{"any address and any port", &asyncio.DatagramOptions{LocalAddr: ":0"}, nil},
		{"any address of one family", &asyncio.DatagramOptions{Network: "udp4", LocalAddr: ":0"}, nil},
		{"a family that the name does not have", &asyncio.DatagramOptions{Network: "udp6", LocalAddr: "name.example:0", Resolver: resolvesTo(v4)}, new(net.DNSError)},
		{"the port of a service", &asyncio.DatagramOptions{RemoteAddr: "127.0.0.1:domain"}, nil},
		{"BASE-102 literal addresses are not looked up", &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0", RemoteAddr: "127.0.0.1:9", Resolver: unasked}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			runStreams(t, func(ctx context.Context) error {
				err := open(ctx, test.opts)
				var op *net.OpError
				switch want := test.want.(type) {
				case nil:
					if err != nil {
						t.Error(err)
					}
				case *net.DNSError:
					if !errors.As(err, &want) || !errors.As(err, &op) {
						t.Errorf("error is %v, want a DNSError", err)
					}
				case *net.AddrError:
					if !errors.As(err, &want) || !errors.As(err, &op) {
						t.Errorf("error is %v, want an AddrError", err)
					}
				default:
					if !errors.Is(err, want) {
						t.Errorf("error is %v, want %v", err, want)
					}
					if want == asyncio.ErrBadArgument {
						mistake(t, err, want)
					} else if !errors.As(err, &op) {
						t.Errorf("error is a %T, want an OpError", err)
					}
				}
				return nil
			})
		})
	}
	t.Run("BASE-090 a socket cannot be made", func(t *testing.T) {
		s := newPacketStage()
		s.refuse = os.NewSyscallError("socket", syscall.EMFILE)
		runStreams(t, func(ctx context.Context) error {
			var op *net.OpError
			if err := open(ctx, bound); !errors.Is(err, syscall.EMFILE) || !errors.As(err, &op) || op.Op != "listen" || op.Addr.String() != bound.LocalAddr {
				t.Errorf("error is %v", err)
			}
			if err := open(ctx, toPeer); !errors.Is(err, syscall.EMFILE) || !errors.As(err, &op) || op.Op != "dial" || op.Addr.String() != toPeer.RemoteAddr {
				t.Errorf("error is %v", err)
			}
			return nil
		}, s.option())
	})
	t.Run("a port for both families of any address", func(t *testing.T) {
		needUDP6(t)
		runStreams(t, func(ctx context.Context) error {
			v4, _ := openDiary(t, ctx, &asyncio.DatagramOptions{Network: "udp4", LocalAddr: ":0"})
			_, port, err := net.SplitHostPort(v4.LocalAddr().String())
			if err != nil {
				return err
			}
			v6, d := openDiary(t, ctx, &asyncio.DatagramOptions{Network: "udp6", LocalAddr: ":" + port})
			client, _ := openDiary(t, ctx, &asyncio.DatagramOptions{RemoteAddr: "[::1]:" + port})
			if err := client.SendTo([]byte("hello"), nobody); err != nil {
				return err
			}
			d.until(t, ctx, "got hello")
			if !v6.LocalAddr().AddrPort.Addr().Is6() {
				t.Errorf("it is %v", v6)
			}
			return nil
		})
	})
	t.Run("a socket is closed if there is no task to open an endpoint", func(t *testing.T) {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, err = asyncio.OpenDatagramEndpoint(context.Background(), &asyncio.DatagramOptions{Conn: c})
		mistake(t, err, asyncio.ErrOutsideTask)
		if _, err := c.WriteTo(nil, c.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("it is not closed: %v", err)
		}
	})
	t.Run("a factory is needed, and has to make a protocol", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			opts := &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"}
			_, _, err := asyncio.CreateDatagramEndpoint[*diary](ctx, nil, opts)
			mistake(t, err, asyncio.ErrBadArgument)
			_, _, err = asyncio.CreateDatagramEndpoint(ctx, func() asyncio.DatagramProtocol { return nil }, opts)
			mistake(t, err, asyncio.ErrBadArgument)
			func() {
				defer func() {
					if p := recover(); p != "oops" {
						t.Errorf("the panic is %v", p)
					}
				}()
				asyncio.CreateDatagramEndpoint(ctx, func() *diary { panic("oops") }, opts)
			}()
			return nil
		})
		_, _, err := asyncio.CreateDatagramEndpoint(context.Background(), func() *diary { return new(diary) }, nil)
		mistake(t, err, asyncio.ErrOutsideTask)
		_, err = asyncio.OpenDatagramEndpoint(context.Background(), nil)
		mistake(t, err, asyncio.ErrOutsideTask)
	})
	t.Run("BASE-095 a socket of streams is rejected", func(t *testing.T) {
		needUnixgram(t)
		ln, err := net.Listen("unix", socketPath(t))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		c, err := net.Dial("unix", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		runStreams(t, func(ctx context.Context) error {
			if err := open(ctx, &asyncio.DatagramOptions{Conn: c.(net.PacketConn)}); err == nil {
				t.Error("it was taken")
			}
			return nil
		})
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("it is not closed: %v", err)
		}
	})
	t.Run("BASE-096 each option beside a socket is rejected", func(t *testing.T) {
		for name, opts := range map[string]*asyncio.DatagramOptions{
			"Network":               {Network: "udp4"},
			"LocalAddr":             {LocalAddr: "127.0.0.1:0"},
			"RemoteAddr":            {RemoteAddr: "127.0.0.1:9"},
			"ReusePort":             {ReusePort: true},
			"Broadcast":             {Broadcast: true},
			"Resolver":              {Resolver: unasked},
			"LocalAddr, RemoteAddr": {LocalAddr: "127.0.0.1:0", RemoteAddr: "127.0.0.1:9"},
		} {
			c, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			opts.Conn = c
			runStreams(t, func(ctx context.Context) error {
				err := open(ctx, opts)
				mistake(t, err, asyncio.ErrBadArgument)
				if !strings.Contains(fmt.Sprint(err), "with "+name+";") {
					t.Errorf("error is %v, want it to name %s", err, name)
				}
				return nil
			})
			if _, err := c.WriteTo(nil, c.LocalAddr()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("it is not closed: %v", err)
			}
		}
	})
	t.Run("BASE-100 BASE-101 sharing a port has to be asked for", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			first, _ := openDiary(t, ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0", ReusePort: true})
			at := first.LocalAddr().String()
			if err := open(ctx, &asyncio.DatagramOptions{LocalAddr: at, ReusePort: true}); err != nil {
				t.Error(err)
			}
			if err := open(ctx, &asyncio.DatagramOptions{LocalAddr: at}); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("error is %v", err)
			}
			return nil
		})
	})
	t.Run("BASE-100 BASE-101 so has broadcasting", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			_, d := openDiary(t, ctx, &asyncio.DatagramOptions{Network: "udp4"})
			d.t.SendTo(nil, sockAddr(t, "255.255.255.255:9"))
			if len(d.errs) != 1 || !errors.Is(d.errs[0], syscall.EACCES) {
				t.Errorf("errors are %v", d.errs)
			}
			_, d = openDiary(t, ctx, &asyncio.DatagramOptions{Network: "udp4", Broadcast: true})
			d.t.SendTo(nil, sockAddr(t, "255.255.255.255:9"))
			if len(d.errs) > 0 && errors.Is(d.errs[0], syscall.EACCES) { // there may be no network
				t.Errorf("errors are %v", d.errs)
			}
			return nil
		})
	})
	t.Run("a cancelled call leaves nothing", func(t *testing.T) {
		asked := make(chan struct{})
		slow := asyncio.ResolverFunc(func(ctx context.Context, _, _, _ string) ([]netip.AddrPort, error) {
			close(asked)
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		runStreams(t, func(ctx context.Context) error {
			opening := asyncio.Go(ctx, func(ctx context.Context) error {
				return open(ctx, &asyncio.DatagramOptions{LocalAddr: "name.example:0", Resolver: slow})
			})
			if err := gate(asked).waitIn(ctx); err != nil {
				return err
			}
			opening.Cancel(nil)
			if err := opening.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
				t.Errorf("error is %v", err)
			}
			return nil
		})
	})
	t.Run("a call that is cancelled at the last moment tells the protocol of both", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			d := &diary{}
			opening := asyncio.Go(ctx, func(ctx context.Context) error {
				_, _, err := asyncio.CreateDatagramEndpoint(ctx, func() *diary { return d }, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
				return err
			})
			d.do = map[string]func(){"made": func() { opening.Cancel(nil) }}
			if err := opening.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
				t.Errorf("error is %v", err)
			}
			if err := asyncio.Yield(ctx); err != nil {
				return err
			}
			d.expect(t, "made", "lost")
			return nil
		})
	})
}

// A packetStage is a network with one socket, whose answers a test makes up.
type packetStage struct {
	wake   chan struct{}
	h      seam.Handler
	in     []func(p []byte) (int, seam.Addr, error) // what ReadFrom does next
	answer func(p []byte, to seam.Addr) error       // of WriteTo; nil: all is sent
	sent   []string                                 // text and address
	tries  int                                      // calls of WriteTo
	remote seam.Addr
	refuse error // what OpenPacket returns
	closed int
}

func newPacketStage() *packetStage { return &packetStage{wake: make(chan struct{}, 1)} }

func (s *packetStage) option() asyncio.LoopOption {
	return seam.LoopOption(seam.Seams{NewNetwork: func() (seam.Network, error) { return s, nil }}).(asyncio.LoopOption)
}

func (s *packetStage) Wait(d time.Duration) (bool, error) {
	var over <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-s.wake:
		return true, nil
	case <-over:
		return false, nil
	}
}

func (s *packetStage) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *packetStage) Dial(string, seam.Addr, seam.Addr, seam.Handler) (seam.Conn, error) {
	return nil, errors.ErrUnsupported
}

func (s *packetStage) Listen(string, seam.Addr, seam.ListenOptions, seam.Handler) (seam.Listener, error) {
	return nil, errors.ErrUnsupported
}

func (s *packetStage) OpenPacket(_ string, _, remote seam.Addr, _ seam.PacketOptions, h seam.Handler) (seam.PacketConn, error) {
	if s.refuse != nil {
		return nil, s.refuse
	}
	s.h, s.remote = h, remote
	return packetActor{s}, nil
}

func (s *packetStage) Close() error { return nil }

// A packetActor is the socket of a packetStage.
type packetActor struct{ *packetStage }

func (s packetActor) ReadFrom(p []byte) (int, seam.Addr, error) {
	if len(s.in) == 0 {
		return 0, seam.Addr{}, seam.ErrWouldBlock
	}
	next := s.in[0]
	s.packetStage.in = s.in[1:]
	return next(p)
}

func (s packetActor) WriteTo(p []byte, to seam.Addr) error {
	s.packetStage.tries++
	if s.answer != nil {
		if err := s.answer(p, to); err != nil {
			return err
		}
	}
	s.packetStage.sent = append(s.sent, fmt.Sprintf("%s>%v", p, asyncio.SockAddr(to)))
	return nil
}

func (s packetActor) Close() error { s.packetStage.closed++; return nil }
func (s packetActor) LocalAddr() seam.Addr {
	return seam.Addr{AddrPort: netip.MustParseAddrPort("192.0.2.1:1")}
}
func (s packetActor) RemoteAddr() seam.Addr { return s.remote }

// arrives lets a datagram arrive, or an error.
func (s *packetStage) arrives(text string, err error) {
	s.in = append(s.in, func(p []byte) (int, seam.Addr, error) {
		if err != nil {
			return 0, seam.Addr{}, err
		}
		return copy(p, text), seam.Addr{AddrPort: netip.MustParseAddrPort("192.0.2.2:2")}, nil
	})
}

// blocks makes all that is sent block, until ready.
func (s *packetStage) blocks() {
	s.answer = func([]byte, seam.Addr) error { return seam.ErrWouldBlock }
}

func (s *packetStage) expect(t testing.TB, want ...string) {
	t.Helper()
	if !slices.Equal(s.sent, want) {
		t.Errorf("sent %q, want %q", s.sent, want)
	}
	s.sent = nil
}

// report makes readiness known and lets a pass go by.
func (s *packetStage) report(ctx context.Context, r seam.Readiness) {
	s.h.Ready(r)
	asyncio.Yield(asyncio.CleanupContext(ctx))
}

// room ends blocks.
func (s *packetStage) room(ctx context.Context) {
	s.answer = nil
	s.report(ctx, seam.Writable)
}

// onStage runs test with an endpoint on a stage. Its loop closes the endpoint.
func onStage(t *testing.T, opts *asyncio.DatagramOptions, test func(ctx context.Context, s *packetStage, d *diary), more ...asyncio.RunOption) {
	t.Helper()
	s := newPacketStage()
	var d *diary
	runStreams(t, func(ctx context.Context) error {
		_, d = openDiary(t, ctx, opts)
		d.expect(t, "made")
		test(ctx, s, d)
		return nil
	}, append(more, s.option())...)
	if s.closed != 1 {
		t.Errorf("the socket was closed %d times", s.closed)
	}
	if d.do["lost"] = nil; !d.t.IsClosing() {
		t.Error("the endpoint is open")
	}
}

var (
	bound   = &asyncio.DatagramOptions{LocalAddr: "192.0.2.1:1"}
	toPeer  = &asyncio.DatagramOptions{RemoteAddr: "192.0.2.2:2"}
	refusal = os.NewSyscallError("sendto", syscall.ECONNREFUSED)
)

func TestDatagramReceiving(t *testing.T) {
	leavesNothing(t)
	to := sockAddr(t, "192.0.2.3:3")
	t.Run("SEL-067 data and sender are delivered", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			s.arrives("one", nil)
			s.arrives("", nil)
			s.report(ctx, seam.Readable)
			d.expect(t, "got one", "got ")
			if d.from[0] != sockAddr(t, "192.0.2.2:2") {
				t.Errorf("it is from %v", d.from[0])
			}
		})
	})
	t.Run("SEL-068 an error of the system is told, and the rest still comes", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			s.arrives("", os.NewSyscallError("recvfrom", syscall.ECONNREFUSED))
			s.arrives("one", nil)
			s.report(ctx, seam.Failed)
			d.expect(t, "error", "got one")
			if !errors.Is(d.errs[0], syscall.ECONNREFUSED) || d.t.IsClosing() {
				t.Errorf("error is %v, %v", d.errs[0], d.t)
			}
		})
	})
	t.Run("SEL-069 another error is the end", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			broken := errors.New("broken")
			s.arrives("", broken)
			s.arrives("late", nil)
			s.report(ctx, seam.Readable)
			asyncio.Yield(ctx)
			d.expect(t, "lost")
			if !errors.Is(d.lost, broken) {
				t.Errorf("lost with %v", d.lost)
			}
		})
	})
	t.Run("both kinds as a network of package net tells them", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			s.arrives("", &net.OpError{Op: "read", Net: "udp", Err: os.NewSyscallError("wsarecvfrom", syscall.ECONNRESET)})
			s.arrives("", &net.OpError{Op: "read", Net: "udp", Err: net.ErrClosed})
			s.report(ctx, seam.Readable)
			asyncio.Yield(ctx)
			d.expect(t, "error", "lost")
			if !errors.Is(d.errs[0], syscall.ECONNRESET) || !errors.Is(d.lost, net.ErrClosed) {
				t.Errorf("errors are %v and %v", d.errs, d.lost)
			}
		})
	})
	t.Run("a flood does not hold up the others", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			for range 1000 {
				s.arrives("x", nil)
			}
			s.h.Ready(seam.Readable)
			for range 3 {
				before := len(d.said)
				asyncio.Yield(ctx)
				if got := len(d.said) - before; got > 100 {
					t.Errorf("%d in one pass", got)
				}
			}
			untilTrue(t, ctx, func() bool { return len(d.said) == 1000 }) // with one report
		})
	})
	for _, how := range []string{"Close", "Abort"} {
		t.Run(how+" from inside ends the reading", func(t *testing.T) {
			onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
				d.do["got"] = func() {
					if how == "Close" {
						d.t.Close()
					} else {
						d.t.Abort()
					}
				}
				s.arrives("one", nil)
				s.arrives("two", nil)
				s.report(ctx, seam.Readable)
				asyncio.Yield(ctx)
				d.expect(t, "got one", "lost")
				if err := d.t.SendTo(nil, to); !errors.Is(err, net.ErrClosed) {
					t.Errorf("SendTo = %v", err)
				}
			})
		})
	}
	t.Run("Close from inside leaves what waits to be sent", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			s.blocks()
			d.t.SendTo([]byte("answer"), to)
			d.do["got"] = func() { d.t.Close() }
			s.arrives("one", nil)
			s.arrives("two", nil)
			s.report(ctx, seam.Readable)
			asyncio.Yield(ctx)
			d.expect(t, "got one")
			s.room(ctx)
			asyncio.Yield(ctx)
			s.expect(t, "answer>192.0.2.3:3")
			if d.expect(t, "lost"); d.lost != nil {
				t.Errorf("lost with %v", d.lost)
			}
		})
	})
	t.Run("a panic is reported and is the end", func(t *testing.T) {
		for call, message := range map[string]string{"got": "DatagramReceived", "error": "ErrorReceived"} {
			var reported reporting
			onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
				d.do[call] = func() { panic("oops") }
				var err error
				if call == "error" {
					err = refusal
				}
				s.arrives("x", err)
				s.arrives("y", nil)
				s.report(ctx, seam.Readable)
				asyncio.Yield(ctx)
				var p *asyncio.PanicError
				if !errors.As(d.lost, &p) || p.Value != "oops" {
					t.Errorf("lost with %v", d.lost)
				}
				reported.expect(t, "panic in "+message+" of a datagram protocol: panic: oops")
			}, reported.option())
		}
	})
	t.Run("a panic of another call is reported", func(t *testing.T) {
		var reported reporting
		s := newPacketStage()
		d := &diary{do: map[string]func(){}}
		for _, call := range []string{"pause", "resume", "lost"} {
			d.do[call] = func() { panic(call) }
		}
		runStreams(t, func(ctx context.Context) error {
			tr, _, err := asyncio.CreateDatagramEndpoint(ctx, func() *diary { return d }, bound)
			if err != nil {
				return err
			}
			tr.SetWriteBufferLimits(0, 0)
			s.blocks()
			tr.SendTo([]byte("x"), to)
			s.room(ctx)
			if s.expect(t, "x>192.0.2.3:3"); tr.IsClosing() {
				t.Error("it has closed")
			}
			return nil
		}, s.option(), reported.option())
		d.expect(t, "made", "pause", "resume", "lost")
		if len(reported.reports) != 3 {
			t.Errorf("reported %q", reported.reports)
		}
	})
	t.Run("a panic of ConnectionMade ends the transport", func(t *testing.T) {
		var reported reporting
		d := &diary{do: map[string]func(){"made": func() { panic("made") }}}
		runStreams(t, func(ctx context.Context) error {
			tr, _, err := asyncio.CreateDatagramEndpoint(ctx, func() *diary { return d }, bound)
			if p := new(asyncio.PanicError); tr != nil || !errors.As(err, &p) || p.Value != "made" {
				t.Errorf("got %v, %v", tr, err)
			}
			return asyncio.Yield(ctx)
		}, newPacketStage().option(), reported.option())
		d.expect(t, "made", "lost")
		if len(reported.reports) != 1 {
			t.Errorf("reported %q", reported.reports)
		}
	})
	t.Run("another protocol may take over", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			second := &diary{}
			panicsWith(t, asyncio.ErrBadArgument, func() { d.t.SetProtocol(nil) })
			d.t.SetProtocol(second)
			if d.t.Protocol() != asyncio.DatagramProtocol(second) {
				t.Error("it is another one")
			}
			s.arrives("one", nil)
			s.report(ctx, seam.Readable)
			d.t.Close()
			asyncio.Yield(ctx)
			d.expect(t)
			second.expect(t, "got one", "lost")
		})
	})
}

func TestDatagramSending(t *testing.T) {
	leavesNothing(t)
	to := sockAddr(t, "192.0.2.3:3")
	send := func(d *diary, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if err := d.t.SendTo([]byte(text), to); err != nil {
				t.Error(err)
			}
		}
	}
	t.Run("SEL-070 it sends at once", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			send(d, "one", "two")
			s.expect(t, "one>192.0.2.3:3", "two>192.0.2.3:3")
			if n := d.t.WriteBufferSize(); n != 0 {
				t.Errorf("%d bytes wait", n)
			}
		})
	})
	t.Run("SEL-071 SEL-072 SEL-074 what blocks waits, as a copy, and what comes after it too", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			s.blocks()
			p := []byte("one")
			d.t.SendTo(p, to)
			copy(p, "xxx")
			s.answer = nil
			send(d, "two") // there is room, but it has not been reported
			s.expect(t)
			s.room(ctx)
			s.expect(t, "one>192.0.2.3:3", "two>192.0.2.3:3")
			send(d, "three")
			s.expect(t, "three>192.0.2.3:3")
		})
	})
	t.Run("SEL-073 SEL-075 empty datagrams count", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			send(d, "")
			s.expect(t, ">192.0.2.3:3")
			s.blocks()
			send(d, "", "four")
			if n := d.t.WriteBufferSize(); n != 8+8+4 {
				t.Errorf("%d bytes wait", n)
			}
			s.room(ctx)
			s.expect(t, ">192.0.2.3:3", "four>192.0.2.3:3")
			if n := d.t.WriteBufferSize(); n != 0 {
				t.Errorf("%d bytes wait", n)
			}
		})
	})
	t.Run("SEL-076 a connected socket is not told the address", func(t *testing.T) {
		onStage(t, toPeer, func(ctx context.Context, s *packetStage, d *diary) {
			d.t.SendTo([]byte("one"), nobody)
			d.t.SendTo([]byte("two"), sockAddr(t, "192.0.2.2:2"))
			s.blocks()
			d.t.SendTo([]byte("three"), nobody)
			s.room(ctx)
			s.expect(t, "one>", "two>", "three>")
		})
	})
	t.Run("SEL-078 what blocks again stays the first", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			s.blocks()
			send(d, "one", "two", "three")
			s.answer = func(p []byte, _ seam.Addr) error {
				if string(p) == "two" {
					return seam.ErrWouldBlock
				}
				return nil
			}
			s.report(ctx, seam.Writable)
			s.expect(t, "one>192.0.2.3:3")
			s.report(ctx, seam.Writable)
			if n := d.t.WriteBufferSize(); n != 8+3+8+5 {
				t.Errorf("%d bytes wait", n)
			}
			s.room(ctx)
			s.expect(t, "two>192.0.2.3:3", "three>192.0.2.3:3")
		})
	})
	t.Run("SEL-079 EV-063 one that fails does not keep the others, and the protocol is resumed", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			d.t.SetWriteBufferLimits(20, 5)
			s.blocks()
			send(d, "one", "two", "three")
			s.answer = func(p []byte, _ seam.Addr) error {
				if string(p) == "two" {
					return refusal
				}
				return nil
			}
			s.report(ctx, seam.Writable)
			s.expect(t, "one>192.0.2.3:3", "three>192.0.2.3:3")
			d.expect(t, "pause", "error", "resume")
			var op *net.OpError
			if !errors.As(d.errs[0], &op) || op.Op != "write" || op.Addr.String() != "192.0.2.3:3" {
				t.Errorf("the error is %v", d.errs[0])
			}
		})
	})
	t.Run("SEL-080 another error is the end", func(t *testing.T) {
		for _, queued := range []bool{false, true} {
			onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
				broken := errors.New("broken")
				if queued {
					s.blocks()
					send(d, "one", "two")
				}
				s.answer = func(p []byte, _ seam.Addr) error { return broken }
				if queued {
					s.report(ctx, seam.Writable)
				} else {
					send(d, "one")
				}
				asyncio.Yield(ctx)
				d.expect(t, "lost")
				if !errors.Is(d.lost, broken) || d.t.WriteBufferSize() != 0 {
					t.Errorf("lost with %v, %d bytes wait", d.lost, d.t.WriteBufferSize())
				}
			})
		}
	})
	t.Run("SEL-081 after the end sending is an error", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			d.t.Abort()
			if err := d.t.SendTo([]byte("x"), to); !errors.Is(err, net.ErrClosed) {
				t.Errorf("SendTo = %v", err)
			}
			s.expect(t)
		})
	})
	t.Run("SEL-082 EV-065 Close sends what waits and then tells of the end", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			s.blocks()
			send(d, "one", "two")
			d.t.Close()
			s.arrives("late", nil)
			s.report(ctx, seam.Readable)
			d.expect(t)
			if want := "<DatagramTransport closing 192.0.2.1:1 queued=22>"; d.t.String() != want {
				t.Errorf("it is %v, want %s", d.t, want)
			}
			s.room(ctx)
			asyncio.Yield(ctx)
			s.expect(t, "one>192.0.2.3:3", "two>192.0.2.3:3")
			d.expect(t, "lost")
			if d.lost != nil {
				t.Errorf("lost with %v", d.lost)
			}
		})
	})
	t.Run("Abort drops what waits", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			s.blocks()
			send(d, "one")
			d.t.Close()
			d.t.Abort()
			s.room(ctx)
			asyncio.Yield(ctx)
			s.expect(t)
			d.expect(t, "lost")
		})
	})
	t.Run("EV-064 a protocol may send when it is told an error", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			s.answer = func(p []byte, _ seam.Addr) error {
				if string(p) == "one" {
					return refusal
				}
				return nil
			}
			d.do["error"] = func() { send(d, "sorry") }
			send(d, "one")
			s.expect(t, "sorry>192.0.2.3:3")
			d.expect(t, "error")
		})
	})
	t.Run("EV-064 even if that fails each time", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			for _, queued := range []bool{false, true} {
				if queued {
					s.blocks()
					send(d, "first")
				}
				s.answer = func([]byte, seam.Addr) error { return refusal }
				d.do["error"] = func() { send(d, "again") }
				if queued {
					s.report(ctx, seam.Writable)
				} else {
					send(d, "first")
				}
				for range 10 { // it goes on for ever, but not in one pass
					asyncio.Yield(ctx)
				}
				d.do["error"] = nil
				asyncio.Yield(ctx)
				asyncio.Yield(ctx)
				if n := len(d.said); n < 10 || n > 15 {
					t.Errorf("it was told %d errors in ten passes", n)
				}
				d.said = nil
			}
		})
	})
	for _, how := range []string{"Close", "Abort"} {
		t.Run("EV-066 "+how+" from inside an error", func(t *testing.T) {
			for _, queued := range []bool{false, true} {
				onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
					d.do["error"] = func() {
						if how == "Close" {
							d.t.Close()
						} else {
							d.t.Abort()
						}
					}
					if queued {
						s.blocks()
						send(d, "one", "two")
					}
					s.answer = func(p []byte, _ seam.Addr) error {
						if string(p) == "one" {
							return refusal
						}
						return nil
					}
					if queued {
						s.report(ctx, seam.Writable)
					} else {
						send(d, "one")
					}
					asyncio.Yield(ctx)
					if queued && how == "Close" {
						s.expect(t, "two>192.0.2.3:3")
					} else {
						s.expect(t)
					}
					d.expect(t, "error", "lost")
				})
			}
		})
	}
	t.Run("EV-066 Close before an error", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			s.blocks()
			send(d, "one")
			d.t.Close()
			s.answer = func([]byte, seam.Addr) error { return refusal }
			s.report(ctx, seam.Failed)
			asyncio.Yield(ctx)
			d.expect(t, "error", "lost")
		})
	})
	t.Run("the marks", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			if high, low := d.t.WriteBufferLimits(); high != 64<<10 || low != 16<<10 {
				t.Errorf("the marks are %d and %d", high, low)
			}
			mistake(t, d.t.SetWriteBufferLimits(1, 2), asyncio.ErrBadArgument)
			mistake(t, d.t.SetWriteBufferLimits(1, -1), asyncio.ErrBadArgument)
			s.blocks()
			d.t.SetWriteBufferLimits(24, 12)
			send(d, "1234", "1234") // 24 bytes: not above the mark
			d.expect(t)
			send(d, "")
			d.expect(t, "pause")
			send(d, "")
			d.expect(t) // once
			d.t.SetWriteBufferLimits(100, 40)
			d.expect(t, "resume")
			d.t.SetWriteBufferLimits(30, 8)
			d.expect(t, "pause") // at once
			s.room(ctx)
			d.expect(t, "resume")
		})
	})
	t.Run("a queue that is never empty keeps its order", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			random, next, budget := &shuffle{7}, 0, 0
			s.answer = func([]byte, seam.Addr) error {
				if budget == 0 {
					return seam.ErrWouldBlock
				}
				budget--
				return nil
			}
			for range 500 {
				for range random.number(30) {
					send(d, fmt.Sprint(next))
					next++
				}
				budget = min(random.number(30), d.t.WriteBufferSize()/20)
				s.report(ctx, seam.Writable)
			}
			budget = -1
			s.report(ctx, seam.Writable)
			untilTrue(t, ctx, func() bool { return len(s.sent) == next })
			for i, text := range s.sent {
				if text != fmt.Sprintf("%d>192.0.2.3:3", i) {
					t.Fatalf("number %d is %s", i, text)
				}
			}
		})
	})
	t.Run("a long queue is sent in pieces", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			s.blocks()
			for i := range 1000 {
				send(d, fmt.Sprint(i))
			}
			s.room(ctx)
			if n := len(s.sent); n == 0 || n > 200 {
				t.Errorf("%d were sent in one pass", n)
			}
			untilTrue(t, ctx, func() bool { return len(s.sent) == 1000 })
			for i, text := range s.sent {
				if text != fmt.Sprintf("%d>192.0.2.3:3", i) {
					t.Fatalf("number %d is %s", i, text)
				}
			}
		})
	})
	t.Run("the wrong goroutine", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			elsewhere(func() {
				mistake(t, d.t.SendTo(nil, to), asyncio.ErrWrongGoroutine)
				mistake(t, d.t.Close(), asyncio.ErrWrongGoroutine)
				mistake(t, d.t.SetWriteBufferLimits(1, 1), asyncio.ErrWrongGoroutine)
				panicsWith(t, asyncio.ErrWrongGoroutine, d.t.Abort)
				panicsWith(t, asyncio.ErrWrongGoroutine, func() { d.t.SetProtocol(d) })
			})
		})
	})
	t.Run("a network without sockets", func(t *testing.T) {
		onStage(t, bound, func(ctx context.Context, s *packetStage, d *diary) {
			if _, err := d.t.SyscallConn(); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("SyscallConn: %v", err)
			}
			c, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := asyncio.OpenDatagramEndpoint(ctx, &asyncio.DatagramOptions{Conn: c}); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("Conn: %v", err)
			}
		})
	})
}

// Close of the loop ends what is open, and tells.
func TestDatagramLoopClose(t *testing.T) {
	leavesNothing(t)
	t.Run("what fits is sent", func(t *testing.T) {
		s, d := newPacketStage(), (*diary)(nil)
		runStreams(t, func(ctx context.Context) error {
			_, d = openDiary(t, ctx, toPeer)
			s.blocks()
			d.t.SendTo([]byte("one"), nobody)
			d.t.SendTo([]byte("two"), nobody)
			s.answer = func(p []byte, _ seam.Addr) error {
				if string(p) == "two" {
					return seam.ErrWouldBlock
				}
				return nil
			}
			return nil
		}, s.option())
		s.expect(t, "one>")
		d.expect(t, "made", "lost")
		d.t.Abort() // harmless
		if err := d.t.SendTo(nil, nobody); !errors.Is(err, net.ErrClosed) {
			t.Errorf("SendTo = %v", err)
		}
	})
	t.Run("an end that was under way is told once", func(t *testing.T) {
		s, d := newPacketStage(), (*diary)(nil)
		runStreams(t, func(ctx context.Context) error {
			_, d = openDiary(t, ctx, toPeer)
			d.t.Close() // main returns in this pass
			return nil
		}, s.option())
		d.expect(t, "made", "lost")
	})
	t.Run("in the middle of opening", func(t *testing.T) {
		s, d := newPacketStage(), &diary{}
		runStreams(t, func(ctx context.Context) error {
			asyncio.Go(ctx, func(ctx context.Context) error {
				_, _, err := asyncio.CreateDatagramEndpoint(ctx, func() *diary { return d }, toPeer)
				return err
			}, asyncio.EagerStart())
			return nil
		}, s.option())
		d.expect(t, "made", "lost")
	})
	t.Run("on seeded schedules a cancelled opening is told of both or of neither", func(t *testing.T) {
		seen := map[int]bool{}
		for seed := range uint64(50) {
			s, d := newPacketStage(), &diary{}
			order := seam.LoopOption(seam.Seams{NewOrder: func() seam.Order { return &shuffle{seed} }}).(asyncio.LoopOption)
			runStreams(t, func(ctx context.Context) error {
				opening := asyncio.Go(ctx, func(ctx context.Context) error {
					_, _, err := asyncio.CreateDatagramEndpoint(ctx, func() *diary { return d }, toPeer)
					return err
				}, asyncio.EagerStart())
				opening.Cancel(nil)
				if err := opening.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
					t.Errorf("seed %d: error is %v", seed, err)
				}
				return nil
			}, s.option(), order)
			if seen[len(d.said)] = true; len(d.said) > 0 {
				d.expect(t, "made", "lost")
			}
			if s.closed != 1 {
				t.Errorf("seed %d: the socket was closed %d times", seed, s.closed)
			}
		}
		if len(seen) != 2 {
			t.Errorf("the numbers of calls were %v", seen)
		}
	})
	t.Run("on seeded schedules the first and the last call are the same", func(t *testing.T) {
		for seed := range uint64(50) {
			s, d := newPacketStage(), &diary{do: map[string]func(){}}
			d.do["made"] = func() {
				d.t.SendTo([]byte("x"), nobody)
				s.h.Ready(seam.Readable)
			}
			d.do["got"] = func() { d.t.Close() }
			s.arrives("x", nil)
			order := seam.LoopOption(seam.Seams{NewOrder: func() seam.Order { return &shuffle{seed} }}).(asyncio.LoopOption)
			runStreams(t, func(ctx context.Context) error {
				opening := asyncio.Go(ctx, func(ctx context.Context) error {
					_, _, err := asyncio.CreateDatagramEndpoint(ctx, func() *diary { return d }, toPeer)
					return err
				}, asyncio.EagerStart())
				s.h.Ready(seam.Readable) // before the protocol knows of anything
				if err := opening.Wait(ctx); err != nil {
					return err
				}
				return asyncio.Sleep(ctx, time.Duration(seed%3)*time.Millisecond)
			}, s.option(), order)
			d.expect(t, "made", "got x", "lost")
		}
	})
}

// A shuffle is a seeded order.
type shuffle struct{ x uint64 }

func (s *shuffle) Next(q seam.Queue) int { return s.number(q.Pass()) }

// number returns one of the numbers below n.
func (s *shuffle) number(n int) int {
	s.x = s.x*6364136223846793005 + 1442695040888963407
	return int(s.x>>33) % n
}

// Whatever is cancelled when, nothing is left.
func TestDatagramInterrupted(t *testing.T) {
	interruptEverywhere(t, func(t *testing.T) interruption {
		nothing := func(ctx context.Context) error { return nil }
		return interruption{
			prepare: nothing,
			operation: func(ctx context.Context) error {
				at := &asyncio.DatagramOptions{LocalAddr: "name.example:0", Resolver: resolvesTo(netip.MustParseAddrPort("127.0.0.1:0"))}
				tr, d, err := asyncio.CreateDatagramEndpoint(ctx, func() *diary { return &diary{do: map[string]func(){}} }, at)
				if err != nil {
					return err
				}
				defer tr.Close()
				e, err := asyncio.OpenDatagramEndpoint(ctx, at)
				if err != nil {
					return err
				}
				defer e.Close()
				d.do["got"] = func() { tr.SendTo([]byte("yes"), d.from[0]) }
				if err := e.WriteTo([]byte("hello"), tr.LocalAddr()); err != nil {
					return err
				}
				p := make([]byte, 10)
				if n, _, err := e.ReadFrom(ctx, p); err != nil || string(p[:n]) != "yes" {
					return fmt.Errorf("%q, %w", p[:n], err)
				}
				if err := e.Drain(ctx); err != nil {
					return err
				}
				e.Close()
				return e.WaitClosed(ctx)
			},
			check: nothing,
		}
	})
}

// A virtual clock follows the wall clock while an endpoint of the real network is
// open, since something may come at any time.
func TestDatagramVirtualClock(t *testing.T) {
	asynciotest.Run(t, func(ctx context.Context) error {
		server, err := asyncio.OpenDatagramEndpoint(ctx, &asyncio.DatagramOptions{LocalAddr: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		client, d := openDiary(t, ctx, &asyncio.DatagramOptions{RemoteAddr: server.LocalAddr().String()})
		if err := client.SendTo([]byte("hello"), nobody); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 10)
		if n, from, err := server.ReadFrom(ctx, p); string(p[:n]) != "hello" || from != client.LocalAddr() || err != nil {
			t.Errorf("got %q from %v, %v", p[:n], from, err)
		}
		answered := asyncio.NewFuture[int](ctx)
		d.do["got"] = func() { answered.SetResult(1) }
		if err := server.WriteTo([]byte("yes"), client.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		_, err = answered.Await(ctx)
		return err
	})
}
