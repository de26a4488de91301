//go:build unix

// Recordings that make no sense: a replay ends with an error, and does nothing else.

package asynciotest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// usesAll uses whatever can be recorded, a little of each.
func usesAll(send func()) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		signals, err := asyncio.NotifySignals(ctx, syscall.SIGUSR1)
		if err != nil {
			return err
		}
		defer signals.Close()
		p, err := asyncio.CreateSubprocessShell(ctx, "cat; exit 3", pipes())
		if err != nil {
			return err
		}
		defer p.Close()
		_, err = asyncio.CreateSubprocessExec(ctx, "/no such program", nil, nil)
		if err == nil {
			return errors.New("it was started")
		}
		s, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", returnAll, nil)
		if err != nil {
			return err
		}
		defer s.Close()
		r, w, err := asyncio.OpenConnection(ctx, "tcp", s.Addr().String(), nil)
		if err != nil {
			return err
		}
		defer w.Close()
		io.WriteString(w, "hello\n")
		line, err := r.ReadLine(ctx)
		if err != nil {
			return err
		}
		out, _, err := p.Communicate(ctx, line)
		if err != nil {
			return err
		}
		send()
		err = asyncio.Timeout(ctx, time.Minute, func(ctx context.Context) error {
			_, err := signals.Next(ctx)
			return err
		})
		if err != nil {
			return err
		}
		_ = fmt.Sprintf("%q %v %v %v", out, p.State(), p.State().SysUsage(), p)
		_, err = asyncio.ToThread(ctx, func(context.Context) (int, error) { return 1, nil })
		return err
	}
}

func FuzzReplay(f *testing.F) {
	var tape bytes.Buffer
	rec := asynciotest.NewRecording(&tape)
	err := asyncio.Run(context.Background(), usesAll(func() { syscall.Kill(syscall.Getpid(), syscall.SIGUSR1) }), asynciotest.WithRecording(rec))
	if err := errors.Join(err, rec.Err()); err != nil {
		f.Fatal(err)
	}
	whole := asynciotest.Entries(tape.Bytes())
	f.Add(whole)
	for n := 1; n < len(whole); n += 1 + len(whole)/50 {
		f.Add(whole[:n])
		for _, flip := range []byte{0x01, 0x80} {
			damaged := bytes.Clone(whole)
			damaged[n] ^= flip
			f.Add(damaged)
		}
	}
	f.Fuzz(func(t *testing.T, entries []byte) {
		if !bytes.Equal(entries, whole) {
			asynciotest.Impatient(t)
		}
		err := asynciotest.Replay(bytes.NewReader(asynciotest.Framed(entries)), usesAll(func() {}), quiet)
		var d *asynciotest.Difference
		known := errors.Is(err, asynciotest.ErrDamaged) || errors.Is(err, asynciotest.ErrRecordingEnds) || errors.As(err, &d)
		if bytes.Equal(entries, whole) && known {
			t.Errorf("the recording itself: %v", err)
		}
	})
}
