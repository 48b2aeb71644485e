package reloads

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/reloads-go/reloads/internal/redact"
)

// transport wraps the caller's transport. It limits the duration of each attempt. It keeps http.Client from following
// redirects. It hides CloseIdleConnections, which go-retryablehttp would call after every failure. It abandons dead HTTP/2
// connections, which net/http keeps in its pool when an attempt is canceled. All further attempts would use them.
type transport struct {
	base    http.RoundTripper // nil: the default transport at the time of the request, as in http.Client
	timeout time.Duration     // of an attempt, including its body unless that is a log
	silent  atomic.Int64      // how long the attempts since the most recent response waited, in nanoseconds
	suspect atomic.Bool       // their connection may be dead
}

// withTransport returns a copy of hc that sends with the wrapped transport.
func withTransport(hc *http.Client, timeout time.Duration) *http.Client {
	own := *hc
	timeout = min(cmp.Or(timeout, noLimit), cmp.Or(max(own.Timeout, 0), noLimit))
	own.Timeout = 0 // the transport limits the attempt, without a goroutine for each request
	own.Transport = &transport{base: own.Transport, timeout: timeout}
	return &own
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	body := &attemptBody{transport: t, ctx: r.Context(), began: time.Now()}
	body.limit()
	defer func() {
		if body.ReadCloser == nil { // there is no body that ends the attempt
			body.end()
		}
	}()
	if suspect := t.suspect.CompareAndSwap(true, false); suspect || body.cancel != nil {
		r = r.WithContext(body.ctx)
		r.Close = r.Close || suspect // closes the connection after this attempt
	}
	if r.Method == http.MethodPost {
		r = body.conn.trace(r)
	}
	resp, err := cmp.Or(t.base, http.DefaultTransport).RoundTrip(r)
	if err != nil || resp == nil {
		switch err = body.attemptError(err); {
		case err != nil && body.conn.unsent(err):
			err = &unsentError{err}
		case err != nil && body.conn.connected.Load():
			err = &sentError{err}
		}
		return resp, err
	}
	t.silent.Store(0)
	own := *resp // because the base may share its response with other requests
	if len(own.Header["Location"]) > 0 {
		// Without Location, http.Client returns a redirect instead of following it with the token.
		own.Header = own.Header.Clone()
		own.Header.Del("Location")
	}
	if own.StatusCode >= 300 && body.timer != nil { // what the status says must not wait for the body
		body.timer.Reset(min(errorBodyTimeout, time.Until(body.latest)))
	}
	if own.Body != nil { // http.Client sets one
		body.ReadCloser, own.Body = own.Body, body
	}
	return &own, nil
}

// errorBodyTimeout limits the time from the header of an error to the end of its body.
const errorBodyTimeout = 5 * time.Second

const noLimit time.Duration = math.MaxInt64

// attemptBody is the body of a response. It ends the attempt when it is closed.
type attemptBody struct {
	io.ReadCloser // nil before the response
	conn          connTrace
	transport     *transport
	began         time.Time
	ctx           context.Context
	cancel        context.CancelCauseFunc // nil if the context of the request ends before the limit
	timer         *time.Timer             // of the limit
	latest        time.Time               // end of the attempt, by the limit
	closed        atomic.Bool
}

// limit limits the duration of the attempt, unless its context ends before. A deadline without a monotonic clock reading is
// not sufficient: its context can end later, because the clock was set. limit uses a timer instead of a deadline, because for
// a log the limit ends when the header has arrived.
func (b *attemptBody) limit() {
	timeout := b.transport.timeout
	if limit, ok := b.ctx.Value(attemptLimit{}).(time.Duration); ok {
		timeout = min(limit, timeout)
	}
	if deadline, ok := b.ctx.Deadline(); ok && deadline != deadline.Round(0) && deadline.Sub(b.began) < timeout {
		return
	}
	b.ctx, b.cancel = context.WithCancelCause(b.ctx)
	b.latest = b.began.Add(timeout)
	cancel := b.cancel // not b, because the runtime keeps a stopped timer for a while
	b.timer = time.AfterFunc(timeout, func() { cancel(expired{attemptTimeout(timeout)}) })
}

func (b *attemptBody) end() {
	if b.cancel != nil {
		b.timer.Stop()
		b.cancel(nil)
	}
}

// withoutTimeout returns the body without the time limit of its attempt.
func withoutTimeout(body io.ReadCloser) io.ReadCloser {
	if b, ok := body.(*attemptBody); ok && b.cancel != nil {
		b.timer.Stop()
	}
	return body
}

func (b *attemptBody) Read(p []byte) (int, error) {
	if b.closed.Load() { // go-retryablehttp reads a body that was closed
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.ReadCloser.Read(p)
	if err != io.EOF {
		err = b.attemptError(err)
	}
	return n, err
}

func (b *attemptBody) Close() error {
	defer b.end()
	if b.closed.Swap(true) { // go-retryablehttp closes a body again
		return nil
	}
	return b.ReadCloser.Close()
}

// silence is how long attempts wait for a response, all together, until one that was canceled makes the connection suspect.
const silence = 5 * time.Second

// attemptError returns the error of an attempt, whatever the base transport returned: the timeout if that ended the
// attempt, and otherwise an error that matches that of ctx, if it has ended. net/http may return the cause of ctx, which can
// be the error of another call, so only its text is kept. If the error suggests that the connection is dead, attemptError
// makes it suspect.
func (b *attemptBody) attemptError(err error) error {
	ended, cause := b.ctx.Err(), context.Cause(b.ctx)
	if err == nil {
		return nil
	}
	if deadline, ok := b.ctx.Deadline(); !ok || time.Until(deadline) > 0 {
		err = redact.Deadline(err) // a timeout of the base transport
	}
	limit, timedOut := cause.(expired) //nolint:errorlint // it may wrap the timeout of another call
	switch {
	case timedOut:
		err = limit.attemptTimeout
	case ended != nil && !errors.Is(ended, cause):
		err = fmt.Errorf("%w: %v", ended, err) //nolint:errorlint // see above
	case ended != nil && !errors.Is(err, ended):
		err = fmt.Errorf("%w: %w", ended, err)
	}
	var timeout net.Error // it may also be one of the base transport
	unanswered := ended != nil && b.ReadCloser == nil
	if unanswered && time.Duration(b.transport.silent.Add(int64(time.Since(b.began)))) >= silence || errors.As(err, &timeout) && timeout.Timeout() {
		b.transport.suspect.Store(true)
	}
	return err
}

// unsentError is the error of an attempt that was not sent, because there was no connection.
type unsentError struct{ error }

func (e *unsentError) Unwrap() error { return e.error }

// sentError is the error of an attempt that had a connection, so that it may have been sent.
type sentError struct{ error }

func (e *sentError) Unwrap() error { return e.error }

// connTrace records whether the base transport requested a connection, and whether it had one. A base that does not
// report to httptrace leaves both false.
type connTrace struct{ requested, connected atomic.Bool }

func (c *connTrace) trace(r *http.Request) *http.Request {
	return r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { c.requested.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { c.connected.Store(true) },
	}))
}

// unsent reports whether the attempt failed before it had a connection. Without a trace, only a DNS or dial error
// proves that.
func (c *connTrace) unsent(err error) bool {
	if _, ok := err.(tls.RecordHeaderError); ok { //nolint:errorlint // http.Client only recognizes it unwrapped
		return false
	}
	if c.requested.Load() {
		return !c.connected.Load()
	}
	op, ok := errors.AsType[*net.OpError](err)
	return contains[*net.DNSError](err) || ok && op.Op == "dial"
}
