package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/reloads-go/reloads"
)

func newWait(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "wait ID...",
		Short: "Wait for reloads",
		Long: `Wait until the given reloads finish, then show them. The exit status is 0 if all succeeded. With --json or --quiet,
each reload is written as soon as it finishes.`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.run(func(ctx context.Context, client *reloads.Client, args []string) error {
			var rs []*reloads.Reload
			for _, id := range args {
				if id == "" {
					return usagef("a reload ID is empty")
				}
				rs = append(rs, &reloads.Reload{ID: id})
			}
			live := a.newLive(a.stderr, a.stderrTerminal)
			live.setStatus(fmt.Sprintf("0 of %d finished", len(rs)))
			var worst error
			finished, rows := 0, map[string]*reloads.Reload{}
			for result := range client.WaitAll(ctx, rs) {
				finished++
				live.setStatus(fmt.Sprintf("%d of %d finished", finished, len(rs)))
				r := result.Reload
				switch {
				case r.Status == "": // it was never retrieved
				case a.table():
					rows[r.ID] = r
				default:
					var err error
					_ = live.write(func() { err = a.writeRow(r) })
					if err != nil {
						live.stop()
						return err
					}
				}
				if err := result.Err; err != nil {
					_ = live.write(func() { printError(err) })
					if exitStatus(err) > exitStatus(worst) {
						worst = &reportedError{err}
					}
				}
			}
			live.stop()
			for _, id := range args {
				if r := rows[id]; r != nil {
					a.rows = append(a.rows, a.cells(r))
					delete(rows, id) // an ID may be given twice
				}
			}
			if err := a.flush(); err != nil {
				return err
			}
			return worst
		}),
	}
}

func newWatch(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "watch ID",
		Short: "Show each status of a reload until it finishes",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.run(func(ctx context.Context, client *reloads.Client, args []string) error {
			live := a.newLive(a.stdout, a.stdoutTerminal)
			defer live.stop()
			var last *reloads.Reload
			for r, err := range client.Watch(ctx, args[0]) {
				if err != nil {
					return err
				}
				last = r
				switch {
				case a.json:
					err = a.writeJSON(r)
				case !a.quiet:
					err = live.change(r)
				case r.Ended():
					err = a.writeRow(r)
				}
				if err != nil {
					return err
				}
			}
			return last.Err()
		}),
	}
}
