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

// The classes of errors, for [errors.Is]. Except where it is said otherwise, they are what an [*Error] matches.
var (
	// ErrBadRequest is a request that is wrong in itself: the service answered 400, or the client refused to
	// send it; the text then names the value and the reason.
	ErrBadRequest = errors.New("reloads: bad request")
	// ErrUnauthorized is a token that the service does not accept (401), also after it was renewed.
	ErrUnauthorized = errors.New("reloads: unauthorized")
	// ErrForbidden is a token that does not allow the operation (403). [ErrQuotaExceeded] is no ErrForbidden.
	ErrForbidden = errors.New("reloads: forbidden")
	// ErrNotFound is a reload that does not exist, or not for this token (404).
	ErrNotFound = errors.New("reloads: not found")
	// ErrNotCancelable is a reload that is over, or for another reason in no state to be cancelled (409).
	ErrNotCancelable = errors.New("reloads: not cancelable")
	// ErrReloadPending is a trigger that was refused because the app has a pending reload already (429). Sending
	// it again before that reload has ended is refused again.
	ErrReloadPending = errors.New("reloads: a reload of the app is already pending")
	// ErrQuotaExceeded is a trigger that was refused because the app was reloaded too often (403, RELOADS-013).
	// Retrying does not help.
	ErrQuotaExceeded = errors.New("reloads: reload quota exceeded")
	// ErrRateLimited is the rate limit: the service's (429), or a client's own limiter that cannot let a request
	// start before the deadline of its context; then it is also [context.DeadlineExceeded].
	ErrRateLimited = errors.New("reloads: rate limited")
	// ErrServer is a failure of the service or of a gateway before it (5xx).
	ErrServer = errors.New("reloads: server error")
	// ErrCursorLoop is a list whose links lead back to a page that was already read, or over a thousand empty pages in
	// a row. It comes without an [*Error].
	ErrCursorLoop = errors.New("reloads: the list's cursors run in a loop")
	// ErrBodyTooLong is an answer whose body is longer than the client's [BodyLimits].
	ErrBodyTooLong = errors.New("the body is too long")
	// ErrOutcomeUnknown is a trigger of which nobody can say whether it took effect: the connection was lost, or
	// the service failed, after the request was sent, and looking for the reload did not tell either. It wraps what
	// went wrong. The reload may exist.
	ErrOutcomeUnknown = errors.New("reloads: it is unknown whether the reload was triggered")
	// ErrNotStarted is a request of a batch that was not triggered since the context had ended, or would have
	// before its turn.
	ErrNotStarted = errors.New("reloads: not started")
)

// Code is the code of an error that the service reports. It is an error itself, so that
//
//	errors.Is(err, reloads.CodeForbidden)
//
// asks for it. Codes that are not among the constants occur and are kept as they are.
type Code string

// The codes RELOADS-001 to RELOADS-013, and those of the platform that were seen on this API. The meaning of a
// code that has a number for a name is not published.
const (
	Code001           Code = "RELOADS-001"
	Code002           Code = "RELOADS-002"
	CodeForbidden     Code = "RELOADS-003" // 403: the token does not allow it (API page)
	Code004           Code = "RELOADS-004"
	Code005           Code = "RELOADS-005"
	Code006           Code = "RELOADS-006"
	CodeReloadPending Code = "RELOADS-007" // 429: the app has a pending reload (read in other clients, not in the API page)
	Code008           Code = "RELOADS-008"
	Code009           Code = "RELOADS-009"
	Code010           Code = "RELOADS-010"
	Code011           Code = "RELOADS-011"
	Code012           Code = "RELOADS-012"
	CodeQuotaExceeded Code = "RELOADS-013" // 403: the reload frequency quota is met (API page)
	CodeUnauthorized  Code = "HTTP-401"    // 401: the platform refused the token
	CodeRateLimited   Code = "HTTP-429"    // 429: the rate limit of a tier
)

// Error returns the code.
func (c Code) Error() string { return string(c) }

// Error is an answer of the service that is not the one that was asked for: any status outside 2xx, whatever its
// body, or a 2xx whose body is not what the API promises; then Err says why.
//
// It matches the class of its status ([ErrNotFound], [ErrServer], …) and every [Code] of its details with
// [errors.Is]. It holds no request, no header and no token. Reading it from several goroutines is safe.
type Error struct {
	// StatusCode is the HTTP status of the answer.
	StatusCode int
	// Method and Path tell the request; the path is as it was sent, without query.
	Method, Path string
	// Details are the errors that the body lists; nil if it lists none.
	Details []ErrorDetail
	// TraceID is the service's name for the call, to be told to its support; "" if it sent none.
	TraceID string
	// RetryAfter is what the answer's Retry-After header asks to wait; 0 if it has none, or asks for no wait.
	RetryAfter time.Duration
	// Attempts is how many times the request was sent, this answer's included.
	Attempts int
	// ContentType is that of the answer.
	ContentType string
	// Body is the beginning of a body that is not the API's JSON, at most 512 bytes; "" otherwise.
	Body string
	// Err tells why the body of a 2xx is not what the API promises. For any other status it is nil, or
	// [ErrBodyTooLong].
	Err error

	hasRetryAfter bool // also when it asks for no wait
}

// ErrorDetail is one error of an answer.
type ErrorDetail struct {
	// Code is the service's code, "" if it sent none.
	Code Code
	// Title is the short message.
	Title string
	// Detail is the long message; optional.
	Detail string
}

// String is code, title and detail, as far as they were sent.
func (d ErrorDetail) String() string {
	parts := slices.DeleteFunc([]string{string(d.Code), d.Title, d.Detail}, func(s string) bool { return s == "" })
	return strings.Join(parts, ": ")
}

// The text of an [*Error] has so many details of so many bytes; a server may send thousands, and megabytes.
const (
	shownDetails = 3
	shownDetail  = 512
)

// Error describes the answer in one line, without query or token.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "reloads: %s %s: %d", e.Method, e.Path, e.StatusCode)
	if text := http.StatusText(e.StatusCode); text != "" {
		b.WriteString(" " + text)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	for i, d := range e.Details {
		if i == shownDetails {
			fmt.Fprintf(&b, "; and %d more", len(e.Details)-i)
			break
		}
		sep := ": "
		if i > 0 {
			sep = "; "
		}
		b.WriteString(sep + shorten(d.String(), shownDetail))
	}
	if e.Body != "" {
		fmt.Fprintf(&b, ": %s body %q", e.ContentType, e.Body)
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

// class is the sentinel that e matches; nil if there is none for its status.
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

// pending tells the two meanings of a 429 apart. The rate limit sends Retry-After and HTTP-429; a trigger is
// also refused with 429, and neither of them, when the app has a pending reload. A 429 without the API's body is
// a gateway's, and so a rate limit.
func (e *Error) pending() bool {
	if e.has(CodeReloadPending) {
		return true
	}
	trigger := e.Method == http.MethodPost && !strings.HasSuffix(e.Path, cancelSuffix)
	limited := e.hasRetryAfter || e.RetryAfter > 0 || e.has(CodeRateLimited)
	return trigger && !limited && len(e.Details) > 0
}

// broken reports whether e is a 2xx, of which only the body is wrong.
func (e *Error) broken() bool { return isSuccess(e.StatusCode) }

func isSuccess(status int) bool { return status >= 200 && status <= 299 }

// LogValue logs the error as a group of the fields that one would filter by.
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

// ReloadError is a reload that ended, but not as SUCCEEDED. The calls to the API all went well: an [*Error] is
// about the API, a ReloadError about the job.
//
// It matches [ErrReloadFailed], [ErrReloadCanceled] or [ErrReloadExceededLimit]; a status that this package does
// not know matches none of them.
type ReloadError struct {
	// Reload is the reload as it ended; never nil in an error of this package.
	Reload *Reload
}

// Error names the reload and its app, and says in one line why it failed as far as the service does: with the record's
// error message or, if there is none, the last lines that matter of its log.
func (e *ReloadError) Error() string {
	r := e.Reload
	s := fmt.Sprintf("reloads: reload %s of app %s ended as %s", r.ID, r.AppID, r.Status)
	for _, why := range []string{r.ErrorCode, r.ErrorMessage} {
		if why != "" {
			s += ": " + why
		}
	}
	if lines := r.lastLines(); r.ErrorMessage == "" && len(lines) > 0 {
		s += "; its log ends: " + strings.Join(lines, " / ")
	}
	return oneLine(s)
}

// Is reports whether target is the class of the reload's status.
func (e *ReloadError) Is(target error) bool {
	switch e.Reload.Status {
	case StatusFailed:
		return target == ErrReloadFailed
	case StatusCanceled:
		return target == ErrReloadCanceled
	case StatusExceededLimit:
		return target == ErrReloadExceededLimit
	}
	return false
}

// LogValue logs the error as the group of its reload.
func (e *ReloadError) LogValue() slog.Value { return e.Reload.LogValue() }

// The ways in which a reload ends badly, for [errors.Is] on a [*ReloadError].
var (
	// ErrReloadFailed is a reload that ended as FAILED.
	ErrReloadFailed = errors.New("reloads: reload failed")
	// ErrReloadCanceled is a reload that ended as CANCELED.
	ErrReloadCanceled = errors.New("reloads: reload canceled")
	// ErrReloadExceededLimit is a reload that ended as EXCEEDED_LIMIT.
	ErrReloadExceededLimit = errors.New("reloads: reload exceeded its limit")
)

// Err returns nil for a reload that is still active or SUCCEEDED, and a [*ReloadError] for one that ended
// otherwise.
func (r *Reload) Err() error {
	if !r.Ended() || r.Status == StatusSucceeded {
		return nil
	}
	return &ReloadError{Reload: r}
}

// invalidError is an argument that was refused before anything was sent.
type invalidError struct{ field, value, reason string }

func invalid(field, value, reason string) error { return &invalidError{field, value, reason} }

func (e *invalidError) Error() string {
	return fmt.Sprintf("reloads: %s %s: %s", e.field, e.value, e.reason)
}

func (e *invalidError) Is(target error) bool { return target == ErrBadRequest }
