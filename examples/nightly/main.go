// Nightly reloads many apps as fast as the rate limits of the tenant allow, and reports the result of each.
//
//	go run ./examples/nightly [flags] [APP_ID...]
//
// The app IDs are the arguments and the lines of the file given with -f; - means standard input. The program uses the
// tenant in QLIK_TENANT_URL with the API key in QLIK_API_KEY. If QLIK_TENANT_URL is not set, it uses a fake tenant in the
// process. The fake tenant has the given apps, or 12 apps if none is given. Of every 12 apps, the reload of one fails.
//
// The exit status is 0 if all reloads succeeded, 1 if a reload was refused, failed or did not finish in time, 2 if the
// command line or the environment is invalid, and 3 if the tenant was unreachable, responded with a server error or refused
// the API key, or if the summary could not be written.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// environment is the environment of the program. Tests replace it.
type environment struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       bool // stderr is a terminal
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	info, err := os.Stderr.Stat()
	os.Exit(run(ctx, os.Args[1:], environment{
		os.Getenv, os.Stdin, os.Stdout, os.Stderr, err == nil && info.Mode()&os.ModeCharDevice != 0,
	}))
}

// run runs the program and returns the exit status.
func run(ctx context.Context, args []string, env environment) int {
	flags := flag.NewFlagSet("nightly", flag.ContinueOnError)
	flags.SetOutput(env.stderr)
	file := flags.String("f", "", "read app IDs from this file, one per line; - means standard input")
	format := flags.String("summary", "text", "format of the summary: text, json or junit")
	timeout := flags.Duration("timeout", 0, "stop after this time; 0 means no limit")
	attach := flags.Bool("attach", false, "if an app has a pending reload, wait for it instead of failing")
	abort := flags.Bool("cancel-on-abort", false, "on timeout or interrupt, cancel the reloads that are not finished")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	usage := func(err error) int {
		fmt.Fprintln(env.stderr, "nightly:", err)
		return 2
	}
	write, ok := summaries[*format]
	if !ok {
		return usage(fmt.Errorf("-summary %s: must be text, json or junit", *format))
	}
	if *timeout < 0 {
		return usage(fmt.Errorf("-timeout %v: must not be negative", *timeout))
	}
	apps, err := readApps(flags.Args(), *file, env.stdin)
	if err != nil {
		return usage(err)
	}
	client, apps, err := connect(env.getenv, apps)
	if err != nil {
		return usage(err)
	}
	if *timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *timeout)
		defer cancel()
	}
	progress := newProgress(env.stderr, env.terminal, len(apps))
	opts := []reloads.RunOption{reloads.OnChange(progress.change)}
	if *attach {
		opts = append(opts, reloads.AttachToPending())
	}
	if *abort {
		opts = append(opts, reloads.CancelOnAbort())
	}
	var reqs []reloads.Request
	for _, app := range apps {
		reqs = append(reqs, reloads.Request{AppID: app})
	}
	began := time.Now()
	var results []reloads.Result
	for r := range client.RunAll(ctx, reqs, opts...) {
		progress.result(r)
		results = append(results, r)
	}
	progress.stop()
	if err := write(env.stdout, results, time.Since(began)); err != nil {
		fmt.Fprintln(env.stderr, "nightly:", err)
		return 3
	}
	return status(results)
}

// readApps returns the app IDs in the arguments and in the file, without duplicates. It ignores empty lines and lines that
// begin with #.
func readApps(args []string, file string, stdin io.Reader) ([]string, error) {
	apps := slices.Clone(args)
	if file != "" {
		in := stdin
		if file != "-" {
			f, err := os.Open(file)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			in = f
		}
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			if line := strings.TrimSpace(lines.Text()); line != "" && line[0] != '#' {
				apps = append(apps, line)
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("-f %s: %w", file, err)
		}
		if len(apps) == 0 {
			return nil, fmt.Errorf("-f %s: the file contains no app ID", file)
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(apps, func(app string) bool {
		again := seen[app]
		seen[app] = true
		return again
	}), nil
}

// connect returns a client of the tenant in QLIK_TENANT_URL, or of a fake tenant if that is not set. It also returns the
// apps to reload.
func connect(getenv func(string) string, apps []string) (*reloads.Client, []string, error) {
	if url := getenv("QLIK_TENANT_URL"); url != "" {
		if len(apps) == 0 {
			return nil, nil, errors.New("no app ID: use arguments or -f")
		}
		if getenv("QLIK_API_KEY") == "" {
			return nil, nil, errors.New("QLIK_API_KEY is not set")
		}
		client, err := reloads.NewClient(url, reloads.APIKey(getenv("QLIK_API_KEY")))
		if err != nil {
			err = fmt.Errorf("QLIK_TENANT_URL or QLIK_API_KEY is invalid: %w", err)
		}
		return client, apps, err
	}
	if len(apps) == 0 {
		for i := range 12 {
			apps = append(apps, fmt.Sprintf("116dbfae-7fb9-4983-8e23-5ccd8c5087%02d", i+1))
		}
	}
	tenant := reloadstest.NewTenant()
	for i, app := range apps {
		script := reloadstest.App{QueueFor: time.Second, RunFor: time.Duration(1+i%4) * time.Second}
		if i%12 == 11 {
			script.Outcome, script.ErrorMessage = reloads.StatusFailed, "the data source did not respond"
		}
		tenant.AddApp(app, script)
	}
	return tenant.NewClient(), apps, nil
}

// status returns the exit status for the results.
func status(results []reloads.Result) (status int) {
	for _, r := range results {
		if r.Err == nil {
			continue
		}
		status = max(status, 1)
		var reloadErr *reloads.ReloadError
		var apiErr *reloads.Error
		switch {
		case errors.As(r.Err, &reloadErr), errors.Is(r.Err, reloads.ErrNotStarted), errors.Is(r.Err, context.DeadlineExceeded),
			errors.Is(r.Err, context.Canceled), errors.Is(r.Err, reloads.ErrBadRequest):
		case errors.Is(r.Err, reloads.ErrUnauthorized), errors.Is(r.Err, reloads.ErrServer), !errors.As(r.Err, &apiErr):
			status = 3
		}
	}
	return status
}
