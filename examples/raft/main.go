// raft is a replicated log: five processes on this machine agree on the order of what a
// client appends, and nothing that was acknowledged is lost when one of them is killed.
// The agreement is in package consensus; the tests run it in a simulated network.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/examples/raft/consensus"
)

const nodes = 5

func main() {
	node := flag.Int("node", -1, "be this `node`, from 0, until the standard input ends")
	peers := flag.String("peers", "", "the `addresses` of all nodes, separated by commas")
	dir := flag.String("dir", "", "the `directory` for the log of the node")
	flag.Parse()
	run := story
	if *node >= 0 {
		go func() { // a node may be killed at any time, also by itself
			io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
		config := consensus.Config{ID: *node, Peers: strings.Split(*peers, ","), Disk: consensus.Files(*dir), Observe: tell}
		run = func(ctx context.Context) error { return consensus.Run(ctx, config) }
	}
	if err := asyncio.Run(context.Background(), run); err != nil {
		log.Fatal(err)
	}
}

// tell prints what happens to a node.
func tell(e consensus.Event) {
	switch e.Kind {
	case consensus.Started:
		fmt.Println("starts with what is on its disk")
	case consensus.Candidate:
		fmt.Println("wants to lead term", e.Term)
	case consensus.Elected:
		fmt.Println("leads term", e.Term)
	case consensus.Deposed:
		fmt.Println("no longer leads")
	}
}

// A cluster is the processes of the nodes.
type cluster struct {
	dir       string
	addresses []string
	processes [nodes]*asyncio.Process
}

// story is what this program shows.
func story(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "raft-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	addresses, err := freeAddresses()
	if err != nil {
		return err
	}
	c := &cluster{dir: dir, addresses: addresses}
	defer c.close()
	for id := range nodes {
		if err := c.start(ctx, id); err != nil {
			return err
		}
	}

	client := consensus.NewClient(ctx, addresses, 2*time.Second)
	defer client.Close()
	var acknowledged []string
	leader := 0
	appendSome := func(names ...string) error {
		for _, name := range names {
			by, err := client.Append(ctx, []byte(name))
			if err != nil {
				return err
			}
			fmt.Printf("client | %s is acknowledged by node %d\n", name, by)
			acknowledged, leader = append(acknowledged, name), by
		}
		return nil
	}
	if err := appendSome("apple", "banana", "cherry"); err != nil {
		return err
	}
	dead := leader
	fmt.Printf("       * node %d is killed\n", dead)
	if err := c.kill(ctx, dead); err != nil {
		return err
	}
	if err := appendSome("date", "elder", "fig"); err != nil {
		return err
	}
	fmt.Printf("       * node %d is started again\n", dead)
	if err := c.start(ctx, dead); err != nil {
		return err
	}
	if err := appendSome("grape"); err != nil {
		return err
	}
	for id := range nodes {
		if err := waitForLog(ctx, client, id, acknowledged); err != nil {
			return err
		}
		fmt.Printf("node %d has %s\n", id, strings.Join(acknowledged, ", "))
	}
	return nil
}

// waitForLog waits until a node has heard that all these entries are committed.
func waitForLog(ctx context.Context, client *consensus.Client, node int, want []string) error {
	var got []string
	err := asyncio.Timeout(ctx, 10*time.Second, func(ctx context.Context) error {
		for {
			var err error
			if got, err = client.Log(ctx, node); errors.Is(err, asyncio.ErrCancelled) {
				return err
			}
			if slices.Equal(got, want) {
				return nil
			}
			if err := asyncio.Sleep(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return fmt.Errorf("node %d has %q, and not %q: %w", node, got, want, err)
	}
	return nil
}

// start starts the process of a node, and a task that shows what it says. It returns
// when the node has said something.
func (c *cluster) start(ctx context.Context, id int) error {
	dir := filepath.Join(c.dir, fmt.Sprint(id))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	args := []string{"-node", fmt.Sprint(id), "-peers", strings.Join(c.addresses, ","), "-dir", dir}
	p, err := asyncio.CreateSubprocessExec(ctx, os.Args[0], args, &asyncio.SubprocessOptions{Stdin: asyncio.Pipe, Stdout: asyncio.Pipe})
	if err != nil {
		return err
	}
	c.processes[id] = p
	var spoken asyncio.Event
	asyncio.Go(ctx, func(ctx context.Context) error {
		defer spoken.Set()
		for line, err := range p.Stdout.Lines(ctx) {
			if err != nil {
				break // it was killed
			}
			fmt.Printf("node %d | %s", id, line)
			spoken.Set()
		}
		return nil
	})
	return spoken.Wait(ctx)
}

// kill ends a node without a warning.
func (c *cluster) kill(ctx context.Context, id int) error {
	p := c.processes[id]
	if err := p.Kill(); err != nil {
		return err
	}
	if _, err := p.Wait(ctx); err != nil {
		return err
	}
	return p.Close()
}

func (c *cluster) close() {
	for _, p := range c.processes {
		if p != nil {
			p.Close()
		}
	}
}

// freeAddresses returns an address for each node that nobody uses now. Their ports are none
// of those that the system gives to clients, which would get them before the nodes do.
func freeAddresses() ([]string, error) {
	var addresses []string
	for tries := 1; len(addresses) < nodes; tries++ {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000)))
		if err == nil {
			defer l.Close()
			addresses = append(addresses, l.Addr().String())
		} else if tries == 1000 {
			return nil, err
		}
	}
	return addresses, nil
}
