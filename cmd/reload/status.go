package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
	"github.com/reloads-go/reloads/oauth"
)

// The exit statuses of all commands.
const (
	statusOK          = 0
	statusFailed      = 1
	statusUsage       = 2
	statusRefused     = 3
	statusUnreachable = 4
	statusTimedOut    = 124 // as timeout(1)
	statusInterrupted = 130 // as a shell reports SIGINT
	statusTerminated  = 143 // as a shell reports SIGTERM
)

// statusHelp explains the exit statuses at the end of every help text.
const statusHelp = `
Exit status:
    0  success
    1  a reload did not succeed, or the output could not be written
    2  the command line or the configuration is invalid
    3  the API refused a request, or failed
    4  the tenant is unreachable
  124  timeout
  130  interrupted (SIGINT)
  143  terminated (SIGTERM, SIGHUP)
`

// exitStatus returns the exit status for an error. If several apply, the first one in this order counts.
func exitStatus(err error) int {
	var stopped *signalError
	var reloadErr *reloads.ReloadError
	var apiErr *reloads.Error
	var oauthErr *oauth.Error
	var usage *usageError
	var write *writeError
	var steps *stepsError
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &steps):
		return steps.status
	case errors.As(err, &stopped):
		return signalStatus(stopped.signal)
	case errors.Is(err, context.DeadlineExceeded): // also if requests were canceled after that
		return statusTimedOut
	case errors.Is(err, context.Canceled):
		return statusInterrupted
	case errors.As(err, &reloadErr):
		return statusFailed
	case errors.As(err, &apiErr), errors.As(err, &oauthErr):
		return statusRefused
	case errors.As(err, &usage), errors.Is(err, reloads.ErrBadRequest):
		return statusUsage
	case errors.As(err, &write):
		return statusFailed
	case isUnreachable(err):
		return statusUnreachable
	}
	return statusRefused // such as a response that contradicts another one
}

// printError writes an error to standard error, w. Each of several errors has a line of its own.
func printError(w io.Writer, err error) {
	text := nestedPrefix.ReplaceAllString(err.Error(), "$1")
	switch exitStatus(err) {
	case statusTimedOut:
		text = "timed out: " + text
	case statusInterrupted:
		text = "interrupted: " + text
	case statusTerminated:
		text = "terminated: " + text
	}
	for line := range strings.Lines(text) {
		_, _ = fmt.Fprintln(w, "reload:", show.Line(line))
	}
}

// nestedPrefix matches the name of the package in front of an error, and of the errors in it.
var nestedPrefix = regexp.MustCompile(`(?m)(^|[:;] )reloads: `)

// usageError is an error in the command line or the configuration. No request was sent.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// reportedError is an error that was already written to standard error.
type reportedError struct{ err error }

func (e *reportedError) Error() string { return e.err.Error() }
func (e *reportedError) Unwrap() error { return e.err }

// writeError means that the result of a command, or its progress, could not be written.
type writeError struct {
	what string
	err  error
}

func (e *writeError) Error() string { return e.what + " could not be written: " + e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }
