// Saving a body to a file without blocking the loop.

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"

	"github.com/goasyncio/asyncio"
)

// chunk is how much is written at most at once.
const chunk = 256 << 10

// save copies body to a file, and returns how many bytes there were. The file
// has its name only when all of body is in it; before, and if that fails, what
// stood there stays.
func save(ctx context.Context, name string, body io.Reader) (int64, error) {
	// What is done to a file ends before the task goes on, also if that is
	// cancelled meanwhile: so it is always known what there is to clean up.
	ctx = context.WithoutCancel(ctx)
	f, err := asyncio.ToThread(ctx, func(context.Context) (*partFile, error) { return createPart(name) })
	if err != nil {
		return 0, err
	}
	n, err := io.CopyBuffer(threadWriter{ctx, f}, body, make([]byte, chunk))
	_, ferr := asyncio.ToThread(ctx, func(context.Context) (any, error) { return nil, f.finish(err == nil) })
	if ferr != nil {
		return n, errors.Join(err, ferr)
	}
	return n, err
}

// threadWriter writes on another thread, and suspends the task meanwhile.
type threadWriter struct {
	ctx context.Context
	w   io.Writer
}

func (t threadWriter) Write(p []byte) (int, error) {
	return asyncio.ToThread(t.ctx, func(context.Context) (int, error) { return t.w.Write(p) })
}

// A partFile becomes the file of a name when it is finished.
type partFile struct {
	file *os.File
	name string
}

func createPart(name string) (*partFile, error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0) // a device cannot be replaced
		return &partFile{f, name}, err
	}
	f, err := os.Create(name + "." + strconv.Itoa(os.Getpid()) + ".part")
	return &partFile{f, name}, err
}

func (f *partFile) Write(p []byte) (int, error) { return f.file.Write(p) }

// finish closes the file, and gives it its name or removes it.
func (f *partFile) finish(complete bool) error {
	err := f.file.Close()
	part := f.file.Name()
	if part == f.name {
		return err
	}
	if complete && err == nil {
		if err = os.Rename(part, f.name); err == nil {
			return nil
		}
	}
	return errors.Join(err, os.Remove(part))
}
