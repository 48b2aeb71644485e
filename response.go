package reloads

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
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

// reload decodes an answer that is one record.
func (k *call) reload() (*Reload, error) {
	r, err := k.decoder().reload()
	if err == nil && r.ID == "" {
		err = errNoID
	}
	if err != nil {
		return nil, k.broken(err)
	}
	return r, nil
}

var errNoID = errors.New("a record has no id")

// errNoLog is the answer of a gateway that asks to sign in, say.
var errNoLog = errors.New("it is HTML, a log is plain text")

func isHTML(h http.Header) bool {
	mediaType, _, _ := mime.ParseMediaType(h.Get("Content-Type")) // "" if it is none
	return mediaType == "text/html"
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

const shownBody = 512 // bytes in an error of a body that is not the API's

// redact takes the token out of a text that the server wrote.
func (k *call) redact(s string) string { return strings.ReplaceAll(s, k.token, redacted) }

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

// reading is what the answer tells of the service's clock.
func (k *call) reading() reading {
	date, _ := http.ParseTime(k.header.Get("Date")) // zero if there is none
	return reading{date: date, sent: k.began, received: k.ended}
}
