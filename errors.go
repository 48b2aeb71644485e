package reloads

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The classes of errors, for [errors.Is]. Unless stated otherwise, an [*Error] matches them.
var (
	// ErrBadRequest means that the request is invalid: the service responded with 400, or the client refused to
	// send it. In the second case the text names the value and the reason.
	ErrBadRequest = errors.New("reloads: bad request")
	// ErrUnauthorized means that the service does not accept the token (401), even after renewal.
	ErrUnauthorized = errors.New("reloads: unauthorized")
	// ErrForbidden means that the token does not allow the operation (403). An error that matches
	// [ErrQuotaExceeded] does not match ErrForbidden.
	ErrForbidden = errors.New("reloads: forbidden")
	// ErrNotFound means that the reload or the app does not exist, or is not visible to this token (404).
	ErrNotFound = errors.New("reloads: not found")
	// ErrNotCancelable means that the reload has finished, or cannot be canceled for another reason (409).
	ErrNotCancelable = errors.New("reloads: not cancelable")
	// ErrReloadPending means that a trigger was refused because the app already has a pending reload (429). The
	// service keeps refusing until that reload has finished.
	ErrReloadPending = errors.New("reloads: a reload of the app is already pending")
	// ErrQuotaExceeded means that a trigger was refused because the app was reloaded too often (403,
	// RELOADS-013). Retrying does not help.
	ErrQuotaExceeded = errors.New("reloads: reload quota exceeded")
	// ErrRateLimited means that the service's rate limit is reached (429), or that the client's own limiter cannot let the
	// request start before the deadline of its context. In the second case the error also matches [context.DeadlineExceeded].
	ErrRateLimited = errors.New("reloads: rate limited")
	// ErrServer means that the service, or a gateway in front of it, failed (500 or higher).
	ErrServer = errors.New("reloads: server error")
	// ErrCursorLoop means that the links of a list lead back to an earlier page, or that 1000 pages in a row are empty.
	// It is not an [*Error].
	ErrCursorLoop = errors.New("reloads: the cursors of the list form a loop")
	// ErrBodyTooLong means that the body of a response exceeds 64 MiB, or 1 MiB outside 2xx.
	ErrBodyTooLong = errors.New("the body is too long")
	// ErrOutcomeUnknown means that a trigger was sent whose outcome could not be determined: the connection was lost or
	// the service failed, and listing the app's reloads did not determine it either. The error wraps the failure. The
	// reload may exist.
	ErrOutcomeUnknown = errors.New("reloads: it is unknown whether the reload was triggered")
	// ErrNotStarted means that a step of a batch had no effect because the context had ended, or would have ended before
	// the step could start.
	ErrNotStarted = errors.New("reloads: not started")
	// ErrSkipped means that a step of a plan was not started because a step that it depends on did not succeed. The
	// error also matches the error of that step. If there is a chain of such steps, it is the error of the first one. If
	// that one was not started, or was aborted, because the context ended, the error matches [ErrNotStarted] instead.
	ErrSkipped = errors.New("reloads: skipped")
)

// Code is the code of an error that the service reports. It is an error, too, so that
//
//	errors.Is(err, reloads.CodeForbidden)
//
// reports whether the service sent it. The API page gives the range RELOADS-001 to RELOADS-013. Most of these codes
// have no published meaning, and codes outside the range occur. All are kept as the service sent them.
type Code string

// The codes whose meaning is known.
const (
	CodeForbidden     Code = "RELOADS-003" // 403: the token does not allow it (API page)
	CodeAppNotFound   Code = "RELOADS-004" // 404: the app to reload does not exist (observed)
	CodeReloadPending Code = "RELOADS-007" // 429: the app has a pending reload (read in other clients, not in the API page)
	CodeQuotaExceeded Code = "RELOADS-013" // 403: the reload frequency quota is met (API page)
	CodeUnauthorized  Code = "HTTP-401"    // 401: the platform refused the token
	CodeRateLimited   Code = "HTTP-429"    // 429: the rate limit of a tier
)

func (c Code) known() bool {
	return slices.Contains([]Code{CodeForbidden, CodeAppNotFound, CodeReloadPending, CodeQuotaExceeded, CodeUnauthorized, CodeRateLimited}, c)
}

// Error returns the code.
func (c Code) Error() string { return string(c) }

// Error is an unsuccessful or invalid API response: one with a status outside 2xx, whatever its body, or a 2xx whose
// body is not what the API promises. In the second case Err says why.
//
// With [errors.Is] it matches the class of its status ([ErrNotFound], [ErrServer], …) and each [Code] of its details.
// It contains no request, no header and no token. Several goroutines may read one at the same time.
type Error struct {
	// StatusCode is the HTTP status of the response.
	StatusCode int
	// Method and Path are those of the request; the path is as it was sent, without query.
	Method, Path string
	// Details are the errors that the body lists. It is nil if the body lists none.
	Details []ErrorDetail
	// TraceID identifies the call to the vendor's support. It is empty if the service sent none.
	TraceID string
	// RetryAfter is the wait that the Retry-After header asks for. It is 0 if there is none, or if it is invalid.
	RetryAfter time.Duration
	// Attempts is how many times the request was sent, including this one.
	Attempts int
	// ContentType is that of the response.
	ContentType string
	// Body is the beginning of a body that is not the API's JSON or is invalid, at most 512 bytes. Otherwise it is empty.
	Body string
	// Err says why the body of a 2xx is invalid. For any other status it is nil, or matches [ErrBodyTooLong].
	Err error

	hasRetryAfter bool // also when it asks for no wait
}

// ErrorDetail is one error of a response.
type ErrorDetail struct {
	// Code is the service's code. It is empty if the service sent none.
	Code Code
	// Title is the short message.
	Title string
	// Detail is the long message. It is optional.
	Detail string
}

// String returns code, title and detail, leaving out empty ones.
func (d ErrorDetail) String() string {
	parts := slices.DeleteFunc([]string{string(d.Code), d.Title, d.Detail}, func(s string) bool { return s == "" })
	return strings.Join(parts, ": ")
}

// The text of an [*Error] is limited to this many details of this many bytes. A server may send thousands.
const (
	shownDetails = 3
	shownDetail  = 512
)

// Error describes the response in one line, without query or token.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "reloads: %s %s: %d", e.Method, e.Path, e.StatusCode)
	if text := http.StatusText(e.StatusCode); text != "" {
		b.WriteString(" " + text)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	sep := ": "
	for i, d := range e.Details {
		if i == shownDetails {
			fmt.Fprintf(&b, "; and %d more", len(e.Details)-i)
			break
		}
		b.WriteString(sep + shorten(d.String(), shownDetail))
		sep = "; "
	}
	if e.Body != "" {
		fmt.Fprintf(&b, ": %s %q", strings.TrimSpace(e.ContentType+" body"), e.Body)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, ", retry after %v", e.RetryAfter)
	}
	if e.TraceID != "" {
		b.WriteString(", trace " + e.TraceID)
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (%d attempts)", e.Attempts)
	}
	return oneLine(b.String())
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the class of e's status or the [Code] of one of its details.
func (e *Error) Is(target error) bool {
	if code, ok := target.(Code); ok {
		return e.has(code)
	}
	class := e.class()
	return class != nil && target == class
}

func (e *Error) has(code Code) bool {
	return slices.ContainsFunc(e.Details, func(d ErrorDetail) bool { return d.Code == code })
}

// class returns the class of the status, or nil if the status does not have one.
func (e *Error) class() error {
	switch {
	case e.StatusCode == http.StatusBadRequest:
		return ErrBadRequest
	case e.StatusCode == http.StatusUnauthorized:
		return ErrUnauthorized
	case e.StatusCode == http.StatusForbidden && e.has(CodeQuotaExceeded):
		return ErrQuotaExceeded
	case e.StatusCode == http.StatusForbidden:
		return ErrForbidden
	case e.StatusCode == http.StatusNotFound:
		return ErrNotFound
	case e.StatusCode == http.StatusConflict:
		return ErrNotCancelable
	case e.StatusCode == http.StatusTooManyRequests && e.pending():
		return ErrReloadPending
	case e.StatusCode == http.StatusTooManyRequests:
		return ErrRateLimited
	case e.StatusCode >= 500:
		return ErrServer
	}
	return nil
}

// pending distinguishes the two meanings of a 429. The response of the rate limit has Retry-After and HTTP-429. The
// refusal of a trigger because of a pending reload has neither. A 429 without the API's body comes from a gateway, and
// means a rate limit.
func (e *Error) pending() bool {
	trigger := e.Method == http.MethodPost && strings.HasSuffix(e.Path, reloadsPath)
	limited := e.hasRetryAfter || e.RetryAfter > 0 || e.has(CodeRateLimited)
	return e.has(CodeReloadPending) || trigger && !limited && len(e.Details) > 0
}

// reloadsPath is the path of List and Trigger, below the endpoint.
const reloadsPath = "/reloads"

func isSuccess(status int) bool { return status >= 200 && status <= 299 }

// LogValue returns a group of the fields that logs are usually filtered by.
func (e *Error) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.Int("status", e.StatusCode), slog.String("method", e.Method), slog.String("path", e.Path),
		slog.Int("attempts", e.Attempts),
	}
	if len(e.Details) > 0 {
		d := e.Details[0]
		attrs = append(attrs, slog.String("code", string(d.Code)), slog.String("title", d.Title), slog.String("detail", d.Detail))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("cause", e.Err.Error()))
	}
	if e.RetryAfter > 0 {
		attrs = append(attrs, slog.Duration("retry_after", e.RetryAfter))
	}
	if e.TraceID != "" {
		attrs = append(attrs, slog.String("trace_id", e.TraceID))
	}
	return slog.GroupValue(attrs...)
}

// contains reports whether err is or wraps an E.
func contains[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// withoutBody returns the text of err without the beginning of a body.
func withoutBody(err error) string {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Body == "" {
		return err.Error()
	}
	bare := *e
	bare.Body = ""
	return strings.Replace(err.Error(), e.Error(), bare.Error(), 1)
}

// invalidError is an argument that was refused before anything was sent.
type invalidError struct{ field, value, reason string }

func invalid(field, value, reason string) error { return &invalidError{field, value, reason} }

var errNilContext = invalid("ctx", "nil", "must not be nil")

func (e *invalidError) Error() string {
	return fmt.Sprintf("reloads: %s %s: %s", e.field, e.value, e.reason)
}

func (e *invalidError) Is(target error) bool { return target == ErrBadRequest }
