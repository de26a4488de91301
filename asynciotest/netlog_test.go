// Tests of the log of the simulated network, and of what is drawn from it.

package asynciotest_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// eventful runs a network on which a little of everything happens.
func eventful(t *testing.T, opts ...asynciotest.NetworkOption) *asynciotest.Network {
	t.Helper()
	leavesNothing(t)
	n := asynciotest.NewNetwork(1, append([]asynciotest.NetworkOption{steady}, opts...)...)
	server := n.Host("<server>")
	server.Go(echo)
	n.Run(t, func(ctx context.Context) error {
		if _, err := ask(ctx, "<server>:7", "hello"); err != nil {
			return err
		}
		if _, err := ask(ctx, "<server>:8", "x"); err == nil {
			t.Error("somebody listens")
		}
		n.Note("cut & %s", "waiting")
		n.Cut(n.Outside(), server)
		within(ctx, time.Minute, func(ctx context.Context) error {
			_, err := ask(ctx, "<server>:7", "x")
			return err
		})
		n.Heal(n.Outside(), server)
		n.Hold(n.Outside(), server)
		n.Release(n.Outside(), server)
		before := n.Hash()
		for _, change := range []func(){
			func() { n.Reset(n.Outside(), server) },
			func() { n.Forget(server, n.Outside()) },
			func() { n.SetLink(server, n.Outside(), asynciotest.Link{Latency: asynciotest.Fixed(time.Second)}) },
			func() { n.SetLinks(asynciotest.Link{}) },
			func() { server.SetClock(time.Hour, 0) },
		} {
			change()
			if now := n.Hash(); now == before {
				t.Error("a fault makes no difference to the hash")
			} else {
				before = now
			}
		}
		server.Restart()
		return asyncio.Sleep(ctx, time.Second)
	})
	return n
}

func TestNetworkLog(t *testing.T) {
	n := eventful(t)
	text := n.Log().String()
	for _, want := range []string{
		"3ms  outside:", "-> <server>:7  connect (1ms)", "accept (1ms)", "data 6 B (1ms)", "end (1ms)", ":8  connect", "refuse",
		"outside: cut & waiting", "outside -> <server>  cut", "connect lost", "heal", "hold", "release", "<server>  crash", "<server>  boot", "<server>  start",
		"outside -> <server>  reset of all connections", "<server> -> outside  connections forgotten", "<server> -> outside  link changed", "outside: all links are changed",
		"<server>: the clock is set, with a skew of 1h0m0s and a drift of 0\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	last := time.Duration(-1)
	for _, e := range n.Log() {
		if e.Time < last || e.Sent > e.Time {
			t.Errorf("%v comes after %v", e, last)
		}
		last = e.Time
	}
	if t.Failed() {
		t.Log(text)
	}
	if log := eventful(t, asynciotest.WithLogLimit(3)).Log(); len(log) != 3 || log.String() != n.Log()[len(n.Log())-3:].String() {
		t.Errorf("the latest three are\n%v", log)
	}
	if quiet := eventful(t, asynciotest.WithLogLimit(0)); len(quiet.Log()) != 0 || quiet.Hash() != n.Hash() {
		t.Errorf("%d entries, and the hash is %x; want %x", len(quiet.Log()), quiet.Hash(), n.Hash())
	}
}

func TestNetworkChart(t *testing.T) {
	svg := eventful(t).Log().SVG()
	d := xml.NewDecoder(strings.NewReader(string(svg)))
	elements := make(map[string]int)
	var text strings.Builder
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			elements[token.Name.Local]++
		case xml.CharData:
			text.Write(token)
		}
	}
	for _, want := range []string{"<server>", "outside", "cut & waiting", "data 6", "connect"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the chart does not say %q", want)
		}
	}
	if elements["line"] < 10 || elements["circle"] < 8 {
		t.Errorf("it has %v", elements)
	}
	if empty := (asynciotest.NetworkLog{}).SVG(); !strings.Contains(string(empty), "</svg>") {
		t.Errorf("an empty log is %s", empty)
	}
}

func TestCertificateMistake(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("there is a certificate for nobody")
		}
	}()
	asynciotest.Certificate()
}
