package reloads

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// BodyLimits are how many bytes of an answer's body are read, after it was decompressed. A longer body is an [*Error]
// that matches [ErrBodyTooLong]. For a moment up to three times as much memory is used. See [WithBodyLimits].
type BodyLimits struct {
	// Answer is for a record or a page. 0 means 64 MiB: a page of 100 reloads with long logs fits.
	Answer int64
	// Error is for an answer outside 2xx. 0 means 1 MiB.
	Error int64
}

const shownBody = 512 // bytes in an error of a body that is not the API's

func (l BodyLimits) withDefaults() BodyLimits {
	setDefault(&l.Answer, 64<<20)
	setDefault(&l.Error, 1<<20)
	return l
}

// read takes an answer in. The connection is free again when it returns, except that of a log.
func (k *call) read(resp *http.Response) error {
	k.status, k.header = resp.StatusCode, resp.Header
	ok := isSuccess(k.status)
	if ok && k.op == opLog && !isHTML(resp.Header) {
		k.stream = untimed(resp.Body)
		return nil
	}
	defer resp.Body.Close()
	limit := k.client.bodyLimits.Error
	if ok {
		limit = k.client.bodyLimits.Answer
	}
	var err error
	if resp.StatusCode != http.StatusSwitchingProtocols { // its body is a connection without end
		err = k.readBody(resp, limit)
	}
	switch {
	case !ok:
		e := k.answerError() // with as much of the body as came
		if errors.Is(err, ErrBodyTooLong) {
			e.Err = err
		}
		return e
	case errors.Is(err, ErrBodyTooLong):
		return k.broken(err)
	case err != nil:
		return k.transportError(fmt.Errorf("reading the answer's body: %w", err))
	case k.op == opLog:
		return k.broken(errNoLog)
	}
	return nil
}

// readBody reads at most limit bytes.
func (k *call) readBody(resp *http.Response, limit int64) error {
	// Room for what is announced, as far as it is kept, and for the attempt to read more.
	k.body.Grow(int(min(max(resp.ContentLength, 0), limit, keptBody)) + bytes.MinRead)
	k.body.limited = io.LimitedReader{R: resp.Body, N: limit + min(1, math.MaxInt64-limit)}
	n, err := k.body.ReadFrom(&k.body.limited)
	if n > limit {
		return fmt.Errorf("%w: at most %d bytes are read", ErrBodyTooLong, limit)
	}
	return err
}

// decoder returns one for the body of the answer.
func (k *call) decoder() *decoder {
	k.body.decoder.reset(k.body.Bytes())
	return &k.body.decoder
}

// body is the buffer of an answer's body, what fills it, and what decodes it.
type body struct {
	bytes.Buffer
	limited io.LimitedReader
	decoder decoder
}

// bodies is a pool.
type bodies struct{ pool sync.Pool }

func (b *bodies) get() *body {
	if buf, ok := b.pool.Get().(*body); ok {
		return buf
	}
	return new(body)
}

// keptBody is the size of the largest buffer that is kept: a page with long logs has one or two MB.
const keptBody = 4 << 20

// release gives the body back.
func (k *call) release() {
	if k.body.Cap() <= keptBody+bytes.MinRead {
		k.body.Reset()
		k.body.limited.R = nil
		k.client.bodies.pool.Put(k.body)
	}
}

// transportError describes an attempt without an answer. The URL is left out, since its query may be long; the
// path is not.
func (k *call) transportError(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if text := err.Error(); strings.Contains(text, k.token) {
		err = &redactedError{k.redact(text), err}
	}
	return fmt.Errorf("reloads: %s %s: %w", k.op.method(), k.path, err)
}

// redactedError is err, whose kind still matters, without the token that its text quotes from the server's answer.
type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.err }

// answerError is the answer as an error, with what its body says.
func (k *call) answerError() *Error {
	e := &Error{
		StatusCode:  k.status,
		Method:      k.op.method(),
		Path:        k.path,
		Attempts:    k.attempts,
		ContentType: k.redact(k.header.Get("Content-Type")),
	}
	k.answer = e
	if after := k.header.Get("Retry-After"); after != "" {
		e.RetryAfter, e.hasRetryAfter = retryAfter(after, k.reading().now())
	}
	body, ok := k.decoder().errors()
	if !ok {
		e.Body = k.snippet()
		return e
	}
	e.TraceID = k.redact(body.traceID)
	for i, d := range body.details {
		body.details[i] = ErrorDetail{Code: Code(k.redact(string(d.Code))), Title: k.redact(d.Title), Detail: k.redact(d.Detail)}
	}
	e.Details = body.details
	return e
}

// broken is a 2xx whose body is not what was promised.
func (k *call) broken(err error) *Error {
	e := k.answerError()
	e.Details, e.TraceID = nil, ""
	e.Body = k.snippet()
	if e.Err = err; strings.Contains(err.Error(), k.token) {
		e.Err = errors.New(k.redact(err.Error()))
	}
	return e
}

// snippet is the beginning of the body, as text.
func (k *call) snippet() string {
	s := string(k.body.Bytes()[:min(k.body.Len(), shownBody+len(k.token))])
	s = k.redact(s)
	for n := min(len(k.token)-1, len(s)); n > 0; n-- { // a token that the cut broke off
		if strings.HasSuffix(s, k.token[:n]) {
			s = s[:len(s)-n]
			break
		}
	}
	return shorten(strings.ToValidUTF8(s, "\uFFFD"), shownBody)
}

// redact takes the token out of a text that the server wrote.
func (k *call) redact(s string) string { return strings.ReplaceAll(s, k.token, redacted) }

// reading is what the answer tells of the service's clock.
func (k *call) reading() reading {
	date, _ := http.ParseTime(k.header.Get("Date")) // zero if there is none
	return reading{date: date, sent: k.began, received: k.ended}
}
