// The disk of a simulated host.

package asynciotest

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/seam"
)

// A Disk is the disk of a Host: files that grow at their end, in one directory. It
// survives a crash, but only what was synced is sure to: of what was appended since, a
// part may be there, cut off anywhere, or filled with zeros from somewhere on. Drawn from
// the seed, of course.
//
// The methods have no types of their own, so that a program needs nothing of this
// package: it declares an interface with those that it uses, and has a second
// implementation over package os for production.
//
//	type Storage interface {
//		Append(ctx context.Context, name string, p []byte) error
//		Sync(ctx context.Context, name string) error
//		ReadFile(ctx context.Context, name string) ([]byte, error)
//	}
//
// They are called from a task on the network, most often of a program on the disk's host,
// with its context; else they return an *asyncio.UsageError. The other errors are
// *fs.PathError, and cancellations. A name that is empty, "." or "..", or has a slash in
// it, is an error that Is fs.ErrInvalid. After a crash of its host, a program has no
// effect on the disk any more.
type Disk struct {
	host   *Host
	names  *directory
	sure   *directory   // what a crash leaves at least
	steps  []*directory // what it was since, one after the other
	config DiskConfig
	fault  func(op, name string) error
}

// DiskConfig is what a Disk is like.
type DiskConfig struct {
	// Append, Sync and Read are how long these operations take; no time if nil, and from
	// 1 to 5 ms for Sync by default.
	Append, Sync, Read Distribution

	// Capacity is how many bytes there is room for; any number if 0. An Append that
	// finds too little room writes what it can, and fails with syscall.ENOSPC.
	Capacity int64
}

// A directory is what the names stand for at a time. It is never changed.
type directory struct{ files map[string]*file }

// A file is what a name stands for.
type file struct {
	data []byte
	safe []byte // what a crash leaves at least; its memory is never written again
	kept int    // how much of safe no Truncate has taken since
	cuts int    // calls of Truncate
}

func newDisk(h *Host) *Disk {
	return &Disk{
		host:   h,
		names:  new(directory),
		sure:   new(directory),
		config: DiskConfig{Sync: Uniform(time.Millisecond, 5*time.Millisecond)},
	}
}

// Configure changes what the disk is like from now on. What is on it stays. It panics if
// the capacity is negative.
func (d *Disk) Configure(c DiskConfig) {
	d.host.net.here("Disk.Configure")
	if c.Capacity < 0 {
		panic(fmt.Sprintf("asynciotest: a disk with a capacity of %d", c.Capacity))
	}
	d.config = c
}

// SetFault makes fault be called at the beginning of each operation from now on, with
// the name of its method. The operation fails with the error that it returns, if it does, and
// without any effect: an *fs.PathError that wraps it. Nil ends that.
func (d *Disk) SetFault(fault func(op, name string) error) {
	d.host.net.here("Disk.SetFault")
	d.fault = fault
}

// Append appends p to the file called name, which it makes if there is none.
func (d *Disk) Append(ctx context.Context, name string, p []byte) error {
	if err := d.begin(ctx, "Append", name); err != nil {
		return err
	}
	f := d.names.files[name]
	if f == nil {
		f = new(file)
		d.rename(func(names map[string]*file) { names[name] = f })
	}
	full := false
	if c := d.config.Capacity; c > 0 {
		if room := max(0, c-d.used()); int64(len(p)) > room {
			p, full = p[:room], true
		}
	}
	f.data = append(f.data, p...)
	if err := d.take(ctx, d.config.Append); err != nil {
		return err
	}
	if full {
		return failed("Append", name, syscall.ENOSPC)
	}
	return nil
}

// Sync makes durable what was appended to the file before it was called, and all that
// was done to the names of files. If it fails, or is cancelled, it makes nothing durable.
func (d *Disk) Sync(ctx context.Context, name string) error {
	if err := d.begin(ctx, "Sync", name); err != nil {
		return err
	}
	f, err := d.find("Sync", name)
	if err != nil {
		return err
	}
	data, cuts := f.data[:len(f.data):len(f.data)], f.cuts
	durable := d.names
	if err := d.take(ctx, d.config.Sync); err != nil {
		return err
	}
	f.safe, f.kept = data, len(data)
	if f.cuts != cuts {
		f.kept = 0
		for f.kept < min(len(data), len(f.data)) && data[f.kept] == f.data[f.kept] {
			f.kept++
		}
	}
	d.settle(durable)
	d.host.net.record(LogEntry{Kind: DiskSynced, From: d.host, Size: len(data)})
	return nil
}

// ReadFile returns the content of a file. If there is none, the error Is
// fs.ErrNotExist.
func (d *Disk) ReadFile(ctx context.Context, name string) ([]byte, error) {
	if err := d.begin(ctx, "ReadFile", name); err != nil {
		return nil, err
	}
	f, err := d.find("ReadFile", name)
	if err != nil {
		return nil, err
	}
	data := slices.Clone(f.data)
	if err := d.take(ctx, d.config.Read); err != nil {
		return nil, err
	}
	return data, nil
}

// Truncate cuts a file off at size, which it must have at least.
func (d *Disk) Truncate(ctx context.Context, name string, size int64) error {
	if err := d.begin(ctx, "Truncate", name); err != nil {
		return err
	}
	f, err := d.find("Truncate", name)
	if err != nil {
		return err
	}
	if size < 0 || size > int64(len(f.data)) {
		return failed("Truncate", name, syscall.EINVAL)
	}
	f.data = slices.Clone(f.data[:size])
	f.kept = min(f.kept, int(size))
	f.cuts++
	return nil
}

// Rename gives a file another name, and removes the file that had it before, at once.
func (d *Disk) Rename(ctx context.Context, from, to string) error {
	if err := d.begin(ctx, "Rename", from, to); err != nil {
		return err
	}
	f, err := d.find("Rename", from)
	if err != nil {
		return err
	}
	d.rename(func(names map[string]*file) {
		delete(names, from)
		names[to] = f
	})
	return nil
}

// Remove removes a file.
func (d *Disk) Remove(ctx context.Context, name string) error {
	if err := d.begin(ctx, "Remove", name); err != nil {
		return err
	}
	if _, err := d.find("Remove", name); err != nil {
		return err
	}
	d.rename(func(names map[string]*file) { delete(names, name) })
	return nil
}

// List returns the names of all files, in order.
func (d *Disk) List(ctx context.Context) ([]string, error) {
	if err := d.begin(ctx, "List"); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(d.names.files)), nil
}

// begin says why an operation with some names cannot be done.
func (d *Disk) begin(ctx context.Context, op string, names ...string) error {
	caller, err := d.caller(ctx, "Disk."+op)
	if err != nil {
		return err
	}
	name := ""
	for i := len(names) - 1; i >= 0; i-- {
		if name = names[i]; !fs.ValidPath(name) || name == "." || strings.Contains(name, "/") {
			return failed(op, name, fs.ErrInvalid)
		}
	}
	if caller.halted {
		return failed(op, name, ErrCrashed)
	}
	if d.fault != nil {
		if err := d.fault(op, name); err != nil {
			return failed(op, name, err)
		}
	}
	return nil
}

// failed is the error of the method op.
func failed(op, name string, err error) error {
	return &fs.PathError{Op: strings.ToLower(strings.TrimSuffix(op, "File")), Path: name, Err: err}
}

// caller returns the process whose task calls the method op with ctx.
func (d *Disk) caller(ctx context.Context, op string) (q *process, err error) {
	if ctx == nil {
		return nil, &asyncio.UsageError{Op: op, Cause: asyncio.ErrBadArgument, Text: "the context is nil"}
	}
	defer mistaken(op, &err)
	m, ok := seam.ClockOf(ctx, op).(*machine)
	if !ok || m.net != d.host.net {
		return nil, &asyncio.UsageError{Op: op, Cause: asyncio.ErrWrongLoop, Text: "the disk belongs to a network, and the context to a loop that is not on it"}
	}
	if asyncio.CurrentTask(ctx) == nil {
		return nil, &asyncio.UsageError{Op: op, Cause: asyncio.ErrOutsideTask, Text: "it may suspend; call it in a task"}
	}
	return (*process)(m), nil
}

// mistaken is deferred: it returns the UsageError of a panic as that of the method op.
func mistaken(op string, err *error) {
	switch p := recover().(type) {
	case nil:
	case *asyncio.UsageError:
		*err = &asyncio.UsageError{Op: op, Cause: p.Cause, Text: p.Text}
	default:
		panic(p)
	}
}

// take suspends the task for the time of an operation.
func (d *Disk) take(ctx context.Context, time Distribution) error {
	if time == nil {
		return nil
	}
	return asyncio.Sleep(ctx, time(d.host.net.rand))
}

func (d *Disk) find(op, name string) (*file, error) {
	if f := d.names.files[name]; f != nil {
		return f, nil
	}
	return nil, failed(op, name, fs.ErrNotExist)
}

// rename changes the names. Only the crash looks at what they were.
func (d *Disk) rename(change func(names map[string]*file)) {
	files := maps.Clone(d.names.files)
	if files == nil {
		files = make(map[string]*file)
	}
	change(files)
	d.names = &directory{files}
	d.steps = append(d.steps, d.names)
}

// settle makes the names durable as they were at some time since the last Sync.
func (d *Disk) settle(names *directory) {
	if i := slices.Index(d.steps, names); i >= 0 {
		d.sure = names
		d.steps = d.steps[i+1:]
	}
}

// used returns how many bytes are on the disk.
func (d *Disk) used() int64 {
	n := 0
	for _, f := range d.names.files {
		n += len(f.data)
	}
	return int64(n)
}

// crash forgets what was not synced, or a part of it. What was done to names is
// forgotten from some point on.
func (d *Disk) crash() {
	r := d.host.net.rand
	if survived := r.IntN(len(d.steps) + 1); survived > 0 {
		d.sure = d.steps[survived-1]
	}
	d.names, d.steps = d.sure, nil
	for _, name := range slices.Sorted(maps.Keys(d.names.files)) {
		f := d.names.files[name]
		if f.kept < len(f.safe) && r.IntN(2) == 0 { // the file was never cut off
			f.data = slices.Clone(f.safe)
		} else {
			rest := f.data[f.kept:]
			rest = slices.Clone(rest[:r.IntN(len(rest)+1)])
			if len(rest) > 0 && r.IntN(4) == 0 {
				clear(rest[r.IntN(len(rest)):])
			}
			f.data = append(slices.Clone(f.data[:f.kept]), rest...)
		}
		f.safe, f.kept = f.data[:len(f.data):len(f.data)], len(f.data)
	}
}
