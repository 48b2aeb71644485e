package reloads

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// ReloadError is a reload that ended, but not as SUCCEEDED. The calls to the API all went well: an [*Error] is
// about the API, a ReloadError about the job.
//
// It matches [ErrReloadFailed], [ErrReloadCanceled] or [ErrReloadExceededLimit]; a status that this package does
// not know matches none of them.
type ReloadError struct {
	// Reload is the reload as it ended; never nil in an error of this package.
	Reload *Reload
}

// Error names the reload and its app, and says in one line why it failed as far as the service does: with the record's
// error message or, if there is none, the last lines that matter of its log.
func (e *ReloadError) Error() string {
	r := e.Reload
	s := fmt.Sprintf("reloads: reload %s of app %s ended as %s", r.ID, r.AppID, r.Status)
	for _, why := range []string{r.ErrorCode, r.ErrorMessage} {
		if why != "" {
			s += ": " + why
		}
	}
	if lines := r.lastLines(); r.ErrorMessage == "" && len(lines) > 0 {
		s += "; its log ends: " + strings.Join(lines, " / ")
	}
	return oneLine(s)
}

// Is reports whether target is the class of the reload's status.
func (e *ReloadError) Is(target error) bool {
	switch e.Reload.Status {
	case StatusFailed:
		return target == ErrReloadFailed
	case StatusCanceled:
		return target == ErrReloadCanceled
	case StatusExceededLimit:
		return target == ErrReloadExceededLimit
	}
	return false
}

// LogValue logs the error as the group of its reload.
func (e *ReloadError) LogValue() slog.Value { return e.Reload.LogValue() }

// The ways in which a reload ends badly, for [errors.Is] on a [*ReloadError].
var (
	// ErrReloadFailed is a reload that ended as FAILED.
	ErrReloadFailed = errors.New("reloads: reload failed")
	// ErrReloadCanceled is a reload that ended as CANCELED.
	ErrReloadCanceled = errors.New("reloads: reload canceled")
	// ErrReloadExceededLimit is a reload that ended as EXCEEDED_LIMIT.
	ErrReloadExceededLimit = errors.New("reloads: reload exceeded its limit")
)
