package reloads

import (
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
	var response *Error
	var token *tokenError
	var sent *sentError
	var dns *net.DNSError
	switch {
	case errors.As(err, &token):
		return noToken
	case errors.As(err, &response):
		return classifyResponse(response)
	case errors.As(err, &sent):
		return outcomeUnknown
	case errors.Is(err, ErrBadRequest):
		return permanent
	case errors.Is(err, errOtherReload):
		return invalidResponse
	case errors.As(err, &dns) && dns.IsNotFound, isTLSError(err):
		return noServer
	case errors.Is(err, ErrRateLimited), isUnsent(err):
		return notProcessed
	}
	return outcomeUnknown
}

func classifyResponse(e *Error) failure {
	switch {
	case e.invalidResponse():
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

// errOtherReload means that a response is the record of another reload, for example because a proxy mixed up responses.
var errOtherReload = errors.New("the response is the record of another reload")

// mayHaveTakenEffect reports whether a request that failed with err may have taken effect.
func mayHaveTakenEffect(err error) bool {
	failure := classify(err)
	return failure == outcomeUnknown || failure == invalidResponse
}

// isTemporary reports whether the same request may succeed later.
func isTemporary(err error) bool {
	failure := classify(err)
	return failure == notProcessed || failure == outcomeUnknown
}

// isTLSError reports whether the server could not be authenticated, or does not speak TLS.
func isTLSError(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		certificate  x509.CertificateInvalidError
	)
	return errors.As(err, &verification) || errors.As(err, &record) || errors.As(err, &authority) ||
		errors.As(err, &hostname) || errors.As(err, &certificate) || errors.Is(err, http.ErrSchemeMismatch)
}

// isExpired reports whether a limiter failed because ctx has ended, or would have ended before the request could start.
// A limiter may have a timeout of its own, so DeadlineExceeded counts only if ctx has a deadline.
func isExpired(ctx context.Context, err error) bool {
	_, hasDeadline := ctx.Deadline()
	return ctx.Err() != nil || hasDeadline && (errors.Is(err, context.DeadlineExceeded) ||
		strings.HasPrefix(err.Error(), "rate: Wait(n=1) would exceed")) // of golang.org/x/time/rate
}

// shouldRetry decides whether a failed attempt is retried. retries is how many there were before.
func (p RetryPolicy) shouldRetry(a *attempt, retries int) bool {
	retryable := isTemporary(a.err) && (a.op != opTrigger || classify(a.err) == notProcessed)
	tooLong := a.response != nil && a.response.RetryAfter > p.MaxRetryAfter
	return retryable && !tooLong && retries < p.MaxRetries
}

// wait returns the time until the next attempt: the Retry-After of the response or, without one, the backoff.
func (p RetryPolicy) wait(a *attempt, retries int) time.Duration {
	if a.response != nil && a.response.RetryAfter > 0 {
		return a.response.RetryAfter
	}
	return p.backoff(retries)
}

// backoff returns the wait before retry n, counted from 0.
func (p RetryPolicy) backoff(n int) time.Duration {
	d := p.MaxBackoff
	if n < 32 && p.MinBackoff < d>>n {
		d = p.MinBackoff << n
	}
	return d - rand.N(d/2+1)
}

const (
	notFoundGrace = 10 * time.Second // a new reload may not be visible at once
	minFailures   = 5                // minimum number of failed polls before a wait gives up
	minInvalid    = 3                // minimum number of invalid responses in a row before a wait ends
	invalidSpan   = time.Minute      // minimum time from the first to the last of them
)

// pollHealth decides when failed polls of a reload end the wait for it.
type pollHealth struct {
	firstSeen time.Time // when a response first contained the reload; zero if none did

	invalid      int // invalid responses in a row
	invalidSince time.Time
}

// endsWait reports whether a failed poll ends the wait.
func (h *pollHealth) endsWait(err error, now time.Time) bool {
	failure := classify(err)
	if failure != invalidResponse {
		h.invalid = 0
	}
	switch failure {
	case notFound:
		return h.firstSeen.IsZero() || now.Sub(h.firstSeen) >= notFoundGrace
	case invalidResponse:
		if h.invalid++; h.invalid == 1 {
			h.invalidSince = now
		}
		return h.invalid >= minInvalid && now.Sub(h.invalidSince) >= invalidSpan
	case permanent:
		return true
	}
	return false
}

// succeeded records a poll that succeeded.
func (h *pollHealth) succeeded(now time.Time) {
	h.invalid = 0
	if h.firstSeen.IsZero() {
		h.firstSeen = now
	}
}

// outage counts the polls that failed since the most recent success, of all reloads that are waited for together. It is
// safe for concurrent use.
type outage struct {
	mu       sync.Mutex
	worked   bool // a call succeeded before
	failures int
	since    time.Time
}

// failed records a failed poll, and returns an error if the wait ends. Waiting for the rate limit is not a failure.
func (o *outage) failed(err error, giveUpAfter time.Duration) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch failure := classify(err); {
	case (failure == noToken || failure == noServer) && !o.worked:
		return err // after an earlier success, the failure may be temporary
	case errors.Is(err, ErrRateLimited):
		return nil
	}
	now := time.Now()
	if o.failures++; o.failures == 1 {
		o.since = now
	}
	if giveUpAfter > 0 && o.failures >= minFailures && now.Sub(o.since) >= giveUpAfter {
		return fmt.Errorf("reloads: all polls failed for %v: %w", giveUpAfter, err)
	}
	return nil
}

func (o *outage) succeeded() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.worked, o.failures = true, 0
}

// endsLists reports whether a list failed in a way that further lists would fail, too: the token may not list the
// reloads, or the service refuses the query.
func endsLists(err error) bool {
	return errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrForbidden) || errors.Is(err, ErrBadRequest)
}
