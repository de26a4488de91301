// What a node must not forget, in memory and on its disk.

package consensus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"github.com/goasyncio/asyncio"
)

// A Disk keeps files that grow at their end. Files is one on a real disk.
type Disk interface {
	// Append appends p to a file, which it makes if there is none. After a crash a part
	// of it may be there, or something else of the same length.
	Append(ctx context.Context, name string, p []byte) error

	// Sync makes all that was appended to a file durable.
	Sync(ctx context.Context, name string) error

	// ReadFile returns the content of a file. If there is none, the error Is
	// fs.ErrNotExist.
	ReadFile(ctx context.Context, name string) ([]byte, error)

	// Truncate cuts a file off.
	Truncate(ctx context.Context, name string, size int64) error
}

// logFile is the name of the file. It has records, one after the other: the length of
// the content in four bytes, a checksum of the length and the content in four bytes,
// and the content. That is a term and a vote, or an entry of the log and its place,
// which replaces all entries from there on.
const logFile = "raft.log"

const (
	termRecord  = 't'
	entryRecord = 'e'
)

const recordHead = 8

// A state is what a node must not forget: it is changed in memory at once, and on the
// disk a little later, in the same order. Whoever tells others must flush before.
type state struct {
	term     uint64
	votedFor int     // who got the vote of this node in this term; or nobody
	log      []Entry // from index 1; before them is a blank one

	disk    Disk
	pending []byte // what is to be written
	queued  int64  // bytes that were ever in pending
	durable int64  // bytes of them that are on the disk

	stored  int // up to which entry the log is on the disk,
	storing int // and up to which it will be after this write

	work asyncio.Event // something is pending
	done asyncio.Event // set for a moment after each write
}

func (s *state) last() int { return len(s.log) - 1 }

// setTerm begins a term, or gives the vote of one.
func (s *state) setTerm(term uint64, vote int) {
	if s.term == term && s.votedFor == vote {
		return
	}
	s.term, s.votedFor = term, vote
	b := binary.AppendUvarint([]byte{termRecord}, term)
	s.record(binary.AppendUvarint(b, uint64(vote+1)))
}

// put writes entries from an index on, and removes all that were there.
func (s *state) put(index int, entries ...Entry) {
	if index <= s.last() {
		s.log = s.log[:index:index] // messages on their way still have those that were there
	}
	s.stored, s.storing = min(s.stored, index-1), min(s.storing, index-1)
	for _, e := range entries {
		b := binary.AppendUvarint([]byte{entryRecord}, uint64(len(s.log)))
		s.record(appendEntry(b, e))
		s.log = append(s.log, e)
	}
}

// record queues a record for the disk.
func (s *state) record(content []byte) {
	before := len(s.pending)
	s.pending = binary.BigEndian.AppendUint32(s.pending, uint32(len(content)))
	s.pending = append(s.pending, 0, 0, 0, 0)
	s.pending = append(s.pending, content...)
	r := s.pending[before:]
	binary.BigEndian.PutUint32(r[4:], checksum(r))
	s.queued += int64(len(r))
	s.work.Set()
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers the length, too: zeros are no record.
func checksum(record []byte) uint32 {
	sum := crc32.Checksum(record[:4], castagnoli)
	return crc32.Update(sum, castagnoli, record[recordHead:])
}

// write waits until something is to be written, and writes it. All that comes
// while the disk is busy goes into the next write.
func (s *state) write(ctx context.Context) error {
	if err := s.work.Wait(ctx); err != nil {
		return err
	}
	p := s.pending
	s.pending = nil
	s.work.Clear()
	s.storing = s.last()
	if err := s.disk.Append(ctx, logFile, p); err != nil {
		return err
	}
	if err := s.disk.Sync(ctx, logFile); err != nil {
		return err
	}
	s.durable += int64(len(p))
	s.stored = s.storing
	s.done.Set()
	s.done.Clear()
	return nil
}

// flush waits until all that was changed so far is on the disk.
func (s *state) flush(ctx context.Context) error {
	for upTo := s.queued; s.durable < upTo; {
		if err := s.done.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// recoverState reads the state from the disk. What a crash has left of a write that
// was under way, and that nobody was told of, is cut off.
func recoverState(ctx context.Context, d Disk) (*state, error) {
	s := &state{votedFor: nobody, log: make([]Entry, 1), disk: d}
	data, err := d.ReadFile(ctx, logFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	good := 0
	for {
		content, ok := nextRecord(data[good:])
		if !ok {
			break
		}
		if err := s.replay(content); err != nil {
			return nil, fmt.Errorf("%s at %d: %w", logFile, good, err)
		}
		good += recordHead + len(content)
	}
	if good < len(data) {
		if err := d.Truncate(ctx, logFile, int64(good)); err != nil {
			return nil, err
		}
	}
	if len(data) > 0 { // what was read may not be durable yet
		if err := d.Sync(ctx, logFile); err != nil {
			return nil, err
		}
	}
	s.stored = s.last()
	return s, nil
}

// nextRecord returns the content of the record that data begins with.
func nextRecord(data []byte) (content []byte, ok bool) {
	if len(data) < recordHead {
		return nil, false
	}
	size := int64(binary.BigEndian.Uint32(data))
	if size > int64(len(data)-recordHead) {
		return nil, false
	}
	r := data[:recordHead+size]
	return r[recordHead:], binary.BigEndian.Uint32(r[4:]) == checksum(r)
}

// replay does again what a record tells.
func (s *state) replay(content []byte) error {
	f := fields{rest: content}
	switch f.byte() {
	case termRecord:
		s.term, s.votedFor = f.uint(), f.int()-1
	case entryRecord:
		index := f.int()
		if index < 1 || index > len(s.log) {
			return fmt.Errorf("entry %d after %d", index, s.last())
		}
		s.log = append(s.log[:index], f.entry())
	default:
		f.bad = true
	}
	if f.bad || len(f.rest) > 0 {
		return errors.New("a malformed record with a valid checksum")
	}
	return nil
}
