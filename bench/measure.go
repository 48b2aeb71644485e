package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// cost is the cost of a call: time in nanoseconds, allocated bytes, and number of allocations.
type cost [3]float64

// result is the cost of a task for a client, and the ratio to the cost of the baseline. Both are medians over all
// rounds.
type result struct{ cost, ratio cost }

// measure measures a row for about d per client and round. In each round, all clients do the task in turn. A ratio
// compares two measurements of the same round, so that other load on the machine affects both in the same way.
func measure(ctx context.Context, r row, cols []column, rounds int, d time.Duration) ([]result, error) {
	calls := make([]int, len(cols))
	for i, c := range cols { // the first call warms up, the second determines how many calls take the time d
		var took time.Duration
		for range 2 {
			began := time.Now()
			if err := r.call(ctx, c); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", r.name, c.name, err)
			}
			took = time.Since(began)
		}
		calls[i] = max(1, int(d/max(took, time.Microsecond)))
	}
	costs, ratios := make([][]cost, len(cols)), make([][]cost, len(cols))
	for round := range rounds {
		of := make([]cost, len(cols))
		for turn := range cols {
			i := (round + turn) % len(cols) // each round begins with another client
			before := memory()
			began := time.Now()
			for range calls[i] {
				if err := r.call(ctx, cols[i]); err != nil {
					return nil, fmt.Errorf("%s, %s: %w", r.name, cols[i].name, err)
				}
			}
			took, after, n := time.Since(began), memory(), float64(calls[i])
			of[i] = cost{float64(took) / n, float64(after.TotalAlloc-before.TotalAlloc) / n, float64(after.Mallocs-before.Mallocs) / n}
		}
		for i := range cols {
			costs[i] = append(costs[i], of[i])
			ratios[i] = append(ratios[i], cost{of[i][0] / of[0][0], of[i][1] / of[0][1], of[i][2] / of[0][2]})
		}
	}
	results := make([]result, len(cols))
	for i := range cols {
		results[i] = result{medians(costs[i]), medians(ratios[i])}
	}
	return results, nil
}

// memory collects garbage and returns the memory statistics.
func memory() (m runtime.MemStats) {
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m
}

// medians returns the median of each kind of cost.
func medians(costs []cost) (m cost) {
	for kind := range m {
		var values []float64
		for _, c := range costs {
			values = append(values, c[kind])
		}
		slices.Sort(values)
		m[kind] = values[len(values)/2]
	}
	return m
}
