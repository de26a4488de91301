// Tests of the replicated log: many seeds, a mistake that they find, and an hour.

package main_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goasyncio/asyncio"
	"github.com/goasyncio/asyncio/asynciotest"
)

// TestSeeds torments a cluster, in another way with each seed. RAFT_SEEDS is how many.
// A seed that fails is reported with the command that repeats it.
func TestSeeds(t *testing.T) {
	seeds := 400 / min(slowness, 5)
	if testing.Short() {
		seeds = 40
	}
	if text := os.Getenv("RAFT_SEEDS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("RAFT_SEEDS: %v", err)
		}
		seeds = n
	}
	// A run leaves nothing behind: with the usual small heap it would be searched for
	// garbage three times in each.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	start := time.Now()
	asynciotest.Explore(t, seeds, func(t testing.TB, sim *asynciotest.Sim) { torment(t, sim.Seed, sim.Network) })
	t.Logf("%d seeds, %.0f a second", seeds, float64(seeds)/time.Since(start).Seconds())
}

// A seed goes the same way each time, and another seed goes another way.
func TestSameSeed(t *testing.T) {
	one, again, other := torment(t, 1, alone(1)), torment(t, 1, alone(1)), torment(t, 2, alone(2))
	if one.net.Hash() != again.net.Hash() || one.net.Events() != again.net.Events() {
		t.Errorf("hashes %x after %d events, and %x after %d", one.net.Hash(), one.net.Events(), again.net.Hash(), again.net.Events())
	}
	if one.net.Hash() == other.net.Hash() {
		t.Error("two seeds go the same way")
	}
}

// The seeds are worth something: leaders come and go, and most entries get through.
func TestTorments(t *testing.T) {
	elections, granted, crashes := 0, 0, 0
	for seed := range uint64(20) {
		c := torment(t, seed, alone(seed))
		elections += c.elections
		for _, r := range c.requests {
			if r.granted > 0 {
				granted++
			}
		}
		for _, e := range c.net.Log() {
			if e.Kind == asynciotest.HostCrashed {
				crashes++
			}
		}
	}
	t.Logf("in 20 seeds: %d elections, %d crashes, %d entries acknowledged", elections, crashes, granted)
	if elections < 60 || crashes < 20 || granted < 400 {
		t.Error("that is too little")
	}
}

// Who acknowledges entries before a majority has them is found out by TestSeeds, and the
// seed that it reports fails again, in the same way. The mistake is in the program when it
// is built with the tag raftbug.
func TestFindsMistake(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program anew")
	}
	lost := regexp.MustCompile(`[abc](\d+|-last) is lost, and was acknowledged at \S+`)
	test := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Env = append(os.Environ(), "RAFT_SEEDS=1000", "ASYNCIOTEST_SEED=")
		out, err := cmd.CombinedOutput()
		if err == nil || !lost.Match(out) {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	first := test("test", "-tags", "raftbug", "-run", "^TestSeeds$", "-count", "1", "-timeout", "5m", ".")
	command := regexp.MustCompile(`(?m)^ +go (test -tags=raftbug -run '\^TestSeeds\$' \S+ -args -asynciotest\.seed=\S+)$`).FindStringSubmatch(first)
	if command == nil {
		t.Fatalf("it does not say how to repeat it:\n%s", first)
	}
	second := test(strings.Fields(strings.ReplaceAll(command[1], "'", ""))...)
	for _, one := range lost.FindAllString(first, -1) {
		if !strings.Contains(second, one) {
			t.Errorf("at first %s, but not when it is repeated:\n%s", one, second)
		}
	}
	t.Logf("%s: %s", command[1], lost.FindString(first))
}

// hour runs a cluster, with a client that appends an entry each second.
func hour(t testing.TB, d time.Duration) *cluster {
	c := newCluster(t, asynciotest.NewNetwork(1, asynciotest.WithLogLimit(0)), 0)
	enough := false
	client := c.net.Host("client").Go(c.client(0, asynciotest.Fixed(time.Second), &enough))
	c.net.Run(t, func(ctx context.Context) error {
		if err := asyncio.Sleep(ctx, d); err != nil {
			return err
		}
		enough = true
		if err := client.Wait(ctx); err != nil {
			return err
		}
		return c.check(ctx)
	})
	return c
}

// An hour passes in seconds, and nothing happens in it: there is one leader. Under the
// race detector it is a part of an hour.
func TestHour(t *testing.T) {
	d := time.Hour / slowness
	if testing.Short() {
		d = 5 * time.Minute
	}
	start := time.Now()
	c := hour(t, d)
	took := time.Since(start)
	t.Logf("%v took %v: %d events, %.0f a second", d, took, c.net.Events(), float64(c.net.Events())/took.Seconds())
	if c.elections != 1 || len(c.requests) < int(d/time.Second)*9/10 {
		t.Errorf("%d elections, %d entries", c.elections, len(c.requests))
	}
}

func BenchmarkMinute(b *testing.B) {
	events := uint64(0)
	for b.Loop() {
		events += hour(b, time.Minute).net.Events()
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(b.N)*60/b.Elapsed().Seconds(), fmt.Sprint("virtual-s/s"))
}
