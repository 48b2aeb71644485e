package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// result is what one call costs a client: the medians over the rounds.
type result struct {
	time   time.Duration
	bytes  float64
	allocs float64
}

// measure lets the columns do the work in turn, round after round, so that what else the machine does hits all of them
// alike.
func measure(ctx context.Context, r row, cols []column, rounds int, d time.Duration) ([]result, error) {
	samples := make([][]result, len(cols))
	calls := make([]int, len(cols))
	for round := range rounds + 1 {
		for i, c := range cols {
			n := max(1, calls[i])
			began, before := time.Now(), memory()
			for range n {
				if err := r.work(ctx, c); err != nil {
					return nil, fmt.Errorf("%s, %s: %w", r.name, c.name, err)
				}
			}
			took, after := time.Since(began), memory()
			if round == 0 { // warms up, and tells how many calls fill the time
				took = min(took, warm(ctx, r, c))
				calls[i] = int(d / max(took, time.Microsecond))
				continue
			}
			samples[i] = append(samples[i], result{
				took / time.Duration(n),
				float64(after.TotalAlloc-before.TotalAlloc) / float64(n),
				float64(after.Mallocs-before.Mallocs) / float64(n),
			})
		}
	}
	results := make([]result, len(cols))
	for i, s := range samples {
		results[i] = result{
			median(s, func(r result) time.Duration { return r.time }),
			median(s, func(r result) float64 { return r.bytes }),
			median(s, func(r result) float64 { return r.allocs }),
		}
	}
	return results, nil
}

// warm is the time of a call that is not the first.
func warm(ctx context.Context, r row, c column) time.Duration {
	began := time.Now()
	_ = r.work(ctx, c) // an error comes again
	return time.Since(began)
}

func memory() (m runtime.MemStats) {
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m
}

func median[T cmp.Ordered](results []result, of func(result) T) T {
	var values []T
	for _, r := range results {
		values = append(values, of(r))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
