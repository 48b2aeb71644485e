package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reloads-go/reloads"
)

func newCreate(a *app) *cobra.Command {
	var req reloads.Request
	var wait, attach, abort bool
	cmd := &cobra.Command{
		Use:   "create --appId ID",
		Short: "Reload an app",
		Long: `Reload an app.

With --wait, the command waits until the reload finishes. The exit status is 0 if it succeeded, and 1 if it did not.`,
		Example: `  reload create --appId 116dbfae-7fb9-4983-8e23-5ccd8c508722 --wait --timeout 1h
  reload create --appId 116dbfae-7fb9-4983-8e23-5ccd8c508722 --variables vFrom=2026-01-01,vTo=2026-02-01`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		PreRunE: func(*cobra.Command, []string) error {
			if !wait && (attach || abort) {
				return usagef("--attach and --cancel-on-abort require --wait")
			}
			return nil
		},
	}
	// The error of pflag quotes the value, but variables may contain secrets.
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		var invalid *pflag.InvalidValueError
		if errors.As(err, &invalid) && invalid.GetFlag().Name == "variables" {
			return errors.New("--variables must be k=v pairs separated by commas")
		}
		return err
	})
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&req.AppID, "appId", "", "`ID` of the app to reload (required)")
	flags.BoolVar(&req.Partial, "partial", false, "make it a partial reload")
	flags.IntVar(&req.Weight, "weight", 0, "priority from 1 to 10; higher weights are scheduled first (service default 1)")
	flags.StringToStringVar(&req.Variables, "variables", nil, "variables of the load script as `k=v` pairs separated by commas; can be repeated")
	flags.BoolVar(&wait, "wait", false, "wait until the reload finishes")
	flags.BoolVar(&attach, "attach", false, "if the app has a pending reload, wait for it instead of failing")
	flags.BoolVar(&abort, "cancel-on-abort", false, "cancel the reload on timeout or interrupt")
	a.rawFlag(cmd)
	_ = cmd.MarkFlagRequired("appId") // fails only for an unknown flag
	cmd.RunE = a.run(func(ctx context.Context, client *reloads.Client, _ []string) error {
		if !wait {
			r, err := client.Trigger(ctx, req)
			if err != nil {
				return err
			}
			return a.writeReload(r)
		}
		live := a.newLive(a.stderr, a.stderrTerminal)
		opts := []reloads.RunOption{reloads.OnChange(func(_ reloads.Request, r *reloads.Reload) { _ = live.change(r) })}
		if attach {
			opts = append(opts, reloads.AttachToPending())
		}
		if abort {
			opts = append(opts, reloads.CancelOnAbort())
		}
		r, err := client.Run(ctx, req, opts...)
		live.stop()
		if r != nil {
			if err := a.writeReload(r); err != nil {
				return err
			}
		}
		return err
	})
	return cmd
}
