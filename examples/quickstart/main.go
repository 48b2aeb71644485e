// Quickstart triggers the reload of an app, shows its status while it lasts, then its log and the app's history.
//
//	go run ./examples/quickstart
//
// runs against a fake tenant in the process. With QLIK_TENANT_URL and QLIK_API_KEY set,
//
//	go run ./examples/quickstart -app 116dbfae-7fb9-4983-8e23-5ccd8c508722
//
// does the same on a real one. The exit status is 0 if the reload succeeded, 1 if it did not, 2 for bad usage.
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

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer, terminal bool) int {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	app := flags.String("app", "", "reload this app of the tenant in QLIK_TENANT_URL, with the key in QLIK_API_KEY")
	fail := flags.Bool("fail", false, "let the fake tenant's reload fail")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() > 0 || *app != "" && *fail {
		fmt.Fprintln(stderr, "quickstart: there are no arguments, and -fail is for the fake tenant, without -app")
		return 2
	}
	var client *reloads.Client
	if *app == "" {
		client, *app = fakeTenant(*fail)
	} else {
		var err error
		client, err = reloads.NewClient(getenv("QLIK_TENANT_URL"), reloads.APIKey(getenv("QLIK_API_KEY")))
		if err != nil {
			fmt.Fprintln(stderr, "quickstart: QLIK_TENANT_URL and QLIK_API_KEY must name a tenant and a key:", err)
			return 2
		}
	}
	if err := show(ctx, client, *app, stdout, terminal); err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
		return 1
	}
	return 0
}

// fakeTenant has one app, whose reloads take a few seconds.
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

// show triggers a reload and shows it until it has ended, then its log and the app's history.
func show(ctx context.Context, client *reloads.Client, app string, w io.Writer, terminal bool) error {
	reload, err := client.Trigger(ctx, reloads.Request{AppID: app})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "reload %s of app %s\n", reload.ID, reload.AppID)
	reload, err = follow(ctx, client, reload, w, terminal)
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

// follow shows each status of the reload with the time since it was triggered: on a terminal in one line that is
// written over, elsewhere a line for each.
func follow(ctx context.Context, client *reloads.Client, reload *reloads.Reload, w io.Writer, terminal bool) (*reloads.Reload, error) {
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
	line := func() {
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
			line()
		case s, ok := <-states:
			if !ok || s.err != nil {
				return reload, s.err
			}
			reload = s.reload
			line()
		}
	}
}

// isTerminal reports whether f is a terminal, or another device.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
