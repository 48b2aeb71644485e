// Bench measures the client of this project beside others, in one process and one run:
//
//	go run .
//
// prints the table of README.md, which says how it is measured.
package main

import (
	"context"
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

// client is what every column can do.
type client interface {
	get(ctx context.Context, id string) (gotID string, err error)
	list(ctx context.Context, log bool) (records int, lastLog string, err error)
	iterate(ctx context.Context, pages int) (records int, err error)
	fail(ctx context.Context) (code string, err error)
}

// column is a client with its name.
type column struct {
	name string
	client
}

// columns are the clients to compare; the first is the floor, the second ours. They share their connections, one for
// each of 64 goroutines, so that they differ in what they do themselves.
func columns(url string) ([]column, error) {
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	o, err := newOurs(url, hc)
	if err != nil {
		return nil, err
	}
	cols := []column{
		{"net/http + encoding/json", floor{url, hc}}, {"reloads", o}, {"resty", newResty(url, hc)}, {"GitLab's pattern", newPattern(url, hc)},
	}
	g, err := newGenerated(url, hc)
	if g != nil {
		cols = append(cols, column{"oapi-codegen", g})
	}
	return cols, err
}

// row is a piece of work, with the ratios to the floor that it should not exceed; 0 is no target.
type row struct {
	name    string
	targets cost
	work    func(ctx context.Context, c client) error
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
	{"error answer", cost{1.10}, func(ctx context.Context, c client) error {
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

func check(ok bool, err error) error {
	if err == nil && !ok {
		err = fmt.Errorf("the answer is not the one that the server gave")
	}
	return err
}

// run measures and prints the tables.
func run(ctx context.Context, args []string, rows []row, stdout io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	rounds := flags.Int("rounds", 11, "how often everything is measured; the median counts")
	time := flags.Duration("time", 200*time.Millisecond, "how long a round measures a client at a work, about")
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
