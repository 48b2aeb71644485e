// Bench compares the performance of package reloads with that of other clients, in one process and one run. It prints
// the tables of README.md, which describes the method:
//
//	go run .
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

const token = "test-token"

func main() {
	if err := start(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// client is a client of the Reloads API that is measured.
type client interface {
	get(ctx context.Context, id string) (gotID string, err error)
	list(ctx context.Context, log bool) (records int, lastLog string, err error)
	iterate(ctx context.Context, pages int) (records int, err error)
	fail(ctx context.Context) (code string, err error)
}

// column is a column of the tables: a client and its name.
type column struct {
	name string
	client
}

// columns returns the clients to compare. The first is the baseline, the second is package reloads. The clients share
// their 64 connections, so that only the costs of the clients themselves differ.
func columns(url string) ([]column, error) {
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	r, err := newReloads(url, hc)
	if err != nil {
		return nil, err
	}
	cols := []column{
		{"net/http + encoding/json", floor{url, hc}}, {"reloads", r}, {"resty", newResty(url, hc)}, {"GitLab's pattern", newPattern(url, hc)},
	}
	g, err := newGenerated(url, hc)
	if g != nil {
		cols = append(cols, column{"oapi-codegen", g})
	}
	return cols, err
}

// row is a row of the tables: a task, and the targets for package reloads as ratios to the baseline. 0 means no target.
type row struct {
	name    string
	targets cost
	call    func(ctx context.Context, c client) error
}

var rows = []row{
	{"Get", cost{1.03, 1, 1}, func(ctx context.Context, c client) error {
		id, err := c.get(ctx, recordID)
		return check(id != "", err)
	}},
	{"List 100, short logs", cost{0.45, 0.25, 0.35}, func(ctx context.Context, c client) error {
		n, _, err := c.list(ctx, false)
		return check(n == 100, err)
	}},
	{"List 100, 13 KB logs", cost{0.40, 0.60, 0.35}, func(ctx context.Context, c client) error {
		n, log, err := c.list(ctx, true)
		return check(n == 100 && len(log) > 12_000, err)
	}},
	{"iterate 100,000", cost{}, func(ctx context.Context, c client) error {
		n, err := c.iterate(ctx, 1000)
		return check(n == 100_000, err)
	}},
	{"error response", cost{1.10}, func(ctx context.Context, c client) error {
		code, err := c.fail(ctx)
		return check(code == "RELOADS-004", err)
	}},
	{"64 goroutines Get", cost{1.05}, func(ctx context.Context, c client) error {
		var calling sync.WaitGroup
		errs := make(chan error, 64)
		for range 64 {
			calling.Go(func() {
				id, err := c.get(ctx, recordID)
				errs <- check(id != "", err)
			})
		}
		calling.Wait()
		for range 64 {
			if err := <-errs; err != nil {
				return err
			}
		}
		return nil
	}},
}

// check returns err, or an error if the result of a call is wrong.
func check(ok bool, err error) error {
	if err == nil && !ok {
		err = errors.New("the result does not match the response of the server")
	}
	return err
}

// run measures all rows and prints the tables.
func run(ctx context.Context, args []string, rows []row, stdout io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	rounds := flags.Int("rounds", 11, "`number` of rounds; the result is the median of all rounds")
	time := flags.Duration("time", 200*time.Millisecond, "approximate time per client and task in a round")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := newServer()
	if err != nil {
		return err
	}
	defer s.close()
	cols, err := columns(s.url())
	if err != nil {
		return err
	}
	results := make([][]result, len(rows))
	for i, r := range rows {
		fmt.Fprintf(os.Stderr, "measuring %s\n", r.name)
		if results[i], err = measure(ctx, r, cols, *rounds, *time); err != nil {
			return err
		}
	}
	return report(stdout, rows, cols, results)
}
