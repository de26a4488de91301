// Names, from name servers that this project did not write, that fail, and that never
// answer.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// askingAt is a Resolver that asks the name server at address.
func askingAt(address string) asyncio.Resolver {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil { // package net would wait for the answer in spite of a cancellation
			context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
		}
		return c, err
	}}
	return asyncio.ResolverFunc(func(ctx context.Context, network, host, port string) ([]netip.AddrPort, error) {
		n, err := r.LookupPort(ctx, network, port)
		if err != nil {
			return nil, err
		}
		ips, err := r.LookupNetIP(ctx, "ip"+network[len("tcp"):], host)
		var addrs []netip.AddrPort
		for _, ip := range ips {
			addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(n)))
		}
		return addrs, err
	})
}

// nameServer is a name server that makes an answer of each question, or none.
func nameServer(t testing.TB, answer func(question []byte) []byte) (address string) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for p := make([]byte, 1500); ; {
			n, from, err := pc.ReadFrom(p)
			if err != nil {
				return
			}
			if reply := answer(p[:n]); reply != nil {
				pc.WriteTo(reply, from)
			}
		}
	}()
	t.Cleanup(func() {
		pc.Close()
		<-ended
	})
	return pc.LocalAddr().String()
}

// startDnsmasq starts a name server for the domain test, and returns its address.
func startDnsmasq(t testing.TB) string {
	t.Helper()
	dnsmasq := needProgram(t, "dnsmasq", "dnsmasq-base")
	address := freeAddresses(t, 1)[0]
	_, port, _ := net.SplitHostPort(address)
	startProgram(t, dnsmasq, "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root",
		"--listen-address=127.0.0.1", "--bind-interfaces", "--port="+port,
		"--no-resolv", "--no-hosts", "--local=/test/",
		"--host-record=four.test,127.0.0.1", "--host-record=six.test,::1", "--host-record=both.test,127.0.0.1,::1",
		"--host-record=many.test,127.0.0.2", "--host-record=many.test,127.0.0.3", "--cname=alias.test,four.test")
	waitForListener(t, "tcp", address)
	return address
}

func TestPeerDnsmasq(t *testing.T) {
	needProgram(t, "dnsmasq", "dnsmasq-base")
	leavesNothing(t)
	ours := asyncio.WithResolver(askingAt(startDnsmasq(t)))
	for _, test := range []struct {
		name, network, host string
		want                []string
	}{
		{"A", "tcp", "four.test", []string{"127.0.0.1:80"}},
		{"AAAA", "tcp", "six.test", []string{"[::1]:80"}},
		{"CNAME", "tcp", "alias.test", []string{"127.0.0.1:80"}},
		{"both, IPv4 wanted", "tcp4", "both.test", []string{"127.0.0.1:80"}},
		{"both, IPv6 wanted", "tcp6", "both.test", []string{"[::1]:80"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			runStreams(t, func(ctx context.Context) error {
				addrs, err := asyncio.GetAddrInfo(ctx, test.network, test.host+".:80")
				if err != nil {
					return err
				}
				if len(addrs) != len(test.want) || addrs[0].String() != test.want[0] {
					t.Errorf("found %v, want %v", addrs, test.want)
				}
				return nil
			}, ours)
		})
	}
	t.Run("several", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			addrs, err := asyncio.GetAddrInfo(ctx, "tcp", "many.test.:80")
			if len(addrs) != 2 || addrs[0] == addrs[1] {
				t.Errorf("found %v, %v, want two", addrs, err)
			}
			return nil
		}, ours)
	})
	for _, test := range []struct {
		name, host          string
		notFound, temporary bool
	}{
		{"NXDOMAIN", "nobody.test.", true, false},
		{"no address of that family", "four.test.", true, false},
		{"REFUSED", "elsewhere.example.", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			runStreams(t, func(ctx context.Context) error {
				network := "tcp"
				if test.name == "no address of that family" {
					network = "tcp6"
				}
				lookUpFails(t, open(ctx, network, test.host+":80", nil), test.notFound, test.temporary)
				return nil
			}, ours)
		})
	}
}

// lookUpFails checks that err is that of a look-up.
func lookUpFails(t testing.TB, err error, notFound, temporary bool) {
	t.Helper()
	var op *net.OpError
	var dns *net.DNSError
	if !errors.As(err, &op) || op.Op != "dial" || !errors.As(err, &dns) || dns.IsNotFound != notFound || dns.IsTemporary != temporary {
		t.Errorf("error is %v, want one of a look-up", err)
	}
}

// TestNameServerFails: SERVFAIL is told as such.
func TestNameServerFails(t *testing.T) {
	leavesNothing(t)
	broken := nameServer(t, func(q []byte) []byte {
		const response, failure = 0x80, 2
		q[2] |= response
		q[3] = q[3]&0xf0 | failure
		return q
	})
	runStreams(t, func(ctx context.Context) error {
		lookUpFails(t, open(ctx, "tcp", "name.test.:80", nil), false, true)
		return nil
	}, asyncio.WithResolver(askingAt(broken)))
}

// TestNameServerIsSilent: look-ups that nobody answers can be limited in time, and
// neither the loop, nor ToThread, nor connections to addresses wait for them.
func TestNameServerIsSilent(t *testing.T) {
	leavesNothing(t)
	silent := asyncio.WithResolver(askingAt(nameServer(t, func([]byte) []byte { return nil })))
	greeting := peer(t, func(c *net.TCPConn) error { _, err := c.Write([]byte("hello")); return err })
	runStreams(t, func(ctx context.Context) error {
		err := asyncio.Timeout(ctx, 20*time.Millisecond, func(ctx context.Context) error { return open(ctx, "tcp", "name.test.:80", nil) })
		if !errors.Is(err, asyncio.ErrTimeout) {
			t.Errorf("look-up with a timeout = %v", err)
		}
		// More than are looked up at once.
		var names []*asyncio.Task[struct{}]
		for i := range 200 {
			names = append(names, asyncio.Go(ctx, func(ctx context.Context) error { return open(ctx, "tcp", fmt.Sprintf("name%d.test.:80", i), nil) }))
		}
		if err := asyncio.Yield(ctx); err != nil {
			return err
		}
		if n, err := asyncio.ToThread(ctx, func(context.Context) (int, error) { return 7, nil }); n != 7 {
			t.Errorf("ToThread = %d, %v", n, err)
		}
		r, w, err := asyncio.OpenConnection(ctx, "tcp", greeting, nil)
		if err != nil {
			return err
		}
		defer w.Close()
		if err := shallRead(asyncio.NetConn(ctx, r, w), "hello"); err != nil {
			return err
		}
		for _, name := range names {
			if name.Done() {
				t.Fatalf("a look-up has ended: %v", name)
			}
			name.Cancel(nil)
		}
		for _, name := range names {
			if err := name.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
				t.Errorf("cancelled look-up = %v", err)
			}
		}
		return nil
	}, silent)
}

// TestPeerDeadIPv6 connects to a name whose IPv6 address does not answer, and whose
// IPv4 address does.
func TestPeerDeadIPv6(t *testing.T) {
	needProgram(t, "dnsmasq", "dnsmasq-base")
	leavesNothing(t)
	ours := asyncio.WithResolver(askingAt(startDnsmasq(t)))
	for _, test := range []struct {
		name string
		dead func(t *testing.T) (port int)
	}{
		{"that refuses", func(t *testing.T) int { return int(refused(t, "::1").Port()) }},
		{"that is silent", silentPort},
	} {
		t.Run(test.name, func(t *testing.T) {
			port := test.dead(t)
			ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
			if err != nil {
				t.Skipf("port %d is taken: %v", port, err)
			}
			defer ln.Close()
			runStreams(t, func(ctx context.Context) error {
				_, w, err := asyncio.OpenConnection(ctx, "tcp", net.JoinHostPort("both.test.", ln.Addr().String()[len("127.0.0.1:"):]), nil)
				if err != nil {
					return err
				}
				defer w.Close()
				if got := w.RemoteAddr().String(); got != ln.Addr().String() {
					t.Errorf("connected to %s, want %s", got, ln.Addr())
				}
				return nil
			}, ours)
		})
	}
}

// silentPort returns a port of ::1 at which connections are neither accepted nor
// refused: the line of those that wait to be accepted is full.
func silentPort(t *testing.T) int {
	t.Helper()
	open := func() int {
		fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Skipf("this machine has no IPv6: %v", err)
		}
		t.Cleanup(func() { syscall.Close(fd) })
		return fd
	}
	loopback := &syscall.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}
	server := open()
	if err := syscall.Bind(server, loopback); err != nil {
		t.Skipf("this machine has no address ::1: %v", err)
	}
	if err := syscall.Listen(server, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(server)
	if err != nil {
		t.Fatal(err)
	}
	loopback.Port = name.(*syscall.SockaddrInet6).Port
	for range 2 { // the second one waits already
		if err := syscall.Connect(open(), loopback); err != nil && err != syscall.EINPROGRESS {
			t.Fatal(os.NewSyscallError("connect", err))
		}
	}
	return loopback.Port
}
