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
		Short: "Wait for the end of reloads",
		Long: `Wait for the end of reloads, and show them. The status is 0 if all succeeded. JSON and ids are written as the
reloads end.`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.run(func(ctx context.Context, client *reloads.Client, args []string) error {
			var rs []*reloads.Reload
			for _, id := range args {
				if id == "" {
					return usagef("an id is empty")
				}
				rs = append(rs, &reloads.Reload{ID: id})
			}
			live := a.live(a.stderr, a.stderrTerminal)
			live.say(fmt.Sprintf("0 of %d ended", len(rs)))
			var worst error
			ended, seen := 0, map[string]*reloads.Reload{}
			for result := range client.WaitAll(ctx, rs) {
				ended++
				live.say(fmt.Sprintf("%d of %d ended", ended, len(rs)))
				r := result.Reload
				switch {
				case r.Status == "": // never seen
				case a.people():
					seen[r.ID] = r
				default:
					var err error
					if live.hold(func() { err = a.row(r) }); err != nil {
						live.stop()
						return err
					}
				}
				if err := result.Err; err != nil {
					live.hold(func() { complain(err) })
					if exitStatus(err) > exitStatus(worst) {
						worst = &toldError{err}
					}
				}
			}
			live.stop()
			for _, id := range args {
				if r := seen[id]; r != nil {
					a.rows = append(a.rows, a.cells(r))
					delete(seen, id)
				}
			}
			a.flush()
			return worst
		}),
	}
}

func newWatch(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "watch ID",
		Short: "Show each status of a reload, until it ends",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.run(func(ctx context.Context, client *reloads.Client, args []string) error {
			live := a.live(a.stdout, a.stdoutTerminal)
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
					live.change(r)
				case r.Ended():
					err = a.row(r)
				}
				if err != nil {
					return err
				}
			}
			return last.Err()
		}),
	}
}
