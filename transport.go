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
	timeout time.Duration     // of an attempt, with the body of its answer unless that is a log; 0 means none
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
	// A timer, and no deadline, since the time of a log ends with the header of its answer.
	ctx, cancel := context.WithCancelCause(r.Context())
	var timer *time.Timer
	if t.timeout > 0 {
		timer = time.AfterFunc(t.timeout, func() { cancel(t.cause) })
	}
	attempt := &attemptBody{ctx: ctx, cancel: cancel, timer: timer}
	resp, err := base.RoundTrip(r.WithContext(ctx))
	if err != nil || resp == nil || resp.Body == nil {
		defer attempt.end()
		return resp, timedOut(ctx, err)
	}
	// A redirect is an answer: http.Client would follow it, and take the token to another place.
	resp.Header.Del("Location")
	attempt.ReadCloser = resp.Body
	resp.Body = attempt
	return resp, nil
}

// attemptBody ends its attempt when it is closed.
type attemptBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer // nil: the attempt may take any time
}

// end frees what the attempt has.
func (b *attemptBody) end() {
	b.stop()
	b.cancel(nil)
}

func (b *attemptBody) stop() {
	if b.timer != nil {
		b.timer.Stop()
	}
}

// untimed is the body of an answer without the time limit of its attempt.
func untimed(body io.ReadCloser) io.ReadCloser {
	if b, ok := body.(*attemptBody); ok {
		b.stop()
	}
	return body
}

func (b *attemptBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = timedOut(b.ctx, err)
	}
	return n, err
}

func (b *attemptBody) Close() error {
	defer b.end()
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
