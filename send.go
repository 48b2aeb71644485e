package reloads

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

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
