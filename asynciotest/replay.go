// Replays: a program runs once more on what has been recorded.

package asynciotest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
)

// ErrDamaged is the error of reading a recording that is none, that has been altered,
// or that is of another version of this package or another system.
var ErrDamaged = errors.New("asynciotest: the recording cannot be used")

// ErrRecordingEnds is the error of a replay that has come to where the recording ends,
// although the loop was not closed there: the recorded process was killed, or the file
// cut off. Up to there the replay was exact.
var ErrRecordingEnds = errors.New("asynciotest: the recording ends here, without its end: its loop was not closed, or the file was cut off")

// A Difference is the error of a replay in which the program has done something else
// than what was recorded. It is the first one; the replay ends with it.
type Difference struct {
	Entry    uint64        // its number in the recording, from 1
	Time     time.Duration // of the loop
	Object   string        // the connection, listener, socket, pipe or child process; empty if there is none
	Recorded string        // what the program did then
	Replayed string        // what it does now
	Stack    string        // of what it does now; if that is to wait, what its tasks wait for
}

// Error describes the difference in several lines.
func (d *Difference) Error() string {
	where := ""
	if d.Object != "" {
		where = " on " + d.Object
	}
	return fmt.Sprintf("asynciotest: the replay differs from the recording at entry %d, loop time %v%s\n\trecorded: %s\n\treplayed: %s\n"+
		"The program depends on something that is not recorded. Usual causes: the order of a map, goroutines and select, "+
		"time.Now instead of asyncio.Now, math/rand instead of asyncio.Rand, files and the environment, or the program has changed.\n%s",
		d.Entry, d.Time, where, d.Recorded, d.Replayed, d.Stack)
}

// Replay runs main as asyncio.Run does, on what is recorded in r: no connection is
// opened, no process started, no time waited for, no name looked up. What the program
// gets is what it got then, in the same order, at the same times of the loop's clock.
// main and opts, apart from WithRecording, have to be what they were then.
//
// Signals to child processes reach nobody, and the program does not listen to those
// that this process receives. A file that the program opens and uses as a pipe it opens
// in a replay, too; it is not read or written, but closed.
//
// What the program writes, where it connects and listens, which processes it starts and
// signals, which signals it wants itself, and which timers it sets is compared with the
// recording. At the first difference the loop ends, and Replay returns a *Difference; a
// breakpoint in the function that makes it, (*player).differ, shows the program in that
// moment.
//
// Functions of ToThread, and whoever calls CallSoonThreadsafe and the like, run again;
// their calls are matched by the function that makes them and their order there. A
// replay waits 30 seconds of running time for one that has been recorded, and then it
// is a Difference. The cause of a cancellation of the context given to Run is not
// recorded.
//
// Otherwise Replay returns the error of asyncio.Run, ErrRecordingEnds at the end of a
// recording that is not complete, or an error that Is ErrDamaged. It panics if r, main or
// an option is nil.
func Replay(r io.Reader, main func(ctx context.Context) error, opts ...asyncio.RunOption) error {
	p := NewReplay(r)
	checkProgram("Replay", main, opts)
	replayed := func(ctx context.Context) error {
		p.loop = asyncio.RunningLoop(ctx)
		return main(ctx)
	}
	err := asyncio.Run(context.Background(), replayed, append(slices.Clone(opts), WithReplay(p))...)
	if p.Err() != nil {
		return p.Err()
	}
	return err
}

// A Replaying is a replay for programs that do not use Replay, because they use
// asyncio.NewRunner or asyncio.NewEventLoop.
type Replaying struct {
	r    io.Reader
	used atomic.Bool
	err  atomic.Pointer[error]

	mine func() bool
	loop *asyncio.EventLoop // nil if it is not known

	// Owned by the loop.
	opened   bool
	block    []byte // what is left of it
	sequence uint32
	readErr  error // no further block can be read
	entries  uint64
	failed   error
	now      time.Duration
	wall     int64
	waits    bool // the loop does
	offset   int
	objects  []*replayed
	lookups  map[uint64]func(seam.Answer)
	asked    uint64
	takes    uint64
	postsAt  uint64 // the entry that has begun holds what comes at this one of takes; 0 for none
	sites    []string
	expected map[seam.Post]any

	current atomic.Int64 // now and wall, for other goroutines
	wallNow atomic.Int64

	arrived chan struct{} // full after a Post

	// Guarded by postMu.
	postMu  sync.Mutex
	waiting map[seam.Post]any
	order   []seam.Post // of waiting, by arrival
	bySite  map[string]uint64
}

// NewReplay returns a replay of the recording in r, which is read as far as the replay
// has come.
// It panics if r is nil.
func NewReplay(r io.Reader) *Replaying {
	if r == nil {
		panic("asynciotest: NewReplay: the reader is nil")
	}
	return &Replaying{r: r}
}

// Err returns what has ended the replay before its time, as Replay does; nil if nothing
// has. It is called on the loop's goroutine, or after the loop was closed.
func (p *Replaying) Err() error {
	if err := p.err.Load(); err != nil {
		return *err
	}
	return nil
}

// WithReplay makes a loop run on a recording; see Replay. Making a second loop with the
// same Replaying panics.
func WithReplay(p *Replaying) asyncio.LoopOption {
	if p == nil {
		panic("asynciotest: WithReplay: the replay is nil")
	}
	return seam.LoopOption(seam.Seams{NewTape: func() seam.Tape {
		if p.used.Swap(true) {
			panic("asynciotest: a Replaying is for one loop")
		}
		return (*player)(p)
	}}).(asyncio.LoopOption)
}

// A player is a Replaying as its loop sees it.
type player Replaying

func (p *player) Bind(mine func() bool) {
	p.mine = mine
	p.lookups = make(map[uint64]func(seam.Answer))
	p.expected = make(map[seam.Post]any)
	p.waiting = make(map[seam.Post]any)
	p.bySite = make(map[string]uint64)
	p.arrived = make(chan struct{}, 1)
	if p.entry(opBegin, nil, "") {
		if system, here := p.str(), runtime.GOOS+"/"+runtime.GOARCH; system != here {
			p.broken("it was made on %s, and this is %s", system, here)
		}
	}
}

// fail ends the replay with err.
func (p *player) fail(err error) {
	if p.failed == nil {
		p.failed = err
		p.err.Store(&err)
	}
}

func (p *player) broken(format string, args ...any) {
	p.fail(fmt.Errorf("%w: entry %d: %s", ErrDamaged, p.entries, fmt.Sprintf(format, args...)))
}

// differ ends the replay with a difference.
func (p *player) differ(object *replayed, recorded, now string) {
	if p.failed != nil {
		return
	}
	d := &Difference{Entry: p.entries, Time: p.now, Recorded: recorded, Replayed: now, Stack: stackOfProgram()}
	if p.waits && p.loop != nil {
		d.Stack = "The loop waits, and the tasks are:" + tasksOf(p.loop) + "\n"
	}
	if object != nil {
		d.Object = object.name
	}
	p.fail(d)
}

// stackOfProgram returns the stack of this goroutine, as far as it is the program's, from the
// call to the library on.
func stackOfProgram() string {
	pcs := make([]uintptr, 256)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	var all []runtime.Frame
	first, last := -1, 0
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, ownPrefix+"(*player)") {
			if !isLibrary(f.Function) {
				if first < 0 {
					first = max(0, len(all)-1)
				}
				last = len(all)
			}
			all = append(all, f)
		}
		if !more {
			break
		}
	}
	if first < 0 { // the loop does it by itself
		first, last = 0, len(all)-1
	}
	var b strings.Builder
	for _, f := range all[first : last+1] {
		fmt.Fprintf(&b, "%s(...)\n\t%s:%d\n", f.Function, f.File, f.Line)
	}
	return b.String()
}

// isLibrary reports whether a function is one of this module that programs do not have, or
// one that runs a coroutine or a test.
func isLibrary(function string) bool {
	for _, prefix := range []string{ownPrefix, rootPrefix, internalPrefix, "iter.", "runtime.", "testing."} {
		if strings.HasPrefix(function, prefix) {
			return true
		}
	}
	return false
}

// tasksOf lists the tasks of a loop, one a line.
func tasksOf(loop *asyncio.EventLoop) string {
	text := ""
	for _, task := range loop.AllTasks() {
		text += fmt.Sprintf("\n\t%v", task)
	}
	return text
}

// fill makes sure that there are bytes in the block, and reports whether there are.
func (p *player) fill() bool {
	for len(p.block) == 0 && p.readErr == nil {
		if !p.opened {
			p.opened = true
			head := make([]byte, len(tapeMagic)+1)
			switch _, err := io.ReadFull(p.r, head); {
			case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
				p.readErr = err
				continue
			case err != nil || string(head[:len(tapeMagic)]) != tapeMagic:
				p.readErr = fmt.Errorf("%w: it is no recording", ErrDamaged)
				continue
			case head[len(tapeMagic)] != tapeVersion:
				p.readErr = fmt.Errorf("%w: its format is version %d, and this is version %d", ErrDamaged, head[len(tapeMagic)], tapeVersion)
				continue
			}
		}
		p.block, p.readErr = p.readBlock()
	}
	return len(p.block) > 0
}

func (p *player) readBlock() ([]byte, error) {
	head := make([]byte, frameSize)
	if _, err := io.ReadFull(p.r, head); err != nil {
		return nil, cutOff(err)
	}
	sequence, size := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])
	if size > maxPayload || sequence != p.sequence {
		return nil, fmt.Errorf("%w: block %d is damaged", ErrDamaged, p.sequence)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(p.r, payload); err != nil {
		return nil, cutOff(err)
	}
	if frameSum(head[:8], payload) != binary.LittleEndian.Uint32(head[8:]) {
		return nil, fmt.Errorf("%w: block %d is damaged", ErrDamaged, p.sequence)
	}
	p.sequence++
	return payload, nil
}

func cutOff(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrRecordingEnds
	}
	return err
}

// ReadByte reads a byte of the stream of entries.
func (p *player) ReadByte() (byte, error) {
	if !p.fill() {
		p.fail(p.readErr)
		return 0, p.readErr
	}
	b := p.block[0]
	p.block = p.block[1:]
	return b, nil
}

func (p *player) u() uint64 {
	if p.failed != nil {
		return 0
	}
	x, err := binary.ReadUvarint(p)
	if err != nil && p.failed == nil {
		p.broken("%v", err)
	}
	return x
}

func (p *player) i() int64 {
	if p.failed != nil {
		return 0
	}
	x, err := binary.ReadVarint(p)
	if err != nil && p.failed == nil {
		p.broken("%v", err)
	}
	return x
}

func (p *player) bytes() []byte {
	n := p.u()
	var all bytes.Buffer // its length is not believed before there are as many bytes
	for uint64(all.Len()) < n && p.failed == nil {
		if !p.fill() {
			p.fail(p.readErr)
			break
		}
		k := min(n-uint64(all.Len()), uint64(len(p.block)))
		all.Write(p.block[:k])
		p.block = p.block[k:]
	}
	return all.Bytes()
}

func (p *player) str() string { return string(p.bytes()) }

// next returns the op of the next entry without taking it; 0 if there is none.
func (p *player) next() op {
	if p.failed != nil || p.postsAt != 0 || !p.fill() {
		return 0
	}
	return op(p.block[0])
}

// entry takes the next entry, which has to be o, on object, and reports whether it is
// and the replay goes on. doing says what the program does, if that is more than o.
func (p *player) entry(o op, object *replayed, doing string) bool {
	if p.failed != nil {
		return false
	}
	got := opPosts
	if p.postsAt == 0 {
		b, err := p.ReadByte()
		if err != nil {
			return false
		}
		p.entries++
		got = op(b)
	}
	var on *replayed
	if got.hasObject() {
		if on = p.object(p.u()); on == nil {
			return false
		}
	}
	if got == o && on == object {
		return true
	}
	if got < opBegin || got > opEnd {
		p.broken("%v", got)
		return false
	}
	now, then := o.String(), got.String()
	if doing != "" {
		now += ": " + doing
	}
	if on != object {
		now, then = now+onObject(object), then+onObject(on)
	}
	p.differ(object, then, now)
	return false
}

func onObject(o *replayed) string {
	if o == nil {
		return ""
	}
	return " on " + o.name
}

// object returns the object of a number, or nil.
func (p *player) object(id uint64) *replayed {
	if id == 0 || id > uint64(len(p.objects)) {
		p.broken("there is no connection or the like with number %d", id)
		return nil
	}
	return p.objects[id-1]
}

// done replays an operation that gives nothing but an error.
func (p *player) done(o op, object *replayed) error {
	p.entry(o, object, "")
	return p.error()
}

// error takes an error. After a failure it is that.
func (p *player) error() error {
	err := takeError(p)
	if p.failed != nil {
		return errReplayEnded
	}
	return err
}

// errReplayEnded is what a program gets from the network when its replay has failed:
// the reason goes to who has started it.
var errReplayEnded = errors.New("asynciotest: the replay has ended")

func (p *player) Clock(seam.Clock) seam.Clock { return (*replayedClock)(p) }

func (p *player) Seed(a, b uint64) (uint64, uint64) {
	if !p.entry(opSeed, nil, "") {
		return a, b
	}
	return p.u(), p.u()
}

func (p *player) Err() error { return p.failed }

type replayedClock player

func (c *replayedClock) Now() time.Duration {
	p := (*player)(c)
	if !p.mine() {
		return time.Duration(p.current.Load())
	}
	if p.entry(opNow, nil, "") {
		p.now += time.Duration(p.i())
		p.current.Store(int64(p.now))
	}
	return p.now
}

func (c *replayedClock) Wall() time.Time {
	p := (*player)(c)
	if !p.mine() {
		return time.Unix(0, p.wallNow.Load())
	}
	if p.entry(opWall, nil, "") {
		p.wall += p.i()
		p.offset += int(p.i())
		p.wallNow.Store(p.wall)
	}
	return zoned(time.Unix(0, p.wall), p.offset)
}

func (c *replayedClock) Wait(d time.Duration, external bool, _ func(time.Duration) (bool, error)) error {
	p := (*player)(c)
	if p.failed != nil {
		return p.windDown(d, external)
	}
	p.waits = true
	defer func() { p.waits = false }()
	if p.entry(opWait, nil, waitText(d)) {
		if then := time.Duration(p.i()); then != d && p.failed == nil {
			p.differ(nil, "a wait for something to happen: "+waitText(then), "a wait for something to happen: "+waitText(d))
		}
	}
	for p.next() == opReady {
		p.ReadByte()
		p.entries++
		o, r := p.object(p.u()), p.u()
		if p.failed == nil && o.h != nil {
			o.h.Ready(seam.Readiness(r))
		}
	}
	p.entry(opWaited, nil, "")
	err := p.error()
	if p.failed != nil {
		return p.failed
	}
	return err
}

func waitText(d time.Duration) string {
	switch {
	case d < 0:
		return "as long as it takes"
	case d == 0:
		return "not at all"
	}
	return "for " + d.String()
}

var windDownTime = time.Second

// windDown is Wait when the replay has failed and the loop is closing: there is nothing
// to wait for but functions on other goroutines.
func (p *player) windDown(d time.Duration, external bool) error {
	if d == 0 {
		return nil
	}
	if external {
		select {
		case <-p.arrived:
			return nil
		case <-time.After(windDownTime):
		}
	}
	return seam.ErrIdle
}

func (p *player) Expect(name seam.Post, run any) { p.expected[name] = run }

func (p *player) Post(name seam.Post, run any) {
	p.postMu.Lock()
	if name.Kind == seam.Call {
		p.bySite[name.Site]++
		name.Number = p.bySite[name.Site]
	}
	p.waiting[name] = run
	p.order = append(p.order, name)
	p.postMu.Unlock()
	select {
	case p.arrived <- struct{}{}:
	default:
	}
}

// take returns what was posted under a name, or nil.
func (p *player) take(name seam.Post) any {
	p.postMu.Lock()
	defer p.postMu.Unlock()
	run, ok := p.waiting[name]
	if !ok {
		return nil
	}
	delete(p.waiting, name)
	if i := slices.Index(p.order, name); i >= 0 {
		p.order = slices.Delete(p.order, i, i+1)
	}
	return run
}

func (p *player) Take(queue func(run any)) {
	p.takes++
	if p.failed != nil {
		p.takeAll(queue)
		return
	}
	if p.postsAt == 0 && p.next() == opPosts {
		p.ReadByte()
		p.entries++
		p.postsAt = p.u()
	}
	if p.postsAt != p.takes {
		return // nothing came at this call, or the program does not make so many
	}
	p.takes, p.postsAt = 0, 0
	for kind := p.u(); kind != 0 && p.failed == nil; kind = p.u() {
		p.deliver(seam.PostKind(kind-1), queue)
	}
}

// deliver queues the next post of an entry.
func (p *player) deliver(kind seam.PostKind, queue func(run any)) {
	if kind > seam.Signal {
		p.broken("there are no calls of kind %d", kind)
		return
	}
	name := seam.Post{Kind: kind, Number: p.u()}
	if hasSite(kind) {
		name.Site = p.site()
	}
	if kind == seam.LookUp {
		a := takeAnswer(p)
		tell := p.lookups[name.Number]
		if p.failed != nil {
			return
		}
		if tell == nil {
			p.differ(nil, fmt.Sprintf("the answer to look-up %d", name.Number), "nobody waits for it")
			return
		}
		delete(p.lookups, name.Number)
		tell(a)
		return
	}
	if p.failed != nil {
		return
	}
	if run := p.await(name); run != nil {
		queue(run)
	}
}

// site takes the name of a function or a signal.
func (p *player) site() string {
	n := p.u()
	switch known := uint64(len(p.sites)); {
	case n == known:
		p.sites = append(p.sites, p.str())
	case n > known:
		p.broken("there is no function %d", n)
		return ""
	}
	return p.sites[n]
}

// awaitSteps is how long a replay waits for a call that has been recorded, in steps: a
// process that is stopped in a debugger takes no more than one.
var awaitSteps = 300

const awaitStep = 100 * time.Millisecond

// await returns what is posted under a name, and waits for it.
func (p *player) await(name seam.Post) any {
	if run := p.expected[name]; run != nil {
		if name.Kind != seam.Signal {
			delete(p.expected, name)
		}
		return run
	}
	if name.Kind == seam.Exit || name.Kind == seam.Signal { // they come from the recording alone
		p.differ(nil, postText(name)+" arrives", "nobody waits for it")
		return nil
	}
	for range awaitSteps {
		if run := p.take(name); run != nil {
			return run
		}
		timer := time.NewTimer(awaitStep)
		for waits := true; waits; {
			select {
			case <-p.arrived:
				if run := p.take(name); run != nil {
					timer.Stop()
					return run
				}
			case <-timer.C:
				waits = false
			}
		}
	}
	p.differ(nil, postText(name)+" arrives", fmt.Sprintf("it has not come within %v", time.Duration(awaitSteps)*awaitStep))
	return nil
}

func postText(name seam.Post) string {
	switch name.Kind {
	case seam.Call:
		return fmt.Sprintf("%v %d of %s", name.Kind, name.Number, name.Site)
	case seam.Signal:
		return fmt.Sprintf("%v %q", name.Kind, name.Site)
	}
	return fmt.Sprintf("%v %d", name.Kind, name.Number)
}

// takeAll queues what has been posted, when the replay has failed.
func (p *player) takeAll(queue func(run any)) {
	p.postMu.Lock()
	var runs []any
	for _, name := range p.order {
		runs = append(runs, p.waiting[name])
		delete(p.waiting, name)
	}
	p.order = nil
	p.postMu.Unlock()
	for _, run := range runs {
		queue(run)
	}
}

func (p *player) LookUp(question string, _ func(ctx context.Context) seam.Answer, tell func(seam.Answer)) (stop func()) {
	p.asked++
	n := p.asked
	if p.entry(opLookUp, nil, question) {
		if then := p.str(); then != question {
			p.differ(nil, "the look-up of "+then, "the look-up of "+question)
		}
	}
	p.lookups[n] = tell
	return func() { delete(p.lookups, n) }
}

func (p *player) Close(drop func(any)) {
	p.entry(opEnd, nil, "")
	p.takeAll(drop)
}
