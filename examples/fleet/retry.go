package main

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/hibiken/asynq"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/oauth"
	"github.com/reloads-go/reloads/redislimit"
)

// errTemporary marks an error that has nothing to do with the app.
var errTemporary = errors.New("try again")

// isTemporary reports whether an error is that of Redis, of the tenant or of the sign-in, and not that of the app.
func isTemporary(err error) bool {
	for _, temporary := range []error{
		redislimit.ErrUnavailable, reloads.ErrServer, reloads.ErrRateLimited, reloads.ErrUnauthorized,
		reloads.ErrReloadPending, reloads.ErrOutcomeUnknown, io.EOF, io.ErrUnexpectedEOF,
	} {
		if errors.Is(err, temporary) {
			return true
		}
	}
	var network net.Error
	var signIn *oauth.Error
	return errors.As(err, &network) || errors.As(err, &signIn)
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
