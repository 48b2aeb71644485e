package reloads

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// failure is what an error means for the next attempt. Every decision about errors in this package starts with it.
type failure int

const (
	// permanent: the same request would fail in the same way.
	permanent failure = iota
	// notProcessed: the service did nothing. Every operation may be retried.
	notProcessed
	// outcomeUnknown: the request may have taken effect. Only an idempotent operation may be retried.
	outcomeUnknown
	// invalidResponse: a 2xx with an invalid body. The request took effect, and a retry would return the same body.
	invalidResponse
	// notFound: 404.
	notFound
	// noToken: the token source failed.
	noToken
	// noServer: the host name does not exist, or the server does not speak TLS or has no valid certificate. Nothing was
	// sent, and a retry soon afterwards would fail in the same way.
	noServer
)

// classify returns the failure that err represents. err must not be nil.
func classify(err error) failure {
	response, ok := errors.AsType[*Error](err)
	dns, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case contains[*tokenError](err):
		return noToken
	case ok:
		return classifyResponse(response)
	case contains[*sentError](err):
		return outcomeUnknown
	case errors.Is(err, ErrBadRequest):
		return permanent
	case isDNS && dns.IsNotFound, isTLSError(err):
		return noServer
	case errors.Is(err, ErrRateLimited), contains[*unsentError](err):
		return notProcessed
	}
	return outcomeUnknown
}

func classifyResponse(e *Error) failure {
	switch {
	case isSuccess(e.StatusCode): // its body is invalid
		return invalidResponse
	case e.Is(ErrRateLimited), e.StatusCode == http.StatusServiceUnavailable && e.hasRetryAfter:
		return notProcessed
	case e.Is(ErrNotFound):
		return notFound
	case e.StatusCode == http.StatusNotImplemented, e.StatusCode == http.StatusHTTPVersionNotSupported,
		e.StatusCode == http.StatusNetworkAuthenticationRequired:
		return permanent // the service or gateway did not process the request
	case e.Is(ErrServer):
		return outcomeUnknown
	}
	return permanent
}

// mayHaveTakenEffect reports whether a request that failed may have taken effect.
func (f failure) mayHaveTakenEffect() bool { return f == outcomeUnknown || f == invalidResponse }

// isTLSError reports whether the server could not be authenticated, or does not speak TLS.
func isTLSError(err error) bool {
	return contains[*tls.CertificateVerificationError](err) || contains[tls.RecordHeaderError](err) ||
		contains[x509.UnknownAuthorityError](err) || contains[x509.HostnameError](err) ||
		contains[x509.CertificateInvalidError](err) || errors.Is(err, http.ErrSchemeMismatch)
}

// isExpired reports whether a limiter failed because ctx has ended, or would have ended before the request could start.
// A limiter may have a timeout of its own, so DeadlineExceeded counts only if ctx has a deadline.
func isExpired(ctx context.Context, err error) bool {
	_, hasDeadline := ctx.Deadline()
	return ctx.Err() != nil || hasDeadline && (errors.Is(err, context.DeadlineExceeded) ||
		strings.HasPrefix(err.Error(), "rate: Wait(n=1) would exceed")) // of golang.org/x/time/rate
}

// shouldRetry decides whether an attempt that failed with err is retried. retries is how many there were before.
func (p RetryPolicy) shouldRetry(op operation, err error, retries int) bool {
	failure := classify(err)
	retryable := failure == notProcessed || failure == outcomeUnknown && op != opTrigger
	return retryable && retryAfterOf(err) <= p.MaxRetryAfter && retries < p.MaxRetries
}

// wait returns the time until the next attempt: the Retry-After of the response or, without one, the backoff.
func (p RetryPolicy) wait(err error, retries int) time.Duration {
	return cmp.Or(retryAfterOf(err), p.backoff(retries))
}

// retryAfterOf returns the Retry-After of the response in err, or 0.
func retryAfterOf(err error) time.Duration {
	if response, ok := errors.AsType[*Error](err); ok {
		return response.RetryAfter
	}
	return 0
}

// refusal returns for how long the service refuses requests, according to the error of one, if it is not nil: the
// Retry-After of a 429 or 503, as far as it is honored.
func (p RetryPolicy) refusal(err error) time.Duration {
	if err == nil || classify(err) != notProcessed {
		return 0
	}
	return min(retryAfterOf(err), p.MaxRetryAfter)
}

// backoff returns the wait before retry n, counted from 0.
func (p RetryPolicy) backoff(n int) time.Duration {
	d := p.MaxBackoff
	if n < 32 && p.MinBackoff < d>>n {
		d = p.MinBackoff << n
	}
	return d - rand.N(d/2+1) //nolint:gosec // the jitter need not be secret
}

const (
	notFoundGrace = 10 * time.Second // a new reload may not be visible at once
	minFailures   = 5                // minimum number of failed polls before a wait gives up
	minUnseen     = 20               // of one reload while others work: in a large batch, five may fail by chance
	minInvalid    = 3                // minimum number of invalid responses in a row before a wait ends
	invalidSpan   = time.Minute      // minimum time from the first to the last of them
)

// streak is a number of failures in a row.
type streak struct {
	n     int
	since time.Time // when the first of them was
}

// add counts a failure. It reports whether there are at least n by now, over at least the given time.
func (s *streak) add(n int, over time.Duration) bool {
	s.n, s.since = s.n+1, earlier(s.since, time.Now())
	return s.n >= n && time.Since(s.since) >= over
}

// giveUp counts a failed poll, and returns an error if n or more have failed. Waiting for the rate limit is not a failure.
func (s *streak) giveUp(err error, n int, after time.Duration) error {
	if errors.Is(err, ErrRateLimited) || !s.add(n, after) || after < 0 {
		return nil
	}
	return fmt.Errorf("reloads: all polls failed for %v: %w", after, err)
}

// pollHealth decides when a failed poll of a reload ends the wait for it.
type pollHealth struct {
	firstSeen time.Time // when a response first contained the reload; zero if none did
	invalid   streak    // of responses
}

// endsWait reports whether a poll that began at polled, and failed, ends the wait.
func (h *pollHealth) endsWait(polled time.Time, err error) bool {
	failure := classify(err)
	if failure != invalidResponse {
		h.invalid = streak{}
	}
	switch failure {
	case notFound:
		return h.firstSeen.IsZero() || polled.Sub(h.firstSeen) >= notFoundGrace
	case invalidResponse:
		return h.invalid.add(minInvalid, invalidSpan)
	case permanent:
		return true
	default:
		return false
	}
}

// succeeded records a poll that succeeded.
func (h *pollHealth) succeeded() {
	h.invalid = streak{}
	h.firstSeen = earlier(h.firstSeen, time.Now())
}

// outage decides when failed polls end all waits for the reloads that are waited for together. It is safe for concurrent use.
type outage struct {
	mu     sync.Mutex
	worked bool   // a call succeeded before
	polls  streak // that failed since the most recent success
}

// failed records a failed poll, and returns an error if the waits end.
func (o *outage) failed(err error, giveUpAfter time.Duration) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if failure := classify(err); (failure == noToken || failure == noServer) && !o.worked {
		return err // after an earlier success, the failure may be temporary
	}
	return o.polls.giveUp(err, minFailures, giveUpAfter)
}

func (o *outage) succeeded() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.worked, o.polls = true, streak{}
}

// endsLists reports whether a list failed in a way that further lists would fail, too: the token may not list the
// reloads, or the service refuses the query. A token that could not be renewed may be renewed later.
func endsLists(err error) bool {
	return err != nil && classify(err) != noToken &&
		(errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrForbidden) || errors.Is(err, ErrBadRequest))
}
