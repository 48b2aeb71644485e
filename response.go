package reloads

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/reloads-go/reloads/internal/redact"
)

// operation is one of the calls of the API, by the name that logs use.
type operation string

const (
	opList    operation = "list"
	opGet     operation = "get"
	opTrigger operation = "trigger"
	opCancel  operation = "cancel"
	opLog     operation = "log"
)

func (op operation) method() string {
	if op == opTrigger || op == opCancel {
		return http.MethodPost
	}
	return http.MethodGet
}

// limiter returns the limiter of the operation's tier.
func (l Limiters) limiter(op operation) Limiter {
	switch op {
	case opTrigger:
		return l.Trigger
	case opCancel:
		return l.Cancel
	default:
		return l.Read
	}
}

// attempt is one HTTP request of a call, and its outcome. A retry is a new attempt.
type attempt struct {
	op      operation
	path    string // as sent, without query
	number  int    // counted from 1
	token   string
	refused string           // the token of the previous attempt
	secrets *redact.Redactor // of both; nil before the first use

	waited       time.Duration // for the rate limit
	began, ended time.Time     // up to the last byte of the response

	status   int
	header   http.Header
	body     *bytes.Buffer
	shown    string        // the beginning of the body, for errors; empty before the first one
	stream   io.ReadCloser // the body of a log, which the caller reads; otherwise nil
	err      error         // nil: the status is a 2xx and the body is complete
	response *Error        // the *Error in err; nil if there was no response
}

// receive stores the outcome of the attempt. Afterwards the connection is free, except that of a log.
func (a *attempt) receive(resp *http.Response, err error) {
	if err != nil {
		a.err = a.transportError(err)
	} else {
		a.err = a.read(resp)
	}
	a.ended = time.Now()
}

func (a *attempt) read(resp *http.Response) error {
	a.status, a.header = resp.StatusCode, resp.Header
	ok := isSuccess(a.status)
	if ok && a.op == opLog && !isHTML(resp.Header) {
		a.stream = withoutTimeout(resp.Body)
		return nil
	}
	defer resp.Body.Close()
	limit := int64(maxErrorBody)
	if ok {
		limit = maxBody
	}
	var err error
	if a.status != http.StatusSwitchingProtocols { // its body is a connection, which does not end
		err = a.readBody(resp, limit)
	}
	switch {
	case !ok:
		e := a.responseError() // even if the body is incomplete
		if errors.Is(err, ErrBodyTooLong) {
			e.Err = err
		}
		return e
	case errors.Is(err, ErrBodyTooLong):
		return a.invalidBody(err)
	case err != nil:
		return a.transportError(&sentError{fmt.Errorf("reading the response body: %w", err)})
	case a.op == opLog:
		return a.invalidBody(errHTML)
	}
	return nil
}

var errHTML = errors.New("expected plain text, got HTML") // for example a gateway's sign-in page

func isHTML(h http.Header) bool {
	mediaType, _, _ := mime.ParseMediaType(h.Get("Content-Type")) // empty if it is invalid
	return mediaType == "text/html"
}

// pooledBody is the size of the largest buffer that is kept for reuse. A page with long logs has one or two MB.
const pooledBody = 4 << 20

// readBody reads at most limit bytes.
func (a *attempt) readBody(resp *http.Response, limit int64) error {
	a.body.Grow(int(min(max(resp.ContentLength, 0), limit, pooledBody)) + bytes.MinRead)
	n, err := a.body.ReadFrom(&io.LimitedReader{R: resp.Body, N: limit + 1})
	if n > limit {
		return fmt.Errorf("%w: the limit is %d bytes", ErrBodyTooLong, limit)
	}
	return err
}

// reload decodes a response that is one record.
func (a *attempt) reload() (*Reload, error) {
	r, err := decodeReload(a.body.Bytes())
	if err == nil && r.ID == "" {
		err = errNoID
	}
	if err != nil {
		return nil, a.invalidBody(err)
	}
	return r, nil
}

// errOtherReload means that a response is the record of another reload, for example because a proxy mixed up responses.
var errOtherReload = errors.New("the response is the record of another reload")

// responseError returns the response as an error, with the details of its body.
func (a *attempt) responseError() *Error {
	e := a.newError()
	details, traceID := decodeErrorBody(a.body.Bytes())
	if details == nil {
		e.Body = a.snippet()
		return e
	}
	e.TraceID = a.redactor().Text(traceID)
	for i, d := range details {
		details[i] = ErrorDetail{Code: d.Code, Title: a.redactor().Text(d.Title), Detail: a.redactor().Text(d.Detail)}
		if !d.Code.known() { // a known code is not a secret, and decides the class of the error
			details[i].Code = Code(a.redactor().Text(string(d.Code)))
		}
	}
	e.Details = details
	return e
}

// invalidBody returns the error of a 2xx whose body is invalid.
func (a *attempt) invalidBody(err error) *Error {
	e := a.newError()
	e.Body = a.snippet()
	if e.Err = a.redactError(err); !errors.Is(err, ErrBodyTooLong) {
		e.Err = errors.New(shorten(e.Err.Error(), shownBody)) // the fields of an error of the JSON package contain what its text leaves out
	}
	return e
}

func (a *attempt) newError() *Error {
	e := &Error{
		StatusCode:  a.status,
		Method:      a.op.method(),
		Path:        a.path,
		Attempts:    a.number,
		ContentType: a.redactor().Text(a.header.Get("Content-Type")),
	}
	if after := a.header.Get("Retry-After"); after != "" {
		e.RetryAfter, e.hasRetryAfter = retryAfter(after, a.serverDate().now())
	}
	a.response = e
	return e
}

const shownBody = 512 // bytes of a body that is not the API's JSON

// snippet returns the beginning of the body as text.
func (a *attempt) snippet() string {
	if a.shown == "" {
		beginning := string(a.body.Bytes()[:min(a.body.Len(), 100*shownBody)]) // because redaction is slow and can shorten it
		a.shown = strings.Clone(shorten(strings.ToValidUTF8(a.redactor().Text(beginning), "\uFFFD"), shownBody))
	}
	return a.shown
}

// redactor returns what removes the token from the texts that the server wrote.
func (a *attempt) redactor() *redact.Redactor {
	if a.secrets == nil {
		a.secrets = redact.New(a.token, a.refused)
	}
	return a.secrets
}

// transportError returns the error of an attempt without a complete response. It leaves out the URL, whose query may be long.
func (a *attempt) transportError(err error) error {
	if u, ok := err.(*url.Error); ok { //nolint:errorlint // another one is the cause
		err = u.Err
	}
	return fmt.Errorf("reloads: %s %s: %w", a.op.method(), a.path, a.redactError(err))
}

// redactError returns err without the token. It keeps whether the attempt was sent.
func (a *attempt) redactError(err error) error {
	redacted := a.redactor().Error(err)
	switch {
	case contains[*unsentError](err):
		return &unsentError{redacted}
	case contains[*sentError](err):
		return &sentError{redacted}
	}
	return redacted
}

// serverDate returns when the response was made.
func (a *attempt) serverDate() serverDate {
	return serverDate{header: a.header.Get("Date"), age: a.header.Get("Age"), sent: a.began, received: a.ended}
}

// retryAfter parses a Retry-After header (RFC 9110, 10.2.3): whole seconds, or a date, which is compared with the
// server's. A date in the past is 0. ok is false for any other value. A number of seconds that does not fit into a
// Duration is replaced by the longest Duration.
func retryAfter(value string, now time.Time) (d time.Duration, ok bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	if strings.Trim(value, "0123456789") == "" {
		const longest = int64(1<<63-1) / int64(time.Second)
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > longest { // only a number that is too large does not parse
			seconds = longest
		}
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now)), true
	}
	return 0, false
}
