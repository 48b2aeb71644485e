package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/reloads-go/reloads"
)

// hintedError is an error together with the next step, for a command that knows more than the error.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

// withHint adds the next step to an error.
func withHint(err error, format string, args ...any) error {
	return &hintedError{err, fmt.Sprintf(format, args...)}
}

// nextStep returns what to do about an error of a command, or "" if there is nothing to say.
func nextStep(cmd *cobra.Command, err error) string {
	var hinted *hintedError
	if errors.As(err, &hinted) {
		return hinted.hint
	}
	switch status := exitStatus(err); {
	case errors.Is(err, reloads.ErrOutcomeUnknown):
		return "before you try again, see whether the reload exists: reload ls" + cmp.Or(appFlag(cmd), " --appId APP_ID")
	case status == statusFailed:
		var failed *reloads.ReloadError
		if errors.As(err, &failed) && cmd.Name() != "log" {
			return "to see the full log, run: reload log " + failed.Reload.ID
		}
	case status == statusRefused:
		return afterRefusal(cmd, err)
	case status == statusUnreachable:
		return "check the URL of the tenant and the network"
	}
	return ""
}

// afterRefusal returns what to do after a request of a command was refused.
func afterRefusal(cmd *cobra.Command, err error) string {
	switch {
	case errors.Is(err, reloads.ErrUnauthorized):
		return "check the API key or the OAuth2 client: it must be one of this tenant, and neither expired nor revoked"
	case cmd.Name() == "ls" && errors.Is(err, reloads.ErrBadRequest) && cmd.Flags().Changed("filter"):
		return `check the filter, in which values have quotes, such as 'status eq "FAILED"'; a user who is not a TenantAdmin needs --appId`
	case cmd.Name() == "ls" && appFlag(cmd) == "" && (errors.Is(err, reloads.ErrForbidden) || errors.Is(err, reloads.ErrBadRequest)):
		return "only a TenantAdmin may list the reloads of all apps; add --appId to list those of one app"
	case errors.Is(err, reloads.ErrForbidden):
		return "use the credentials of a user who may do this"
	case errors.Is(err, reloads.ErrQuotaExceeded):
		return "the app was reloaded too often; try again later"
	case errors.Is(err, reloads.ErrNotFound) && (cmd.Name() == "create" || cmd.Name() == "run"):
		return "check the ID of the app; an app in a space that the user must not see is not found either"
	case errors.Is(err, reloads.ErrNotFound):
		return "check the ID of the reload; to list the reloads of an app, run: reload ls --appId APP_ID"
	case errors.Is(err, reloads.ErrNotCancelable):
		return "to see how the reload ended, run: reload get " + cmd.Flags().Arg(0)
	case errors.Is(err, reloads.ErrRateLimited):
		return "the tenant limits the requests of a user; try again later"
	case errors.Is(err, reloads.ErrServer):
		return "the service or a gateway in front of it failed; try again later"
	}
	return ""
}

// appFlag returns the flag --appId as it is set, with a space in front, or "".
func appFlag(cmd *cobra.Command) string {
	flag := cmd.Flags().Lookup("appId")
	if flag == nil || flag.Value.String() == "" {
		return ""
	}
	return " --appId " + flag.Value.String()
}
