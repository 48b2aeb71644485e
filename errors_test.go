package reloads_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

// errorClasses are the errors that an *Error or a *ReloadError can match.
var errorClasses = []error{
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
		{"429 of the rate limit", reloads.Error{StatusCode: 429, Method: "POST", Path: reloadsPath, Details: codes("HTTP-429")}, reloads.ErrRateLimited},
		{"429 with another code", reloads.Error{StatusCode: 429, Method: "POST", Path: reloadsPath, Details: codes("X")}, reloads.ErrReloadPending},
		{"429 with Retry-After", reloads.Error{StatusCode: 429, Method: "POST", Path: reloadsPath, Details: codes("X"), RetryAfter: 1}, reloads.ErrRateLimited},
		{"429 with the code of a pending reload", reloads.Error{StatusCode: 429, Method: "POST", Path: reloadsPath, Details: codes("RELOADS-007"), RetryAfter: 1}, reloads.ErrReloadPending},
		{"429 of a get", reloads.Error{StatusCode: 429, Method: "GET", Path: reloadsPath, Details: codes("X")}, reloads.ErrRateLimited},
		{"429 of a cancel", reloads.Error{StatusCode: 429, Method: "POST", Path: cancelPath, Details: codes("X")}, reloads.ErrRateLimited},
		{"500", reloads.Error{StatusCode: 500}, reloads.ErrServer},
		{"503", reloads.Error{StatusCode: 503}, reloads.ErrServer},
		{"599", reloads.Error{StatusCode: 599}, reloads.ErrServer},
		{"200", reloads.Error{StatusCode: 200}, nil},
		{"302", reloads.Error{StatusCode: 302}, nil},
		{"418", reloads.Error{StatusCode: 418}, nil},
	} {
		for _, class := range errorClasses {
			if got := errors.Is(&c.err, class); got != (class == c.want) {
				t.Errorf("%s: errors.Is(err, %v) is %v", c.name, class, got)
			}
		}
	}
}

func TestErrorsMatchTheirCodes(t *testing.T) {
	t.Parallel()
	var all []reloads.Code
	for i := range 13 {
		all = append(all, reloads.Code(fmt.Sprintf("RELOADS-%03d", i+1)))
	}
	for _, code := range all {
		if code.Error() != string(code) {
			t.Errorf("got %q, want %q", code.Error(), code)
		}
		for _, other := range append(all, reloads.CodeUnauthorized, reloads.CodeRateLimited, "") {
			err := error(&reloads.Error{StatusCode: 418, Details: []reloads.ErrorDetail{{Code: "first"}, {Code: code}}})
			if got := errors.Is(fmt.Errorf("wrapped: %w", err), other); got != (other == code) {
				t.Errorf("an error with %q: errors.Is(err, %q) is %v", code, other, got)
			}
		}
	}
	for code, want := range map[reloads.Code]string{
		reloads.CodeForbidden: "RELOADS-003", reloads.CodeAppNotFound: "RELOADS-004", reloads.CodeReloadPending: "RELOADS-007",
		reloads.CodeQuotaExceeded: "RELOADS-013", reloads.CodeUnauthorized: "HTTP-401", reloads.CodeRateLimited: "HTTP-429",
	} {
		if string(code) != want {
			t.Errorf("got %q, want %q", code, want)
		}
	}
}

// The table has a row for each error response that the service documents.
func TestDocumentedErrorResponses(t *testing.T) {
	t.Parallel()
	type row struct {
		endpoint string
		status   int
		file     string
		header   []string
		class    error
		want     reloads.Error // without the fields that follow from the row
	}
	detail := func(code reloads.Code, title, text string) []reloads.ErrorDetail {
		return []reloads.ErrorDetail{{Code: code, Title: title, Detail: text}}
	}
	forbidden := detail(reloads.CodeForbidden, "Forbidden", "the token does not allow it")
	var rows []row
	for _, name := range []string{"list", "get", "cancel", "trigger"} {
		rows = append(
			rows,
			row{name, 400, "error_400.json", nil, reloads.ErrBadRequest, reloads.Error{
				Details: detail(reloads.Code("RELOADS-001"), "Bad request", "the filter cannot be read"), TraceID: "0000000000000000b7d1f3a2c4e59687",
			}},
			row{name, 401, "error_401.json", nil, reloads.ErrUnauthorized, reloads.Error{
				Details: detail(reloads.CodeUnauthorized, "Unauthorized", ""), TraceID: "000000000000000012d5b0c7a5f1e2d3",
			}},
			row{name, 403, "error_403_forbidden.json", nil, reloads.ErrForbidden, reloads.Error{Details: forbidden}},
			row{name, 429, "error_429_rate.json", []string{"Retry-After", "13"}, reloads.ErrRateLimited, reloads.Error{
				Details:    detail(reloads.CodeRateLimited, "API rate limit reached.", "You need to wait 13 seconds until limit is lifted."),
				RetryAfter: 13 * time.Second,
			}},
			row{name, 500, "error_500.json", nil, reloads.ErrServer, reloads.Error{
				Details: detail("HTTP-500", "Internal server error", ""), TraceID: "0000000000000000feedfacecafebeef",
			}},
		)
	}
	for _, name := range []string{"get", "cancel"} {
		rows = append(rows, row{name, 404, "error_404.json", nil, reloads.ErrNotFound, reloads.Error{
			Details: detail(reloads.CodeAppNotFound, "Not found", "no such reload"), TraceID: "00000000000000009a8b7c6d5e4f3a2b",
		}})
	}
	rows = append(
		rows,
		row{"cancel", 409, "error_409.json", nil, reloads.ErrNotCancelable, reloads.Error{
			Details: detail(reloads.Code("RELOADS-005"), "Conflict", "the reload is not in a cancellable state"),
		}},
		row{"trigger", 403, "error_403_quota.json", nil, reloads.ErrQuotaExceeded, reloads.Error{
			Details: detail(reloads.CodeQuotaExceeded, "Forbidden", "the reload frequency quota has been met"),
		}},
		row{"trigger", 429, "error_429_pending.json", nil, reloads.ErrReloadPending, reloads.Error{
			Details: detail(reloads.CodeReloadPending, "Too many requests", "a pending reload request already exists for this app"),
		}},
	)
	for _, row := range rows {
		t.Run(fmt.Sprint(row.endpoint, " ", row.file), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, e := range endpoints {
					if e.name != row.endpoint {
						continue
					}
					err := e.call(t.Context(), scriptedClient(t, scripted(respond(row.status, testdata(t, row.file), row.header...)), noRetries))
					want := row.want
					want.StatusCode, want.Method, want.Path, want.Attempts = row.status, e.method, e.uri, 1
					want.ContentType = "application/json"
					if diff := cmp.Diff(want, *asError(t, err), compareErrors); diff != "" {
						t.Errorf("the error (-want +got):\n%s", diff)
					}
					for _, class := range errorClasses {
						if got := errors.Is(err, class); got != (class == row.class) {
							t.Errorf("errors.Is(err, %v) is %v", class, got)
						}
					}
					if !errors.Is(err, row.want.Details[0].Code) || errors.Is(err, reloads.Code("RELOADS-012")) {
						t.Errorf("the error does not match its code %q, or another", row.want.Details[0].Code)
					}
					// The trigger of a server error may have taken effect.
					if got, want := errors.Is(err, reloads.ErrOutcomeUnknown), e.name == "trigger" && row.status == 500; got != want {
						t.Errorf("ErrOutcomeUnknown: %v, want %v", got, want)
					}
				}
			})
		})
	}
	for _, e := range endpoints {
		if err := e.call(t.Context(), scriptedClient(t, scripted(e.ok), noRetries)); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
	}
}

func TestErrorBodyVariants(t *testing.T) {
	t.Parallel()
	type details = []reloads.ErrorDetail
	for _, c := range []struct {
		body  string
		want  details
		trace string
	}{
		{testdata(t, "error_details.json"), details{{"HTTP-123", "short error message", "detailed error message"}}, ""},
		{`{"errors":[{"code":"A","title":"B","detail":"C","details":"D"}]}`, details{{"A", "B", "C"}}, ""},
		{`{"Errors":[{"Code":"A","Title":"B","Detail":"C"}],"traceid":"T"}`, details{{"A", "B", "C"}}, "T"},
		{`{"errors":[{"code":"A","traceId":"inner"}],"traceId":"outer"}`, details{{"A", "", ""}}, "outer"},
		{`{"errors":[{"code":"A"},{"code":"B","traceId":"inner"}]}`, details{{"A", "", ""}, {"B", "", ""}}, "inner"},
		{`{"errors":[{"code":42,"title":null,"detail":{"a":[1]}}],"traceId":7}`, details{{"42", "", `{"a":[1]}`}}, "7"},
		{`{"errors":[{"code":"A","code":"B"}],"errors":[{"code":"C"}]}`, details{{"C", "", ""}}, ""},
		{"{\"errors\":[{\"title\":\"a\xffb\"}]}", details{{"", "a\uFFFDb", ""}}, ""},
		{`{"errors":[{}]}`, details{{}}, ""},
		{`{"errors":[{"code":"A","meta":{"x":1},"status":"404","source":[]}],"x":1}`, details{{"A", "", ""}}, ""},
	} {
		_, err := scriptedClient(t, scripted(respond(http.StatusBadRequest, c.body))).Get(t.Context(), reloadID)
		e := asError(t, err)
		if diff := cmp.Diff(c.want, e.Details); diff != "" || e.TraceID != c.trace || e.Body != "" {
			t.Errorf("%s: trace %q, body %q (-want +got):\n%s", c.body, e.TraceID, e.Body, diff)
		}
	}
}

// An error response with thousands of errors keeps all of them, but the message has only the first ones.
func TestErrorBodyWithManyErrors(t *testing.T) {
	t.Parallel()
	body := `{"errors":[` + strings.Repeat(`{"code":"A","title":"B"},`, 9999) + `{"code":"RELOADS-012"}]}`
	_, err := scriptedClient(t, scripted(respond(404, body))).Get(t.Context(), reloadID)
	if e := asError(t, err); len(e.Details) != 10_000 || !errors.Is(err, reloads.Code("RELOADS-012")) || len(err.Error()) > 1000 {
		t.Errorf("%d details, and a text of %d bytes", len(e.Details), len(err.Error()))
	}
}

func TestErrorMessages(t *testing.T) {
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
		{reloadFailure("E", "message\nof two lines", "log"), "reloads: reload 1 of app 2 ended as FAILED: E: message of two lines"},
		{reloadFailure("E", "", "1\r\n2\r\n3\r\nError: no table\t\x1b[2J\r\n\r\n"), "reloads: reload 1 of app 2 ended as FAILED: E; its log ends: 2 / 3 / Error: no table  [2J"},
		{reloadFailure("", "", "ReloadID: 1\nReload failed\nIn total 3 rows read from sources.\n"), "reloads: reload 1 of app 2 ended as FAILED; its log ends: Reload failed"},
		{reloadFailure("", "", strings.Repeat("ä", 1000)), "reloads: reload 1 of app 2 ended as FAILED; its log ends: " + strings.Repeat("ä", 100)},
		{reloadFailure("", "", documented.Log), "reloads: reload 1 of app 2 ended as FAILED; its log ends: Started loading / App saved / Finished successfully"},
		{reloadFailure("", "", "ReloadID: 1\n"), "reloads: reload 1 of app 2 ended as FAILED"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// The zero values of the errors can be printed, logged and compared.
func TestZeroErrors(t *testing.T) {
	t.Parallel()
	for _, err := range []error{&reloads.ReloadError{}, &reloads.ReloadError{Reload: &reloads.Reload{}}, &reloads.Error{}, reloads.Code("")} {
		if err.Error() == "" && err != reloads.Code("") {
			t.Errorf("%T has no text", err)
		}
		for _, class := range append([]error{nil, reloads.Code("RELOADS-001"), err}, errorClasses...) {
			if got := errors.Is(err, class); got != (class == err) {
				t.Errorf("%T: errors.Is(err, %v) is %v", err, class, got)
			}
		}
		_ = printAll(err)
		_ = printAll(reloads.Result{Err: err})
		_ = loggedValue(t, err)
	}
	if got, want := (&reloads.ReloadError{}).Error(), "reloads: reload did not succeed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A response may have a body and no Content-Type.
func TestErrorWithoutContentType(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ header, text string }{
		{"Content-Type: text/html\r\n", `: text/html body "<html>"`},
		{"", `: body "<html>"`},
		{"Content-Type:\r\n", `: body "<html>"`},
		{"Content-Type:  \t \r\n", `: body "<html>"`},
	} {
		for status, want := range map[string]string{
			"404 Not Found": "404 Not Found" + c.text, "200 OK": "200 OK: ",
		} {
			url := rawServer(t, writeText("HTTP/1.1 "+status+"\r\n"+c.header+"Content-Length: 6\r\n\r\n<html>"))
			_, err := rawClient(t, url).Get(t.Context(), reloadID)
			text := fmt.Sprint(err)
			if !strings.Contains(text, want) || !strings.HasSuffix(text, c.text) || strings.Contains(text, ": :") || strings.Contains(text, "  ") {
				t.Errorf("%s with %q: %s", status, c.header, text)
			}
		}
	}
}

// reloadFailure returns the error of a failed reload.
func reloadFailure(code, message, log string) error {
	return &reloads.ReloadError{Reload: &reloads.Reload{ID: "1", AppID: "2", Status: "FAILED", ErrorCode: code, ErrorMessage: message, Log: log}}
}

// The text of a server ends up in logs and terminals, so it must not contain control characters.
func TestErrorMessagesAreOneLine(t *testing.T) {
	t.Parallel()
	const body = `{"errors":[{"code":"A\nB","title":"C\nlevel=ERROR","detail":"D\r\u001b[2J"}],"traceId":"E\nF"}`
	_, err := scriptedClient(t, scripted(respond(400, body, "Content-Type", "a/b"))).Get(t.Context(), reloadID)
	if text := err.Error(); strings.ContainsAny(text, "\n\r\x1b") {
		t.Errorf("the error has control characters: %q", text)
	}
}

func TestErrorMessagesOmitTheQuery(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]outcome{"response": respond(404, ""), "no response": fails(errReset)} {
		_, err := scriptedClient(t, scripted(o), noRetries).List(t.Context(), reloads.ListOptions{AppID: "secret-app", Filter: "secret-filter"})
		checkNoSecrets(t, name, fmt.Sprintf("%v %+v %#v", err, err, err), "secret", "filter")
		if !strings.Contains(err.Error(), "GET /api/v1/reloads: ") {
			t.Errorf("%s: %v does not name the request", name, err)
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

func TestErrorLogValue(t *testing.T) {
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
		{&reloads.Error{StatusCode: 400, Method: "GET", Path: "/p", Attempts: 1, Details: []reloads.ErrorDetail{{"A", "B", "C"}}}, map[string]any{
			"status": 400.0, "method": "GET", "path": "/p", "attempts": 1.0, "code": "A", "title": "B", "detail": "C",
		}},
		{&reloads.ReloadError{Reload: &reloads.Reload{ID: "1", AppID: "2", Status: "FAILED", Type: "hub", ErrorCode: "X"}}, map[string]any{
			"id": "1", "app": "2", "status": "FAILED", "type": "hub", "error_code": "X", "error_message": "",
		}},
	} {
		if diff := cmp.Diff(c.want, loggedValue(t, c.err)); diff != "" {
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
		for _, class := range errorClasses {
			if got := errors.Is(err, class); got != (class == want) {
				t.Errorf("%s: errors.Is(err, %v) is %v", status, class, got)
			}
		}
	}
}

// A text that is not UTF-8 is shortened, too.
func TestErrorMessageThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	err := &reloads.Error{StatusCode: 400, Details: []reloads.ErrorDetail{{Title: strings.Repeat("\x80", 1000)}}}
	if text := err.Error(); len(text) > 100 {
		t.Errorf("the error has %d bytes", len(text))
	}
}
