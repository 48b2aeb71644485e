// Reload is a command-line tool for the Reloads API. It has the reload commands of qlik-cli with the same flags, and
// features for scripts, such as waiting for a reload.
//
//	go run ./cmd/reload create --appId ID --wait
//	go run ./cmd/reload --fake ls
//
// The tenant and the credentials come from flags, then from QLIK_TENANT_URL with QLIK_API_KEY or with QLIK_CLIENT_ID and
// QLIK_CLIENT_SECRET, then from the active context of qlik-cli; the first one that is set counts. With --fake, the command
// uses a fake tenant in the process.
//
// The exit status is 0 on success, 1 if a reload did not succeed, 2 if the command line or the configuration is invalid, 3
// if the API responded with an error, 4 if the tenant was unreachable, 124 on timeout, and 130 on interrupt.
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
	"github.com/reloads-go/reloads/oauth"
)

// The exit statuses.
const (
	statusOK          = 0
	statusFailed      = 1 // a reload finished with another status than SUCCEEDED
	statusUsage       = 2 // the command line or the configuration is invalid
	statusRefused     = 3 // the API responded with an error
	statusUnreachable = 4 // there was no response
	statusTimedOut    = 124
	statusInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal terminates the process
	os.Exit(execute(ctx))
}

// execute runs the command line and returns the exit status.
func execute(ctx context.Context) int {
	a := &app{}
	cmd, err := newRoot(a).ExecuteContextC(ctx)
	if err != nil && !a.started {
		err = usagef("%w (see %s --help)", err, cmd.CommandPath())
	}
	var reported *reportedError
	if err != nil && !errors.As(err, &reported) {
		printError(err)
	}
	return exitStatus(err)
}

// exitStatus returns the exit status for an error.
func exitStatus(err error) int {
	var reloadErr *reloads.ReloadError
	var apiErr *reloads.Error
	var oauthErr *oauth.Error
	var usage *usageError
	switch {
	case err == nil:
		return statusOK
	case errors.Is(err, context.Canceled):
		return statusInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return statusTimedOut
	case errors.As(err, &reloadErr):
		return statusFailed
	case errors.As(err, &apiErr), errors.As(err, &oauthErr):
		return statusRefused
	case errors.As(err, &usage), errors.Is(err, reloads.ErrBadRequest):
		return statusUsage
	}
	return statusUnreachable
}

// printError writes an error to standard error, in one line.
func printError(err error) {
	text := strings.TrimPrefix(err.Error(), "reloads: ")
	switch exitStatus(err) {
	case statusInterrupted:
		text = "interrupted: " + text
	case statusTimedOut:
		text = "timed out: " + text
	}
	fmt.Fprintln(os.Stderr, "reload:", strings.Join(strings.Fields(sanitize(text)), " "))
}

// usageError is an error in the command line or the configuration. No request was sent.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// reportedError is an error that was already written to standard error.
type reportedError struct{ err error }

func (e *reportedError) Error() string { return e.err.Error() }
func (e *reportedError) Unwrap() error { return e.err }

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
		SilenceErrors: true,
		SilenceUsage:  true,
		Long: `Reload Qlik Cloud apps, wait for the reloads, and see why one failed.

The tenant and the credentials come from flags, then from QLIK_TENANT_URL with QLIK_API_KEY or with QLIK_CLIENT_ID and
QLIK_CLIENT_SECRET, then from the active context of qlik-cli in ~/.qlik/contexts.yml. The first one that is set counts.

Exit status: 0 success, 1 a reload did not succeed, 2 invalid command line or configuration, 3 the API responded with
an error, 4 the tenant was unreachable, 124 timeout, 130 interrupt.

The fake tenant of --fake exists only while the command runs. Its apps are sales, stock (fails), yearly (takes an
hour), often (has used up its quota), archive (a reload of 3 s is running) and forecast (a reload of an hour is running).`,
	}
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
	root.MarkFlagsMutuallyExclusive("fake", "server", "context")
	root.MarkFlagsMutuallyExclusive("fake", "api-key-file")
	root.AddCommand(newList(a), newCreate(a), newGet(a), newCancel(a), newWait(a), newWatch(a), newLog(a))
	return root
}

// run returns the RunE function of a command. It calls do with a client of the tenant and a context that ends at --timeout.
func (a *app) run(do func(ctx context.Context, client *reloads.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.started = true
		if a.timeout < 0 || a.retry < 0 {
			return usagef("--timeout and --retry must not be negative")
		}
		if a.json && a.quiet || a.json && a.raw || a.quiet && a.raw {
			return usagef("only one of --json, --quiet and --raw is allowed")
		}
		ctx := cmd.Context()
		if a.timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, a.timeout)
			defer cancel()
		}
		a.output.open(os.Stdout, os.Stderr)
		client, err := a.connect(os.Getenv, a.output.record)
		if err != nil {
			return err
		}
		return do(ctx, client, args)
	}
}

// rawFlag adds the flag --raw of qlik-cli to a command.
func (a *app) rawFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.raw, "raw", false, "write the response body of the service unchanged")
}
