// Names: what is looked up and what is not, by whom, and what is returned when
// there is nothing.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goasyncio/asyncio"
)

// asks is a resolver that answers everything with one address, and keeps what it was
// asked for.
type asks struct{ log []string }

func (a *asks) GetAddrInfo(_ context.Context, network, host, port string) ([]netip.AddrPort, error) {
	a.log = append(a.log, network+" "+host+" "+port)
	return []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:7"), netip.MustParseAddrPort("[2001:db8::1]:7")}, nil
}

func TestGetAddrInfo(t *testing.T) {
	leavesNothing(t)
	for _, test := range []struct{ name, network, address, asked, want string }{
		{"BASE-001 an IPv4 address needs no resolver", "tcp", "1.2.3.4:80", "", "1.2.3.4:80"},
		{"BASE-001 BASE-003 nor does it for datagrams", "udp", "1.2.3.4:80", "", "1.2.3.4:80"},
		{"BASE-001 an IPv6 address needs no resolver", "tcp6", "[2001:db8::5]:80", "", "[2001:db8::5]:80"},
		{"BASE-002 an address of the wrong family", "udp4", "[2001:db8::5]:80", "", "address 2001:db8::5: no suitable address"},
		{"BASE-002 and the other way around", "tcp6", "1.2.3.4:80", "", "address 1.2.3.4: no suitable address"},
		{"BASE-004 BASE-005 an empty port of an address", "udp", "1.2.3.4:", "", "1.2.3.4:0"},
		{"BASE-005 an empty port of a name", "tcp", "name.example:", "tcp name.example 0", "192.0.2.1:7 [2001:db8::1]:7"},
		{"BASE-005 no port", "tcp", "1.2.3.4", "", "missing port in address"},
		{"BASE-006 a zone", "tcp", "[fe80::1%lo]:80", "tcp fe80::1%lo 80", "192.0.2.1:7 [2001:db8::1]:7"},
		{"BASE-007 a service at an address", "udp", "1.2.3.4:domain", "udp 1.2.3.4 domain", "192.0.2.1:7 [2001:db8::1]:7"},
		{"of one family only", "udp4", "name.example:80", "udp4 name.example 80", "192.0.2.1:7"},
		{"of the other family only", "udp6", "name.example:80", "udp6 name.example 80", "[2001:db8::1]:7"},
		{"no host", "udp", ":80", "udp localhost 80", "192.0.2.1:7 [2001:db8::1]:7"},
		{"BASE-009 another network", "unix", "1.2.3.4:80", "", "unknown network unix"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r asks
			runStreams(t, func(ctx context.Context) error {
				addrs, err := asyncio.GetAddrInfo(ctx, test.network, test.address)
				got := strings.Trim(fmt.Sprint(addrs), "[]")
				wanted := got == strings.Trim(test.want, "[]")
				if err != nil {
					got = err.Error()
					wanted = strings.HasPrefix(got, "look up "+test.address) && strings.Contains(got, test.want)
				}
				if asked := strings.Join(r.log, ", "); asked != test.asked || !wanted {
					t.Errorf("got %q, asked %q; want %q, %q", got, asked, test.want, test.asked)
				}
				return nil
			}, asyncio.WithResolver(&r))
		})
	}
	t.Run("BASE-006 BASE-007 the resolver of the system knows zones and services", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			for address, want := range map[string]string{
				"[fe80::1%lo]:80":  "[fe80::1%lo]:80",
				"127.0.0.1:https":  "127.0.0.1:443",
				"[fe80::1%7]:http": "[fe80::1%7]:80",
			} {
				addrs, err := asyncio.GetAddrInfo(ctx, "tcp", address)
				if err != nil || len(addrs) != 1 || addrs[0].String() != want {
					t.Errorf("GetAddrInfo(%s) = %v, %v; want %s", address, addrs, err, want)
				}
			}
			return nil
		})
	})
	t.Run("BASE-008 a service that does not exist", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			for _, address := range []string{"127.0.0.1:nosuchservice", "127.0.0.1:65536"} {
				addrs, err := asyncio.GetAddrInfo(ctx, "tcp", address)
				var dns *net.DNSError
				var addr *net.AddrError
				if len(addrs) > 0 || !errors.As(err, &dns) && !errors.As(err, &addr) {
					t.Errorf("GetAddrInfo(%s) = %v, %v", address, addrs, err)
				}
			}
			return nil
		})
	})
}

// A phoneBook is a resolver that knows names of addresses.
type phoneBook struct {
	asks
	names map[string]string
	err   error
}

func (b *phoneBook) GetNameInfo(_ context.Context, addr netip.Addr) (string, error) {
	b.log = append(b.log, addr.String())
	if name, ok := b.names[addr.String()]; ok || b.err != nil {
		return name, b.err
	}
	return "", &net.DNSError{Err: "not here", Name: addr.String(), IsNotFound: true}
}

func TestGetNameInfo(t *testing.T) {
	leavesNothing(t)
	web := "443"
	if _, err := os.Stat("/etc/services"); err == nil {
		web = "https"
	}
	for _, test := range []struct {
		name, addr string
		opts       *asyncio.NameInfoOptions
		asked      string
		want       string
	}{
		{"both names", "192.0.2.1:443", nil, "192.0.2.1", "host.example " + web},
		{"an address without a name", "192.0.2.2:443", nil, "192.0.2.2", "192.0.2.2 " + web},
		{"a port without a name", "192.0.2.1:59999", nil, "192.0.2.1", "host.example 59999"},
		{"a number for the host", "192.0.2.1:443", &asyncio.NameInfoOptions{NumericHost: true}, "", "192.0.2.1 " + web},
		{"a number for the service", "192.0.2.1:443", &asyncio.NameInfoOptions{NumericService: true}, "192.0.2.1", "host.example 443"},
		{"numbers", "[fe80::1%7]:443", &asyncio.NameInfoOptions{NumericHost: true, NumericService: true}, "", "fe80::1%7 443"},
		{"IPv4 in the form of IPv6", "[::ffff:192.0.2.1]:1", nil, "192.0.2.1", "host.example "},
	} {
		t.Run("BASE-114 "+test.name, func(t *testing.T) {
			b := phoneBook{names: map[string]string{"192.0.2.1": "host.example"}}
			runStreams(t, func(ctx context.Context) error {
				host, service, err := asyncio.GetNameInfo(ctx, netip.MustParseAddrPort(test.addr), test.opts)
				if got := host + " " + service; !strings.HasPrefix(got, test.want) || err != nil {
					t.Errorf("got %q, %v; want %q", got, err, test.want)
				}
				if asked := strings.Join(b.log, " "); asked != test.asked {
					t.Errorf("asked for %q", asked)
				}
				return nil
			}, asyncio.WithResolver(&b))
		})
	}
	t.Run("for datagrams", func(t *testing.T) {
		if web != "https" {
			t.Skip("no names of services")
		}
		runStreams(t, func(ctx context.Context) error {
			names := make(map[bool]string)
			for _, datagram := range []bool{false, true} {
				_, names[datagram], _ = asyncio.GetNameInfo(ctx, netip.MustParseAddrPort("127.0.0.1:514"),
					&asyncio.NameInfoOptions{NumericHost: true, Datagram: datagram})
			}
			if names[false] != "shell" || names[true] != "syslog" {
				t.Skipf("a list of services of its own: %v", names)
			}
			return nil
		})
	})
	t.Run("a name is required", func(t *testing.T) {
		nobody := netip.MustParseAddrPort("192.0.2.2:1")
		for _, r := range []asyncio.Resolver{&phoneBook{}, new(asks)} {
			runStreams(t, func(ctx context.Context) error {
				_, _, err := asyncio.GetNameInfo(ctx, nobody, &asyncio.NameInfoOptions{NameRequired: true})
				var dns *net.DNSError
				if !errors.As(err, &dns) || !dns.IsNotFound || !strings.Contains(err.Error(), "192.0.2.2") {
					t.Errorf("error %v", err)
				}
				host, _, err := asyncio.GetNameInfo(ctx, nobody, nil)
				if host != "192.0.2.2" || err != nil {
					t.Errorf("got %q, %v", host, err)
				}
				return nil
			}, asyncio.WithResolver(r))
		}
	})
	t.Run("a server that does not answer is an error", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			_, _, err := asyncio.GetNameInfo(ctx, netip.MustParseAddrPort("192.0.2.2:1"), nil)
			expectError(t, err, errBroken)
			return nil
		}, asyncio.WithResolver(&phoneBook{err: errBroken}))
	})
	t.Run("the resolver of the system", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			host, service, err := asyncio.GetNameInfo(ctx, netip.MustParseAddrPort("127.0.0.1:59999"), nil)
			if known, lerr := net.LookupAddr("127.0.0.1"); lerr == nil && (err != nil || !slices.Contains(known, host) && !slices.Contains(known, host+".")) || service != "59999" {
				t.Errorf("got %q, %q, %v; want one of %q", host, service, err, known)
			}
			return nil
		})
	})
	t.Run("misuse", func(t *testing.T) {
		runStreams(t, func(ctx context.Context) error {
			_, _, err := asyncio.GetNameInfo(ctx, netip.AddrPort{}, nil)
			mistake(t, err, asyncio.ErrBadArgument)
			_, _, err = asyncio.GetNameInfo(ctx, netip.MustParseAddrPort("192.0.2.2:1"), &asyncio.NameInfoOptions{NumericHost: true, NameRequired: true})
			mistake(t, err, asyncio.ErrBadArgument)
			_, _, err = asyncio.GetNameInfo(context.Background(), netip.MustParseAddrPort("192.0.2.2:1"), nil)
			mistake(t, err, asyncio.ErrOutsideTask)
			return nil
		})
	})
	t.Run("cancelled", func(t *testing.T) {
		release := make(chan struct{})
		runStreams(t, func(ctx context.Context) error {
			asking := begins(ctx, func(ctx context.Context) error {
				_, _, err := asyncio.GetNameInfo(ctx, netip.MustParseAddrPort("192.0.2.2:1"), nil)
				return err
			})
			asking.Cancel(nil)
			expectError(t, asking.Wait(ctx), asyncio.ErrCancelled)
			close(release)
			return nil
		}, asyncio.WithResolver(slowBook{release}))
	})
}

// A slowBook answers when it is told to.
type slowBook struct{ release chan struct{} }

func (b slowBook) GetAddrInfo(context.Context, string, string, string) ([]netip.AddrPort, error) {
	return nil, errBroken
}

func (b slowBook) GetNameInfo(context.Context, netip.Addr) (string, error) {
	<-b.release
	return "late.example", nil
}
