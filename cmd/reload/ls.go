package main

import (
	"cmp"
	"context"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

func newList(a *app) *cobra.Command {
	var opts reloads.ListOptions
	var all, partial bool
	limit := 10
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List reloads, newest first",
		Example: `  reload ls --appId 116dbfae-7fb9-4983-8e23-5ccd8c508722
  reload ls --all --filter 'status eq "FAILED"' --json`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&opts.AppID, "appId", "", "list the reloads of the app with this `ID`; required unless the user is a TenantAdmin")
	flags.StringVar((*string)(&opts.Filter), "filter", "", "SCIM `expression` over status, partial and type, with eq, and, or")
	flags.IntVar(&limit, "limit", limit, "maximum `number` of reloads to list, from as many pages as needed")
	flags.BoolVar(&all, "all", false, "list all reloads, without a limit")
	flags.BoolVar(&opts.Log, "log", false, "add the rows read and stored, from the summary of the log")
	flags.BoolVar(&partial, "partial", false, "list only partial reloads; with --partial=false, only full reloads")
	flags.StringVar((*string)(&opts.Sort), "sort", "", "sort by this `field`: creationTime, status, startTime or endTime, optionally prefixed with + or -")
	flags.StringVar(&opts.Next, "next", "", "the `cursor` of the next page; begin there")
	flags.StringVar(&opts.Prev, "prev", "", "the `cursor` of the previous page; list only that page")
	cmd.MarkFlagsMutuallyExclusive("next", "prev")
	cmd.MarkFlagsMutuallyExclusive("all", "limit")
	cmd.MarkFlagsMutuallyExclusive("all", "prev")
	a.rawFlag(cmd)
	a.completeApps(cmd)
	completeListFlags(cmd)
	cmd.RunE = a.run(func(ctx context.Context, client *reloads.Client, _ []string) error {
		if limit < 1 {
			return usagef("--limit must be at least 1; to list all reloads, use --all")
		}
		opts.PageSize = pageSize(limit)
		if all {
			limit, opts.PageSize = math.MaxInt, 100
		}
		if flags.Changed("partial") {
			opts.Partial = &partial
		}
		a.withRows = opts.Log
		err := a.list(ctx, client, opts, limit)
		return cmp.Or(err, a.flush()) // flush also writes the rows before an error
	})
	return cmd
}

// pageSize returns the size of the pages for a list of at most limit reloads. If possible, the pages end at the limit, so
// that the cursor of the next page goes on where the list ended.
func pageSize(limit int) int {
	for size := 100; size >= 50; size-- {
		if limit%size == 0 {
			return size
		}
	}
	return min(limit, 100)
}

// list writes at most limit reloads. With opts.Prev, it writes one page. With --raw, it writes whole pages.
func (o *output) list(ctx context.Context, client *reloads.Client, opts reloads.ListOptions, limit int) error {
	for page, err := range client.Pages(ctx, opts) {
		if err != nil {
			return err
		}
		cut := len(page.Reloads) > limit
		if cut {
			page.Reloads = page.Reloads[:limit]
		}
		if err := o.writePage(page); err != nil {
			return err
		}
		limit -= len(page.Reloads)
		if limit > 0 && opts.Prev == "" {
			continue
		}
		switch {
		case cut:
			o.footer = "There are more reloads: use a larger --limit, or --all"
		case page.Next != "":
			o.footer = fmt.Sprintf("Next page: add --next '%s'", page.Next)
		}
		return nil
	}
	return nil
}

// writePage writes the reloads of a page.
func (o *output) writePage(page *reloads.Page) error {
	if o.raw {
		return o.writeRaw()
	}
	for i := range page.Reloads {
		if err := o.writeRow(&page.Reloads[i]); err != nil {
			return err
		}
	}
	return nil
}

// flush writes the table of the collected rows.
func (o *output) flush() error {
	var err error
	if len(o.rows) > 0 {
		err = o.writeTable(o.columns(), o.rows)
	}
	if o.footer != "" && o.table() {
		_, _ = fmt.Fprintln(o.stderr, show.Line(o.footer))
	}
	o.rows, o.footer = nil, ""
	return err
}
