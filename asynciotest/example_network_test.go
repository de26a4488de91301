// Examples of the simulated network.

package asynciotest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// greet is a server as it runs in production.
func greet(ctx context.Context) error {
	s, err := asyncio.StartServer(ctx, "tcp", ":80", func(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
		defer w.Close()
		name, err := r.ReadLine(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "hello, %s", name)
		return nil
	}, nil)
	if err != nil {
		return err
	}
	return s.ServeForever(ctx)
}

// greeting is a client as it runs in production.
func greeting(ctx context.Context, address, name string) (string, error) {
	r, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
	if err != nil {
		return "", err
	}
	defer w.Close()
	fmt.Fprintln(w, name)
	line, err := r.ReadLine(ctx)
	return string(line), err
}

// In a test file, t is the *testing.T of the test.
func ExampleNetwork_Run() {
	t := new(testing.T)
	n := asynciotest.NewNetwork(1, asynciotest.WithLink(asynciotest.Link{Latency: asynciotest.Fixed(10 * time.Millisecond)}))
	n.Host("server").Go(greet)
	n.Run(t, func(ctx context.Context) error {
		line, err := greeting(ctx, "server:80", "Ada")
		fmt.Printf("%q %v at %v\n", line, err, n.Now())
		return nil
	})
	// Output: "hello, Ada\n" <nil> at 60ms
}

// A request is repeated until it gets through a partition, and then a crash.
func ExampleNetwork_Partition() {
	n := asynciotest.NewNetwork(1)
	server, outside := n.Host("server"), n.Outside()
	server.Go(greet)
	err := n.Simulate(func(ctx context.Context) error {
		n.Partition([]*asynciotest.Host{outside}, []*asynciotest.Host{server})
		asyncio.Go(ctx, func(ctx context.Context) error {
			asyncio.Sleep(ctx, 5*time.Second)
			n.HealAll()
			server.Crash()
			asyncio.Sleep(ctx, 3*time.Second)
			server.Restart()
			return nil
		})
		for try := 1; ; try++ {
			err := asyncio.Timeout(ctx, time.Second, func(ctx context.Context) error {
				_, err := greeting(ctx, "server:80", "Ada")
				return err
			})
			if err == nil {
				fmt.Println("try", try, "after", n.Now().Truncate(time.Second))
				return nil
			}
		}
	})
	fmt.Println(err)
	// Output:
	// try 9 after 8s
	// <nil>
}

// journal is what a program needs of a disk. *asynciotest.Disk has it, and so has
// folder, for production.
type journal interface {
	Append(ctx context.Context, name string, p []byte) error
	Sync(ctx context.Context, name string) error
}

// folder is a journal in a folder of the real disk.
type folder string

func (f folder) Append(ctx context.Context, name string, p []byte) error {
	return f.open(ctx, name, func(file *os.File) error {
		_, err := file.Write(p)
		return err
	})
}

func (f folder) Sync(ctx context.Context, name string) error {
	return f.open(ctx, name, (*os.File).Sync)
}

func (f folder) open(ctx context.Context, name string, do func(*os.File) error) error {
	_, err := asyncio.ToThread(ctx, func(context.Context) (struct{}, error) {
		file, err := os.OpenFile(filepath.Join(string(f), name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, errors.Join(do(file), file.Close())
	})
	return err
}

// A program that is given its disk runs on a real one and on one that crashes.
func ExampleDisk() {
	program := func(j journal) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			if err := j.Append(ctx, "log", []byte("sure. ")); err != nil {
				return err
			}
			if err := j.Sync(ctx, "log"); err != nil {
				return err
			}
			return j.Append(ctx, "log", []byte("perhaps."))
		}
	}

	dir, err := os.MkdirTemp("", "journal")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	fmt.Println(asyncio.Run(context.Background(), program(folder(dir))))

	n := asynciotest.NewNetwork(4)
	host := n.Host("host")
	p := host.Go(program(host.Disk()))
	err = n.Simulate(func(ctx context.Context) error {
		if err := p.Wait(ctx); err != nil {
			return err
		}
		host.Crash()
		log, err := host.Disk().ReadFile(ctx, "log")
		fmt.Printf("%.6q...\n", log)
		return err
	})
	fmt.Println(err)
	// Output:
	// <nil>
	// "sure. "...
	// <nil>
}
