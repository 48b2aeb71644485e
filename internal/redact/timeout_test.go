package redact_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/reloads-go/reloads/internal/redact"
)

func TestDeadline(t *testing.T) {
	plain := errors.New("plain")
	if got := redact.Deadline(plain); got != plain {
		t.Errorf("got %v, want the error itself", got)
	}
	cause := fmt.Errorf("%w: %w", plain, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded})
	for _, other := range []error{context.DeadlineExceeded, fmt.Errorf("%w: %w", cause, context.DeadlineExceeded)} {
		err := redact.Deadline(other)
		if errors.Is(err, context.DeadlineExceeded) || err.Error() != other.Error() {
			t.Errorf("%v matches context.DeadlineExceeded or has another text than %v", err, other)
		}
	}
	err := fmt.Errorf("a call: %w", redact.Deadline(fmt.Errorf("%w: %w", cause, context.DeadlineExceeded)))
	var op *net.OpError
	var timeout net.Error
	if !errors.Is(err, plain) || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &op) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v does not match what its cause matches", err)
	}
}

// A secret is found behind the timeout, too.
func TestDeadlineWithSecret(t *testing.T) {
	const secret = "test-secret-0123456789"
	inner := &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("%s: %w", secret, context.DeadlineExceeded)}
	err := redact.New(secret).Error(redact.Deadline(hiding{inner}))
	var op *net.OpError
	if errors.As(err, &op) && strings.Contains(op.Error(), secret) {
		t.Errorf("%v contains an error with the secret: %v", err, op)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v matches context.DeadlineExceeded again", err)
	}
}

// hiding has a text without that of the error that it wraps.
type hiding struct{ error }

func (hiding) Error() string   { return "timed out" }
func (e hiding) Unwrap() error { return e.error }
