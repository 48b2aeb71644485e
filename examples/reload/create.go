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

With --wait the command ends when the reload has: with status 0 if it succeeded, 1 if it did not.`,
		Example: `  reload create --appId 116dbfae-7fb9-4983-8e23-5ccd8c508722 --wait --timeout 1h
  reload create --appId 116dbfae-7fb9-4983-8e23-5ccd8c508722 --variables vFrom=2026-01-01,vTo=2026-02-01`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		PreRunE: func(*cobra.Command, []string) error {
			if !wait && (attach || abort) {
				return usagef("--attach and --cancel-on-abort need --wait")
			}
			return nil
		},
	}
	// Variables may hold secrets, which pflag's error would quote.
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		var invalid *pflag.InvalidValueError
		if errors.As(err, &invalid) && invalid.GetFlag().Name == "variables" {
			return errors.New("--variables must be k=v, with commas between")
		}
		return err
	})
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&req.AppID, "appId", "", "the app to reload (required)")
	flags.BoolVar(&req.Partial, "partial", false, "a partial reload")
	flags.IntVar(&req.Weight, "weight", 0, "1 to 10: the higher, the sooner it is scheduled (the service's default is 1)")
	flags.StringToStringVar(&req.Variables, "variables", nil, "variables of the load script, as `k=v`,…; may be given again")
	flags.BoolVar(&wait, "wait", false, "wait for the end of the reload")
	flags.BoolVar(&attach, "attach", false, "wait for the app's pending reload if there is one, instead of failing")
	flags.BoolVar(&abort, "cancel-on-abort", false, "cancel the reload if the time is over or the command is interrupted")
	a.rawFlag(cmd)
	_ = cmd.MarkFlagRequired("appId") // it exists
	cmd.RunE = a.run(func(ctx context.Context, client *reloads.Client, _ []string) error {
		if !wait {
			r, err := client.Trigger(ctx, req)
			if err != nil {
				return err
			}
			return a.one(r)
		}
		live := a.live(a.stderr, a.stderrTerminal)
		opts := []reloads.RunOption{reloads.OnChange(func(_ reloads.Request, r *reloads.Reload) { live.change(r) })}
		if attach {
			opts = append(opts, reloads.AttachToPending())
		}
		if abort {
			opts = append(opts, reloads.CancelOnAbort())
		}
		r, err := client.Run(ctx, req, opts...)
		live.stop()
		if r != nil {
			if err := a.one(r); err != nil {
				return err
			}
		}
		return err
	})
	return cmd
}
