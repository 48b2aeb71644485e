package reloads

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// operation is one of the four endpoints, or the full log, by the name that logs use.
type operation string

const (
	opList    operation = "list"
	opGet     operation = "get"
	opTrigger operation = "trigger"
	opCancel  operation = "cancel"
	opLog     operation = "log"
)

const cancelSuffix = "/actions/cancel"

func (op operation) method() string {
	if op == opTrigger || op == opCancel {
		return http.MethodPost
	}
	return http.MethodGet
}

// limiter is the one of the operation's tier.
func (c *Client) limiter(op operation) Limiter {
	switch op {
	case opTrigger:
		return c.limiters.Trigger
	case opCancel:
		return c.limiters.Cancel
	}
	return c.limiters.Read
}

// call is one call of an operation, as often as it has to be sent. It lives in one goroutine.
type call struct {
	client *Client
	loop   retryablehttp.Client
	op     operation
	path   string // as sent, without query

	attempts int  // sent so far
	retries  int  // of these, sent again because of a failure
	renewed  bool // the token was renewed after a 401
	token    string
	next     string // the renewed token, for the next attempt

	waited    time.Duration // for the limiter, before this attempt
	began     time.Time     // this attempt …
	ended     time.Time     // … with the last byte of its answer
	dialled   atomic.Bool   // this attempt: the transport looked for a connection …
	connected atomic.Bool   // … and had one

	// What came of the latest attempt.
	status int
	header http.Header
	body   *body         // from the client's pool; release returns it
	stream io.ReadCloser // of a log: the body, which is handed out instead
	err    error         // nil: status is a 2xx and body is whole
	answer *Error        // in err, if that is an answer
	again  bool          // it is to be sent again …
	wait   time.Duration // … after this time

	unclear bool // an attempt failed that may have taken effect
}

// send calls an operation until its outcome is final. The call it returns holds the answer, a 2xx; or the error
// of the last attempt, which is also returned, together with what ended the attempts if that was something else.
// The caller releases it.
func (c *Client) send(ctx context.Context, op operation, path, query string, body any) (*call, error) {
	target := c.endpoint + path
	if query != "" {
		target += "?" + query
	}
	k := &call{client: c, op: op, body: c.bodies.get()}
	if op == opTrigger && ctx != nil {
		ctx = k.trace(ctx)
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, op.method(), target, body)
	if err != nil {
		return k, fmt.Errorf("reloads: %w", err) // a nil ctx, for instance
	}
	k.path = req.URL.EscapedPath()
	maps.Copy(req.Header, c.header)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if op == opLog {
		req.Header.Set("Accept", "text/plain, application/json;q=0.5") // errors are JSON
	}
	if err := k.prepare(req.Request); err != nil {
		return k, err
	}
	k.loop = retryablehttp.Client{
		HTTPClient:   c.http,
		RetryMax:     math.MaxInt, // the call counts by itself
		CheckRetry:   k.settle,
		Backoff:      func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return k.wait },
		PrepareRetry: k.prepare,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	_, stopped := k.loop.Do(req)
	if k.again && stopped != nil { // while it waited to send again: ctx ended, or there was no token
		k.err = fmt.Errorf("%w; the attempt before: %w", stopped, k.err)
	}
	return k, k.err
}

// prepare readies req for an attempt: its turn in the tier, and its token.
func (k *call) prepare(req *http.Request) error {
	ctx := req.Context()
	start := time.Now()
	if err := k.client.limiter(k.op).Wait(ctx); err != nil {
		return fmt.Errorf("reloads: %s %s: waiting for the rate limit: %w", req.Method, k.path, err)
	}
	k.waited = time.Since(start)
	token := k.next
	k.next = ""
	if token == "" {
		var err error
		if token, err = k.client.fetchToken(ctx, ""); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("reloads: %s %s: %w", req.Method, k.path, err)
	}
	k.token = token
	if k.attempts > 0 {
		req.Header = maps.Clone(req.Header) // the attempt before may still be reading its own
	}
	req.Header.Set("Authorization", "Bearer "+token)
	k.dialled.Store(false)
	k.connected.Store(false)
	k.began = time.Now()
	return nil
}

// trace notes whether the transport got a connection: without one, nothing was sent. A transport that does not
// report to httptrace leaves both notes false.
func (k *call) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { k.dialled.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { k.connected.Store(true) },
	})
}

// settle takes the outcome of an attempt in, its body included, and decides whether the request is sent again.
func (k *call) settle(ctx context.Context, resp *http.Response, err error) (bool, error) {
	k.attempts++
	k.status, k.header, k.answer, k.again = 0, nil, nil, false
	k.body.Reset()
	if err != nil {
		k.err = k.transportError(err)
	} else {
		k.err = k.read(resp)
	}
	k.ended = time.Now()
	k.log(ctx)
	if k.err == nil || ctx.Err() != nil {
		k.unclear = k.unclear || k.err != nil && k.effect() == effectUnclear
		return false, nil
	}
	k.again = k.retry(ctx)
	return k.again, nil
}

// log writes the line of an attempt.
func (k *call) log(ctx context.Context) {
	if !k.client.logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	k.client.logger.LogAttrs(ctx, slog.LevelDebug, "reloads: attempt", k.attrs(
		slog.Duration("waited", k.waited), slog.Duration("duration", k.ended.Sub(k.began)))...)
}

// attrs are what every line of the call has, and more.
func (k *call) attrs(more ...slog.Attr) []slog.Attr {
	attrs := append([]slog.Attr{
		slog.String("operation", string(k.op)), slog.String("path", k.path),
		slog.Int("attempt", k.attempts), slog.Int("status", k.status),
	}, more...)
	if k.err != nil {
		attrs = append(attrs, slog.String("error", withoutBody(k.err)))
	}
	if k.answer != nil && k.answer.TraceID != "" {
		attrs = append(attrs, slog.String("trace_id", k.answer.TraceID))
	}
	return attrs
}

// withoutBody is the text of err without the beginning of a body.
func withoutBody(err error) string {
	var e *Error
	if !errors.As(err, &e) || e.Body == "" {
		return err.Error()
	}
	bare := *e
	bare.Body = ""
	return strings.Replace(err.Error(), e.Error(), bare.Error(), 1)
}
