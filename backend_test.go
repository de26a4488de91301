// Backends: the option, the variable of the environment, and which of them wins.

package asyncio_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/goasyncio/asyncio"
)

// backendInUse tells by what a server costs which backend the loop of ctx has.
func backendInUse(ctx context.Context) (asyncio.Backend, error) {
	srv, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", greet, nil)
	if err != nil {
		return 0, err
	}
	defer srv.Close()
	stacks := make([]byte, 1<<20)
	if bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("internal/portable.(*Listener)")) {
		return asyncio.PortableBackend, nil
	}
	return asyncio.EpollBackend, nil
}

func TestBackend(t *testing.T) {
	leavesNothing(t)
	native := asyncio.PortableBackend
	if runtime.GOOS == "linux" {
		native = asyncio.EpollBackend
	}
	for _, test := range []struct {
		name, variable string
		opts           []asyncio.RunOption
		want           asyncio.Backend
	}{
		{"nothing said", "", nil, native},
		{"the default by the option", "", []asyncio.RunOption{asyncio.WithBackend(asyncio.DefaultBackend)}, native},
		{"by the variable", "portable", nil, asyncio.PortableBackend},
		{"by the option", "", []asyncio.RunOption{asyncio.WithBackend(asyncio.PortableBackend)}, asyncio.PortableBackend},
		{"the option wins", "no such thing", []asyncio.RunOption{asyncio.WithBackend(asyncio.PortableBackend)}, asyncio.PortableBackend},
		{"the native one by the variable", native.String(), nil, native},
		{"the native one by the option", "portable", []asyncio.RunOption{asyncio.WithBackend(native)}, native},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("ASYNCIO_BACKEND", test.variable)
			runStreams(t, func(ctx context.Context) error {
				got, err := backendInUse(ctx)
				if got != test.want {
					t.Errorf("the backend is %v, want %v", got, test.want)
				}
				return err
			}, test.opts...)
		})
	}
	run := func(opts ...asyncio.RunOption) error {
		return asyncio.Run(context.Background(), func(context.Context) error { return nil }, opts...)
	}
	t.Run("a variable that means nothing", func(t *testing.T) {
		t.Setenv("ASYNCIO_BACKEND", "kqueue")
		err := run()
		if err == nil || !strings.Contains(err.Error(), `ASYNCIO_BACKEND is "kqueue"`) {
			t.Errorf("Run = %v", err)
		}
	})
	t.Run("epoll where there is none", func(t *testing.T) {
		if runtime.GOOS == "linux" {
			t.Skip("Linux has it")
		}
		t.Setenv("ASYNCIO_BACKEND", "epoll")
		for _, err := range []error{run(), run(asyncio.WithBackend(asyncio.EpollBackend))} {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("Run = %v", err)
			}
		}
	})
	t.Run("an option that does not exist", func(t *testing.T) {
		panicsWith(t, asyncio.ErrBadArgument, func() { asyncio.WithBackend(77) })
	})
	t.Run("names", func(t *testing.T) {
		for b, want := range map[asyncio.Backend]string{
			asyncio.DefaultBackend: "default", asyncio.EpollBackend: "epoll", asyncio.PortableBackend: "portable", 77: "Backend(77)",
		} {
			if got := b.String(); got != want {
				t.Errorf("%d is %q, want %q", b, got, want)
			}
		}
	})
}

// TestPortableCloseFlushes closes the loop right after a write, while the peer is
// late: what was written arrives, and no goroutine is left.
func TestPortableCloseFlushes(t *testing.T) {
	leavesNothing(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	data := pattern(60 << 10) // there is room for it
	runStreams(t, func(ctx context.Context) error {
		_, w, err := asyncio.OpenConnection(ctx, "tcp", ln.Addr().String(), nil)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err // without Close, Drain or anything
	}, asyncio.WithBackend(asyncio.PortableBackend))
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes of %d have arrived, %v", len(got), len(data), err)
	}
}
