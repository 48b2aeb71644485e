// Nightly reloads many apps, as fast as the tenant's limits allow, and says what became of each.
//
//	go run ./examples/nightly [flags] [APP_ID...]
//
// The apps are the arguments, and the lines of the file that -f names; - is standard input. QLIK_TENANT_URL and
// QLIK_API_KEY name the tenant. Without QLIK_TENANT_URL it is a fake one in the process, which has whatever apps are
// asked for, or a dozen of its own; one of each dozen fails.
//
// The exit status is 0 if all reloads succeeded, 1 if some did not, 2 for bad usage, and 3 if the tenant could not be
// talked to.
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

// environment is what the program has of the outside.
type environment struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       bool // stderr is one
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	info, err := os.Stderr.Stat()
	os.Exit(run(ctx, os.Args[1:], environment{
		os.Getenv, os.Stdin, os.Stdout, os.Stderr, err == nil && info.Mode()&os.ModeCharDevice != 0,
	}))
}

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, env environment) int {
	flags := flag.NewFlagSet("nightly", flag.ContinueOnError)
	flags.SetOutput(env.stderr)
	file := flags.String("f", "", "read app ids from this file, one a line; - is standard input")
	format := flags.String("summary", "text", "write the summary as text, json or junit")
	timeout := flags.Duration("timeout", 0, "give up after this time; 0 means never")
	attach := flags.Bool("attach", false, "wait for a reload that is pending already, instead of failing")
	abort := flags.Bool("cancel-on-abort", false, "cancel what is not over when giving up")
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
	if !ok || *timeout < 0 {
		return usage(fmt.Errorf("-summary %s -timeout %v: must be text, json or junit, and a time", *format, *timeout))
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

// readApps collects the app ids of the arguments and of the file. Empty lines, and those that begin with #, are left
// out, and an id that comes again.
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
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		if len(apps) == 0 {
			return nil, fmt.Errorf("there is no app id in %s", file)
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(apps, func(app string) bool {
		again := seen[app]
		seen[app] = true
		return again
	}), nil
}

// connect returns a client of the tenant that the environment names, or of a fake one.
func connect(getenv func(string) string, apps []string) (*reloads.Client, []string, error) {
	if url := getenv("QLIK_TENANT_URL"); url != "" {
		if len(apps) == 0 {
			return nil, nil, errors.New("there is no app id, neither as an argument nor in a file (-f)")
		}
		client, err := reloads.NewClient(url, reloads.APIKey(getenv("QLIK_API_KEY")))
		if err != nil {
			err = fmt.Errorf("QLIK_TENANT_URL and QLIK_API_KEY must name a tenant and a key: %w", err)
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
			script.Outcome, script.ErrorMessage = reloads.StatusFailed, "the data source did not answer"
		}
		tenant.AddApp(app, script)
	}
	return tenant.NewClient(), apps, nil
}

// status is the exit status.
func status(results []reloads.Result) (status int) {
	for _, r := range results {
		if r.Err == nil {
			continue
		}
		status = max(status, 1)
		var ended *reloads.ReloadError
		var refused *reloads.Error
		switch {
		case errors.As(r.Err, &ended), errors.Is(r.Err, reloads.ErrNotStarted), errors.Is(r.Err, context.DeadlineExceeded),
			errors.Is(r.Err, context.Canceled), errors.Is(r.Err, reloads.ErrBadRequest):
		case errors.Is(r.Err, reloads.ErrUnauthorized), errors.Is(r.Err, reloads.ErrServer), !errors.As(r.Err, &refused):
			status = 3
		}
	}
	return status
}
