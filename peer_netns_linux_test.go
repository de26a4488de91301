// A network that swallows packets, made of a network namespace.

package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
)

// A farNet is a network with one host behind a cable, in a namespace of its own.
type farNet struct {
	t    testing.TB
	name string
	host string // its address
	far  string // its end of the cable
}

// newFarNet lays the cable. Everything is gone at the end of the test.
func newFarNet(t testing.TB) *farNet {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		t.Skip("needs root and package iproute2")
	}
	id := os.Getpid() % 32768
	subnet := netip.AddrFrom4([4]byte{198, byte(18 + id>>14), byte(id >> 6), byte(id << 2)}) // of a network for benchmarks
	here := subnet.Next()
	n := &farNet{t: t, name: fmt.Sprintf("asyncio-%d", id), host: here.Next().String(), far: fmt.Sprintf("aio%df", id)}
	near := fmt.Sprintf("aio%dn", id)
	const hardware = "02:00:00:00:00:02"
	if out, err := exec.Command("ip", "netns", "add", n.name).CombinedOutput(); err != nil {
		t.Skipf("this machine allows no network namespace: %v: %s", err, out)
	}
	t.Cleanup(func() { n.ip("netns", "del", n.name) })
	if out, err := exec.Command("ip", "link", "add", near, "type", "veth", "peer", "name", n.far, "address", hardware, "netns", n.name).CombinedOutput(); err != nil {
		t.Skipf("this machine has no cables for namespaces: %v: %s", err, out)
	}
	t.Cleanup(func() { n.ip("link", "del", near) }) // and with it the other end: the namespace itself is slow to go
	n.ip("addr", "add", here.String()+"/30", "dev", near)
	n.ip("link", "set", near, "up")
	n.ip("neigh", "add", n.host, "lladdr", hardware, "dev", near, "nud", "permanent") // nobody asks where it is
	n.ip("-n", n.name, "addr", "add", n.host+"/30", "dev", n.far)
	n.ip("-n", n.name, "link", "set", n.far, "up")
	if t.Failed() {
		t.FailNow()
	}
	return n
}

func (n *farNet) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Errorf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// swallow makes the host drop all packets from here, without a word: it is not the one
// any more that they are for.
func (n *farNet) swallow() {
	n.t.Helper()
	n.ip("-n", n.name, "addr", "del", n.host+"/30", "dev", n.far)
}

// TestBlackHole: where packets vanish, nothing fails by itself, and everything can be
// limited in time.
func TestBlackHole(t *testing.T) {
	socat := needProgram(t, "socat", "socat")
	leavesNothing(t)
	far := newFarNet(t)
	const port = "7777"
	address := net.JoinHostPort(far.host, port)
	startProgram(t, "ip", "netns", "exec", far.name, socat, "TCP-LISTEN:"+port+",reuseaddr,fork", "EXEC:cat")
	waitForListener(t, "tcp", address)
	runStreams(t, func(ctx context.Context) error {
		r, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
		if err != nil {
			return err
		}
		c := asyncio.NetConn(ctx, r, w)
		if err := peerEchoes(ctx, r, w, pattern(100_000), false); err != nil {
			return err
		}
		// What calls of the kernel take long must not stop the loop, nor what does not come.
		if _, err := asyncio.ToThread(ctx, func(context.Context) (any, error) { far.swallow(); return nil, nil }); err != nil {
			return err
		}
		soon := func() time.Time { return time.Now().Add(30 * time.Millisecond) }
		if _, err := c.Write([]byte("is anybody there?")); err != nil {
			return err
		}
		c.SetReadDeadline(soon())
		timedOut(t, readError(c))
		data := pattern(20 << 20) // which takes time
		n, late := 0, error(nil)
		err = together(ctx, func() error {
			n, late = c.Write(data)
			return nil
		}, func() error {
			comesTrue(t, ctx, "some of it is under way", func() bool { return w.Buffered() > 0 })
			return c.SetWriteDeadline(soon())
		})
		if err != nil {
			return err
		}
		timedOut(t, late)
		if n == 0 || w.Buffered() == 0 {
			t.Errorf("%d bytes were taken, %d are buffered", n, w.Buffered())
		}
		closing := func(ctx context.Context) error {
			c.Close()
			return w.WaitClosed(ctx)
		}
		for name, op := range map[string]func(ctx context.Context) error{
			"dial":  func(ctx context.Context) error { return open(ctx, "tcp", address, nil) },
			"close": closing, // it cannot send what is left
		} {
			if err := asyncio.Timeout(ctx, 30*time.Millisecond, op); !errors.Is(err, asyncio.ErrTimeout) {
				t.Errorf("%s = %v", name, err)
			}
		}
		w.Abort()
		return w.WaitClosed(ctx)
	})
}
