package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

// creation are the flags of the command create.
type creation struct {
	req                 reloads.Request
	wait, attach, abort bool
}

func newCreate(a *app) *cobra.Command {
	var c creation
	cmd := &cobra.Command{
		Use:   "create --appId ID",
		Short: "Reload an app",
		Long: `Reload an app.

With --wait, the command waits until the reload finishes. The exit status is 0 if it succeeded, and
1 if it did not. The ID of the reload is written as soon as it is known: with --quiet to standard
output, otherwise with the progress to standard error.`,
		Example: `  reload create --appId 116dbfae-7fb9-4983-8e23-5ccd8c508722 --wait --timeout 1h
  reload create --appId 116dbfae-7fb9-4983-8e23-5ccd8c508722 --variables vYear=2026,vMonth=11`,
		Args: appByFlag, ValidArgsFunction: cobra.NoFileCompletions,
		PreRunE: func(*cobra.Command, []string) error {
			if !c.wait && (c.attach || c.abort) {
				return usagef("--attach and --cancel-on-abort require --wait")
			}
			return nil
		},
		RunE: a.run(func(ctx context.Context, client *reloads.Client, _ []string) error {
			err := a.create(ctx, client, &c)
			if errors.Is(err, reloads.ErrReloadPending) {
				id := pendingReload(ctx, client, c.req.AppID)
				return withHint(err, "to wait for the pending reload, add --wait --attach, or run: reload wait %s", id)
			}
			return err
		}),
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&c.req.AppID, "appId", "", "`ID` of the app to reload (required)")
	flags.BoolVar(&c.req.Partial, "partial", false, "make it a partial reload")
	flags.IntVar(&c.req.Weight, "weight", 0, "priority from 1 to 10; higher weights are scheduled first (service default 1)")
	flags.StringToStringVar(&c.req.Variables, "variables", nil, "variables of the load script as `k=v` pairs separated by commas; can be repeated")
	flags.Lookup("variables").DefValue = "" // instead of []
	flags.BoolVar(&c.wait, "wait", false, "wait until the reload finishes")
	flags.BoolVar(&c.attach, "attach", false, "if the app has a pending reload, wait for it instead of failing")
	flags.BoolVar(&c.abort, "cancel-on-abort", false, "cancel the reload on timeout or interrupt, unless it was pending before")
	a.rawFlag(cmd)
	_ = cmd.MarkFlagRequired("appId") // fails only for an unknown flag
	a.completeApps(cmd)
	return cmd
}

// appByFlag refuses arguments, because qlik-cli has the app in a flag, too.
func appByFlag(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("the app must be in a flag: reload create --appId %s", args[0])
	}
	return errors.New("the app must be in the flag --appId; for several apps, use reload run APP_ID")
}

// create triggers a reload and, with --wait, waits for it.
func (a *app) create(ctx context.Context, client *reloads.Client, c *creation) error {
	if c.wait {
		return a.createAndWait(ctx, client, c)
	}
	r, err := client.Trigger(ctx, c.req)
	if err != nil {
		return err
	}
	return a.writeReload(r)
}

// createAndWait triggers a reload and waits until it has finished.
func (a *app) createAndWait(ctx context.Context, client *reloads.Client, c *creation) error {
	live := a.newLive(a.stderr, a.stderrTerminal)
	announced := false
	opts := []reloads.RunOption{reloads.OnChange(func(_ reloads.Request, r *reloads.Reload) {
		if !announced && a.quiet {
			_ = a.writeRow(r) // stdout keeps the error
		} else if !announced {
			_ = live.write(func() { _, _ = fmt.Fprintf(a.stderr, "Reload %s of app %s\n", show.Line(r.ID), show.Line(r.AppID)) })
		}
		announced = true
		_ = live.change(r)
	})}
	if c.attach {
		opts = append(opts, reloads.AttachToPending())
	}
	if c.abort {
		opts = append(opts, reloads.CancelOnAbort())
	}
	r, err := client.Run(ctx, c.req, opts...)
	live.stop()
	if r == nil {
		return err
	}
	if err != nil && !r.Ended() && r.Status != reloads.StatusCanceling {
		err = withHint(err, "the reload goes on; to wait for it, run: reload wait %s", r.ID)
	}
	if a.quiet && announced {
		return err
	}
	return cmp.Or(err, a.writeReload(r))
}

// pendingReload returns the ID of the pending reload of an app, or "ID" if it is not found soon.
func pendingReload(ctx context.Context, client *reloads.Client, appID string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	active := reloads.StatusIs(reloads.StatusQueued, reloads.StatusReloading, reloads.StatusCanceling)
	page, err := client.List(ctx, reloads.ListOptions{AppID: appID, Filter: active})
	if err != nil || len(page.Reloads) == 0 {
		return "ID"
	}
	return page.Reloads[0].ID
}
