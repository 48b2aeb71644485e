package reloads

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// transport is the user's, for one attempt after the other. It limits the time of each, keeps http.Client from following
// redirects, and hides that the user's can close its idle connections, which the retry loop would do after every failure.
//
// It also leaves dead connections. An HTTP/2 connection that swallows everything stays in net/http's pool, since an
// attempt that is given up ends only its stream; all further attempts would go the same way.
type transport struct {
	base    http.RoundTripper // nil: the default transport at the time of the request, as in http.Client
	timeout time.Duration     // of an attempt, with the body of its answer unless that is a log; 0 means none
	cause   error             // of an attempt that took longer
	suspect atomic.Bool       // the latest attempt that was given up may have had a dead connection
}

func newTransport(base http.RoundTripper, timeout time.Duration) *transport {
	return &transport{base: base, timeout: timeout, cause: attemptTimeout(timeout)}
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
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
	attempt := &attemptBody{transport: t, ctx: ctx, cancel: cancel, timer: timer}
	r = r.WithContext(ctx)
	r.Close = r.Close || t.suspect.CompareAndSwap(true, false) // no attempt after this one gets its connection
	resp, err := base.RoundTrip(r)
	if err != nil || resp == nil || resp.Body == nil {
		defer attempt.end()
		return resp, t.gaveUp(ctx, err)
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
	transport *transport
	ctx       context.Context
	cancel    context.CancelCauseFunc
	timer     *time.Timer // nil: the attempt may take any time
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
		err = b.transport.gaveUp(b.ctx, err)
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

func (e attemptTimeout) Timeout() bool { return true }

func (e attemptTimeout) Temporary() bool { return true }

// gaveUp is the error of an attempt: if its time is over, that, whatever the base made of it.
func (t *transport) gaveUp(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	t.suspect.Store(true)
	var timeout attemptTimeout
	if errors.As(context.Cause(ctx), &timeout) {
		return timeout
	}
	return err
}
