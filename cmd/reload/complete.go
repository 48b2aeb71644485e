package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/progress"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

// completionTimeout limits how long the shell waits for completions from the tenant.
const completionTimeout = 2 * time.Second

// newest returns the tenant's newest reloads for a completion. It returns none if that fails or takes too long, because a
// completion must not write errors into the command line.
func (a *app) newest(filter reloads.Filter) []reloads.Reload {
	if a.keyFile == "-" {
		return nil // standard input belongs to the shell
	}
	s := a.settings
	s.retry, s.verbose, s.silent = 0, false, true
	client, _, err := s.connect(os.Getenv, newFakeTenant, a.output.record)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	page, err := client.List(ctx, reloads.ListOptions{PageSize: 100, Filter: filter})
	if err != nil {
		return nil
	}
	return page.Reloads
}

// completeApps completes the flag --appId with the apps of the newest reloads.
func (a *app) completeApps(cmd *cobra.Command) {
	complete := func(cmd *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return a.completeAppArgs(cmd, nil, word)
	}
	_ = cmd.RegisterFlagCompletionFunc("appId", complete) // fails only for an unknown flag
}

// completeAppArgs completes arguments with the apps of the newest reloads, without those that are given.
func (a *app) completeAppArgs(_ *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var apps []cobra.Completion
	for _, r := range a.newest("") {
		if completable(r.AppID) && !slices.Contains(apps, r.AppID) && !slices.Contains(given, r.AppID) {
			apps = append(apps, r.AppID)
		}
	}
	return apps, cobra.ShellCompDirectiveNoFileComp
}

// completeRunFlags completes the flags of run. The flags with files are left to the shell.
func completeRunFlags(cmd *cobra.Command) {
	var modes []cobra.Completion
	for _, mode := range []progress.Mode{progress.Auto, progress.Live, progress.Plain, progress.JSON, progress.None} {
		modes = append(modes, mode.String())
	}
	// These fail only for an unknown flag.
	_ = cmd.RegisterFlagCompletionFunc("progress", cobra.FixedCompletions(modes, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"max-active", "rerun", "once", "step-timeout"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// unquoteFlags removes the quotes around the names of values, which completions would show.
func unquoteFlags(cmd *cobra.Command) {
	unquote := func(f *pflag.Flag) { _, f.Usage = pflag.UnquoteUsage(f) }
	cmd.PersistentFlags().VisitAll(unquote)
	cmd.Flags().VisitAll(unquote)
	for _, child := range cmd.Commands() {
		unquoteFlags(child)
	}
}

// completeContexts completes the flag --context with the names in the file of qlik-cli.
func completeContexts(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	file, err := readContexts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Sorted(maps.Keys(file.Contexts)), cobra.ShellCompDirectiveNoFileComp
}

// anyNumber is the maximum for completeReloads of a command that takes any number of reloads.
const anyNumber = math.MaxInt

// completeReloads returns a function that completes up to maximum IDs of reloads, with those of the newest ones.
func (a *app) completeReloads(maximum int, filter reloads.Filter) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var ids []cobra.Completion
		if len(args) >= maximum {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for _, r := range a.newest(filter) {
			if completable(r.ID) && !slices.Contains(args, r.ID) {
				about := fmt.Sprintf("%s, app %s, created %s", r.Status, r.AppID, a.formatTime(r.CreationTime))
				ids = append(ids, cobra.CompletionWithDesc(r.ID, show.Line(about)))
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// completable reports whether an ID from the tenant is safe in a command line: shells evaluate some other characters.
func completable(id string) bool {
	return id != "" && !strings.ContainsFunc(id, func(c rune) bool {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		return !letter && !('0' <= c && c <= '9') && !strings.ContainsRune("-_.", c)
	})
}

// completeListFlags completes the flags of ls that have fixed values.
func completeListFlags(cmd *cobra.Command) {
	statuses := []reloads.Status{
		reloads.StatusQueued, reloads.StatusReloading, reloads.StatusCanceling, reloads.StatusSucceeded,
		reloads.StatusFailed, reloads.StatusCanceled, reloads.StatusExceededLimit,
	}
	var filters, sorts []cobra.Completion
	for _, s := range statuses {
		filters = append(filters, string(reloads.StatusIs(s)))
	}
	for _, field := range []string{"creationTime", "status", "startTime", "endTime"} {
		sorts = append(sorts, "-"+field, "+"+field)
	}
	// These fail only for an unknown flag.
	_ = cmd.RegisterFlagCompletionFunc("filter", cobra.FixedCompletions(filters, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(sorts, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"limit", "next", "prev"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}
