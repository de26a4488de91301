//go:build !raftbug

// What a client may be told.

package consensus

// acknowledged reports whether a client may be told that an entry of this leader is
// safe: when it is committed.
func (n *Node) acknowledged(index int) bool { return n.commit >= index }
