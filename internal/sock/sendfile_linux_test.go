// This file tests the copying of files by the kernel.

package sock_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/seam"
)

// fileOf returns a file with that content, at its beginning.
func fileOf(t testing.TB, content []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestSendFile(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		n := newNetwork(t)
		c, _, peer := dialed(t, n, p)
		content := noise(3 << 20)
		f := fileOf(t, content)
		if _, err := f.Seek(5, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		const from = 7
		got := make(chan []byte)
		go func() {
			all, _ := io.ReadAll(peer)
			got <- all
		}()
		offset, full := int64(from), 0
		until(t, n, func() bool {
			for {
				k, err := c.(seam.FileSender).SendFile(f, offset, 1<<30)
				offset += int64(k)
				switch {
				case err == seam.ErrWouldBlock:
					full++
					return false
				case err != nil:
					t.Fatal(err)
				case k == 0:
					return true
				}
			}
		})
		c.Close()
		if all := <-got; !bytes.Equal(all, content[from:]) {
			t.Errorf("%d bytes have arrived, want %d", len(all), len(content)-from)
		}
		if at, _ := f.Seek(0, io.SeekCurrent); at != 5 {
			t.Errorf("the position of the file is %d", at)
		}
	})
}

func TestSendFileFails(t *testing.T) {
	n := newNetwork(t)
	c, _, peer := dialed(t, n, loopback)
	send := c.(seam.FileSender).SendFile
	f := fileOf(t, noise(100))
	if k, err := send(f, 100, 10); k != 0 || err != nil {
		t.Errorf("at the end of the file: %d, %v", k, err)
	}
	if k, err := send(f, 0, 0); k != 0 || err != nil {
		t.Errorf("nothing: %d, %v", k, err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if k, err := send(r, 0, 10); k != 0 || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a pipe: %d, %v", k, err)
	}
	if k, err := send(w, 0, 10); k != 0 || err == nil {
		t.Errorf("a file that cannot be read: %d, %v", k, err)
	}
	gone := fileOf(t, nil)
	gone.Close()
	if _, err := send(gone, 0, 10); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed file: %v", err)
	}
	peer.(*net.TCPConn).SetLinger(0)
	peer.Close()
	until(t, n, func() bool {
		_, err = send(f, 0, 10)
		return err != nil
	})
	if !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("a peer that has gone: %v", err)
	}
	c.Close()
	if _, err := send(f, 0, 10); err != net.ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}
