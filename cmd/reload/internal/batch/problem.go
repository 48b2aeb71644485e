package batch

import (
	"strings"

	"github.com/reloads-go/reloads"
)

// Problem returns why step i did not succeed, without its app, its reload and the status of that. It is "" if the step
// succeeded, or if its result is not known.
func (b *Batch) Problem(i int) string {
	s := &b.Steps[i]
	switch failed, ok := s.Err.(*reloads.ReloadError); {
	case s.State == Skipped:
		return b.rootCause(i) + " did not succeed"
	case ok && failed.Reload != nil && failed.Reload.ErrorCode+failed.Reload.ErrorMessage != "":
		return strings.Trim(failed.Reload.ErrorCode+": "+failed.Reload.ErrorMessage, ": ")
	case s.Err != nil:
		return strings.TrimPrefix(s.Err.Error(), "reloads: ")
	}
	return ""
}

// rootCause returns the name of the step because of which step i was skipped.
func (b *Batch) rootCause(i int) string {
	for _, p := range b.Steps[i].After {
		switch s := &b.Steps[p]; s.State {
		case Skipped:
			return b.rootCause(p)
		case Failed, Aborted, Refused:
			return s.Name
		}
	}
	return "a predecessor"
}
