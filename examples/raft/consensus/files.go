// The disk of a real machine.

package consensus

import (
	"context"
	"os"
	"path/filepath"
	"runtime"

	"github.com/goasyncio/asyncio"
)

// Files is a Disk: a directory of the file system, which must exist. Its calls block,
// so they run on other threads; the one that waits for a call is a task.
type Files string

// Append opens the file for each call: Sync costs a thousand times as much.
func (dir Files) Append(ctx context.Context, name string, p []byte) error {
	return dir.with(ctx, name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, func(f *os.File) error {
		_, err := f.Write(p)
		return err
	})
}

// Sync syncs the directory, too, where that is possible: the name of a new file is there.
func (dir Files) Sync(ctx context.Context, name string) error {
	err := dir.with(ctx, name, os.O_WRONLY, (*os.File).Sync)
	if err != nil || runtime.GOOS == "windows" {
		return err
	}
	return dir.with(ctx, ".", os.O_RDONLY, (*os.File).Sync)
}

// ReadFile reads a file.
func (dir Files) ReadFile(ctx context.Context, name string) ([]byte, error) {
	return asyncio.ToThread(ctx, func(context.Context) ([]byte, error) { return os.ReadFile(dir.path(name)) })
}

// Truncate cuts a file off.
func (dir Files) Truncate(ctx context.Context, name string, size int64) error {
	return dir.with(ctx, name, os.O_WRONLY, func(f *os.File) error { return f.Truncate(size) })
}

func (dir Files) path(name string) string { return filepath.Join(string(dir), name) }

// with does something to an open file. It goes on to the end even if the task is
// cancelled: a write that comes after the next one would be a disaster.
func (dir Files) with(ctx context.Context, name string, flag int, do func(f *os.File) error) error {
	_, err := asyncio.ToThread(context.WithoutCancel(ctx), func(context.Context) (struct{}, error) {
		f, err := os.OpenFile(dir.path(name), flag, 0o600)
		if err != nil {
			return struct{}{}, err
		}
		err = do(f)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		return struct{}{}, err
	})
	return err
}
