package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// kind is a kind of cost.
type kind int

const (
	wallTime kind = iota // in nanoseconds
	cpuTime              // in nanoseconds, of the process, which includes the server; 0 on platforms without getrusage
	allocatedBytes
	allocations
	kinds // the number of kinds
)

// cost is the cost of a call.
type cost [kinds]float64

// result is the cost of a task for a client, and its ratio to the cost of the baseline in the same round.
type result struct{ cost, ratio [kinds]quartiles }

// quartiles are the values that a quarter, half and three quarters of the rounds do not exceed.
type quartiles struct{ low, median, high float64 }

// deadline is that of the context of the calls. A program that calls a service should have one.
const deadline = 30 * time.Second

// slicesPerRound is how many slices of a round each client has. The cheapest one counts: other load on the machine only
// adds to the cost.
const slicesPerRound = 8

// measure measures a row. The clients do the task in turn, for a slice of about the given duration each. Slices are so
// short that even on a busy machine some of them are not interrupted.
func measure(ctx context.Context, r row, cols []column, rounds int, slice time.Duration) ([]result, error) {
	if r.workers == 1 { // without other threads, CPU time does not include waking them
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	team := startWorkers(r.workers)
	defer team.stop()
	calls, err := team.callsIn(ctx, r, cols[0], slice)
	if err != nil {
		return nil, err
	}
	costs, ratios := make([][]cost, len(cols)), make([][]cost, len(cols))
	for range rounds {
		cheapest := make([]cost, len(cols))
		for n := range slicesPerRound {
			for i, c := range cols {
				of, err := team.measure(ctx, r, c, calls)
				if err != nil {
					return nil, err
				}
				for k := range of {
					if n == 0 || of[k] < cheapest[i][k] {
						cheapest[i][k] = of[k]
					}
				}
			}
		}
		for i, of := range cheapest {
			costs[i] = append(costs[i], of)
			for k := range of {
				of[k] /= cheapest[0][k]
			}
			ratios[i] = append(ratios[i], of)
		}
	}
	results := make([]result, len(cols))
	for i := range cols {
		for k := range kinds {
			results[i].cost[k] = quartilesOf(costs[i], k)
			results[i].ratio[k] = quartilesOf(ratios[i], k)
		}
	}
	return results, nil
}

func quartilesOf(costs []cost, k kind) quartiles {
	var values []float64
	for _, c := range costs {
		values = append(values, c[k])
	}
	slices.Sort(values)
	at := func(quarter int) float64 { return values[(len(values)-1)*quarter/4] }
	return quartiles{at(1), at(2), at(3)}
}

// workers are goroutines that call a client at the same time. They last for all slices of a row, so that the costs do
// not include starting goroutines.
type workers struct {
	n    int
	jobs chan func() error
	errs chan error
}

func startWorkers(n int) workers {
	w := workers{n, make(chan func() error), make(chan error, n)}
	for range n {
		go func() {
			for job := range w.jobs {
				w.errs <- job()
			}
		}()
	}
	return w
}

func (w workers) stop() { close(w.jobs) }

// call lets each worker do the task n times.
func (w workers) call(ctx context.Context, r row, c column, n int) error {
	job := func() error {
		for range n {
			if err := r.call(ctx, c); err != nil {
				return fmt.Errorf("%s, %s: %w", r.name, c.name, err)
			}
		}
		return nil
	}
	for range w.n {
		w.jobs <- job
	}
	var err error
	for range w.n {
		err = errors.Join(err, <-w.errs)
	}
	return err
}

// callsIn returns how many calls of each worker take about the time d, at least 1.
func (w workers) callsIn(ctx context.Context, r row, c column, d time.Duration) (int, error) {
	fastest := d
	for range 20 {
		began := time.Now()
		if err := w.call(ctx, r, c, 1); err != nil {
			return 0, err
		}
		fastest = min(fastest, time.Since(began))
	}
	return int(d / fastest), nil
}

// measure returns the cost of a call, from n calls of each worker. A few calls before them warm up the caches of the
// processor, which other clients have just used.
func (w workers) measure(ctx context.Context, r row, c column, n int) (cost, error) {
	if !r.noDeadline {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, deadline)
		defer cancel()
	}
	if err := w.call(ctx, r, c, 1+n/4); err != nil {
		return cost{}, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, began := processTime(), time.Now()
	err := w.call(ctx, r, c, n)
	wall := time.Since(began)
	cpu = processTime() - cpu
	runtime.ReadMemStats(&after)
	of := cost{float64(wall), float64(cpu), float64(after.TotalAlloc - before.TotalAlloc), float64(after.Mallocs - before.Mallocs)}
	for k := range of {
		of[k] /= float64(n * w.n)
	}
	return of, err
}
