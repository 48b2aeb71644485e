package reloads

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// transport is the user's, for one attempt after the other. It limits the time of each, keeps http.Client from following
// redirects, and hides that the user's can close its idle connections, which the retry loop would do after every failure.
type transport struct {
	base    http.RoundTripper // nil: the default transport at the time of the request, as in http.Client
	timeout time.Duration     // of an attempt, with the body of its answer; 0 means none
	cause   error             // of an attempt that took longer
}

func newTransport(base http.RoundTripper, timeout time.Duration) transport {
	return transport{base, timeout, attemptTimeout(timeout)}
}

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	base := t.base
	if base == nil {
		base = http.DefaultTransport
	}
	ctx, cancel := r.Context(), context.CancelFunc(func() {})
	if t.timeout > 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, t.timeout, t.cause)
	}
	resp, err := base.RoundTrip(r.WithContext(ctx))
	if err != nil || resp == nil || resp.Body == nil {
		defer cancel()
		return resp, timedOut(ctx, err)
	}
	// A redirect is an answer: http.Client would follow it, and take the token to another place.
	resp.Header.Del("Location")
	resp.Body = &attemptBody{resp.Body, ctx, cancel}
	return resp, nil
}

// attemptBody ends the time of its attempt when it is closed.
type attemptBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelFunc
}

func (b *attemptBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = timedOut(b.ctx, err)
	}
	return n, err
}

func (b *attemptBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// attemptTimeout is the error of an attempt that took longer than it may. It is no [context.DeadlineExceeded]: that is
// the caller's. It is a [net.Error].
type attemptTimeout time.Duration

func (e attemptTimeout) Error() string {
	return fmt.Sprintf("the attempt took longer than %v", time.Duration(e))
}
func (e attemptTimeout) Timeout() bool   { return true }
func (e attemptTimeout) Temporary() bool { return true }

// timedOut is the error of an attempt: if its time is over, that, whatever the transport made of it.
func timedOut(ctx context.Context, err error) error {
	var timeout attemptTimeout
	if err != nil && errors.As(context.Cause(ctx), &timeout) {
		return timeout
	}
	return err
}
