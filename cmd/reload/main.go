// Reload is a command-line tool for the Reloads API. It runs a plan of reloads, of which some start after others. It also
// has the reload commands of qlik-cli with the same flags, and features for scripts, such as waiting for a reload.
//
//	reload run -f plan.yaml --report night.html
//	reload create --appId ID --wait
//	reload --fake ls
//
// The tenant and the credentials come from flags, then from QLIK_TENANT_URL with QLIK_API_KEY or with QLIK_CLIENT_ID and
// QLIK_CLIENT_SECRET, then from the active context of qlik-cli; the first one that is set counts. With --fake, the command
// uses a fake tenant in the process.
//
// Results are written to standard output; progress, errors and hints to standard error. Every --help explains the exit
// statuses. A closed pipe does not end the command: a result that cannot be written is an error, and a run goes on without its
// progress.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/handoff"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

func main() { os.Exit(execute()) }

// execute runs the command line and returns the exit status.
func execute() int {
	signal.Ignore(syscall.SIGPIPE) // a run must not end because nobody reads its progress
	a := &app{}
	stderr := handoff.NewWriter(os.Stderr) // the command ends even if nobody reads it
	defer stderr.Close()
	a.output.open(os.Stdout, os.Stderr)
	a.stderr = stderr
	a.log.to(stderr)
	a.logTo = &a.log
	root := newRoot(a)
	if len(os.Args) > 1 && os.Args[1] == cobra.ShellCompRequestCmd {
		unquoteFlags(root)
	}
	cmd, err := root.ExecuteC()
	if err != nil && !a.started && !errors.As(err, new(*writeError)) {
		err = commandLineError(cmd, err)
	}
	if err != nil && !errors.As(err, new(*reportedError)) {
		printError(stderr, err)
	}
	if hint := nextStep(cmd, err); hint != "" {
		fmt.Fprintln(stderr, "hint:", show.Line(hint))
	}
	if lost := a.written.failure(); lost != nil && !errors.Is(err, lost) {
		printError(stderr, lost)
		if err == nil {
			err = lost
		}
	}
	return exitStatus(err)
}

// commandLineError returns the error of a command for an error of cobra. It puts the suggestions of cobra into its line.
func commandLineError(cmd *cobra.Command, err error) error {
	if before, names, ok := strings.Cut(err.Error(), "\n\nDid you mean this?\n"); ok {
		err = fmt.Errorf("%s; did you mean %s?", before, strings.Join(strings.Fields(names), " or "))
	}
	return usagef("%w (see %s --help)", err, cmd.CommandPath())
}

// app is the state that the commands share.
type app struct {
	settings
	output
	started bool // the command line is valid, so that later errors do not come from cobra
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "reload",
		Short:         "Reload Qlik Cloud apps, wait for the reloads, and see why one failed",
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Long: `Reload Qlik Cloud apps, wait for the reloads, and see why one failed.

The tenant and the credentials come from flags, then from QLIK_TENANT_URL with QLIK_API_KEY or with
QLIK_CLIENT_ID and QLIK_CLIENT_SECRET, then from the active context of qlik-cli in
~/.qlik/contexts.yml. The first one that is set counts.

The fake tenant of --fake exists only while the command runs. For run, it has the apps of the plan.
For the other commands, its apps are sales, stock (fails), yearly (takes an hour), often (has used
up its quota), archive (a reload of 3 s is running) and forecast (a reload of an hour is running).`,
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetHelpTemplate(root.HelpTemplate() + statusHelp)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages ", ".FlagUsagesWrapped 100 "))
	root.SetFlagErrorFunc(flagError)
	root.SetOut(a.stdout)
	a.globalFlags(root)
	root.AddCommand(newRun(a), newCreate(a), newList(a), newGet(a), newCancel(a), newWait(a), newWatch(a), newLog(a))
	refuseUnknownTopics(root)
	return root
}

// refuseUnknownTopics makes an unknown command in the arguments of the commands of cobra an error.
func refuseUnknownTopics(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Args = func(_ *cobra.Command, topic []string) error {
				_, _, err := root.Find(topic)
				return err
			}
		case "completion":
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() } // after it has checked its arguments
			cmd.DisableFlagsInUseLine = true
		}
	}
}

// globalFlags adds the flags that all commands share.
func (a *app) globalFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.StringVarP(&a.server, "server", "s", "", "`URL` of the tenant")
	flags.StringVar(&a.keyFile, "api-key-file", "", "read the API key from this `file`; - means standard input")
	flags.StringVar(&a.context, "context", "", "use the qlik-cli context with this `name` instead of the active one")
	flags.BoolVar(&a.fake, "fake", false, "use a fake tenant in the process")
	flags.DurationVar(&a.timeout, "timeout", 0, "stop after this `time`, such as 90s or 2h; 0 means no limit")
	flags.IntVar(&a.retry, "retry", 5, "maximum `number` of retries of a request")
	flags.BoolVar(&a.json, "json", false, "write JSON, one reload per line")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "write only the IDs of reloads")
	flags.BoolVar(&a.utc, "utc", false, "show times in UTC instead of relative times")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "log each request to standard error, without secrets")
	root.MarkFlagsMutuallyExclusive("fake", "server", "context")
	root.MarkFlagsMutuallyExclusive("fake", "api-key-file")
	// These fail only for an unknown flag.
	_ = root.RegisterFlagCompletionFunc("context", completeContexts)
	for _, name := range []string{"server", "timeout", "retry"} {
		_ = root.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// run returns the RunE function of a command. It calls do with a client of the tenant and a context that ends at --timeout
// or at a signal.
func (a *app) run(do func(ctx context.Context, client *reloads.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if a.json && a.quiet || a.json && a.raw || a.quiet && a.raw {
			return usagef("only one of --json, --quiet and --raw is allowed")
		}
		if err := a.begin(); err != nil {
			return err
		}
		client, _, err := a.connect(os.Getenv, newFakeTenant, a.output.record)
		if err != nil {
			return err
		}
		ctx, stop := withSignals(cmd.Context())
		defer stop()
		ctx, cancel := a.limit(ctx)
		defer cancel()
		return explain(ctx, do(ctx, client, args))
	}
}

// begin checks the global flags of a command line that is valid otherwise.
func (a *app) begin() error {
	a.started = true
	if a.timeout < 0 || a.retry < 0 {
		return usagef("--timeout and --retry must not be negative")
	}
	a.stderrTerminal = a.stderrTerminal && !a.verbose // a status line would be lost among the log
	a.silent = a.silent || a.quiet
	return nil
}

// limit returns a context that ends at --timeout.
func (a *app) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, a.timeout)
}

// rawFlag adds the flag --raw of qlik-cli to a command.
func (a *app) rawFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.raw, "raw", false, "write the response body of the service unchanged")
}
