// Reload is a command-line tool for the Reloads API. It has the reload commands of qlik-cli with the same flags, and
// features for scripts, such as waiting for a reload.
//
//	reload create --appId ID --wait
//	reload --fake ls
//
// The tenant and the credentials come from flags, then from QLIK_TENANT_URL with QLIK_API_KEY or with QLIK_CLIENT_ID and
// QLIK_CLIENT_SECRET, then from the active context of qlik-cli; the first one that is set counts. With --fake, the command
// uses a fake tenant in the process.
//
// Results are written to standard output; progress, errors and hints to standard error. Every --help explains the exit
// statuses. If standard output is a pipe that was closed, SIGPIPE ends the command, as usual.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reloads-go/reloads"
)

func main() { os.Exit(execute()) }

// execute runs the command line and returns the exit status.
func execute() int {
	a := &app{}
	a.output.open(os.Stdout, os.Stderr)
	root := newRoot(a)
	root.SetOut(a.stdout)
	cmd, err := root.ExecuteC()
	if err != nil && !a.started && !errors.As(err, new(*writeError)) {
		err = usagef("%w (see %s --help)", err, cmd.CommandPath())
	}
	if err != nil && !errors.As(err, new(*reportedError)) {
		printError(err)
	}
	if hint := nextStep(cmd, err); hint != "" {
		fmt.Fprintln(os.Stderr, "hint:", sanitize(hint))
	}
	if lost := a.written.failure(); lost != nil && !errors.As(err, new(*writeError)) {
		printError(lost)
		if err == nil {
			err = lost
		}
	}
	return exitStatus(err)
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

The fake tenant of --fake exists only while the command runs. Its apps are sales, stock (fails),
yearly (takes an hour), often (has used up its quota), archive (a reload of 3 s is running) and
forecast (a reload of an hour is running).`,
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetHelpTemplate(root.HelpTemplate() + statusHelp)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages ", ".FlagUsagesWrapped 100 "))
	root.SetFlagErrorFunc(flagError)
	a.globalFlags(root)
	root.AddCommand(newRun(a), newCreate(a), newList(a), newGet(a), newCancel(a), newWait(a), newWatch(a), newLog(a))
	return root
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
		ctx, stop, err := a.begin(cmd)
		if err != nil {
			return err
		}
		defer stop()
		client, err := a.connect(os.Getenv, newFakeTenant, a.output.record)
		if err != nil {
			return err
		}
		return explain(ctx, do(ctx, client, args))
	}
}

// begin checks the global flags. It returns a context that ends at --timeout or at a signal.
func (a *app) begin(cmd *cobra.Command) (ctx context.Context, stop func(), err error) {
	a.started = true
	if a.timeout < 0 || a.retry < 0 {
		return nil, nil, usagef("--timeout and --retry must not be negative")
	}
	a.stderrTerminal = a.stderrTerminal && !a.verbose // a status line would be lost among the log
	ctx, stopSignals := withSignals(cmd.Context())
	if a.timeout == 0 {
		return ctx, stopSignals, nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	return ctx, func() { cancel(); stopSignals() }, nil
}

// rawFlag adds the flag --raw of qlik-cli to a command.
func (a *app) rawFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.raw, "raw", false, "write the response body of the service unchanged")
}
