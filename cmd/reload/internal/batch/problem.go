package batch

import (
	"strings"

	"github.com/reloads-go/reloads"
)

// Problem returns why step i did not succeed or, if it runs again, why its reload failed, without its app, its reload and
// the status of that. It is "" if the step succeeded, or if its result is not known.
func (b *Batch) Problem(i int) string {
	switch s := &b.Steps[i]; {
	case s.State == Skipped:
		return b.rootCause(i) + " did not succeed"
	case b.RunsAgain(i):
		return problem(s.Reload().Err())
	case s.Err != nil:
		return problem(s.Err)
	}
	return ""
}

// problem returns the text of an error, without what is known anyway.
func problem(err error) string {
	if failed, ok := err.(*reloads.ReloadError); ok && failed.Reload != nil && Reason(failed.Reload) != "" { //nolint:errorlint // the text of an error that wraps it says more
		return Reason(failed.Reload)
	}
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "reloads: "), ": reloads: ", ": ")
}

// Reason returns why a reload failed, or "" if its record has no error code and message.
func Reason(r *reloads.Reload) string {
	if r.ErrorCode != "" && r.ErrorMessage != "" {
		return r.ErrorCode + ": " + r.ErrorMessage
	}
	return r.ErrorCode + r.ErrorMessage
}

// rootCause returns the name of the step because of which step i was skipped.
func (b *Batch) rootCause(i int) string {
	for _, p := range b.Steps[i].After {
		switch s := &b.Steps[p]; s.State {
		case Skipped:
			return b.rootCause(p)
		case Failed, Aborted, Refused, Errored:
			return s.Name
		default: // not the cause
		}
	}
	return "a predecessor"
}
