package main

import (
	"context"
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
	flags.StringVar(&opts.AppID, "appId", "", "the reloads of this app; a TenantAdmin may leave it out")
	flags.StringVar((*string)(&opts.Filter), "filter", "", "select by a SCIM expression over status, partial and type, with eq")
	flags.IntVar(&opts.Limit, "limit", 0, "how many reloads a page has, 1 to 100 (the service's default is 10)")
	flags.BoolVar(&all, "all", false, "all pages, not only one")
	flags.BoolVar(&opts.Log, "log", false, "with the summary of the log: the rows read and stored")
	flags.BoolVar(&partial, "partial", false, "only partial reloads; --partial=false for only those that are not")
	flags.StringVar((*string)(&opts.Sort), "sort", "", "order by creationTime, status, startTime or endTime, with + or - before it")
	flags.StringVar(&opts.Next, "next", "", "the `cursor` of the next page")
	flags.StringVar(&opts.Prev, "prev", "", "the `cursor` of the previous page")
	cmd.MarkFlagsMutuallyExclusive("next", "prev")
	a.rawFlag(cmd)
	cmd.RunE = a.run(func(ctx context.Context, client *reloads.Client, _ []string) error {
		if flags.Changed("partial") {
			opts.Partial = &partial
		}
		if all && opts.Limit == 0 {
			opts.Limit = 100
		}
		a.withRows = opts.Log
		defer a.flush() // what there was before an error
		for page, err := range client.Pages(ctx, opts) {
			if err == nil {
				err = a.page(page)
			}
			if err != nil {
				return err
			}
			if !all {
				a.more = page.Next
				break
			}
		}
		return nil
	})
	return cmd
}

// page writes the reloads of a page.
func (o *output) page(page *reloads.Page) error {
	if o.raw {
		return o.writeRaw()
	}
	for i := range page.Reloads {
		if err := o.row(&page.Reloads[i]); err != nil {
			return err
		}
	}
	return nil
}

// flush writes the table of the rows.
func (o *output) flush() {
	if len(o.rows) > 0 {
		o.table(o.header(), o.rows)
	}
	if o.more != "" && o.people() {
		fmt.Fprintf(o.stderr, "There are more: --next '%s'\n", clean(o.more))
	}
	o.rows, o.more = nil, ""
}
