package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/reloads-go/reloads"
)

func newList(a *app) *cobra.Command {
	var opts reloads.ListOptions
	var all, partial bool
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
	flags.IntVar(&opts.PageSize, "limit", 0, "number of reloads per page, 1 to 100 (service default 10)")
	flags.BoolVar(&all, "all", false, "list all pages instead of one")
	flags.BoolVar(&opts.Log, "log", false, "add the rows read and stored, from the summary of the log")
	flags.BoolVar(&partial, "partial", false, "list only partial reloads; with --partial=false, only full reloads")
	flags.StringVar((*string)(&opts.Sort), "sort", "", "sort by this `field`: creationTime, status, startTime or endTime, optionally prefixed with + or -")
	flags.StringVar(&opts.Next, "next", "", "the `cursor` of the next page")
	flags.StringVar(&opts.Prev, "prev", "", "the `cursor` of the previous page")
	cmd.MarkFlagsMutuallyExclusive("next", "prev")
	a.rawFlag(cmd)
	cmd.RunE = a.run(func(ctx context.Context, client *reloads.Client, _ []string) (err error) {
		if flags.Changed("partial") {
			opts.Partial = &partial
		}
		if all && opts.PageSize == 0 {
			opts.PageSize = 100
		}
		a.withRows = opts.Log
		defer func() { err = errors.Join(err, a.flush()) }() // also writes the rows before an error
		for page, err := range client.Pages(ctx, opts) {
			if err == nil {
				err = a.writePage(page)
			}
			if err != nil {
				return err
			}
			if !all {
				a.nextCursor = page.Next
				break
			}
		}
		return nil
	})
	return cmd
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
	if o.nextCursor != "" && o.table() {
		fmt.Fprintf(o.stderr, "Next page: --next '%s'\n", sanitize(o.nextCursor))
	}
	o.rows, o.nextCursor = nil, ""
	return err
}
