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
	"strconv"
	"strings"
	"time"
)

// RetryPolicy says how often and when a request is sent again after a failure that may pass: the wait doubles
// from MinBackoff to MaxBackoff, each with jitter of up to a half, and is what the service asks for where an
// answer has Retry-After. Which failures those are is in the package documentation.
//
// The default is RetryPolicy{MaxRetries: 5}.
type RetryPolicy struct {
	// MaxRetries is how often a request is sent again, at most; 0 means never. The one repetition with a
	// renewed token after a 401 does not count.
	MaxRetries int
	// MinBackoff is the wait before the first retry. 0 means 500 ms.
	MinBackoff time.Duration
	// MaxBackoff is the longest wait that the client chooses by itself. 0 means 30 s.
	MaxBackoff time.Duration
	// MaxRetryAfter is the longest wait that the service may ask for: a longer one is not waited for, the
	// answer is returned instead. 0 means 5 minutes, the period over which the service meters.
	MaxRetryAfter time.Duration
}

const defaultMaxRetries = 5

func (p RetryPolicy) withDefaults() RetryPolicy {
	setDefault(&p.MinBackoff, 500*time.Millisecond)
	setDefault(&p.MaxBackoff, max(30*time.Second, p.MinBackoff))
	setDefault(&p.MaxRetryAfter, 5*time.Minute)
	return p
}

func setDefault[T ~int64](d *T, value T) {
	if *d == 0 {
		*d = value
	}
}

func (p RetryPolicy) validate() error {
	if p.MaxRetries < 0 {
		return invalid("RetryPolicy.MaxRetries", strconv.Itoa(p.MaxRetries), "it must not be negative")
	}
	if err := nonNegative("RetryPolicy", map[string]time.Duration{
		"MinBackoff": p.MinBackoff, "MaxBackoff": p.MaxBackoff, "MaxRetryAfter": p.MaxRetryAfter,
	}); err != nil {
		return err
	}
	if d := p.withDefaults(); d.MinBackoff > d.MaxBackoff {
		return invalid("RetryPolicy.MinBackoff", d.MinBackoff.String(), fmt.Sprintf("it must not exceed MaxBackoff, %v", d.MaxBackoff))
	}
	return nil
}

func nonNegative(policy string, fields map[string]time.Duration) error {
	for name, d := range fields {
		if d < 0 {
			return invalid(policy+"."+name, d.String(), "it must not be negative")
		}
	}
	return nil
}

// backoff is the wait before retry number n, counted from 0.
func (p RetryPolicy) backoff(n int) time.Duration {
	d := p.MaxBackoff
	if n < 32 && p.MinBackoff < d>>n {
		d = p.MinBackoff << n
	}
	return d - rand.N(d/2+1)
}

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

// retryAfter reads a Retry-After header (RFC 9110, 10.2.3): whole seconds, or a date, which is compared with the
// date of the answer. A time in the past is 0. Nonsense is no header; what is too large for a Duration is the
// largest one.
func retryAfter(value string, now time.Time) (d time.Duration, ok bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	if strings.Trim(value, "0123456789") == "" {
		const most = int64(1<<63-1) / int64(time.Second)
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > most { // only a number that is too large does not parse
			seconds = most
		}
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now)), true
	}
	return 0, false
}
