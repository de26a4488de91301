// A cluster on the simulated network, with everything that may go wrong, and what must
// hold nevertheless.

package main_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
	"github.com/goasyncio/asyncio/examples/raft/consensus"
)

// A request is an entry that a client appends.
type request struct {
	text          string
	client        int
	sent, granted time.Duration // granted is 0 until it is acknowledged
}

// A cluster is five nodes, and what is known of them all.
type cluster struct {
	t     testing.TB
	net   *asynciotest.Network
	nodes []*asynciotest.Host
	peers []string

	leaders   map[uint64]int    // of each term
	leading   int               // who was elected last
	committed []consensus.Entry // by their places; the first one is blank
	requests  []*request
	elections int

	granted func(node int) // is told who has acknowledged an entry, if it is not nil
}

func newCluster(t testing.TB, n *asynciotest.Network, batch int) *cluster {
	c := &cluster{t: t, net: n, leaders: make(map[uint64]int), committed: make([]consensus.Entry, 1)}
	for id := range 5 {
		name := fmt.Sprint("node", id)
		c.nodes = append(c.nodes, c.net.Host(name))
		c.peers = append(c.peers, name+":7000")
	}
	failed := func(_ *asyncio.EventLoop, e *asyncio.ErrorContext) { t.Errorf("%s: %v", e.Message, e.Err) }
	for id, h := range c.nodes {
		h.Go(func(ctx context.Context) error {
			return consensus.Run(ctx, consensus.Config{ID: id, Peers: c.peers, Disk: h.Disk(), Batch: batch, Observe: c.observe})
		}, asyncio.WithExceptionHandler(failed))
	}
	return c
}

// observe checks, at every step of every node, that no term has two leaders, and that
// nobody takes another entry for committed than the others.
func (c *cluster) observe(e consensus.Event) {
	switch e.Kind {
	case consensus.Elected:
		c.net.Note("leads term %d", e.Term)
		if other, ok := c.leaders[e.Term]; ok {
			c.t.Errorf("nodes %d and %d both lead term %d", other, e.Node, e.Term)
		}
		c.leaders[e.Term], c.leading = e.Node, e.Node
		c.elections++
	case consensus.Committed:
		if e.Index == len(c.committed) {
			c.committed = append(c.committed, e.Entry)
			c.net.Note("commits entry %d, %q", e.Index, e.Entry.Data)
			return
		}
		if e.Index > len(c.committed) {
			c.t.Fatalf("node %d commits entry %d, nobody has committed entry %d", e.Node, e.Index, e.Index-1)
		}
		known := c.committed[e.Index]
		if known.Term != e.Entry.Term || string(known.Data) != string(e.Entry.Data) {
			c.t.Errorf("node %d takes %q for entry %d, which is %q", e.Node, e.Entry.Data, e.Index, known.Data)
		}
	}
}

// client is a program that appends entries, one after another, until enough is closed.
func (c *cluster) client(id int, pause asynciotest.Distribution, enough *bool) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		client := consensus.NewClient(ctx, c.peers, time.Second)
		defer client.Close()
		for k := 0; !*enough; k++ {
			if err := c.append(ctx, client, id, fmt.Sprintf("%c%d", 'a'+id, k)); err != nil {
				return err
			}
			if err := asyncio.Sleep(ctx, pause(asyncio.Rand(ctx))); err != nil {
				return err
			}
		}
		return c.append(ctx, client, id, fmt.Sprintf("%c-last", 'a'+id))
	}
}

func (c *cluster) append(ctx context.Context, client *consensus.Client, id int, text string) error {
	r := &request{text: text, client: id, sent: c.net.Now()}
	c.requests = append(c.requests, r)
	by, err := client.Append(ctx, []byte(text))
	if err == nil {
		r.granted = c.net.Now()
		c.net.Note("%s is acknowledged by node %d", text, by)
		if c.granted != nil {
			c.granted(by)
		}
	}
	return err
}

// check compares the logs of all nodes with what the clients know.
func (c *cluster) check(ctx context.Context) error {
	var want []string
	serials := make(map[uint64]uint64)
	for _, e := range c.committed {
		if e.Serial > serials[e.Client] {
			serials[e.Client] = e.Serial
			want = append(want, string(e.Data))
		}
	}
	reader := consensus.NewClient(ctx, c.peers, time.Second)
	defer reader.Close()
	for id := range c.nodes {
		var got []string
		err := asyncio.Timeout(ctx, time.Minute, func(ctx context.Context) (err error) {
			for err == nil && len(got) < len(want) { // it is told of the last commit with the next heartbeat
				log, failure := reader.Log(ctx, id)
				if failure == nil {
					got = log
				}
				err = asyncio.Sleep(ctx, 50*time.Millisecond)
			}
			return err
		})
		if err != nil {
			c.t.Errorf("node %d: %v", id, err)
		}
		same := 0
		for same < min(len(got), len(want)) && got[same] == want[same] {
			same++
		}
		if same < max(len(got), len(want)) {
			c.t.Errorf("node %d has %d entries, %d are committed, and only the first %d are the same", id, len(got), len(want), same)
		}
	}

	requests := make(map[string]*request)
	for _, r := range c.requests {
		requests[r.text] = r
	}
	present := make(map[string]bool)
	var latest *request // of those so far, the one that was sent last
	for _, text := range want {
		r := requests[text]
		switch {
		case r == nil:
			c.t.Errorf("nobody has appended %q", text)
			continue
		case present[text]:
			c.t.Errorf("%s is there twice", text)
		case latest != nil && r.granted > 0 && r.granted < latest.sent:
			c.t.Errorf("%s comes after %s, which was sent when %s was acknowledged already", text, latest.text, text)
		}
		present[text] = true
		if latest == nil || r.sent > latest.sent {
			latest = r
		}
	}
	for _, r := range c.requests {
		if r.granted > 0 && !present[r.text] {
			c.t.Errorf("%s is lost, and was acknowledged at %v", r.text, r.granted)
		}
	}
	return nil
}

// story tells what has happened, without the packets.
func (c *cluster) story() string {
	log := slices.DeleteFunc(c.net.Log(), func(e asynciotest.LogEntry) bool {
		return e.Kind != asynciotest.NoteTaken && e.Kind != asynciotest.HostCrashed && e.Kind != asynciotest.HostBooted
	})
	return fmt.Sprintf("what has happened:\n%v", log)
}

// alone makes the network of a run by itself.
func alone(seed uint64) func(opts ...asynciotest.NetworkOption) *asynciotest.Network {
	return func(opts ...asynciotest.NetworkOption) *asynciotest.Network {
		return asynciotest.NewNetwork(seed, opts...)
	}
}

// torment lets clients append entries for a while, whatever happens to the nodes, and
// checks the rest when all is well again.
func torment(t testing.TB, seed uint64, network func(opts ...asynciotest.NetworkOption) *asynciotest.Network) *cluster {
	r := rand.New(rand.NewPCG(seed, 1))
	links := []asynciotest.Link{
		{Latency: asynciotest.Uniform(500*time.Microsecond, 2*time.Millisecond)},
		{Latency: asynciotest.LongTail(2*time.Millisecond, 50*time.Millisecond), Loss: 0.01},
		{Latency: asynciotest.LongTail(20*time.Millisecond, 200*time.Millisecond), Loss: 0.02},
	}
	disks := []asynciotest.Distribution{
		asynciotest.Uniform(time.Millisecond, 5*time.Millisecond),
		asynciotest.LongTail(5*time.Millisecond, 200*time.Millisecond),
		asynciotest.Uniform(20*time.Millisecond, 100*time.Millisecond),
	}
	batches := []int{1, 100, 0} // the first one is an entry at a time
	batch := batches[r.IntN(len(batches))]
	c := newCluster(t, network(asynciotest.WithLink(links[r.IntN(len(links))])), batch)
	for _, h := range c.nodes {
		h.Disk().Configure(asynciotest.DiskConfig{Sync: disks[r.IntN(len(disks))]})
	}
	c.granted = func(node int) {
		if r.IntN(50) == 0 { // it has done its duty
			c.nodes[node].Crash()
		}
	}
	var all []*asynciotest.Host
	var clients []*asynciotest.Program
	enough := false
	for id := range 3 {
		h := c.net.Host(fmt.Sprint("client", id))
		clients = append(clients, h.Go(c.client(id, asynciotest.Uniform(0, 300*time.Millisecond), &enough)))
		all = append(all, h)
	}
	all = append(all, c.nodes...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.story())
		}
	})
	c.net.Run(t, func(ctx context.Context) error {
		for range 20 {
			c.harm(r, all)
			if err := asyncio.Sleep(ctx, time.Duration(r.Int64N(int64(time.Second)))); err != nil {
				return err
			}
		}
		enough, c.granted = true, nil
		c.heal(all)
		err := asyncio.Timeout(ctx, time.Minute, func(ctx context.Context) error {
			for _, p := range clients {
				if err := p.Wait(ctx); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("the clients are not served when all is well: %w", err)
		}
		if err := asyncio.Sleep(ctx, 2*time.Second); err != nil { // what was acknowledged should have been committed; but it may come
			return err
		}
		return c.check(ctx)
	})
	return c
}

// harm does something bad to the cluster, or something good.
func (c *cluster) harm(r *rand.Rand, all []*asynciotest.Host) {
	node := c.nodes[r.IntN(len(c.nodes))]
	if r.IntN(3) == 0 {
		node = c.nodes[c.leading]
	}
	other := all[r.IntN(len(all))]
	for other == node {
		other = all[r.IntN(len(all))]
	}
	switch r.IntN(12) {
	case 0:
		node.Crash()
	case 1:
		node.Restart()
	case 2, 11:
		for _, h := range c.nodes {
			if !h.Up() {
				h.Restart()
			}
		}
	case 3:
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		k := 1 + r.IntN(len(all)-1)
		c.net.Note("the network falls apart: %v and %v", all[:k], all[k:])
		c.net.Partition(all[:k], all[k:])
	case 4: // one of them can be heard, and hears nothing
		c.net.Note("the link from %v to %v is cut", node, other)
		c.net.Cut(node, other)
	case 5:
		c.net.Note("all links are healed")
		c.net.HealAll()
	case 6:
		c.net.Note("the link from %v to %v holds its packets", node, other)
		c.net.Hold(node, other)
	case 7:
		c.net.Note("the link from %v to %v is released", node, other)
		c.net.Release(node, other)
	case 8:
		c.net.Note("the connections of %v and %v are reset", node, other)
		c.net.Reset(node, other)
	case 9:
		node.SetClock(time.Duration(r.Int64N(int64(time.Hour)))-30*time.Minute, r.Float64()/10)
	case 10:
		c.net.Note("the power of all nodes fails")
		for _, h := range c.nodes {
			h.Crash()
		}
	}
}

// heal ends all harm.
func (c *cluster) heal(all []*asynciotest.Host) {
	c.net.Note("all is well again")
	c.net.HealAll()
	for _, a := range all {
		for _, b := range all {
			c.net.Release(a, b)
		}
	}
	for _, h := range c.nodes {
		if !h.Up() {
			h.Restart()
		}
	}
}
