package reloads

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// apiRequest is what send needs to know about a call.
type apiRequest struct {
	op          operation
	path, query string // escaped
	body        any
	// inFlight replaces ctx while an attempt is in flight, so that the attempt may outlive ctx. Nil means ctx.
	inFlight context.Context
	// check is called before each attempt, if it is set. It calls admit to wait for the rate limit. An error ends the call.
	check    func(ctx context.Context, admit admission) error
	once     bool // the request is not retried, except with a renewed token
	retries  int  // after failures, without the one after a 401
	attempts int  // that earlier calls made for the same purpose
}

// call is one call of an operation, with all its attempts. It is used by one goroutine.
type call struct {
	client *Client
	loop   *retryablehttp.Client // calls the methods of this call

	apiRequest
	ctx context.Context
	req retryablehttp.Request

	attempt   attempt       // the most recent one
	retrying  bool          // another attempt follows
	wait      time.Duration // before that attempt
	token     string        // of the attempt that begins
	waited    time.Duration // of that attempt, for the rate limit
	renewed   bool          // the token was renewed after a 401
	nextToken string        // the renewed token

	mayHaveTakenEffect bool // an attempt failed whose outcome is unknown
	unconnected        bool // an attempt failed to connect while ctx went on
	expired            bool // no attempt follows because ctx has ended, or would end before it starts
}

// expiredError is the error of a call that had no effect because ctx ended, or would have ended, before it could start.
type expiredError struct{ error }

func (e *expiredError) Unwrap() error { return e.error }

// newCall returns a call. Released calls are used again, because of their buffers and functions.
func (c *Client) newCall() *call {
	if k, ok := c.calls.Get().(*call); ok {
		return k
	}
	k := &call{client: c, attempt: attempt{body: new(bytes.Buffer)}}
	k.loop = &retryablehttp.Client{
		HTTPClient:   c.http,
		RetryMax:     math.MaxInt, // shouldRetry limits the retries
		CheckRetry:   k.finishAttempt,
		Backoff:      func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return k.wait },
		PrepareRetry: k.beginAttempt,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	return k
}

// release ends the use of the call and of its attempt.
func (c *call) release() {
	if body := c.attempt.body; body.Cap() <= pooledBody+bytes.MinRead {
		body.Reset()
		*c = call{client: c.client, loop: c.loop, attempt: attempt{body: body}}
		c.client.calls.Put(c)
	}
}

// send sends a request until its outcome is final. The error is that of the last attempt, together with what prevented
// the next one. The caller must release the call.
func (c *Client) send(ctx context.Context, r apiRequest) (*call, error) {
	k := c.newCall()
	k.apiRequest, k.ctx, k.attempt.op, k.attempt.number = r, ctx, r.op, r.attempts
	if ctx == nil {
		return k, errNilContext
	}
	req := c.request.WithContext(ctx)
	path, _ := url.PathUnescape(r.path) // it is valid
	req.Method, req.URL = r.op.method(), &url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Path: path, RawPath: r.path, RawQuery: r.query}
	k.req.Request = req
	err := cmp.Or(k.req.SetBody(r.body), k.beginAttempt(req))
	if err == nil {
		_, stopped := k.loop.Do(&k.req) //nolint:bodyclose // attempt.read closes it
		err = k.attempt.err
		if k.retrying && stopped != nil { // ctx ended before the next attempt, or there was no token
			err = fmt.Errorf("%w; the previous attempt: %w", stopped, err)
			k.expired = k.expired || ctx.Err() != nil
		}
	}
	if err != nil && k.expired && !k.mayHaveTakenEffect && !k.unconnected {
		err = &expiredError{err}
	}
	return k, err
}

// beginAttempt prepares the request for an attempt. Each attempt has its own headers, because the previous one may
// still read them, and http.Client adds cookies to them.
func (c *call) beginAttempt(req *http.Request) error {
	var err error
	if c.check != nil {
		err = c.check(c.ctx, c.admit)
	} else {
		_, err = c.admit()
	}
	if err != nil {
		c.expired = c.expired || c.ctx.Err() != nil
		return err
	}
	previous := c.attempt
	req.Header = c.header()
	if c.inFlight != nil {
		*req = *req.WithContext(c.inFlight)
	}
	if c.op == opTrigger {
		req.GetBody = nil // with it, net/http retries a request by itself
	}
	previous.body.Reset()
	c.attempt = attempt{
		op: c.op, path: c.path, number: previous.number + 1, token: c.token, refused: previous.token,
		waited: c.waited, began: time.Now(), body: previous.body,
	}
	return nil
}

const (
	freshToken = 30 * time.Second // how long a token may wait for the rate limit before the source is asked again
	maxSlots   = 2                // of the rate limit that an attempt may take

	// maxLate is how long after its slot of the rate limit an attempt may start, whatever it does meanwhile. It is shorter
	// than the margin of a WindowLimiter for a minute.
	maxLate = 500 * time.Millisecond
)

// admission waits until an attempt may start. slot is when the rate limit admitted it. If the attempt does not start within
// maxLate of that, it must wait again.
type admission func() (slot time.Time, err error)

// admit returns when the request may start, and sets its token. It gets the token before it waits for the rate limit: a
// slow token source must not delay requests that the limiter has admitted, because they would then start together. A token
// that has waited for a long time is fetched again. If that is slow, the request waits for the limiter once more.
func (c *call) admit() (slot time.Time, err error) {
	c.waited = 0
	for slots := 0; ; {
		if c.token = c.nextToken; c.token == "" {
			if c.token, err = c.client.tokens.get(c.ctx, ""); err != nil {
				return slot, err
			}
		}
		c.nextToken = ""
		fetched := time.Now()
		if fetched.Sub(slot) < maxLate { // never before the first slot, which is the zero time
			break
		}
		if err := c.client.limiters.limiter(c.op).Wait(c.ctx); err != nil {
			if c.expired = isExpired(c.ctx, err); c.expired && c.ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("%w: %w: %w", ErrRateLimited, err, context.DeadlineExceeded)
			}
			return slot, fmt.Errorf("reloads: %s %s: waiting for the rate limit: %w", c.op.method(), c.path, err)
		}
		slots++
		slot = time.Now()
		c.waited += slot.Sub(fetched)
		if slot.Sub(fetched) < freshToken || slots == maxSlots { // with a slow source, a token may get old in every queue
			break
		}
	}
	if err := c.ctx.Err(); err != nil {
		return slot, fmt.Errorf("reloads: %s %s: %w", c.op.method(), c.path, err)
	}
	return slot, nil
}

func (c *call) header() http.Header {
	h := maps.Clone(c.client.request.Header)
	if c.body != nil {
		h["Content-Type"] = []string{"application/json"}
	}
	if c.op == opLog {
		h["Accept"] = []string{"text/plain, application/json;q=0.5"} // errors are JSON
	}
	if c.op == opList {
		h["Cache-Control"] = []string{"no-cache"}
	}
	h["Authorization"] = []string{"Bearer " + c.token}
	return h
}

// finishAttempt stores the outcome of an attempt, including its body, and reports whether another one follows.
func (c *call) finishAttempt(_ context.Context, resp *http.Response, err error) (bool, error) {
	a := &c.attempt
	a.receive(resp, err)
	if c.inFlight != nil { // the wait before a retry ends with ctx
		c.req.Request = c.req.WithContext(c.ctx).Request
	}
	c.log(slog.LevelDebug, "reloads: attempt", slog.Duration("waited", a.waited), slog.Duration("duration", a.ended.Sub(a.began)))
	c.retrying = a.err != nil && c.prepareRetry()
	return c.retrying, nil
}

// prepareRetry reports whether another attempt follows a failed one, and sets the wait before it.
func (c *call) prepareRetry() bool {
	a, policy := &c.attempt, c.client.retry
	c.mayHaveTakenEffect = c.mayHaveTakenEffect || classify(a.err).mayHaveTakenEffect()
	c.wait = policy.wait(a.err, c.retries)
	if a.response != nil && a.response.Is(ErrRateLimited) {
		c.pauseTier(min(c.wait, policy.MaxRetryAfter))
	}
	if ended := c.ctx.Err(); ended != nil {
		c.expired = errors.Is(a.err, ended) || policy.shouldRetry(a.op, a.err, c.retries) // otherwise the failure is final anyway
		return false
	}
	c.unconnected = c.unconnected || contains[*unsentError](a.err)
	if a.status == http.StatusUnauthorized {
		return c.renewToken()
	}
	if c.once || !policy.shouldRetry(a.op, a.err, c.retries) {
		return false
	}
	if deadline, ok := c.ctx.Deadline(); ok && time.Until(deadline) < c.wait {
		a.err = fmt.Errorf("%w; the next attempt would be in %v: %w", a.err, c.wait, context.DeadlineExceeded)
		c.expired = true
		return false
	}
	c.retries++
	c.log(slog.LevelWarn, "reloads: retry", slog.Duration("wait", c.wait))
	return true
}

// renewToken requests another token after a 401, at most once per call. If the token is the same, the 401 is final.
func (c *call) renewToken() bool {
	if c.renewed {
		return false
	}
	c.renewed = true
	a := &c.attempt
	token, err := c.client.tokens.get(c.ctx, a.token)
	if err != nil {
		c.expired = c.ctx.Err() != nil
		a.err = fmt.Errorf("%w; renewing the token: %w", a.err, err)
		return false
	}
	if token == a.token {
		return false
	}
	c.nextToken, c.wait = token, 0
	c.log(slog.LevelWarn, "reloads: retry with a renewed token")
	return true
}

// pauseTier tells the tier's limiter about a 429, so that all callers wait.
func (c *call) pauseTier(d time.Duration) {
	if limiter, ok := c.client.limiters.limiter(c.op).(interface{ Pause(until time.Time) }); ok {
		limiter.Pause(time.Now().Add(d))
		c.log(slog.LevelWarn, "reloads: rate limit reached, the tier pauses", slog.Duration("pause", d))
	}
}

// log logs the most recent attempt.
func (c *call) log(level slog.Level, message string, more ...slog.Attr) {
	if !c.client.logger.Enabled(c.ctx, level) {
		return
	}
	a := &c.attempt
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
	c.client.logger.LogAttrs(c.ctx, level, message, attrs...)
}
