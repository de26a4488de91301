package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	. "github.com/goasyncio/asyncio"
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	start := time.Now()
	err := Run(context.Background(), func(ctx context.Context) error {
		f := func(ctx context.Context) error {
			fmt.Println("hello", CurrentTask(ctx))
			if err := Sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
			fmt.Println("again")
			return nil
		}
		a := Go(ctx, f)
		b := Go(ctx, f)
		if err := a.Wait(ctx); err != nil {
			return err
		}
		if err := b.Wait(ctx); err != nil {
			return err
		}
		err := Timeout(ctx, 10*time.Millisecond, func(ctx context.Context) error {
			err := Sleep(ctx, time.Second)
			fmt.Println(err, ctx.Err(), context.Cause(ctx))
			return err
		})
		fmt.Println(err, errors.Is(err, context.DeadlineExceeded))
		n := 0
		err = WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
			for range 10 {
				g.Go(func(ctx context.Context) error {
					Yield(ctx)
					n++
					if n == 5 {
						return fmt.Errorf("five")
					}
					return Sleep(ctx, time.Millisecond)
				})
			}
			return nil
		}, WithLimit(3))
		fmt.Println(n, err)
		c, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		fmt.Println(Sleep(c, time.Second))
		v, err := ToThread(ctx, func(ctx context.Context) (int, error) { time.Sleep(10 * time.Millisecond); return 5, nil })
		fmt.Println(v, err)
		Go(ctx, func(ctx context.Context) error {
			for {
				Sleep(ctx, time.Second)
			}
		}, WithName("stubborn"))
		Yield(ctx)
		return nil
	}, WithShutdownGrace(50*time.Millisecond))
	fmt.Println(err, time.Since(start))
}
func BenchmarkSpawn(b *testing.B) {
	b.ReportAllocs()
	Run(context.Background(), func(ctx context.Context) error {
		f := func(ctx context.Context) (int, error) { return 1, nil }
		b.ResetTimer()
		for range b.N {
			CreateTask(ctx, f).Await(ctx)
		}
		return nil
	})
}
func BenchmarkYield(b *testing.B) {
	b.ReportAllocs()
	Run(context.Background(), func(ctx context.Context) error {
		b.ResetTimer()
		for range b.N {
			Yield(ctx)
		}
		return nil
	})
}
func BenchmarkSleep(b *testing.B) {
	b.ReportAllocs()
	Run(context.Background(), func(ctx context.Context) error {
		b.ResetTimer()
		for range b.N {
			Sleep(ctx, 1)
		}
		return nil
	})
}
