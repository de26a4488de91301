// Recordings: what comes to a loop from outside, written down while it runs.

package asynciotest

import (
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
)

// A Recording is the inputs of one loop on their way to a file, from which Replay runs
// the program once more, exactly as it went, under a debugger for example:
//
//	f, err := os.Create("server.tape")
//	...
//	rec := asynciotest.NewRecording(f)
//	err = asyncio.Run(ctx, serve, asynciotest.WithRecording(rec))
//	err = errors.Join(err, rec.Err(), f.Close())
//
// # What is recorded
//
// What the network says is ready, and in which order; the bytes, connections and
// errors that it gives; readings of the clock and of the time of day (asyncio.Now); the
// seed of asyncio.Rand; the answers to name look-ups; and when the ends of ToThread's
// functions, thread-safe calls, cancelled contexts and signals arrived at the loop. Of
// TLS it is the plain text: so a recording holds all that the program was told in
// confidence, and wants to be kept like that.
//
// Of child processes it is their numbers, or why they could not be started, their
// output, what happened to their input, what became of signals to them, and how and
// when they exited.
//
// Of what the program writes, the length and a checksum are kept, of what it starts the
// command line, up to 4 KiB of it.
//
// # What is not
//
// The functions of ToThread run again in a replay, and so does whatever posts
// thread-safe calls: what they return has to be the same. What runs in this process
// and reads or writes the other end of a pipe finds nobody there in a replay. What a
// child process does beside talking to the program, to files for instance, is not done
// again.
//
// Descriptors of others, connections and listeners that were opened elsewhere, Inbox,
// the Go channels of Receive and Send, Unix datagrams, and TLS inside TLS cannot be
// recorded: with WithRecording the functions for them return an error that Is
// errors.ErrUnsupported (NewInbox panics with it), and SyscallConn of a connection
// does. So a recording is never silently wrong. Files are sent by copying.
//
// # Cost
//
// An entry takes some ten nanoseconds, and the file grows by what is received and some
// 20 bytes for each operation. At most 640 KiB wait in memory, for the goroutine that
// writes; when they are full, the loop waits for it. What waits is written when the
// loop is closed, also because of a panic in a task, and otherwise within about a
// second: so much is lost if the process is killed.
type Recording struct {
	w    io.Writer
	used atomic.Bool
	err  atomic.Pointer[error]

	mine  func() bool
	clock seam.Clock

	// Guarded by mu, which the loop holds but for the time when it waits.
	mu        sync.Mutex
	block     []byte
	allocated int

	// Owned by the loop.
	parked   bool // it has let mu go
	started  bool
	closed   bool // what is written now goes nowhere
	now      time.Duration
	wall     int64
	offset   int
	objects  uint64
	lookups  uint64
	takes    uint64 // since the last opPosts
	sites    map[string]uint64
	answers  map[uint64]*lookup
	limit    chan struct{} // of look-ups
	sockets  seam.Network
	full     chan []byte
	free     chan []byte
	written  chan struct{} // closed when all is written
	sequence uint32        // owned by the goroutine that writes

	posted atomic.Bool // there are posts

	// Guarded by postMu.
	postMu sync.Mutex
	posts  []post
	bySite map[string]uint64
}

// A post is what another goroutine wants the loop to run.
type post struct {
	seam.Post
	run any
}

// A lookup is the look-up of a name, and posted to the loop its end.
type lookup struct {
	answer  seam.Answer
	tell    func(seam.Answer)
	cancel  context.CancelFunc
	stopped bool
}

// NewRecording returns a recording that is written to w, in blocks of 64 KiB or less,
// by a goroutine of its own. Whoever has opened w closes it, after the loop. If w
// returns an error the program goes on, and the recording ends there; Err tells of it.
// It panics if w is nil.
func NewRecording(w io.Writer) *Recording {
	if w == nil {
		panic("asynciotest: NewRecording: the writer is nil")
	}
	return &Recording{w: w}
}

// Err returns the first error of the writer, which is nil as long as there is none.
// After the loop was closed nil means that the recording is complete. Any goroutine may
// call it.
func (r *Recording) Err() error {
	if err := r.err.Load(); err != nil {
		return *err
	}
	return nil
}

// WithRecording records what comes to a loop from outside; see Recording. It is for
// loops on the wall clock and the real network. Making a loop panics if the Recording
// was given to another one, or if the loop runs on a simulated network; WithRecording
// itself panics if r is nil.
func WithRecording(r *Recording) asyncio.LoopOption {
	if r == nil {
		panic("asynciotest: WithRecording: the recording is nil")
	}
	return seam.LoopOption(seam.Seams{NewTape: func() seam.Tape {
		if r.used.Swap(true) {
			panic("asynciotest: a Recording is for one loop")
		}
		return (*recorder)(r)
	}}).(asyncio.LoopOption)
}

// A recorder is a Recording as its loop sees it.
type recorder Recording

func (r *recorder) Bind(mine func() bool) {
	r.mine = mine
	r.sites = make(map[string]uint64)
	r.bySite = make(map[string]uint64)
	r.answers = make(map[uint64]*lookup)
	r.limit = make(chan struct{}, lookupLimit)
	r.full = make(chan []byte, mostBlocks)
	r.free = make(chan []byte, mostBlocks)
	r.written = make(chan struct{})
	r.mu.Lock()
	r.block = r.fresh()
	r.op(opBegin)
	r.str(runtime.GOOS + "/" + runtime.GOARCH)
}

// op begins an entry.
func (r *recorder) op(o op) { r.block = append(r.small(), byte(o)) }

// smallEntry is more than the fields take that are appended to what small returns.
const smallEntry = 1 + 5*binary.MaxVarintLen64

// small returns the block with room for an entry of a few numbers. It is for the
// entries of which there are many.
func (r *recorder) small() []byte {
	if r.parked { // take the block back after a wait
		r.mu.Lock()
		r.parked = false
	}
	if cap(r.block)-len(r.block) < smallEntry {
		r.room(smallEntry)
	}
	return r.block
}

// small appends a number, which is most often small, to a block that has room.
func small(b []byte, x uint64) []byte {
	if x < 0x80 {
		return append(b, byte(x))
	}
	return binary.AppendUvarint(b, x)
}

// smallError appends an error to a block that has room, if it is one of the frequent
// ones, and reports whether it is.
func smallError(b []byte, err error) ([]byte, bool) {
	switch err {
	case nil:
		return append(b, errorNone), true
	case seam.ErrWouldBlock:
		return append(b, errorWouldBlock), true
	}
	return b, false
}

// endsWith ends an entry with an error.
func (r *recorder) endsWith(b []byte, err error) {
	frequent := false
	r.block, frequent = smallError(b, err)
	if !frequent {
		putError(r, err)
	}
}

// park lets the goroutine that writes have the block.
func (r *recorder) park() {
	r.parked = true
	r.mu.Unlock()
}

// room makes sure that n bytes more have room in the block.
func (r *recorder) room(n int) {
	if cap(r.block)-len(r.block) < n {
		if r.closed {
			r.block = r.block[:frameSize]
			return
		}
		r.start()
		r.full <- r.block
		r.block = r.fresh()
	}
}

// fresh returns an empty block. It waits for one if the writer is slow.
func (r *recorder) fresh() []byte {
	select {
	case b := <-r.free:
		return b
	default:
	}
	if r.allocated < mostBlocks {
		r.allocated++
		return make([]byte, frameSize, blockSize)
	}
	return <-r.free
}

func (r *recorder) u(x uint64) {
	r.room(binary.MaxVarintLen64)
	r.block = binary.AppendUvarint(r.block, x)
}

func (r *recorder) i(x int64) {
	r.room(binary.MaxVarintLen64)
	r.block = binary.AppendVarint(r.block, x)
}

func (r *recorder) bytes(p []byte) {
	r.u(uint64(len(p)))
	for len(p) > 0 {
		r.room(1)
		n := min(len(p), cap(r.block)-len(r.block))
		r.block = append(r.block, p[:n]...)
		p = p[n:]
	}
}

func (r *recorder) str(s string) {
	r.u(uint64(len(s)))
	for len(s) > 0 {
		r.room(1)
		n := min(len(s), cap(r.block)-len(r.block))
		r.block = append(r.block, s[:n]...)
		s = s[n:]
	}
}

// start starts the goroutine that writes.
func (r *recorder) start() {
	if !r.started {
		r.started = true
		go r.write()
	}
}

// flushEvery is how long an entry waits at most while the loop does.
const flushEvery = time.Second

func (r *recorder) write() {
	defer close(r.written)
	r.output(append([]byte(tapeMagic), tapeVersion))
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case b := <-r.full:
			if b == nil {
				return
			}
			frame(b, r.sequence)
			r.sequence++
			r.output(b)
			r.free <- b[:frameSize]
		case <-tick.C:
			if r.mu.TryLock() { // else the loop is at work
				if len(r.block) > frameSize && len(r.full) == 0 && !r.closed {
					r.full <- r.block
					r.block = r.spare()
				}
				r.mu.Unlock()
			}
		}
	}
}

// spare is fresh for the goroutine that writes, and so never waits: nothing but the
// block that it has just taken is in use.
func (r *recorder) spare() []byte {
	select {
	case b := <-r.free:
		return b
	default:
		r.allocated++
		return make([]byte, frameSize, blockSize)
	}
}

func (r *recorder) output(p []byte) {
	if r.err.Load() != nil {
		return
	}
	if n, err := r.w.Write(p); err != nil || n < len(p) {
		if err == nil {
			err = io.ErrShortWrite
		}
		r.err.Store(&err)
	}
}

func (r *recorder) Clock(c seam.Clock) seam.Clock {
	refuseMachine(c)
	r.clock = c
	return (*recordedClock)(r)
}

func (r *recorder) Seed(a, b uint64) (uint64, uint64) {
	r.op(opSeed)
	r.u(a)
	r.u(b)
	return a, b
}

func (r *recorder) Err() error { return nil }

// recordedClock is the clock of a loop that is recorded.
type recordedClock recorder

func (c *recordedClock) Now() time.Duration {
	now := c.clock.Now()
	if c.mine() {
		r := (*recorder)(c)
		r.block = binary.AppendVarint(append(r.small(), byte(opNow)), int64(now-r.now))
		r.now = now
	}
	return now
}

func (c *recordedClock) Wall() time.Time {
	wall := c.clock.Wall().Round(0) // without what differs from run to run unseen
	if c.mine() {
		r := (*recorder)(c)
		_, offset := wall.Zone()
		r.op(opWall)
		r.i(wall.UnixNano() - r.wall)
		r.i(int64(offset - r.offset))
		r.wall, r.offset = wall.UnixNano(), offset
	}
	return wall
}

func (c *recordedClock) Wait(d time.Duration, external bool, poll func(time.Duration) (bool, error)) error {
	r := (*recorder)(c)
	r.block = binary.AppendVarint(append(r.small(), byte(opWait)), int64(d))
	r.park()
	err := r.clock.Wait(d, external, poll)
	r.endsWith(append(r.small(), byte(opWaited)), err)
	return err
}

func (r *recorder) Post(p seam.Post, run any) {
	r.postMu.Lock()
	defer r.postMu.Unlock()
	if p.Kind == seam.Call {
		r.bySite[p.Site]++
		p.Number = r.bySite[p.Site]
	}
	r.posts = append(r.posts, post{p, run})
	r.posted.Store(true)
}

func (r *recorder) Expect(seam.Post, any) {}

func (r *recorder) Take(queue func(run any)) {
	r.takes++
	if !r.posted.Load() {
		return
	}
	r.postMu.Lock()
	posts := r.posts
	r.posts = nil
	r.posted.Store(false)
	r.postMu.Unlock()
	r.op(opPosts)
	r.u(r.takes)
	r.takes = 0
	for _, p := range posts {
		if l, ok := p.run.(*lookup); ok && l.stopped {
			continue
		}
		r.u(1 + uint64(p.Kind))
		r.u(p.Number)
		if hasSite(p.Kind) {
			r.site(p.Site)
		}
		if l, ok := p.run.(*lookup); ok {
			delete(r.answers, p.Number)
			putAnswer(r, l.answer)
			l.cancel()
			l.tell(l.answer)
			continue
		}
		queue(p.run)
	}
	r.u(0)
}

// hasSite reports whether posts of a kind have a Site.
func hasSite(kind seam.PostKind) bool { return kind == seam.Call || kind == seam.Signal }

// site writes the name of a function or a signal, the first time in full.
func (r *recorder) site(name string) {
	n, known := r.sites[name]
	if !known {
		n = uint64(len(r.sites))
		r.sites[name] = n
	}
	r.u(n)
	if !known {
		r.str(name)
	}
}

// lookupLimit is how many names are looked up at once.
const lookupLimit = 64

func (r *recorder) LookUp(question string, find func(ctx context.Context) seam.Answer, tell func(seam.Answer)) (stop func()) {
	r.lookups++
	n := r.lookups
	r.op(opLookUp)
	r.str(question)
	ctx, cancel := context.WithCancel(context.Background())
	l := &lookup{tell: tell, cancel: cancel}
	r.answers[n] = l
	network := r.sockets
	go func() {
		r.limit <- struct{}{}
		l.answer = find(ctx)
		<-r.limit
		r.Post(seam.Post{Kind: seam.LookUp, Number: n}, l)
		network.Wake()
	}()
	return func() {
		l.stopped = true
		delete(r.answers, n)
		cancel()
	}
}

func (r *recorder) Close(drop func(any)) {
	r.postMu.Lock()
	posts := r.posts
	r.posts = nil
	r.postMu.Unlock()
	for _, l := range r.answers {
		l.cancel()
	}
	for _, p := range posts {
		drop(p.run)
	}
	r.op(opEnd)
	r.start()
	r.full <- r.block
	r.full <- nil
	r.block, r.closed = make([]byte, frameSize, frameSize+smallEntry), true
	r.park()
	<-r.written
}
