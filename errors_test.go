package reloads_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

// classes are all that an error can match.
var classes = []error{
	reloads.ErrBadRequest, reloads.ErrUnauthorized, reloads.ErrForbidden, reloads.ErrNotFound, reloads.ErrNotCancelable,
	reloads.ErrReloadPending, reloads.ErrQuotaExceeded, reloads.ErrRateLimited, reloads.ErrServer, reloads.ErrCursorLoop,
	reloads.ErrReloadFailed, reloads.ErrReloadCanceled, reloads.ErrReloadExceededLimit,
}

func TestErrorClasses(t *testing.T) {
	t.Parallel()
	codes := func(codes ...reloads.Code) (details []reloads.ErrorDetail) {
		for _, c := range codes {
			details = append(details, reloads.ErrorDetail{Code: c})
		}
		return details
	}
	const reloadsPath, cancelPath = "/api/v1/reloads", "/api/v1/reloads/1/actions/cancel"
	for _, c := range []struct {
		name string
		err  reloads.Error
		want error
	}{
		{"400", reloads.Error{StatusCode: 400}, reloads.ErrBadRequest},
		{"401", reloads.Error{StatusCode: 401}, reloads.ErrUnauthorized},
		{"403", reloads.Error{StatusCode: 403}, reloads.ErrForbidden},
		{"403 with a code", reloads.Error{StatusCode: 403, Details: codes("RELOADS-003")}, reloads.ErrForbidden},
		{"403 for the quota", reloads.Error{StatusCode: 403, Details: codes("RELOADS-001", "RELOADS-013")}, reloads.ErrQuotaExceeded},
		{"404", reloads.Error{StatusCode: 404}, reloads.ErrNotFound},
		{"409", reloads.Error{StatusCode: 409}, reloads.ErrNotCancelable},
		{"429 without a body", reloads.Error{StatusCode: 429, Method: "POST", Path: reloadsPath}, reloads.ErrRateLimited},
		{"429 of the limit", reloads.Error{StatusCode: 429, Method: "POST", Path: reloadsPath, Details: codes("HTTP-429")}, reloads.ErrRateLimited},
		{"429 with another code", reloads.Error{StatusCode: 429, Method: "POST", Path: reloadsPath, Details: codes("X")}, reloads.ErrReloadPending},
		{"429 to wait for", reloads.Error{StatusCode: 429, Method: "POST", Path: reloadsPath, Details: codes("X"), RetryAfter: 1}, reloads.ErrRateLimited},
		{"429 with its code", reloads.Error{StatusCode: 429, Method: "POST", Path: reloadsPath, Details: codes("RELOADS-007"), RetryAfter: 1}, reloads.ErrReloadPending},
		{"429 of a get", reloads.Error{StatusCode: 429, Method: "GET", Path: reloadsPath, Details: codes("X")}, reloads.ErrRateLimited},
		{"429 of a cancel", reloads.Error{StatusCode: 429, Method: "POST", Path: cancelPath, Details: codes("X")}, reloads.ErrRateLimited},
		{"500", reloads.Error{StatusCode: 500}, reloads.ErrServer},
		{"503", reloads.Error{StatusCode: 503}, reloads.ErrServer},
		{"599", reloads.Error{StatusCode: 599}, reloads.ErrServer},
		{"200", reloads.Error{StatusCode: 200}, nil},
		{"302", reloads.Error{StatusCode: 302}, nil},
		{"418", reloads.Error{StatusCode: 418}, nil},
	} {
		for _, class := range classes {
			if got := errors.Is(&c.err, class); got != (class == c.want) {
				t.Errorf("%s: errors.Is(err, %v) is %v", c.name, class, got)
			}
		}
	}
}

func TestCodesAreMatchedOneByOne(t *testing.T) {
	t.Parallel()
	all := []reloads.Code{
		reloads.Code001, reloads.Code002, reloads.CodeForbidden, reloads.Code004, reloads.Code005, reloads.Code006, reloads.CodeReloadPending,
		reloads.Code008, reloads.Code009, reloads.Code010, reloads.Code011, reloads.Code012, reloads.CodeQuotaExceeded,
	}
	for i, code := range all {
		if want := fmt.Sprintf("RELOADS-%03d", i+1); string(code) != want || code.Error() != want {
			t.Errorf("got %q, want %q", code, want)
		}
		for _, other := range append(all, reloads.CodeUnauthorized, reloads.CodeRateLimited, "") {
			err := error(&reloads.Error{StatusCode: 418, Details: []reloads.ErrorDetail{{Code: "first"}, {Code: code}}})
			if got := errors.Is(fmt.Errorf("wrapped: %w", err), other); got != (other == code) {
				t.Errorf("an error with %q: errors.Is(err, %q) is %v", code, other, got)
			}
		}
	}
	if reloads.CodeUnauthorized != "HTTP-401" || reloads.CodeRateLimited != "HTTP-429" {
		t.Error("the platform's codes are HTTP-401 and HTTP-429")
	}
}

func TestErrorTexts(t *testing.T) {
	t.Parallel()
	base := reloads.Error{StatusCode: 404, Method: "GET", Path: "/api/v1/reloads/1", Attempts: 1}
	with := func(set func(*reloads.Error)) error {
		e := base
		set(&e)
		return &e
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{with(func(*reloads.Error) {}), "reloads: GET /api/v1/reloads/1: 404 Not Found"},
		{with(func(e *reloads.Error) { e.StatusCode = 599 }), "reloads: GET /api/v1/reloads/1: 599"},
		{with(func(e *reloads.Error) {
			e.Details = []reloads.ErrorDetail{{"RELOADS-001", "title", "detail"}, {Title: "second"}}
			e.TraceID, e.RetryAfter, e.Attempts = "abc", 13*time.Second, 3
		}), "reloads: GET /api/v1/reloads/1: 404 Not Found: RELOADS-001: title: detail; second, retry after 13s, trace abc (3 attempts)"},
		{with(func(e *reloads.Error) { e.Details = make([]reloads.ErrorDetail, 1000) }), "reloads: GET /api/v1/reloads/1: 404 Not Found: ; ; ; and 997 more"},
		{with(func(e *reloads.Error) { e.Body, e.ContentType = "<p>\n", "text/html" }), `reloads: GET /api/v1/reloads/1: 404 Not Found: text/html body "<p>\n"`},
		{with(func(e *reloads.Error) { e.StatusCode, e.Err = 200, errors.New("no data") }), "reloads: GET /api/v1/reloads/1: 200 OK: no data"},
		{documented.Err(), "reloads: reload 5be59decca62aa00097268a4 of app 116dbfae-7fb9-4983-8e23-5ccd8c508722 ended as FAILED: EngineConnectionError: failed to complete reload: unexpected EOF"},
		{&reloads.ReloadError{Reload: &reloads.Reload{ID: "1", AppID: "2", Status: "CANCELED"}}, "reloads: reload 1 of app 2 ended as CANCELED"},
		{failedWith("E", "message\nof two lines", "log"), "reloads: reload 1 of app 2 ended as FAILED: E: message of two lines"},
		{failedWith("E", "", "1\r\n2\r\n3\r\nError: no table\t\x1b[2J\r\n\r\n"), "reloads: reload 1 of app 2 ended as FAILED: E; its log ends: 2 / 3 / Error: no table  [2J"},
		{failedWith("", "", "ReloadID: 1\nReload failed\nIn total 3 rows read from sources.\n"), "reloads: reload 1 of app 2 ended as FAILED; its log ends: Reload failed"},
		{failedWith("", "", strings.Repeat("ä", 1000)), "reloads: reload 1 of app 2 ended as FAILED; its log ends: " + strings.Repeat("ä", 100)},
		{failedWith("", "", documented.Log), "reloads: reload 1 of app 2 ended as FAILED; its log ends: Started loading / App saved / Finished successfully"},
		{failedWith("", "", "ReloadID: 1\n"), "reloads: reload 1 of app 2 ended as FAILED"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// failedWith is a failed reload that says why.
func failedWith(code, message, log string) error {
	return &reloads.ReloadError{Reload: &reloads.Reload{ID: "1", AppID: "2", Status: "FAILED", ErrorCode: code, ErrorMessage: message, Log: log}}
}

// What a server writes ends up in logs and terminals: one error, one line.
func TestAnErrorIsOneLine(t *testing.T) {
	t.Parallel()
	const body = `{"errors":[{"code":"A\nB","title":"C\nlevel=ERROR","detail":"D\r\u001b[2J"}],"traceId":"E\nF"}`
	_, err := scriptedClient(t, plays(answer(400, body, "Content-Type", "a/b"))).Get(t.Context(), reloadID)
	if text := err.Error(); strings.ContainsAny(text, "\n\r\x1b") {
		t.Errorf("the error has control characters: %q", text)
	}
}

func TestErrorTextsHaveNoQuery(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]outcome{"answer": answer(404, ""), "no answer": fails(errReset)} {
		_, err := scriptedClient(t, plays(o), none).List(t.Context(), reloads.ListOptions{AppID: "secret-app", Filter: "secret-filter"})
		silent(t, name, fmt.Sprintf("%v %+v %#v", err, err, err), "secret", "filter")
		if !strings.Contains(err.Error(), "GET /api/v1/reloads: ") {
			t.Errorf("%s: %v does not tell the request", name, err)
		}
	}
}

func TestErrorsUnwrap(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	if err := error(&reloads.Error{StatusCode: 200, Err: cause}); !errors.Is(err, cause) {
		t.Errorf("%v does not match its Err", err)
	}
	if err := error(&reloads.Error{StatusCode: 200}); errors.Is(err, cause) || errors.Unwrap(err) != nil {
		t.Error("an error without Err unwraps to something")
	}
}

func TestErrorsLogWhatOneFiltersBy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want map[string]any
	}{
		{&reloads.Error{StatusCode: 404, Method: "GET", Path: "/p", Attempts: 1, Body: "secret"}, map[string]any{
			"status": 404.0, "method": "GET", "path": "/p", "attempts": 1.0,
		}},
		{&reloads.Error{
			StatusCode: 429, Method: "POST", Path: "/p", Attempts: 2, RetryAfter: time.Second, TraceID: "t", Err: errors.New("e"),
			Details: []reloads.ErrorDetail{{"A", "B", "C"}, {"D", "E", "F"}},
		}, map[string]any{
			"status": 429.0, "method": "POST", "path": "/p", "attempts": 2.0, "code": "A", "title": "B", "detail": "C",
			"cause": "e", "retry_after": 1e9, "trace_id": "t",
		}},
		{&reloads.ReloadError{Reload: &reloads.Reload{ID: "1", AppID: "2", Status: "FAILED", Type: "hub", ErrorCode: "X"}}, map[string]any{
			"id": "1", "app": "2", "status": "FAILED", "type": "hub", "error_code": "X", "error_message": "",
		}},
	} {
		if diff := cmp.Diff(c.want, logged(t, c.err)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestReloadErrorClasses(t *testing.T) {
	t.Parallel()
	for status, want := range map[reloads.Status]error{
		reloads.StatusFailed: reloads.ErrReloadFailed, reloads.StatusCanceled: reloads.ErrReloadCanceled,
		reloads.StatusExceededLimit: reloads.ErrReloadExceededLimit, "ABANDONED": nil,
	} {
		r := reloads.Reload{ID: "1", Status: status, EndTime: time.Unix(1, 0)}
		err := r.Err()
		var failed *reloads.ReloadError
		if !errors.As(err, &failed) || failed.Reload != &r {
			t.Fatalf("%s: got %#v, want a ReloadError with the reload", status, err)
		}
		for _, class := range classes {
			if got := errors.Is(err, class); got != (class == want) {
				t.Errorf("%s: errors.Is(err, %v) is %v", status, class, got)
			}
		}
	}
}

// A refusal by status is never retried, whatever its body.
func TestRefusalsAreFinal(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 402, 403, 404, 405, 406, 409, 410, 413, 415, 418, 422, 451, 501, 505, 511, 300, 304, 399} {
		for _, e := range endpoints {
			wire := plays(answer(status, ""))
			err := e.call(t.Context(), scriptedClient(t, wire))
			if got := asError(t, err); got.StatusCode != status || len(wire.requests()) != 1 || errors.Is(err, reloads.ErrOutcomeUnknown) {
				t.Errorf("%s, %d: %d requests and %v", e.name, status, len(wire.requests()), err)
			}
		}
	}
}
