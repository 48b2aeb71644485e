package reloads

import (
	"context"
	"io"
	"net/http"
	"time"
)

// transport is the user's, for one attempt after the other. It limits the time of each, and hides that the user's can
// close its idle connections, which the retry loop would do after every failure.
type transport struct {
	base    http.RoundTripper // nil: the default transport at the time of the request, as in http.Client
	timeout time.Duration     // of an attempt, with the body of its answer; 0 means none
}

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	base := t.base
	if base == nil {
		base = http.DefaultTransport
	}
	ctx, cancel := r.Context(), context.CancelFunc(func() {})
	if t.timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, t.timeout)
	}
	resp, err := base.RoundTrip(r.WithContext(ctx))
	if err != nil || resp == nil || resp.Body == nil {
		cancel()
		return resp, err
	}
	resp.Header.Del("Location") // http.Client would make a broken one an error of its own
	resp.Body = &attemptBody{resp.Body, cancel}
	return resp, nil
}

// attemptBody ends the time of its attempt when it is closed.
type attemptBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *attemptBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
