package reloads

import (
	"errors"
	"log/slog"
)

// Result is the outcome of one reload of a batch.
type Result struct {
	// Request is the request of [Client.RunAll]. In a result of [Client.WaitAll] it contains only the app.
	Request Request
	// Reload is the most recent state of the reload. It is nil if none was triggered.
	Reload *Reload
	// Err is nil if the reload SUCCEEDED, and a [*ReloadError] if it finished with another status. It matches
	// [ErrNotStarted] if the request was not sent because ctx had ended. Otherwise it is an error of [Client.Run].
	Err error
}

// LogValue returns a group with the request, the reload and the error.
func (r Result) LogValue() slog.Value {
	attrs := []slog.Attr{slog.Any("request", r.Request)}
	if r.Reload != nil {
		attrs = append(attrs, slog.Any("reload", r.Reload))
	}
	if r.Err != nil {
		attrs = append(attrs, slog.String("error", r.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// errStopped is the cause of a context that ended because the loop over the results did.
var errStopped = errors.New("iteration stopped")
