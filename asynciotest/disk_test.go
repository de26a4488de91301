// Tests of the simulated disk, and of the pattern by which a program runs on a real one,
// too.

package asynciotest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// fullStorage is all that a disk can do.
type fullStorage interface {
	storage
	Truncate(ctx context.Context, name string, size int64) error
	Rename(ctx context.Context, from, to string) error
	Remove(ctx context.Context, name string) error
	List(ctx context.Context) ([]string, error)
}

// directory is the storage of production: files in a real directory. Each operation
// runs on a thread of its own, since it may block.
type directory string

func (d directory) do(ctx context.Context, f func() error) error {
	_, err := asyncio.ToThread(ctx, func(context.Context) (struct{}, error) { return struct{}{}, f() })
	return err
}

func (d directory) path(name string) string { return filepath.Join(string(d), name) }

func (d directory) Append(ctx context.Context, name string, p []byte) error {
	return d.do(ctx, func() error {
		f, err := os.OpenFile(d.path(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(p)
		return errors.Join(err, f.Close())
	})
}

// Sync syncs the file and the directory, which has its name.
func (d directory) Sync(ctx context.Context, name string) error {
	return d.do(ctx, func() error {
		for _, path := range []string{d.path(name), string(d)} {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			if err := errors.Join(f.Sync(), f.Close()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d directory) ReadFile(ctx context.Context, name string) ([]byte, error) {
	return asyncio.ToThread(ctx, func(context.Context) ([]byte, error) { return os.ReadFile(d.path(name)) })
}

func (d directory) Truncate(ctx context.Context, name string, size int64) error {
	return d.do(ctx, func() error { return os.Truncate(d.path(name), size) })
}

func (d directory) Rename(ctx context.Context, from, to string) error {
	return d.do(ctx, func() error { return os.Rename(d.path(from), d.path(to)) })
}

func (d directory) Remove(ctx context.Context, name string) error {
	return d.do(ctx, func() error { return os.Remove(d.path(name)) })
}

func (d directory) List(ctx context.Context) ([]string, error) {
	return asyncio.ToThread(ctx, func(context.Context) (names []string, err error) {
		entries, err := os.ReadDir(string(d))
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names, err
	})
}

var (
	_ fullStorage = directory("")
	_ fullStorage = (*asynciotest.Disk)(nil)
)

// useStorage does all that can be done with a storage.
func useStorage(ctx context.Context, t *testing.T, s fullStorage) error {
	content := func(name, want string) {
		t.Helper()
		if got, err := s.ReadFile(ctx, name); string(got) != want || err != nil {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	missing := func(name string, err error) {
		t.Helper()
		var pe *fs.PathError
		if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &pe) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := s.ReadFile(ctx, "none")
	missing("ReadFile", err)
	missing("Sync", s.Sync(ctx, "none"))
	missing("Truncate", s.Truncate(ctx, "none", 0))
	missing("Remove", s.Remove(ctx, "none"))
	for _, err := range []error{
		s.Append(ctx, "a", []byte("one")),
		s.Append(ctx, "a", nil),
		s.Append(ctx, "a", []byte("two")),
		s.Append(ctx, "b", []byte("three")),
		s.Sync(ctx, "a"),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	content("a", "onetwo")
	if err := s.Truncate(ctx, "a", 3); err != nil {
		t.Error(err)
	}
	if err := s.Append(ctx, "a", []byte("four")); err != nil {
		t.Error(err)
	}
	content("a", "onefour")
	if err := s.Rename(ctx, "a", "b"); err != nil {
		t.Error(err)
	}
	content("b", "onefour")
	if names, err := s.List(ctx); !slices.Equal(names, []string{"b"}) || err != nil {
		t.Errorf("files %q, %v", names, err)
	}
	if err := s.Remove(ctx, "b"); err != nil {
		t.Error(err)
	}
	if names, err := s.List(ctx); len(names) > 0 || err != nil {
		t.Errorf("files %q, %v", names, err)
	}
	return nil
}

func TestDiskIsLikeRealOne(t *testing.T) {
	t.Run("simulated", func(t *testing.T) {
		leavesNothing(t)
		n := asynciotest.NewNetwork(1)
		h := n.Host("a")
		n.Run(t, func(ctx context.Context) error {
			return h.Go(func(ctx context.Context) error { return useStorage(ctx, t, h.Disk()) }).Wait(ctx)
		})
	})
	t.Run("real", func(t *testing.T) {
		dir := directory(t.TempDir())
		err := asyncio.Run(context.Background(), func(ctx context.Context) error { return useStorage(ctx, t, dir) })
		if err != nil {
			t.Fatal(err)
		}
	})
}

// onDisk runs main as a program of a host, and gives what is on its disk, after a crash
// at some time, to check.
func onDisk(t *testing.T, seed uint64, at time.Duration, main, check func(ctx context.Context, d *asynciotest.Disk) error) {
	t.Helper()
	n := asynciotest.NewNetwork(seed)
	h := n.Host("a")
	p := h.Go(func(ctx context.Context) error { return main(ctx, h.Disk()) })
	n.Run(t, func(ctx context.Context) error {
		if err := asyncio.Sleep(ctx, at); err != nil {
			return err
		}
		if err := p.Err(); err != nil {
			return err
		}
		h.Crash()
		return check(ctx, h.Disk())
	})
}

// What was synced is there after a crash, and of the rest a beginning or less.
func TestDiskCrash(t *testing.T) {
	leavesNothing(t)
	const synced, rest = "synced;", "and this was not;"
	kinds := make(map[string]int)
	for seed := range uint64(300) {
		onDisk(t, seed, time.Second,
			func(ctx context.Context, d *asynciotest.Disk) error {
				if err := d.Append(ctx, "log", []byte(synced)); err != nil {
					return err
				}
				if err := d.Sync(ctx, "log"); err != nil {
					return err
				}
				return d.Append(ctx, "log", []byte(rest))
			},
			func(ctx context.Context, d *asynciotest.Disk) error {
				got, err := d.ReadFile(ctx, "log")
				if err != nil {
					return err
				}
				tail, ok := bytes.CutPrefix(got, []byte(synced))
				written := bytes.TrimRight(tail, "\x00")
				switch {
				case !ok || !bytes.HasPrefix([]byte(rest), written) || len(tail) > len(rest):
					t.Errorf("seed %d: %q", seed, got)
				case len(tail) == 0:
					kinds["nothing of it"]++
				case len(tail) > len(written):
					kinds["zeros"]++
				case len(tail) < len(rest):
					kinds["torn"]++
				default:
					kinds["all of it"]++
				}
				return nil
			})
	}
	if len(kinds) != 4 {
		t.Errorf("not all kinds of damage: %v", kinds)
	}
}

// Names that were changed are durable in the order of the changes, and all of them
// after a Sync of any file.
func TestDiskCrashOfNames(t *testing.T) {
	leavesNothing(t)
	seen := make(map[string]bool)
	for seed := range uint64(100) {
		onDisk(t, seed, time.Second,
			func(ctx context.Context, d *asynciotest.Disk) error {
				d.Append(ctx, "old", []byte("old"))
				if err := d.Sync(ctx, "old"); err != nil {
					return err
				}
				d.Append(ctx, "new", []byte("new"))
				d.Rename(ctx, "new", "old")
				d.Append(ctx, "third", nil)
				return nil
			},
			func(ctx context.Context, d *asynciotest.Disk) error {
				names, err := d.List(ctx)
				seen[fmt.Sprint(names)] = true
				return err
			})
	}
	for _, want := range []string{"[old]", "[new old]", "[old third]"} {
		if !seen[want] {
			t.Errorf("never %s", want)
		}
		delete(seen, want)
	}
	if len(seen) > 0 {
		t.Errorf("there were %v", seen)
	}
}

// To write a new file, sync it and give it the name of the old one leaves one of the
// two, whole.
func TestDiskReplace(t *testing.T) {
	leavesNothing(t)
	seen := make(map[string]bool)
	for seed := range uint64(200) {
		onDisk(t, seed, time.Duration(seed)*100*time.Microsecond,
			func(ctx context.Context, d *asynciotest.Disk) error {
				d.Append(ctx, "file", []byte("first"))
				if err := d.Sync(ctx, "file"); err != nil {
					return err
				}
				d.Append(ctx, "temporary", []byte("second"))
				if err := d.Sync(ctx, "temporary"); err != nil {
					return err
				}
				return d.Rename(ctx, "temporary", "file")
			},
			func(ctx context.Context, d *asynciotest.Disk) error {
				got, err := d.ReadFile(ctx, "file")
				if err == nil && string(got) == "second" || string(got) == "first" {
					seen[string(got)] = true
				} else if seed > 100 {
					t.Errorf("seed %d: %q, %v", seed, got, err)
				}
				return nil
			})
	}
	if len(seen) != 2 {
		t.Errorf("seen: %v", seen)
	}
}

func TestDiskTruncateAndCrash(t *testing.T) {
	leavesNothing(t)
	seen := make(map[string]bool)
	for seed := range uint64(100) {
		onDisk(t, seed, time.Second,
			func(ctx context.Context, d *asynciotest.Disk) error {
				d.Append(ctx, "f", []byte("abcdef"))
				if err := d.Sync(ctx, "f"); err != nil {
					return err
				}
				return d.Truncate(ctx, "f", 2)
			},
			func(ctx context.Context, d *asynciotest.Disk) error {
				got, err := d.ReadFile(ctx, "f")
				seen[string(got)] = true
				return err
			})
	}
	if len(seen) != 2 || !seen["ab"] || !seen["abcdef"] {
		t.Errorf("seen: %v", seen)
	}
}

func TestDiskFaults(t *testing.T) {
	leavesNothing(t)
	n := asynciotest.NewNetwork(1)
	h := n.Host("a")
	d := h.Disk()
	n.Run(t, func(ctx context.Context) error {
		return h.Go(func(ctx context.Context) error {
			d.Configure(asynciotest.DiskConfig{
				Capacity: 10,
				Append:   asynciotest.Fixed(time.Second), Sync: asynciotest.Fixed(time.Minute), Read: asynciotest.Fixed(time.Hour),
			})
			start := n.Now()
			if err := d.Append(ctx, "f", []byte("12345678")); err != nil {
				return err
			}
			if err := d.Append(ctx, "f", []byte("9012")); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("a full disk: %v", err)
			}
			if err := d.Sync(ctx, "f"); err != nil {
				return err
			}
			if got, err := d.ReadFile(ctx, "f"); string(got) != "1234567890" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			if took := n.Now() - start; took != time.Hour+time.Minute+2*time.Second {
				t.Errorf("it took %v", took)
			}
			broken := errors.New("broken")
			var ops []string
			d.SetFault(func(op, name string) error {
				ops = append(ops, op+" "+name)
				if op == "Sync" {
					return broken
				}
				return nil
			})
			d.Remove(ctx, "f")
			d.Append(ctx, "g", []byte("x"))
			if err := d.Sync(ctx, "g"); !errors.Is(err, broken) {
				t.Errorf("Sync = %v", err)
			} else if err.Error() != "sync g: broken" { // as without SetFault
				t.Errorf("the error of Sync is %q", err)
			}
			d.SetFault(nil)
			if err := d.Sync(ctx, "g"); err != nil {
				t.Error(err)
			}
			if !slices.Equal(ops, []string{"Remove f", "Append g", "Sync g"}) {
				t.Errorf("the fault was asked for %q", ops)
			}
			err := within(ctx, time.Second, func(ctx context.Context) error { return d.Sync(ctx, "g") })
			if !errors.Is(err, asyncio.ErrTimeout) {
				t.Errorf("a Sync that is called off: %v", err)
			}
			if err := d.Truncate(ctx, "g", 2); !errors.Is(err, syscall.EINVAL) {
				t.Errorf("Truncate = %v", err)
			}
			return nil
		}).Wait(ctx)
	})
}
