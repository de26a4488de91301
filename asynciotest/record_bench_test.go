// What a recording costs.

package asynciotest_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// BenchmarkRecording sends 64 bytes to and fro on one connection, both ends of which
// are on the loop: an operation has twice the entries that one of a server has.
func BenchmarkRecording(b *testing.B) {
	echo := func(b *testing.B, opts ...asyncio.RunOption) {
		err := asyncio.Run(context.Background(), func(ctx context.Context) error {
			s, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", returnAll, nil)
			if err != nil {
				return err
			}
			r, w, err := asyncio.OpenConnection(ctx, "tcp", s.Addr().String(), nil)
			if err != nil {
				return err
			}
			defer w.Close()
			message := bytes.Repeat([]byte("m"), 64)
			for b.Loop() {
				if _, err := w.Write(message); err != nil {
					return err
				}
				if _, err := r.ReadExactly(ctx, len(message)); err != nil {
					return err
				}
			}
			return nil
		}, opts...)
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Run("off", func(b *testing.B) { echo(b) })
	b.Run("on", func(b *testing.B) {
		b.ReportAllocs()
		echo(b, asynciotest.WithRecording(asynciotest.NewRecording(io.Discard)))
	})
}
