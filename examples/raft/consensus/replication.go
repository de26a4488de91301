// Replication: how entries get from the leader to the others, and when they are
// committed.

package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goasyncio/asyncio"
)

// A peer is another node, as this one sees it.
type peer struct {
	id int
	connection
	wake asyncio.Event // there may be something for it

	asked bool // it has answered whether it votes for this node, in this term

	match int           // up to which entry its log is known to agree with the leader's
	next  int           // the entry to send next
	last  time.Duration // when something was sent
}

// attend sends a peer what there is for it: requests for its vote, entries,
// heartbeats. There is one request on its way at a time.
func (n *Node) attend(ctx context.Context, p *peer) error {
	defer p.close()
	for {
		p.wake.Clear()
		m, ok := n.requestFor(p)
		if !ok {
			if err := n.idle(ctx, p); err != nil {
				return err
			}
			continue
		}
		p.last = n.loop.Time()
		answer, err := p.call(ctx, m)
		switch {
		case err == nil:
			n.hear(p, m, answer)
		case errors.Is(err, asyncio.ErrCancelled):
			return err
		default: // it may be down
			if err := asyncio.Sleep(ctx, n.config.Heartbeat); err != nil {
				return err
			}
		}
	}
}

// idle waits until there may be something for a peer.
func (n *Node) idle(ctx context.Context, p *peer) error {
	if n.role != leader {
		return p.wake.Wait(ctx)
	}
	err := asyncio.TimeoutAt(ctx, p.last+n.config.Heartbeat, func(ctx context.Context, _ *asyncio.TimeoutScope) error { return p.wake.Wait(ctx) })
	if errors.Is(err, asyncio.ErrTimeout) {
		return nil
	}
	return err
}

// requestFor returns what there is for a peer now.
func (n *Node) requestFor(p *peer) (m message, ok bool) {
	m = message{node: n.config.ID, term: n.term}
	switch {
	case n.role == candidate && !p.asked && n.votes > 0:
		m.kind, m.index, m.entryTerm = voteRequest, n.last(), n.log[n.last()].Term
	case n.role == leader && (p.next <= n.last() || n.loop.Time() >= p.last+n.config.Heartbeat):
		m.kind, m.index, m.entryTerm, m.commit = appendRequest, p.next-1, n.log[p.next-1].Term, n.commit
		m.entries = n.batch(n.log[p.next:])
	default:
		return m, false
	}
	return m, true
}

// hear takes the answer of a peer to a request.
func (n *Node) hear(p *peer, m, answer message) {
	if answer.term > n.term {
		n.follow(answer.term)
		return
	}
	if m.term != n.term {
		return // it is about a term that is over
	}
	switch {
	case m.kind == voteRequest && n.role == candidate:
		p.asked = true
		if answer.ok {
			n.voted()
		}
	case m.kind == appendRequest && answer.ok:
		p.match = max(p.match, m.index+len(m.entries))
		p.next = p.match + 1
		n.advance()
	case m.kind == appendRequest:
		p.next = max(p.match+1, min(answer.index, p.next-1))
	}
}

// accept answers a leader. Its entries are taken if the one before them is in the log.
func (n *Node) accept(ctx context.Context, m message) message {
	answer := message{kind: appendAnswer, node: n.config.ID, term: n.term}
	if m.term < n.term {
		return answer
	}
	n.follow(m.term)
	n.leader, answer.term = m.node, n.term
	n.patience(ctx)
	if m.index > n.last() {
		answer.index = n.last() + 1 // what is missing begins here
		return answer
	}
	if wrong := n.log[m.index].Term; wrong != m.entryTerm {
		// All entries of that term are doubtful: the leader shall go back before them.
		answer.index = m.index
		for answer.index > 1 && n.log[answer.index-1].Term == wrong {
			answer.index--
		}
		return answer
	}
	for i, e := range m.entries {
		at := m.index + 1 + i
		if at <= n.last() && n.log[at].Term == e.Term {
			continue // an old message must not cut off what came later
		}
		if at <= n.commit {
			panic(fmt.Sprintf("consensus: node %d is told to replace entry %d, which is committed", n.config.ID, at))
		}
		n.put(at, m.entries[i:]...)
		break
	}
	n.commitTo(min(m.commit, m.index+len(m.entries)))
	answer.ok = true
	return answer
}

// advance commits what a majority has on its disks, if the last of it is of this term.
// An entry of an earlier term could still be replaced, though a majority has it.
func (n *Node) advance() {
	if n.role != leader {
		return
	}
	durable := []int{n.stored}
	for _, p := range n.peers {
		durable = append(durable, p.match)
	}
	slices.Sort(durable)
	if i := durable[len(durable)-n.majority()]; n.log[i].Term == n.term {
		n.commitTo(i)
	}
}

// commitTo notes that all entries up to one are there to stay.
func (n *Node) commitTo(index int) {
	if index <= n.commit {
		return
	}
	for n.commit < index {
		n.commit++
		e := n.log[n.commit]
		if e.Serial > n.latest[e.Client] { // a client that got no answer has tried again
			n.latest[e.Client] = e.Serial
			n.applied = append(n.applied, e)
		}
		n.config.Observe(Event{Node: n.config.ID, Kind: Committed, Term: n.term, Index: n.commit, Entry: e})
	}
	n.changed()
}

// propose appends the entry of a client, and waits until it may be acknowledged. A node
// that does not lead, or no longer does, says who may.
func (n *Node) propose(ctx context.Context, m message) (message, error) {
	no := func() message { return message{kind: proposalAnswer, node: n.leader, term: n.term} }
	if len(m.entries) != 1 || len(m.entries[0].Data) > longestEntry {
		return no(), errMalformed
	}
	if n.role != leader {
		return no(), nil
	}
	e := m.entries[0]
	if e.Serial > n.latest[e.Client] {
		term, index := n.term, n.last()+1
		e.Term = term
		n.put(index, e)
		for _, p := range n.peers {
			p.wake.Set()
		}
		for !n.acknowledged(index) {
			if err := n.progress.Wait(ctx); err != nil {
				return message{}, err
			}
			if n.role != leader || n.term != term {
				return no(), nil
			}
		}
	}
	return message{kind: proposalAnswer, node: n.config.ID, term: n.term, ok: true}, nil
}

// committed answers a client that wants to see the log.
func (n *Node) committed(m message) message {
	from := min(m.index, len(n.applied))
	return message{kind: queryAnswer, node: n.config.ID, term: n.term, ok: true, index: from, commit: len(n.applied), entries: n.batch(n.applied[from:])}
}
