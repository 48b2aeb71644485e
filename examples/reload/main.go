// Reload is a command for the Reloads API: qlik-cli's reload commands with the same flags, and what a script needs on
// top of them, such as waiting for the end.
//
//	go run ./examples/reload create --appId ID --wait
//	go run ./examples/reload --fake ls
//
// The tenant and its key come from flags, then from QLIK_TENANT_URL with QLIK_API_KEY or QLIK_CLIENT_ID and
// QLIK_CLIENT_SECRET, then from the active context of qlik-cli. --fake is a fake tenant in the process.
//
// The exit status is 0 if all went well, 1 if a reload did not succeed, 2 for bad usage, 3 if the API refused, 4 if the
// tenant could not be reached, 124 if the time was over, and 130 if the command was interrupted.
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
	statusFailed      = 1 // a reload ended otherwise than SUCCEEDED
	statusUsage       = 2
	statusRefused     = 3 // the API answered with an error
	statusUnreachable = 4 // there was no answer
	statusTimedOut    = 124
	statusInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(execute(ctx))
}

// execute runs the command line and returns the exit status.
func execute(ctx context.Context) int {
	a := &app{}
	cmd, err := newRoot(a).ExecuteContextC(ctx)
	if err != nil && !a.started {
		err = usagef("%w (%s --help tells more)", err, cmd.CommandPath())
	}
	var told *toldError
	if err != nil && !errors.As(err, &told) {
		complain(err)
	}
	return exitStatus(err)
}

// exitStatus is the exit status of an error.
func exitStatus(err error) int {
	var failed *reloads.ReloadError
	var answer *reloads.Error
	var refused *oauth.Error
	var usage *usageError
	switch {
	case err == nil:
		return statusOK
	case errors.Is(err, context.Canceled):
		return statusInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return statusTimedOut
	case errors.As(err, &failed):
		return statusFailed
	case errors.As(err, &answer), errors.As(err, &refused):
		return statusRefused
	case errors.As(err, &usage), errors.Is(err, reloads.ErrBadRequest):
		return statusUsage
	}
	return statusUnreachable
}

// complain tells people of an error, in one line.
func complain(err error) {
	text := strings.TrimPrefix(err.Error(), "reloads: ")
	switch exitStatus(err) {
	case statusInterrupted:
		text = "interrupted: " + text
	case statusTimedOut:
		text = "timed out: " + text
	}
	fmt.Fprintln(os.Stderr, "reload:", strings.Join(strings.Fields(clean(text)), " "))
}

// usageError is a command line or a setting that is wrong: nothing was sent.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// toldError is an error that people were told of already.
type toldError struct{ err error }

func (e *toldError) Error() string { return e.err.Error() }
func (e *toldError) Unwrap() error { return e.err }

// app is what the commands share.
type app struct {
	settings
	output
	started bool // the command line is understood
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "reload",
		Short:         "Reload apps of Qlik Cloud, wait for the end, and see why one failed",
		SilenceErrors: true,
		SilenceUsage:  true,
		Long: `Reload apps of Qlik Cloud, wait for the end, and see why one failed.

The tenant and its credentials come from the flags, then from QLIK_TENANT_URL with QLIK_API_KEY or QLIK_CLIENT_ID
and QLIK_CLIENT_SECRET, then from the active context of qlik-cli, ~/.qlik/contexts.yml.

Exit status: 0 success, 1 a reload did not succeed, 2 bad usage, 3 the API refused, 4 the tenant could not be
reached, 124 timed out, 130 interrupted.

The fake tenant of --fake lives as long as the command. Its apps are sales, stock (fails), yearly (takes an hour),
often (has met its quota), archive (is being reloaded, for 3 s) and forecast (the same, for an hour).`,
	}
	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.StringVarP(&a.server, "server", "s", "", "`URL` of the tenant")
	flags.StringVar(&a.keyFile, "api-key-file", "", "read the API key from this `file`; - is standard input")
	flags.StringVar(&a.context, "context", "", "`name` of a context of qlik-cli, instead of the active one")
	flags.BoolVar(&a.fake, "fake", false, "use a fake tenant in the process")
	flags.DurationVar(&a.timeout, "timeout", 0, "give up after this `time`, such as 90s or 2h; 0 means never")
	flags.IntVar(&a.retry, "retry", 5, "how often a request is sent again, at most")
	flags.BoolVar(&a.json, "json", false, "write JSON, a record a line")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "write ids only")
	flags.BoolVar(&a.utc, "utc", false, "show times absolutely, in UTC")
	root.MarkFlagsMutuallyExclusive("fake", "server", "context")
	root.MarkFlagsMutuallyExclusive("fake", "api-key-file")
	root.AddCommand(newList(a), newCreate(a), newGet(a), newCancel(a), newWait(a), newWatch(a), newLog(a))
	return root
}

// run makes the function of a command: with the client, and the time limit.
func (a *app) run(do func(ctx context.Context, client *reloads.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.started = true
		if a.timeout < 0 || a.retry < 0 {
			return usagef("--timeout and --retry must not be negative")
		}
		if a.json && a.quiet || a.json && a.raw || a.quiet && a.raw {
			return usagef("only one of --json, --quiet and --raw can be given")
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

// rawFlag gives a command qlik-cli's --raw.
func (a *app) rawFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.raw, "raw", false, "write the answer of the service as it came")
}
