// Package consensus is a replicated log: several nodes agree on one order of entries,
// and keep it as long as a majority of them works. It is Raft as in Ongaro and
// Ousterhout, "In Search of an Understandable Consensus Algorithm" (USENIX ATC 2014):
// elections with random timeouts, replication with the consistency check, commitment
// of entries of the current term only, and persistence of term, vote and log before
// anything is answered.
//
// It has no snapshots and no change of membership: the log is kept whole, in memory
// and on disk, and the nodes are those that it began with. Nor are there elections on
// trial (pre-vote), leases for reads, or several requests on the way to one peer.
//
// A node is a program of package asyncio on one thread, so it has no locks: whatever
// is between two awaits is one step. It knows its disk by an interface and the network
// by addresses, and runs in a simulation as it is.
package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goasyncio/asyncio"
)

// An Entry is an entry of the log.
type Entry struct {
	Term   uint64 // in which the leader has taken it
	Client uint64 // who has appended it; 0: nobody, it is a leader's first, and blank
	Serial uint64 // counts what the client has appended, from 1
	Data   []byte
}

// Config is what a node is made of.
type Config struct {
	ID    int      // of this node, by which Peers has its address
	Peers []string // addresses of all nodes, "host:port"
	Disk  Disk

	// Heartbeat is how often a leader is heard of at least: every 100 ms if zero.
	Heartbeat time.Duration

	// Election is how long followers do without a leader at least, before they try to
	// become one: three heartbeats if zero. The time is drawn anew each time, up to
	// twice as long.
	Election time.Duration

	// Batch is how many bytes of entries go into one message, but for a single entry
	// that has more: 1 MiB if zero.
	Batch int

	// Observe is told what happens, if it is not nil.
	Observe func(Event)
}

// An Event is something that Observe is told.
type Event struct {
	Node int
	Kind EventKind
	Term uint64

	// Of Committed: the entry, and its place in the log.
	Index int
	Entry Entry
}

// EventKind says what has happened.
type EventKind uint8

// The kinds of events.
const (
	Started   EventKind = iota // the node has read its disk, and takes part
	Candidate                  // it wants to become the leader of a term
	Elected                    // it has become the leader of a term
	Deposed                    // it is no longer the leader
	Committed                  // it knows that an entry is there to stay
)

type role uint8

const (
	follower role = iota
	candidate
	leader
)

// nobody is no node.
const nobody = -1

// A Node takes part in the agreement.
type Node struct {
	config Config
	loop   *asyncio.EventLoop
	*state

	role     role
	leader   int           // of this term, as far as known
	votes    int           // for this node, in this term
	deadline time.Duration // when it loses its patience with the leader
	peers    []*peer

	commit   int               // up to which entry all is committed
	applied  []Entry           // the committed ones, without blanks and repetitions
	latest   map[uint64]uint64 // the last serial number of each client in applied
	progress asyncio.Event     // set for a moment when commit, role or what is durable changes
}

// Run reads what is on the disk, and takes part until it is cancelled or the disk
// fails, whose error it returns.
func Run(ctx context.Context, c Config) error {
	if c.ID < 0 || c.ID >= len(c.Peers) || c.Disk == nil {
		return fmt.Errorf("consensus: node %d of %d has no address or no disk", c.ID, len(c.Peers))
	}
	if c.Heartbeat <= 0 {
		c.Heartbeat = 100 * time.Millisecond
	}
	if c.Election <= 0 {
		c.Election = 3 * c.Heartbeat
	}
	if c.Batch <= 0 {
		c.Batch = 1 << 20
	}
	if c.Observe == nil {
		c.Observe = func(Event) {}
	}
	s, err := recoverState(ctx, c.Disk)
	if err != nil {
		return err
	}
	n := &Node{config: c, loop: asyncio.RunningLoop(ctx), state: s, leader: nobody, latest: make(map[uint64]uint64)}
	for id, address := range c.Peers {
		if id != c.ID {
			n.peers = append(n.peers, &peer{id: id, connection: connection{address: address, patience: c.Election}})
		}
	}
	server, err := asyncio.StartServer(ctx, "tcp", c.Peers[c.ID], n.serve, nil)
	if err != nil {
		return err
	}
	defer func() { // an end that waits for nobody
		_ = asyncio.Timeout(asyncio.CleanupContext(ctx), 0, server.Shutdown)
	}()
	n.patience(ctx)
	n.tell(Started)
	return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
		g.Go(n.persist, asyncio.WithName("persist"))
		g.Go(n.elections, asyncio.WithName("elections"))
		for _, p := range n.peers {
			g.Go(func(ctx context.Context) error { return n.attend(ctx, p) }, asyncio.WithName(fmt.Sprint("peer ", p.id)))
		}
		return nil
	})
}

func (n *Node) tell(what EventKind) {
	n.config.Observe(Event{Node: n.config.ID, Kind: what, Term: n.term})
}

func (n *Node) majority() int { return len(n.config.Peers)/2 + 1 }

// changed lets those look again who wait for commit, the role or the disk.
func (n *Node) changed() {
	n.progress.Set()
	n.progress.Clear()
}

// persist keeps writing what is to be written to the disk.
func (n *Node) persist(ctx context.Context) error {
	for {
		if err := n.write(ctx); err != nil {
			return err
		}
		n.advance()
		n.changed()
	}
}

// serve answers the messages of one connection. It ends with the connection.
func (n *Node) serve(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
	defer w.Close()
	for {
		m, err := readMessage(ctx, r)
		if err != nil {
			return nil
		}
		var answer message
		switch m.kind {
		case voteRequest:
			answer = n.vote(ctx, m)
		case appendRequest:
			answer = n.accept(ctx, m)
		case proposal:
			answer, err = n.propose(ctx, m)
		case query:
			answer = n.committed(m)
		default:
			err = errors.New("not a request")
		}
		// Nothing is answered that the node could forget in a crash.
		if err == nil {
			err = n.flush(ctx)
		}
		if err != nil {
			return err
		}
		w.Write(answer.frame())
		if err := w.Drain(ctx); err != nil {
			return nil
		}
	}
}
