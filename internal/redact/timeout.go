package redact

import (
	"context"
	"errors"
)

// Deadline returns err so that it does not match context.DeadlineExceeded, which means that the deadline of a caller has
// passed. The timeouts of net and net/http match it, too. The result matches everything else that err matches.
func Deadline(err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &timeout{err}
}

// timeout has no Unwrap, because errors.Is would go on with what that returns.
type timeout struct{ error }

func (e *timeout) Is(target error) bool {
	return target != context.DeadlineExceeded && errors.Is(e.error, target)
}

func (e *timeout) As(target any) bool { return errors.As(e.error, target) }
