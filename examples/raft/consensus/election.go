// Elections: how a node becomes the leader of a term, and ceases to be.

package consensus

import (
	"context"
	"time"

	"github.com/goasyncio/asyncio"
)

// patience draws anew how long the node does without a leader.
func (n *Node) patience(ctx context.Context) {
	d := n.config.Election
	n.deadline = n.loop.Time() + d + time.Duration(asyncio.Rand(ctx).Int64N(int64(d)))
}

// elections starts one when nobody has led for too long.
func (n *Node) elections(ctx context.Context) error {
	for {
		if left := n.deadline - n.loop.Time(); left > 0 {
			if err := asyncio.Sleep(ctx, left); err != nil {
				return err
			}
			continue // the deadline may have moved
		}
		n.patience(ctx)
		if n.role == leader {
			continue
		}
		if err := n.campaign(ctx); err != nil {
			return err
		}
	}
}

// campaign begins a new term, and asks all for their votes.
func (n *Node) campaign(ctx context.Context) error {
	n.setTerm(n.term+1, n.config.ID)
	n.role, n.leader, n.votes = candidate, nobody, 0
	n.tell(Candidate)
	term := n.term
	if err := n.flush(ctx); err != nil {
		return err
	}
	if n.term != term || n.role != candidate {
		return nil
	}
	for _, p := range n.peers {
		p.asked = false
		p.wake.Set()
	}
	n.voted()
	return nil
}

// voted counts a vote.
func (n *Node) voted() {
	n.votes++
	if n.votes == n.majority() {
		n.lead()
	}
}

// lead makes the candidate the leader. Its first entry is a blank one: with it
// everything before is committed, which an entry of an older term never is by itself.
func (n *Node) lead() {
	n.role, n.leader = leader, n.config.ID
	n.tell(Elected)
	for _, p := range n.peers {
		p.match, p.next, p.last = 0, n.last()+1, 0
		p.wake.Set()
	}
	n.put(n.last()+1, Entry{Term: n.term})
}

// follow makes the node a follower, in a term that may be new.
func (n *Node) follow(term uint64) {
	was := n.role
	n.role = follower
	if term > n.term {
		n.leader = nobody
		n.setTerm(term, nobody)
	}
	if was == leader {
		n.tell(Deposed)
		n.changed()
	}
}

// vote answers a candidate. It gets the vote of a term if nobody else has got it, and
// if no entry may be missing in its log that could be committed.
func (n *Node) vote(ctx context.Context, m message) message {
	if m.term > n.term {
		n.follow(m.term)
	}
	lastTerm := n.log[n.last()].Term
	complete := m.entryTerm > lastTerm || m.entryTerm == lastTerm && m.index >= n.last()
	free := n.votedFor == nobody || n.votedFor == m.node
	granted := m.term == n.term && free && complete
	if granted {
		n.setTerm(n.term, m.node)
		n.patience(ctx)
	}
	return message{kind: voteAnswer, node: n.config.ID, term: n.term, ok: granted}
}
