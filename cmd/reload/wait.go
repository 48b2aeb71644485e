package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

func newWait(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "wait ID...",
		Short: "Wait for reloads",
		Long: `Wait until the given reloads finish, then show them. The exit status is 0 if all succeeded, and
otherwise the highest one that applies to any of them. With --json or --quiet, each reload is
written as soon as it finishes.`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.completeReloads(anyNumber, ""),
		RunE: a.run(func(ctx context.Context, client *reloads.Client, args []string) error {
			var rs []*reloads.Reload
			for _, id := range args {
				if id == "" {
					return usagef("a reload ID is empty")
				}
				rs = append(rs, &reloads.Reload{ID: id})
			}
			rows, worst := a.waitAll(ctx, client, rs)
			for _, id := range args {
				id = strings.ToLower(id) // the service may spell it differently
				if r := rows[id]; r != nil {
					a.rows = append(a.rows, a.cells(r))
					delete(rows, id) // an ID may be given twice
				}
			}
			return cmp.Or(worst, a.flush())
		}),
	}
}

// waitAll waits for reloads. It writes their errors, and each reload as soon as it finishes; if the format is a table, it
// returns them instead, by ID in lower case. The error is the one with the highest exit status.
func (a *app) waitAll(ctx context.Context, client *reloads.Client, rs []*reloads.Reload) (rows map[string]*reloads.Reload, worst error) {
	live := a.newLive(a.stderr, a.stderrTerminal)
	defer live.stop()
	finished := 0
	count := func() { live.setStatus(fmt.Sprintf("%d of %d finished", finished, len(rs))) }
	count()
	rows = map[string]*reloads.Reload{}
	onChange := reloads.OnChange(func(_ reloads.Request, r *reloads.Reload) {
		if r.Status != "" { // it was retrieved
			live.changeOf(r)
		}
	})
	for result := range client.WaitAll(ctx, rs, onChange) {
		finished++
		count()
		r := result.Reload
		switch {
		case r.Status == "": // it was never retrieved
		case a.table():
			rows[strings.ToLower(r.ID)] = r
		default:
			_ = live.write(func() { _ = a.writeRow(r) }) // stdout keeps the error
		}
		if result.Err == nil {
			continue
		}
		err := explain(ctx, result.Err)
		_ = live.write(func() { printError(a.stderr, err) })
		if exitStatus(err) > exitStatus(worst) {
			worst = &reportedError{err}
		}
	}
	return rows, worst
}

// changeOf writes a line for the new status of one of several reloads. It leaves the status line as it is.
func (l *live) changeOf(r *reloads.Reload) {
	_ = l.write(func() {
		below := l.status
		l.status = statusCell(r.Status)
		fmt.Fprintf(l.w, "%s  %s\n", l.line(), show.Line(r.ID))
		l.status = below
	})
}

func newWatch(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "watch ID",
		Short: "Show each status of a reload until it finishes",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: a.completeReloads(1, ""),
		RunE: a.run(func(ctx context.Context, client *reloads.Client, args []string) error {
			live := a.newLive(a.stdout, a.stdoutTerminal && a.table())
			defer live.stop()
			var last *reloads.Reload
			for r, err := range client.Watch(ctx, args[0]) {
				if err != nil {
					return err
				}
				last = r
				switch { // stdout keeps the errors
				case a.json:
					_ = a.writeJSON(r)
				case !a.quiet:
					_ = live.change(r)
				case r.Ended():
					_ = a.writeRow(r)
				}
			}
			return last.Err()
		}),
	}
}
