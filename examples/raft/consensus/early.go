//go:build raftbug

// A mistake, planted for the tests to find: see quorum.go.

package consensus

// acknowledged is wrong: it does not wait for the others.
func (n *Node) acknowledged(index int) bool { return n.stored >= index }
