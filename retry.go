package reloads

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// failure is what an error means for the next try. Every decision about errors in this package starts with it.
type failure int

const (
	// permanent: the same request would fail in the same way.
	permanent failure = iota
	// notProcessed: the service did nothing. Every operation may be retried.
	notProcessed
	// outcomeUnknown: the request may have taken effect. Only an idempotent operation may be retried.
	outcomeUnknown
	// invalidResponse: a 2xx with an invalid body. It took effect, and a retry would bring the same body.
	invalidResponse
	// notFound: 404.
	notFound
	// noToken: the token source failed.
	noToken
)

// classify returns the failure that err is. err is not nil.
func classify(err error) failure {
	var response *Error
	var token *tokenError
	var unsent *unsentError
	switch {
	case errors.As(err, &token):
		return noToken
	case errors.As(err, &response):
		return classifyResponse(response)
	case errors.Is(err, ErrBadRequest), isCertificateError(err):
		return permanent
	case errors.Is(err, ErrRateLimited), errors.As(err, &unsent):
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
	}
	switch e.StatusCode {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return outcomeUnknown
	}
	return permanent
}

// mayHaveTakenEffect reports whether a request that failed with err may have taken effect.
func mayHaveTakenEffect(err error) bool {
	failure := classify(err)
	return failure == outcomeUnknown || failure == invalidResponse
}

// isCertificateError reports whether the server could not be authenticated, or does not speak TLS.
func isCertificateError(err error) bool {
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

// shouldRetry decides whether a failed attempt is retried after the wait. retries is how many there were before.
func (p RetryPolicy) shouldRetry(ctx context.Context, a *attempt, retries int, wait time.Duration) bool {
	switch failure := classify(a.err); {
	case failure != notProcessed && (failure != outcomeUnknown || a.op == opTrigger):
		return false
	case retries >= p.MaxRetries, a.response != nil && a.response.RetryAfter > p.MaxRetryAfter:
		return false
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
		a.err = fmt.Errorf("%w; the next attempt would be in %v: %w", a.err, wait, context.DeadlineExceeded)
		return false
	}
	return true
}

// wait returns the wait that the service asks for, or the backoff.
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

// notFoundGrace is how long a 404 does not end a wait. A new reload may not be visible at once.
const notFoundGrace = 10 * time.Second

// endsWait reports whether a failed poll ends a wait. seen means that an earlier poll succeeded.
func endsWait(err error, seen bool, waited time.Duration) bool {
	switch classify(err) {
	case noToken:
		return !seen // a source that has worked may work again
	case notFound:
		return seen || waited >= notFoundGrace
	case permanent:
		return !errors.Is(err, ErrServer)
	}
	return false
}

// endsLists reports whether a failed list means that this token cannot list the reloads.
func endsLists(err error) bool {
	return errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrForbidden) || errors.Is(err, ErrBadRequest)
}

// endsReconciliation reports whether a failed list means that the outcome of a trigger stays unknown.
func endsReconciliation(err error) bool { return errors.Is(err, errAmbiguous) || endsLists(err) }

var errAmbiguous = errors.New("a reload of the app may be the triggered one, or an earlier one")
