package reloads

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// call is one call of an operation, with all its attempts. It is used by one goroutine.
type call struct {
	client *Client
	loop   retryablehttp.Client
	op     operation
	path   string

	attempt   *attempt      // the most recent one
	retries   int           // after failures
	retrying  bool          // another attempt follows …
	wait      time.Duration // … after this wait
	renewed   bool          // the token was renewed after a 401
	nextToken string        // the renewed token

	mayHaveTakenEffect bool // an attempt failed whose outcome is unknown
}

// send sends a request until its outcome is final. The error is that of the last attempt, together with what prevented
// the next one. The caller must release the call.
func (c *Client) send(ctx context.Context, op operation, path, query string, body any) (*call, error) {
	target := c.endpoint + path
	if query != "" {
		target += "?" + query
	}
	buffer, ok := c.buffers.Get().(*bytes.Buffer)
	if !ok {
		buffer = new(bytes.Buffer)
	}
	k := &call{client: c, op: op, attempt: &attempt{op: op, body: buffer}}
	req, err := retryablehttp.NewRequestWithContext(ctx, op.method(), target, body)
	if err != nil {
		return k, fmt.Errorf("reloads: %w", err) // for example a nil ctx
	}
	k.path = req.URL.EscapedPath()
	maps.Copy(req.Header, c.header)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if op == opLog {
		req.Header.Set("Accept", "text/plain, application/json;q=0.5") // errors are JSON
	}
	if err := k.begin(req.Request); err != nil {
		return k, err
	}
	k.loop = retryablehttp.Client{
		HTTPClient:   c.http,
		RetryMax:     math.MaxInt, // shouldRetry counts
		CheckRetry:   k.finish,
		Backoff:      func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return k.wait },
		PrepareRetry: k.begin,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	_, stopped := k.loop.Do(req)
	err = k.attempt.err
	if k.retrying && stopped != nil { // ctx ended before the next attempt, or there was no token
		err = fmt.Errorf("%w; the previous attempt: %w", stopped, err)
	}
	return k, err
}

// begin prepares the request for an attempt: it waits for the rate limit and sets the token.
func (c *call) begin(req *http.Request) error {
	ctx := req.Context()
	start := time.Now()
	if err := c.client.limiter(c.op).Wait(ctx); err != nil {
		return fmt.Errorf("reloads: %s %s: waiting for the rate limit: %w", req.Method, c.path, err)
	}
	waited := time.Since(start)
	token := c.nextToken
	c.nextToken = ""
	if token == "" {
		var err error
		if token, err = c.client.tokens.get(ctx, ""); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("reloads: %s %s: %w", req.Method, c.path, err)
	}
	previous := c.attempt
	if previous.number > 0 {
		req.Header = maps.Clone(req.Header) // the previous attempt may still read its own
	}
	req.Header.Set("Authorization", "Bearer "+token)
	previous.body.Reset()
	c.attempt = &attempt{
		op: c.op, path: c.path, number: previous.number + 1, token: token,
		waited: waited, began: time.Now(), body: previous.body,
	}
	return nil
}

// finish stores the outcome of an attempt, including its body, and reports whether another one follows.
func (c *call) finish(ctx context.Context, resp *http.Response, err error) (bool, error) {
	a := c.attempt
	a.receive(resp, err)
	c.log(ctx, slog.LevelDebug, "reloads: attempt", slog.Duration("waited", a.waited), slog.Duration("duration", a.ended.Sub(a.began)))
	c.retrying = a.err != nil && c.prepareRetry(ctx)
	return c.retrying, nil
}

// prepareRetry reports whether another attempt follows a failed one, and sets the wait before.
func (c *call) prepareRetry(ctx context.Context) bool {
	a, policy := c.attempt, c.client.retry
	c.mayHaveTakenEffect = c.mayHaveTakenEffect || mayHaveTakenEffect(a.err)
	if ctx.Err() != nil {
		return false
	}
	if a.status == http.StatusUnauthorized {
		return c.renewToken(ctx)
	}
	c.wait = policy.wait(a, c.retries)
	if a.response != nil && a.response.Is(ErrRateLimited) {
		c.pauseTier(ctx, min(c.wait, policy.MaxRetryAfter))
	}
	if !policy.shouldRetry(ctx, a, c.retries, c.wait) {
		return false
	}
	c.retries++
	c.log(ctx, slog.LevelWarn, "reloads: retry", slog.Duration("wait", c.wait))
	return true
}

// renewToken requests another token after a 401, once a call. Without another token the 401 is final.
func (c *call) renewToken(ctx context.Context) bool {
	if c.renewed {
		return false
	}
	c.renewed = true
	a := c.attempt
	token, err := c.client.tokens.get(ctx, a.token)
	if err != nil {
		a.err = fmt.Errorf("%w; renewing the token: %w", a.err, err)
		return false
	}
	if token == a.token {
		return false
	}
	c.nextToken, c.wait = token, 0
	c.log(ctx, slog.LevelWarn, "reloads: retry with a renewed token")
	return true
}

// pauseTier tells the tier's limiter about a 429, so that all callers wait.
func (c *call) pauseTier(ctx context.Context, d time.Duration) {
	if limiter, ok := c.client.limiter(c.op).(interface{ Pause(until time.Time) }); ok {
		limiter.Pause(time.Now().Add(d))
		c.log(ctx, slog.LevelWarn, "reloads: rate limit reached, the tier pauses", slog.Duration("pause", d))
	}
}

// limiter returns the limiter of the operation's tier.
func (c *Client) limiter(op operation) Limiter {
	switch op {
	case opTrigger:
		return c.limiters.Trigger
	case opCancel:
		return c.limiters.Cancel
	}
	return c.limiters.Read
}

// release returns the buffer of the body to the client.
func (c *call) release() {
	if body := c.attempt.body; body.Cap() <= pooledBody+bytes.MinRead {
		body.Reset()
		c.client.buffers.Put(body)
	}
}

// log logs the most recent attempt.
func (c *call) log(ctx context.Context, level slog.Level, message string, more ...slog.Attr) {
	if !c.client.logger.Enabled(ctx, level) {
		return
	}
	a := c.attempt
	attrs := append([]slog.Attr{
		slog.String("operation", string(c.op)), slog.String("path", c.path),
		slog.Int("attempt", a.number), slog.Int("status", a.status),
	}, more...)
	if a.err != nil {
		attrs = append(attrs, slog.String("error", withoutBody(a.err)))
	}
	if a.response != nil && a.response.TraceID != "" {
		attrs = append(attrs, slog.String("trace_id", a.response.TraceID))
	}
	c.client.logger.LogAttrs(ctx, level, message, attrs...)
}

// withoutBody returns the text of err without the beginning of a body.
func withoutBody(err error) string {
	var e *Error
	if !errors.As(err, &e) || e.Body == "" {
		return err.Error()
	}
	bare := *e
	bare.Body = ""
	return strings.Replace(err.Error(), e.Error(), bare.Error(), 1)
}
