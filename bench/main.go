// Bench compares the performance of package reloads with that of other clients, in one process and one run. It prints
// the tables of README.md, which describes the method, and fails if a target is missed:
//
//	go run .
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"go/version"
	"io"
	"net/http"
	"os"
	"runtime"
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

// columns returns the clients to compare. The first is the baseline, the second is package reloads, the last is the limit.
// The clients share their 64 connections, so that only the costs of the clients themselves differ.
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
	return append(cols, column{"net/http alone", limit{floor{url, hc}}}), err
}

// row is a row of the tables: a task, and the targets for package reloads as ratios to the baseline. 0 means no target.
type row struct {
	name    string
	workers int // goroutines that do the task at the same time
	targets cost
	call    func(ctx context.Context, c column) error

	noDeadline bool // the context of the calls has no deadline
}

var rows = []row{
	{name: "Get", workers: 1, call: get, targets: targets(0.95, 1, 1)},
	{name: "Get, no deadline", workers: 1, call: get, noDeadline: true},
	{name: "Get, 64 goroutines", workers: 64, call: get, targets: targets(1.05, 0, 0)},
	{name: "List 100, short logs", workers: 1, call: list(false), targets: targets(since127(0.55, 0.72), 0, 0)},
	{name: "List 100, 13 KB logs", workers: 1, call: list(true), targets: targets(since127(0.40, 0.55), 0.60, 0)},
	{name: "iterate 1,000", workers: 1, call: iterate},
	{name: "error response", workers: 1, call: fail, targets: targets(1.05, 0, 0)},
}

func get(ctx context.Context, c column) error {
	_, err := c.get(ctx, recordID)
	return err
}

func list(log bool) func(ctx context.Context, c column) error {
	return func(ctx context.Context, c column) error {
		_, _, err := c.list(ctx, log)
		return err
	}
}

func iterate(ctx context.Context, c column) error {
	_, err := c.iterate(ctx, 10)
	return err
}

func fail(ctx context.Context, c column) error {
	_, err := c.fail(ctx)
	return err
}

// targets returns the targets for the time, for bytes and for allocations.
func targets(time, bytes, allocs float64) (c cost) {
	c[timeKind], c[allocatedBytes], c[allocations] = time, bytes, allocs
	return c
}

// since127 returns the target for the present version of Go. Since 1.27, encoding/json decodes faster.
func since127(before, since float64) float64 {
	if version.Compare(runtime.Version(), "go1.27") >= 0 {
		return since
	}
	return before
}

// run measures all rows and prints the tables. It returns an error if a target is missed.
func run(ctx context.Context, args []string, rows []row, stdout io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	rounds := flags.Int("rounds", 25, "`number` of rounds")
	slice := flags.Duration("slice", time.Millisecond, "approximate `duration` of a slice")
	file := flags.String("write", "", "write the tables to `file`, in place of the earlier ones of this version of Go")
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
		if results[i], err = measure(ctx, r, cols, *rounds, *slice); err != nil {
			return err
		}
	}
	tables, missed := report(rows, cols, results)
	if *file != "" {
		return errors.Join(missed, write(*file, tables))
	}
	_, err = io.WriteString(stdout, tables)
	return errors.Join(missed, err)
}
