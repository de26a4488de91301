// Messages, and how they look on the network.

package consensus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/goasyncio/asyncio"
)

type messageKind uint8

// Each request has an answer, on the same connection.
const (
	voteRequest    messageKind = iota + 1 // index and entryTerm: the candidate's last entry
	voteAnswer                            // ok: it has the vote
	appendRequest                         // index and entryTerm: the entry before entries
	appendAnswer                          // ok: they are in the log; else index: where to go on
	proposal                              // entries: one, to be appended
	proposalAnswer                        // ok: it is committed; else node: who may lead
	query                                 // index: how many committed entries the client has
	queryAnswer                           // entries: those that follow; commit: how many there are
)

// A message is what nodes and clients say to each other. Not all fields mean something
// in each kind.
type message struct {
	kind      messageKind
	ok        bool
	node      int
	term      uint64
	index     int
	entryTerm uint64
	commit    int
	entries   []Entry
}

const (
	longestEntry   = 1 << 20
	longestMessage = 4 << 20
)

// batch returns as many of the entries as go into one message.
func (n *Node) batch(entries []Entry) []Entry {
	size := 0
	for i, e := range entries {
		if size += len(e.Data) + 30; size > n.config.Batch && i > 0 {
			return entries[:i:i]
		}
	}
	return entries[:len(entries):len(entries)]
}

// frame returns the message as it is sent: its length in four bytes, and its fields.
func (m message) frame() []byte {
	b := make([]byte, 4, 64)
	b = append(b, byte(m.kind), 0)
	if m.ok {
		b[5] = 1
	}
	for _, v := range [...]uint64{uint64(m.node + 1), m.term, uint64(m.index), m.entryTerm, uint64(m.commit), uint64(len(m.entries))} {
		b = binary.AppendUvarint(b, v)
	}
	for _, e := range m.entries {
		b = appendEntry(b, e)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func appendEntry(b []byte, e Entry) []byte {
	for _, v := range [...]uint64{e.Term, e.Client, e.Serial, uint64(len(e.Data))} {
		b = binary.AppendUvarint(b, v)
	}
	return append(b, e.Data...)
}

var errMalformed = errors.New("consensus: malformed message")

// readMessage reads a message from a connection.
func readMessage(ctx context.Context, r *asyncio.StreamReader) (message, error) {
	head, err := r.ReadExactly(ctx, 4)
	if err != nil {
		return message{}, err
	}
	size := binary.BigEndian.Uint32(head)
	if size > longestMessage {
		return message{}, fmt.Errorf("%w: %d bytes", errMalformed, size)
	}
	body, err := r.ReadExactly(ctx, int(size))
	if err != nil {
		return message{}, err
	}
	return parseMessage(body)
}

func parseMessage(body []byte) (message, error) {
	f := fields{rest: body}
	var m message
	m.kind, m.ok = messageKind(f.byte()), f.byte() == 1
	m.node, m.term, m.index, m.entryTerm, m.commit = f.int()-1, f.uint(), f.int(), f.uint(), f.int()
	count := f.int()
	for ; count > 0 && !f.bad; count-- {
		m.entries = append(m.entries, f.entry())
	}
	if f.bad || len(f.rest) > 0 {
		return message{}, errMalformed
	}
	return m, nil
}

// fields takes fields from the beginning of rest, as long as there are any.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.rest) {
		f.rest, f.bad = nil, true
		return nil
	}
	p := f.rest[:n:n]
	f.rest = f.rest[n:]
	return p
}

func (f *fields) byte() byte {
	if p := f.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (f *fields) uint() uint64 {
	v, n := binary.Uvarint(f.rest)
	if n <= 0 {
		f.rest, f.bad = nil, true
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

func (f *fields) int() int {
	v := f.uint()
	if v > 1<<62 {
		f.bad = true
		return 0
	}
	return int(v)
}

func (f *fields) entry() Entry {
	e := Entry{Term: f.uint(), Client: f.uint(), Serial: f.uint()}
	e.Data = f.take(f.int())
	return e
}
