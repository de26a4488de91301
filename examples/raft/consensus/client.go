// Clients, and connections on which requests are made.

package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goasyncio/asyncio"
)

// A connection makes requests to a node, one at a time. It is opened when it is needed.
type connection struct {
	address  string
	patience time.Duration // with one request
	reader   *asyncio.StreamReader
	writer   *asyncio.StreamWriter
}

// call makes a request, and returns the answer. After an error the connection is
// closed, so that no answer to this request can be taken for one to the next.
func (c *connection) call(ctx context.Context, m message) (answer message, err error) {
	err = asyncio.Timeout(ctx, c.patience, func(ctx context.Context) error {
		if c.writer == nil {
			r, w, err := asyncio.OpenConnection(ctx, "tcp", c.address, nil)
			if err != nil {
				return err
			}
			c.reader, c.writer = r, w
		}
		if _, err := c.writer.Write(m.frame()); err != nil {
			return err
		}
		var err error
		answer, err = readMessage(ctx, c.reader)
		return err
	})
	if err == nil && answer.kind != m.kind+1 {
		err = fmt.Errorf("%w: an answer of kind %d to a request of kind %d", errMalformed, answer.kind, m.kind)
	}
	if err != nil {
		c.close()
	}
	return answer, err
}

func (c *connection) close() {
	if c.writer != nil {
		c.writer.Abort()
		c.reader, c.writer = nil, nil
	}
}

// A Client appends entries, and reads the log. It is for one task at a time.
type Client struct {
	id, serial uint64
	nodes      []*connection
	leader     int // who is asked first
}

// NewClient returns a client of the nodes at these addresses. A node that does not
// answer for so long is given up, and the next one is tried.
func NewClient(ctx context.Context, addresses []string, patience time.Duration) *Client {
	c := &Client{id: max(1, asyncio.Rand(ctx).Uint64())}
	for _, a := range addresses {
		c.nodes = append(c.nodes, &connection{address: a, patience: patience})
	}
	return c
}

// Close closes the connections.
func (c *Client) Close() {
	for _, node := range c.nodes {
		node.close()
	}
}

// Append appends an entry, and returns when that is committed, and by whom. It tries
// until it succeeds, or is cancelled; then the entry may, or may not, be appended. It
// is never there twice.
func (c *Client) Append(ctx context.Context, data []byte) (node int, err error) {
	if len(data) > longestEntry {
		return 0, fmt.Errorf("consensus: an entry of %d bytes; at most %d are allowed", len(data), longestEntry)
	}
	c.serial++
	m := message{kind: proposal, node: nobody, entries: []Entry{{Client: c.id, Serial: c.serial, Data: data}}}
	for {
		asked := c.leader
		answer, err := c.nodes[asked].call(ctx, m)
		switch {
		case err == nil && answer.ok:
			return asked, nil
		case errors.Is(err, asyncio.ErrCancelled):
			return 0, err
		case err == nil && answer.node >= 0 && answer.node < len(c.nodes) && answer.node != asked:
			c.leader = answer.node
			continue
		}
		c.leader = (asked + 1) % len(c.nodes)
		if err := asyncio.Sleep(ctx, 20*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// Log returns the data of all committed entries that a node knows. It may lag behind
// the leader.
func (c *Client) Log(ctx context.Context, node int) ([]string, error) {
	var log []string
	for {
		answer, err := c.nodes[node].call(ctx, message{kind: query, node: nobody, index: len(log)})
		if err != nil {
			return nil, err
		}
		for _, e := range answer.entries {
			log = append(log, string(e.Data))
		}
		if len(log) >= answer.commit || len(answer.entries) == 0 {
			return log, nil
		}
	}
}
