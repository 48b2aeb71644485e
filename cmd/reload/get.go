package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/reloads-go/reloads"
)

func newGet(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get ID",
		Short: "Show a reload",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: a.completeReloads(1, ""),
		RunE: a.run(func(ctx context.Context, client *reloads.Client, args []string) error {
			r, err := client.Get(ctx, args[0])
			if err != nil {
				return err
			}
			return a.writeReload(r)
		}),
	}
	a.rawFlag(cmd)
	return cmd
}

func newCancel(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cancel ID",
		Short: "Cancel a reload",
		Long: `Cancel a reload. A queued reload becomes CANCELED immediately. A running reload becomes CANCELING,
and CANCELED some time later. Canceling a finished reload is an error.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeReloads(1, reloads.StatusIs(reloads.StatusQueued, reloads.StatusReloading)),
		RunE: a.run(func(ctx context.Context, client *reloads.Client, args []string) error {
			status, err := client.Cancel(ctx, args[0])
			if err != nil {
				return err
			}
			return a.writeCancel(args[0], status)
		}),
	}
	a.rawFlag(cmd)
	return cmd
}
