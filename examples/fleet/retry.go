package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/hibiken/asynq"

	"github.com/reloads-go/reloads"
)

// errTemporary marks an error that may have nothing to do with the app.
var errTemporary = errors.New("try again")

// isFinal reports whether another try cannot help. An outage of the tenant has many forms, such as a maintenance page with
// any status or an invalid response, so only errors that the API itself reports are final.
func isFinal(err error) bool {
	var response *reloads.Error
	if errors.As(err, &response) && !slices.ContainsFunc(response.Details, func(d reloads.ErrorDetail) bool { return d.Code != "" }) {
		return false // it is that of a gateway
	}
	for _, final := range []error{
		reloads.ErrBadRequest, reloads.ErrNotFound, reloads.ErrForbidden, reloads.ErrQuotaExceeded,
		reloads.ErrReloadCanceled, reloads.ErrReloadExceededLimit,
	} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

// isFailure reports whether an error counts as one of the tries of a task. A worker that was killed does not.
func isFailure(err error) bool {
	return !errors.Is(err, errTemporary) && !errors.Is(err, asynq.ErrLeaseExpired)
}

// retryDelay returns how long a task waits after an error.
func retryDelay(retried int, err error, task *asynq.Task) time.Duration {
	if errors.Is(err, asynq.ErrLeaseExpired) {
		return 0
	}
	return asynq.DefaultRetryDelayFunc(retried, err, task) // half a minute at first
}

// logError logs why a task did not succeed. A lost lease is not an error, because another worker goes on.
func logError(ctx context.Context, task *asynq.Task, err error) {
	level, message := slog.LevelError, "not reloaded"
	if errors.Is(err, asynq.ErrLeaseExpired) {
		level, message = slog.LevelInfo, "another worker goes on"
	}
	slog.Log(ctx, level, message, "task", string(task.Payload()), "error", err)
}
