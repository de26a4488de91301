// Tests of a single node: what it finds on its disk, and how it ends.

package consensus_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
	"github.com/goasyncio/asyncio/examples/raft/consensus"
)

// alone runs a node that is a majority by itself, and beside it f, with a client.
func alone(t *testing.T, seed uint64, disk func(ctx context.Context, d *asynciotest.Disk) error, f func(ctx context.Context, n *asynciotest.Network, c *consensus.Client) error) {
	t.Helper()
	n := asynciotest.NewNetwork(seed)
	h := n.Host("node")
	n.Run(t, func(ctx context.Context) error {
		if disk != nil {
			if err := disk(ctx, h.Disk()); err != nil {
				return err
			}
		}
		h.Go(func(ctx context.Context) error {
			return consensus.Run(ctx, consensus.Config{Peers: []string{"node:1"}, Disk: h.Disk()})
		}, asyncio.WithExceptionHandler(func(_ *asyncio.EventLoop, e *asyncio.ErrorContext) {
			if p := new(asyncio.PanicError); errors.As(e.Err, &p) {
				t.Error(e.Err)
			}
		}))
		c := consensus.NewClient(ctx, []string{"node:1"}, time.Second)
		defer c.Close()
		return asyncio.Timeout(ctx, time.Minute, func(ctx context.Context) error { return f(ctx, n, c) })
	})
}

// log returns the log when there are so many entries.
func log(ctx context.Context, c *consensus.Client, entries int) ([]string, error) {
	for {
		got, err := c.Log(ctx, 0)
		if err != nil || len(got) >= entries {
			return got, err
		}
		if err := asyncio.Sleep(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// Whatever a crash has left of the end of the file, what is before it is there, and what
// comes after it is there the next time.
func TestTornTail(t *testing.T) {
	const name = "raft.log"
	var texts []string
	var whole []byte
	var ends []int // of the file, with each entry
	alone(t, 1, nil, func(ctx context.Context, n *asynciotest.Network, c *consensus.Client) (err error) {
		for i := range 5 {
			texts = append(texts, fmt.Sprint("entry ", i))
			if _, err := c.Append(ctx, []byte(texts[i])); err != nil {
				return err
			}
			if whole, err = n.Host("node").Disk().ReadFile(ctx, name); err != nil {
				return err
			}
			ends = append(ends, len(whole))
		}
		return nil
	})
	check := func(what string, keep int, file []byte) {
		want, _ := slices.BinarySearch(ends, keep+1)
		alone(t, 2, func(ctx context.Context, d *asynciotest.Disk) error {
			return errors.Join(d.Append(ctx, name, file), d.Sync(ctx, name))
		}, func(ctx context.Context, n *asynciotest.Network, c *consensus.Client) error {
			if _, err := c.Append(ctx, []byte("more")); err != nil {
				return err
			}
			n.Host("node").Restart()
			if _, err := c.Append(ctx, []byte("and more")); err != nil {
				return err
			}
			got, err := log(ctx, c, want+2)
			if !slices.Equal(got, append(texts[:want:want], "more", "and more")) {
				t.Errorf("%s at %d of %d: the log is %q", what, keep, len(whole), got)
			}
			return err
		})
	}
	for keep := range len(whole) {
		check("cut off", keep, whole[:keep])
		zeros := append(slices.Clone(whole[:keep]), make([]byte, len(whole)-keep)...)
		zeros[keep] = whole[keep] ^ 1 // it might be a zero
		check("garbage", keep, zeros)
		zeros[keep] = 0
		if whole[keep] != 0 {
			check("zeros", keep, zeros)
		}
	}
	check("nothing", len(whole), whole)
}

// A file whose records are whole, and make no sense, is an error: it is another program's.
func TestForeignFile(t *testing.T) {
	n := asynciotest.NewNetwork(1)
	d := n.Host("node").Disk()
	n.Run(t, func(ctx context.Context) error {
		record := []byte{0, 0, 0, 1, 0, 0, 0, 0, 'x'}
		binary.BigEndian.PutUint32(record[4:], consensus.Checksum(record))
		if err := d.Append(ctx, "raft.log", record); err != nil {
			return err
		}
		err := n.Host("node").Go(func(ctx context.Context) error {
			return consensus.Run(ctx, consensus.Config{Peers: []string{"node:1"}, Disk: d})
		}).Wait(ctx)
		if err == nil {
			t.Error("it runs")
		}
		return nil
	})
}

// Who sends nonsense is cut off, and harms nobody.
func TestNonsense(t *testing.T) {
	frame := func(kind, ok byte, fields ...uint64) []byte {
		b := []byte{0, 0, 0, 0, kind, ok}
		for _, f := range fields {
			b = binary.AppendUvarint(b, f)
		}
		binary.BigEndian.PutUint32(b, uint32(len(b)-4))
		return b
	}
	const huge = 1<<64 - 1
	alone(t, 1, nil, func(ctx context.Context, n *asynciotest.Network, c *consensus.Client) error {
		if _, err := c.Append(ctx, []byte("before")); err != nil {
			return err
		}
		for i, p := range [][]byte{
			[]byte("GET / HTTP/1.1\r\n\r\n"),
			{0, 0, 0, 0},
			{0, 0, 0, 1, 7},
			frame(0, 0, 1, 1, 1, 1, 1, 0),
			frame(200, 0, 1, 1, 1, 1, 1, 0),
			frame(2, 0, 1, 1, 1, 1, 1, 0),            // an answer
			frame(3, 0, huge, 1, 1, 1, 1, 0),         // numbers that are none
			frame(3, 0, 1, 1, huge, 1, 1, 0),         //
			frame(3, 0, 1, 1, 1, 1, 1, huge),         //
			frame(3, 0, 1, 1, 1, 1, 1, 1<<40),        // more entries than there are bytes
			frame(5, 0, 1, 1, 1, 1, 1, 0),            // a proposal of nothing
			frame(5, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1),   // of an entry that is cut off
			frame(5, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1),   // with something behind it
			append(frame(5, 0), make([]byte, 10)...), // too short, and something behind it
		} {
			r, w, err := asyncio.OpenConnection(ctx, "tcp", "node:1", nil)
			if err != nil {
				return err
			}
			w.Write(p)
			w.WriteEOF()
			if answer, err := r.ReadAll(ctx); len(answer) > 0 {
				t.Errorf("%d: the answer is %q, %v", i, answer, err)
			}
			w.Close()
		}
		// These are in order, but there is no such place in the log.
		r, w, err := asyncio.OpenConnection(ctx, "tcp", "node:1", nil)
		if err != nil {
			return err
		}
		defer w.Close()
		w.Write(frame(3, 0, 1, 0, 1<<61, 1, 1<<61, 0))
		w.Write(frame(7, 0, 1, 0, 1<<61, 1, 1<<61, 0))
		w.WriteEOF()
		if answer, err := r.ReadAll(ctx); len(answer) == 0 {
			t.Errorf("no answer: %v", err)
		}
		if _, err := c.Append(ctx, []byte("after")); err != nil {
			return err
		}
		got, err := log(ctx, c, 2)
		if !slices.Equal(got, []string{"before", "after"}) {
			t.Errorf("the log is %q", got)
		}
		return err
	})
}

// A disk that fails ends the node; nothing is acknowledged that is not on it.
func TestDiskFails(t *testing.T) {
	for _, failing := range []string{"Append", "Sync", "ReadFile"} {
		n := asynciotest.NewNetwork(1)
		h := n.Host("node")
		fail := func(op, name string) error {
			if op == failing {
				return syscall.EIO
			}
			return nil
		}
		if failing == "ReadFile" {
			h.Disk().SetFault(fail)
		}
		p := h.Go(func(ctx context.Context) error {
			return consensus.Run(ctx, consensus.Config{Peers: []string{"node:1"}, Disk: h.Disk()})
		})
		n.Run(t, func(ctx context.Context) error {
			c := consensus.NewClient(ctx, []string{"node:1"}, time.Second)
			defer c.Close()
			if failing != "ReadFile" {
				if _, err := c.Append(ctx, []byte("before")); err != nil {
					return err
				}
				h.Disk().SetFault(fail)
				err := asyncio.Timeout(ctx, time.Minute, func(ctx context.Context) error {
					_, err := c.Append(ctx, []byte("lost"))
					return err
				})
				if !errors.Is(err, asyncio.ErrTimeout) {
					t.Errorf("%s: Append = %v", failing, err)
				}
			}
			if err := p.Wait(ctx); !errors.Is(err, syscall.EIO) {
				t.Errorf("%s: the node ends with %v", failing, err)
			}
			return nil
		})
	}
}

// On a real network and a real disk; a node that is cancelled leaves nothing behind.
func TestFiles(t *testing.T) {
	// The system gives such a port to nobody who wants any.
	var l net.Listener
	err := errors.New("not yet")
	for tries := 0; err != nil; tries++ {
		if l, err = net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000))); tries == 1000 {
			t.Fatal(err)
		}
	}
	peers := []string{l.Addr().String()}
	l.Close()
	dir := consensus.Files(t.TempDir())
	var want []string
	for life := range 3 {
		err := asyncio.Run(t.Context(), func(ctx context.Context) error {
			node := asyncio.Go(ctx, func(ctx context.Context) error {
				return consensus.Run(ctx, consensus.Config{Peers: peers, Disk: dir, Heartbeat: 5 * time.Millisecond})
			})
			c := consensus.NewClient(ctx, peers, time.Minute)
			defer c.Close()
			for i := range 3 {
				text := fmt.Sprint(life, ".", i)
				if _, err := c.Append(ctx, []byte(text)); err != nil {
					return err
				}
				want = append(want, text)
			}
			if got, err := c.Log(ctx, 0); err != nil || !slices.Equal(got, want) {
				t.Errorf("the log is %q, not %q: %v", got, want, err)
			}
			node.Cancel(nil)
			if err := node.Wait(ctx); !errors.Is(err, asyncio.ErrCancelled) {
				return err
			}
			// What a crash would leave at the end.
			return dir.Append(ctx, "raft.log", []byte{0, 0, 0, 99, 1, 2, 3})
		}, asynciotest.NoLeaks(t))
		if err != nil {
			t.Fatal(err)
		}
	}
	nowhere := consensus.Files(string(dir) + "/nowhere")
	err = asyncio.Run(t.Context(), func(ctx context.Context) error {
		return consensus.Run(ctx, consensus.Config{Peers: peers, Disk: nowhere, Heartbeat: time.Millisecond})
	})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a directory: %v", err)
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []consensus.Config{
		{},
		{Disk: consensus.Files(".")},
		{ID: -1, Peers: []string{"a:1"}, Disk: consensus.Files(".")},
		{ID: 1, Peers: []string{"a:1"}, Disk: consensus.Files(".")},
		{Peers: []string{"a:1"}},
	} {
		asynciotest.Run(t, func(ctx context.Context) error {
			if err := consensus.Run(ctx, c); err == nil {
				t.Errorf("%+v: it runs", c)
			}
			return nil
		})
	}
}
