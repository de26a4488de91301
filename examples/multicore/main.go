// multicore serves one TCP port with one loop for each core. The loops share
// nothing: the system hands each connection to one of them, and what they have to tell
// each other goes through doors. The program is its own client and ends by itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"runtime"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/internal/thread"
)

// A worker is a loop that serves, as the others see it.
type worker struct {
	number  int
	thread  int
	address string
	loop    *asyncio.EventLoop
	served  *int                       // touched on that loop only
	stop    *asyncio.Promise[struct{}] // resolved when it is to end
	ended   chan error
}

// A visit is what a worker tells of a connection.
type visit struct {
	worker int
	client string
}

// serve runs a worker. It tells of itself when it listens, and of each visit.
func serve(number int, address string, visits *asyncio.Inbox[visit], started *asyncio.Promise[*worker]) {
	w := &worker{number: number, thread: thread.ID(), served: new(int), ended: make(chan error, 1)}
	err := asyncio.Run(context.Background(), func(ctx context.Context) error {
		greet := func(ctx context.Context, r *asyncio.StreamReader, wr *asyncio.StreamWriter) error {
			line, err := r.ReadLine(ctx)
			if err != nil {
				return err
			}
			*w.served++
			if err := visits.Put(ctx, visit{number, string(line)}); err != nil {
				return err
			}
			fmt.Fprintf(wr, "hello from loop %d\n", number)
			return wr.Drain(ctx)
		}
		server, err := asyncio.StartServer(ctx, "tcp", address, greet, &asyncio.ServerOptions{ReusePort: true})
		if err != nil {
			return err
		}
		defer server.Close()
		w.thread = thread.ID()
		w.address = server.Addr().String()
		w.loop = asyncio.CurrentTask(ctx).Loop()
		w.stop = asyncio.NewPromise[struct{}](ctx)
		started.Resolve(w)
		return w.stop.Future().Wait(ctx)
	})
	if err != nil {
		started.Reject(err) // too late, unless it never listened
	}
	w.ended <- err
}

// startWorkers starts n workers, which share a free port.
func startWorkers(ctx context.Context, n int, visits *asyncio.Inbox[visit]) ([]*worker, error) {
	address := "127.0.0.1:0"
	var workers []*worker
	for number := 1; number <= n; number++ {
		started := asyncio.NewPromise[*worker](ctx)
		go serve(number, address, visits, started)
		w, err := started.Future().Await(ctx)
		if err != nil {
			return workers, err
		}
		address = w.address
		workers = append(workers, w)
	}
	return workers, nil
}

// stopWorkers lets them end, and waits for that.
func stopWorkers(ctx context.Context, workers []*worker) error {
	var errs []error
	for _, w := range workers {
		w.stop.Resolve(struct{}{})
		err, _, cancelled := asyncio.Receive(ctx, w.ended)
		errs = append(errs, err, cancelled)
	}
	return errors.Join(errs...)
}

func call(ctx context.Context, address, name string) error {
	r, w, err := asyncio.OpenConnection(ctx, "tcp", address, nil)
	if err != nil {
		return err
	}
	defer w.Close()
	fmt.Fprintln(w, name)
	_, err = r.ReadLine(ctx)
	return err
}

func program(ctx context.Context, loops, calls int) (err error) {
	visits := asyncio.NewInbox[visit](ctx, 64)
	workers, err := startWorkers(ctx, loops, visits)
	defer func() {
		err = errors.Join(err, stopWorkers(context.WithoutCancel(ctx), workers))
	}()
	if err != nil {
		return err
	}
	fmt.Printf("%d loops share a port; the client's loop is on thread %d\n", loops, thread.ID())
	told := make([]int, loops+1)
	err = asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
		for i := range calls {
			g.Go(func(ctx context.Context) error { return call(ctx, workers[0].address, fmt.Sprint("client ", i)) })
		}
		for range calls {
			v, err := visits.Get(ctx)
			if err != nil {
				return err
			}
			told[v.worker]++
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, w := range workers {
		// Its counter belongs to its loop, so that is asked.
		question := asyncio.RunCoroutineThreadsafe(ctx, w.loop, func(context.Context) (int, error) { return *w.served, nil })
		served, err := asyncio.WrapFuture(ctx, question).Await(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("loop %d on thread %d: served %d connections, told of %d\n", w.number, w.thread, served, told[w.number])
	}
	return nil
}

func main() {
	loops := flag.Int("loops", runtime.NumCPU(), "how many loops")
	calls := flag.Int("calls", 200, "how many connections the client makes")
	flag.Parse()
	err := asyncio.Run(context.Background(), func(ctx context.Context) error { return program(ctx, *loops, *calls) })
	if err != nil {
		log.Fatal(err)
	}
}
