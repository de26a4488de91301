// Tests of the task tree that a second interrupt prints.

package asyncio_test

import (
	"context"
	"strings"
	"testing"

	"github.com/goasyncio/asyncio"
)

func TestTaskTree(t *testing.T) {
	// shape is the tree with the names of the tasks alone.
	shape := func(ctx context.Context) string {
		var lines []string
		for line := range strings.Lines(asyncio.CurrentTask(ctx).Loop().TaskTree()) {
			indent, rest, _ := strings.Cut(line, "<Task ")
			name, _, _ := strings.Cut(rest, " ")
			lines = append(lines, strings.ReplaceAll(indent, "    ", ">")+name)
		}
		return strings.Join(lines, " ")
	}
	expect := func(t *testing.T, ctx context.Context, want string) {
		t.Helper()
		if got := shape(ctx); got != want {
			t.Errorf("the tree is %q, want %q", got, want)
		}
	}
	inLoop(t, "by whatever means a task waits", func(t *testing.T, ctx context.Context) {
		a, b := spawn(ctx, "a", hour), spawn(ctx, "b", hour)
		spawn(ctx, "gathers", func(ctx context.Context) error {
			_, err := asyncio.Gather[struct{}](ctx, a)
			return err
		})
		spawn(ctx, "waits", func(ctx context.Context) error {
			_, _, err := asyncio.Wait(ctx, []asyncio.AnyFuture{a, b}, asyncio.WaitOptions{})
			return err
		})
		spawn(ctx, "group", func(ctx context.Context) error {
			return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
				g.Go(hour, asyncio.WithName("child"))
				return nil
			})
		})
		expect(t, ctx, "main gathers >a waits >b group >child")
	})
	inLoop(t, "tasks that wait in a circle", func(t *testing.T, ctx context.Context) {
		var b *asyncio.Task[struct{}]
		a := asyncio.Go(ctx, func(ctx context.Context) error { return b.Wait(ctx) }, asyncio.WithName("a"))
		b = spawn(ctx, "b", a.Wait)
		asyncio.Yield(ctx)
		expect(t, ctx, "main a >b")
		a.Cancel(nil)
	})
}
