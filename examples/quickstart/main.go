// Quickstart triggers a reload of an app and shows its status until it finishes. Then it shows the log of the reload and
// the history of the app. Without flags, it uses a fake tenant in the process:
//
//	go run ./examples/quickstart
//
// With -app, it uses the tenant in QLIK_TENANT_URL with the API key in QLIK_API_KEY:
//
//	go run ./examples/quickstart -app 116dbfae-7fb9-4983-8e23-5ccd8c508722
//
// The exit status is 0 if the reload succeeded, 1 if there was an error or the reload did not succeed, and 2 if the flags
// or the environment variables are invalid.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr, isTerminal(os.Stdout)))
}

// run runs the program and returns the exit status.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer, terminal bool) int {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	app := flags.String("app", "", "reload this app of the tenant in QLIK_TENANT_URL with the key in QLIK_API_KEY")
	fail := flags.Bool("fail", false, "make the reload on the fake tenant fail")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() > 0 || *app != "" && *fail {
		fmt.Fprintln(stderr, "quickstart: arguments are not supported, and -fail cannot be combined with -app")
		return 2
	}
	var client *reloads.Client
	if *app == "" {
		client, *app = fakeTenant(*fail)
	} else {
		var err error
		if client, err = connect(getenv); err != nil {
			fmt.Fprintln(stderr, "quickstart:", err)
			return 2
		}
	}
	if err := show(ctx, client, *app, stdout, terminal); err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
		return 1
	}
	return 0
}

// connect returns a client of the tenant in the environment.
func connect(getenv func(string) string) (*reloads.Client, error) {
	for _, name := range []string{"QLIK_TENANT_URL", "QLIK_API_KEY"} {
		if getenv(name) == "" {
			return nil, fmt.Errorf("%s is not set", name)
		}
	}
	client, err := reloads.NewClient(getenv("QLIK_TENANT_URL"), reloads.APIKey(getenv("QLIK_API_KEY")))
	if err != nil {
		return nil, fmt.Errorf("QLIK_TENANT_URL or QLIK_API_KEY is invalid: %w", err)
	}
	return client, nil
}

// fakeTenant returns a client of a fake tenant, and the ID of its only app. The reloads of the app take 4 s.
func fakeTenant(fail bool) (*reloads.Client, string) {
	const id = "116dbfae-7fb9-4983-8e23-5ccd8c508722"
	app := reloadstest.App{QueueFor: time.Second, RunFor: 3 * time.Second}
	if fail {
		app.Outcome = reloads.StatusFailed
		app.ErrorCode = "EngineConnectionError"
		app.ErrorMessage = "failed to complete reload: unexpected EOF"
	}
	tenant := reloadstest.NewTenant()
	tenant.AddApp(id, app)
	return tenant.NewClient(), id
}

// show triggers a reload and shows its status until it finishes, then its log and the history of the app.
func show(ctx context.Context, client *reloads.Client, app string, w io.Writer, terminal bool) error {
	reload, err := client.Trigger(ctx, reloads.Request{AppID: app})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "reload %s of app %s\n", reload.ID, reload.AppID)
	reload, err = watch(ctx, client, reload, w, terminal)
	if err != nil {
		return err
	}
	if reload.Log != "" {
		fmt.Fprintf(w, "\nlog:\n  %s\n", strings.ReplaceAll(strings.TrimSpace(reload.Log), "\n", "\n  "))
	}
	fmt.Fprintln(w, "\nhistory:")
	page, err := client.List(ctx, reloads.ListOptions{AppID: app, PageSize: 5})
	if err != nil {
		return err
	}
	for _, r := range page.Reloads {
		fmt.Fprintf(w, "  %s  %s  %-9s  queued %v, ran %v\n", r.CreationTime.Format(time.RFC3339), r.ID, r.Status,
			r.QueueTime().Round(time.Second), r.RunTime().Round(time.Second))
	}
	return reload.Err()
}

// watch shows the status of the reload with the elapsed time. On a terminal, it keeps one line up to date; otherwise it
// writes a line for each status. It returns the most recent state of the reload.
func watch(ctx context.Context, client *reloads.Client, reload *reloads.Reload, w io.Writer, terminal bool) (*reloads.Reload, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type state struct {
		reload *reloads.Reload
		err    error
	}
	states := make(chan state)
	go func() {
		defer close(states)
		for r, err := range client.Watch(ctx, reload.ID) {
			select {
			case states <- state{r, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	began := time.Now()
	writeStatus := func() {
		elapsed := time.Since(began).Round(100 * time.Millisecond).Seconds()
		if terminal {
			fmt.Fprintf(w, "\r\x1b[K%6.1fs  %s", elapsed, reload.Status)
		} else {
			fmt.Fprintf(w, "%6.1fs  %s\n", elapsed, reload.Status)
		}
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	if !terminal {
		tick.Stop()
	} else {
		defer fmt.Fprintln(w)
	}
	for {
		select {
		case <-ctx.Done():
			return reload, ctx.Err()
		case <-tick.C:
			writeStatus()
		case s, ok := <-states:
			if !ok || s.err != nil {
				return reload, s.err
			}
			reload = s.reload
			writeStatus()
		}
	}
}

// isTerminal reports whether f is a terminal or another character device.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
