// The log of the simulated network: what has happened, in order.

package asynciotest

import (
	"fmt"
	"strings"
	"time"
)

// A LogKind is what an entry of the log tells of.
type LogKind uint8

const (
	turned LogKind = iota // a program had its turn: counts for the hash, and is not in the log
	ack                   // an acknowledgement: the same

	// What travels between hosts.

	ConnectPacket     // the first packet of a connection
	AcceptPacket      // its answer
	RefusePacket      // its other answer
	DataPacket        // bytes of a connection
	EndPacket         // the end of a stream
	ResetPacket       // a reset
	DatagramPacket    // a datagram
	UnreachablePacket // the answer that nobody takes a datagram

	// What becomes of it.

	PacketArrived    // it has arrived
	PacketLost       // it was lost
	PacketDuplicated // it was doubled
	PacketResent     // it was lost at first, and is sent again

	// What happens to hosts and links.

	ProgramStarted // a program has begun
	ProgramEnded   // a program has ended
	HostCrashed    // a host has crashed
	HostBooted     // a host is up again
	LinkCut        // a link was cut
	LinkHealed     // a link was healed
	LinkHeld       // a link holds its packets
	LinkReleased   // a link has released them
	DiskSynced     // a disk has made something durable
	NoteTaken      // Note was called

	ConnectionsReset     // Reset was called
	ConnectionsForgotten // Forget was called
	LinkChanged          // SetLink or SetLinks was called while the network ran
	ClockSet             // SetClock was called while the network ran
)

var kindNames = [...]string{
	"turn", "ack", "connect", "accept", "refuse", "data", "end", "reset", "datagram", "unreachable",
	"arrived", "lost", "duplicated", "resent",
	"start", "end of program", "crash", "boot", "cut", "heal", "hold", "release", "sync", "note",
	"reset of all connections", "connections forgotten", "link changed", "clock set",
}

// String returns a word for k.
func (k LogKind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("LogKind(%d)", uint8(k))
}

// A LogEntry is something that has happened on a Network.
type LogEntry struct {
	Time time.Duration // of the network
	Kind LogKind

	// From and To are the hosts. To is nil where there is only one.
	From, To *Host

	// Of a packet: what it was, when it was sent, the ports, and how many bytes of the
	// program's it carried. Kind says what has become of it.
	Of               LogKind
	Sent             time.Duration
	SourcePort, Port uint16
	Size             int

	// Text is what Note was given, and what there is to say of a clock.
	Text string
}

// String returns the entry as a line of text.
func (e LogEntry) String() string { return e.line(timeWidth) }

// timeWidth is how wide the time of an entry is at least.
const timeWidth = 12

func (e LogEntry) line(width int) string { return fmt.Sprintf("%*v  %s", width, e.Time, e.text()) }

// text is String without the time.
func (e LogEntry) text() string {
	switch {
	case e.Text != "":
		return fmt.Sprintf("%v: %s", e.From, e.Text)
	case e.Of != 0:
		text := fmt.Sprintf("%v:%d -> %v:%d  %v", e.From, e.SourcePort, e.To, e.Port, e.Of)
		if e.Size > 0 {
			text += fmt.Sprintf(" %d B", e.Size)
		}
		if e.Kind == PacketArrived {
			return text + fmt.Sprintf(" (%v)", e.Time-e.Sent)
		}
		return text + " " + e.Kind.String()
	case e.To != nil:
		return fmt.Sprintf("%v -> %v  %v", e.From, e.To, e.Kind)
	case e.Size > 0:
		return fmt.Sprintf("%v  %v %d B", e.From, e.Kind, e.Size)
	}
	return fmt.Sprintf("%v  %v", e.From, e.Kind)
}

// A NetworkLog is what has happened on a Network, the latest last.
type NetworkLog []LogEntry

// String returns the log as text, an entry a line.
func (l NetworkLog) String() string {
	width := timeWidth
	for _, e := range l {
		width = max(width, len(e.Time.String()))
	}
	var b strings.Builder
	for _, e := range l {
		b.WriteString(e.line(width))
		b.WriteByte('\n')
	}
	return b.String()
}

// Log returns what has happened so far, at most the latest entries that WithLogLimit
// allows. Acknowledgements, and packets of Unix sockets, are left out.
func (n *Network) Log() NetworkLog {
	n.here("Network.Log")
	return append(NetworkLog(nil), n.log.items[n.log.head:]...)
}

// Note puts a text into the log, as something that has happened on the host whose
// program runs now.
func (n *Network) Note(format string, args ...any) {
	n.here("Network.Note")
	h := n.outside
	if n.acting != nil {
		h = n.acting.program.host
	}
	n.record(LogEntry{Kind: NoteTaken, From: h, Text: fmt.Sprintf(format, args...)})
}

// record takes an event into the hash and the log.
func (n *Network) record(e LogEntry) {
	e.Time = n.Now()
	n.mix(e.Kind, e.From, e.To, e.Size)
	if n.sim != nil {
		n.remarkEntry(e)
	}
	if n.logLimit == 0 {
		return
	}
	if n.log.len() >= n.logLimit {
		n.log.pop()
	}
	n.log.push(e)
}
