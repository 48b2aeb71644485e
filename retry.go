package reloads

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// effect is what a failed attempt can have done to the service.
type effect int

const (
	effectFinal   effect = iota // the answer stands; sending it again would give the same
	effectNone                  // it did nothing: it may be sent again, whatever the operation
	effectUnclear               // it may have taken effect: only what is idempotent may be sent again
)

// effect classifies the latest failure.
func (k *call) effect() effect {
	answer := k.answer
	if answer == nil {
		switch {
		case isCertificateError(k.err):
			return effectFinal
		case k.neverSent():
			return effectNone
		}
		return effectUnclear
	}
	switch answer.StatusCode {
	case http.StatusTooManyRequests:
		if answer.Is(ErrRateLimited) {
			return effectNone
		}
	case http.StatusServiceUnavailable:
		if answer.hasRetryAfter {
			return effectNone
		}
		return effectUnclear
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return effectUnclear
	}
	if answer.broken() {
		return effectUnclear
	}
	return effectFinal
}

// neverSent reports whether the attempt failed before it had a connection. A transport that does not report to
// httptrace is believed when its error is one of dialling.
func (k *call) neverSent() bool {
	if k.dialled.Load() {
		return !k.connected.Load()
	}
	var dns *net.DNSError
	var op *net.OpError
	return errors.As(k.err, &dns) || errors.As(k.err, &op) && op.Op == "dial"
}

// isCertificateError reports whether the other side is not the one we were to talk to, or does not talk TLS: that does
// not pass.
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

// retry decides whether the request is sent again, and sets the wait before.
func (k *call) retry(ctx context.Context) bool {
	answer := k.answer
	isAnswer := answer != nil
	if isAnswer && answer.StatusCode == http.StatusUnauthorized {
		return k.renew(ctx)
	}
	policy := k.client.retry
	k.wait = policy.backoff(k.retries)
	if isAnswer && answer.RetryAfter > 0 {
		k.wait = answer.RetryAfter
	}
	if isAnswer && answer.Is(ErrRateLimited) {
		k.pause(ctx, min(k.wait, policy.MaxRetryAfter))
	}
	switch effect := k.effect(); {
	case effect == effectUnclear:
		k.unclear = true
		if k.op == opTrigger || isAnswer && answer.broken() {
			return false
		}
	case effect == effectFinal:
		return false
	}
	if k.retries >= policy.MaxRetries || isAnswer && answer.RetryAfter > policy.MaxRetryAfter {
		return false
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < k.wait {
		k.err = fmt.Errorf("%w; the next attempt would be in %v: %w", k.err, k.wait, context.DeadlineExceeded)
		return false
	}
	k.retries++
	k.client.logger.LogAttrs(ctx, slog.LevelWarn, "reloads: retry", k.attrs(slog.Duration("wait", k.wait))...)
	return true
}

// backoff is the wait before retry number n, counted from 0.
func (p RetryPolicy) backoff(n int) time.Duration {
	d := p.MaxBackoff
	if n < 32 && p.MinBackoff < d>>n {
		d = p.MinBackoff << n
	}
	return d - rand.N(d/2+1)
}

// renew asks for another token after a 401, once a call; if there is none, the 401 stands.
func (k *call) renew(ctx context.Context) bool {
	if k.renewed {
		return false
	}
	k.renewed = true
	token, err := k.client.fetchToken(ctx, k.token)
	if err != nil {
		k.err = fmt.Errorf("%w; renewing the token: %w", k.err, err)
		return false
	}
	if token == k.token {
		return false
	}
	k.next, k.wait = token, 0
	k.client.logger.LogAttrs(ctx, slog.LevelWarn, "reloads: retry with a renewed token", k.attrs()...)
	return true
}

// pause tells the tier's limiter of a 429, for every caller.
func (k *call) pause(ctx context.Context, d time.Duration) {
	if limiter, ok := k.client.limiter(k.op).(interface{ Pause(until time.Time) }); ok {
		limiter.Pause(time.Now().Add(d))
		k.client.logger.LogAttrs(ctx, slog.LevelWarn, "reloads: rate limit reached, the tier pauses", k.attrs(slog.Duration("pause", d))...)
	}
}

// notFoundGrace is how long a 404 is put up with: a reload may take a moment to be found after its trigger.
const notFoundGrace = 10 * time.Second

// endsWatch reports whether err says that further looks are in vain.
func (c *Client) endsWatch(err error, seen bool, watched time.Duration) bool {
	var answer *Error
	var noToken *tokenError
	switch {
	case errors.As(err, &noToken):
		return !seen // a source that has worked may work again
	case errors.Is(err, ErrNotFound):
		return seen || watched >= notFoundGrace
	case errors.Is(err, ErrBadRequest), isCertificateError(err):
		return true
	case errors.As(err, &answer):
		return !answer.broken() && !answer.Is(ErrServer) && !answer.Is(ErrRateLimited)
	}
	return false
}
