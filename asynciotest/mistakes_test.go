// Tests of arguments that make no sense.

package asynciotest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio/asynciotest"
)

func TestNetworkMistakes(t *testing.T) {
	n := asynciotest.NewNetwork(1)
	a, other := n.Host("a"), asynciotest.NewNetwork(1).Host("stranger")
	mistakes := map[string]func(){
		"Fixed(-1s)":               func() { asynciotest.Fixed(-time.Second) },
		"Uniform(-1s, 1s)":         func() { asynciotest.Uniform(-time.Second, time.Second) },
		"Uniform(2s, 1s)":          func() { asynciotest.Uniform(2*time.Second, time.Second) },
		"Normal(-1s, 1s)":          func() { asynciotest.Normal(-time.Second, time.Second) },
		"Normal(1s, -1s)":          func() { asynciotest.Normal(time.Second, -time.Second) },
		"LongTail(-1s, 1s)":        func() { asynciotest.LongTail(-time.Second, time.Second) },
		"LongTail(2s, 1s)":         func() { asynciotest.LongTail(2*time.Second, time.Second) },
		"WithLogLimit(-1)":         func() { asynciotest.WithLogLimit(-1) },
		"buffers of -1 bytes":      func() { asynciotest.WithSocketBuffers(-1) },
		"SetDescriptorLimit(-1)":   func() { a.SetDescriptorLimit(-1) },
		"a capacity of -1":         func() { a.Disk().Configure(asynciotest.DiskConfig{Capacity: -1}) },
		"a certificate for nobody": func() { asynciotest.Certificate("a", "") },
		"Partition: host stranger belongs to another network": func() {
			n.Partition([]*asynciotest.Host{n.Outside(), a}, []*asynciotest.Host{other})
		},
	}
	for _, name := range []string{"", "localhost", "10.0.0.1", "::1", "a b", "a:80", "a\n", "a\tb", "[a]", "a\x00"} {
		mistakes[fmt.Sprintf("%q is no name for a host", name)] = func() { n.Host(name) }
	}
	for op, do := range map[string]func(from, to *asynciotest.Host){
		"SetLink": func(from, to *asynciotest.Host) { n.SetLink(from, to, asynciotest.Link{}) },
		"Cut":     n.Cut, "Heal": n.Heal, "Hold": n.Hold, "Release": n.Release, "Reset": n.Reset, "Forget": n.Forget,
	} {
		mistakes[op+": the host is nil"] = func() { do(a, nil) }
		mistakes[op+": host stranger belongs to another network"] = func() { do(other, a) }
	}
	for want, do := range mistakes {
		func() {
			defer func() {
				text, _ := recover().(string)
				if !strings.HasPrefix(text, "asynciotest: ") || !strings.Contains(text, want) {
					t.Errorf("the panic is %q, want %q", text, want)
				}
			}()
			do()
		}()
	}
	for _, e := range n.Log() {
		t.Errorf("something has happened: %v", e)
	}
	for _, name := range []string{"b", "db-1.example.org", "north_2", "Zürich"} {
		n.Host(name)
	}
}
